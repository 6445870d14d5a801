/* Changes of the schema, maintenance, LOCK TABLE: what each names. ddl_place.c knows where that is. */
#include "sql/ddl.h"

#include "sql/words.h"

static void refuse_any(struct analysis *analysis)
{
    ddl_refuse(analysis, -1, "a change of the schema that no rule knows", HINT_EXEC_ALL);
}

/* Temporary without the word: the proxy would not know that the session has it. */
static void check_no_temporary(struct analysis *analysis, const RangeVar *name)
{
    if (name->schemaname && strncmp(name->schemaname, "pg_temp", 7) == 0)
        ddl_refuse(analysis, name->location, "a relation made in pg_temp", "Say CREATE TEMPORARY ….");
}

/* Once it is gone, by DROP, ROLLBACK or COMMIT, its name would still be taken for it: for the home shard's rows alone.
 */
static void check_hides_none(struct analysis *analysis, const RangeVar *name)
{
    for (size_t i = 0; i < analysis->schema->relation_count; i++) {
        const struct schema_relation *other = &analysis->schema->relations[i];
        bool is_spread = other->placement == PLACE_SHARDED || other->placement == PLACE_REFERENCE || other->kind == 'v';
        if (is_spread && other->placement != PLACE_SYSTEM && strcmp(other->name, name->relname) == 0)
            ddl_refuse(analysis, name->location, "a temporary relation with the name of one that several shards have",
                       "Give it another name.");
    }
}

static void note_temporary(struct analysis *analysis, const RangeVar *name)
{
    check_hides_none(analysis, name);
    analysis->facts->changes_session = true;
    analysis->facts->name = analysis_copy(analysis, name->relname);
    ddl_note_home(analysis, analysis->facts->name);
}

/* A relation that is made, on the home shard, must not have the name of one that the config spreads. */
static void check_home_name(struct analysis *analysis, const RangeVar *name)
{
    const struct table *table = ddl_configured(analysis, name);
    check_no_temporary(analysis, name);
    if (table)
        ddl_refuse(analysis, name->location, analysis_text(analysis, "a relation with the name of %s", table->display),
                   "The config places this table on every shard: make it by CREATE TABLE with its columns.");
    ddl_note_home(analysis, analysis_copy(analysis, name->relname));
}

/* ---- CREATE ---- */

/* What keeps rows of other shards away stands in it from the beginning, on each shard its own. */
static void note_made(struct analysis *analysis, const RangeVar *name, const struct table *table)
{
    struct token token = {.is_group = false};
    size_t at = (size_t)analysis->facts->start;
    while (!token.is_group && words_token(analysis->text, analysis->size, &at, &token))
        ;
    if (!token.is_group || analysis->text[token.end - 1] != ')')
        ddl_refuse(analysis, name->location, "a table of the config whose columns are not written out", NULL);
    analysis->ddl.write.makes = table;
    analysis->ddl.write.inside = token.end - 1;
}

static void create_table(struct analysis *analysis, const CreateStmt *create)
{
    const RangeVar *name = create->relation;
    check_no_temporary(analysis, name);
    const struct table *table = name->relpersistence == 't' ? NULL : ddl_configured(analysis, name);
    bool is_partition = create->partbound && list_length(create->inhRelations) == 1, of_parent = is_partition && !table;
    if (of_parent)
        table = ddl_relation(analysis, linitial(create->inhRelations), NULL);
    ddl_check_new_table(analysis, create, table, of_parent);
    if (name->relpersistence == 't')
        note_temporary(analysis, name);
    else if (table)
        ddl_note_everywhere(analysis, table->display);
    else
        ddl_note_home(analysis, analysis_copy(analysis, name->relname));
    if (table && name->relpersistence == 't')
        ddl_refuse(analysis, name->location, "a temporary partition", NULL);
    if (table && !is_partition && table->kind == TABLE_SHARDED && table->map)
        note_made(analysis, name, table);
    if (table)
        analysis->facts->name = analysis_copy(analysis, name->relname);
}

/* On the home shard: rows of sharded tables must be bound to it; a materialized view is refreshed later, too. */
static void create_table_as(struct analysis *analysis, const CreateTableAsStmt *create)
{
    const RangeVar *name = create->into->rel;
    if (!IsA(create->query, SelectStmt))
        refuse_any(analysis);
    if (create->objtype == OBJECT_MATVIEW)
        ddl_query_of_home(analysis, create->query, "the materialized view");
    else
        query_analyse(analysis, NULL, false, create->query);
    if (name->relpersistence == 't') {
        check_no_temporary(analysis, name);
        note_temporary(analysis, name);
    } else {
        check_home_name(analysis, name);
    }
}

static void create_view(struct analysis *analysis, const ViewStmt *create)
{
    const struct schema_relation *known;
    bool was_everywhere, everywhere = ddl_query_is_everywhere(analysis, create->query);
    if (create->view->relpersistence == 't') {
        check_no_temporary(analysis, create->view);
        note_temporary(analysis, create->view);
        return;
    }
    const struct unknown_name *unknown = analysis->unknown;
    (void)ddl_look(analysis, create->view, &known, &was_everywhere);
    analysis->unknown = (struct unknown_name *)unknown;
    check_home_name(analysis, create->view);
    analysis->ddl.home = NULL;
    const char *name = analysis_copy(analysis, create->view->relname);
    /* Replaced, or in front of the other in a search_path. */
    if (known && (known->kind != 'v' || was_everywhere != everywhere))
        analysis_refuse(analysis, create->view->location,
                        analysis_text(analysis, "a view with the name of %s.%s", known->schema, known->name),
                        everywhere ? "The view is on every shard; what has its name now is not."
                                   : "The view is on the home shard alone; what has its name now is on every shard.",
                        "Drop that first, in a transaction of its own, or take another name.");
    if (everywhere)
        ddl_note_everywhere(analysis, name);
    else
        ddl_note_home(analysis, name);
    analysis->facts->name = everywhere ? name : NULL;
}

/* ---- indexes ---- */

/* The text with words of ours behind the first `words` of it, before the next one that is none of `passed`. */
static const char *text_with(struct analysis *analysis, size_t words, const char *passed, const char *added)
{
    struct token token;
    size_t at = (size_t)analysis->facts->start, end = at;
    for (size_t i = 0; i < words; i++)
        if (!words_token(analysis->text, analysis->size, &at, &token))
            return NULL;
    end = at;
    if (words_token(analysis->text, analysis->size, &at, &token) && word_is(&token.word, passed))
        end = token.end;
    return analysis_text(analysis, "%.*s %s%.*s", (int)end, analysis->text, added, (int)(analysis->size - end),
                         analysis->text + end);
}

/*
 * Of which table an index is the schema does not know. The home shard has the indexes of all tables: there it must be;
 * elsewhere it is dropped, or changed, where it is.
 */
static void index_by_name(struct analysis *analysis, bool has_schema, bool may_miss)
{
    if (!has_schema && ddl_path_is_mixed(analysis))
        ddl_refuse(analysis, -1,
                   "an index without its schema, where search_path has schemas of home tables before others",
                   "Say its schema: on other shards another schema's index could have the name.");
    ddl_note_everywhere(analysis, "the index");
    if (!may_miss)
        analysis->ddl.write.others = text_with(analysis, 2, "concurrently", "IF EXISTS");
}

static void create_index(struct analysis *analysis, const IndexStmt *index)
{
    const struct table *table = ddl_relation(analysis, index->relation, NULL);
    ddl_check_index(analysis, index, table);
    analysis->ddl.write.by_itself = index->concurrent;
    if (index->concurrent && !index->idxname && table)
        ddl_refuse(analysis, index->relation->location, "CREATE INDEX CONCURRENTLY without a name",
                   "Name the index: so that one shard's can be dropped where another one's fails.");
    if (index->concurrent && table)
        analysis->ddl.write.leftovers = ddl_leftovers(analysis, table, index->idxname);
}

/* ---- DROP, ALTER, RENAME ---- */

/* Objects that hang on a relation, which the parts of their names but the last one say. */
static bool is_of_relation(ObjectType type)
{
    return type == OBJECT_TRIGGER || type == OBJECT_RULE || type == OBJECT_POLICY || type == OBJECT_TABCONSTRAINT ||
           type == OBJECT_COLUMN;
}

static bool is_relation(ObjectType type)
{
    return type == OBJECT_TABLE || type == OBJECT_VIEW || type == OBJECT_MATVIEW || type == OBJECT_SEQUENCE;
}

/* Objects of no table's own: every shard has them. */
static bool is_common(ObjectType type)
{
    static const ObjectType types[] = {OBJECT_AGGREGATE,     OBJECT_ATTRIBUTE, OBJECT_COLLATION, OBJECT_DOMAIN,
                                       OBJECT_DOMCONSTRAINT, OBJECT_EXTENSION, OBJECT_FUNCTION,  OBJECT_OPERATOR,
                                       OBJECT_PROCEDURE,     OBJECT_ROLE,      OBJECT_ROUTINE,   OBJECT_SCHEMA,
                                       OBJECT_TYPE};
    for (size_t i = 0; i < sizeof types / sizeof *types; i++)
        if (types[i] == type)
            return true;
    return false;
}

static void note_common(struct analysis *analysis, ObjectType type, const char *what)
{
    if (!is_common(type))
        refuse_any(analysis);
    ddl_note_everywhere(analysis, what);
    analysis->ddl.write.once_a_server = type == OBJECT_ROLE;
}

/* Our own things, and schemas of tables that the config names. */
static void check_schema(struct analysis *analysis, const char *schema)
{
    const struct model *model = analysis->schema->model;
    bool ours = strncmp(schema, "mosaic", 6) == 0;
    for (size_t i = 0; i < model->table_count; i++)
        ours |= strcmp(model->tables[i].schema, schema) == 0;
    if (ours)
        ddl_refuse(analysis, -1, analysis_text(analysis, "to drop or rename schema %s, which the config needs", schema),
                   HINT_EXEC_ALL);
}

static void drop_one(struct analysis *analysis, ObjectType type, Node *object)
{
    if (type == OBJECT_SCHEMA)
        check_schema(analysis, strVal(object));
    if (is_relation(type))
        (void)ddl_named(analysis, (List *)object, 0);
    else if (is_of_relation(type))
        (void)ddl_named(analysis, (List *)object, list_length((List *)object) - 1);
    else if (type == OBJECT_INDEX)
        index_by_name(analysis, list_length((List *)object) > 1, analysis->ddl.may_miss);
    else
        note_common(analysis, type, "the object");
}

static void drop_statement(struct analysis *analysis, const DropStmt *drop)
{
    ListCell *cell;
    analysis->ddl.may_miss = drop->missing_ok;
    analysis->ddl.write.by_itself = drop->concurrent;
    foreach (cell, drop->objects)
        drop_one(analysis, drop->removeType, lfirst(cell));
}

static void alter_table(struct analysis *analysis, const AlterTableStmt *alter)
{
    ListCell *cell;
    if (alter->objtype == OBJECT_TYPE) {
        ddl_note_everywhere(analysis, analysis_copy(analysis, alter->relation->relname));
        return;
    }
    if (alter->objtype == OBJECT_INDEX) {
        index_by_name(analysis, alter->relation->schemaname != NULL, alter->missing_ok);
        return;
    }
    analysis->ddl.may_miss = alter->missing_ok;
    const struct table *table = ddl_relation(analysis, alter->relation, NULL);
    foreach (cell, alter->cmds) {
        const AlterTableCmd *command = lfirst(cell);
        if (command->subtype == AT_DetachPartition && ((PartitionCmd *)command->def)->concurrent)
            refuse_any(analysis);
        ddl_check_alter(analysis, command, table);
    }
}

static void check_rename(struct analysis *analysis, const RenameStmt *rename, const struct table *table,
                         const struct schema_relation *relation)
{
    RangeVar name = *rename->relation;
    bool is_table = rename->renameType == OBJECT_TABLE || rename->renameType == OBJECT_VIEW;
    if (table && rename->renameType == OBJECT_TABLE && !(relation && relation->is_partition))
        ddl_refuse(analysis, name.location, analysis_text(analysis, "another name for %s", table->display),
                   "Rename it on every shard with pgmosaic exec --all and in the config, then run pgmosaic apply.");
    if (rename->renameType == OBJECT_COLUMN && ddl_is_key(table, rename->subname))
        ddl_refuse(
            analysis, name.location,
            analysis_text(analysis, "another name for %s, the sharding key of %s", rename->subname, table->display),
            "Rename it on every shard with pgmosaic exec --all and in the config, then run pgmosaic apply.");
    if (rename->renameType == OBJECT_TABCONSTRAINT && strcmp(rename->subname, "mosaic_owner") == 0)
        ddl_refuse(analysis, name.location, "another name for mosaic_owner", NULL);
    name.relname = rename->newname;
    name.schemaname = relation ? (char *)relation->schema : name.schemaname;
    const struct table *taken = is_table ? ddl_configured(analysis, &name) : NULL;
    if (taken)
        ddl_refuse(analysis, -1, analysis_text(analysis, "the name of %s for another relation", taken->display),
                   "The config places the table of this name on every shard.");
    if (is_table && analysis->ddl.everywhere)
        analysis->facts->name = analysis_copy(analysis, rename->newname);
}

static void rename_statement(struct analysis *analysis, const RenameStmt *rename)
{
    const struct schema_relation *relation = NULL;
    if (rename->renameType == OBJECT_SCHEMA)
        check_schema(analysis, rename->subname);
    if (!rename->relation || rename->renameType == OBJECT_ATTRIBUTE) {
        note_common(analysis, rename->renameType, "the object");
        return;
    }
    if (rename->renameType == OBJECT_INDEX) {
        index_by_name(analysis, rename->relation->schemaname != NULL, rename->missing_ok);
        return;
    }
    if (analysis->context->temporary_count)
        analysis_refuse(analysis, -1, "RENAME in a session with temporary tables",
                        "Which name would hide which is not followed.", "Make the table anew under the other name.");
    analysis->ddl.may_miss = rename->missing_ok;
    const struct table *table = ddl_relation(analysis, rename->relation, &relation);
    check_rename(analysis, rename, table, relation);
}

static void move_statement(struct analysis *analysis, const AlterObjectSchemaStmt *move)
{
    if (!move->relation) {
        note_common(analysis, move->objectType, "the object");
        return;
    }
    RangeVar name = *move->relation;
    const struct table *table = ddl_relation(analysis, move->relation, NULL);
    name.schemaname = move->newschema;
    if (table || analysis->ddl.everywhere || ddl_configured(analysis, &name))
        ddl_refuse(analysis, move->relation->location, "another schema for what is on every shard",
                   "Move it on every shard with pgmosaic exec --all and in the config, then run pgmosaic apply.");
}

static void comment_statement(struct analysis *analysis, const CommentStmt *comment)
{
    const List *names = (const List *)comment->object;
    if (is_relation(comment->objtype))
        (void)ddl_named(analysis, (List *)names, 0);
    else if (is_of_relation(comment->objtype))
        (void)ddl_named(analysis, (List *)names, list_length(names) - 1);
    else
        note_common(analysis, comment->objtype, "the object");
    if (comment->objtype == OBJECT_TABCONSTRAINT && strcmp(strVal(llast(names)), "mosaic_owner") == 0)
        ddl_refuse(analysis, -1, "a comment on mosaic_owner, which is pgmosaic's own", NULL);
}

/* ---- others ---- */

/* A materialized view is read as a home table; it must not be filled from the home shard's part of another. */
static void refresh_statement(struct analysis *analysis, const RefreshMatViewStmt *refresh)
{
    const struct schema_relation *relation;
    (void)ddl_relation(analysis, refresh->relation, &relation);
    if (!relation)
        return;
    if (!relation->view)
        ddl_refuse(analysis, refresh->relation->location, "REFRESH of a materialized view whose query is not known",
                   "Name the shard: SET mosaic.shard.");
    struct view_names before;
    Node *query = view_enter(analysis, relation, &before);
    ddl_query_of_home(analysis, query, "the materialized view");
    view_leave(analysis, &before);
}

/* Of a database it names one that each shard has by another name. */
static void grant_statement(struct analysis *analysis, const GrantStmt *grant)
{
    bool common = grant->objtype == OBJECT_SCHEMA || grant->objtype == OBJECT_FUNCTION ||
                  grant->objtype == OBJECT_PROCEDURE || grant->objtype == OBJECT_ROUTINE ||
                  grant->objtype == OBJECT_TYPE || grant->objtype == OBJECT_DOMAIN ||
                  grant->objtype == OBJECT_LANGUAGE || grant->targtype != ACL_TARGET_OBJECT;
    if (common)
        ddl_note_everywhere(analysis, "the object");
    else if (grant->objtype == OBJECT_TABLE || grant->objtype == OBJECT_SEQUENCE)
        ddl_relations(analysis, grant->objects);
    else
        refuse_any(analysis);
}

static void note_roles(struct analysis *analysis)
{
    ddl_note_everywhere(analysis, "the role");
    analysis->ddl.write.once_a_server = true;
}

static void create_schema(struct analysis *analysis, const CreateSchemaStmt *create)
{
    if (create->schemaElts)
        ddl_refuse(analysis, -1, "CREATE SCHEMA with what is in it", "Make that in statements of its own.");
    ddl_note_everywhere(analysis, "the schema");
}

static void on_relation(struct analysis *analysis, const RangeVar *name)
{
    (void)ddl_relation(analysis, name, NULL);
}

static void truncate_statement(struct analysis *analysis, const TruncateStmt *truncate)
{
    ListCell *cell;
    foreach (cell, truncate->relations) {
        const struct schema_relation *relation;
        (void)ddl_relation(analysis, lfirst(cell), &relation);
        if (relation)
            relation_truncated(analysis, relation, lfirst(cell), truncate->behavior == DROP_CASCADE);
    }
    analysis->facts->changes_schema = false;
}

/* A sequence of a serial column has been set so that no two shards give the same number. */
static void alter_sequence(struct analysis *analysis, const AlterSeqStmt *alter)
{
    on_relation(analysis, alter->sequence);
    if (analysis->ddl.everywhere)
        ddl_refuse(analysis, -1, "ALTER SEQUENCE of a sequence that every shard has for itself",
                   "pgmosaic apply sees to it that they give different values.");
}

static void ddl_of(struct analysis *analysis, Node *node)
{
    switch (nodeTag(node)) {
    case T_CreateStmt:
        create_table(analysis, (CreateStmt *)node);
        break;
    case T_CreateTableAsStmt:
        create_table_as(analysis, (CreateTableAsStmt *)node);
        break;
    case T_ViewStmt:
        create_view(analysis, (ViewStmt *)node);
        break;
    case T_IndexStmt:
        create_index(analysis, (IndexStmt *)node);
        break;
    case T_AlterTableStmt:
        alter_table(analysis, (AlterTableStmt *)node);
        break;
    case T_DropStmt:
        drop_statement(analysis, (DropStmt *)node);
        break;
    case T_TruncateStmt:
        truncate_statement(analysis, (TruncateStmt *)node);
        break;
    case T_RenameStmt:
        rename_statement(analysis, (RenameStmt *)node);
        break;
    case T_AlterObjectSchemaStmt:
        move_statement(analysis, (AlterObjectSchemaStmt *)node);
        break;
    case T_AlterOwnerStmt:
        note_common(analysis, ((AlterOwnerStmt *)node)->objectType, "the object");
        break;
    case T_CommentStmt:
        comment_statement(analysis, (CommentStmt *)node);
        break;
    case T_CreateSeqStmt:
        if (((CreateSeqStmt *)node)->sequence->relpersistence == 't')
            note_temporary(analysis, ((CreateSeqStmt *)node)->sequence);
        else
            check_home_name(analysis, ((CreateSeqStmt *)node)->sequence);
        break;
    case T_AlterSeqStmt:
        alter_sequence(analysis, (AlterSeqStmt *)node);
        break;
    case T_RefreshMatViewStmt:
        refresh_statement(analysis, (RefreshMatViewStmt *)node);
        break;
    case T_GrantStmt:
        grant_statement(analysis, (GrantStmt *)node);
        break;
    case T_CreateTrigStmt:
        on_relation(analysis, ((CreateTrigStmt *)node)->relation);
        break;
    case T_RuleStmt:
        on_relation(analysis, ((RuleStmt *)node)->relation);
        break;
    case T_CreatePolicyStmt:
        on_relation(analysis, ((CreatePolicyStmt *)node)->table);
        break;
    case T_AlterPolicyStmt:
        on_relation(analysis, ((AlterPolicyStmt *)node)->table);
        break;
    case T_CreateSchemaStmt:
        create_schema(analysis, (CreateSchemaStmt *)node);
        break;
    case T_CreateRoleStmt:
    case T_AlterRoleStmt:
    case T_DropRoleStmt:
    case T_GrantRoleStmt:
        note_roles(analysis);
        break;
    case T_AlterRoleSetStmt:
        if (((AlterRoleSetStmt *)node)->database)
            refuse_any(analysis); /* each shard's database has another name */
        note_roles(analysis);
        break;
    case T_DefineStmt:
    case T_CreateFunctionStmt:
    case T_AlterFunctionStmt:
    case T_CreateEnumStmt:
    case T_AlterEnumStmt:
    case T_CompositeTypeStmt:
    case T_CreateRangeStmt:
    case T_CreateDomainStmt:
    case T_AlterDomainStmt:
    case T_CreateExtensionStmt:
    case T_AlterExtensionStmt:
    case T_AlterDefaultPrivilegesStmt:
    case T_DropOwnedStmt:
    case T_ReassignOwnedStmt:
        ddl_note_everywhere(analysis, "the object");
        break;
    default:
        refuse_any(analysis);
    }
}

void ddl_analyse(struct analysis *analysis, Node *node)
{
    struct facts *facts = analysis->facts;
    facts->class = STATEMENT_DDL;
    facts->text_bound = true;
    facts->is_write = true;
    facts->changes_schema = true;
    analysis->ddl.write.takes_turns = !IsA(node, TruncateStmt);
    ddl_of(analysis, node);
    ddl_conclude(analysis);
}

/* ---- maintenance ---- */

void ddl_lock(struct analysis *analysis, const LockStmt *lock)
{
    analysis->facts->is_write = true;
    ddl_relations(analysis, lock->relations);
    analysis->ddl.write.needs_transaction = true;
    analysis->facts->text_bound |= analysis->ddl.everywhere != NULL;
    ddl_conclude(analysis);
}

static bool has_option(const List *options, const char *name)
{
    ListCell *cell;
    foreach (cell, options)
        if (strcmp(((DefElem *)lfirst(cell))->defname, name) == 0)
            return true;
    return false;
}

static void reindex_statement(struct analysis *analysis, const ReindexStmt *reindex)
{
    bool is_table = reindex->kind == REINDEX_OBJECT_TABLE;
    if (!is_table && reindex->kind != REINDEX_OBJECT_SCHEMA)
        ddl_refuse(analysis, -1, "REINDEX of an index, or of a database", "Say REINDEX TABLE or REINDEX SCHEMA.");
    const struct table *table = is_table ? ddl_relation(analysis, reindex->relation, NULL) : NULL;
    if (!is_table)
        ddl_note_everywhere(analysis, "the schema");
    if (table && has_option(reindex->params, "concurrently"))
        analysis->ddl.write.leftovers = ddl_leftovers(analysis, table, NULL);
    analysis->ddl.write.by_itself = !is_table || has_option(reindex->params, "concurrently");
}

void ddl_maintain(struct analysis *analysis, Node *node)
{
    ListCell *cell;
    analysis->facts->text_bound = true;
    switch (nodeTag(node)) {
    case T_VacuumStmt:
        foreach (cell, ((VacuumStmt *)node)->rels)
            (void)ddl_relation(analysis, ((VacuumRelation *)lfirst(cell))->relation, NULL);
        if (!((VacuumStmt *)node)->rels)
            ddl_note_everywhere(analysis, "the database");
        analysis->ddl.write.by_itself = ((VacuumStmt *)node)->is_vacuumcmd;
        break;
    case T_ReindexStmt:
        reindex_statement(analysis, (ReindexStmt *)node);
        break;
    case T_ClusterStmt:
        if (!((ClusterStmt *)node)->relation)
            ddl_refuse(analysis, -1, "CLUSTER of all tables", "Name the table.");
        (void)ddl_relation(analysis, ((ClusterStmt *)node)->relation, NULL);
        break;
    default:
        ddl_note_everywhere(analysis, "the server");
        analysis->ddl.write.by_itself = true;
    }
    ddl_conclude(analysis);
}
