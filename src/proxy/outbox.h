/*
 * What a turn of the loop sends: collected, and given to the kernel by one call at its end (io_uring), where there are
 * several pieces and io_uring is allowed. Small pieces of plain channels alone; whoever sends more sends at once.
 */
#ifndef MOSAIC_PROXY_OUTBOX_H
#define MOSAIC_PROXY_OUTBOX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct channel;
struct outbox;

struct outbox *outbox_new(void);
void outbox_free(struct outbox *outbox);
/* False: there is no room; send it by other ways, after outbox_flush. */
bool outbox_add(struct outbox *outbox, struct channel *channel, const void *bytes, size_t size);
void outbox_flush(struct outbox *outbox);
/* channel_uncork is called for it at the end of the turn. False: there is no room. */
bool outbox_release(struct outbox *outbox, struct channel *channel);
/* The end of a turn: outbox_flush, then channel_uncork for those which were released. */
void outbox_end(struct outbox *outbox);

#endif
