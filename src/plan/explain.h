/*
 * Why a statement goes where it goes, as lines of text: for EXPLAIN (MOSAIC) of the proxy and for `pgmosaic explain`.
 *
 *     tier 1: one shard, s1
 *       bucket 597 of 1536 (modulo of users)
 *       users: sharded by id; id = 1109 binds it
 *       countries: reference table, whole on every shard
 *
 *     tier 2: 3 shards, merged here
 *       asks each shard: SELECT … LIMIT 10
 *       merge: in the order of name DESC
 *       why not one shard: …
 *
 *     tier 2: writes on all 3 shards: s0, s1, s2
 *       tells each shard: UPDATE …
 *       why not one shard: …
 *
 *     tier 4: the coordinator, over all shards
 *       why not one shard: …
 *
 *     refused: no condition id = … on users
 *       SELECT * FROM users WHERE name = 'a'
 *                     ^
 *       to prove it: …
 *
 * The first line says all in one; those below it are indented by two blanks.
 */
#ifndef MOSAIC_PLAN_EXPLAIN_H
#define MOSAIC_PLAN_EXPLAIN_H

#include "plan/plan.h"

/* X(identifier, what a report calls it) From SCATTER on it is not one shard's, for a reason. */
#define EXPLAIN_WAY_LIST(X)                                    \
    X(SHARD, "one shard")                                      \
    X(OPEN, "one shard, by the values of parameters")          \
    X(HOME, "the home shard")                                  \
    X(ANY, "any shard")                                        \
    X(SESSION, "the session's own (BEGIN, COMMIT, SET …)")     \
    X(SCATTER, "several shards, merged")                       \
    X(COMBINED, "several shards, combined by the coordinator") \
    X(COORDINATOR, "the coordinator")                          \
    X(WRITES, "several shards, in one transaction")            \
    X(REFUSED, "refused")

enum explain_way {
#define X(identifier, name) EXPLAIN_##identifier,
    EXPLAIN_WAY_LIST(X)
#undef X
        EXPLAIN_WAY_COUNT
};

const char *explain_way_name(enum explain_way way);
int explain_tier(enum explain_way way); /* 1 to 4; 0 where it is refused */

struct explain_input {
    const struct facts *facts;       /* of one statement */
    const struct plan_input *values; /* as plan_make takes them; fewer parameters than the text has may be known */
    const char *text;                /* the whole text that facts->start counts in */
    size_t size;
};

struct explanation {
    enum explain_way way;
    int tier;                    /* of the way */
    struct plan plan;            /* not of EXPLAIN_OPEN: there the values decide */
    const char *reason, *remedy; /* refused: why, and what would prove it, one line each; NULL */
    int location;                /* bytes from the text's start, of what could not be proved; -1: none */
    const char *const *lines;
    size_t line_count;
};

/* Plans the statement and explains it. Everything is in the arena, or in what the input points to. */
MOSAIC_MUST_CHECK mosaic_status explain_make(const struct explain_input *input, struct arena *arena,
                                             struct explanation *explanation, mosaic_error *error);
/* The condition that binds a relation, as SQL: id = 42, id IN (1, $2), (a, b) = (1, 'x'). NULL when memory is out. */
const char *explain_condition(const struct fact_relation *relation, const struct plan_input *values,
                              struct arena *arena);
/* The placement in words: "sharded by id", "reference table, whole on every shard" … NULL when memory is out. */
const char *explain_placement(const struct fact_relation *relation, const struct schema *schema, struct arena *arena);
/*
 * Two lines that show a place: the text's line around it, at most `width` characters, and a caret below. NULL when
 * memory is out.
 */
const char *const *explain_caret(const char *text, size_t size, size_t location, size_t width, struct arena *arena);

#endif
