#include "client/call.h"

#include "base/memory.h"
#include "client/acquire.h"
#include "client/statement.h"

#include <poll.h>

enum {
    ROWS_A_STEP = 1000, /* a shard that sends fast does not keep the others, or an event loop, waiting */
    MOVES_MOST = 8,     /* a key that moves more often during one call is not worth following */
    FEW = 8,            /* entries of a poll without an allocation */
};

enum part_state { PART_CLAIMING, PART_SENDING, PART_READING, PART_DONE };

struct part {
    size_t shard;
    enum part_state state;
    struct claim claim;
    struct lease *lease; /* once claimed */
    PGresult *last;      /* the last result, or the first failure */
    bool more;           /* libpq holds rows that were not looked at */
};

struct mosaic_call {
    struct arena arena;
    mosaic_cluster *cluster;
    mosaic_statement statement;
    int64_t deadline;
    mosaic_status status; /* AGAIN while in flight */
    mosaic_error error;

    const char *table; /* keyed; else NULL */
    mosaic_key key;
    uint64_t epoch; /* of the map that the shard was found by */
    int moves;
    bool refreshing; /* after an ownership violation */
    uint64_t ticket;

    struct part *parts;
    size_t part_count;
    bool scattered;
    struct scatter scatter;
    PGresult *result; /* of one shard */
};

mosaic_status call_timeout(const char *doing, const char *shard, mosaic_error *error)
{
    error_set(error, MOSAIC_TIMEOUT, "the deadline passed while %s", doing);
    error_hint(error, "allow more time, or see what the server is doing (pg_stat_activity)");
    error_shard(error, shard);
    return MOSAIC_TIMEOUT;
}

/* ---- making a call ---------------------------------------------------------------------------------- */

static mosaic_status allocate(mosaic_cluster *cluster, const mosaic_statement *statement, int timeout_ms, size_t parts,
                              enum call_lifetime lifetime, mosaic_call **made, mosaic_error *error)
{
    if (!cluster || !made)
        return error_set(error, MOSAIC_USAGE, "no cluster given, or no place for what is asked for");
    int64_t deadline;
    mosaic_status status = statement_check(statement, error);
    if (status == MOSAIC_OK)
        status = cluster_deadline(cluster, timeout_ms, &deadline, error);
    if (status != MOSAIC_OK)
        return status;
    mosaic_call *call = memory_zeroed(1, sizeof *call);
    if (!call)
        return error_memory(error);
    call->cluster = cluster;
    call->deadline = deadline;
    call->status = MOSAIC_AGAIN;
    call->statement = *statement;
    call->part_count = parts;
    call->parts = arena_zeroed(&call->arena, parts, sizeof *call->parts);
    bool copied = lifetime == CALL_BORROWS || statement_copy(&call->arena, statement, &call->statement);
    if (!call->parts || !copied) {
        arena_free(&call->arena);
        memory_free(call);
        return error_memory(error);
    }
    *made = call;
    return MOSAIC_OK;
}

static void start_part(mosaic_call *call, struct part *part, size_t shard)
{
    part->shard = shard;
    part->state = PART_CLAIMING;
    claim_start(&part->claim, call->cluster, shard);
}

static mosaic_status locate(mosaic_call *call, size_t *shard, mosaic_error *error)
{
    mosaic_place place = {0};
    struct snapshot *snapshot = cluster_snapshot(call->cluster);
    mosaic_status status = cluster_locate(&snapshot->model, call->table, call->key, &place, error);
    call->epoch = snapshot->model.epoch;
    snapshot_release(snapshot);
    *shard = place.shard;
    return status;
}

mosaic_status call_new_keyed(mosaic_cluster *cluster, const char *table, mosaic_key key,
                             const mosaic_statement *statement, int timeout_ms, enum call_lifetime lifetime,
                             mosaic_call **made, mosaic_error *error)
{
    mosaic_call *call = NULL;
    size_t shard = 0;
    if (!table)
        return error_set(error, MOSAIC_USAGE, "no table given");
    mosaic_status status = allocate(cluster, statement, timeout_ms, 1, lifetime, &call, error);
    if (status != MOSAIC_OK)
        return status;
    call->table = table;
    call->key = key;
    status = locate(call, &shard, error); /* first: it says what is wrong with a key that can't be copied */
    if (status == MOSAIC_OK && lifetime == CALL_COPIES) {
        call->table = arena_string(&call->arena, table);
        if (!call->table || !statement_copy_key(&call->arena, key, &call->key))
            status = error_memory(error);
    }
    if (status != MOSAIC_OK) {
        arena_free(&call->arena);
        memory_free(call);
        return status;
    }
    start_part(call, &call->parts[0], shard);
    *made = call;
    return MOSAIC_OK;
}

mosaic_status call_new_shard(mosaic_cluster *cluster, size_t shard, const mosaic_statement *statement, int timeout_ms,
                             enum call_lifetime lifetime, mosaic_call **call, mosaic_error *error)
{
    mosaic_status status = acquire_check_shard(cluster, shard, error);
    if (status == MOSAIC_OK)
        status = allocate(cluster, statement, timeout_ms, 1, lifetime, call, error);
    if (status == MOSAIC_OK)
        start_part(*call, &(*call)->parts[0], shard);
    return status;
}

mosaic_status call_new_all(mosaic_cluster *cluster, const mosaic_statement *statement, const mosaic_scatter *scatter,
                           enum call_lifetime lifetime, mosaic_call **made, mosaic_error *error)
{
    mosaic_call *call = NULL;
    mosaic_status status = allocate(cluster, statement, scatter ? scatter->timeout_ms : 0, mosaic_shard_count(cluster),
                                    lifetime, &call, error);
    if (status != MOSAIC_OK)
        return status;
    call->scattered = true;
    status = scatter_init(&call->scatter, &call->arena, scatter, &call->statement, call->part_count, error);
    if (status != MOSAIC_OK) {
        arena_free(&call->arena);
        memory_free(call);
        return status;
    }
    for (size_t i = 0; i < call->part_count; i++) {
        start_part(call, &call->parts[i], i);
        call->scatter.streams[i].shard = i;
        call->scatter.streams[i].name = mosaic_shard_name(cluster, i);
    }
    *made = call;
    return MOSAIC_OK;
}

/* ---- the end of a part, and of a call --------------------------------------------------------------- */

static void leave_part(struct part *part, bool hurry)
{
    claim_abandon(&part->claim);
    PQclear(part->last);
    part->last = NULL;
    if (part->lease)
        pool_reap(part->lease, hurry);
    part->lease = NULL;
    part->state = PART_DONE;
}

/* Ends the call with call->error for a failure. What still runs is cancelled; at once, unless it was merely not needed.
 */
static mosaic_status end_call(mosaic_call *call, mosaic_status status)
{
    bool hurry = status != MOSAIC_OK && status != MOSAIC_STOPPED;
    for (size_t i = 0; i < call->part_count; i++)
        if (call->parts[i].state != PART_DONE)
            leave_part(&call->parts[i], hurry);
    if (call->scattered)
        scatter_free(&call->scatter);
    return call->status = status;
}

static mosaic_status refuse_copy(mosaic_call *call, const struct part *part)
{
    error_set(&call->error, MOSAIC_UNSUPPORTED, "COPY cannot run as a statement of the library");
    error_hint(&call->error, "load with mosaic_load_table, or take a connection with mosaic_acquire");
    return error_shard(&call->error, part->claim.pool->name);
}

/*
 * A statement that leaves a transaction open has not done what its success says: the connection goes back to the pool,
 * and all is rolled back.
 */
static mosaic_status refuse_transaction(mosaic_call *call, const struct part *part)
{
    error_set(&call->error, MOSAIC_USAGE, "the statement left a transaction open, which was rolled back");
    error_hint(&call->error, "use mosaic_begin, or take a connection with mosaic_acquire");
    return error_shard(&call->error, part->claim.pool->name);
}

static bool is_failure(const PGresult *result)
{
    ExecStatusType status = PQresultStatus(result);
    return status == PGRES_FATAL_ERROR || status == PGRES_BAD_RESPONSE || status == PGRES_NONFATAL_ERROR;
}

/* The statement has ended on this part: the connection goes back, its outcome is judged. */
static mosaic_status finish_part(mosaic_call *call, size_t number)
{
    struct part *part = &call->parts[number];
    struct lease *lease = part->lease;
    mosaic_status status = MOSAIC_OK;
    if (!part->last || is_failure(part->last))
        status = pq_result_error(lease->connection, part->last, part->claim.pool->name, &call->error);
    else if (PQtransactionStatus(lease->connection) != PQTRANS_IDLE)
        status = refuse_transaction(call, part);
    part->lease = NULL;
    part->state = PART_DONE;
    pool_give(lease);
    PGresult *last = part->last;
    part->last = NULL;
    if (status == MOSAIC_OK && call->scattered)
        status = scatter_end(&call->scatter, number, last, &call->error);
    else if (status == MOSAIC_OK) {
        call->result = last;
        last = NULL;
    }
    PQclear(last);
    return status;
}

/* ---- steps of a part -------------------------------------------------------------------------------- */

/* The map changed while the connection was being made: the key may live elsewhere now. */
static mosaic_status follow_key(mosaic_call *call, struct part *part)
{
    size_t shard;
    mosaic_status status = locate(call, &shard, &call->error);
    if (status != MOSAIC_OK || shard == part->shard)
        return status;
    claim_abandon(&part->claim);
    if (++call->moves > MOVES_MOST)
        return error_set(&call->error, MOSAIC_STALE, "the key moved %d times while the call waited", MOVES_MOST);
    start_part(call, part, shard);
    return MOSAIC_AGAIN;
}

static mosaic_status send_statement(mosaic_call *call, struct part *part)
{
    const mosaic_statement *statement = &call->statement;
    part->lease = claim_take(&part->claim);
    part->lease->dirty = statement_marks_session(statement->sql);
    part->state = PART_SENDING;
    PGconn *connection = part->lease->connection;
    int sent = PQsendQueryParams(connection, statement->sql, statement->count, statement->types, statement->values,
                                 statement->lengths, statement->formats, statement->result_format);
    if (!sent || (call->scattered && !PQsetSingleRowMode(connection)))
        return pq_result_error(connection, NULL, part->claim.pool->name, &call->error);
    return MOSAIC_OK;
}

static mosaic_status step_claim(mosaic_call *call, struct part *part)
{
    mosaic_status status = claim_step(&part->claim, &call->error);
    if (status == MOSAIC_OK && call->table && call->epoch != atomic_load(&call->cluster->epoch))
        status = follow_key(call, part);
    return status == MOSAIC_OK ? send_statement(call, part) : status;
}

/* One result of libpq, or NULL at the end of the statement. OK: there may be another. */
static mosaic_status take_result(mosaic_call *call, size_t number, PGresult *result)
{
    struct part *part = &call->parts[number];
    ExecStatusType kind = PQresultStatus(result);
    if (!result)
        return finish_part(call, number);
    if (kind == PGRES_SINGLE_TUPLE)
        return scatter_row(&call->scatter, number, result, &call->error);
    if (part->last && is_failure(part->last)) {
        PQclear(result); /* the first failure tells most */
    } else {
        PQclear(part->last);
        part->last = result;
    }
    if (kind == PGRES_COPY_IN || kind == PGRES_COPY_OUT || kind == PGRES_COPY_BOTH)
        return refuse_copy(call, part);
    return MOSAIC_OK;
}

static mosaic_status read_results(mosaic_call *call, size_t number)
{
    struct part *part = &call->parts[number];
    int rows = 0;
    part->more = false;
    while (part->state == PART_READING && !PQisBusy(part->lease->connection)) {
        if (call->scattered && !scatter_wants(&call->scatter, number))
            return MOSAIC_OK; /* stepped again once its row is handed out */
        if (++rows > ROWS_A_STEP) {
            part->more = true;
            return MOSAIC_OK;
        }
        mosaic_status status = take_result(call, number, PQgetResult(part->lease->connection));
        if (status != MOSAIC_OK)
            return status;
    }
    return MOSAIC_OK;
}

static mosaic_status lost(mosaic_call *call, const struct part *part)
{
    return pq_result_error(part->lease->connection, NULL, part->claim.pool->name, &call->error);
}

/* `ready`: the socket may have something. */
static mosaic_status step_part(mosaic_call *call, size_t number, bool ready)
{
    struct part *part = &call->parts[number];
    if (part->state == PART_CLAIMING) {
        mosaic_status status = step_claim(call, part);
        if (status != MOSAIC_OK)
            return status == MOSAIC_AGAIN ? MOSAIC_OK : status;
        ready = true;
    }
    if (part->state == PART_SENDING) {
        int left = PQflush(part->lease->connection);
        if (left < 0)
            return lost(call, part);
        if (left == 0)
            part->state = PART_READING;
        else if (!PQconsumeInput(part->lease->connection)) /* a server that is not read would not read either */
            return lost(call, part);
    }
    if (part->state != PART_READING)
        return MOSAIC_OK;
    if (ready && PQisBusy(part->lease->connection) && !PQconsumeInput(part->lease->connection))
        return lost(call, part);
    return read_results(call, number);
}

/* ---- steps of a call -------------------------------------------------------------------------------- */

/*
 * The shard says that it does not own the row: our map is old. Nothing was done, where the statement can't have
 * committed anything by itself; so it may run again where the key lives now.
 */
static bool may_follow(const mosaic_call *call, mosaic_status status)
{
    return status == MOSAIC_OWNERSHIP && call->table && call->moves == 0 && !call->refreshing &&
           statement_kind(call->statement.sql) == STATEMENT_DATA;
}

static mosaic_status step_refresh(mosaic_call *call)
{
    mosaic_error ignored;
    size_t shard;
    mosaic_status status = cluster_refreshed(call->cluster, call->ticket, &ignored);
    if (status == MOSAIC_AGAIN)
        return status;
    call->refreshing = false;
    call->moves++;
    struct part *part = &call->parts[0];
    /* call->error still says what the shard said: the answer, if the key has not moved. */
    if (status != MOSAIC_OK || locate(call, &shard, &ignored) != MOSAIC_OK || shard == part->shard)
        return end_call(call, MOSAIC_OWNERSHIP);
    start_part(call, part, shard);
    return MOSAIC_AGAIN;
}

static mosaic_status fail_part(mosaic_call *call, size_t number, mosaic_status status)
{
    struct part *part = &call->parts[number];
    bool hurry = status != MOSAIC_STOPPED;
    if (part->state != PART_DONE)
        leave_part(part, hurry);
    if (status == MOSAIC_STOPPED)
        return end_call(call, scatter_is_full(&call->scatter) ? MOSAIC_OK : MOSAIC_STOPPED);
    if (!may_follow(call, status))
        return end_call(call, status);
    call->refreshing = true;
    call->ticket = cluster_refresh_begin(call->cluster);
    return MOSAIC_AGAIN;
}

/* A part may only queue for a place when all before it have theirs. */
static bool may_claim(const mosaic_call *call, size_t number)
{
    const struct part *before = number ? &call->parts[number - 1] : NULL;
    return !before || before->state != PART_CLAIMING || claim_has_place(&before->claim);
}

static bool part_io(const mosaic_call *call, size_t number, mosaic_io *io)
{
    const struct part *part = &call->parts[number];
    switch (part->state) {
    case PART_CLAIMING:
        return claim_io(&part->claim, io);
    case PART_SENDING:
    case PART_READING:
        if (call->scattered && !scatter_wants(&call->scatter, number))
            return false;
        *io = (mosaic_io){
            .fd = PQsocket(part->lease->connection), .want_read = true, .want_write = part->state == PART_SENDING};
        return io->fd >= 0;
    case PART_DONE:
        break;
    }
    return false;
}

static bool is_over(const mosaic_call *call)
{
    for (size_t i = 0; i < call->part_count; i++)
        if (call->parts[i].state != PART_DONE)
            return false;
    return true;
}

/* One system call for all sockets is cheaper than one read for each that has nothing. */
static bool is_readable(const mosaic_call *call, size_t number)
{
    mosaic_io io;
    if (call->part_count == 1 || !part_io(call, number, &io))
        return true;
    struct pollfd ready = {.fd = io.fd, .events = POLLIN};
    return poll(&ready, 1, 0) != 0;
}

static mosaic_status step_parts(mosaic_call *call, bool look)
{
    for (size_t i = 0; i < call->part_count && call->status == MOSAIC_AGAIN; i++) {
        if (call->parts[i].state == PART_DONE || !may_claim(call, i))
            continue;
        mosaic_status status = step_part(call, i, look && is_readable(call, i));
        if (status != MOSAIC_OK)
            return fail_part(call, i, status);
    }
    return is_over(call) ? end_call(call, MOSAIC_OK) : call->status;
}

/* A row that was handed out in this step lets its stream go on, which may let others: until none has anything at hand.
 */
static bool has_more(const mosaic_call *call)
{
    for (size_t i = 0; i < call->part_count; i++) {
        const struct part *part = &call->parts[i];
        if (part->state != PART_READING)
            continue;
        bool wants = !call->scattered || scatter_wants(&call->scatter, i);
        if (part->more || (wants && !PQisBusy(part->lease->connection)))
            return true;
    }
    return false;
}

/* Looks at the sockets once, then goes on with what libpq has read, for a while. */
static mosaic_status step_statement(mosaic_call *call)
{
    uint64_t enough = call->scatter.handed_out + ROWS_A_STEP;
    mosaic_status status = step_parts(call, true);
    while (status == MOSAIC_AGAIN && !call->refreshing && has_more(call) && call->scatter.handed_out < enough)
        status = step_parts(call, false);
    return status;
}

static const char *waits_for(const mosaic_call *call, const char **shard)
{
    *shard = NULL;
    for (size_t i = 0; i < call->part_count; i++) {
        const struct part *part = &call->parts[i];
        if (part->state == PART_DONE)
            continue;
        *shard = part->claim.pool->name;
        if (part->state != PART_CLAIMING)
            return "waiting for the answer to a statement";
        return claim_doing(&part->claim);
    }
    return "reading the map again";
}

mosaic_status mosaic_call_step(mosaic_call *call, mosaic_error *error)
{
    if (!call)
        return error_set(error, MOSAIC_USAGE, "no call given");
    if (call->status == MOSAIC_AGAIN) {
        const char *shard;
        mosaic_status status = call->refreshing ? step_refresh(call) : step_statement(call);
        if (status == MOSAIC_AGAIN && pq_now_ms() >= call->deadline) {
            const char *doing = waits_for(call, &shard);
            end_call(call, call_timeout(doing, shard, &call->error));
        }
    }
    if (error && call->status != MOSAIC_OK && call->status != MOSAIC_AGAIN)
        *error = call->error;
    return call->status;
}

/* ---- waiting ---------------------------------------------------------------------------------------- */

size_t mosaic_call_io(const mosaic_call *call, mosaic_io *io, size_t capacity)
{
    size_t count = 0;
    if (!call || call->status != MOSAIC_AGAIN)
        return 0;
    for (size_t i = 0; i < call->part_count; i++) {
        mosaic_io entry;
        if (!part_io(call, i, &entry))
            continue;
        if (count < capacity)
            io[count] = entry;
        count++;
    }
    return count;
}

static int64_t wake_of(const mosaic_call *call)
{
    int64_t wake = call->deadline;
    if (call->status != MOSAIC_AGAIN || has_more(call))
        return 0;
    if (call->refreshing)
        wake = pq_now_ms() + REFRESH_LOOK_MS;
    for (size_t i = 0; i < call->part_count; i++) {
        const struct part *part = &call->parts[i];
        if (part->state != PART_CLAIMING || !may_claim(call, i))
            continue;
        int64_t wanted = claim_wake(&part->claim);
        wake = wanted < wake ? wanted : wake;
    }
    return wake;
}

int mosaic_call_wait_ms(const mosaic_call *call)
{
    return call ? pq_left_ms(wake_of(call)) : 0;
}

static mosaic_status wait_for(mosaic_call *call)
{
    mosaic_io few[FEW];
    size_t count = mosaic_call_io(call, few, FEW);
    mosaic_io *io = count <= FEW ? few : memory_allocate(count * sizeof *io);
    if (!io)
        return error_memory(&call->error);
    if (io != few)
        count = mosaic_call_io(call, io, count);
    mosaic_status status = acquire_poll(io, count, wake_of(call), &call->error);
    if (io != few)
        memory_free(io);
    return status;
}

mosaic_status call_run(mosaic_call *call, mosaic_error *error)
{
    mosaic_status status;
    while ((status = mosaic_call_step(call, error)) == MOSAIC_AGAIN) {
        status = wait_for(call);
        if (status != MOSAIC_OK) {
            end_call(call, status);
            if (error)
                *error = call->error;
            return status;
        }
    }
    return status;
}

PGresult *mosaic_call_take_result(mosaic_call *call)
{
    PGresult *result = call && call->status == MOSAIC_OK ? call->result : NULL;
    if (result)
        call->result = NULL;
    return result;
}

void mosaic_call_free(mosaic_call *call)
{
    if (!call)
        return;
    if (call->status == MOSAIC_AGAIN)
        end_call(call, MOSAIC_INTERRUPTED);
    PQclear(call->result);
    arena_free(&call->arena);
    memory_free(call);
}
