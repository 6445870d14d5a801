/* What the commands for Citus's nodes share: the way to the coordinator, and showing what speaks against a change. */
#ifndef MOSAIC_CLI_COORDINATOR_H
#define MOSAIC_CLI_COORDINATOR_H

#include "catalog/finding.h"
#include "cli/command.h"
#include "core/model.h"
#include "pq/pq.h"

enum { COORDINATOR_CONNECT_MS = 5000, COORDINATOR_ASK_MS = 60000 };

struct coordinator {
    struct model model; /* of the config; nodes are not read */
    PGconn *connection;
};

/*
 * Reads the config and connects. MOSAIC_UNSUPPORTED on engine postgres, with what there is instead; a database that is
 * no coordinator as citus_check_coordinator. coordinator_close it whatever the outcome.
 */
MOSAIC_MUST_CHECK mosaic_status coordinator_open(const struct invocation *invocation, struct coordinator *coordinator,
                                                 mosaic_error *error);
void coordinator_close(struct coordinator *coordinator);

/* Prints the findings to stderr, merged. Returns false when one is fatal. */
bool coordinator_show(struct findings *findings);

#endif
