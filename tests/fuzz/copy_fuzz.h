/*
 * What the fuzzers of the splitters share: an input is split whole and in two pieces, by each way of scanning; all must
 * find the same rows, inside of the bytes given, and every key field must be readable.
 */
#ifndef MOSAIC_TESTS_COPY_FUZZ_H
#define MOSAIC_TESTS_COPY_FUZZ_H

#include "copy/splitter.h"
#include "fuzz.h"

#include <string.h>

enum { COPY_FUZZ_ROWS = 16, COPY_FUZZ_KEYS = 2 };

struct copy_fuzz {
    struct copy_format format; /* checked */
    size_t fields;
    size_t key_fields[COPY_FUZZ_KEYS];
    uint64_t wanted; /* the sum of everything that was found; 0: not known yet */
};

static inline uint64_t copy_fuzz_add(uint64_t sum, const void *bytes, size_t size)
{
    const unsigned char *at = bytes;
    for (size_t i = 0; i < size; i++)
        sum = (sum ^ at[i]) * 1099511628211ULL;
    return sum;
}

static inline void copy_fuzz_fields(const struct copy_format *format, const struct copy_row *row, const char *bytes)
{
    size_t next = 0, start, end;
    uint32_t fields = 0;
    while (copy_field_next(format, bytes + row->start, row->size - row->newline, &next, &start, &end)) {
        FUZZ_REQUIRE(start <= end && end <= row->size - row->newline);
        fields++;
    }
    FUZZ_REQUIRE(fields == row->fields);
}

static inline uint64_t copy_fuzz_row(const struct copy_fuzz *fuzz, const struct copy_row *row,
                                     const struct copy_slice *keys, const char *bytes, size_t size, uint64_t sum)
{
    struct arena arena = ARENA_INIT;
    FUZZ_REQUIRE(row->start <= size && row->size <= size - row->start && row->newline <= row->size);
    FUZZ_REQUIRE(row->bad < COPY_BAD_COUNT && row->line > 0 && row->bad_line >= row->line);
    if (row->bad == COPY_BAD_LONG) /* how much of it is handed out depends on what was there */
        return copy_fuzz_add(sum, &row->line, sizeof row->line);
    sum = copy_fuzz_add(sum, bytes + row->start, row->size);
    sum = copy_fuzz_add(sum, &row->bad, sizeof row->bad);
    sum = copy_fuzz_add(sum, &row->line, sizeof row->line);
    if (row->bad == COPY_BAD_NONE && fuzz->format.kind != MOSAIC_BINARY)
        copy_fuzz_fields(&fuzz->format, row, bytes);
    for (size_t k = 0; row->bad == COPY_BAD_NONE && k < COPY_FUZZ_KEYS; k++) {
        const char *value;
        size_t value_size;
        bool is_null;
        if (keys[k].start > keys[k].end || keys[k].start == UINT32_MAX)
            continue;
        FUZZ_REQUIRE(keys[k].start >= row->start && keys[k].end <= row->start + row->size);
        sum = copy_fuzz_add(sum, bytes + keys[k].start, keys[k].end - keys[k].start);
        if (fuzz->format.kind != MOSAIC_BINARY)
            FUZZ_REQUIRE(copy_field_value(&fuzz->format, bytes + keys[k].start, keys[k].end - keys[k].start, &arena,
                                          &value, &value_size, &is_null));
    }
    arena_free(&arena);
    return sum;
}

static inline void copy_fuzz_feed(const uint8_t *data, size_t size, size_t split, void *context)
{
    struct copy_fuzz *fuzz = context;
    struct copy_splitter splitter = {.format = fuzz->format};
    struct copy_row row_memory[COPY_FUZZ_ROWS];
    struct copy_slice keys[COPY_FUZZ_ROWS * COPY_FUZZ_KEYS];
    struct copy_rows rows = {row_memory, keys, COPY_FUZZ_ROWS, 0};
    enum copy_result result = COPY_MORE;
    size_t from = 0, to = 0, calls = 0;
    uint64_t sum = 14695981039346656037ULL;
    copy_splitter_columns(&splitter, fuzz->fields, fuzz->key_fields, COPY_FUZZ_KEYS);
    while (result == COPY_MORE || result == COPY_FULL) {
        size_t consumed;
        if (result == COPY_MORE)
            to = to < split ? split : size;
        /* memory of its own: a read behind the end is seen by the sanitizer */
        char *bytes = malloc(to - from + 1);
        FUZZ_REQUIRE(bytes);
        memcpy(bytes, data + from, to - from);
        result = copy_split(&splitter, bytes, to - from, to == size, &rows, &consumed);
        FUZZ_REQUIRE(consumed <= to - from && rows.count <= rows.capacity && ++calls <= size + 4);
        for (size_t i = 0; i < rows.count; i++)
            sum = copy_fuzz_row(fuzz, &row_memory[i], keys + i * COPY_FUZZ_KEYS, bytes, to - from, sum);
        free(bytes);
        from += consumed;
        FUZZ_REQUIRE(result != COPY_BROKEN || splitter.broken);
    }
    sum = copy_fuzz_add(sum, &result, sizeof result);
    FUZZ_REQUIRE(!fuzz->wanted || fuzz->wanted == sum);
    fuzz->wanted = sum;
}

static inline void copy_fuzz_run(struct copy_fuzz *fuzz, const uint8_t *data, size_t size)
{
    static const char *const methods[] = {"portable", "sse2", "avx2"};
    FUZZ_REQUIRE(copy_format_check(&fuzz->format, NULL) == MOSAIC_OK);
    for (size_t i = 0; i < sizeof methods / sizeof methods[0]; i++)
        if (copy_scan_choose(methods[i]))
            copy_fuzz_feed(data, size, size, fuzz);
    copy_scan_choose(NULL);
    fuzz_splits(data, size, copy_fuzz_feed, fuzz);
}

#endif
