#include "catalog/coordinator.h"

#include "catalog/catalog.h"
#include "catalog/coordinator_sql.h"
#include "catalog/state.h"
#include "core/sqlexpr.h"

#include <inttypes.h>
#include <openssl/sha.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAP_MOST = 64 * 1024 * 1024, DIGEST_BYTES = 16, MD5_DIGITS = 32 };

/* ---- the fingerprint ---- */

static int compare_texts(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* What the coordinator's definition of a table takes from its rule and map; shards by their names. */
static const char *table_text(const struct model *model, const struct table *table, struct arena *arena)
{
    const struct rule *rule = &table->rule;
    struct buffer text = BUFFER_INIT(MAP_MOST);
    buffer_format(&text, "%s\n%s\n%s\n", table->schema, table->name, table_kind_name(table->kind));
    if (table->map) {
        buffer_format(&text, "%s %u\n", function_versioned_name(rule->function), rule->buckets);
        for (size_t i = 0; i < rule->columns; i++)
            buffer_format(&text, "%s %s\n", table->columns[i], type_name(rule->types[i]));
        for (size_t i = 0; i < state_bound_count(rule); i++)
            buffer_format(&text, "%zu %s\n", strlen(rule->bound_texts[i]), rule->bound_texts[i]);
        for (uint32_t bucket = 0; bucket < rule->buckets; bucket++)
            buffer_format(&text, "%s ", model->shards[table->map->owner[bucket]].name);
    }
    const char *copy = buffer_failed(&text) ? NULL : arena_string(arena, buffer_string(&text));
    buffer_free(&text);
    return copy;
}

static const char *shard_text(const struct shard *shard, struct arena *arena)
{
    char address[400];
    pq_conninfo_address(shard->conninfo, address, sizeof address);
    return arena_format(arena, "%s %s", shard->name, address);
}

/* Tables, rules, maps and addresses, whatever their order in the config: 32 hexadecimal digits into text. */
static mosaic_status digest_map(const struct model *model, char *digits, mosaic_error *error)
{
    struct arena arena = ARENA_INIT;
    unsigned char digest[SHA256_DIGEST_LENGTH];
    size_t count = 0;
    struct buffer all = BUFFER_INIT(MAP_MOST);
    const char **texts = arena_zeroed(&arena, model->shard_count + model->table_count, sizeof *texts);
    bool failed = !texts;
    for (size_t i = 0; !failed && i < model->shard_count; i++)
        failed = !(texts[count++] = shard_text(&model->shards[i], &arena));
    for (size_t i = 0; !failed && i < model->table_count; i++) {
        const struct table *table = &model->tables[i];
        /* Not applied yet: the home shard's, as any other. */
        if (table->map || table->kind == TABLE_REFERENCE)
            failed = !(texts[count++] = table_text(model, table, &arena));
    }
    if (!failed) {
        qsort(texts, count, sizeof *texts, compare_texts);
        for (size_t i = 0; i < count; i++)
            buffer_add(&all, texts[i], strlen(texts[i]) + 1);
        SHA256((const unsigned char *)buffer_string(&all), all.size, digest);
        for (size_t i = 0; i < DIGEST_BYTES; i++)
            snprintf(digits + 2 * i, 3, "%02x", digest[i]);
    }
    failed |= buffer_failed(&all);
    buffer_free(&all);
    arena_free(&arena);
    return failed ? error_memory(error) : MOSAIC_OK;
}

mosaic_status coordinator_fingerprint(PGconn *home, const struct model *model, int64_t deadline,
                                      char fingerprint[COORDINATOR_FINGERPRINT_SIZE], mosaic_error *error)
{
    PGresult *result = NULL;
    mosaic_status status = pq_exec(home, "home", coordinator_fingerprint_sql, deadline, &result, error);
    if (status != MOSAIC_OK)
        return status;
    snprintf(fingerprint, COORDINATOR_FINGERPRINT_SIZE, "%.*s-", MD5_DIGITS, PQgetvalue(result, 0, 0));
    PQclear(result);
    return digest_map(model, fingerprint + strlen(fingerprint), error);
}

/* ---- the check ---- */

const char coordinator_question[] =
    "SELECT e.epoch, e.shard, e.cluster, c.fingerprint, pg_catalog.array_to_string(c.lacks, '; ')"
    " FROM mosaic.epoch e, mosaic.coordinator c";

static mosaic_status stale(mosaic_error *error, const char *hint, const char *what)
{
    error_set(error, MOSAIC_STALE, "the coordinator %s", what);
    error_hint(error, "%s", hint);
    return error_shard(error, COORDINATOR_NAME);
}

mosaic_status coordinator_judge(const struct model *model, const PGresult *answer, const char *fingerprint,
                                mosaic_error *error)
{
    static const char apply[] = "run pgmosaic apply";
    char what[500];
    if (!answer || PQntuples(answer) != 1)
        return stale(error, apply, "was not made yet");
    if (strcmp(PQgetvalue(answer, 0, 1), COORDINATOR_NAME) != 0 || strcmp(PQgetvalue(answer, 0, 2), model->name) != 0) {
        snprintf(what, sizeof what, "is no such thing: its database says that it is %s of cluster %s",
                 PQgetvalue(answer, 0, 1), PQgetvalue(answer, 0, 2));
        return stale(error, "correct coordinator: in the config", what);
    }
    uint64_t epoch = strtoull(PQgetvalue(answer, 0, 0), NULL, 10);
    if (epoch != model->epoch) {
        snprintf(what, sizeof what, "is at epoch %" PRIu64 ", the cluster at %" PRIu64, epoch, model->epoch);
        return stale(error, apply, what);
    }
    if (strcmp(PQgetvalue(answer, 0, 3), fingerprint) != 0)
        return stale(error, apply, "was made from other definitions, grants, map or addresses than there are now");
    if (!PQgetisnull(answer, 0, 4)) {
        snprintf(what, sizeof what, "is not whole: %s", PQgetvalue(answer, 0, 4));
        return stale(error, "do on the coordinator what the message asks for, then run pgmosaic apply", what);
    }
    return MOSAIC_OK;
}

mosaic_status coordinator_ask(PGconn *coordinator, int64_t deadline, PGresult **answer, mosaic_error *error)
{
    mosaic_error local;
    *answer = NULL;
    mosaic_status status = pq_exec(coordinator, COORDINATOR_NAME, coordinator_question, deadline, answer, &local);
    /* undefined_table, invalid_schema_name; an older one's undefined_column */
    if (status == MOSAIC_SERVER && (strcmp(local.sqlstate, "42P01") == 0 || strcmp(local.sqlstate, "3F000") == 0 ||
                                    strcmp(local.sqlstate, "42703") == 0))
        return MOSAIC_OK;
    if (status != MOSAIC_OK && error)
        *error = local;
    return status;
}

mosaic_status coordinator_check(PGconn *home, PGconn *coordinator, const struct model *model, int64_t deadline,
                                mosaic_error *error)
{
    char fingerprint[COORDINATOR_FINGERPRINT_SIZE];
    PGresult *answer = NULL;
    mosaic_status status = coordinator_fingerprint(home, model, deadline, fingerprint, error);
    if (status == MOSAIC_OK)
        status = coordinator_ask(coordinator, deadline, &answer, error);
    if (status == MOSAIC_OK)
        status = coordinator_judge(model, answer, fingerprint, error);
    PQclear(answer);
    return status;
}
