/* The name that PostgreSQL gives a target without one: FigureColname, src/backend/parser/parse_target.c. */
#include "sql/analysis.h"
#include "sql/moment.h"

static enum figured figure_words(const Node *node, const char **name);

const char *figure_target(const ResTarget *target)
{
    const char *name = NULL;
    if (target->name)
        return target->name;
    switch (figure_name(target->val, &name)) {
    case FIGURED_NONE:
        return "?column?";
    case FIGURED_UNKNOWN:
        return NULL;
    default:
        return name;
    }
}

bool figure_is_moment(const ResTarget *target)
{
    const char *name = figure_target(target);
    return !target->name && (!name || moment_names(name));
}

enum figured figure_name(const Node *node, const char **name)
{
    enum figured found;
    while (node && IsA(node, CollateClause)) /* a chain may be as long as the text */
        node = ((const CollateClause *)node)->arg;
    switch (node ? nodeTag(node) : T_A_Const) {
    case T_A_Const:
    case T_ParamRef:
    case T_BoolExpr:
    case T_NullTest:
    case T_BooleanTest:
        return FIGURED_NONE;
    case T_ColumnRef:
        *name = IsA(llast(((const ColumnRef *)node)->fields), String) ? strVal(llast(((const ColumnRef *)node)->fields))
                                                                      : NULL;
        return *name ? FIGURED_NAME : FIGURED_UNKNOWN;
    case T_FuncCall:
        *name = strVal(llast(((const FuncCall *)node)->funcname));
        return FIGURED_NAME;
    case T_TypeCast:
        found = figure_name(((const TypeCast *)node)->arg, name);
        if (found > FIGURED_WEAK)
            return found;
        *name = strVal(llast(((const TypeCast *)node)->typeName->names));
        return FIGURED_WEAK;
    case T_CaseExpr:
        while (node && IsA(node, CaseExpr))
            node = (const Node *)((const CaseExpr *)node)->defresult;
        found = figure_name(node, name);
        if (found > FIGURED_WEAK)
            return found;
        *name = "case";
        return FIGURED_WEAK;
    default:
        return figure_words(node, name);
    }
}

static enum figured figure_sublink(const SubLink *link, const char **name)
{
    const SelectStmt *select = (const SelectStmt *)link->subselect;
    *name = link->subLinkType == EXISTS_SUBLINK ? "exists" : "array";
    if (link->subLinkType == EXISTS_SUBLINK || link->subLinkType == ARRAY_SUBLINK)
        return FIGURED_NAME;
    if (link->subLinkType != EXPR_SUBLINK)
        return FIGURED_NONE;
    while (IsA(select, SelectStmt) && select->op != SETOP_NONE)
        select = select->larg;
    if (!IsA(select, SelectStmt) || !select->targetList)
        return FIGURED_UNKNOWN;
    *name = figure_target(linitial(select->targetList));
    return *name ? FIGURED_NAME : FIGURED_UNKNOWN;
}

/* Those that have a word's name. */
static enum figured figure_words(const Node *node, const char **name)
{
    switch (nodeTag(node)) {
    case T_A_Expr:
        *name = "nullif";
        return ((const A_Expr *)node)->kind == AEXPR_NULLIF ? FIGURED_NAME : FIGURED_NONE;
    case T_GroupingFunc:
        *name = "grouping";
        return FIGURED_NAME;
    case T_A_ArrayExpr:
        *name = "array";
        return FIGURED_NAME;
    case T_RowExpr:
        *name = "row";
        return FIGURED_NAME;
    case T_CoalesceExpr:
        *name = "coalesce";
        return FIGURED_NAME;
    case T_MinMaxExpr:
        *name = ((const MinMaxExpr *)node)->op == IS_GREATEST ? "greatest" : "least";
        return FIGURED_NAME;
    case T_SubLink:
        return figure_sublink((const SubLink *)node, name);
    default:
        return FIGURED_UNKNOWN;
    }
}
