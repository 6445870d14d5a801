/*
 * Many keys to their places, as lines of text: the work behind `pgmosaic route`.
 *
 *     router_init(&router, stdout, false);
 *     router.rule = …; router.map = …;            in router.arena or router.model
 *     status = router_prepare(&router, error);
 *     status = router_add(&router, slices, count, &good, error); …
 *     status = router_flush(&router, error);
 *     router_free(&router);
 */
#ifndef MOSAIC_CLI_ROUTER_H
#define MOSAIC_CLI_ROUTER_H

#include "base/buffer.h"
#include "core/model.h"

#include <stdio.h>

enum { ROUTER_BATCH = 4096 };

/*
 * Called with keys and their buckets before their lines are appended; a failure ends router_add, with *good the number
 * of keys before the bad one.
 */
typedef mosaic_status (*router_check_fn)(void *context, const struct key_slice *keys, const uint32_t *buckets,
                                         size_t count, size_t *good, mosaic_error *error);

struct router {
    struct arena arena; /* of everything but the model */
    struct model model; /* when has_model */
    bool has_model;
    const struct rule *rule;
    const struct map *map;
    const struct shard *shards;           /* their names; NULL: shards are numbers */
    const struct citus_shards *citus;     /* of a table on Citus: the line has its shard and node; else NULL */
    const char *columns[KEY_COLUMNS_MAX]; /* for messages */
    bool json;
    router_check_fn check; /* may be NULL */
    void *check_context;

    /* Private. */
    FILE *stream;
    struct buffer out;
    const char **tails; /* of each bucket: what stands behind the key on its line; made when first needed */
    size_t *tail_sizes;
    struct arena scratch; /* of one key */
    enum { ROUTE_INTEGERS, ROUTE_TEXTS, ROUTE_ANY } way;
    int64_t least, most; /* of the integer type */
    int64_t *integers;
    uint32_t *buckets;
};

void router_init(struct router *router, FILE *stream, bool json);
/* To be called once rule and map are set. */
MOSAIC_MUST_CHECK mosaic_status router_prepare(struct router *router, mosaic_error *error);
/*
 * Appends the lines of up to ROUTER_BATCH keys, writing when there is much. On failure *good keys before the bad one
 * were appended; MOSAIC_IO when the stream can't be written.
 */
MOSAIC_MUST_CHECK mosaic_status router_add(struct router *router, const struct key_slice *keys, size_t count,
                                           size_t *good, mosaic_error *error);
/* The bucket of one key, of any type; a key of several columns is a line of CSV. Of router, only rule and columns. */
MOSAIC_MUST_CHECK mosaic_status router_bucket(struct router *router, const struct key_slice *key, uint32_t *bucket,
                                              mosaic_error *error);
/* Writes what was appended. */
MOSAIC_MUST_CHECK mosaic_status router_flush(struct router *router, mosaic_error *error);
void router_free(struct router *router);

#endif
