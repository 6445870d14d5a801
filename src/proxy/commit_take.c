/*
 * What the parts of a commit over several shards say.
 */
#include "proxy/commit_part.h"

#include <string.h>

static void copy_text(char *to, size_t size, const char *from, size_t length)
{
    if (length > size - 1)
        length = size - 1;
    memcpy(to, from, length);
    to[length] = '\0';
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
    if (part->commit->phase == PREPARES && is_prepared_kind(part) && strcmp(part->error.sqlstate, "55000") == 0)
        error_hint(&part->error,
                   "a commit over several shards needs prepared transactions: set max_prepared_transactions (for "
                   "example to max_connections) on shard %s and restart its server",
                   part->name);
    if (part->commit->phase == DECIDES && strcmp(part->error.sqlstate, "42883") == 0)
        error_hint(&part->error, "run pgmosaic apply: it makes what a commit over several shards needs");
    if (part->commit->phase == DECIDES && strcmp(part->error.sqlstate, "25006") == 0) {
        (void)!error_set(&part->error, MOSAIC_UNSUPPORTED,
                         "a transaction that has written on several shards cannot be committed as READ ONLY");
        error_detail(&part->error, "That it is committed is written on shard %s, in the transaction itself.",
                     part->name);
        error_hint(&part->error, "leave out SET TRANSACTION READ ONLY, or send it before whatever writes");
        error_sqlstate(&part->error, "0A000");
    }
    if (part->commit->phase == DECIDES && strcmp(part->error.sqlstate, "23505") == 0 &&
        strcmp(part->tag, "SELECT 1") != 0) {
        (void)!error_set(&part->error, MOSAIC_SERVER,
                         "the commit stood still for so long that a recovery has rolled the transaction back");
        error_hint(&part->error, "run the transaction again");
        error_sqlstate(&part->error, "40001");
    }
}

/* "": it is NULL. */
static void take_column(struct wire_reader *reader, char *to, size_t room)
{
    uint32_t size = wire_read32(reader);
    const char *bytes = size == UINT32_MAX ? NULL : wire_read_bytes(reader, size);
    copy_text(to, room, bytes ? bytes : "", bytes ? size : 0);
}

static void take_row(struct commit_part *part, struct wire_reader *reader)
{
    char other[2];
    uint16_t columns = wire_read16(reader);
    if (part->commit->phase == LOOKS && columns == 4) {
        take_column(reader, part->xid, sizeof part->xid);
        take_column(reader, other, sizeof other);
        take_column(reader, other, sizeof other);
        take_column(reader, part->owner, sizeof part->owner);
    } else if (part->commit->phase == PREPARES && columns == 3) {
        take_column(reader, part->setting, sizeof part->setting);
        take_column(reader, part->user, sizeof part->user);
        take_column(reader, part->role, sizeof part->role);
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
    if (frame->type == WIRE_B_DATA_ROW)
        take_row(part, &reader);
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

void part_take_end(struct commit_part *part)
{
    struct server *server = part->server;
    if (server->ours_failed && part->commit->phase == FINISHES && is_done_already(server->error.sqlstate)) {
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
}
