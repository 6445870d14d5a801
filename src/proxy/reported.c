#include "proxy/reported.h"

#include "base/memory.h"
#include "proxy/pool.h"
#include "proxy/proxy.h"

#include <ctype.h>
#include <string.h>

struct report {
    struct report *next;
    unsigned mark; /* 0: told before the transaction; else one more than the savepoints it had made */
    const char *value;
    char name[]; /* and the value */
};

static struct report **find(struct report **at, const char *name)
{
    while (*at && strcmp((*at)->name, name) != 0)
        at = &(*at)->next;
    return at;
}

static void remove_at(struct report **at)
{
    struct report *report = *at;
    *at = report->next;
    memory_free(report);
}

void reported_note(struct client *client, const char *message, const struct wire_frame *frame)
{
    struct wire_reader reader = wire_body(message, frame);
    const char *name = wire_read_text(&reader), *value = wire_read_text(&reader);
    unsigned mark = client->transaction.savepoint_count + 1;
    if (reader.failed)
        return;
    struct report **had = find(&client->reports, name);
    if (*had && (*had)->mark == mark)
        remove_at(had);
    size_t name_size = strlen(name) + 1, value_size = strlen(value) + 1;
    struct report *made = memory_allocate(sizeof *made + name_size + value_size);
    if (!made)
        return; /* the client has heard it; that it is undone it does not hear */
    memcpy(made->name, name, name_size);
    memcpy(made->name + name_size, value, value_size);
    made->value = made->name + name_size;
    made->mark = mark;
    made->next = client->reports;
    client->reports = made;
}

void reported_settle(struct client *client)
{
    for (struct report *report = client->reports; report; report = report->next) {
        report->mark = 0;
        for (struct report **older; *(older = find(&report->next, report->name));)
            remove_at(older);
    }
}

/* Of messages, one after the other; NULL: they do not say. */
static const char *value_in(const char *data, size_t size, const char *name)
{
    struct wire_frame frame;
    for (size_t at = 0; at < size && wire_peek(data + at, size - at, &frame) == WIRE_MESSAGE; at += frame.size) {
        struct wire_reader reader = wire_body(data + at, &frame);
        const char *each = wire_read_text(&reader), *value = wire_read_text(&reader);
        if (!reader.failed && frame.type == WIRE_B_PARAMETER_STATUS && strcmp(each, name) == 0)
            return value;
    }
    return NULL;
}

static const char *welcome_value(const struct client *client, const char *name)
{
    const struct settings_state *startup = client->startup;
    const char *value = startup->reported ? value_in(startup->reported, startup->reported_size, name) : NULL;
    for (size_t i = 0; !value && i < client->worker->world->model.shard_count; i++) {
        const struct pool *pool = pool_find(client->user, i);
        if (pool)
            value = value_in(pool->welcome.data, pool->welcome.size, name);
    }
    return value;
}

static const char *value_at(struct client *client, unsigned mark, const char *name)
{
    struct report *report = client->reports;
    while (report && (report->mark > mark || strcmp(report->name, name) != 0))
        report = report->next;
    return report ? report->value : welcome_value(client, name);
}

static const struct setting *setting_of(const struct settings_state *state, const char *name)
{
    char lower[64];
    size_t size = 0;
    for (; name[size] && size < sizeof lower - 1; size++)
        lower[size] = (char)tolower((unsigned char)name[size]);
    lower[size] = '\0';
    return settings_lookup(state, lower);
}

/* ROLLBACK TO: was it told behind the savepoint, but set before that, in the same message? */
static bool stands(const struct client *client, const struct settings_state *then, const char *name)
{
    const struct setting *had = setting_of(then, name), *has = setting_of(client->session, name);
    return had && has && strcmp(had->replay, has->replay) == 0;
}

/* COMMIT: does it end with the transaction? What roles make so is not SET by its name. */
static bool is_of_local(const struct client *client, const char *name)
{
    const struct setting *had = setting_of(client->transaction.before, name), *has = setting_of(client->session, name);
    if (client->has_unknown || strcmp(name, "is_superuser") == 0 || strcmp(name, "session_authorization") == 0)
        return false;
    return had && has ? strcmp(had->replay, has->replay) == 0 : !had && !has;
}

/* What was told behind the mark is undone: what going back to `then` undoes; NULL: all, or of COMMIT what was local. */
static void undo(struct client *client, unsigned mark, const struct settings_state *then, bool committed,
                 struct buffer *answer)
{
    for (struct report **at = &client->reports, *report; (report = *at);) {
        bool stays = then ? stands(client, then, report->name) : committed && !is_of_local(client, report->name);
        if (report->mark <= mark || stays) {
            at = &report->next;
            continue;
        }
        const char *value = value_at(client, mark, report->name);
        if (value && strcmp(value, report->value) != 0)
            wire_parameter_status(answer, report->name, value);
        for (struct report **older; *(older = find(&report->next, report->name)) && (*older)->mark > mark;)
            remove_at(older);
        remove_at(at);
    }
}

void reported_undo(struct client *client, bool committed, struct buffer *answer)
{
    if (client->reports && client->transaction.before)
        undo(client, 0, NULL, committed, answer);
}

void reported_undo_to(struct client *client, const char *savepoint, struct buffer *answer)
{
    const struct settings_state *then;
    unsigned number = transaction_savepoint_number(&client->transaction, savepoint, &then);
    if (client->reports && number)
        undo(client, number, then, false, answer);
}

void reported_free(struct client *client)
{
    while (client->reports)
        remove_at(&client->reports);
}
