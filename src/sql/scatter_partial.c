/* Tier 3: what each shard computes of its own rows, groups and parts of aggregates. */
#include "sql/scatter_final.h"

static const char many[] = "it would have too many partial columns";

static const char *reference_to(struct final *final, size_t column)
{
    return analysis_text(final->analysis, "\"mosaic:%zu\"", column);
}

size_t final_begin_column(struct final *final, enum fact_partial kind)
{
    writing_text(&final->list, final->count ? ", " : " ");
    final->kinds[final->count] = kind;
    return ++final->count;
}

void final_end_column(struct final *final)
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

/* May a domain have another collation than its base, a text or an array? */
static bool has_domain_of_text(const struct schema *schema)
{
    for (size_t i = 0; i < schema->type_count; i++)
        if (schema->types[i].kind == 'd' && (schema->types[i].category == 'S' || schema->types[i].category == 'A'))
            return true;
    return false;
}

/* May texts in a column have another collation than the database's default, be it as elements or as fields? */
static bool may_be_collated(const struct schema *schema, const struct term *term)
{
    const struct schema_type *type = term && term->type ? schema_type_by_oid(schema, term->type) : NULL;
    if (type && type->category == 'A')
        type = schema_type_by_oid(schema, schema_element_type(schema, type->oid));
    /* A composite's fields have collations of their own, and a range that of its type. */
    return !type || type->category == 'C' || type->category == 'R' || (type->category == 'S' && !term->plain);
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
        if (may_be_collated(final->analysis->schema, term))
            return false;
    }
    return !has_domain_of_text(final->analysis->schema);
}

static const char *add_group(struct final *final, struct piece piece, Node *node)
{
    enum fact_partial kind;
    bool bytewise;
    struct group group = {.piece = piece};
    if (IsA(node, FuncCall))
        group.called = strVal(llast(((const FuncCall *)node)->funcname));
    if (final->count == SHAPE_COLUMNS_MOST)
        return many;
    if (IsA(node, GroupingSet) || IsA(node, RowExpr) || IsA(node, CollateClause) || IsA(node, ParamRef))
        return final_unclear;
    if (IsA(node, ColumnRef) && !(group.term = name_resolve(final->analysis, final->scope, (ColumnRef *)node)))
        return final_unclear;
    if (group.term && group.term->mixed)
        return "it groups by a column that USING makes of two of different types";
    if (clauses_untyped(final->analysis, &piece))
        return "it groups by a parameter whose type is not said";
    const char *reason = shape_collation(final->analysis, node, group.term, &kind, &bytewise);
    if (reason)
        return reason;
    if (!group.term && has_default_collation(final, &piece))
        kind = PARTIAL_ANY;
    size_t column = final_begin_column(final, kind);
    writing_text(&final->list, "(");
    writing_piece(&final->list, piece.start, piece.end);
    writing_text(&final->list, ")");
    final_end_column(final);
    group.column = column;
    final->bytewise[column - 1] = bytewise;
    group.reference = reference_to(final, column);
    final->grouped[final->grouped_count++] = column;
    final->groups[final->group_count++] = group;
    return NULL;
}

size_t final_named_target(const struct final *final, const Node *node)
{
    struct column *output = shape_output(final->scope, node, false);
    return output ? (size_t)(output - final->scope->outputs.list) : SIZE_MAX;
}

const char *final_add_groups(struct final *final)
{
    const SelectStmt *select = final->select;
    for (size_t i = 0; i < final->clauses.group_count; i++) {
        Node *node = list_nth(select->groupClause, (int)i);
        size_t target = final_named_target(final, node);
        struct piece piece = target == SIZE_MAX ? final->clauses.groups[i] : final->clauses.targets[target];
        if (target != SIZE_MAX)
            node = ((ResTarget *)list_nth(select->targetList, (int)target))->val;
        else if (IsA(node, A_Const))
            return final_unclear;
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
    final_edit(
        final, pieces->whole,
        analysis_text(final->analysis, "pg_catalog.%s(DISTINCT %s)", strVal(llast(call->funcname)), group->reference));
    return NULL;
}

/* The column of a part that another aggregate has, as avg and sum of one expression do; 0: none. */
static size_t find_part(const struct final *final, const struct part *part, enum fact_partial kind)
{
    for (size_t i = 0; i < final->count; i++) {
        const struct part *seen = &final->parts[i];
        if (seen->name && strcmp(seen->name, part->name) == 0 && final->kinds[i] == kind &&
            final_same_words(final, &seen->piece, &part->piece))
            return i + 1;
    }
    return 0;
}

static size_t add_call(struct final *final, const struct call_pieces *pieces, const char *name, enum fact_partial kind)
{
    struct part part = {name, {pieces->arguments.start, pieces->whole.end}};
    size_t column = find_part(final, &part, kind);
    if (column)
        return column;
    column = final_begin_column(final, kind);
    final->parts[column - 1] = part;
    writing_text(&final->list, "pg_catalog.");
    writing_text(&final->list, name);
    writing_piece(&final->list, pieces->arguments.start, pieces->whole.end);
    final_end_column(final);
    return column;
}

static void add_average(struct final *final, const struct call_pieces *pieces)
{
    size_t sum = add_call(final, pieces, "sum", PARTIAL_NUMBER), count = add_call(final, pieces, "count", PARTIAL_ANY);
    const char *text = analysis_text(
        final->analysis,
        "(pg_catalog.sum(\"mosaic:%zu\") OPERATOR(pg_catalog./) nullif(pg_catalog.sum(\"mosaic:%zu\"), 0))", sum,
        count);
    final_edit(final, pieces->whole, text)->is_aggregate = true;
}

/* One that was seen already, in the same words, is computed once. */
static bool add_again(struct final *final, const struct call_pieces *pieces)
{
    for (size_t i = 0; i < final->edit_count; i++) {
        const struct edit *seen = &final->edits[i];
        if (seen->is_aggregate && final_same_words(final, &pieces->whole, &seen->piece)) {
            final_edit(final, pieces->whole, seen->text)->is_aggregate = true;
            return true;
        }
    }
    return false;
}

const char *final_add_aggregate(struct final *final, const FuncCall *call)
{
    static const char unknown[] = "it has an aggregate that is not made of parts";
    struct call_pieces pieces;
    const char *name = strVal(llast(call->funcname));
    if (call->agg_order || call->agg_within_group || call->func_variadic || !shape_is_own(final->analysis, call) ||
        list_length(call->args) != !call->agg_star || (call->agg_star && !is_named(call, "count")))
        return unknown;
    if (!clauses_call(final->analysis, (size_t)call->location, final->end, &pieces))
        return final_unclear;
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
    final->bytewise[column - 1] = bytewise;
    const char *reference = reference_to(final, column);
    if (is_named(call, "count"))
        format = "(coalesce(pg_catalog.sum(%2$s), 0)::pg_catalog.int8)";
    else if (is_named(call, "sum"))
        format = analysis_text(final->analysis, "(pg_catalog.sum(%%2$s)::\1%zu\1)", column);
    else
        format = "pg_catalog.%1$s(%2$s)";
    final_edit(final, pieces.whole, analysis_text(final->analysis, format, name, reference))->is_aggregate = true;
    return NULL;
}
