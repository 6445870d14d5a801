/* The settings of one local server of a lab, as a file that we own. */
#ifndef MOSAIC_LAB_SETTINGS_H
#define MOSAIC_LAB_SETTINGS_H

#include "lab/state.h"

/* Writes the file that the server of that number is started with. */
MOSAIC_MUST_CHECK mosaic_status settings_write(const struct state *state, size_t shard, const char *socket_directory,
                                               const char *path, mosaic_error *error);

#endif
