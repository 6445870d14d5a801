/* Queries: SELECT, VALUES, set operations. Each gives columns, as terms where a proof can use them. */
#include "sql/analysis.h"

struct filter *filter_new(struct analysis *analysis, struct scope *scope, size_t first, size_t last)
{
    struct filter *filter = analysis_new(analysis, 1, sizeof *filter);
    *filter = (struct filter){scope, first, last};
    return filter;
}

/* ---- targets ---- */

bool query_is_star(const Node *target)
{
    return IsA(target, ColumnRef) && IsA(llast(((const ColumnRef *)target)->fields), A_Star);
}

static void star_target(struct analysis *analysis, struct scope *scope, const ColumnRef *reference,
                        struct columns *outputs)
{
    if (list_length(reference->fields) == 1) {
        from_star(analysis, scope, 0, scope->item_count, outputs);
        return;
    }
    const char *name = strVal(list_nth(reference->fields, list_length(reference->fields) - 2));
    for (size_t i = 0; i < scope->item_count; i++) {
        struct item *item = &scope->items[i];
        if (!item->by_name || strcmp(item->name, name) != 0)
            continue;
        bool before = item->by_column;
        item->by_column = true;
        from_star(analysis, scope, i, i + 1, outputs);
        item->by_column = before;
        return;
    }
    outputs->opaque = true; /* of an outer query, or an error */
}

size_t query_target_width(struct analysis *analysis, struct scope *scope, ResTarget *target)
{
    struct columns columns = {0};
    if (!query_is_star(target->val))
        return 1;
    star_target(analysis, scope, (ColumnRef *)target->val, &columns);
    return columns.opaque ? SIZE_MAX : columns.count;
}

/* The name PostgreSQL gives a column without one; NULL: another one than is known here. */
static const char *target_name(const ResTarget *target)
{
    Node *value = target->val;
    if (target->name)
        return target->name;
    if (IsA(value, TypeCast) && IsA(((TypeCast *)value)->arg, ColumnRef))
        value = ((TypeCast *)value)->arg;
    if (IsA(value, ColumnRef) && IsA(llast(((ColumnRef *)value)->fields), String))
        return strVal(llast(((ColumnRef *)value)->fields));
    if (IsA(value, FuncCall))
        return strVal(llast(((FuncCall *)value)->funcname));
    return NULL;
}

/* A column that a cast makes a wider integer: another type, the same numbers. */
static struct term *widened(struct analysis *analysis, struct term *term, const TypeCast *cast)
{
    bool modified;
    uint32_t to = name_type(analysis, cast->typeName, &modified), from = term->type;
    bool widens = (from == 21 && (to == 21 || to == 23 || to == 20)) || (from == 23 && (to == 23 || to == 20)) ||
                  (from == 20 && to == 20);
    if (!widens || modified)
        return NULL;
    struct term *wide = term_derived(analysis, NULL, term, 1);
    wide->type = to, wide->domain = name_is_domain(analysis, cast->typeName) ? 0 : to;
    wide->sources[0] = (struct term_source){term, true};
    return wide;
}

static struct term *target_term(struct analysis *analysis, struct scope *scope, Node *value, uint32_t assigned)
{
    if (IsA(value, SubLink)) { /* walked as such: what it gives may be more than it says */
        expression_walk(analysis, scope, value);
        return NULL;
    }
    struct operand operand = operand_of(analysis, scope, value);
    if (!operand.is_value && IsA(value, TypeCast) && operand.term)
        return widened(analysis, operand.term, (TypeCast *)value);
    if (!operand.is_value)
        return IsA(value, ColumnRef) ? operand.term : NULL;
    value_use(analysis, &operand.value, operand.value.type ? operand.value.type : assigned ? assigned : 25, false);
    return operand_constant(analysis, &operand.value);
}

void query_targets(struct analysis *analysis, struct scope *scope, List *targets, struct columns *outputs)
{
    const uint32_t *types = analysis->assigned_types;
    size_t type_count = types ? analysis->assigned_type_count : 0;
    analysis->assigned_types = NULL;
    ListCell *cell;
    foreach (cell, targets) {
        ResTarget *target = lfirst(cell);
        if (query_is_star(target->val)) {
            star_target(analysis, scope, (ColumnRef *)target->val, outputs);
            continue;
        }
        /* (row).* makes as many columns as the row has. */
        outputs->opaque |=
            IsA(target->val, A_Indirection) && IsA(llast(((A_Indirection *)target->val)->indirection), A_Star);
        size_t at = outputs->count;
        const char *name = target_name(target);
        struct term *term = target_term(analysis, scope, target->val, at < type_count ? types[at] : 0);
        struct column *column = columns_add(analysis, outputs);
        column->term = term;
        column->name = name ? analysis_copy(analysis, name) : NULL;
        column->down = term && !term->is_constant;
        outputs->unnamed |= !name;
        analysis->named_moments += figure_is_moment(target);
    }
}

/* ---- queries ---- */

/* Does the GROUP BY have this output as a plain column? Then a condition on it only drops whole groups. */
static bool is_grouped(struct analysis *analysis, struct scope *scope, const SelectStmt *select,
                       const struct term *term)
{
    ListCell *cell;
    bool found = false;
    foreach (cell, select->groupClause) {
        Node *node = lfirst(cell);
        if (IsA(node, GroupingSet))
            return false;
        found |= IsA(node, ColumnRef) && name_resolve(analysis, scope, (ColumnRef *)node) == term;
    }
    return found;
}

bool query_is_limit(const Node *node)
{
    return node && !(IsA(node, A_Const) && ((const A_Const *)node)->isnull);
}

static const WindowDef *named_window(const SelectStmt *select, const char *name)
{
    ListCell *cell;
    foreach (cell, select->windowClause)
        if (strcmp(((WindowDef *)lfirst(cell))->name, name) == 0)
            return lfirst(cell);
    return NULL;
}

/* One that names another has that one's PARTITION BY. */
const WindowDef *query_window(const SelectStmt *select, const WindowDef *window)
{
    const char *name = window->name ? window->name : window->refname;
    for (int hops = 0; name && hops <= list_length(select->windowClause); hops++) {
        window = named_window(select, name);
        name = window ? window->refname : NULL;
    }
    return name ? NULL : window;
}

/* Does each window have this column in its PARTITION BY? Then a condition on it drops whole partitions, and no other.
 */
static bool is_partitioned(struct analysis *analysis, struct scope *scope, const SelectStmt *select,
                           const struct term *term)
{
    for (const struct window *window = scope->windows; window; window = window->next) {
        const WindowDef *definition = query_window(select, window->definition);
        ListCell *cell;
        bool found = false;
        if (!definition)
            return false;
        foreach (cell, definition->partitionClause) {
            Node *node = lfirst(cell);
            found |= IsA(node, ColumnRef) && name_resolve(analysis, scope, (ColumnRef *)node) == term;
        }
        if (!found)
            return false;
    }
    return true;
}

/* Is it a column of this query's own ranges? One of an outer query's is there for other rows, too. */
static bool is_own(const struct scope *scope, const struct term *term)
{
    if (!term->range && term->source_count == 1) /* widened */
        return is_own(scope, term->sources[0].term);
    return term->range && term->range->scope == scope;
}

/* May a condition on the outputs be moved into the query? Not through what counts or picks rows. */
static void close_outputs(struct analysis *analysis, struct scope *scope, const SelectStmt *select,
                          struct columns *outputs)
{
    bool picks = query_is_limit(select->limitCount) || query_is_limit(select->limitOffset) || select->lockingClause ||
                 (select->distinctClause && linitial(select->distinctClause)) || scope->has_set_function ||
                 scope->has_volatile;
    bool groups = scope->has_aggregate || select->groupClause || select->havingClause, sets = false;
    ListCell *cell;
    foreach (cell, select->groupClause)
        sets |= IsA(lfirst(cell), GroupingSet);
    for (size_t i = 0; i < outputs->count; i++) {
        struct column *column = &outputs->list[i];
        struct term *term = column_term(analysis, column);
        column->nulled |= sets;
        column->down = column->down && !picks && term && is_own(scope, term) &&
                       (!groups || is_grouped(analysis, scope, select, term)) &&
                       (!scope->has_window || is_partitioned(analysis, scope, select, term));
    }
}

static struct item *find_item(struct scope *scope, const char *name)
{
    for (size_t i = 0; i < scope->item_count; i++)
        if (scope->items[i].by_name && strcmp(scope->items[i].name, name) == 0)
            return &scope->items[i];
    return NULL;
}

/* FOR UPDATE: rows of a reference table would be locked on one shard alone; which relations are locked. */
static void lock(struct analysis *analysis, struct scope *scope, List *clauses, struct use **first)
{
    ListCell *cell, *name;
    analysis->locking_count += clauses != NIL;
    if (clauses)
        analysis->locking = scope;
    foreach (cell, clauses) {
        LockingClause *clause = lfirst(cell);
        analysis_bar_coordinator(analysis, "it locks rows");
        bool all = !clause->lockedRels;
        foreach (name, clause->lockedRels) {
            struct item *item = find_item(scope, ((RangeVar *)lfirst(name))->relname);
            if (item && item->range->use)
                item->range->use->is_locked = true;
            else
                all = true;
        }
        analysis->facts->is_write = true;
        for (struct use *use = *first; all && use; use = use->next)
            use->is_locked = true;
    }
}

enum { TEXT = 25 };

static void values_rows(struct analysis *analysis, struct scope *scope, List *rows, struct columns *outputs)
{
    size_t width = (size_t)list_length(linitial(rows)), count = (size_t)list_length(rows);
    struct fact_value *values = analysis_new(analysis, width * count + 1, sizeof *values);
    bool *known = analysis_new(analysis, width + 1, sizeof *known), *untyped = analysis_new(analysis, width + 1, 1);
    memset(known, true, width);
    memset(untyped, true, width);
    for (size_t row = 0; row < count; row++) {
        List *list = list_nth(rows, (int)row);
        for (size_t i = 0; i < width && i < (size_t)list_length(list); i++) {
            struct operand operand = operand_of(analysis, scope, list_nth(list, (int)i));
            values[i * count + row] = operand.value;
            /* Columns of VALUES have one type for all rows: only where all say the same is it known. */
            bool same = operand.is_value && operand.value.type && operand.value.type == values[i * count].type;
            known[i] &= same;
            untyped[i] &= operand.is_value && !operand.value.type && operand.value.source == VALUE_LITERAL;
            if (operand.is_value)
                value_use(analysis, &operand.value, operand.value.type, false);
        }
    }
    for (size_t i = 0; i < width; i++) {
        struct column *column = columns_add(analysis, outputs);
        column->name = analysis_text(analysis, "column%zu", i + 1);
        if ((!known[i] && !untyped[i]) || count > ALTERNATIVES_MOST)
            continue;
        for (size_t row = 0; row < count && untyped[i]; row++)
            values[i * count + row].type = TEXT; /* select_common_type: literals of no type are texts */
        column->term = term_new(analysis, NULL, 0, false);
        column->term->type = values[i * count].type;
        column->term->is_constant = true;
        column->term->bound = (struct values){&values[i * count], count};
    }
}

/* Of equal values one is shown, and they may look unlike: 1.0 and 1.00. */
static void note_order(struct analysis *analysis, const SelectStmt *select)
{
    if (query_is_limit(select->limitCount) || query_is_limit(select->limitOffset))
        analysis_note_order(analysis, "its LIMIT or OFFSET may pick other rows");
    if (select->distinctClause || select->groupClause || (select->op != SETOP_NONE && !select->all) ||
        (select->op != SETOP_NONE && select->op != SETOP_UNION))
        analysis_note_order(analysis, "it shows one of several values that are equal");
    if (select->windowClause)
        analysis_note_order(analysis, "a window function looks at rows in their order");
}

/* What stands behind FROM; `from` is done. */
static void select_clauses(struct analysis *analysis, struct scope *scope, SelectStmt *select)
{
    condition_where(analysis, scope, filter_new(analysis, scope, 0, scope->range_count), select->whereClause);
    expression_list(analysis, scope, select->groupClause);
    expression_walk(analysis, scope, select->havingClause);
    expression_list(analysis, scope, select->windowClause);
    expression_list(analysis, scope, select->sortClause);
    expression_walk(analysis, scope, select->limitOffset);
    expression_walk(analysis, scope, select->limitCount);
    if (select->distinctClause && linitial(select->distinctClause))
        expression_list(analysis, scope, select->distinctClause);
}

static struct columns select_analyse(struct analysis *analysis, struct scope *scope, SelectStmt *select)
{
    struct columns outputs = {0};
    struct use **first = analysis->last_use;
    query_from(analysis, scope, select->fromClause);
    if (select->valuesLists)
        values_rows(analysis, scope, select->valuesLists, &outputs);
    const uint32_t *types = analysis->assigned_types;
    analysis->assigned_types = NULL;
    select_clauses(analysis, scope, select);
    analysis->assigned_types = types;
    query_targets(analysis, scope, select->targetList, &outputs);
    lock(analysis, scope, select->lockingClause, first);
    close_outputs(analysis, scope, select, &outputs);
    if (select->intoClause)
        analysis_refuse(analysis, select->intoClause->rel->location, "SELECT INTO", "It makes a table.",
                        "Make the table on every shard with pgmosaic exec --all.");
    return outputs;
}

/* A column of a set operation: of both sides' columns where they have one type. */
static struct column united_column(struct analysis *analysis, const SelectStmt *set, struct column *left,
                                   struct column *right, bool down)
{
    struct column united = {.name = left->name, .nulled = left->nulled || right->nulled};
    struct term *a = column_term(analysis, left), *b = column_term(analysis, right);
    if (!a || !b || !a->type || family_of(a->type) != family_of(b->type) || !family_of(a->type) ||
        a->nondeterministic || b->nondeterministic)
        return united;
    united.down = down;
    united.term = term_derived(analysis, NULL, term_rules(a, b) || !term_rules(b, a) ? a : b, 2);
    united.term->retyped = a->retyped || b->retyped || (!term_rules(a, b) && !term_rules(b, a));
    united.term->sources[0] = (struct term_source){a, down && left->down};
    united.term->sources[1] = (struct term_source){b, down && right->down};
    united.term->bytewise = a->bytewise && b->bytewise;
    united.term->up_any = set->op != SETOP_UNION; /* INTERSECT, EXCEPT: rows of the left side */
    return united;
}

static struct columns set_analyse(struct analysis *analysis, struct scope *scope, SelectStmt *set)
{
    analysis->assigned_types = NULL;
    struct use **first = analysis->last_use;
    struct columns left = query_analyse(analysis, scope, true, (Node *)set->larg);
    scope->left = analysis->top;
    struct columns right = query_analyse(analysis, scope, true, (Node *)set->rarg);
    scope->right = analysis->top;
    bool down = !query_is_limit(set->limitCount) && !query_is_limit(set->limitOffset) && !set->lockingClause &&
                !scope->has_volatile;
    struct columns outputs = {.opaque = left.opaque || right.opaque || left.count != right.count,
                              .unnamed = left.unnamed};
    for (size_t i = 0; i < left.count && !outputs.opaque; i++) {
        struct column *column = columns_add(analysis, &outputs);
        *column = united_column(analysis, set, &left.list[i], &right.list[i], down);
    }
    /* ORDER BY of a set operation names its outputs. */
    expression_list(analysis, scope, set->sortClause);
    expression_walk(analysis, scope, set->limitOffset);
    expression_walk(analysis, scope, set->limitCount);
    lock(analysis, scope, set->lockingClause, first);
    return outputs;
}

struct columns query_analyse(struct analysis *analysis, struct scope *parent, bool sees_parent, Node *statement)
{
    analysis_enter(analysis);
    struct columns outputs;
    if (!IsA(statement, SelectStmt)) {
        outputs = modify_analyse(analysis, parent, statement);
        analysis->top = NULL;
        analysis_leave(analysis);
        return outputs;
    }
    SelectStmt *select = (SelectStmt *)statement;
    struct use **before = analysis->last_use;
    struct scope *scope = scope_new(analysis, parent, sees_parent);
    query_with(analysis, scope, select->withClause);
    note_order(analysis, select);
    if (select->op == SETOP_NONE)
        outputs = select_analyse(analysis, scope, select);
    else
        outputs = set_analyse(analysis, scope, select);
    scope->select = select;
    scope->outputs = outputs;
    copies_note(analysis, scope, *before, NULL);
    analysis->top = scope;
    analysis_leave(analysis);
    return outputs;
}
