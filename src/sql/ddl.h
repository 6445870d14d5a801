/*
 * Changes of the schema: where each belongs, by what it names.
 *
 *     home         home tables and what hangs on them, sequences, materialized views, views that name one of these
 *     everywhere   sharded and reference tables and what hangs on them, views over nothing else; types, functions,
 *                  schemas, extensions, roles: what every shard must know
 *     refused      both in one statement; what could not hold over shards; what the config says and PostgreSQL would
 * not know of
 *
 * What is everywhere becomes a write of SPREAD_ALL. A name that the schema does not know is the home shard's, which
 * says that it does not exist, unless the config has a table of that name.
 */
#ifndef MOSAIC_SQL_DDL_H
#define MOSAIC_SQL_DDL_H

#include "sql/analysis.h"

/* ---- ddl_place.c ---- */

/* The statement names this, which is on the home shard alone, or on every shard. Of the first ones refusals tell. */
void ddl_note_home(struct analysis *analysis, const char *name);
void ddl_note_everywhere(struct analysis *analysis, const char *name);
/*
 * A relation by its name: its place is noted. The table of the config that it is, or a partition of; NULL: it is none,
 * or not to be found. *relation (which may be NULL) is what the schema knows of it.
 */
const struct table *ddl_relation(struct analysis *analysis, const RangeVar *name,
                                 const struct schema_relation **relation);
/* The same without a note; *everywhere: is it on every shard? */
const struct table *ddl_look(struct analysis *analysis, const RangeVar *name, const struct schema_relation **relation,
                             bool *everywhere);
void ddl_relations(struct analysis *analysis, List *names);
/* The same for names as DROP, COMMENT and RENAME have them: of the first `count` parts of a list; 0: all of them. */
const struct table *ddl_named(struct analysis *analysis, List *names, int count);
/* The table that the config means by the name of one that is to be made; NULL: none. */
const struct table *ddl_configured(struct analysis *analysis, const RangeVar *name);
/* A sequence of a serial or identity column, which stands on every shard: its table; NULL: the home shard's alone. */
const struct table *ddl_sequence_table(struct analysis *analysis, const struct schema_relation *sequence);
/* Can a name without a schema be a home table's index on the home shard, and on others that of another table? */
bool ddl_path_is_mixed(const struct analysis *analysis);
/* Where a view of this query has to be. The analysis of the query leaves nothing behind. */
bool ddl_query_is_everywhere(struct analysis *analysis, Node *query);
/* A query that may name home tables alone. */
void ddl_query_of_home(struct analysis *analysis, Node *query, const char *what);
/* Once all is noted: a write, or the home shard's; refuses what is both. */
void ddl_conclude(struct analysis *analysis);
void ddl_refuse(struct analysis *analysis, int location, const char *message, const char *hint)
    __attribute__((noreturn));

/* ---- ddl_table.c: what may be said of a table's columns, keys and constraints ---- */

/* Of one that is made. `table`: the config's; NULL: a home table. of_parent: it is a partition of that table. */
void ddl_check_new_table(struct analysis *analysis, const CreateStmt *create, const struct table *table,
                         bool of_parent);
void ddl_check_alter(struct analysis *analysis, const AlterTableCmd *command, const struct table *table);
void ddl_check_index(struct analysis *analysis, const IndexStmt *index, const struct table *table);
bool ddl_is_key(const struct table *table, const char *column);

/* ---- ddl_leftovers.c ---- */

/*
 * A statement that drops the invalid indexes which an index made or rebuilt CONCURRENTLY has left on a table. `name`:
 * of the index; NULL: of those that REINDEX makes. While somebody works at the table's indexes it does nothing; nor
 * where it fails.
 */
const char *ddl_leftovers(struct analysis *analysis, const struct table *table, const char *name);

#endif
