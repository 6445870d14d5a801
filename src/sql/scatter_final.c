/*
 * Tier 3: what each shard computes of its own rows, and the statement that puts it together.
 *
 *     SELECT country, avg(age) FROM users WHERE … GROUP BY country HAVING count(*) > 3 ORDER BY 2 LIMIT 5
 *
 *     each shard:   SELECT (country) AS "mosaic:1", sum(age) AS "mosaic:2", count(age) AS "mosaic:3", count(*) AS
 * "mosaic:4" FROM users WHERE … GROUP BY 1 coordinator:  SELECT "mosaic:1" AS "country", (sum("mosaic:2") /
 * nullif(sum("mosaic:3"), 0)) AS "avg" FROM ROWS FROM (unnest($1), …) AS "mosaic" ("mosaic:1", …) GROUP BY "mosaic:1"
 * HAVING (coalesce(sum("mosaic:4"), 0)::int8) > 3 ORDER BY 2 LIMIT 5
 *
 * Behind WHERE the client's words stay as they are, but for what the shards computed: expressions of GROUP BY, and
 * aggregates that are exact when they are computed of parts. Nothing else there may name a column or a table; were one
 * overlooked, its name would mean nothing on the coordinator, and the statement fail.
 */
#include "sql/scatter.h"
#include "sql/words.h"

/* What stands at a piece of the client's text instead; start == end: what is put in. */
struct edit {
    struct piece piece;
    const char *text;
    bool is_aggregate;
};

/* An expression by which each shard groups. */
struct group {
    struct piece piece;
    struct term *term; /* NULL: it is no column */
    bool is_call;
    size_t column;         /* in the second statement, from 1 */
    const char *reference; /* to it */
};

struct final {
    struct split *split;
    struct analysis *analysis;
    struct scope *scope;
    const SelectStmt *select;
    struct clauses clauses;
    size_t end; /* of the statement */
    struct writing list;
    enum fact_partial kinds[SHAPE_COLUMNS_MOST];
    size_t count; /* of columns that the shards give */
    struct group groups[SHAPE_COLUMNS_MOST];
    size_t group_count;
    size_t grouped[SHAPE_COLUMNS_MOST], grouped_count; /* numbers of columns by which the shards group */
    struct edit *edits;
    size_t edit_count, edit_capacity;
};

static const char unclear[] = "what stands behind its WHERE is not understood";
static const char many[] = "it would have too many partial columns";

/* ---- pieces ---- */

static bool same_word(const struct word *a, const struct word *b)
{
    if (a->kind != b->kind || a->size != b->size)
        return false;
    return a->kind == WORD_NAME ? strncasecmp(a->text, b->text, a->size) == 0 : memcmp(a->text, b->text, a->size) == 0;
}

/* Does the text from `at` on, up to `end`, begin with the words of a piece? *behind: where they end. */
static bool begins_with(const struct final *final, size_t at, size_t end, const struct piece *piece, size_t *behind)
{
    const char *text = final->analysis->text;
    struct word word, other;
    for (size_t from = piece->start; words_next(text, piece->end, &from, &word);)
        if (!words_next(text, end, &at, &other) || !same_word(&word, &other))
            return false;
    *behind = at;
    return true;
}

static bool same_words(const struct final *final, const struct piece *a, const struct piece *b)
{
    size_t behind;
    return begins_with(final, a->start, a->end, b, &behind) &&
           words_skip(final->analysis->text, a->end, behind) == a->end;
}

static const struct edit *edit_at(const struct final *final, size_t place)
{
    for (size_t i = 0; i < final->edit_count; i++)
        if (place >= final->edits[i].piece.start && place < final->edits[i].piece.end)
            return &final->edits[i];
    return NULL;
}

static struct edit *edit(struct final *final, struct piece piece, const char *text)
{
    if (final->edit_count == final->edit_capacity) {
        size_t capacity = final->edit_capacity ? final->edit_capacity * 2 : 32;
        struct edit *larger = analysis_new(final->analysis, capacity, sizeof *larger);
        if (final->edit_count)
            memcpy(larger, final->edits, final->edit_count * sizeof *larger);
        final->edits = larger, final->edit_capacity = capacity;
    }
    size_t at = final->edit_count++;
    for (; at && final->edits[at - 1].piece.start > piece.start; at--)
        final->edits[at] = final->edits[at - 1];
    final->edits[at] = (struct edit){piece, text, false};
    return &final->edits[at];
}

/* Is the place behind WHERE, or in the target list: where the second statement has the client's words? */
static bool is_upper(const struct final *final, size_t place)
{
    const struct clauses *clauses = &final->clauses;
    return (place >= clauses->select_end && place < clauses->targets_end) ||
           (place >= clauses->lower && place < final->end);
}

/* ---- what the shards give ---- */

static const char *reference_to(struct final *final, size_t column, bool bytewise)
{
    return analysis_text(final->analysis, bytewise ? "(\"mosaic:%zu\" COLLATE pg_catalog.\"C\")" : "\"mosaic:%zu\"",
                         column);
}

/* One more column of theirs, whose text is then written; its number, from 1. */
static size_t begin_column(struct final *final, enum fact_partial kind)
{
    writing_text(&final->list, final->count ? ", " : " ");
    final->kinds[final->count] = kind;
    return ++final->count;
}

static void end_column(struct final *final)
{
    writing_text(&final->list, analysis_text(final->analysis, " AS \"mosaic:%zu\"", final->count));
}

const char *shape_collation(const struct analysis *analysis, const Node *node, const struct term *term,
                            enum fact_partial *kind, bool *bytewise)
{
    bool is_column = IsA(node, ColumnRef) && term && term->type;
    const struct schema_type *type = is_column ? schema_type_by_oid(analysis->schema, term->type) : NULL;
    *bytewise = false;
    *kind = type && type->category != 'S' && type->kind != 'r' ? PARTIAL_ANY : PARTIAL_UNCOLLATED;
    if (!type || type->category != 'S')
        return NULL;
    if (!type_oid_is_text(type->oid) || (!term->plain && !term->bytewise))
        return "it compares texts by a collation that is not the database's default";
    *bytewise = !term->plain;
    *kind = PARTIAL_ANY;
    return NULL;
}

/* May a domain have another collation than its base? */
static bool has_domain_of_text(const struct schema *schema)
{
    for (size_t i = 0; i < schema->type_count; i++)
        if (schema->types[i].kind == 'd' && schema->types[i].category == 'S')
            return true;
    return false;
}

/* An expression has the default collation where nothing in it has another. */
static bool has_default_collation(struct final *final, const struct piece *piece)
{
    struct word word;
    for (size_t at = piece->start; words_next(final->analysis->text, piece->end, &at, &word);)
        if (word_is(&word, "collate") || word_is(&word, "select"))
            return false;
    for (const struct mark *mark = final->split->marks; mark; mark = mark->next) {
        size_t place = (size_t)mark->location;
        if (place < piece->start || place >= piece->end || mark->kind == MARK_AGGREGATE)
            continue;
        const struct term *term = mark->kind == MARK_COLUMN
                                      ? name_resolve(final->analysis, final->scope, (const ColumnRef *)mark->node)
                                      : NULL;
        const struct schema_type *type =
            term && term->type ? schema_type_by_oid(final->analysis->schema, term->type) : NULL;
        if (!type || type->kind == 'r' || (type->category == 'S' && !term->plain))
            return false;
    }
    return !has_domain_of_text(final->analysis->schema);
}

static const char *add_group(struct final *final, struct piece piece, Node *node)
{
    enum fact_partial kind;
    bool bytewise;
    struct group group = {.piece = piece, .is_call = IsA(node, FuncCall)};
    if (final->count == SHAPE_COLUMNS_MOST)
        return many;
    if (IsA(node, GroupingSet) || IsA(node, RowExpr) || IsA(node, CollateClause) || IsA(node, ParamRef))
        return unclear;
    if (IsA(node, ColumnRef) && !(group.term = name_resolve(final->analysis, final->scope, (ColumnRef *)node)))
        return unclear;
    if (clauses_untyped(final->analysis, &piece))
        return "it groups by a parameter whose type is not said";
    const char *reason = shape_collation(final->analysis, node, group.term, &kind, &bytewise);
    if (reason)
        return reason;
    if (!group.term && has_default_collation(final, &piece))
        kind = PARTIAL_ANY;
    size_t column = begin_column(final, kind);
    writing_text(&final->list, "(");
    writing_piece(&final->list, piece.start, piece.end);
    writing_text(&final->list, ")");
    end_column(final);
    group.column = column;
    group.reference = reference_to(final, column, bytewise);
    final->grouped[final->grouped_count++] = column;
    final->groups[final->group_count++] = group;
    return NULL;
}

/* The target that GROUP BY names by its place or its label; SIZE_MAX: none. */
static size_t named_target(const struct final *final, const Node *node)
{
    struct column *output = shape_output(final->scope, node, false);
    return output ? (size_t)(output - final->scope->outputs.list) : SIZE_MAX;
}

static const char *add_groups(struct final *final)
{
    const SelectStmt *select = final->select;
    for (size_t i = 0; i < final->clauses.group_count; i++) {
        Node *node = list_nth(select->groupClause, (int)i);
        size_t target = named_target(final, node);
        struct piece piece = target == SIZE_MAX ? final->clauses.groups[i] : final->clauses.targets[target];
        if (target != SIZE_MAX)
            node = ((ResTarget *)list_nth(select->targetList, (int)target))->val;
        else if (IsA(node, A_Const))
            return unclear;
        const char *reason = add_group(final, piece, node);
        if (reason)
            return reason;
    }
    bool is_distinct = select->distinctClause && !final->group_count && !shape_is_one_row(final->scope);
    for (size_t i = 0; is_distinct && i < final->clauses.target_count; i++) {
        const char *reason =
            add_group(final, final->clauses.targets[i], ((ResTarget *)list_nth(select->targetList, (int)i))->val);
        if (reason)
            return reason;
    }
    return NULL;
}

/* ---- aggregates ---- */

static bool is_named(const FuncCall *call, const char *name)
{
    return strcmp(strVal(llast(call->funcname)), name) == 0;
}

/* count(DISTINCT x) and its like: the shards group by x, too, and PostgreSQL does the rest. */
static const char *add_distinct(struct final *final, const FuncCall *call, const struct call_pieces *pieces)
{
    struct piece argument = {pieces->arguments.start + 1, pieces->arguments.end - 1};
    struct word word;
    size_t at = argument.start;
    if (call->agg_filter || list_length(call->args) != 1 || shape_aggregate(call) == SIZE_MAX ||
        !words_next(final->analysis->text, argument.end, &at, &word) || !word_is(&word, "distinct"))
        return "it has an aggregate over DISTINCT rows of all keys";
    argument.start = words_skip(final->analysis->text, argument.end, at);
    while (argument.end > argument.start && strchr(" \t\r\n", final->analysis->text[argument.end - 1]))
        argument.end--;
    const char *reason = add_group(final, argument, linitial(call->args));
    if (reason)
        return reason;
    const struct group *group = &final->groups[--final->group_count]; /* not one of the statement's own */
    edit(final, pieces->whole,
         analysis_text(final->analysis, "pg_catalog.%s(DISTINCT %s)", strVal(llast(call->funcname)), group->reference));
    return NULL;
}

static size_t add_call(struct final *final, const struct call_pieces *pieces, const char *name, enum fact_partial kind)
{
    size_t column = begin_column(final, kind);
    writing_text(&final->list, "pg_catalog.");
    writing_text(&final->list, name);
    writing_piece(&final->list, pieces->arguments.start, pieces->whole.end);
    end_column(final);
    return column;
}

static void add_average(struct final *final, const struct call_pieces *pieces)
{
    size_t sum = add_call(final, pieces, "sum", PARTIAL_NUMBER), count = add_call(final, pieces, "count", PARTIAL_ANY);
    const char *text = analysis_text(
        final->analysis,
        "(pg_catalog.sum(\"mosaic:%zu\") OPERATOR(pg_catalog./) nullif(pg_catalog.sum(\"mosaic:%zu\"), 0))", sum,
        count);
    edit(final, pieces->whole, text)->is_aggregate = true;
}

/* One that was seen already, in the same words, is computed once. */
static bool add_again(struct final *final, const struct call_pieces *pieces)
{
    for (size_t i = 0; i < final->edit_count; i++) {
        const struct edit *seen = &final->edits[i];
        if (seen->is_aggregate && same_words(final, &pieces->whole, &seen->piece)) {
            edit(final, pieces->whole, seen->text)->is_aggregate = true;
            return true;
        }
    }
    return false;
}

static const char *add_aggregate(struct final *final, const FuncCall *call)
{
    static const char unknown[] = "it has an aggregate that is not made of parts";
    struct call_pieces pieces;
    const char *name = strVal(llast(call->funcname));
    if (call->agg_order || call->agg_within_group || call->func_variadic || !shape_is_own(final->analysis, call) ||
        list_length(call->args) != !call->agg_star || (call->agg_star && !is_named(call, "count")))
        return unknown;
    if (!clauses_call(final->analysis, (size_t)call->location, final->end, &pieces))
        return unclear;
    if (add_again(final, &pieces))
        return NULL;
    if (final->count + 2 > SHAPE_COLUMNS_MOST)
        return many;
    bool repeats =
        is_named(call, "count") || is_named(call, "sum") || is_named(call, "avg") || is_named(call, "bit_xor");
    if (call->agg_distinct && repeats)
        return add_distinct(final, call, &pieces);
    if (is_named(call, "avg")) {
        add_average(final, &pieces);
        return NULL;
    }
    if (shape_aggregate(call) == SIZE_MAX)
        return unknown;
    const char *format = "pg_catalog.%s(%s)";
    enum fact_partial kind = PARTIAL_ANY;
    bool bytewise = false;
    if (is_named(call, "sum")) {
        kind = PARTIAL_NUMBER;
    } else if (is_named(call, "min") || is_named(call, "max")) {
        Node *argument = linitial(call->args);
        struct term *term =
            IsA(argument, ColumnRef) ? name_resolve(final->analysis, final->scope, (ColumnRef *)argument) : NULL;
        const char *reason = shape_collation(final->analysis, argument, term, &kind, &bytewise);
        if (reason)
            return reason;
        if (!term && has_default_collation(final, &pieces.arguments))
            kind = PARTIAL_ANY;
    }
    size_t column = add_call(final, &pieces, name, kind);
    const char *reference = reference_to(final, column, bytewise);
    if (is_named(call, "count"))
        format = "(coalesce(pg_catalog.sum(%2$s), 0)::pg_catalog.int8)";
    else if (is_named(call, "sum"))
        format = analysis_text(final->analysis, "(pg_catalog.sum(%%2$s)::\1%zu\1)", column);
    else
        format = "pg_catalog.%1$s(%2$s)";
    edit(final, pieces.whole, analysis_text(final->analysis, format, name, reference))->is_aggregate = true;
    return NULL;
}

/* ---- the client's words ---- */

/* A piece that is an expression of GROUP BY as a whole. */
static void edit_whole(struct final *final, const struct piece *piece)
{
    for (size_t i = 0; i < final->group_count; i++) {
        if (!same_words(final, piece, &final->groups[i].piece))
            continue;
        if (!edit_at(final, piece->start))
            edit(final, *piece, final->groups[i].reference);
        return;
    }
}

static void edit_pieces(struct final *final)
{
    const struct clauses *clauses = &final->clauses;
    for (size_t i = 0; i < clauses->target_count; i++)
        edit_whole(final, &clauses->targets[i]);
    for (size_t i = 0; i < clauses->group_count; i++)
        if (named_target(final, list_nth(final->select->groupClause, (int)i)) == SIZE_MAX)
            edit_whole(final, &clauses->groups[i]);
    for (size_t i = 0; i < clauses->sort_count; i++)
        if (!shape_output(final->scope, ((SortBy *)list_nth(final->select->sortClause, (int)i))->node, true))
            edit_whole(final, &clauses->sorts[i]);
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
            found = same_words(final, &final->clauses.sorts[i], &final->clauses.targets[t]);
        all &= found;
    }
    return all;
}

/* Calls that GROUP BY has, within larger expressions: nothing binds closer than a call. */
static void edit_calls(struct final *final)
{
    const char *text = final->analysis->text;
    struct word word;
    for (size_t at = final->clauses.select_end, before; words_next(text, final->end, &at, &word);) {
        before = (size_t)(word.text - text);
        for (size_t i = 0; i < final->group_count; i++) {
            size_t behind, next;
            struct word after = {0};
            if (!final->groups[i].is_call || !is_upper(final, before) || edit_at(final, before) ||
                stands_before(text, before, '.') ||
                !begins_with(final, before, final->end, &final->groups[i].piece, &behind))
                continue;
            next = behind;
            bool more = words_next(text, final->end, &next, &after);
            if (more && ((after.kind == WORD_SIGN && strchr(".[(", *after.text)) || word_is(&after, "over") ||
                         word_is(&after, "filter") || word_is(&after, "within")))
                continue;
            edit(final, (struct piece){before, behind}, final->groups[i].reference);
        }
    }
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

static const char *edit_column(struct final *final, const ColumnRef *reference)
{
    struct piece piece;
    struct column *output = NULL;
    /* ORDER BY and GROUP BY may name an output: the second statement has the same ones. */
    for (size_t i = 0; i < final->clauses.sort_count && !output; i++)
        if (((SortBy *)list_nth(final->select->sortClause, (int)i))->node == (Node *)reference)
            output = shape_output(final->scope, (Node *)reference, true);
    for (size_t i = 0; i < final->clauses.group_count && !output; i++)
        if (list_nth(final->select->groupClause, (int)i) == (void *)reference)
            output = shape_output(final->scope, (Node *)reference, false);
    if (output)
        return has_namesake(final, output) ? "it names one of two columns of the same name" : NULL;
    struct term *term = name_resolve(final->analysis, final->scope, reference);
    for (size_t i = 0; term && i < final->group_count; i++) {
        if (final->groups[i].term != term)
            continue;
        if (!clauses_name(final->analysis, (size_t)reference->location, final->end, &piece))
            return unclear;
        edit(final, piece, final->groups[i].reference);
        return NULL;
    }
    return "a column stands outside of aggregates that GROUP BY does not have";
}

static const char *edit_marks(struct final *final, int kind)
{
    for (const struct mark *mark = final->split->marks; mark; mark = mark->next) {
        size_t place = (size_t)mark->location;
        const char *reason = NULL;
        if ((int)mark->kind != kind || !is_upper(final, place) || edit_at(final, place))
            continue;
        if (kind == MARK_AGGREGATE)
            reason = add_aggregate(final, (const FuncCall *)mark->node);
        else if (kind == MARK_COLUMN)
            reason = edit_column(final, (const ColumnRef *)mark->node);
        else
            reason = "a subquery stands outside of aggregates";
        if (reason)
            return reason;
    }
    return NULL;
}

/* Each target has the name that PostgreSQL gives it. */
static const char *edit_labels(struct final *final)
{
    for (size_t i = 0; i < final->clauses.target_count; i++) {
        const ResTarget *target = list_nth(final->select->targetList, (int)i);
        if (query_is_star(target->val))
            return "its target list has a star";
        if (target->name)
            continue;
        const char *name = figure_target(target);
        if (!name)
            return "the name of a column is not known";
        struct writing label = {.analysis = final->analysis};
        writing_text(&label, " AS ");
        writing_name(&label, name);
        size_t end = final->clauses.targets[i].end;
        edit(final, (struct piece){end, end}, writing_end(&label));
    }
    return NULL;
}

/* ---- both texts ---- */

static void write_edited(struct final *final, struct writing *out, size_t start, size_t end)
{
    size_t at = start;
    for (size_t i = 0; i < final->edit_count; i++) {
        const struct edit *edit = &final->edits[i];
        if (edit->piece.start < start || edit->piece.end > end || edit->piece.start < at)
            continue;
        writing_piece(out, at, edit->piece.start);
        writing_text(out, edit->text);
        at = edit->piece.end;
    }
    writing_piece(out, at, end);
}

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
            if ((term && group->term == term) || same_words(final, &final->clauses.targets[i], &group->piece))
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
    write_edited(final, &second, clauses->select_end, clauses->targets_end);
    shape_write_source(&second, analysis->parameter_count, final->count);
    write_edited(final, &second, clauses->lower, final->end);
    struct fact_scatter *fact = final->split->fact;
    *fact = (struct fact_scatter){.columns = clauses->target_count, .hidden = final->count};
    fact->text = writing_end(&first);
    fact->final = shape_final_fact(analysis, writing_end(&second), final->kinds, final->count, find_shown(final));
}

const char *shape_final(struct split *split, struct scope *scope)
{
    struct final final = {.split = split, .analysis = split->analysis, .scope = scope, .select = scope->select};
    const SelectStmt *select = scope->select;
    bool groups = select->groupClause || shape_is_one_row(scope);
    final.list.analysis = final.analysis;
    if (select->op != SETOP_NONE || select->lockingClause || select->groupDistinct || scope->has_set_function ||
        (!groups && (!select->distinctClause || linitial(select->distinctClause) || scope->has_window)))
        return unclear;
    if (!clauses_find(final.analysis, select, &final.clauses) || !final.clauses.select_end || final.clauses.with_ties)
        return unclear;
    final.end = clauses_end(final.analysis, final.clauses.tail);
    if (!sorts_are_targets(&final))
        return unclear;
    const char *reason = add_groups(&final);
    if (!reason) {
        edit_pieces(&final);
        edit_calls(&final);
        reason = edit_marks(&final, MARK_AGGREGATE);
    }
    if (!reason)
        reason = edit_marks(&final, MARK_COLUMN);
    if (!reason)
        reason = edit_marks(&final, MARK_SUBQUERY);
    if (!reason)
        reason = edit_labels(&final);
    if (!reason && !final.count)
        reason = "it asks for nothing of the rows";
    if (!reason)
        write_both(&final);
    return reason;
}
