/*
 * Ids for keys that an INSERT leaves to mosaic.next_id(). The shard that owns a row is known by its key, so that must
 * be made before; shards make them, some at a time, and a worker gives them out, each once.
 *
 * They are the shard's that was asked, by its own number, sequence and clock (docs/design/catalog.md): no proxy needs a
 * number of its own, which a shard or another proxy could have too, and no clock of a proxy counts. What is not given
 * out soon is forgotten, so that ids stay in the order of time, as far as workers' clocks tell one second from the
 * next.
 */
#ifndef MOSAIC_PROXY_IDS_H
#define MOSAIC_PROXY_IDS_H

#include "base/buffer.h"

#include <stdint.h>

enum { IDS_MOST = 3000 }; /* of one statement */

struct ids {
    int64_t list[IDS_MOST];
    size_t count, at;
    int64_t made; /* by the loop's clock */
};

/* Those that are there at this time, of which nobody has been given any. */
size_t ids_there(struct ids *ids, int64_t now, const int64_t **list);
/* The first ones of them are given out. */
void ids_give(struct ids *ids, size_t count);
/* What a shard is asked for so many. */
void ids_query(size_t wanted, struct buffer *sql);
/* Its answer. False: it is none. */
bool ids_learn(struct ids *ids, const char *text, int64_t now);

#endif
