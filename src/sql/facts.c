#include "sql/facts.h"

#include <stdio.h>

#include "base/utf8.h"
#include "sql/analysis.h"
#include "sql/behind.h"

static const char *const class_names[] = {
#define X(identifier, name) [STATEMENT_##identifier] = name,
    STATEMENT_CLASS_LIST(X)
#undef X
};

const char *statement_class_name(enum statement_class class)
{
    return class < STATEMENT_CLASS_COUNT ? class_names[class] : "?";
}

enum { OUT_OF_MEMORY = 1, REFUSED = 2 };

void *analysis_new(struct analysis *analysis, size_t count, size_t size)
{
    void *piece = arena_zeroed(analysis->arena, count, size);
    if (!piece)
        longjmp(analysis->out, OUT_OF_MEMORY);
    return piece;
}

const char *analysis_copy(struct analysis *analysis, const char *text)
{
    char *copy = arena_string(analysis->arena, text);
    if (!copy)
        longjmp(analysis->out, OUT_OF_MEMORY);
    return copy;
}

const char *analysis_text(struct analysis *analysis, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    char *text = arena_vformat(analysis->arena, format, arguments); /* all of it: statements are made by this, too */
    va_end(arguments);
    if (!text)
        longjmp(analysis->out, OUT_OF_MEMORY);
    return text;
}

static struct fact_refusal *refusal_new(struct analysis *analysis, const char *sqlstate, int location,
                                        const char *message, const char *detail, const char *hint)
{
    struct fact_refusal *refusal = analysis_new(analysis, 1, sizeof *refusal);
    *refusal = (struct fact_refusal){
        .sqlstate = sqlstate,
        .message = analysis_copy(analysis, message),
        .detail = detail ? analysis_copy(analysis, detail) : NULL,
        .hint = hint ? analysis_copy(analysis, hint) : NULL,
        .location = analysis->in_view ? -1 : location,
    };
    return refusal;
}

void analysis_refuse(struct analysis *analysis, int location, const char *message, const char *detail, const char *hint)
{
    analysis->facts->refusal = refusal_new(analysis, "0A000", location, message, detail, hint);
    analysis->facts->is_unproved = false;
    longjmp(analysis->out, REFUSED);
}

void analysis_unproved(struct analysis *analysis, int location, const char *message, const char *hint)
{
    if (analysis->facts->refusal)
        return;
    analysis->facts->refusal = refusal_new(analysis, "0A000", location, message, NULL, hint);
    analysis->facts->is_unproved = true;
}

void analysis_bar_coordinator(struct analysis *analysis, const char *reason)
{
    if (!analysis->facts->coordinator_cannot)
        analysis->facts->coordinator_cannot = reason;
}

void analysis_bar_scatter(struct analysis *analysis, const char *reason)
{
    if (!analysis->scatter_bars)
        analysis->scatter_bars = reason;
}

void analysis_bar_several(struct analysis *analysis, const char *reason)
{
    analysis_bar_coordinator(analysis, reason);
    analysis_bar_scatter(analysis, reason);
}

void analysis_note_order(struct analysis *analysis, const char *reason)
{
    if (!analysis->order_matters)
        analysis->order_matters = reason;
}

void analysis_enter(struct analysis *analysis)
{
    if (++analysis->depth > DEPTH_MOST)
        analysis_refuse(analysis, -1, "the statement is nested too deeply to be analysed", NULL,
                        "Write it with less nesting.");
}

static void copy_relations(struct analysis *analysis)
{
    struct fact_relation *relations = analysis_new(analysis, analysis->use_count + 1, sizeof *relations),
                         *to = relations;
    for (struct use *use = analysis->uses; use; use = use->next)
        *to++ = use->fact;
    analysis->facts->relations = relations;
    analysis->facts->relation_count = analysis->use_count;
}

static void copy_unknown(struct analysis *analysis)
{
    size_t count = 0;
    for (const struct unknown_name *each = analysis->unknown; each; each = each->next)
        count++;
    const char **names = analysis_new(analysis, count + 1, sizeof *names);
    for (const struct unknown_name *each = analysis->unknown; each; each = each->next)
        names[analysis->facts->unknown_count++] = each->name;
    analysis->facts->unknown = names;
    analysis->facts->calls_unknown = analysis->unknown_function;
}

static void copy_parameters(struct analysis *analysis)
{
    struct facts *facts = analysis->facts;
    const struct sql_context *context = analysis->context;
    size_t count = analysis->parameter_count;
    uint32_t *types = analysis_new(analysis, count + 1, sizeof *types);
    uint32_t *untyped = analysis_new(analysis, count + 1, sizeof *untyped);
    for (size_t i = 0; i < count; i++) {
        const struct parameter *parameter = &analysis->parameters[i];
        uint32_t declared = i < context->type_count ? context->types[i] : 0;
        if (declared && declared != 705)
            types[i] = declared;
        else if (!parameter->conflicts)
            types[i] = parameter->type;
        else if (parameter->is_key)
            untyped[facts->untyped_count++] = (uint32_t)i + 1;
    }
    facts->parameter_types = types;
    facts->parameter_count = count;
    facts->untyped = untyped;
}

static bool has_sharded(const struct analysis *analysis)
{
    for (const struct use *use = analysis->uses; use; use = use->next)
        if (use->fact.relation->placement == PLACE_SHARDED)
            return true;
    return false;
}

/* What the whole statement says, once all of it was walked. */
static void conclude(struct analysis *analysis)
{
    bool sharded = has_sharded(analysis);
    if (analysis->unknown_function && sharded)
        analysis_refuse(analysis, -1, "a function that is not known", "What it reads is not known.", NULL);
    if (analysis->prefers_home && !sharded)
        analysis->facts->needs_home = true;
    if (analysis->numbers_object && sharded)
        analysis->facts->needs_home = analysis->home_else = true;
    for (size_t i = 0; i < analysis->context->type_count; i++)
        if (analysis->context->types[i] == 1042)
            analysis_bar_coordinator(analysis, "postgres_fdw sends a char(n) parameter as text, with its blanks");
    if (analysis->context->temporary_count)
        analysis_bar_several(analysis, "the session has temporary tables, which one server alone knows");
    if (analysis->prefers_home || analysis->unknown_function)
        analysis_bar_several(analysis, "it asks for what a server knows of itself");
    if (analysis->unknown_function)
        analysis->facts->needs_home = analysis->home_else = true;
    analysis->facts->reads_catalogs = analysis->facts->needs_home && !analysis->home_else && !analysis->facts->is_write;
    if (analysis->facts->refusal)
        return;
    prove(analysis);
    scatter_find(analysis);
    write_find(analysis);
    copy_from_find(analysis);
}

/* A statement behind one of its text that changes what names mean. DDL behind DDL is a script's (plan/script.h). */
static void refuse_behind(struct analysis *analysis, const struct facts *before)
{
    const struct facts *facts = analysis->facts;
    const char *text = analysis->text + facts->start;
    if (before->class == STATEMENT_DDL && facts->class == STATEMENT_DDL)
        return;
    if (behind_names_others(analysis->schema, text, (size_t)facts->length))
        analysis_refuse(analysis, -1,
                        analysis_text(analysis, "%s in one text behind %s", statement_class_name(facts->class),
                                      statement_class_name(before->class)),
                        "Its names may mean something else by then.", "Send the one before it by itself.");
}

/* before: the last one before it of this text that changes what names mean; NULL: none does. */
static void find_one(struct analysis *analysis, const RawStmt *raw, bool alone, const struct facts *before,
                     struct facts *facts)
{
    *facts = (struct facts){0};
    analysis->facts = facts;
    analysis->alone = alone, analysis->top = NULL;
    analysis->has_volatile = analysis->has_volatile_within = false, analysis->names = 0, analysis->scatter_bars = NULL;
    analysis->marks = NULL, analysis->numbers_object = false, analysis->copied = NULL, analysis->has_header = false;
    analysis->depth = 0, analysis->in_view = false;
    analysis->path = analysis->context->path, analysis->path_count = analysis->context->path_count;
    analysis->uses = NULL, analysis->last_use = &analysis->uses, analysis->use_count = 0;
    analysis->conditions = NULL, analysis->last_condition = &analysis->conditions, analysis->condition_count = 0;
    analysis->derived = NULL;
    analysis->parameters = NULL, analysis->parameter_count = analysis->parameter_capacity = 0;
    analysis->prefers_home = analysis->home_else = analysis->unknown_function = false;
    analysis->assigned_types = NULL;
    analysis->copied_in = (struct copied_in){0};
    analysis->written = (struct written){0}, analysis->stored = NULL, analysis->order_matters = NULL;
    analysis->locking = NULL, analysis->locking_count = 0;
    analysis->moments = 0, analysis->clock_else = false;
    analysis->unknown = NULL, analysis->ddl = (struct ddl_places){NULL};
    if (!alone) {
        facts->start = raw->stmt_location;
        facts->length = raw->stmt_len ? raw->stmt_len : (int)analysis->size - raw->stmt_location;
        facts->text_bound = true;
    }
    int reason = setjmp(analysis->out);
    if (!reason) {
        statement_analyse(analysis, raw->stmt);
        if (before)
            refuse_behind(analysis, before);
        conclude(analysis);
    }
    if (reason == OUT_OF_MEMORY)
        return;
    reason = setjmp(analysis->out);
    if (reason)
        return;
    stream_find(analysis);
    copy_relations(analysis);
    copy_unknown(analysis);
    copy_parameters(analysis);
    analysis->finished = true;
}

static mosaic_status find_all(struct analysis *analysis, struct facts_list *list, mosaic_error *error)
{
    const List *statements = analysis->parse->statements;
    size_t count = (size_t)list_length(statements);
    struct facts *facts = arena_zeroed(analysis->arena, count + 1, sizeof *facts);
    const struct facts *before = NULL;
    if (!facts)
        return error_memory(error);
    for (size_t i = 0; i < count; i++) {
        analysis->finished = false;
        find_one(analysis, list_nth(statements, (int)i), count == 1, before, &facts[i]);
        if (!analysis->finished)
            return error_memory(error);
        before = behind_means_else(&facts[i]) ? &facts[i] : before;
    }
    if (!count)
        facts[count++].class = STATEMENT_EMPTY;
    *list = (struct facts_list){facts, count};
    return MOSAIC_OK;
}

__attribute__((noinline)) static struct facts *unreadable_facts(struct analysis *analysis, const char *message,
                                                                int location, const char *sqlstate)
{
    volatile int at = location;
    if (setjmp(analysis->out))
        return NULL;
    struct facts *facts = analysis_new(analysis, 1, sizeof *facts);
    facts->class = STATEMENT_UNREADABLE;
    facts->text_bound = true;
    facts->refusal = refusal_new(analysis, sqlstate, at, message, NULL, NULL);
    return facts;
}

/* A text that PostgreSQL's parser, or the scanner, cannot read: one statement that is refused in PostgreSQL's words. */
static mosaic_status unreadable(struct analysis *analysis, const char *message, int location, const char *sqlstate,
                                struct facts_list *list, mosaic_error *error)
{
    struct facts *facts = unreadable_facts(analysis, message, location, sqlstate);
    *list = (struct facts_list){facts, 1};
    return facts ? MOSAIC_OK : error_memory(error);
}

/* Byte offset of a character, counted from 1. */
static int byte_of(const char *text, size_t size, int character)
{
    return character > 0 ? (int)utf8_offset(text, size, (size_t)character - 1) : -1;
}

static mosaic_status read_text(struct analysis *analysis, struct facts_list *list, mosaic_error *error)
{
    const char *text = analysis->text;
    size_t size = analysis->size;
    if (size > SCAN_BYTES_MOST || analysis->scan->tokens > SCAN_TOKENS_MOST)
        return unreadable(analysis, "the statement is too long to be analysed", -1, "54000", list, error);
    if (size && !key_is_utf8((const unsigned char *)text, size))
        return unreadable(analysis, "invalid byte sequence for encoding \"UTF8\"", -1, "22021", list, error);
    if (analysis->scan->cannot && analysis->scan->cannot_is_costly)
        return unreadable(analysis, analysis->scan->cannot, (int)analysis->scan->cannot_at, "0A000", list, error);
    struct parse parse;
    analysis->parse = &parse;
    mosaic_status status = parse_open(&parse, text, size, error);
    if (status == MOSAIC_OK && parse.refused)
        status = unreadable(analysis, parse.refused, byte_of(text, size, parse.refused_at), "42601", list, error);
    else if (status == MOSAIC_OK)
        status = find_all(analysis, list, error);
    parse_close(&parse);
    return status;
}

mosaic_status facts_find_scanned(const struct sql_context *context, const char *text, size_t size,
                                 const struct scan *scan, struct arena *arena, struct facts_list *list,
                                 mosaic_error *error)
{
    struct analysis analysis = {.context = context, .schema = context->schema, .arena = arena};
    analysis.text = text, analysis.size = size;
    analysis.scan = scan;
    return read_text(&analysis, list, error);
}

mosaic_status facts_find(const struct sql_context *context, const char *text, size_t size, struct arena *arena,
                         struct facts_list *list, mosaic_error *error)
{
    struct scan scan = SCAN_INIT;
    mosaic_status status = scan_text(&scan, text, size)
                               ? facts_find_scanned(context, text, size, &scan, arena, list, error)
                               : error_memory(error);
    scan_free(&scan);
    return status;
}
