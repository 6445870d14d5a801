/*
 * What is to be sent to one socket at the end of a piece of work: stretches of the bytes just read, untouched, and
 * messages made here, in order. While nothing was made, the stretch goes to the kernel from where it was read, without
 * a copy.
 */
#ifndef MOSAIC_PROXY_BATCH_H
#define MOSAIC_PROXY_BATCH_H

#include "base/buffer.h"
#include "proxy/channel.h"

struct batch {
    struct buffer made;
    const char *run; /* an untouched stretch behind `made`; valid until the next read */
    size_t run_size;
};

/* The buffer to build into, behind everything so far. */
struct buffer *batch_make(struct batch *batch);
static inline void batch_pass(struct batch *batch, const char *bytes, size_t size)
{
    if (batch->run_size && batch->run + batch->run_size == bytes) {
        batch->run_size += size;
        return;
    }
    if (batch->run_size)
        (void)batch_make(batch);
    batch->run = bytes;
    batch->run_size = size;
}
static inline bool batch_empty(const struct batch *batch)
{
    return batch->run_size == 0 && batch->made.size == 0 && !batch->made.failed;
}
static inline size_t batch_size(const struct batch *batch)
{
    return batch->run_size + batch->made.size;
}
/* Sends and empties it; false when the channel is broken or memory was out. Returns at once when there is nothing. */
bool batch_send(struct batch *batch, struct channel *channel);
void batch_drop(struct batch *batch);

#endif
