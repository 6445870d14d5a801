#include "plan/stream.h"

#include "base/buffer.h"
#include "base/error.h"
#include "core/sqlexpr.h"
#include "plan/write.h"
#include "sql/words.h"

#include <stdio.h>
#include <string.h>

enum { SOURCE_BYTES_MOST = 16 * 1024 * 1024 + 1024 * 1024 };

/* ---- the texts ---- */

/* From `start` up to `size`, without the semicolon behind it. */
static size_t end_of(const char *text, size_t size, size_t start)
{
    size_t at = start, end = start;
    for (struct token token; words_token(text, size, &at, &token);)
        if (token.is_group || token.word.kind != WORD_SIGN || *token.word.text != ';')
            end = token.end;
    return end;
}

static size_t query_end(const struct keys_input *input)
{
    const struct fact_stream *stream = input->facts->stream;
    return end_of(input->input->text, stream->behind ? stream->behind : input->input->size, stream->start);
}

static char *text_made(struct buffer *made, struct arena *arena)
{
    char *text = buffer_failed(made) ? NULL : arena_string(arena, buffer_string(made));
    buffer_free(made);
    return text;
}

/*
 * The type that a column's value is read as: the one below all domains. A char(n) is read as the text that it is
 * without its blanks, which COPY pads as an assignment does: postgres_fdw would take the blanks for a part of it.
 */
static const struct schema_type *type_of(const struct schema *schema, const struct schema_column *column)
{
    enum { TEXT = 25, BPCHAR = 1042 };
    int32_t modifier = -1;
    uint32_t type = schema_base_type(schema, column->type, &modifier);
    bool is_padded = type == BPCHAR && (modifier != -1 || column->modifier != -1);
    return schema_type_by_oid(schema, is_padded ? TEXT : type);
}

/* ::"schema"."type" of the i-th column */
static void add_cast(const struct keys_input *input, size_t i, struct buffer *out)
{
    const struct schema_type *type = type_of(input->input->schema, input->facts->stream->columns[i]);
    buffer_text(out, "::");
    sql_qualified(out, type->schema, type->name);
}

static bool is_sign(const struct token *token, char sign)
{
    return !token->is_group && token->word.kind == WORD_SIGN && *token->word.text == sign;
}

/*
 * SELECT (x)::type, (y)::type FROM …: what shows no key as a subquery may be every shard's as it is. By words: commas
 * outside of all parentheses part the list, and the first FROM that is of no IS DISTINCT FROM, nor a name behind a dot,
 * ends it. NULL: it is not of this form.
 */
static char *plain_text(const struct keys_input *input)
{
    const struct fact_stream *stream = input->facts->stream;
    const char *text = input->input->text;
    size_t end = query_end(input), at = stream->start, count = 0, from = 0, last = 0;
    struct token token, before = {.is_group = true};
    struct buffer out = BUFFER_INIT(SOURCE_BYTES_MOST);
    if (!stream->is_plain || !words_token(text, end, &at, &token) || !token_is(&token, "select"))
        return NULL;
    buffer_text(&out, "SELECT ");
    for (; !from && words_token(text, end, &at, &token); before = token) {
        bool ends = token_is(&token, "from") && !token_is(&before, "distinct") && !is_sign(&before, '.');
        if (token_is(&token, "all") && !last)
            continue;
        if (!ends && !is_sign(&token, ',')) {
            last = last ? last : token.start;
            continue;
        }
        if (!last || count == stream->count)
            break;
        buffer_text(&out, count ? ", (" : "(");
        buffer_add(&out, text + last, before.end - last);
        buffer_char(&out, ')');
        add_cast(input, count++, &out);
        last = 0;
        from = ends ? token.start : 0;
    }
    bool found = from && count == stream->count;
    buffer_char(&out, ' ');
    buffer_add(&out, text + from, end - from);
    if (found)
        return text_made(&out, input->arena);
    buffer_free(&out);
    return NULL;
}

static char *source_text(const struct keys_input *input)
{
    const struct fact_stream *stream = input->facts->stream;
    const char *text = input->input->text;
    struct buffer out = BUFFER_INIT(SOURCE_BYTES_MOST);
    buffer_add(&out, text + stream->with, stream->insert - stream->with); /* WITH means the same before the query */
    for (size_t i = 0; i < stream->count; i++) {
        buffer_format(&out, "%sr%zu", i ? ", " : "SELECT ", i + 1);
        add_cast(input, i, &out);
    }
    buffer_text(&out, " FROM (");
    buffer_add(&out, text + stream->start, query_end(input) - stream->start);
    buffer_text(&out, "\n) AS rows (");
    for (size_t i = 0; i < stream->count; i++)
        buffer_format(&out, "%sr%zu", i ? ", " : "", i + 1);
    buffer_char(&out, ')');
    return text_made(&out, input->arena);
}

static char *copy_text(const struct keys_input *input)
{
    const struct fact_stream *stream = input->facts->stream;
    struct buffer out = BUFFER_INIT(SOURCE_BYTES_MOST);
    buffer_text(&out, "COPY ");
    sql_qualified(&out, stream->target->schema, stream->target->name);
    for (size_t i = 0; i < stream->count; i++) {
        buffer_text(&out, i ? ", " : " (");
        sql_identifier(&out, stream->columns[i]->name);
    }
    buffer_text(&out, ") FROM STDIN (FORMAT binary)");
    return text_made(&out, input->arena);
}

/* How many parameters the client's statement has: those of the arrays come behind them. */
static size_t parameters_before(const struct keys_input *input)
{
    size_t given = input->input->parameter_count, named = input->facts->parameter_count;
    return given > named ? given : named;
}

/* The client's INSERT, with other rows in place of its query. */
static char *insert_text(const struct keys_input *input, struct buffer *made)
{
    const struct fact_stream *stream = input->facts->stream;
    const char *text = input->input->text, *rows = text_made(made, input->arena);
    struct buffer out = BUFFER_INIT(2 * SOURCE_BYTES_MOST);
    if (!rows)
        return NULL;
    buffer_add(&out, text + stream->insert, stream->start - stream->insert);
    buffer_text(&out, rows);
    if (stream->behind) {
        buffer_char(&out, ' ');
        buffer_add(&out, text + stream->behind, end_of(text, input->input->size, stream->behind) - stream->behind);
    }
    return text_made(&out, input->arena);
}

/* Two rows of parameters: what is proved of these is so of any. */
static char *pattern_text(const struct keys_input *input)
{
    struct buffer rows = BUFFER_INIT(SOURCE_BYTES_MOST);
    size_t before = parameters_before(input);
    for (int row = 0; row < 2; row++) {
        for (size_t i = 0; i < input->facts->stream->count; i++)
            buffer_format(&rows, "%s$%zu", i ? ", " : row ? "), (" : "VALUES (", before + i + 1);
    }
    buffer_char(&rows, ')');
    return insert_text(input, &rows);
}

static char *arrays_text(const struct keys_input *input)
{
    struct buffer rows = BUFFER_INIT(SOURCE_BYTES_MOST);
    size_t before = parameters_before(input), count = input->facts->stream->count;
    for (size_t i = 0; i < count; i++)
        buffer_format(&rows, "%sr%zu", i ? ", " : "SELECT ", i + 1);
    for (size_t i = 0; i < count; i++) {
        buffer_format(&rows, "%spg_catalog.unnest($%zu", i ? ", " : " FROM ROWS FROM (", before + i + 1);
        add_cast(input, i, &rows);
        buffer_text(&rows, "[])");
    }
    buffer_text(&rows, ") AS rows (");
    for (size_t i = 0; i < count; i++)
        buffer_format(&rows, "%sr%zu", i ? ", " : "", i + 1);
    buffer_char(&rows, ')');
    return insert_text(input, &rows);
}

/* ---- the read ---- */

static bool names_moment(const struct plan_input *input)
{
    bool names = false;
    for (size_t i = 0; i < input->literal_count; i++) {
        const struct plan_value *value = &input->literals[i];
        names |=
            !value->type && value->size >= 0 && (!value->data || words_name_moment(value->data, (size_t)value->size));
    }
    for (size_t i = 0; i < input->parameter_count; i++) {
        const struct plan_value *value = &input->parameters[i];
        names |= value->size >= 0 && value->data && words_name_moment(value->data, (size_t)value->size);
    }
    return names;
}

static enum keys_outcome refuse(const struct keys_input *input, const char *detail, const char *hint)
{
    (void)!error_set(input->error, MOSAIC_UNSUPPORTED,
                     "the rows of the INSERT's query cannot be read first and stored then");
    error_detail(input->error, "%s", detail);
    error_hint(input->error, "%s", hint);
    error_sqlstate(input->error, "0A000");
    return KEYS_REFUSED;
}

static enum keys_outcome find(const struct keys_input *input, const char *text, struct facts_list *list)
{
    mosaic_error ignored;
    return text && facts_find(input->input->context, text, strlen(text), input->arena, list, &ignored) == MOSAIC_OK
               ? KEYS_READ
               : KEYS_MEMORY;
}

static const char *why_no_source(const struct facts_list *list)
{
    const struct facts *facts = list->facts;
    if (list->count != 1 || facts->class != STATEMENT_SELECT)
        return "What it inserts is not read as a query by itself.";
    if (facts->is_write || facts->placement)
        return "Its query writes or locks rows itself.";
    return facts->changes_session || facts->sets_unknown ? "Its query changes the session." : NULL;
}

/* One server's answer as that of several, which are one. */
static bool make_scatter(const struct keys_input *input, const char *text, struct plan *plan)
{
    struct fact_scatter *scatter = arena_zeroed(input->arena, 1, sizeof *scatter);
    uint16_t *shards = arena_allocate(input->arena, sizeof *shards);
    if (!scatter || !shards)
        return false;
    bool coordinates = plan->kind == PLAN_COORDINATOR;
    *shards = coordinates ? (uint16_t)input->input->schema->model->shard_count : plan->shard;
    scatter->text = coordinates && plan->pruned ? plan->pruned : text;
    scatter->columns = input->facts->stream->count;
    plan->kind = PLAN_SCATTER;
    plan->scatter = scatter;
    plan->shards = shards, plan->shard_count = 1;
    plan->limit = UINT64_MAX, plan->offset = 0;
    return true;
}

static enum keys_outcome plan_source(const struct keys_input *input, struct plan_source *source)
{
    struct plan_input own = *input->input;
    char *plain = plain_text(input), *text = plain ? plain : source_text(input);
    struct facts_list list;
    if (find(input, text, &list) != KEYS_READ)
        return KEYS_MEMORY;
    const char *why = why_no_source(&list);
    if (why)
        return refuse(input, why, "insert VALUES, or write in a statement of its own what the query writes");
    own.text = text, own.size = strlen(text);
    own.hint = NULL;
    own.has_writes = own.has_streams = false;
    /* Several shards' rows come as they come. One server's do in the order of its subquery, by which a sequence numbers
     * them, ON CONFLICT takes the first, and RETURNING gives them. */
    const struct fact_stream *stream = input->facts->stream;
    bool is_home = stream->target->placement != PLACE_SHARDED && stream->target->placement != PLACE_REFERENCE;
    if (stream->is_ordered && (is_home || stream->is_given))
        own.has_scatter = false;
    struct plan *plan = arena_zeroed(input->arena, 1, sizeof *plan);
    if (!plan || plan_make(list.facts, &own, input->arena, plan, input->error) != MOSAIC_OK)
        return KEYS_MEMORY;
    if (plan->kind == PLAN_REFUSED) {
        *input->error = *plan->error;
        return KEYS_REFUSED;
    }
    source->plan = plan;
    source->reads_clock = list.facts->reads_clock || names_moment(input->input);
    source->of_coordinator = plan->kind == PLAN_COORDINATOR;
    source->tier = plan->kind == PLAN_SHARD || plan->kind == PLAN_ANY ? 1
                   : plan->kind == PLAN_COORDINATOR                   ? 4
                   : plan->scatter->final                             ? 3
                                                                      : 2;
    return plan->kind == PLAN_SCATTER || make_scatter(input, text, plan) ? KEYS_READ : KEYS_MEMORY;
}

/* ---- the write ---- */

/* Of a table that the home shard alone has. */
static struct plan_write *write_home(const struct keys_input *input, const char *text)
{
    const struct fact_stream *stream = input->facts->stream;
    struct plan_write *write = arena_zeroed(input->arena, 1, sizeof *write);
    struct plan_write_part *part = arena_zeroed(input->arena, 1, sizeof *part);
    struct fact_copy *copy = arena_zeroed(input->arena, 1, sizeof *copy);
    static const size_t no_fields[1];
    static const int no_modifiers[1];
    if (!write || !part || !copy)
        return NULL;
    *copy = (struct fact_copy){.format = {.kind = MOSAIC_BINARY, .row_limit = FACT_COPY_ROW_MOST},
                               .fields = stream->count,
                               .key_fields = no_fields,
                               .key_modifiers = no_modifiers,
                               .moment_fields = no_fields};
    *part = (struct plan_write_part){.shard = (uint16_t)input->input->schema->home, .text = text, .size = strlen(text)};
    *write =
        (struct plan_write){.parts = part, .part_count = 1, .tags = TAGS_SUM, .target = stream->target, .copy = copy};
    return write;
}

/* Of one that several shards have: as COPY into it is planned. */
static enum keys_outcome write_several(const struct keys_input *input, const char *text, struct plan_write **write)
{
    struct plan_input own = *input->input;
    struct facts_list list;
    struct plan plan;
    if (find(input, text, &list) != KEYS_READ)
        return KEYS_MEMORY;
    own.text = text, own.size = strlen(text);
    own.literal_count = own.parameter_count = 0;
    own.hint = NULL;
    own.has_scatter = own.has_writes = true;
    own.has_streams = false;
    if (plan_make(list.facts, &own, input->arena, &plan, input->error) != MOSAIC_OK)
        return KEYS_MEMORY;
    if (plan.write && plan.write->part_count && plan.write->copy) {
        *write = arena_copy(input->arena, plan.write, sizeof *plan.write);
        return *write ? KEYS_READ : KEYS_MEMORY;
    }
    if (plan.kind != PLAN_REFUSED)
        return refuse(input, "Its table cannot be written by COPY here.", "insert VALUES");
    *input->error = *plan.error;
    return KEYS_REFUSED;
}

static enum keys_outcome plan_target(const struct keys_input *input, struct plan_write **write)
{
    enum placement place = input->facts->stream->target->placement;
    const char *text = copy_text(input);
    if (!text)
        return KEYS_MEMORY;
    if (place == PLACE_SHARDED || place == PLACE_REFERENCE)
        return write_several(input, text, write);
    *write = write_home(input, text);
    return *write ? KEYS_READ : KEYS_MEMORY;
}

/* ---- the write, where COPY lacks what the INSERT has ---- */

static enum keys_outcome refuse_given(const struct keys_input *input, const struct facts *facts)
{
    char detail[256];
    const char *why = facts->write_cannot ? facts->write_cannot
                      : facts->refusal    ? facts->refusal->message
                                          : "one shard alone would have to do it";
    snprintf(detail, sizeof detail, "Its INSERT of rows cannot be dealt out: %s.", why);
    return refuse(input, detail, facts->write_remedy ? facts->write_remedy : "insert VALUES, or leave out the clause");
}

/* Of a table that the home shard alone has: may it take all rows by itself? */
static enum keys_outcome check_home(const struct keys_input *input, const struct facts *facts, const char *text)
{
    struct plan_input own = *input->input;
    struct plan plan;
    own.text = text, own.size = strlen(text);
    own.literal_count = 0;
    own.hint = NULL;
    own.has_streams = false;
    if (plan_make(facts, &own, input->arena, &plan, input->error) != MOSAIC_OK)
        return KEYS_MEMORY;
    if (plan.kind == PLAN_SHARD && plan.shard == input->input->schema->home)
        return KEYS_READ;
    if (plan.kind == PLAN_REFUSED)
        *input->error = *plan.error;
    return plan.kind == PLAN_REFUSED ? KEYS_REFUSED : refuse_given(input, facts);
}

/* What is proved of rows of values is the write's. */
static enum keys_outcome take_facts(const struct keys_input *input, struct plan_write *write)
{
    const struct fact_stream *stream = input->facts->stream;
    const struct fact_copy *copy = write->copy;
    enum placement place = stream->target->placement;
    if (parameters_before(input) + stream->count > UINT16_MAX)
        return refuse(input, "With its rows the statement has too many parameters.", "give fewer parameters");
    char *text = pattern_text(input);
    struct facts_list list;
    if (find(input, text, &list) != KEYS_READ)
        return KEYS_MEMORY;
    const struct facts *facts = list.facts;
    if (place == PLACE_SHARDED || place == PLACE_REFERENCE) {
        struct keys_input own = *input;
        own.facts = facts;
        struct plan_input values = *input->input;
        values.literal_count = values.parameter_count = 0; /* facts of another text number them otherwise */
        if (names_moment(input->input))
            values.moment = NULL;
        own.input = &values;
        if (!facts->write || facts->write->move)
            return refuse_given(input, facts);
        if (!write_fill(&own, write))
            return KEYS_MEMORY;
        write->reads_clock |= stream->behind && names_moment(input->input);
    } else {
        enum keys_outcome outcome = check_home(input, facts, text);
        if (outcome != KEYS_READ)
            return outcome;
        write->has_returning = stream->has_returning;
    }
    write->copy = copy;
    return KEYS_READ;
}

/* The shards and rows are COPY's, the words are the INSERT's. */
static enum keys_outcome give(const struct keys_input *input, struct plan_write *write)
{
    const struct fact_stream *stream = input->facts->stream;
    uint32_t *arrays = arena_allocate(input->arena, (stream->count + 1) * sizeof *arrays);
    struct plan_write_part *parts = arena_copy(input->arena, write->parts, write->part_count * sizeof *parts);
    const char *text = arrays_text(input);
    if (!arrays || !parts || !text)
        return KEYS_MEMORY;
    for (size_t i = 0; i < stream->count; i++)
        arrays[i] = type_of(input->input->schema, stream->columns[i])->oid;
    for (size_t i = 0; i < write->part_count; i++)
        parts[i].text = text, parts[i].size = strlen(text);
    write->parts = parts;
    write->arrays = arrays;
    return take_facts(input, write);
}

/* ---- both ---- */

enum keys_outcome stream_plan(const struct keys_input *input, struct plan *plan)
{
    struct plan_source *source = arena_zeroed(input->arena, 1, sizeof *source);
    struct plan_write *write = NULL;
    enum keys_outcome outcome = source ? plan_source(input, source) : KEYS_MEMORY;
    if (outcome == KEYS_READ)
        outcome = plan_target(input, &write);
    if (outcome == KEYS_READ && input->facts->stream->is_given)
        outcome = give(input, write);
    if (outcome != KEYS_READ)
        return outcome;
    write->tag = "INSERT 0";
    write->source = source;
    /* One server's clock alone is one moment, unless that of the others is asked for, by defaults or by the clauses. */
    bool asks_others = write->stores_clock || input->facts->stream->names_moment;
    write->reads_clock |= source->reads_clock && (source->plan->shard_count > 1 || asks_others);
    plan->bucket = PLAN_NO_BUCKET;
    plan->relation = NULL;
    plan->write = write;
    plan->kind = PLAN_WRITE;
    return KEYS_READ;
}
