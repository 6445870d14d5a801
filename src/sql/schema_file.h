/*
 * A schema from the text of its DDL: what pg_dump --schema-only writes, or a person's schema.sql.
 *
 * Understood: CREATE and ALTER TABLE, VIEW, MATERIALIZED VIEW, SEQUENCE, TYPE, DOMAIN, SCHEMA, FUNCTION, AGGREGATE,
 * OPERATOR, COLLATION, TRIGGER, RULE, POLICY, and what sets search_path. What does not matter here (COMMENT, GRANT,
 * INDEX, data …) is passed over by a list of such statements; any other is refused with its line.
 *
 * Where less is known than a server knows, it is left unknown: the type of a view's column that is no plain column is
 * OID 0, and a type that may come from an extension is one without any properties.
 */
#ifndef MOSAIC_SQL_SCHEMA_FILE_H
#define MOSAIC_SQL_SCHEMA_FILE_H

#include "sql/schema.h"

/*
 * `source` names the text in messages. Placement is the model's, which outlives the schema; home is its first shard. On
 * MOSAIC_OK schema_free it. MOSAIC_DATA for a text that cannot be read, with file and line; MOSAIC_UNSUPPORTED for a
 * statement that no rule knows.
 */
MOSAIC_MUST_CHECK mosaic_status schema_from_sql(const char *text, size_t size, const char *source,
                                                const struct model *model, struct schema *schema, mosaic_error *error);

#endif
