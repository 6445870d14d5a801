/* The parts of schema_file.c. Includes PostgreSQL's nodes: for those files alone. */
#ifndef MOSAIC_SQL_SCHEMA_FILE_PARTS_H
#define MOSAIC_SQL_SCHEMA_FILE_PARTS_H

#include "sql/draft.h"

#include "sql/nodes.h"

struct schema_file {
    struct draft draft;
    const char *text, *source;
    size_t size;
    int start, end;              /* of the statement at hand: bytes of the text */
    struct draft_list path;      /* search_path: const char * */
    struct draft_list blind;     /* collations that are not deterministic: struct file_collation */
    struct draft_list defaulted; /* domains that have a default: struct file_domain */
    bool has_extension;          /* a type that is not known may be one of its */
    mosaic_status status;        /* of the first failure: all goes on quietly until the statement's end */
    mosaic_error *error;
};

struct file_collation {
    const char *schema, *name;
};

/* What schema_column says of one. */
struct file_default {
    bool has, same, clock, id; /* id: mosaic.next_id() */
};
struct file_domain {
    uint32_t type;
    struct file_default value;
};

/* Notes a refusal at the statement at hand; only the first one counts. */
void file_refuse(struct schema_file *file, mosaic_status status, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* pg_class.relpersistence of what is a session's own: not in the schema. */
static inline bool file_is_temporary(const RangeVar *range)
{
    return range->relpersistence == 't';
}

/* ---- names: schema_file_names.c ---- */

/* A copy in the draft's arena; "" when memory is out. */
const char *file_text(struct schema_file *file, const char *text);
/* The first schema of the path; refuses where there is none. */
const char *file_new_namespace(struct schema_file *file, const char *given);
/* Splits a list of one to three String nodes; *namespace is NULL where it is not given. */
void file_split(const List *names, const char **namespace, const char **name);
/* By the path; NULL where there is none. */
struct draft_relation *file_find_relation(const struct schema_file *file, const char *namespace, const char *name);
/* The same, refusing where there is none. */
struct draft_relation *file_relation(struct schema_file *file, const RangeVar *range);
/* OID and modifier; 0 for what is not known, refused where no extension can have made it. */
uint32_t file_type(struct schema_file *file, const TypeName *type, int32_t *modifier);
bool file_is_deterministic(const struct schema_file *file, const CollateClause *collate);
/* COLLATE "C" or "POSIX", or the type name, which has it. What the database's default is, a file does not say. */
bool file_is_bytewise(const CollateClause *collate, uint32_t type);

/* ---- tables: schema_file_table.c ---- */

void file_create_table(struct schema_file *file, const CreateStmt *statement, char kind);
void file_alter_table(struct schema_file *file, const AlterTableStmt *statement);
void file_create_sequence(struct schema_file *file, const char *namespace, const char *name);
/* Columns of a table, a composite type …: ColumnDef, TableLikeClause and Constraint nodes. */
void file_add_elements(struct schema_file *file, struct draft_relation *relation, const List *elements);

/* ---- defaults: schema_file_default.c ---- */

struct file_default file_default(const Node *expression);
/* A domain's, which is its columns'. */
struct file_default file_type_default(const struct schema_file *file, uint32_t type);
void file_set_default(struct schema_column *column, struct file_default value);

/* ---- queries: schema_file_view.c ---- */

/* The columns that a query gives, as far as they are plain; names of `aliases` come first. */
void file_query_columns(struct schema_file *file, struct draft_relation *relation, const Node *query,
                        const List *aliases);
/* The text of the query behind AS in the statement at hand. */
const char *file_query_text(struct schema_file *file);
/* Relations and functions that a policy's expression names. */
void file_read_policy(struct schema_file *file, struct draft_relation *relation, const Node *expression);

/* ---- types and routines: schema_file_objects.c ---- */

void file_create_enum(struct schema_file *file, const CreateEnumStmt *statement);
void file_create_domain(struct schema_file *file, const CreateDomainStmt *statement);
void file_create_range(struct schema_file *file, const CreateRangeStmt *statement);
void file_create_composite(struct schema_file *file, const CompositeTypeStmt *statement);
void file_create_function(struct schema_file *file, const CreateFunctionStmt *statement);
/* Aggregates, operators, collations, base types. */
void file_define(struct schema_file *file, const DefineStmt *statement);

#endif
