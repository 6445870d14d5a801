#define _GNU_SOURCE
#include "proxy/outbox.h"

#include "base/memory.h"
#include "proxy/channel.h"

#include <errno.h>
#include <linux/io_uring.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { PIECES = 64, PIECE_MOST = 1024, NOT_OPENED = -2, NOT_ALLOWED = -1 };

struct piece {
    struct channel *channel;
    uint32_t size;
    char bytes[PIECE_MOST];
};

struct outbox {
    int ring; /* or NOT_OPENED, NOT_ALLOWED */
    size_t map_size, entries_size;
    char *map;
    struct io_uring_sqe *entries;
    unsigned *sq_tail, *sq_mask, *sq_array, *cq_head, *cq_tail, *cq_mask;
    struct io_uring_cqe *answers;
    size_t count, released_count;
    struct channel *released[PIECES];
    struct piece pieces[PIECES];
};

struct outbox *outbox_new(void)
{
    struct outbox *outbox = memory_zeroed(1, sizeof *outbox);
    if (outbox)
        outbox->ring = NOT_OPENED;
    return outbox;
}

static bool map_ring(struct outbox *outbox, const struct io_uring_params *p)
{
    size_t sq = p->sq_off.array + p->sq_entries * sizeof(unsigned);
    size_t cq = p->cq_off.cqes + p->cq_entries * sizeof(struct io_uring_cqe);
    outbox->map_size = sq > cq ? sq : cq;
    if (!(p->features & IORING_FEAT_SINGLE_MMAP))
        return false;
    outbox->map = mmap(NULL, outbox->map_size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, outbox->ring,
                       IORING_OFF_SQ_RING);
    outbox->entries_size = p->sq_entries * sizeof *outbox->entries;
    outbox->entries = mmap(NULL, outbox->entries_size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, outbox->ring,
                           IORING_OFF_SQES);
    if (outbox->map == MAP_FAILED || outbox->entries == MAP_FAILED)
        return false;
    outbox->sq_tail = (unsigned *)(void *)(outbox->map + p->sq_off.tail);
    outbox->sq_mask = (unsigned *)(void *)(outbox->map + p->sq_off.ring_mask);
    outbox->sq_array = (unsigned *)(void *)(outbox->map + p->sq_off.array);
    outbox->cq_head = (unsigned *)(void *)(outbox->map + p->cq_off.head);
    outbox->cq_tail = (unsigned *)(void *)(outbox->map + p->cq_off.tail);
    outbox->cq_mask = (unsigned *)(void *)(outbox->map + p->cq_off.ring_mask);
    outbox->answers = (struct io_uring_cqe *)(void *)(outbox->map + p->cq_off.cqes);
    return true;
}

static void open_ring(struct outbox *outbox)
{
    struct io_uring_params p = {.flags = IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN |
                                         IORING_SETUP_COOP_TASKRUN | IORING_SETUP_SUBMIT_ALL};
    outbox->ring = (int)syscall(SYS_io_uring_setup, PIECES, &p);
    if (outbox->ring >= 0 && !map_ring(outbox, &p)) {
        close(outbox->ring);
        outbox->ring = NOT_ALLOWED;
    }
}

bool outbox_add(struct outbox *outbox, struct channel *channel, const void *bytes, size_t size)
{
    if (size > PIECE_MOST || outbox->count == PIECES)
        return false;
    struct piece *piece = &outbox->pieces[outbox->count++];
    piece->channel = channel;
    piece->size = (uint32_t)size;
    memcpy(piece->bytes, bytes, size);
    return true;
}

bool outbox_release(struct outbox *outbox, struct channel *channel)
{
    if (outbox->released_count == PIECES)
        return false;
    outbox->released[outbox->released_count++] = channel;
    return true;
}

static void close_ring(struct outbox *outbox)
{
    munmap(outbox->entries, outbox->entries_size);
    munmap(outbox->map, outbox->map_size);
    close(outbox->ring);
    outbox->ring = NOT_ALLOWED;
}

static unsigned take_answers(struct outbox *outbox, int *results)
{
    unsigned head = *outbox->cq_head, taken = 0;
    unsigned end = atomic_load_explicit((_Atomic unsigned *)outbox->cq_tail, memory_order_acquire);
    for (; head != end; head++, taken++) {
        const struct io_uring_cqe *answer = &outbox->answers[head & *outbox->cq_mask];
        results[answer->user_data] = answer->res;
    }
    atomic_store_explicit((_Atomic unsigned *)outbox->cq_head, head, memory_order_release);
    return taken;
}

/*
 * results[i]: what the kernel says to piece i; 0 where it was not asked. A ring that did not take all has pieces in it
 * that would be sent with the next ones, so it goes.
 */
static void submit(struct outbox *outbox, int *results)
{
    unsigned tail = *outbox->sq_tail, mask = *outbox->sq_mask;
    for (size_t i = 0; i < outbox->count; i++, tail++) {
        struct piece *piece = &outbox->pieces[i];
        outbox->entries[tail & mask] = (struct io_uring_sqe){.opcode = IORING_OP_SEND,
                                                             .fd = piece->channel->fd,
                                                             .addr = (uintptr_t)piece->bytes,
                                                             .len = piece->size,
                                                             .msg_flags = MSG_NOSIGNAL | MSG_DONTWAIT,
                                                             .user_data = i};
        outbox->sq_array[tail & mask] = tail & mask;
    }
    atomic_store_explicit((_Atomic unsigned *)outbox->sq_tail, tail, memory_order_release);
    long taken = syscall(SYS_io_uring_enter, outbox->ring, (unsigned)outbox->count, 0, 0, NULL, 0);
    unsigned sent = taken > 0 ? (unsigned)taken : 0, answered = take_answers(outbox, results);
    /* None of them waits (MSG_DONTWAIT), so all have been answered already. */
    while (answered < sent) {
        (void)syscall(SYS_io_uring_enter, outbox->ring, 0, sent - answered, IORING_ENTER_GETEVENTS, NULL, 0);
        answered += take_answers(outbox, results);
    }
    if (sent < outbox->count)
        close_ring(outbox);
}

void outbox_flush(struct outbox *outbox)
{
    int results[PIECES];
    if (!outbox->count)
        return;
    if (outbox->ring == NOT_OPENED)
        open_ring(outbox);
    memset(results, 0, outbox->count * sizeof *results);
    if (outbox->ring >= 0 && outbox->count > 1)
        submit(outbox, results);
    size_t count = outbox->count;
    outbox->count = 0;
    for (size_t i = 0; i < count; i++) {
        struct piece *piece = &outbox->pieces[i];
        channel_sent(piece->channel, piece->bytes, piece->size, results[i]);
    }
}

void outbox_end(struct outbox *outbox)
{
    outbox_flush(outbox);
    while (outbox->released_count)
        channel_uncork(outbox->released[--outbox->released_count]);
}

void outbox_free(struct outbox *outbox)
{
    if (outbox && outbox->ring >= 0)
        close_ring(outbox);
    memory_free(outbox);
}
