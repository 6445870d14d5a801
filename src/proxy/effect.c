#include "proxy/effect.h"

#include "base/memory.h"
#include "proxy/branch.h"
#include "proxy/client.h"
#include "proxy/client_portal.h"
#include "proxy/lasting.h"
#include "proxy/reset.h"
#include "proxy/route.h"

#include <string.h>
#include <strings.h>

enum { REPLAY_MOST = 65536 };

bool effect_is(const struct facts *facts)
{
    switch (facts->class) {
    case STATEMENT_BEGIN:
    case STATEMENT_COMMIT:
    case STATEMENT_ROLLBACK:
    case STATEMENT_SAVEPOINT:
    case STATEMENT_RELEASE:
    case STATEMENT_ROLLBACK_TO:
    case STATEMENT_SET:
    case STATEMENT_SET_TRANSACTION:
    case STATEMENT_CONSTRAINTS:
    case STATEMENT_DISCARD:
    case STATEMENT_DEALLOCATE:
    case STATEMENT_DECLARE:
        return true;
    case STATEMENT_CURSOR:
        return facts->closes;
    default:
        return facts->changes_schema || facts->changes_session || facts->notifies;
    }
}

/* ---- noting ---- */

static char *copied(const char *text)
{
    size_t size = strlen(text) + 1;
    char *copy = memory_allocate(size);
    return copy ? memcpy(copy, text, size) : NULL;
}

static void free_effect(struct effect *effect)
{
    memory_free((char *)effect->facts.name);
    memory_free((char *)effect->facts.value);
    memory_free(effect);
}

void effects_free(struct client *client)
{
    struct effects *effects = client->effects;
    if (!effects)
        return;
    while (effects->first) {
        struct effect *effect = effects->first;
        effects->first = effect->next;
        free_effect(effect);
    }
    memory_free(effects);
    client->effects = NULL;
}

static struct effect *make(const struct facts *facts, size_t number, const char *text, size_t size)
{
    size_t start = facts->length ? (size_t)facts->start : 0, length = facts->length ? (size_t)facts->length : size;
    struct effect *effect = memory_zeroed(1, sizeof *effect + length + 1);
    if (!effect)
        return NULL;
    effect->number = number;
    effect->facts = *facts;
    effect->facts.name = facts->name ? copied(facts->name) : NULL;
    effect->facts.value = facts->value ? copied(facts->value) : NULL;
    effect->facts.start = effect->facts.length = 0;
    effect->size = length;
    memcpy(effect->text, text + start, length);
    if ((facts->name && !effect->facts.name) || (facts->value && !effect->facts.value)) {
        free_effect(effect);
        return NULL;
    }
    return effect;
}

bool effect_note(struct client *client, const struct facts_list *list, const char *text, size_t size)
{
    struct effect **last = NULL;
    effects_free(client);
    for (size_t i = 0; i < list->count; i++) {
        if (!effect_is(&list->facts[i]))
            continue;
        if (!client->effects) {
            client->effects = memory_zeroed(1, sizeof *client->effects);
            if (!client->effects)
                return false;
            last = &client->effects->first;
        }
        *last = make(&list->facts[i], i, text, size);
        if (!*last)
            return false;
        last = &(*last)->next;
    }
    return true;
}

/* ---- settings ---- */

void effect_set_session(struct client *client, struct settings_state *session)
{
    if (!session)
        return;
    if (client->server) {
        settings_release(client->server->session);
        client->server->session = settings_hold(session);
    }
    settings_release(client->session);
    client->session = session;
    client->path = NULL;
}

/* RESET: back to what the startup packet said. The server, which did not see that packet, has its own default. */
static struct settings_state *without(struct client *client, const char *name)
{
    const struct setting *at_start = settings_lookup(client->startup, name);
    struct settings_state *plain = settings_without(client->session, name);
    if (!plain || !at_start)
        return plain;
    if (client->server) {
        settings_release(client->server->session);
        client->server->session = settings_hold(plain);
    }
    struct settings_state *found = settings_with(plain, name, at_start->replay, at_start->value);
    settings_release(plain);
    return found;
}

/* The client's settings, with those of its server left as they are. */
static void set_client_alone(struct client *client, struct settings_state *session)
{
    if (!session)
        return;
    settings_release(client->session);
    client->session = session;
    client->path = NULL;
}

/* Who one is, which RESET ALL leaves (GUC_NO_RESET_ALL in guc_tables.c), in the order in which it is set. */
static const char *const identity[] = {"session_authorization", "role"};

/* What is left of `before` by RESET ALL (`keeps` who one is) or DISCARD ALL, where `start` is what one began with. */
static struct settings_state *left_of(struct settings_state *start, const struct settings_state *before, bool keeps)
{
    struct settings_state *left = settings_leave_empty(start, before);
    for (size_t i = 0; keeps && left && i < sizeof identity / sizeof *identity; i++) {
        const struct setting *had = settings_lookup(before, identity[i]);
        struct settings_state *next =
            had ? settings_with(left, identity[i], had->replay, had->value) : settings_without(left, identity[i]);
        settings_release(left);
        left = next;
    }
    return left;
}

static void reset_all(struct client *client, bool keeps_identity)
{
    struct server *server = client->server;
    struct settings_state *had = settings_hold(client->session);
    if (server) {
        struct settings_state *left = left_of(client->worker->settings_table.empty, server->session, keeps_identity);
        if (left) {
            settings_release(server->session);
            server->session = left;
        }
    }
    set_client_alone(client, left_of(client->startup, had, keeps_identity));
    settings_release(had);
}

/* The other side of SET: what is the user's own stays known, and empty. */
static void set_back(struct client *client, struct settings_state *session)
{
    if (!session)
        return;
    effect_set_session(client, settings_leave_empty(session, client->session));
    settings_release(session);
}

/* A mode of the transaction, which ends with it whoever sets it; transaction_timeout is a setting like any other. */
static bool is_mode(const char *name)
{
    static const char *const modes[] = {"transaction_isolation", "transaction_read_only", "transaction_deferrable"};
    for (size_t i = 0; name && i < sizeof modes / sizeof *modes; i++)
        if (strcmp(name, modes[i]) == 0)
            return true;
    return false;
}

static bool is_of_transaction(const struct facts *facts)
{
    return facts->is_local || is_mode(facts->name);
}

static void apply_set(struct client *client, const struct facts *facts, const char *text, size_t size)
{
    struct buffer replay = BUFFER_INIT(REPLAY_MOST);
    bool is_login = facts->name && strcmp(facts->name, "session_authorization") == 0;
    if (facts->name && strcmp(facts->name, "idle_in_transaction_session_timeout") == 0)
        client->transaction.idle_timeout = 0; /* the shards have been told, and count */
    if (is_of_transaction(facts)) {
        client->path = NULL;
        client->path_is_local |=
            !facts->name || is_login || strcmp(facts->name, "search_path") == 0 || strcmp(facts->name, "role") == 0;
        return;
    }
    if (is_login) /* it sets the role back */
        effect_set_session(client, settings_without(client->session, "role"));
    if (!facts->name || strcmp(facts->name, "all") == 0) {
        reset_all(client, true);
    } else if (!facts->value) {
        bool at_start = settings_lookup(client->startup, facts->name) != NULL;
        struct settings_state *next = without(client, facts->name);
        if (at_start)
            set_client_alone(client, next);
        else
            set_back(client, next);
    } else {
        buffer_add(&replay, text, size);
        buffer_char(&replay, '\n'); /* it may end in a comment */
        if (!buffer_failed(&replay))
            effect_set_session(client, settings_with(client->session, facts->name, replay.data, facts->value));
        else
            client->is_pinned = client->has_unlisted = true; /* too large to be kept: the connection keeps it */
    }
    buffer_free(&replay);
}

static void restore(struct client *client)
{
    set_back(client, transaction_end(&client->transaction));
    client->path_is_local = false;
}

static void end_transaction(struct client *client, bool committed, bool chain)
{
    bool wanted_snapshot = client->transaction.wants_snapshot; /* the next one has the same characteristics */
    portals_drop_scattered(client, 0);
    if (chain && !committed)
        branches_leave(client); /* what was done there is of the one that ends */
    if (committed) {
        lasting_keep(client);
        settings_release(transaction_end(&client->transaction));
    } else {
        restore(client);
    }
    client->path_is_local = false;
    client->path = NULL;
    if (chain) {
        transaction_opened(&client->transaction, client->session);
        client->transaction.wants_snapshot = wanted_snapshot;
    }
}

/* ROLLBACK TO: those that several shards answer are closed as PostgreSQL closes its own. */
static void undo_portals(struct client *client, const char *name)
{
    const struct settings_state *session;
    unsigned number = name ? transaction_savepoint_number(&client->transaction, name, &session) : 0;
    if (number)
        portals_drop_scattered(client, number);
}

static void apply_discard(struct client *client, const struct facts *facts)
{
    if (!facts->name || strcmp(facts->name, "all") != 0)
        return;
    reset_all(client, false);
    client_statements_clear(&client->statements);
    if (client->server)
        server_statements_clear(&client->server->statements);
    /* Nothing is left of what made its connections its own. */
    client->is_pinned = client->worker->settings->pool_mode == POOL_SESSION;
    client->has_unknown = client->has_unlisted = false;
    client_forget_temporary(client);
    lasting_clear(client);
    if (client->is_pinned)
        return;
    if (client->server)
        client->server->keeper = NULL;
    while (!list_empty(&client->kept))
        server_release_kept(LIST_OWNER(struct server, kept_node, client->kept.next));
}

static void apply_deallocate(struct client *client, const struct facts *facts)
{
    if (facts->name)
        client_statements_remove(&client->statements, facts->name);
    else
        client_statements_clear(&client->statements);
}

bool effect_writes(const struct facts *facts)
{
    switch (facts->class) {
    case STATEMENT_SELECT:
    case STATEMENT_EXPLAIN:
    case STATEMENT_COPY_TO:
    case STATEMENT_DECLARE:
        return facts->is_write || facts->refusal || facts->calls_unknown || facts->unknown_count;
    case STATEMENT_EMPTY:
    case STATEMENT_CURSOR:
    case STATEMENT_BEGIN:
    case STATEMENT_COMMIT:
    case STATEMENT_ROLLBACK:
    case STATEMENT_SAVEPOINT:
    case STATEMENT_RELEASE:
    case STATEMENT_ROLLBACK_TO:
    case STATEMENT_SET_TRANSACTION:
    case STATEMENT_CONSTRAINTS:
    case STATEMENT_SHOW:
    case STATEMENT_DEALLOCATE:
    case STATEMENT_PREPARE:
    case STATEMENT_LISTEN:
        return false;
    default:
        return true;
    }
}

/* Is it of what each shard of a transaction must be told? CLOSE ALL is, and BEGIN in an open one, for its modes. */
static bool is_followed(const struct facts *facts)
{
    enum statement_class class = facts->class;
    return (class == STATEMENT_CURSOR && !facts->name) || class == STATEMENT_SAVEPOINT || class == STATEMENT_RELEASE ||
           class == STATEMENT_ROLLBACK_TO || class == STATEMENT_SET || class == STATEMENT_SET_TRANSACTION ||
           class == STATEMENT_CONSTRAINTS || (class == STATEMENT_BEGIN && facts->has_modes);
}

/* Of the transaction as such: what AND CHAIN gives to the next one. */
static bool sets_modes(const struct facts *facts)
{
    switch (facts->class) {
    case STATEMENT_BEGIN:
        return facts->has_modes;
    case STATEMENT_SET_TRANSACTION:
        return facts->name != NULL;
    case STATEMENT_SET:
        return is_mode(facts->name);
    default:
        return false;
    }
}

void effect_apply(struct client *client, const struct facts *facts, const char *text, size_t size, const char *tag)
{
    struct transaction *transaction = &client->transaction;
    struct settings_state *session;
    if (!transaction->is_open && facts->class != STATEMENT_COMMIT && facts->class != STATEMENT_ROLLBACK)
        transaction_opened(transaction, client->session); /* perhaps of one statement alone */
    if (is_followed(facts) && !transaction_follow(transaction, text, size) && branch_is_parked(client))
        branch_overflow(client);
    transaction->has_modes |= sets_modes(facts);
    transaction->is_bare &= facts->class != STATEMENT_SET && facts->class != STATEMENT_SET_TRANSACTION &&
                            facts->class != STATEMENT_CONSTRAINTS;
    switch (facts->class) {
    case STATEMENT_COMMIT:
    case STATEMENT_ROLLBACK:
        end_transaction(client, strcmp(tag, "COMMIT") == 0, facts->chain);
        break;
    case STATEMENT_SAVEPOINT:
        if (facts->name && !transaction_savepoint(transaction, facts->name, client->session))
            client->is_pinned = client->has_unlisted = true;
        break;
    case STATEMENT_RELEASE:
        if (facts->name)
            transaction_release(transaction, facts->name);
        break;
    case STATEMENT_ROLLBACK_TO:
        undo_portals(client, facts->name);
        session = facts->name ? transaction_rollback_to(transaction, facts->name) : NULL;
        set_back(client, session);
        break;
    case STATEMENT_SET:
        apply_set(client, facts, text, size);
        break;
    case STATEMENT_DECLARE:
        if (facts->name && client->server && !lasting_declared(client, facts))
            client->has_unlisted = client->is_pinned = true;
        break;
    case STATEMENT_CURSOR:
        if (facts->closes)
            lasting_closed(client, facts->name);
        if (facts->closes && !facts->name)
            portals_drop_scattered(client, 0);
        break;
    case STATEMENT_DISCARD:
        apply_discard(client, facts);
        break;
    case STATEMENT_DEALLOCATE:
        apply_deallocate(client, facts);
        break;
    default:
        if (facts->changes_schema)
            client_schema_changed(client);
        if (facts->changes_session)
            client->path = NULL;
        transaction->notifies |= facts->notifies;
        break;
    }
}

/* ---- answers ---- */

static void complete_query(struct client *client, const char *tag)
{
    struct effects *effects = client->effects;
    size_t number = effects->completed++;
    while (effects->first && effects->first->number <= number) {
        struct effect *effect = effects->first;
        effects->first = effect->next;
        if (effect->number == number)
            effect_apply(client, &effect->facts, effect->text, effect->size, tag);
        free_effect(effect);
    }
}

static void complete_execute(struct client *client, struct prepared *prepared, const char *tag)
{
    struct route route;
    if (!prepared || !route_effect(client, prepared, &route) || !route.facts || route.facts->count != 1)
        return;
    const struct facts *facts = &route.facts->facts[0];
    size_t start = facts->length ? (size_t)facts->start : 0;
    size_t length = facts->length ? (size_t)facts->length : prepared->size;
    effect_apply(client, facts, prepared->text + start, length, tag);
}

void effect_complete(struct server *server, const struct expect_entry *head, const char *tag)
{
    struct client *client = server->client;
    if (!client)
        return;
    if (head->kind == EXPECT_QUERY && client->effects)
        complete_query(client, tag);
    else if (head->kind == EXPECT_EXECUTE && head->subject)
        complete_execute(client, head->subject, tag);
    if (reset_is_answered(head, tag)) { /* it has the value that the client goes back to */
        settings_release(server->session);
        server->session = settings_hold(client->session);
    }
}

void effect_failed(struct server *server)
{
    if (server->client)
        server->client->cycle_failed = true;
}

void effect_ready(struct server *server, char status)
{
    struct client *client = server->client;
    bool failed = client->cycle_failed;
    client->cycle_failed = false;
    if (client->effects)
        effects_free(client);
    if (status != 'I') {
        if (!client->transaction.is_open)
            transaction_opened(&client->transaction, client->session);
        return;
    }
    /* A transaction of one message, or whose COMMIT failed: what was set in it is not. */
    if (client->transaction.is_open)
        end_transaction(client, !failed, false);
}

void effect_parsed(struct server *server, const struct expect_entry *entry)
{
    if (entry->kind != EXPECT_PARSE_OURS && entry->detail) {
        client_statement_landed(entry->subject);
        return;
    }
    if (entry->kind == EXPECT_PARSE && server->client)
        client_unnamed_answered(server->client, entry->subject);
    prepared_release(entry->subject);
}

void effect_parse_failed(struct server *server, const struct expect_entry *entry)
{
    struct client *client = server->client;
    struct prepared *prepared = entry->subject;
    if (entry->kind != EXPECT_PARSE_OURS && entry->detail) {
        struct client_statement *statement = entry->subject;
        if (entry->detail == 1)
            server_statements_remove(&server->statements, statement->prepared);
        if (client)
            client_statements_drop(&client->statements, statement);
        client_statement_landed(statement);
        return;
    }
    server->unnamed = 0;
    if (entry->kind == EXPECT_PARSE_OURS && prepared)
        server_statements_remove(&server->statements, prepared);
    prepared_release(prepared);
}

void effect_closed(struct server *server, struct client_statement *statement, bool is_closed)
{
    if (!statement) { /* the unnamed one */
        if (is_closed && server->client)
            client_unnamed_answered(server->client, NULL);
        return;
    }
    statement->is_closing = false;
    if (is_closed && server->client)
        client_statements_drop(&server->client->statements, statement);
    client_statement_landed(statement);
}

bool effect_report_is_allowed(const struct server *server, const char *message, const struct wire_frame *frame,
                              mosaic_error *error)
{
    const struct model *model = &server->worker->world->model;
    struct wire_reader reader = wire_body(message, frame);
    const char *name = wire_read_text(&reader), *value = wire_read_text(&reader);
    if (reader.failed || effect_is_allowed(model, name, value, error))
        return true;
    error_shard(error, model->shards[server->pool->shard].name);
    return false;
}

void effect_shape(struct server *server, struct client_statement *statement, uint64_t shape)
{
    struct prepared *found = statement->is_removed ? NULL : prepared_reshape(statement->prepared, shape);
    statement->is_checked = false;
    if (found) {
        prepared_release(statement->prepared);
        statement->prepared = found;
    } else if (!statement->is_removed && server->client) {
        client_statements_drop(&server->client->statements, statement); /* memory is out: what it is is not known */
    }
    client_statement_landed(statement);
}

void effect_reported(struct server *server, const char *message, const struct wire_frame *frame)
{
    buffer_add(&server->failure, message, frame->size);
}
