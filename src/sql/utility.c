/* Statements by their kind: queries go to query.c, all others are told here what they need. */
#include "sql/analysis.h"

#include <limits.h>

/* ---- settings ---- */

bool setting_is_name_list(const char *name)
{
    static const char *const lists[] = {"search_path", "temp_tablespaces", "local_preload_libraries",
                                        "session_preload_libraries", "createrole_self_grant"};
    for (size_t i = 0; i < sizeof lists / sizeof *lists; i++)
        if (strcmp(lists[i], name) == 0)
            return true;
    return false;
}

static const char *quoted_name(struct analysis *analysis, const char *name)
{
    bool plain = (*name >= 'a' && *name <= 'z') || *name == '_';
    for (const char *c = name; *c && plain; c++)
        plain = (*c >= 'a' && *c <= 'z') || (*c >= '0' && *c <= '9') || *c == '_';
    if (plain)
        return name;
    char *quoted = analysis_new(analysis, 2 * strlen(name) + 3, 1), *to = quoted;
    *to++ = '"';
    for (; *name; name++) {
        if (*name == '"')
            *to++ = '"';
        *to++ = *name;
    }
    *to = '"';
    return quoted;
}

static const char *set_argument(struct analysis *analysis, const char *name, Node *node)
{
    if (!IsA(node, A_Const))
        analysis_refuse(analysis, -1, "a value of SET that no rule knows", NULL, "Give it as a literal.");
    const A_Const *constant = (A_Const *)node;
    if (IsA(&constant->val, Integer))
        return analysis_text(analysis, "%d", constant->val.ival.ival);
    if (IsA(&constant->val, Float))
        return analysis_copy(analysis, constant->val.fval.fval);
    if (IsA(&constant->val, Boolean))
        return constant->val.boolval.boolval ? "true" : "false";
    if (!IsA(&constant->val, String))
        analysis_refuse(analysis, -1, "a value of SET that no rule knows", NULL, "Give it as a literal.");
    const char *value = analysis_copy(analysis, constant->val.sval.sval);
    return setting_is_name_list(name) ? quoted_name(analysis, value) : value;
}

static const char *joined(struct analysis *analysis, const char *const *parts, size_t count)
{
    size_t size = 1;
    for (size_t i = 0; i < count; i++)
        size += strlen(parts[i]) + 2;
    char *text = analysis_new(analysis, size, 1), *to = text;
    for (size_t i = 0; i < count; i++)
        to = stpcpy(stpcpy(to, i ? ", " : ""), parts[i]);
    return text;
}

static const char *lowered(struct analysis *analysis, const char *name)
{
    if (!name)
        return NULL;
    char *copy = analysis_new(analysis, strlen(name) + 1, 1);
    for (size_t i = 0; name[i]; i++)
        copy[i] = name[i] >= 'A' && name[i] <= 'Z' ? (char)(name[i] | 0x20) : name[i];
    return copy;
}

static void set_multiple(struct analysis *analysis, const VariableSetStmt *set)
{
    struct facts *facts = analysis->facts;
    if (strcmp(set->name, "SESSION CHARACTERISTICS") == 0)
        facts->changes_session = facts->sets_unknown = true;
    else
        facts->class = STATEMENT_SET_TRANSACTION;
}

static void set_statement(struct analysis *analysis, const VariableSetStmt *set)
{
    struct facts *facts = analysis->facts;
    facts->class = STATEMENT_SET;
    facts->text_bound = true;
    facts->is_local = set->is_local;
    facts->name = lowered(analysis, set->name);
    if (set->kind == VAR_SET_MULTI)
        set_multiple(analysis, set);
    if (set->kind == VAR_SET_CURRENT)
        analysis_refuse(analysis, -1, "SET … FROM CURRENT", NULL, NULL);
    if (set->kind != VAR_SET_VALUE)
        return;
    size_t count = (size_t)list_length(set->args);
    const char **parts = analysis_new(analysis, count + 1, sizeof *parts);
    for (size_t i = 0; i < count; i++)
        parts[i] = set_argument(analysis, facts->name, list_nth(set->args, (int)i));
    facts->value = joined(analysis, parts, count);
}

static const char *literal_text(const Node *node)
{
    const A_Const *constant = (const A_Const *)node;
    return IsA(node, A_Const) && !constant->isnull && IsA(&constant->val, String) ? strVal(&constant->val) : NULL;
}

const Node *only_expression(const SelectStmt *select)
{
    if (select->op != SETOP_NONE || list_length(select->targetList) != 1 || select->distinctClause ||
        select->intoClause || select->fromClause || select->whereClause || select->groupClause ||
        select->havingClause || select->windowClause || select->sortClause || select->limitOffset ||
        select->limitCount || select->lockingClause || select->withClause)
        return NULL;
    return linitial_node(ResTarget, select->targetList)->val;
}

/*
 * SELECT set_config('name', 'value', local) of literals is SET in other words, as applications write it whose policies
 * read a setting. pg_catalog must come first in the path: no other function is meant.
 */
static bool set_config_statement(struct analysis *analysis, const SelectStmt *select)
{
    const Node *expression = only_expression(select);
    const FuncCall *call = (const FuncCall *)expression;
    if (!expression || !IsA(expression, FuncCall) || list_length(call->args) != 3 || call->agg_filter || call->over ||
        strcmp(strVal(llast(call->funcname)), "set_config") != 0)
        return false;
    bool plain =
        list_length(call->funcname) == 1 && analysis->path_count && strcmp(analysis->path[0], "pg_catalog") == 0;
    bool qualified = list_length(call->funcname) == 2 && strcmp(strVal(linitial(call->funcname)), "pg_catalog") == 0;
    const char *name = literal_text(linitial(call->args)), *value = literal_text(lsecond(call->args));
    const A_Const *local = lthird(call->args);
    if (!(plain || qualified) || !name || !value || !IsA(local, A_Const) || local->isnull || !IsA(&local->val, Boolean))
        return false;
    struct facts *facts = analysis->facts;
    facts->text_bound = true;
    if (!*name)
        return false;
    facts->class = STATEMENT_SET;
    facts->is_local = local->val.boolval.boolval;
    facts->name = lowered(analysis, name);
    facts->value = analysis_copy(analysis, value);
    return true;
}

/* ---- transactions ---- */

static void transaction_statement(struct analysis *analysis, const TransactionStmt *statement)
{
    static const enum statement_class classes[] = {
        [TRANS_STMT_BEGIN] = STATEMENT_BEGIN,
        [TRANS_STMT_START] = STATEMENT_BEGIN,
        [TRANS_STMT_COMMIT] = STATEMENT_COMMIT,
        [TRANS_STMT_ROLLBACK] = STATEMENT_ROLLBACK,
        [TRANS_STMT_SAVEPOINT] = STATEMENT_SAVEPOINT,
        [TRANS_STMT_RELEASE] = STATEMENT_RELEASE,
        [TRANS_STMT_ROLLBACK_TO] = STATEMENT_ROLLBACK_TO,
        [TRANS_STMT_PREPARE] = STATEMENT_TWO_PHASE,
        [TRANS_STMT_COMMIT_PREPARED] = STATEMENT_TWO_PHASE,
        [TRANS_STMT_ROLLBACK_PREPARED] = STATEMENT_TWO_PHASE,
    };
    struct facts *facts = analysis->facts;
    facts->class = classes[statement->kind];
    if (facts->class == STATEMENT_TWO_PHASE && analysis->schema->model->shard_count > 1)
        analysis_refuse(
            analysis, -1, "PREPARE TRANSACTION, COMMIT PREPARED or ROLLBACK PREPARED over several shards",
            "Each shard has transactions of its own, and the proxy does not know on which one this name is.",
            "COMMIT does all of them in two phases; or name the shard: SET mosaic.shard.");
    facts->text_bound = true;
    facts->chain = statement->chain;
    facts->has_modes = statement->options != NULL;
    if (statement->savepoint_name)
        facts->name = analysis_copy(analysis, statement->savepoint_name);
    if (statement->gid)
        facts->name = analysis_copy(analysis, statement->gid);
}

/* ---- prepared statements, cursors, EXPLAIN ---- */

static void prepare_statement(struct analysis *analysis, const PrepareStmt *prepare)
{
    struct facts *facts = analysis->facts;
    size_t count = (size_t)list_length(prepare->argtypes);
    uint32_t *types = analysis_new(analysis, count + 1, sizeof *types);
    bool modified;
    for (size_t i = 0; i < count; i++) {
        const TypeName *name = list_nth(prepare->argtypes, (int)i);
        types[i] = name_type(analysis, name, &modified);
        const struct schema_type *type = schema_type_by_oid(analysis->schema, types[i]);
        enum family family = family_of(type && type->element ? type->element : types[i]);
        if (modified && !name->typmods && (family == FAMILY_TEXT || family == FAMILY_BPCHAR))
            analysis_refuse(analysis, name->location, "PREPARE with a parameter of a domain over a text",
                            "The domain may have a collation of its own.", "Name the type below the domain.");
    }
    facts->class = STATEMENT_PREPARE;
    facts->text_bound = true;
    facts->name = analysis_copy(analysis, prepare->name);
    facts->prepare_types = types;
    facts->prepare_type_count = count;
    inner_note(analysis, "as", false);
}

static void execute_statement(struct analysis *analysis, const ExecuteStmt *execute)
{
    struct facts *facts = analysis->facts;
    size_t count = (size_t)list_length(execute->params);
    struct fact_value *values = analysis_new(analysis, count + 1, sizeof *values);
    facts->class = STATEMENT_EXECUTE;
    facts->name = analysis_copy(analysis, execute->name);
    for (size_t i = 0; i < count; i++)
        if (!operand_value(analysis, list_nth(execute->params, (int)i), &values[i]))
            analysis_refuse(analysis, -1, "an argument of EXECUTE that is no literal", NULL,
                            "Give literals, or use the protocol's prepared statements.");
    facts->arguments = values;
    facts->argument_count = count;
}

static bool option_is(const DefElem *option, const char *name)
{
    return strcmp(option->defname, name) == 0;
}

static void explain_statement(struct analysis *analysis, const ExplainStmt *explain)
{
    bool analyze = false, is_text = true;
    ListCell *cell;
    foreach (cell, explain->options) {
        DefElem *option = lfirst(cell);
        bool names = option->arg && IsA(option->arg, String);
        is_text &= !option_is(option, "format") || (names && strcmp(strVal(option->arg), "text") == 0);
        bool off = option->arg && IsA(option->arg, String) &&
                   (strcmp(strVal(option->arg), "false") == 0 || strcmp(strVal(option->arg), "off") == 0);
        analysis->facts->explain_mosaic |= option_is(option, "mosaic") && !off;
        analyze |= option_is(option, "analyze");
    }
    statement_analyse(analysis, explain->query);
    if (analysis->facts->class == STATEMENT_SET) /* set_config, which ANALYZE calls */
        analysis->facts->changes_session = analysis->facts->sets_unknown = true;
    if (analysis->facts->class == STATEMENT_EXECUTE || analysis->facts->class == STATEMENT_DDL)
        analysis_refuse(analysis, -1, "EXPLAIN of EXECUTE or of CREATE TABLE AS", NULL, "EXPLAIN the query itself.");
    if (analysis->facts->placement)
        analysis_refuse(analysis, -1, "EXPLAIN of mosaic.shard_table and its like", NULL,
                        "pgmosaic apply --dry-run shows what would be done.");
    analysis->facts->class = STATEMENT_EXPLAIN;
    analysis->facts->explain_plain = is_text && !analysis->facts->explain_mosaic;
    analysis->facts->is_constant = false; /* the plan is a server's own */
    analysis->facts->is_write &= analyze;
    inner_note(analysis, NULL, explain->options && !inner_is_old_style(analysis));
}

static void declare_statement(struct analysis *analysis, const DeclareCursorStmt *declare)
{
    query_analyse(analysis, NULL, false, declare->query);
    struct facts *facts = analysis->facts;
    facts->class = STATEMENT_DECLARE;
    facts->name = analysis_copy(analysis, declare->portalname);
    facts->is_local = !(declare->options & CURSOR_OPT_HOLD);
    facts->changes_session |= !facts->is_local;
    facts->declares_plain = !(declare->options & (CURSOR_OPT_HOLD | CURSOR_OPT_SCROLL | CURSOR_OPT_BINARY));
    inner_note(analysis, "for", false);
}

static void fetch_statement(struct analysis *analysis, const FetchStmt *fetch)
{
    bool forward = !fetch->ismove && fetch->direction == FETCH_FORWARD && fetch->howMany > 0;
    analysis->facts->fetches = !forward ? 0 : fetch->howMany == LONG_MAX ? INT64_MAX : fetch->howMany;
}

static void cursor_statement(struct analysis *analysis, const char *name)
{
    analysis->facts->class = STATEMENT_CURSOR;
    analysis->facts->text_bound = true;
    analysis->facts->name = name ? analysis_copy(analysis, name) : NULL;
}

/* ---- tables copied and maintained ---- */

static void copy_table(struct analysis *analysis, const CopyStmt *copy)
{
    bool temporary;
    const struct schema_relation *relation = name_relation(analysis, copy->relation, &temporary);
    if (!relation) {
        analysis->facts->needs_home = true;
        return;
    }
    struct scope *scope = scope_new(analysis, NULL, false);
    struct range *range = range_new(analysis, scope);
    range_relation(analysis, range, relation);
    bool deals_out = copy->is_from && relation->placement != PLACE_HOME;
    struct use *use = use_add(analysis, range, relation, copy->relation->location, deals_out);
    if (!copy->is_from && !copy->filename)
        analysis->copied = use;
    if (!copy->is_from)
        return;
    use_written(analysis, use, 0);
    if (deals_out)
        copy_from_analyse(analysis, copy, scope, use);
}

/* Is it HEADER, and not HEADER false? */
static bool is_header(const DefElem *option)
{
    static const char *const off[] = {"false", "off", "0"};
    if (!option_is(option, "header"))
        return false;
    if (option->arg && IsA(option->arg, Integer))
        return ((Integer *)option->arg)->ival != 0;
    const char *word = option->arg && IsA(option->arg, String) ? strVal(option->arg) : "";
    for (size_t i = 0; i < sizeof off / sizeof *off; i++)
        if (strcasecmp(word, off[i]) == 0)
            return false;
    return true;
}

static bool has_header(const CopyStmt *copy)
{
    ListCell *cell;
    foreach (cell, copy->options)
        if (is_header(lfirst(cell)))
            return true;
    return false;
}

static bool copies_binary(const CopyStmt *copy)
{
    ListCell *cell;
    foreach (cell, copy->options) {
        const DefElem *option = lfirst(cell);
        if (option_is(option, "format") && option->arg && IsA(option->arg, String) &&
            strcmp(strVal(option->arg), "binary") == 0)
            return true;
    }
    return false;
}

static void copy_statement(struct analysis *analysis, const CopyStmt *copy)
{
    analysis->facts->copies_binary = copies_binary(copy);
    analysis->facts->class = copy->is_from ? STATEMENT_COPY_FROM : STATEMENT_COPY_TO;
    analysis->has_header = has_header(copy);
    analysis->facts->text_bound |= copy->options != NULL; /* their words may be literals */
    if (copy->filename)
        analysis->facts->needs_home = true; /* a file, or a program, of the server */
    if (copy->filename || !copy->query)
        analysis_bar_coordinator(analysis, "COPY of a table is not for foreign tables: COPY (SELECT …) TO is");
    if (copy->query)
        query_analyse(analysis, NULL, false, copy->query);
    else
        copy_table(analysis, copy);
    if (copy->query && analysis->facts->copies_binary)
        inner_note_group(analysis);
}

/* ---- all ---- */

static void query_statement(struct analysis *analysis, enum statement_class class, Node *node)
{
    analysis->facts->class = class;
    query_analyse(analysis, NULL, false, node);
}

static const char *discard_name(DiscardMode mode)
{
    switch (mode) {
    case DISCARD_PLANS:
        return "plans";
    case DISCARD_SEQUENCES:
        return "sequences";
    case DISCARD_TEMP:
        return "temp";
    case DISCARD_ALL:
    default:
        return "all";
    }
}

static void listen_statement(struct analysis *analysis, const char *name)
{
    analysis->facts->class = STATEMENT_LISTEN;
    analysis->facts->text_bound = true;
    analysis->facts->needs_home = true;
    analysis->facts->changes_session = true;
    analysis->facts->name = name ? analysis_copy(analysis, name) : NULL;
}

static void constraints_statement(struct analysis *analysis, const ConstraintsSetStmt *set)
{
    struct facts *facts = analysis->facts;
    facts->class = STATEMENT_CONSTRAINTS;
    facts->text_bound = true;
    facts->checks = !set->deferred;
    if (set->constraints)
        facts->name = analysis_copy(analysis, ((RangeVar *)linitial(set->constraints))->relname);
}

void statement_analyse(struct analysis *analysis, Node *node)
{
    struct facts *facts = analysis->facts;
    switch (nodeTag(node)) {
    case T_SelectStmt:
        if (set_config_statement(analysis, (SelectStmt *)node) || placement_statement(analysis, (SelectStmt *)node))
            break;
        query_statement(analysis, STATEMENT_SELECT, node);
        facts->is_constant = constant_statement(analysis, (SelectStmt *)node);
        break;
    case T_InsertStmt:
        query_statement(analysis, STATEMENT_INSERT, node);
        break;
    case T_UpdateStmt:
        query_statement(analysis, STATEMENT_UPDATE, node);
        break;
    case T_DeleteStmt:
        query_statement(analysis, STATEMENT_DELETE, node);
        break;
    case T_MergeStmt:
        query_statement(analysis, STATEMENT_MERGE, node);
        break;
    case T_ExplainStmt:
        explain_statement(analysis, (ExplainStmt *)node);
        break;
    case T_CopyStmt:
        copy_statement(analysis, (CopyStmt *)node);
        break;
    case T_DeclareCursorStmt:
        declare_statement(analysis, (DeclareCursorStmt *)node);
        break;
    case T_FetchStmt:
        cursor_statement(analysis, ((FetchStmt *)node)->portalname);
        fetch_statement(analysis, (FetchStmt *)node);
        break;
    case T_ClosePortalStmt:
        cursor_statement(analysis, ((ClosePortalStmt *)node)->portalname);
        facts->closes = true;
        break;
    case T_TransactionStmt:
        transaction_statement(analysis, (TransactionStmt *)node);
        break;
    case T_VariableSetStmt:
        set_statement(analysis, (VariableSetStmt *)node);
        break;
    case T_ConstraintsSetStmt:
        constraints_statement(analysis, (ConstraintsSetStmt *)node);
        break;
    case T_VariableShowStmt:
        facts->class = STATEMENT_SHOW;
        facts->text_bound = true;
        facts->name = lowered(analysis, ((VariableShowStmt *)node)->name);
        break;
    case T_DiscardStmt:
        facts->class = STATEMENT_DISCARD;
        facts->name = discard_name(((DiscardStmt *)node)->target);
        break;
    case T_PrepareStmt:
        prepare_statement(analysis, (PrepareStmt *)node);
        break;
    case T_ExecuteStmt:
        execute_statement(analysis, (ExecuteStmt *)node);
        break;
    case T_DeallocateStmt:
        facts->class = STATEMENT_DEALLOCATE;
        facts->text_bound = true;
        facts->name = ((DeallocateStmt *)node)->name ? analysis_copy(analysis, ((DeallocateStmt *)node)->name) : NULL;
        break;
    case T_ListenStmt:
        listen_statement(analysis, ((ListenStmt *)node)->conditionname);
        break;
    case T_UnlistenStmt:
        listen_statement(analysis, ((UnlistenStmt *)node)->conditionname);
        break;
    case T_NotifyStmt:
        facts->class = STATEMENT_NOTIFY;
        facts->name = analysis_copy(analysis, ((NotifyStmt *)node)->conditionname);
        facts->needs_home = facts->is_write = facts->notifies = true;
        break;
    case T_LockStmt:
        facts->class = STATEMENT_LOCK;
        ddl_lock(analysis, (LockStmt *)node);
        break;
    case T_VacuumStmt:
    case T_ReindexStmt:
    case T_ClusterStmt:
    case T_CheckPointStmt:
        facts->class = STATEMENT_MAINTENANCE;
        ddl_maintain(analysis, node);
        break;
    case T_DoStmt:
    case T_CallStmt:
        facts->class = STATEMENT_DO;
        analysis_refuse(analysis, -1, "DO or CALL", "What a procedure's body reads and writes is not known.",
                        "Name the shard that it is for: SET mosaic.shard.");
        break;
    default:
        ddl_analyse(analysis, node);
    }
}
