/*
 * What a client has prepared under a name is neither parsed nor planned at each shard every time: servers keep what
 * they are asked under the proxy's names, as prepared.h has it. Nothing is remembered of its result. When definitions
 * have changed so that PostgreSQL does not run it any more ("cached plan must not change result type"), the statement
 * is retired, and the client's message is planned anew.
 */
#include "proxy/leg.h"
#include "proxy/prepared.h"
#include "proxy/proxy.h"

#include <string.h>

struct prepared *leg_statement(struct scatter *scatter, const char *text, const uint32_t *types, uint16_t count)
{
    struct worker *worker = scatter->worker;
    struct buffer packed = BUFFER_INIT(4 * (size_t)UINT16_MAX);
    if (!scatter->is_prepared || !worker->settings->max_prepared_statements)
        return NULL;
    for (uint16_t i = 0; i < count; i++)
        wire_32(&packed, types[i]);
    struct prepared *kept = NULL;
    if (!buffer_failed(&packed))
        kept = prepared_intern(&worker->prepared_table, text, strlen(text), buffer_string(&packed), count,
                               scatter->legs[0].client.session->meaning);
    buffer_free(&packed);
    if (kept && kept->is_alone) {
        prepared_release(kept);
        return NULL;
    }
    return kept;
}

/* The statement used least leaves a server that has as many as it may. */
static void make_room(struct leg *leg, struct buffer *out)
{
    struct server_statements *statements = &leg->client.server->statements;
    struct prepared *oldest =
        server_statements_oldest(statements, (size_t)leg->client.worker->settings->max_prepared_statements);
    if (!oldest)
        return;
    wire_close(out, 'S', prepared_name(oldest));
    server_statements_remove(statements, oldest);
}

void leg_write_parse(struct leg *leg, struct prepared *kept, const char *text, const uint32_t *there, uint16_t count,
                     struct buffer *out)
{
    struct worker *worker = leg->scatter->worker;
    leg->kept = kept;
    leg->has_found = false;
    if (kept && server_statements_use(&leg->client.server->statements, kept)) {
        COUNT(&worker->counters, prepared_hits, 1);
        leg->scatter->is_parsed = true;
        leg->has_found = true;
        return;
    }
    if (kept) {
        COUNT(&worker->counters, prepared_parses, 1);
        make_room(leg, out);
        leg->is_parsing = true;
        out->failed |= !server_statements_add(&leg->client.server->statements, kept);
    }
    wire_parse(out, kept ? prepared_name(kept) : "", text, strlen(text), there, count);
}

bool leg_is_stale(struct leg *leg, const char *message, const struct wire_frame *frame)
{
    struct wire_error found;
    if (leg->kept && leg->is_parsing)
        server_statements_remove(&leg->client.server->statements, leg->kept);
    /* What was parsed for this request is what the definitions are: PostgreSQL says 0A000 of other things, too. */
    if (!leg->has_found || !wire_read_error(message, frame, &found) || !found.sqlstate ||
        strcmp(found.sqlstate, "0A000") != 0)
        return false;
    leg->kept->is_retired = true;
    return leg->scatter->state == SCATTER_STARTING;
}
