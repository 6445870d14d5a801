/*
 * What a client sends while it copies in: to the server that it is linked to, or to several shards (copy_in.h).
 */
#ifndef MOSAIC_PROXY_CLIENT_COPY_H
#define MOSAIC_PROXY_CLIENT_COPY_H

#include "proxy/client.h"

/* What takes its CopyData on several shards; NULL: nothing does. */
struct scatter *client_copy_taker(const struct client *client);
/* CopyData, CopyDone or CopyFail, of which `here` bytes are at hand: how many are dealt with. 0: more must be there. */
size_t client_take_copy(struct client *client, const char *message, const struct wire_frame *frame, size_t here);
/* More of a message that goes through in pieces (client->passing_size); how many bytes are dealt with. */
size_t client_take_piece(struct client *client, const char *data, size_t size);
/* Another message while several shards take rows. False: stop here. */
bool client_beside_copy(struct client *client, const struct wire_frame *frame, size_t size, size_t *used);

#endif
