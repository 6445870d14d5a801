/*
 * What every PostgreSQL has before anybody made anything: relations, types and functions of pg_catalog and
 * information_schema, as PostgreSQL 15 has them. For schemas made without a server (schema_file.h); a server is asked
 * for its own (catalog/schema_read.h). builtin.py makes the facts again.
 */
#ifndef MOSAIC_SQL_BUILTIN_H
#define MOSAIC_SQL_BUILTIN_H

#include "sql/schema.h"

struct builtin {
    struct schema_relation *relations; /* ascending by OID */
    struct schema_type *types;         /* ascending by OID */
    struct schema_function *functions; /* ascending by name, then OID */
    size_t relation_count, type_count, function_count;
};

/* All in the arena, some 700 kB. MOSAIC_MEMORY is the only failure. */
MOSAIC_MUST_CHECK mosaic_status builtin_read(struct arena *arena, struct builtin *builtin, mosaic_error *error);

#endif
