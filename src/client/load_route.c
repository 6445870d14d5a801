/* Rows to buckets; what is wrong with those that have none. */
#include "base/memory.h"
#include "client/load_job.h"

static mosaic_status malformed(const struct load_job *job, const struct copy_row *row, mosaic_error *error)
{
    if (row->bad == COPY_BAD_FEW || row->bad == COPY_BAD_MANY) {
        error_set(error, MOSAIC_DATA, "the row has %u columns instead of %zu", row->fields, job->splitter.fields);
        error_hint(error, "the columns are those of the header or --columns, else all of the table");
    } else if (row->bad == COPY_BAD_LONG) {
        error_set(error, MOSAIC_LIMIT, "the row has more than %zu bytes", job->splitter.format.row_limit);
        error_hint(error, "is a quote not closed? Else allow longer rows with --row-limit");
    } else if (row->bad == COPY_BAD_QUOTE) {
        error_set(error, MOSAIC_DATA, "the quote that opens on line %llu is never closed",
                  (unsigned long long)row->bad_line);
        error_hint(error, "close it; double a quote that is part of a value");
    } else {
        error_set(error, MOSAIC_DATA, "the row has %s", copy_bad_meaning((enum copy_bad)row->bad));
        if (row->bad == COPY_BAD_ENCODING)
            error_hint(error, "convert the file, for example: iconv -f latin1 -t utf8 FILE");
        else if (row->bad == COPY_BAD_ZERO)
            error_hint(error, "take it out, for example: tr -d '\\000' <FILE; bytes go into a bytea column as \\x00ff");
    }
    return MOSAIC_DATA;
}

mosaic_status route_rows(struct load_job *job, mosaic_error *error)
{
    bool sharded = job->table->kind == TABLE_SHARDED;
    copy_router_begin(&job->router, job->input.bytes, job->buckets);
    for (size_t i = 0; i < job->rows.count; i++) {
        const struct copy_row *row = &job->rows.rows[i];
        mosaic_status status = MOSAIC_OK;
        mosaic_error why;
        job->buckets[i] = 0;
        if (row->bad)
            status = malformed(job, row, &why);
        else if (sharded)
            status = copy_router_row(&job->router, job->rows.keys + i * job->splitter.key_count, i, &why);
        if (status == MOSAIC_OK)
            continue;
        job->buckets[i] = UINT32_MAX;
        if (status != MOSAIC_MEMORY)
            status = job_bad_row(job, row->line, job->input.bytes + row->start, row->size - row->newline, &why);
        if (status != MOSAIC_OK) {
            if (error)
                *error = why;
            return status;
        }
    }
    copy_router_end(&job->router);
    return MOSAIC_OK;
}
