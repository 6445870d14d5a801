/* What the default of a column is: catalog/schema_sql.h asks a server the same. */
#include "sql/schema_file_parts.h"

#include "sql/words.h"

static bool list_is_same(const List *list, bool *clock);

/* Of the transaction's time, and of what it and the setting TimeZone give. */
static bool call_is_same(const FuncCall *call, bool *clock)
{
    static const char *const clocks[] = {"now", "transaction_timestamp", "statement_timestamp"};
    static const char *const same[] = {"now", "transaction_timestamp", "timezone", "date_trunc"};
    const char *name = strVal(llast(call->funcname));
    bool is_clock = false, is_same = false;
    for (size_t i = 0; i < sizeof clocks / sizeof *clocks; i++)
        is_clock |= strcmp(name, clocks[i]) == 0;
    for (size_t i = 0; i < sizeof same / sizeof *same; i++)
        is_same |= strcmp(name, same[i]) == 0;
    *clock |= is_clock;
    bool own = list_length(call->funcname) == 1 || strcmp(strVal(linitial(call->funcname)), "pg_catalog") == 0;
    return list_is_same(call->args, clock) && own && is_same;
}

static bool is_same(const Node *node, bool *clock)
{
    const A_Const *constant = (const A_Const *)node;
    if (!node)
        return true;
    switch (nodeTag(node)) {
    case T_A_Const:
        if (!constant->isnull && IsA(&constant->val, String))
            *clock |= words_name_moment(constant->val.sval.sval, strlen(constant->val.sval.sval));
        return true;
    case T_TypeCast:
        return is_same(((const TypeCast *)node)->arg, clock);
    case T_CollateClause:
        return is_same(((const CollateClause *)node)->arg, clock);
    case T_A_ArrayExpr:
        return list_is_same(((const A_ArrayExpr *)node)->elements, clock);
    case T_A_Expr: {
        const A_Expr *operation = (const A_Expr *)node;
        bool left = is_same(operation->lexpr, clock), right = is_same(operation->rexpr, clock);
        return left && right && operation->kind == AEXPR_OP && list_length(operation->name) == 1;
    }
    case T_FuncCall:
        return call_is_same((const FuncCall *)node, clock);
    case T_SQLValueFunction: {
        bool is_time = ((const SQLValueFunction *)node)->op <= SVFOP_LOCALTIMESTAMP_N;
        *clock |= is_time;
        return is_time;
    }
    default:
        *clock = true; /* it may */
        return false;
    }
}

static bool list_is_same(const List *list, bool *clock)
{
    const ListCell *cell;
    bool same = true;
    foreach (cell, list)
        same &= is_same(lfirst(cell), clock);
    return same;
}

/* mosaic.next_id() */
static bool is_next_id(const Node *expression)
{
    const FuncCall *call = (const FuncCall *)expression;
    return expression && IsA(call, FuncCall) && !call->args && list_length(call->funcname) == 2 &&
           strcmp(strVal(linitial(call->funcname)), "mosaic") == 0 &&
           strcmp(strVal(lsecond(call->funcname)), "next_id") == 0;
}

struct file_default file_default(const Node *expression)
{
    struct file_default found = {.has = true};
    if (expression && IsA(expression, A_Const) && ((const A_Const *)expression)->isnull)
        return (struct file_default){0};
    found.same = is_same(expression, &found.clock);
    found.id = is_next_id(expression);
    return found;
}

struct file_default file_type_default(const struct schema_file *file, uint32_t type)
{
    const struct file_domain *domains = file->defaulted.items;
    for (size_t i = 0; i < file->defaulted.count; i++)
        if (domains[i].type == type)
            return domains[i].value;
    return (struct file_default){0};
}

void file_set_default(struct schema_column *column, struct file_default value)
{
    column->has_default = value.has;
    column->default_same = value.same;
    column->default_clock = value.clock;
    column->default_id = value.id;
}
