/*
 * Apply: makes the shards and the catalog agree with a config. First look, then show, then do:
 *
 *     apply_look     connects to every shard at once, reads what stands there, judges it, plans
 *     (the caller shows findings and plan, and asks)
 *     apply_do       carries the plan out, in the order that difference.h gives; may be killed and run again
 *     apply_close
 *
 * One apply at a time: apply_look with `lock` holds an advisory lock in the catalog database until apply_close.
 */
#ifndef MOSAIC_CATALOG_APPLY_H
#define MOSAIC_CATALOG_APPLY_H

#include "catalog/coordinator_apply.h"
#include "catalog/difference.h"

struct apply;

/* Called with one line about each step done. May be NULL; called by one thread at a time. */
typedef void (*apply_say_fn)(void *context, const char *line);

/* What of the coordinator, if the cluster has one: it never keeps the rest from being applied. */
enum apply_coordinator {
    APPLY_COORDINATOR_NOT,  /* nothing */
    APPLY_COORDINATOR_LOOK, /* is it in step? */
    APPLY_COORDINATOR_PLAN, /* and bring it up to date */
};

struct apply_options {
    enum apply_coordinator coordinator;
    bool lock;      /* hold off other applies; apply_do needs it */
    bool read_rows; /* look for rows on the wrong shard and for copies that differ: scans tables */
    int connect_ms; /* deadline of each connection */
    int look_ms;    /* deadline of reading one shard's settings and tables */
};

/* On the home shard: of who applies, for as long as the connection lives. One row, one boolean. */
extern const char apply_lock_sql[];

/*
 * `model` comes from the config and outlives the apply; its tables are completed. A shard that does not answer is a
 * finding, not a failure. On MOSAIC_OK *apply is to be closed.
 */
MOSAIC_MUST_CHECK mosaic_status apply_look(struct model *model, const struct apply_options *options,
                                           struct apply **apply, mosaic_error *error);
const struct findings *apply_findings(const struct apply *apply);
const struct difference *apply_difference(const struct apply *apply);
const struct coordinator_look *apply_coordinator(const struct apply *apply);
/* How many rows it has moved, or copied, from shard to shard. */
uint64_t apply_moved(const struct apply *apply);
/* Only when no finding is fatal. On failure what was begun is finished by the next apply; the message says what failed.
 */
MOSAIC_MUST_CHECK mosaic_status apply_do(struct apply *apply, apply_say_fn say, void *context, mosaic_error *error);
void apply_close(struct apply *apply);

#endif
