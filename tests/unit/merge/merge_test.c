#include "../random.h"
#include "merge/merge.h"
#include "rows.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "../memory_out.h"

static mosaic_status describe(struct merge *merge, const uint32_t *types, size_t hidden, mosaic_error *error)
{
    struct buffer body;
    describe_body(&body, types, hidden);
    mosaic_status status = merge_describe(merge, body.data, body.size, error);
    buffer_free(&body);
    return status;
}

/* ---- rows as they come ------------------------------------------------------------------------------ */

static void rows_as_they_come_are_counted(void **state)
{
    (void)state;
    const struct fact_scatter scatter = {.columns = 1};
    struct merge *merge = merge_new(&scatter, 2, 1, 3);
    assert_int_equal(merge_way(merge), MERGE_AS_THEY_COME);
    assert_int_equal(describe(merge, NULL, 0, NULL), MOSAIC_OK);
    assert_int_equal(merge_admit(merge), MERGE_SKIP);
    assert_int_equal(merge_admit(merge), MERGE_PASS);
    assert_int_equal(merge_rows(merge), 1);
    assert_int_equal(merge_admit(merge), MERGE_PASS);
    assert_int_equal(merge_admit(merge), MERGE_FULL);
    assert_int_equal(merge_rows(merge), 2);
    merge_free(merge);
    merge = merge_new(&scatter, 0, 5, 3);
    assert_int_equal(merge_admit(merge), MERGE_FULL);
    merge_free(merge);
    merge = merge_new(&scatter, UINT64_MAX, 0, 3);
    for (int i = 0; i < 1000; i++)
        assert_int_equal(merge_admit(merge), MERGE_PASS);
    size_t leg;
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(merge_next(merge, &leg), MERGE_NEEDS);
        assert_int_equal(leg, i);
        merge_end(merge, i);
    }
    assert_int_equal(merge_next(merge, &leg), MERGE_DONE);
    merge_free(merge);
    merge_free(NULL);
}

static void rows_come_together(void **state)
{
    (void)state;
    const struct fact_scatter scatter = {.columns = 1};
    struct merge *merge = merge_new(&scatter, 10, 1, 3);
    assert_int_equal(merge_admits(merge), 0); /* the next one is skipped */
    assert_int_equal(merge_admit(merge), MERGE_SKIP);
    assert_int_equal(merge_admits(merge), 10);
    merge_admitted(merge, 7);
    assert_int_equal(merge_rows(merge), 7);
    assert_int_equal(merge_admit(merge), MERGE_PASS);
    assert_int_equal(merge_admits(merge), 2);
    merge_admitted(merge, 2);
    assert_int_equal(merge_admits(merge), 0);
    assert_int_equal(merge_admit(merge), MERGE_FULL);
    merge_free(merge);
}

static void hidden_columns_are_left_out(void **state)
{
    (void)state;
    const struct fact_sort sort = {0};
    const struct fact_scatter sorted = {.columns = 1, .hidden = 1, .sorts = &sort, .sort_count = 1};
    const struct fact_scatter plain = {.columns = 1};
    struct buffer row = integer_row("seen", 7), body, out = BUFFER_INIT(MUCH);
    describe_body(&body, (const uint32_t[]){INT8}, 1);
    struct merge *merge = merge_new(&sorted, UINT64_MAX, 0, 1);
    assert_int_equal(merge_describe(merge, body.data, body.size, NULL), MOSAIC_OK);
    merge_row(merge, row.data, row.size, &out);
    assert_int_equal(out.size, 1 + 4 + 2 + 4 + 4);
    assert_memory_equal(out.data, "D\0\0\0\16\0\1\0\0\0\4seen", out.size);
    buffer_clear(&out);
    merge_describe_row(merge, body.data, body.size, &out);
    assert_int_equal(out.size, 1 + 4 + 2 + 2 + 18);
    assert_memory_equal(out.data, "T\0\0\0\32\0\1v\0", 9);
    assert_memory_equal(out.data + 7, body.data + 2, 20);
    merge_free(merge);
    buffer_clear(&out);
    merge = merge_new(&plain, UINT64_MAX, 0, 1);
    merge_row(merge, row.data, row.size, &out);
    assert_int_equal(out.size, row.size + 5);
    assert_memory_equal(out.data + 5, row.data, row.size);
    merge_free(merge);
    buffer_free(&row);
    buffer_free(&body);
    buffer_free(&out);
}

/* ---- descriptions ----------------------------------------------------------------------------------- */

static void what_has_no_order_here_is_named(void **state)
{
    (void)state;
    static const struct {
        uint32_t type;
        bool bytewise;
        const char *message, *detail;
    } cases[] = {
        {TEXT, false, "of ORDER BY's item 2 (h), whose type is text",
         "its collation is not proved to order by bytes, as \"C\" does"},
        {BPCHAR, false, "of ORDER BY's item 2 (h), whose type is character",
         "its collation is not proved to order by bytes, as \"C\" does"},
        {JSONB, true, "of ORDER BY's item 2 (h), whose type is jsonb", ""},
        {USER_TYPE, true, "of ORDER BY's item 2 (h), whose type has OID 16400", ""},
        {705, true, "of ORDER BY's item 2 (h), whose type is unknown", ""},
        {0, true, "of ORDER BY's item 2 (h), whose type has OID 0", ""},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const struct fact_sort sorts[] = {{0}, {.bytewise = cases[i].bytewise}};
        const struct fact_scatter scatter = {.columns = 1, .hidden = 2, .sorts = sorts, .sort_count = 2};
        struct merge *merge = merge_new(&scatter, UINT64_MAX, 0, 2);
        mosaic_error error;
        assert_int_equal(describe(merge, (const uint32_t[]){INT8, cases[i].type}, 2, &error), MOSAIC_UNSUPPORTED);
        assert_non_null(strstr(error.message, cases[i].message));
        assert_string_equal(error.detail, cases[i].detail);
        merge_free(merge);
    }
}

static void other_legs_must_have_the_same_columns(void **state)
{
    (void)state;
    const struct fact_sort sort = {0};
    const struct fact_scatter sorted = {.columns = 1, .hidden = 1, .sorts = &sort, .sort_count = 1};
    const struct fact_scatter plain = {.columns = 1};
    struct merge *merge = merge_new(&sorted, UINT64_MAX, 0, 2);
    mosaic_error error;
    assert_int_equal(describe(merge, (const uint32_t[]){INT8}, 1, &error), MOSAIC_OK);
    assert_int_equal(describe(merge, (const uint32_t[]){INT8}, 1, &error), MOSAIC_OK);
    assert_int_equal(describe(merge, (const uint32_t[]){FLOAT8}, 1, &error), MOSAIC_UNSUPPORTED);
    assert_string_equal(error.message, "the shards do not agree on column 2 (h), whose type is double precision");
    assert_int_equal(describe(merge, NULL, 0, &error), MOSAIC_DATA);
    merge_free(merge);
    /* an enum has another OID on each shard */
    merge = merge_new(&plain, UINT64_MAX, 0, 2);
    const uint32_t types[] = {USER_TYPE, USER_TYPE + 5, TEXT};
    const mosaic_status wanted[] = {MOSAIC_OK, MOSAIC_OK, MOSAIC_UNSUPPORTED};
    for (size_t i = 0; i < 3; i++) {
        struct buffer body = BUFFER_INIT(MUCH);
        wire_16(&body, 1);
        column_add(&body, "e", types[i], 0);
        assert_int_equal(merge_describe(merge, body.data, body.size, &error), wanted[i]);
        buffer_free(&body);
    }
    merge_free(merge);
}

static void malformed_descriptions(void **state)
{
    (void)state;
    const struct fact_sort sorts[2] = {{0}};
    const struct fact_scatter scatter = {.columns = 1, .hidden = 2, .sorts = sorts, .sort_count = 2};
    struct buffer body;
    describe_body(&body, (const uint32_t[]){INT8, DATE}, 2);
    for (size_t size = 0; size < body.size; size++) {
        struct merge *merge = merge_new(&scatter, UINT64_MAX, 0, 2);
        char *cut = malloc(size + 1);
        memcpy(cut, body.data, size);
        assert_int_equal(merge_describe(merge, cut, size, NULL), MOSAIC_DATA);
        free(cut);
        merge_free(merge);
    }
    struct merge *merge = merge_new(&scatter, UINT64_MAX, 0, 2);
    mosaic_error error;
    buffer_char(&body, 0);
    assert_int_equal(merge_describe(merge, body.data, body.size, NULL), MOSAIC_DATA);
    body.data[body.size - 2] = 0; /* the last column's format */
    assert_int_equal(merge_describe(merge, body.data, body.size - 1, &error), MOSAIC_DATA);
    assert_string_equal(error.message, "a shard's hidden column 3 (h) is not in binary");
    merge_free(merge);
    buffer_free(&body);
}

/* ---- rows in order ---------------------------------------------------------------------------------- */

static void the_least_row_is_the_next(void **state)
{
    (void)state;
    const struct fact_sort sort = {0};
    const struct fact_scatter scatter = {.columns = 1, .hidden = 1, .sorts = &sort, .sort_count = 1};
    struct buffer two = integer_row("b", 2), minus = integer_row("a", -5), also = integer_row("c", 2);
    struct merge *merge = merge_new(&scatter, UINT64_MAX, 1, 3);
    size_t leg;
    assert_int_equal(merge_way(merge), MERGE_IN_ORDER);
    assert_int_equal(describe(merge, (const uint32_t[]){INT8}, 1, NULL), MOSAIC_OK);
    assert_int_equal(merge_offer(merge, 1, also.data, also.size, NULL), MOSAIC_OK);
    assert_int_equal(merge_next(merge, &leg), MERGE_NEEDS);
    assert_int_equal(leg, 0);
    assert_int_equal(merge_offer(merge, 0, two.data, two.size, NULL), MOSAIC_OK);
    assert_int_equal(merge_next(merge, &leg), MERGE_NEEDS);
    assert_int_equal(leg, 2);
    assert_int_equal(merge_offer(merge, 2, minus.data, minus.size, NULL), MOSAIC_OK);
    assert_int_equal(merge_offer(merge, 2, minus.data, minus.size, NULL), MOSAIC_DATA); /* it has one */
    assert_int_equal(merge_next(merge, &leg), MERGE_DROP);
    assert_int_equal(leg, 2);
    assert_int_equal(merge_next(merge, &leg), MERGE_NEEDS);
    assert_int_equal(leg, 2);
    merge_end(merge, 2);
    merge_end(merge, 0); /* its row is still to be named */
    assert_int_equal(merge_next(merge, &leg), MERGE_ROW);
    assert_int_equal(leg, 0); /* of equal ones the first leg's */
    assert_int_equal(merge_next(merge, &leg), MERGE_ROW);
    assert_int_equal(leg, 1);
    assert_int_equal(merge_next(merge, &leg), MERGE_NEEDS);
    assert_int_equal(leg, 1);
    mosaic_error error;
    assert_int_equal(merge_offer(merge, 1, minus.data, minus.size, &error), MOSAIC_DATA);
    assert_string_equal(error.message, "a shard's rows do not come in the order of the statement");
    merge_end(merge, 1);
    assert_int_equal(merge_next(merge, &leg), MERGE_DONE);
    assert_int_equal(merge_rows(merge), 2);
    merge_free(merge);
    merge = merge_new(&scatter, 0, 0, 3);
    assert_int_equal(merge_next(merge, &leg), MERGE_DONE);
    merge_free(merge);
    buffer_free(&two);
    buffer_free(&minus);
    buffer_free(&also);
}

/* Each is offered in memory of its own, which the sanitizer watches. */
static void malformed_rows(void **state)
{
    (void)state;
    const uint32_t types[] = {INT4, TEXT, NUMERIC, UUID};
    const struct fact_sort sorts[4] = {{0}, {.bytewise = true}};
    const struct fact_scatter scatter = {.columns = 1, .hidden = 4, .sorts = sorts, .sort_count = 4};
    struct buffer row = BUFFER_INIT(MUCH), numeric = BUFFER_INIT(MUCH);
    numeric_add(&numeric, -123456789, 1, false);
    wire_16(&row, 5);
    field_text(&row, "visible");
    field_integer(&row, 77, 4);
    field_text(&row, "text of more than eight");
    field_add(&row, numeric.data, numeric.size);
    field_add(&row, "0123456789abcdef", 16);
    for (size_t size = 0; size <= row.size; size++) {
        struct merge *merge = merge_new(&scatter, UINT64_MAX, 0, 1);
        char *cut = malloc(size + 1);
        memcpy(cut, row.data, size);
        assert_int_equal(describe(merge, types, 4, NULL), MOSAIC_OK);
        assert_int_equal(merge_offer(merge, 0, cut, size, NULL), size == row.size ? MOSAIC_OK : MOSAIC_DATA);
        free(cut);
        merge_free(merge);
    }
    struct merge *merge = merge_new(&scatter, UINT64_MAX, 0, 1);
    assert_int_equal(describe(merge, types, 4, NULL), MOSAIC_OK);
    buffer_char(&row, 0);
    assert_int_equal(merge_offer(merge, 0, row.data, row.size, NULL), MOSAIC_DATA);
    row.data[2] = (char)0x80; /* the first field's length */
    assert_int_equal(merge_offer(merge, 0, row.data, row.size - 1, NULL), MOSAIC_DATA);
    struct buffer out = BUFFER_INIT(MUCH);
    merge_row(merge, row.data, row.size - 1, &out);
    assert_true(buffer_failed(&out));
    merge_free(merge);
    buffer_free(&out);
    buffer_free(&numeric);
    buffer_free(&row);
}

/* ---- the model: sorting all rows -------------------------------------------------------------------- */

enum { SORTS_MOST = 4, LEGS_MOST = 12, ROWS_MOST = 40, KINDS = 6 };

struct cell {
    bool is_null;
    int64_t integer;
    double number;
    char text[12];
    size_t size;
};

struct model_row {
    size_t leg, number;
    struct cell cells[SORTS_MOST];
    struct buffer bytes;
};

static const uint32_t kinds[KINDS] = {INT8, INT2, FLOAT8, TEXT, NUMERIC, UUID};
static struct {
    size_t kinds[SORTS_MOST];
    struct fact_sort sorts[SORTS_MOST];
    size_t sort_count;
} statement;

static int compare_cells(uint32_t type, const struct cell *a, const struct cell *b)
{
    if (type == FLOAT8) {
        if (isnan(a->number) || isnan(b->number))
            return (isnan(a->number) != 0) - (isnan(b->number) != 0);
        return (a->number > b->number) - (a->number < b->number);
    }
    if (type != TEXT && type != UUID)
        return (a->integer > b->integer) - (a->integer < b->integer);
    int difference = memcmp(a->text, b->text, a->size < b->size ? a->size : b->size);
    return difference ? difference : (a->size > b->size) - (a->size < b->size);
}

static int compare_rows(const void *one, const void *two)
{
    const struct model_row *a = *(struct model_row *const *)one, *b = *(struct model_row *const *)two;
    for (size_t i = 0; i < statement.sort_count; i++) {
        const struct cell *x = &a->cells[i], *y = &b->cells[i];
        const struct fact_sort *sort = &statement.sorts[i];
        if (x->is_null != y->is_null)
            return x->is_null == sort->nulls_first ? -1 : 1;
        int difference = x->is_null ? 0 : compare_cells(kinds[statement.kinds[i]], x, y);
        if (difference)
            return sort->descending ? (difference > 0 ? -1 : 1) : difference;
    }
    if (a->leg != b->leg)
        return a->leg < b->leg ? -1 : 1;
    return (a->number > b->number) - (a->number < b->number);
}

static void add_cell(struct random *random, struct model_row *row, size_t number)
{
    static const double doubles[] = {0.0, -0.0, 1.5, -1.5, 1e300, -1e300, INFINITY, -INFINITY, NAN, -NAN, 5e-324};
    static const int64_t integers[] = {0, 1, -1, INT64_MAX, INT64_MIN, 1 << 20, -(1 << 20), 10000, 9999};
    struct cell *cell = &row->cells[number];
    uint32_t type = kinds[statement.kinds[number]];
    cell->is_null = random_below(random, 6) == 0;
    if (cell->is_null) {
        field_add(&row->bytes, NULL, 0);
    } else if (type == FLOAT8) {
        cell->number = doubles[random_below(random, sizeof doubles / sizeof doubles[0])];
        int64_t bits;
        memcpy(&bits, &cell->number, sizeof bits);
        field_integer(&row->bytes, bits, 8);
    } else if (type == TEXT || type == UUID) {
        cell->size = type == UUID ? 12 : random_below(random, 12);
        for (size_t i = 0; i < cell->size; i++)
            cell->text[i] = random_below(random, 12) ? 'a' : (char)random_below(random, 256);
        char uuid[16] = {0}; /* the middle of it differs: both halves matter */
        memcpy(uuid + 2, cell->text, cell->size);
        field_add(&row->bytes, type == UUID ? uuid : cell->text, type == UUID ? 16 : cell->size);
    } else if (type == NUMERIC) {
        struct buffer bytes = BUFFER_INIT(MUCH);
        cell->integer = integers[random_below(random, sizeof integers / sizeof integers[0])];
        cell->integer += cell->integer < 0 ? random_below(random, 3) : -(int64_t)random_below(random, 3);
        numeric_add(&bytes, cell->integer, 2, cell->integer && random_below(random, 2));
        field_add(&row->bytes, bytes.data, bytes.size);
        buffer_free(&bytes);
    } else {
        cell->integer = integers[random_below(random, sizeof integers / sizeof integers[0])];
        if (type == INT2)
            cell->integer = (int16_t)cell->integer;
        field_integer(&row->bytes, cell->integer, type == INT2 ? 2 : 8);
    }
}

struct legs {
    struct model_row *rows[LEGS_MOST][ROWS_MOST];
    size_t counts[LEGS_MOST], given[LEGS_MOST];
    bool ended[LEGS_MOST];
    char *offered[LEGS_MOST]; /* a copy of the row, freed once it is named */
};

/* One leg gives its next row, or ends; where its last row was given, perhaps at once. */
static void give(struct merge *merge, struct legs *legs, size_t leg, struct random *random)
{
    if (legs->given[leg] < legs->counts[leg]) {
        const struct buffer *bytes = &legs->rows[leg][legs->given[leg]++]->bytes;
        free(legs->offered[leg]);
        legs->offered[leg] = malloc(bytes->size);
        memcpy(legs->offered[leg], bytes->data, bytes->size);
        assert_int_equal(merge_offer(merge, leg, legs->offered[leg], bytes->size, NULL), MOSAIC_OK);
        if (legs->given[leg] < legs->counts[leg] || random_below(random, 2))
            return;
    }
    legs->ended[leg] = true;
    merge_end(merge, leg);
}

static void merge_like_the_model(struct random *random, struct merge *merge, struct legs *legs, size_t leg_count,
                                 struct model_row **sorted, size_t first, size_t last)
{
    for (size_t tries = random_below(random, 10); tries; tries--) { /* some legs are early */
        size_t leg = random_below(random, (uint32_t)leg_count);
        if (!legs->given[leg] && !legs->ended[leg])
            give(merge, legs, leg, random);
    }
    size_t next = 0;
    for (;;) {
        size_t leg;
        enum merge_step step = merge_next(merge, &leg);
        if (step == MERGE_DONE)
            break;
        if (step == MERGE_NEEDS) {
            assert_false(legs->ended[leg]);
            give(merge, legs, leg, random);
            continue;
        }
        assert_int_equal(step, next < first ? MERGE_DROP : MERGE_ROW);
        assert_true(next < last);
        assert_int_equal(leg, sorted[next]->leg);
        assert_memory_equal(legs->offered[leg], sorted[next]->bytes.data, sorted[next]->bytes.size);
        free(legs->offered[leg]);
        legs->offered[leg] = NULL;
        next++;
    }
    assert_int_equal(next, last);
    assert_int_equal(merge_rows(merge), last > first ? last - first : 0);
}

static void one_random_merge(struct random *random)
{
    static struct model_row rows[LEGS_MOST * ROWS_MOST];
    static struct model_row *sorted[LEGS_MOST * ROWS_MOST];
    struct legs legs = {0};
    size_t leg_count = 1 + random_below(random, LEGS_MOST), total = 0;
    statement.sort_count = 1 + random_below(random, SORTS_MOST);
    uint32_t types[SORTS_MOST];
    for (size_t i = 0; i < statement.sort_count; i++) {
        types[i] = kinds[statement.kinds[i] = random_below(random, KINDS)];
        statement.sorts[i] = (struct fact_sort){random_below(random, 2), random_below(random, 2), true};
    }
    for (size_t leg = 0; leg < leg_count; leg++) {
        legs.counts[leg] = random_below(random, ROWS_MOST);
        for (size_t i = 0; i < legs.counts[leg]; i++) {
            struct model_row *row = legs.rows[leg][i] = sorted[total] = &rows[total];
            *row = (struct model_row){.leg = leg, .number = total++, .bytes = BUFFER_INIT(MUCH)};
            wire_16(&row->bytes, (uint16_t)(1 + statement.sort_count));
            field_integer(&row->bytes, (int64_t)total, 4);
            for (size_t s = 0; s < statement.sort_count; s++)
                add_cell(random, row, s);
        }
        qsort(legs.rows[leg], legs.counts[leg], sizeof(struct model_row *), compare_rows);
    }
    qsort(sorted, total, sizeof(struct model_row *), compare_rows);
    bool has_limit = random_below(random, 2);
    size_t offset = random_below(random, 2) ? random_below(random, 30) : 0, limit = random_below(random, 60);
    size_t last = has_limit && offset + limit < total ? offset + limit : total;
    if (has_limit && limit == 0)
        last = 0;
    const struct fact_scatter scatter = {
        .columns = 1, .hidden = statement.sort_count, .sorts = statement.sorts, .sort_count = statement.sort_count};
    struct merge *merge = merge_new(&scatter, has_limit ? limit : UINT64_MAX, offset, leg_count);
    assert_int_equal(describe(merge, types, statement.sort_count, NULL), MOSAIC_OK);
    merge_like_the_model(random, merge, &legs, leg_count, sorted, offset, last);
    merge_free(merge);
    for (size_t i = 0; i < total; i++)
        buffer_free(&rows[i].bytes);
    for (size_t i = 0; i < leg_count; i++)
        free(legs.offered[i]);
}

static void merging_is_sorting(void **state)
{
    (void)state;
    struct random random = random_start();
    for (int round = 0; round < 2000; round++)
        one_random_merge(&random);
}

/* ---- aggregates ------------------------------------------------------------------------------------- */

static const struct fact_combine count_and_least[] = {{AGGREGATE_COUNT, false}, {AGGREGATE_MIN, true}};
static const struct fact_scatter of_aggregates = {.columns = 2, .hidden = 2, .combines = count_and_least};

static mosaic_status describe_aggregates(struct merge *merge, uint32_t least, mosaic_error *error)
{
    struct buffer body = BUFFER_INIT(MUCH);
    wire_16(&body, 4);
    column_add(&body, "count", INT8, 0);
    column_add(&body, "min", least, 0);
    column_add(&body, "h", INT8, 1);
    column_add(&body, "h", least, 1);
    mosaic_status status = buffer_failed(&body) ? MOSAIC_MEMORY : merge_describe(merge, body.data, body.size, error);
    buffer_free(&body);
    return status;
}

static mosaic_status offer_aggregates(struct merge *merge, size_t leg, int64_t count, const char *least, size_t size,
                                      mosaic_error *error)
{
    struct buffer row = BUFFER_INIT(MUCH);
    wire_16(&row, 4);
    field_text(&row, "count");
    field_text(&row, least);
    field_integer(&row, count, 8);
    field_text(&row, least);
    mosaic_status status = buffer_failed(&row)
                               ? MOSAIC_MEMORY
                               : merge_offer(merge, leg, row.data, size < row.size ? size : row.size, error);
    buffer_free(&row);
    return status;
}

static void aggregates_become_one_row(void **state)
{
    (void)state;
    struct buffer out = BUFFER_INIT(MUCH);
    bool has_row;
    size_t leg;
    mosaic_error error;
    struct merge *merge = merge_new(&of_aggregates, UINT64_MAX, 0, 3);
    assert_int_equal(merge_way(merge), MERGE_AGGREGATES);
    assert_int_equal(describe_aggregates(merge, JSONB, &error), MOSAIC_UNSUPPORTED);
    assert_string_equal(error.message, "values of several shards cannot be combined exactly to one of column 2 (min), "
                                       "whose type is jsonb");
    assert_int_equal(describe_aggregates(merge, TEXT, &error), MOSAIC_OK);
    assert_int_equal(offer_aggregates(merge, 0, 20, "medium", MUCH, NULL), MOSAIC_OK);
    assert_int_equal(offer_aggregates(merge, 2, 0, NULL, MUCH, NULL), MOSAIC_OK);
    merge_end(merge, 2);
    merge_end(merge, 0);
    assert_int_equal(merge_next(merge, &leg), MERGE_NEEDS);
    assert_int_equal(leg, 1);
    assert_int_equal(offer_aggregates(merge, 1, 22, "little", MUCH, NULL), MOSAIC_OK);
    assert_int_equal(merge_next(merge, &leg), MERGE_NEEDS);
    assert_int_equal(offer_aggregates(merge, 1, 22, "little", MUCH, NULL), MOSAIC_DATA); /* a second row */
    merge_end(merge, 1);
    assert_int_equal(merge_next(merge, &leg), MERGE_DONE);
    assert_int_equal(merge_aggregates(merge, &out, &has_row, NULL), MOSAIC_OK);
    assert_true(has_row);
    assert_int_equal(out.size, 5 + 2 + 4 + 2 + 4 + 6);
    assert_memory_equal(out.data,
                        "D\0\0\0\26\0\2\0\0\0\2"
                        "42\0\0\0\6little",
                        out.size);
    assert_int_equal(merge_rows(merge), 1);
    merge_free(merge);
    buffer_free(&out);
}

static void limits_of_aggregates_and_missing_rows(void **state)
{
    (void)state;
    static const struct {
        uint64_t limit, offset;
        bool has_row;
    } cases[] = {{0, 0, false}, {1, 0, true}, {9, 1, false}, {UINT64_MAX, 0, true}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct merge *merge = merge_new(&of_aggregates, cases[i].limit, cases[i].offset, 1);
        struct buffer out = BUFFER_INIT(MUCH);
        bool has_row;
        mosaic_error error;
        assert_int_equal(describe_aggregates(merge, TEXT, NULL), MOSAIC_OK);
        assert_int_equal(merge_aggregates(merge, &out, &has_row, &error), MOSAIC_DATA);
        assert_string_equal(error.message, "a shard has given no row of aggregates");
        assert_int_equal(offer_aggregates(merge, 0, 1, "x", MUCH, NULL), MOSAIC_OK);
        assert_int_equal(merge_aggregates(merge, &out, &has_row, NULL), MOSAIC_OK);
        assert_int_equal(has_row, cases[i].has_row);
        assert_int_equal(out.size > 0, cases[i].has_row);
        assert_int_equal(merge_rows(merge), cases[i].has_row);
        buffer_free(&out);
        merge_free(merge);
    }
    for (size_t size = 0; size < 2 + 4 + 5 + 4 + 1 + 4 + 8 + 4 + 1; size++) {
        struct merge *merge = merge_new(&of_aggregates, UINT64_MAX, 0, 1);
        assert_int_equal(describe_aggregates(merge, TEXT, NULL), MOSAIC_OK);
        assert_int_equal(offer_aggregates(merge, 0, 1, "x", size, NULL), MOSAIC_DATA);
        merge_free(merge);
    }
}

static mosaic_status merge_both_ways(struct arena *arena, mosaic_error *error)
{
    (void)arena;
    const struct fact_sort sort = {0};
    const struct fact_scatter sorted = {.columns = 1, .hidden = 1, .sorts = &sort, .sort_count = 1};
    struct merge *merge = merge_new(&sorted, UINT64_MAX, 0, 4);
    struct buffer out = BUFFER_INIT(MUCH);
    bool has_row;
    if (!merge)
        return MOSAIC_MEMORY;
    merge_free(merge);
    merge = merge_new(&of_aggregates, UINT64_MAX, 0, 1);
    mosaic_status status = merge ? describe_aggregates(merge, TEXT, error) : MOSAIC_MEMORY;
    if (status == MOSAIC_OK)
        status = offer_aggregates(merge, 0, 1, "x", MUCH, error);
    if (status == MOSAIC_OK)
        status = merge_aggregates(merge, &out, &has_row, error);
    merge_free(merge);
    buffer_free(&out);
    return status;
}

static void failed_allocations(void **state)
{
    (void)state;
    memory_out_each(merge_both_ways);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(rows_as_they_come_are_counted),
                                       cmocka_unit_test(rows_come_together),
                                       cmocka_unit_test(hidden_columns_are_left_out),
                                       cmocka_unit_test(what_has_no_order_here_is_named),
                                       cmocka_unit_test(other_legs_must_have_the_same_columns),
                                       cmocka_unit_test(malformed_descriptions),
                                       cmocka_unit_test(the_least_row_is_the_next),
                                       cmocka_unit_test(malformed_rows),
                                       cmocka_unit_test(merging_is_sorting),
                                       cmocka_unit_test(aggregates_become_one_row),
                                       cmocka_unit_test(limits_of_aggregates_and_missing_rows),
                                       cmocka_unit_test(failed_allocations)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
