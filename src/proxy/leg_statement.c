/*
 * What a client has prepared under a name is neither parsed nor planned at each shard every time: servers keep what
 * they are asked under the proxy's names, as prepared.h has it. Nothing is remembered of its result. When definitions
 * have changed so that PostgreSQL does not run it any more ("cached plan must not change result type"), the statement
 * is retired, and the client's message is planned anew.
 *
 * So with a text, from the third time on that the same comes, where no values decide how it is planned. It is to mean
 * and to cost what it would without: so it is another statement for each schema and each session's settings, is parsed
 * anew after a minute (a table may have grown that nobody has analysed), and where a server does not run it any more,
 * that one is asked again.
 */
#include "proxy/leg.h"
#include "proxy/prepared.h"
#include "proxy/proxy.h"

#include <string.h>

enum { COMES_AGAIN = 3, COUNT_MASK = 3, TEXT_KEPT_MS = 60 * 1000 };

/* Of what decides what a text means, and how it is planned. */
static uint64_t meaning_of(const struct scatter *scatter)
{
    return settings_hash(scatter->version, &scatter->legs[0].client.session->hash, sizeof(uint64_t));
}

/* Has it come before, often enough? A mark is a hash whose lowest bits count. */
static bool comes_again(struct worker *worker, const char *text, uint64_t meaning)
{
    uint64_t hash = settings_hash(meaning, text, strlen(text)), *mark = &worker->text_marks[(hash >> 8) % TEXT_MARKS];
    if ((*mark ^ hash) & ~(uint64_t)COUNT_MASK)
        *mark = hash & ~(uint64_t)COUNT_MASK;
    if ((*mark & COUNT_MASK) < COMES_AGAIN)
        ++*mark;
    return (*mark & COUNT_MASK) == COMES_AGAIN;
}

struct prepared *leg_statement(struct scatter *scatter, const char *text, const uint32_t *types, uint16_t count,
                               bool for_all)
{
    struct worker *worker = scatter->worker;
    struct buffer packed = BUFFER_INIT(4 * (size_t)UINT16_MAX);
    struct settings_sense sense = scatter->legs[0].client.session->sense;
    sense.schema = scatter->client->transaction.meaning;
    if (!scatter->is_prepared)
        sense.meaning = meaning_of(scatter);
    if (!worker->settings->max_prepared_statements ||
        (!scatter->is_prepared && !(scatter->may_keep && for_all && comes_again(worker, text, sense.meaning))))
        return NULL;
    for (uint16_t i = 0; i < count; i++)
        wire_32(&packed, types[i]);
    struct prepared *kept = NULL;
    if (!buffer_failed(&packed))
        kept = prepared_intern(&worker->prepared_table, text, strlen(text), buffer_string(&packed), count, sense);
    buffer_free(&packed);
    if (kept && kept->is_alone) {
        prepared_release(kept);
        return NULL;
    }
    return kept;
}

/* Has its server the statement? One that is to be parsed anew leaves it. */
static bool find_kept(struct leg *leg, struct prepared *kept, struct buffer *out)
{
    struct server_statements *statements = &leg->client.server->statements;
    const int64_t *since = server_statements_since(statements, kept);
    leg->has_found = since && (leg->scatter->is_prepared || leg->client.worker->loop.now - *since < TEXT_KEPT_MS);
    if (since && !leg->has_found) {
        wire_close(out, 'S', prepared_name(kept));
        server_statements_remove(statements, kept);
    }
    return leg->has_found;
}

static bool keep(struct leg *leg, struct prepared *kept)
{
    struct server_statements *statements = &leg->client.server->statements;
    if (!server_statements_add(statements, kept))
        return false;
    *server_statements_since(statements, kept) = leg->client.worker->loop.now;
    return true;
}

void leg_write_parse(struct leg *leg, struct prepared *kept, const char *text, const uint32_t *there, uint16_t count,
                     struct buffer *out)
{
    struct worker *worker = leg->scatter->worker;
    leg->kept = kept;
    leg->has_found = false;
    if (kept && find_kept(leg, kept, out)) {
        COUNT(&worker->counters, prepared_hits, 1);
        leg->scatter->is_parsed = true;
        return;
    }
    if (kept) {
        COUNT(&worker->counters, prepared_parses, 1);
        server_statements_make_room(&leg->client.server->statements, (size_t)worker->settings->max_prepared_statements,
                                    out);
        leg->is_parsing = true;
        out->failed |= !keep(leg, kept);
    }
    wire_parse(out, kept ? prepared_name(kept) : "", text, strlen(text), there, count);
}

/*
 * What was parsed for this request is what the definitions are: then it is another error of this kind, of which
 * PostgreSQL has many.
 */
static bool is_outdated(const struct leg *leg, const char *message, const struct wire_frame *frame)
{
    struct wire_error found;
    return leg->has_found && wire_read_error(message, frame, &found) && found.sqlstate &&
           strcmp(found.sqlstate, "0A000") == 0;
}

bool leg_is_stale(struct leg *leg, const char *message, const struct wire_frame *frame)
{
    if (leg->kept && leg->is_parsing)
        server_statements_remove(&leg->client.server->statements, leg->kept);
    if (!is_outdated(leg, message, frame))
        return false;
    leg->kept->is_retired = true;
    return leg->scatter->state == SCATTER_STARTING;
}

/* The last leg of tier 3 has used up what it was sent. */
bool leg_asks_again(struct leg *leg, const char *message, const struct wire_frame *frame)
{
    const struct scatter *scatter = leg->scatter;
    bool is_last = scatter->partials && !leg_is_partial(leg);
    if (scatter->is_prepared || is_last || !scatter->client || scatter->state >= SCATTER_FINISHED ||
        !is_outdated(leg, message, frame))
        return false;
    *server_statements_since(&leg->client.server->statements, leg->kept) = INT64_MIN / 2;
    return leg->asks_again = true;
}
