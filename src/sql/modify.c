/* INSERT, UPDATE, DELETE, MERGE, anywhere in a statement. What RETURNING gives are the outputs. */
#include "sql/analysis.h"

/* Is it FROM one relation, with nothing else but a list of columns? */
static bool is_plain(const SelectStmt *select)
{
    return IsA(select, SelectStmt) && select->op == SETOP_NONE && list_length(select->fromClause) == 1 &&
           IsA(linitial(select->fromClause), RangeVar) && !select->distinctClause && !select->whereClause &&
           !select->groupClause && !select->havingClause && !select->windowClause && !select->valuesLists &&
           !select->sortClause && !select->limitOffset && !select->limitCount && !select->lockingClause &&
           !select->withClause;
}

static const char *column_name(const ResTarget *target)
{
    const Node *last = IsA(target->val, ColumnRef) ? llast(((ColumnRef *)target->val)->fields) : NULL;
    return last && IsA(last, String) ? strVal(last) : "";
}

static bool is_star(List *targets)
{
    const ResTarget *target = linitial(targets);
    return list_length(targets) == 1 && IsA(target->val, ColumnRef) &&
           IsA(linitial(((ColumnRef *)target->val)->fields), A_Star);
}

/* Are the view's columns the first ones of the table, under their names? */
static bool shows_first_columns(const struct schema_relation *view, const struct schema_relation *table, List *targets)
{
    bool star = targets && is_star(targets);
    if (!view->column_count || view->column_count > table->column_count ||
        (!star && (size_t)list_length(targets) != view->column_count))
        return false;
    for (size_t i = 0; i < view->column_count; i++) {
        const char *name = table->columns[i].name;
        if (strcmp(view->columns[i].name, name) != 0 ||
            (!star && strcmp(column_name(list_nth(targets, (int)i)), name) != 0))
            return false;
    }
    return true;
}

/*
 * The table that a write to a view is one to, with the same names: PostgreSQL's automatically updatable views, of those
 * the plainest. NULL: another kind, or nothing that is known.
 */
static const struct schema_relation *written_through(struct analysis *analysis, const struct schema_relation *view)
{
    if (!view->view || view->has_rules || view->has_triggers)
        return NULL;
    struct view_names before;
    bool temporary = false;
    const SelectStmt *select = (SelectStmt *)view_enter(analysis, view, &before);
    const RangeVar *from = is_plain(select) ? linitial(select->fromClause) : NULL;
    const struct schema_relation *table =
        from && !(from->alias && from->alias->colnames) ? name_relation(analysis, from, &temporary) : NULL;
    view_leave(analysis, &before);
    bool is_table = table && !temporary && (table->kind == 'r' || table->kind == 'p');
    return is_table && shows_first_columns(view, table, select->targetList) ? table : NULL;
}

static struct range *target_range(struct analysis *analysis, struct scope *scope, RangeVar *name, int how)
{
    bool temporary;
    const struct schema_relation *named = name_relation(analysis, name, &temporary), *relation = named;
    analysis->facts->is_write = true;
    if (named && named->kind == 'v' && named->placement == PLACE_HOME) {
        relation = written_through(analysis, named);
        if (!relation)
            analysis_refuse(
                analysis, name->location,
                analysis_text(analysis, "%s is a view: what a write to it does is not analysed", named->name), NULL,
                "Write to the table.");
    }
    struct range *range = range_new(analysis, scope);
    range_relation(analysis, range, relation);
    if (named && named != relation && !range->columns.opaque)
        range->columns.count = named->column_count;
    if (relation) {
        struct use *use = use_add(analysis, range, relation, name->location, name->inh || named != relation);
        use->is_target = true;
        use_written(analysis, use, how);
    } else {
        analysis->facts->needs_home = analysis->home_else = true;
    }
    const char *shown = analysis_copy(analysis, name->alias ? name->alias->aliasname : name->relname);
    item_add(analysis, scope, shown, name->alias || !named ? NULL : named->schema, range);
    return range;
}

static bool is_sharded(const struct range *range)
{
    return range->relation && range->relation->placement == PLACE_SHARDED;
}

/* Of the statement itself, not of a WITH query. */
static void note_written(struct analysis *analysis, struct scope *scope, const void *statement, const RangeVar *name,
                         struct range *target)
{
    bool temporary;
    if (!scope->parent)
        analysis->written = (struct written){.statement = statement,
                                             .target = target,
                                             .named = name_relation(analysis, name, &temporary),
                                             .scope = scope};
}

/* What a SET stores, where it is a value. */
static void note_stored(struct analysis *analysis, const struct range *target, const ResTarget *set)
{
    struct fact_value value;
    const struct schema_column *column = target->relation ? schema_column(target->relation, set->name) : NULL;
    if (column && !set->indirection && operand_value(analysis, set->val, &value))
        clock_stored(analysis, &value, column->type);
}

static struct columns returning(struct analysis *analysis, struct scope *scope, List *list)
{
    struct columns outputs = {0};
    query_targets(analysis, scope, list, &outputs);
    for (size_t i = 0; i < outputs.count; i++)
        outputs.list[i].down = false; /* a condition on what a write returns does not undo the write */
    return outputs;
}

/* ---- UPDATE … SET ---- */

/* The key column that a target sets; SIZE_MAX: none. */
static size_t key_index(const struct range *range, const char *name)
{
    const struct table *table = range->relation->table;
    for (size_t i = 0; i < table->column_count; i++)
        if (strcmp(table->columns[i], name) == 0)
            return i;
    return SIZE_MAX;
}

static void assign(struct analysis *analysis, struct scope *scope, struct range *range, ResTarget *target)
{
    struct use *use = range->use;
    size_t key = use && is_sharded(use->range) ? key_index(use->range, target->name) : SIZE_MAX;
    if (key == SIZE_MAX || target->indirection) {
        expression_walk(analysis, scope, (Node *)target);
        note_stored(analysis, range, target);
        return;
    }
    const struct schema_column *column = schema_column(use->range->relation, target->name);
    uint32_t type = column ? schema_base_type(analysis->schema, column->type, NULL) : 0;
    struct operand operand = operand_of(analysis, scope, target->val);
    use->is_assigned[key] = true;
    if (operand.is_value) {
        value_use(analysis, &operand.value, operand.value.type ? operand.value.type : type, true);
        if (!operand.value.type)
            operand.value.type = type;
        operand.term = operand_constant(analysis, &operand.value);
    }
    use->assigned[key] = operand.term;
}

static void assign_all(struct analysis *analysis, struct scope *scope, struct range *target, List *targets)
{
    struct use *use = target->use;
    const struct use before = use ? *use : (struct use){0};
    if (use && is_sharded(target)) {
        use->is_assigned = analysis_new(analysis, KEY_COLUMNS_MAX, sizeof *use->is_assigned);
        use->assigned = analysis_new(analysis, KEY_COLUMNS_MAX, sizeof(struct term *));
    }
    ListCell *cell;
    foreach (cell, targets)
        assign(analysis, scope, target, lfirst(cell));
    /* Of two clauses of MERGE either may do it. */
    for (size_t i = 0; before.is_assigned && i < KEY_COLUMNS_MAX; i++) {
        if (before.is_assigned[i] && use->assigned[i] != before.assigned[i])
            use->assigned[i] = use->is_assigned[i] ? NULL : before.assigned[i];
        use->is_assigned[i] |= before.is_assigned[i];
    }
}

/* ---- INSERT ---- */

/* Which of the inserted columns is which of the key's; -1: not given. */
static bool key_positions(struct analysis *analysis, const struct range *range, List *columns, int *positions,
                          const char **absent)
{
    const struct table *table = range->relation->table;
    (void)analysis;
    for (size_t i = 0; i < table->column_count; i++) {
        positions[i] = -1;
        for (int c = 0; c < list_length(columns); c++)
            if (strcmp(((ResTarget *)list_nth(columns, c))->name, table->columns[i]) == 0)
                positions[i] = ((ResTarget *)list_nth(columns, c))->indirection ? -1 : c;
        for (size_t c = 0; !columns && c < range->relation->column_count; c++)
            if (strcmp(range->relation->columns[c].name, table->columns[i]) == 0)
                positions[i] = (int)c;
        if (positions[i] < 0)
            return *absent = table->columns[i], false;
    }
    return true;
}

static uint32_t *insert_types(struct analysis *analysis, const struct range *range, List *columns, size_t *count)
{
    const struct schema_relation *relation = range->relation;
    *count = columns ? (size_t)list_length(columns) : relation->column_count;
    uint32_t *types = analysis_new(analysis, *count + 1, sizeof *types);
    for (size_t i = 0; i < *count; i++) {
        const struct schema_column *column =
            columns ? schema_column(relation, ((ResTarget *)list_nth(columns, (int)i))->name) : &relation->columns[i];
        types[i] = column ? schema_base_type(analysis->schema, column->type, NULL) : 0;
    }
    return types;
}

static void unbound(struct analysis *analysis, struct use *use, const char *why, const char *remedy)
{
    use->fact.is_bound = false;
    use->fact.missing = analysis_copy(analysis, why);
    use->fact.remedy = analysis_copy(analysis, remedy);
}

static void walk_rows(struct analysis *analysis, struct scope *scope, List *rows, const uint32_t *types, size_t count,
                      const int *positions, size_t width, struct use *use)
{
    size_t row_count = (size_t)list_length(rows);
    struct fact_value *keys = analysis_new(analysis, row_count * width + 1, sizeof *keys);
    for (size_t row = 0; row < row_count; row++) {
        List *list = list_nth(rows, (int)row);
        for (int c = 0; c < list_length(list); c++) {
            struct operand operand = operand_of(analysis, scope, list_nth(list, c));
            uint32_t type = (size_t)c < count ? types[c] : 0;
            bool is_key = false;
            for (size_t i = 0; i < width; i++) {
                if (positions[i] != c)
                    continue;
                is_key = true;
                if (!operand.is_value) {
                    unbound(analysis, use,
                            analysis_text(analysis, "the value of %s in a row of VALUES is no literal or parameter",
                                          use->fact.relation->table->columns[i]),
                            "Give the key as a literal or a parameter.");
                    positions = NULL, width = 0;
                    break;
                }
                keys[row * width + i] = operand.value;
                keys[row * width + i].is_assigned = true;
                if (!operand.value.type)
                    keys[row * width + i].type = type;
            }
            if (operand.is_value) {
                value_use(analysis, &operand.value, operand.value.type ? operand.value.type : type, is_key);
                clock_stored(analysis, &operand.value, type);
            }
        }
        for (size_t i = 0; i < width; i++)
            if (list_length(list) <= positions[i])
                width = 0; /* what is not given is a default */
    }
    if (width) {
        use->fact.is_bound = true;
        use->fact.keys = (struct fact_keys){keys, row_count, width};
    } else if (use && !use->fact.missing) {
        unbound(analysis, use, "a row of VALUES has no key", "Give the key in each row.");
    }
}

/* INSERT … SELECT: the query's columns are the keys; bound when it is known what they may be. */
static void insert_query(struct analysis *analysis, struct use *use, const struct columns *columns,
                         const int *positions)
{
    const struct table *table = use->fact.relation->table;
    use->assigned = analysis_new(analysis, KEY_COLUMNS_MAX, sizeof *use->assigned);
    for (size_t i = 0; i < table->column_count; i++) {
        size_t at = (size_t)positions[i];
        use->assigned[i] = at < columns->count && !columns->opaque ? column_term(analysis, &columns->list[at]) : NULL;
    }
}

static void insert_rows(struct analysis *analysis, struct scope *scope, InsertStmt *insert, struct range *target)
{
    struct use *use = target->use;
    bool sharded = is_sharded(target);
    int positions[KEY_COLUMNS_MAX];
    size_t width = sharded ? target->relation->table->column_count : 0, type_count = 0;
    const char *absent = NULL;
    if (use)
        use->is_inserted = true;
    if (sharded && !key_positions(analysis, target, insert->cols, positions, &absent)) {
        unbound(analysis, use, analysis_text(analysis, "the INSERT gives no value for the key column %s", absent),
                analysis_text(analysis, "Give a value for %s: a default is known only where it is computed.", absent));
        width = 0;
    }
    if (width && insert->override == OVERRIDING_USER_VALUE) {
        unbound(analysis, use, "OVERRIDING USER VALUE replaces the key by a default", "Leave it out.");
        width = 0;
    }
    uint32_t *types = target->relation ? insert_types(analysis, target, insert->cols, &type_count) : NULL;
    SelectStmt *select = (SelectStmt *)insert->selectStmt;
    if (!select) {
        if (width)
            unbound(analysis, use, "DEFAULT VALUES gives no key", "Give the key.");
        return;
    }
    bool rows = select->valuesLists && !select->withClause && !select->sortClause && !select->limitCount &&
                !select->limitOffset;
    if (rows) {
        walk_rows(analysis, scope, select->valuesLists, types, type_count, positions, width, width ? use : NULL);
        return;
    }
    analysis->assigned_types = types;
    analysis->assigned_type_count = type_count;
    struct columns columns = query_analyse(analysis, scope, false, insert->selectStmt);
    if (analysis->written.target == target)
        analysis->written.query = analysis->top;
    analysis->assigned_types = NULL;
    if (width)
        insert_query(analysis, use, &columns, positions);
}

/* ON CONFLICT: the row in the way has the key of the new one, since a unique index of a sharded table has the key. */
static void on_conflict(struct analysis *analysis, struct scope *scope, OnConflictClause *clause, struct range *target)
{
    if (!clause)
        return;
    ListCell *cell;
    foreach (cell, clause->infer ? clause->infer->indexElems : NIL)
        expression_walk(analysis, scope, ((IndexElem *)lfirst(cell))->expr);
    if (clause->infer)
        expression_walk(analysis, scope, clause->infer->whereClause);
    struct range *excluded = range_new(analysis, scope);
    range_relation(analysis, excluded, target->relation);
    struct item *item = item_add(analysis, scope, "excluded", NULL, excluded);
    item->by_column = false;
    foreach (cell, clause->targetList) {
        ResTarget *set = lfirst(cell);
        expression_walk(analysis, scope, (Node *)set);
        note_stored(analysis, target, set);
        if (!is_sharded(target) || key_index(target, set->name) == SIZE_MAX)
            continue;
        bool same = IsA(set->val, ColumnRef) && list_length(((ColumnRef *)set->val)->fields) == 2 &&
                    strcmp(strVal(linitial(((ColumnRef *)set->val)->fields)), "excluded") == 0 &&
                    strcmp(strVal(lsecond(((ColumnRef *)set->val)->fields)), set->name) == 0;
        if (!same)
            analysis_refuse(analysis, set->location,
                            analysis_text(analysis, "ON CONFLICT sets the key column %s", set->name), NULL,
                            "Leave it out: a row in the way has the same key already.");
    }
    expression_walk(analysis, scope, clause->whereClause);
    scope->item_count--;
}

/* What is inserted is what RETURNING gives: the key's terms are made of it. */
static void returned_keys(struct analysis *analysis, struct range *target)
{
    struct use *use = target->use;
    if (!is_sharded(target))
        return;
    const struct table *table = target->relation->table;
    for (size_t i = 0; i < table->column_count; i++) {
        struct column *column = columns_find(&target->columns, table->columns[i]);
        struct term *term = column ? column_term(analysis, column) : NULL;
        if (!term)
            continue;
        size_t rows = use->fact.keys.alternatives, width = use->fact.keys.columns;
        if (use->fact.is_bound && rows <= ALTERNATIVES_MOST) {
            struct fact_value *list = analysis_new(analysis, rows + 1, sizeof *list);
            for (size_t row = 0; row < rows; row++)
                list[row] = use->fact.keys.values[row * width + i];
            term->is_constant = true;
            term->bound = (struct values){list, rows};
        } else if (use->assigned && use->assigned[i] && family_of(use->assigned[i]->type) == family_of(term->type)) {
            term->sources = analysis_new(analysis, 1, sizeof *term->sources);
            term->sources[0] = (struct term_source){use->assigned[i], false};
            term->source_count = 1;
            term->next = analysis->derived;
            analysis->derived = term;
        }
    }
}

static struct columns insert_analyse(struct analysis *analysis, struct scope *scope, InsertStmt *insert)
{
    query_with(analysis, scope, insert->withClause);
    struct scope *rows = scope_new(analysis, scope, true);
    const OnConflictClause *conflict = insert->onConflictClause;
    int how = conflict && conflict->action == ONCONFLICT_UPDATE ? WRITTEN_UPDATED : 0;
    struct range *target = target_range(analysis, scope, insert->relation, how);
    note_written(analysis, scope, insert, insert->relation, target);
    if (analysis->written.target == target)
        analysis->written.rows = rows;
    scope->visible_from = scope->item_count; /* the rows do not see the table */
    insert_rows(analysis, rows, insert, target);
    scope->visible_from = 0;
    on_conflict(analysis, scope, insert->onConflictClause, target);
    returned_keys(analysis, target);
    return returning(analysis, scope, insert->returningList);
}

static struct columns update_analyse(struct analysis *analysis, struct scope *scope, UpdateStmt *update)
{
    query_with(analysis, scope, update->withClause);
    struct range *target = target_range(analysis, scope, update->relation, WRITTEN_UPDATED);
    note_written(analysis, scope, update, update->relation, target);
    query_from(analysis, scope, update->fromClause);
    condition_where(analysis, scope, filter_new(analysis, scope, 0, scope->range_count), update->whereClause);
    assign_all(analysis, scope, target, update->targetList);
    return returning(analysis, scope, update->returningList);
}

static struct columns delete_analyse(struct analysis *analysis, struct scope *scope, DeleteStmt *delete)
{
    query_with(analysis, scope, delete->withClause);
    struct range *target = target_range(analysis, scope, delete->relation, WRITTEN_DELETED);
    note_written(analysis, scope, delete, delete->relation, target);
    query_from(analysis, scope, delete->usingClause);
    condition_where(analysis, scope, filter_new(analysis, scope, 0, scope->range_count), delete->whereClause);
    return returning(analysis, scope, delete->returningList);
}

/* ---- MERGE ---- */

static void merge_insert(struct analysis *analysis, struct scope *scope, MergeWhenClause *when, struct range *target)
{
    ListCell *cell;
    int at = 0, positions[KEY_COLUMNS_MAX];
    const char *absent = NULL;
    struct use *use = target->use;
    if (!is_sharded(target)) {
        expression_list(analysis, scope, when->values);
        return;
    }
    if (!key_positions(analysis, target, when->targetList, positions, &absent))
        analysis_refuse(analysis, -1, analysis_text(analysis, "MERGE inserts rows without the key column %s", absent),
                        NULL, "Give the key.");
    if (when->override == OVERRIDING_USER_VALUE)
        analysis_refuse(analysis, -1, "OVERRIDING USER VALUE may replace the key by a default", NULL, "Leave it out.");
    struct use *inserted = use_add(analysis, NULL, target->relation, use->fact.location, false);
    inserted->fact.is_written = inserted->is_inserted = true;
    inserted->assigned = analysis_new(analysis, KEY_COLUMNS_MAX, sizeof *inserted->assigned);
    size_t type_count;
    uint32_t *types = insert_types(analysis, target, when->targetList, &type_count);
    foreach (cell, when->values) {
        struct operand operand = operand_of(analysis, scope, lfirst(cell));
        uint32_t type = (size_t)at < type_count ? types[at] : 0;
        bool is_key = false;
        for (size_t i = 0; i < target->relation->table->column_count; i++)
            if (positions[i] == at) {
                is_key = true;
                if (operand.is_value && !operand.value.type)
                    operand.value.type = type;
                inserted->assigned[i] = operand.is_value ? operand_constant(analysis, &operand.value) : operand.term;
            }
        if (operand.is_value) {
            value_use(analysis, &operand.value, operand.value.type ? operand.value.type : type, is_key);
            clock_stored(analysis, &operand.value, type);
        }
        at++;
    }
}

bool modify_only_matched(const MergeStmt *merge)
{
    const ListCell *cell;
    foreach (cell, merge->mergeWhenClauses) {
        const MergeWhenClause *when = lfirst(cell);
        if (!when->matched && (when->commandType != CMD_NOTHING || when->condition))
            return false;
    }
    return true;
}

static int merge_how(const MergeStmt *merge)
{
    const ListCell *cell;
    int how = 0;
    foreach (cell, merge->mergeWhenClauses) {
        CmdType command = ((const MergeWhenClause *)lfirst(cell))->commandType;
        how |= command == CMD_UPDATE ? WRITTEN_UPDATED : command == CMD_DELETE ? WRITTEN_DELETED : 0;
    }
    return how;
}

/*
 * MERGE joins the target to the source, like a LEFT JOIN of the target where there is WHEN NOT MATCHED: its condition
 * filters the target in any case, the source only where nothing is done for what is not matched.
 */
static struct columns merge_analyse(struct analysis *analysis, struct scope *scope, MergeStmt *merge)
{
    query_with(analysis, scope, merge->withClause);
    struct range *target = target_range(analysis, scope, merge->relation, merge_how(merge));
    note_written(analysis, scope, merge, merge->relation, target);
    query_from_item(analysis, scope, merge->sourceRelation);
    ListCell *cell;
    struct filter *filter = filter_new(analysis, scope, 0, modify_only_matched(merge) ? scope->range_count : 1);
    condition_where(analysis, scope, filter, merge->joinCondition);
    foreach (cell, merge->mergeWhenClauses) {
        MergeWhenClause *when = lfirst(cell);
        expression_walk(analysis, scope, when->condition);
        if (when->commandType == CMD_UPDATE)
            assign_all(analysis, scope, target, when->targetList);
        else if (when->commandType == CMD_INSERT)
            merge_insert(analysis, scope, when, target);
    }
    return (struct columns){.opaque = true};
}

struct columns modify_analyse(struct analysis *analysis, struct scope *parent, Node *statement)
{
    struct scope *scope = scope_new(analysis, parent, false);
    switch (nodeTag(statement)) {
    case T_InsertStmt:
        return insert_analyse(analysis, scope, (InsertStmt *)statement);
    case T_UpdateStmt:
        return update_analyse(analysis, scope, (UpdateStmt *)statement);
    case T_DeleteStmt:
        return delete_analyse(analysis, scope, (DeleteStmt *)statement);
    case T_MergeStmt:
        return merge_analyse(analysis, scope, (MergeStmt *)statement);
    default:
        analysis_refuse(analysis, -1, "a statement that no rule knows", NULL, NULL);
    }
}
