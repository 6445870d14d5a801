/*
 * Tier 3: the statement that puts together what each shard has computed of its own rows.
 *
 *     SELECT country, avg(age) FROM users WHERE … GROUP BY country HAVING count(*) > 3 ORDER BY 2 LIMIT 5
 *
 *     each shard:   SELECT (country) AS "mosaic:1", sum(age) AS "mosaic:2", count(age) AS "mosaic:3",
 *                   count(*) AS "mosaic:4" FROM users WHERE … GROUP BY 1
 *     coordinator:  SELECT "mosaic:1" AS "country", (sum("mosaic:2") / nullif(sum("mosaic:3"), 0)) AS "avg"
 *                   FROM ROWS FROM (unnest($1), …) AS "mosaic" ("mosaic:1", …)
 *                   GROUP BY "mosaic:1" HAVING (coalesce(sum("mosaic:4"), 0)::int8) > 3 ORDER BY 2 LIMIT 5
 *
 * Behind WHERE the client's words stay as they are, but for what the shards computed: expressions of GROUP BY, and
 * aggregates that are exact when they are computed of parts. Nothing else there may name a column or a table; were one
 * overlooked, its name would mean nothing on the coordinator, and the statement fail.
 */
#include "sql/scatter_final.h"

static const char star_stands[] = "its target list has a star";

/* ---- the client's words ---- */

/* A piece that is an expression of GROUP BY as a whole. */
static void edit_whole(struct final *final, const struct piece *piece)
{
    for (size_t i = 0; i < final->group_count; i++) {
        if (!final_same_words(final, piece, &final->groups[i].piece))
            continue;
        if (!final_edit_at(final, piece->start))
            final_edit(final, *piece, final->groups[i].reference);
        return;
    }
}

static void edit_pieces(struct final *final)
{
    const struct clauses *clauses = &final->clauses;
    for (size_t i = 0; i < clauses->target_count; i++)
        edit_whole(final, &clauses->targets[i]);
    for (size_t i = 0; i < clauses->group_count; i++)
        if (final_named_target(final, list_nth(final->select->groupClause, (int)i)) == SIZE_MAX)
            edit_whole(final, &clauses->groups[i]);
    for (size_t i = 0; i < clauses->sort_count; i++) {
        const Node *node = ((SortBy *)list_nth(final->select->sortClause, (int)i))->node;
        if (!shape_output(final->scope, node, true) && !shape_may_be_output(final->select, shape_bare_name(node)))
            edit_whole(final, &clauses->sorts[i]);
    }
}

static bool stands_before(const char *text, size_t place, char sign)
{
    while (place && strchr(" \t\r\n", text[place - 1]))
        place--;
    return place && text[place - 1] == sign;
}

/* With DISTINCT an item of ORDER BY is one of the targets, which in other words the second statement could not see. */
static bool sorts_are_targets(const struct final *final)
{
    const SelectStmt *select = final->select;
    bool all = true;
    for (size_t i = 0; select->distinctClause && i < final->clauses.sort_count; i++) {
        Node *node = ((SortBy *)list_nth(select->sortClause, (int)i))->node;
        bool found = IsA(node, ColumnRef) || shape_output(final->scope, node, true);
        for (size_t t = 0; t < final->clauses.target_count && !found; t++)
            found = final_same_words(final, &final->clauses.sorts[i], &final->clauses.targets[t]);
        all &= found;
    }
    return all;
}

/* May a function of the user's give a domain, perhaps that of its argument? */
static bool gives_domain(const struct schema *schema, const char *name)
{
    size_t count;
    const struct schema_function *functions = schema_functions(schema, name, &count);
    for (size_t i = 0; i < count; i++) {
        const struct schema_type *result = schema_type_by_oid(schema, functions[i].result);
        if (!functions[i].is_system && (!result || result->kind == 'd' || result->kind == 'p'))
            return true;
    }
    return false;
}

/* Does this call of GROUP BY stand there, as a whole? *behind: where it ends. */
static bool is_called_at(const struct final *final, const struct group *group, size_t place, size_t *behind)
{
    const char *text = final->analysis->text;
    struct word after = {0};
    if (!group->called || !final_is_upper(final, place) || final_edit_at(final, place) ||
        stands_before(text, place, '.') || !final_begins_with(final, place, final->end, &group->piece, behind))
        return false;
    size_t next = *behind;
    bool more = words_next(text, final->end, &next, &after);
    return !more || !((after.kind == WORD_SIGN && strchr(".[(", *after.text)) || word_is(&after, "over") ||
                      word_is(&after, "filter") || word_is(&after, "within"));
}

/* Calls that GROUP BY has, within larger expressions: nothing binds closer than a call. */
static const char *edit_calls(struct final *final)
{
    const char *text = final->analysis->text;
    struct word word;
    for (size_t at = final->clauses.select_end, behind; words_next(text, final->end, &at, &word);) {
        size_t before = (size_t)(word.text - text);
        for (size_t i = 0; i < final->group_count; i++) {
            const struct group *group = &final->groups[i];
            if (!is_called_at(final, group, before, &behind))
                continue;
            if (gives_domain(final->analysis->schema, group->called))
                return final_domain;
            final_edit(final, (struct piece){before, behind}, group->reference);
        }
    }
    return NULL;
}

/* PostgreSQL takes either of two outputs that are the same; in the second statement they may be two columns. */
static bool has_namesake(const struct final *final, const struct column *output)
{
    size_t named = 0;
    for (size_t i = 0; i < final->scope->outputs.count; i++) {
        const char *name = final->scope->outputs.list[i].name;
        named += name && output->name && strcmp(name, output->name) == 0;
    }
    return named > 1;
}

static bool has_node(const List *list, const void *node)
{
    bool found = false;
    ListCell *cell;
    foreach (cell, list)
        found |= lfirst(cell) == node;
    return found;
}

/* The output that an item of ORDER BY, DISTINCT ON or GROUP BY names: the second statement has the same ones. */
static bool names_output(const struct final *final, const ColumnRef *reference, struct column **output)
{
    const SelectStmt *select = final->select;
    bool by_output = false;
    *output = NULL;
    for (int i = 0; i < list_length(select->sortClause); i++)
        by_output |= ((SortBy *)list_nth(select->sortClause, i))->node == (Node *)reference;
    by_output |= has_node(select->distinctClause, reference);
    if (by_output || has_node(select->groupClause, reference))
        *output = shape_output(final->scope, (Node *)reference, by_output);
    return *output || (by_output && shape_may_be_output(select, shape_bare_name((Node *)reference)));
}

/* Is it all of a target? Then its type shows as that below a domain. */
static bool is_target(const struct final *final, const struct piece *piece)
{
    for (size_t i = 0; i < final->clauses.target_count; i++)
        if (final_same_words(final, piece, &final->clauses.targets[i]))
            return true;
    return false;
}

static const char *edit_column(struct final *final, const ColumnRef *reference)
{
    struct piece piece;
    struct column *output;
    if (names_output(final, reference, &output))
        return final->gives_rows || !output || !has_namesake(final, output)
                   ? NULL
                   : "it names one of two columns of the same name";
    struct term *term = name_resolve(final->analysis, final->scope, reference);
    if (!clauses_name(final->analysis, (size_t)reference->location, final->end, &piece))
        return final_unclear;
    if (final->gives_rows)
        return final_give_column(final, term, &piece);
    for (size_t i = 0; term && i < final->group_count; i++) {
        if (final->groups[i].term != term)
            continue;
        if (term->mixed)
            return final_unclear;
        if (term->domain != term->type && !is_target(final, &piece))
            return final_domain;
        final_edit(final, piece, final->groups[i].reference);
        return NULL;
    }
    return "a column stands outside of aggregates that GROUP BY does not have";
}

static const char *edit_mark(struct final *final, const struct mark *mark)
{
    switch (mark->kind) {
    case MARK_AGGREGATE:
        return final_add_aggregate(final, (const FuncCall *)mark->node);
    case MARK_COLUMN:
        return edit_column(final, (const ColumnRef *)mark->node);
    default:
        return "a subquery stands outside of aggregates";
    }
}

const char *final_edit_marks(struct final *final, int kind)
{
    const struct mark **marks, *mark;
    const char *reason = NULL;
    size_t count = 0;
    for (mark = final->split->marks; mark; mark = mark->next)
        count += (int)mark->kind == kind && final_is_upper(final, (size_t)mark->location);
    marks = analysis_new(final->analysis, count + 1, sizeof *marks);
    for (mark = final->split->marks; mark; mark = mark->next)
        if ((int)mark->kind == kind && final_is_upper(final, (size_t)mark->location))
            marks[--count] = mark; /* the last one that was made is the first of the list */
    for (; marks[count] && !reason; count++)
        if (!final_edit_at(final, (size_t)marks[count]->location))
            reason = edit_mark(final, marks[count]);
    return reason;
}

const char *final_edit_labels(struct final *final)
{
    for (size_t i = 0; i < final->clauses.target_count; i++) {
        const ResTarget *target = list_nth(final->select->targetList, (int)i);
        if (query_is_star(target->val) && final_edit_at(final, final->clauses.targets[i].start))
            continue;
        if (query_is_star(target->val))
            return star_stands;
        if (target->name)
            continue;
        const char *name = figure_target(target);
        if (!name)
            return "the name of a column is not known";
        struct writing label = {.analysis = final->analysis};
        writing_text(&label, " AS ");
        writing_name(&label, name);
        size_t end = final->clauses.targets[i].end;
        final_edit(final, (struct piece){end, end}, writing_end(&label));
    }
    return NULL;
}

/* ---- both texts ---- */

void shape_write_source(struct writing *out, size_t parameters, size_t columns)
{
    struct analysis *analysis = out->analysis;
    writing_text(out, " FROM ROWS FROM (");
    for (size_t i = 1; i <= columns; i++)
        writing_text(out, analysis_text(analysis, "%spg_catalog.unnest($%zu)", i == 1 ? "" : ", ", parameters + i));
    writing_text(out, ") AS \"mosaic\" (");
    for (size_t i = 1; i <= columns; i++)
        writing_text(out, analysis_text(analysis, "%s\"mosaic:%zu\"", i == 1 ? "" : ", ", i));
    writing_text(out, ") ");
}

const struct fact_final *shape_final_fact(struct analysis *analysis, const char *text, const enum fact_partial *kinds,
                                          size_t columns, const size_t *shown)
{
    struct fact_final *fact = analysis_new(analysis, 1, sizeof *fact);
    enum fact_partial *partials = analysis_new(analysis, columns + 1, sizeof *partials);
    memcpy(partials, kinds, columns * sizeof *partials);
    *fact = (struct fact_final){text, partials, shown, analysis->parameter_count};
    return fact;
}

void final_write_source(const struct final *final, struct writing *out, bool typed)
{
    struct analysis *analysis = final->analysis;
    bool collates = false;
    for (size_t i = 0; i < final->count; i++)
        collates |= final->bytewise[i];
    if (!typed && !collates) {
        shape_write_source(out, analysis->parameter_count, final->count);
        return;
    }
    writing_text(out, " FROM (SELECT ");
    for (size_t i = 1; i <= final->count; i++) {
        const char *collation = final->bytewise[i - 1] ? " COLLATE pg_catalog.\"C\"" : "";
        const char *type = typed ? analysis_text(analysis, "::\1%zu\1", i) : "";
        writing_text(out, analysis_text(analysis, "%s\"mosaic:%zu\"%s%s AS \"mosaic:%zu\"", i > 1 ? ", " : "", i, type,
                                        collation, i));
    }
    shape_write_source(out, analysis->parameter_count, final->count);
    writing_text(out, ") AS \"mosaic\" ");
}

/* Which of the shards' columns each target is. */
static const size_t *find_shown(struct final *final)
{
    size_t *shown = analysis_new(final->analysis, final->clauses.target_count + 1, sizeof *shown);
    for (size_t i = 0; i < final->clauses.target_count; i++) {
        Node *node = ((ResTarget *)list_nth(final->select->targetList, (int)i))->val;
        struct term *term =
            IsA(node, ColumnRef) ? name_resolve(final->analysis, final->scope, (ColumnRef *)node) : NULL;
        shown[i] = 0;
        for (size_t g = 0; g < final->group_count && !shown[i]; g++) {
            const struct group *group = &final->groups[g];
            if ((term && group->term == term) || final_same_words(final, &final->clauses.targets[i], &group->piece))
                shown[i] = group->column;
        }
    }
    return shown;
}

static void write_both(struct final *final)
{
    const struct clauses *clauses = &final->clauses;
    struct analysis *analysis = final->analysis;
    struct writing first = {.analysis = analysis}, second = {.analysis = analysis};
    writing_piece(&first, clauses->start, clauses->select_end);
    writing_bytes(&first, final->list.text, final->list.size);
    writing_text(&first, " ");
    writing_piece(&first, clauses->targets_end, clauses->lower);
    for (size_t i = 0; i < final->grouped_count; i++)
        writing_text(&first, analysis_text(analysis, "%s%zu", i == 0 ? " GROUP BY " : ", ", final->grouped[i]));
    writing_text(&second, "SELECT");
    final_write_edited(final, &second, clauses->select_end, clauses->targets_end);
    final_write_source(final, &second, false);
    final_write_edited(final, &second, clauses->lower, final->end);
    struct fact_scatter *fact = final->split->fact;
    *fact = (struct fact_scatter){.columns = clauses->target_count, .hidden = final->count};
    fact->text = writing_end(&first);
    fact->final = shape_final_fact(analysis, writing_end(&second), final->kinds, final->count, find_shown(final));
}

static bool has_star(const SelectStmt *select)
{
    bool found = false;
    ListCell *cell;
    foreach (cell, select->targetList)
        found |= query_is_star(((const ResTarget *)lfirst(cell))->val);
    return found;
}

const char *shape_final(struct split *split, struct scope *scope)
{
    struct final final = {.split = split, .analysis = split->analysis, .scope = scope, .select = scope->select};
    const SelectStmt *select = scope->select;
    bool groups = select->groupClause || shape_is_one_row(scope);
    final.list.analysis = final.analysis;
    if (select->op != SETOP_NONE || select->lockingClause || select->groupDistinct || scope->has_set_function ||
        (!groups && (!select->distinctClause || linitial(select->distinctClause) || scope->has_window)))
        return final_unclear;
    if (!clauses_find(final.analysis, select, &final.clauses) || !final.clauses.select_end || final.clauses.with_ties)
        return final_unclear;
    if (has_star(select)) /* from here on an output has its target's place */
        return star_stands;
    final.end = clauses_end(final.analysis, final.clauses.tail);
    if (!sorts_are_targets(&final))
        return final_unclear;
    const char *reason = final_add_groups(&final);
    if (!reason) {
        edit_pieces(&final);
        reason = edit_calls(&final);
    }
    if (!reason)
        reason = final_edit_marks(&final, MARK_AGGREGATE);
    if (!reason)
        reason = final_edit_marks(&final, MARK_COLUMN);
    if (!reason)
        reason = final_edit_marks(&final, MARK_SUBQUERY);
    if (!reason)
        reason = final_edit_labels(&final);
    if (!reason && !final.count)
        reason = "it asks for nothing of the rows";
    if (!reason)
        write_both(&final);
    return reason;
}
