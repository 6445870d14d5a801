/*
 * Names: what a relation, a column or a type in a statement means, as PostgreSQL's parse_relation.c finds it.
 *
 * A name that PostgreSQL would find ambiguous is an error there, so the first match serves here. Where a scope has a
 * range whose columns are not known, an unqualified name may be one of them: it means nothing then.
 */
#include "sql/analysis.h"

bool name_is_one_of(const char *name, const char *const *list, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (strcmp(name, list[i]) == 0)
            return true;
    return false;
}

struct scope *scope_new(struct analysis *analysis, struct scope *parent, bool sees_parent)
{
    struct scope *scope = analysis_new(analysis, 1, sizeof *scope);
    scope->parent = parent;
    scope->sees_parent = sees_parent;
    return scope;
}

struct range *range_new(struct analysis *analysis, struct scope *scope)
{
    struct range *range = analysis_new(analysis, 1, sizeof *range);
    range->scope = scope;
    range->index = scope->range_count++;
    return range;
}

struct item *item_add(struct analysis *analysis, struct scope *scope, const char *name, const char *schema,
                      struct range *range)
{
    if (scope->item_count == scope->item_capacity) {
        size_t capacity = scope->item_capacity ? scope->item_capacity * 2 : 4;
        struct item *items = analysis_new(analysis, capacity, sizeof *items);
        if (scope->item_count)
            memcpy(items, scope->items, scope->item_count * sizeof *items);
        scope->items = items, scope->item_capacity = capacity;
    }
    struct item *item = &scope->items[scope->item_count++];
    *item = (struct item){name, schema, range, name != NULL, true};
    return item;
}

struct term *term_new(struct analysis *analysis, struct range *range, uint32_t type, bool nondeterministic)
{
    struct term *term = analysis_new(analysis, 1, sizeof *term);
    term->range = range;
    term->domain = type;
    term->type = type ? schema_base_type(analysis->schema, type, NULL) : 0;
    term->nondeterministic = nondeterministic;
    return term;
}

struct term *term_derived(struct analysis *analysis, struct range *range, struct term *like, size_t sources)
{
    struct term *term = term_new(analysis, range, 0, like->nondeterministic);
    term->type = like->type, term->domain = like->domain;
    term->plain = like->plain, term->bytewise = like->bytewise, term->mixed = like->mixed;
    term->retyped = like->retyped;
    term->sources = analysis_new(analysis, sources, sizeof *term->sources);
    term->source_count = sources;
    term->next = analysis->derived;
    analysis->derived = term;
    return term;
}

/* Of numbers, which grow wider; 0: none of them. */
static size_t width_of(uint32_t type)
{
    static const uint32_t widening[] = {21, 23, 20, 1700};
    for (size_t i = 0; i < sizeof widening / sizeof *widening; i++)
        if (widening[i] == type)
            return i + 1;
    return 0;
}

/* A text reads what has no type as it is, whichever text it is. */
static bool is_text(uint32_t type)
{
    return family_of(type) == FAMILY_TEXT || family_of(type) == FAMILY_BPCHAR;
}

bool term_rules(const struct term *a, const struct term *b)
{
    bool texts = b && is_text(a->type) && is_text(b->type);
    return b && (a->type == b->type || texts || (width_of(b->type) && width_of(a->type) > width_of(b->type)));
}

struct term *column_term(struct analysis *analysis, struct column *column)
{
    if (column->term || !column->origin)
        return column->term;
    struct range *range = column->origin;
    if (!range->relation)
        return column->term = column_term(analysis, &range->columns.list[column->origin_index]);
    struct column *own = &range->columns.list[column->origin_index];
    if (!own->term) {
        const struct schema_column *real = &range->relation->columns[column->origin_index];
        own->term = term_new(analysis, range, real->type, !real->deterministic);
        own->term->plain = real->plain, own->term->bytewise = real->bytewise;
    }
    return column->term = own->term;
}

struct column *columns_add(struct analysis *analysis, struct columns *columns)
{
    if (columns->count == columns->capacity) {
        size_t capacity = columns->count ? columns->count * 2 : 4;
        struct column *list = analysis_new(analysis, capacity, sizeof *list);
        if (columns->count)
            memcpy(list, columns->list, columns->count * sizeof *list);
        columns->list = list, columns->capacity = capacity;
    }
    return &columns->list[columns->count++];
}

struct column *columns_find(const struct columns *columns, const char *name)
{
    for (size_t i = 0; i < columns->count; i++)
        if (columns->list[i].name && strcmp(columns->list[i].name, name) == 0)
            return &columns->list[i];
    return NULL;
}

void columns_rename(struct analysis *analysis, struct columns *columns, const List *names)
{
    for (int i = 0; i < list_length(names); i++) {
        const char *name = analysis_copy(analysis, strVal(list_nth(names, i)));
        if ((size_t)i < columns->count)
            columns->list[i].name = name;
    }
}

void range_relation(struct analysis *analysis, struct range *range, const struct schema_relation *relation)
{
    range->relation = relation;
    if (!relation || !relation->column_count) {
        range->columns.opaque = true;
        return;
    }
    range->columns.count = relation->column_count;
    range->columns.list = analysis_new(analysis, relation->column_count, sizeof *range->columns.list);
    for (size_t i = 0; i < relation->column_count; i++)
        range->columns.list[i] =
            (struct column){.name = relation->columns[i].name, .origin = range, .origin_index = i, .down = true};
}

/* The function that `name` is when it is no column: t.f is f(t). */
static void function_notation(struct analysis *analysis, const char *name)
{
    size_t count;
    const struct schema_function *found = schema_functions(analysis->schema, name, &count);
    for (size_t i = 0; i < count; i++)
        if (!found[i].is_system && found[i].volatility != 'i')
            analysis->unknown_function = true;
}

/* tableoid and its like: where a row is, which is another place for each server. */
static void look_for_system_column(struct analysis *analysis, const char *name)
{
    static const char *const columns[] = {"cmax", "cmin", "ctid", "tableoid", "xmax", "xmin"};
    if (NAME_IS_ONE_OF(name, columns))
        analysis_bar_several(analysis, "it reads a system column, which tells of a row's place on its server");
}

void name_field(struct analysis *analysis, const char *name)
{
    look_for_system_column(analysis, name);
    function_notation(analysis, name);
}

static struct term *find_unqualified(struct analysis *analysis, struct scope *scope, const char *name, bool *known)
{
    bool opaque = false;
    for (size_t i = scope->visible_from; i < scope->item_count; i++) {
        struct item *item = &scope->items[i];
        struct column *column = item->by_column ? columns_find(&item->range->columns, name) : NULL;
        if (column) {
            scope->touched = true;
            return *known = true, column_term(analysis, column);
        }
        opaque |= item->by_column && (item->range->columns.opaque || item->range->columns.unnamed);
        opaque |= item->by_name && strcmp(item->name, name) == 0; /* the whole row */
    }
    *known = opaque;
    return NULL;
}

static struct term *find_qualified(struct analysis *analysis, struct scope *scope, const char *schema,
                                   const char *relation, const char *name, bool *known)
{
    for (size_t i = scope->visible_from; i < scope->item_count; i++) {
        struct item *item = &scope->items[i];
        if (!item->by_name || strcmp(item->name, relation) != 0)
            continue;
        if (schema && (!item->schema || strcmp(item->schema, schema) != 0))
            continue;
        *known = scope->touched = true;
        struct column *column = columns_find(&item->range->columns, name);
        if (!column)
            function_notation(analysis, name);
        return column ? column_term(analysis, column) : NULL;
    }
    return *known = false, NULL;
}

struct term *name_resolve(struct analysis *analysis, struct scope *scope, const ColumnRef *reference)
{
    int count = list_length(reference->fields);
    const char *names[3] = {NULL};
    const Node *last = llast(reference->fields);
    analysis->names++;
    mark_add(analysis, MARK_COLUMN, reference->location, reference);
    if (IsA(last, String))
        look_for_system_column(analysis, strVal(last));
    if (count > 3 && IsA(last, String))
        function_notation(analysis, strVal(last));
    if (count > 3)
        return NULL;
    for (int i = 0; i < count; i++) {
        Node *field = list_nth(reference->fields, i);
        if (!IsA(field, String))
            return NULL;
        names[i] = strVal(field);
    }
    for (struct scope *own = scope; scope;) {
        bool known = false;
        struct term *term = count == 1   ? find_unqualified(analysis, scope, names[0], &known)
                            : count == 2 ? find_qualified(analysis, scope, NULL, names[0], names[1], &known)
                                         : find_qualified(analysis, scope, names[0], names[1], names[2], &known);
        for (; known && own != scope; own = own->parent)
            own->correlated = true;
        if (known)
            return term;
        /* A subquery in FROM without LATERAL does not see its neighbours, but what is around them. */
        bool sees = scope->sees_parent;
        scope->looks_out = true;
        for (scope = scope->parent; scope && !sees; scope = scope->parent)
            sees = scope->sees_parent;
    }
    if (count == 1)
        return NULL;
    function_notation(analysis, names[count - 1]);
    return NULL;
}

static bool is_temporary(const struct analysis *analysis, const char *name)
{
    for (size_t i = 0; i < analysis->context->temporary_count; i++)
        if (strcmp(analysis->context->temporary[i], name) == 0)
            return true;
    return false;
}

static bool path_has(const struct analysis *analysis, const char *namespace)
{
    for (size_t i = 0; i < analysis->path_count; i++)
        if (strcmp(analysis->path[i], namespace) == 0)
            return true;
    return false;
}

static void note_unknown(struct analysis *analysis, const char *name)
{
    struct unknown_name *unknown = analysis_new(analysis, 1, sizeof *unknown);
    *unknown = (struct unknown_name){analysis_copy(analysis, name), analysis->unknown};
    analysis->unknown = unknown;
}

const struct schema_relation *name_relation(struct analysis *analysis, const RangeVar *name, bool *temporary)
{
    const struct schema *schema = analysis->schema;
    *temporary = false;
    if (name->catalogname)
        analysis_refuse(analysis, name->location, "a name with a database in it", NULL,
                        "Leave the database's name out.");
    if (name->schemaname) {
        *temporary = strncmp(name->schemaname, "pg_temp", 7) == 0;
        const struct schema_relation *named =
            *temporary ? NULL : schema_relation(schema, name->schemaname, name->relname);
        if (!named && !*temporary)
            note_unknown(analysis, name->relname);
        return named;
    }
    if (!analysis->in_view && is_temporary(analysis, name->relname))
        return *temporary = true, NULL;
    const struct schema_relation *found = NULL;
    if (!path_has(analysis, "pg_catalog"))
        found = schema_relation(schema, "pg_catalog", name->relname);
    for (size_t i = 0; !found && i < analysis->path_count; i++)
        found = schema_relation(schema, analysis->path[i], name->relname);
    if (!found)
        note_unknown(analysis, name->relname);
    return found;
}

struct common *name_common(struct scope *scope, const RangeVar *name)
{
    if (name->schemaname || name->catalogname)
        return NULL;
    for (; scope; scope = scope->parent)
        for (struct common *common = scope->commons; common; common = common->next)
            if (strcmp(common->name, name->relname) == 0)
                return common;
    return NULL;
}

static const struct schema_type *find_type(const struct analysis *analysis, const List *names)
{
    const struct schema *schema = analysis->schema;
    if (list_length(names) == 2)
        return schema_type(schema, strVal(linitial(names)), strVal(lsecond(names)));
    if (list_length(names) != 1)
        return NULL;
    const char *name = strVal(linitial(names));
    const struct schema_type *found = NULL;
    if (!path_has(analysis, "pg_catalog"))
        found = schema_type(schema, "pg_catalog", name);
    for (size_t i = 0; !found && i < analysis->path_count; i++)
        found = schema_type(schema, analysis->path[i], name);
    return found;
}

bool name_default_varies(const struct analysis *analysis, const TypeName *name)
{
    if (!name || name->arrayBounds)
        return false;
    const struct schema_type *type = name->names && !name->pct_type ? find_type(analysis, name->names) : NULL;
    return !type || type->default_varies;
}

uint32_t name_type(struct analysis *analysis, const TypeName *name, bool *modified)
{
    *modified = name->typmods != NIL;
    if (!name->names || name->setof || name->pct_type || list_length(name->arrayBounds) > 1)
        return 0;
    const struct schema_type *type = find_type(analysis, name->names);
    if (!type)
        return 0;
    /* A domain may have a modifier of its own, or refuse the value: what it does not refuse is a value of its base. */
    int32_t modifier = -1;
    uint32_t base = schema_base_type(analysis->schema, type->oid, &modifier);
    *modified |= modifier != -1;
    *modified |= schema_is_text_domain(analysis->schema, type->oid);
    type = schema_type_by_oid(analysis->schema, base);
    if (!type)
        return 0;
    /* regclass and its like are looked up in catalogs, also below a domain. */
    analysis->prefers_home |= strncmp(type->name, "reg", 3) == 0;
    if (type->oid == 26)
        analysis_bar_several(analysis, "an OID is each server's own");
    if (type->oid == 1042)
        analysis_bar_coordinator(analysis, "postgres_fdw sends a char(n) constant as text, with its blanks");
    return name->arrayBounds ? type->array : type->oid;
}

bool name_is_domain(const struct analysis *analysis, const TypeName *name)
{
    const struct schema_type *type = name->names ? find_type(analysis, name->names) : NULL;
    return type && type->kind == 'd';
}
