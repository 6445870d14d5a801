/*
 * INSERT of a query's rows: what is known of it before its rows are, so that one who cannot have it done where the rows
 * are may read them and then give them to their shards (plan/stream.h).
 */
#include "sql/analysis.h"
#include "sql/words.h"

/* ---- where the query stands ---- */

static bool next_token(const struct analysis *analysis, size_t *at, struct token *token)
{
    return words_token(analysis->text, analysis->size, at, token);
}

/* The second one from here. */
static bool token_after_next(const struct analysis *analysis, size_t *at, struct token *token)
{
    bool more = next_token(analysis, at, token);
    return more && next_token(analysis, at, token);
}

static bool is_dot(const struct token *token)
{
    return token->word.kind == WORD_SIGN && *token->word.text == '.';
}

/* Behind INSERT INTO name [AS alias] [(columns)]. 0: it is not to be found. No literal stands before it. */
static size_t query_start(const struct analysis *analysis, const InsertStmt *insert)
{
    size_t at = (size_t)insert->relation->location;
    struct token token;
    bool more = next_token(analysis, &at, &token);
    for (more = more && next_token(analysis, &at, &token); more && is_dot(&token);)
        more = token_after_next(analysis, &at, &token);
    if (more && insert->relation->alias)
        more = token_after_next(analysis, &at, &token);
    if (more && insert->cols)
        more = token.is_group && next_token(analysis, &at, &token);
    return more ? token.start : 0;
}

/* ---- what is stored ---- */

/* Is a value in binary what it is on any server? Types that are known by a number are not. */
static bool is_portable(const struct schema *schema, uint32_t type)
{
    static const uint32_t numbers[] = {24, 26, 2202, 2203, 2204, 2205, 2206, 3734, 3769, 4089, 4096, 4191};
    int32_t modifier;
    type = schema_base_type(schema, type, &modifier);
    const struct schema_type *found = schema_type_by_oid(schema, type);
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++)
        if (type == numbers[i])
            return false;
    if (!found)
        return false;
    if (!found->element)
        return found->kind != 'c' || !schema->type_oids;
    const struct schema_type *element = schema_type_by_oid(schema, found->element);
    bool is_own = element && strcmp(element->schema, "pg_catalog") != 0;
    return !(is_own && schema->type_oids) && is_portable(schema, found->element);
}

static bool gives(const struct fact_stream *stream, const char *name)
{
    for (size_t i = 0; i < stream->count; i++)
        if (strcmp(stream->columns[i]->name, name) == 0)
            return true;
    return false;
}

/* PostgreSQL will say that there is none. */
static const struct schema_column *unknown_column(struct analysis *analysis, const char *name)
{
    enum { TEXT = 25 };
    struct schema_column *column = analysis_new(analysis, 1, sizeof *column);
    *column = (struct schema_column){.name = analysis_copy(analysis, name), .type = TEXT, .modifier = -1};
    return column;
}

static const char *find_columns(struct analysis *analysis, const InsertStmt *insert, struct fact_stream *stream)
{
    const struct schema_relation *target = stream->target;
    const struct scope *query = analysis->written.query;
    bool is_known = query && !query->outputs.opaque;
    size_t count = insert->cols ? (size_t)list_length(insert->cols) : is_known ? query->outputs.count : 0;
    const struct schema_column **columns = analysis_new(analysis, count + 1, sizeof(struct schema_column *));
    if (!count)
        return "it names no columns, and those of its query are not known";
    if (!insert->cols && count > target->column_count)
        count = target->column_count; /* PostgreSQL will say so */
    for (size_t i = 0; i < count; i++) {
        const ResTarget *named = insert->cols ? list_nth(insert->cols, (int)i) : NULL;
        columns[i] = named ? schema_column(target, named->name) : &target->columns[i];
        if (named && named->indirection)
            return analysis_text(analysis, "it gives only a part of %s", named->name);
        if (!columns[i])
            columns[i] = unknown_column(analysis, named->name);
        if (!is_portable(analysis->schema, columns[i]->type))
            return analysis_text(analysis, "values of the type of %s are not the same on each shard", columns[i]->name);
    }
    stream->columns = columns;
    stream->count = count;
    return NULL;
}

static const char *why_not(struct analysis *analysis, const InsertStmt *insert, struct fact_stream *stream)
{
    const struct schema_relation *target = stream->target;
    if (insert->withClause)
        return "WITH stands before INSERT; it could stand before the query";
    if (insert->onConflictClause)
        return "its rows would be copied, and COPY knows no ON CONFLICT";
    if (insert->returningList)
        return "its rows would be copied, and COPY knows no RETURNING";
    if (insert->override)
        return "its rows would be copied, and COPY knows no OVERRIDING";
    if (target != analysis->written.named || (target->kind != 'r' && target->kind != 'p'))
        return "its rows would be copied, which only a table takes";
    if (target->has_rules)
        return "its rows would be copied, of which the table's rules know nothing";
    if (target->has_row_security)
        return "its rows would be copied, which row security does not allow";
    if (analysis->context->temporary_count)
        return "the session has temporary tables, which one server alone knows";
    const char *reason = find_columns(analysis, insert, stream);
    const struct table *table = target->placement == PLACE_SHARDED ? target->table : NULL;
    for (size_t i = 0; !reason && table && i < table->column_count; i++)
        if (!gives(stream, table->columns[i]))
            reason = analysis_text(analysis, "it gives no value for the key column %s", table->columns[i]);
    stream->start = reason ? 0 : query_start(analysis, insert);
    return reason || stream->start ? reason : "its query is not found in its text";
}

static bool is_bare(const ResTarget *target)
{
    return !target->name && !query_is_star((const Node *)target) && !query_is_star(target->val) &&
           !IsA(target->val, A_Indirection);
}

/* Is it SELECT list FROM … of which nothing but the rows that are shown has what the list gives, under no other name?
 */
static bool is_plain(const SelectStmt *query, size_t count)
{
    const ListCell *cell;
    bool plain = query->op == SETOP_NONE && query->fromClause && !query->distinctClause && !query->sortClause &&
                 !query->limitCount && !query->limitOffset && !query->lockingClause && !query->withClause &&
                 !query->valuesLists && (size_t)list_length(query->targetList) == count;
    foreach (cell, query->targetList)
        plain = plain && is_bare(lfirst(cell));
    foreach (cell, query->groupClause) /* a name alone may be that of the list */
        plain = plain && IsA(lfirst(cell), ColumnRef) && list_length(((const ColumnRef *)lfirst(cell))->fields) > 1;
    return plain;
}

void stream_find(struct analysis *analysis)
{
    const InsertStmt *insert = (const InsertStmt *)analysis->written.statement;
    const SelectStmt *query = insert && IsA(insert, InsertStmt) ? (const SelectStmt *)insert->selectStmt : NULL;
    const struct schema_relation *target = query ? analysis->written.target->relation : NULL;
    bool is_rows = query && query->valuesLists;
    bool is_far = false;
    for (const struct use *use = analysis->uses; use; use = use->next)
        is_far |= use->fact.relation->placement == PLACE_SHARDED || use->fact.relation->placement == PLACE_REFERENCE;
    if (!target || is_rows || !is_far || !analysis->alone || analysis->scan->cannot)
        return;
    struct fact_stream *stream = analysis_new(analysis, 1, sizeof *stream);
    stream->target = target;
    stream->is_ordered = query->sortClause != NIL;
    stream->cannot = why_not(analysis, insert, stream);
    stream->is_plain = !stream->cannot && is_plain(query, stream->count);
    analysis->facts->stream = stream;
}
