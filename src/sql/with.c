/* WITH: names for queries, recursive ones by induction. */
#include "sql/analysis.h"

static void common_add(struct analysis *analysis, struct scope *scope, struct common *common, const List *names)
{
    columns_rename(analysis, &common->columns, names);
    common->next = scope->commons;
    scope->commons = common;
}

/* The rows of a recursive query: by induction, its columns are bound as those of its first part. */
static void recursive_columns(struct analysis *analysis, struct common *common, const struct columns *base)
{
    common->columns.opaque = base->opaque;
    common->columns.unnamed = base->unnamed;
    common->columns.count = base->count;
    common->columns.list = analysis_new(analysis, base->count, sizeof *base->list);
    for (size_t i = 0; i < base->count; i++) {
        struct column *column = &base->list[i];
        struct term *first = column_term(analysis, column);
        common->columns.list[i].name = column->name;
        if (!first)
            continue;
        struct term *term = term_derived(analysis, NULL, first, 0);
        term->recursive = first;
        common->columns.list[i].term = term;
    }
}

static void with_recursive(struct analysis *analysis, struct scope *scope, CommonTableExpr *with, struct common *common)
{
    SelectStmt *select = (SelectStmt *)with->ctequery;
    bool in_two = IsA(select, SelectStmt) && select->op == SETOP_UNION && !select->withClause && !select->sortClause &&
                  !select->limitCount && !select->limitOffset && !select->lockingClause && !with->search_clause &&
                  !with->cycle_clause;
    if (!in_two) {
        analysis_unproved(analysis, with->location, "a recursive query of a form that no rule knows", NULL);
        common->columns.opaque = true;
        common_add(analysis, scope, common, NIL);
        query_analyse(analysis, scope, false, with->ctequery);
        return;
    }
    struct columns base = query_analyse(analysis, scope, false, (Node *)select->larg);
    recursive_columns(analysis, common, &base);
    common->references = 2; /* what is asked of the whole must not be moved into a step */
    common_add(analysis, scope, common, with->aliascolnames);
    struct columns step = query_analyse(analysis, scope, false, (Node *)select->rarg);
    for (size_t i = 0; i < common->columns.count && i < step.count && !step.opaque; i++)
        if (common->columns.list[i].term)
            common->columns.list[i].term->step = column_term(analysis, &step.list[i]);
}

static bool mentions(struct analysis *analysis, Node *node, const char *name, int depth);

static bool list_mentions(struct analysis *analysis, List *list, const char *name, int depth)
{
    ListCell *cell;
    foreach (cell, list)
        if (mentions(analysis, lfirst(cell), name, depth))
            return true;
    return false;
}

/* Does a FROM name it? What hides deeper (in an expression) is found when it is analysed: a name without a meaning. */
static bool mentions(struct analysis *analysis, Node *node, const char *name, int depth)
{
    if (!node || depth > DEPTH_MOST)
        return false;
    switch (nodeTag(node)) {
    case T_RangeVar:
        return !((RangeVar *)node)->schemaname && strcmp(((RangeVar *)node)->relname, name) == 0;
    case T_JoinExpr:
        return mentions(analysis, ((JoinExpr *)node)->larg, name, depth + 1) ||
               mentions(analysis, ((JoinExpr *)node)->rarg, name, depth + 1);
    case T_RangeSubselect:
        return mentions(analysis, ((RangeSubselect *)node)->subquery, name, depth + 1);
    case T_SelectStmt: {
        SelectStmt *select = (SelectStmt *)node;
        return list_mentions(analysis, select->fromClause, name, depth + 1) ||
               mentions(analysis, (Node *)select->larg, name, depth + 1) ||
               mentions(analysis, (Node *)select->rarg, name, depth + 1);
    }
    default:
        return false;
    }
}

/* RECURSIVE lets a query name itself or a later one, even where a table has the name: such names mean nothing yet. */
static void hide_names(struct analysis *analysis, struct scope *scope, const WithClause *with, int from)
{
    for (int i = list_length(with->ctes) - 1; i >= from && with->recursive; i--) {
        struct common *hidden = analysis_new(analysis, 1, sizeof *hidden);
        hidden->name = ((CommonTableExpr *)list_nth(with->ctes, i))->ctename;
        hidden->is_later = true;
        hidden->next = scope->commons;
        scope->commons = hidden;
    }
}

void query_with(struct analysis *analysis, struct scope *scope, WithClause *with)
{
    for (int i = 0; with && i < list_length(with->ctes); i++) {
        CommonTableExpr *query = list_nth(with->ctes, i);
        struct common *before = scope->commons, *common = analysis_new(analysis, 1, sizeof *common);
        common->name = analysis_copy(analysis, query->ctename);
        hide_names(analysis, scope, with, i);
        if (with->recursive && mentions(analysis, query->ctequery, query->ctename, 0))
            with_recursive(analysis, scope, query, common);
        else
            common->columns = query_analyse(analysis, scope, false, query->ctequery);
        scope->commons = before;
        common_add(analysis, scope, common, query->aliascolnames);
    }
}
