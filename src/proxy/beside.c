/*
 * Statements that are answered beside a transaction, each from what is committed when it begins: by the coordinator, or
 * by several shards at once.
 */
#define _GNU_SOURCE
#include "proxy/beside.h"

#include "proxy/branch.h"
#include "proxy/proxy.h"
#include "sql/words.h"

#include <string.h>
#include <strings.h>

/* Does it ask for the transaction's time, by a function or by a text such as 'now'? */
static bool reads_clock(const struct route *route, const char *text, size_t size,
                        const struct route_parameters *parameters)
{
    /* An escape may hide one. */
    bool reads = words_name_moment(text, size) || memchr(text, '\\', size) != NULL;
    for (size_t i = 0; i < route->facts->count; i++)
        reads |= route->facts->facts[i].reads_clock;
    for (size_t i = 0; parameters && i < parameters->count; i++)
        reads |= parameters->values[i].size > 0 &&
                 words_name_moment(parameters->values[i].data, (size_t)parameters->values[i].size);
    return reads;
}

/* Is one of the isolation levels named that keep a snapshot? In a comment it does no harm. */
static bool names_snapshot(const char *text, size_t size)
{
    for (size_t at = 0; at + 10 <= size; at++)
        if (strncasecmp(text + at, "repeatable", 10) == 0 || strncasecmp(text + at, "serializab", 10) == 0)
            return true;
    return false;
}

static bool sets_snapshot(const struct facts *facts)
{
    return facts->class == STATEMENT_SET && facts->name && strcmp(facts->name, "transaction_isolation") == 0 &&
           facts->value && names_snapshot(facts->value, strlen(facts->value));
}

/* BEGIN, SET TRANSACTION and its setting say it once; it holds until the transaction ends, over AND CHAIN too. */
void beside_note_isolation(struct client *client, const struct facts_list *list, const char *text, size_t size)
{
    for (size_t i = 0; i < list->count; i++)
        if (list->facts[i].class == STATEMENT_BEGIN || list->facts[i].class == STATEMENT_SET_TRANSACTION)
            client->transaction.wants_snapshot |= names_snapshot(text, size);
        else
            client->transaction.wants_snapshot |= sets_snapshot(&list->facts[i]);
}

/* The client takes what each shard's own snapshot shows. */
static bool has_own_snapshots(const struct client *client)
{
    const char *allowed = client->session->has_ours ? route_setting(client, "mosaic.allow_per_shard_snapshots") : NULL;
    bool flag = false;
    return allowed && settings_bool(allowed, &flag) && flag;
}

/* Is it of REPEATABLE READ or SERIALIZABLE? */
bool route_keeps_snapshot(const struct client *client)
{
    const char *set = route_setting(client, "default_transaction_isolation");
    return client->transaction.wants_snapshot ||
           (set ? names_snapshot(set, strlen(set)) : client->user->keeps_snapshot);
}

bool route_wants_snapshot(const struct client *client)
{
    return route_keeps_snapshot(client) && !has_own_snapshots(client);
}

static const char no_snapshot[] =
    "The transaction wants one snapshot for all its statements, and over several shards there is none.";

/*
 * It is open on shards, where it has but read. Their servers are parked meanwhile, so it must be one that branches may
 * have; and a snapshot that a shard keeps for it is no other's, whatever the client can do with.
 */
static const char *why_not_beside_branches(const struct client *client, const struct route *route)
{
    const struct transaction *transaction = &client->transaction;
    if (transaction->has_written || client->session != transaction->before)
        return "The transaction has written, locked or set something, and of that the coordinator sees nothing.";
    if (transaction->is_lazy || transaction->is_implicit || route->way == ROUTE_SCATTER)
        return "The transaction is open on a shard, and of what it did there the coordinator sees nothing.";
    return route_keeps_snapshot(client) ? no_snapshot : branch_why_not(client, 0);
}

/*
 * In a transaction the coordinator answers beside it, each statement from what is committed at that moment. That is the
 * transaction's own answer while it is READ COMMITTED, has written nothing, and its clock is not asked.
 */
static const char *why_not_beside(const struct client *client, const char *text, size_t size,
                                  const struct route_parameters *parameters, const struct route *route)
{
    const struct transaction *transaction = &client->transaction;
    bool is_open = !transaction->is_lazy || (client->server && !client->is_fresh && !client->is_aside);
    const char *why = is_open ? why_not_beside_branches(client, route) : NULL;
    if (why)
        return why;
    if (transaction->has_written)
        return "The transaction has settings of its own, which the coordinator does not see.";
    if (route_wants_snapshot(client))
        return no_snapshot;
    if (reads_clock(route, text, size, parameters))
        return "It may ask for the time at which the transaction began, which would be another one on the coordinator.";
    return NULL;
}

static const char another_clock[] =
    "It asks for the time at which the transaction began, which would be another one on each shard.";

bool route_has_shard_clocks(const struct client *client)
{
    const char *clock = client->session->has_ours ? route_setting(client, "mosaic.clock") : NULL;
    return clock ? strcasecmp(clock, "shard") == 0 : client->worker->settings->shard_clocks;
}

/*
 * Shards that the transaction is open on, or opens, answer in it: of what it has written nothing is missed. The rows
 * are read to the end at once, so that each shard is free for the next statement.
 */
static const char *why_not_within(const struct client *client, const char *text, size_t size,
                                  const struct route_parameters *parameters, const struct route *route)
{
    bool writes = route->plan->kind == PLAN_WRITE, is_open = client->status == 'T' || client->transaction.is_implicit;
    const char *why = is_open ? branch_why_not(client, 0) : NULL;
    if (why)
        return why;
    if (writes && branch_commit_way(client) == COMMIT_ONE_SHARD)
        return BRANCH_ONE_SHARD;
    if (!is_open && route_wants_snapshot(client))
        return no_snapshot;
    if (route->facts->facts[0].class == STATEMENT_DECLARE)
        return "A cursor over several shards is read beside the transaction, and would not see what that did.";
    if (!route_has_shard_clocks(client) &&
        (writes ? route->plan->write->reads_clock : reads_clock(route, text, size, parameters)))
        return another_clock;
    return NULL;
}

/*
 * Settings by which a value is read, not shown: postgres_fdw reads the shards' rows as text under the session's own.
 * NULL: it has none that is not the default.
 */
static const char *reads_otherwise(const struct client *client)
{
    static const char *const names[] = {"array_nulls", "xmloption", "lc_monetary"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (route_setting(client, names[i]))
            return names[i];
    return client->user->reads_otherwise ? "array_nulls, xmloption or lc_monetary of the role" : NULL;
}

/* Is the transaction open on a shard, and is it rows of shards alone that are asked for? */
static bool may_join(const struct client *client, const struct route *route)
{
    bool is_open = client->status == 'T' || client->transaction.is_implicit;
    bool has_shard = (client->server && !client->is_fresh && !client->is_aside) || branch_is_parked(client);
    /* What the coordinator puts together has the session's settings, not the transaction's own. */
    bool is_plain = !route->plan->scatter || !route->plan->scatter->final || client->transaction.is_bare;
    return is_open && !client->transaction.is_lazy && has_shard && is_plain;
}

/* INSERT of a query's rows, which are read with the coordinator's help before they are written within. */
static const char *why_not_read(const struct client *client, const char *text, size_t size,
                                const struct route_parameters *parameters, const struct route *route)
{
    const struct plan_source *source = route->plan->write->source;
    bool is_open = client->status == 'T' || client->transaction.is_implicit;
    const char *setting = source->of_coordinator ? reads_otherwise(client) : NULL;
    if (setting)
        return arena_format(&client->worker->scratch, "Rows of the shards would be read under the session's %s.",
                            setting);
    if (is_open && source->of_coordinator)
        return why_not_beside(client, text, size, parameters, route);
    return is_open && !client->transaction.is_bare
               ? "The transaction has settings of its own, which the coordinator does not see."
               : NULL;
}

void beside_check(struct client *client, const char *text, size_t size, const struct route_parameters *parameters,
                  struct route *route)
{
    const char *hint = "send it before BEGIN or behind COMMIT; EXPLAIN (MOSAIC) says why it needs more than one shard";
    bool merges = route->way == ROUTE_SCATTER;
    const struct plan_source *source = merges && route->plan->write ? route->plan->write->source : NULL;
    bool by_itself = merges && route->plan->kind == PLAN_WRITE && route->plan->write->by_itself; /* changed.h */
    const char *why = NULL, *setting = merges ? NULL : reads_otherwise(client);
    if (client->status == 'E' || by_itself || (route->joins && client->skips))
        return; /* whatever comes is refused by who has the transaction */
    if (route->facts->count > 1 && !(merges && route->plan->kind == PLAN_WRITE && route->plan->write->is_script)) {
        why = "The text has several statements, and each must see what is committed when it begins.";
        hint = "send each statement by itself";
    } else if (setting) {
        why =
            arena_format(&client->worker->scratch, "Rows of the shards would be read under the session's %s.", setting);
        hint = "reset it before such a statement";
    } else if (merges && (route->joins || may_join(client, route))) {
        route->joins = true;
        why = why_not_within(client, text, size, parameters, route);
        if (!why && source && source->reads_clock && !route_has_shard_clocks(client) &&
            (client->status == 'T' || client->transaction.is_implicit))
            why = another_clock; /* than that of what the transaction did elsewhere */
        if (!why && source && source->tier > 2)
            why = why_not_read(client, text, size, parameters, route);
        if (why == another_clock)
            hint = BESIDE_CLOCK_HINT;
    } else if (client->status == 'T' || client->transaction.is_implicit) {
        route->aside = true;
        why = why_not_beside(client, text, size, parameters, route);
    }
    if (!why)
        return;
    COUNT(&client->worker->counters, refusals, 1);
    route->way = ROUTE_REFUSED;
    route->error = arena_zeroed(&client->worker->scratch, 1, sizeof *route->error);
    if (!route->error)
        return;
    (void)!error_set(route->error, MOSAIC_UNSUPPORTED,
                     merges ? "this statement needs several shards, which is not possible here"
                            : "this statement needs the coordinator, which is not possible here");
    error_detail(route->error, "%s", why);
    error_hint(route->error, "%s", hint);
    error_sqlstate(route->error, "0A000");
}
