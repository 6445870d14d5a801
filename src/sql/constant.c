/*
 * SELECT of literals, parameters, and what a server says of itself alike at any time: as pools and ORMs ask first.
 *
 * It reads no rows, no clock and no settings, and does nothing to the session; so in a transaction of READ COMMITTED it
 * does not matter whether it ran within it. A list of what is known to be so, and short: a literal of a time may mean
 * the transaction's ('now'), an operator may be somebody's, and a function whose name is not here may be as well.
 */
#include "sql/analysis.h"

/* Types whose text form depends on nothing; their names as the parser has them, or as they are written. */
static bool is_plain_type(const TypeName *type)
{
    static const char *const names[] = {"bool", "int2", "int4", "int8", "numeric", "text", "varchar", "uuid"};
    int count = list_length(type->names);
    if (count > 2 || type->setof || type->pct_type || type->arrayBounds || type->typmods)
        return false;
    if (count == 2 && strcmp(strVal(linitial(type->names)), "pg_catalog") != 0)
        return false;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (strcmp(strVal(llast(type->names)), names[i]) == 0)
            return true;
    return false;
}

static bool is_plain_call(const FuncCall *call)
{
    const char *name = strVal(llast(call->funcname));
    bool ours = list_length(call->funcname) == 1 || strcmp(strVal(linitial(call->funcname)), "pg_catalog") == 0;
    return ours && list_length(call->funcname) <= 2 && !call->args && !call->agg_order && !call->agg_filter &&
           !call->over && !call->agg_star && !call->agg_within_group &&
           (strcmp(name, "version") == 0 || strcmp(name, "current_schema") == 0);
}

static bool is_plain(const Node *node)
{
    switch (nodeTag(node)) {
    case T_A_Const:
    case T_ParamRef:
        return true;
    case T_TypeCast:
        return is_plain_type(((const TypeCast *)node)->typeName) &&
               (IsA(((const TypeCast *)node)->arg, A_Const) || IsA(((const TypeCast *)node)->arg, ParamRef));
    case T_FuncCall:
        return is_plain_call((const FuncCall *)node);
    case T_SQLValueFunction:
        return ((const SQLValueFunction *)node)->op == SVFOP_CURRENT_SCHEMA;
    default:
        return false;
    }
}

bool constant_statement(const struct analysis *analysis, const SelectStmt *select)
{
    ListCell *cell;
    if (!analysis->path_count || strcmp(analysis->path[0], "pg_catalog") != 0)
        return false; /* a name may be somebody's */
    if (select->op != SETOP_NONE || select->valuesLists || select->distinctClause || select->intoClause ||
        select->fromClause || select->whereClause || select->groupClause || select->havingClause ||
        select->windowClause || select->sortClause || select->limitOffset || select->limitCount ||
        select->lockingClause || select->withClause)
        return false;
    foreach (cell, select->targetList)
        if (!is_plain(((const ResTarget *)lfirst(cell))->val))
            return false;
    return select->targetList != NIL;
}
