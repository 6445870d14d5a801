/*
 * What comes back from all shards, as one stream of rows: as they arrive, or merged into the order asked for, up to the
 * limit. Knows results, not connections; client/call.h feeds it.
 *
 * A shard's rows are handed in one at a time. With an order, a row waits until every other shard has a row too or has
 * ended; the least goes out. A row that is before its predecessor from the same shard shows that the statement's own
 * ORDER BY is another one: the call fails rather than hand out a wrong order.
 */
#ifndef MOSAIC_CLIENT_SCATTER_H
#define MOSAIC_CLIENT_SCATTER_H

#include "base/error.h"
#include "base/heap.h"
#include "base/memory.h"

#include <libpq-fe.h>

/* One shard's rows. */
struct stream {
    size_t shard;
    const char *name;
    PGresult *row;      /* ordered: the row at hand; one row each */
    PGresult *previous; /* ordered: the one handed out before it */
    bool shaped;        /* its columns were checked */
    bool ended;
};

struct scatter {
    mosaic_scatter asked; /* order is copied */
    struct stream *streams;
    size_t count;
    struct heap heap;
    size_t awaited;    /* ordered: streams that have neither ended nor a row at hand */
    unsigned *types;   /* ordered: of each order column, 0 while not known */
    size_t collations; /* how often the statement says a collation of bytes */
    bool binary;
    int columns; /* of the rows; -1 while not known */
    uint64_t handed_out;
    bool unreadable; /* the comparison met a value that it can't read */
};

/* All memory from the arena. `statement` is read for its collations only. UNSUPPORTED or USAGE for an order that can't
 * be merged. */
MOSAIC_MUST_CHECK mosaic_status scatter_init(struct scatter *scatter, struct arena *arena, const mosaic_scatter *asked,
                                             const mosaic_statement *statement, size_t shards, mosaic_error *error);
/*
 * A row of the stream (PGRES_SINGLE_TUPLE), which is taken over. OK: go on; STOPPED: the callback asked for it, or the
 * limit is reached (scatter_is_full); or a failure.
 */
MOSAIC_MUST_CHECK mosaic_status scatter_row(struct scatter *scatter, size_t stream, PGresult *row, mosaic_error *error);
/* The end of a stream: its last result, which stays the caller's. Statuses as of scatter_row. */
MOSAIC_MUST_CHECK mosaic_status scatter_end(struct scatter *scatter, size_t stream, const PGresult *last,
                                            mosaic_error *error);
/* Does the stream want its next row now? */
static inline bool scatter_wants(const struct scatter *scatter, size_t stream)
{
    return !scatter->streams[stream].row;
}
/* Has the limit been reached? Then nothing more is handed out. */
static inline bool scatter_is_full(const struct scatter *scatter)
{
    return scatter->asked.limit && scatter->handed_out >= scatter->asked.limit;
}
void scatter_free(struct scatter *scatter);

#endif
