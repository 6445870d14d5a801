#include "../random.h"
#include "proxy/rowmap.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* Here, and by THERE more on the other server. */
enum {
    MOOD = 16400,
    MOODS,
    TONE,
    PAIR,
    PAIRS,
    SPAN,
    SPREAD,
    SPREADS,
    THERE = 1000,
    INT4 = 23,
    INT4S = 1007,
    UNKNOWN = 30000
};

static const struct schema_type types[] = {
    {.schema = "pg_catalog", .name = "int4", .oid = INT4, .kind = 'b'},
    {.schema = "public", .name = "mood", .oid = MOOD, .kind = 'e'},
    {.schema = "public", .name = "_mood", .oid = MOODS, .kind = 'b', .category = 'A', .element = MOOD},
    {.schema = "public", .name = "tone", .oid = TONE, .kind = 'd', .base = MOODS, .base_modifier = -1},
    {.schema = "public", .name = "pair", .oid = PAIR, .kind = 'c'},
    {.schema = "public", .name = "_pair", .oid = PAIRS, .kind = 'b', .category = 'A', .element = PAIR},
    {.schema = "public", .name = "span", .oid = SPAN, .kind = 'r', .within = MOOD},
    {.schema = "public", .name = "spread", .oid = SPREAD, .kind = 'r', .within = PAIR},
    {.schema = "public", .name = "spreads", .oid = SPREADS, .kind = 'm', .within = SPREAD},
};
enum { TYPES = sizeof types / sizeof *types };
static struct shard shards[2] = {{.name = "s0"}, {.name = "s1"}};
static struct model model = {.shards = shards, .shard_count = 2};
static uint32_t type_oids[2 * TYPES];
static struct schema schema = {
    .version = 1, .model = &model, .types = types, .type_count = TYPES, .type_oids = type_oids};
static struct typemap *maps;

static int make_schema(void **state)
{
    (void)state;
    mosaic_error error;
    for (size_t i = 0; i < TYPES; i++) {
        type_oids[i] = types[i].oid;
        type_oids[TYPES + i] = types[i].oid < TYPEMAP_FIRST_OF_USERS ? types[i].oid : types[i].oid + THERE;
    }
    return schema_index(&schema, &error) != MOSAIC_OK ||
           typemaps_make(&schema, 2, &schema.arena, &maps, &error) != MOSAIC_OK;
}

static int free_schema(void **state)
{
    (void)state;
    schema_free(&schema);
    return 0;
}

/* ---- values are put together; `more`: what user types have on that server ---- */

struct bytes {
    char data[4096];
    size_t size;
};

static void add8(struct bytes *out, unsigned value)
{
    out->data[out->size++] = (char)value;
}

static void add16(struct bytes *out, unsigned value)
{
    add8(out, value >> 8);
    add8(out, value & 0xff);
}

static void add32(struct bytes *out, uint32_t value)
{
    add16(out, value >> 16);
    add16(out, value & 0xffff);
}

static void add(struct bytes *out, const struct bytes *value)
{
    add32(out, (uint32_t)value->size);
    memcpy(out->data + out->size, value->data, value->size);
    out->size += value->size;
}

static struct bytes word(const char *text)
{
    struct bytes out = {.size = strlen(text)};
    memcpy(out.data, text, out.size);
    return out;
}

/* Two dimensions where there are four elements, the second of them NULL. */
static struct bytes array_of(uint32_t type, const struct bytes *element, size_t count)
{
    struct bytes out = {.size = 0};
    size_t dimensions = count == 4 ? 2 : count ? 1 : 0;
    add32(&out, (uint32_t)dimensions);
    add32(&out, count > 1);
    add32(&out, type);
    for (size_t i = 0; i < dimensions; i++) {
        add32(&out, (uint32_t)count / (uint32_t)dimensions);
        add32(&out, 1);
    }
    for (size_t i = 0; i < count; i++) {
        if (i == 1)
            add32(&out, UINT32_MAX);
        else
            add(&out, element);
    }
    return out;
}

static struct bytes pair_of(uint32_t more)
{
    struct bytes out = {.size = 0}, mood = word("sad"), moods = array_of(MOOD + more, &mood, 3), number = word("1234");
    struct bytes other = array_of(MOOD + THERE, &mood, 1);
    add32(&out, 4);
    add32(&out, INT4);
    add(&out, &number);
    add32(&out, MOOD + more);
    add32(&out, UINT32_MAX);
    add32(&out, TONE + more);
    add(&out, &moods);
    add32(&out, UNKNOWN);
    add(&out, &other); /* of a type that nobody knows: bytes */
    return out;
}

static struct bytes spread_of(uint32_t more, unsigned flags)
{
    struct bytes out = {.size = 0}, pair = pair_of(more);
    add8(&out, flags);
    if (!(flags & (1 | 8)))
        add(&out, &pair);
    if (!(flags & (1 | 16)))
        add(&out, &pair);
    return out;
}

static struct bytes record_of(uint32_t more)
{
    struct bytes out = {.size = 0}, both = spread_of(more, 2), none = spread_of(more, 1), lower = spread_of(more, 16);
    struct bytes several = {.size = 0}, pair = pair_of(more), pairs = array_of(PAIR + more, &pair, 4);
    struct bytes empty = array_of(PAIR + more, &pair, 0);
    add32(&several, 3);
    add(&several, &both);
    add(&several, &none);
    add(&several, &lower);
    add32(&out, 4);
    add32(&out, SPREADS + more);
    add(&out, &several);
    add32(&out, PAIRS + more);
    add(&out, &pairs);
    add32(&out, PAIRS + more);
    add(&out, &empty);
    add32(&out, TYPEMAP_RECORD);
    add(&out, &pair);
    return out;
}

/* A row of each kind of column. The fourth is text, the last one NULL. */
static const uint32_t columns[] = {MOOD, MOODS, INT4S, MOODS, TYPEMAP_RECORD, SPAN, TYPEMAP_REGTYPE, SPREADS, PAIRS};
enum { COLUMNS = sizeof columns / sizeof *columns };

static struct bytes row_of(uint32_t more)
{
    struct bytes out = {.size = 0}, mood = word("ok"), number = word("1234"), one = array_of(MOOD + more, &mood, 1);
    struct bytes numbers = array_of(INT4, &number, 2), text = word("{ok}"), record = record_of(more);
    struct bytes span = word("\x02sad, and bytes"), name = {.size = 0}, several = {.size = 0};
    add32(&name, PAIR + more);
    add32(&several, 0);
    add16(&out, COLUMNS);
    add(&out, &mood);
    add(&out, &one);
    add(&out, &numbers);
    add(&out, &text);
    add(&out, &record);
    add(&out, &span);
    add(&out, &name);
    add(&out, &several);
    add32(&out, UINT32_MAX);
    return out;
}

static struct rowmap *described(const uint32_t *of, size_t count, bool copies)
{
    struct rowmap *rowmap = rowmap_new();
    struct bytes body = {.size = 0};
    add16(&body, (unsigned)count);
    for (size_t i = 0; i < count; i++) {
        add8(&body, 'c');
        add8(&body, 0);
        add32(&body, 0);
        add16(&body, 0);
        add32(&body, of[i]);
        add16(&body, 0);
        add32(&body, 0);
        add16(&body, !copies && i != 3);
    }
    assert_non_null(rowmap);
    assert_true(rowmap_describe(rowmap, body.data, body.size, &schema, copies));
    return rowmap;
}

/* Fed in two pieces, the second with what was left of the first. */
static void feed_split(struct rowmap *rowmap, const struct bytes *given, size_t at, const struct bytes *wanted)
{
    char *bytes = malloc(given->size); /* so that a sanitizer sees its end */
    assert_non_null(bytes);
    memcpy(bytes, given->data, given->size);
    rowmap_begin(rowmap, (uint32_t)given->size);
    size_t used = rowmap_feed(rowmap, &maps[1], &schema, bytes, at);
    assert_true(used <= at && at - used < 20);
    assert_int_equal(rowmap_feed(rowmap, &maps[1], &schema, bytes + used, given->size - used), given->size - used);
    assert_memory_equal(bytes, wanted->data, wanted->size);
    free(bytes);
}

static void rows_are_mapped_at_every_split(void **state)
{
    (void)state;
    struct rowmap *rowmap = described(columns, COLUMNS, false);
    struct bytes there = row_of(THERE), here = row_of(0);
    assert_true(rowmap_applies(rowmap, false));
    assert_false(rowmap_applies(rowmap, true));
    assert_int_equal(there.size, here.size);
    for (size_t at = 0; at < there.size; at++)
        feed_split(rowmap, &there, at, &here);
    feed_split(rowmap, &here, 0, &here); /* OIDs that are none of that server's stay */
    rowmap_free(rowmap);
}

static void copied_rows_too(void **state)
{
    (void)state;
    struct rowmap *rowmap = described(columns + 4, COLUMNS - 4, true);
    static const char header[] = "PGCOPY\n\377\r\n\0\0\0\0\0\0\0\0\3ext";
    struct bytes first[2], rest[2];
    for (uint32_t i = 0; i < 2; i++) {
        struct bytes record = record_of(i * THERE), name = {.size = 0};
        add32(&name, MOODS + i * THERE);
        first[i] = (struct bytes){.size = sizeof header - 1};
        memcpy(first[i].data, header, first[i].size);
        rest[i] = (struct bytes){.size = 0};
        for (size_t row = 0; row < 2; row++) {
            struct bytes *out = row ? &rest[i] : &first[i];
            add16(out, COLUMNS - 4);
            add(out, &record);
            add32(out, UINT32_MAX);
            add(out, &name);
            add32(out, UINT32_MAX);
            add32(out, UINT32_MAX);
        }
        add16(&rest[i], 0xffff);
    }
    assert_true(rowmap_applies(rowmap, true));
    feed_split(rowmap, &first[1], 30, &first[0]);
    for (size_t at = 0; at < rest[1].size; at++)
        feed_split(rowmap, &rest[1], at, &rest[0]);
    rowmap_free(rowmap);
}

static void what_names_no_types_is_left_alone(void **state)
{
    (void)state;
    static const uint32_t plain[] = {MOOD, INT4S, SPAN, MOODS /* as text */, 25, UNKNOWN};
    struct rowmap *rowmap = described(plain, 6, false);
    assert_false(rowmap_applies(rowmap, false));
    assert_true(rowmap_describe(rowmap, NULL, 0, &schema, false));
    assert_false(rowmap_applies(rowmap, false));
    rowmap_free(rowmap);
    static const bool holds[TYPES] = {false, false, true, true, true, true, false, true, true};
    for (size_t i = 0; i < TYPES; i++)
        assert_int_equal(rowmap_holds(&schema, types[i].oid), holds[i]);
    assert_true(rowmap_holds(&schema, TYPEMAP_RECORD_ARRAY) && rowmap_holds(&schema, TYPEMAP_ANYARRAY) &&
                rowmap_holds(&schema, TYPEMAP_REGTYPE_ARRAY) && !rowmap_holds(&schema, INT4S));
}

/* Of any length and with any bytes: an end is found, or it is no row. */
static void what_is_no_row_is_told(void **state)
{
    (void)state;
    struct rowmap *rowmap = described(columns, COLUMNS, false);
    const struct bytes whole = row_of(THERE);
    for (size_t size = 0; size < whole.size; size++) {
        struct bytes some = whole;
        rowmap_begin(rowmap, (uint32_t)size);
        assert_int_equal(rowmap_feed(rowmap, &maps[1], &schema, some.data, size), SIZE_MAX);
    }
    struct bytes more = whole;
    add8(&more, 0);
    rowmap_begin(rowmap, (uint32_t)more.size);
    assert_int_equal(rowmap_feed(rowmap, &maps[1], &schema, more.data, more.size), SIZE_MAX);
    struct random random = random_start();
    for (size_t turn = 0; turn < 100000; turn++) {
        char *bytes = malloc(whole.size);
        assert_non_null(bytes);
        memcpy(bytes, whole.data, whole.size);
        for (uint32_t changes = random_below(&random, 4) + 1; changes; changes--)
            bytes[random_below(&random, (uint32_t)whole.size)] = (char)random_below(&random, 256);
        size_t at = random_below(&random, (uint32_t)whole.size);
        rowmap_begin(rowmap, (uint32_t)whole.size);
        size_t used = rowmap_feed(rowmap, &maps[1], &schema, bytes, at);
        if (used != SIZE_MAX) {
            assert_true(used <= at);
            size_t last = rowmap_feed(rowmap, &maps[1], &schema, bytes + used, whole.size - used);
            assert_true(last == SIZE_MAX || last == whole.size - used);
        }
        free(bytes);
    }
    rowmap_free(rowmap);
}

static void nothing_is_read_deeper_than_there_is_room(void **state)
{
    (void)state;
    static const uint32_t record[] = {TYPEMAP_RECORD};
    struct rowmap *rowmap = described(record, 1, false);
    for (uint32_t depth = 1; depth < 200; depth++) {
        struct bytes row = {.size = 0};
        add16(&row, 1);
        add32(&row, depth * 12 - 8);
        for (uint32_t i = 1; i < depth; i++) {
            add32(&row, 1);
            add32(&row, TYPEMAP_RECORD);
            add32(&row, (depth - i) * 12 - 8);
        }
        add32(&row, 0);
        rowmap_begin(rowmap, (uint32_t)row.size);
        size_t used = rowmap_feed(rowmap, &maps[1], &schema, row.data, row.size);
        assert_int_equal(used, depth < 64 ? row.size : SIZE_MAX);
    }
    rowmap_free(rowmap);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rows_are_mapped_at_every_split),
        cmocka_unit_test(copied_rows_too),
        cmocka_unit_test(what_names_no_types_is_left_alone),
        cmocka_unit_test(what_is_no_row_is_told),
        cmocka_unit_test(nothing_is_read_deeper_than_there_is_room),
    };
    return cmocka_run_group_tests(tests, make_schema, free_schema);
}
