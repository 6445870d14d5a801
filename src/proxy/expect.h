/*
 * What a server connection still has to answer, in order: one entry for each message that was sent to it, and entries
 * for answers that the proxy gives itself at their place in between.
 *
 * A ring that grows by doubling; an idle connection has none.
 */
#ifndef MOSAIC_PROXY_EXPECT_H
#define MOSAIC_PROXY_EXPECT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* X(identifier, the client sees the answer, why) */
#define EXPECT_LIST(X)                                                                                       \
    X(QUERY, true, "a simple query: everything up to ReadyForQuery")                                         \
    X(OURS, false, "a query of the proxy's: settings replayed, a check, a reset")                            \
    X(COMMIT, false, "a query of a commit over several shards: commit.h")                                    \
    X(FUNCTION, true, "a function call: everything up to ReadyForQuery")                                     \
    X(PARSE, true, "ParseComplete")                                                                          \
    X(PARSE_OURS, false, "the server lacked a statement that the client has parsed before")                  \
    X(PARSE_SQL, false, "PREPARE in SQL: our CommandComplete stands behind it")                              \
    X(DESCRIBE_OURS, false, "types of parameters that no Parse gave, asked for a plan")                      \
    X(SHAPE_PARSED, false, "what the result of a text is now, that its client parses and others had before") \
    X(SHAPE_HERE, false, "what the result of a statement is on this server")                                 \
    X(SHAPE_UNNAMED, false, "the same of the unnamed statement, parsed again for a client that knows it")    \
    X(COLUMNS, false, "whether the rows behind it name types: of a portal, or of what COPY copies")          \
    X(BIND, true, "BindComplete")                                                                            \
    X(DESCRIBE_STATEMENT, true, "ParameterDescription, then RowDescription or NoData")                       \
    X(DESCRIBE_PORTAL, true, "RowDescription or NoData")                                                     \
    X(EXECUTE, true, "rows, then CommandComplete, EmptyQueryResponse or PortalSuspended")                    \
    X(CLOSE, true, "CloseComplete")                                                                          \
    X(CLOSE_OURS, false, "a statement had to leave the server for want of room")                             \
    X(LEG, true, "everything up to ReadyForQuery, of one of several shards: leg.c")                          \
    X(SYNC, true, "ReadyForQuery")                                                                           \
    X(SYNC_OURS, false, "ends a segment that goes on elsewhere")                                             \
    X(REFUSED, true, "a statement made to fail, so that its transaction fails: our error instead")           \
    X(COPY_END, true, "CopyDone or CopyFail: a Sync before it was read over, if there was a COPY")           \
    X(CLOSED_HERE, true, "CloseComplete of our own: the client's name for a statement is free")              \
    X(HERE, true, "bytes of our own, at their place")

enum expect_kind {
#define X(identifier, visible, why) EXPECT_##identifier,
    EXPECT_LIST(X)
#undef X
};

/* Detail of OURS: what it changes of the session's parameters is not remembered. */
enum { EXPECT_UNREPORTED = 1 };
/* Detail of CLOSED_HERE: it is DEALLOCATE's, whose answer stands behind it. */
enum { EXPECT_SILENT = 1 };
/* Detail of COLUMNS: of COPY. Of EXECUTE: what its rows are was told before. Of QUERY: COPY, of which the same holds.
 */
enum { EXPECT_MAPPED = 1 };
/* Detail of BIND: which of the client's names for one statement it was, by client_statements_mark. */
/* Detail of DESCRIBE_PORTAL: the unnamed one. */
enum { EXPECT_UNNAMED = 1 };
/* A longer way than this is not corrected. EXPECT_NO_PLACE: the server's text is another one, places in it say nothing.
 */
enum { EXPECT_SHIFT_MOST = (1 << 23) - 2, EXPECT_NO_PLACE = (1 << 23) - 1 };

struct expect_entry {
    enum expect_kind kind : 8;
    int shift : 24;  /* the server's text is longer than the client's by so much: positions in errors are less */
    uint32_t detail; /* of kind */
    void *subject;   /* PARSE, SHAPE_PARSED: the statement; SHAPE_HERE: the prepared one, held; HERE, REFUSED: bytes, by
                        memory_allocate, `detail` of them */
};

struct expect {
    struct expect_entry *entries;
    uint32_t first, count, capacity; /* capacity: a power of two, or 0 */
};

/* False when memory is out. */
bool expect_grow(struct expect *expect);
static inline bool expect_add(struct expect *expect, enum expect_kind kind, uint32_t detail, void *subject)
{
    if (expect->count == expect->capacity && !expect_grow(expect))
        return false;
    expect->entries[(expect->first + expect->count++) & (expect->capacity - 1)] =
        (struct expect_entry){kind, 0, detail, subject};
    return true;
}
/* The i-th from the front; i < count. */
static inline struct expect_entry *expect_at(const struct expect *expect, uint32_t i)
{
    return &expect->entries[(expect->first + i) & (expect->capacity - 1)];
}
static inline struct expect_entry *expect_head(const struct expect *expect)
{
    return expect->count ? &expect->entries[expect->first] : NULL;
}
/* Of the last one added. */
static inline void expect_shift(struct expect *expect, int32_t shift)
{
    if (shift >= -EXPECT_SHIFT_MOST && shift <= EXPECT_NO_PLACE)
        expect_at(expect, expect->count - 1)->shift = shift;
}
static inline void expect_pop(struct expect *expect)
{
    expect->first = (expect->first + 1) & (expect->capacity - 1);
    expect->count--;
}
static inline bool expect_visible(enum expect_kind kind)
{
    static const bool visible[] = {
#define X(identifier, is_visible, why) is_visible,
        EXPECT_LIST(X)
#undef X
    };
    return visible[kind];
}
/* Gives the memory back while empty and large; frees everything for `all`. Subjects are the caller's. */
void expect_shrink(struct expect *expect, bool all);

#endif
