/*
 * Tier 2: does each row of the result come of exactly one key, so that every shard may answer for itself?
 *
 *     SELECT … FROM users u JOIN orders o ON o.user_id = u.id WHERE …        suppose, too: u.id = κ
 *              then the solver finds: o.user_id = κ, and so on in every scope
 *
 * The driver is a sharded relation of the top FROM whose key is in each row that WHERE sees, never NULL. So these rows
 * are the disjoint union, over all keys κ, of those with driver.key = κ; and where that condition binds every sharded
 * range of the statement to κ, the shard of κ has them all and no other shard has one (docs/design/proof.md). κ is a
 * symbol: the proof holds for any. What may stand above WHERE, so that rows of two shards need not meet, is
 * scatter_shape.c's.
 */
#include "sql/scatter.h"

#include "base/error.h"
#include "sql/words.h"

enum { CANDIDATES_MOST = 4, LEAVES_MOST = 64 };

/* The columns of a top range that are the whole key of a sharded relation, maybe within. */
struct candidate {
    struct range *base;
    struct term *terms[KEY_COLUMNS_MAX];
    bool is_one; /* no set operation stands between: the rows are of `base` alone */
};

/* A SELECT of the top: the statement's own, or one that a set operation unites. */
struct leaf {
    struct scope *scope;
    size_t first; /* its ranges before this one are none of its FROM */
    struct candidate candidates[CANDIDATES_MOST];
    size_t count;
};

struct search {
    struct split *split;
    struct leaf *leaves;
    size_t leaf_count;
};

/* ---- terms ---- */

bool split_binds(const struct term *term, size_t column)
{
    for (size_t i = 0; term && i < term->bound.count; i++)
        if (term->bound.list[i].source != VALUE_SYMBOL || term->bound.list[i].number != column)
            return false;
    return term && term->bound.count;
}

bool range_is_preserved(const struct range *range)
{
    for (const struct join *join = range->scope->joins; join; join = join->next) {
        bool left = range->index >= join->first && range->index < join->middle;
        bool right = range->index >= join->middle && range->index < join->last;
        if ((left && (join->type == JOIN_RIGHT || join->type == JOIN_FULL)) ||
            (right && (join->type == JOIN_LEFT || join->type == JOIN_FULL)))
            return false;
    }
    return true;
}

static size_t key_column(const struct term *term)
{
    const struct schema_relation *relation = term->range ? term->range->relation : NULL;
    if (!relation || relation->placement != PLACE_SHARDED)
        return SIZE_MAX;
    for (size_t i = 0; i < relation->table->column_count; i++) {
        const struct schema_column *column = schema_column(relation, relation->table->columns[i]);
        if (column && term->range->columns.list[column - relation->columns].term == term)
            return i;
    }
    return SIZE_MAX;
}

bool split_is_key(const struct term *term)
{
    if (!term || term->nulled || term->is_constant || term->recursive ||
        (term->range && !range_is_preserved(term->range)))
        return false;
    /* Nothing is carried into a WITH query that others name, too; and what they are made of would be looked at 2ⁿ
     * times. */
    if (term->common && term->common->references != 1)
        return false;
    for (size_t i = 0; i < term->source_count; i++)
        if (!split_is_key(term->sources[i].term))
            return false;
    return term->source_count || key_column(term) != SIZE_MAX;
}

bool split_holds(const struct term *term, size_t column)
{
    return split_binds(term, column) && split_is_key(term);
}

/* ---- candidates ---- */

static void add_column(struct leaf *leaf, struct term *term)
{
    struct term *base = term;
    bool is_one = true;
    if (!split_is_key(term))
        return;
    for (; base->source_count; base = base->sources[0].term)
        is_one &= base->source_count == 1;
    size_t column = key_column(base), at = 0;
    while (at < leaf->count && leaf->candidates[at].base != base->range)
        at++;
    if (at == CANDIDATES_MOST)
        return;
    struct candidate *candidate = &leaf->candidates[at];
    if (at == leaf->count) {
        *candidate = (struct candidate){.base = base->range, .is_one = true};
        leaf->count++;
    }
    if (!candidate->terms[column])
        candidate->terms[column] = term;
    candidate->is_one &= is_one;
}

static bool is_whole(const struct candidate *candidate)
{
    for (size_t i = 0; i < candidate->base->relation->table->column_count; i++)
        if (!candidate->terms[i])
            return false;
    return true;
}

static void find_candidates(struct analysis *analysis, struct leaf *leaf)
{
    const struct scope *scope = leaf->scope;
    for (size_t i = 0; i < scope->item_count; i++) {
        struct range *range = scope->items[i].range;
        bool sharded = range->relation && range->relation->placement == PLACE_SHARDED;
        if (range->index < leaf->first)
            continue;
        for (size_t c = 0; sharded && c < range->relation->table->column_count; c++)
            if (prove_key(analysis, range, c))
                add_column(leaf, prove_key(analysis, range, c));
        for (size_t c = 0; !range->relation && c < range->columns.count; c++)
            if (column_term(analysis, &range->columns.list[c]))
                add_column(leaf, column_term(analysis, &range->columns.list[c]));
    }
    size_t kept = 0;
    for (size_t i = 0; i < leaf->count; i++)
        if (is_whole(&leaf->candidates[i]))
            leaf->candidates[kept++] = leaf->candidates[i];
    leaf->count = kept;
}

/* The SELECTs of a query, into `leaves` where that is not NULL; too many: more than LEAVES_MOST. */
static size_t find_leaves(struct scope *scope, struct leaf *leaves, size_t depth)
{
    if (!scope || depth > LEAVES_MOST)
        return LEAVES_MOST + 1;
    if (scope->select->op == SETOP_NONE) {
        if (leaves)
            leaves->scope = scope;
        return 1;
    }
    size_t left = find_leaves(scope->left, leaves, depth + 1);
    return left + find_leaves(scope->right, leaves ? leaves + left : NULL, depth + 1);
}

/* Each SELECT of a set operation is split by a key of its own. So what is supposed of one is not carried into another,
 * though INTERSECT may look for equal rows only: of `id FROM t INTERSECT o.id FROM o, o p WHERE p.id = 0`, all rows p
 * of key 0 meet a row o of any key, and to suppose p.id = κ while t says o.id = κ would lose them. */
static void part_leaves(struct scope *scope)
{
    if (scope->select->op == SETOP_NONE)
        return;
    for (size_t i = 0; i < scope->outputs.count; i++)
        for (size_t s = 0; scope->outputs.list[i].term && s < scope->outputs.list[i].term->source_count; s++)
            scope->outputs.list[i].term->sources[s].down = false;
    part_leaves(scope->left);
    part_leaves(scope->right);
}

/* ---- one attempt ---- */

static const struct candidate *chosen(const struct leaf *leaf, size_t attempt)
{
    return &leaf->candidates[attempt < leaf->count ? attempt : leaf->count - 1];
}

/* Types whose equal values have equal buckets (state_key_class says the same of colocated tables). */
static bool alike_types(enum key_type a, enum key_type b)
{
    bool texts = (a == KEY_TEXT || a == KEY_VARCHAR) && (b == KEY_TEXT || b == KEY_VARCHAR);
    return a == b || texts || (type_is_integer(a) && type_is_integer(b));
}

static bool same_owners(const struct table *a, const struct table *b)
{
    return a->map && b->map &&
           (a->map == b->map || memcmp(a->map->owner, b->map->owner, a->rule.buckets * sizeof *a->map->owner) == 0);
}

static bool same_bounds(const struct rule *a, const struct rule *b)
{
    size_t count = a->function == FUNCTION_RANGE ? a->buckets - 1 : a->buckets;
    if (a->function != FUNCTION_RANGE && a->function != FUNCTION_LIST)
        return a->function != FUNCTION_CITUS;
    if (!a->bounds || !b->bounds || a->types[0] != b->types[0])
        return false;
    for (size_t i = 0; i < count; i++)
        if (key_compare(&a->bounds[i], &b->bounds[i]) != 0)
            return false;
    return true;
}

/* Is a key of one on the same shard as the equal key of the other? */
static bool are_alike(const struct table *a, const struct table *b)
{
    if (a == b)
        return a->map;
    if (a->rule.function != b->rule.function || a->rule.buckets != b->rule.buckets ||
        a->rule.columns != b->rule.columns || !same_bounds(&a->rule, &b->rule))
        return false;
    for (size_t i = 0; i < a->rule.columns; i++)
        if (!alike_types(a->rule.types[i], b->rule.types[i]))
            return false;
    return same_owners(a, b);
}

const char *split_unbound(struct analysis *analysis, const struct table *driver, const struct use *use)
{
    const struct table *table = use->fact.relation->table;
    bool bound = use->range != NULL && table->column_count == driver->column_count;
    for (size_t i = 0; bound && i < table->column_count; i++)
        bound = split_binds(prove_key(analysis, use->range, i), i);
    if (!bound && table == driver)
        return analysis_text(analysis, "it may look at rows of %s that have other keys", table->display);
    if (!bound)
        return analysis_text(analysis, "rows of %s are not tied to the key of %s", table->display, driver->display);
    return are_alike(driver, table)
               ? NULL
               : analysis_text(analysis, "%s and %s are not split alike", table->display, driver->display);
}

/* Has each row that a query gives κ's column at this place, in all its SELECTs? */
static bool holds_at(struct analysis *analysis, struct scope *scope, size_t place, size_t column)
{
    if (scope->select->op != SETOP_NONE)
        return holds_at(analysis, scope->left, place, column) && holds_at(analysis, scope->right, place, column);
    return place < scope->outputs.count && split_holds(column_term(analysis, &scope->outputs.list[place]), column);
}

/* A set operation other than UNION ALL compares rows: those that it compares must be of one key. */
static const char *check_sets(struct analysis *analysis, const struct split *split, struct scope *scope)
{
    const SelectStmt *select = scope->select;
    const char *reason = NULL;
    if (select->op == SETOP_NONE)
        return NULL;
    if (scope != analysis->top && (select->sortClause || select->limitCount || select->limitOffset))
        return "a SELECT of its set operation has an ORDER BY or a LIMIT of its own";
    bool compares = select->op != SETOP_UNION || !select->all;
    for (size_t i = 0; compares && i < split->width; i++) {
        bool found = false;
        for (size_t place = 0; place < scope->outputs.count && !found; place++)
            found = holds_at(analysis, scope, place, i);
        if (!found)
            return "UNION, INTERSECT or EXCEPT compares rows that do not have the key at one place";
    }
    reason = check_sets(analysis, split, scope->left);
    return reason ? reason : check_sets(analysis, split, scope->right);
}

/* Above the rows that are inserted nothing may pick of them, or count them. */
static const char *check_inserted(const struct search *search, const struct scope *top)
{
    if (!search->split->picks_one && (top->select->limitCount || top->select->limitOffset))
        return "its LIMIT or OFFSET picks of all rows";
    for (size_t i = 0; i < search->leaf_count; i++)
        if (shape_is_one_row(search->leaves[i].scope))
            return "it aggregates over all keys";
    return NULL;
}

static const char *check(struct analysis *analysis, struct search *search, const struct candidate *driver)
{
    struct split *split = search->split;
    const struct table *table = driver->base->relation->table;
    split->width = table->column_count;
    for (const struct use *use = analysis->uses; use; use = use->next) {
        const char *reason =
            use->fact.relation->placement == PLACE_SHARDED ? split_unbound(analysis, table, use) : NULL;
        if (reason)
            return reason;
    }
    const char *reason = check_sets(analysis, split, analysis->top);
    for (size_t i = 0; !reason && i < search->leaf_count; i++)
        reason = shape_leaf(split, search->leaves[i].scope);
    if (!split->fact)
        return reason ? reason : check_inserted(search, analysis->top);
    if (!reason)
        reason = shape_top(split, analysis->top);
    bool copies = analysis->facts->class == STATEMENT_COPY_TO; /* its query stands in parentheses */
    if (!reason || copies || search->leaf_count > 1 || analysis->locking_count ||
        (shape_final(split, analysis->top) && shape_rows(split, analysis->top)))
        return reason;
    split->fact->why_combined = reason;
    return NULL;
}

/* The bound of the driver names shards only where all rows are of it. */
static const struct fact_relation *driver_fact(struct analysis *analysis, size_t leaf_count,
                                               const struct candidate *driver)
{
    struct fact_relation *fact = analysis_new(analysis, 1, sizeof *fact);
    *fact = driver->base->use->fact;
    fact->is_bound &= leaf_count == 1 && driver->is_one;
    return fact;
}

void split_suppose(struct analysis *analysis, struct scope *scope, struct term *const *terms, size_t width,
                   struct supposed *supposed)
{
    struct fact_value *symbols = analysis_new(analysis, width, sizeof *symbols);
    for (size_t i = 0; i < width; i++) {
        struct condition *condition = analysis_new(analysis, 1, sizeof *condition);
        symbols[i] = (struct fact_value){.source = VALUE_SYMBOL, .number = (uint32_t)i};
        *condition = (struct condition){.filter = filter_new(analysis, scope, 0, scope->range_count),
                                        .a = terms[i],
                                        .values = {&symbols[i], 1},
                                        .next = supposed->first};
        supposed->first = condition;
        supposed->last = supposed->last ? supposed->last : condition;
    }
}

static const char *attempt(struct analysis *analysis, struct search *search, size_t number)
{
    struct supposed supposed = {NULL, NULL};
    for (size_t l = 0; l < search->leaf_count; l++) {
        const struct candidate *candidate = chosen(&search->leaves[l], number);
        split_suppose(analysis, search->leaves[l].scope, candidate->terms,
                      candidate->base->relation->table->column_count, &supposed);
    }
    prove_under(analysis, supposed.first, supposed.last);
    const struct candidate *driver = chosen(&search->leaves[0], number);
    const char *reason = check(analysis, search, driver);
    if (!reason)
        search->split->driver = driver_fact(analysis, search->leaf_count, driver);
    prove_forget(analysis, supposed.last);
    return reason;
}

const char *split_query(struct split *split)
{
    struct analysis *analysis = split->analysis;
    struct search search = {.split = split, .leaf_count = find_leaves(analysis->top, NULL, 0)};
    if (search.leaf_count > LEAVES_MOST)
        return "it unites more than is looked at";
    part_leaves(analysis->top);
    search.leaves = analysis_new(analysis, search.leaf_count, sizeof *search.leaves);
    (void)find_leaves(analysis->top, search.leaves, 0);
    size_t attempts = 0;
    for (size_t i = 0; i < search.leaf_count; i++) {
        struct leaf *leaf = &search.leaves[i];
        find_candidates(analysis, leaf);
        attempts = leaf->count > attempts ? leaf->count : attempts;
        if (!leaf->count)
            return "its FROM has no sharded table whose key is in every row";
    }
    const char *reason = attempt(analysis, &search, 0);
    for (size_t i = 1; reason && i < attempts; i++)
        if (!attempt(analysis, &search, i))
            return NULL;
    return reason;
}

const char *split_ranges(struct split *split, struct scope *scope, size_t first, split_check *check_under)
{
    struct analysis *analysis = split->analysis;
    struct leaf leaf = {.scope = scope, .first = first};
    const char *reason = "no sharded table that it joins has its key in every row";
    find_candidates(analysis, &leaf);
    for (size_t i = 0; i < leaf.count; i++) {
        const struct candidate *driver = &leaf.candidates[i];
        const struct table *table = driver->base->relation->table;
        struct supposed supposed = {NULL, NULL};
        split_suppose(analysis, scope, driver->terms, table->column_count, &supposed);
        prove_under(analysis, supposed.first, supposed.last);
        const char *why = check_under(analysis, table);
        if (!why)
            split->driver = driver_fact(analysis, 1, driver);
        prove_forget(analysis, supposed.last);
        if (!why)
            return NULL;
        reason = i == 0 ? why : reason;
    }
    return reason;
}

/* ---- the statement ---- */

bool split_is_for_one(const struct analysis *analysis)
{
    for (const struct use *use = analysis->uses; use; use = use->next) {
        const struct fact_relation *fact = &use->fact;
        if (fact->relation->placement != PLACE_SHARDED)
            continue;
        if (!fact->is_bound || fact->keys.alternatives != 1 || fact->keys.values[0].is_array)
            return false;
    }
    return true;
}

/* A literal that a date or time type may read as the present: each shard would have its own. */
static bool names_moment(struct analysis *analysis)
{
    const struct scan *scan = analysis->scan;
    for (size_t i = 0; i < scan->count; i++) {
        const struct scan_literal *literal = &scan->literals[i];
        const char *text = analysis->text + literal->start;
        bool escapes = literal->class == LITERAL_ESCAPED && memchr(text, '\\', literal->length);
        if (literal->class >= LITERAL_STRING && (escapes || words_name_moment(text, literal->length))) {
            analysis->facts->text_bound = true; /* other literals may be others */
            return true;
        }
    }
    return false;
}

/* Does a name of the client's look like a hidden column's? ORDER BY and GROUP BY could mean either. */
static bool names_hidden(const struct analysis *analysis)
{
    static const char hidden[] = "mosaic:";
    const struct columns *outputs = &analysis->top->outputs;
    struct word word;
    for (size_t at = 0; words_next(analysis->text, analysis->size, &at, &word);)
        if (word.kind == WORD_QUOTED && word.size > sizeof hidden &&
            memcmp(word.text + 1, hidden, sizeof hidden - 1) == 0)
            return true;
    for (size_t i = 0; i < outputs->count; i++) /* a star's, too */
        if (outputs->list[i].name && strncmp(outputs->list[i].name, hidden, sizeof hidden - 1) == 0)
            return true;
    return false;
}

/* Is the byte there that stands for a type in what the coordinator is asked (fact_final)? */
static bool has_mark(const struct analysis *analysis)
{
    const struct columns *outputs = &analysis->top->outputs;
    bool found = memchr(analysis->text, '\1', analysis->size);
    for (size_t i = 0; i < outputs->count; i++)
        found |= outputs->list[i].name && strchr(outputs->list[i].name, '\1');
    return found;
}

/*
 * Rows that a shard locks must be its own alone: of a reference table's each shard has another copy. And the whole
 * statement must say it: a subquery's lock would pick the rows that others do not have.
 */
static const char *check_locks(const struct analysis *analysis)
{
    if (analysis->locking_count != 1 || analysis->locking != analysis->top)
        return "a subquery of it locks rows";
    for (const struct use *use = analysis->uses; use; use = use->next)
        if (use->is_locked && use->fact.relation->placement != PLACE_SHARDED)
            return "it locks rows of a table that is not sharded, of which every shard has a copy of its own";
    return NULL;
}

static const char *why_not(struct analysis *analysis, struct split *split)
{
    const struct facts *facts = analysis->facts;
    if (analysis->scatter_bars)
        return analysis->scatter_bars;
    if (analysis->locking_count && check_locks(analysis))
        return check_locks(analysis);
    if (facts->needs_home)
        return "it reads what is on the home shard alone";
    if (analysis->has_volatile)
        return "it calls a volatile function";
    if (analysis->picks_of_copies)
        return analysis->picks_of_copies;
    if (facts->reads_clock || names_moment(analysis))
        return "it asks for the time, and each shard has its own";
    if (!analysis->alone || analysis->scan->cannot)
        return "its text is not one statement that is understood";
    if (names_hidden(analysis))
        return "it has a name that hidden columns could have";
    if (has_mark(analysis))
        return "it has a character that stands for a type";
    return split_query(split);
}

/* COPY of a table: each shard copies its own rows. With row security it may not, as COPY (SELECT …) may not either. */
static void find_copied(struct analysis *analysis, const struct use *use)
{
    struct facts *facts = analysis->facts;
    if (use->fact.relation->has_row_security) {
        facts->scatter_cannot = facts->coordinator_cannot = analysis->scatter_bars;
        return;
    }
    struct fact_scatter *fact = analysis_new(analysis, 1, sizeof *fact);
    struct fact_relation *driver = analysis_new(analysis, 1, sizeof *driver);
    *driver = use->fact;
    *fact = (struct fact_scatter){.driver = driver, .is_copy = true, .has_header = analysis->has_header};
    size_t begin = clauses_begin(analysis), size = clauses_end(analysis, begin) - begin;
    fact->text = analysis_text(analysis, "%.*s", (int)size, analysis->text + begin);
    facts->scatter = fact;
    facts->text_bound = true;
}

/* Does it write nothing but locks? */
static bool locks_alone(const struct analysis *analysis)
{
    for (const struct use *use = analysis->uses; use; use = use->next)
        if (use->is_target || use->is_inserted)
            return false;
    return analysis->locking_count > 0;
}

void scatter_find(struct analysis *analysis)
{
    struct facts *facts = analysis->facts;
    bool explains = facts->explain_mosaic || facts->explain_plain;
    bool copies = facts->class == STATEMENT_COPY_TO && !facts->copies_binary;
    bool declares = facts->class == STATEMENT_DECLARE && facts->declares_plain;
    bool reads =
        facts->class == STATEMENT_SELECT || copies || declares || (facts->class == STATEMENT_EXPLAIN && explains);
    if (copies && analysis->copied && analysis->alone && !analysis->scan->cannot &&
        analysis->copied->fact.relation->placement == PLACE_SHARDED)
        find_copied(analysis, analysis->copied);
    bool is_one = split_is_for_one(analysis), locks = facts->class == STATEMENT_SELECT && locks_alone(analysis);
    if (!analysis->top || (facts->is_write && !locks) || facts->changes_session)
        return;
    if (!reads || is_one) {
        if (!is_one || facts->needs_home) /* it may be of two places */
            prune_find(analysis);
        return;
    }
    struct split split = {.analysis = analysis, .marks = analysis->marks};
    split.fact = analysis_new(analysis, 1, sizeof *split.fact);
    facts->scatter_cannot = why_not(analysis, &split);
    split.fact->locks &= !facts->explain_plain; /* EXPLAIN locks nothing */
    if (facts->scatter_cannot) {
        prune_find(analysis);
        return;
    }
    split.fact->driver = split.driver;
    if (facts->explain_plain)
        split.fact->explains = analysis_text(analysis, "%.*s", facts->inner_start, analysis->text);
    split.fact->is_copy = copies;
    split.fact->is_cursor = declares;
    split.fact->has_header = analysis->has_header;
    facts->scatter = split.fact;
    facts->text_bound = true;
}
