/* Operands: what stands on a side of a comparison, or in a target list, as a term or as a value. */
#include "sql/analysis.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

enum family family_of(uint32_t type)
{
    switch (type) {
    case 20:
    case 21:
    case 23:
    case 1700:
        return FAMILY_NUMBER;
    case 25:
    case 1043:
        return FAMILY_TEXT;
    case 1042:
        return FAMILY_BPCHAR;
    case 2950:
        return FAMILY_UUID;
    case 17:
        return FAMILY_BYTEA;
    case 1082:
        return FAMILY_DATE;
    case 1114:
        return FAMILY_TIMESTAMP;
    case 1184:
        return FAMILY_TIMESTAMPTZ;
    default:
        return FAMILY_NONE;
    }
}

void parameter_use(struct analysis *analysis, int number, uint32_t type, bool is_key)
{
    if (number < 1 || number > PARAMETER_MOST)
        return;
    if ((size_t)number > analysis->parameter_capacity) {
        size_t capacity = analysis->parameter_capacity ? analysis->parameter_capacity * 2 : 8;
        while (capacity < (size_t)number)
            capacity *= 2;
        struct parameter *larger = analysis_new(analysis, capacity, sizeof *larger);
        if (analysis->parameter_count)
            memcpy(larger, analysis->parameters, analysis->parameter_count * sizeof *larger);
        analysis->parameters = larger, analysis->parameter_capacity = capacity;
    }
    if ((size_t)number > analysis->parameter_count)
        analysis->parameter_count = (size_t)number;
    struct parameter *parameter = &analysis->parameters[number - 1];
    parameter->conflicts |= !type || (parameter->type && parameter->type != type);
    parameter->type = type ? type : parameter->type;
    parameter->is_key |= is_key;
    parameter->uses++;
}

void value_use(struct analysis *analysis, const struct fact_value *value, uint32_t type, bool is_key)
{
    if (value->source == VALUE_PARAMETER)
        parameter_use(analysis, (int)value->number, value->is_cast ? value->type : type, is_key);
}

static uint32_t declared_type(const struct analysis *analysis, int number)
{
    size_t index = (size_t)number - 1;
    if (number < 1 || index >= analysis->context->type_count)
        return 0;
    uint32_t type = analysis->context->types[index];
    if (type == 705) /* unknown */
        return 0;
    return type ? schema_base_type(analysis->schema, type, NULL) : 0;
}

/* The literal token at a place of the text, or behind the minus that stands there. */
static const struct scan_literal *find_literal(const struct analysis *analysis, int location, bool *negative)
{
    const struct scan *scan = analysis->scan;
    if (location < 0 || (size_t)location >= analysis->size || scan->cannot)
        return NULL;
    size_t at = (size_t)location;
    *negative = analysis->text[at] == '-';
    if (*negative)
        do
            at++;
        while (at < analysis->size && (analysis->text[at] == ' ' || analysis->text[at] == '\n'));
    size_t low = 0, high = scan->count;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (scan->literals[middle].start < at)
            low = middle + 1;
        else
            high = middle;
    }
    return low < scan->count && scan->literals[low].start == at ? &scan->literals[low] : NULL;
}

static uint32_t type_of_digits(const char *digits)
{
    if (strspn(digits, "0123456789") != strlen(digits))
        return 1700;
    errno = 0;
    (void)strtoll(digits, NULL, 10);
    return errno ? 1700 : 20;
}

/* A literal of a view's text: its content is kept, since it is no literal of the statement. */
static bool view_constant(struct analysis *analysis, const A_Const *constant, struct fact_value *value)
{
    value->source = VALUE_CONSTANT;
    if (IsA(&constant->val, String)) {
        value->literal = LITERAL_STRING;
        value->text = analysis_copy(analysis, constant->val.sval.sval);
        return true;
    }
    value->literal = value->type == 1700 ? LITERAL_DECIMAL : LITERAL_INTEGER;
    if (IsA(&constant->val, Integer)) {
        long number = constant->val.ival.ival;
        value->is_negative = number < 0;
        value->text = analysis_text(analysis, "%ld", number < 0 ? -number : number);
        return true;
    }
    const char *digits = constant->val.fval.fval;
    value->is_negative = *digits == '-';
    value->text = analysis_copy(analysis, digits + value->is_negative);
    return true;
}

static bool constant_value(struct analysis *analysis, const A_Const *constant, struct fact_value *value)
{
    *value = (struct fact_value){.source = VALUE_NULL};
    if (constant->isnull)
        return true;
    if (IsA(&constant->val, Integer))
        value->type = 23;
    else if (IsA(&constant->val, Float))
        value->type = type_of_digits(constant->val.fval.fval + (constant->val.fval.fval[0] == '-'));
    else if (!IsA(&constant->val, String))
        return false;
    if (analysis->in_view)
        return view_constant(analysis, constant, value);
    const struct scan_literal *literal = find_literal(analysis, constant->location, &value->is_negative);
    if (!literal || literal->class == LITERAL_BITS || literal->class == LITERAL_NATIONAL)
        return false;
    /* What the parser made of it must be what the token is: a string for a string. */
    bool is_number = literal->class == LITERAL_INTEGER || literal->class == LITERAL_DECIMAL;
    if (is_number == IsA(&constant->val, String) || (value->is_negative && !is_number))
        return false;
    value->source = VALUE_LITERAL;
    value->number = (uint32_t)(literal - analysis->scan->literals);
    /* Facts serve other digits, too: an integer's type depends on its size, and is left to the plan. */
    if (literal->class == LITERAL_INTEGER)
        value->type = 23;
    return true;
}

/* 1.5::int rounds, 5::text is spelled anew: not looked into. '42'::int and $1::int only name the type. */
static bool cast_is_exact(uint32_t from, uint32_t to)
{
    bool integers = (from == 23 || from == 20 || from == 21) && family_of(to) == FAMILY_NUMBER;
    /* Text to anything goes by the type's input function; so does a quoted literal. */
    bool text = family_of(from) == FAMILY_TEXT && family_of(to) != FAMILY_NONE && family_of(to) != FAMILY_BPCHAR;
    return !from || from == to || integers || text || family_of(to) == FAMILY_NONE;
}

/* Casts that only say the type of a literal or parameter, or change no value among those that compare as equal. */
static bool cast_value(struct analysis *analysis, const TypeCast *cast, struct fact_value *value)
{
    bool modified;
    uint32_t type = name_type(analysis, cast->typeName, &modified);
    if (!type || modified)
        return false;
    struct fact_value inner;
    uint32_t from = 0;
    if (IsA(cast->arg, A_Const)) {
        if (!constant_value(analysis, (A_Const *)cast->arg, &inner))
            return false;
        from = inner.type;
    } else if (IsA(cast->arg, ParamRef)) {
        if (((ParamRef *)cast->arg)->number > PARAMETER_MOST)
            return false;
        from = declared_type(analysis, ((ParamRef *)cast->arg)->number);
        inner = (struct fact_value){.source = VALUE_PARAMETER, .number = (uint32_t)((ParamRef *)cast->arg)->number};
    } else {
        return false;
    }
    /* An array is cast element by element. */
    uint32_t element = schema_element_type(analysis->schema, from);
    if (!cast_is_exact(from, type) || !cast_is_exact(element, schema_element_type(analysis->schema, type)))
        return false;
    *value = inner;
    value->type = type;
    value->is_cast = true;
    return true;
}

bool operand_value(struct analysis *analysis, Node *node, struct fact_value *value)
{
    if (IsA(node, A_Const))
        return constant_value(analysis, (A_Const *)node, value);
    if (IsA(node, TypeCast))
        return cast_value(analysis, (TypeCast *)node, value);
    if (!IsA(node, ParamRef))
        return false;
    int number = ((ParamRef *)node)->number;
    *value = (struct fact_value){
        .source = VALUE_PARAMETER, .number = (uint32_t)number, .type = declared_type(analysis, number)};
    return number > 0 && number <= PARAMETER_MOST;
}

struct term *operand_constant(struct analysis *analysis, const struct fact_value *value)
{
    struct term *term = term_new(analysis, NULL, 0, false);
    struct fact_value *copy = analysis_new(analysis, 1, sizeof *copy);
    *copy = *value;
    term->type = value->type;
    term->is_constant = true;
    term->bound = (struct values){copy, 1};
    return term;
}

/* Of a cast column, equal values stay equal and unequal ones unequal: the term itself, and the type that it gets. */
static struct term *cast_column(struct analysis *analysis, struct scope *scope, const TypeCast *cast, uint32_t *type)
{
    struct term *term = name_resolve(analysis, scope, (ColumnRef *)cast->arg);
    bool modified;
    uint32_t to = name_type(analysis, cast->typeName, &modified), from = term ? term->type : 0;
    *type = to;
    clock_cast(analysis, scope, to, cast->arg);
    if (!from || modified)
        return NULL;
    bool widens = (from == 21 && (to == 23 || to == 20 || to == 1700)) || (from == 23 && (to == 20 || to == 1700)) ||
                  (from == 20 && to == 1700);
    bool text = family_of(from) == FAMILY_TEXT && family_of(to) == FAMILY_TEXT;
    return from == to || widens || text ? term : NULL;
}

struct operand operand_of(struct analysis *analysis, struct scope *scope, Node *node)
{
    struct operand operand = {0};
    if (IsA(node, ColumnRef)) {
        operand.term = name_resolve(analysis, scope, (ColumnRef *)node);
    } else if (operand_value(analysis, node, &operand.value)) {
        operand.is_value = true;
    } else if (IsA(node, TypeCast) && IsA(((TypeCast *)node)->arg, ColumnRef)) {
        operand.term = cast_column(analysis, scope, (TypeCast *)node, &operand.cast);
    } else if (IsA(node, SubLink) && ((SubLink *)node)->subLinkType == EXPR_SUBLINK) {
        struct columns columns = query_analyse(analysis, scope, true, ((SubLink *)node)->subselect);
        if (columns.count == 1 && !columns.opaque)
            operand.term = column_term(analysis, &columns.list[0]);
    } else {
        expression_walk(analysis, scope, node);
    }
    return operand;
}

/* ---- expressions of constants ---- */

enum { FOLDED_DEPTH = 32, OID_INT8 = 20, OID_INT4 = 23 };

/* Does an unqualified operator of these integers mean PostgreSQL's own? It fits exactly, so only a twin can hide it. */
static bool has_twin(const struct analysis *analysis, const char *name)
{
    const struct schema *schema = analysis->schema;
    if (analysis->in_view && analysis->path_count == 1) /* as other_equals */
        return false;
    for (size_t i = 0; i < schema->operator_count; i++) {
        const struct schema_operator *twin = &schema->operators[i];
        bool integers = (!twin->left || twin->left == OID_INT4 || twin->left == OID_INT8) &&
                        (twin->right == OID_INT4 || twin->right == OID_INT8);
        if (integers && strcmp(twin->name, name) == 0 && strcmp(twin->schema, "pg_catalog") != 0)
            return true;
    }
    return false;
}

static bool of_type(int64_t number, uint32_t type)
{
    return type == OID_INT8 || number == (int32_t)number;
}

/* Other digits could have another outcome: the facts are of this text alone. */
static bool by_value(struct analysis *analysis, bool outcome)
{
    analysis->facts->text_bound |= !analysis->in_view;
    return outcome;
}

/* As make_const: the smallest of int4 and int8 that has it. */
static bool fold_constant(struct analysis *analysis, const A_Const *constant, int64_t *number, uint32_t *type)
{
    if (constant->isnull)
        return false;
    if (IsA(&constant->val, Integer)) {
        *number = constant->val.ival.ival;
    } else if (IsA(&constant->val, Float)) {
        const char *text = constant->val.fval.fval;
        if (type_of_digits(text + (*text == '-')) != OID_INT8)
            return !strpbrk(text, ".eE") && by_value(analysis, false);
        *number = strtoll(text, NULL, 10);
    } else {
        return false;
    }
    *type = of_type(*number, OID_INT4) ? OID_INT4 : OID_INT8;
    return true;
}

static bool compute(char operation, int64_t left, int64_t right, uint32_t type, int64_t *number)
{
    bool overflows = operation == '+'   ? __builtin_add_overflow(left, right, number)
                     : operation == '-' ? __builtin_sub_overflow(left, right, number)
                                        : __builtin_mul_overflow(left, right, number);
    return !overflows && of_type(*number, type);
}

/*
 * What an expression of integers gives: literals, casts to int4 and int8, and + - * of pg_catalog, which PostgreSQL
 * finds exactly for any two of these types (int4pl, int48pl, int84pl, int8pl …). False: it is none, or an error there.
 */
static bool fold(struct analysis *analysis, Node *node, int depth, int64_t *number, uint32_t *type)
{
    if (!node || depth > FOLDED_DEPTH)
        return false;
    if (IsA(node, A_Const))
        return fold_constant(analysis, (A_Const *)node, number, type);
    if (IsA(node, TypeCast)) {
        bool modified;
        if (!fold(analysis, ((TypeCast *)node)->arg, depth + 1, number, type))
            return false;
        *type = name_type(analysis, ((TypeCast *)node)->typeName, &modified);
        if (modified || (*type != OID_INT4 && *type != OID_INT8))
            return false;
        return of_type(*number, *type) || by_value(analysis, false);
    }
    const A_Expr *operation = (A_Expr *)node;
    if (!IsA(node, A_Expr) || operation->kind != AEXPR_OP)
        return false;
    const char *name = strVal(llast(operation->name));
    bool own = list_length(operation->name) == 2 && strcmp(strVal(linitial(operation->name)), "pg_catalog") == 0;
    if (!strchr("+-*", *name) || name[1] || (list_length(operation->name) == 1 ? has_twin(analysis, name) : !own))
        return false;
    int64_t left = 0, right;
    uint32_t left_type = OID_INT4, right_type;
    if (operation->lexpr ? !fold(analysis, operation->lexpr, depth + 1, &left, &left_type) : *name != '-')
        return false;
    if (!fold(analysis, operation->rexpr, depth + 1, &right, &right_type))
        return false;
    *type = left_type == OID_INT8 ? OID_INT8 : right_type;
    return by_value(analysis, compute(*name, left, right, *type, number));
}

struct operand operand_compared(struct analysis *analysis, struct scope *scope, Node *node)
{
    int64_t number;
    uint32_t type;
    bool computed = IsA(node, A_Expr) || (IsA(node, TypeCast) && IsA(((TypeCast *)node)->arg, A_Expr));
    if (!computed || !fold(analysis, node, 0, &number, &type))
        return operand_of(analysis, scope, node);
    struct operand operand = {.is_value = true};
    uint64_t magnitude = number < 0 ? -(uint64_t)number : (uint64_t)number;
    operand.value = (struct fact_value){.source = VALUE_CONSTANT, .literal = LITERAL_INTEGER, .type = type};
    operand.value.is_negative = number < 0;
    operand.value.text = analysis_text(analysis, "%" PRIu64, magnitude);
    return operand;
}
