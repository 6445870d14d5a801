#include "proxy/constraints.h"

#include "proxy/branch.h"
#include "proxy/client_extended.h"
#include "proxy/client_local.h"
#include "proxy/proxy.h"
#include "proxy/server.h"

static bool checks(const struct facts_list *list)
{
    for (size_t i = 0; list && i < list->count; i++)
        if (list->facts[i].checks)
            return true;
    return false;
}

static enum taken refuse_with_more(struct client *client)
{
    mosaic_error error;
    (void)!error_set(&error, MOSAIC_UNSUPPORTED,
                     "SET CONSTRAINTS IMMEDIATE in a transaction of several shards, with other statements in one text");
    error_detail(&error, "Each of the shards must be asked whether its constraints hold.");
    error_hint(&error, "send it by itself; nothing of the text was done");
    return extended_refuse_any(client, &error);
}

/* Is the transaction open on this shard? */
static bool has_part(const struct client *client, size_t shard)
{
    const struct server *linked = client->server, *parked = branch_of(client, shard);
    bool is_linked = linked && linked->pool->shard == shard;
    return (parked && parked->status != 'I') || (is_linked && (!client->is_fresh || linked->status != 'I'));
}

static enum taken check_next(struct client *client)
{
    struct transaction *transaction = &client->transaction;
    size_t count = client->worker->world->model.shard_count;
    enum taken taken = client->is_aside ? client_leave_server(client) : REACHED;
    if (taken != REACHED)
        return taken;
    while (transaction->checked < count && !has_part(client, transaction->checked))
        transaction->checked++;
    if (transaction->checked == count)
        return REACHED;
    client->asks_for = ASK_CHECKS;
    return local_ask_path(client);
}

enum taken constraints_check(struct client *client, const struct facts_list *list)
{
    if (__builtin_expect(!checks(list), 1) || client->status != 'T' || !branch_is_parked(client))
        return REACHED;
    if (list->count > 1)
        return refuse_with_more(client);
    enum taken taken = check_next(client);
    if (taken != TAKEN_LATER)
        client->transaction.checked = 0;
    return taken;
}
