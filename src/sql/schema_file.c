/*
 * DDL → schema, statement by statement, in the order of the file: a row of the table below for each kind of node.
 *
 * psql's own lines (\connect, \restrict) and the data of COPY are blanked before PostgreSQL's parser sees the text, so
 * that places in it stay what they are.
 */
#include "sql/schema_file.h"

#include "base/error.h"
#include "base/utf8.h"
#include "sql/parse.h"
#include "sql/words.h"

#include <stdarg.h>

#include "sql/schema_file_parts.h"

#undef vsnprintf /* PostgreSQL's own, which is not here */

static int line_of(const struct schema_file *file, size_t at)
{
    int line = 1;
    for (size_t i = 0; i < at && i < file->size; i++)
        line += file->text[i] == '\n';
    return line;
}

void file_refuse(struct schema_file *file, mosaic_status status, const char *format, ...)
{
    char message[256];
    va_list arguments;
    if (file->status != MOSAIC_OK)
        return;
    va_start(arguments, format);
    vsnprintf(message, sizeof message, format, arguments);
    va_end(arguments);
    file->status =
        error_set(file->error, status, "%s:%d: %s", file->source, line_of(file, (size_t)file->start), message);
    if (status == MOSAIC_UNSUPPORTED)
        error_hint(file->error,
                   "leave it out of the file, or write the schema as it is in the end: pg_dump --schema-only");
}

/* ---- statements ---- */

static void set_path(struct schema_file *file, const List *values)
{
    const ListCell *cell;
    file->path.count = 0;
    foreach (cell, values) {
        const A_Const *value = lfirst(cell);
        if (!IsA(value, A_Const) || value->isnull || !IsA(&value->val, String))
            continue;
        const char *name = file_text(file, strVal(&value->val));
        if (!*name || strcmp(name, "$user") == 0 || strcmp(name, "pg_catalog") == 0)
            continue; /* pg_catalog comes first in any case */
        const char **added = draft_append(&file->draft, &file->path, sizeof *added);
        if (added)
            *added = name;
    }
}

static void default_path(struct schema_file *file)
{
    file->path.count = 0;
    const char **added = draft_append(&file->draft, &file->path, sizeof *added);
    if (added)
        *added = "public";
}

static void take_set(struct schema_file *file, const Node *node)
{
    const VariableSetStmt *statement = (const VariableSetStmt *)node;
    if (!statement->name || strcmp(statement->name, "search_path") != 0)
        return;
    if (statement->kind == VAR_SET_VALUE)
        set_path(file, statement->args);
    else
        default_path(file);
}

/* SELECT pg_catalog.set_config('search_path', '', false), as pg_dump writes it. */
static void take_select(struct schema_file *file, const Node *node)
{
    const SelectStmt *statement = (const SelectStmt *)node;
    const ResTarget *target = list_length(statement->targetList) == 1 ? linitial(statement->targetList) : NULL;
    if (statement->intoClause) {
        file_refuse(file, MOSAIC_UNSUPPORTED, "SELECT INTO is not understood here");
        return;
    }
    if (!target || !target->val || !IsA(target->val, FuncCall))
        return;
    const FuncCall *call = (const FuncCall *)target->val;
    if (strcmp(strVal(llast(call->funcname)), "set_config") != 0 || list_length(call->args) != 3)
        return;
    const A_Const *name = linitial(call->args), *value = lsecond(call->args);
    if (!IsA(name, A_Const) || !IsA(value, A_Const) || !IsA(&name->val, String) || !IsA(&value->val, String) ||
        strcmp(strVal(&name->val), "search_path") != 0)
        return;
    if (strVal(&value->val)[0])
        file_refuse(file, MOSAIC_UNSUPPORTED, "set_config of search_path is understood with an empty value only");
    file->path.count = 0;
}

static void take_table(struct schema_file *file, const Node *node)
{
    file_create_table(file, (const CreateStmt *)node, 'r');
}

static void take_foreign_table(struct schema_file *file, const Node *node)
{
    file_create_table(file, &((const CreateForeignTableStmt *)node)->base, 'f');
}

static void take_alter_table(struct schema_file *file, const Node *node)
{
    file_alter_table(file, (const AlterTableStmt *)node);
}

static void create_view(struct schema_file *file, const RangeVar *range, char kind, const Node *query,
                        const List *aliases)
{
    if (file_is_temporary(range))
        return;
    const char *namespace = file_new_namespace(file, range->schemaname);
    struct draft_relation *view = draft_relation(&file->draft, namespace, range->relname);
    if (!view)
        view = draft_add_relation(&file->draft, namespace, file_text(file, range->relname), kind);
    if (!view)
        return;
    file_query_columns(file, view, query, aliases);
    if (kind == 'r')
        return;
    const char **path = arena_allocate(file->draft.arena, (file->path.count + 1) * sizeof *path);
    if (!path) {
        file->draft.failed = true;
        return;
    }
    path[0] = "pg_catalog";
    if (file->path.count)
        memcpy(path + 1, file->path.items, file->path.count * sizeof *path);
    view->made.view = file_query_text(file);
    view->made.view_path = path;
    view->made.view_path_count = file->path.count + 1;
}

static void take_view(struct schema_file *file, const Node *node)
{
    const ViewStmt *statement = (const ViewStmt *)node;
    create_view(file, statement->view, 'v', statement->query, statement->aliases);
}

static void take_table_as(struct schema_file *file, const Node *node)
{
    const CreateTableAsStmt *statement = (const CreateTableAsStmt *)node;
    create_view(file, statement->into->rel, statement->objtype == OBJECT_MATVIEW ? 'm' : 'r', statement->query,
                statement->into->colNames);
}

static void take_sequence(struct schema_file *file, const Node *node)
{
    const RangeVar *range = ((const CreateSeqStmt *)node)->sequence;
    if (!file_is_temporary(range))
        file_create_sequence(file, file_new_namespace(file, range->schemaname), file_text(file, range->relname));
}

static void take_enum(struct schema_file *file, const Node *node)
{
    file_create_enum(file, (const CreateEnumStmt *)node);
}

static void take_domain(struct schema_file *file, const Node *node)
{
    file_create_domain(file, (const CreateDomainStmt *)node);
}

static void take_range(struct schema_file *file, const Node *node)
{
    file_create_range(file, (const CreateRangeStmt *)node);
}

static void take_composite(struct schema_file *file, const Node *node)
{
    file_create_composite(file, (const CompositeTypeStmt *)node);
}

static void take_function(struct schema_file *file, const Node *node)
{
    file_create_function(file, (const CreateFunctionStmt *)node);
}

static void take_define(struct schema_file *file, const Node *node)
{
    file_define(file, (const DefineStmt *)node);
}

enum { FOR_TRUNCATE = 1 << 5 }; /* TRIGGER_TYPE_TRUNCATE of PostgreSQL's catalog/pg_trigger.h */

static void take_trigger(struct schema_file *file, const Node *node)
{
    const CreateTrigStmt *statement = (const CreateTrigStmt *)node;
    struct draft_relation *relation = file_relation(file, statement->relation);
    if (!relation)
        return;
    relation->made.has_triggers = true;
    relation->made.has_truncate_triggers |= (statement->events & FOR_TRUNCATE) != 0;
}

static void take_rule(struct schema_file *file, const Node *node)
{
    const RuleStmt *statement = (const RuleStmt *)node;
    struct draft_relation *relation = file_relation(file, statement->relation);
    if (relation)
        relation->made.has_rules |= strcmp(statement->rulename, "_RETURN") != 0;
}

static void take_policy(struct schema_file *file, const Node *node)
{
    const CreatePolicyStmt *statement = (const CreatePolicyStmt *)node;
    struct draft_relation *relation = file_relation(file, statement->table);
    if (!relation)
        return;
    file_read_policy(file, relation, statement->qual);
    file_read_policy(file, relation, statement->with_check);
}

static void take_extension(struct schema_file *file, const Node *node)
{
    (void)node;
    file->has_extension = true;
}

/* DROP … IF EXISTS before what is made again. Dropping what is there would have to be undone with all it brought. */
static void take_drop(struct schema_file *file, const Node *node)
{
    const DropStmt *statement = (const DropStmt *)node;
    bool of_relations = statement->removeType == OBJECT_TABLE || statement->removeType == OBJECT_VIEW ||
                        statement->removeType == OBJECT_MATVIEW || statement->removeType == OBJECT_FOREIGN_TABLE;
    const ListCell *cell;
    foreach (cell, statement->objects) {
        const char *namespace, *name;
        if (!of_relations)
            break;
        file_split(lfirst(cell), &namespace, &name);
        if (file_find_relation(file, namespace, name))
            file_refuse(file, MOSAIC_UNSUPPORTED, "DROP of %s, which the file creates, is not understood here", name);
    }
}

static void take_schema(struct schema_file *file, const Node *node);

static void pass_over(struct schema_file *file, const Node *node)
{
    (void)file, (void)node;
}

static const struct {
    NodeTag tag;
    void (*take)(struct schema_file *file, const Node *node);
} takers[] = {
    {T_CreateStmt, take_table},
    {T_CreateForeignTableStmt, take_foreign_table},
    {T_AlterTableStmt, take_alter_table},
    {T_ViewStmt, take_view},
    {T_CreateTableAsStmt, take_table_as},
    {T_CreateSeqStmt, take_sequence},
    {T_CreateEnumStmt, take_enum},
    {T_CreateDomainStmt, take_domain},
    {T_CreateRangeStmt, take_range},
    {T_CompositeTypeStmt, take_composite},
    {T_CreateFunctionStmt, take_function},
    {T_DefineStmt, take_define},
    {T_CreateTrigStmt, take_trigger},
    {T_RuleStmt, take_rule},
    {T_CreatePolicyStmt, take_policy},
    {T_CreateExtensionStmt, take_extension},
    {T_CreateSchemaStmt, take_schema},
    {T_VariableSetStmt, take_set},
    {T_SelectStmt, take_select},
    {T_DropStmt, take_drop},
    /* Nothing of these is in a schema as a value. */
    {T_CommentStmt, pass_over},
    {T_GrantStmt, pass_over},
    {T_GrantRoleStmt, pass_over},
    {T_AlterOwnerStmt, pass_over},
    {T_AlterDefaultPrivilegesStmt, pass_over},
    {T_SecLabelStmt, pass_over},
    {T_IndexStmt, pass_over},
    {T_ClusterStmt, pass_over},
    {T_CreateStatsStmt, pass_over},
    {T_AlterStatsStmt, pass_over},
    {T_AlterSeqStmt, pass_over},
    {T_AlterEnumStmt, pass_over},
    {T_AlterDomainStmt, pass_over},
    {T_AlterObjectDependsStmt, pass_over},
    {T_AlterExtensionStmt, pass_over},
    {T_AlterExtensionContentsStmt, pass_over},
    {T_AlterOperatorStmt, pass_over},
    {T_AlterTypeStmt, pass_over},
    {T_CreateCastStmt, pass_over},
    {T_CreateConversionStmt, pass_over},
    {T_CreateOpClassStmt, pass_over},
    {T_CreateOpFamilyStmt, pass_over},
    {T_AlterOpFamilyStmt, pass_over},
    {T_CreateTransformStmt, pass_over},
    {T_CreatePLangStmt, pass_over},
    {T_CreateAmStmt, pass_over},
    {T_CreateFdwStmt, pass_over},
    {T_CreateForeignServerStmt, pass_over},
    {T_CreateUserMappingStmt, pass_over},
    {T_CreateEventTrigStmt, pass_over},
    {T_AlterEventTrigStmt, pass_over},
    {T_CreatePublicationStmt, pass_over},
    {T_AlterPublicationStmt, pass_over},
    {T_CreateSubscriptionStmt, pass_over},
    {T_AlterTSDictionaryStmt, pass_over},
    {T_AlterTSConfigurationStmt, pass_over},
    {T_CreateRoleStmt, pass_over},
    {T_AlterRoleStmt, pass_over},
    {T_AlterRoleSetStmt, pass_over},
    {T_CreatedbStmt, pass_over},
    {T_AlterDatabaseStmt, pass_over},
    {T_AlterDatabaseSetStmt, pass_over},
    {T_RefreshMatViewStmt, pass_over},
    {T_TransactionStmt, pass_over},
    {T_VariableShowStmt, pass_over},
    {T_LockStmt, pass_over},
    {T_VacuumStmt, pass_over},
    {T_CopyStmt, pass_over},
    {T_InsertStmt, pass_over},
    {T_UpdateStmt, pass_over},
    {T_DeleteStmt, pass_over},
};

static void take(struct schema_file *file, const Node *node)
{
    for (size_t i = 0; i < sizeof takers / sizeof *takers; i++) {
        if (takers[i].tag != nodeTag(node))
            continue;
        takers[i].take(file, node);
        return;
    }
    struct word word = {.size = 0};
    size_t at = 0;
    (void)words_next(file->text + file->start, (size_t)(file->end - file->start), &at, &word);
    file_refuse(file, MOSAIC_UNSUPPORTED, "this %.*s is not understood here", (int)word.size, word.text);
}

/* What CREATE SCHEMA creates with it is in the new schema. */
static void take_schema(struct schema_file *file, const Node *node)
{
    const CreateSchemaStmt *statement = (const CreateSchemaStmt *)node;
    if (!statement->schemaname)
        return; /* the role's own: AUTHORIZATION alone */
    const char *name = file_text(file, statement->schemaname);
    draft_add_namespace(&file->draft, name);
    struct draft_list outer = file->path;
    file->path = (struct draft_list){0};
    const char **added = draft_append(&file->draft, &file->path, sizeof *added);
    if (added)
        *added = name;
    const ListCell *cell;
    foreach (cell, statement->schemaElts)
        take(file, lfirst(cell));
    file->path = outer;
}

/* ---- the text ---- */

static void blank(char *text, size_t from, size_t to)
{
    for (size_t i = from; i < to; i++)
        if (text[i] != '\n')
            text[i] = ' ';
}

static size_t line_end(const char *text, size_t size, size_t at)
{
    const char *end = at < size ? memchr(text + at, '\n', size - at) : NULL;
    return end ? (size_t)(end - text) + 1 : size;
}

/* Behind the line \. that ends the data of a COPY. */
static size_t data_end(const char *text, size_t size, size_t at)
{
    while (at < size && !(size - at >= 2 && text[at] == '\\' && text[at + 1] == '.'))
        at = line_end(text, size, at);
    return line_end(text, size, at);
}

static void blank_what_psql_takes(char *text, size_t size)
{
    struct word word;
    bool first = true, copies = false, from = false;
    for (size_t at = 0; words_next(text, size, &at, &word);) {
        size_t start = (size_t)(word.text - text);
        if (word.kind == WORD_SIGN && *word.text == '\\') {
            at = line_end(text, size, at);
            blank(text, start, at);
            continue;
        }
        if (first)
            copies = word_is(&word, "copy"), from = false;
        first = word.kind == WORD_SIGN && *word.text == ';';
        if (first && copies && from) {
            size_t end = data_end(text, size, line_end(text, size, at));
            blank(text, at, end);
            at = end;
        }
        from |= word_is(&word, "stdin");
    }
}

static mosaic_status refuse_text(struct schema_file *file, const struct parse *parse)
{
    size_t before = parse->refused_at > 1 ? (size_t)parse->refused_at - 1 : 0;
    file->start = (int)utf8_offset(file->text, file->size, before);
    file_refuse(file, MOSAIC_DATA, "%s", parse->refused);
    return file->status;
}

static void take_all(struct schema_file *file, const List *statements)
{
    const ListCell *cell;
    foreach (cell, statements) {
        const RawStmt *raw = lfirst(cell);
        size_t end = raw->stmt_len ? (size_t)(raw->stmt_location + raw->stmt_len) : file->size;
        file->start = (int)words_skip(file->text, end, (size_t)raw->stmt_location);
        file->end = (int)end;
        take(file, raw->stmt);
        if (file->status != MOSAIC_OK || file->draft.failed)
            return;
    }
}

static mosaic_status read_text(struct schema_file *file)
{
    struct parse parse;
    mosaic_status status = parse_open(&parse, file->text, file->size, file->error);
    if (status == MOSAIC_OK && parse.refused)
        status = refuse_text(file, &parse);
    if (status == MOSAIC_OK) {
        take_all(file, parse.statements);
        status = file->status;
    }
    parse_close(&parse);
    return status == MOSAIC_OK && file->draft.failed ? error_memory(file->error) : status;
}

mosaic_status schema_from_sql(const char *text, size_t size, const char *source, const struct model *model,
                              struct schema *schema, mosaic_error *error)
{
    *schema = (struct schema){0};
    char *copy = memory_allocate(size + 1);
    struct schema_file *file = memory_zeroed(1, sizeof *file);
    mosaic_status status = MOSAIC_MEMORY;
    if (copy && file) {
        memcpy(copy, text, size);
        blank_what_psql_takes(copy, size);
        file->text = copy, file->size = size, file->source = source, file->error = error;
        status = draft_open(&file->draft, schema, model, error);
    } else {
        error_memory(error);
    }
    if (status == MOSAIC_OK) {
        default_path(file);
        status = read_text(file);
    }
    if (status == MOSAIC_OK)
        status = draft_finish(&file->draft, error);
    if (status != MOSAIC_OK)
        schema_free(schema);
    memory_free(copy);
    memory_free(file);
    return status;
}
