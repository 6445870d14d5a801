/*
 * Conditions: what a WHERE or an ON proves of the ranges that it filters.
 *
 * Only what stands in a conjunct counts: a conjunct must be true of every row that passes. A conjunct becomes
 * statements: columns (terms) that have one of some rows of values. OR of statements about the same columns is their
 * union. Whatever is not understood says nothing.
 */
#include "sql/analysis.h"

/* (terms) is one of `rows` rows of values. */
struct statement {
    struct term **terms;
    size_t width;
    struct fact_value *values;
    size_t rows;
    struct statement *next;
};

struct place {
    struct analysis *analysis;
    struct scope *scope;
    const struct filter *filter; /* NULL: within an OR, where columns compared with columns say nothing */
    struct statement *statements;
};

static struct statement *statement_add(struct place *place, size_t width, size_t rows)
{
    struct statement *statement = analysis_new(place->analysis, 1, sizeof *statement);
    statement->terms = analysis_new(place->analysis, width, sizeof *statement->terms);
    statement->values = analysis_new(place->analysis, width * rows, sizeof *statement->values);
    statement->width = width, statement->rows = rows;
    statement->next = place->statements;
    return place->statements = statement;
}

/* Could an unqualified = mean an operator that somebody made? Only those of pg_catalog are known. */
static bool other_equals(const struct analysis *analysis, const struct term *term, uint32_t type)
{
    const struct schema *schema = analysis->schema;
    if (analysis->own_equals)
        return false;
    if (analysis->in_view && analysis->path_count == 1) /* PostgreSQL wrote it: names of others are qualified */
        return false;
    for (size_t i = 0; i < schema->operator_count; i++) {
        const struct schema_operator *operator= & schema->operators[i];
        if (strcmp(operator->name, "=") != 0 || strcmp(operator->schema, "pg_catalog") == 0)
            continue;
        uint32_t sides[2] = {operator->left, operator->right };
        for (int side = 0; side < 2; side++) {
            const struct schema_type *found = schema_type_by_oid(schema, sides[side]);
            if (sides[side] == term->type || sides[side] == term->domain || sides[side] == type || !found ||
                found->kind == 'p')
                return true;
        }
    }
    return false;
}

/* Says of a key column why a condition on it proves nothing. */
static void unproved(struct analysis *analysis, struct term *term, const char *why, const char *remedy)
{
    struct use *use = term->range ? term->range->use : NULL;
    if (use && !use->missing && use->fact.relation->placement == PLACE_SHARDED) {
        use->missing = analysis_copy(analysis, why);
        use->remedy = analysis_copy(analysis, remedy);
    }
}

/* What a parameter without a type gets from the column it is compared with. */
static uint32_t compared_type(uint32_t type)
{
    return type == 1043 ? 25 : type;
}

/* Makes a value one that the operand's term is compared with; false: the comparison is not one that is understood. */
static bool compare_value(struct analysis *analysis, const struct operand *operand, struct fact_value *value)
{
    struct term *term = operand->term;
    uint32_t type = value->type, own = operand->cast ? operand->cast : term->type;
    enum family family = family_of(term->type);
    bool unknown = term->retyped && !operand->cast && !type && value->source != VALUE_NULL;
    if (value->source == VALUE_PARAMETER && !type)
        value_use(analysis, value, unknown ? 0 : compared_type(own), family != FAMILY_NONE);
    else
        value_use(analysis, value, type, family != FAMILY_NONE);
    if (unknown) {
        unproved(analysis, term, "the key is part of a column of another type, which a value without a type gets",
                 "Cast the value to the key's type.");
        return false;
    }
    if (family == FAMILY_NONE)
        return false;
    if (term->nondeterministic) {
        unproved(analysis, term, "the key's collation is not deterministic: unequal texts may be equal", "");
        return false;
    }
    if (other_equals(analysis, term, type)) {
        unproved(analysis, term, "`=` may mean an operator that is not PostgreSQL's own",
                 "Write OPERATOR(pg_catalog.=).");
        return false;
    }
    if (value->source == VALUE_NULL || !type) {
        value->type = own;
        return true;
    }
    enum family other = family_of(type);
    /* A bpchar column is compared with a text as text, without its trailing blanks: at most what bpchar equals. */
    if (other == family || (family == FAMILY_BPCHAR && other == FAMILY_TEXT))
        return true;
    const struct schema_type *found = schema_type_by_oid(analysis->schema, type);
    const struct schema_type *key = schema_type_by_oid(analysis->schema, term->type);
    unproved(analysis, term,
             analysis_text(analysis, "the key (%s) is compared with a value of type %s", key ? key->name : "?",
                           found ? found->name : "?"),
             "Cast the value to the key's type.");
    return false;
}

/* A value that is compared with something that is no column. */
static void value_lost(struct analysis *analysis, const struct operand *operand)
{
    if (operand->is_value)
        value_use(analysis, &operand->value, operand->value.type, false);
}

/* The cast is not sent: sorted for a merge join, 'a ' would come behind 'aa'. */
static void check_blanks(struct analysis *analysis, const struct term *a, const struct term *b)
{
    enum { BPCHAR = 1042, VARCHAR = 1043 };
    if (a && b && ((a->type == BPCHAR && b->type == VARCHAR) || (a->type == VARCHAR && b->type == BPCHAR)))
        analysis_bar_coordinator(
            analysis,
            "postgres_fdw sorts a varchar with its trailing blanks, also where it is compared with a char(n)");
}

void condition_equal(struct analysis *analysis, const struct filter *filter, struct term *a, struct term *b)
{
    check_blanks(analysis, a, b);
    if (!a || !b || a->nondeterministic || b->nondeterministic)
        return;
    enum family family = family_of(a->type);
    if (family == FAMILY_NONE || family != family_of(b->type))
        return;
    if (other_equals(analysis, a, b->type) || other_equals(analysis, b, a->type))
        return;
    if (++analysis->condition_count > CONDITIONS_MOST) {
        analysis_unproved(analysis, -1, "too many conditions", NULL);
        return;
    }
    struct condition *condition = analysis_new(analysis, 1, sizeof *condition);
    *condition = (struct condition){.filter = filter, .a = a, .b = b};
    *analysis->last_condition = condition;
    analysis->last_condition = &condition->next;
}

static void compare(struct place *place, const struct operand *left, const struct operand *right, bool distinct)
{
    struct analysis *analysis = place->analysis;
    if (left->term && right->term) {
        /* IS NOT DISTINCT FROM is true of two NULLs, which an outer join makes of missing rows. */
        if (place->filter && !distinct)
            condition_equal(analysis, place->filter, left->term, right->term);
        return;
    }
    struct term *term = left->term ? left->term : right->term;
    const struct operand *subject = left->term ? left : right;
    struct operand other = left->term ? *right : *left;
    if (!term || !other.is_value) {
        value_lost(analysis, left);
        value_lost(analysis, right);
        return;
    }
    other.value.null_is_a_value = distinct;
    if (!compare_value(analysis, subject, &other.value) || (distinct && other.value.source == VALUE_NULL))
        return;
    struct statement *statement = statement_add(place, 1, 1);
    statement->terms[0] = term;
    statement->values[0] = other.value;
}

static bool is_equals(const List *name)
{
    if (list_length(name) == 2)
        return strcmp(strVal(linitial(name)), "pg_catalog") == 0 && strcmp(strVal(lsecond(name)), "=") == 0;
    return list_length(name) == 1 && strcmp(strVal(linitial(name)), "=") == 0;
}

static List *row_of(Node *node)
{
    return IsA(node, RowExpr) ? ((RowExpr *)node)->args : NIL;
}

static void gather_equals(struct place *place, A_Expr *operation, bool distinct)
{
    List *left = row_of(operation->lexpr), *right = row_of(operation->rexpr);
    if (!left && !right) {
        struct operand a = operand_compared(place->analysis, place->scope, operation->lexpr);
        struct operand b = operand_compared(place->analysis, place->scope, operation->rexpr);
        compare(place, &a, &b, distinct);
        return;
    }
    if (distinct || list_length(left) != list_length(right)) {
        expression_walk(place->analysis, place->scope, operation->lexpr);
        expression_walk(place->analysis, place->scope, operation->rexpr);
        return;
    }
    for (int i = 0; i < list_length(left); i++) {
        struct operand a = operand_compared(place->analysis, place->scope, list_nth(left, i));
        struct operand b = operand_compared(place->analysis, place->scope, list_nth(right, i));
        compare(place, &a, &b, false);
    }
}

/* column IN (values), column = ANY (ARRAY[values]); every element must be understood. */
static void gather_list(struct place *place, Node *subject, List *elements, uint32_t cast_to)
{
    struct analysis *analysis = place->analysis;
    struct operand left = operand_of(analysis, place->scope, subject);
    size_t rows = (size_t)list_length(elements), known = 0;
    struct fact_value *values = analysis_new(analysis, rows ? rows : 1, sizeof *values);
    for (size_t i = 0; i < rows; i++) {
        struct operand element = operand_compared(analysis, place->scope, list_nth(elements, (int)i));
        if (element.is_value && cast_to && element.value.type && element.value.type != cast_to)
            element.is_value = (element.value.type == 23 && family_of(cast_to) == FAMILY_NUMBER);
        if (element.is_value && cast_to)
            element.value.type = cast_to, element.value.is_cast = true;
        if (!element.is_value || !left.term) {
            value_lost(analysis, &element);
            continue;
        }
        values[known] = element.value;
        known += compare_value(analysis, &left, &values[known]);
    }
    value_lost(analysis, &left);
    if (!left.term || known != rows || !rows)
        return;
    struct statement *statement = statement_add(place, 1, 0);
    statement->terms[0] = left.term;
    statement->values = values;
    statement->rows = rows;
}

/* (a, b) IN ((1, 2), (3, 4)) */
static void gather_rows(struct place *place, List *subject, List *elements)
{
    struct analysis *analysis = place->analysis;
    size_t width = (size_t)list_length(subject), rows = (size_t)list_length(elements);
    struct term **terms = analysis_new(analysis, width, sizeof *terms);
    struct operand *lefts = analysis_new(analysis, width, sizeof *lefts);
    struct fact_value *values = analysis_new(analysis, width * rows, sizeof *values);
    bool understood = true;
    for (size_t column = 0; column < width; column++) {
        struct operand left = operand_of(analysis, place->scope, list_nth(subject, (int)column));
        value_lost(analysis, &left);
        terms[column] = left.term, lefts[column] = left;
        understood &= left.term != NULL;
    }
    for (size_t row = 0; row < rows; row++) {
        List *parts = row_of(list_nth(elements, (int)row));
        if ((size_t)list_length(parts) != width) {
            expression_walk(analysis, place->scope, list_nth(elements, (int)row));
            understood = false;
            continue;
        }
        for (size_t column = 0; column < width; column++) {
            struct operand part = operand_compared(analysis, place->scope, list_nth(parts, (int)column));
            struct fact_value *value = &values[row * width + column];
            *value = part.value;
            if (!part.is_value || !terms[column])
                value_lost(analysis, &part), understood = false;
            else
                understood &= compare_value(analysis, &lefts[column], value);
        }
    }
    if (!understood || !rows)
        return;
    struct statement *statement = statement_add(place, width, 0);
    memcpy(statement->terms, terms, width * sizeof *terms);
    statement->values = values;
    statement->rows = rows;
}

static void gather_in(struct place *place, A_Expr *operation)
{
    if (row_of(operation->lexpr))
        gather_rows(place, row_of(operation->lexpr), (List *)operation->rexpr);
    else
        gather_list(place, operation->lexpr, (List *)operation->rexpr, 0);
}

static uint32_t array_of(const struct analysis *analysis, uint32_t element)
{
    const struct schema_type *type = schema_type_by_oid(analysis->schema, element);
    return type ? type->array : 0;
}

/* column = ANY ($1), = ANY ('{1,2}'), = ANY ('{1,2}'::int[]) */
static void gather_array(struct place *place, A_Expr *operation)
{
    struct analysis *analysis = place->analysis;
    struct operand left = operand_of(analysis, place->scope, operation->lexpr);
    struct operand array = operand_of(analysis, place->scope, operation->rexpr);
    value_lost(analysis, &left);
    if (!left.term || !array.is_value || array.value.source == VALUE_NULL) {
        value_lost(analysis, &array);
        return;
    }
    struct fact_value element = array.value;
    element.source = VALUE_CONSTANT; /* so that the use of a parameter is noted once, as an array */
    element.type = array.value.type                   ? schema_element_type(analysis->schema, array.value.type)
                   : left.term->retyped && !left.cast ? 0
                                                      : compared_type(left.cast ? left.cast : left.term->type);
    uint32_t type = array.value.type ? array.value.type : array_of(analysis, element.type);
    value_use(analysis, &array.value, type, family_of(left.term->type) != FAMILY_NONE);
    if (!element.type || !type || !compare_value(analysis, &left, &element))
        return;
    struct statement *statement = statement_add(place, 1, 1);
    statement->terms[0] = left.term;
    statement->values[0] = array.value;
    statement->values[0].type = type;
    statement->values[0].is_array = true;
}

static void gather_any(struct place *place, A_Expr *operation)
{
    Node *array = operation->rexpr;
    if (IsA(array, A_ArrayExpr)) {
        gather_list(place, operation->lexpr, ((A_ArrayExpr *)array)->elements, 0);
        return;
    }
    if (IsA(array, TypeCast) && IsA(((TypeCast *)array)->arg, A_ArrayExpr)) {
        bool modified;
        uint32_t type = name_type(place->analysis, ((TypeCast *)array)->typeName, &modified);
        uint32_t element = schema_element_type(place->analysis->schema, type);
        if (element && !modified) {
            gather_list(place, operation->lexpr, ((A_ArrayExpr *)((TypeCast *)array)->arg)->elements, element);
            return;
        }
    }
    gather_array(place, operation);
}

/* column IN (SELECT column …): rows of both sides matter only where they are equal to one of the other. */
static bool gather_sublink(struct place *place, SubLink *link)
{
    bool equals = link->subLinkType == ANY_SUBLINK && (!link->operName || is_equals(link->operName));
    if (!equals || !place->filter || row_of(link->testexpr))
        return false;
    struct analysis *analysis = place->analysis;
    struct operand left = operand_of(analysis, place->scope, link->testexpr);
    value_lost(analysis, &left);
    struct columns columns = query_analyse(analysis, place->scope, true, link->subselect);
    struct term *inner = columns.count == 1 && !columns.opaque ? column_term(analysis, &columns.list[0]) : NULL;
    if (!left.term || !inner)
        return true;
    condition_equal(analysis, place->filter, left.term, inner);
    if (!inner->range || !columns.list[0].down)
        return true;
    /* The other way round: as if the subquery had a condition of its own. */
    struct range *range = inner->range;
    condition_equal(analysis, filter_new(analysis, range->scope, range->index, range->index + 1), left.term, inner);
    return true;
}

static void gather(struct place *place, Node *node);

static struct statement *find_statement(struct statement *list, struct term *const *terms, size_t width)
{
    for (; list; list = list->next)
        if (list->width == width && memcmp(list->terms, terms, width * sizeof *terms) == 0)
            return list;
    return NULL;
}

/* The rows that a branch of an OR allows for the whole key of a use: its own, or the product of its columns'. */
static struct statement *branch_rows(struct place *branch, struct term *const *terms, size_t width)
{
    struct statement *found = find_statement(branch->statements, terms, width);
    if (found)
        return found;
    struct statement *parts[KEY_COLUMNS_MAX];
    size_t rows = 1;
    for (size_t i = 0; i < width; i++) {
        parts[i] = find_statement(branch->statements, &terms[i], 1);
        if (!parts[i] || parts[i]->rows * rows > ALTERNATIVES_MOST)
            return NULL;
        for (size_t row = 0; width > 1 && row < parts[i]->rows; row++)
            if (parts[i]->values[row].is_array) /* as many values as it has, which a row of a key cannot say */
                return NULL;
        rows *= parts[i]->rows;
    }
    struct statement *product = statement_add(branch, width, rows);
    memcpy(product->terms, terms, width * sizeof *terms);
    for (size_t row = 0; row < rows; row++)
        for (size_t i = 0, rest = row; i < width; i++) {
            product->values[row * width + i] = parts[i]->values[rest % parts[i]->rows];
            rest /= parts[i]->rows;
        }
    return product;
}

/* Adds to `place` what all branches say of these terms. */
static void unite(struct place *place, struct place *branches, size_t count, struct term *const *terms, size_t width)
{
    size_t rows = 0;
    struct statement **parts = analysis_new(place->analysis, count, sizeof *parts);
    for (size_t i = 0; i < count; i++) {
        parts[i] = branch_rows(&branches[i], terms, width);
        if (!parts[i])
            return;
        rows += parts[i]->rows;
        if (rows > ALTERNATIVES_MOST)
            return;
    }
    struct statement *all = statement_add(place, width, rows);
    memcpy(all->terms, terms, width * sizeof *terms);
    struct fact_value *to = all->values;
    for (size_t i = 0; i < count; i++) {
        memcpy(to, parts[i]->values, parts[i]->rows * width * sizeof *to);
        to += parts[i]->rows * width;
    }
}

/* The terms of a whole key of several columns; false: the term is no column of one. */
static bool whole_key(struct analysis *analysis, struct term *term, struct term **terms, size_t *width)
{
    struct range *range = term->range;
    const struct schema_relation *relation = range ? range->relation : NULL;
    if (!relation || relation->placement != PLACE_SHARDED || relation->table->column_count < 2)
        return false;
    *width = relation->table->column_count;
    for (size_t i = 0; i < *width; i++) {
        const struct schema_column *column = schema_column(relation, relation->table->columns[i]);
        if (!column)
            return false;
        terms[i] = column_term(analysis, &range->columns.list[column - relation->columns]);
    }
    return true;
}

static void gather_or(struct place *place, List *arguments)
{
    size_t count = (size_t)list_length(arguments);
    struct place *branches = analysis_new(place->analysis, count, sizeof *branches);
    for (size_t i = 0; i < count; i++) {
        branches[i] = (struct place){place->analysis, place->scope, NULL, NULL};
        gather(&branches[i], list_nth(arguments, (int)i));
    }
    for (struct statement *first = branches[0].statements; first; first = first->next) {
        if (!find_statement(place->statements, first->terms, first->width))
            unite(place, branches, count, first->terms, first->width);
        struct term *key[KEY_COLUMNS_MAX];
        size_t width;
        if (first->width == 1 && whole_key(place->analysis, first->terms[0], key, &width) &&
            !find_statement(place->statements, key, width))
            unite(place, branches, count, key, width);
    }
}

static void gather_operator(struct place *place, A_Expr *operation)
{
    struct analysis *analysis = place->analysis;
    bool equals = is_equals(operation->name), before = analysis->own_equals;
    analysis->own_equals = list_length(operation->name) == 2;
    if (equals && operation->kind == AEXPR_OP && operation->lexpr)
        gather_equals(place, operation, false);
    else if (equals && operation->kind == AEXPR_NOT_DISTINCT)
        gather_equals(place, operation, true);
    else if (equals && operation->kind == AEXPR_IN)
        gather_in(place, operation);
    else if (equals && operation->kind == AEXPR_OP_ANY)
        gather_any(place, operation);
    else
        expression_walk(analysis, place->scope, (Node *)operation);
    analysis->own_equals = before;
}

/* What `node` being true says; walks all of it. */
static void gather(struct place *place, Node *node)
{
    struct analysis *analysis = place->analysis;
    analysis_enter(analysis);
    if (IsA(node, BoolExpr) && ((BoolExpr *)node)->boolop == AND_EXPR) {
        ListCell *cell;
        foreach (cell, ((BoolExpr *)node)->args)
            gather(place, lfirst(cell));
    } else if (IsA(node, BoolExpr) && ((BoolExpr *)node)->boolop == OR_EXPR) {
        gather_or(place, ((BoolExpr *)node)->args);
    } else if (IsA(node, BooleanTest) && ((BooleanTest *)node)->booltesttype == IS_TRUE) {
        gather(place, (Node *)((BooleanTest *)node)->arg);
    } else if (IsA(node, A_Expr)) {
        gather_operator(place, (A_Expr *)node);
    } else if (!IsA(node, SubLink) || !gather_sublink(place, (SubLink *)node)) {
        expression_walk(analysis, place->scope, node);
    }
    analysis_leave(analysis);
}

/* Rows of a whole key, where these terms are one. */
static void note_tuples(struct analysis *analysis, const struct statement *statement, const struct filter *filter)
{
    struct term *key[KEY_COLUMNS_MAX];
    size_t width;
    if (!whole_key(analysis, statement->terms[0], key, &width) || width > statement->width)
        return;
    struct range *range = statement->terms[0]->range;
    if (range->scope != filter->scope || range->index < filter->first || range->index >= filter->last)
        return;
    size_t order[KEY_COLUMNS_MAX];
    for (size_t i = 0; i < width; i++) {
        for (order[i] = 0; order[i] < statement->width && statement->terms[order[i]] != key[i];)
            order[i]++;
        if (order[i] == statement->width)
            return;
    }
    struct tuples *tuples = analysis_new(analysis, 1, sizeof *tuples);
    tuples->count = statement->rows;
    tuples->values = analysis_new(analysis, statement->rows * width, sizeof *tuples->values);
    for (size_t row = 0; row < statement->rows; row++)
        for (size_t i = 0; i < width; i++)
            tuples->values[row * width + i] = statement->values[row * statement->width + order[i]];
    if (range->use && (!range->use->tuples || range->use->tuples->count > tuples->count))
        range->use->tuples = tuples;
}

static void note_condition(struct analysis *analysis, const struct statement *statement, size_t column,
                           const struct filter *filter)
{
    if (++analysis->condition_count > CONDITIONS_MOST) {
        analysis_unproved(analysis, -1, "too many conditions", NULL);
        return;
    }
    struct condition *condition = analysis_new(analysis, 1, sizeof *condition);
    struct fact_value *values = analysis_new(analysis, statement->rows, sizeof *values);
    for (size_t row = 0; row < statement->rows; row++)
        values[row] = statement->values[row * statement->width + column];
    *condition =
        (struct condition){.filter = filter, .a = statement->terms[column], .values = {values, statement->rows}};
    *analysis->last_condition = condition;
    analysis->last_condition = &condition->next;
}

void condition_where(struct analysis *analysis, struct scope *scope, const struct filter *filter, Node *node)
{
    if (!node)
        return;
    struct place place = {analysis, scope, filter, NULL};
    gather(&place, node);
    for (struct statement *statement = place.statements; statement; statement = statement->next) {
        for (size_t column = 0; column < statement->width; column++)
            note_condition(analysis, statement, column, filter);
        if (statement->width > 1)
            note_tuples(analysis, statement, filter);
    }
}
