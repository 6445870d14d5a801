/*
 * The coordinator's part of an apply: what is there, what would change, and bringing it up to date. Whatever is wrong
 * with it is a finding that is not fatal: a cluster without tier 4 still has the others.
 */
#ifndef MOSAIC_CATALOG_COORDINATOR_APPLY_H
#define MOSAIC_CATALOG_COORDINATOR_APPLY_H

#include "catalog/finding.h"
#include "catalog/introspect.h"

/* X(identifier, in words) */
#define COORDINATOR_STATE_LIST(X) \
    X(UNKNOWN, "not looked at")   \
    X(NONE, "none")               \
    X(IN_STEP, "in step")         \
    X(BEHIND, "behind")           \
    X(MISSING, "missing")         \
    X(UNFIT, "unfit")             \
    X(UNREACHABLE, "out of reach")
/* BEHIND: apply builds it anew. MISSING: apply makes its database. UNFIT: an administrator, or whoever writes the
 * config, must act first. */
enum coordinator_state {
#define X(identifier, words) COORDINATOR_##identifier,
    COORDINATOR_STATE_LIST(X)
#undef X
};

const char *coordinator_state_name(enum coordinator_state state);

struct coordinator_look {
    enum coordinator_state state;
    const char *why, *fix; /* one line, and what to do; "" for nothing */
    size_t tables;         /* of the home shard, where it is behind */
    PGconn *connection;    /* PQfinish it */
};

struct coordinator_input {
    const struct model *model; /* completed, with the epoch that is to be */
    size_t home;
    PGconn *const *shards;
    const struct shard_facts *facts; /* of the home shard */
    struct findings *findings;
    int connect_ms, look_ms;
};

/* Fails for want of memory, and when interrupted. */
MOSAIC_MUST_CHECK mosaic_status coordinator_look(const struct coordinator_input *input, struct coordinator_look *look,
                                                 mosaic_error *error);
/* Adds what bring_up would do, a line a step, or the finding that says why it does nothing. */
void coordinator_plan(const struct coordinator_input *input, const struct coordinator_look *look, struct buffer *plan);
/* Carries it out; what fails is a finding. Fails as coordinator_look. */
MOSAIC_MUST_CHECK mosaic_status coordinator_bring_up(const struct coordinator_input *input,
                                                     struct coordinator_look *look, mosaic_error *error);

#endif
