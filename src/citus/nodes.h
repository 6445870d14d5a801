/*
 * The nodes of a Citus cluster, asked through the coordinator.
 */
#ifndef MOSAIC_CITUS_NODES_H
#define MOSAIC_CITUS_NODES_H

#include "catalog/finding.h"
#include "core/model.h"
#include "pq/pq.h"

struct citus_answer {
    bool reachable;        /* from the coordinator */
    const char *extension; /* pg_extension.extversion of citus; "" when not reachable */
    const char *server;    /* server_version */
    uint64_t bytes;        /* of the database */
    const char *failure;   /* what the coordinator says of it; "" when it is reachable */
};

struct citus_answers {
    struct citus_answer *list; /* parallel to model->nodes */
};

/* Asks every active node at once. */
MOSAIC_MUST_CHECK mosaic_status citus_ask_nodes(const struct model *model, PGconn *coordinator, int64_t deadline,
                                                struct arena *arena, struct citus_answers *answers,
                                                mosaic_error *error);
/*
 * Says which nodes are down, have another version of the extension, or that none may hold shards. `fatal`: when
 * something is to be changed, which needs them all; else warnings.
 */
void citus_judge_nodes(const struct model *model, const struct citus_answers *answers, bool fatal,
                       struct findings *findings);

#endif
