/*
 * Tier 2: what may stand above WHERE, where the rows that WHERE sees are split by a key κ.
 *
 * Each step must give the same whether it is done for all rows or for each key's alone: a group, a window's partition
 * or a DISTINCT row has one key, where it is a whole one's by a column that holds κ.
 */
#include "sql/scatter.h"

static const Node *first_of(const List *list)
{
    return list ? linitial(list) : NULL;
}

const char *shape_bare_name(const Node *node)
{
    const ColumnRef *reference = (const ColumnRef *)node;
    if (!IsA(node, ColumnRef) || list_length(reference->fields) != 1 || !IsA(linitial(reference->fields), String))
        return NULL;
    return strVal(linitial(reference->fields));
}

/* May an unqualified name mean a column of the FROM? */
static bool is_input_name(const struct scope *scope, const char *name)
{
    for (size_t i = 0; i < scope->item_count; i++) {
        const struct columns *columns = &scope->items[i].range->columns;
        if (columns->opaque || columns->unnamed || columns_find(columns, name))
            return true;
    }
    return false;
}

struct column *shape_output(struct scope *scope, const Node *node, bool output_first)
{
    const A_Const *constant = (const A_Const *)node;
    if (IsA(node, A_Const)) {
        size_t position = !constant->isnull && IsA(&constant->val, Integer) ? (size_t)constant->val.ival.ival : 0;
        return position && position <= scope->outputs.count ? &scope->outputs.list[position - 1] : NULL;
    }
    const char *name = shape_bare_name(node);
    if (!name || (!output_first && is_input_name(scope, name)))
        return NULL;
    return columns_find(&scope->outputs, name);
}

/* What GROUP BY (a column goes before an output's name), DISTINCT ON (the other way round), or PARTITION BY names. */
enum naming { NAMES_INPUT_FIRST, NAMES_OUTPUT_FIRST, NAMES_INPUT };

static struct term *named_term(struct split *split, struct scope *scope, Node *node, enum naming naming)
{
    struct column *output = naming == NAMES_INPUT ? NULL : shape_output(scope, node, naming == NAMES_OUTPUT_FIRST);
    if (output)
        return column_term(split->analysis, output);
    if (naming == NAMES_OUTPUT_FIRST && shape_may_be_output(scope->select, shape_bare_name(node)))
        return NULL;
    return IsA(node, ColumnRef) ? name_resolve(split->analysis, scope, (ColumnRef *)node) : NULL;
}

/* Do these expressions hold κ? */
static bool hold_key(struct split *split, struct scope *scope, List *list, enum naming naming)
{
    ListCell *cell;
    for (size_t i = 0; i < split->width; i++) {
        bool found = false;
        foreach (cell, list)
            found |= split_holds(named_term(split, scope, lfirst(cell), naming), i);
        if (!found)
            return false;
    }
    return true;
}

static bool outputs_hold_key(struct split *split, struct scope *scope)
{
    for (size_t i = 0; i < split->width; i++) {
        bool found = false;
        for (size_t c = 0; c < scope->outputs.count && !found; c++)
            found = split_holds(column_term(split->analysis, &scope->outputs.list[c]), i);
        if (!found)
            return false;
    }
    return true;
}

static const char *check_groups(struct split *split, struct scope *scope)
{
    ListCell *cell;
    foreach (cell, scope->select->groupClause)
        if (IsA(lfirst(cell), GroupingSet))
            return "its GROUPING SETS put rows of several keys together";
    if (hold_key(split, scope, scope->select->groupClause, NAMES_INPUT_FIRST))
        return NULL;
    return "its GROUP BY puts rows of several keys together";
}

static const char *check_windows(struct split *split, struct scope *scope)
{
    for (const struct window *window = scope->windows; window; window = window->next) {
        const WindowDef *definition = query_window(scope->select, window->definition);
        if (!definition || !hold_key(split, scope, definition->partitionClause, NAMES_INPUT))
            return "a window function looks at rows of several keys";
    }
    return NULL;
}

static const char *check_distinct(struct split *split, struct scope *scope)
{
    List *distinct = scope->select->distinctClause;
    bool holds =
        first_of(distinct) ? hold_key(split, scope, distinct, NAMES_OUTPUT_FIRST) : outputs_hold_key(split, scope);
    return holds ? NULL : "its DISTINCT compares rows of several keys";
}

bool shape_is_one_row(const struct scope *scope)
{
    const SelectStmt *select = scope->select;
    return !select->groupClause && (scope->has_aggregate || select->havingClause);
}

const char *shape_leaf(struct split *split, struct scope *scope)
{
    const SelectStmt *select = scope->select;
    const char *reason = NULL;
    bool is_top = scope == split->analysis->top;
    if (!is_top && (select->sortClause || select->limitCount || select->limitOffset))
        return "a SELECT of its set operation has an ORDER BY or a LIMIT of its own";
    if (shape_is_one_row(scope))
        return is_top ? NULL : "a SELECT of its set operation aggregates over all keys";
    if (select->groupClause)
        reason = check_groups(split, scope);
    if (!reason && scope->has_window)
        reason = check_windows(split, scope);
    if (!reason && select->distinctClause)
        reason = check_distinct(split, scope);
    return reason;
}

bool shape_may_be_output(const SelectStmt *select, const char *bare)
{
    ListCell *cell;
    foreach (cell, select->targetList) {
        const ResTarget *target = lfirst(cell);
        const char *name = NULL;
        if (!bare || target->name || query_is_star(target->val))
            continue;
        enum figured found = figure_name(target->val, &name);
        if (found == FIGURED_UNKNOWN || (found != FIGURED_NONE && strcmp(name, bare) == 0))
            return true;
    }
    return false;
}

bool shape_star_column(struct analysis *analysis, const struct scope *scope, struct column *output,
                       const char **qualifier)
{
    size_t named = 0, columns = 0, others = 0;
    *qualifier = NULL;
    for (size_t i = 0; i < scope->item_count && output->name; i++) {
        struct item *item = &scope->items[i];
        bool opaque = item->range->columns.opaque || item->range->columns.unnamed;
        for (size_t c = 0; c < item->range->columns.count; c++) {
            struct column *column = &item->range->columns.list[c];
            if (!column->name || strcmp(column->name, output->name) != 0)
                continue;
            columns += item->by_column;
            bool same = column_term(analysis, column) == column_term(analysis, output);
            if (same && item->by_name && column_term(analysis, column)) {
                *qualifier = item->name;
                named++;
            }
        }
        columns += opaque ? 2 : 0;
    }
    if (columns == 1)
        *qualifier = NULL;
    for (size_t i = 0; i < scope->item_count && *qualifier; i++)
        others += scope->items[i].by_name && strcmp(scope->items[i].name, *qualifier) == 0;
    return output->name && (columns == 1 || (named == 1 && others == 1));
}
