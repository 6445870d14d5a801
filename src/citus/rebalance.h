/*
 * Citus's own rebalance, which runs in the background of the coordinator: it outlives whoever started it, and stopping
 * it loses nothing but the move at hand. Starting again goes on with what is left.
 */
#ifndef MOSAIC_CITUS_REBALANCE_H
#define MOSAIC_CITUS_REBALANCE_H

#include "base/memory.h"
#include "catalog/finding.h"
#include "citus/progress.h"
#include "core/model.h"
#include "pq/pq.h"

/* X(identifier, name of Citus's shard_transfer_mode). What a move needs and blocks; AUTO refuses where a table has no
 * replica identity. */
#define MOVE_MODE_LIST(X)             \
    X(AUTO, "auto")                   \
    X(FORCE_LOGICAL, "force_logical") \
    X(BLOCK_WRITES, "block_writes")
enum move_mode {
#define X(identifier, name) MOVE_##identifier,
    MOVE_MODE_LIST(X)
#undef X
};
const char *move_mode_name(enum move_mode mode);

/* ---- before it starts ---- */

/* A node, as far as moves need it. */
struct move_node {
    const char *name;       /* host:port */
    bool active, reachable; /* reachable from the coordinator */
    const char *failure;    /* why not */
    bool gives;             /* it has shards, or reference tables that another node lacks: moves may start here */
    bool logical;           /* wal_level is logical */
    int slots, most_slots;  /* replication slots that exist, max_replication_slots */
};

struct move_facts {
    const struct move_node *nodes;
    size_t node_count, takers; /* takers: nodes that may hold shards */
    /* Tables without primary key and replica identity, as displayed; a reference table if a node lacks it. */
    struct unmarked_table {
        const char *name;
        bool reference;
    } * unmarked;
    size_t unmarked_count;
    const char *const *foreign; /* distributed tables that the session's role does not own */
    size_t foreign_count;
    const char *role;
};

/* Reads them; all in the arena. */
MOSAIC_MUST_CHECK mosaic_status rebalance_facts(PGconn *coordinator, int64_t deadline, struct arena *arena,
                                                struct move_facts *facts, mosaic_error *error);
/* Everything that speaks against starting moves of this mode, each with its fix. Pure. */
void rebalance_check(const struct move_facts *facts, enum move_mode mode, struct findings *findings);

/* A planned move: one for each table's shard; colocated ones follow each other. */
struct planned_move {
    int64_t shard, bytes; /* bytes -1: not known */
    const char *table, *from, *to;
};
/* What a rebalance would do now. */
MOSAIC_MUST_CHECK mosaic_status rebalance_plan(PGconn *coordinator, int64_t deadline, struct arena *arena,
                                               struct planned_move **moves, size_t *count, mosaic_error *error);

/*
 * Citus asks for a replica identity of the tables that have shards to move alone: leaves no other one in
 * facts->unmarked, but for reference tables. Pure.
 */
void rebalance_heed_plan(struct move_facts *facts, const struct planned_move *moves, size_t count);

/* ---- the job ---- */

/* The last job there was, strings in the arena; job->id is 0 where there was none. */
MOSAIC_MUST_CHECK mosaic_status rebalance_look(PGconn *coordinator, int64_t deadline, struct arena *arena,
                                               struct rebalance_job *job, mosaic_error *error);
/*
 * Starts one; *id is 0 when there is nothing to move. drain: only what stands on nodes that may not hold shards. Fails
 * with what Citus says and our advice as hint.
 */
MOSAIC_MUST_CHECK mosaic_status rebalance_start(PGconn *coordinator, bool drain, enum move_mode mode, int64_t deadline,
                                                int64_t *id, mosaic_error *error);
/* Asks it to stop; the move at hand is undone. MOSAIC_SERVER where none runs. */
MOSAIC_MUST_CHECK mosaic_status rebalance_stop(PGconn *coordinator, int64_t deadline, mosaic_error *error);

#endif
