/*
 * What the parts of a commit over several shards are asked.
 */
#include "base/control_point.h"
#include "core/sqlexpr.h"
#include "proxy/commit_part.h"
#include "proxy/proxy.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

void part_ask(struct commit_part *part, const char *sql)
{
    struct server *server = part->server;
    struct buffer query = BUFFER_INIT(COMMIT_SQL_MOST);
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
    part_ask(part, buffer_string(&sql));
    buffer_free(&sql);
}

static void send_role(struct commit_part *part, const char *role)
{
    struct buffer sql = BUFFER_INIT(4 * GID_SIZE);
    buffer_text(&sql, "SELECT pg_catalog.set_config('role', ");
    sql_literal(&sql, role, strlen(role));
    buffer_text(&sql, ", false)");
    part_ask(part, buffer_string(&sql));
    buffer_free(&sql);
}

/* SET LOCAL ROLE has ended with PREPARE: its owner ends it. */
void part_end_prepared(struct commit_part *part, const char *command)
{
    bool is_another = strcmp(part->owner, part->user) != 0;
    if (is_another)
        send_role(part, part->owner);
    if (part->server)
        send_named(part, command);
    if (is_another && part->server)
        send_role(part, part->role);
}

void ask_look(struct commit *commit)
{
    for (size_t i = 0; i < commit->count; i++) {
        struct commit_part *part = &commit->parts[i];
        struct buffer sql = BUFFER_INIT(COMMIT_SQL_MOST);
        const struct buffer *kept = &commit->client->transaction.kept;
        size_t told = part->server->told;
        if (told < kept->size)
            buffer_add(&sql, kept->data + told, kept->size - told);
        buffer_format(&sql,
                      "SELECT pg_catalog.pg_current_xact_id_if_assigned(), pg_catalog.pg_advisory_xact_lock(%" PRId64
                      "), pg_catalog.set_config('synchronous_commit', CASE WHEN "
                      "pg_catalog.current_setting('synchronous_commit') OPERATOR(pg_catalog.=) ANY "
                      "('{off,local,remote_write}') THEN 'on' ELSE "
                      "pg_catalog.current_setting('synchronous_commit') END, true), current_user",
                      gid_lock_key(commit->hex));
        part_ask(part, buffer_string(&sql));
        buffer_free(&sql);
    }
}

void ask_commit_alone(struct commit *commit)
{
    commit->phase = DECIDES;
    if (commit->decider && commit->decider->server)
        part_ask(commit->decider, "COMMIT");
}

void ask_prepare(struct commit *commit)
{
    commit->phase = PREPARES;
    control_point("commit.before_prepare");
    for (size_t i = 0; i < commit->count; i++) {
        struct commit_part *part = &commit->parts[i];
        if (!*part->xid && (commit->readers_first || part->has_held))
            part_ask(part, "COMMIT");
        if (is_prepared_kind(part)) {
            struct buffer sql = BUFFER_INIT(4 * GID_SIZE);
            part->state = PART_PREPARED;
            buffer_text(&sql, "PREPARE TRANSACTION ");
            sql_literal(&sql, part->prepared, strlen(part->prepared));
            /* Afterwards the session's own settings show again. */
            buffer_text(&sql, "; SELECT pg_catalog.current_setting('synchronous_commit'), current_user, "
                              "pg_catalog.current_setting('role')");
            part_ask(part, buffer_string(&sql));
            buffer_free(&sql);
        }
    }
}

void ask_decide(struct commit *commit)
{
    struct buffer sql = BUFFER_INIT(COMMIT_SQL_MOST);
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
    part_ask(commit->decider, buffer_string(&sql));
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
        part_ask(part, "SET synchronous_commit = on");
    if (part->server)
        part_end_prepared(part, "COMMIT PREPARED ");
    snprintf(sql, sizeof sql, "SET synchronous_commit = %s", part->setting);
    if (part->server && is_weak(part->setting))
        part_ask(part, sql);
}

void ask_finish(struct commit *commit)
{
    commit->phase = FINISHES;
    commit->committed = true;
    control_point("commit.decided");
    for (size_t i = 0; i < commit->count; i++) {
        struct commit_part *part = &commit->parts[i];
        if (is_prepared_kind(part) && part->server)
            finish_part(part);
        else if (!*part->xid && part->server && part->server->status != 'I')
            part_ask(part, "COMMIT"); /* not before: others may wait for what it has locked */
    }
}

/* Without its client they go by the reset. */
void ask_close_held(struct commit_part *part)
{
    const struct client *client = part->commit->client;
    const struct cursor_place *place = client ? client->transaction.cursors : NULL;
    for (; place && part->server; place = place->next) {
        struct buffer sql = BUFFER_INIT(COMMIT_SQL_MOST);
        if (!place->is_held || place->server != part->server->number)
            continue;
        buffer_text(&sql, "CLOSE ");
        sql_identifier(&sql, place->name);
        part_ask(part, buffer_string(&sql));
        buffer_free(&sql);
    }
}
