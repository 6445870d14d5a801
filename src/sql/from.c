/* FROM: ranges of relations, views, subqueries and functions, and what joins make of them. */
#include "sql/analysis.h"

/* A range of the columns of a query: each a term of its own, made of the query's. */
static struct range *range_of_columns(struct analysis *analysis, struct scope *scope, const struct columns *inner,
                                      struct common *common)
{
    struct range *range = range_new(analysis, scope);
    range->columns.opaque = inner->opaque;
    range->columns.unnamed = inner->unnamed;
    range->columns.count = inner->count;
    range->columns.list = analysis_new(analysis, inner->count ? inner->count : 1, sizeof *inner->list);
    for (size_t i = 0; i < inner->count; i++) {
        struct term *source = column_term(analysis, &inner->list[i]);
        range->columns.list[i].name = inner->list[i].name;
        if (!source)
            continue;
        struct term *term = term_derived(analysis, range, source, 1);
        term->sources[0] = (struct term_source){source, inner->list[i].down};
        term->common = common;
        term->nulled = inner->list[i].nulled;
        range->columns.list[i].term = term;
        range->columns.list[i].down = true;
    }
    return range;
}

static void alias_columns(struct analysis *analysis, struct range *range, const Alias *alias)
{
    if (alias)
        columns_rename(analysis, &range->columns, alias->colnames);
}

Node *view_enter(struct analysis *analysis, const struct schema_relation *view, struct view_names *before)
{
    const List *statements = parse_more(analysis->parse, view->view, strlen(view->view));
    if (list_length(statements) != 1)
        analysis_refuse(analysis, -1, analysis_text(analysis, "view %s.%s cannot be read", view->schema, view->name),
                        NULL, NULL);
    static const char *const own_names[] = {"pg_catalog"};
    *before = (struct view_names){analysis->in_view, analysis->path, analysis->path_count};
    analysis->in_view = true;
    analysis->path = view->view_path ? view->view_path : own_names;
    analysis->path_count = view->view_path ? view->view_path_count : 1;
    return ((RawStmt *)linitial(statements))->stmt;
}

void view_leave(struct analysis *analysis, const struct view_names *before)
{
    analysis->in_view = before->in_view;
    analysis->path = before->path, analysis->path_count = before->path_count;
}

/* A view's text is analysed where the view stands, with nothing around it. */
static struct columns view_columns(struct analysis *analysis, const struct schema_relation *view)
{
    struct columns none = {.opaque = true};
    struct view_names before;
    Node *query = view_enter(analysis, view, &before);
    struct columns columns = query_analyse(analysis, NULL, false, query);
    view_leave(analysis, &before);
    if (columns.opaque || columns.count != view->column_count)
        return none;
    struct column *named = analysis_new(analysis, columns.count ? columns.count : 1, sizeof *named);
    for (size_t i = 0; i < columns.count; i++)
        named[i] = columns.list[i], named[i].name = view->columns[i].name;
    columns.list = named;
    return columns;
}

/*
 * An unknown relation is the home shard's to know or to refuse. So is a view that reads no table: nothing says where it
 * stands, and CREATE VIEW makes it there.
 */
static struct range *range_of_relation(struct analysis *analysis, struct scope *scope, const RangeVar *name)
{
    bool temporary;
    const struct schema_relation *relation = name_relation(analysis, name, &temporary);
    if (relation && relation->kind == 'v' && relation->view && relation->placement == PLACE_HOME) {
        size_t before = analysis->use_count;
        struct columns columns = view_columns(analysis, relation);
        if (analysis->use_count > before)
            return range_of_columns(analysis, scope, &columns, NULL);
    }
    struct range *range = range_new(analysis, scope);
    range_relation(analysis, range, relation);
    if (relation) {
        use_add(analysis, range, relation, name->location, name->inh);
    } else {
        analysis->facts->needs_home = analysis->home_else = true;
        analysis_bar_several(analysis, "it names a relation that is not known, or temporary");
    }
    return range;
}

static void from_relation(struct analysis *analysis, struct scope *scope, RangeVar *name)
{
    struct common *common = name_common(scope, name);
    struct range *range;
    const char *schema = NULL;
    if (common) {
        if (common->is_later) {
            analysis_unproved(analysis, name->location, "a WITH query that names a later one", NULL);
            common->columns.opaque = true;
        }
        common->references++;
        range = range_of_columns(analysis, scope, &common->columns, common);
    } else {
        range = range_of_relation(analysis, scope, name);
        schema = range->relation ? range->relation->schema : NULL;
    }
    alias_columns(analysis, range, name->alias);
    const char *shown = analysis_copy(analysis, name->alias ? name->alias->aliasname : name->relname);
    item_add(analysis, scope, shown, name->alias ? NULL : schema, range);
}

static void from_subquery(struct analysis *analysis, struct scope *scope, RangeSubselect *node)
{
    struct columns columns = query_analyse(analysis, scope, node->lateral, node->subquery);
    struct range *range = range_of_columns(analysis, scope, &columns, NULL);
    alias_columns(analysis, range, node->alias);
    item_add(analysis, scope, node->alias ? analysis_copy(analysis, node->alias->aliasname) : NULL, NULL, range);
}

/* What a function gives: its columns are not known, but nothing bounds them anyway. */
static void from_function(struct analysis *analysis, struct scope *scope, RangeFunction *node)
{
    bool before = scope->has_set_function;
    const char *name = NULL;
    ListCell *cell;
    foreach (cell, node->functions) {
        Node *call = linitial((List *)lfirst(cell));
        expression_walk(analysis, scope, call);
        if (IsA(call, FuncCall))
            name = strVal(llast(((FuncCall *)call)->funcname));
    }
    scope->has_set_function = before;
    struct range *range = range_new(analysis, scope);
    range->columns.opaque = true;
    if (node->alias)
        name = node->alias->aliasname;
    item_add(analysis, scope, name ? analysis_copy(analysis, name) : NULL, NULL, range);
}

static void from_table_function(struct analysis *analysis, struct scope *scope, RangeTableFunc *node)
{
    analysis->facts->reads_clock = analysis->clock_else = true; /* a column of a time may be read of 'now' */
    expression_walk(analysis, scope, node->docexpr);
    expression_walk(analysis, scope, node->rowexpr);
    expression_list(analysis, scope, node->namespaces);
    ListCell *cell;
    foreach (cell, node->columns) {
        RangeTableFuncCol *column = lfirst(cell);
        expression_walk(analysis, scope, column->colexpr);
        expression_walk(analysis, scope, column->coldefexpr);
    }
    struct range *range = range_new(analysis, scope);
    range->columns.opaque = true;
    item_add(analysis, scope, node->alias ? analysis_copy(analysis, node->alias->aliasname) : "xmltable", NULL, range);
}

/* TABLESAMPLE takes rows at random, but the sample of a filtered table is filtered: the same sample, by block. Refused
 * for sharded tables all the same: REPEATABLE promises the same rows as one PostgreSQL's. */
static void from_sample(struct analysis *analysis, struct scope *scope, RangeTableSample *node)
{
    analysis_bar_coordinator(analysis, "TABLESAMPLE is not for foreign tables");
    analysis_bar_scatter(analysis, "TABLESAMPLE would take another sample on each shard");
    query_from_item(analysis, scope, node->relation);
    expression_list(analysis, scope, node->args);
    expression_walk(analysis, scope, node->repeatable);
    struct range *range = scope->items[scope->item_count - 1].range;
    if (range->use && range->use->fact.relation->placement == PLACE_SHARDED)
        analysis_refuse(analysis, node->location, "TABLESAMPLE of a sharded table", NULL, NULL);
}

void from_star(struct analysis *analysis, struct scope *scope, size_t first, size_t last, struct columns *columns)
{
    for (size_t i = first; i < last; i++) {
        struct item *item = &scope->items[i];
        if (!item->by_column)
            continue;
        const struct columns *from = &item->range->columns;
        columns->opaque |= from->opaque;
        columns->unnamed |= from->unnamed;
        for (size_t c = 0; c < from->count; c++) {
            struct column *to = columns_add(analysis, columns);
            *to = from->list[c];
            to->down = true;
        }
    }
}

struct side { /* of a join */
    size_t first_item, last_item, first_range, last_range;
    struct columns columns;
};

static struct side join_side(struct analysis *analysis, struct scope *scope, Node *node)
{
    struct side side = {.first_item = scope->item_count, .first_range = scope->range_count};
    query_from_item(analysis, scope, node);
    side.last_item = scope->item_count;
    side.last_range = scope->range_count;
    return side;
}

/* Which ranges a join's condition filters: those that it can make disappear. */
static struct filter join_filter(struct scope *scope, JoinType type, const struct side *left, const struct side *right)
{
    switch (type) {
    case JOIN_INNER:
        return (struct filter){scope, left->first_range, right->last_range};
    case JOIN_LEFT:
        return (struct filter){scope, right->first_range, right->last_range};
    case JOIN_RIGHT:
        return (struct filter){scope, left->first_range, left->last_range};
    case JOIN_FULL:
    default:
        return (struct filter){scope, 0, 0};
    }
}

/* The column that USING makes of two: the left one, or the right one, or in a FULL JOIN either. */
static struct column merged_column(struct analysis *analysis, struct range *range, JoinType type, const char *name,
                                   struct column *left, struct column *right)
{
    struct column merged = {.name = name, .down = true};
    struct term *a = left ? column_term(analysis, left) : NULL, *b = right ? column_term(analysis, right) : NULL;
    analysis->mixes_types |= !a || !b || a->domain != b->domain || a->plain != b->plain || a->bytewise != b->bytewise;
    if (a)
        a->mixed |= !b || a->domain != b->domain;
    if (b)
        b->mixed |= !a || a->domain != b->domain;
    struct term *shown = type == JOIN_RIGHT ? b : a, *other = type == JOIN_RIGHT ? a : b;
    if (type != JOIN_FULL) {
        merged.term = shown;
        if (shown)
            shown->retyped |= !term_rules(shown, other);
    } else if (a && b && family_of(a->type) == family_of(b->type) && family_of(a->type) && !a->nondeterministic &&
               !b->nondeterministic) {
        merged.term = term_derived(analysis, range, term_rules(a, b) || !term_rules(b, a) ? a : b, 2);
        merged.term->retyped |= a->retyped || b->retyped || (!term_rules(a, b) && !term_rules(b, a));
        merged.term->sources[0] = (struct term_source){a, true};
        merged.term->sources[1] = (struct term_source){b, true};
    }
    return merged;
}

static void natural_names(const struct columns *left, const struct columns *right, struct analysis *analysis,
                          const char ***names, size_t *count)
{
    *names = analysis_new(analysis, left->count + 1, sizeof **names);
    *count = 0;
    for (size_t i = 0; i < left->count; i++)
        if (left->list[i].name && columns_find(right, left->list[i].name))
            (*names)[(*count)++] = left->list[i].name;
}

/* USING and NATURAL: conditions, and the columns of the join. */
static void join_using(struct analysis *analysis, JoinExpr *join, struct side *left, struct side *right,
                       const struct filter *filter, struct range *range)
{
    const char **names = NULL;
    size_t count = (size_t)list_length(join->usingClause);
    struct columns *columns = &range->columns;
    columns->opaque = left->columns.opaque || right->columns.opaque;
    columns->unnamed = left->columns.unnamed || right->columns.unnamed;
    if (join->isNatural) {
        natural_names(&left->columns, &right->columns, analysis, &names, &count);
        if (columns->opaque || columns->unnamed)
            count = 0;
    } else {
        names = analysis_new(analysis, count + 1, sizeof *names);
        for (size_t i = 0; i < count; i++)
            names[i] = analysis_copy(analysis, strVal(list_nth(join->usingClause, (int)i)));
    }
    size_t most = count + left->columns.count + right->columns.count;
    columns->list = analysis_new(analysis, most + 1, sizeof *columns->list);
    for (size_t i = 0; i < count; i++) {
        struct column *a = columns_find(&left->columns, names[i]), *b = columns_find(&right->columns, names[i]);
        if (a && b)
            condition_equal(analysis, filter, column_term(analysis, a), column_term(analysis, b));
        columns->list[columns->count++] = merged_column(analysis, range, join->jointype, names[i], a, b);
    }
    struct columns merged = {columns->list, count, false};
    for (int side = 0; side < 2; side++) {
        const struct columns *from = side ? &right->columns : &left->columns;
        for (size_t i = 0; i < from->count; i++)
            if (!from->list[i].name || !columns_find(&merged, from->list[i].name))
                columns->list[columns->count++] = from->list[i];
    }
    if (join->isNatural && (columns->opaque || columns->unnamed)) /* which columns are merged is not known */
        for (size_t i = 0; i < columns->count; i++)
            columns->list[i] = (struct column){.name = columns->list[i].name};
}

/* Names of the join's sides that no longer stand alone. */
static void hide_items(struct scope *scope, size_t first, size_t last, bool names)
{
    for (size_t i = first; i < last; i++) {
        scope->items[i].by_column = false;
        if (names)
            scope->items[i].by_name = false;
    }
}

static void note_join(struct analysis *analysis, struct scope *scope, JoinType type, const struct side *left,
                      const struct side *right, struct filter *filter)
{
    if (type == JOIN_INNER)
        return;
    struct join *join = analysis_new(analysis, 1, sizeof *join);
    *join = (struct join){type, left->first_range, left->last_range, right->last_range, filter, scope->joins};
    scope->joins = join;
}

static void from_join(struct analysis *analysis, struct scope *scope, JoinExpr *join)
{
    struct side left = join_side(analysis, scope, join->larg), right = join_side(analysis, scope, join->rarg);
    struct filter *filter = filter_new(analysis, scope, 0, 0);
    *filter = join_filter(scope, join->jointype, &left, &right);
    note_join(analysis, scope, join->jointype, &left, &right, filter);
    if (join->join_using_alias)
        analysis_unproved(analysis, -1, "JOIN … USING (…) AS", "Leave the alias out.");
    size_t before = scope->visible_from;
    scope->visible_from = left.first_item;
    condition_where(analysis, scope, filter, join->quals);
    scope->visible_from = before;
    bool merges = join->isNatural || join->usingClause;
    if (!merges && !join->alias)
        return;
    from_star(analysis, scope, left.first_item, left.last_item, &left.columns);
    from_star(analysis, scope, right.first_item, right.last_item, &right.columns);
    struct range *range = range_new(analysis, scope);
    join_using(analysis, join, &left, &right, filter, range);
    hide_items(scope, left.first_item, right.last_item, join->alias != NULL);
    alias_columns(analysis, range, join->alias);
    item_add(analysis, scope, join->alias ? analysis_copy(analysis, join->alias->aliasname) : NULL, NULL, range);
}

void query_from_item(struct analysis *analysis, struct scope *scope, Node *node)
{
    analysis_enter(analysis);
    switch (nodeTag(node)) {
    case T_RangeVar:
        from_relation(analysis, scope, (RangeVar *)node);
        break;
    case T_RangeSubselect:
        from_subquery(analysis, scope, (RangeSubselect *)node);
        break;
    case T_RangeFunction:
        from_function(analysis, scope, (RangeFunction *)node);
        break;
    case T_RangeTableFunc:
        from_table_function(analysis, scope, (RangeTableFunc *)node);
        break;
    case T_RangeTableSample:
        from_sample(analysis, scope, (RangeTableSample *)node);
        break;
    case T_JoinExpr:
        from_join(analysis, scope, (JoinExpr *)node);
        break;
    default:
        analysis_refuse(analysis, -1, "something in FROM that no rule knows", NULL, NULL);
    }
    analysis_leave(analysis);
}

void query_from(struct analysis *analysis, struct scope *scope, List *from)
{
    ListCell *cell;
    foreach (cell, from)
        query_from_item(analysis, scope, lfirst(cell));
}
