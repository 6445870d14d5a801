#include "proxy/batch.h"

enum { JOIN_MOST = 16384, KEPT_MOST = 1 << 18 };

struct buffer *batch_make(struct batch *batch)
{
    if (batch->run_size) {
        buffer_add(&batch->made, batch->run, batch->run_size);
        batch->run_size = 0;
    }
    return &batch->made;
}

void batch_drop(struct batch *batch)
{
    batch->run_size = 0;
    buffer_clear(&batch->made);
    if (batch->made.capacity > KEPT_MOST)
        buffer_free(&batch->made);
}

bool batch_send(struct batch *batch, struct channel *channel)
{
    if (batch_empty(batch))
        return true;
    bool sent = true;
    /* One call to the kernel costs more than a copy of a few kilobytes. */
    if (batch->made.size && batch->run_size && batch->run_size <= JOIN_MOST)
        (void)batch_make(batch);
    if (buffer_failed(&batch->made))
        sent = false;
    if (sent && batch->made.size)
        sent = channel_send(channel, batch->made.data, batch->made.size);
    if (sent && batch->run_size)
        sent = channel_send(channel, batch->run, batch->run_size);
    batch_drop(batch);
    return sent;
}
