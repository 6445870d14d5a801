#include "proxy/copy_in.h"

#include "base/memory.h"
#include "copy/binary.h"
#include "proxy/proxy.h"

#include <stdlib.h>
#include <string.h>

enum {
    SENT_LEAST = 64 * 1024,     /* bytes of a queue that are sent at once */
    LOG_MOST = 1024 * 1024,     /* bytes, mostly one a row, by which a shard's line is found again; of each */
    LOG_ALL = 16 * 1024 * 1024, /* and of all */
    LOG_LEAST = 64 * 1024,
};

static const char others[] = "a row for another shard was refused";

/* ---- its life ---- */

static size_t power_of_two(size_t size)
{
    size_t power = LOG_LEAST;
    while (power * 2 <= size && power < LOG_MOST)
        power *= 2;
    return power;
}

static bool take_facts(struct copy_in *copy, const struct fact_copy *from)
{
    struct arena *arena = &copy->scatter->arena;
    size_t keys = copy_in_is_sharded(copy) ? copy->table->rule.columns : 0;
    struct fact_copy *to = &copy->fact;
    *to = *from;
    to->format.null_text = arena_string(arena, from->format.null_text ? from->format.null_text : "");
    to->key_fields = arena_copy(arena, from->key_fields, (keys + 1) * sizeof *to->key_fields);
    to->key_modifiers = arena_copy(arena, from->key_modifiers, (keys + 1) * sizeof *to->key_modifiers);
    to->moment_fields = arena_copy(arena, from->moment_fields, (from->moment_count + 1) * sizeof *to->moment_fields);
    if (copy->any_moment)
        to->moment_count = 0;
    copy->has_header = to->has_header;
    copy->splitter.format = to->format;
    return to->format.null_text && to->key_fields && to->key_modifiers && to->moment_fields;
}

static bool make_lists(struct copy_in *copy)
{
    struct arena *arena = &copy->scatter->arena;
    const struct table *table = copy->table;
    copy->rows.rows = arena_allocate(arena, COPY_ROWS_MOST * sizeof *copy->rows.rows);
    copy->rows.keys = arena_allocate(arena, COPY_ROWS_MOST * COPY_WATCHED_MOST * sizeof *copy->rows.keys);
    copy->buckets = arena_zeroed(arena, COPY_ROWS_MOST, sizeof *copy->buckets);
    copy->legs = arena_zeroed(arena, copy->world->model.shard_count, sizeof *copy->legs);
    return copy->rows.rows && copy->rows.keys && copy->buckets && copy->legs &&
           (!table || copy_router_init(&copy->router, &table->rule, (const char *const *)table->columns,
                                       copy->fact.key_modifiers, &copy->fact.format, COPY_ROWS_MOST, arena));
}

struct copy_in *copy_in_new(struct scatter *scatter, const struct plan_write *write, bool any_moment)
{
    size_t count = scatter->leg_count, log = power_of_two(LOG_ALL / count);
    struct copy_in *copy = memory_zeroed(1, sizeof *copy + count * sizeof *copy->each);
    if (!copy)
        return NULL;
    copy->scatter = scatter;
    copy->world = world_hold(scatter->worker->world);
    copy->table = write->target->table;
    copy->name = arena_string(&scatter->arena, write->target->name);
    copy->any_moment = any_moment && write->tags == TAGS_SUM;
    copy->input = BUFFER_INIT(FACT_COPY_ROW_MOST + COPY_FIELDS_MOST * 4 + COPY_READ_MOST);
    copy->own = copy->best = BUFFER_INIT(LEG_ERROR_MOST);
    bool done = copy->name && take_facts(copy, write->copy) && make_lists(copy);
    for (size_t i = 0; i < count; i++) {
        copy->each[i].queue = BUFFER_INIT(FACT_COPY_ROW_MOST + SENT_LEAST + COPY_READ_MOST);
        done = done && line_log_start(&copy->each[i].lines, log);
        if (done)
            copy->legs[scatter->legs[i].shard] = (uint16_t)i;
    }
    if (done && !copy->has_header)
        copy_in_watch_fields(copy);
    if (done)
        return copy;
    copy_in_free(copy);
    return NULL;
}

void copy_in_free(struct copy_in *copy)
{
    if (!copy)
        return;
    for (size_t i = 0; i < copy->scatter->leg_count; i++) {
        buffer_free(&copy->each[i].queue);
        line_log_free(&copy->each[i].lines);
    }
    copy_router_free(&copy->router);
    buffer_free(&copy->input);
    buffer_free(&copy->own);
    buffer_free(&copy->best);
    world_release(copy->world);
    memory_free(copy);
}

/* ---- to the shards ---- */

static void send_bytes(struct leg *leg, const char *bytes, size_t size)
{
    struct server *server = leg->client.server;
    if (!server)
        return; /* lost, as it will be told */
    leg->client.since = leg->client.worker->loop.now;
    COUNT(&leg->client.worker->shards[server->pool->slot], bytes_sent, size);
    if (channel_send(&server->channel, bytes, size))
        return;
    server->channel.readable = true; /* it will see the end */
    loop_again(&leg->client.worker->loop, &server->channel.source);
}

void copy_in_send_queue(struct leg *leg)
{
    struct buffer *queue = &copy_leg_of(leg)->queue;
    if (!queue->size)
        return;
    wire_end(queue, 0);
    send_bytes(leg, queue->data, queue->size);
    if (queue->capacity > COPY_READ_MOST)
        buffer_free(queue);
    else
        buffer_clear(queue);
}

/* False: memory is out, and so it fails. */
bool copy_in_queue(struct leg *leg, const char *bytes, size_t size)
{
    struct buffer *queue = &copy_leg_of(leg)->queue;
    if (!queue->size)
        (void)wire_begin(queue, WIRE_COPY_DATA);
    buffer_add(queue, bytes, size);
    if (buffer_failed(queue))
        return false;
    if (queue->size >= SENT_LEAST)
        copy_in_send_queue(leg);
    return true;
}

void copy_in_end(struct leg *leg, bool with_trailer)
{
    struct buffer out = BUFFER_INIT(64);
    if (with_trailer && !copy_in_queue(leg, (const char *)binary_trailer, sizeof binary_trailer)) {
        copy_in_fail_at_once(leg->scatter->copy_in);
        return;
    }
    copy_in_send_queue(leg);
    wire_empty(&out, WIRE_COPY_DONE);
    send_bytes(leg, buffer_string(&out), out.size);
    buffer_free(&out);
    copy_leg_of(leg)->state = COPY_DONE;
}

static void fail_leg(struct leg *leg, const char *why)
{
    struct buffer out = BUFFER_INIT(TOLD_MOST);
    if (copy_leg_of(leg)->state != COPY_TAKES)
        return;
    copy_in_send_queue(leg);
    size_t at = wire_begin(&out, WIRE_COPY_FAIL);
    wire_text(&out, why);
    wire_end(&out, at);
    send_bytes(leg, buffer_string(&out), out.size);
    buffer_free(&out);
    copy_leg_of(leg)->state = COPY_FAILED;
}

void copy_in_fail(struct copy_in *copy, const char *why)
{
    copy->fails = true;
    buffer_free(&copy->input);
    for (size_t i = 0; i < copy->scatter->leg_count; i++)
        fail_leg(&copy->scatter->legs[i], why ? why : others);
}

/* ---- why it fails ---- */

void copy_in_write_own(struct copy_in *copy, const mosaic_error *error, uint64_t line)
{
    const char *fields[] = {"S", "ERROR", "V", "ERROR", "C", error->sqlstate, "M", error->message};
    struct buffer *out = &copy->own;
    size_t at = wire_begin(out, WIRE_B_ERROR_RESPONSE);
    for (size_t i = 0; i < sizeof fields / sizeof *fields; i += 2) {
        buffer_char(out, *fields[i]);
        wire_text(out, fields[i + 1]);
    }
    if (*error->detail)
        buffer_char(out, 'D'), wire_text(out, error->detail);
    if (*error->hint)
        buffer_char(out, 'H'), wire_text(out, error->hint);
    if (!copy->scatter->spool)
        buffer_format(out, "WCOPY %s, line %llu%c", copy->name, (unsigned long long)line, '\0');
    buffer_char(out, '\0');
    wire_end(out, at);
}

/* By an error of ours: what shards would still say does not count. */
void copy_in_fail_by(struct copy_in *copy, const mosaic_error *error)
{
    copy_in_fail(copy, NULL);
    copy->is_told = true;
    scatter_fail(copy->scatter, error);
}

void copy_in_fail_at_once(struct copy_in *copy)
{
    mosaic_error error;
    error_memory(&error);
    copy_in_fail_by(copy, &error);
}

void copy_in_settle(struct scatter *scatter)
{
    struct copy_in *copy = scatter->copy_in;
    const struct buffer *told = copy->best.size ? &copy->best : &copy->own;
    if (!copy->fails || copy->is_told || !scatter_all_complete(scatter))
        return;
    copy->is_told = true;
    if (told == &copy->own)
        COUNT(scatter->worker->errors, from_proxy[error_class("22000")], 1);
    scatter_fail_by(scatter, buffer_string(told), told->size);
}

/* Is it but the answer to our CopyFail, or says that a row whose shard nobody knows is not this one's? */
static bool is_echo(const struct leg *leg, const char *message, size_t size)
{
    struct wire_frame frame = {.type = WIRE_B_ERROR_RESPONSE, .size = (uint32_t)size};
    struct wire_reader reader = wire_body(message, &frame);
    bool is_stopped = copy_leg_of(leg)->state == COPY_FAILED && !leg->scatter->copy_in->by_client;
    for (char field; (field = (char)wire_read8(&reader));) {
        const char *text = wire_read_text(&reader);
        if ((field == 'C' && is_stopped && strcmp(text, "57014") == 0) ||
            (field == 'n' && leg->scatter->copy_in->own.size && strcmp(text, "mosaic_owner") == 0))
            return true;
    }
    return false;
}

void copy_in_refused(struct leg *leg, const char *message, size_t size, uint64_t line)
{
    struct copy_in *copy = leg->scatter->copy_in;
    bool is_better = !copy->best.size || (line && (!copy->best_line || line < copy->best_line));
    if (!is_echo(leg, message, size) && is_better) {
        buffer_clear(&copy->best);
        buffer_add(&copy->best, message, size);
        copy->best_line = line;
    }
    copy_leg_of(leg)->state = COPY_FAILED;
    if (buffer_failed(&copy->best))
        copy_in_fail_at_once(copy);
    else
        copy_in_fail(copy, NULL);
}

uint64_t copy_in_line(const struct leg *leg, const char *context, size_t *start, size_t *end)
{
    const struct copy_in *copy = leg->scatter->copy_in;
    const struct copy_leg *own = copy_leg_of(leg);
    size_t name = strlen(copy->name);
    for (const char *at = context; at; at = strchr(at, '\n'), at += at ? 1 : 0) {
        if (strncmp(at, "COPY ", 5) != 0 || strncmp(at + 5, copy->name, name) != 0 || at[5 + name] != ',')
            continue;
        const char *rest = at + 5 + name + 1; /* the word for "line" depends on lc_messages */
        rest += strcspn(rest, "0123456789,:\n");
        *start = (size_t)(rest - context);
        *end = *start + strspn(rest, "0123456789");
        uint64_t line = strtoull(rest, NULL, 10);
        return line > own->line ? copy->line + 1 : line ? line_log_find(&own->lines, line) : 0;
    }
    *start = *end = 0;
    return 0;
}

/* ---- of its legs ---- */

void copy_in_begun(struct leg *leg, const char *message, const struct wire_frame *frame)
{
    struct scatter *scatter = leg->scatter;
    struct copy_leg *own = copy_leg_of(leg);
    mosaic_error error;
    own->state = COPY_TAKES;
    if (own->is_unwanted || !scatter->client || scatter->state >= SCATTER_FINISHED) {
        fail_leg(leg, others);
        return;
    }
    if (!scatter->description.size) {
        buffer_add(&scatter->description, message, frame->size);
    } else if (scatter->description.size != frame->size ||
               memcmp(scatter->description.data, message, frame->size) != 0) {
        (void)!error_set(&error, MOSAIC_UNSUPPORTED, "shard %s has other columns than the others", leg->name);
        error_hint(&error, "pgmosaic status shows where definitions differ");
        scatter_fail(scatter, &error);
        return;
    }
    scatter->is_parsed = true;
    for (size_t i = 0; i < scatter->leg_count; i++)
        if (scatter->copy_in->each[i].state != COPY_TAKES)
            return;
    scatter_turn(scatter, SCATTER_HELD);
}

bool copy_in_has_begun(const struct leg *leg)
{
    return copy_leg_of(leg)->state != COPY_WAITS;
}

void copy_in_stop(struct leg *leg)
{
    copy_leg_of(leg)->is_unwanted = true;
    fail_leg(leg, others);
}

bool copy_in_is_sent(const struct copy_in *copy)
{
    return copy->is_over && !copy->fails;
}
