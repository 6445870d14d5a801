/*
 * mosaic.yaml → model, by libcyaml. Unknown keys, cycles, and what could not work on any server are refused here, with
 * file and line.
 */
#ifndef MOSAIC_CONFIG_CONFIG_H
#define MOSAIC_CONFIG_CONFIG_H

#include "core/model.h"

/* Reads a config from memory; `source` names it in messages. On MOSAIC_OK *model is to be freed by model_free. */
MOSAIC_MUST_CHECK mosaic_status config_parse(const char *text, size_t size, const char *source, struct model *model,
                                             mosaic_error *error);
/* The same from a file, at most 4 MiB. MOSAIC_NOT_FOUND if there is none. */
MOSAIC_MUST_CHECK mosaic_status config_read(const char *path, struct model *model, mosaic_error *error);
/*
 * Once it is known which shard is the home shard (where the catalog is): where the config does not say what the
 * coordinator is, model->coordinator becomes the database <dbname>_coordinator beside that shard. Until then it is the
 * one beside the first.
 */
MOSAIC_MUST_CHECK mosaic_status config_place_coordinator(struct model *model, size_t home, mosaic_error *error);
/* The conninfo of another database of the same server, with the same login. NULL when memory is out. */
const char *config_other_database(struct arena *arena, const char *conninfo, const char *database);

#endif
