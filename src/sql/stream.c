/*
 * INSERT of a query's rows: what is known of it before its rows are, so that one who cannot have it done where the rows
 * are may read them and then give them to their shards (plan/stream.h).
 */
#include "sql/analysis.h"
#include "sql/moment.h"
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

/* Behind INSERT INTO name [AS alias] [(columns)] [OVERRIDING …]. 0: it is not to be found. */
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
    for (int word = 0; more && insert->override && word < 3; word++) /* OVERRIDING SYSTEM VALUE */
        more = next_token(analysis, &at, &token);
    return more ? token.start : 0;
}

/* The word INSERT that INTO follows, outside of all parentheses. SIZE_MAX: it is not to be found. */
static size_t insert_start(const struct analysis *analysis, size_t from)
{
    struct token token, before = {.is_group = true};
    for (size_t at = from; next_token(analysis, &at, &token); before = token)
        if (token_is(&token, "into") && token_is(&before, "insert"))
            return before.start;
    return SIZE_MAX;
}

/* Where ON CONFLICT, or else RETURNING, begins. 0: it is not to be found. */
static size_t behind_start(const struct analysis *analysis, const InsertStmt *insert, size_t from)
{
    if (insert->onConflictClause)
        return insert->onConflictClause->location > 0 ? (size_t)insert->onConflictClause->location : 0;
    const ResTarget *first = linitial(insert->returningList);
    struct token token, before = {.is_group = true};
    for (size_t at = from; next_token(analysis, &at, &token); before = token)
        if (first->location > 0 && token.start == (size_t)first->location)
            return token_is(&before, "returning") ? before.start : 0;
    return 0;
}

/* May a subquery stand there? */
static bool has_subquery(const char *text, size_t size)
{
    struct word word;
    bool has = false;
    for (size_t at = 0; words_next(text, size, &at, &word);)
        has |= word_is(&word, "select") || word_is(&word, "table") || word_is(&word, "with");
    return has;
}

/* A clause: what is not where its words say, or may not stand there. */
static const char *find_places(struct analysis *analysis, const InsertStmt *insert, struct fact_stream *stream)
{
    bool ends = !insert->onConflictClause && !insert->returningList;
    stream->with = (size_t)analysis->facts->inner_start;
    stream->insert = insert_start(analysis, stream->with);
    stream->start = query_start(analysis, insert);
    if (stream->insert == SIZE_MAX || !stream->start)
        return "its query is not found in its text";
    if (ends)
        return NULL;
    stream->behind = behind_start(analysis, insert, stream->start);
    if (!stream->behind)
        return "the end of its query is not found in its text";
    const char *behind = analysis->text + stream->behind;
    size_t size = analysis->size - stream->behind;
    stream->names_moment = moment_count(behind, size) > 0;
    return insert->withClause && has_subquery(behind, size) ? "what stands behind its query may name what WITH has"
                                                            : NULL;
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

/* May an array have it as an element, which unnest then gives back as it was? */
static bool is_element(const struct schema *schema, uint32_t type)
{
    int32_t modifier;
    const struct schema_type *found = schema_type_by_oid(schema, schema_base_type(schema, type, &modifier));
    return found && found->array && found->category != 'A' && strchr("ber", found->kind);
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
        if (stream->is_given && !is_element(analysis->schema, columns[i]->type))
            return analysis_text(analysis, "its rows would be given as arrays, and %s is one", columns[i]->name);
    }
    stream->columns = columns;
    stream->count = count;
    return NULL;
}

static const char *why_not(struct analysis *analysis, const InsertStmt *insert, struct fact_stream *stream)
{
    const struct schema_relation *target = stream->target;
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
    return reason ? reason : find_places(analysis, insert, stream);
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
    stream->is_given = insert->onConflictClause || insert->returningList || insert->override;
    stream->has_returning = insert->returningList != NIL;
    stream->is_ordered = query->sortClause != NIL;
    stream->cannot = why_not(analysis, insert, stream);
    stream->is_plain = !stream->cannot && !insert->withClause && is_plain(query, stream->count);
    analysis->facts->text_bound |= stream->behind || insert->withClause; /* literals stand before these places */
    analysis->facts->stream = stream;
}
