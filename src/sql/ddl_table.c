/*
 * What may be said of the columns, keys and constraints of tables that are on several shards: what could not hold over
 * them is refused, as `apply` refuses it (catalog/preflight.c).
 */
#include "sql/ddl.h"
#include "sql/words.h"

#define HINT_APPLY "Change it on every shard with pgmosaic exec --all and in the config, then run pgmosaic apply."

bool ddl_is_key(const struct table *table, const char *column)
{
    for (size_t i = 0; table && i < table->column_count; i++)
        if (strcmp(table->columns[i], column) == 0)
            return true;
    return false;
}

static const char *key_text(struct analysis *analysis, const struct table *table)
{
    const char *text = table->column_count ? table->columns[0] : "";
    for (size_t i = 1; i < table->column_count; i++)
        text = analysis_text(analysis, "%s, %s", text, table->columns[i]);
    return text;
}

static bool has_name(const List *names, const char *name)
{
    ListCell *cell;
    foreach (cell, names)
        if (strcmp(strVal(lfirst(cell)), name) == 0)
            return true;
    return false;
}

/* ---- what must be unique ---- */

static void refuse_unique(struct analysis *analysis, const struct table *table, const char *what, int location)
{
    const char *key = key_text(analysis, table);
    ddl_refuse(analysis, location,
               analysis_text(analysis, "%s leaves out the sharding key (%s) of %s: it cannot hold over shards", what,
                             key, table->display),
               analysis_text(analysis, "Put %s into it.", key));
}

/* Is it a name of PostgreSQL's own, one of the list? */
static bool is_builtin(const struct analysis *analysis, const List *names, const char *const *list, size_t count)
{
    bool first = analysis->path_count && strcmp(analysis->path[0], "pg_catalog") == 0;
    bool ours = list_length(names) == 1 ? first : strcmp(strVal(linitial(names)), "pg_catalog") == 0;
    return ours && list_length(names) <= 2 && name_is_one_of(strVal(llast(names)), list, count);
}

/* Collations by which two keys are equal where their bytes are; of others the schema does not know. */
static bool is_bytewise(const struct analysis *analysis, const List *collation)
{
    static const char *const names[] = {"C", "POSIX", "default", "ucs_basic", "unicode"};
    bool qualified = list_length(collation) == 2 && strcmp(strVal(linitial(collation)), "pg_catalog") == 0;
    return !collation || qualified || is_builtin(analysis, collation, names, sizeof names / sizeof *names);
}

/* Does a unique index find two keys of the type equal that are not, and stand on different shards? Those of char(n)
 * take texts too, and are blind to the spaces at their end. */
static bool compares_otherwise(const struct analysis *analysis, const IndexElem *element, enum key_type type)
{
    static const char *const classes[] = {
        "bpchar_ops",       "bpchar_pattern_ops", "bytea_ops",       "date_ops",    "int2_ops",
        "int4_ops",         "int8_ops",           "numeric_ops",     "text_ops",    "uuid_ops",
        "text_pattern_ops", "timestamp_ops",      "timestamptz_ops", "varchar_ops", "varchar_pattern_ops"};
    const char *class = element->opclass ? strVal(llast(element->opclass)) : "";
    return !is_bytewise(analysis, element->collation) || (type != KEY_BPCHAR && strncmp(class, "bpchar_", 7) == 0) ||
           (element->opclass && !is_builtin(analysis, element->opclass, classes, sizeof classes / sizeof *classes));
}

static void refuse_equality(struct analysis *analysis, const char *column, int location)
{
    ddl_refuse(analysis, location,
               analysis_text(analysis, "%s, of the sharding key, by another equality than the column's", column),
               "Leave out COLLATE, and the operator class: keys that are equal by them can stand on different shards.");
}

static void check_unique(struct analysis *analysis, const Constraint *constraint, const char *column,
                         const struct table *table)
{
    const char *what = constraint->contype == CONSTR_PRIMARY ? "PRIMARY KEY" : "UNIQUE";
    if (constraint->indexname)
        return; /* the index has been looked at when it was made */
    for (size_t i = 0; i < table->column_count; i++)
        if (column ? strcmp(table->columns[i], column) != 0 : !has_name(constraint->keys, table->columns[i]))
            refuse_unique(analysis, table, what, constraint->location);
}

/* Each key column must stand in it with "=". */
static void check_exclusion(struct analysis *analysis, const Constraint *constraint, const struct table *table)
{
    for (size_t i = 0; i < table->column_count; i++) {
        bool found = false;
        ListCell *cell;
        foreach (cell, constraint->exclusions) {
            const IndexElem *element = linitial(lfirst(cell));
            const List *operator= lsecond(lfirst(cell));
            bool is_key = element->name && strcmp(element->name, table->columns[i]) == 0 &&
                          strcmp(strVal(llast(operator)), "=") == 0;
            if (is_key && !is_bytewise(analysis, element->collation))
                refuse_equality(analysis, table->columns[i], constraint->location);
            found |= is_key;
        }
        if (!found)
            refuse_unique(analysis, table, "EXCLUDE", constraint->location);
    }
}

void ddl_check_index(struct analysis *analysis, const IndexStmt *index, const struct table *table)
{
    for (size_t i = 0; index->unique && table && i < table->column_count; i++) {
        bool found = false;
        ListCell *cell;
        foreach (cell, index->indexParams) {
            const IndexElem *element = lfirst(cell);
            bool is_key = element->name && strcmp(element->name, table->columns[i]) == 0;
            if (is_key && compares_otherwise(analysis, element, table->rule.types[i]))
                refuse_equality(analysis, table->columns[i], index->relation->location);
            found |= is_key;
        }
        if (!found)
            refuse_unique(analysis, table, "a unique index", index->relation->location);
    }
}

/* ---- foreign keys ---- */

/* The columns pair each part of one key with that of the other. Where the other's are not said they are its primary
 * key, which has all of its sharding key. */
static bool pairs_keys(const Constraint *constraint, const char *column, const struct table *from,
                       const struct table *to)
{
    size_t count = column ? 1 : (size_t)list_length(constraint->fk_attrs);
    if (from->column_count != to->column_count)
        return false;
    if (!constraint->pk_attrs)
        return count == 1 && from->column_count == 1 &&
               strcmp(column ? column : strVal(linitial(constraint->fk_attrs)), from->columns[0]) == 0;
    for (size_t i = 0; i < from->column_count; i++) {
        bool found = false;
        for (int j = 0; j < (int)count && j < list_length(constraint->pk_attrs); j++)
            found |= strcmp(column ? column : strVal(list_nth(constraint->fk_attrs, j)), from->columns[i]) == 0 &&
                     strcmp(strVal(list_nth(constraint->pk_attrs, j)), to->columns[i]) == 0;
        if (!found)
            return false;
    }
    return true;
}

static bool is_colocated(const struct table *a, const struct table *b)
{
    if (a->map || b->map)
        return a->map == b->map;
    return a->rule.function == b->rule.function && a->rule.buckets == b->rule.buckets;
}

/* Returns why not, a clause; NULL: it holds on each shard alone. */
static const char *why_not_foreign(struct analysis *analysis, const Constraint *constraint, const char *column,
                                   const struct table *from, const struct table *to)
{
    const char *name = constraint->pktable->relname;
    if (to && to->kind == TABLE_REFERENCE)
        return NULL;
    if (!from)
        return to ? analysis_text(analysis, "rows of %s stand on one shard each", to->display) : NULL;
    if (!to)
        return analysis_text(analysis, "%s is on the home shard alone", name);
    if (from->kind == TABLE_REFERENCE)
        return analysis_text(analysis, "rows of %s stand on one shard each", to->display);
    if (!is_colocated(from, to))
        return analysis_text(analysis, "%s is not colocated: equal keys stand on different shards", to->display);
    if (!pairs_keys(constraint, column, from, to))
        return analysis_text(analysis, "it leaves out the sharding key (%s): the other row can stand on another shard",
                             key_text(analysis, from));
    return NULL;
}

static void check_foreign(struct analysis *analysis, const Constraint *constraint, const char *column,
                          const struct table *table)
{
    const struct schema_relation *relation;
    bool everywhere;
    const struct table *other = ddl_look(analysis, constraint->pktable, &relation, &everywhere);
    const char *why = why_not_foreign(analysis, constraint, column, table, other);
    if (why)
        analysis_refuse(analysis, constraint->location,
                        analysis_text(analysis, "a foreign key to %s: %s", constraint->pktable->relname, why), NULL,
                        other ? "Leave it out, or let it pair the sharding keys."
                              : "List that table in the config (kind: reference), and run pgmosaic apply.");
}

/* `column`: of a column's own; NULL: of the table. */
static void check_constraint(struct analysis *analysis, const Node *node, const char *column, const struct table *table)
{
    const Constraint *constraint = (const Constraint *)node;
    bool sharded = table && table->kind == TABLE_SHARDED;
    if (!node || !IsA(node, Constraint))
        return;
    if (constraint->conname && strcmp(constraint->conname, "mosaic_owner") == 0)
        ddl_refuse(analysis, constraint->location, "a constraint mosaic_owner, which is pgmosaic's own",
                   "Give it another name.");
    if (constraint->contype == CONSTR_FOREIGN)
        check_foreign(analysis, constraint, column, table);
    else if (sharded && (constraint->contype == CONSTR_PRIMARY || constraint->contype == CONSTR_UNIQUE))
        check_unique(analysis, constraint, column, table);
    else if (sharded && constraint->contype == CONSTR_EXCLUSION)
        check_exclusion(analysis, constraint, table);
}

static void check_column(struct analysis *analysis, const ColumnDef *column, const struct table *table)
{
    ListCell *cell;
    foreach (cell, column->constraints)
        check_constraint(analysis, lfirst(cell), column->colname, table);
}

/* ---- new tables ---- */

static bool is_numbered(const ColumnDef *column)
{
    static const char *const serial[] = {"serial", "serial2", "serial4", "serial8", "bigserial", "smallserial"};
    ListCell *cell;
    if (column->typeName && column->typeName->names && NAME_IS_ONE_OF(strVal(llast(column->typeName->names)), serial))
        return true;
    foreach (cell, column->constraints) {
        const Constraint *constraint = lfirst(cell);
        const FuncCall *call = (const FuncCall *)constraint->raw_expr;
        bool calls = constraint->contype == CONSTR_DEFAULT && call && IsA(call, FuncCall);
        if (constraint->contype == CONSTR_IDENTITY || (calls && strcmp(strVal(llast(call->funcname)), "nextval") == 0))
            return true;
    }
    return false;
}

/* A table that is there anew must have the key by which its rows are looked for. */
static void check_key(struct analysis *analysis, const CreateStmt *create, const struct table *table, size_t at)
{
    ListCell *cell;
    bool modified;
    enum key_type type;
    foreach (cell, create->tableElts) {
        const ColumnDef *column = lfirst(cell);
        if (!IsA(column, ColumnDef) || strcmp(column->colname, table->columns[at]) != 0)
            continue;
        if (!table->map)
            return;
        if (column->collClause && !is_bytewise(analysis, column->collClause->collname))
            refuse_equality(analysis, column->colname, column->collClause->location);
        bool serial = is_numbered(column) && !column->typeName->arrayBounds;
        if (type_by_oid(name_type(analysis, column->typeName, &modified), &type) && type == table->rule.types[at])
            return;
        ddl_refuse(
            analysis, create->relation->location,
            analysis_text(analysis, "%s with another type of its sharding key %s%s", table->display, table->columns[at],
                          serial ? ", or a serial one" : ""),
            "Give the key the type that was applied; or make the table with pgmosaic exec --all, and run pgmosaic "
            "apply.");
    }
    ddl_refuse(analysis, create->relation->location,
               analysis_text(analysis, "%s without a column %s, its sharding key", table->display, table->columns[at]),
               "Give it that column.");
}

static void check_parents(struct analysis *analysis, const CreateStmt *create, const struct table *table)
{
    ListCell *cell;
    foreach (cell, create->inhRelations) {
        const struct table *parent = ddl_relation(analysis, lfirst(cell), NULL);
        if ((parent || table) && !create->partbound)
            ddl_refuse(analysis, create->relation->location, "a child table of a table that is on every shard",
                       "Make it a partition.");
    }
}

static bool has_own_default(const struct schema_relation *relation)
{
    for (size_t i = 0; i < relation->column_count; i++) {
        const struct schema_column *column = &relation->columns[i];
        if (column->has_default && !column->is_generated && !column->default_same && !column->default_id)
            return true;
    }
    return false;
}

/* What comes along with LIKE is not written out: indexes could leave out the key, sequences would be one shard's. */
static void check_like(struct analysis *analysis, const TableLikeClause *like, const struct table *table)
{
    bool temporary;
    const struct schema_relation *from = name_relation(analysis, like->relation, &temporary);
    bool numbers = like->options & (CREATE_TABLE_LIKE_DEFAULTS | CREATE_TABLE_LIKE_IDENTITY);
    if (like->options & CREATE_TABLE_LIKE_INDEXES || (numbers && (!from || has_own_default(from))))
        ddl_refuse(analysis, like->relation->location,
                   analysis_text(analysis, "%s made LIKE another table, with its indexes, identity or defaults",
                                 table->display),
                   "Write them out.");
}

void ddl_check_new_table(struct analysis *analysis, const CreateStmt *create, const struct table *table, bool of_parent)
{
    ListCell *cell;
    if (!of_parent)
        check_parents(analysis, create, table);
    for (size_t i = 0; table && !of_parent && i < table->column_count; i++)
        check_key(analysis, create, table, i);
    foreach (cell, create->tableElts) {
        const ColumnDef *column = lfirst(cell);
        if (IsA(column, TableLikeClause) && table && table->kind == TABLE_SHARDED)
            check_like(analysis, (const TableLikeClause *)column, table);
        if (!IsA(column, ColumnDef)) {
            check_constraint(analysis, lfirst(cell), NULL, table);
            continue;
        }
        if (table && table->map && is_numbered(column))
            ddl_refuse(analysis, create->relation->location,
                       analysis_text(analysis, "%s with column %s that is numbered on each shard for itself",
                                     table->display, column->colname),
                       "Make the table with pgmosaic exec --all and run pgmosaic apply, which lets the shards number "
                       "differently.");
        check_column(analysis, column, table);
    }
    foreach (cell, create->constraints)
        check_constraint(analysis, lfirst(cell), NULL, table);
}

/* ---- tables that are changed ---- */

/* The same on each copy, whatever the order of its rows: constants, and of columns that are there nothing but casts. */
static bool is_same(const Node *node)
{
    if (!node)
        return true;
    if (IsA(node, TypeCast))
        return is_same(((const TypeCast *)node)->arg);
    if (!IsA(node, A_Const))
        return IsA(node, ColumnRef);
    const A_Const *constant = (const A_Const *)node;
    return constant->isnull || !IsA(&constant->val, String) ||
           !words_name_moment(strVal(&constant->val), strlen(strVal(&constant->val)));
}

static void refuse_default(struct analysis *analysis, const ColumnDef *column, const struct table *table,
                           const char *hint)
{
    ddl_refuse(analysis, column->location,
               analysis_text(analysis, "a default that could differ on each copy of %s", table->display), hint);
}

/* Rows that are there get a value. */
static void check_new_column(struct analysis *analysis, const ColumnDef *column, const struct table *table)
{
    ListCell *cell;
    bool says = false;
    if (is_numbered(column))
        ddl_refuse(
            analysis, column->location,
            analysis_text(analysis, "a column of %s that numbers the rows of each shard for itself", table->display),
            "Add it without a default, fill it, then let pgmosaic exec --all and pgmosaic apply make its "
            "sequences.");
    foreach (cell, column->constraints) {
        const Constraint *constraint = lfirst(cell);
        says |= constraint->contype == CONSTR_DEFAULT || constraint->contype == CONSTR_GENERATED;
        if (table->kind == TABLE_REFERENCE && constraint->contype == CONSTR_DEFAULT && !is_same(constraint->raw_expr))
            refuse_default(analysis, column, table, "Add the column with a constant as its default, or without.");
    }
    if (table->kind == TABLE_REFERENCE && !says && name_default_varies(analysis, column->typeName))
        refuse_default(
            analysis, column, table,
            "The domain's default, or whether the type is one, is not known to be the same: say DEFAULT NULL.");
    check_column(analysis, column, table);
}

static void refuse_key(struct analysis *analysis, const struct table *table, const char *column, const char *what)
{
    ddl_refuse(analysis, -1, analysis_text(analysis, "%s %s, the sharding key of %s", what, column, table->display),
               HINT_APPLY);
}

static void check_type(struct analysis *analysis, const AlterTableCmd *command, const struct table *table)
{
    const ColumnDef *column = (const ColumnDef *)command->def;
    if (ddl_is_key(table, command->name))
        refuse_key(analysis, table, command->name, "another type of");
    if (table->kind == TABLE_REFERENCE && !is_same(column->raw_default))
        ddl_refuse(analysis, -1, analysis_text(analysis, "USING that could differ on each copy of %s", table->display),
                   "Convert by a cast alone.");
}

static void check_partition(struct analysis *analysis, const AlterTableCmd *command, const struct table *table)
{
    bool attaches = command->subtype == AT_AttachPartition;
    ddl_refuse(analysis, -1,
               analysis_text(analysis, "a partition that is %s %s", attaches ? "attached to" : "detached from",
                             table->display),
               attaches ? "Make it by CREATE TABLE … PARTITION OF." : "Drop it, or run it with pgmosaic exec --all.");
}

/* Each shard numbers from its own start, in steps that leave room for the others. */
static void check_identity(struct analysis *analysis, const AlterTableCmd *command, const struct table *table)
{
    ListCell *cell;
    foreach (cell, (const List *)command->def)
        if (table->kind == TABLE_SHARDED && strcmp(((const DefElem *)lfirst(cell))->defname, "generated") != 0)
            ddl_refuse(analysis, -1,
                       analysis_text(analysis,
                                     "another sequence of %s, a column of %s that every shard numbers for itself",
                                     command->name, table->display),
                       "pgmosaic apply sees to it that they give different values.");
}

/* Of a home table: a partition, a parent must be one as well. */
static void check_home(struct analysis *analysis, const AlterTableCmd *command)
{
    if (command->def && IsA(command->def, RangeVar))
        (void)ddl_relation(analysis, (RangeVar *)command->def, NULL);
    if (command->def && IsA(command->def, PartitionCmd))
        (void)ddl_relation(analysis, ((PartitionCmd *)command->def)->name, NULL);
    if (command->def && IsA(command->def, ColumnDef))
        check_column(analysis, (ColumnDef *)command->def, NULL);
}

void ddl_check_alter(struct analysis *analysis, const AlterTableCmd *command, const struct table *table)
{
    check_constraint(analysis, command->def, NULL, table);
    if (!table) {
        check_home(analysis, command);
        return;
    }
    switch (command->subtype) {
    case AT_AddColumn:
        check_new_column(analysis, (ColumnDef *)command->def, table);
        break;
    case AT_DropColumn:
        if (ddl_is_key(table, command->name))
            refuse_key(analysis, table, command->name, "without");
        break;
    case AT_AlterColumnType:
        check_type(analysis, command, table);
        break;
    case AT_DropConstraint:
        if (strcmp(command->name, "mosaic_owner") == 0)
            ddl_refuse(analysis, -1, "to drop mosaic_owner, which keeps rows on their shards",
                       "Take the table out of the config, and run pgmosaic apply.");
        break;
    case AT_AttachPartition:
    case AT_DetachPartition:
    case AT_DetachPartitionFinalize:
        check_partition(analysis, command, table);
        break;
    case AT_SetIdentity:
        check_identity(analysis, command, table);
        break;
    case AT_AddInherit:
    case AT_DropInherit:
    case AT_AddOf:
    case AT_DropOf:
    case AT_AddIdentity:
        ddl_refuse(analysis, -1, analysis_text(analysis, "a change of %s that no rule knows", table->display),
                   HINT_EXEC_ALL);
        break;
    default:
        break;
    }
}
