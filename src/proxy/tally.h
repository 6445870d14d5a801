/*
 * What is noted of a statement: when it goes to its shards the log has it, and its client is warned where it should be;
 * then, of the coordinator's and where log_min_duration is set, how many rows and bytes come, and how long it takes.
 *
 * A statement of one shard has no tally where no duration is asked for: it costs a look at two values.
 */
#ifndef MOSAIC_PROXY_TALLY_H
#define MOSAIC_PROXY_TALLY_H

#include "proxy/record.h"
#include "proxy/route.h"

struct scatter;

/* client->tally: of what the linked server answers; of several statements up to Sync, the first has the text. */
struct tally {
    int tier; /* 1 or 4 */
    unsigned statements;
    enum tally_stop { TALLY_GOES_ON, TALLY_ROWS, TALLY_BYTES, TALLY_TIME } stop; /* its server was told to stop */
    int64_t began_us;
    uint64_t rows, bytes;
    uint64_t rows_most, bytes_most; /* UINT64_MAX: no limit */
    uint64_t most;                  /* the limit that was passed */
    char plan[RECORD_PLAN_MOST];
    size_t size;
    char text[];
};

MOSAIC_MUST_CHECK bool tally_note(struct client *client, const char *text, size_t size, const struct route *route);
/* A statement is about to be sent to the linked server. False: memory is out. */
MOSAIC_MUST_CHECK static inline bool tally_begin(struct client *client, const char *text, size_t size,
                                                 const struct route *route)
{
    record_statement(client, text, size, route);
    return __builtin_expect(!route->tier && !client->worker->settings->log_min_duration, 1) ||
           tally_note(client, text, size, route);
}
/* What the client's server still was to answer has ended. */
void tally_end(struct client *client);
/*
 * Bytes of the linked server, in whose first message `passing` are still to come. Returns how many of them may go on:
 * fewer than `size` where the next message is a row over a limit.
 */
size_t tally_read(struct tally *tally, uint32_t passing, const char *bytes, size_t size);
/* Which ends the statement. True: the server is closed, and its client told. */
bool tally_exceeded(struct server *server);
/* Has the coordinator had scatter_timeout for it? Then it is told to stop. */
void tally_look(struct server *server);
/* Is an error of this SQLSTATE the answer to such a stop? Then *error is what the client is told instead. */
bool tally_error(const struct client *client, const char *sqlstate, mosaic_error *error);
/* A statement of several shards has ended. */
void tally_scatter(const struct scatter *scatter);

#endif
