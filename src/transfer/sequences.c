/*
 * Sequences go on behind every value that was copied, to whichever shard it went. Each keeps its increment and its
 * residue, by which apply has made those of a sharded table differ, and looks only at values within its bounds, by
 * which the user may have done so.
 *
 * They only move on, never back: one of a table that stood on the target may be further than the rows.
 */
#include "core/sqlexpr.h"
#include "transfer/transfer.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum { SQL_MOST = 16 * 1024 };

/* Of the values that a sequence gives, the one that it would come to last; where there is none, nothing is known. */
struct furthest {
    bool known;
    int64_t value;
};

static mosaic_status ask(struct transfer *transfer, size_t shard, struct buffer *sql, int timeout_ms, PGresult **result,
                         mosaic_error *error)
{
    mosaic_status status = buffer_failed(sql) ? error_memory(error)
                                              : pq_exec(transfer->targets[shard], transfer->to->shards[shard].name,
                                                        buffer_string(sql), pq_deadline(timeout_ms), result, error);
    buffer_free(sql);
    return status;
}

/* The column as a number; NULL where a text, which may be made of a sequence's value too, is none. */
static void add_value(struct buffer *sql, const struct column_facts *column)
{
    static const char *const integers[] = {"smallint", "integer", "bigint"};
    struct buffer name = BUFFER_INIT(1024);
    sql_identifier(&name, column->name);
    bool is_integer = false;
    for (size_t i = 0; i < sizeof integers / sizeof integers[0]; i++)
        is_integer |= strcmp(column->type, integers[i]) == 0;
    if (is_integer)
        buffer_text(sql, buffer_string(&name));
    else
        buffer_format(sql, "CASE WHEN %s::text ~ '^-?[0-9]{1,18}$' THEN %s::text::bigint END", buffer_string(&name),
                      buffer_string(&name));
    buffer_free(&name);
}

static mosaic_status ask_furthest(struct transfer *transfer, size_t shard, const struct table *table,
                                  const struct column_facts *column, struct furthest *furthest, mosaic_error *error)
{
    const struct sequence_facts *sequence = &column->sequence;
    struct buffer sql = BUFFER_INIT(SQL_MOST);
    PGresult *result = NULL;
    buffer_format(&sql, "SET LOCAL statement_timeout = 0; SET LOCAL row_security = off; SELECT %s(",
                  sequence->increment > 0 ? "max" : "min");
    add_value(&sql, column);
    buffer_text(&sql, ") FROM ");
    transfer_add_name(&sql, table);
    buffer_text(&sql, " WHERE ");
    add_value(&sql, column);
    buffer_format(&sql, " BETWEEN %" PRId64 " AND %" PRId64, sequence->least, sequence->most);
    mosaic_status status = ask(transfer, shard, &sql, PQ_SCAN_MS, &result, error); /* it may have no index */
    if (status == MOSAIC_OK && !PQgetisnull(result, 0, 0)) {
        int64_t value = strtoll(PQgetvalue(result, 0, 0), NULL, 10);
        bool further = sequence->increment > 0 ? value > furthest->value : value < furthest->value;
        if (!furthest->known || further)
            *furthest = (struct furthest){true, value};
    }
    PQclear(result);
    return status;
}

/* To its next value behind that; where it has none left, to its end. */
static mosaic_status move(struct transfer *transfer, size_t shard, const struct sequence_facts *sequence,
                          int64_t furthest, mosaic_error *error)
{
    bool up = sequence->increment > 0;
    int64_t end = up ? sequence->most : sequence->least;
    struct buffer sql = BUFFER_INIT(SQL_MOST);
    buffer_text(&sql, "SELECT pg_catalog.setval(");
    sql_literal(&sql, sequence->name, strlen(sequence->name));
    buffer_format(&sql, "::regclass, %s(next, %" PRId64 ")::bigint, next %s %" PRId64 ") FROM (",
                  up ? "least" : "greatest", end, up ? ">" : "<", end);
    buffer_format(&sql,
                  "SELECT base + (pg_catalog.div(%" PRId64 " - base, %" PRId64 ") + 1) * %" PRId64 " AS next FROM (",
                  furthest, sequence->increment, sequence->increment);
    buffer_format(&sql,
                  "SELECT last_value::numeric + CASE WHEN is_called THEN %" PRId64 " ELSE 0 END AS base FROM %s) s"
                  " WHERE base %s %" PRId64 ") n",
                  sequence->increment, sequence->name, up ? "<=" : ">=", furthest);
    return ask(transfer, shard, &sql, transfer->options.timeout_ms, NULL, error);
}

/* The sequence of the column of that number of the first shard, as another shard has it; NULL: it has none. */
static const struct column_facts *column_on(const struct shard_facts *shards, size_t shard, size_t table, size_t column)
{
    const char *name = shards[0].tables[table].columns[column].name;
    const struct column_facts *here = facts_column(&shards[shard].tables[table], name);
    return here && here->sequence.name ? here : NULL;
}

static bool same_values(const struct sequence_facts *a, const struct sequence_facts *b)
{
    return a->least == b->least && a->most == b->most && (a->increment > 0) == (b->increment > 0);
}

static mosaic_status set_column(struct transfer *transfer, const struct shard_facts *shards, size_t table,
                                size_t column, mosaic_error *error)
{
    struct furthest furthest = {0};
    const struct column_facts *before = NULL;
    mosaic_status status = MOSAIC_OK;
    for (size_t shard = 0; shard < transfer->to->shard_count && status == MOSAIC_OK; shard++) {
        const struct column_facts *here = column_on(shards, shard, table, column);
        if (!here)
            continue;
        if (!before || !same_values(&before->sequence, &here->sequence)) {
            furthest = (struct furthest){0};
            for (size_t i = 0; i < transfer->to->shard_count && status == MOSAIC_OK; i++)
                status = ask_furthest(transfer, i, transfer->tables[table].table, here, &furthest, error);
        }
        before = here;
        if (status == MOSAIC_OK && furthest.known)
            status = move(transfer, shard, &here->sequence, furthest.value, error);
    }
    return status;
}

static mosaic_status look(struct transfer *transfer, struct shard_facts *shards, mosaic_error *error)
{
    struct table_name *names = arena_zeroed(&transfer->arena, transfer->table_count, sizeof *names);
    mosaic_status status = names ? MOSAIC_OK : error_memory(error);
    for (size_t i = 0; i < transfer->table_count && names; i++) {
        const struct table *table = transfer->tables[i].table;
        names[i] = (struct table_name){table->schema, table->name, table->display};
    }
    for (size_t i = 0; i < transfer->to->shard_count && status == MOSAIC_OK; i++)
        status = introspect_shard(transfer->targets[i], transfer->to->shards[i].name, names, transfer->table_count,
                                  pq_deadline(transfer->options.timeout_ms), &transfer->arena, &shards[i], error);
    return status;
}

mosaic_status sequences_set(struct transfer *transfer, mosaic_error *error)
{
    struct shard_facts *shards = arena_zeroed(&transfer->arena, transfer->to->shard_count, sizeof *shards);
    mosaic_status status = shards ? look(transfer, shards, error) : error_memory(error);
    for (size_t t = 0; t < transfer->table_count && status == MOSAIC_OK; t++)
        for (size_t c = 0; c < shards[0].tables[t].column_count && status == MOSAIC_OK; c++)
            status = set_column(transfer, shards, t, c, error);
    return status;
}
