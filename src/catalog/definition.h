/*
 * What the catalogs of one server say of a table, as a digest: who acts on what was read of it some time ago, and now
 * has a lock on it, sees whether that still holds. Columns, defaults, constraints of the table and foreign keys to it,
 * unique indexes, triggers and their functions, rules, policies, publications; of its partitions, too. mosaic_owner,
 * which apply itself makes, is left out.
 */
#ifndef MOSAIC_CATALOG_DEFINITION_H
#define MOSAIC_CATALOG_DEFINITION_H

#include "catalog/introspect.h"
#include "pq/pq.h"

enum { DEFINITION_DIGEST_SIZE = 65 };

struct definition {
    char digest[DEFINITION_DIGEST_SIZE]; /* "": there is no such table */
};

/* Of each name; the array is the caller's. The same in every session, whatever its settings are. */
MOSAIC_MUST_CHECK mosaic_status definition_read(PGconn *connection, const char *shard, const struct table_name *names,
                                                size_t count, int64_t deadline, struct definition *definitions,
                                                mosaic_error *error);

#endif
