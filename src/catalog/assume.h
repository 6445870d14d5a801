/*
 * A model without a server: what apply would make of it on a fresh cluster. For those who explain, and never for those
 * who send: the catalog may have moved buckets since.
 */
#ifndef MOSAIC_CATALOG_ASSUME_H
#define MOSAIC_CATALOG_ASSUME_H

#include "sql/schema.h"

/*
 * Completes a model that came from the config, as catalog_complete does, with the types of the schema's columns,
 * default buckets and initial maps; the epoch is 1. Tables of one rule share one map. The schema was made for this
 * model. MOSAIC_NOT_FOUND for a table that the schema has not, MOSAIC_CONFIG for a key or a rule that apply would
 * refuse.
 */
MOSAIC_MUST_CHECK mosaic_status catalog_assume(struct model *model, const struct schema *schema, mosaic_error *error);

#endif
