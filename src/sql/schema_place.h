/*
 * Where each relation of a schema is: what the model says of it by name, and of a partition what it says of its root.
 * For those who make schemas.
 */
#ifndef MOSAIC_SQL_SCHEMA_PLACE_H
#define MOSAIC_SQL_SCHEMA_PLACE_H

#include "sql/schema.h"

/*
 * Sets placement and table of relations that are sorted ascending by OID; parents and is_partition are set. pg_catalog
 * and information_schema are PLACE_SYSTEM, and everything that nobody names is PLACE_HOME.
 */
void schema_place(const struct model *model, struct schema_relation *relations, size_t count);

#endif
