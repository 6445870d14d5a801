#include "proxy/lasting.h"

#include "proxy/branch.h"
#include "proxy/proxy.h"
#include "proxy/server.h"

#include <string.h>

bool lasting_declared(struct client *client, const struct facts *facts)
{
    return transaction_declare(&client->transaction, facts->name, client->server->number, !facts->is_local);
}

void lasting_closed(struct client *client, const char *name)
{
    cursors_remove(&client->transaction.cursors, name);
    cursors_remove(&client->lasting, name);
}

void lasting_keep(struct client *client)
{
    struct cursor_place **at = &client->transaction.cursors;
    while (*at) {
        struct cursor_place *place = *at;
        if (!place->is_held) {
            at = &place->next;
            continue;
        }
        *at = place->next;
        cursors_remove(&client->lasting, place->name);
        place->next = client->lasting;
        client->lasting = place;
    }
}

bool lasting_is_declared_on(const struct client *client, uint64_t server)
{
    for (const struct cursor_place *place = client->transaction.cursors; place; place = place->next)
        if (place->is_held && place->server == server)
            return true;
    return false;
}

void lasting_clear(struct client *client)
{
    cursors_remove(&client->lasting, NULL);
}

static const struct server *server_of(const struct client *client, const struct cursor_place *place)
{
    const struct server *linked = client->server;
    return linked && linked->number == place->server ? linked : branch_by_number(client, place->server);
}

static size_t shard_of(const struct client *client, const struct cursor_place *place)
{
    const struct server *server = place ? server_of(client, place) : NULL;
    return server ? server->pool->shard : SIZE_MAX;
}

size_t lasting_shard(const struct client *client, const struct facts_list *list)
{
    size_t shard = SIZE_MAX;
    for (size_t i = 0; client->lasting && list && i < list->count; i++) {
        const struct facts *facts = &list->facts[i];
        enum statement_class class = facts->class;
        if (class != STATEMENT_CURSOR && class != STATEMENT_BEGIN && class != STATEMENT_COMMIT &&
            class != STATEMENT_ROLLBACK)
            return SIZE_MAX;
        if (class == STATEMENT_CURSOR && shard == SIZE_MAX)
            shard = shard_of(client, facts->name ? cursors_find(client->lasting, facts->name) : client->lasting);
    }
    return shard;
}

static bool are_of_one(const struct cursor_place *places)
{
    for (const struct cursor_place *place = places; place; place = place->next)
        if (place->server != places->server)
            return false;
    return true;
}

/* Is it closed by what stands before it in the same text? */
static bool is_closed_before(const struct facts_list *list, size_t i, const char *name)
{
    while (i--)
        if (list->facts[i].class == STATEMENT_CURSOR && list->facts[i].closes &&
            (!list->facts[i].name || strcmp(list->facts[i].name, name) == 0))
            return true;
    return false;
}

bool lasting_allows(const struct client *client, const struct facts_list *list, mosaic_error *error)
{
    for (size_t i = 0; client->lasting && list && i < list->count; i++) {
        const struct facts *facts = &list->facts[i];
        const struct cursor_place *place =
            facts->class == STATEMENT_DECLARE && facts->name ? cursors_find(client->lasting, facts->name) : NULL;
        if (place && place->is_sure && server_of(client, place) && !is_closed_before(list, i, facts->name)) {
            (void)!error_set(error, MOSAIC_DATA, "cursor \"%s\" already exists", facts->name);
            return error_sqlstate(error, "42P03"), false;
        }
        if (facts->class == STATEMENT_CURSOR && facts->closes && !facts->name && !are_of_one(client->lasting)) {
            (void)!error_set(error, MOSAIC_UNSUPPORTED, "CLOSE ALL of cursors on several shards");
            error_detail(error, "Those WITH HOLD are each on the shard that has declared it.");
            return error_hint(error, "close them one by one, by name"), false;
        }
    }
    return true;
}
