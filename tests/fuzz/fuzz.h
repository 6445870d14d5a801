/*
 * What a fuzzer is: one function that takes any bytes and must not crash, read outside of them, leak or hang.
 *
 * With -Dfuzzer=true (clang) it is linked with libFuzzer, else with driver.c. A fuzzer of a splitter, which is fed in
 * pieces, calls fuzz_splits, which runs it at every split of the input into two (or at some, when the input is long).
 */
#ifndef MOSAIC_TESTS_FUZZ_H
#define MOSAIC_TESTS_FUZZ_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* A property that must hold for every input, also in builds without assert. */
#define FUZZ_REQUIRE(condition)                                                            \
    do {                                                                                   \
        if (!(condition)) {                                                                \
            fprintf(stderr, "%s:%d: does not hold: %s\n", __FILE__, __LINE__, #condition); \
            abort();                                                                       \
        }                                                                                  \
    } while (0)

enum { FUZZ_SPLITS_MOST = 64 };

/* Calls feed(data, size, split, context) for split = 0..size; in steps when there would be more than FUZZ_SPLITS_MOST.
 */
static inline void fuzz_splits(const uint8_t *data, size_t size,
                               void (*feed)(const uint8_t *data, size_t size, size_t split, void *context),
                               void *context)
{
    size_t step = size / FUZZ_SPLITS_MOST + 1;
    for (size_t split = 0; split < size; split += step)
        feed(data, size, split, context);
    feed(data, size, size, context);
}

#endif
