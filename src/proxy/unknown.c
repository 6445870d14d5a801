#include "proxy/unknown.h"

#include "proxy/own_schema.h"
#include "proxy/proxy.h"
#include "proxy/reload.h"

#include <string.h>

enum { UNKNOWN_MS = 1000 };

static struct unknown_mark *mark_of(struct worker *worker, const char *name, uint64_t *hash)
{
    *hash = settings_hash(worker->plan_seed, name, strlen(name));
    return &worker->unknown[*hash % UNKNOWN_MARKS];
}

static bool is_settled(struct worker *worker, const char *name)
{
    uint64_t hash;
    const struct unknown_mark *mark = mark_of(worker, name, &hash);
    return mark->name == hash && mark->version == worker->world->version && worker->loop.now <= mark->until;
}

static void settle(struct worker *worker, const char *name)
{
    uint64_t hash;
    struct unknown_mark *mark = mark_of(worker, name, &hash);
    int64_t lasts = reload_listens(worker->proxy->reload) ? UNKNOWN_MS : 0; /* 0: for this message */
    *mark = (struct unknown_mark){hash, worker->world->version, worker->loop.now + lasts};
}

/* Planned by an older schema it would fail the transaction when it is its turn. */
static bool is_first_change(const struct client *client, const struct facts *facts)
{
    return facts->class == STATEMENT_DDL && client->status == 'T' && !client->schema_dirty;
}

bool unknown_awaits_look(struct client *client, const struct facts_list *list)
{
    struct worker *worker = client->worker;
    bool has_looked = client->has_looked, awaits = false;
    if (client->status == 'E' || own_schema_is_read(client))
        return false;
    for (size_t i = 0; i < list->count; i++) {
        awaits |= !has_looked && is_first_change(client, &list->facts[i]);
        for (size_t name = 0; name < list->facts[i].unknown_count; name++) {
            if (has_looked)
                settle(worker, list->facts[i].unknown[name]);
            else
                awaits |= !is_settled(worker, list->facts[i].unknown[name]);
        }
    }
    client->has_looked = awaits;
    if (awaits)
        client->needs_reading = reload_ask_look(worker->proxy->reload);
    return awaits;
}
