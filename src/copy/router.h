/*
 * Rows that a splitter has found, to buckets by their keys. Keys of one whole number or one text take the batch
 * functions of the rule; all others go one by one.
 *
 *     copy_router_begin(&router, bytes, buckets);
 *     for (each row i)
 *         copy_router_row(&router, slices of its key, i, &error);
 *     copy_router_end(&router);                     now buckets[i] of every row that was given is there
 */
#ifndef MOSAIC_COPY_ROUTER_H
#define MOSAIC_COPY_ROUTER_H

#include "copy/splitter.h"
#include "core/rule.h"

/* How a rule's keys are found; the router knows. */
enum copy_key_path { COPY_KEY_ONE_BY_ONE, COPY_KEY_INTEGER, COPY_KEY_BYTES };

struct copy_router {
    const struct rule *rule;
    const char *const *names; /* of the key columns */
    const int *modifiers;     /* pg_attribute.atttypmod of each */
    const struct copy_format *format;
    enum copy_key_path path;
    bool plain_numbers; /* a number in a key field is its value: not binary, and the NULL text is no number */
    struct arena keys;  /* of one batch of rows */
    int64_t *integers;
    struct key_slice *slices;
    uint32_t *places; /* which row the i-th integer or slice is of */
    size_t count;     /* of these */
    const char *bytes;
    uint32_t *buckets;
};

/*
 * For batches of at most `most` rows; the lists are the arena's. What it is given must live as long as it is used.
 * False: memory is out.
 */
MOSAIC_MUST_CHECK bool copy_router_init(struct copy_router *router, const struct rule *rule, const char *const *names,
                                        const int *modifiers, const struct copy_format *format, size_t most,
                                        struct arena *arena);
/* A new batch, whose slices point into `bytes`, and whose buckets go to `buckets`. */
void copy_router_begin(struct copy_router *router, const char *bytes, uint32_t *buckets);
/* MOSAIC_KEY: row i has no key that is a value of its type; its bucket stays as it is. */
MOSAIC_MUST_CHECK mosaic_status copy_router_row(struct copy_router *router, const struct copy_slice *slices, size_t i,
                                                mosaic_error *error);
void copy_router_end(struct copy_router *router);
void copy_router_free(struct copy_router *router);

#endif
