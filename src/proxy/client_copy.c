#include "proxy/client_copy.h"

#include "proxy/proxy.h"
#include "proxy/scatter.h"
#include "proxy/server.h"

/* What takes the client's CopyData on several shards; NULL: nothing does. */
struct scatter *client_copy_taker(const struct client *client)
{
    struct scatter *scatter = client->fetching ? client->fetching : client->scatter;
    return scatter && scatter_takes_data(scatter) ? scatter : NULL;
}

/* CopyData and its end: passed to a server that takes it, dropped where its COPY has failed. */
static size_t pass_copy(struct client *client, const char *message, const struct wire_frame *frame, size_t here)
{
    struct server *server = client->server;
    bool wanted = server && !client->is_fresh && (client->awaits_ready || client->in_segment);
    if (wanted)
        batch_pass(&client->worker->to_server, message, here);
    if (wanted && client->in_segment && frame->type != WIRE_COPY_DATA &&
        !expect_add(&server->expect, EXPECT_COPY_END, 0, NULL))
        (void)client_out_of_memory(client);
    client->passing = wanted ? 'd' : 'x';
    client->passing_size = frame->size - (uint32_t)here;
    return here;
}

/* The same for several shards. 0: more of the message must be there. */
static size_t copy_into(struct client *client, struct scatter *scatter, const char *message,
                        const struct wire_frame *frame, size_t here)
{
    struct wire_reader reader = wire_body(message, frame);
    if (frame->type == WIRE_COPY_DATA) {
        client->passing = 's';
        client->passing_size = frame->size - (uint32_t)here;
        scatter_take_data(scatter, message + WIRE_HEADER, here - WIRE_HEADER);
        return here;
    }
    if (here < frame->size) {
        if (!channel_expect(&client->channel, frame->size))
            (void)client_out_of_memory(client);
        return 0;
    }
    scatter_end_data(scatter, frame->type == WIRE_COPY_FAIL ? wire_read_text(&reader) : NULL);
    return here;
}

size_t client_take_piece(struct client *client, const char *data, size_t size)
{
    size_t piece = size < client->passing_size ? size : client->passing_size;
    struct scatter *scatter = client->passing == 's' ? client_copy_taker(client) : NULL;
    if (scatter)
        scatter_take_data(scatter, data, piece);
    else if (client->passing != 's' && client->passing != 'x' && client->server)
        batch_pass(&client->worker->to_server, data, piece);
    client->passing_size -= (uint32_t)piece;
    return piece;
}

/* While rows are taken, Sync and Flush mean nothing, as PostgreSQL has it; nothing else may come. */
bool client_beside_copy(struct client *client, const struct wire_frame *frame, size_t size, size_t *used)
{
    bool passes = frame->type == WIRE_SYNC || frame->type == WIRE_FLUSH;
    if (passes && frame->size <= size)
        *used = frame->size;
    else if (frame->type == WIRE_TERMINATE)
        client_close(client, NULL);
    else if (!passes)
        client_violates(client, "unexpected message type during COPY from stdin");
    return *used > 0;
}

size_t client_take_copy(struct client *client, const char *message, const struct wire_frame *frame, size_t here)
{
    struct scatter *scatter = client_copy_taker(client);
    return scatter ? copy_into(client, scatter, message, frame, here) : pass_copy(client, message, frame, here);
}
