#include "catalog/schema_oids.h"

#include "base/error.h"
#include "catalog/parallel.h"
#include "catalog/schema_sql.h"

#include <stdlib.h>
#include <string.h>

struct answer_of_shard {
    PGresult *result; /* NULL where it failed */
    mosaic_status status;
    mosaic_error error;
};

struct question {
    const struct schema *schema;
    int64_t deadline;
    struct answer_of_shard *answers;
};

static void ask_shard(void *context, size_t at)
{
    struct question *question = context;
    struct answer_of_shard *answer = &question->answers[at];
    const struct shard *shard = &question->schema->model->shards[at];
    PGconn *connection;
    if (at == question->schema->home)
        return;
    answer->status =
        pq_connect(shard->conninfo, shard->name, "pgmosaic", question->deadline, &connection, &answer->error);
    if (answer->status != MOSAIC_OK)
        return;
    answer->status =
        pq_exec(connection, shard->name, schema_oids_sql, question->deadline, &answer->result, &answer->error);
    PQfinish(connection);
}

/* Before schema_index: indexes of types, sorted by schema and name. */
static int compare_names(const void *a, const void *b)
{
    const struct schema_type *left = *(const struct schema_type *const *)a,
                             *right = *(const struct schema_type *const *)b;
    int order = strcmp(left->name, right->name);
    return order ? order : strcmp(left->schema, right->schema);
}

static void fill(const struct schema *schema, const struct schema_type **sorted, const PGresult *result, uint32_t *oids)
{
    for (int row = 0; row < PQntuples(result); row++) {
        struct schema_type wanted = {.schema = PQgetvalue(result, row, 0), .name = PQgetvalue(result, row, 1)};
        const struct schema_type *key = &wanted;
        const struct schema_type **found = bsearch(&key, sorted, schema->type_count, sizeof *sorted, compare_names);
        if (found)
            oids[*found - schema->types] = (uint32_t)strtoul(PQgetvalue(result, row, 2), NULL, 10);
    }
}

static void report_silent(struct schema_report *report, const struct question *question, size_t shards)
{
    for (size_t shard = 0; shard < shards; shard++) {
        const struct answer_of_shard *answer = &question->answers[shard];
        if (answer->status == MOSAIC_OK)
            continue;
        if (!report->silent_count++)
            report->silent = shard, report->reason = answer->error;
    }
}

/* A row a place: the OIDs below 12000 are equal everywhere, those of the home shard its own. */
bool schema_take_oids(struct schema *schema, PGresult *const *answers, const struct schema *before)
{
    size_t shards = model_places(schema->model), count = schema->type_count;
    uint32_t *oids = arena_zeroed(&schema->arena, shards * count, sizeof *oids);
    const struct schema_type **sorted = memory_allocate(count * sizeof *sorted);
    bool differ = false;
    for (size_t i = 0; sorted && i < count; i++)
        sorted[i] = &schema->types[i];
    if (sorted)
        qsort(sorted, count, sizeof *sorted, compare_names);
    for (size_t shard = 0; oids && sorted && shard < shards; shard++) {
        uint32_t *row = oids + shard * count;
        for (size_t i = 0; i < count; i++) {
            uint32_t oid = schema->types[i].oid;
            bool was_there = before && !answers[shard] && schema_type_by_oid(before, oid);
            row[i] = shard == schema->home || oid < 12000 ? oid : was_there ? schema_oid_on(before, shard, oid) : 0;
        }
        if (answers[shard])
            fill(schema, sorted, answers[shard], row);
        for (size_t i = 0; i < count; i++)
            differ |= row[i] != schema->types[i].oid;
    }
    schema->type_oids = differ ? oids : NULL;
    bool made = oids && sorted;
    memory_free(sorted);
    return made;
}

static bool has_own_types(const struct schema *schema)
{
    return schema->type_count && schema->types[schema->type_count - 1].oid >= 16384;
}

mosaic_status schema_read_oids(struct schema *schema, int64_t deadline, struct schema_report *report,
                               mosaic_error *error)
{
    size_t shards = model_places(schema->model);
    if (shards < 2 || !has_own_types(schema))
        return MOSAIC_OK;
    struct question question = {schema, deadline, memory_zeroed(shards, sizeof *question.answers)};
    PGresult **results = memory_zeroed(shards, sizeof(PGresult *));
    bool made = question.answers && results;
    if (made) {
        parallel_run(shards, ask_shard, &question);
        report_silent(report, &question,
                      schema->model->shard_count); /* without the coordinator no shard is worse off */
        for (size_t shard = 0; shard < shards; shard++)
            results[shard] = question.answers[shard].result;
        made = schema_take_oids(schema, results, NULL);
    }
    for (size_t shard = 0; shard < shards && results; shard++)
        PQclear(results[shard]);
    memory_free(results);
    memory_free(question.answers);
    return made ? MOSAIC_OK : error_memory(error);
}
