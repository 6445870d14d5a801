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
#include "sql/scatter.h"

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
        analysis->facts->write_remedy =
            is_rows ? "Write INSERT … VALUES … ON CONFLICT (key) DO UPDATE, or a MERGE for each key."
                    : "Write UPDATE … FROM, and INSERT … SELECT … WHERE NOT EXISTS, in one transaction.";
        return "its source is not sharded, and each shard would insert the rows that match none of its own";
    }
    const char *reason = split_ranges(&split, analysis->written.scope, only_matched ? 0 : 1, check);
    write->driver = split.driver;
    if (reason)
        analysis->facts->write_remedy = "Tie the target's key to that of the source in ON, insert it as it is, and "
                                        "let UPDATE leave it out.";
    return reason;
}
