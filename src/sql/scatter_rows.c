/*
 * Tier 3, where the shards can compute nothing beforehand: each gives the columns that are named behind WHERE, of all
 * rows that its WHERE lets pass, and the statement stands over them as it is.
 *
 *     SELECT mood, string_agg(name, ',' ORDER BY score) FROM users WHERE … GROUP BY mood
 *
 *     each shard:   SELECT (mood) AS "mosaic:1", (name) AS "mosaic:2", (score) AS "mosaic:3" FROM users WHERE …
 *     coordinator:  SELECT "mosaic:1" AS "mood", string_agg("mosaic:2", ',' ORDER BY "mosaic:3") AS "string_agg"
 *                   FROM (SELECT "mosaic:1"::public.mood, "mosaic:2"::text, "mosaic:3"::numeric(12,2)
 *                         FROM ROWS FROM (unnest($1), …) AS "mosaic" ("mosaic:1", …)) AS "mosaic"
 *                   GROUP BY "mosaic:1"
 *
 * The inner SELECT makes columns of them that have type, modifier and collation of those that they were: so every
 * expression over them means what it meant, and has the type that it had.
 */
#include "sql/scatter_final.h"

enum { FIRST_OF_USERS = 16384, SOURCES_MOST = 64, XML = 142, ACLITEM = 1033 };

/* Has all that a column is made of one collation? *left: so many more are looked at. */
static bool has_one_collation(const struct term *term, size_t *left)
{
    for (size_t i = 0; i < term->source_count; i++) {
        const struct term *source = term->sources[i].term;
        if (!*left || source->plain != term->plain || source->bytewise != term->bytewise)
            return false;
        --*left;
        if (!has_one_collation(source, left))
            return false;
    }
    return true;
}

/* Is a column of the inner SELECT what this one was? A clause: not for sure. */
static const char *look_at(const struct analysis *analysis, const struct term *term)
{
    bool has_type = term->type && term->domain == term->type;
    const struct schema_type *type = has_type ? schema_type_by_oid(analysis->schema, term->type) : NULL;
    bool is_own = type && type->oid < FIRST_OF_USERS && (type->kind == 'b' || type->kind == 'r') && type->oid != XML &&
                  type->oid != ACLITEM; /* in binary one loses its encoding, the other is not there */
    size_t left = SOURCES_MOST;
    if (!type || !type->array || type->category == 'A' || !(is_own || type->kind == 'e'))
        return "a column has a type that is not carried as it is";
    if (type->category != 'S')
        return NULL;
    if (!type_oid_is_text(type->oid) || !(term->plain || term->bytewise) || !has_one_collation(term, &left))
        return "a column has a collation that is not the database's default";
    return NULL;
}

/* The column of theirs that has this one, written so in FROM's words; *reference to it. A clause: it cannot. */
static const char *give(struct final *final, struct term *term, const char *written, const char **reference)
{
    for (size_t i = 0; i < final->group_count; i++)
        if (final->groups[i].term == term)
            return *reference = final->groups[i].reference, NULL;
    const char *reason = look_at(final->analysis, term);
    if (reason)
        return reason;
    if (final->count == SHAPE_COLUMNS_MOST)
        return "it would have too many partial columns";
    struct group *group = &final->groups[final->group_count++];
    *group = (struct group){.term = term, .column = final_begin_column(final, PARTIAL_ANY)};
    final->bytewise[group->column - 1] = type_oid_is_text(term->type) && !term->plain;
    writing_text(&final->list, analysis_text(final->analysis, "(%s)", written));
    final_end_column(final);
    *reference = group->reference = analysis_text(final->analysis, "\"mosaic:%zu\"", group->column);
    return NULL;
}

const char *final_give_column(struct final *final, struct term *term, const struct piece *piece)
{
    const char *reference = NULL;
    struct writing written = {.analysis = final->analysis};
    writing_piece(&written, piece->start, piece->end);
    const char *reason = term ? give(final, term, writing_end(&written), &reference)
                              : "it names something behind WHERE that is no column";
    if (!reason)
        final_edit(final, *piece, reference);
    return reason;
}

/* A star's columns, `count` outputs from `first` on. */
static const char *expand_star(struct final *final, const struct piece *piece, size_t first, size_t count)
{
    struct writing columns = {.analysis = final->analysis};
    for (size_t i = first; i < first + count; i++) {
        struct column *output = &final->scope->outputs.list[i];
        struct term *term = column_term(final->analysis, output);
        const char *qualifier, *reference;
        struct writing written = {.analysis = final->analysis};
        if (!term || !shape_star_column(final->analysis, final->scope, output, &qualifier))
            return "its target list has a star whose columns are not known";
        if (qualifier) {
            writing_name(&written, qualifier);
            writing_text(&written, ".");
        }
        writing_name(&written, output->name);
        const char *reason = give(final, term, writing_end(&written), &reference);
        if (reason)
            return reason;
        writing_text(&columns, analysis_text(final->analysis, "%s%s AS ", i > first ? ", " : "", reference));
        writing_name(&columns, output->name);
    }
    final_edit(final, *piece, writing_end(&columns));
    return NULL;
}

static const char *expand_stars(struct final *final)
{
    const char *reason = NULL;
    for (size_t i = 0, first = 0, width; i < final->clauses.target_count && !reason; i++, first += width) {
        ResTarget *target = list_nth(final->select->targetList, (int)i);
        width = query_target_width(final->analysis, final->scope, target);
        if (width == SIZE_MAX || first + width > final->scope->outputs.count)
            return "its columns are not known";
        if (query_is_star(target->val))
            reason = width ? expand_star(final, &final->clauses.targets[i], first, width) : final_unclear;
    }
    return reason;
}

static void write_both(struct final *final)
{
    const struct clauses *clauses = &final->clauses;
    struct analysis *analysis = final->analysis;
    struct writing first = {.analysis = analysis}, second = {.analysis = analysis};
    size_t columns = final->scope->outputs.count;
    if (!final->count) {
        final_begin_column(final, PARTIAL_ANY);
        writing_text(&final->list, "1");
        final_end_column(final);
    }
    writing_piece(&first, clauses->start, clauses->select_end);
    writing_bytes(&first, final->list.text, final->list.size);
    writing_text(&first, " ");
    writing_piece(&first, clauses->targets_end, clauses->lower);
    writing_text(&second, "SELECT");
    final_write_edited(final, &second, clauses->select_end, clauses->targets_end);
    if (final->group_count)
        final_write_source(final, &second, true);
    else /* as many rows as there are */
        shape_write_source(&second, analysis->parameter_count, 1);
    final_write_edited(final, &second, clauses->lower, final->end);
    const size_t *shown = analysis_new(analysis, columns + 1, sizeof *shown); /* none: they are the second's own */
    struct fact_scatter *fact = final->split->fact;
    *fact = (struct fact_scatter){.columns = columns, .hidden = final->count};
    fact->text = writing_end(&first);
    fact->final = shape_final_fact(analysis, writing_end(&second), final->kinds, final->count, shown);
}

/* Must all rows be looked at before the first of the result is known? With LIMIT the coordinator may stop early. */
static bool looks_at_all(const struct scope *scope)
{
    const SelectStmt *select = scope->select;
    return select->groupClause || shape_is_one_row(scope) ||
           ((scope->has_window || select->distinctClause) && !select->limitCount);
}

const char *shape_rows(struct split *split, struct scope *scope)
{
    struct final final = {.split = split, .analysis = split->analysis, .scope = scope, .select = scope->select};
    const SelectStmt *select = scope->select;
    final.gives_rows = true;
    final.list.analysis = final.analysis;
    if (select->op != SETOP_NONE || select->lockingClause || scope->outputs.opaque || !looks_at_all(scope) ||
        final.analysis->mixes_types)
        return final_unclear;
    if (!clauses_find(final.analysis, select, &final.clauses) || !final.clauses.select_end)
        return final_unclear;
    final.end = clauses_end(final.analysis, final.clauses.tail);
    const char *reason = final_edit_marks(&final, MARK_SUBQUERY);
    if (!reason)
        reason = expand_stars(&final);
    if (!reason)
        reason = final_edit_marks(&final, MARK_COLUMN);
    if (!reason)
        reason = final_edit_labels(&final);
    if (!reason)
        write_both(&final);
    return reason;
}
