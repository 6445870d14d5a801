/* Where relations are that a change of the schema names, and where the change has to be made. */
#include "sql/ddl.h"

enum { VIEWS_DEEP = 32 };

void ddl_refuse(struct analysis *analysis, int location, const char *message, const char *hint)
{
    analysis_refuse(analysis, location, message, NULL, hint);
}

/* ---- notes ---- */

void ddl_note_home(struct analysis *analysis, const char *name)
{
    if (!analysis->ddl.home)
        analysis->ddl.home = name;
}

void ddl_note_everywhere(struct analysis *analysis, const char *name)
{
    if (!analysis->ddl.everywhere)
        analysis->ddl.everywhere = name;
}

void ddl_conclude(struct analysis *analysis)
{
    struct ddl_places *ddl = &analysis->ddl;
    struct facts *facts = analysis->facts;
    if (!ddl->everywhere) {
        facts->needs_home = true;
        return;
    }
    if (ddl->home && (!ddl->may_miss || ddl->hides))
        analysis_refuse(
            analysis, -1, analysis_text(analysis, "a statement for %s and %s", ddl->everywhere, ddl->home),
            analysis_text(analysis, "%s is on every shard, %s on the home shard alone.", ddl->everywhere, ddl->home),
            "Name them in two statements.");
    struct fact_write *write = analysis_new(analysis, 1, sizeof *write);
    *write = ddl->write;
    write->spread = SPREAD_ALL;
    write->start = (size_t)facts->start;
    facts->write = write;
    facts->needs_home = false;
}

/* ---- views ---- */

/* What the analysis of a query has left is not the statement's. */
static void forget_query(struct analysis *analysis, const struct facts *before)
{
    *analysis->facts = *before;
    analysis->uses = NULL, analysis->last_use = &analysis->uses, analysis->use_count = 0;
    analysis->conditions = NULL, analysis->last_condition = &analysis->conditions, analysis->condition_count = 0;
    analysis->derived = NULL, analysis->marks = NULL, analysis->top = NULL;
    analysis->prefers_home = analysis->home_else = analysis->unknown_function = analysis->numbers_object = false;
    analysis->written = (struct written){0}, analysis->copied = NULL;
}

bool ddl_query_is_everywhere(struct analysis *analysis, Node *query)
{
    const struct facts before = *analysis->facts;
    const struct unknown_name *unknown = analysis->unknown;
    bool everywhere = false, home = false;
    query_analyse(analysis, NULL, false, query);
    for (const struct use *use = analysis->uses; use; use = use->next) {
        bool is_table =
            use->fact.relation->placement == PLACE_SHARDED || use->fact.relation->placement == PLACE_REFERENCE;
        everywhere |= is_table;
        home |= !is_table;
    }
    home |= analysis->unknown != unknown;
    forget_query(analysis, &before);
    return everywhere && !home;
}

void ddl_query_of_home(struct analysis *analysis, Node *query, const char *what)
{
    query_analyse(analysis, NULL, false, query);
    for (const struct use *use = analysis->uses; use; use = use->next)
        if (use->fact.relation->placement == PLACE_SHARDED || use->fact.relation->placement == PLACE_REFERENCE)
            ddl_refuse(analysis, use->fact.location,
                       analysis_text(analysis, "%s reads %s", what, use->fact.relation->table->display), HINT_EXEC_ALL);
}

static bool view_is_everywhere(struct analysis *analysis, const struct schema_relation *view)
{
    struct view_names before;
    const struct unknown_name *unknown = analysis->unknown;
    if (!view->view)
        return false;
    Node *query = view_enter(analysis, view, &before);
    bool everywhere = ddl_query_is_everywhere(analysis, query);
    view_leave(analysis, &before);
    analysis->unknown = (struct unknown_name *)unknown; /* names of the view's text are not the statement's */
    return everywhere;
}

/* ---- relations ---- */

/* Is it named as the one of a column of the table? */
static bool is_of_column(const struct schema_relation *relation, const struct schema_relation *sequence)
{
    size_t own = strlen(relation->name), size = strlen(sequence->name);
    if (strcmp(relation->schema, sequence->schema) != 0 || size < own + 6 ||
        strncmp(sequence->name, relation->name, own) != 0)
        return false;
    for (size_t i = 0; i < relation->column_count; i++)
        if (strlen(relation->columns[i].name) == size - own - 5 &&
            strncmp(sequence->name + own + 1, relation->columns[i].name, size - own - 5) == 0)
            return true;
    return false;
}

/* orders_old_id_seq is no sequence of orders where there is a table orders_old, at home, with a column id. */
static bool is_of_home_table(const struct analysis *analysis, const struct schema_relation *sequence)
{
    for (size_t i = 0; i < analysis->schema->relation_count; i++) {
        const struct schema_relation *relation = &analysis->schema->relations[i];
        if (strchr("rp", relation->kind) && !relation->table && is_of_column(relation, sequence))
            return true;
    }
    return false;
}

/*
 * A sequence is the home shard's, but for what a serial column has made beside its table, which stands on every shard:
 * its name is all that tells.
 */
const struct table *ddl_sequence_table(struct analysis *analysis, const struct schema_relation *sequence)
{
    const struct model *model = analysis->schema->model;
    size_t size = strlen(sequence->name);
    for (size_t i = 0; i < model->table_count; i++) {
        const struct table *table = &model->tables[i];
        size_t own = strlen(table->name);
        if (strcmp(table->schema, sequence->schema) == 0 && size > own + 5 &&
            strncmp(sequence->name, table->name, own) == 0 && sequence->name[own] == '_' &&
            strcmp(sequence->name + size - 4, "_seq") == 0)
            return is_of_home_table(analysis, sequence) ? NULL : table;
    }
    return NULL;
}

/* Where what has no schema is made: the first of the path that is none of PostgreSQL's own. */
static const char *creation_schema(const struct analysis *analysis)
{
    for (size_t i = 0; i < analysis->path_count; i++)
        if (strncmp(analysis->path[i], "pg_", 3) != 0)
            return analysis->path[i];
    return "";
}

const struct table *ddl_configured(struct analysis *analysis, const RangeVar *name)
{
    const struct model *model = analysis->schema->model;
    const char *schema = name->schemaname ? name->schemaname : creation_schema(analysis);
    for (size_t i = 0; i < model->table_count; i++)
        if (strcmp(model->tables[i].name, name->relname) == 0 && strcmp(model->tables[i].schema, schema) == 0)
            return &model->tables[i];
    return NULL;
}

const struct table *ddl_look(struct analysis *analysis, const RangeVar *name, const struct schema_relation **found,
                             bool *everywhere)
{
    bool temporary;
    const struct schema_relation *relation = *found = name_relation(analysis, name, &temporary);
    const struct table *table = NULL;
    *everywhere = false;
    if (temporary)
        return NULL;
    if (!relation)
        table = ddl_configured(analysis, name);
    else if (relation->kind == 'S' && ddl_sequence_table(analysis, relation))
        *everywhere = true;
    else if (relation->kind == 'v' && relation->placement == PLACE_HOME)
        *everywhere = view_is_everywhere(analysis, relation);
    else
        table = relation->table;
    *everywhere |= table != NULL;
    return table;
}

static bool is_spread(const struct schema_relation *relation)
{
    return relation->placement == PLACE_SHARDED || relation->placement == PLACE_REFERENCE;
}

/* A home relation's name, which on another shard would be that of one in a schema further down the path. */
static bool hides_other(const struct analysis *analysis, const RangeVar *name, const struct schema_relation *found)
{
    for (size_t i = 0; !name->schemaname && i < analysis->path_count; i++) {
        const struct schema_relation *other = schema_relation(analysis->schema, analysis->path[i], name->relname);
        if (other && other != found && (is_spread(other) || strchr("vS", other->kind)))
            return true;
    }
    return false;
}

bool ddl_path_is_mixed(const struct analysis *analysis)
{
    bool at_home = analysis->context->temporary_count > 0;
    for (size_t i = 0; i < analysis->path_count; i++) {
        bool spread = false, home = false;
        for (size_t j = 0; j < analysis->schema->relation_count; j++) {
            const struct schema_relation *relation = &analysis->schema->relations[j];
            if (!strchr("rpm", relation->kind) || strcmp(relation->schema, analysis->path[i]) != 0)
                continue;
            spread |= is_spread(relation);
            home |= relation->placement == PLACE_HOME;
        }
        if (at_home && spread)
            return true;
        at_home |= home;
    }
    return false;
}

const struct table *ddl_relation(struct analysis *analysis, const RangeVar *name,
                                 const struct schema_relation **relation)
{
    const struct schema_relation *found;
    bool everywhere;
    const struct table *table = ddl_look(analysis, name, &found, &everywhere);
    if (everywhere)
        ddl_note_everywhere(analysis, table ? table->display : analysis_copy(analysis, name->relname));
    else
        ddl_note_home(analysis, analysis_copy(analysis, name->relname));
    if (!everywhere)
        analysis->ddl.hides |= hides_other(analysis, name, found);
    if (relation)
        *relation = found;
    return table;
}

void ddl_relations(struct analysis *analysis, List *names)
{
    ListCell *cell;
    foreach (cell, names)
        (void)ddl_relation(analysis, lfirst(cell), NULL);
}

const struct table *ddl_named(struct analysis *analysis, List *names, int count)
{
    RangeVar name = {.type = T_RangeVar, .location = -1};
    int last = count ? count : list_length(names);
    if (last < 1 || last > list_length(names) || last > 3)
        ddl_refuse(analysis, -1, "a name that no rule knows", HINT_EXEC_ALL);
    name.relname = strVal(list_nth(names, last - 1));
    if (last > 1)
        name.schemaname = strVal(list_nth(names, last - 2));
    return ddl_relation(analysis, &name, NULL);
}
