/*
 * What merging costs a row, on one core: rows of a visible text and hidden keys, from several legs, each of which has
 * its next one at hand. Prints lines "name value unit bar"; the best of several runs.
 */
#include "merge/merge.h"
#include "wire/wire.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

enum { ROWS = 1 << 14, LEGS_MOST = 64, ROW_MOST = 128, RUNS = 100, INT8 = 20, TEXT = 25, NUMERIC = 1700 };

static struct row {
    uint64_t key;
    size_t leg, size;
    char bytes[ROW_MOST];
} rows[ROWS];
static size_t first[LEGS_MOST], next[ROWS];

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static int by_key(const void *one, const void *two)
{
    const struct row *a = one, *b = two;
    return (a->key > b->key) - (a->key < b->key);
}

static void write_key(struct buffer *out, uint32_t type, uint64_t key)
{
    size_t at = out->size;
    wire_32(out, 0);
    if (type == INT8) {
        wire_32(out, (uint32_t)(key >> 32));
        wire_32(out, (uint32_t)key);
    } else if (type == TEXT) {
        buffer_format(out, "@user%012" PRIu64 ":matrix.org", key % UINT64_C(1000000000000));
    } else {
        wire_16(out, 3);
        wire_16(out, 2);
        wire_32(out, 0);
        for (uint64_t unit = 100000000; unit; unit /= 10000)
            wire_16(out, (uint16_t)(key / unit % 10000));
    }
    out->data[at + 3] = (char)(out->size - at - 4);
}

static void make_rows(uint32_t type, size_t legs)
{
    uint64_t state = 1;
    for (size_t i = 0; i < ROWS; i++) {
        state = state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
        rows[i].key = state % UINT64_C(999999999999);
        rows[i].leg = (state >> 40) % legs;
    }
    qsort(rows, ROWS, sizeof rows[0], by_key);
    for (size_t i = 0; i < legs; i++)
        first[i] = ROWS;
    for (size_t i = ROWS; i--;) {
        struct buffer row = BUFFER_INIT(ROW_MOST);
        wire_16(&row, 2);
        wire_32(&row, 7);
        buffer_text(&row, "visible");
        write_key(&row, type, rows[i].key);
        rows[i].size = row.size;
        memcpy(rows[i].bytes, row.data, row.size);
        buffer_free(&row);
        next[i] = first[rows[i].leg];
        first[rows[i].leg] = i;
    }
}

static struct merge *start(const struct fact_scatter *scatter, uint32_t type, size_t legs)
{
    struct buffer body = BUFFER_INIT(1024);
    mosaic_error error;
    wire_16(&body, 2);
    for (int i = 0; i < 2; i++) {
        wire_text(&body, "column");
        wire_32(&body, 0);
        wire_16(&body, 0);
        wire_32(&body, i ? type : TEXT);
        wire_16(&body, 0);
        wire_32(&body, 0);
        wire_16(&body, (uint16_t)i);
    }
    struct merge *merge = merge_new(scatter, UINT64_MAX, 0, legs);
    if (merge_describe(merge, body.data, body.size, &error) != MOSAIC_OK)
        exit(1);
    buffer_free(&body);
    return merge;
}

static void run_once(struct merge *merge, struct buffer *out)
{
    size_t leg, at[LEGS_MOST], hand[LEGS_MOST];
    memcpy(at, first, sizeof at);
    for (enum merge_step step; (step = merge_next(merge, &leg)) != MERGE_DONE;) {
        if (step == MERGE_ROW) {
            buffer_clear(out);
            merge_row(merge, rows[hand[leg]].bytes, rows[hand[leg]].size, out);
        } else if (at[leg] == ROWS) {
            merge_end(merge, leg);
        } else {
            if (merge_offer(merge, leg, rows[at[leg]].bytes, rows[at[leg]].size, NULL) != MOSAIC_OK)
                exit(1);
            hand[leg] = at[leg];
            at[leg] = next[at[leg]];
        }
    }
}

static double nanoseconds(uint32_t type, size_t legs)
{
    const struct fact_sort sort = {.bytewise = true};
    const struct fact_scatter scatter = {.columns = 1, .hidden = 1, .sorts = &sort, .sort_count = 1};
    struct buffer out = BUFFER_INIT(1024);
    double best = 1e9;
    make_rows(type, legs);
    for (int run = 0; run < RUNS; run++) {
        struct merge *merge = start(&scatter, type, legs);
        double began = now();
        run_once(merge, &out);
        double took = now() - began;
        best = took < best ? took : best;
        merge_free(merge);
    }
    buffer_free(&out);
    return best / ROWS * 1e9;
}

int main(void)
{
    printf("merge_int8_4_legs %.1f ns/row <=100\n", nanoseconds(INT8, 4));
    printf("merge_text_4_legs %.1f ns/row -\n", nanoseconds(TEXT, 4));
    printf("merge_numeric_4_legs %.1f ns/row -\n", nanoseconds(NUMERIC, 4));
    printf("merge_int8_64_legs %.1f ns/row -\n", nanoseconds(INT8, 64));
    return 0;
}
