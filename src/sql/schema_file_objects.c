/* Types, functions, operators, collations. */
#include "sql/schema_file_parts.h"

enum { OID_VOID = 2278, OID_RECORD = 2249, OID_TRIGGER = 2279 };

/* ---- types ---- */

static struct schema_type *create_type(struct schema_file *file, const List *names, char kind, char category)
{
    const char *namespace, *name;
    file_split(names, &namespace, &name);
    namespace = file_new_namespace(file, namespace);
    struct schema_type *type = draft_type(&file->draft, namespace, name);
    if (type && type->category == 'U' && category != 'U') { /* named before it was made, or CREATE TYPE name; */
        type->kind = kind, type->category = category;
        return type;
    }
    if (type) {
        file_refuse(file, MOSAIC_DATA, "type %s.%s is created twice", namespace, name);
        return NULL;
    }
    return draft_add_type(&file->draft, namespace, file_text(file, name), kind, category);
}

void file_create_enum(struct schema_file *file, const CreateEnumStmt *statement)
{
    create_type(file, statement->typeName, 'e', 'E');
}

void file_create_domain(struct schema_file *file, const CreateDomainStmt *statement)
{
    int32_t modifier;
    uint32_t base = file_type(file, statement->typeName, &modifier);
    const struct schema_type *below = draft_type_by_oid(&file->draft, base);
    struct schema_type *type = create_type(file, statement->domainname, 'd', below ? below->category : 'U');
    if (!type)
        return;
    type->base = base;
    type->base_modifier = modifier;
    struct file_default value = file_type_default(file, base); /* a copy of which is the new domain's own */
    const ListCell *cell;
    foreach (cell, statement->constraints) {
        const Constraint *constraint = lfirst(cell);
        if (constraint->contype == CONSTR_DEFAULT)
            value = file_default(constraint->raw_expr);
    }
    struct file_domain *domain = value.has ? draft_append(&file->draft, &file->defaulted, sizeof *domain) : NULL;
    if (domain)
        *domain = (struct file_domain){type->oid, value};
    type->default_varies = value.has && (!value.same || value.clock);
}

void file_create_range(struct schema_file *file, const CreateRangeStmt *statement)
{
    const char *namespace, *name;
    file_split(statement->typeName, &namespace, &name);
    create_type(file, statement->typeName, 'r', 'R');
    /* makeMultirangeTypeName: "range" becomes "multirange", else it is put behind. */
    const char *at = strstr(name, "range");
    const char *multi = at ? arena_format(file->draft.arena, "%.*smulti%s", (int)(at - name), name, at)
                           : arena_format(file->draft.arena, "%s_multirange", name);
    if (multi)
        draft_add_type(&file->draft, file_new_namespace(file, namespace), multi, 'm', 'R');
    else
        file->draft.failed = true;
}

void file_create_composite(struct schema_file *file, const CompositeTypeStmt *statement)
{
    const char *namespace = file_new_namespace(file, statement->typevar->schemaname);
    struct draft_relation *relation =
        draft_add_relation(&file->draft, namespace, file_text(file, statement->typevar->relname), 'c');
    if (relation)
        file_add_elements(file, relation, statement->coldeflist);
}

/* ---- functions ---- */

static struct schema_function *add_function(struct schema_file *file, const List *names, const uint32_t *arguments,
                                            size_t count)
{
    const char *namespace, *name;
    file_split(names, &namespace, &name);
    namespace = file_new_namespace(file, namespace);
    struct schema_function *functions = file->draft.functions.items;
    for (size_t i = 0; i < file->draft.functions.count; i++)
        if (strcmp(functions[i].name, name) == 0 && strcmp(functions[i].schema, namespace) == 0 &&
            functions[i].argument_count == count &&
            (!count || memcmp(functions[i].arguments, arguments, count * sizeof *arguments) == 0))
            return &functions[i]; /* CREATE OR REPLACE */
    struct schema_function *function = draft_append(&file->draft, &file->draft.functions, sizeof *function);
    if (!function)
        return NULL;
    *function = (struct schema_function){.schema = namespace,
                                         .name = file_text(file, name),
                                         .oid = file->draft.next_oid++,
                                         .arguments = arguments,
                                         .argument_count = count};
    draft_add_namespace(&file->draft, namespace);
    return function;
}

/* The types of what goes in; *outputs counts what comes out, whose type, if it is one, is *out. */
static uint32_t *arguments_of(struct schema_file *file, const List *parameters, size_t *count, size_t *outputs,
                              uint32_t *out)
{
    uint32_t *types = arena_zeroed(file->draft.arena, (size_t)list_length(parameters) + 1, sizeof *types);
    const ListCell *cell;
    *count = *outputs = 0;
    foreach (cell, parameters) {
        const FunctionParameter *parameter = lfirst(cell);
        int32_t modifier;
        uint32_t type = file_type(file, parameter->argType, &modifier);
        bool goes_in = parameter->mode != FUNC_PARAM_OUT && parameter->mode != FUNC_PARAM_TABLE;
        bool comes_out = !goes_in || parameter->mode == FUNC_PARAM_INOUT;
        if (goes_in && types)
            types[(*count)++] = type;
        if (comes_out)
            ++*outputs, *out = type;
    }
    file->draft.failed |= !types;
    return types;
}

static void read_option(struct schema_function *function, const DefElem *option)
{
    if (strcmp(option->defname, "volatility") == 0)
        function->volatility = strVal(option->arg)[0];
    else if (strcmp(option->defname, "strict") == 0)
        function->is_strict = boolVal(option->arg);
    else if (strcmp(option->defname, "window") == 0)
        function->kind = 'w';
}

void file_create_function(struct schema_file *file, const CreateFunctionStmt *statement)
{
    size_t count, outputs;
    uint32_t out = 0;
    int32_t modifier;
    const uint32_t *arguments = arguments_of(file, statement->parameters, &count, &outputs, &out);
    uint32_t result = statement->returnType ? file_type(file, statement->returnType, &modifier)
                      : outputs > 1         ? (uint32_t)OID_RECORD
                      : outputs             ? out
                                            : (uint32_t)OID_VOID;
    if (statement->is_procedure && outputs)
        result = OID_RECORD;
    struct schema_function *function = add_function(file, statement->funcname, arguments, count);
    if (!function)
        return;
    function->result = result;
    function->kind = statement->is_procedure ? 'p' : 'f';
    function->volatility = 'v';
    function->is_strict = false;
    function->returns_set = statement->returnType && statement->returnType->setof;
    const ListCell *cell;
    foreach (cell, statement->options)
        read_option(function, lfirst(cell));
}

static const DefElem *definition_of(const List *definition, const char *name)
{
    const ListCell *cell;
    foreach (cell, definition)
        if (strcmp(((const DefElem *)lfirst(cell))->defname, name) == 0)
            return lfirst(cell);
    return NULL;
}

static uint32_t definition_type(struct schema_file *file, const List *definition, const char *name)
{
    const DefElem *element = definition_of(definition, name);
    int32_t modifier;
    return element && element->arg && IsA(element->arg, TypeName)
               ? file_type(file, (const TypeName *)element->arg, &modifier)
               : 0;
}

static void create_aggregate(struct schema_file *file, const DefineStmt *statement)
{
    size_t count = 0, outputs;
    uint32_t out = 0, *arguments = NULL,
             old = statement->oldstyle ? definition_type(file, statement->definition, "basetype") : 0;
    if (!statement->oldstyle)
        arguments = arguments_of(file, linitial(statement->args), &count, &outputs, &out);
    else if (old && (arguments = arena_allocate(file->draft.arena, sizeof *arguments)))
        *arguments = old, count = 1;
    struct schema_function *function = add_function(file, statement->defnames, arguments, count);
    if (!function)
        return;
    function->kind = 'a';
    function->volatility = 'i';
    /* With a final function the result is that one's: not known. */
    function->result =
        definition_of(statement->definition, "finalfunc") ? 0 : definition_type(file, statement->definition, "stype");
}

/* ---- the rest ---- */

/* Is a function of the operator's name for it not IMMUTABLE, as far as the file has it? */
static bool may_read(struct schema_file *file, List *definition)
{
    const DefElem *element = definition_of(definition, "procedure");
    element = element ? element : definition_of(definition, "function");
    if (!element || !element->arg || !IsA(element->arg, TypeName))
        return false;
    const char *name = strVal(llast(((const TypeName *)element->arg)->names));
    const struct schema_function *functions = file->draft.functions.items;
    bool reads = false;
    for (size_t i = 0; i < file->draft.functions.count; i++)
        reads |= !functions[i].is_system && functions[i].volatility != 'i' && strcmp(functions[i].name, name) == 0;
    return reads;
}

static void create_operator(struct schema_file *file, const DefineStmt *statement)
{
    const char *namespace, *name;
    file_split(statement->defnames, &namespace, &name);
    namespace = file_new_namespace(file, namespace);
    uint32_t left = definition_type(file, statement->definition, "leftarg");
    uint32_t right = definition_type(file, statement->definition, "rightarg");
    struct schema_operator *made = draft_append(&file->draft, &file->draft.operators, sizeof *made);
    if (made)
        *made = (struct schema_operator){namespace, file_text(file, name), left, right,
                                         may_read(file, statement->definition)};
}

static bool says_false(const DefElem *element)
{
    const Node *value = element ? element->arg : NULL;
    if (!value)
        return false;
    if (IsA(value, Boolean))
        return !boolVal(value);
    const char *text = IsA(value, String)     ? strVal(value)
                       : IsA(value, TypeName) ? strVal(llast(((const TypeName *)value)->names))
                                              : "";
    return strcmp(text, "false") == 0 || strcmp(text, "off") == 0;
}

static void create_collation(struct schema_file *file, const DefineStmt *statement)
{
    const char *namespace, *name;
    file_split(statement->defnames, &namespace, &name);
    if (!says_false(definition_of(statement->definition, "deterministic")))
        return;
    struct file_collation *blind = draft_append(&file->draft, &file->blind, sizeof *blind);
    if (blind)
        *blind = (struct file_collation){file_new_namespace(file, namespace), file_text(file, name)};
}

static void create_base_type(struct schema_file *file, const DefineStmt *statement)
{
    const char *namespace, *name;
    file_split(statement->defnames, &namespace, &name);
    namespace = file_new_namespace(file, namespace);
    if (!draft_type(&file->draft, namespace, name)) /* once as a shell, once in full */
        draft_add_type(&file->draft, namespace, file_text(file, name), 'b', 'U');
}

void file_define(struct schema_file *file, const DefineStmt *statement)
{
    switch (statement->kind) {
    case OBJECT_AGGREGATE:
        create_aggregate(file, statement);
        break;
    case OBJECT_OPERATOR:
        create_operator(file, statement);
        break;
    case OBJECT_COLLATION:
        create_collation(file, statement);
        break;
    case OBJECT_TYPE:
        create_base_type(file, statement);
        break;
    default: /* text search: nothing that routes */
        break;
    }
}
