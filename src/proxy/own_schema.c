#include "proxy/own_schema.h"

#include "base/memory.h"
#include "catalog/schema_read.h"
#include "plan/cache.h"
#include "proxy/proxy.h"
#include "proxy/scatter.h"

enum { PLANS_MOST = 1 << 20, COLUMNS_MOST = 64 };

struct own_schema {
    struct worker *worker;
    struct own_schema *dropped; /* the next one */
    struct world *world;        /* held */
    bool is_read;
    struct schema schema;
    struct arena arena;
    struct typemap *typemaps; /* of each place */
    struct plan_cache *plans;
    size_t asked; /* so many shards have answered */
    PGresult *answers[SCHEMA_ANSWERS];
    size_t answer_count;
    PGresult **oids;  /* of each place */
    PGresult *taking; /* the one whose rows come */
    bool fails;       /* memory was out, or what came is no answer */
};

/* ---- whose it is ---- */

static struct own_schema *find(const struct client *client, const struct worker *worker)
{
    if (__builtin_expect(!worker->own_schemas, 1) || !client)
        return NULL;
    const struct client *owner = client->is_leg ? leg_owner(client) : client;
    struct own_schema *own = owner ? owner->transaction.own_schema : NULL;
    return own && own->is_read ? own : NULL;
}

const struct schema *own_schema_of(const struct client *client, const struct worker *worker)
{
    const struct own_schema *own = find(client, worker);
    return own ? &own->schema : worker->world->schema;
}

const struct typemap *own_schema_typemap(const struct client *client, const struct worker *worker, size_t shard)
{
    const struct own_schema *own = find(client, worker);
    bool has_it = own && shard < model_places(&own->world->model); /* a newer world may have more */
    return has_it ? &own->typemaps[shard] : &worker->world->typemaps[shard];
}

struct plan_cache *own_schema_plans(const struct client *client)
{
    return own_schema_is_read(client) ? client->transaction.own_schema->plans : NULL;
}

bool own_schema_is_read(const struct client *client)
{
    const struct own_schema *own = find(client, client->worker);
    return own && own->world == client->worker->world;
}

/* ---- its life ---- */

static void clear_answers(struct own_schema *own)
{
    for (size_t i = 0; i < own->answer_count; i++)
        PQclear(own->answers[i]);
    own->answer_count = 0;
    for (size_t shard = 0; own->oids && shard < model_places(&own->world->model); shard++)
        PQclear(own->oids[shard]);
    memory_free(own->oids);
    own->oids = NULL;
    own->taking = NULL;
}

void own_schema_drop(struct transaction *transaction)
{
    struct own_schema *own = transaction->own_schema;
    if (!own)
        return;
    transaction->own_schema = NULL;
    own->worker->own_schemas--;
    own->dropped = own->worker->dropped_schemas;
    own->worker->dropped_schemas = own;
}

static void free_one(struct own_schema *own)
{
    clear_answers(own);
    plan_cache_free(own->plans);
    if (own->is_read)
        schema_free(&own->schema);
    arena_free(&own->arena);
    world_release(own->world);
    memory_free(own);
}

void own_schemas_free_dropped(struct worker *worker)
{
    while (worker->dropped_schemas) {
        struct own_schema *own = worker->dropped_schemas;
        worker->dropped_schemas = own->dropped;
        free_one(own);
    }
}

static struct own_schema *make(struct worker *worker)
{
    struct own_schema *own = memory_zeroed(1, sizeof *own);
    if (!own)
        return NULL;
    own->worker = worker;
    own->world = world_hold(worker->world);
    own->oids = memory_zeroed(model_places(&own->world->model), sizeof(PGresult *));
    worker->own_schemas++;
    return own;
}

/* ---- reading ---- */

bool own_schema_begin(struct client *client)
{
    struct transaction *transaction = &client->transaction;
    if (transaction->own_schema && transaction->own_schema->world != client->worker->world)
        own_schema_drop(transaction);
    if (!transaction->own_schema)
        transaction->own_schema = make(client->worker);
    return transaction->own_schema && transaction->own_schema->oids;
}

size_t own_schema_shard(const struct client *client)
{
    const struct own_schema *own = client->transaction.own_schema;
    return (own->world->home + own->asked) % own->world->model.shard_count;
}

void own_schema_question(const struct client *client, struct buffer *sql)
{
    if (client->transaction.own_schema->asked) {
        buffer_text(sql, schema_oids_question());
        return;
    }
    buffer_text(sql, "SAVEPOINT mosaic_schema; SET LOCAL search_path = pg_catalog; SET LOCAL jit = off;\n");
    schema_question(sql);
    buffer_text(sql, "ROLLBACK TO SAVEPOINT mosaic_schema; RELEASE SAVEPOINT mosaic_schema");
}

static bool take_columns(PGresult *result, struct wire_reader *reader)
{
    PGresAttDesc columns[COLUMNS_MOST] = {{0}};
    uint16_t count = wire_read16(reader);
    for (uint16_t i = 0; i < count && i < COLUMNS_MOST; i++) {
        const char *name;
        if (!wire_next_column(reader, &name))
            return false;
        columns[i].name = (char *)(uintptr_t)name; /* which is copied */
    }
    return count <= COLUMNS_MOST && PQsetResultAttrs(result, count, columns);
}

/* RowDescription: the next result begins. */
static bool begin_result(struct own_schema *own, struct wire_reader *reader)
{
    PGresult *result = PQmakeEmptyPGresult(NULL, PGRES_TUPLES_OK);
    size_t shard = (own->world->home + own->asked) % own->world->model.shard_count;
    bool has_room = own->asked ? !own->oids[shard] : own->answer_count < SCHEMA_ANSWERS;
    if (!result || !has_room) {
        PQclear(result);
        return false;
    }
    if (own->asked)
        own->oids[shard] = result;
    else
        own->answers[own->answer_count++] = result;
    own->taking = result;
    return take_columns(result, reader);
}

static bool add_row(PGresult *result, struct wire_reader *reader)
{
    int row = PQntuples(result);
    uint16_t count = wire_read16(reader);
    if (count != PQnfields(result))
        return false;
    for (int i = 0; i < count; i++) {
        uint32_t size = wire_read32(reader);
        const char *bytes = size == UINT32_MAX ? NULL : wire_read_bytes(reader, size);
        if (reader->failed || !PQsetvalue(result, row, i, (char *)(uintptr_t)bytes, bytes ? (int)size : -1))
            return false;
    }
    return true;
}

void own_schema_take(struct client *client, const char *message, const struct wire_frame *frame)
{
    struct own_schema *own = client->transaction.own_schema;
    struct wire_reader reader = wire_body(message, frame);
    if (!own || own->fails)
        return;
    if (frame->type == WIRE_B_ROW_DESCRIPTION)
        own->fails = !begin_result(own, &reader);
    else if (frame->type == WIRE_B_DATA_ROW)
        own->fails = !own->taking || !add_row(own->taking, &reader);
}

static mosaic_status finish(struct client *client, struct own_schema *own, mosaic_error *error)
{
    struct worker *worker = client->worker;
    mosaic_status status = schema_take(own->world->schema, own->answers, own->oids, &own->schema, error);
    if (status != MOSAIC_OK)
        return status;
    own->is_read = true;
    own->schema.version = own->world->version;
    clear_answers(own);
    own->plans = plan_cache_new(PLANS_MOST, worker->plan_seed);
    if (!own->plans)
        return error_memory(error);
    return typemaps_make(&own->schema, model_places(&own->world->model), &own->arena, &own->typemaps, error);
}

mosaic_status own_schema_answered(struct client *client, mosaic_error *error)
{
    struct own_schema *own = client->transaction.own_schema;
    bool is_whole = own && !own->fails && own->answer_count == SCHEMA_ANSWERS &&
                    (!own->asked || own->oids[own_schema_shard(client)]);
    mosaic_status status = MOSAIC_OK;
    if (!is_whole)
        status = error_set(error, MOSAIC_INTERNAL, "the schema of the transaction could not be read");
    else if (++own->asked ==
             (client->schema_spread ? own->world->model.shard_count : 1)) /* else others are as before */
        status = finish(client, own, error);
    if (status != MOSAIC_OK)
        own_schema_drop(&client->transaction);
    return status;
}
