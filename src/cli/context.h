/*
 * Which cluster a command works on: -c FILE, $PGMOSAIC_CONFIG, ./mosaic.yaml, this checkout's `demo` lab, else the only
 * lab that is up; else the labs are listed.
 */
#ifndef MOSAIC_CLI_CONTEXT_H
#define MOSAIC_CLI_CONTEXT_H

#include "cli/command.h"
#include "core/model.h"

/* The config's path, in the arena; MOSAIC_CONFIG (exit 2) with the list of labs when there is none. */
MOSAIC_MUST_CHECK mosaic_status context_config_path(const struct invocation *invocation, struct arena *arena,
                                                    const char **path, mosaic_error *error);
/* Finds and parses the config, without asking any server. model_free it. */
MOSAIC_MUST_CHECK mosaic_status context_model(const struct invocation *invocation, struct model *model,
                                              mosaic_error *error);
/* Finds the config and opens the cluster with the library. mosaic_close it. */
MOSAIC_MUST_CHECK mosaic_status context_cluster(const struct invocation *invocation, mosaic_cluster **cluster,
                                                mosaic_error *error);
/* Non-zero once SIGINT or SIGTERM came; installed by main. */
extern volatile int context_interrupted;

#endif
