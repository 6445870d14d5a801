/*
 * A socket with what could not be done at once: bytes read but not yet used, bytes the kernel would not take.
 *
 * An idle channel has neither, so it owns no buffer: reading goes into the thread's buffer and is used from there;
 * what is left of it is kept (channel_keep) until more comes. Writing goes to the kernel at the end of the turn, by the
 * loop's outbox, or directly; only what it refuses is kept. Who produces asks channel_stuck first and stops: so the
 * copy is bounded by one piece of work.
 */
#ifndef MOSAIC_PROXY_CHANNEL_H
#define MOSAIC_PROXY_CHANNEL_H

#include "proxy/loop.h"

#include <sys/types.h>

struct tls;

struct channel {
    struct source source; /* first: events come with its address */
    struct loop *loop;
    int fd;           /* -1: closed */
    bool readable;    /* there may be more to read: no event will say so again */
    bool hung_up;     /* the other side has closed */
    bool broken;      /* nothing more can be sent */
    bool wants_room;  /* EPOLLOUT is asked for */
    bool is_posted;   /* bytes of it are in the outbox */
    bool is_corked;   /* `out` waits for what comes behind it, not for room */
    bool is_released; /* at the end of the turn it is corked no more */
    struct tls *tls;  /* NULL: plain */
    int64_t told_at;  /* loop.now: when something was sent last, or the other side took more of what waits */
    uint32_t out_at, out_size, out_capacity;
    uint32_t in_size, in_capacity;
    char *in, *out;
};

void channel_init(struct channel *channel, struct loop *loop, int fd);
/*
 * From now on its bytes are TLS's; the handshake happens inside of reading and writing. tls is the channel's. Nothing
 * may wait to be sent, and what was read before must have been given to tls_feed, or used.
 */
void channel_start_tls(struct channel *channel, struct tls *tls);
/* Closes the socket and frees the buffers; the source is not buried. */
void channel_close(struct channel *channel);
/* Registers it for reading; `connecting`: its end is awaited too. */
MOSAIC_MUST_CHECK bool channel_watch(struct channel *channel, bool connecting);
/* What an event means; sends what waits. */
void channel_event(struct channel *channel, uint32_t events);

enum { CHANNEL_DEAD = -1 };

/*
 * Reads once. Bytes kept before come first in *data, which points into `space` (the thread's) or into the channel's
 * own buffer; valid until the next read or keep. Returns how many bytes there are in all, those kept included;
 * CHANNEL_DEAD at the end of the stream. Must be followed by channel_keep of what was not used, also of nothing.
 */
ssize_t channel_read(struct channel *channel, char *space, size_t size, char **data);
/* Keeps `size` bytes at `data`, as channel_read gave them, for the next time. False when memory is out. */
MOSAIC_MUST_CHECK bool channel_keep(struct channel *channel, const char *data, size_t size);
/* Makes room so that a message of so many bytes can become whole. */
MOSAIC_MUST_CHECK bool channel_expect(struct channel *channel, size_t size);
/* Sends, or keeps what the kernel does not take. False: broken. */
bool channel_send(struct channel *channel, const void *bytes, size_t size);
/* Of the outbox: what the kernel said to bytes that were collected; goes on with those it did not take. */
void channel_sent(struct channel *channel, const char *bytes, size_t size, int result);
static inline bool channel_stuck(const struct channel *channel)
{
    return channel->out_size != 0 && !channel->is_corked;
}
/*
 * What is sent from now on is put together, up to a few kilobytes, as a server of PostgreSQL does: until it is
 * released, which counts at the end of the turn, so that what is still sent in this one goes by the same call.
 */
void channel_cork(struct channel *channel);
void channel_release(struct channel *channel);
/* Of the outbox: the turn is over. */
void channel_uncork(struct channel *channel);

#endif
