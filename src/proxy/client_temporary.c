/*
 * What a session has on its server alone, beside its settings: temporary tables, whose names hide others, and what
 * nobody listed. It stays with that server.
 */
#include "base/memory.h"
#include "proxy/client.h"

#include <string.h>

void client_forget_temporary(struct client *client)
{
    for (size_t i = 0; i < client->temporary_count; i++)
        memory_free(client->temporary[i]);
    memory_free(client->temporary);
    client->temporary = NULL;
    client->temporary_count = 0;
    client->path = NULL;
}

static void add_temporary(struct client *client, const char *name)
{
    size_t size = strlen(name) + 1;
    for (size_t i = 0; i < client->temporary_count; i++)
        if (strcmp(client->temporary[i], name) == 0)
            return;
    char **names = memory_resize(client->temporary, (client->temporary_count + 1) * sizeof *names);
    char *copy = memory_allocate(size);
    if (names)
        client->temporary = names;
    if (!names || !copy) {
        mosaic_error error;
        memory_free(copy);
        error_memory(&error);
        client_close(client, &error); /* it would read another table */
        return;
    }
    names[client->temporary_count++] = memcpy(copy, name, size);
}

void client_pin(struct client *client, const struct facts *facts)
{
    client->is_pinned = client->has_unlisted = true;
    client->path = NULL;
    if (facts->class == STATEMENT_DDL && facts->name)
        add_temporary(client, facts->name);
}
