/*
 * The rows of COPY FROM: what came of the client is split, and each row goes into its shard's queue.
 */
#include "base/memory.h"
#include "copy/binary.h"
#include "proxy/copy_in.h"
#include "proxy/proxy.h"
#include "sql/words.h"

#include <string.h>

/* What is looked for in rows: their keys, then what may be a moment. */
void copy_in_watch_fields(struct copy_in *copy)
{
    size_t fields[COPY_WATCHED_MOST];
    size_t keys = copy_in_is_sharded(copy) ? copy->table->rule.columns : 0;
    memcpy(fields, copy->fact.key_fields, keys * sizeof *fields);
    memcpy(fields + keys, copy->fact.moment_fields, copy->fact.moment_count * sizeof *fields);
    copy_splitter_columns(&copy->splitter, copy->fact.fields, fields, keys + copy->fact.moment_count);
}

/* ---- rows ---- */

static uint32_t lines_of(const struct copy_in *copy, const char *bytes, const struct copy_row *row, bool first)
{
    return line_count_of_row(&copy->fact.format, copy->splitter.newline, bytes, row->size - row->newline, first);
}

/* `lines`: of the row, where it is not the first one. */
static bool put_row(struct copy_in *copy, struct leg *leg, const char *bytes, const struct copy_row *row,
                    uint32_t lines)
{
    struct copy_leg *own = copy_leg_of(leg);
    if (own->state != COPY_TAKES)
        return true;
    lines = own->line ? lines : lines_of(copy, bytes, row, true);
    own->line += lines;
    line_log_add(&own->lines, copy->line, lines);
    return copy_in_queue(leg, bytes, row->size);
}

static uint32_t count_row(struct copy_in *copy, const char *bytes, const struct copy_row *row)
{
    uint32_t lines = lines_of(copy, bytes, row, false);
    copy->line += copy->line ? lines : lines_of(copy, bytes, row, true);
    return lines;
}

static bool place_everywhere(struct copy_in *copy, const char *bytes, const struct copy_row *row)
{
    uint32_t lines = count_row(copy, bytes, row);
    bool done = true;
    for (size_t i = 0; i < copy->scatter->leg_count; i++)
        done &= put_row(copy, &copy->scatter->legs[i], bytes, row, lines);
    return done;
}

static bool place(struct copy_in *copy, const char *bytes, const struct copy_row *row, uint32_t bucket)
{
    const struct table *table = copy->table;
    if (!copy_in_is_sharded(copy))
        return place_everywhere(copy, bytes, row);
    uint16_t shard = table->map->owner[bucket];
    return put_row(copy, &copy->scatter->legs[copy->legs[shard]], bytes, row, count_row(copy, bytes, row));
}

/* A shard that takes rows; one that has had some knows how lines end. */
static size_t find_judge(const struct copy_in *copy)
{
    size_t found = copy->scatter->leg_count;
    for (size_t i = copy->scatter->leg_count; i-- > 0;)
        if (copy->each[i].state == COPY_TAKES &&
            (found == copy->scatter->leg_count || copy->each[i].line || !copy->each[found].line))
            found = i;
    return found;
}

/* Some shard is to say what is wrong: these are its last bytes, of so many lines. If it does not, the error is ours. */
static void doom(struct copy_in *copy, const char *bytes, size_t size, uint32_t lines, const mosaic_error *why)
{
    struct scatter *scatter = copy->scatter;
    size_t i = find_judge(copy);
    bool done = true;
    copy_in_write_own(copy, why, copy->line);
    if (i < scatter->leg_count && bytes) {
        struct leg *leg = &scatter->legs[i];
        copy->each[i].line += lines;
        line_log_add(&copy->each[i].lines, copy->line, lines);
        done = copy_in_queue(leg, bytes, size);
        copy_in_end(leg, false);
    }
    if (!done) {
        copy_in_fail_at_once(copy);
        return;
    }
    copy_in_fail(copy, NULL);
    copy_in_settle(scatter);
}

static void doom_row(struct copy_in *copy, const char *bytes, const struct copy_row *row, const mosaic_error *why)
{
    uint32_t lines = count_row(copy, bytes, row);
    bool is_ours = row->bad == COPY_BAD_LONG || strcmp(why->sqlstate, "0A000") == 0;
    doom(copy, is_ours ? NULL : bytes, row->size, lines, why);
}

static void malformed(const struct copy_row *row, mosaic_error *error)
{
    (void)!error_set(error, row->bad == COPY_BAD_LONG ? MOSAIC_LIMIT : MOSAIC_DATA, "the row has %s",
                     copy_bad_meaning((enum copy_bad)row->bad));
    error_sqlstate(error, row->bad == COPY_BAD_LONG ? "54000" : "22P04");
}

static bool names_moment(struct copy_in *copy, const char *bytes, const struct copy_slice *slice, mosaic_error *error)
{
    const char *text = bytes + slice->start;
    size_t size = slice->end - slice->start;
    bool may = false, is_null;
    for (size_t i = 0; i < size; i++) /* each of the words has one of these */
        may |= (text[i] | 0x20) == 'w' || (text[i] | 0x20) == 'y' || text[i] == '\\';
    if (!may || !copy_field_value(&copy->fact.format, text, size, &copy->router.keys, &text, &size, &is_null) ||
        !words_name_moment(text, size))
        return false;
    (void)!error_set(error, MOSAIC_UNSUPPORTED, "the row names a moment, which would be another one on each shard");
    error_hint(error, "give the time as a value; or SET mosaic.clock = 'shard'");
    return true;
}

/* False: *why says what is wrong with the i-th row. */
static bool look_at_row(struct copy_in *copy, const char *bytes, size_t i, mosaic_error *why)
{
    const struct copy_row *row = &copy->rows.rows[i];
    const struct copy_slice *slices = copy->rows.keys + i * copy->splitter.key_count;
    bool sharded = copy_in_is_sharded(copy);
    if (row->bad) {
        malformed(row, why);
        return false;
    }
    if (sharded && copy_router_row(&copy->router, slices, i, why) != MOSAIC_OK)
        return false;
    for (size_t at = sharded ? copy->table->rule.columns : 0; at < copy->splitter.key_count; at++)
        if (names_moment(copy, bytes, &slices[at], why))
            return false;
    return true;
}

static void take_rows(struct copy_in *copy, const char *bytes)
{
    size_t good = 0;
    mosaic_error why;
    bool done = true;
    copy_router_begin(&copy->router, bytes, copy->buckets);
    while (good < copy->rows.count && look_at_row(copy, bytes, good, &why))
        good++;
    copy_router_end(&copy->router);
    for (size_t i = 0; i < good; i++)
        done &= place(copy, bytes + copy->rows.rows[i].start, &copy->rows.rows[i], copy->buckets[i]);
    if (!done) {
        copy_in_fail_at_once(copy);
    } else if (good < copy->rows.count) {
        const struct copy_row *row = &copy->rows.rows[good];
        doom_row(copy, bytes + row->start, row, &why);
    }
}

/* The header is every shard's, as it is. */
static void take_header(struct copy_in *copy, const char *bytes)
{
    const struct copy_row *row = copy->rows.rows;
    mosaic_error why;
    if (!copy->rows.count)
        return;
    copy->has_header = false;
    if (row->bad) {
        malformed(row, &why);
        doom_row(copy, bytes + row->start, row, &why);
        return;
    }
    copy_in_watch_fields(copy);
    if (!place_everywhere(copy, bytes + row->start, row))
        copy_in_fail_at_once(copy);
}

static void start_binary(struct copy_in *copy)
{
    bool done = true;
    copy->has_started = true;
    for (size_t i = 0; i < copy->scatter->leg_count; i++)
        if (copy->each[i].state == COPY_TAKES)
            done &= copy_in_queue(&copy->scatter->legs[i], (const char *)binary_header, sizeof binary_header);
    if (!done)
        copy_in_fail_at_once(copy);
}

/* What no row can be made of. */
static void take_broken(struct copy_in *copy, const char *bytes, size_t size)
{
    mosaic_error why;
    bool done = true;
    (void)!error_set(&why, MOSAIC_DATA, "%s", copy->splitter.broken);
    error_sqlstate(&why, "22P04");
    for (size_t i = 0; i < copy->scatter->leg_count && copy->splitter.ended; i++) /* there is more behind the trailer */
        if (copy->each[i].state == COPY_TAKES)
            done &= copy_in_queue(&copy->scatter->legs[i], (const char *)binary_trailer, sizeof binary_trailer);
    if (!done) {
        copy_in_fail_at_once(copy);
        return;
    }
    copy->line++;
    doom(copy, bytes, size < COPY_READ_MOST ? size : COPY_READ_MOST, 1, &why);
}

/* Splits what there is once; *used bytes are done with. False: nothing more is to be had of it now. */
static bool split(struct copy_in *copy, const char *bytes, size_t size, bool at_end, size_t *used)
{
    bool binary = copy->fact.format.kind == MOSAIC_BINARY, is_header = copy->has_header;
    *used = size;
    if (copy->splitter.ended && !binary)
        return false; /* as PostgreSQL reads over what stands behind the end marker */
    copy->rows.capacity = is_header ? 1 : COPY_ROWS_MOST;
    enum copy_result result = copy_split(&copy->splitter, bytes, size, at_end, &copy->rows, used);
    if (binary && copy->splitter.started && !copy->has_started)
        start_binary(copy);
    if (is_header)
        take_header(copy, bytes);
    else
        take_rows(copy, bytes);
    if (copy->fails || (result == COPY_BROKEN && at_end && copy->has_started && *used == size))
        return false; /* in binary the trailer may be missing */
    if (result == COPY_BROKEN)
        take_broken(copy, bytes + *used, size - *used);
    return result == COPY_FULL || (result == COPY_END && *used < size);
}

static void work(struct copy_in *copy, bool at_end)
{
    size_t done = 0, used;
    bool more = at_end || copy->input.size >= copy->wanted;
    if (!more)
        return;
    while (more && !copy->fails) {
        const char *bytes = buffer_string(&copy->input) + done;
        more = split(copy, bytes, copy->input.size - done, at_end, &used);
        done += used;
    }
    if (copy->fails)
        return;
    size_t left = copy->input.size - done, most = FACT_COPY_ROW_MOST + COPY_FIELDS_MOST * 4 + 64;
    if (left)
        memmove(copy->input.data, copy->input.data + done, left);
    copy->input.size = left;
    if (copy->input.data)
        copy->input.data[left] = '\0';
    if (!left && copy->input.capacity > COPY_READ_MOST * 2)
        buffer_free(&copy->input);
    /* A row that grows bit by bit is looked at again when it has doubled, or is too long. */
    copy->wanted = left < most / 2 ? left * 2 : left < most ? most : left + 1;
}

/* ---- of its client ---- */

bool scatter_copies_in(const struct scatter *scatter)
{
    return scatter->copy_in != NULL;
}

bool scatter_takes_data(const struct scatter *scatter)
{
    return scatter->copy_in && !scatter->spool && scatter->state == SCATTER_RUNNING && !scatter->copy_in->is_over;
}

bool scatter_has_room(const struct scatter *scatter)
{
    for (size_t i = 0; i < scatter->leg_count; i++) {
        const struct server *server = scatter->legs[i].client.server;
        if (scatter->copy_in->each[i].state == COPY_TAKES && server && channel_stuck(&server->channel))
            return false;
    }
    return true;
}

void scatter_take_data(struct scatter *scatter, const char *bytes, size_t size)
{
    struct copy_in *copy = scatter->copy_in;
    if (copy->fails)
        return;
    buffer_add(&copy->input, bytes, size);
    if (buffer_failed(&copy->input))
        copy_in_fail_at_once(copy);
    else if (copy->input.size >= COPY_READ_MOST / 2)
        work(copy, false);
}

void scatter_pass_data(struct scatter *scatter)
{
    struct copy_in *copy = scatter->copy_in;
    if (!copy->fails)
        work(copy, false);
    for (size_t i = 0; i < scatter->leg_count && !copy->fails && !scatter->client->channel.readable; i++)
        if (copy->each[i].state == COPY_TAKES)
            copy_in_send_queue(&scatter->legs[i]);
}

void scatter_end_data(struct scatter *scatter, const char *why)
{
    struct copy_in *copy = scatter->copy_in;
    copy->is_over = true;
    if (copy->fails)
        return;
    if (why) {
        copy->wanted = 0;
        work(copy, false);
        copy->by_client = !copy->fails;
        copy_in_fail(copy, why);
        return;
    }
    work(copy, true);
    for (size_t i = 0; i < scatter->leg_count && !copy->fails; i++)
        if (copy->each[i].state == COPY_TAKES)
            copy_in_end(&scatter->legs[i], copy->fact.format.kind == MOSAIC_BINARY);
}
