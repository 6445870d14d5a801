#include "cli/route_check.h"

#include "base/buffer.h"
#include "core/sqlexpr.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum { CHECK_MS = 60000, KEYS_MOST = 256 * 1024 * 1024 };

/* $1: the table, $2: keys as text, which Citus's function reads as the column's type by itself. */
static const char check_sql[] =
    "SELECT shard, coalesce((SELECT min(nodename || ':' || nodeport) FROM pg_catalog.pg_dist_placement p"
    " JOIN pg_catalog.pg_dist_node n USING (groupid) WHERE p.shardid = shard AND shardstate = 1 AND noderole = "
    "'primary'), '') FROM (SELECT at, pg_catalog.get_shard_id_for_distribution_column($1::text::regclass, key) AS shard"
    " FROM unnest($2::text[]) WITH ORDINALITY AS k(key, at) OFFSET 0) s ORDER BY at";

static void add_key(struct buffer *array, const struct key_slice *key)
{
    buffer_char(array, '"');
    for (size_t i = 0; i < key->size; i++) {
        if (key->data[i] == '"' || key->data[i] == '\\')
            buffer_char(array, '\\');
        buffer_char(array, (char)key->data[i]);
    }
    buffer_char(array, '"');
}

static mosaic_status ask(const struct route_check *check, const struct key_slice *keys, size_t count, PGresult **result,
                         mosaic_error *error)
{
    struct buffer name = BUFFER_INIT(4096), array = BUFFER_INIT(KEYS_MOST);
    mosaic_status status;
    sql_qualified(&name, check->table->schema, check->table->name);
    buffer_char(&array, '{');
    for (size_t i = 0; i < count; i++) {
        buffer_text(&array, i ? "," : "");
        add_key(&array, &keys[i]);
    }
    buffer_char(&array, '}');
    if (buffer_failed(&name) || buffer_failed(&array)) {
        status = error_memory(error);
    } else {
        const char *values[] = {buffer_string(&name), buffer_string(&array)};
        status = pq_exec_params(check->coordinator, check->model->shards[0].name, check_sql, 2, values,
                                pq_deadline(CHECK_MS), result, error);
    }
    buffer_free(&name);
    buffer_free(&array);
    return status;
}

mosaic_status route_check(void *context, const struct key_slice *keys, const uint32_t *buckets, size_t count,
                          size_t *good, mosaic_error *error)
{
    struct route_check *check = context;
    const struct citus_shards *shards = check->table->citus;
    PGresult *result = NULL;
    *good = 0;
    mosaic_status status = ask(check, keys, count, &result, error);
    for (size_t i = 0; i < count && status == MOSAIC_OK; i++) {
        const char *node = check->model->nodes[shards->nodes[buckets[i]]].name;
        const char *shard = PQgetvalue(result, (int)i, 0), *there = PQgetvalue(result, (int)i, 1);
        if (atoll(shard) != shards->ids[buckets[i]] || strcmp(node, there) != 0) {
            error_set(error, MOSAIC_STALE, "Citus places the key %.*s in shard %s on %s, and we in %" PRId64 " on %s",
                      (int)(keys[i].size < 100 ? keys[i].size : 100), (const char *)keys[i].data, shard, there,
                      shards->ids[buckets[i]], node);
            error_hint(error, "a shard was moved or split meanwhile? Then run it again; else please report it");
            status = error_shard(error, check->model->shards[0].name);
            break;
        }
        ++*good;
        check->keys++;
    }
    PQclear(result);
    return status;
}
