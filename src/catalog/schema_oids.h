/* The OIDs that the types of a schema have on each shard, by schema and name; for schema_read.c. */
#ifndef MOSAIC_CATALOG_SCHEMA_OIDS_H
#define MOSAIC_CATALOG_SCHEMA_OIDS_H

#include "catalog/schema_read.h"

/*
 * Fills schema->type_oids of answers that are there: of each place, NULL where it was not asked; then its OIDs are
 * those that `before` has for a type of the same OID on the home shard (NULL: none). False: memory is out.
 */
MOSAIC_MUST_CHECK bool schema_take_oids(struct schema *schema, PGresult *const *answers, const struct schema *before);
/*
 * Fills schema->type_oids: asks all shards but the home one at once. It stays NULL where every type is PostgreSQL's own
 * or has the same OID everywhere. A shard that does not answer goes into the report.
 */
MOSAIC_MUST_CHECK mosaic_status schema_read_oids(struct schema *schema, int64_t deadline, struct schema_report *report,
                                                 mosaic_error *error);

#endif
