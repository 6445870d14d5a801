/*
 * One shard's part of a batch: BEGIN, the statements, COMMIT and a sync, sent ahead in libpq's pipeline mode while the
 * results come back. Steps never block.
 *
 * When a statement fails the server skips all that follows it, COMMIT too, up to the sync: nothing of the part stays,
 * and the connection is closed rather than read to its end.
 */
#ifndef MOSAIC_CLIENT_PIPELINE_H
#define MOSAIC_CLIENT_PIPELINE_H

#include "client/claim.h"

/* A statement of a batch. */
struct entry {
    struct entry *next; /* of the batch */
    struct entry *then; /* of the same shard */
    size_t index, bytes;
    mosaic_statement statement;
    const char *table;
    mosaic_key key;
    size_t shard;
};

enum pipeline_state { PIPELINE_NEW, PIPELINE_RUNNING, PIPELINE_DONE };

struct pipeline {
    struct entry *first, *last;
    enum pipeline_state state;
    struct claim claim;
    struct lease *lease;
    struct entry *to_send;    /* NULL: all were sent */
    struct entry *to_receive; /* NULL: all results have come */
    bool began, sent_commit;  /* BEGIN was answered; COMMIT and sync were sent */
    bool committed;
    bool flushing; /* libpq holds bytes that the socket did not take */
    mosaic_status status;
};

/* Starts sending on the pipeline's lease. The rest comes with the steps. */
MOSAIC_MUST_CHECK mosaic_status pipeline_start(struct pipeline *pipeline, mosaic_error *error);
/* AGAIN, OK once it is committed and the connection has gone back, or why it failed. */
MOSAIC_MUST_CHECK mosaic_status pipeline_step(struct pipeline *pipeline, mosaic_batch_fn done, void *context,
                                              mosaic_error *error);
bool pipeline_io(const struct pipeline *pipeline, mosaic_io *io);
/* Ends it in any state: what was not committed is rolled back. */
void pipeline_abandon(struct pipeline *pipeline);

#endif
