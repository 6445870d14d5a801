/*
 * Tier 4: relations of the top FROM whose keys are known, and where in the text a condition of their buckets may stand.
 *
 * A relation that no outer join fills with NULLs is in each row that WHERE sees. Where it is bound to keys K, the
 * answer stays the same when its other rows are left out (prove.c), so also when only those are that are of no bucket
 * of K.
 */
#include "sql/scatter.h"

enum { KEYS_MOST = 16, PRUNES_MOST = 16 };

static bool is_alone(const struct scope *scope, const struct item *item)
{
    size_t same = 0;
    for (size_t i = 0; i < scope->item_count; i++)
        same += scope->items[i].by_name && strcmp(scope->items[i].name, item->name) == 0;
    return same == 1;
}

static bool is_prunable(const struct scope *scope, const struct item *item)
{
    const struct use *use = item->range->use;
    if (!item->by_name || !use || item->range->scope != scope || use->fact.location < 0)
        return false;
    return use->fact.relation->placement == PLACE_SHARDED && use->fact.is_bound && !use->fact.is_written &&
           use->fact.keys.alternatives <= KEYS_MOST && !use->fact.keys.values[0].is_array &&
           range_is_preserved(item->range) && is_alone(scope, item);
}

/* The key's columns by the item's name: an alias may have given them others than the table's. */
static const char *const *key_columns(struct analysis *analysis, const struct item *item)
{
    const struct schema_relation *relation = item->range->relation;
    const char **columns = analysis_new(analysis, KEY_COLUMNS_MAX, sizeof *columns);
    for (size_t i = 0; i < relation->table->column_count; i++) {
        const struct schema_column *column = schema_column(relation, relation->table->columns[i]);
        const char *name = column ? item->range->columns.list[column - relation->columns].name : NULL;
        struct writing written = {.analysis = analysis};
        if (!name)
            return NULL;
        writing_name(&written, item->name);
        writing_text(&written, ".");
        writing_name(&written, name);
        columns[i] = writing_end(&written);
    }
    return columns;
}

static size_t find_prunes(struct analysis *analysis, const struct scope *scope, struct fact_prune *prunes)
{
    size_t count = 0;
    for (size_t i = 0; i < scope->item_count && count < PRUNES_MOST; i++) {
        const struct item *item = &scope->items[i];
        const char *const *columns = is_prunable(scope, item) ? key_columns(analysis, item) : NULL;
        if (columns)
            prunes[count++] = (struct fact_prune){&item->range->use->fact, columns};
    }
    return count;
}

void prune_find(struct analysis *analysis)
{
    struct facts *facts = analysis->facts;
    struct scope *scope = analysis->top;
    const SelectStmt *select = scope->select;
    struct fact_prune *prunes = analysis_new(analysis, PRUNES_MOST, sizeof *prunes);
    struct clauses clauses;
    bool fits = facts->class == STATEMENT_SELECT || (facts->class == STATEMENT_EXPLAIN && !facts->explain_mosaic);
    if (!fits || facts->coordinator_cannot || !analysis->alone || select->op != SETOP_NONE || analysis->scan->cannot)
        return;
    size_t count = find_prunes(analysis, scope, prunes);
    if (!count || !clauses_find(analysis, select, &clauses) || !clauses.targets_end ||
        (select->whereClause != NULL) != (clauses.where != 0))
        return;
    struct writing before = {.analysis = analysis}, condition = before, after = before;
    writing_piece(&before, 0, clauses.where ? clauses.where : clauses.lower);
    if (clauses.where)
        writing_piece(&condition, clauses.where + strlen("where"), clauses.lower);
    writing_piece(&after, clauses.lower, clauses_end(analysis, clauses.tail));
    struct fact_pruning *pruning = analysis_new(analysis, 1, sizeof *pruning);
    *pruning = (struct fact_pruning){.before = writing_end(&before), .after = writing_end(&after), .prunes = prunes};
    pruning->condition = clauses.where ? writing_end(&condition) : NULL;
    pruning->count = count;
    facts->pruning = pruning;
    facts->text_bound = true;
}
