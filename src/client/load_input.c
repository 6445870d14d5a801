#include "base/memory.h"
#include "client/load_job.h"

#include <string.h>

/* READ_LEAST: what pgmosaic.h promises to the caller's `read`. */
enum { FIRST_CAPACITY = 256 * 1024, READ_LEAST = 16 * 1024 };

static mosaic_status make_room(struct load_job *job, mosaic_error *error)
{
    struct load_input *input = &job->input;
    if (input->start > 0) {
        memmove(input->bytes, input->bytes + input->start, input->end - input->start);
        input->end -= input->start;
        input->start = 0;
    }
    if (input->capacity - input->end >= READ_LEAST)
        return MOSAIC_OK;
    /* a row that is longer than the buffer: the splitter gives up at the row limit */
    size_t most = job->splitter.format.row_limit + COPY_FIELDS_MOST * 4 + READ_LEAST;
    size_t capacity = input->capacity ? input->capacity * 2 : FIRST_CAPACITY;
    if (capacity > most && input->capacity < most)
        capacity = most;
    char *bytes = memory_resize(input->bytes, capacity);
    if (!bytes)
        return error_memory(error);
    input->bytes = bytes;
    input->capacity = capacity;
    return MOSAIC_OK;
}

mosaic_status input_fill(struct load_job *job, mosaic_error *error)
{
    struct load_input *input = &job->input;
    mosaic_status status = make_room(job, error);
    while (status == MOSAIC_OK && !input->at_end && input->capacity - input->end >= READ_LEAST) {
        status = streams_interrupted(&job->streams, error);
        if (status != MOSAIC_OK)
            break;
        size_t room = input->capacity - input->end;
        ptrdiff_t got = job->options->read(job->options->context, input->bytes + input->end, room);
        if (got < 0 || (size_t)got > room) {
            status = streams_interrupted(&job->streams, error);
            if (status == MOSAIC_OK)
                status = error_set(error, MOSAIC_IO, "cannot read %s", job->source);
        } else {
            input->at_end = got == 0;
            input->end += (size_t)got;
            input->read += (uint64_t)got;
        }
    }
    return status;
}

/* A failure of the splitter that no row can be blamed for. */
static mosaic_status input_broken(struct load_job *job, mosaic_error *error)
{
    error_set(error, MOSAIC_DATA, "%s", job->splitter.broken);
    if (job->splitter.format.kind == MOSAIC_BINARY)
        error_hint(error, "is this the output of COPY … TO … (FORMAT binary), whole? For another format say so");
    else
        error_hint(error, "the line \\. ends the data: quote it if it is a value, or remove what stands behind it");
    return job_where(job, job->splitter.line + 1, error);
}

static mosaic_status split(struct load_job *job, struct copy_rows *rows, mosaic_error *error)
{
    struct load_input *input = &job->input;
    rows->count = 0;
    for (;;) {
        size_t consumed;
        /* whole buffers only: a row that grows bit by bit would be looked at again and again */
        mosaic_status status = input_fill(job, error);
        if (status != MOSAIC_OK)
            return status;
        enum copy_result result = copy_split(&job->splitter, input->bytes + input->start, input->end - input->start,
                                             input->at_end, rows, &consumed);
        for (size_t i = 0; i < rows->count; i++)
            rows->rows[i].start += (uint32_t)input->start;
        for (size_t i = 0; input->start && i < rows->count * job->splitter.key_count; i++)
            if (rows->keys[i].start != UINT32_MAX)
                rows->keys[i] = (struct copy_slice){rows->keys[i].start + (uint32_t)input->start,
                                                    rows->keys[i].end + (uint32_t)input->start};
        input->start += consumed;
        if (result == COPY_BROKEN)
            return input_broken(job, error);
        if (rows->count > 0 || (result == COPY_END && input->at_end && input->start == input->end))
            return MOSAIC_OK;
    }
}

mosaic_status input_rows(struct load_job *job, mosaic_error *error)
{
    return split(job, &job->rows, error);
}

static mosaic_status skip_mark(struct load_job *job, bool wanted, mosaic_error *error)
{
    struct load_input *input = &job->input;
    if (job->splitter.format.kind == MOSAIC_BINARY || input->end < 3 || memcmp(input->bytes, "\xEF\xBB\xBF", 3) != 0)
        return MOSAIC_OK;
    if (wanted) {
        input->start += 3;
        return MOSAIC_OK;
    }
    error_set(error, MOSAIC_DATA,
              "the input begins with a byte order mark, which would become part of the first field");
    error_hint(error, "remove the first three bytes, for example: tail -c +4 FILE | pgmosaic load …");
    return job_where(job, 1, error);
}

static mosaic_status header_name(struct load_job *job, const char *row, size_t start, size_t end, const char **name,
                                 mosaic_error *error)
{
    const char *value;
    size_t size;
    bool is_null;
    if (!copy_field_value(&job->splitter.format, row + start, end - start, &job->arena, &value, &size, &is_null))
        return error_memory(error);
    if (size == 0)
        return error_set(error, MOSAIC_DATA, "the header has an empty name"), job_where(job, 1, error);
    *name = arena_copy(&job->arena, value, size);
    return *name ? MOSAIC_OK : error_memory(error);
}

mosaic_status input_header(struct load_job *job, bool wanted, const char ***names, size_t *count, mosaic_error *error)
{
    struct copy_row row;
    struct copy_rows rows = {.rows = &row, .keys = job->rows.keys, .capacity = 1};
    *count = 0;
    mosaic_status status = input_fill(job, error);
    if (status == MOSAIC_OK)
        status = skip_mark(job, wanted, error);
    if (status != MOSAIC_OK || !wanted)
        return status;
    status = split(job, &rows, error);
    if (status != MOSAIC_OK || rows.count == 0)
        return status;
    if (row.bad) {
        error_set(error, MOSAIC_DATA, "the header has %s", copy_bad_meaning((enum copy_bad)row.bad));
        return job_where(job, row.bad_line, error);
    }
    *names = arena_zeroed(&job->arena, row.fields, sizeof **names);
    if (!*names)
        return error_memory(error);
    const char *text = job->input.bytes + row.start;
    size_t next = 0, start, end;
    while (status == MOSAIC_OK && *count < row.fields &&
           copy_field_next(&job->splitter.format, text, row.size - row.newline, &next, &start, &end))
        status = header_name(job, text, start, end, &(*names)[(*count)++], error);
    return status;
}
