/*
 * Rows that ORDER BY and LIMIT pick, and that are locked: the head of a queue, which no shard knows by itself.
 *
 *     SELECT id FROM jobs j WHERE state = $1 ORDER BY created FOR UPDATE SKIP LOCKED LIMIT 3
 *
 *     each shard:  SELECT "j".ctid, "j".xmin, (created) AS "mosaic:1" FROM jobs j WHERE state = $1
 *                  ORDER BY "mosaic:1" LIMIT 3 + 16384
 *     then:        SELECT id FROM jobs j WHERE "j".ctid = … AND "j".xmin = … AND (state = $1)
 *                  ORDER BY created FOR UPDATE SKIP LOCKED LIMIT 3
 *
 * One PostgreSQL sorts the rows, and locks one after the other until it has enough; those that others have locked it
 * leaves out. So it is done here, with the rows of all shards. What becomes of rows that somebody changes meanwhile
 * stands in proxy/scatter_pick.c.
 */
#include "sql/scatter.h"
#include "sql/words.h"

bool pick_wanted(const SelectStmt *select)
{
    return select->lockingClause && select->sortClause && select->limitCount;
}

/* The words tell it, whatever numbers the tree has for it. */
static bool skips_locked(const struct analysis *analysis, const struct clauses *clauses)
{
    struct word word, last = {WORD_SIGN, "", 0}, before = last;
    for (size_t at = clauses->locks.start; words_next(analysis->text, clauses->locks.end, &at, &word);)
        before = last, last = word;
    return word_is(&before, "skip") && word_is(&last, "locked");
}

const char *pick_look(struct split *split, const struct scope *scope, const struct clauses *clauses)
{
    const SelectStmt *select = scope->select;
    const RangeVar *from = select->fromClause ? linitial(select->fromClause) : NULL;
    const struct schema_relation *relation = scope->item_count == 1 ? scope->items[0].range->relation : NULL;
    bool is_plain = select->op == SETOP_NONE && !select->withClause && !select->distinctClause &&
                    !select->groupClause && !select->havingClause && !scope->has_window && !scope->has_aggregate &&
                    !scope->has_set_function;
    split->analysis->facts->write_remedy =
        "Leave out ORDER BY, for any rows that are free; or find rows without a lock, and lock each by its key.";
    if (list_length(select->lockingClause) != 1 || !skips_locked(split->analysis, clauses)) {
        split->analysis->facts->write_remedy =
            "Add SKIP LOCKED; or leave out ORDER BY; or find rows without a lock, and lock each by its key.";
        return "which rows its ORDER BY and LIMIT pick is not sure while others are waited for";
    }
    if (!is_plain || list_length(select->fromClause) != 1 || !IsA(from, RangeVar) || !relation)
        return "its ORDER BY and LIMIT pick of more than the rows of one table";
    if (relation->kind != 'r' || relation->child_count || relation->placement != PLACE_SHARDED)
        return "its ORDER BY and LIMIT pick of what is no plain table";
    return select->limitOffset ? "its OFFSET counts rows of all shards" : NULL;
}

/* The table, as its columns are named. */
static void write_row(const struct scope *scope, struct writing *out)
{
    const RangeVar *from = scope->select->fromClause ? linitial(scope->select->fromClause) : NULL;
    if (from && IsA(from, RangeVar))
        writing_name(out, from->alias ? from->alias->aliasname : from->relname);
}

void pick_begin(struct split *split, const struct scope *scope, struct writing *text)
{
    (void)split;
    writing_text(text, "SELECT ");
    write_row(scope, text);
    writing_text(text, ".ctid, ");
    write_row(scope, text);
    writing_text(text, ".xmin");
}

static void write_order(const struct fact_scatter *fact, struct writing *text)
{
    struct analysis *analysis = text->analysis;
    for (size_t i = 0; i < fact->sort_count; i++)
        writing_text(text, analysis_text(analysis, "%s\"mosaic:%zu\" %s NULLS %s", i ? ", " : " ORDER BY ", i + 1,
                                         fact->sorts[i].descending ? "DESC" : "ASC",
                                         fact->sorts[i].nulls_first ? "FIRST" : "LAST"));
}

/* What is tried: the client's words, with room for a condition. */
static void write_tried(struct split *split, const struct clauses *clauses, struct fact_pick *pick)
{
    struct analysis *analysis = split->analysis;
    struct writing before = {.analysis = analysis}, after = before, counts = before;
    bool is_within = split->within.end != 0;
    size_t start = is_within ? (size_t)analysis->facts->inner_start : clauses->start;
    size_t end = clauses_end(analysis, is_within ? split->within.end + 1 : clauses->tail);
    size_t where = clauses->where ? clauses->where + strlen("where") : 0;
    writing_piece(&before, start, where ? where : clauses->lower);
    writing_text(&before, where ? " " : " WHERE ");
    if (where) {
        writing_text(&after, " AND (");
        writing_piece(&after, where, clauses->lower);
        writing_text(&after, ")");
    }
    writing_text(&counts, "SELECT pg_catalog.count(*) ");
    writing_piece(&counts, clauses->targets_end, where ? where : clauses->lower);
    writing_text(&counts, where ? " " : " WHERE ");
    pick->counts = writing_end(&counts);
    pick->counted = analysis_text(analysis, "%.*s", (int)after.size, after.size ? after.text : "");
    writing_text(&after, " ");
    writing_piece(&after, clauses->lower, end);
    pick->before = writing_end(&before);
    pick->after = writing_end(&after);
}

void pick_end(struct split *split, const struct scope *scope, const struct clauses *clauses, const char *limit,
              struct writing *text)
{
    struct analysis *analysis = split->analysis;
    struct fact_pick *pick = analysis_new(analysis, 1, sizeof *pick);
    struct writing row = {.analysis = analysis};
    writing_text(text, " ");
    writing_piece(text, clauses->targets_end, clauses->lower);
    write_order(split->fact, text);
    writing_text(text, analysis_text(analysis, " LIMIT %s OPERATOR(pg_catalog.+) %d", limit, (int)PICK_BEHIND));
    write_row(scope, &row);
    write_tried(split, clauses, pick);
    pick->row = writing_end(&row);

    pick->sorts = split->fact->sorts, pick->sort_count = split->fact->sort_count;
    pick->peek = analysis_text(analysis, "%.*s", (int)text->size, text->text);
    split->fact->pick = pick;
}
