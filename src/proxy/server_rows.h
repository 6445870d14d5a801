/*
 * A server whose types have other OIDs than the home shard's: its clients see those of the home shard, in what
 * describes rows and within the values (rowmap.h). Of a server whose types agree nothing is looked at.
 */
#ifndef MOSAIC_PROXY_SERVER_ROWS_H
#define MOSAIC_PROXY_SERVER_ROWS_H

#include "proxy/own_schema.h"
#include "proxy/server.h"
#include "proxy/typemap.h"
#include "proxy/world.h"
#include "wire/wire.h"

static inline const struct typemap *server_typemap(const struct server *server)
{
    const struct worker *worker = server->worker;
    return __builtin_expect(worker->own_schemas > 0, 0)
               ? own_schema_typemap(server->client, worker, server->pool->shard)
               : &worker->world->typemaps[server->pool->shard];
}

/* RowDescription, ParameterDescription or NoData, for the head of what is expected; in place, within the bytes read.
 * False when memory is out. */
MOSAIC_MUST_CHECK bool server_described(struct server *server, const char *message, const struct wire_frame *frame);
/* Do values of the message that begins have to be mapped? Then it is to go through in pieces, and each to be fed. */
static inline bool server_maps(const struct server *server)
{
    return __builtin_expect(server->rowmap != NULL, 0);
}
/* Are rows of a leg's such? */
bool server_maps_rows(const struct server *server);
/* The message itself. Of another type none is. */
static inline bool server_may_map(char type)
{
    return type == WIRE_B_DATA_ROW || type == WIRE_B_COPY_OUT_DATA;
}
bool server_maps_message(struct server *server, const struct wire_frame *frame);
/* Bytes of that message. Returns how many may be passed on; SIZE_MAX: it cannot be read. */
size_t server_map(struct server *server, const char *bytes, size_t size);

#endif
