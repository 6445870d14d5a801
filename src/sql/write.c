/*
 * May several shards do, each for itself and in one transaction, what the statement writes?
 *
 *     UPDATE t SET v = v + 1 FROM u WHERE u.tid = t.id AND u.w > 3
 *              suppose: t.id = κ; then the solver finds: u.tid = κ
 *
 * Each row that is changed is of the target, and has one key; so what is changed is the disjoint union, over all keys
 * κ, of what is changed of κ's rows, and these need nothing of another shard where every sharded range of the statement
 * is bound to κ (docs/design/proof.md). It is tier 2's proof, with the target as its driver.
 */
#include "sql/moment.h"
#include "sql/rows.h"
#include "sql/scatter.h"
#include "sql/words.h"

/* ---- what no several servers may be asked ---- */

static const struct use *other_written(const struct analysis *analysis, bool locks)
{
    const struct use *target = analysis->written.target->use;
    for (const struct use *use = analysis->uses; use; use = use->next) {
        bool inserts = use->is_inserted && use->range; /* without: MERGE's own, of the target */
        if (use != target && (use->is_target || inserts || (use->is_locked && !locks)))
            return use;
    }
    return NULL;
}

/* A clause; NULL: nothing was seen. */
static const char *look_at_all(struct analysis *analysis, bool picks)
{
    const struct facts *facts = analysis->facts;
    if (analysis->scatter_bars)
        return analysis->scatter_bars;
    if (!analysis->alone || analysis->scan->cannot)
        return "its text is not one statement that is understood";
    if (facts->needs_home)
        return "it needs what is on the home shard alone";
    if (facts->changes_session)
        return "it changes the session";
    if (!other_written(analysis, picks))
        return NULL;
    if (analysis->locking_count)
        analysis->facts->write_remedy =
            "Write WHERE key = (SELECT key FROM the same table … FOR UPDATE SKIP LOCKED LIMIT 1); "
            "or lock the rows by a SELECT, and change them by their keys.";
    return "it writes or locks rows of more than one table";
}

/* ---- UPDATE and DELETE of sharded rows ---- */

bool write_keeps_key(struct analysis *analysis, const struct use *use)
{
    for (size_t i = 0; use->is_assigned && i < use->fact.relation->table->column_count; i++) {
        const struct term *own = prove_key(analysis, use->range, i), *set = use->assigned[i];
        bool equal = set && own && !set->nondeterministic && family_of(set->type) == family_of(own->type);
        if (use->is_assigned[i] && set != own && !(equal && split_holds(set, i)))
            return false;
    }
    return true;
}

static const char *check_own(struct analysis *analysis, struct fact_write *write, const struct use *target)
{
    for (const struct use *use = analysis->uses; use; use = use->next) {
        bool sharded = use->fact.relation->placement == PLACE_SHARDED;
        const char *reason = sharded ? split_unbound(analysis, target->fact.relation->table, use) : NULL;
        if (reason)
            return reason;
    }
    if (write_keeps_key(analysis, target))
        return NULL;
    /* What writes whole rows sets the key, too: to the one that the row has, mostly. Of that its shard is sure. */
    write->gets = prove_assigned(analysis, target);
    if (write->gets.columns)
        return NULL;
    analysis->facts->write_remedy = "Delete the rows and insert them with their new keys.";
    return analysis_text(analysis, "it may change the key of rows of %s", target->fact.relation->table->display);
}

static const char *find_own(struct analysis *analysis, struct fact_write *write)
{
    const struct written *written = &analysis->written;
    const struct table *table = written->target->relation->table;
    struct term *terms[KEY_COLUMNS_MAX];
    struct supposed supposed = {NULL, NULL};
    if (analysis->has_volatile)
        return "it calls a volatile function";
    if (analysis->picks_of_copies)
        return analysis->picks_of_copies;
    for (size_t i = 0; i < table->column_count; i++)
        if (!(terms[i] = prove_key(analysis, written->target, i)))
            return "its target has no key";
    split_suppose(analysis, written->scope, terms, table->column_count, &supposed);
    prove_under(analysis, supposed.first, supposed.last);
    const char *reason = check_own(analysis, write, written->target->use);
    prove_forget(analysis, supposed.last);
    return reason;
}

/* ---- UPDATE and DELETE of the row that a LIMIT 1 picks ---- */

/* WHERE key = (SELECT …) or key IN (SELECT …), and nothing else: the SELECT. NULL: it is another one. */
static const SelectStmt *only_subquery(const Node *where)
{
    const A_Expr *equality = (const A_Expr *)where;
    const SubLink *link = (const SubLink *)where;
    if (where && IsA(where, A_Expr) && equality->kind == AEXPR_OP && IsA(equality->lexpr, ColumnRef)) {
        link = (const SubLink *)equality->rexpr;
        return IsA(link, SubLink) && link->subLinkType == EXPR_SUBLINK ? (const SelectStmt *)link->subselect : NULL;
    }
    return where && IsA(where, SubLink) && link->subLinkType == ANY_SUBLINK && IsA(link->testexpr, ColumnRef)
               ? (const SelectStmt *)link->subselect
               : NULL;
}

static bool is_one(const Node *node)
{
    const A_Const *constant = (const A_Const *)node;
    return node && IsA(node, A_Const) && !constant->isnull && IsA(&constant->val, Integer) &&
           constant->val.ival.ival == 1;
}

/*
 *     UPDATE jobs SET … WHERE id = (SELECT id FROM jobs WHERE … FOR UPDATE SKIP LOCKED LIMIT 1)
 *
 * The scope of the SELECT, where the rows that are changed are those with the key of the one row that it picks and
 * locks, in any order or in one of its own. NULL: it is another statement.
 */
static struct scope *picking(const struct analysis *analysis)
{
    const Node *statement = analysis->written.statement;
    const UpdateStmt *update = IsA(statement, UpdateStmt) ? (const UpdateStmt *)statement : NULL;
    const DeleteStmt *delete = IsA(statement, DeleteStmt) ? (const DeleteStmt *)statement : NULL;
    if (!(update && !update->withClause && !update->fromClause) &&
        !(delete &&!delete->withClause && !delete->usingClause))
        return NULL;
    const SelectStmt *select = only_subquery(update ? update->whereClause : delete->whereClause);
    struct scope *scope = analysis->locking;
    bool is_plain = select && scope && scope->select == select && analysis->locking_count == 1 &&
                    list_length(select->fromClause) == 1 && IsA(linitial(select->fromClause), RangeVar) &&
                    !scope->looks_out && !select->limitOffset && is_one(select->limitCount);
    bool is_same =
        is_plain && scope->item_count == 1 && scope->items[0].range->relation == analysis->written.target->relation;
    return is_same && analysis->written.target->relation->table->column_count == 1 ? scope : NULL;
}

/* What stands in the first parentheses behind WHERE. */
static bool where_group(const struct analysis *analysis, struct piece *within)
{
    struct token token, last = {.word = {WORD_SIGN, "", 0}};
    bool has_where = false;
    for (size_t at = (size_t)analysis->facts->inner_start; words_token(analysis->text, analysis->size, &at, &token);
         last = token) {
        bool is_name = word_is(&last.word, "as") || (last.word.kind == WORD_SIGN && *last.word.text == '.');
        has_where |= word_is(&token.word, "where") && !is_name;
        if (!has_where || !token.is_group)
            continue;
        *within = (struct piece){token.start + 1, token.end - 1};
        return true;
    }
    return false;
}

/*
 * On each shard the SELECT picks of its own rows, by tier 2's proof, and what is changed has the key of its row; there
 * is at least that row. So the first shard with such a row does all that one PostgreSQL would do, had it met that row
 * first.
 */
static const char *find_picked(struct analysis *analysis, struct fact_write *write, struct scope *scope)
{
    struct split split = {.analysis = analysis, .marks = analysis->marks, .picks_one = true};
    struct fact_scatter ordered = {.pick = NULL};
    if (analysis->has_volatile)
        return "it calls a volatile function";
    if (!write_keeps_key(analysis, analysis->written.target->use))
        return "it changes the key of the rows that it picks";
    if (scope->select->sortClause && !where_group(analysis, &split.within))
        return "where its subquery stands in the text is not sure";
    if (scope->select->sortClause)
        split.fact = &ordered;
    analysis->top = scope;
    const char *reason = split_query(&split);
    analysis->top = NULL;
    write->driver = split.driver;
    write->pick = ordered.pick;
    write->until_found = !ordered.pick;
    analysis->facts->text_bound |= ordered.pick != NULL;
    return reason;
}

/* ---- INSERT … VALUES of sharded rows ---- */

/* The query, where it is nothing but rows. */
static const SelectStmt *rows_of(const InsertStmt *insert)
{
    const SelectStmt *select = (const SelectStmt *)insert->selectStmt;
    bool is_rows = select && select->valuesLists && !select->withClause && !select->sortClause && !select->limitCount &&
                   !select->limitOffset;
    return is_rows ? select : NULL;
}

/* Does the row's first value stand in it? Of what says its place. */
static bool holds_first(const struct row_piece *piece, const List *row)
{
    const Node *first = linitial(row);
    int location = IsA(first, A_Const)    ? ((const A_Const *)first)->location
                   : IsA(first, ParamRef) ? ((const ParamRef *)first)->location
                                          : -1;
    return location < 0 || (piece->start < (uint32_t)location && (uint32_t)location < piece->end);
}

/* Are the rows where words alone find them? */
static bool read_rows(struct analysis *analysis, const InsertStmt *insert, const List *list, struct fact_write *write)
{
    struct rows rows;
    size_t count = (size_t)list_length(list);
    if (!rows_words(analysis->text, analysis->size, write->start, (size_t)insert->relation->location, &write->words))
        return false;
    enum rows_outcome outcome =
        rows_read(analysis->text, analysis->size, write->start, write->words, count, analysis->arena, &rows);
    if (outcome == ROWS_MEMORY)
        (void)analysis_new(analysis, SIZE_MAX, 1); /* there is none: leaves the analysis, which says so */
    for (size_t i = 0; outcome == ROWS_FOUND && i < count; i++) {
        const List *row = list_nth(list, (int)i);
        if (rows.list[i].values != (uint32_t)list_length(row) || !holds_first(&rows.list[i], row))
            return false;
    }
    return outcome == ROWS_FOUND;
}

/* ---- a key that is made here ---- */

/*
 * The column of the key, where INSERT … VALUES names others and leaves it to its default, mosaic.next_id(): whoever
 * makes the same number before asks the shard that owns it. NULL: it is another statement.
 */
static const struct schema_column *made_key(const struct analysis *analysis)
{
    const struct use *use = analysis->written.target->use;
    const InsertStmt *insert = (const InsertStmt *)analysis->written.statement;
    const struct table *table =
        use && use->fact.relation->placement == PLACE_SHARDED ? use->fact.relation->table : NULL;
    if (!table || !IsA(insert, InsertStmt) || !rows_of(insert) || !insert->cols || insert->override ||
        table->column_count != 1 || table->rule.types[0] != KEY_INT8)
        return NULL;
    const struct schema_column *key = schema_column(use->fact.relation, table->columns[0]);
    const ListCell *cell;
    foreach (cell, insert->cols)
        if (strcmp(((const ResTarget *)lfirst(cell))->name, table->columns[0]) == 0)
            return NULL;
    const struct schema_relation *named = analysis->written.named;
    return key && key->default_id && named == use->fact.relation ? key : NULL;
}

/* Behind INSERT INTO name [AS alias] (columns: where the parenthesis closes. 0: it is not to be found. */
static size_t columns_end(const struct analysis *analysis, const InsertStmt *insert)
{
    size_t at = (size_t)insert->relation->location;
    struct token token;
    while (words_token(analysis->text, analysis->size, &at, &token))
        if (token.is_group)
            return token.end - 1;
    return 0;
}

static const char *find_rows(struct analysis *analysis, struct fact_write *write)
{
    const InsertStmt *insert = (const InsertStmt *)analysis->written.statement;
    const OnConflictClause *conflict = insert->onConflictClause;
    const List *list = rows_of(insert)->valuesLists;
    for (const struct use *use = analysis->uses; use; use = use->next)
        if (use != analysis->written.target->use && use->fact.relation->placement != PLACE_REFERENCE)
            return "beside its rows it reads a table that is not whole on every shard";
    if (analysis->picks_of_copies && insert->withClause) /* its value may be that of several rows */
        return analysis->picks_of_copies;
    if (analysis->has_volatile_within)
        return "it calls a volatile function in a subquery";
    if (analysis->written.rows->has_set_function)
        return "a function that returns a set makes more of a row";
    if (!read_rows(analysis, insert, list, write))
        return "its rows are not where its words say";
    (void)write_defaults_given(analysis, write, insert->cols, list, (size_t)list_length(linitial(list)));
    const struct schema_column *made = made_key(analysis);
    write->row_count = (size_t)list_length(list);
    write->made_key = made ? made->name : NULL;
    write->made_at = made ? columns_end(analysis, insert) : 0;
    if (made && !write->made_at)
        return "its columns are not where its words say";
    /* Literals in front of VALUES could be other words in another text of this shape. */
    analysis->facts->text_bound |= insert->withClause != NULL;
    write->spread = SPREAD_ROWS;
    write->returns_each_row = !conflict || (conflict->action == ONCONFLICT_UPDATE && !conflict->whereClause);
    return conflict ? write_defaults_set(analysis, write, conflict->targetList) : NULL;
}

/* ---- INSERT of a query's rows ---- */

/* The column of a table that a term is nothing but; NULL: it is more, or of several. */
static const struct schema_column *only_column(const struct term *term)
{
    while (term->source_count == 1)
        term = term->sources[0].term;
    const struct schema_relation *relation = term->source_count || !term->range ? NULL : term->range->relation;
    for (size_t i = 0; relation && i < relation->column_count; i++)
        if (term->range->columns.list[i].term == term)
            return &relation->columns[i];
    return NULL;
}

bool write_stores_key(struct analysis *analysis, const struct use *use)
{
    const struct table *table = use->fact.relation->table;
    for (size_t i = 0; i < table->column_count; i++) {
        const struct schema_column *column = schema_column(use->fact.relation, table->columns[i]), *from;
        const struct term *term = use->assigned ? use->assigned[i] : NULL;
        int32_t modifier = -1, given = -1;
        if (!column || !term)
            return false;
        uint32_t type = schema_base_type(analysis->schema, column->type, &modifier);
        modifier = modifier != -1 ? modifier : column->modifier;
        if (modifier == -1 && family_of(type) != FAMILY_BPCHAR)
            continue;
        from = only_column(term);
        if (!from || schema_base_type(analysis->schema, from->type, &given) != type ||
            (given != -1 ? given : from->modifier) != modifier)
            return false;
    }
    return true;
}

/* Tier 2's proof of the query; and each row is stored under the key of which it comes. */
static const char *find_query(struct analysis *analysis, struct fact_write *write)
{
    const InsertStmt *insert = (const InsertStmt *)analysis->written.statement;
    const struct use *target = analysis->written.target->use;
    const struct scope *query = analysis->written.query;
    struct split split = {.analysis = analysis, .marks = analysis->marks};
    if (analysis->has_volatile)
        return "it calls a volatile function";
    if (analysis->picks_of_copies)
        return analysis->picks_of_copies;
    if (!query || query->outputs.opaque)
        return "the columns of its query are not known";
    (void)write_defaults_given(analysis, write, insert->cols, NIL, query->outputs.count);
    if (!write_stores_key(analysis, target))
        return analysis_text(analysis, "the key of %s is not the query's as it is",
                             target->fact.relation->table->display);
    analysis->top = analysis->written.query;
    const char *reason = split_query(&split);
    analysis->top = NULL;
    write->driver = split.driver;
    const OnConflictClause *conflict = insert->onConflictClause;
    return reason || !conflict ? reason : write_defaults_set(analysis, write, conflict->targetList);
}

/* ---- reference tables ---- */

static const char *look_at_same_rows(struct analysis *analysis, struct fact_write *write)
{
    const InsertStmt *insert = (const InsertStmt *)analysis->written.statement;
    const OnConflictClause *conflict = insert->onConflictClause;
    const SelectStmt *rows = rows_of(insert);
    const struct scope *query = analysis->written.query;
    size_t width = rows ? (size_t)list_length(linitial(rows->valuesLists)) : query ? query->outputs.count : 0;
    if (insert->override == OVERRIDING_USER_VALUE)
        return "OVERRIDING USER VALUE takes numbers of a sequence, which each shard has for itself";
    if (!rows && insert->selectStmt && (!query || query->outputs.opaque))
        return "the columns of its query are not known";
    if (!rows && conflict && conflict->action == ONCONFLICT_NOTHING)
        return "of the query's rows that conflict with each other any may come first";
    const char *reason = write_defaults_given(analysis, write, insert->cols, rows ? rows->valuesLists : NIL, width);
    const char *varies = reason ? reason : write->stores_clock ? "a default reads the time of each shard" : NULL;
    const char *why = varies ? move_copies(analysis, write, insert, varies) : NULL;
    if (varies && !why)
        write->stores_clock = false; /* one shard's */
    reason = reason ? why : NULL;    /* the time alone may be taken as each shard has it, by mosaic.clock */
    if (reason)
        analysis->facts->write_remedy = "Give a value for each column whose default is not the same everywhere.";
    return reason || !conflict ? reason : write_defaults_set(analysis, write, conflict->targetList);
}

/* All copies are equal, but for the order of their rows: so they stay if nothing else is read, and nothing by chance.
 */
static const char *find_same(struct analysis *analysis, struct fact_write *write)
{
    const Node *statement = analysis->written.statement;
    write->spread = SPREAD_SAME;
    for (const struct use *use = analysis->uses; use; use = use->next)
        if (use->fact.relation->placement != PLACE_REFERENCE)
            return "it reads a table that is not whole on every shard";
    if (analysis->has_volatile)
        return "it calls a volatile function";
    if (analysis->order_matters)
        return analysis->order_matters;
    if (IsA(statement, InsertStmt))
        return look_at_same_rows(analysis, write);
    if (IsA(statement, UpdateStmt) && ((const UpdateStmt *)statement)->fromClause) {
        analysis->facts->write_remedy = "Write it without FROM: SET column = (SELECT …).";
        return "of several rows of FROM for one of the table any may be taken";
    }
    return NULL;
}

/* ---- all ---- */

static const char *find_insert(struct analysis *analysis, struct fact_write *write)
{
    const InsertStmt *insert = (const InsertStmt *)analysis->written.statement;
    return rows_of(insert) ? find_rows(analysis, write) : find_query(analysis, write);
}

/* The tag, RETURNING; a clause: what is set to a default that is not the same everywhere. */
static const char *describe(struct analysis *analysis, struct fact_write *write)
{
    const Node *statement = analysis->written.statement;
    if (IsA(statement, MergeStmt))
        return write_merge_describe(analysis, write);
    if (IsA(statement, InsertStmt)) {
        write->tag = "INSERT 0", write->has_returning = ((const InsertStmt *)statement)->returningList != NIL;
    } else if (IsA(statement, UpdateStmt)) {
        write->tag = "UPDATE", write->has_returning = ((const UpdateStmt *)statement)->returningList != NIL;
        return write_defaults_set(analysis, write, ((const UpdateStmt *)statement)->targetList);
    } else {
        write->tag = "DELETE", write->has_returning = ((const DeleteStmt *)statement)->returningList != NIL;
    }
    return NULL;
}

static const char *why_not(struct analysis *analysis, struct fact_write *write)
{
    struct scope *picks = write->target->placement == PLACE_SHARDED ? picking(analysis) : NULL;
    const char *reason = look_at_all(analysis, picks != NULL);
    if (!reason)
        reason = describe(analysis, write);
    if (reason)
        return reason;
    if (write->target->placement == PLACE_REFERENCE)
        return find_same(analysis, write);
    if (analysis->written.target->use->fact.new_keys.columns)
        return move_find(analysis, write);
    if (picks)
        return find_picked(analysis, write, picks);
    if (IsA(analysis->written.statement, MergeStmt))
        return write_merge_find(analysis, write);
    return IsA(analysis->written.statement, InsertStmt) ? find_insert(analysis, write) : find_own(analysis, write);
}

/* A parameter of which every use was stored: by number - 1. */
static const bool *stored_parameters(struct analysis *analysis)
{
    bool *stored = analysis_new(analysis, analysis->parameter_count + 1, sizeof *stored);
    for (size_t i = 0; i < analysis->parameter_count; i++)
        stored[i] = analysis->parameters[i].uses == analysis->parameters[i].stored;
    return stored;
}

/* Is a column named by now() or its like? Not those of an INSERT's query, unless its own clauses may name them. */
static bool is_moment_named(const struct analysis *analysis)
{
    const InsertStmt *insert = (const InsertStmt *)analysis->written.statement;
    const SelectStmt *query = IsA(insert, InsertStmt) ? (const SelectStmt *)insert->selectStmt : NULL;
    size_t nameless = 0;
    const ListCell *cell;
    if (query && query->op == SETOP_NONE && !query->sortClause && !query->groupClause && !query->distinctClause)
        foreach (cell, query->targetList)
            nameless += figure_is_moment(lfirst(cell));
    return analysis->named_moments > nameless;
}

static void fill(struct analysis *analysis, struct fact_write *write)
{
    struct fact_relation *driver = analysis_new(analysis, 1, sizeof *driver);
    *driver = analysis->written.target->use->fact;
    write->driver = write->driver ? write->driver : driver;
    /* Copies are to stay equal: of rows that each are on one shard alone its own moment is taken. */
    bool differs = write->spread == SPREAD_SAME && write->stores_clock;
    write->reads_clock = analysis->facts->reads_clock || differs;
    write->tells_clock = !differs && analysis->moments && !analysis->clock_else && analysis->alone &&
                         moment_count(analysis->text, analysis->size) == analysis->moments &&
                         !is_moment_named(analysis);
    write->stored_literals = analysis->stored;
    write->stored_literal_count = analysis->stored ? analysis->scan->count : 0;
    write->stored_parameters = stored_parameters(analysis);
    write->stored_parameter_count = analysis->parameter_count;
    analysis->facts->write = write;
}

/* One shard takes it, whatever the values are; or its place is nobody's to choose. */
static bool is_settled(const struct analysis *analysis)
{
    const struct use *use = analysis->written.target->use;
    const InsertStmt *insert = (const InsertStmt *)analysis->written.statement;
    if (IsA(insert, MergeStmt))
        return !use || use->fact.relation->placement != PLACE_SHARDED || split_is_for_one(analysis);
    if (!use || use->fact.relation->placement != PLACE_SHARDED)
        return !use || use->fact.relation->placement != PLACE_REFERENCE;
    if (made_key(analysis))
        return false;
    if (IsA(insert, InsertStmt) && !use->fact.is_bound && (rows_of(insert) || !insert->selectStmt))
        return true; /* a row has no key: that is said already */
    if (use->fact.new_keys.columns)
        return false;
    return use->fact.is_bound && use->fact.keys.alternatives == 1 && !use->fact.keys.values[0].is_array;
}

/* EXPLAIN: each shard explains its part. A clause: why that is not what it would do. */
static const char *explain(struct analysis *analysis, struct fact_write *write)
{
    struct facts *facts = analysis->facts;
    facts->write_remedy = "EXPLAIN (MOSAIC) shows what each shard would be told, and runs nothing.";
    if (write->move)
        return "EXPLAIN knows no plan of rows that leave one shard for another";
    if (facts->is_write && (write->until_found || write->pick))
        return "which shard does it is known when it is done, and EXPLAIN ANALYZE tells no counts";
    facts->write_remedy = NULL;
    write->explains = analysis_text(analysis, "%.*s", facts->inner_start, analysis->text);
    write->explain_runs = facts->is_write;
    write->has_returning = false; /* plans are the rows */
    return NULL;
}

void write_find(struct analysis *analysis)
{
    struct facts *facts = analysis->facts;
    bool is_write = facts->class == STATEMENT_INSERT || facts->class == STATEMENT_UPDATE ||
                    facts->class == STATEMENT_DELETE || facts->class == STATEMENT_MERGE ||
                    (facts->class == STATEMENT_EXPLAIN && (facts->explain_mosaic || facts->explain_plain));
    if (!analysis->written.statement || !is_write || is_settled(analysis))
        return;
    struct fact_write *write = analysis_new(analysis, 1, sizeof *write);
    *write = (struct fact_write){.target = analysis->written.target->relation, .start = (size_t)facts->inner_start};
    facts->text_bound |= facts->class == STATEMENT_EXPLAIN;
    facts->write_cannot = why_not(analysis, write);
    if (facts->explain_plain && !facts->write_cannot)
        facts->write_cannot = explain(analysis, write);
    if (!facts->write_cannot)
        fill(analysis, write);
}
