/* DDL, and relations that a statement may name only where they are home tables. */
#include "sql/analysis.h"

void home_only(struct analysis *analysis, const RangeVar *name, const char *what)
{
    bool temporary;
    const struct schema_relation *relation = name_relation(analysis, name, &temporary);
    analysis->facts->needs_home = true;
    if (!relation || relation->placement == PLACE_HOME || relation->placement == PLACE_SYSTEM)
        return;
    const char *display = relation->table ? relation->table->display : relation->name;
    analysis_refuse(analysis, name->location, analysis_text(analysis, "%s of %s", what, display),
                    analysis_text(analysis, "%s is on more than one shard.", display), HINT_EXEC_ALL);
}

void home_list(struct analysis *analysis, List *names, const char *what)
{
    ListCell *cell;
    foreach (cell, names)
        home_only(analysis, lfirst(cell), what);
}

static void refuse_ddl(struct analysis *analysis)
{
    analysis_refuse(analysis, -1, "a change of the schema that belongs to every shard", NULL, HINT_EXEC_ALL);
}

/* Home tables alone may be named. */
static void query_of_home(struct analysis *analysis, Node *query, const char *what)
{
    query_analyse(analysis, NULL, false, query);
    for (const struct use *use = analysis->uses; use; use = use->next)
        if (use->fact.relation->placement == PLACE_SHARDED || use->fact.relation->placement == PLACE_REFERENCE)
            analysis_refuse(analysis, use->fact.location,
                            analysis_text(analysis, "%s reads %s", what, use->fact.relation->table->display), NULL,
                            HINT_EXEC_ALL);
}

/* A new table must not have the name of one that the config spreads: it would be taken for that. */
static void check_new_name(struct analysis *analysis, const char *schema, const char *name, int location)
{
    const struct model *model = analysis->schema->model;
    for (size_t i = 0; i < model->table_count; i++)
        if (strcmp(model->tables[i].name, name) == 0 && (!schema || strcmp(model->tables[i].schema, schema) == 0))
            analysis_refuse(analysis, location,
                            analysis_text(analysis, "a table with the name of %s", model->tables[i].display),
                            "The config places this table on every shard.", HINT_EXEC_ALL);
}

static void check_constraint(struct analysis *analysis, Node *node)
{
    if (IsA(node, Constraint) && ((Constraint *)node)->pktable)
        home_only(analysis, ((Constraint *)node)->pktable, "a foreign key to a column");
}

/* Temporary without the word: the proxy would not know that the session has it. */
static void check_no_temporary(struct analysis *analysis, const RangeVar *name)
{
    if (name->schemaname && strncmp(name->schemaname, "pg_temp", 7) == 0)
        analysis_refuse(analysis, name->location, "a relation made in pg_temp", NULL, "Say CREATE TEMPORARY ….");
}

static void create_table(struct analysis *analysis, const CreateStmt *create)
{
    struct facts *facts = analysis->facts;
    ListCell *cell, *inner;
    check_no_temporary(analysis, create->relation);
    home_only(analysis, create->relation, "CREATE TABLE");
    if (create->relation->relpersistence != 't')
        check_new_name(analysis, create->relation->schemaname, create->relation->relname, create->relation->location);
    home_list(analysis, create->inhRelations, "a child table");
    foreach (cell, create->tableElts) {
        Node *node = lfirst(cell);
        check_constraint(analysis, node);
        if (IsA(node, ColumnDef))
            foreach (inner, ((ColumnDef *)node)->constraints)
                check_constraint(analysis, lfirst(inner));
    }
    if (create->relation->relpersistence == 't') {
        facts->changes_session = true;
        facts->name = analysis_copy(analysis, create->relation->relname);
    }
}

static void create_table_as(struct analysis *analysis, const CreateTableAsStmt *create)
{
    struct facts *facts = analysis->facts;
    const RangeVar *name = create->into->rel;
    if (!IsA(create->query, SelectStmt))
        refuse_ddl(analysis);
    /* On the home shard: rows of sharded tables must be bound to it; a materialized view is refreshed later, too. */
    if (create->objtype == OBJECT_MATVIEW)
        query_of_home(analysis, create->query, "the materialized view");
    else
        query_analyse(analysis, NULL, false, create->query);
    check_no_temporary(analysis, name);
    home_only(analysis, name, "CREATE TABLE");
    if (name->relpersistence != 't')
        check_new_name(analysis, name->schemaname, name->relname, name->location);
    if (create->into->rel->relpersistence == 't') {
        facts->changes_session = true;
        facts->name = analysis_copy(analysis, create->into->rel->relname);
    }
}

static void drop_statement(struct analysis *analysis, const DropStmt *drop)
{
    bool relations = drop->removeType == OBJECT_TABLE || drop->removeType == OBJECT_VIEW ||
                     drop->removeType == OBJECT_MATVIEW || drop->removeType == OBJECT_SEQUENCE;
    if (!relations || drop->behavior == DROP_CASCADE)
        refuse_ddl(analysis);
    ListCell *cell;
    foreach (cell, drop->objects) {
        List *names = lfirst(cell);
        RangeVar name = {.type = T_RangeVar, .relname = strVal(llast(names)), .location = -1};
        if (list_length(names) > 1)
            name.schemaname = strVal(list_nth(names, list_length(names) - 2));
        home_only(analysis, &name, "DROP");
    }
}

static void alter_table(struct analysis *analysis, const AlterTableStmt *alter)
{
    ListCell *cell;
    home_only(analysis, alter->relation, "ALTER");
    foreach (cell, alter->cmds) {
        AlterTableCmd *command = lfirst(cell);
        if (command->def && IsA(command->def, Constraint))
            check_constraint(analysis, command->def);
        if (command->def && IsA(command->def, RangeVar))
            home_only(analysis, (RangeVar *)command->def, "ALTER");
        if (command->def && IsA(command->def, PartitionCmd))
            home_only(analysis, ((PartitionCmd *)command->def)->name, "a partition");
    }
}

/* A materialized view is read as a home table; it must not be filled from the home shard's part of another. */
static void refresh_statement(struct analysis *analysis, const RangeVar *name)
{
    bool temporary;
    const struct schema_relation *relation = name_relation(analysis, name, &temporary);
    home_only(analysis, name, "REFRESH");
    if (!relation)
        return;
    if (!relation->view)
        analysis_refuse(analysis, name->location, "REFRESH of a materialized view whose query is not known", NULL,
                        "Name the shard: SET mosaic.shard.");
    struct view_names before;
    Node *query = view_enter(analysis, relation, &before);
    query_of_home(analysis, query, "the materialized view");
    view_leave(analysis, &before);
}

static void grant_statement(struct analysis *analysis, const GrantStmt *grant)
{
    if (grant->targtype != ACL_TARGET_OBJECT || (grant->objtype != OBJECT_TABLE && grant->objtype != OBJECT_SEQUENCE))
        refuse_ddl(analysis);
    home_list(analysis, grant->objects, "GRANT or REVOKE");
}

void ddl_analyse(struct analysis *analysis, Node *node)
{
    struct facts *facts = analysis->facts;
    facts->class = STATEMENT_DDL;
    facts->text_bound = true;
    facts->is_write = true;
    facts->needs_home = true;
    facts->changes_schema = true;
    switch (nodeTag(node)) {
    case T_CreateStmt:
        create_table(analysis, (CreateStmt *)node);
        break;
    case T_CreateTableAsStmt:
        create_table_as(analysis, (CreateTableAsStmt *)node);
        break;
    case T_ViewStmt:
        check_no_temporary(analysis, ((ViewStmt *)node)->view);
        home_only(analysis, ((ViewStmt *)node)->view, "CREATE VIEW");
        check_new_name(analysis, ((ViewStmt *)node)->view->schemaname, ((ViewStmt *)node)->view->relname, -1);
        query_of_home(analysis, ((ViewStmt *)node)->query, "the view");
        break;
    case T_IndexStmt:
        home_only(analysis, ((IndexStmt *)node)->relation, "CREATE INDEX");
        break;
    case T_AlterTableStmt:
        alter_table(analysis, (AlterTableStmt *)node);
        break;
    case T_DropStmt:
        drop_statement(analysis, (DropStmt *)node);
        break;
    case T_TruncateStmt:
        home_list(analysis, ((TruncateStmt *)node)->relations, "TRUNCATE");
        if (((TruncateStmt *)node)->behavior == DROP_CASCADE)
            refuse_ddl(analysis);
        break;
    case T_RenameStmt:
        if (!((RenameStmt *)node)->relation)
            refuse_ddl(analysis);
        if (analysis->context->temporary_count)
            analysis_refuse(analysis, -1, "RENAME in a session with temporary tables",
                            "Which name would hide which is not followed.",
                            "Make the table anew under the other name.");
        home_only(analysis, ((RenameStmt *)node)->relation, "RENAME");
        check_new_name(analysis, NULL, ((RenameStmt *)node)->newname, -1);
        break;
    case T_CreateSeqStmt:
        check_no_temporary(analysis, ((CreateSeqStmt *)node)->sequence);
        home_only(analysis, ((CreateSeqStmt *)node)->sequence, "CREATE SEQUENCE");
        break;
    case T_AlterSeqStmt:
        home_only(analysis, ((AlterSeqStmt *)node)->sequence, "ALTER SEQUENCE");
        break;
    case T_RefreshMatViewStmt:
        refresh_statement(analysis, ((RefreshMatViewStmt *)node)->relation);
        break;
    case T_GrantStmt:
        grant_statement(analysis, (GrantStmt *)node);
        break;
    default:
        refuse_ddl(analysis);
    }
}
