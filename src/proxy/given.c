#include "proxy/given.h"

#include "base/memory.h"
#include "copy/router.h"
#include "proxy/partials.h"
#include "proxy/proxy.h"
#include "proxy/spool.h"

#include <string.h>

struct given {
    struct world *world;       /* held: the rule and the map are its own */
    const struct table *table; /* NULL: one of the home shard alone */
    struct copy_format format;
    const size_t *key_fields;
    const int *key_modifiers;
    const uint32_t *arrays; /* the types of their elements: the home shard's OIDs */
    size_t fields, most;    /* of a row; bytes of all rows */
    bool in_order;          /* RETURNING gives them in the order in which they were read */
    struct wire_bind results;
};

/* ---- its life ---- */

/* What a Bind says of the result's formats. */
static bool take_results(struct given *given, struct arena *arena, const struct wire_bind *bind)
{
    given->results = (struct wire_bind){.result_count = bind ? bind->result_count : 0};
    given->results.results = arena_copy(arena, bind ? bind->results : "", given->results.result_count * (size_t)2 + 1);
    return given->results.results;
}

struct given *given_new(struct scatter *scatter, const struct plan_write *write, const struct wire_bind *bind)
{
    const struct fact_copy *copy = write->copy;
    struct arena *arena = &scatter->arena;
    struct given *given = memory_zeroed(1, sizeof *given);
    if (!given)
        return NULL;
    given->world = world_hold(scatter->worker->world);
    given->table = write->target->table;
    size_t keys = given->table && given->table->kind == TABLE_SHARDED ? given->table->rule.columns : 0;
    given->format = copy->format;
    given->fields = copy->fields;
    given->most = (size_t)scatter->worker->settings->scatter_memory;
    given->in_order = write->returning_in_row_order;
    given->key_fields = arena_copy(arena, copy->key_fields, (keys + 1) * sizeof *given->key_fields);
    given->key_modifiers = arena_copy(arena, copy->key_modifiers, (keys + 1) * sizeof *given->key_modifiers);
    given->arrays = arena_copy(arena, write->arrays, (copy->fields + 1) * sizeof *given->arrays);
    if (given->key_fields && given->key_modifiers && given->arrays && take_results(given, arena, bind))
        return given;
    given_free(given);
    return NULL;
}

void given_free(struct given *given)
{
    if (!given)
        return;
    world_release(given->world);
    memory_free(given);
}

/* ---- the rows ---- */

static mosaic_status too_many(const struct given *given, mosaic_error *error)
{
    (void)!error_set(error, MOSAIC_LIMIT, "the rows of the INSERT's query have more than %zu bytes", given->most);
    error_detail(error, "With ON CONFLICT, RETURNING or OVERRIDING they are kept in memory.");
    error_hint(error, "raise scatter_memory, insert fewer at a time, or leave out the clause");
    error_sqlstate(error, "54000");
    return MOSAIC_LIMIT;
}

static mosaic_status gather(struct scatter *scatter, struct buffer *rows, mosaic_error *error)
{
    const char *bytes;
    size_t size = 0;
    do {
        mosaic_status status = spool_take(scatter->spool, &bytes, &size, error);
        if (status != MOSAIC_OK)
            return status;
        if (size > scatter->rows_given->most - rows->size)
            return too_many(scatter->rows_given, error);
        buffer_add(rows, bytes, size);
    } while (size);
    return buffer_failed(rows) ? error_memory(error) : MOSAIC_OK;
}

/* What the rows are dealt out with. */
struct dealing {
    struct scatter *scatter;
    struct copy_router router;
    struct copy_slice *fields; /* of the row */
    struct partials **parts;   /* of each leg */
    uint16_t *legs;            /* of each shard of the model */
    struct buffer order;       /* of each row, uint16_t: whose leg it is */
};

/* The row's fields: its body's size, which begins at `at`. 0: it is malformed. */
static size_t find_fields(const struct given *given, const struct buffer *rows, size_t at, struct copy_slice *fields)
{
    struct wire_reader reader = {rows->data + at, rows->data + rows->size, false};
    if (wire_read16(&reader) != given->fields)
        return 0;
    for (size_t i = 0; i < given->fields && !reader.failed; i++) {
        uint32_t size = wire_read32(&reader), start = (uint32_t)(reader.at - rows->data);
        bool is_null = size == UINT32_MAX;
        fields[i] = (struct copy_slice){start + is_null, is_null ? start : start + size}; /* start > end: NULL */
        if (!is_null)
            (void)wire_read_bytes(&reader, size);
    }
    return reader.failed ? 0 : (size_t)(reader.at - (rows->data + at));
}

/* The number of the leg that owns the row. */
static mosaic_status find_leg(struct dealing *dealing, const char *bytes, uint16_t *number, mosaic_error *error)
{
    const struct given *given = dealing->scatter->rows_given;
    struct copy_slice keys[KEY_COLUMNS_MAX];
    uint32_t bucket = 0;
    for (size_t i = 0; i < given->table->rule.columns; i++)
        keys[i] = dealing->fields[given->key_fields[i]];
    copy_router_begin(&dealing->router, bytes, &bucket);
    mosaic_status status = copy_router_row(&dealing->router, keys, 0, error);
    copy_router_end(&dealing->router);
    if (status != MOSAIC_OK) {
        error_sqlstate(error, status == MOSAIC_KEY ? "23502" : error->sqlstate);
        return status;
    }
    *number = dealing->legs[given->table->map->owner[bucket]];
    return MOSAIC_OK;
}

static mosaic_status add_row(struct dealing *dealing, size_t leg, const char *row, size_t size, mosaic_error *error)
{
    mosaic_status status = partials_add(dealing->parts[leg], row, size, error);
    return status == MOSAIC_LIMIT ? too_many(dealing->scatter->rows_given, error) : status;
}

static mosaic_status deal_row(struct dealing *dealing, const char *bytes, const char *row, size_t size,
                              mosaic_error *error)
{
    const struct scatter *scatter = dealing->scatter;
    const struct given *given = scatter->rows_given;
    if (given->table && given->table->kind == TABLE_SHARDED) {
        uint16_t leg;
        mosaic_status status = find_leg(dealing, bytes, &leg, error);
        if (status != MOSAIC_OK)
            return status;
        buffer_add(&dealing->order, &leg, sizeof leg);
        return add_row(dealing, leg, row, size, error);
    }
    mosaic_status status = MOSAIC_OK;
    for (size_t i = 0; status == MOSAIC_OK && i < scatter->leg_count; i++)
        status = add_row(dealing, i, row, size, error);
    return status;
}

static mosaic_status deal_all(struct dealing *dealing, const struct buffer *rows, mosaic_error *error)
{
    mosaic_status status = MOSAIC_OK;
    for (size_t at = 0, size; status == MOSAIC_OK && at < rows->size; at += size) {
        size = find_fields(dealing->scatter->rows_given, rows, at, dealing->fields);
        if (!size)
            return error_set(error, MOSAIC_DATA, "a malformed row");
        status = deal_row(dealing, rows->data, rows->data + at, size, error);
    }
    return status;
}

/* ---- what the legs are asked ---- */

static mosaic_status write_arrays(const struct leg *leg, struct partials *part, struct buffer *out, mosaic_error *error)
{
    const struct given *given = leg->scatter->rows_given;
    uint32_t *types = arena_allocate(&leg->scatter->arena, given->fields * sizeof *types);
    bool more = true;
    if (!types)
        return error_memory(error);
    for (size_t i = 0; i < given->fields; i++)
        types[i] = schema_oid_on(scatter_schema(leg->scatter), leg->shard, given->arrays[i]);
    mosaic_status status = MOSAIC_OK;
    while (status == MOSAIC_OK && more)
        status = partials_write(part, types, out, &more, error);
    return status;
}

static mosaic_status ask(struct leg *leg, struct partials *part, mosaic_error *error)
{
    const struct given *given = leg->scatter->rows_given;
    struct bound_values *bound = &leg->asking->bound;
    uint32_t *types = arena_zeroed(&leg->scatter->arena, bound->count + given->fields, sizeof *types);
    if (!types)
        return error_memory(error);
    if (bound->count)
        memcpy(types, bound->types, bound->count * sizeof *types);
    bound->types = types; /* those of the arrays are what the text casts them to */
    mosaic_status status = write_arrays(leg, part, &bound->values, error);
    for (size_t i = 0; i < given->fields; i++)
        wire_16(&bound->formats, 1);
    bound->count = (uint16_t)(bound->count + given->fields);
    if (status == MOSAIC_OK && !asking_write(leg->scatter, leg->asking, &given->results, error))
        status = error->status;
    buffer_free(&bound->values);
    return status;
}

/* ---- all ---- */

static bool dealing_init(struct dealing *dealing)
{
    struct scatter *scatter = dealing->scatter;
    const struct given *given = scatter->rows_given;
    struct arena *arena = &scatter->arena;
    const struct table *table = given->table;
    dealing->order = BUFFER_INIT(given->most + 1);
    dealing->fields = arena_allocate(arena, given->fields * sizeof *dealing->fields);
    dealing->parts = arena_zeroed(arena, scatter->leg_count, sizeof *dealing->parts);
    dealing->legs = arena_zeroed(arena, given->world->model.shard_count, sizeof *dealing->legs);
    bool done = dealing->fields && dealing->parts && dealing->legs;
    for (size_t i = 0; done && i < scatter->leg_count; i++) {
        dealing->legs[scatter->legs[i].shard] = (uint16_t)i;
        done = (dealing->parts[i] = partials_new(given->fields, SIZE_MAX)) != NULL;
    }
    return done && (!table || table->kind != TABLE_SHARDED ||
                    copy_router_init(&dealing->router, &table->rule, (const char *const *)table->columns,
                                     given->key_modifiers, &given->format, 1, arena));
}

static void dealing_free(struct dealing *dealing)
{
    for (size_t i = 0; dealing->parts && i < dealing->scatter->leg_count; i++)
        partials_free(dealing->parts[i]);
    copy_router_free(&dealing->router);
    buffer_free(&dealing->order);
}

static mosaic_status keep_order(struct dealing *dealing, mosaic_error *error)
{
    struct scatter *scatter = dealing->scatter;
    if (!scatter->rows_given->in_order)
        return MOSAIC_OK;
    if (buffer_failed(&dealing->order) ||
        !(scatter->order = arena_copy(&scatter->arena, buffer_string(&dealing->order), dealing->order.size + 1)))
        return error_memory(error);
    scatter->order_size = dealing->order.size / sizeof(uint16_t);
    return MOSAIC_OK;
}

mosaic_status given_take(struct scatter *scatter, mosaic_error *error)
{
    struct dealing dealing = {.scatter = scatter};
    struct buffer rows = BUFFER_INIT(scatter->rows_given->most + 1);
    mosaic_status status = dealing_init(&dealing) ? gather(scatter, &rows, error) : error_memory(error);
    if (status == MOSAIC_OK)
        status = deal_all(&dealing, &rows, error);
    buffer_free(&rows);
    spool_free(scatter->spool);
    scatter->spool = NULL;
    if (status == MOSAIC_OK)
        status = keep_order(&dealing, error);
    for (size_t i = 0; status == MOSAIC_OK && i < scatter->leg_count; i++)
        status = ask(&scatter->legs[i], dealing.parts[i], error);
    dealing_free(&dealing);
    return status;
}
