#include "proxy/changed.h"

#include "proxy/proxy.h"

#include <string.h>

bool changed_note(struct client *client, const struct plan_write *write, const struct facts *facts)
{
    struct transaction *transaction = &client->transaction;
    if (!write->changes_schema || write->by_itself) /* indexes: nothing that analysis reads */
        return true;
    transaction->changes_schema = true;
    client->schema_spread = true;
    client_schema_changed(client);
    if (!facts->name)
        return true;
    if (!transaction->made.maximum)
        transaction->made = BUFFER_INIT(TRANSACTION_KEPT_MOST);
    buffer_add(&transaction->made, facts->name, strlen(facts->name) + 1);
    return !buffer_failed(&transaction->made);
}

static bool was_made(const struct transaction *transaction, const char *name)
{
    const char *at = transaction->made.data, *end = at + transaction->made.size;
    for (; at && at < end; at += strlen(at) + 1)
        if (strcmp(at, name) == 0)
            return true;
    return false;
}

/* What the statement names that the transaction may have changed; NULL: nothing. */
static const char *named(const struct transaction *transaction, const struct facts *facts)
{
    bool changes =
        facts->class == STATEMENT_DDL || facts->class == STATEMENT_LOCK || facts->class == STATEMENT_MAINTENANCE;
    /* A change of what is on all shards is known to be one by the config's name. */
    bool is_for_all = facts->write && facts->write->spread == SPREAD_ALL;
    for (size_t i = 0; i < facts->unknown_count && !is_for_all; i++)
        if (was_made(transaction, facts->unknown[i]))
            return facts->unknown[i];
    for (size_t i = 0; !changes && i < facts->relation_count; i++) {
        const struct schema_relation *relation = facts->relations[i].relation;
        if (relation->placement == PLACE_SHARDED || relation->placement == PLACE_REFERENCE)
            return relation->name;
    }
    return !changes && facts->calls_unknown ? "a function" : NULL;
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
    const struct transaction *transaction = &client->transaction;
    for (size_t i = 0; transaction->changes_schema && i < route->facts->count; i++) {
        const char *what = named(transaction, &route->facts->facts[i]);
        if (!what)
            continue;
        refuse(client, route, "0A000", "COMMIT the change first",
               arena_format(&client->worker->scratch,
                            "this transaction has changed the schema of all shards, and this statement needs %s as it "
                            "is then",
                            what));
        return;
    }
    if (route->way == ROUTE_SCATTER && route->plan->kind == PLAN_WRITE)
        check_block(client, route);
}
