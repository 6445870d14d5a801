/*
 * MERGE on several shards.
 *
 *     MERGE INTO t USING u ON t.id = u.tid
 *         WHEN MATCHED THEN UPDATE SET v = u.w
 *         WHEN NOT MATCHED THEN INSERT (id, v) VALUES (u.tid, u.w)
 *              suppose: u.tid = κ; then the solver finds: t.id = κ, and the row that is inserted has κ
 *
 * What it does follows from the rows of source LEFT JOIN target, each for itself; where nothing is done for a row of
 * the source that matches none, from those of the inner join. So it is the disjoint union over the keys κ of a range
 * that has its key in each of these rows: one of the source's, or of the inner join the target, too
 * (docs/design/proof.md). All that a row is compared with must be of κ, and so must be what is inserted for it.
 */
#include "core/sqlexpr.h"
#include "sql/scatter.h"
#include "sql/words.h"

/* Of a sharded table a default may be each shard's own. */
static void note_defaults(struct analysis *analysis, struct fact_write *write, const MergeWhenClause *when)
{
    ListCell row = {.ptr_value = when->values};
    const List rows = {.type = T_List, .length = 1, .max_length = 1, .elements = &row};
    (void)write_defaults_given(analysis, write, when->targetList, &rows, (size_t)list_length(when->values));
}

const char *write_merge_describe(struct analysis *analysis, struct fact_write *write)
{
    const MergeStmt *merge = (const MergeStmt *)analysis->written.statement;
    const char *reason = NULL;
    const ListCell *cell;
    write->tag = "MERGE";
    foreach (cell, merge->mergeWhenClauses) {
        const MergeWhenClause *when = lfirst(cell);
        const char *why = NULL;
        if (when->commandType == CMD_UPDATE)
            why = write_defaults_set(analysis, write, when->targetList);
        else if (when->commandType == CMD_INSERT)
            note_defaults(analysis, write, when);
        reason = reason ? reason : why;
    }
    return reason;
}

/* Why the rows that one of its clauses inserts are not κ's; a clause. NULL: they are. */
static const char *inserted_unbound(struct analysis *analysis, const struct use *use)
{
    const struct table *table = use->fact.relation->table;
    bool holds = write_stores_key(analysis, use);
    for (size_t i = 0; holds && i < table->column_count; i++) {
        const struct schema_column *column = schema_column(use->fact.relation, table->columns[i]);
        const struct term *term = use->assigned[i];
        holds = split_holds(term, i) &&
                family_of(term->type) == family_of(schema_base_type(analysis->schema, column->type, NULL));
    }
    return holds ? NULL
                 : analysis_text(analysis, "the key that it inserts into %s is not its source's", table->display);
}

static const char *check(struct analysis *analysis, const struct table *driver)
{
    const struct use *target = analysis->written.target->use;
    for (const struct use *use = analysis->uses; use; use = use->next) {
        bool inserts = use->is_inserted && !use->range;
        const char *reason = use->fact.relation->placement != PLACE_SHARDED ? NULL
                             : inserts                                      ? inserted_unbound(analysis, use)
                                                                            : split_unbound(analysis, driver, use);
        if (reason)
            return reason;
    }
    return write_keeps_key(analysis, target)
               ? NULL
               : analysis_text(analysis, "it may change the key of rows of %s", target->fact.relation->table->display);
}

/* Has what is joined to the target a sharded table of its own? */
static bool has_split_source(const struct analysis *analysis)
{
    for (const struct use *use = analysis->uses; use; use = use->next)
        if (use->range && use != analysis->written.target->use && use->fact.relation->placement == PLACE_SHARDED)
            return true;
    return false;
}

/* ---- a source that all shards have alike ---- */

/* Where the source stands: USING source ON. False: it is not to be found. */
static bool source_place(const struct analysis *analysis, const MergeStmt *merge, size_t *start, size_t *end)
{
    size_t at = (size_t)merge->relation->location;
    struct token token;
    bool begun = false;
    *start = *end = 0;
    while (words_token(analysis->text, analysis->size, &at, &token)) {
        if (begun && token_is(&token, "on"))
            return *end > 0;
        if (begun && !*start)
            *start = token.start;
        if (begun)
            *end = token.end;
        begun |= token_is(&token, "using");
    }
    return false;
}

/* The name by which the source's columns are found; NULL: it has none. */
static const char *alias_of(const Node *source)
{
    const RangeVar *relation = (const RangeVar *)source;
    const RangeSubselect *subquery = (const RangeSubselect *)source;
    if (IsA(source, RangeVar))
        return relation->alias ? relation->alias->aliasname : relation->relname;
    return IsA(source, RangeSubselect) && subquery->alias ? subquery->alias->aliasname : NULL;
}

/* The source's column that is inserted as the key's i-th: as SQL, of that one's type. NULL: it is none. */
static const char *key_source(struct analysis *analysis, const struct use *inserted, const char *alias, size_t i)
{
    const struct scope *scope = analysis->written.scope;
    const struct schema_relation *relation = inserted->fact.relation;
    const struct schema_column *key = schema_column(relation, relation->table->columns[i]);
    const struct term *term = inserted->assigned[i];
    int32_t modifier;
    const struct schema_type *type =
        key ? schema_type_by_oid(analysis->schema, schema_base_type(analysis->schema, key->type, &modifier)) : NULL;
    bool may = term && type && key->not_null && family_of(term->type) == family_of(type->oid);
    for (size_t item = 0; may && item < scope->item_count; item++) {
        const struct range *range = scope->items[item].range;
        for (size_t at = 0; range && range != analysis->written.target && at < range->columns.count; at++) {
            struct buffer sql = BUFFER_INIT(1024);
            if (range->columns.list[at].term != term || !range->columns.list[at].name)
                continue;
            sql_qualified(&sql, alias, range->columns.list[at].name);
            buffer_text(&sql, "::");
            sql_qualified(&sql, type->schema, type->name);
            const char *copy = buffer_failed(&sql) ? NULL : analysis_copy(analysis, buffer_string(&sql));
            buffer_free(&sql);
            return copy;
        }
    }
    return NULL;
}

static const char *make_sift(struct analysis *analysis, struct fact_write *write, const struct use *inserted)
{
    const MergeStmt *merge = (const MergeStmt *)analysis->written.statement;
    const char *alias = alias_of(merge->sourceRelation);
    size_t start, end, columns = inserted->fact.relation->table->column_count;
    const char **names = analysis_new(analysis, columns, sizeof *names);
    struct fact_sift *sift = analysis_new(analysis, 1, sizeof *sift);
    if (!alias || !source_place(analysis, merge, &start, &end))
        return "its source has no name, or is not where its words say";
    for (size_t i = 0; i < columns; i++)
        if (!(names[i] = key_source(analysis, inserted, alias, i)))
            return "the key that it inserts is no column of its source, or may be NULL";
    struct buffer quoted = BUFFER_INIT(1024);
    sql_identifier(&quoted, alias);
    *sift = (struct fact_sift){
        .before = analysis_text(analysis, "%.*s", (int)(start - write->start), analysis->text + write->start),
        .source = analysis_text(analysis, "%.*s", (int)(end - start), analysis->text + start),
        .alias = analysis_copy(analysis, buffer_string(&quoted)),
        .after = analysis_text(analysis, "%.*s", (int)(analysis->size - end), analysis->text + end),
        .columns = names,
    };
    buffer_free(&quoted);
    write->sift = sift;
    analysis->facts->text_bound = true;
    return NULL;
}

/* While that key is supposed to be κ. A clause: what is not; NULL: all is. */
static const char *check_sifted(struct analysis *analysis, const struct use *inserted)
{
    const struct table *table = inserted->fact.relation->table;
    for (const struct use *use = analysis->uses; use; use = use->next) {
        bool inserts = use->is_inserted && !use->range, same = inserts && use->assigned;
        for (size_t i = 0; same && i < table->column_count; i++)
            same = use->assigned[i] == inserted->assigned[i];
        if (inserts && (!same || !write_stores_key(analysis, use)))
            return "it inserts rows under several keys";
        const char *reason =
            inserts || use->fact.relation->placement != PLACE_SHARDED ? NULL : split_unbound(analysis, table, use);
        if (reason)
            return reason;
    }
    return write_keeps_key(analysis, analysis->written.target->use)
               ? NULL
               : analysis_text(analysis, "it may change the key of rows of %s", table->display);
}

/* Each of its rows is for one shard, that of the key under which it may be inserted, and no row of another has that. */
static const char *find_sifted(struct analysis *analysis, struct fact_write *write)
{
    const struct use *inserted = NULL;
    struct supposed supposed = {NULL, NULL};
    for (const struct use *use = analysis->uses; use; use = use->next)
        if (use->is_inserted && !use->range)
            inserted = use;
    if (!inserted || !inserted->assigned)
        return "what it inserts is not known";
    const struct table *table = inserted->fact.relation->table;
    for (size_t i = 0; i < table->column_count; i++)
        if (!inserted->assigned[i])
            return "the key that it inserts is not known";
    const char *reason = make_sift(analysis, write, inserted);
    if (reason)
        return reason;
    split_suppose(analysis, analysis->written.scope, inserted->assigned, table->column_count, &supposed);
    prove_under(analysis, supposed.first, supposed.last);
    reason = check_sifted(analysis, inserted);
    prove_forget(analysis, supposed.last);
    struct fact_relation *driver = analysis_new(analysis, 1, sizeof *driver);
    *driver = (struct fact_relation){.relation = inserted->fact.relation}; /* bound to no key: all owners */
    write->driver = driver;
    return reason;
}

const char *write_merge_find(struct analysis *analysis, struct fact_write *write)
{
    const MergeStmt *merge = (const MergeStmt *)analysis->written.statement;
    const RangeSubselect *source = (const RangeSubselect *)merge->sourceRelation;
    bool only_matched = modify_only_matched(merge);
    bool is_rows = IsA(source, RangeSubselect) && ((const SelectStmt *)source->subquery)->valuesLists;
    struct split split = {.analysis = analysis, .marks = analysis->marks};
    if (analysis->has_volatile)
        return "it calls a volatile function";
    if (analysis->picks_of_copies)
        return analysis->picks_of_copies;
    if (!only_matched && !has_split_source(analysis)) {
        const char *why = find_sifted(analysis, write);
        if (why)
            analysis->facts->write_remedy =
                is_rows ? "Write INSERT … VALUES … ON CONFLICT (key) DO UPDATE, or a MERGE for each key."
                        : "Write UPDATE … FROM, and INSERT … SELECT … WHERE NOT EXISTS, in one transaction.";
        return why;
    }
    const char *reason = split_ranges(&split, analysis->written.scope, only_matched ? 0 : 1, check);
    write->driver = split.driver;
    if (reason)
        analysis->facts->write_remedy = "Tie the target's key to that of the source in ON, insert it as it is, and "
                                        "let UPDATE leave it out.";
    return reason;
}
