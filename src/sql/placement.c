/*
 * SELECT mosaic.shard_table('orders', 'customer_id'): an order to the proxy in the form of a statement. There is no
 * such function on a server. One call, of literals and parameters, is all of the statement; anything else is refused.
 */
#include "sql/analysis.h"

#include <strings.h>

/* In the order of enum placement_argument_kind, which is that of the calls. */
static const char *const argument_names[PLACEMENT_ARGUMENT_COUNT] = {"table_name", "key", "colocate_with", "function",
                                                                     "buckets"};
static const struct {
    const char *name;
    int most; /* of its arguments */
} functions[] = {
    [PLACEMENT_SHARDED] = {"shard_table", PLACEMENT_ARGUMENT_COUNT},
    [PLACEMENT_REFERENCE] = {"reference_table", 1},
    [PLACEMENT_HOME] = {"home_table", 1},
};

static int kind_of(const FuncCall *call)
{
    if (list_length(call->funcname) != 2 || strcmp(strVal(linitial(call->funcname)), "mosaic") != 0)
        return -1;
    for (int i = 0; i < (int)(sizeof functions / sizeof *functions); i++)
        if (strcmp(strVal(lsecond(call->funcname)), functions[i].name) == 0)
            return i;
    return -1;
}

void placement_forbid(struct analysis *analysis, const FuncCall *call)
{
    int kind = kind_of(call);
    if (kind >= 0)
        analysis_refuse(analysis, call->location,
                        analysis_text(analysis, "mosaic.%s within another statement", functions[kind].name),
                        "It is no function, but an order to the proxy.",
                        analysis_text(analysis, "Say SELECT mosaic.%s(…), and nothing else.", functions[kind].name));
}

static void refuse_argument(struct analysis *analysis, const FuncCall *call, const char *what)
{
    analysis_refuse(analysis, call->location, what, NULL,
                    "mosaic.shard_table('table', 'key', colocate_with => 'table', function => 'hash', buckets => 4096),"
                    " mosaic.reference_table('table'), mosaic.home_table('table').");
}

static void take_value(struct analysis *analysis, const FuncCall *call, const Node *node,
                       struct placement_argument *argument)
{
    const A_Const *constant = (const A_Const *)node;
    if (IsA(node, TypeCast))
        constant = (const A_Const *)(node = ((const TypeCast *)node)->arg);
    if (IsA(node, ParamRef) && ((const ParamRef *)node)->number > 0)
        argument->parameter = (uint32_t)((const ParamRef *)node)->number;
    else if (IsA(node, A_Const) && constant->isnull)
        argument->text = NULL;
    else if (IsA(node, A_Const) && IsA(&constant->val, String))
        argument->text = analysis_copy(analysis, strVal(&constant->val));
    else if (IsA(node, A_Const) && IsA(&constant->val, Integer))
        argument->text = analysis_text(analysis, "%d", constant->val.ival.ival);
    else
        refuse_argument(analysis, call, "an argument that is neither a literal nor a parameter");
}

static size_t argument_number(struct analysis *analysis, const FuncCall *call, const char *name)
{
    size_t i = 0;
    while (i < PLACEMENT_ARGUMENT_COUNT && strcmp(argument_names[i], name) != 0)
        i++;
    if (i == PLACEMENT_ARGUMENT_COUNT)
        refuse_argument(analysis, call, analysis_text(analysis, "there is no argument \"%s\"", name));
    return i;
}

bool placement_statement(struct analysis *analysis, const SelectStmt *select)
{
    const FuncCall *call = (const FuncCall *)only_expression(select);
    int kind = call && IsA(call, FuncCall) ? kind_of(call) : -1;
    if (kind < 0)
        return false;
    struct fact_placement *placement = analysis_new(analysis, 1, sizeof *placement);
    bool given[PLACEMENT_ARGUMENT_COUNT] = {false};
    size_t place = 0;
    placement->kind = (enum placement_kind)kind;
    if (call->over || call->agg_filter || call->agg_order || call->agg_star || call->func_variadic)
        refuse_argument(analysis, call, "a call with other clauses");
    ListCell *cell;
    foreach (cell, call->args) {
        const Node *node = lfirst(cell);
        size_t number = place++;
        if (IsA(node, NamedArgExpr)) {
            number = argument_number(analysis, call, ((const NamedArgExpr *)node)->name);
            node = (const Node *)((const NamedArgExpr *)node)->arg;
        }
        if (number >= (size_t)functions[kind].most || given[number])
            refuse_argument(analysis, call, "an argument too many");
        given[number] = true;
        take_value(analysis, call, node, &placement->arguments[number]);
    }
    if (!given[PLACEMENT_TABLE])
        refuse_argument(analysis, call, "no table is named");
    analysis->facts->class = STATEMENT_SELECT;
    analysis->facts->placement = placement;
    analysis->facts->text_bound = true;
    analysis->facts->needs_home = true;
    return true;
}
