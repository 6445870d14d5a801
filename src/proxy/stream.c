#include "proxy/stream.h"

#include "copy/binary.h"
#include "proxy/copy_in.h"
#include "proxy/given.h"
#include "proxy/proxy.h"
#include "proxy/spool.h"

enum { PASSED_MOST = 1024 * 1024 }; /* bytes in one turn */

/* The client's values, with a result in binary: what COPY takes. */
static const struct wire_bind *bind_binary(const struct wire_bind *from, struct wire_bind *to)
{
    static const char binary[2] = {0, 1};
    *to = from ? *from : (struct wire_bind){.portal = "", .formats = "", .values = ""};
    to->statement = "";
    to->result_count = 1;
    to->results = binary;
    return to;
}

/* The client's text is to be parsed, with the types that its parameters have in it. False: memory is out. */
static bool check(struct scatter *scatter, const struct scatter_order *order)
{
    struct arena *arena = &scatter->arena;
    uint16_t count = order->bind ? order->bind->value_count : 0;
    uint32_t *types = arena_zeroed(arena, count + 1u, sizeof *types);
    for (uint16_t i = 0; types && i < count && i < order->type_count; i++)
        types[i] = order->types[i];
    scatter->checked = arena_format(arena, "%.*s", (int)order->size, order->text);
    scatter->checked_types = types;
    scatter->checked_count = count;
    return types && scatter->checked;
}

struct scatter *stream_new(struct client *client, const struct scatter_order *order, mosaic_error *error)
{
    const struct plan_source *source = order->plan->write->source;
    struct scatter_order reads = *order, writes = *order;
    struct wire_bind bind;
    if (!order->plan->write->arrays) { /* COPY has no parameters */
        writes.bind = NULL;
        writes.type_count = 0;
    }
    writes.warning = NULL;
    struct scatter *next = scatter_new_write(client, &writes, error);
    if (!next)
        return NULL;
    next->spool = spool_new((size_t)client->worker->settings->scatter_memory);
    reads.plan = source->plan;
    reads.tier = source->tier;
    reads.bind = bind_binary(order->bind, &bind);
    reads.may_miss = false;
    reads.cursor = NULL;
    reads.explanation = NULL;
    struct scatter *made = next->spool ? scatter_new(client, &reads, error) : (error_memory(error), NULL);
    if (!made) {
        scatter_drop(next);
        return NULL;
    }
    made->next = next;
    /* The coordinator knows of no identity or generated column: a shard must parse the text before it copies. */
    bool copies = !order->plan->write->arrays;
    if (check(made, &reads) && (!source->of_coordinator || !copies || check(next, &reads)))
        return made;
    error_memory(error);
    scatter_drop(made);
    return NULL;
}

void stream_fetch(struct scatter *scatter)
{
    scatter_fetch(scatter, 0);
    scatter_flush(scatter);
}

void stream_keep(struct scatter *scatter)
{
    struct batch *batch = &scatter->worker->to_client;
    const struct buffer *made = &batch->made;
    struct spool *spool = scatter->next->spool;
    mosaic_error error;
    bool is_wanted = scatter->client && scatter->state <= SCATTER_FINISHED;
    mosaic_status status = buffer_failed(made) ? error_memory(&error) : MOSAIC_OK;
    if (status == MOSAIC_OK && is_wanted)
        status = spool_add(spool, buffer_string(made), made->size, &error);
    if (status == MOSAIC_OK && is_wanted)
        status = spool_add(spool, batch->run, batch->run_size, &error);
    batch_drop(batch);
    if (status == MOSAIC_OK || !is_wanted)
        return;
    scatter->next->lacks_rows = true; /* though this one may have ended already */
    scatter_stop(scatter, &error);
}

struct scatter *stream_go_on(struct scatter *scatter)
{
    struct scatter *next = scatter->next;
    scatter->next = NULL;
    scatter_tell_notices(scatter, &next->notices);
    scatter_drop(scatter);
    mosaic_error error;
    if (next->lacks_rows) {
        (void)!error_set(&error, MOSAIC_INTERNAL, "not all rows of the INSERT's query could be kept");
        error_hint(&error, "raise scatter_memory, or set TMPDIR to a directory with room");
        error_sqlstate(&error, "58030");
        scatter_fail(next, &error);
    } else if (next->rows_given && given_take(next, &error) != MOSAIC_OK) {
        scatter_fail(next, &error);
    } else {
        scatter_start(next);
    }
    return next;
}

bool stream_has_rows(const struct scatter *scatter)
{
    return scatter->spool && scatter->copy_in && scatter->state == SCATTER_RUNNING && !scatter->copy_in->is_over;
}

/* Bytes of rows; or, once, what stands before them. False: there are no more, or it has failed. */
static bool pass_some(struct scatter *scatter, size_t *passed)
{
    const char *bytes;
    size_t size;
    mosaic_error error;
    if (!scatter->has_passed) {
        scatter->has_passed = true;
        scatter_take_data(scatter, (const char *)binary_header, sizeof binary_header);
    }
    if (spool_take(scatter->spool, &bytes, &size, &error) != MOSAIC_OK) {
        copy_in_fail_by(scatter->copy_in, &error);
        return false;
    }
    if (size)
        scatter_take_data(scatter, bytes, size);
    *passed += size;
    return size > 0 && !scatter->copy_in->fails;
}

void stream_pass(struct scatter *scatter)
{
    size_t passed = 0;
    if (!stream_has_rows(scatter))
        return;
    while (scatter_has_room(scatter)) {
        if (!pass_some(scatter, &passed)) {
            if (!scatter->copy_in->fails)
                scatter_take_data(scatter, (const char *)binary_trailer, sizeof binary_trailer);
            scatter_end_data(scatter, NULL);
            return;
        }
        if (passed >= PASSED_MOST) {
            loop_again(&scatter->worker->loop, &scatter->client->channel.source);
            return;
        }
    }
}
