#define _GNU_SOURCE /* syscall */
#include "proxy/channel.h"

#include "base/memory.h"
#include "proxy/outbox.h"
#include "proxy/tls.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { OUT_FIRST = 4096, IN_FIRST = 512, PIECE_MOST = 1 << 18, CORKED_MOST = 8192 };

void channel_init(struct channel *channel, struct loop *loop, int fd)
{
    channel->loop = loop;
    channel->fd = fd;
    channel->readable = channel->hung_up = channel->broken = channel->wants_room = false;
    channel->told_at = loop->now;
    channel->out_at = channel->out_size = channel->out_capacity = 0;
    channel->in_size = channel->in_capacity = 0;
    channel->in = channel->out = NULL;
    channel->tls = NULL;
    channel->is_posted = channel->is_corked = channel->is_released = false;
}

void channel_start_tls(struct channel *channel, struct tls *tls)
{
    if (channel->is_posted)
        outbox_flush(channel->loop->outbox);
    channel->tls = tls;
    channel->readable = true;
}

static void free_in(struct channel *channel)
{
    memory_free(channel->in);
    channel->in = NULL;
    channel->in_size = channel->in_capacity = 0;
}

static void free_out(struct channel *channel)
{
    memory_free(channel->out);
    channel->out = NULL;
    channel->out_at = channel->out_size = channel->out_capacity = 0;
}

void channel_close(struct channel *channel)
{
    bool is_released = channel->is_released;
    channel_uncork(channel);
    if (channel->is_posted)
        outbox_flush(channel->loop->outbox);
    if (is_released)
        outbox_end(channel->loop->outbox); /* which knows it */
    tls_free(channel->tls);                /* says good-bye, so before the socket goes */
    channel->tls = NULL;
    if (channel->fd >= 0) {
        loop_remove(channel->loop, channel->fd);
        close(channel->fd);
    }
    channel->fd = -1;
    channel->broken = true;
    channel->readable = false;
    free_in(channel);
    free_out(channel);
}

bool channel_watch(struct channel *channel, bool connecting)
{
    channel->wants_room = connecting;
    return loop_add(channel->loop, &channel->source, channel->fd, EPOLLIN | EPOLLRDHUP | (connecting ? EPOLLOUT : 0));
}

static void want_room(struct channel *channel, bool wanted)
{
    if (channel->wants_room == wanted || channel->fd < 0)
        return;
    channel->wants_room = wanted;
    if (!loop_change(channel->loop, &channel->source, channel->fd, EPOLLIN | EPOLLRDHUP | (wanted ? EPOLLOUT : 0)))
        channel->broken = true;
}

static size_t push_tls(struct channel *channel, const char *bytes, size_t size)
{
    size_t sent = 0;
    while (sent < size) {
        ssize_t took = tls_write(channel->tls, bytes + sent, size - sent);
        if (took <= 0) {
            channel->broken |= took < 0;
            break;
        }
        sent += (size_t)took;
    }
    return sent;
}

/* send and recv, but no cancellation points of threads: in libc that is most of what they execute. */
static ssize_t send_now(int fd, const char *bytes, size_t size)
{
    return syscall(SYS_sendto, fd, bytes, size, MSG_NOSIGNAL | MSG_DONTWAIT, NULL, 0);
}

static ssize_t receive_now(int fd, char *space, size_t size)
{
    return syscall(SYS_recvfrom, fd, space, size, MSG_DONTWAIT, NULL, NULL);
}

/* Returns how much of it the kernel took; < size: no room, or broken. */
static size_t push(struct channel *channel, const char *bytes, size_t size)
{
    size_t sent = 0;
    if (channel->tls)
        return channel->broken ? 0 : push_tls(channel, bytes, size);
    while (sent < size && !channel->broken) {
        ssize_t took = send_now(channel->fd, bytes + sent, size - sent);
        if (took >= 0) {
            sent += (size_t)took;
        } else if (errno == EAGAIN || errno == EWOULDBLOCK) {
            break;
        } else if (errno != EINTR) {
            channel->broken = true;
        }
    }
    return sent;
}

static void flush(struct channel *channel)
{
    size_t took = push(channel, channel->out + channel->out_at, channel->out_size);
    channel->told_at = channel->loop->now;
    channel->out_at += (uint32_t)took;
    channel->out_size -= (uint32_t)took;
    if (channel->out_size == 0 || channel->broken) {
        free_out(channel);
        want_room(channel, false);
    }
}

void channel_event(struct channel *channel, uint32_t events)
{
    if (events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR))
        channel->readable = true;
    if (events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR))
        channel->hung_up = true;
    if (events & EPOLLERR)
        channel->broken = true;
    if (channel->out_size && events & (EPOLLOUT | EPOLLHUP | EPOLLERR))
        flush(channel);
    else if (channel->wants_room && events & EPOLLOUT) {
        want_room(channel, false);
        channel->readable |= channel->tls != NULL; /* reading waited for it: a handshake */
    }
}

/* As many records as there are and fit; the handshake, as far as it goes. */
static ssize_t receive_tls(struct channel *channel, char *space, size_t size)
{
    size_t got = 0;
    bool more = true, was_ready = tls_is_ready(channel->tls);
    while (more && got < size) {
        ssize_t part = tls_read(channel->tls, space + got, size - got, &more);
        if (part < 0 && got == 0) {
            channel->readable = false;
            channel->hung_up = true;
            return CHANNEL_DEAD;
        }
        got += part > 0 ? (size_t)part : 0;
    }
    channel->readable = more || (channel->hung_up && got > 0);
    /* What waited for the handshake. */
    if (channel->out_size && !was_ready && tls_is_ready(channel->tls))
        flush(channel);
    else if (!tls_is_ready(channel->tls) && tls_wants_room(channel->tls))
        want_room(channel, true);
    return (ssize_t)got;
}

static ssize_t receive(struct channel *channel, char *space, size_t size)
{
    ssize_t got;
    if (channel->tls)
        return receive_tls(channel, space, size);
    do
        got = receive_now(channel->fd, space, size);
    while (got < 0 && errno == EINTR);
    if (got < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) {
        channel->readable = false;
        return 0;
    }
    if (got <= 0) {
        channel->readable = false;
        channel->hung_up = true;
        return CHANNEL_DEAD;
    }
    /* A short read emptied the socket: the next bytes make an event of their own. After a hang-up none comes. */
    channel->readable = (size_t)got == size || channel->hung_up;
    return got;
}

ssize_t channel_read(struct channel *channel, char *space, size_t size, char **data)
{
    size_t kept = channel->in_size;
    /* A large message that is to become whole has its own room; small rests move to the front of the thread's. */
    bool own = channel->in_capacity > size;
    *data = own ? channel->in : space;
    if (!own && kept)
        memcpy(space, channel->in, kept);
    if (!channel->readable)
        return (ssize_t)kept;
    size_t room = (own ? channel->in_capacity : size) - kept;
    if (room == 0)
        return (ssize_t)kept;
    ssize_t got = receive(channel, *data + kept, room < PIECE_MOST ? room : PIECE_MOST);
    if (got == CHANNEL_DEAD)
        return CHANNEL_DEAD;
    if (own)
        channel->in_size += (uint32_t)got;
    return (ssize_t)kept + got;
}

bool channel_expect(struct channel *channel, size_t size)
{
    if (size <= channel->in_capacity)
        return true;
    size_t capacity = channel->in_capacity ? channel->in_capacity : IN_FIRST;
    while (capacity < size)
        capacity *= 2;
    char *in = memory_resize(channel->in, capacity);
    if (!in)
        return false;
    channel->in = in;
    channel->in_capacity = (uint32_t)capacity;
    return true;
}

bool channel_keep(struct channel *channel, const char *data, size_t size)
{
    if (size == 0) {
        free_in(channel);
        return true;
    }
    bool own = channel->in && data >= channel->in && data <= channel->in + channel->in_size;
    if (!own) {
        channel->in_size = 0;
        if (!channel_expect(channel, size))
            return false;
    }
    if (data != channel->in)
        memmove(channel->in, data, size);
    channel->in_size = (uint32_t)size;
    return true;
}

static bool keep_out(struct channel *channel, const char *bytes, size_t size)
{
    if (channel->out_at && channel->out_size + size > channel->out_capacity - channel->out_at) {
        memmove(channel->out, channel->out + channel->out_at, channel->out_size);
        channel->out_at = 0;
    }
    size_t needed = channel->out_size + size;
    if (needed > channel->out_capacity) {
        size_t capacity = channel->out_capacity ? channel->out_capacity : OUT_FIRST;
        while (capacity < needed)
            capacity *= 2;
        char *out = capacity > UINT32_MAX / 2 ? NULL : memory_resize(channel->out, capacity);
        if (!out) {
            channel->broken = true;
            return false;
        }
        channel->out = out;
        channel->out_capacity = (uint32_t)capacity;
    }
    memcpy(channel->out + channel->out_at + channel->out_size, bytes, size);
    channel->out_size += (uint32_t)size;
    return true;
}

void channel_sent(struct channel *channel, const char *bytes, size_t size, int result)
{
    channel->is_posted = false;
    if (result == (int)size || channel->fd < 0)
        return;
    if (result >= 0)
        result += (int)push(channel, bytes + result, size - (size_t)result);
    else if (result == -EAGAIN || result == -EINTR)
        result = 0;
    else
        channel->broken = true;
    if (!channel->broken && result < (int)size && keep_out(channel, bytes + result, size - (size_t)result))
        want_room(channel, true);
    if (channel->broken) { /* whose it is will see the end */
        channel->readable = true;
        loop_again(channel->loop, &channel->source);
    }
}

void channel_cork(struct channel *channel)
{
    if (channel->is_posted)
        outbox_flush(channel->loop->outbox); /* what the kernel has no room for is to come first */
    channel->is_corked |= !channel->out_size && !channel->broken && channel->fd >= 0;
}

void channel_release(struct channel *channel)
{
    if (!channel->is_corked || channel->is_released)
        return;
    channel->is_released = outbox_release(channel->loop->outbox, channel);
    if (!channel->is_released)
        channel_uncork(channel);
}

void channel_uncork(struct channel *channel)
{
    bool waits = channel->is_corked && channel->out_size;
    channel->is_corked = channel->is_released = false;
    if (!waits)
        return;
    if (channel->is_posted)
        outbox_flush(channel->loop->outbox);
    flush(channel);
    if (channel->out_size)
        want_room(channel, true);
    if (channel->broken) { /* whose it is will see the end */
        channel->readable = true;
        loop_again(channel->loop, &channel->source);
    }
}

/* True: it waits with what is corked already, or went with it. */
static bool send_corked(struct channel *channel, const void *bytes, size_t size)
{
    bool fits = size <= CORKED_MOST, is_released = channel->is_released;
    bool is_full = channel->out_size + size > CORKED_MOST;
    if (fits && !keep_out(channel, bytes, size))
        return true; /* it is broken */
    if (!fits || is_full) {
        channel_uncork(channel);
        channel_cork(channel);
        channel->is_released = is_released;
    }
    return fits;
}

bool channel_send(struct channel *channel, const void *bytes, size_t size)
{
    if (channel->broken || channel->fd < 0)
        return false;
    channel->told_at = channel->loop->now;
    if (__builtin_expect(channel->is_corked, 0) && send_corked(channel, bytes, size))
        return !channel->broken;
    if (channel->is_posted)
        outbox_flush(channel->loop->outbox);
    if (!channel->tls && !channel->out_size && !channel->broken &&
        outbox_add(channel->loop->outbox, channel, bytes, size)) {
        channel->is_posted = true;
        return true;
    }
    size_t took = channel->out_size || channel->broken ? 0 : push(channel, bytes, size);
    if (channel->broken)
        return false;
    if (took == size)
        return true;
    if (!keep_out(channel, (const char *)bytes + took, size - took))
        return false;
    channel->is_corked = false;
    want_room(channel, true);
    return true;
}
