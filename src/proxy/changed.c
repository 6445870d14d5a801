#include "proxy/changed.h"

#include "proxy/branch.h"
#include "proxy/own_schema.h"
#include "proxy/proxy.h"
#include "proxy/server.h"
#include "sql/behind.h"
#include "sql/words.h"

#include <string.h>
#include <strings.h>

/* Is it a change of tables and what hangs on them, not of types and functions? By its first words. */
static bool is_of_tables(const char *text, size_t size)
{
    static const char *const passed[] = {"or",       "replace",   "temporary",    "temp",
                                         "unlogged", "recursive", "materialized", "unique"};
    static const char *const tables[] = {"table",  "view", "index",    "trigger",
                                         "policy", "rule", "sequence", "statistics"};
    static const char *const others[] = {"grant", "revoke",  "comment", "truncate",
                                         "lock",  "analyze", "cluster", "reindex"};
    struct word word;
    size_t at = 0;
    bool is_passed = words_next(text, size, &at, &word);
    for (size_t i = 0; is_passed && i < sizeof others / sizeof *others; i++)
        if (word_is(&word, others[i]))
            return true;
    while (is_passed && words_next(text, size, &at, &word)) {
        is_passed = false;
        for (size_t i = 0; i < sizeof passed / sizeof *passed; i++)
            is_passed |= word_is(&word, passed[i]);
    }
    for (size_t i = 0; i < sizeof tables / sizeof *tables; i++)
        if (word_is(&word, tables[i]))
            return true;
    return false;
}

bool changed_note(struct client *client, const struct plan_write *write, const struct facts *facts, const char *text,
                  size_t size)
{
    struct transaction *transaction = &client->transaction;
    if (!write->changes_schema || write->by_itself) /* indexes: nothing that analysis reads */
        return true;
    transaction->changes_schema = true;
    transaction->changes_code |= !is_of_tables(text, size);
    client->schema_spread = true;
    client_schema_changed(client);
    if (!facts->name)
        return true;
    if (!transaction->made.maximum)
        transaction->made = BUFFER_INIT(TRANSACTION_KEPT_MOST);
    buffer_add(&transaction->made, facts->name, strlen(facts->name) + 1);
    return !buffer_failed(&transaction->made);
}

/* Is a name in the text that the transaction has made? */
static bool names_made(const struct transaction *transaction, const char *text, size_t size)
{
    const char *end = transaction->made.data + transaction->made.size;
    struct word word;
    for (size_t at = 0; transaction->made.size && words_next(text, size, &at, &word);) {
        size_t quotes = word.kind == WORD_QUOTED;
        for (const char *made = transaction->made.data; made < end; made += strlen(made) + 1)
            if (word.kind <= WORD_QUOTED && strlen(made) == word.size - 2 * quotes &&
                strncasecmp(made, word.text + quotes, word.size - 2 * quotes) == 0)
                return true;
    }
    return false;
}

/*
 * May what it does be another thing by the transaction's schema? A view or a function may be called as before and mean
 * another table. The catalogs are the same.
 */
static bool reads_schema(const struct facts *facts)
{
    switch (facts->class) {
    case STATEMENT_SELECT:
    case STATEMENT_INSERT:
    case STATEMENT_UPDATE:
    case STATEMENT_DELETE:
    case STATEMENT_MERGE:
    case STATEMENT_EXPLAIN:
    case STATEMENT_COPY_TO:
    case STATEMENT_COPY_FROM:
    case STATEMENT_DECLARE:
        return !facts->is_constant && !facts->reads_catalogs;
    default:
        return false;
    }
}

/* Has the home shard a part in the transaction? Else nothing was changed there. */
static bool is_open_at_home(const struct client *client)
{
    size_t home = client->worker->world->home;
    bool is_linked = client->server && !client->is_aside && client->server->pool->shard == home &&
                     (!client->is_fresh || client->server->status != 'I');
    return is_linked || branch_of(client, home);
}

bool changed_may_differ(const struct client *client)
{
    const struct transaction *transaction = &client->transaction;
    return (transaction->changes_schema || client->schema_dirty) && client->status == 'T' && !transaction->has_failed &&
           !own_schema_is_read(client) && is_open_at_home(client);
}

static bool reads_shards(const struct facts *facts)
{
    bool reads = false;
    for (size_t i = 0; i < facts->relation_count; i++) {
        enum placement place = facts->relations[i].relation->placement;
        reads |= place == PLACE_SHARDED || place == PLACE_REFERENCE;
    }
    return reads;
}

bool changed_wants_schema(const struct client *client, const struct facts_list *list, const char *text, size_t size)
{
    bool wants = false, is_of_home = !client->transaction.changes_schema;
    if (!changed_may_differ(client))
        return false;
    for (size_t i = 0; i < list->count; i++)
        wants |= is_of_home ? reads_shards(&list->facts[i]) : reads_schema(&list->facts[i]);
    return wants || (is_of_home ? behind_names_others(client->worker->world->schema, text, size)
                                : names_made(&client->transaction, text, size));
}

static void refuse(struct client *client, struct route *route, const char *sqlstate, const char *hint,
                   const char *message)
{
    COUNT(&client->worker->counters, refusals, 1);
    route->way = ROUTE_REFUSED;
    route->error = arena_zeroed(&client->worker->scratch, 1, sizeof *route->error);
    if (!route->error)
        return;
    (void)!error_set(route->error, MOSAIC_UNSUPPORTED, "%s", message ? message : "");
    if (hint)
        error_hint(route->error, "%s", hint);
    error_sqlstate(route->error, sqlstate);
}

static void check_block(struct client *client, struct route *route)
{
    const struct plan_write *write = route->plan->write;
    const char *class = statement_class_name(route->facts->facts[0].class);
    bool within = client->status != 'I' || client->transaction.is_implicit;
    if (write->by_itself && within)
        refuse(client, route, "25001", "send it outside of BEGIN, with a Sync of its own",
               arena_format(&client->worker->scratch, "%s cannot run inside a transaction block", class));
    else if (write->needs_transaction && !within)
        refuse(client, route, "25P01", NULL,
               arena_format(&client->worker->scratch, "%s can only be used in transaction blocks", class));
}

void changed_check(struct client *client, struct route *route)
{
    bool differs = client->transaction.changes_schema && !own_schema_is_read(client) && is_open_at_home(client);
    const struct plan *plan = route->plan;
    bool combines =
        route->tier == 3 || (plan && plan->kind == PLAN_WRITE && plan->write->source && plan->write->source->tier == 3);
    if (client->transaction.changes_code && combines) {
        refuse(client, route, "0A000", "COMMIT the change first",
               "the coordinator puts this together, and has types and functions as they were before this transaction");
        return;
    }
    for (size_t i = 0; differs && i < route->facts->count; i++) {
        if (!reads_schema(&route->facts->facts[i]))
            continue;
        refuse(client, route, "0A000", "send the change first, with a Sync of its own",
               "a change of the schema of all shards is under way, and this statement needs the schema behind it");
        return;
    }
    if (route->way == ROUTE_SCATTER && route->plan->kind == PLAN_WRITE)
        check_block(client, route);
}
