/* The catalog as it is to be, written in one transaction. */
#include "catalog/apply_steps.h"
#include "core/sqlexpr.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { CATALOG_MS = 60000, SQL_MOST = 16 * 1024 * 1024 };

static void add_text(struct buffer *sql, const char *text)
{
    sql_literal(sql, text, strlen(text));
}

static void add_shards(struct buffer *sql, const struct catalog_state *wanted)
{
    buffer_text(sql, "DELETE FROM mosaic.shard WHERE id <> ALL (ARRAY[");
    for (size_t i = 0; i < wanted->shard_count; i++)
        buffer_format(sql, "%s%d", i ? "," : "", wanted->shards[i].id);
    buffer_text(sql,
                "]); UPDATE mosaic.shard SET name = name || ':'; "); /* so that two can swap names; ':' is in none */
    for (size_t i = 0; i < wanted->shard_count; i++) {
        const struct catalog_shard *shard = &wanted->shards[i];
        buffer_format(sql, "INSERT INTO mosaic.shard (id, name, address, identity) VALUES (%d, ", shard->id);
        add_text(sql, shard->name);
        buffer_text(sql, ", ");
        add_text(sql, shard->address);
        buffer_text(sql, ", ");
        add_text(sql, shard->identity);
        buffer_text(sql, ") ON CONFLICT (id) DO UPDATE SET name = excluded.name, address = excluded.address,"
                         " identity = excluded.identity; ");
    }
}

static void add_colocation(struct buffer *sql, const struct catalog_state *wanted, const struct colocation *group)
{
    buffer_format(sql, "INSERT INTO mosaic.colocation VALUES (%d, ", group->id);
    add_text(sql, function_versioned_name(group->function));
    buffer_text(sql, ", ");
    state_add_array(sql, group->key_class, group->columns);
    buffer_text(sql, ", ");
    state_add_array(sql, group->bounds, group->bound_count);
    buffer_text(sql, ", '{");
    for (uint32_t bucket = 0; bucket < group->buckets; bucket++)
        buffer_format(sql, "%s%d", bucket ? "," : "", wanted->shards[group->owners[bucket]].id);
    buffer_text(sql, "}'); ");
}

static void add_relation(struct buffer *sql, const struct catalog_table *table)
{
    const char *types[KEY_COLUMNS_MAX];
    for (size_t i = 0; i < table->column_count; i++)
        types[i] = type_name(table->types[i]);
    buffer_text(sql, "INSERT INTO mosaic.relation VALUES (");
    add_text(sql, table->schema);
    buffer_text(sql, ", ");
    add_text(sql, table->name);
    buffer_format(sql, ", '%s', ", table_kind_name(table->kind));
    state_add_array(sql, table->columns, table->column_count);
    buffer_text(sql, ", ");
    state_add_array(sql, types, table->column_count);
    if (table->colocation)
        buffer_format(sql, ", %d); ", table->colocation->id);
    else
        buffer_text(sql, ", NULL); ");
}

static void add_history(struct buffer *sql, const struct apply *apply)
{
    char host[256] = "?", client[512];
    const char *user = getenv("USER");
    gethostname(host, sizeof host - 1);
    snprintf(client, sizeof client, "pgmosaic %s, %s@%s", mosaic_version(), user ? user : "?", host);
    buffer_text(sql, "INSERT INTO mosaic.history (client, epoch_before, epoch_after, plan) VALUES (");
    add_text(sql, client);
    buffer_format(sql, ", %" PRIu64 ", %" PRIu64 ", ", apply->difference.epoch_before, apply->difference.wanted.epoch);
    add_text(sql, buffer_string(&apply->difference.plan));
    buffer_text(sql, "); ");
}

static bool is_used(const struct catalog_state *wanted, const struct colocation *group)
{
    for (size_t i = 0; i < wanted->table_count; i++)
        if (wanted->tables[i].colocation == group)
            return true;
    return false;
}

mosaic_status steps_catalog(struct apply *apply, mosaic_error *error)
{
    const struct catalog_state *wanted = &apply->difference.wanted;
    struct apply_shard *shard = &apply->shards[apply->catalog_shard];
    struct buffer sql = BUFFER_INIT(SQL_MOST);
    buffer_text(&sql, "DELETE FROM mosaic.relation; DELETE FROM mosaic.colocation; ");
    add_shards(&sql, wanted);
    for (size_t i = 0; i < wanted->colocation_count; i++)
        if (is_used(wanted, &wanted->colocations[i]))
            add_colocation(&sql, wanted, &wanted->colocations[i]);
    for (size_t i = 0; i < wanted->table_count; i++)
        add_relation(&sql, &wanted->tables[i]);
    buffer_format(&sql, "INSERT INTO mosaic.cluster (schema_version, name, engine, epoch) VALUES (%d, ",
                  CATALOG_SCHEMA_VERSION);
    add_text(&sql, wanted->cluster);
    buffer_text(&sql, ", ");
    add_text(&sql, wanted->engine);
    buffer_format(&sql,
                  ", %" PRIu64 ") ON CONFLICT (singleton) DO UPDATE SET epoch = excluded.epoch,"
                  " schema_version = excluded.schema_version; ",
                  wanted->epoch);
    add_history(&sql, apply);
    buffer_text(&sql, "NOTIFY mosaic");
    const char *name = apply->model->shards[apply->catalog_shard].name;
    mosaic_status status = buffer_failed(&sql) ? error_memory(error)
                                               : pq_exec(shard->connection, name, buffer_string(&sql),
                                                         pq_deadline(CATALOG_MS), NULL, error);
    buffer_free(&sql);
    if (status == MOSAIC_OK && apply->say)
        apply->say(apply->say_context, finding_text(&apply->findings, "catalog at epoch %" PRIu64, wanted->epoch));
    return status;
}
