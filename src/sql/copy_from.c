/*
 * COPY FROM STDIN into a table that is on several shards: what its rows will look like, so that each can go to the
 * shard of its key. Whatever of its options would change what a key is, and is not known here, refuses it.
 */
#include "sql/analysis.h"

/* ---- options ---- */

/* A pair of what is read. */
struct reading {
    struct analysis *analysis;
    const CopyStmt *statement;
    const struct schema_relation *relation;
    struct fact_copy *copy;
};

static void refuse(const struct reading *reading, const char *what, const char *detail, const char *hint)
{
    const struct table *table = reading->relation->table;
    analysis_refuse(
        reading->analysis, reading->statement->relation->location,
        analysis_text(reading->analysis, "COPY into %s %s", table ? table->display : reading->relation->name, what),
        detail, hint);
}

static const char *text_of(const struct reading *reading, const DefElem *option)
{
    if (!option->arg || !IsA(option->arg, String))
        refuse(reading, analysis_text(reading->analysis, "with an option %s that is no text", option->defname), NULL,
               NULL);
    return analysis_copy(reading->analysis, strVal(option->arg));
}

static char character_of(const struct reading *reading, const DefElem *option)
{
    const char *text = text_of(reading, option);
    if (strlen(text) != 1)
        refuse(reading, analysis_text(reading->analysis, "with a %s that is not one byte", option->defname), NULL,
               NULL);
    return *text;
}

static mosaic_format format_of(const struct reading *reading, const DefElem *option)
{
    static const char *const names[] = {[MOSAIC_CSV] = "csv", [MOSAIC_TEXT] = "text", [MOSAIC_BINARY] = "binary"};
    const char *text = text_of(reading, option);
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (strcmp(names[i], text) == 0)
            return (mosaic_format)i;
    refuse(reading, "in a format that is not known", NULL, "The formats are text, csv and binary.");
    return MOSAIC_TEXT;
}

static bool is_header(const DefElem *option)
{
    if (!option->arg)
        return true;
    if (IsA(option->arg, Integer))
        return intVal(option->arg) != 0;
    return !IsA(option->arg, String) ||
           (strcasecmp(strVal(option->arg), "false") != 0 && strcasecmp(strVal(option->arg), "off") != 0);
}

static bool is_key(const struct table *table, const char *name)
{
    for (size_t i = 0; i < table->column_count; i++)
        if (strcmp(table->columns[i], name) == 0)
            return true;
    return false;
}

/* FORCE_NULL and FORCE_NOT_NULL: of the key's columns neither, which would be read otherwise. */
static void check_forced(const struct reading *reading, const DefElem *option)
{
    bool some = !option->arg || !IsA(option->arg, List);
    ListCell *cell;
    if (!some)
        foreach (cell, (List *)option->arg)
            some |= !IsA(lfirst(cell), String) || is_key(reading->relation->table, strVal(lfirst(cell)));
    if (some)
        refuse(reading, analysis_text(reading->analysis, "with %s of its key", option->defname), NULL,
               "Name other columns alone.");
}

static void check_encoding(const struct reading *reading, const DefElem *option)
{
    static const char *const names[] = {"utf8", "utf-8", "unicode"};
    const char *text = text_of(reading, option);
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (strcasecmp(names[i], text) == 0)
            return;
    refuse(reading, "in another encoding than UTF8", "Its keys are read before a server has converted them.",
           "Convert the rows to UTF8.");
}

static void read_option(const struct reading *reading, const DefElem *option)
{
    struct fact_copy *copy = reading->copy;
    const char *name = option->defname;
    if (strcmp(name, "format") == 0)
        copy->format.kind = format_of(reading, option);
    else if (strcmp(name, "delimiter") == 0)
        copy->format.delimiter = character_of(reading, option);
    else if (strcmp(name, "quote") == 0)
        copy->format.quote = character_of(reading, option);
    else if (strcmp(name, "escape") == 0)
        copy->format.escape = character_of(reading, option);
    else if (strcmp(name, "null") == 0)
        copy->format.null_text = text_of(reading, option);
    else if (strcmp(name, "header") == 0)
        copy->has_header = is_header(option);
    else if (strcmp(name, "force_null") == 0 || strcmp(name, "force_not_null") == 0)
        check_forced(reading, option);
    else if (strcmp(name, "encoding") == 0)
        check_encoding(reading, option);
    else if (strcmp(name, "freeze") != 0)
        refuse(reading, analysis_text(reading->analysis, "with the option %s", name),
               "What it does to the rows is not known here.", NULL);
}

static void read_options(const struct reading *reading)
{
    mosaic_error error;
    ListCell *cell;
    reading->copy->format = (struct copy_format){.kind = MOSAIC_TEXT, .row_limit = FACT_COPY_ROW_MOST};
    foreach (cell, reading->statement->options)
        read_option(reading, lfirst(cell));
    if (copy_format_check(&reading->copy->format, &error) != MOSAIC_OK)
        refuse(reading, "with options that do not fit together", analysis_copy(reading->analysis, error.message), NULL);
}

/* ---- columns ---- */

/* The field that is a column's; SIZE_MAX: none is. */
static size_t field_of(const struct reading *reading, const char *name)
{
    const List *list = reading->statement->attlist;
    size_t field = 0;
    for (int i = 0; i < list_length(list); i++)
        if (strcmp(strVal(list_nth(list, i)), name) == 0)
            return (size_t)i;
    for (size_t i = 0; !list && i < reading->relation->column_count; i++) {
        const struct schema_column *column = &reading->relation->columns[i];
        if (strcmp(column->name, name) == 0)
            return column->is_generated ? SIZE_MAX : field;
        field += !column->is_generated;
    }
    return SIZE_MAX;
}

static void find_key(const struct reading *reading)
{
    const struct table *table = reading->relation->table;
    size_t *fields = analysis_new(reading->analysis, table->column_count + 1, sizeof *fields);
    int *modifiers = analysis_new(reading->analysis, table->column_count + 1, sizeof *modifiers);
    for (size_t i = 0; i < table->column_count; i++) {
        const struct schema_column *column = schema_column(reading->relation, table->columns[i]);
        int32_t modifier = -1;
        fields[i] = field_of(reading, table->columns[i]);
        if (!column || fields[i] == SIZE_MAX)
            refuse(reading, "without its key",
                   analysis_text(reading->analysis, "The rows have no column %s, which says where they belong.",
                                 table->columns[i]),
                   "Name it among the columns.");
        schema_base_type(reading->analysis->schema, column->type, &modifier);
        modifiers[i] = modifier != -1 ? modifier : column->modifier;
    }
    reading->copy->key_fields = fields;
    reading->copy->key_modifiers = modifiers;
}

/* Of the key no field: there is a date's or time's own proof, of which 'now' is no value. */
static void find_moments(const struct reading *reading)
{
    const struct schema_relation *relation = reading->relation;
    struct fact_copy *copy = reading->copy;
    size_t *fields = analysis_new(reading->analysis, relation->column_count + 1, sizeof *fields);
    for (size_t i = 0; copy->format.kind != MOSAIC_BINARY && i < relation->column_count; i++) {
        const struct schema_column *column = &relation->columns[i];
        size_t field = field_of(reading, column->name);
        if (field != SIZE_MAX && clock_has_time(reading->analysis, column->type) &&
            !is_key(relation->table, column->name))
            fields[copy->moment_count++] = field;
    }
    copy->moment_fields = fields;
    if (copy->moment_count > FACT_COPY_MOMENTS_MOST)
        refuse(reading, "with so many columns of dates and times", NULL, "COPY it in binary.");
}

static void count_fields(const struct reading *reading)
{
    const List *list = reading->statement->attlist;
    reading->copy->fields = (size_t)list_length(list);
    for (size_t i = 0; !list && i < reading->relation->column_count; i++)
        reading->copy->fields += !reading->relation->columns[i].is_generated;
}

/* ---- all ---- */

void copy_from_analyse(struct analysis *analysis, const CopyStmt *statement, struct scope *scope, struct use *target)
{
    struct fact_copy *copy = analysis_new(analysis, 1, sizeof *copy);
    const struct schema_relation *relation = target->fact.relation;
    struct reading reading = {analysis, statement, relation, copy};
    *copy = (struct fact_copy){0};
    if (statement->filename || !relation->table)
        refuse(&reading, "", "Its rows belong to more than one shard.",
               "Use pgmosaic load, or COPY FROM STDIN, as psql's \\copy does.");
    read_options(&reading);
    count_fields(&reading);
    find_key(&reading);
    find_moments(&reading);
    target->missing = "each of the rows that come belongs to the shard of its own key";
    target->remedy = "Use pgmosaic load.";
    item_add(analysis, scope, statement->relation->relname, relation->schema, target->range);
    expression_walk(analysis, scope, statement->whereClause);
    analysis->facts->text_bound = true;
    analysis->copied_in = (struct copied_in){statement, target, copy};
}

static const char *why_not(struct analysis *analysis, struct fact_write *write)
{
    const struct facts *facts = analysis->facts;
    if (analysis->scatter_bars)
        return analysis->scatter_bars;
    if (!analysis->alone || analysis->scan->cannot)
        return "its text is not one statement that is understood";
    if (facts->needs_home || facts->changes_session)
        return "it needs what is on the home shard alone";
    if (analysis->has_volatile)
        return "its WHERE calls a volatile function";
    struct reading reading = {analysis, analysis->copied_in.statement, write->target, NULL};
    const char *reason = NULL;
    for (size_t i = 0; i < write->target->column_count; i++) {
        const struct schema_column *column = &write->target->columns[i];
        const char *why = field_of(&reading, column->name) == SIZE_MAX ? write_default(analysis, write, column) : NULL;
        reason = reason ? reason : why;
    }
    return write->spread == SPREAD_SAME ? reason : NULL;
}

void copy_from_find(struct analysis *analysis)
{
    const struct copied_in *copied = &analysis->copied_in;
    struct facts *facts = analysis->facts;
    if (!copied->statement)
        return;
    struct fact_relation *driver = analysis_new(analysis, 1, sizeof *driver);
    struct fact_write *write = analysis_new(analysis, 1, sizeof *write);
    *driver = copied->target->fact;
    *write = (struct fact_write){.spread = driver->relation->placement == PLACE_SHARDED ? SPREAD_COPY : SPREAD_SAME,
                                 .driver = driver,
                                 .target = driver->relation,
                                 .tag = "COPY",
                                 .copy = copied->copy,
                                 .reads_clock = facts->reads_clock};
    facts->write_cannot = why_not(analysis, write);
    write->reads_clock |= write->spread == SPREAD_SAME && write->stores_clock; /* copies are to stay equal */
    if (!facts->write_cannot)
        facts->write = write;
}
