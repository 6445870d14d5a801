/*
 * One commit in progress: what the files of the two-phase commit share.
 *
 *     twophase.c       the steps, in their order         commit_undo.c    rolling back what was open or prepared
 *     commit_plain.c   one shard that has written
 */
#ifndef MOSAIC_CATALOG_COMMIT_H
#define MOSAIC_CATALOG_COMMIT_H

#include "catalog/outcome.h"
#include "catalog/part.h"

enum {
    COMMIT_CLEANUP_MS = 2000, /* after a failure, also when the deadline has passed */
    COMMIT_RETRY_MS = 100,
};

struct commit {
    struct part *parts;            /* in shard order */
    struct outcome_part *prepared; /* room for those that are, in the same number */
    size_t count;
    struct part *decider;
    char hex[GID_HEX_SIZE];
    struct gid gid;
    int64_t deadline;
    const struct part *left; /* could not be told to commit what was decided; NULL: all have acknowledged */
    mosaic_error *error;
};

/* The part's failure becomes the caller's. */
mosaic_status commit_fail_with(struct commit *commit, const struct part *part);
/* A connection of our own to a shard, tried again until the deadline: the server may be starting again. */
mosaic_status commit_reconnect(const struct shard *shard, int64_t deadline, PGconn **connection, mosaic_error *error);
/* Rolls back what is open and what is prepared. The caller's error stays, with a hint for what could not be reached. */
void commit_undo(struct commit *commit);
/* COMMIT on the one shard that has written, if there is one. */
MOSAIC_MUST_CHECK mosaic_status commit_plain(struct commit *commit);

#endif
