#include "proxy/admin_session.h"

#include <string.h>

static void tell_error(struct buffer *out, const mosaic_error *error)
{
    wire_error_response(out, "ERROR", error->sqlstate, error->message, error->detail, error->hint);
}

static void tell_ready(const struct admin_session *session, struct buffer *out)
{
    wire_ready(out, session->in_transaction ? 'T' : 'I');
}

static enum admin_step malformed(struct buffer *out, const char *message)
{
    wire_error_response(out, "FATAL", "08P01", message, NULL, NULL);
    return ADMIN_CLOSE;
}

/* An error of the extended protocol: the rest up to Sync is dropped. */
static enum admin_step fail(struct admin_session *session, struct buffer *out, const mosaic_error *error)
{
    session->skips = true;
    tell_error(out, error);
    return ADMIN_ANSWERED;
}

static enum admin_step fail_with(struct admin_session *session, struct buffer *out, const char *sqlstate,
                                 const char *message, const char *name)
{
    mosaic_error error;
    (void)!error_set(&error, MOSAIC_USAGE, message, name);
    error_sqlstate(&error, sqlstate);
    return fail(session, out, &error);
}

/* May this user use the command? */
static mosaic_status check_right(const struct admin_session *session, enum admin_command command, mosaic_error *error)
{
    const struct admin_info *info = admin_info(command);
    if (session->changes || !info || info->shows)
        return MOSAIC_OK;
    (void)!error_set(error, MOSAIC_AUTH, "%s needs a user of admin_users", info->words);
    error_sqlstate(error, "42501");
    return error_hint(error, "users of stats_users may SHOW; name yours in admin_users, then RELOAD");
}

static mosaic_status read_text(const struct admin_session *session, struct arena *arena, const char *text,
                               struct admin_read *read, mosaic_error *error)
{
    if (strlen(text) > ADMIN_TEXT_MOST) {
        (void)!error_set(error, MOSAIC_LIMIT, "a command of this database has at most %d bytes", ADMIN_TEXT_MOST);
        return error_hint(error, "SHOW HELP lists the commands");
    }
    mosaic_status status = admin_read(arena, text, read, error);
    return status == MOSAIC_OK ? check_right(session, read->command, error) : status;
}

/* What drivers send of their own accord is done here. True: it was one of those. */
static bool do_driver_command(struct admin_session *session, struct buffer *out)
{
    switch (session->run.command) {
    case ADMIN_EMPTY:
        wire_empty(out, WIRE_B_EMPTY_QUERY_RESPONSE);
        return true;
    case ADMIN_BEGIN:
    case ADMIN_COMMIT:
    case ADMIN_ROLLBACK:
        session->in_transaction = session->run.command == ADMIN_BEGIN;
        wire_complete(out, admin_tag(session->run.command));
        return true;
    case ADMIN_SET_DRIVER:
        wire_complete(out, "SET");
        return true;
    default:
        return false;
    }
}

static enum admin_step take_query(struct admin_session *session, const char *text, struct buffer *out)
{
    mosaic_error error;
    arena_reset(&session->arena);
    session->has_portal = session->extended = false;
    session->formats = NULL;
    session->format_count = 0;
    if (read_text(session, &session->arena, text, &session->run, &error) != MOSAIC_OK) {
        tell_error(out, &error);
    } else if (!do_driver_command(session, out)) {
        session->running = true;
        return ADMIN_RUN;
    }
    tell_ready(session, out);
    return ADMIN_ANSWERED;
}

/* ---- the extended protocol ---- */

static struct admin_statement **find(struct admin_session *session, const char *name)
{
    struct admin_statement **at = &session->statements;
    while (*at && strcmp((*at)->name, name) != 0)
        at = &(*at)->next;
    return at;
}

static void drop(struct admin_session *session, const char *name)
{
    struct admin_statement **at = find(session, name), *found = *at;
    if (!found)
        return;
    *at = found->next;
    session->statement_count--;
    arena_free(&found->arena);
    memory_free(found);
}

static enum admin_step take_parse(struct admin_session *session, const struct wire_parse *parse, struct buffer *out)
{
    mosaic_error error;
    if (!*parse->name)
        drop(session, "");
    else if (*find(session, parse->name))
        return fail_with(session, out, "42P05", "prepared statement \"%.63s\" already exists", parse->name);
    if (strlen(parse->name) >= sizeof((struct admin_statement *)0)->name)
        return fail_with(session, out, "42622", "the name of statement \"%.63s\" is too long", parse->name);
    if (session->statement_count == ADMIN_STATEMENTS_MOST)
        return fail_with(session, out, "54000", "too many prepared statements in this database%s", "");
    struct admin_statement *statement = memory_zeroed(1, sizeof *statement);
    if (!statement) {
        (void)!error_memory(&error);
        return fail(session, out, &error);
    }
    memcpy(statement->name, parse->name, strlen(parse->name));
    if (read_text(session, &statement->arena, parse->sql, &statement->read, &error) != MOSAIC_OK) {
        arena_free(&statement->arena);
        memory_free(statement);
        return fail(session, out, &error);
    }
    statement->next = session->statements;
    session->statements = statement;
    session->statement_count++;
    wire_empty(out, WIRE_B_PARSE_COMPLETE);
    return ADMIN_ANSWERED;
}

/* The portal has its own copy of all, so that the statement may be closed. */
static mosaic_status copy_statement(struct admin_session *session, const struct admin_read *read,
                                    const struct wire_bind *bind, mosaic_error *error)
{
    struct arena *arena = &session->arena;
    arena_reset(arena);
    session->run = *read;
    session->format_count = bind->result_count;
    session->formats = arena_copy(arena, bind->results, (size_t)bind->result_count * 2);
    if (read->argument)
        session->run.argument = arena_string(arena, read->argument);
    if (read->value)
        session->run.value = arena_string(arena, read->value);
    bool whole = session->formats && !session->run.argument == !read->argument && !session->run.value == !read->value;
    return whole ? MOSAIC_OK : error_memory(error);
}

static enum admin_step take_bind(struct admin_session *session, const struct wire_bind *bind, struct buffer *out)
{
    struct admin_statement *statement = *find(session, bind->statement);
    mosaic_error error;
    session->has_portal = false;
    if (!statement)
        return fail_with(session, out, "26000", "prepared statement \"%.63s\" does not exist", bind->statement);
    if (bind->value_count)
        return fail_with(session, out, "08P01", "commands of this database take no parameters%s", "");
    if (strlen(bind->portal) >= sizeof session->portal)
        return fail_with(session, out, "42622", "the name of portal \"%.63s\" is too long", bind->portal);
    if (copy_statement(session, &statement->read, bind, &error) != MOSAIC_OK)
        return fail(session, out, &error);
    memcpy(session->portal, bind->portal, strlen(bind->portal) + 1);
    session->has_portal = true;
    wire_empty(out, WIRE_B_BIND_COMPLETE);
    return ADMIN_ANSWERED;
}

static bool is_portal(const struct admin_session *session, const char *name)
{
    return session->has_portal && strcmp(session->portal, name) == 0;
}

static enum admin_step take_describe(struct admin_session *session, const struct wire_named *named, struct buffer *out)
{
    struct admin_statement *statement = named->kind == 'S' ? *find(session, named->name) : NULL;
    uint16_t count;
    if (named->kind == 'S' && !statement)
        return fail_with(session, out, "26000", "prepared statement \"%.63s\" does not exist", named->name);
    if (named->kind == 'P' && !is_portal(session, named->name))
        return fail_with(session, out, "34000", "portal \"%.63s\" does not exist", named->name);
    if (statement) {
        size_t began = wire_begin(out, WIRE_B_PARAMETER_DESCRIPTION);
        wire_16(out, 0);
        wire_end(out, began);
    }
    enum admin_command command = statement ? statement->read.command : session->run.command;
    const struct admin_column *columns = admin_columns(command, &count);
    struct admin_table table = admin_table_start(out, columns, count, statement ? NULL : session->formats,
                                                 statement ? 0 : session->format_count);
    if (columns)
        admin_table_describe(&table);
    else
        wire_empty(out, WIRE_B_NO_DATA);
    return ADMIN_ANSWERED;
}

static enum admin_step take_execute(struct admin_session *session, const char *name, struct buffer *out)
{
    mosaic_error error;
    if (!is_portal(session, name))
        return fail_with(session, out, "34000", "portal \"%.63s\" does not exist", name);
    if (check_right(session, session->run.command, &error) != MOSAIC_OK)
        return fail(session, out, &error);
    session->extended = true;
    if (do_driver_command(session, out))
        return ADMIN_ANSWERED;
    session->running = true;
    return ADMIN_RUN;
}

static enum admin_step take_close(struct admin_session *session, const struct wire_named *named, struct buffer *out)
{
    if (named->kind == 'S')
        drop(session, named->name);
    else if (is_portal(session, named->name))
        session->has_portal = false;
    wire_empty(out, WIRE_B_CLOSE_COMPLETE);
    return ADMIN_ANSWERED;
}

static enum admin_step take_extended(struct admin_session *session, const char *message, const struct wire_frame *frame,
                                     struct buffer *out)
{
    struct wire_parse parse;
    struct wire_bind bind;
    struct wire_named named;
    switch (frame->type) {
    case WIRE_PARSE:
        return wire_read_parse(message, frame, &parse) ? take_parse(session, &parse, out)
                                                       : malformed(out, "malformed Parse");
    case WIRE_BIND:
        return wire_read_bind(message, frame, &bind) ? take_bind(session, &bind, out)
                                                     : malformed(out, "malformed Bind");
    case WIRE_DESCRIBE:
    case WIRE_CLOSE:
    case WIRE_EXECUTE:
        if (!wire_read_named(message, frame, &named))
            return malformed(out, "malformed message of the extended protocol");
        if (frame->type == WIRE_EXECUTE)
            return take_execute(session, named.name, out);
        return frame->type == WIRE_CLOSE ? take_close(session, &named, out) : take_describe(session, &named, out);
    default:
        return malformed(out, "a message that has no meaning in this database");
    }
}

enum admin_step admin_session_take(struct admin_session *session, const char *message, const struct wire_frame *frame,
                                   struct buffer *out)
{
    struct wire_reader reader = wire_body(message, frame);
    const char *text;
    switch (frame->type) {
    case WIRE_TERMINATE:
        return ADMIN_CLOSE;
    case WIRE_SYNC:
        session->skips = false;
        tell_ready(session, out);
        return ADMIN_ANSWERED;
    case WIRE_FLUSH:
        return ADMIN_ANSWERED;
    case WIRE_QUERY:
        session->skips = false;
        text = wire_read_text(&reader);
        return wire_read_all(&reader) ? take_query(session, text, out) : malformed(out, "malformed Query");
    default:
        return session->skips ? ADMIN_ANSWERED : take_extended(session, message, frame, out);
    }
}

struct admin_table admin_session_table(struct admin_session *session, struct buffer *out)
{
    uint16_t count;
    const struct admin_column *columns = admin_columns(session->run.command, &count);
    struct admin_table table = admin_table_start(out, columns, count, session->formats, session->format_count);
    if (!session->extended)
        admin_table_describe(&table);
    return table;
}

void admin_session_end(struct admin_session *session, struct buffer *out, mosaic_status status,
                       const mosaic_error *error)
{
    session->running = false;
    if (status == MOSAIC_OK) {
        wire_complete(out, admin_tag(session->run.command));
    } else {
        tell_error(out, error);
        session->skips = session->extended;
    }
    if (!session->extended)
        tell_ready(session, out);
}

void admin_session_free(struct admin_session *session)
{
    while (session->statements)
        drop(session, session->statements->name);
    arena_free(&session->arena);
}
