/*
 * The sharding functions said in SQL: for the ownership constraint, row filters and partition bounds.
 *
 * Every expression is immutable, needs no extension, and gives for every key the bucket that rule_bucket gives
 * (tests/integration compares them on PostgreSQL).
 */
#ifndef MOSAIC_CORE_SQLEXPR_H
#define MOSAIC_CORE_SQLEXPR_H

#include "base/buffer.h"
#include "core/map.h"
#include "core/rule.h"

/* Appends an identifier, quoted where PostgreSQL's quote_ident would. */
void sql_identifier(struct buffer *sql, const char *name);
/* Appends schema.name (or table.column), each as an identifier. */
void sql_qualified(struct buffer *sql, const char *schema, const char *name);
/* Appends a literal, as PostgreSQL's quote_literal: E'' where it has a backslash. */
void sql_literal(struct buffer *sql, const char *text, size_t size);
/*
 * Is an expression, as pg_get_expr says it, one constant, with a cast or none: 7, NULL, 'new'::text? What is not
 * certain is none: a default that is not the same on every shard makes copies of a reference table differ.
 */
bool sql_is_constant(const char *expression);

/*
 * Appends the bucket of a row; `columns` are the key columns as SQL expressions (identifiers already quoted). The value
 * is an integer or bigint. For a sha256 rule whose B is no power of two it calls the function of sql_support_functions.
 */
void sql_bucket(struct buffer *sql, const struct rule *rule, const char *const *columns);
/*
 * Appends the number of the part (map_parts) that a row is in: bucket % N where the parts are dealt out in turn, else a
 * look-up. The coordinator's tables are partitioned by it; a list of all buckets of a partition would not fit into
 * PostgreSQL's catalog.
 */
void sql_part(struct buffer *sql, const struct rule *rule, const char *const *columns, const struct map *map);
/*
 * Appends "key IS NOT NULL AND the bucket is shard's" in O(1): bucket % N = i while the map is initial, else a bitmap.
 * Range and list say the bounds themselves.
 */
void sql_owned(struct buffer *sql, const struct rule *rule, const char *const *columns, const struct map *map,
               uint32_t shard);
/* Appends the CREATE OR REPLACE FUNCTION statements that sql_bucket needs in schema mosaic; nothing where it needs
 * none. */
void sql_support_functions(struct buffer *sql, const struct rule *rule);

#endif
