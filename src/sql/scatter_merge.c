/*
 * Tier 2: how the shards' answers are put together, and what each shard is asked for that: ORDER BY becomes hidden
 * columns to merge by, an aggregate's value is asked for in binary, too, and LIMIT takes OFFSET's rows with it.
 */
#include "sql/scatter.h"
#include "sql/words.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

enum { SORTS_MOST = 64 };

struct top {
    struct split *split;
    struct analysis *analysis;
    struct scope *scope;
    const SelectStmt *select;
    struct fact_scatter *fact;
    struct clauses clauses;
    size_t *widths;      /* of each target: columns; SIZE_MAX: not known */
    bool picks;          /* rows are locked in an order, up to LIMIT: pick.c */
    bool wraps;          /* a set operation that is ordered: it is the FROM of what each shard is asked */
    struct writing text; /* what each shard is asked */
    /* An order that only PostgreSQL knows: of what each shard has sorted, the coordinator takes the first. */
    bool is_final;
    enum fact_partial kinds[SHAPE_COLUMNS_MOST];
};

/* ---- what is ordered, and how ---- */

/* An expression of the top: where it is written, or a column that a star gives. */
struct source {
    const struct piece *piece; /* NULL: a star's column: qualifier.name */
    const char *qualifier, *name;
    Node *node; /* NULL: the same */
    struct term *term;
};

static void add_source(struct top *top, const struct source *source)
{
    if (source->piece) {
        writing_piece(&top->text, source->piece->start, source->piece->end);
        return;
    }
    if (source->qualifier) {
        writing_name(&top->text, source->qualifier);
        writing_text(&top->text, ".");
    }
    writing_name(&top->text, source->name);
}

/* COLLATE "C" or "POSIX", PostgreSQL's own? */
static bool is_bytewise(const struct top *top, const CollateClause *collate)
{
    int count = list_length(collate->collname);
    const char *name = strVal(llast(collate->collname));
    bool own = count == 1 ? top->analysis->path_count && strcmp(top->analysis->path[0], "pg_catalog") == 0
                          : count == 2 && strcmp(strVal(linitial(collate->collname)), "pg_catalog") == 0;
    return own && (strcmp(name, "C") == 0 || strcmp(name, "POSIX") == 0);
}

static bool is_text(uint32_t type)
{
    return type_oid_is_text(type) || type == 19 || type == 18;
}

/*
 * What is known of an expression's order: *bytewise. *enumeration: the enum that it is a column of. Where nothing is
 * known its type is seen when a shard says it. A clause: it is sure not to be merged here.
 */
static const char *look_at_order(struct top *top, const struct source *source, bool *bytewise,
                                 const struct schema_type **enumeration)
{
    static const char other[] = "it orders texts by a collation that is not known to be C";
    const struct schema *schema = top->analysis->schema;
    *bytewise = false;
    *enumeration = NULL;
    if (source->node && IsA(source->node, CollateClause)) {
        *bytewise = is_bytewise(top, (const CollateClause *)source->node);
        return *bytewise ? NULL : other;
    }
    bool is_column = !source->node || IsA(source->node, ColumnRef);
    const struct schema_type *type =
        is_column && source->term && source->term->type ? schema_type_by_oid(schema, source->term->type) : NULL;
    if (!type)
        return NULL;
    if (type->kind == 'e')
        *enumeration = type;
    if (type->category == 'S' && !is_text(type->oid))
        return "it orders texts of a type that is not PostgreSQL's own";
    *bytewise = source->term->bytewise;
    return type->category == 'S' && !*bytewise ? other : NULL;
}

/* ---- ORDER BY ---- */

/* The target that makes an output. */
static bool output_source(struct top *top, struct column *output, struct source *source)
{
    size_t index = (size_t)(output - top->scope->outputs.list), first = 0;
    for (size_t i = 0; i < top->clauses.target_count; i++) {
        ResTarget *target = list_nth(top->select->targetList, (int)i);
        size_t width = top->widths[i];
        if (width == SIZE_MAX || index < first)
            return false;
        if (index >= first + width) {
            first += width;
            continue;
        }
        source->term = column_term(top->analysis, output);
        if (query_is_star(target->val))
            return source->name = output->name,
                   shape_star_column(top->analysis, top->scope, output, &source->qualifier);
        source->piece = &top->clauses.targets[i];
        source->node = target->val;
        return true;
    }
    return false;
}

static bool same_text(const struct top *top, const struct piece *a, const struct piece *b)
{
    const char *text = top->analysis->text;
    return a->end - a->start == b->end - b->start && memcmp(text + a->start, text + b->start, a->end - a->start) == 0;
}

/* Is the item one of the outputs? Another one would make DISTINCT's rows differ. */
static bool is_output(struct top *top, const struct source *source)
{
    for (size_t i = 0; i < top->clauses.target_count; i++)
        if (same_text(top, source->piece, &top->clauses.targets[i]))
            return true;
    for (size_t i = 0; i < top->scope->outputs.count && source->term && IsA(source->node, ColumnRef); i++)
        if (column_term(top->analysis, &top->scope->outputs.list[i]) == source->term)
            return true;
    return false;
}

static const char *sort_source(struct top *top, size_t index, struct source *source)
{
    static const char unclear[] = "what it orders by is not understood";
    SortBy *sort = list_nth(top->select->sortClause, (int)index);
    struct column *output = shape_output(top->scope, sort->node, true);
    *source = (struct source){0};
    if (sort->sortby_dir == SORTBY_USING)
        return "it orders USING an operator";
    if (output && top->wraps) {
        source->name = analysis_text(top->analysis, "mosaic:%zu", (size_t)(output - top->scope->outputs.list) + 1);
        source->term = column_term(top->analysis, output);
        return NULL;
    }
    if (output)
        return output_source(top, output, source) ? NULL : unclear;
    if (top->wraps) /* its outputs are all that it can name */
        return unclear;
    const char *bare = shape_bare_name(sort->node);
    if (IsA(sort->node, A_Const) || IsA(sort->node, ParamRef) || shape_may_be_output(top->select, bare))
        return unclear;
    source->piece = &top->clauses.sorts[index];
    source->node = sort->node;
    if (IsA(sort->node, ColumnRef))
        source->term = name_resolve(top->analysis, top->scope, (ColumnRef *)sort->node);
    if (clauses_untyped(top->analysis, source->piece))
        return "it orders by a parameter whose type is not said";
    bool is_distinct = top->select->distinctClause && !linitial(top->select->distinctClause);
    return is_distinct && !is_output(top, source) ? unclear : NULL;
}

static void add_hidden(struct top *top, size_t number, const struct source *source,
                       const struct schema_type *enumeration)
{
    if (top->wraps)
        number += top->scope->outputs.count;
    if (enumeration) { /* its place among the labels */
        writing_text(&top->text, ", pg_catalog.array_position(pg_catalog.enum_range(NULL::");
        writing_name(&top->text, enumeration->schema);
        writing_text(&top->text, ".");
        writing_name(&top->text, enumeration->name);
        writing_text(&top->text, "), ");
    } else {
        writing_text(&top->text, ", (");
    }
    add_source(top, source);
    /* A name of its own: ORDER BY and GROUP BY look for outputs by their names. */
    writing_text(&top->text, analysis_text(top->analysis, ") AS \"mosaic:%zu\"", number + 1));
}

/* Texts in the order of the database's own collation; rows that are locked cannot be sorted once more. */
static bool is_for_coordinator(struct top *top, const struct source *source)
{
    const struct term *term = source->term;
    bool is_column = !source->node || IsA(source->node, ColumnRef);
    bool is_sorted = is_column && term && term->plain && type_oid_is_text(term->type) && !top->select->lockingClause;
    top->is_final |= is_sorted;
    return is_sorted;
}

/* What the coordinator must be told of an item, should it be the one that sorts. */
static void note_collation(struct top *top, size_t index, const struct source *source,
                           const struct schema_type *enumeration)
{
    size_t column = top->scope->outputs.count + index;
    if (column >= SHAPE_COLUMNS_MOST) /* then it will not */
        return;
    bool is_text = source->term && (source->term->plain || source->term->bytewise);
    bool is_column = !source->node || IsA(source->node, ColumnRef);
    top->kinds[column] = enumeration || (is_column && is_text) ? PARTIAL_ANY : PARTIAL_UNCOLLATED;
}

static void find_widths(struct top *top)
{
    top->widths = analysis_new(top->analysis, top->clauses.target_count + 1, sizeof *top->widths);
    for (size_t i = 0; i < top->clauses.target_count; i++)
        top->widths[i] = query_target_width(top->analysis, top->scope, list_nth(top->select->targetList, (int)i));
}

static const char *add_sorts(struct top *top)
{
    size_t count = (size_t)list_length(top->select->sortClause);
    struct fact_sort *sorts = analysis_new(top->analysis, count + 1, sizeof *sorts);
    if (count && !top->clauses.targets_end && !top->wraps)
        return "its target list is not found in the text";
    if (count > SORTS_MOST)
        return "it orders by more than is looked at";
    find_widths(top);
    if (count && top->scope->has_set_function)
        return "it orders what a set-returning function gives";
    for (size_t i = 0; i < count; i++) {
        const SortBy *sort = list_nth(top->select->sortClause, (int)i);
        const struct schema_type *enumeration;
        struct source source;
        const char *reason = sort_source(top, i, &source);
        if (!reason && (reason = look_at_order(top, &source, &sorts[i].bytewise, &enumeration)) &&
            is_for_coordinator(top, &source))
            reason = NULL;
        if (reason)
            return reason;
        note_collation(top, i, &source, enumeration);
        sorts[i].descending = sort->sortby_dir == SORTBY_DESC;
        sorts[i].nulls_first =
            sort->sortby_nulls == SORTBY_NULLS_DEFAULT ? sorts[i].descending : sort->sortby_nulls == SORTBY_NULLS_FIRST;
        add_hidden(top, i, &source, enumeration);
    }
    top->fact->sorts = sorts;
    top->fact->sort_count = top->fact->hidden = count;
    return NULL;
}

/* ---- aggregates ---- */

static const struct {
    const char *name;
    enum fact_aggregate function;
} aggregates[] = {
    {"count", AGGREGATE_COUNT},     {"sum", AGGREGATE_SUM},           {"min", AGGREGATE_MIN},
    {"max", AGGREGATE_MAX},         {"bool_and", AGGREGATE_BOOL_AND}, {"every", AGGREGATE_BOOL_AND},
    {"bool_or", AGGREGATE_BOOL_OR}, {"bit_and", AGGREGATE_BIT_AND},   {"bit_or", AGGREGATE_BIT_OR},
    {"bit_xor", AGGREGATE_BIT_XOR},
};

bool shape_is_own(const struct analysis *analysis, const FuncCall *call)
{
    const char *name = strVal(llast(call->funcname));
    size_t count;
    const struct schema_function *functions = schema_functions(analysis->schema, name, &count);
    if (list_length(call->funcname) > 1)
        return list_length(call->funcname) == 2 && strcmp(strVal(linitial(call->funcname)), "pg_catalog") == 0;
    for (size_t i = 0; i < count; i++)
        for (size_t p = 0; p < analysis->path_count && !functions[i].is_system; p++)
            if (strcmp(functions[i].schema, analysis->path[p]) == 0)
                return false;
    return true;
}

size_t shape_aggregate(const FuncCall *call)
{
    size_t count = sizeof aggregates / sizeof *aggregates;
    for (size_t i = 0; i < count; i++)
        if (strcmp(aggregates[i].name, strVal(llast(call->funcname))) == 0)
            return i;
    return SIZE_MAX;
}

/* DISTINCT within: of what is the same however often it comes, or of the key, of which no two shards have the same. */
static bool is_fine_distinct(struct top *top, const FuncCall *call, enum fact_aggregate function)
{
    Node *argument = linitial(call->args);
    if (function != AGGREGATE_COUNT && function != AGGREGATE_SUM)
        return function != AGGREGATE_BIT_XOR;
    return top->split->width == 1 && IsA(argument, ColumnRef) &&
           split_holds(name_resolve(top->analysis, top->scope, (ColumnRef *)argument), 0);
}

static const char *combine_of(struct top *top, const ResTarget *target, struct fact_combine *combine)
{
    static const char unknown[] = "it has an aggregate that is not put together here";
    const FuncCall *call = (const FuncCall *)target->val;
    if (!IsA(call, FuncCall) || call->agg_order || call->agg_within_group || call->over || call->func_variadic ||
        list_length(call->args) != !call->agg_star || !shape_is_own(top->analysis, call))
        return unknown;
    size_t at = shape_aggregate(call);
    if (at == SIZE_MAX || (call->agg_star && aggregates[at].function != AGGREGATE_COUNT))
        return unknown;
    combine->function = aggregates[at].function;
    if (call->agg_distinct && !is_fine_distinct(top, call, combine->function))
        return "an aggregate's DISTINCT compares rows of several keys";
    if (combine->function != AGGREGATE_MIN && combine->function != AGGREGATE_MAX)
        return NULL;
    struct source source = {.node = linitial(call->args)};
    const struct schema_type *enumeration;
    if (IsA(source.node, ColumnRef))
        source.term = name_resolve(top->analysis, top->scope, (ColumnRef *)source.node);
    const char *reason = look_at_order(top, &source, &combine->bytewise, &enumeration);
    return reason ? reason : enumeration ? "it takes the least or greatest of an enum" : NULL;
}

static const char *add_aggregates(struct top *top)
{
    const SelectStmt *select = top->select;
    size_t count = (size_t)list_length(select->targetList);
    struct fact_combine *combines = analysis_new(top->analysis, count + 1, sizeof *combines);
    if (select->havingClause || select->distinctClause || top->scope->has_window || top->scope->has_set_function ||
        !count)
        return "it aggregates over all keys in a way that is not put together here";
    if (!top->clauses.targets_end)
        return "its target list is not found in the text";
    for (size_t i = 0; i < count; i++) {
        const char *reason = combine_of(top, list_nth(select->targetList, (int)i), &combines[i]);
        if (reason)
            return reason;
        struct source source = {.piece = &top->clauses.targets[i]};
        add_hidden(top, i, &source, NULL);
    }
    top->fact->combines = combines;
    top->fact->hidden = count;
    return NULL;
}

/* ---- LIMIT and OFFSET ---- */

/* A literal that is not negative, or a parameter; false: another one. NULL is none at all: *has stays false. */
static bool read_limit(struct top *top, Node *node, bool *has, struct fact_value *value)
{
    const A_Const *constant = (const A_Const *)node;
    *has = false;
    if (!node || (IsA(node, A_Const) && constant->isnull))
        return true;
    *has = true;
    if (!IsA(node, A_Const))
        return operand_value(top->analysis, node, value) && value->source == VALUE_PARAMETER &&
               (!value->type || type_integer_name(value->type));
    *value = (struct fact_value){.source = VALUE_CONSTANT, .literal = LITERAL_INTEGER, .type = 20};
    if (IsA(&constant->val, Integer)) {
        value->text = analysis_text(top->analysis, "%d", constant->val.ival.ival);
        return constant->val.ival.ival >= 0;
    }
    if (!IsA(&constant->val, Float) || strspn(constant->val.fval.fval, "0123456789") != strlen(constant->val.fval.fval))
        return false;
    errno = 0;
    value->text = analysis_text(top->analysis, "%lld", strtoll(constant->val.fval.fval, NULL, 10));
    return !errno;
}

/* As a bigint, its type being what it is without us. */
static const char *limit_text(struct top *top, const struct fact_value *value)
{
    const char *type = value->is_cast ? type_integer_name(value->type) : NULL;
    if (value->source == VALUE_CONSTANT)
        return value->text;
    return type ? analysis_text(top->analysis, "$%u::%s::bigint", value->number, type)
                : analysis_text(top->analysis, "$%u::bigint", value->number);
}

static void add_limit(struct top *top)
{
    const struct fact_scatter *fact = top->fact;
    const struct fact_value *limit = &fact->limit, *offset = &fact->offset;
    if (!fact->has_limit || fact->combines)
        return;
    if (!fact->has_offset) {
        writing_text(&top->text, analysis_text(top->analysis, " LIMIT %s", limit_text(top, limit)));
    } else if (limit->source == VALUE_CONSTANT && offset->source == VALUE_CONSTANT) {
        int64_t sum;
        if (!__builtin_add_overflow(strtoll(limit->text, NULL, 10), strtoll(offset->text, NULL, 10), &sum))
            writing_text(&top->text, analysis_text(top->analysis, " LIMIT %" PRId64, sum));
    } else { /* plan/scatter.c has seen to it that the sum is one */
        bool is_constant = offset->source == VALUE_CONSTANT;
        writing_text(&top->text,
                     analysis_text(top->analysis, " LIMIT %s OPERATOR(pg_catalog.+) %s%s%s", limit_text(top, limit),
                                   is_constant ? "" : "coalesce(", limit_text(top, offset), is_constant ? "" : ", 0)"));
    }
}

/* FOR UPDATE and its like; with LIMIT the text as well in which a shard is asked for no more than is lacking. */
static void add_locks(struct top *top)
{
    const struct piece *locks = &top->clauses.locks;
    struct fact_scatter *fact = top->fact;
    size_t before = top->text.size;
    add_limit(top);
    if (top->text.size > before) { /* not so where LIMIT and OFFSET are more than a bigint can say */
        fact->lacking_before = analysis_text(top->analysis, "%.*s LIMIT LEAST(%.*s, ", (int)before, top->text.text,
                                             (int)(top->text.size - before - 7), top->text.text + before + 7);
        fact->lacking_after = analysis_text(top->analysis, ") %.*s", (int)(locks->end - locks->start),
                                            top->analysis->text + locks->start);
    }
    writing_text(&top->text, " ");
    writing_piece(&top->text, locks->start, locks->end);
    fact->locks = true;
}

/* The same, of rows that ORDER BY and LIMIT pick. */
static const char *add_pick(struct top *top)
{
    const char *reason = pick_look(top->split, top->scope, &top->clauses);
    if (!reason && top->is_final)
        reason = "it picks by an order of texts whose collation is not known to be C";
    if (!reason)
        pick_end(top->split, top->scope, &top->clauses, limit_text(top, &top->fact->limit), &top->text);
    top->fact->locks = true;
    return reason;
}

static const char *read_limits(struct top *top)
{
    const SelectStmt *select = top->select;
    if (top->clauses.with_ties)
        return "FETCH … WITH TIES counts rows over all keys";
    if (!read_limit(top, select->limitCount, &top->fact->has_limit, &top->fact->limit) ||
        !read_limit(top, select->limitOffset, &top->fact->has_offset, &top->fact->offset)) {
        top->analysis->facts->text_bound = true; /* another literal may do */
        return "its LIMIT or OFFSET is neither a parameter nor a number from 0";
    }
    return NULL;
}

/* ---- an order that only PostgreSQL knows ---- */

static bool add_output(struct top *top, struct writing *out, size_t index)
{
    const SelectStmt *first = top->select; /* which names the columns */
    while (first->op != SETOP_NONE)
        first = first->larg;
    const char *name = top->scope->outputs.list[index].name;
    bool stars = first->valuesLists;
    ListCell *cell;
    foreach (cell, first->targetList)
        stars |= query_is_star(((ResTarget *)lfirst(cell))->val);
    if (!stars)
        name = figure_target(list_nth(first->targetList, (int)index));
    if (!name)
        return false;
    writing_text(out, analysis_text(top->analysis, "%s\"mosaic:%zu\" AS ", index ? ", " : "", index + 1));
    writing_name(out, name);
    return true;
}

/* Each shard's first rows, sorted once more. */
static const char *add_final(struct top *top)
{
    struct fact_scatter *fact = top->fact;
    size_t columns = fact->columns + fact->sort_count;
    struct writing out = {.analysis = top->analysis};
    if (columns > SHAPE_COLUMNS_MOST)
        return "it would have too many partial columns";
    writing_text(&out, "SELECT ");
    for (size_t i = 0; i < fact->columns; i++)
        if (!add_output(top, &out, i))
            return "the name of a column is not known";
    shape_write_source(&out, top->analysis->parameter_count, columns);
    for (size_t i = 0; i < fact->sort_count; i++) {
        const struct fact_sort *sort = &fact->sorts[i];
        writing_text(&out, analysis_text(top->analysis, "%s\"mosaic:%zu\"%s %s NULLS %s", i ? ", " : "ORDER BY ",
                                         fact->columns + i + 1, sort->bytewise ? " COLLATE pg_catalog.\"C\"" : "",
                                         sort->descending ? "DESC" : "ASC", sort->nulls_first ? "FIRST" : "LAST"));
    }
    writing_piece(&out, top->clauses.tail, clauses_end(top->analysis, top->clauses.tail));
    size_t *shown = analysis_new(top->analysis, fact->columns, sizeof *shown);
    for (size_t i = 0; i < fact->columns; i++)
        shown[i] = i + 1;
    fact->final = shape_final_fact(top->analysis, writing_end(&out), top->kinds, columns, shown);
    fact->hidden = columns;
    fact->sorts = NULL, fact->sort_count = 0;
    return NULL;
}

/* ---- a set operation, ordered ---- */

/*
 *     SELECT a, b FROM t UNION ALL SELECT … ORDER BY b DESC
 *
 *     SELECT "mosaic:1" AS "a", "mosaic:2" AS "b", ("mosaic:2") AS "mosaic:3"
 *     FROM (SELECT a, b FROM t UNION ALL SELECT …) AS "mosaic" ("mosaic:1", "mosaic:2") ORDER BY b DESC
 */
static const char *begin_wrap(struct top *top)
{
    writing_text(&top->text, "SELECT ");
    for (size_t i = 0; i < top->scope->outputs.count; i++)
        if (!add_output(top, &top->text, i))
            return "the name of a column is not known";
    return NULL;
}

static void end_wrap(struct top *top)
{
    writing_text(&top->text, " FROM (");
    writing_piece(&top->text, top->clauses.start, top->clauses.order);
    writing_text(&top->text, ") AS \"mosaic\" (");
    for (size_t i = 0; i < top->scope->outputs.count; i++)
        writing_text(&top->text, analysis_text(top->analysis, "%s\"mosaic:%zu\"", i ? ", " : "", i + 1));
    writing_text(&top->text, ") ");
    writing_piece(&top->text, top->clauses.order, top->clauses.tail);
}

/* ---- all ---- */

const char *shape_top(struct split *split, struct scope *scope)
{
    struct top top = {.split = split, .analysis = split->analysis, .scope = scope, .select = scope->select};
    top.text.analysis = top.analysis;
    top.fact = split->fact;
    *top.fact = (struct fact_scatter){.columns = scope->outputs.count};
    if (scope->outputs.opaque || !scope->outputs.count)
        return "its columns are not known";
    if (!(split->within.end ? clauses_find_within(top.analysis, top.select, &split->within, &top.clauses)
                            : clauses_find(top.analysis, top.select, &top.clauses)))
        return "where its clauses stand in the text is not sure";
    const char *reason = read_limits(&top);
    if (reason)
        return reason;
    bool is_set = scope->select->op != SETOP_NONE;
    size_t targets_end = top.clauses.targets_end ? top.clauses.targets_end : top.clauses.start;
    top.wraps = is_set && top.clauses.order;
    top.picks = !is_set && top.fact->has_limit && pick_wanted(top.select);
    if (top.picks)
        pick_begin(split, scope, &top.text);
    else if (top.wraps)
        reason = begin_wrap(&top);
    else
        writing_piece(&top.text, top.clauses.start, targets_end);
    if (!reason)
        reason = !is_set && shape_is_one_row(scope) ? add_aggregates(&top) : add_sorts(&top);
    if (reason || (top.picks && (reason = add_pick(&top))))
        return reason;
    if (top.wraps)
        end_wrap(&top);
    else if (!top.picks)
        writing_piece(&top.text, targets_end, top.clauses.tail);
    if (top.select->lockingClause && !top.picks)
        add_locks(&top);
    else if (!top.picks)
        add_limit(&top);
    top.fact->text = writing_end(&top.text);
    return top.is_final ? add_final(&top) : NULL;
}
