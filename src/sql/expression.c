/*
 * Expressions: a whitelist of nodes and functions. What is walked here proves nothing; it only must be harmless: it
 * reads no relation that is not noted, and its value is the same on the shard as on one PostgreSQL.
 */
#include "sql/analysis.h"

/* PostgreSQL's own volatile functions, and ours, that may run on whichever shard the statement goes to. */
static const char *const anywhere[] = {
    "clock_timestamp",
    "gen_random_uuid",
    "next_id",
    "pg_backend_pid",
    "pg_current_xact_id",
    "pg_sleep",
    "pg_sleep_for",
    "pg_sleep_until",
    "random",
    "statement_timestamp",
    "timeofday",
    "txid_current",
    "transaction_timestamp",
    "now",
    "pg_typeof",
    "pg_column_size",
    "pg_column_compression",
    "pg_client_encoding",
    "pg_conf_load_time",
    "pg_postmaster_start_time",
    "pg_is_in_recovery",
    "setseed",
};

/* Of these, those whose answer is of one server's process, transaction or storage. */
static const char *const of_server[] = {
    "current_schemas",    "pg_backend_pid",    "pg_column_compression",    "pg_column_size", "pg_conf_load_time",
    "pg_current_xact_id", "pg_is_in_recovery", "pg_postmaster_start_time", "setseed",        "txid_current",
};

/* The time of the transaction. */
static const char *const clocks[] = {"age", "now", "transaction_timestamp"};

/* Those whose answer each of several servers gives for itself: the statement's time, a client, a setting. */
static const char *const of_statement[] = {
    "current_setting",  "getdatabaseencoding", "inet_client_addr",
    "inet_client_port", "pg_typeof",           "statement_timestamp",
};

/* Those that leave something in the session that no list of the proxy knows. */
static const char *const sessional[] = {
    "pg_advisory_lock",
    "pg_advisory_lock_shared",
    "pg_advisory_unlock",
    "pg_advisory_unlock_all",
    "pg_advisory_unlock_shared",
    "pg_try_advisory_lock",
    "pg_try_advisory_lock_shared",
    "set_config",
    "setseed",
    "pg_replication_origin_session_setup",
};

/* Those that run SQL, or read relations, given as text. */
static const char *const readers[] = {
    "query_to_xml",
    "query_to_xmlschema",
    "query_to_xml_and_xmlschema",
    "cursor_to_xml",
    "cursor_to_xmlschema",
    "table_to_xml",
    "table_to_xmlschema",
    "table_to_xml_and_xmlschema",
    "schema_to_xml",
    "schema_to_xmlschema",
    "schema_to_xml_and_xmlschema",
    "database_to_xml",
    "database_to_xmlschema",
    "database_to_xml_and_xmlschema",
    "ts_stat",
    "ts_rewrite",
};

/* Stable functions that look into catalogs, or name the server: the home shard's answer is the cluster's. */
static const char *const catalog_prefixes[] = {"pg_",
                                               "has_",
                                               "to_reg",
                                               "inet_server_",
                                               "row_security_active",
                                               "current_database",
                                               "current_catalog",
                                               "format_type",
                                               "obj_description",
                                               "col_description",
                                               "shobj_description",
                                               "version",
                                               "txid_"};

static bool looks_into_catalogs(const char *name)
{
    for (size_t i = 0; i < sizeof catalog_prefixes / sizeof *catalog_prefixes; i++)
        if (strncmp(name, catalog_prefixes[i], strlen(catalog_prefixes[i])) == 0)
            return true;
    return false;
}

/* Is it a literal name, and of no setting that the coordinator, or the proxy, gives its connections? */
static bool names_setting(struct analysis *analysis, const FuncCall *call)
{
    static const char *const own[] = {"application_name", "enable_async_append", "jit"};
    const Node *argument = call->args ? linitial(call->args) : NULL;
    const A_Const *constant = (const A_Const *)argument;
    analysis->facts->text_bound = true;
    if (!argument || !IsA(argument, A_Const) || constant->isnull || !IsA(&constant->val, String))
        return false;
    for (size_t i = 0; i < sizeof own / sizeof *own; i++)
        if (strcasecmp(constant->val.sval.sval, own[i]) == 0)
            return false;
    return true;
}

static void system_function(struct analysis *analysis, struct scope *scope, const FuncCall *call, const char *name,
                            char volatility)
{
    part_function(analysis, call, name);
    if (NAME_IS_ONE_OF(name, readers))
        analysis_refuse(analysis, call->location,
                        analysis_text(analysis, "%s reads relations that its arguments name", name),
                        "What a text given to a function reads is not analysed.", NULL);
    if (NAME_IS_ONE_OF(name, sessional))
        analysis->facts->changes_session = true;
    analysis->facts->sets_unknown |= strcmp(name, "set_config") == 0;
    analysis->facts->notifies |= strcmp(name, "pg_notify") == 0;
    if (NAME_IS_ONE_OF(name, of_server) || NAME_IS_ONE_OF(name, sessional))
        analysis_bar_several(analysis, "it asks for what a server knows of itself");
    if (NAME_IS_ONE_OF(name, of_statement))
        analysis_bar_scatter(analysis, "it asks for what each server knows of the statement alone");
    if (strcmp(name, "next_id") == 0)
        analysis_bar_coordinator(analysis, "the coordinator makes no ids");
    if (strcmp(name, "current_setting") == 0 && !names_setting(analysis, call))
        analysis_bar_coordinator(analysis, "the coordinator has some settings of its own");
    /* Inlined as octet_length($1) * 8, which postgres_fdw sends without the cast that $1 has: of char(n), with blanks.
     */
    if (strcmp(name, "bit_length") == 0)
        analysis_bar_coordinator(analysis, "postgres_fdw would have bit_length of a char(n) count its blanks");
    if (NAME_IS_ONE_OF(name, clocks))
        clock_read(analysis, !call->args && strcmp(name, "age") != 0);
    if (volatility == 'v') {
        for (struct scope *at = scope; at; at = at->parent)
            at->has_volatile = true;
        analysis->has_volatile = true;
        analysis->has_volatile_within |= scope != analysis->written.rows && scope != analysis->written.scope;
        if (!NAME_IS_ONE_OF(name, anywhere)) {
            analysis->facts->needs_home = analysis->home_else = true;
            analysis->facts->is_write = true;
        }
    }
    if (!NAME_IS_ONE_OF(name, anywhere) && looks_into_catalogs(name))
        analysis->prefers_home = true;
}

static bool in_path(const struct analysis *analysis, const char *namespace)
{
    for (size_t i = 0; i < analysis->path_count; i++)
        if (strcmp(analysis->path[i], namespace) == 0)
            return true;
    return strcmp(namespace, "pg_catalog") == 0;
}

struct found_function {
    bool any, user, returns_set, aggregate;
    char volatility; /* the worst of all that the name may mean */
};

static char worse(char a, char b)
{
    return a == 'v' || b == 'v' ? 'v' : a == 's' || b == 's' ? 's' : 'i';
}

/* mosaic.next_id(), which no shard gives twice; what it reads is the shard's own. */
static bool makes_ids(const struct schema_function *function)
{
    return strcmp(function->schema, "mosaic") == 0 && strcmp(function->name, "next_id") == 0 &&
           function->argument_count == 0;
}

/* All functions that a call may mean: those of the name, in the schema it names or in those of the path. */
static struct found_function find_function(struct analysis *analysis, const char *schema, const char *name)
{
    struct found_function found = {.volatility = 'i'};
    size_t count;
    const struct schema_function *list = schema_functions(analysis->schema, name, &count);
    for (size_t i = 0; i < count; i++) {
        const struct schema_function *function = &list[i];
        if (schema ? strcmp(function->schema, schema) != 0 : !in_path(analysis, function->schema))
            continue;
        found.any = true;
        found.returns_set |= function->returns_set;
        found.aggregate |= function->kind == 'a';
        found.user |= !function->is_system && function->volatility != 'i' && !makes_ids(function);
        found.volatility = worse(found.volatility, function->volatility);
    }
    return found;
}

void mark_add(struct analysis *analysis, int kind, int location, const void *node)
{
    if (analysis->in_view || location < 0)
        return;
    struct mark *mark = analysis_new(analysis, 1, sizeof *mark);
    *mark = (struct mark){kind, location, node, analysis->marks};
    analysis->marks = mark;
}

/* An aggregate belongs to the innermost query whose columns it names, and to its own where it names none. */
static void mark_aggregate(struct scope *scope, bool is_own)
{
    scope->has_aggregate = true;
    for (scope = scope->parent; scope && !is_own; scope = scope->parent)
        scope->has_aggregate = true;
}

static void note_window(struct analysis *analysis, struct scope *scope, const FuncCall *call, const char *name)
{
    struct window *window = analysis_new(analysis, 1, sizeof *window);
    *window = (struct window){call->over, scope->windows};
    scope->windows = window;
    scope->has_window = true;
    analysis_note_order(analysis, "a window function looks at rows in their order");
    if (!copies_any_order_over(analysis, scope, call, name))
        scope->picks = "a window function";
}

static void walk_function(struct analysis *analysis, struct scope *scope, FuncCall *call)
{
    int names = list_length(call->funcname);
    const char *name = strVal(llast(call->funcname));
    const char *schema = names > 1 ? strVal(list_nth(call->funcname, names - 2)) : NULL;
    if (names > 2)
        analysis->unknown_function = true;
    struct found_function found = find_function(analysis, schema, name);
    placement_forbid(analysis, call);
    if (found.user)
        analysis_refuse(analysis, call->location, analysis_text(analysis, "function %s may read tables", name),
                        "It is not IMMUTABLE, and what its body reads is not known.",
                        "If it reads no table, declare it IMMUTABLE; or name the shard: SET mosaic.shard.");
    clock_call(analysis, scope, call, name);
    if (found.any)
        system_function(analysis, scope, call, name, found.volatility);
    else
        analysis->unknown_function = true;
    scope->has_set_function |= found.returns_set;
    bool touched = scope->touched;
    size_t names_before = analysis->names;
    scope->touched = false;
    expression_list(analysis, scope, call->args);
    expression_list(analysis, scope, call->agg_order);
    expression_walk(analysis, scope, call->agg_filter);
    bool is_own = scope->touched || analysis->names == names_before;
    scope->touched |= touched;
    if (call->over)
        note_window(analysis, scope, call, name);
    else if (found.aggregate || call->agg_star || call->agg_within_group)
        mark_aggregate(scope, is_own);
    if (found.aggregate && !copies_any_order(analysis, scope, call, name)) {
        analysis_note_order(analysis, "an aggregate may depend on the order of rows");
        scope->picks = call->over ? scope->picks : "an aggregate";
    }
    if (!call->over && (found.aggregate || call->agg_star || call->agg_within_group))
        mark_add(analysis, MARK_AGGREGATE, call->location, call);
    expression_walk(analysis, scope, (Node *)call->over);
}

static void walk_value_function(struct analysis *analysis, const SQLValueFunction *function)
{
    if (function->op == SVFOP_CURRENT_CATALOG)
        analysis->prefers_home = true;
    if (function->op <= SVFOP_LOCALTIMESTAMP_N)
        clock_read(analysis, true);
}

static void walk_window(struct analysis *analysis, struct scope *scope, WindowDef *window)
{
    scope->has_window = true;
    expression_list(analysis, scope, window->partitionClause);
    expression_list(analysis, scope, window->orderClause);
    expression_walk(analysis, scope, window->startOffset);
    expression_walk(analysis, scope, window->endOffset);
}

/* A value whose number each server has for itself: regclass and its like. */
static bool names_object(const Node *node)
{
    if (IsA(node, FuncCall)) {
        const char *name = strVal(llast(((const FuncCall *)node)->funcname));
        return strcmp(name, "pg_typeof") == 0 || strncmp(name, "to_reg", 6) == 0;
    }
    return IsA(node, TypeCast) && strncmp(strVal(llast(((const TypeCast *)node)->typeName->names)), "reg", 3) == 0;
}

static void walk_cast(struct analysis *analysis, struct scope *scope, TypeCast *cast)
{
    bool modified;
    uint32_t type = name_type(analysis, cast->typeName, &modified);
    analysis->numbers_object |= (type == 26 || type == 23 || type == 20) && names_object(cast->arg);
    clock_cast(analysis, scope, type, cast->arg);
    if (IsA(cast->arg, ParamRef))
        parameter_use(analysis, ((ParamRef *)cast->arg)->number, type, false);
    else
        expression_walk(analysis, scope, cast->arg);
}

static void walk_sublink(struct analysis *analysis, struct scope *scope, SubLink *link)
{
    struct use **first = analysis->last_use;
    expression_walk(analysis, scope, link->testexpr);
    query_analyse(analysis, scope, true, link->subselect);
    if (link->subLinkType != ARRAY_SUBLINK)
        return;
    analysis_note_order(analysis, "an array is made of rows in their order");
    copies_note(analysis, analysis->top, *first, "ARRAY");
}

/* Long chains such as 1+1+1… lean to the left: that side is walked by the loop, not by recursion. */
static Node *walk_operator(struct analysis *analysis, struct scope *scope, A_Expr *operation)
{
    const char *name = operation->name ? strVal(llast(operation->name)) : "";
    for (size_t i = 0; i < analysis->schema->operator_count; i++)
        if (analysis->schema->operators[i].may_read && strcmp(analysis->schema->operators[i].name, name) == 0)
            analysis_refuse(analysis, operation->location, analysis_text(analysis, "operator %s may read tables", name),
                            "Its function is not IMMUTABLE, and what its body reads is not known.",
                            "If it reads no table, declare it IMMUTABLE; or name the shard: SET mosaic.shard.");
    expression_walk(analysis, scope, operation->rexpr);
    return operation->lexpr;
}

static Node *walk_case(struct analysis *analysis, struct scope *scope, CaseExpr *expression)
{
    expression_walk(analysis, scope, (Node *)expression->arg);
    ListCell *cell;
    foreach (cell, expression->args) {
        CaseWhen *when = lfirst(cell);
        expression_walk(analysis, scope, (Node *)when->expr);
        expression_walk(analysis, scope, (Node *)when->result);
    }
    return (Node *)expression->defresult;
}

static void walk_subscripts(struct analysis *analysis, struct scope *scope, List *indirection)
{
    ListCell *cell;
    foreach (cell, indirection) {
        Node *node = lfirst(cell);
        if (IsA(node, String))
            name_field(analysis, strVal(node));
        if (!IsA(node, A_Indices))
            continue; /* a field's name, or a star */
        expression_walk(analysis, scope, ((A_Indices *)node)->lidx);
        expression_walk(analysis, scope, ((A_Indices *)node)->uidx);
    }
}

/* Walks one node; returns what is still to be walked. */
static Node *walk_one(struct analysis *analysis, struct scope *scope, Node *node)
{
    switch (nodeTag(node)) {
    case T_ColumnRef:
        name_resolve(analysis, scope, (ColumnRef *)node);
        return NULL;
    case T_ParamRef:
        parameter_use(analysis, ((ParamRef *)node)->number, 0, false);
        return NULL;
    case T_A_Const:
    case T_SetToDefault:
    case T_A_Star:
        return NULL;
    case T_A_Expr:
        return walk_operator(analysis, scope, (A_Expr *)node);
    case T_TypeCast:
        walk_cast(analysis, scope, (TypeCast *)node);
        return NULL;
    case T_FuncCall:
        walk_function(analysis, scope, (FuncCall *)node);
        return NULL;
    case T_BoolExpr:
        expression_list(analysis, scope, ((BoolExpr *)node)->args);
        return NULL;
    case T_NullTest:
        return (Node *)((NullTest *)node)->arg;
    case T_BooleanTest:
        return (Node *)((BooleanTest *)node)->arg;
    case T_CollateClause:
        return ((CollateClause *)node)->arg;
    case T_NamedArgExpr:
        return (Node *)((NamedArgExpr *)node)->arg;
    case T_SortBy:
        return ((SortBy *)node)->node;
    case T_CaseExpr:
        return walk_case(analysis, scope, (CaseExpr *)node);
    case T_SubLink:
        mark_add(analysis, MARK_SUBQUERY, ((SubLink *)node)->location, node);
        walk_sublink(analysis, scope, (SubLink *)node);
        return NULL;
    case T_RowExpr:
        expression_list(analysis, scope, ((RowExpr *)node)->args);
        return NULL;
    case T_A_ArrayExpr:
        expression_list(analysis, scope, ((A_ArrayExpr *)node)->elements);
        return NULL;
    case T_CoalesceExpr:
        expression_list(analysis, scope, ((CoalesceExpr *)node)->args);
        return NULL;
    case T_MinMaxExpr:
        expression_list(analysis, scope, ((MinMaxExpr *)node)->args);
        return NULL;
    case T_GroupingFunc:
        expression_list(analysis, scope, ((GroupingFunc *)node)->args);
        return NULL;
    case T_GroupingSet:
        expression_list(analysis, scope, ((GroupingSet *)node)->content);
        return NULL;
    case T_XmlExpr:
        expression_list(analysis, scope, ((XmlExpr *)node)->named_args);
        expression_list(analysis, scope, ((XmlExpr *)node)->args);
        return NULL;
    case T_XmlSerialize:
        return ((XmlSerialize *)node)->expr;
    case T_ResTarget:
        walk_subscripts(analysis, scope, ((ResTarget *)node)->indirection);
        return ((ResTarget *)node)->val;
    case T_MultiAssignRef:
        /* The source is shared by all columns of the assignment: the first has it walked. */
        return ((MultiAssignRef *)node)->colno == 1 ? ((MultiAssignRef *)node)->source : NULL;
    case T_A_Indirection:
        walk_subscripts(analysis, scope, ((A_Indirection *)node)->indirection);
        return ((A_Indirection *)node)->arg;
    case T_SQLValueFunction:
        walk_value_function(analysis, (SQLValueFunction *)node);
        return NULL;
    case T_WindowDef:
        walk_window(analysis, scope, (WindowDef *)node);
        return NULL;
    case T_List:
        expression_list(analysis, scope, (List *)node);
        return NULL;
    case T_CurrentOfExpr:
        analysis_refuse(analysis, -1, "WHERE CURRENT OF a cursor", "Which shard the cursor is on is not known.",
                        "Name the row by its key.");
    default:
        analysis_refuse(analysis, -1,
                        analysis_text(analysis, "an expression that no rule knows (node %d)", (int)nodeTag(node)), NULL,
                        NULL);
    }
}

void expression_walk(struct analysis *analysis, struct scope *scope, Node *node)
{
    if (!node)
        return;
    analysis_enter(analysis);
    while (node)
        node = walk_one(analysis, scope, node);
    analysis_leave(analysis);
}

void expression_list(struct analysis *analysis, struct scope *scope, List *list)
{
    ListCell *cell;
    foreach (cell, list)
        expression_walk(analysis, scope, lfirst(cell));
}
