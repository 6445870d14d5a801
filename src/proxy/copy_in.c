#include "proxy/copy_in.h"

#include "base/memory.h"
#include "client/load_lines.h"
#include "copy/binary.h"
#include "copy/router.h"
#include "proxy/proxy.h"
#include "sql/words.h"

#include <stdlib.h>
#include <string.h>

enum {
    ROWS_MOST = 1024,           /* in one go */
    SENT_LEAST = 64 * 1024,     /* bytes of a queue that are sent at once */
    LOG_MOST = 1024 * 1024,     /* bytes, mostly one a row, by which a shard's line is found again; of each */
    LOG_ALL = 16 * 1024 * 1024, /* and of all */
    LOG_LEAST = 64 * 1024,
    READ_MOST = 256 * 1024, /* bytes of the client's that come before they are looked at */
};

enum state {
    LEG_WAITS, /* for CopyInResponse */
    LEG_TAKES,
    LEG_DONE,   /* CopyDone was sent */
    LEG_FAILED, /* CopyFail was; or it has refused a row */
};

struct copy_leg {
    enum state state;
    bool is_unwanted;
    struct buffer queue; /* a CopyData in the making */
    struct line_log lines;
    uint64_t line; /* so many it has */
};

struct copy_in {
    struct scatter *scatter;
    struct world *world; /* held: the rule and the map are its own */
    const struct table *table;
    const char *name; /* of the relation */
    struct fact_copy fact;
    struct copy_splitter splitter;
    struct copy_router router;
    struct copy_rows rows;
    uint32_t *buckets;
    uint16_t *legs; /* of each shard of the model */
    struct buffer input;
    size_t wanted;    /* bytes of input, before it is split again */
    uint64_t line;    /* of the client's, as PostgreSQL counts them */
    bool any_moment;  /* 'now' may be each shard's own */
    bool has_header;  /* that one is still to come */
    bool has_started; /* binary: the shards have the header */
    bool is_over;     /* the client has said CopyDone or CopyFail */
    bool by_client;   /* CopyFail */
    bool fails;       /* all that is left is to find out what is told */
    bool is_told;
    struct buffer own;  /* an ErrorResponse: why, if no shard says so */
    struct buffer best; /* a shard's */
    uint64_t best_line;
    struct copy_leg each[];
};

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
    size_t keys = copy->table->kind == TABLE_SHARDED ? copy->table->rule.columns : 0;
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

/* What is looked for in rows: their keys, then what may be a moment. */
static void watch_fields(struct copy_in *copy)
{
    size_t fields[COPY_WATCHED_MOST];
    size_t keys = copy->table->kind == TABLE_SHARDED ? copy->table->rule.columns : 0;
    memcpy(fields, copy->fact.key_fields, keys * sizeof *fields);
    memcpy(fields + keys, copy->fact.moment_fields, copy->fact.moment_count * sizeof *fields);
    copy_splitter_columns(&copy->splitter, copy->fact.fields, fields, keys + copy->fact.moment_count);
}

static bool make_lists(struct copy_in *copy)
{
    struct arena *arena = &copy->scatter->arena;
    const struct table *table = copy->table;
    copy->rows.rows = arena_allocate(arena, ROWS_MOST * sizeof *copy->rows.rows);
    copy->rows.keys = arena_allocate(arena, ROWS_MOST * COPY_WATCHED_MOST * sizeof *copy->rows.keys);
    copy->buckets = arena_zeroed(arena, ROWS_MOST, sizeof *copy->buckets);
    copy->legs = arena_zeroed(arena, copy->world->model.shard_count, sizeof *copy->legs);
    return copy->rows.rows && copy->rows.keys && copy->buckets && copy->legs &&
           copy_router_init(&copy->router, &table->rule, (const char *const *)table->columns, copy->fact.key_modifiers,
                            &copy->fact.format, ROWS_MOST, arena);
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
    copy->input = BUFFER_INIT(FACT_COPY_ROW_MOST + COPY_FIELDS_MOST * 4 + READ_MOST);
    copy->own = copy->best = BUFFER_INIT(TOLD_MOST);
    bool done = copy->name && take_facts(copy, write->copy) && make_lists(copy);
    for (size_t i = 0; i < count; i++) {
        copy->each[i].queue = BUFFER_INIT(FACT_COPY_ROW_MOST + SENT_LEAST + READ_MOST);
        done = done && line_log_start(&copy->each[i].lines, log);
        if (done)
            copy->legs[scatter->legs[i].shard] = (uint16_t)i;
    }
    if (done && !copy->has_header)
        watch_fields(copy);
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

static struct copy_leg *of(const struct leg *leg)
{
    return &leg->scatter->copy_in->each[leg->number];
}

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

static void send_queue(struct leg *leg)
{
    struct buffer *queue = &of(leg)->queue;
    if (!queue->size)
        return;
    wire_end(queue, 0);
    send_bytes(leg, queue->data, queue->size);
    if (queue->capacity > READ_MOST)
        buffer_free(queue);
    else
        buffer_clear(queue);
}

/* False: memory is out, and so it fails. */
static bool queue_bytes(struct leg *leg, const char *bytes, size_t size)
{
    struct buffer *queue = &of(leg)->queue;
    if (!queue->size)
        (void)wire_begin(queue, WIRE_COPY_DATA);
    buffer_add(queue, bytes, size);
    if (buffer_failed(queue))
        return false;
    if (queue->size >= SENT_LEAST)
        send_queue(leg);
    return true;
}

static void end_leg(struct leg *leg, bool with_trailer)
{
    struct buffer out = BUFFER_INIT(64);
    if (with_trailer)
        (void)queue_bytes(leg, (const char *)binary_trailer, sizeof binary_trailer);
    send_queue(leg);
    wire_empty(&out, WIRE_COPY_DONE);
    send_bytes(leg, buffer_string(&out), out.size);
    buffer_free(&out);
    of(leg)->state = LEG_DONE;
}

static void fail_leg(struct leg *leg, const char *why)
{
    struct buffer out = BUFFER_INIT(TOLD_MOST);
    if (of(leg)->state != LEG_TAKES)
        return;
    send_queue(leg);
    size_t at = wire_begin(&out, WIRE_COPY_FAIL);
    wire_text(&out, why);
    wire_end(&out, at);
    send_bytes(leg, buffer_string(&out), out.size);
    buffer_free(&out);
    of(leg)->state = LEG_FAILED;
}

static void fail_legs(struct copy_in *copy, const char *why)
{
    copy->fails = true;
    buffer_free(&copy->input);
    for (size_t i = 0; i < copy->scatter->leg_count; i++)
        fail_leg(&copy->scatter->legs[i], why);
}

/* ---- why it fails ---- */

static const char others[] = "a row for another shard was refused";

static void write_own(struct copy_in *copy, const mosaic_error *error, uint64_t line)
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
    buffer_format(out, "WCOPY %s, line %llu%c", copy->name, (unsigned long long)line, '\0');
    buffer_char(out, '\0');
    wire_end(out, at);
}

/* By an error of ours: what shards would still say does not count. */
static void fail_at_once(struct copy_in *copy)
{
    mosaic_error error;
    error_memory(&error);
    fail_legs(copy, others);
    copy->is_told = true;
    scatter_fail(copy->scatter, &error);
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
    bool is_stopped = of(leg)->state == LEG_FAILED && !leg->scatter->copy_in->by_client;
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
    of(leg)->state = LEG_FAILED;
    fail_legs(copy, others);
}

uint64_t copy_in_line(const struct leg *leg, const char *context, size_t *start, size_t *end)
{
    const struct copy_in *copy = leg->scatter->copy_in;
    const struct copy_leg *own = of(leg);
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

/* ---- rows ---- */

static uint32_t lines_of(const struct copy_in *copy, const char *bytes, const struct copy_row *row, bool first)
{
    return line_count_of_row(&copy->fact.format, copy->splitter.newline, bytes, row->size - row->newline, first);
}

/* `lines`: of the row, where it is not the first one. */
static bool put_row(struct copy_in *copy, struct leg *leg, const char *bytes, const struct copy_row *row,
                    uint32_t lines)
{
    struct copy_leg *own = of(leg);
    if (own->state != LEG_TAKES)
        return true;
    lines = own->line ? lines : lines_of(copy, bytes, row, true);
    own->line += lines;
    line_log_add(&own->lines, copy->line, lines);
    return queue_bytes(leg, bytes, row->size);
}

static uint32_t count_row(struct copy_in *copy, const char *bytes, const struct copy_row *row)
{
    uint32_t lines = lines_of(copy, bytes, row, false);
    copy->line += copy->line ? lines : lines_of(copy, bytes, row, true);
    return lines;
}

static bool place_everywhere(struct copy_in *copy, const char *bytes, const struct copy_row *row)
{
    uint32_t lines = count_row(copy, bytes, row);
    bool done = true;
    for (size_t i = 0; i < copy->scatter->leg_count; i++)
        done &= put_row(copy, &copy->scatter->legs[i], bytes, row, lines);
    return done;
}

static bool place(struct copy_in *copy, const char *bytes, const struct copy_row *row, uint32_t bucket)
{
    const struct table *table = copy->table;
    if (table->kind != TABLE_SHARDED)
        return place_everywhere(copy, bytes, row);
    uint16_t shard = (table->map ? table->map->owner : table->listed_owners)[bucket];
    return put_row(copy, &copy->scatter->legs[copy->legs[shard]], bytes, row, count_row(copy, bytes, row));
}

/* Some shard is to say what is wrong: these are its last bytes, of so many lines. If it does not, the error is ours. */
static void doom(struct copy_in *copy, const char *bytes, size_t size, uint32_t lines, const mosaic_error *why)
{
    struct scatter *scatter = copy->scatter;
    size_t i = 0;
    bool done = true;
    while (i < scatter->leg_count && copy->each[i].state != LEG_TAKES)
        i++;
    write_own(copy, why, copy->line);
    if (i < scatter->leg_count && bytes) {
        struct leg *leg = &scatter->legs[i];
        copy->each[i].line += lines;
        line_log_add(&copy->each[i].lines, copy->line, lines);
        done = queue_bytes(leg, bytes, size);
        end_leg(leg, false);
    }
    if (!done) {
        fail_at_once(copy);
        return;
    }
    fail_legs(copy, others);
    copy_in_settle(scatter);
}

static void doom_row(struct copy_in *copy, const char *bytes, const struct copy_row *row, const mosaic_error *why)
{
    uint32_t lines = count_row(copy, bytes, row);
    bool is_ours = row->bad == COPY_BAD_LONG || strcmp(why->sqlstate, "0A000") == 0;
    doom(copy, is_ours ? NULL : bytes, row->size, lines, why);
}

static void malformed(const struct copy_row *row, mosaic_error *error)
{
    (void)!error_set(error, row->bad == COPY_BAD_LONG ? MOSAIC_LIMIT : MOSAIC_DATA, "the row has %s",
                     copy_bad_meaning((enum copy_bad)row->bad));
    error_sqlstate(error, row->bad == COPY_BAD_LONG ? "54000" : "22P04");
}

static bool names_moment(struct copy_in *copy, const char *bytes, const struct copy_slice *slice, mosaic_error *error)
{
    const char *text = bytes + slice->start;
    size_t size = slice->end - slice->start;
    bool may = false, is_null;
    for (size_t i = 0; i < size; i++) /* each of the words has one of these */
        may |= (text[i] | 0x20) == 'w' || (text[i] | 0x20) == 'y' || text[i] == '\\';
    if (!may || !copy_field_value(&copy->fact.format, text, size, &copy->router.keys, &text, &size, &is_null) ||
        !words_name_moment(text, size))
        return false;
    (void)!error_set(error, MOSAIC_UNSUPPORTED, "the row names a moment, which would be another one on each shard");
    error_hint(error, "give the time as a value; or SET mosaic.clock = 'shard'");
    return true;
}

/* False: *why says what is wrong with the i-th row. */
static bool look_at_row(struct copy_in *copy, const char *bytes, size_t i, mosaic_error *why)
{
    const struct copy_row *row = &copy->rows.rows[i];
    const struct copy_slice *slices = copy->rows.keys + i * copy->splitter.key_count;
    bool sharded = copy->table->kind == TABLE_SHARDED;
    if (row->bad) {
        malformed(row, why);
        return false;
    }
    if (sharded && copy_router_row(&copy->router, slices, i, why) != MOSAIC_OK)
        return false;
    for (size_t at = sharded ? copy->table->rule.columns : 0; at < copy->splitter.key_count; at++)
        if (names_moment(copy, bytes, &slices[at], why))
            return false;
    return true;
}

static void take_rows(struct copy_in *copy, const char *bytes)
{
    size_t good = 0;
    mosaic_error why;
    bool done = true;
    copy_router_begin(&copy->router, bytes, copy->buckets);
    while (good < copy->rows.count && look_at_row(copy, bytes, good, &why))
        good++;
    copy_router_end(&copy->router);
    for (size_t i = 0; i < good; i++)
        done &= place(copy, bytes + copy->rows.rows[i].start, &copy->rows.rows[i], copy->buckets[i]);
    if (!done) {
        fail_at_once(copy);
    } else if (good < copy->rows.count) {
        const struct copy_row *row = &copy->rows.rows[good];
        doom_row(copy, bytes + row->start, row, &why);
    }
}

/* The header is every shard's, as it is. */
static void take_header(struct copy_in *copy, const char *bytes)
{
    const struct copy_row *row = copy->rows.rows;
    mosaic_error why;
    if (!copy->rows.count)
        return;
    copy->has_header = false;
    if (row->bad) {
        malformed(row, &why);
        doom_row(copy, bytes + row->start, row, &why);
        return;
    }
    watch_fields(copy);
    if (!place_everywhere(copy, bytes + row->start, row))
        fail_at_once(copy);
}

static void start_binary(struct copy_in *copy)
{
    bool done = true;
    copy->has_started = true;
    for (size_t i = 0; i < copy->scatter->leg_count; i++)
        if (copy->each[i].state == LEG_TAKES)
            done &= queue_bytes(&copy->scatter->legs[i], (const char *)binary_header, sizeof binary_header);
    if (!done)
        fail_at_once(copy);
}

/* What no row can be made of. */
static void take_broken(struct copy_in *copy, const char *bytes, size_t size)
{
    mosaic_error why;
    (void)!error_set(&why, MOSAIC_DATA, "%s", copy->splitter.broken);
    error_sqlstate(&why, "22P04");
    if (copy->splitter.ended) { /* there is more behind the trailer */
        for (size_t i = 0; i < copy->scatter->leg_count; i++)
            if (copy->each[i].state == LEG_TAKES)
                (void)queue_bytes(&copy->scatter->legs[i], (const char *)binary_trailer, sizeof binary_trailer);
    }
    copy->line++;
    doom(copy, bytes, size < READ_MOST ? size : READ_MOST, 1, &why);
}

/* Splits what there is once; *used bytes are done with. False: nothing more is to be had of it now. */
static bool split(struct copy_in *copy, const char *bytes, size_t size, bool at_end, size_t *used)
{
    bool binary = copy->fact.format.kind == MOSAIC_BINARY, is_header = copy->has_header;
    *used = size;
    if (copy->splitter.ended && !binary)
        return false; /* as PostgreSQL reads over what stands behind the end marker */
    copy->rows.capacity = is_header ? 1 : ROWS_MOST;
    enum copy_result result = copy_split(&copy->splitter, bytes, size, at_end, &copy->rows, used);
    if (binary && copy->splitter.started && !copy->has_started)
        start_binary(copy);
    if (is_header)
        take_header(copy, bytes);
    else
        take_rows(copy, bytes);
    if (copy->fails || (result == COPY_BROKEN && at_end && copy->has_started && *used == size))
        return false; /* in binary the trailer may be missing */
    if (result == COPY_BROKEN)
        take_broken(copy, bytes + *used, size - *used);
    return result == COPY_FULL || (result == COPY_END && *used < size);
}

static void work(struct copy_in *copy, bool at_end)
{
    size_t done = 0, used;
    bool more = at_end || copy->input.size >= copy->wanted;
    if (!more)
        return;
    while (more && !copy->fails) {
        const char *bytes = buffer_string(&copy->input) + done;
        more = split(copy, bytes, copy->input.size - done, at_end, &used);
        done += used;
    }
    if (copy->fails)
        return;
    size_t left = copy->input.size - done, most = FACT_COPY_ROW_MOST + COPY_FIELDS_MOST * 4 + 64;
    if (left)
        memmove(copy->input.data, copy->input.data + done, left);
    copy->input.size = left;
    if (copy->input.data)
        copy->input.data[left] = '\0';
    if (!left && copy->input.capacity > READ_MOST * 2)
        buffer_free(&copy->input);
    /* A row that grows bit by bit is looked at again when it has doubled, or is too long. */
    copy->wanted = left < most / 2 ? left * 2 : left < most ? most : left + 1;
}

/* ---- of its legs ---- */

void copy_in_begun(struct leg *leg, const char *message, const struct wire_frame *frame)
{
    struct scatter *scatter = leg->scatter;
    struct copy_leg *own = of(leg);
    mosaic_error error;
    own->state = LEG_TAKES;
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
        if (scatter->copy_in->each[i].state != LEG_TAKES)
            return;
    scatter_turn(scatter, SCATTER_HELD);
}

bool copy_in_has_begun(const struct leg *leg)
{
    return of(leg)->state != LEG_WAITS;
}

void copy_in_stop(struct leg *leg)
{
    of(leg)->is_unwanted = true;
    fail_leg(leg, others);
}

bool copy_in_is_sent(const struct copy_in *copy)
{
    return copy->is_over && !copy->fails;
}

/* ---- of its client ---- */

bool scatter_copies_in(const struct scatter *scatter)
{
    return scatter->copy_in != NULL;
}

bool scatter_takes_data(const struct scatter *scatter)
{
    return scatter->copy_in && scatter->state == SCATTER_RUNNING && !scatter->copy_in->is_over;
}

bool scatter_has_room(const struct scatter *scatter)
{
    for (size_t i = 0; i < scatter->leg_count; i++) {
        const struct server *server = scatter->legs[i].client.server;
        if (scatter->copy_in->each[i].state == LEG_TAKES && server && channel_stuck(&server->channel))
            return false;
    }
    return true;
}

void scatter_take_data(struct scatter *scatter, const char *bytes, size_t size)
{
    struct copy_in *copy = scatter->copy_in;
    if (copy->fails)
        return;
    buffer_add(&copy->input, bytes, size);
    if (buffer_failed(&copy->input))
        fail_at_once(copy);
    else if (copy->input.size >= READ_MOST / 2)
        work(copy, false);
}

void scatter_pass_data(struct scatter *scatter)
{
    struct copy_in *copy = scatter->copy_in;
    if (!copy->fails)
        work(copy, false);
    for (size_t i = 0; i < scatter->leg_count && !copy->fails && !scatter->client->channel.readable; i++)
        if (copy->each[i].state == LEG_TAKES)
            send_queue(&scatter->legs[i]);
}

void scatter_end_data(struct scatter *scatter, const char *why)
{
    struct copy_in *copy = scatter->copy_in;
    copy->is_over = true;
    if (copy->fails)
        return;
    if (why) {
        copy->wanted = 0;
        work(copy, false);
        copy->by_client = !copy->fails;
        fail_legs(copy, why);
        return;
    }
    work(copy, true);
    for (size_t i = 0; i < scatter->leg_count && !copy->fails; i++)
        if (copy->each[i].state == LEG_TAKES)
            end_leg(&scatter->legs[i], copy->fact.format.kind == MOSAIC_BINARY);
}
