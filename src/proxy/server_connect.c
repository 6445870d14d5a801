/*
 * From a socket to an idle server connection: connecting to one address after the other, login, and the questions that
 * each new connection is asked (is it the shard that it should be, and at which epoch?).
 */
#include "base/memory.h"
#include "engine/engine.h"
#include "proxy/agree.h"
#include "proxy/client.h"
#include "proxy/effect.h"
#include "proxy/login_client.h"
#include "proxy/proxy.h"
#include "proxy/record.h"
#include "proxy/reload.h"
#include "proxy/server.h"
#include "proxy/tls.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { STARTUP_MOST = 8192, QUESTIONS = 2, OTHERS_ASKED = 6 }; /* columns of the second question */

static const struct target *target_of(const struct server *server)
{
    return &server->worker->world->targets[server->pool->shard];
}

static const char *shard_name(const struct server *server)
{
    return server->worker->world->model.shards[server->pool->shard].name;
}

void server_fail_login(struct server *server, const mosaic_error *why)
{
    struct pool *pool = server->pool;
    mosaic_error error = *why;
    if (!*error.shard)
        error_shard(&error, shard_name(server));
    /* Before it is closed: nobody tries again at once. */
    int64_t pause = server->worker->settings->server_login_retry;
    pool->retry_at = server->worker->loop.now + (pause ? pause : 1);
    record_failure(server, &error);
    server_close(server, NULL);
    pool_failed(pool, &error);
}

static void fail_unreachable(struct server *server, const char *what, int code)
{
    mosaic_error error;
    char address[200];
    pq_conninfo_address(server->worker->world->model.shards[server->pool->shard].conninfo, address, sizeof address);
    (void)!error_set(&error, MOSAIC_UNREACHABLE, "shard %s (%s) cannot be reached: %s%s%s", shard_name(server), address,
                     what, code ? ": " : "", code ? strerror(code) : "");
    error_hint(&error, "statements for other shards go on; see that this server runs");
    if (target_of(server)->has_names) /* it may be elsewhere by now */
        reload_ask_addresses(server->worker->proxy->reload);
    server_fail_login(server, &error);
}

/* ---- connecting ---- */

static void timed_out(struct timer *timer)
{
    struct server *server = LIST_OWNER(struct server, timer, timer);
    fail_unreachable(server, server->state == SERVER_CONNECTING ? "connecting took too long" : "login took too long",
                     0);
}

/* Begins with the endpoint; false: this one cannot be. */
static bool try_endpoint(struct server *server, const struct endpoint *endpoint)
{
    int one = 1, family = endpoint->address.ss_family;
    int fd = socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return false;
    if (family != AF_UNIX) {
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
        setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &one, sizeof one);
    }
    channel_close(&server->channel);
    channel_init(&server->channel, &server->worker->loop, fd);
    server->address = endpoint->address;
    server->address_size = endpoint->size;
    if (connect(fd, (const struct sockaddr *)&endpoint->address, endpoint->size) < 0 && errno != EINPROGRESS &&
        errno != EAGAIN)
        return false;
    return channel_watch(&server->channel, true);
}

static void next_endpoint(struct server *server, int why)
{
    const struct target *target = target_of(server);
    while (server->endpoints_tried < target->endpoint_count) {
        server->endpoint = (server->pool->endpoint + server->endpoints_tried++) % target->endpoint_count;
        server->state = SERVER_CONNECTING;
        server->tls_retried = server->awaits_tls = false;
        if (try_endpoint(server, &target->endpoints[server->endpoint]))
            return;
        why = errno;
    }
    fail_unreachable(server, target->endpoint_count ? "connection failed" : "its host has no address", why);
}

/* ---- TLS ---- */

/* Is this try one with TLS? As libpq: allow begins without, prefer with; then the other one. Never on a Unix socket. */
static bool wants_tls(const struct server *server)
{
    const struct target *target = target_of(server);
    enum tls_mode mode = tls_context_mode(target->tls);
    if (target->endpoints[server->endpoint].address.ss_family == AF_UNIX || mode == TLS_DISABLE)
        return false;
    return mode == TLS_ALLOW ? server->tls_retried : mode != TLS_PREFER || !server->tls_retried;
}

/* Tries the same address the other way, where sslmode has one. False: it has none, or it was tried. */
static bool try_other_way(struct server *server)
{
    const struct target *target = target_of(server);
    const struct endpoint *endpoint = &target->endpoints[server->endpoint];
    enum tls_mode mode = tls_context_mode(target->tls);
    if (server->tls_retried || (mode != TLS_ALLOW && mode != TLS_PREFER) || endpoint->address.ss_family == AF_UNIX ||
        (mode == TLS_PREFER && !server->channel.tls))
        return false;
    login_client_free(server->login);
    server->login = NULL;
    server->tls_retried = true;
    server->state = SERVER_CONNECTING;
    return try_endpoint(server, endpoint);
}

static void send_startup(struct server *server)
{
    const struct target *target = target_of(server);
    struct buffer packet = BUFFER_INIT(STARTUP_MOST);
    const char *parameters[16];
    size_t count = 0;
    parameters[count++] = "user";
    parameters[count++] = server->pool->user->account->name;
    parameters[count++] = "database";
    parameters[count++] = target->database;
    parameters[count++] = "client_encoding";
    parameters[count++] = "UTF8";
    if (target->options) {
        parameters[count++] = "options";
        parameters[count++] = target->options;
    }
    parameters[count] = NULL;
    wire_startup_packet(&packet, 0, parameters);
    bool own = strcmp(target->user, server->pool->user->account->name) == 0;
    const struct endpoint *endpoint = &target->endpoints[server->endpoint];
    server->login = login_client_new(server->pool->user->account, own ? endpoint->password : NULL, server->channel.tls,
                                     endpoint->address.ss_family == AF_UNIX);
    bool sent = server->login && !buffer_failed(&packet) && channel_send(&server->channel, packet.data, packet.size);
    buffer_free(&packet);
    if (!sent)
        fail_unreachable(server, "the startup packet could not be sent", 0);
}

static void ask_tls(struct server *server)
{
    struct buffer request = BUFFER_INIT(64);
    wire_ssl_request(&request);
    server->awaits_tls = true;
    bool sent = !buffer_failed(&request) && channel_send(&server->channel, request.data, request.size);
    buffer_free(&request);
    if (!sent)
        fail_unreachable(server, "the request for TLS could not be sent", 0);
}

/* The server's one byte. What comes with it came from whoever is between, and would be taken for the server's. */
static void tls_answered(struct server *server, const char *data, size_t size)
{
    const struct target *target = target_of(server);
    enum tls_mode mode = tls_context_mode(target->tls);
    server->awaits_tls = false;
    if (size > 1 && (*data == 'S' || *data == 'N')) {
        fail_unreachable(server, "it sent bytes behind its answer to the request for TLS", 0);
    } else if (*data == 'S') {
        const char *host = target->endpoints[server->endpoint].host;
        struct tls *tls = tls_new(target->tls, server->channel.fd, host);
        if (!tls) {
            fail_unreachable(server, "TLS could not be begun: its host has no name that can be checked", 0);
            return;
        }
        channel_start_tls(&server->channel, tls);
        send_startup(server);
    } else if (*data == 'N' && mode <= TLS_PREFER) {
        send_startup(server);
    } else {
        fail_unreachable(server, "the server does not do TLS, and its sslmode requires it", 0);
    }
}

static void connected(struct server *server)
{
    int code = 0;
    socklen_t size = sizeof code;
    getsockopt(server->channel.fd, SOL_SOCKET, SO_ERROR, &code, &size);
    if (code != 0)
        next_endpoint(server, code);
    else {
        server->state = SERVER_LOGIN;
        if (wants_tls(server))
            ask_tls(server);
        else
            send_startup(server);
    }
}

/* ---- login ---- */

static void refused(struct server *server, const char *message, const struct wire_frame *frame)
{
    struct wire_error found;
    mosaic_error error;
    if (!wire_read_error(message, frame, &found) || !found.message) {
        fail_unreachable(server, "it answers with a malformed error", 0);
        return;
    }
    (void)!error_set(&error, MOSAIC_AUTH, "%s", found.message);
    if (found.sqlstate && strlen(found.sqlstate) == 5)
        error_sqlstate(&error, found.sqlstate);
    if (found.detail)
        error_detail(&error, "%s", found.detail);
    if (found.hint)
        error_hint(&error, "%s", found.hint);
    /* No rule of pg_hba.conf: there may be one for TLS, or without. */
    if (strcmp(error.sqlstate, "28000") == 0 && try_other_way(server))
        return;
    /* Starting up, shutting down, too many connections: another address may do better. */
    bool another = strncmp(error.sqlstate, "57P", 3) == 0;
    if (another && server->endpoints_tried < target_of(server)->endpoint_count) {
        login_client_free(server->login);
        server->login = NULL;
        next_endpoint(server, 0);
        return;
    }
    server_fail_login(server, &error);
}

/*
 * Of a new session of this role: its settings, and whether lc_monetary is another one than that of the coordinator's
 * sessions here, which are the conninfo's user's.
 */
static const char session_question[] =
    "SELECT pg_catalog.concat_ws(' ', pg_catalog.current_setting('transaction_isolation'), "
    "pg_catalog.current_setting('array_nulls'), pg_catalog.current_setting('xmloption'), "
    "EXISTS (SELECT FROM (SELECT (SELECT c FROM pg_catalog.pg_db_role_setting s, pg_catalog.unnest(s.setconfig) c"
    " WHERE s.setrole = r.oid AND s.setdatabase IN (0, d.oid) AND c LIKE 'lc_monetary=%%'"
    " ORDER BY s.setdatabase DESC LIMIT 1) AS own FROM pg_catalog.pg_roles r, pg_catalog.pg_database d"
    " WHERE d.datname = pg_catalog.current_database() AND r.rolname IN (session_user, %s)) x"
    " HAVING pg_catalog.count(DISTINCT coalesce(own, '')) > 1)), "
    "pg_catalog.current_setting('transaction_read_only'), pg_catalog.pg_is_in_recovery(), "
    "pg_catalog.current_setting('transform_null_equals'), pg_catalog.date_part('epoch', "
    "pg_catalog.current_setting('idle_in_transaction_session_timeout')::pg_catalog.interval), %s";

static void ask_session(const struct server *server, struct buffer *queries)
{
    struct buffer user = BUFFER_INIT(STARTUP_MOST), sql = BUFFER_INIT(STARTUP_MOST);
    settings_quote_text(&user, target_of(server)->user);
    buffer_format(&sql, session_question, buffer_string(&user), agree_question);
    wire_query(queries, buffer_string(&sql));
    if (buffer_failed(&user) || buffer_failed(&sql))
        queries->failed = true;
    buffer_free(&user);
    buffer_free(&sql);
}

/* The questions of a new connection; parsed by check_answer. */
static void begin_check(struct server *server)
{
    const struct engine *engine = engine_of(server->worker->world->model.engine);
    struct buffer queries = BUFFER_INIT(STARTUP_MOST);
    timer_cancel(&server->timer);
    timer_set(&server->worker->loop.timers, &server->timer,
              server->worker->loop.now + server->worker->settings->server_connect_timeout);
    login_client_free(server->login);
    server->login = NULL;
    server->state = SERVER_CHECKING;
    server->check = memory_zeroed(1, sizeof *server->check);
    wire_query(&queries, engine->question);
    ask_session(server, &queries);
    bool sent = server->check && !buffer_failed(&queries) && channel_send(&server->channel, queries.data, queries.size);
    buffer_free(&queries);
    if (!sent)
        fail_unreachable(server, "the connection broke", 0);
}

static bool login_message(struct server *server, const char *message, const struct wire_frame *frame)
{
    struct buffer answer = BUFFER_INIT(STARTUP_MOST);
    struct wire_reader reader = wire_body(message, frame);
    mosaic_error error;
    switch (frame->type) {
    case WIRE_B_AUTHENTICATION:
        if (login_client_message(server->login, message, frame, &answer, &error) == LOGIN_FAILED) {
            buffer_free(&answer);
            server_fail_login(server, &error);
            return false;
        }
        if (answer.size)
            channel_send(&server->channel, answer.data, answer.size);
        buffer_free(&answer);
        return true;
    case WIRE_B_BACKEND_KEY_DATA:
        server->pid = wire_read32(&reader);
        server->key_size = frame->size - WIRE_HEADER - 4;
        if (frame->size < WIRE_HEADER + 8 || server->key_size > sizeof server->key)
            break;
        memcpy(server->key, wire_read_bytes(&reader, server->key_size), server->key_size);
        return true;
    case WIRE_B_PARAMETER_STATUS:
        if (!effect_report_is_allowed(server, message, frame, &error)) {
            server_fail_login(server, &error);
            return false;
        }
        buffer_add(&server->failure, message, frame->size); /* becomes the pool's welcome */
        return true;
    case WIRE_B_NOTICE_RESPONSE:
    case WIRE_B_NEGOTIATE_PROTOCOL:
        return true;
    case WIRE_B_ERROR_RESPONSE:
        refused(server, message, frame);
        return false;
    case WIRE_B_READY_FOR_QUERY:
        begin_check(server);
        return server->state == SERVER_CHECKING;
    default:
        break;
    }
    fail_unreachable(server, "it does not speak PostgreSQL's protocol", 0);
    return false;
}

/* ---- the check ---- */

/* Does this server fit target_session_attrs? */
static bool attributes_fit(const struct server *server)
{
    const char *wanted = target_of(server)->session_attrs;
    bool read_only = server->check->read_only, standby = server->check->standby;
    if (!wanted || strcmp(wanted, "any") == 0 || strcmp(wanted, "prefer-standby") == 0)
        return true;
    if (strcmp(wanted, "read-write") == 0)
        return !read_only;
    if (strcmp(wanted, "read-only") == 0)
        return read_only;
    return strcmp(wanted, "primary") == 0 ? !standby : standby;
}

/* All questions are answered. */
static void judge(struct server *server)
{
    struct server_check *check = server->check;
    struct worker *worker = server->worker;
    const struct world *world = worker->world;
    mosaic_error error;
    if (!attributes_fit(server)) {
        if (server->endpoints_tried < target_of(server)->endpoint_count) {
            server_check_free(server);
            next_endpoint(server, 0);
            return;
        }
        (void)!error_set(&error, MOSAIC_UNREACHABLE, "no server of shard %s is %s", shard_name(server),
                         target_of(server)->session_attrs);
        server_fail_login(server, &error);
        return;
    }
    mosaic_status status = engine_of(world->model.engine)
                               ->judge(&world->model, server->pool->shard, check->answer, &server->epoch, &error);
    if (status != MOSAIC_OK) {
        server_fail_login(server, &error);
        return;
    }
    if (server->epoch > world->model.epoch) {
        proxy_ask_reload(worker->proxy);
        (void)!error_set(&error, MOSAIC_STALE, "the map has changed; the new one is being read");
        error_hint(&error, "try again");
        server_fail_login(server, &error);
        return;
    }
    /* The role's own, or the database's: no ParameterStatus tells it. */
    if (check->equals_null && !effect_is_allowed(&world->model, "transform_null_equals", "on", &error)) {
        error_shard(&error, shard_name(server));
        server_fail_login(server, &error);
        return;
    }
    if (!agree_check(server, check->given, &error)) {
        server_fail_login(server, &error);
        return;
    }
    memory_free(server->pool->given);
    server->pool->given = check->given;
    check->given = NULL;
    server->pool->user->keeps_snapshot |= check->keeps_snapshot;
    server->pool->user->reads_otherwise |= check->reads_otherwise;
    server->pool->idle_timeout = check->idle_timeout;
    server_check_free(server);
    timer_cancel(&server->timer);
    server->pool->endpoint = server->endpoint;
    buffer_free(&server->pool->welcome);
    server->pool->welcome = server->failure;
    server->failure = BUFFER_INIT(server->pool->welcome.maximum);
    server->status = 'I';
    server->connected_at = worker->loop.now;
    server->pool->error.status = MOSAIC_OK;
    server->pool->retry_at = 0;
    COUNT(&worker->counters, server_logins, 1);
    record_success(server);
    pool_return(server);
}

/* Whether our map is older than the shard's cannot be known, so nothing is sent over this connection. */
static void refused_epoch(struct server *server)
{
    mosaic_error error;
    (void)!error_set(&error, MOSAIC_AUTH, "role %s may not read the epoch of shard %s",
                     server->pool->user->account->name, shard_name(server));
    error_sqlstate(&error, "42501");
    error_detail(&error, "Without it nobody knows whether the map that the statement was routed by is the shard's.");
    error_hint(&error, "run pgmosaic apply, which grants it to every role, or on each shard: GRANT USAGE ON SCHEMA "
                       "mosaic TO PUBLIC; GRANT SELECT ON mosaic.epoch TO PUBLIC");
    server_fail_login(server, &error);
}

/* In ms. */
static int64_t read_seconds(const char *value, int size)
{
    char text[32];
    snprintf(text, sizeof text, "%.*s", size, value);
    return (int64_t)(strtod(text, NULL) * 1000);
}

static bool check_row(struct server_check *check, const char *message, const struct wire_frame *frame)
{
    struct wire_reader reader = wire_body(message, frame);
    uint16_t columns = wire_read16(&reader);
    const char *values[OTHERS_ASKED];
    int sizes[OTHERS_ASKED];
    for (uint16_t i = 0; i < columns; i++) {
        int32_t size = (int32_t)wire_read32(&reader);
        const char *bytes = size > 0 ? wire_read_bytes(&reader, (size_t)size) : "";
        if (i < OTHERS_ASKED) {
            values[i] = size < 0 ? NULL : bytes;
            sizes[i] = size < 0 ? 0 : size;
        }
    }
    if (reader.failed || columns != (check->answered == 0 ? 3 : OTHERS_ASKED))
        return false;
    if (check->answered == 0) {
        static PGresAttDesc columns_of[3] = {
            {.name = (char *)"epoch"}, {.name = (char *)"shard"}, {.name = (char *)"cluster"}};
        check->answer = PQmakeEmptyPGresult(NULL, PGRES_TUPLES_OK);
        if (!check->answer || !PQsetResultAttrs(check->answer, 3, columns_of))
            return false;
        for (int i = 0; i < 3; i++)
            if (!PQsetvalue(check->answer, 0, i, (char *)values[i], values[i] ? sizes[i] : -1))
                return false;
        return true;
    }
    for (int i = 0; i < OTHERS_ASKED; i++)
        if (!values[i])
            return false;
    static const char usual[] = " on content f"; /* array_nulls, xmloption; no other lc_monetary */
    int tail = (int)sizeof usual - 1;
    check->keeps_snapshot = sizes[0] < 5 || memcmp(values[0], "read ", 5) != 0; /* "read committed" or uncommitted */
    check->reads_otherwise = sizes[0] < tail || memcmp(values[0] + sizes[0] - tail, usual, (size_t)tail) != 0;
    check->read_only = sizes[1] == 2; /* "on" */
    check->standby = values[2][0] == 't';
    check->equals_null = sizes[3] == 2; /* "on" */
    check->idle_timeout = read_seconds(values[4], sizes[4]);
    memory_free(check->given);
    check->given = memory_zeroed(1, (size_t)sizes[5] + 1);
    if (check->given)
        memcpy(check->given, values[5], (size_t)sizes[5]);
    return check->given;
}

static bool check_message(struct server *server, const char *message, const struct wire_frame *frame)
{
    struct server_check *check = server->check;
    struct wire_error found;
    switch (frame->type) {
    case WIRE_B_DATA_ROW:
        if (check_row(check, message, frame))
            return true;
        break;
    case WIRE_B_ERROR_RESPONSE:
        if (!wire_read_error(message, frame, &found) || !found.sqlstate)
            break;
        if (check->answered == 0 && strcmp(found.sqlstate, "42P01") == 0)
            return true; /* no such table: nothing was applied */
        if (check->answered == 0 && strcmp(found.sqlstate, "3F000") == 0)
            return true;
        if (check->answered == 0 && strcmp(found.sqlstate, "42501") == 0)
            refused_epoch(server);
        else
            refused(server, message, frame);
        return false;
    case WIRE_B_READY_FOR_QUERY:
        check->answered++;
        return true;
    case WIRE_B_PARAMETER_STATUS:
    case WIRE_B_NOTICE_RESPONSE:
    case WIRE_B_ROW_DESCRIPTION:
    case WIRE_B_COMMAND_COMPLETE:
        return true;
    default:
        break;
    }
    fail_unreachable(server, "it does not speak PostgreSQL's protocol", 0);
    return false;
}

static void read_login(struct server *server)
{
    struct worker *worker = server->worker;
    char *data;
    ssize_t size = channel_read(&server->channel, worker->space, READ_MOST, &data);
    size_t at = 0;
    if (size == CHANNEL_DEAD) {
        bool in_handshake = server->channel.tls && !tls_is_ready(server->channel.tls);
        char problem[256] = "it closed the connection during the login";
        if (server->channel.tls && *tls_problem(server->channel.tls))
            snprintf(problem, sizeof problem, "%s", tls_problem(server->channel.tls));
        if (!in_handshake || !try_other_way(server))
            fail_unreachable(server, problem, 0);
        return;
    }
    if (server->awaits_tls) {
        if (size > 0)
            tls_answered(server, data, (size_t)size);
        return;
    }
    while (at < (size_t)size) {
        struct wire_frame frame;
        enum wire_state found = wire_peek(data + at, (size_t)size - at, &frame);
        if (found == WIRE_BAD || (found == WIRE_MESSAGE && frame.size > READ_MOST)) {
            fail_unreachable(server, "it does not speak PostgreSQL's protocol", 0);
            return;
        }
        if (found == WIRE_MORE || frame.size > (size_t)size - at)
            break;
        bool login = server->state == SERVER_LOGIN;
        if (!(login ? login_message(server, data + at, &frame) : check_message(server, data + at, &frame)))
            return;
        at += frame.size;
        if (server->check && server->check->answered == QUESTIONS)
            break;
    }
    if (!channel_keep(&server->channel, data + at, (size_t)size - at)) {
        fail_unreachable(server, "out of memory", 0);
        return;
    }
    if (server->channel.readable || server->channel.in_size)
        loop_again(&worker->loop, &server->channel.source);
    if (server->check && server->check->answered == QUESTIONS)
        judge(server);
}

void server_login_event(struct server *server)
{
    if (server->state == SERVER_CONNECTING) {
        if (server->channel.broken || server->channel.hung_up || !server->channel.wants_room)
            connected(server);
    } else {
        read_login(server);
    }
}

bool server_open(struct pool *pool)
{
    struct worker *worker = pool->worker;
    struct server *server = server_new(pool);
    if (!server)
        return false;
    timer_init(&server->timer, timed_out);
    timer_set(&worker->loop.timers, &server->timer, worker->loop.now + worker->settings->server_connect_timeout);
    next_endpoint(server, 0);
    return true;
}
