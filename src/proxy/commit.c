#include "proxy/commit.h"

#include "base/control_point.h"
#include "base/memory.h"
#include "catalog/decision.h"
#include "core/sqlexpr.h"
#include "proxy/branch.h"
#include "proxy/proxy.h"
#include "proxy/server.h"
#include "proxy/settle.h"

#include <inttypes.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SQL_MOST = 1 << 21, TAG_SIZE = 24 };

enum phase {
    LOOKS,    /* who has written; each is told what it lacks, and to commit under synchronous_commit = on at least */
    PREPARES, /* all that have written but the decider; those that have not just commit */
    DECIDES,  /* the decider commits, with its word that the others are to */
    ASKS,     /* its answer was lost: settle.h */
    FINISHES, /* these do */
    TRIES,    /* mosaic.commit = best_effort: each by itself, one behind the other */
    UNDOES,
    UNKNOWN,
    OVER,
};

enum part_state {
    PART_OPEN,
    PART_PREPARED, /* or may be */
    PART_ENDED,
};

struct commit_part {
    struct commit *commit;
    struct server *server; /* NULL: it is gone */
    size_t shard;
    char name[SHARD_NAME_SIZE];
    char prepared[GID_SIZE];
    char xid[24];     /* "": it has written nothing */
    char setting[24]; /* synchronous_commit of its session, outside of the transaction */
    char tag[TAG_SIZE];
    enum part_state state;
    unsigned awaited; /* answers */
    bool failed;      /* an error was among them */
    mosaic_error error;
};

struct commit {
    struct client *client; /* NULL: gone */
    uint64_t number;       /* its transaction's, then */
    struct worker *worker;
    struct settings_state *session, *before; /* held: of the servers when it is committed, or else */
    enum phase phase;
    char hex[GID_HEX_SIZE];
    struct gid gid;
    struct commit_part *decider; /* NULL: nobody has written */
    bool is_single;              /* the decider alone has: its COMMIT is all */
    bool is_best_effort;
    bool is_pinned; /* its servers are the client's own */
    bool committed;
    bool is_sending; /* answers that come meanwhile are looked at when all is sent */
    mosaic_error error;
    struct settlement settlement;
    struct settlement_part *prepared; /* its parts */
    size_t count;
    struct commit_part parts[];
};

static bool is_prepared_kind(const struct commit_part *part)
{
    return *part->xid && part != part->commit->decider;
}

/* ---- asking ---- */

static void send_query(struct commit_part *part, const char *sql)
{
    struct server *server = part->server;
    struct buffer query = BUFFER_INIT(SQL_MOST);
    wire_query(&query, sql);
    server->ours_failed = false;
    server->unnamed = 0;
    *part->tag = '\0';
    part->awaited++;
    if (buffer_failed(&query) || !expect_add(&server->expect, EXPECT_COMMIT, 0, NULL)) {
        part->awaited--;
        server_close(server, NULL);
    } else if (!channel_send(&server->channel, query.data, query.size)) {
        server->channel.readable = true; /* it will see the end */
        loop_again(&part->commit->worker->loop, &server->channel.source);
    }
    buffer_free(&query);
}

static void send_named(struct commit_part *part, const char *command)
{
    struct buffer sql = BUFFER_INIT(4 * GID_SIZE);
    buffer_text(&sql, command);
    sql_literal(&sql, part->prepared, strlen(part->prepared));
    send_query(part, buffer_string(&sql));
    buffer_free(&sql);
}

static void copy_text(char *to, size_t size, const char *from, size_t length)
{
    if (length > size - 1)
        length = size - 1;
    memcpy(to, from, length);
    to[length] = '\0';
}

/* ---- the end ---- */

static void free_commit(struct commit *commit)
{
    commit->worker->commits--;
    memory_free(commit->prepared);
    settings_release(commit->session);
    settings_release(commit->before);
    memory_free(commit);
}

/* PREPARE keeps what was SET, as COMMIT does, whatever becomes of the rows (src/backend/access/transam/xact.c). */
static bool keeps_settings(const struct commit_part *part)
{
    return part->commit->committed || part->state != PART_OPEN;
}

/* Its servers serve others again. */
static void let_go(struct commit *commit)
{
    for (size_t i = 0; i < commit->count; i++) {
        struct commit_part *part = &commit->parts[i];
        struct server *server = part->server;
        if (!server)
            continue;
        part->server = NULL;
        server->part = NULL;
        bool keeps = keeps_settings(part), knows = keeps || server_has_gone_back(server, commit->before);
        if (keeps) {
            settings_release(server->session);
            server->session = settings_hold(commit->session);
        }
        if (knows && server_is_clean(server))
            server_free(server, commit->client, commit->is_pinned);
        else
            server_close(server, NULL);
    }
}

static void over(struct commit *commit)
{
    commit->phase = OVER;
    let_go(commit);
    if (commit->client)
        loop_again(&commit->worker->loop, &commit->client->channel.source);
    else
        free_commit(commit);
}

static void undo(struct commit *commit, const struct commit_part *failed)
{
    commit->phase = UNDOES;
    commit->error = failed->error;
    error_shard(&commit->error, failed->name);
    for (size_t i = 0; i < commit->count; i++) {
        struct commit_part *part = &commit->parts[i];
        if (!part->server && part->state == PART_PREPARED)
            settle_soon(commit->worker->proxy);
        if (!part->server)
            continue;
        if (part->state == PART_PREPARED && part->server->status == 'I')
            send_named(part, "ROLLBACK PREPARED ");
        else if (part->server->status != 'I')
            send_query(part, "ROLLBACK");
    }
}

/* ---- the steps ---- */

static void look(struct commit *commit)
{
    for (size_t i = 0; i < commit->count; i++) {
        struct commit_part *part = &commit->parts[i];
        struct buffer sql = BUFFER_INIT(SQL_MOST);
        const struct buffer *kept = &commit->client->transaction.kept;
        size_t told = part->server->told;
        if (told < kept->size)
            buffer_add(&sql, kept->data + told, kept->size - told);
        buffer_format(&sql,
                      "SELECT pg_catalog.pg_current_xact_id_if_assigned(), pg_catalog.pg_advisory_xact_lock(%" PRId64
                      "), pg_catalog.set_config('synchronous_commit', CASE WHEN "
                      "pg_catalog.current_setting('synchronous_commit') OPERATOR(pg_catalog.=) ANY "
                      "('{off,local,remote_write}') THEN 'on' ELSE "
                      "pg_catalog.current_setting('synchronous_commit') END, true)",
                      gid_lock_key(commit->hex));
        send_query(part, buffer_string(&sql));
        buffer_free(&sql);
    }
}

static void commit_alone(struct commit *commit)
{
    commit->phase = DECIDES;
    if (commit->decider && commit->decider->server)
        send_query(commit->decider, "COMMIT");
}

static void prepare(struct commit *commit)
{
    commit->phase = PREPARES;
    control_point("commit.before_prepare");
    for (size_t i = 0; i < commit->count; i++) {
        struct commit_part *part = &commit->parts[i];
        if (!*part->xid) {
            send_query(part, "COMMIT");
        } else if (is_prepared_kind(part)) {
            struct buffer sql = BUFFER_INIT(4 * GID_SIZE);
            part->state = PART_PREPARED;
            buffer_text(&sql, "PREPARE TRANSACTION ");
            sql_literal(&sql, part->prepared, strlen(part->prepared));
            /* Afterwards the session's own setting shows again. */
            buffer_text(&sql, "; SELECT pg_catalog.current_setting('synchronous_commit')");
            send_query(part, buffer_string(&sql));
            buffer_free(&sql);
        }
    }
}

static void decide(struct commit *commit)
{
    struct buffer sql = BUFFER_INIT(SQL_MOST);
    const char *comma = "";
    commit->phase = DECIDES;
    control_point("commit.prepared");
    buffer_text(&sql, "SELECT mosaic.decide(");
    sql_literal(&sql, commit->gid.base, strlen(commit->gid.base));
    buffer_format(&sql, ", '%s', ARRAY[", commit->gid.xid);
    for (size_t i = 0; i < commit->count; i++) {
        const struct commit_part *part = &commit->parts[i];
        if (!is_prepared_kind(part))
            continue;
        buffer_text(&sql, comma);
        sql_literal(&sql, part->name, strlen(part->name));
        comma = ", ";
    }
    buffer_text(&sql, "]); COMMIT");
    send_query(commit->decider, buffer_string(&sql));
    buffer_free(&sql);
}

static bool is_weak(const char *synchronous_commit)
{
    return !strcmp(synchronous_commit, "off") || !strcmp(synchronous_commit, "local") ||
           !strcmp(synchronous_commit, "remote_write");
}

/* A part that acknowledged it on a weaker setting could lose it in a failover after the word was dropped. */
static void finish_part(struct commit_part *part)
{
    char sql[64];
    if (is_weak(part->setting))
        send_query(part, "SET synchronous_commit = on");
    if (part->server)
        send_named(part, "COMMIT PREPARED ");
    snprintf(sql, sizeof sql, "SET synchronous_commit = %s", part->setting);
    if (part->server && is_weak(part->setting))
        send_query(part, sql);
}

static void finish(struct commit *commit)
{
    commit->phase = FINISHES;
    commit->committed = true;
    control_point("commit.decided");
    for (size_t i = 0; i < commit->count; i++)
        if (is_prepared_kind(&commit->parts[i]) && commit->parts[i].server)
            finish_part(&commit->parts[i]);
}

static bool parts_have_ended(const struct commit *commit)
{
    bool all = true;
    for (size_t i = 0; i < commit->count; i++)
        all &= !is_prepared_kind(&commit->parts[i]) || commit->parts[i].state == PART_ENDED;
    return all;
}

/* All have acknowledged: the word is not needed any more. Nobody waits for this; what it leaves, recovery drops. */
static void forget(struct commit *commit)
{
    struct commit_part *decider = commit->decider;
    struct server *server = decider ? decider->server : NULL;
    struct buffer sql = BUFFER_INIT(4 * GID_SIZE);
    bool all = server && !commit->is_single && !commit->is_pinned && parts_have_ended(commit);
    control_point("commit.done");
    if (commit->count > 1 && !commit->is_single && !parts_have_ended(commit))
        settle_soon(commit->worker->proxy);
    if (!all)
        return;
    decider->server = NULL;
    server->part = NULL;
    settings_release(server->session);
    server->session = settings_hold(commit->session);
    buffer_text(&sql, "SELECT mosaic.forget(");
    sql_literal(&sql, commit->gid.base, strlen(commit->gid.base));
    buffer_text(&sql, ")");
    if (!server_ask(server, buffer_string(&sql)))
        server_close(server, NULL);
    buffer_free(&sql);
}

/* ---- answers ---- */

static bool name_parts(struct commit *commit)
{
    struct commit_part *decider = commit->decider;
    mosaic_error error;
    if (gid_make(&commit->gid, commit->hex, decider->name, decider->xid, &error) != MOSAIC_OK)
        return false;
    for (size_t i = 0; i < commit->count; i++)
        if (!gid_part_name(&commit->gid, commit->parts[i].name, commit->parts[i].prepared))
            return false;
    return true;
}

static void looked(struct commit *commit)
{
    size_t writers = 0;
    for (size_t i = 0; i < commit->count; i++)
        if (*commit->parts[i].xid) {
            commit->decider = &commit->parts[i]; /* the last one that has written */
            writers++;
        }
    commit->is_single = writers <= 1;
    if (!commit->is_single && commit->is_best_effort) {
        commit->phase = TRIES;
        return;
    }
    if (writers > 1 && !name_parts(commit)) {
        (void)!error_set(&commit->decider->error, MOSAIC_UNSUPPORTED,
                         "the name of a shard cannot stand in the name of a prepared transaction");
        undo(commit, commit->decider);
        return;
    }
    prepare(commit);
}

static bool go_on(struct commit *commit);

static void was_settled(struct settlement *settlement)
{
    struct commit *commit = (struct commit *)(void *)((char *)settlement - offsetof(struct commit, settlement));
    struct commit_part *decider = commit->decider;
    commit->is_sending = true;
    switch (settlement->outcome) {
    case SETTLED_COMMITTED:
        finish(commit);
        break;
    case SETTLED_ABORTED:
        undo(commit, decider);
        break;
    default:
        commit->error = settlement->error;
        error_sqlstate(&commit->error, "08007");
        error_shard(&commit->error, decider->name);
        commit->phase = UNKNOWN;
        break;
    }
    commit->is_sending = false;
    (void)go_on(commit);
}

/* The answer to the COMMIT that decides was lost: it is asked again, on another connection. False: it cannot be. */
static bool ask_again(struct commit *commit)
{
    struct settlement *settlement = &commit->settlement;
    *settlement = (struct settlement){.gid = commit->gid, .worker = commit->worker, .done = was_settled};
    commit->prepared = memory_zeroed(commit->count, sizeof *commit->prepared);
    for (size_t i = 0; commit->prepared && i < commit->count; i++) {
        const struct commit_part *part = &commit->parts[i];
        struct settlement_part *to = &commit->prepared[settlement->part_count];
        if (!is_prepared_kind(part))
            continue;
        memcpy(to->shard, part->name, sizeof to->shard);
        memcpy(to->xid, part->xid, sizeof to->xid);
        settlement->part_count++;
    }
    settlement->parts = commit->prepared;
    commit->phase = ASKS;
    return commit->prepared && settle_ask(commit->worker->proxy, settlement);
}

/* Nobody can say how it ended. */
static void in_doubt(struct commit *commit)
{
    const struct commit_part *decider = commit->decider;
    (void)!error_set(&commit->error, MOSAIC_IN_DOUBT,
                     "the outcome of the transaction is not known: shard %s did not answer its COMMIT", decider->name);
    error_detail(&commit->error, "%s", decider->error.message);
    error_hint(&commit->error, "look whether its rows are there before it is run again");
    error_sqlstate(&commit->error, "08007");
    error_shard(&commit->error, decider->name);
    over(commit);
}

/* False: it is over. */
static bool decided(struct commit *commit)
{
    struct commit_part *decider = commit->decider;
    if (decider && !decider->server && !commit->is_single && ask_again(commit))
        return true;
    if (decider && !decider->server) {
        in_doubt(commit);
        return false;
    }
    if (decider && decider->failed)
        undo(commit, decider);
    else
        finish(commit);
    return true;
}

static void finished(struct commit *commit)
{
    for (size_t i = 0; i < commit->count; i++) {
        struct commit_part *part = &commit->parts[i];
        if (is_prepared_kind(part) && part->server && !part->failed)
            part->state = PART_ENDED;
    }
    control_point("commit.finished");
    forget(commit);
    over(commit);
}

/* The next one commits. False: all have, or it is over for want of one. */
static bool try_next(struct commit *commit)
{
    struct buffer done = BUFFER_INIT(256);
    for (size_t i = 0; i < commit->count; i++) {
        struct commit_part *part = &commit->parts[i];
        if (part->state == PART_OPEN && !part->failed && part->server && part->server->status != 'I') {
            buffer_free(&done);
            send_query(part, "COMMIT");
            buffer_free(&done);
            return true;
        }
        if (part->failed || !part->server) {
            undo(commit, part);
            if (!part->server)
                error_sqlstate(&commit->error, "08007");
            if (done.size) {
                error_detail(&commit->error, "It is committed on %s, and not elsewhere (mosaic.commit is best_effort).",
                             buffer_string(&done));
                error_sqlstate(&commit->error, "08007");
            }
            buffer_free(&done);
            return true;
        }
        buffer_format(&done, "%s%s", done.size ? ", " : "", part->name);
    }
    buffer_free(&done);
    commit->committed = true;
    over(commit);
    return false;
}

static const struct commit_part *first_failed(const struct commit *commit)
{
    for (size_t i = 0; i < commit->count; i++)
        if (commit->parts[i].failed || (!commit->parts[i].server && commit->phase <= PREPARES))
            return &commit->parts[i];
    return NULL;
}

static bool awaits(const struct commit *commit)
{
    bool any = commit->phase == ASKS;
    for (size_t i = 0; i < commit->count; i++)
        any |= commit->parts[i].awaited > 0;
    return any;
}

/* All that was asked is answered: the next step. False: it is over. */
static bool step(struct commit *commit)
{
    const struct commit_part *failed = commit->phase <= PREPARES ? first_failed(commit) : NULL;
    if (failed) {
        undo(commit, failed);
        return true;
    }
    switch (commit->phase) {
    case LOOKS:
        looked(commit);
        return true;
    case PREPARES:
        if (commit->is_single)
            commit_alone(commit);
        else
            decide(commit);
        return true;
    case DECIDES:
        return decided(commit);
    case TRIES:
        return try_next(commit);
    case FINISHES:
        finished(commit);
        return false;
    default:
        over(commit);
        return false;
    }
}

static bool go_on(struct commit *commit)
{
    while (!commit->is_sending && !awaits(commit)) {
        commit->is_sending = true;
        if (!step(commit))
            return false;
        commit->is_sending = false;
    }
    return true;
}

static const char prepare_tag[] = "PREPARE TRANSACTION";

/* What the phase wanted the last command to say. */
static bool is_done(const struct commit_part *part)
{
    const struct commit *commit = part->commit;
    if (commit->phase != PREPARES && commit->phase != DECIDES && commit->phase != TRIES)
        return true;
    if (commit->phase == PREPARES && is_prepared_kind(part))
        return strcmp(part->tag, "SELECT 1") == 0 && part->server->status == 'I';
    return strcmp(part->tag, "COMMIT") == 0;
}

static void hint_at_prepare(struct commit_part *part)
{
    if (part->commit->phase == PREPARES && strcmp(part->error.sqlstate, "55000") == 0)
        error_hint(&part->error,
                   "a commit over several shards needs prepared transactions: set max_prepared_transactions (for "
                   "example to max_connections) on shard %s and restart its server",
                   part->name);
    if (part->commit->phase == DECIDES && strcmp(part->error.sqlstate, "42883") == 0)
        error_hint(&part->error, "run pgmosaic apply: it makes what a commit over several shards needs");
    if (part->commit->phase == DECIDES && strcmp(part->error.sqlstate, "23505") == 0 &&
        strcmp(part->tag, "SELECT 1") != 0) {
        (void)!error_set(&part->error, MOSAIC_SERVER,
                         "the commit stood still for so long that a recovery has rolled the transaction back");
        error_hint(&part->error, "run the transaction again");
        error_sqlstate(&part->error, "40001");
    }
}

void commit_take(struct commit_part *part, const char *message, const struct wire_frame *frame)
{
    struct wire_reader reader = wire_body(message, frame);
    if (frame->type == WIRE_B_COMMAND_COMPLETE) {
        const char *tag = wire_read_text(&reader);
        /* PREPARE of a transaction that had failed says ROLLBACK. */
        if (tag && strcmp(part->tag, "ROLLBACK") != 0)
            copy_text(part->tag, sizeof part->tag, tag, strlen(tag));
        return;
    }
    if (frame->type != WIRE_B_DATA_ROW)
        return;
    uint16_t columns = wire_read16(&reader);
    uint32_t size = wire_read32(&reader);
    const char *bytes = size == UINT32_MAX ? "" : wire_read_bytes(&reader, size);
    if (size == UINT32_MAX)
        size = 0;
    if (part->commit->phase == LOOKS && columns == 3 && bytes)
        copy_text(part->xid, sizeof part->xid, bytes, size);
    else if (part->commit->phase == PREPARES && bytes)
        copy_text(part->setting, sizeof part->setting, bytes, size);
}

/* Of COMMIT PREPARED: there is none any more. Not while another one is about it (55000), which could yet be cut off. */
static bool is_done_already(const char *sqlstate)
{
    return strcmp(sqlstate, "42704") == 0;
}

/* In which state PREPARE, or a COMMIT that comes before the word, has left it. */
static void note_state(struct commit_part *part)
{
    enum phase phase = part->commit->phase;
    if (phase == PREPARES && is_prepared_kind(part) && part->failed && strcmp(part->tag, prepare_tag) != 0)
        part->state = PART_OPEN; /* it was refused, and the server has rolled it back */
    else if ((phase == TRIES || (phase == PREPARES && !*part->xid)) && !part->failed)
        part->state = PART_ENDED;
}

void commit_answered(struct commit_part *part)
{
    struct server *server = part->server;
    const struct commit *commit = part->commit;
    if (server->ours_failed && commit->phase == FINISHES && is_done_already(server->error.sqlstate)) {
        ; /* recovery was there before */
    } else if (server->ours_failed && !part->failed) {
        part->failed = true;
        part->error = server->error;
        hint_at_prepare(part);
    } else if (!part->failed && !is_done(part)) {
        part->failed = true;
        (void)!error_set(&part->error, MOSAIC_SERVER, "the transaction was rolled back on shard %s", part->name);
        error_sqlstate(&part->error, "25P02");
    }
    server->ours_failed = false;
    note_state(part);
    part->awaited--;
    if (commit->phase == PREPARES)
        control_point("commit.prepared_one");
    if (commit->phase == FINISHES)
        control_point("commit.committed_one");
    (void)go_on(part->commit);
}

void commit_part_lost(struct commit_part *part, const mosaic_error *why)
{
    struct commit *commit = part->commit;
    part->server = NULL;
    part->awaited = 0;
    if (why)
        part->error = *why;
    else
        (void)!error_set(&part->error, MOSAIC_UNREACHABLE, "the connection to shard %s was lost", part->name);
    (void)go_on(commit);
}

const void *commit_owner(const struct commit_part *part, uint64_t **number)
{
    struct commit *commit = part->commit;
    *number = commit->client ? &commit->client->transaction.number : &commit->number;
    return commit->client ? (const void *)commit->client : commit;
}

/* ---- its client ---- */

static void take_part(struct commit *commit, struct server *server)
{
    struct commit_part *part = &commit->parts[commit->count++];
    const struct model *model = &commit->worker->world->model;
    part->commit = commit;
    part->server = server;
    part->shard = server->pool->shard;
    snprintf(part->name, sizeof part->name, "%s", model->shards[part->shard].name);
    size_t told = server->told;
    branch_link(commit->client, server);
    commit->client->server = NULL;
    server->client = NULL;
    server->keeper = NULL;
    server->state = SERVER_RESETTING;
    server->part = part;
    server->told = told;
}

static int by_shard(const void *left, const void *right)
{
    const struct server *const *a = left, *const *b = right;
    return ((*a)->pool->shard > (*b)->pool->shard) - ((*a)->pool->shard < (*b)->pool->shard);
}

bool commit_begin(struct client *client)
{
    size_t count = 0;
    mosaic_error error;
    for (struct list *node = client->kept.next; node != &client->kept; node = node->next)
        count++;
    struct commit *commit = memory_zeroed(1, sizeof *commit + count * sizeof *commit->parts);
    struct server **servers = memory_zeroed(count + 1, sizeof *servers);
    if (!commit || !servers || gid_draw(commit->hex, &error) != MOSAIC_OK) {
        memory_free(commit);
        memory_free(servers);
        return false;
    }
    count = 0;
    for (struct list *node = client->kept.next; node != &client->kept; node = node->next) {
        struct server *server = LIST_OWNER(struct server, kept_node, node);
        if (server->status != 'I')
            servers[count++] = server;
    }
    qsort(servers, count, sizeof *servers, by_shard);
    commit->client = client;
    commit->worker = client->worker;
    commit->is_pinned = client->is_pinned;
    commit->is_best_effort = branch_commit_way(client) == COMMIT_BEST_EFFORT;
    commit->session = settings_hold(client->session);
    commit->before = settings_hold(client->transaction.before);
    client->commit = commit;
    commit->worker->commits++;
    for (size_t i = 0; i < count; i++)
        take_part(commit, servers[i]);
    memory_free(servers);
    commit->is_sending = true;
    look(commit);
    commit->is_sending = false;
    (void)go_on(commit);
    return true;
}

bool commit_is_busy(const struct client *client)
{
    return client->commit && client->commit->phase != OVER;
}

bool commit_end(struct client *client, mosaic_error *error)
{
    struct commit *commit = client->commit;
    bool committed = commit->committed;
    *error = commit->error;
    client->commit = NULL;
    free_commit(commit);
    return committed;
}

void commit_leave(struct client *client)
{
    struct commit *commit = client->commit;
    client->commit = NULL;
    if (!commit)
        return;
    commit->client = NULL;
    commit->number = client->transaction.number;
    if (commit->phase == OVER)
        free_commit(commit);
}
