/* pgmosaic status, where the engine is Citus. */
#ifndef MOSAIC_CLI_STATUS_CITUS_H
#define MOSAIC_CLI_STATUS_CITUS_H

#include "cli/command.h"
#include "core/model.h"

/* Shows the cluster of a config, and returns the exit code. */
int status_citus(const struct invocation *invocation, struct model *model);

#endif
