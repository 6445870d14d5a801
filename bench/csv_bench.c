/* How fast the csv and text splitter is, alone, on one core: ~60-byte rows of four fields, the key first. */
#include "copy/splitter.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { CHUNK = 256 * 1024, CHUNKS = 8, ROWS = 8192, ROUNDS = 400, BEST_OF = 5 };

static double seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

struct shape {
    const char *name, *row; /* printf with the row's number */
    struct copy_format format;
};

static size_t fill(char *bytes, size_t size, const char *row, unsigned *number)
{
    size_t used = 0;
    for (;;) {
        char text[256];
        size_t length = (size_t)snprintf(text, sizeof text, row, *number, *number, *number % 10007);
        if (used + length > size)
            return used;
        memcpy(bytes + used, text, length);
        used += length;
        ++*number;
    }
}

static double run(const struct copy_format *format, char *const *chunks, const size_t *sizes, size_t *row_count)
{
    static struct copy_row rows_memory[ROWS];
    static struct copy_slice keys[ROWS];
    struct copy_splitter splitter = {.format = *format};
    struct copy_rows rows = {rows_memory, keys, ROWS, 0};
    size_t total = 0;
    copy_splitter_columns(&splitter, 4, (const size_t[]){0}, 1);
    *row_count = 0;
    double before = seconds();
    for (int round = 0; round < ROUNDS; round++) {
        size_t at = 0, consumed, which = (size_t)round % CHUNKS;
        enum copy_result result = COPY_FULL;
        while (result == COPY_FULL) {
            result = copy_split(&splitter, chunks[which] + at, sizes[which] - at, false, &rows, &consumed);
            at += consumed;
            *row_count += rows.count;
        }
        total += at;
    }
    return (double)total / (seconds() - before) / 1e9;
}

int main(void)
{
    struct shape shapes[] = {
        {"csv", "%u,user %u,user%u@mail.example.org,2024-05-06 07:08:09+00\n", {.kind = MOSAIC_CSV}},
        {"csv, a quoted field", "%u,\"user, %u\",user%u@mail.example.org,2024-05-06 07:08:09\n", {.kind = MOSAIC_CSV}},
        {"text", "%u\tuser %u\tuser%u@mail.example.org\t2024-05-06 07:08:09+00\n", {.kind = MOSAIC_TEXT}},
    };
    printf("%-22s %-10s %8s %14s\n", "splitter", "scan", "GB/s", "million rows/s");
    for (size_t s = 0; s < sizeof shapes / sizeof shapes[0]; s++) {
        const char *methods[] = {NULL, "sse2", "portable"};
        char *chunks[CHUNKS];
        size_t sizes[CHUNKS], bytes = 0;
        unsigned number = 1000000;
        if (copy_format_check(&shapes[s].format, NULL) != MOSAIC_OK)
            return 1;
        for (size_t c = 0; c < CHUNKS; c++) {
            chunks[c] = malloc(CHUNK);
            if (!chunks[c])
                return 1;
            sizes[c] = fill(chunks[c], CHUNK, shapes[s].row, &number);
            bytes += sizes[c];
        }
        for (size_t m = 0; m < 3; m++) {
            double best = 0;
            size_t rows = 0;
            if (!copy_scan_choose(methods[m]))
                continue;
            for (int again = 0; again < BEST_OF; again++) {
                double rate = run(&shapes[s].format, chunks, sizes, &rows);
                best = rate > best ? rate : best;
            }
            double row_size = (double)bytes / CHUNKS * ROUNDS / (double)rows;
            printf("%-22s %-10s %8.2f %14.1f\n", shapes[s].name, copy_scan_name(), best, best * 1e3 / row_size);
        }
        for (size_t c = 0; c < CHUNKS; c++)
            free(chunks[c]);
    }
    return 0;
}
