/*
 * One shard's part of a commit over several, and a statement on many of them at once: send to all, then receive from
 * each.
 */
#ifndef MOSAIC_CATALOG_PART_H
#define MOSAIC_CATALOG_PART_H

#include "catalog/decision.h"

/* What happened to one statement of a step. */
struct answer {
    mosaic_status status;
    mosaic_error error;
    char tag[64];   /* of the last command */
    char first[64]; /* values of the last row that came, "" for NULL */
    char second[64];
    char third[64];
};

enum part_state {
    PART_OPEN,     /* its transaction is open */
    PART_PREPARED, /* or may be: the answer to PREPARE was lost */
    PART_ENDED,    /* committed or rolled back, or its connection is gone and with it the transaction */
};

struct part {
    PGconn *connection;
    const struct shard *shard;
    size_t index;    /* of the shard */
    char xid[24];    /* "" when it has written nothing */
    char looked[64]; /* the server's clock when xid was read */
    char name[GID_SIZE];
    char setting[64]; /* the session's own synchronous_commit */
    bool can_decide;  /* it has the table mosaic.decision */
    bool weak;        /* it is weaker than on */
    enum part_state state;
    struct answer answer;
};

/* Sends without waiting; a failure waits in part->answer. */
void part_send(struct part *part, const char *sql);
/*
 * Reads all answers to what was sent, into part->answer. `tag`: what one of its commands must answer, NULL for
 * anything: a failed transaction answers ROLLBACK to COMMIT and to PREPARE TRANSACTION.
 */
mosaic_status part_receive(struct part *part, const char *tag, int64_t deadline);
mosaic_status part_run(struct part *part, const char *sql, const char *tag, int64_t deadline);
/* Was the failure the server's own word, on a session that goes on? Else nobody knows whether the command took effect.
 */
bool part_was_refused(const struct part *part);

#endif
