#include "proxy/console.h"

#include "base/memory.h"
#include "proxy/admin_session.h"
#include "proxy/cancel.h"
#include "proxy/console_run.h"
#include "proxy/gather.h"
#include "proxy/log.h"
#include "proxy/proxy.h"

#include <stdio.h>
#include <string.h>

enum { ANSWER_MOST = 64 << 20, LOOK_MS = 20 };

/* ---- who may ---- */

static bool is_in(const char *const *names, const char *user)
{
    for (; *names; names++)
        if (strcmp(*names, user) == 0)
            return true;
    return false;
}

bool console_may_change(const struct worker *worker, const char *user)
{
    for (size_t i = 0; i < worker->world->model.shard_count; i++)
        if (worker->world->targets[i].user && strcmp(worker->world->targets[i].user, user) == 0)
            return true;
    return is_in(worker->settings->admin_users, user);
}

bool console_may_enter(const struct worker *worker, const char *user)
{
    return console_may_change(worker, user) || is_in(worker->settings->stats_users, user);
}

/* ---- life ---- */

static void fire(struct timer *timer);

bool console_open(struct client *client)
{
    static const char *const parameters[][2] = {{"server_version", "15.0 (pgmosaic " MOSAIC_VERSION ")"},
                                                {"server_encoding", "UTF8"},
                                                {"client_encoding", "UTF8"},
                                                {"DateStyle", "ISO, MDY"},
                                                {"IntervalStyle", "postgres"},
                                                {"TimeZone", "UTC"},
                                                {"integer_datetimes", "on"},
                                                {"is_superuser", "off"},
                                                {"standard_conforming_strings", "on"}};
    struct worker *worker = client->worker;
    struct console *console = memory_zeroed(1, sizeof *console);
    if (!console || !cancel_register(client)) {
        memory_free(console);
        client_close(client, NULL);
        return false;
    }
    console->client = client;
    console->worker = worker;
    timer_init(&console->timer, fire);
    client->console = console;
    struct buffer *out = batch_make(&worker->to_client);
    for (size_t i = 0; i < sizeof parameters / sizeof *parameters; i++)
        wire_parameter_status(out, parameters[i][0], parameters[i][1]);
    wire_parameter_status(out, "session_authorization", client->user->account->name);
    wire_parameter_status(out, "application_name", client->application_name);
    wire_backend_key(out, cancel_pid(client), client->key, client->minor >= 2 ? 32 : 4);
    wire_ready(out, 'I');
    return true;
}

static void console_free(struct console *console)
{
    timer_cancel(&console->timer);
    admin_session_free(&console->session);
    memory_free(console);
}

void console_close(struct client *client)
{
    struct console *console = client->console;
    if (!console)
        return;
    client->console = NULL;
    console->client = NULL;
    if (!console->is_away)
        console_free(console); /* else who comes back to it does */
}

bool console_is_busy(const struct client *client)
{
    return client->console && client->console->session.running;
}

/* ---- commands ---- */

static void answer(struct console *console, struct gather *gather, mosaic_status status, const mosaic_error *error)
{
    struct client *client = console->client;
    struct buffer out = BUFFER_INIT(ANSWER_MOST);
    mosaic_error own;
    uint16_t columns;
    if (status == MOSAIC_OK && admin_columns(console->session.run.command, &columns)) {
        struct admin_table table = admin_session_table(&console->session, &out);
        size_t described = out.size;
        status = console_show(console, gather ? &gather->snapshot : NULL, &table, &own);
        error = &own;
        if (status != MOSAIC_OK && !buffer_failed(&out))
            out.size = described; /* no rows before an error */
    }
    if (buffer_failed(&out)) {
        buffer_clear(&out);
        status = error_set(&own, MOSAIC_LIMIT, "the answer is larger than %d MiB", ANSWER_MOST >> 20);
        error = &own;
    }
    admin_session_end(&console->session, &out, status, error);
    if (buffer_failed(&out) || !channel_send(&client->channel, out.data, out.size)) {
        buffer_free(&out);
        client_close(client, NULL);
        return;
    }
    buffer_free(&out);
    loop_again(&console->worker->loop, &client->channel.source);
}

bool console_returned(struct console *console)
{
    console->is_away = false;
    if (console->client)
        return true;
    console_free(console);
    return false;
}

struct gathered {
    struct message message; /* first */
    struct gather *gather;
};

/* On the console's own thread again. */
static void take_gathered(struct worker *worker, struct message *message)
{
    struct gather *gather = LIST_OWNER(struct gathered, message, message)->gather;
    struct console *console = gather->context;
    (void)worker;
    if (console_returned(console)) {
        if (console->waits_for == CONSOLE_CLOSED)
            console_look(console, &gather->snapshot);
        else
            answer(console, gather, MOSAIC_OK, NULL);
    }
    gather_free(gather);
}

static void gathered(struct gather *gather)
{
    struct console *console = gather->context;
    struct gathered *message = memory_zeroed(1, sizeof *message);
    if (!message)
        return; /* the client waits in vain, and its memory is lost: there is none to do better */
    message->message.handle = take_gathered;
    message->gather = gather;
    worker_post(console->worker, &message->message);
}

void console_gather(struct console *console, unsigned wants)
{
    mosaic_error error;
    console->is_away = gather_start(console->worker->proxy, wants, gathered, console);
    if (!console->is_away)
        answer(console, NULL, error_memory(&error), &error);
}

void console_wait(struct console *console, enum console_wait waits_for)
{
    console->waits_for = waits_for;
    timer_set(&console->worker->loop.timers, &console->timer, console->worker->loop.now + LOOK_MS);
}

void console_done(struct console *console, mosaic_status status, const mosaic_error *error)
{
    console->waits_for = CONSOLE_NOTHING;
    answer(console, NULL, status, error);
}

static void fire(struct timer *timer)
{
    struct console *console = LIST_OWNER(struct console, timer, timer);
    if (console->client && !console->is_away)
        console_look(console, NULL);
}

static void log_command(const struct console *console)
{
    const struct client *client = console->client;
    const struct admin_read *run = &console->session.run;
    const struct admin_info *info = admin_info(run->command);
    char text[200];
    if (!info || info->shows)
        return;
    snprintf(text, sizeof text, "%s%s%s%s%s", info->words, run->argument ? " " : "", run->argument ? run->argument : "",
             run->value ? " = " : "", run->value ? run->value : "");
    log_event(console->worker->proxy->log, EVENT_ADMIN, (int)console->worker->number,
              &(struct log_entry){.message = text, .client = client->number, .user = client->user->account->name});
}

enum taken console_message(struct client *client, const char *message, const struct wire_frame *frame)
{
    struct console *console = client->console;
    if (console->session.running)
        return TAKEN_LATER;
    console->session.changes = console_may_change(client->worker, client->user->account->name);
    switch (admin_session_take(&console->session, message, frame, batch_make(&client->worker->to_client))) {
    case ADMIN_ANSWERED:
        return TAKEN;
    case ADMIN_CLOSE:
        batch_send(&client->worker->to_client, &client->channel);
        client_close(client, NULL);
        return TAKEN_CLOSED;
    default:
        break;
    }
    /* What was answered before comes first. */
    if (!batch_send(&client->worker->to_client, &client->channel)) {
        client_close(client, NULL);
        return TAKEN_CLOSED;
    }
    log_command(console);
    console_run(console);
    return client->state == CLIENT_CLOSED ? TAKEN_CLOSED : TAKEN;
}
