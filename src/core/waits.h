/*
 * Who waits for whom over several shards, and which transactions are to end so that the others go on.
 *
 *     shard s0:  12 waits for 31       shard s1:  44 waits for 17       12 and 17 are one transaction, 31 and 44
 * another
 *
 * Each shard sees one of the two waits, and neither a cycle. What shards said is put together here: processes that have
 * a name in common are one transaction. A cycle whose processes are all of one shard, and no transaction of which
 * stands on another, is PostgreSQL's own to break, and left to it.
 *
 * Shards are asked one after the other, so that what they say was true at different moments. It counts what two looks
 * agree on, the second of which began when the first had ended: each such wait lasted from the one to the other, so all
 * of them were there at once in between. docs/design/deadlocks.md.
 */
#ifndef MOSAIC_CORE_WAITS_H
#define MOSAIC_CORE_WAITS_H

#include "base/memory.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The shard of what a commit over several shards has prepared, wherever it stands: its id is the commit's. */
#define WAITS_PREPARED SIZE_MAX

/* A backend, by its process number, or a prepared transaction. */
struct waits_process {
    size_t shard;
    uint64_t id;
};

struct waits_edge {
    struct waits_process waiter, blocker;
    int64_t since;    /* when the waiter began to; any clock of its shard's; 0: not known */
    const char *what; /* what it waits for: "ShareLock on transaction 733" */
};

enum waits_kind {
    WAITS_NUMBER, /* a transaction's own. Of two, the larger is the younger one's */
    WAITS_COMMIT, /* of the commit that it is in */
};

struct waits_name {
    struct waits_process process;
    enum waits_kind kind;
    uint64_t number;
};

/* A look. */
struct waits {
    struct arena arena;
    struct waits_edge *edges;
    struct waits_name *names;
    size_t edge_count, edge_room, name_count, name_room;
    bool failed; /* memory, or WAITS_MOST, was out: something is left out */
};

#define WAITS_INIT ((struct waits){.arena = ARENA_INIT})
enum { WAITS_MOST = 1 << 16 };

/* The texts are copied. */
void waits_add_edge(struct waits *waits, const struct waits_edge *edge);
void waits_add_name(struct waits *waits, struct waits_process process, enum waits_kind kind, uint64_t number);
void waits_free(struct waits *waits);

struct waits_victim {
    uint64_t number;              /* its transaction's name */
    struct waits_process process; /* of that one which waits in the cycle */
    const char *detail;           /* the cycle from there: a line for each wait */
};

/*
 * The transactions to be ended, each the youngest of a cycle that the ones before it have left; one that commits only
 * where there is no other. Whoever looks at the same waits finds the same. `shards`: their names, by number. *victims
 * is the arena's. False: memory is out.
 */
bool waits_find(const struct waits *first, const struct waits *second, const char *const *shards, struct arena *arena,
                struct waits_victim **victims, size_t *count);

#endif
