/*
 * Help as text, from the command tables.
 */
#ifndef MOSAIC_CLI_HELP_H
#define MOSAIC_CLI_HELP_H

#include "cli/command.h"

#include <stdio.h>

enum { HELP_WIDTH = 80 };

/* What `pgmosaic --help` says. */
void help_overview(FILE *stream);
/* What `pgmosaic load --help` says; parent is `lab` for `lab up`, else NULL. */
void help_one(FILE *stream, const struct command *parent, const struct command *command);

/* Where a command looks for its config; one paragraph. */
extern const char help_configs[];

/* The options that every command of its kind has, as rows: config, json and help. Ends at a NULL name. */
extern const struct option_spec help_common_options[];
/* Does the command take this one of help_common_options? */
bool help_takes(const struct command *command, const struct option_spec *common);

#endif
