#include "cli/router.h"

#include "base/error.h"
#include "base/memory.h"

#include <inttypes.h>
#include <string.h>

/* The output is written when it is longer than this; one line more (a key, escaped for JSON) must fit above it. */
enum { OUT_ENOUGH = 256 * 1024, OUT_MOST = 16 * 1024 * 1024 };

void router_init(struct router *router, FILE *stream, bool json)
{
    *router = (struct router){.stream = stream, .json = json, .out = BUFFER_INIT(OUT_MOST)};
    static const char *const names[KEY_COLUMNS_MAX] = {"value",    "column 2", "column 3", "column 4",
                                                       "column 5", "column 6", "column 7", "column 8"};
    memcpy(router->columns, names, sizeof names);
}

mosaic_status router_prepare(struct router *router, mosaic_error *error)
{
    const struct rule *rule = router->rule;
    router->tails = arena_zeroed(&router->arena, rule->buckets, sizeof *router->tails);
    router->tail_sizes = arena_zeroed(&router->arena, rule->buckets, sizeof *router->tail_sizes);
    router->integers = arena_zeroed(&router->arena, ROUTER_BATCH, sizeof *router->integers);
    router->buckets = arena_zeroed(&router->arena, ROUTER_BATCH, sizeof *router->buckets);
    if (!router->tails || !router->tail_sizes || !router->integers || !router->buckets)
        return error_memory(error);
    bool batched = rule->columns == 1 && (rule->function == FUNCTION_MODULO || rule->function == FUNCTION_HASH);
    enum key_type type = rule->types[0];
    if (rule->columns > 1 && !router->has_model)
        router->columns[0] = "column 1";
    router->way = ROUTE_ANY;
    if (batched && type_is_integer(type))
        router->way = ROUTE_INTEGERS;
    else if (batched && (type == KEY_TEXT || type == KEY_VARCHAR))
        router->way = ROUTE_TEXTS;
    router->most = type == KEY_INT2 ? INT16_MAX : type == KEY_INT4 ? INT32_MAX : INT64_MAX;
    router->least = -router->most - 1;
    return MOSAIC_OK;
}

/* ---- output ---- */

static void add_place(const struct router *router, uint32_t bucket, struct buffer *text)
{
    uint32_t shard = router->map->owner[bucket];
    buffer_format(text, router->json ? ",\"bucket\":%" PRIu32 ",\"shard\":" : "\t%" PRIu32 "\t", bucket);
    if (!router->shards)
        buffer_format(text, "%" PRIu32, shard);
    else
        buffer_format(text, router->json ? "\"%s\"" : "%s", router->shards[shard].name);
}

/* On Citus a bucket is a shard of the table, which has a number, and stands on a node. */
static void add_citus_place(const struct router *router, uint32_t bucket, struct buffer *text)
{
    const char *node = router->model.nodes[router->citus->nodes[bucket]].name;
    buffer_format(text, router->json ? ",\"shard\":%" PRId64 ",\"node\":\"%s\"" : "\t%" PRId64 "\t%s",
                  router->citus->ids[bucket], node);
}

/* What stands behind the key on the line of this bucket; NULL when memory is out. */
static const char *make_tail(struct router *router, uint32_t bucket)
{
    struct buffer text = BUFFER_INIT(1024);
    buffer_format(&text, router->json ? "\",\"function\":\"%s\"" : "\t%s", function_name(router->rule->function));
    if (router->citus)
        add_citus_place(router, bucket, &text);
    else
        add_place(router, bucket, &text);
    buffer_text(&text, router->json ? "}\n" : "\n");
    if (!buffer_failed(&text)) {
        router->tails[bucket] = arena_copy(&router->arena, text.data, text.size);
        router->tail_sizes[bucket] = text.size;
    }
    buffer_free(&text);
    return router->tails[bucket];
}

/* A string's inside for JSON, from bytes that are UTF-8. */
static void add_escaped(struct buffer *out, const unsigned char *bytes, size_t size)
{
    size_t from = 0;
    for (size_t i = 0; i < size; i++) {
        if (bytes[i] >= 0x20 && bytes[i] != '"' && bytes[i] != '\\' && bytes[i] != 0x7F)
            continue;
        buffer_add(out, bytes + from, i - from);
        if (bytes[i] == '"' || bytes[i] == '\\')
            buffer_format(out, "\\%c", bytes[i]);
        else
            buffer_format(out, "\\u%04x", bytes[i]);
        from = i + 1;
    }
    buffer_add(out, bytes + from, size - from);
}

static mosaic_status add_line(struct router *router, const struct key_slice *key, uint32_t bucket, mosaic_error *error)
{
    struct buffer *out = &router->out;
    const char *tail = router->tails[bucket] ? router->tails[bucket] : make_tail(router, bucket);
    if (!tail)
        return error_memory(error);
    if (router->json && !key_is_utf8(key->data, key->size))
        return error_set(error, MOSAIC_KEY, "the key is not UTF-8, so JSON can't hold it");
    if (router->json) {
        buffer_text(out, "{\"key\":\"");
        add_escaped(out, key->data, key->size);
        buffer_add(out, tail, router->tail_sizes[bucket]);
    } else {
        char *end = buffer_reserve(out, key->size + router->tail_sizes[bucket]);
        if (end) {
            memcpy(end, key->data, key->size);
            memcpy(end + key->size, tail, router->tail_sizes[bucket]);
            buffer_added(out, key->size + router->tail_sizes[bucket]);
        }
    }
    if (buffer_failed(out))
        return error_memory(error);
    return out->size > OUT_ENOUGH ? router_flush(router, error) : MOSAIC_OK;
}

mosaic_status router_flush(struct router *router, mosaic_error *error)
{
    size_t size = router->out.size;
    if (size > 0 && (fwrite(router->out.data, 1, size, router->stream) != size || fflush(router->stream) != 0))
        return error_errno(error, "writing the output");
    buffer_clear(&router->out);
    return MOSAIC_OK;
}

/* ---- keys ---- */

/*
 * Splits a line of CSV into the rule's columns; quoted ones are copied into the scratch arena without their quotes.
 */
static mosaic_status split(struct router *router, const struct key_slice *key, struct key_slice *parts,
                           mosaic_error *error)
{
    size_t at = 0, columns = router->rule->columns;
    for (size_t i = 0; i < columns; i++) {
        unsigned char *part = arena_allocate(&router->scratch, key->size - at + 1);
        size_t size = 0;
        if (!part)
            return error_memory(error);
        bool quoted = at < key->size && key->data[at] == '"', closed = !quoted;
        for (at += quoted; at < key->size; at++) {
            unsigned char byte = key->data[at];
            if (quoted && !closed && byte == '"') {
                if (at + 1 == key->size || key->data[at + 1] != '"') {
                    closed = true;
                    continue;
                }
                at++;
            } else if (closed && byte == ',') {
                break;
            } else if (quoted && closed) {
                return error_set(error, MOSAIC_KEY, "key column %zu goes on behind its closing quote", i + 1);
            }
            part[size++] = byte;
        }
        if (!closed)
            return error_set(error, MOSAIC_KEY, "key column %zu has no closing quote", i + 1);
        parts[i] = (struct key_slice){part, size};
        bool more = at < key->size;
        if (more != (i + 1 < columns)) {
            (void)!error_set(error, MOSAIC_KEY, "the key has %s than %zu columns", more ? "more" : "less", columns);
            return error_hint(error, "write them as one line of CSV: 5,abc");
        }
        at++;
    }
    return MOSAIC_OK;
}

/* The long way, for every type and function, with all its messages. */
mosaic_status router_bucket(struct router *router, const struct key_slice *key, uint32_t *bucket, mosaic_error *error)
{
    const struct rule *rule = router->rule;
    struct key_slice parts[KEY_COLUMNS_MAX] = {*key};
    struct key_value values[KEY_COLUMNS_MAX];
    mosaic_status status = MOSAIC_OK;
    arena_reset(&router->scratch);
    if (rule->columns > 1)
        status = split(router, key, parts, error);
    for (size_t i = 0; i < rule->columns && status == MOSAIC_OK; i++)
        status = key_from_text(rule->types[i], router->columns[i], (const char *)parts[i].data, parts[i].size,
                               &router->scratch, &values[i], error);
    return status == MOSAIC_OK ? rule_bucket(rule, values, bucket, error) : status;
}

/* Plain decimal numbers of at most 18 digits; false for everything else, which then goes the long way. */
static bool plain_integer(const struct key_slice *key, int64_t *value)
{
    const unsigned char *at = key->data, *end = at + key->size;
    bool negative = at < end && *at == '-';
    at += negative;
    if (at == end || end - at > 18)
        return false;
    int64_t number = 0;
    for (; at < end; at++) {
        unsigned digit = (unsigned)*at - '0';
        if (digit > 9)
            return false;
        number = number * 10 + digit;
    }
    *value = negative ? -number : number;
    return true;
}

/* How many of the keys, from the first, are good for the batch way; their values go to router->integers. */
static size_t count_batch(struct router *router, const struct key_slice *keys, size_t count)
{
    size_t i = 0;
    if (router->way == ROUTE_ANY)
        return 0;
    if (router->way == ROUTE_TEXTS) {
        while (i < count && key_is_utf8(keys[i].data, keys[i].size))
            i++;
        return i;
    }
    int64_t value;
    while (i < count && plain_integer(&keys[i], &value) && value >= router->least && value <= router->most)
        router->integers[i++] = value;
    return i;
}

/* The buckets of keys into router->buckets; *found of them, all unless one is none. */
static mosaic_status find_buckets(struct router *router, const struct key_slice *keys, size_t count, size_t *found,
                                  mosaic_error *error)
{
    for (*found = 0; *found < count;) {
        const struct key_slice *from = keys + *found;
        uint32_t *buckets = router->buckets + *found;
        size_t batch = count_batch(router, from, count - *found);
        if (batch == 0) {
            mosaic_status status = router_bucket(router, from, buckets, error);
            if (status != MOSAIC_OK)
                return status;
            batch = 1;
        } else if (router->way == ROUTE_INTEGERS) {
            rule_buckets_int8(router->rule, router->integers, batch, buckets);
        } else {
            rule_buckets_bytes(router->rule, from, batch, buckets);
        }
        *found += batch;
    }
    return MOSAIC_OK;
}

mosaic_status router_add(struct router *router, const struct key_slice *keys, size_t count, size_t *good,
                         mosaic_error *error)
{
    size_t found, checked;
    mosaic_error later;
    mosaic_status status = find_buckets(router, keys, count, &found, error), second = MOSAIC_OK;
    checked = found;
    if (router->check && found)
        second = router->check(router->check_context, keys, router->buckets, found, &checked, &later);
    for (*good = 0; *good < checked; ++*good) {
        mosaic_status third = add_line(router, &keys[*good], router->buckets[*good], error);
        if (third != MOSAIC_OK)
            return third;
    }
    if (second != MOSAIC_OK && error)
        *error = later;
    return second != MOSAIC_OK ? second : status;
}

void router_free(struct router *router)
{
    buffer_free(&router->out);
    arena_free(&router->scratch);
    arena_free(&router->arena);
    if (router->has_model)
        model_free(&router->model);
}
