/*
 * A lab's mosaic.yaml as text: made once, then only lines are added or one number in them is changed, so that what a
 * person wrote into it stays.
 */
#ifndef MOSAIC_LAB_CONFIG_TEXT_H
#define MOSAIC_LAB_CONFIG_TEXT_H

#include "base/buffer.h"
#include "base/error.h"

#include <stdbool.h>
#include <stddef.h>

/* The new file's text for a lab of so many shards. in_network: they reach each other by name, on port 5432. */
void config_text_new(struct buffer *text, const char *cluster, const char *const *conninfos, size_t count,
                     bool in_network);
/* That for a lab of Citus with this coordinator. */
void config_text_new_citus(struct buffer *text, const char *cluster, const char *coordinator);
/*
 * Adds a line for a shard after the last one of the shards, in the style of that one. A shard that stands there is left
 * alone. MOSAIC_CONFIG where no list of shards was found to add to (the hint has the line to add by hand).
 */
MOSAIC_MUST_CHECK mosaic_status config_text_add(const char *old, const char *name, const char *conninfo,
                                                bool in_network, struct buffer *text, mosaic_error *error);
/*
 * Copies the text with the old conninfo's port replaced by the new one wherever "port=OLD" stands in the line of that
 * shard, or, of Citus (name: coordinator), in that of `coordinator:`. False where there is no such line.
 */
bool config_text_change_port(const char *old, const char *name, int old_port, int new_port, struct buffer *text);

#endif
