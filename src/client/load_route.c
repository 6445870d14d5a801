/*
 * Rows to buckets. Keys of one whole number or one text take the batch functions of the rule; all others go one by one.
 */
#include "base/memory.h"
#include "client/load_job.h"
#include "core/modifier.h"

#include <string.h>

enum { DIGITS_MOST = 18 /* of a number that cannot leave int8 */, SHOWN_MOST = 60 };

enum key_path { PATH_ONE_BY_ONE, PATH_INTEGER, PATH_BYTES };

static enum key_path choose_path(const struct rule *rule)
{
    enum key_type type = rule->types[0];
    if (rule->columns != 1)
        return PATH_ONE_BY_ONE;
    if (type_is_integer(type) && (rule->function == FUNCTION_MODULO || rule->function == FUNCTION_HASH))
        return PATH_INTEGER;
    bool bytes = type == KEY_TEXT || type == KEY_VARCHAR || type == KEY_BYTEA || type == KEY_UUID;
    return bytes && rule->function == FUNCTION_HASH ? PATH_BYTES : PATH_ONE_BY_ONE;
}

/* A plain number in text; false where key_from_text shall have a look. */
static bool plain_number(enum key_type type, const char *text, size_t size, int64_t *number)
{
    bool minus = size > 0 && text[0] == '-';
    size_t at = minus;
    int64_t value = 0;
    if (at == size || size - at > DIGITS_MOST)
        return false;
    for (; at < size; at++) {
        unsigned digit = (unsigned char)text[at] - (unsigned)'0';
        if (digit > 9)
            return false;
        value = value * 10 + digit;
    }
    *number = minus ? -value : value;
    return type == KEY_INT8 || (type == KEY_INT4 && *number == (int32_t)*number) ||
           (type == KEY_INT2 && *number == (int16_t)*number);
}

static mosaic_status null_key(const char *name, mosaic_error *error)
{
    error_set(error, MOSAIC_KEY, "the sharding key \"%s\" is NULL", name);
    error_hint(error, "give it a value: a row without a key belongs to no shard");
    return MOSAIC_KEY;
}

/* As it was given. */
static mosaic_status given_value_of(struct load_job *job, const struct copy_slice *slice, size_t column,
                                    struct key_value *value, mosaic_error *error)
{
    const struct rule *rule = &job->table->rule;
    const char *name = job->table->columns[column], *bytes = job->input.bytes;
    if (slice->start > slice->end || slice->start == UINT32_MAX)
        return null_key(name, error);
    if (job->splitter.format.kind == MOSAIC_BINARY)
        return key_from_binary(rule->types[column], name, bytes + slice->start, slice->end - slice->start, &job->keys,
                               value, error);
    const char *text;
    size_t size;
    bool is_null;
    if (!copy_field_value(&job->splitter.format, bytes + slice->start, slice->end - slice->start, &job->keys, &text,
                          &size, &is_null))
        return error_memory(error);
    if (is_null)
        return null_key(name, error);
    return key_from_text(rule->types[column], name, text, size, &job->keys, value, error);
}

/* As it will be stored. */
static mosaic_status key_value_of(struct load_job *job, const struct copy_slice *slice, size_t column,
                                  struct key_value *value, mosaic_error *error)
{
    mosaic_status status = given_value_of(job, slice, column, value, error);
    if (status == MOSAIC_OK && !modifier_apply(job->key_modifiers[column], &job->keys, value))
        status = error_memory(error);
    return status;
}

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

static mosaic_status route_one(struct load_job *job, enum key_path path, size_t i, size_t *batch, mosaic_error *error)
{
    const struct rule *rule = &job->table->rule;
    const struct copy_slice *slices = job->rows.keys + i * job->splitter.key_count;
    struct key_value values[KEY_COLUMNS_MAX];
    if (path == PATH_INTEGER && job->plain_numbers && slices->start < slices->end &&
        plain_number(rule->types[0], job->input.bytes + slices->start, slices->end - slices->start,
                     &job->integers[*batch])) {
        job->places[(*batch)++] = (uint32_t)i;
        return MOSAIC_OK;
    }
    for (size_t column = 0; column < rule->columns; column++) {
        mosaic_status status = key_value_of(job, &slices[column], column, &values[column], error);
        if (status != MOSAIC_OK)
            return status;
    }
    if (path == PATH_ONE_BY_ONE)
        return rule_bucket(rule, values, &job->buckets[i], error);
    if (path == PATH_INTEGER)
        job->integers[*batch] = values[0].integer;
    else
        job->slices[*batch] = (struct key_slice){values[0].bytes.data, values[0].bytes.size};
    job->places[(*batch)++] = (uint32_t)i;
    return MOSAIC_OK;
}

/* The buckets of the keys that were put aside, in place: the i-th is of row places[i] >= i. */
static void route_batch(struct load_job *job, enum key_path path, size_t batch)
{
    uint32_t found[256];
    for (size_t done = 0; done < batch;) {
        size_t count = batch - done < 256 ? batch - done : 256;
        if (path == PATH_INTEGER)
            rule_buckets_int8(&job->table->rule, job->integers + done, count, found);
        else
            rule_buckets_bytes(&job->table->rule, job->slices + done, count, found);
        for (size_t i = 0; i < count; i++)
            job->buckets[job->places[done + i]] = found[i];
        done += count;
    }
}

mosaic_status route_rows(struct load_job *job, mosaic_error *error)
{
    bool sharded = job->table->kind == TABLE_SHARDED;
    enum key_path path = sharded ? choose_path(&job->table->rule) : PATH_ONE_BY_ONE;
    size_t batch = 0;
    arena_reset(&job->keys);
    for (size_t i = 0; i < job->rows.count; i++) {
        const struct copy_row *row = &job->rows.rows[i];
        mosaic_status status = MOSAIC_OK;
        mosaic_error why;
        job->buckets[i] = 0;
        if (row->bad)
            status = malformed(job, row, &why);
        else if (sharded)
            status = route_one(job, path, i, &batch, &why);
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
    if (path != PATH_ONE_BY_ONE)
        route_batch(job, path, batch);
    return MOSAIC_OK;
}
