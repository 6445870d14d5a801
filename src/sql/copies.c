/*
 * Subqueries of reference tables alone, which every shard answers from its own copy, whose rows stand in an order of
 * their own:
 *
 *     FROM users u, (SELECT DISTINCT ON (region) region, name FROM countries) d
 *
 * One PostgreSQL makes of it one result for all keys. Where the order of rows decides what that is, shards may make
 * others, and the statement is not asked of several of them.
 */
#include "sql/scatter.h"

static bool is_one_of(uint32_t type, const uint32_t *types, size_t count)
{
    bool found = false;
    for (size_t i = 0; i < count; i++)
        found |= types[i] == type;
    return found;
}

bool copies_look_alike(const struct analysis *analysis, const struct term *term)
{
    enum { BPCHAR = 1042 }; /* char(n), of a table: all of one have as many blanks */
    static const uint32_t types[] = {16, 17, 18, 19, 20, 21, 23, 25, 26, 1043, 1082, 1083, 1114, 1184, 2950};
    if (!term || term->nondeterministic || term->mixed)
        return false;
    if (term->type == BPCHAR)
        return term->range && term->range->relation;
    const struct schema_type *type = schema_type_by_oid(analysis->schema, term->type);
    return is_one_of(term->type, types, sizeof types / sizeof *types) || (type && type->kind == 'e');
}

/* Is what is aggregated in its own order? */
static bool orders_itself(struct analysis *analysis, struct scope *scope, const FuncCall *call)
{
    const Node *argument = call->args ? linitial(call->args) : NULL;
    const Node *sort = call->agg_order ? ((const SortBy *)linitial(call->agg_order))->node : NULL;
    if (!sort || !argument || !IsA(sort, ColumnRef) || !IsA(argument, ColumnRef) || call->agg_within_group)
        return false;
    for (int i = 1; i < list_length(call->args); i++)
        if (!IsA(list_nth(call->args, i), A_Const))
            return false;
    const struct term *term = name_resolve(analysis, scope, (const ColumnRef *)argument);
    return term && term == name_resolve(analysis, scope, (const ColumnRef *)sort) && copies_look_alike(analysis, term);
}

bool copies_any_order(struct analysis *analysis, struct scope *scope, const FuncCall *call, const char *name)
{
    static const char *const all[] = {"count", "bool_and", "bool_or", "every"};
    static const char *const sums[] = {"sum", "avg", "bit_and", "bit_or", "bit_xor"}, *const ends[] = {"min", "max"};
    static const uint32_t exact[] = {20, 21, 23, 1700}; /* a numeric's scale is that of the one that has most */
    const Node *argument = list_length(call->args) == 1 ? linitial(call->args) : NULL;
    const struct term *term =
        argument && IsA(argument, ColumnRef) ? name_resolve(analysis, scope, (const ColumnRef *)argument) : NULL;
    if (call->agg_within_group || call->func_variadic)
        return false;
    return NAME_IS_ONE_OF(name, all) ||
           (NAME_IS_ONE_OF(name, sums) && term && is_one_of(term->type, exact, sizeof exact / sizeof *exact)) ||
           (NAME_IS_ONE_OF(name, ends) && copies_look_alike(analysis, term)) || orders_itself(analysis, scope, call);
}

bool copies_any_order_over(struct analysis *analysis, struct scope *scope, const FuncCall *call, const char *name)
{
    static const char *const ranks[] = {"rank", "dense_rank", "percent_rank", "cume_dist"};
    const WindowDef *window = call->over;
    if (NAME_IS_ONE_OF(name, ranks))
        return true;
    return !window->name && !window->refname && !(window->frameOptions & FRAMEOPTION_ROWS) &&
           copies_any_order(analysis, scope, call, name);
}

/* An item of GROUP BY: a column, or an output by its place or label. */
static bool is_alike(struct analysis *analysis, struct scope *scope, const Node *node)
{
    struct column *output = shape_output(scope, node, false);
    if (output)
        return !scope->outputs.opaque && copies_look_alike(analysis, column_term(analysis, output));
    return IsA(node, ColumnRef) && copies_look_alike(analysis, name_resolve(analysis, scope, (const ColumnRef *)node));
}

static bool outputs_are_alike(struct analysis *analysis, struct scope *scope)
{
    bool alike = !scope->outputs.opaque;
    for (size_t i = 0; i < scope->outputs.count; i++)
        alike &= copies_look_alike(analysis, column_term(analysis, &scope->outputs.list[i]));
    return alike;
}

/* What of a subquery the order of rows decides; NULL: nothing. */
static const char *find_pick(struct analysis *analysis, struct scope *scope)
{
    const SelectStmt *select = scope->select;
    bool unites = select->op == SETOP_NONE || (select->op == SETOP_UNION && select->all);
    bool alike = true;
    ListCell *cell;
    if (query_is_limit(select->limitCount) || query_is_limit(select->limitOffset))
        return "a LIMIT or OFFSET";
    if (select->distinctClause && linitial(select->distinctClause))
        return "DISTINCT ON";
    if (scope->picks)
        return scope->picks;
    foreach (cell, select->groupClause)
        alike &= is_alike(analysis, scope, lfirst(cell));
    if (select->distinctClause || !unites)
        alike &= outputs_are_alike(analysis, scope);
    return alike ? NULL : "what shows one of several values that are equal";
}

void copies_note(struct analysis *analysis, struct scope *scope, const struct use *first, const char *why)
{
    bool copies = false;
    if (!scope || (!scope->parent && !analysis->in_view) || analysis->picks_of_copies)
        return;
    for (const struct use *use = first; use; use = use->next) {
        if (use->fact.relation->placement == PLACE_SHARDED)
            return; /* what is bound to a key is picked for it alone */
        copies |= use->fact.relation->placement == PLACE_REFERENCE;
    }
    if (copies && !why)
        why = find_pick(analysis, scope);
    if (!copies || !why)
        return;
    if (scope->correlated) /* it picks for each row of the query around it, which may be of copies alone, too */
        scope->parent->picks = why;
    else
        analysis->picks_of_copies =
            analysis_text(analysis, "%s may make something else of each copy of a reference table", why);
}
