/* The OIDs that the types of a schema have on each shard, by schema and name; for schema_read.c. */
#ifndef MOSAIC_CATALOG_SCHEMA_OIDS_H
#define MOSAIC_CATALOG_SCHEMA_OIDS_H

#include "catalog/schema_read.h"

/*
 * Fills schema->type_oids: asks all shards but the home one at once. It stays NULL where every type is PostgreSQL's own
 * or has the same OID everywhere. A shard that does not answer goes into the report.
 */
MOSAIC_MUST_CHECK mosaic_status schema_read_oids(struct schema *schema, int64_t deadline, struct schema_report *report,
                                                 mosaic_error *error);

#endif
