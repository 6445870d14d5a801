#include "proxy/server_rows.h"

#include "proxy/client.h"
#include "proxy/rowmap.h"

/* Of rows that a client is about to be sent; a statement's own description says nothing of formats. */
static bool tells_of_rows(enum expect_kind kind)
{
    return kind == EXPECT_QUERY || kind == EXPECT_DESCRIBE_PORTAL || kind == EXPECT_COLUMNS || kind == EXPECT_LEG;
}

bool server_described(struct server *server, const char *message, const struct wire_frame *frame)
{
    const struct typemap *map = server_typemap(server);
    const struct expect_entry *head = expect_head(&server->expect);
    bool has_rows = frame->type == WIRE_B_ROW_DESCRIPTION;
    char *body = (char *)(uintptr_t)message + WIRE_HEADER;
    size_t size = frame->size - WIRE_HEADER;
    if (has_rows && !map->is_home)
        typemap_row_description(map, body, size);
    else if (frame->type == WIRE_B_PARAMETER_DESCRIPTION && !map->is_home)
        typemap_parameter_description(map, body, size);
    if (!head || !tells_of_rows(head->kind) || frame->type == WIRE_B_PARAMETER_DESCRIPTION)
        return true;
    if (!map->count && !server->rowmap)
        return true;
    if (!server->rowmap && !(server->rowmap = rowmap_new()))
        return false;
    bool copies = head->kind == EXPECT_COLUMNS && head->detail == EXPECT_MAPPED;
    return rowmap_describe(server->rowmap, has_rows && map->count ? body : NULL, size,
                           own_schema_of(server->client, server->worker), copies);
}

bool server_maps_rows(const struct server *server)
{
    return rowmap_applies(server->rowmap, false);
}

bool server_maps_message(struct server *server, const struct wire_frame *frame)
{
    const struct expect_entry *head = expect_head(&server->expect);
    bool copies = frame->type == WIRE_COPY_DATA;
    if ((!copies && frame->type != WIRE_B_DATA_ROW) || !head || !rowmap_applies(server->rowmap, copies))
        return false;
    bool described = (head->kind == EXPECT_QUERY || head->kind == EXPECT_LEG) && !copies;
    if (!described && ((head->kind != EXPECT_EXECUTE && head->kind != EXPECT_QUERY) || head->detail != EXPECT_MAPPED))
        return false;
    rowmap_begin(server->rowmap, frame->size - WIRE_HEADER);
    return true;
}

size_t server_map(struct server *server, const char *bytes, size_t size)
{
    return rowmap_feed(server->rowmap, server_typemap(server), own_schema_of(server->client, server->worker),
                       (char *)(uintptr_t)bytes, size);
}
