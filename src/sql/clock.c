/*
 * The present, read by input functions: 'now' and its like as a date or time, also within a range, array or row. What a
 * literal or a parameter says is looked for where it stands (words_name_moment); here it is what is computed, or
 * stored.
 */
#include "sql/analysis.h"

bool clock_has_time(const struct analysis *analysis, uint32_t oid)
{
    const struct schema_type *type =
        schema_type_by_oid(analysis->schema, schema_base_type(analysis->schema, oid, NULL));
    for (int depth = 0; type && type->category == 'A' && type->element && depth < 8; depth++)
        type = schema_type_by_oid(analysis->schema, schema_base_type(analysis->schema, type->element, NULL));
    return !type || strchr("ADRCP", type->category);
}

static bool is_textual(const struct analysis *analysis, uint32_t oid)
{
    const struct schema_type *type =
        schema_type_by_oid(analysis->schema, schema_base_type(analysis->schema, oid, NULL));
    return !type || strchr("SPXU", type->category);
}

/* May a call give a text, by any of the functions that its name may mean? */
static bool gives_text(const struct analysis *analysis, const FuncCall *call)
{
    size_t count;
    const struct schema_function *list = schema_functions(analysis->schema, strVal(llast(call->funcname)), &count);
    for (size_t i = 0; i < count; i++)
        if (is_textual(analysis, list[i].result))
            return true;
    return !count;
}

/* PostgreSQL's own + and - give no text; somebody's may. */
static bool is_plain_sum(const struct analysis *analysis, const A_Expr *operation)
{
    const char *name = operation->kind == AEXPR_OP ? strVal(llast(operation->name)) : "";
    for (size_t i = 0; i < analysis->schema->operator_count; i++)
        if (strcmp(analysis->schema->operators[i].name, name) == 0)
            return false;
    return strcmp(name, "+") == 0 || strcmp(name, "-") == 0;
}

static bool may_be_text(struct analysis *analysis, struct scope *scope, Node *node)
{
    const struct term *term;
    bool modified;
    switch (nodeTag(node)) {
    case T_A_Const:
    case T_ParamRef:
    case T_SQLValueFunction:
        return false;
    case T_ColumnRef:
        term = name_resolve(analysis, scope, (ColumnRef *)node);
        return !term || is_textual(analysis, term->type);
    case T_TypeCast:
        return is_textual(analysis, name_type(analysis, ((TypeCast *)node)->typeName, &modified));
    case T_FuncCall:
        return gives_text(analysis, (FuncCall *)node);
    case T_A_Expr:
        return !is_plain_sum(analysis, (A_Expr *)node);
    default:
        return true;
    }
}

void clock_read(struct analysis *analysis, bool by_words)
{
    analysis->facts->reads_clock = true;
    if (by_words && !analysis->in_view)
        analysis->moments++;
    else
        analysis->clock_else = true;
}

void clock_cast(struct analysis *analysis, struct scope *scope, uint32_t type, Node *from)
{
    if (!analysis->clock_else && clock_has_time(analysis, type) && may_be_text(analysis, scope, from))
        analysis->facts->reads_clock = analysis->clock_else = true;
}

void clock_stored(struct analysis *analysis, const struct fact_value *value, uint32_t type)
{
    if (clock_has_time(analysis, type) || (value->type && clock_has_time(analysis, value->type)))
        return;
    if (value->source == VALUE_PARAMETER && !value->is_cast && value->number <= analysis->parameter_count)
        analysis->parameters[value->number - 1].stored++;
    if (value->source != VALUE_LITERAL)
        return;
    if (!analysis->stored)
        analysis->stored = analysis_new(analysis, analysis->scan->count, sizeof *analysis->stored);
    analysis->stored[value->number] = true;
}

void clock_call(struct analysis *analysis, struct scope *scope, const FuncCall *call, const char *name)
{
    /* date(x) is x::date. */
    static const char *const types[] = {"date", "time", "timestamp", "timestamptz", "timetz"};
    static const char *const readers[] = {
        "array_in",          "date_in",
        "domain_in",         "json_populate_record",
        "json_to_record",    "json_populate_recordset",
        "json_to_recordset", "jsonb_populate_record",
        "jsonb_to_record",   "jsonb_populate_recordset",
        "multirange_in",     "jsonb_to_recordset",
        "range_in",          "record_in",
        "time_in",           "timestamp_in",
        "timestamptz_in",    "timetz_in",
    };
    bool is_cast = list_length(call->args) == 1 && NAME_IS_ONE_OF(name, types) &&
                   may_be_text(analysis, scope, linitial(call->args));
    analysis->clock_else |= is_cast || NAME_IS_ONE_OF(name, readers);
    analysis->facts->reads_clock |= analysis->clock_else;
}
