/*
 * Proving: which terms are bound to which values, by what conditions say and by how terms are made of others.
 *
 * Each step replaces a range by those of its rows whose column has one of the values, and leaves the statement's answer
 * as it was (docs/design/proof.md); so steps may follow each other in any order, until none is left.
 */
#include "sql/analysis.h"

enum { ROUNDS_MOST = 200 };

/* An array stands for many values: anything else is better. A symbol is what is looked for. */
static size_t cost(const struct values *values)
{
    size_t sum = 0;
    for (size_t i = 0; i < values->count; i++)
        sum += values->list[i].source == VALUE_SYMBOL ? 0 : values->list[i].is_array ? 100000 : 1;
    return sum;
}

static bool bind(struct term *term, struct values values)
{
    if (term->is_constant || !values.count || (term->bound.count && cost(&term->bound) <= cost(&values)))
        return false;
    term->bound = values;
    return true;
}

static bool filters(const struct filter *filter, const struct term *term)
{
    const struct range *range = term->range;
    return range && range->scope == filter->scope && range->index >= filter->first && range->index < filter->last;
}

/* Rows with NULL in this term do not matter to ranges first..last-1 of its scope, so a join there that fills its range
 * with NULLs may as well not: reduce_outer_joins of PostgreSQL's planner (src/backend/optimizer/prep/prepjointree.c).
 */
static bool reduce_joins(const struct term *term, size_t first, size_t last)
{
    const struct range *range = term->range;
    bool changed = false;
    for (struct join *join = range ? range->scope->joins : NULL; join; join = join->next) {
        if (join->first < first || join->last > last || range->index < join->first || range->index >= join->last)
            continue;
        bool left = range->index < join->middle;
        JoinType before = join->type;
        if (join->type == JOIN_FULL)
            join->type = left ? JOIN_LEFT : JOIN_RIGHT;
        else if (join->type == (left ? JOIN_RIGHT : JOIN_LEFT))
            join->type = JOIN_INNER;
        if (join->type == before)
            continue;
        join->filter->first = join->type == JOIN_LEFT ? join->middle : join->first;
        join->filter->last = join->type == JOIN_RIGHT ? join->middle : join->last;
        changed = true;
    }
    return changed;
}

static bool null_may_pass(const struct values *values)
{
    for (size_t i = 0; i < values->count; i++)
        if (values->list[i].null_is_a_value)
            return true;
    return false;
}

static bool note_filtered(const struct condition *condition, struct term *term)
{
    const struct filter *filter = condition->filter;
    if (!filters(filter, term) || null_may_pass(&condition->values))
        return false;
    bool changed = !term->filtered;
    term->filtered = true;
    return reduce_joins(term, filter->first, filter->last) || changed;
}

static bool apply_condition(const struct condition *condition)
{
    struct term *a = condition->a, *b = condition->b;
    bool changed = note_filtered(condition, a);
    if (!b)
        return (filters(condition->filter, a) && bind(a, condition->values)) || changed;
    changed |= note_filtered(condition, b);
    changed |= filters(condition->filter, a) && bind(a, b->bound);
    return (filters(condition->filter, b) && bind(b, a->bound)) || changed;
}

/* All values that any of the sources may have. */
static struct values unite(struct analysis *analysis, const struct term *term)
{
    size_t count = 0, used = term->up_any ? 1 : term->source_count;
    for (size_t i = 0; i < used; i++) {
        if (!term->sources[i].term->bound.count)
            return (struct values){NULL, 0};
        count += term->sources[i].term->bound.count;
    }
    if (used == 1)
        return term->sources[0].term->bound;
    if (count > ALTERNATIVES_MOST)
        return (struct values){NULL, 0};
    struct fact_value *list = analysis_new(analysis, count, sizeof *list), *to = list;
    for (size_t i = 0; i < used; i++) {
        struct values from = term->sources[i].term->bound;
        memcpy(to, from.list, from.count * sizeof *to);
        to += from.count;
    }
    return (struct values){list, count};
}

/* What filters a query's column filters the whole query. Not so the column that a FULL JOIN made of two. */
static bool filter_source(const struct term *term, struct term *source)
{
    if (term->range && source->range && term->range->scope == source->range->scope)
        return false;
    bool changed = !source->filtered;
    source->filtered = true;
    return (source->range && reduce_joins(source, 0, source->range->scope->range_count)) || changed;
}

static bool apply_links(struct analysis *analysis, struct term *term)
{
    bool changed = false;
    if (term->recursive)
        return !term->distrusted && bind(term, term->recursive->bound);
    if (!term->bound.count)
        changed = bind(term, unite(analysis, term));
    if (term->common && term->common->references != 1)
        return changed;
    for (size_t i = 0; i < term->source_count; i++) {
        struct term_source *source = &term->sources[i];
        changed |= source->down && bind(source->term, term->bound);
        changed |= source->down && term->filtered && filter_source(term, source->term);
    }
    return changed;
}

static void solve(struct analysis *analysis)
{
    bool changed = true;
    for (int round = 0; changed && round < ROUNDS_MOST; round++) {
        changed = false;
        for (struct condition *condition = analysis->conditions; condition; condition = condition->next)
            changed |= apply_condition(condition);
        for (struct term *term = analysis->derived; term; term = term->next)
            changed |= apply_links(analysis, term);
    }
}

static bool same_value(const struct fact_value *a, const struct fact_value *b)
{
    return a->source == b->source && a->number == b->number && a->type == b->type && a->is_array == b->is_array &&
           a->is_negative == b->is_negative && a->source != VALUE_CONSTANT;
}

static bool is_within(const struct values *part, const struct values *whole)
{
    for (size_t i = 0; i < part->count; i++) {
        bool found = false;
        for (size_t j = 0; j < whole->count && !found; j++)
            found = same_value(&part->list[i], &whole->list[j]);
        if (!found)
            return false;
    }
    return part->count > 0;
}

/* The induction over a recursive query: a step must give what its base gave. False: one did not. */
static bool verify_recursion(struct analysis *analysis)
{
    bool holds = true;
    for (struct term *term = analysis->derived; term; term = term->next) {
        if (!term->recursive || term->distrusted || !term->bound.count)
            continue;
        if (term->step && is_within(&term->step->bound, &term->bound))
            continue;
        term->distrusted = true;
        holds = false;
    }
    return holds;
}

static void forget(struct analysis *analysis)
{
    for (struct condition *condition = analysis->conditions; condition; condition = condition->next) {
        if (!condition->a->is_constant)
            condition->a->bound.count = 0;
        if (condition->b && !condition->b->is_constant)
            condition->b->bound.count = 0;
    }
    for (struct term *term = analysis->derived; term; term = term->next) {
        term->bound.count = 0;
        for (size_t i = 0; i < term->source_count; i++)
            if (!term->sources[i].term->is_constant)
                term->sources[i].term->bound.count = 0;
    }
}

static struct term *key_term(struct analysis *analysis, struct range *range, const char *name)
{
    struct column *columns = range->columns.list;
    const struct schema_column *column = schema_column(range->relation, name);
    return column ? column_term(analysis, &columns[column - range->relation->columns]) : NULL;
}

/* Every combination of the columns' values. columns 0: there are none, or too many. */
static struct fact_keys product(struct analysis *analysis, const struct values *parts, size_t width)
{
    size_t rows = 1;
    for (size_t i = 0; i < width; i++) {
        if (!parts[i].count || parts[i].count * rows > ALTERNATIVES_MOST)
            return (struct fact_keys){NULL, 0, 0};
        rows *= parts[i].count;
    }
    struct fact_value *values = analysis_new(analysis, rows * width, sizeof *values);
    for (size_t row = 0; row < rows; row++)
        for (size_t i = 0, rest = row; i < width; i++) {
            values[row * width + i] = parts[i].list[rest % parts[i].count];
            if (width > 1 && values[row * width + i].is_array)
                return (struct fact_keys){NULL, 0, 0};
            rest /= parts[i].count;
        }
    return (struct fact_keys){values, rows, width};
}

static const char *column_names(struct analysis *analysis, const struct table *table, struct term *const *terms)
{
    const char *names = "";
    for (size_t i = 0; i < table->column_count; i++)
        if (!terms[i] || !terms[i]->bound.count)
            names = analysis_text(analysis, "%s%s%s = …", names, *names ? " and " : "", table->columns[i]);
    return names;
}

static void say_missing(struct analysis *analysis, struct use *use, struct term *const *terms)
{
    const struct table *table = use->fact.relation->table;
    const char *names = column_names(analysis, table, terms);
    use->fact.missing = use->missing
                            ? use->missing
                            : analysis_text(analysis, "no condition %s that holds for every row of %s that matters",
                                            *names ? names : table->columns[0], table->display);
    use->fact.remedy =
        use->remedy && *use->remedy
            ? use->remedy
            : analysis_text(analysis, "Add AND %s to the WHERE that filters %s, or tie it to a key by an equality.",
                            *names ? names : table->columns[0], table->display);
}

/* INSERT … SELECT: the rows have what the query's columns are bound to, cast as an assignment does. */
static void bind_inserted(struct analysis *analysis, struct use *use)
{
    const struct table *table = use->fact.relation->table;
    struct values parts[KEY_COLUMNS_MAX] = {{NULL, 0}};
    uint32_t types[KEY_COLUMNS_MAX];
    for (size_t i = 0; i < table->column_count; i++) {
        const struct schema_column *column = schema_column(use->fact.relation, table->columns[i]);
        uint32_t type = column ? schema_base_type(analysis->schema, column->type, NULL) : 0;
        types[i] = type;
        struct term *term = use->assigned[i];
        bool fits = term && (!term->type || family_of(term->type) == family_of(type));
        if (fits)
            parts[i] = term->bound;
    }
    use->fact.keys = product(analysis, parts, table->column_count);
    use->fact.is_bound = use->fact.keys.columns > 0;
    struct fact_value *values = (struct fact_value *)use->fact.keys.values;
    for (size_t i = 0; i < use->fact.keys.alternatives * use->fact.keys.columns; i++)
        values[i].is_assigned = true;
    for (size_t i = 0; i < use->fact.keys.alternatives * use->fact.keys.columns; i++)
        if (!values[i].type)
            values[i].type = types[i % use->fact.keys.columns];
    if (use->fact.is_bound)
        return;
    use->fact.missing = analysis_text(analysis, "the keys of the rows inserted into %s are not known", table->display);
    use->fact.remedy = "Let the query's WHERE name the key, and select it as it is.";
}

static void bind_use(struct analysis *analysis, struct use *use)
{
    const struct table *table = use->fact.relation->table;
    struct term *terms[KEY_COLUMNS_MAX] = {NULL};
    struct values bounds[KEY_COLUMNS_MAX] = {{NULL, 0}};
    size_t width = table->column_count;
    if (use->is_inserted && use->assigned)
        bind_inserted(analysis, use);
    if (use->is_inserted || !use->range)
        return; /* else modify.c has said its keys */
    for (size_t i = 0; i < width; i++) {
        terms[i] = key_term(analysis, use->range, table->columns[i]);
        bounds[i] = terms[i] ? terms[i]->bound : (struct values){NULL, 0};
    }
    struct fact_keys keys = product(analysis, bounds, width);
    if (use->tuples && (!keys.columns || use->tuples->count < keys.alternatives))
        keys = (struct fact_keys){use->tuples->values, use->tuples->count, width};
    use->fact.is_bound = keys.columns > 0;
    use->fact.keys = keys;
    if (!use->fact.is_bound)
        say_missing(analysis, use, terms);
}

static void refuse_key_change(struct analysis *analysis, const struct use *use)
{
    analysis_refuse(
        analysis, use->fact.location,
        analysis_text(analysis, "the statement may change the key of rows of %s", use->fact.relation->table->display),
        "A row whose key changes may belong to another shard.",
        "Set the key columns to the key that the WHERE names, or leave them out; to move a row, delete and "
        "insert it.");
}

/* UPDATE … SET key = …: what rows get must be what they have. */
static void bind_assigned(struct analysis *analysis, struct use *use)
{
    const struct table *table = use->fact.relation->table;
    struct values parts[KEY_COLUMNS_MAX];
    bool any = false, same = true;
    for (size_t i = 0; i < table->column_count; i++) {
        struct term *own = key_term(analysis, use->range, table->columns[i]);
        struct term *set = use->is_assigned[i] ? use->assigned[i] : own;
        any |= use->is_assigned[i];
        if (!set || !own)
            refuse_key_change(analysis, use);
        same &= set == own;
        parts[i] = set->bound;
    }
    if (!any || same)
        return;
    for (size_t i = 0; i < table->column_count; i++)
        if (parts[i].count != 1 || parts[i].list[0].is_array)
            refuse_key_change(analysis, use);
    use->fact.new_keys = product(analysis, parts, table->column_count);
    if (!use->fact.new_keys.columns)
        refuse_key_change(analysis, use);
    struct fact_value *values = (struct fact_value *)use->fact.new_keys.values;
    for (size_t i = 0; i < table->column_count; i++)
        values[i].is_assigned = use->is_assigned[i];
}

struct fact_keys prove_assigned(struct analysis *analysis, const struct use *use)
{
    const struct fact_keys none = {NULL, 0, 0};
    struct values parts[KEY_COLUMNS_MAX];
    size_t width = use->fact.relation->table->column_count;
    for (size_t i = 0; i < width; i++) {
        const struct term *set = use->is_assigned && use->is_assigned[i] ? use->assigned[i] : NULL;
        if (!set || set->bound.count != 1 || set->bound.list[0].is_array || set->bound.list[0].source == VALUE_SYMBOL)
            return none;
        parts[i] = set->bound;
    }
    struct fact_keys keys = product(analysis, parts, width);
    for (size_t i = 0; i < keys.columns; i++)
        ((struct fact_value *)keys.values)[i].is_assigned = true;
    return keys;
}

struct term *prove_key(struct analysis *analysis, struct range *range, size_t column)
{
    return key_term(analysis, range, range->relation->table->columns[column]);
}

static void solve_all(struct analysis *analysis)
{
    do {
        forget(analysis);
        solve(analysis);
    } while (!verify_recursion(analysis));
}

void prove_under(struct analysis *analysis, struct condition *first, struct condition *last)
{
    for (struct term *term = analysis->derived; term; term = term->next)
        term->distrusted = false;
    last->next = analysis->conditions;
    analysis->conditions = first;
    solve_all(analysis);
}

void prove_forget(struct analysis *analysis, struct condition *last)
{
    forget(analysis);
    analysis->conditions = last->next;
}

void prove(struct analysis *analysis)
{
    solve_all(analysis);
    for (struct use *use = analysis->uses; use; use = use->next) {
        use->fact.is_written |= use->is_locked;
        if (use->fact.relation->placement != PLACE_SHARDED)
            continue;
        bind_use(analysis, use);
        if (use->is_assigned && use->fact.is_bound)
            bind_assigned(analysis, use);
    }
}
