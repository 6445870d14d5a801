/*
 * Verification that trusts neither the copy nor its counts: each server sums up its own rows. A row's sums are two
 * 64-bit hashes of its binary form or its text, so the order of rows and where they stand do not matter. Where two
 * sides differ, the keys fall into groups, and only the groups that differ are read and compared row by row.
 */
#include "catalog/checksum.h"
#include "catalog/parallel.h"
#include "core/sqlexpr.h"
#include "transfer/transfer.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum { SQL_MOST = 512 * 1024, GROUPS = 1024, KEYS_SHOWN = 20, GROUP_ROWS_MOST = 200000 };

/* A node of either side. */
struct node {
    PGconn *connection;
    const char *name;
    const char *sql;
    PGresult *result;
    mosaic_status status;
    mosaic_error error;
    int timeout_ms;
};

static void ask_node(void *context, size_t at)
{
    struct node *node = &((struct node *)context)[at];
    node->status =
        pq_exec(node->connection, node->name, node->sql, pq_deadline(node->timeout_ms), &node->result, &node->error);
}

/* The same statement on all nodes at once; *nodes[i].result are to be cleared. */
static mosaic_status ask_all(struct node *nodes, size_t count, const char *sql, mosaic_error *error)
{
    for (size_t i = 0; i < count; i++)
        nodes[i].sql = sql;
    parallel_run(count, ask_node, nodes);
    for (size_t i = 0; i < count; i++)
        if (nodes[i].status != MOSAIC_OK) {
            if (error)
                *error = nodes[i].error;
            return nodes[i].status;
        }
    return MOSAIC_OK;
}

static void clear(struct node *nodes, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        PQclear(nodes[i].result);
        nodes[i].result = NULL;
    }
}

/* ---- what is asked --------------------------------------------------------------------------------------- */

/* The columns that name a row: the primary key, else the sharding key, else all. */
static void add_key_text(struct buffer *sql, const struct transfer_table *table)
{
    const struct constraint_facts *primary = NULL;
    for (size_t i = 0; i < table->facts->constraint_count; i++)
        if (table->facts->constraints[i].type == 'p' && !*table->facts->constraints[i].partition)
            primary = &table->facts->constraints[i];
    if (!primary && table->table->column_count == 0) {
        checksum_add_text(sql, table->facts);
        return;
    }
    size_t count = primary ? primary->column_count : table->table->column_count;
    buffer_text(sql, "ROW(");
    for (size_t i = 0; i < count; i++) {
        buffer_text(sql, i ? ", " : "");
        sql_identifier(sql, primary ? primary->columns[i] : table->table->columns[i]);
    }
    buffer_text(sql, ")::text COLLATE \"C\"");
}

static void ask_for_sums(struct buffer *sql, const struct transfer_table *table)
{
    buffer_text(sql, "SELECT ");
    checksum_add_sums(sql, table->facts);
    buffer_text(sql, " FROM (SELECT ");
    checksum_add_form(sql, table->facts);
    buffer_text(sql, " FROM ");
    transfer_add_name(sql, table->table);
    buffer_text(sql, ") x");
}

static void ask_for_groups(struct buffer *sql, const struct transfer_table *table)
{
    buffer_text(sql, "SELECT g, ");
    checksum_add_sums(sql, table->facts);
    buffer_text(sql, " FROM (SELECT ");
    checksum_add_form(sql, table->facts);
    buffer_text(sql, ", pg_catalog.hashtextextended(");
    add_key_text(sql, table);
    buffer_format(sql, ", 3) & %d AS g FROM ", GROUPS - 1);
    transfer_add_name(sql, table->table);
    buffer_text(sql, ") x GROUP BY g");
}

static void ask_for_rows(struct buffer *sql, const struct transfer_table *table, int group)
{
    buffer_text(sql, "SELECT k, ");
    checksum_add_hash(sql, table->facts, 1);
    buffer_text(sql, ", ");
    checksum_add_hash(sql, table->facts, 2);
    buffer_text(sql, " FROM (SELECT ");
    checksum_add_form(sql, table->facts);
    buffer_text(sql, ", ");
    add_key_text(sql, table);
    buffer_text(sql, " AS k FROM ");
    transfer_add_name(sql, table->table);
    buffer_format(sql, ") x WHERE (pg_catalog.hashtextextended(k, 3) & %d) = %d LIMIT %d", GROUPS - 1, group,
                  GROUP_ROWS_MOST);
}

/* ---- sums ------------------------------------------------------------------------------------------------ */

static mosaic_status sum_side(struct node *nodes, size_t count, const char *sql, struct checksum *sums,
                              mosaic_error *error)
{
    mosaic_status status = ask_all(nodes, count, sql, error);
    *sums = (struct checksum){0};
    for (size_t i = 0; status == MOSAIC_OK && i < count; i++)
        checksum_add_up(sums, nodes[i].result, 0, 0);
    clear(nodes, count);
    return status;
}

static mosaic_status sum_groups(struct node *nodes, size_t count, const char *sql, struct checksum *groups,
                                mosaic_error *error)
{
    mosaic_status status = ask_all(nodes, count, sql, error);
    for (size_t i = 0; status == MOSAIC_OK && i < count; i++)
        for (int row = 0; row < PQntuples(nodes[i].result); row++)
            checksum_add_up(&groups[atoi(PQgetvalue(nodes[i].result, row, 0)) & (GROUPS - 1)], nodes[i].result, row, 1);
    clear(nodes, count);
    return status;
}

/* ---- rows that differ --------------------------------------------------------------------------------------- */

struct row {
    const char *key, *first, *second;
};

static int compare_rows(const void *left, const void *right)
{
    const struct row *a = left, *b = right;
    int order = strcmp(a->key, b->key);
    if (!order)
        order = strcmp(a->first, b->first);
    return order ? order : strcmp(a->second, b->second);
}

static mosaic_status read_group(struct node *nodes, size_t count, const char *sql, struct row **rows, size_t *found,
                                mosaic_error *error)
{
    mosaic_status status = ask_all(nodes, count, sql, error);
    *found = 0;
    for (size_t i = 0; status == MOSAIC_OK && i < count; i++)
        *found += (size_t)PQntuples(nodes[i].result);
    *rows = memory_zeroed(*found + 1, sizeof **rows);
    if (status != MOSAIC_OK || !*rows)
        return status == MOSAIC_OK ? error_memory(error) : status;
    size_t used = 0;
    for (size_t i = 0; i < count; i++)
        for (int row = 0; row < PQntuples(nodes[i].result); row++)
            (*rows)[used++] = (struct row){PQgetvalue(nodes[i].result, row, 0), PQgetvalue(nodes[i].result, row, 1),
                                           PQgetvalue(nodes[i].result, row, 2)};
    qsort(*rows, used, sizeof **rows, compare_rows);
    return MOSAIC_OK;
}

/* Says up to KEYS_SHOWN keys in all; *said counts them. */
static void say_differences(const struct transfer *transfer, const struct transfer_table *table, const struct row *from,
                            size_t from_count, const struct row *to, size_t to_count, size_t *said)
{
    size_t i = 0, j = 0;
    while ((i < from_count || j < to_count) && *said < KEYS_SHOWN) {
        int order = i == from_count ? 1 : j == to_count ? -1 : strcmp(from[i].key, to[j].key);
        if (order == 0 && compare_rows(&from[i], &to[j]) == 0) {
            i++, j++;
            continue;
        }
        const char *what = order < 0 ? "is missing on the target" : order > 0 ? "is only on the target" : "differs";
        transfer_say(transfer, "%s: %s %s", table->table->display, order > 0 ? to[j].key : from[i].key, what);
        i += order <= 0;
        j += order >= 0;
        ++*said;
    }
}

struct sides {
    struct node *from, *to;
    size_t from_count, to_count;
};

static mosaic_status compare_group(const struct transfer *transfer, const struct transfer_table *table,
                                   struct sides *sides, int group, size_t *said, mosaic_error *error)
{
    struct buffer sql = BUFFER_INIT(SQL_MOST);
    struct row *from = NULL, *to = NULL;
    size_t from_count = 0, to_count = 0;
    ask_for_rows(&sql, table, group);
    mosaic_status status = buffer_failed(&sql) ? error_memory(error) : MOSAIC_OK;
    if (status == MOSAIC_OK)
        status = read_group(sides->from, sides->from_count, buffer_string(&sql), &from, &from_count, error);
    if (status == MOSAIC_OK)
        status = read_group(sides->to, sides->to_count, buffer_string(&sql), &to, &to_count, error);
    if (status == MOSAIC_OK)
        say_differences(transfer, table, from, from_count, to, to_count, said);
    memory_free(from);
    memory_free(to);
    clear(sides->from, sides->from_count);
    clear(sides->to, sides->to_count);
    buffer_free(&sql);
    return status;
}

static mosaic_status find_differences(const struct transfer *transfer, const struct transfer_table *table,
                                      struct sides *sides, mosaic_error *error)
{
    struct checksum *groups = memory_zeroed(2 * GROUPS, sizeof *groups);
    struct buffer sql = BUFFER_INIT(SQL_MOST);
    size_t said = 0;
    if (!groups)
        return error_memory(error);
    ask_for_groups(&sql, table);
    mosaic_status status = buffer_failed(&sql) ? error_memory(error) : MOSAIC_OK;
    if (status == MOSAIC_OK)
        status = sum_groups(sides->from, sides->from_count, buffer_string(&sql), groups, error);
    if (status == MOSAIC_OK)
        status = sum_groups(sides->to, sides->to_count, buffer_string(&sql), groups + GROUPS, error);
    for (int group = 0; group < GROUPS && status == MOSAIC_OK && said < KEYS_SHOWN; group++)
        if (!checksum_same(&groups[group], &groups[GROUPS + group]))
            status = compare_group(transfer, table, sides, group, &said, error);
    if (said == KEYS_SHOWN)
        transfer_say(transfer, "%s: and perhaps more", table->table->display);
    buffer_free(&sql);
    memory_free(groups);
    return status;
}

/* ---- the sides ---------------------------------------------------------------------------------------------- */

struct summing {
    struct sides *sides;
    const char *sql;
    struct checksum sums[2]; /* of the source, of the target */
    mosaic_status statuses[2];
    mosaic_error errors[2];
};

static void sum_one_side(void *context, size_t at)
{
    struct summing *summing = context;
    struct sides *sides = summing->sides;
    summing->statuses[at] = sum_side(at ? sides->to : sides->from, at ? sides->to_count : sides->from_count,
                                     summing->sql, &summing->sums[at], &summing->errors[at]);
}

/* Both sides at once. */
static mosaic_status sum_sides(struct sides *sides, const char *sql, struct checksum *from, struct checksum *to,
                               mosaic_error *error)
{
    struct summing summing = {.sides = sides, .sql = sql};
    parallel_run(2, sum_one_side, &summing);
    *from = summing.sums[0];
    *to = summing.sums[1];
    for (size_t i = 0; i < 2; i++)
        if (summing.statuses[i] != MOSAIC_OK) {
            if (error)
                *error = summing.errors[i];
            return summing.statuses[i];
        }
    return MOSAIC_OK;
}

static mosaic_status compare(const struct transfer *transfer, const struct transfer_table *table, struct sides *sides,
                             bool *equal, mosaic_error *error)
{
    struct buffer sql = BUFFER_INIT(SQL_MOST);
    struct checksum from = {0}, to = {0};
    ask_for_sums(&sql, table);
    mosaic_status status =
        buffer_failed(&sql) ? error_memory(error) : sum_sides(sides, buffer_string(&sql), &from, &to, error);
    buffer_free(&sql);
    if (status != MOSAIC_OK || checksum_same(&from, &to)) {
        if (status == MOSAIC_OK)
            transfer_say(transfer, "%s: %" PRIu64 " rows, checksum %016" PRIx64 "%016" PRIx64 ", equal on both sides",
                         table->table->display, (uint64_t)from.rows, (uint64_t)from.first, (uint64_t)from.second);
        return status;
    }
    *equal = false;
    transfer_say(transfer, "%s: %" PRIu64 " rows on the source, %" PRIu64 " on the target%s", table->table->display,
                 (uint64_t)from.rows, (uint64_t)to.rows, from.rows == to.rows ? ", with other values" : "");
    return find_differences(transfer, table, sides, error);
}

/* A reference table's copies are compared one by one. */
static mosaic_status verify_table(struct transfer *transfer, const struct transfer_table *table, struct sides *sides,
                                  bool *equal, mosaic_error *error)
{
    struct sides these = *sides;
    mosaic_status status = MOSAIC_OK;
    if (table->everywhere)
        these.from_count = 1;
    if (table->table->kind != TABLE_REFERENCE)
        return compare(transfer, table, &these, equal, error);
    for (size_t i = 0; i < sides->to_count && status == MOSAIC_OK; i++) {
        these.to = &sides->to[i];
        these.to_count = 1;
        status = compare(transfer, table, &these, equal, error);
    }
    return status;
}

static mosaic_status begin_on(PGconn *connection, const char *name, enum engine_kind engine, int timeout_ms,
                              mosaic_error *error)
{
    /* Rows' texts must not depend on a session's settings; of a Citus cluster's workers neither. That a policy hides
     * rows from this role is an error. A source is in its snapshot's transaction already, unless nothing but a
     * comparison was asked for. */
    const char *start = PQtransactionStatus(connection) == PQTRANS_IDLE ? "BEGIN ISOLATION LEVEL REPEATABLE READ;" : "";
    const char *citus = engine == ENGINE_CITUS ? "SET citus.propagate_set_commands = 'local';" : "";
    struct buffer sql = BUFFER_INIT(4096);
    buffer_format(&sql, "%s%sSET LOCAL row_security = off;%s", citus, start, checksum_settings);
    mosaic_status status = buffer_failed(&sql)
                               ? error_memory(error)
                               : pq_exec(connection, name, buffer_string(&sql), pq_deadline(timeout_ms), NULL, error);
    buffer_free(&sql);
    return status;
}

static mosaic_status begin(struct transfer *transfer, mosaic_error *error)
{
    mosaic_status status = MOSAIC_OK;
    int timeout_ms = transfer->options.timeout_ms;
    for (size_t i = 0; i < transfer->source_count && status == MOSAIC_OK; i++)
        status = begin_on(transfer->sources[i].connection, transfer->sources[i].name, transfer->from->engine,
                          timeout_ms, error);
    for (size_t i = 0; i < transfer->to->shard_count && status == MOSAIC_OK; i++)
        status = begin_on(transfer->targets[i], transfer->to->shards[i].name, transfer->to->engine, timeout_ms, error);
    return status;
}

mosaic_status transfer_verify(struct transfer *transfer, bool *equal, mosaic_error *error)
{
    struct sides sides = {.from_count = transfer->source_count, .to_count = transfer->to->shard_count};
    sides.from = arena_zeroed(&transfer->arena, sides.from_count, sizeof *sides.from);
    sides.to = arena_zeroed(&transfer->arena, sides.to_count, sizeof *sides.to);
    *equal = true;
    if (!sides.from || !sides.to)
        return error_memory(error);
    for (size_t i = 0; i < sides.from_count; i++)
        sides.from[i] = (struct node){.connection = transfer->sources[i].connection,
                                      .name = transfer->sources[i].name,
                                      .timeout_ms = transfer->options.timeout_ms};
    for (size_t i = 0; i < sides.to_count; i++)
        sides.to[i] = (struct node){.connection = transfer->targets[i],
                                    .name = transfer->to->shards[i].name,
                                    .timeout_ms = transfer->options.timeout_ms};
    mosaic_status status = begin(transfer, error);
    for (size_t i = 0; i < transfer->table_count && status == MOSAIC_OK; i++)
        status = verify_table(transfer, &transfer->tables[i], &sides, equal, error);
    mosaic_error ignored;
    if (status == MOSAIC_OK)
        return transfer_on_targets(transfer, "COMMIT", error);
    (void)!transfer_on_targets(transfer, "ROLLBACK", &ignored);
    return status;
}
