/*
 * Merging. Input: a byte of options (aggregates or order, legs, LIMIT), one that picks the hidden columns' types, a
 * RowDescription's body, and the rows of the legs as they are asked for; each behind two bytes of its size. A body of
 * no bytes stands for a well-formed one of those types; a row of none ends its leg.
 */
#include "fuzz.h"
#include "merge/merge.h"
#include "wire/wire.h"

enum { COLUMNS = 2, LEGS_MOST = 4, MUCH = 1 << 20 };

static const uint32_t types[] = {20, 25, 1700, 1186, 1266, 701, 16, 1042};
static const struct fact_combine combines[][COLUMNS] = {{{AGGREGATE_MIN, true}, {AGGREGATE_MAX, true}},
                                                        {{AGGREGATE_SUM, true}, {AGGREGATE_COUNT, true}},
                                                        {{AGGREGATE_BIT_XOR, true}, {AGGREGATE_BOOL_OR, true}},
                                                        {{AGGREGATE_SUM, true}, {AGGREGATE_MIN, true}}};

struct input {
    const uint8_t *at;
    size_t left;
};

/* Bytes behind their size, in memory of their own, where the sanitizer sees what is read beyond. NULL: of none. */
static char *take(struct input *input, size_t *size)
{
    *size = input->left < 2 ? 0 : wire_get16(input->at);
    if (*size == 0)
        return NULL;
    if (*size > input->left - 2)
        *size = input->left - 2;
    char *bytes = malloc(*size + !*size);
    FUZZ_REQUIRE(bytes);
    memcpy(bytes, input->at + 2, *size);
    input->at += 2 + *size, input->left -= 2 + *size;
    return bytes;
}

static void make_body(const struct fact_scatter *scatter, uint8_t picks, struct buffer *body)
{
    wire_16(body, (uint16_t)(scatter->columns + scatter->hidden));
    for (size_t i = 0; i < scatter->columns + scatter->hidden; i++) {
        wire_text(body, "column");
        wire_32(body, 0);
        wire_16(body, 0);
        wire_32(body, types[picks >> (i % COLUMNS * 3) & 7]);
        wire_16(body, 0);
        wire_32(body, 0);
        wire_16(body, i >= scatter->columns || picks & 64);
    }
}

static bool describe(struct merge *merge, const char *body, size_t size)
{
    struct buffer out = BUFFER_INIT(MUCH);
    mosaic_error error;
    mosaic_status status = merge_describe(merge, body, size, &error);
    FUZZ_REQUIRE(status == MOSAIC_OK || status == MOSAIC_UNSUPPORTED || status == MOSAIC_DATA);
    if (status == MOSAIC_OK) {
        FUZZ_REQUIRE(merge_describe(merge, body, size, &error) == MOSAIC_OK);
        merge_describe_row(merge, body, size, &out);
        FUZZ_REQUIRE(!buffer_failed(&out) && wire_get16(out.data + 5) == COLUMNS);
    }
    buffer_free(&out);
    return status == MOSAIC_OK;
}

struct hand {
    char *row;
    size_t size;
};

static mosaic_status give(struct merge *merge, size_t leg, struct input *input, struct hand *hand)
{
    mosaic_error error;
    free(hand->row);
    hand->row = take(input, &hand->size);
    if (hand->row)
        return merge_offer(merge, leg, hand->row, hand->size, &error);
    input->at += input->left < 2 ? input->left : 2;
    input->left -= input->left < 2 ? input->left : 2;
    merge_end(merge, leg);
    return MOSAIC_OK;
}

static void merge_all(struct merge *merge, struct input *input)
{
    struct hand hands[LEGS_MOST] = {{0}};
    struct buffer out = BUFFER_INIT(MUCH);
    mosaic_status status = MOSAIC_OK;
    uint64_t rows = 0;
    size_t leg;
    bool has_row;
    for (enum merge_step step; status == MOSAIC_OK && (step = merge_next(merge, &leg)) != MERGE_DONE;) {
        FUZZ_REQUIRE(leg < LEGS_MOST);
        if (step == MERGE_NEEDS) {
            status = give(merge, leg, input, &hands[leg]);
        } else if (step == MERGE_ROW) {
            buffer_clear(&out);
            merge_row(merge, hands[leg].row, hands[leg].size, &out);
            FUZZ_REQUIRE(!buffer_failed(&out) && out.size <= hands[leg].size + 5 && merge_rows(merge) == ++rows);
        }
    }
    buffer_clear(&out);
    FUZZ_REQUIRE(status == MOSAIC_OK || status == MOSAIC_DATA);
    if (status == MOSAIC_OK && merge_way(merge) == MERGE_AGGREGATES)
        status = merge_aggregates(merge, &out, &has_row, NULL);
    FUZZ_REQUIRE(status == MOSAIC_OK || status == MOSAIC_DATA);
    buffer_free(&out);
    for (leg = 0; leg < LEGS_MOST; leg++)
        free(hands[leg].row);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 2)
        return 0;
    uint8_t options = data[0], picks = data[1];
    const struct fact_sort sorts[COLUMNS] = {{options & 1, options & 2, true}, {picks & 1, picks & 2, true}};
    struct fact_scatter scatter = {.columns = COLUMNS, .hidden = COLUMNS, .sorts = sorts, .sort_count = COLUMNS};
    if (options & 4) {
        scatter.sort_count = 0;
        scatter.combines = combines[options & 3];
    }
    struct merge *merge = merge_new(&scatter, options & 8 ? 2 : UINT64_MAX, options & 16 ? 1 : 0, 1 + (options >> 6));
    FUZZ_REQUIRE(merge);
    struct input input = {data + 2, size - 2};
    struct buffer made = BUFFER_INIT(MUCH);
    size_t body_size;
    char *body = take(&input, &body_size);
    if (!body && input.left >= 2)
        input.at += 2, input.left -= 2;
    make_body(&scatter, picks, &made);
    if (describe(merge, body ? body : made.data, body ? body_size : made.size))
        merge_all(merge, &input);
    merge_free(merge);
    free(body);
    buffer_free(&made);
    return 0;
}
