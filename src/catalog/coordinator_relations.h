/*
 * What takes the place of the home shard's relations on the coordinator.
 */
#ifndef MOSAIC_CATALOG_COORDINATOR_RELATIONS_H
#define MOSAIC_CATALOG_COORDINATOR_RELATIONS_H

#include "base/buffer.h"
#include "core/model.h"
#include "pq/pq.h"

#define COORDINATOR_PARTS "mosaic_parts" /* the schema of the foreign partitions */

struct relation {
    const char *schema, *name, *display; /* display: quoted, with its schema */
    const char *root_schema, *root_name; /* of a partition its topmost parent, else itself */
    const char *columns;                 /* as in CREATE TABLE, with types, collations, NOT NULL */
    const char *result_columns;          /* without NOT NULL, as a view has them */
    char kind;                           /* pg_class.relkind */
    bool has_row_security;
    bool is_readable; /* by the role that applies */
};

struct relations {
    struct relation *list; /* by schema and name, in bytes' order */
    size_t count;
};

/* Tables, views and the like of the home shard, in the arena. */
MOSAIC_MUST_CHECK mosaic_status relations_read(PGconn *home, int64_t deadline, struct arena *arena,
                                               struct relations *relations, mosaic_error *error);
/* NULL if there is none. */
const struct relation *relations_find(const struct relations *relations, const char *schema, const char *name);

/* The statements that make it. `home` is the home shard's number. */
void relation_sql(struct buffer *sql, const struct model *model, size_t home, const struct relations *relations,
                  const struct relation *relation);
/* A view in its place that says why it cannot be read. */
void relation_refused_sql(struct buffer *sql, const struct relation *relation, const char *reason);
/* The name of a shard's foreign server, quoted. */
void coordinator_server_name(struct buffer *sql, const struct model *model, size_t shard);

#endif
