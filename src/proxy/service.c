#define _GNU_SOURCE
#include "proxy/service.h"

#include "proxy/cancel.h"
#include "proxy/control.h"
#include "proxy/gather.h"
#include "proxy/interrupt.h"
#include "proxy/listener.h"
#include "proxy/log.h"
#include "proxy/metrics_http.h"
#include "proxy/notify.h"
#include "proxy/operation.h"
#include "proxy/reload.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <unistd.h>

enum { STEP_MS = 50, NO_TIME = -1 };

static const char metrics_address[] = "metrics";

struct service {
    struct proxy *proxy;
    struct metrics_http *metrics;
    int signals, control;
    int heir;            /* connection of a process that is taking over; -1: none */
    int successor;       /* the same once it has: it passes cancel requests on; -1: none */
    int asking;          /* of one that waits for its reload; -1: none */
    uint64_t asked;      /* its ticket */
    uint64_t hup;        /* ticket of a SIGHUP that is being done; 0: none */
    enum stop_kind stop; /* as far as it was begun */
    bool handed_over;    /* another process has the sockets */
    int64_t stop_at;     /* ms: then at once; NO_TIME */
    int64_t sample_at, pulse_at;
    char control_path[CONTROL_PATH_MOST], pid_file[4096];
};

static const struct proxy_settings *settings_of(struct proxy *proxy, struct config **config)
{
    *config = proxy_config(proxy);
    return &(*config)->settings;
}

/* ---- start ---- */

static int block_signals(void)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGHUP);
    pthread_sigmask(SIG_BLOCK, &set, NULL); /* threads made later inherit it */
    return signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
}

struct inheritance {
    int fd; /* of the process that is to end; -1: none */
    struct control_socket sockets[CONTROL_SOCKETS_MOST];
    size_t count;
};

/* Nobody there is no failure: the first start of a unit that always says --takeover. */
static mosaic_status inherit(const struct service_options *options, struct inheritance *from, mosaic_error *error)
{
    char path[CONTROL_PATH_MOST];
    from->fd = -1;
    from->count = 0;
    if (!options->takeover)
        return MOSAIC_OK;
    mosaic_status status = control_find(options->config_path, path, error);
    if (status == MOSAIC_OK)
        status = control_take(path, &from->fd, from->sockets, &from->count, error);
    if (status != MOSAIC_NOT_FOUND)
        return status;
    from->fd = -1;
    return MOSAIC_OK;
}

static int inherited(const struct inheritance *from, const char *address)
{
    for (size_t i = 0; i < from->count; i++)
        if (strcmp(from->sockets[i].address, address) == 0)
            return from->sockets[i].fd;
    return -1;
}

/* What the new config does not listen on is given up. */
static void close_unused(const struct service *service, const struct inheritance *from)
{
    struct control_socket used[CONTROL_SOCKETS_MOST];
    size_t count = listeners_list(service->proxy, used, CONTROL_SOCKETS_MOST);
    for (size_t i = 0; i < from->count; i++) {
        bool keeps = from->sockets[i].fd == metrics_http_socket(service->metrics);
        for (size_t at = 0; at < count && !keeps; at++)
            keeps = used[at].fd == from->sockets[i].fd;
        if (!keeps)
            close(from->sockets[i].fd);
    }
}

static mosaic_status write_pid_file(struct service *service, const char *path, mosaic_error *error)
{
    char text[32];
    if (!path)
        return MOSAIC_OK;
    snprintf(service->pid_file, sizeof service->pid_file, "%s", path);
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    int size = snprintf(text, sizeof text, "%ld\n", (long)getpid());
    bool written = fd >= 0 && write(fd, text, (size_t)size) == size;
    mosaic_status status = written ? MOSAIC_OK : error_errno(error, "pid_file %s", path);
    if (fd >= 0)
        close(fd);
    return status;
}

/* Only while it is ours: a process that took over has written its own. */
static void remove_pid_file(const struct service *service)
{
    long pid = 0;
    FILE *file = service->pid_file[0] ? fopen(service->pid_file, "re") : NULL;
    if (!file)
        return;
    bool read = fscanf(file, "%ld", &pid) == 1;
    fclose(file);
    if (read && pid == (long)getpid())
        unlink(service->pid_file);
}

static mosaic_status open_control(struct service *service, const struct service_options *options,
                                  const struct proxy_settings *settings, mosaic_error *error)
{
    struct world *world = proxy_world(service->proxy);
    mosaic_status status =
        control_path(settings, world->model.name, options->config_path, service->control_path, error);
    world_release(world);
    if (status == MOSAIC_OK)
        return control_listen(service->control_path, &service->control, error);
    /* No Unix socket at all is a choice; it costs takeover. */
    service->control_path[0] = '\0';
    return !settings->control_socket ? MOSAIC_OK : status;
}

static mosaic_status start(struct service *service, const struct service_options *options,
                           const struct inheritance *from, mosaic_error *error)
{
    struct proxy_options proxy = {.config_path = options->config_path,
                                  .listen = options->listen,
                                  .threads = options->threads,
                                  .sockets = from->sockets,
                                  .socket_count = from->count};
    struct config *config;
    mosaic_status status = proxy_start(&proxy, &service->proxy, error);
    if (status != MOSAIC_OK)
        return status;
    const struct proxy_settings *settings = settings_of(service->proxy, &config);
    status = metrics_http_start(service->proxy, settings->metrics_listen, inherited(from, metrics_address),
                                &service->metrics, error);
    if (status == MOSAIC_OK)
        status = write_pid_file(service, settings->pid_file, error);
    if (status == MOSAIC_OK)
        status = open_control(service, options, settings, error);
    config_release(config);
    return status;
}

/* ---- the end ---- */

static bool has_ended(struct proxy *proxy)
{
    for (unsigned i = 0; i < proxy->worker_count; i++)
        if (proxy->workers[i].is_started && !atomic_load(&proxy->workers[i].has_ended))
            return false;
    return true;
}

static void begin_stop(struct service *service, enum stop_kind kind)
{
    static const char *const words[] = {"", "when the last client has gone", "when transactions have ended", "at once"};
    struct config *config;
    int64_t timeout = settings_of(service->proxy, &config)->shutdown_timeout;
    char status[100];
    if (kind <= service->stop) {
        config_release(config);
        return;
    }
    if (service->stop == STOP_NOT) { /* the workers answer it no more when they have ended */
        metrics_http_stop(service->metrics);
        service->metrics = NULL;
    }
    service->stop = kind;
    log_message(service->proxy->log, EVENT_STOP, "%d clients; stops %s", atomic_load(&service->proxy->client_count),
                words[kind]);
    snprintf(status, sizeof status, "stopping %s", words[kind]);
    notify_stopping(status);
    service->stop_at = kind == STOP_SERVERS || service->handed_over ? loop_clock() + timeout : NO_TIME;
    if (kind == STOP_CLIENTS)
        proxy_close_listeners(service->proxy);
    else
        proxy_stop(service->proxy, kind == STOP_AT_ONCE);
    config_release(config);
}

/* STOP_CLIENTS ends when there are none; the others when the workers do. True: it is over. */
static bool go_on_stopping(struct service *service)
{
    if (service->stop == STOP_CLIENTS && atomic_load(&service->proxy->client_count) == 0)
        begin_stop(service, STOP_SERVERS);
    if (service->stop_at != NO_TIME && loop_clock() >= service->stop_at)
        begin_stop(service, service->stop == STOP_CLIENTS ? STOP_SERVERS : STOP_AT_ONCE);
    return service->stop >= STOP_SERVERS && has_ended(service->proxy);
}

/* ---- the control socket ---- */

static void hang_up(int *fd)
{
    if (*fd >= 0)
        close(*fd);
    *fd = -1;
}

static void hand_over(struct service *service)
{
    struct control_socket sockets[CONTROL_SOCKETS_MOST];
    size_t count = listeners_list(service->proxy, sockets, CONTROL_SOCKETS_MOST - 1);
    mosaic_error error;
    if (service->metrics) {
        sockets[count].fd = metrics_http_socket(service->metrics);
        snprintf(sockets[count].address, sizeof sockets[count].address, "%s", metrics_address);
        count++;
    }
    if (control_give(service->heir, sockets, count, &error) != MOSAIC_OK) {
        log_event(service->proxy->log, EVENT_PROBLEM, -1, &(struct log_entry){.error = &error});
        hang_up(&service->heir);
    }
}

/* The new process serves: or it has failed, and nothing has changed. */
static void take_heir(struct service *service)
{
    char line[CONTROL_LINE_MOST];
    mosaic_error error;
    mosaic_status status = control_read(service->heir, line, NULL, &error);
    if (status != MOSAIC_OK || strcmp(line, "ready") != 0) {
        hang_up(&service->heir);
        log_message(service->proxy->log, EVENT_TAKEOVER, "the other process did not become ready: this one serves on");
        return;
    }
    service->successor = service->heir;
    service->heir = -1;
    listeners_disown(service->proxy);
    hang_up(&service->control);
    service->control_path[0] = '\0';
    service->handed_over = true;
    log_message(service->proxy->log, EVENT_TAKEOVER, "another process serves now");
    begin_stop(service, STOP_CLIENTS);
}

/* Clients that are still ours send their cancel requests where we listened: to the process that took over. */
static void take_cancel(struct service *service)
{
    char line[CONTROL_LINE_MOST];
    unsigned char key[32];
    uint32_t pid, size;
    mosaic_error error;
    if (control_read(service->successor, line, NULL, &error) != MOSAIC_OK)
        hang_up(&service->successor);
    else if (control_is_cancel(line, &pid, key, &size))
        cancel_request(service->proxy, pid, key, size);
}

/* The process that was taken over from says nothing more: it ends. Workers may be writing to it, so it is closed at our
 * own end. */
static void lose_elder(struct service *service)
{
    atomic_store(&service->proxy->elder, -1);
}

static void take_control(struct service *service)
{
    char line[CONTROL_LINE_MOST];
    mosaic_error error;
    int fd = control_accept(service->control);
    if (fd < 0)
        return;
    if (control_read(fd, line, NULL, &error) != MOSAIC_OK) {
        close(fd);
    } else if (strcmp(line, "takeover") == 0 && service->heir < 0 && service->stop == STOP_NOT) {
        service->heir = fd;
        hand_over(service);
    } else if (strcmp(line, "reload") == 0 && service->asking < 0) {
        service->asking = fd;
        service->asked = reload_ask(service->proxy->reload, true);
        notify_reloading();
    } else {
        (void)!control_write(fd, "error the proxy is busy, or does not know this request", -1, &error);
        close(fd);
    }
}

static void say_serving(struct service *service)
{
    char text[200];
    struct world *world = proxy_world(service->proxy);
    snprintf(text, sizeof text, "serving cluster %.60s: %zu shards, epoch %llu", world->model.name,
             world->model.shard_count, (unsigned long long)world->model.epoch);
    world_release(world);
    notify_ready(text);
}

static void answer_reload(struct service *service)
{
    mosaic_error error, failure;
    char line[CONTROL_LINE_MOST];
    if (service->hup && reload_is_done(service->proxy->reload, service->hup, &error)) {
        service->hup = 0;
        say_serving(service);
    }
    if (service->asking < 0 || !reload_is_done(service->proxy->reload, service->asked, &error))
        return;
    if (error.status == MOSAIC_OK)
        snprintf(line, sizeof line, "ok");
    else
        snprintf(line, sizeof line, "error %s\t%s", error.message, error.hint);
    (void)!control_write(service->asking, line, -1, &failure);
    hang_up(&service->asking);
    say_serving(service);
}

/* ---- the loop ---- */

static void take_signals(struct service *service)
{
    struct signalfd_siginfo signal;
    while (read(service->signals, &signal, sizeof signal) == (ssize_t)sizeof signal) {
        if (signal.ssi_signo == SIGHUP) {
            notify_reloading();
            service->hup = reload_ask(service->proxy->reload, true);
        } else {
            begin_stop(service, service->stop < STOP_SERVERS ? STOP_SERVERS : STOP_AT_ONCE);
        }
    }
}

/* Do all workers turn? Only then is systemd told that we live. */
static void pulse_taken(struct gather *gather)
{
    gather_free(gather);
    notify_watchdog();
}

static void keep_time(struct service *service)
{
    int64_t now = loop_clock(), watchdog = notify_watchdog_interval();
    struct config *config;
    if (now >= service->sample_at) {
        operation_sample(service->proxy->operation, loop_clock_us());
        service->sample_at = now + settings_of(service->proxy, &config)->stats_period;
        config_release(config);
    }
    if (watchdog && now >= service->pulse_at && service->stop < STOP_SERVERS) {
        service->pulse_at = now + watchdog / 3;
        (void)!gather_start(service->proxy, 0, pulse_taken, NULL);
    }
}

static int wait_time(const struct service *service)
{
    int64_t least = service->sample_at - loop_clock(), watchdog = notify_watchdog_interval();
    if (service->stop != STOP_NOT || service->asking >= 0 || service->hup)
        return STEP_MS;
    if (watchdog && service->pulse_at - loop_clock() < least)
        least = service->pulse_at - loop_clock();
    return least < 0 ? 0 : least > 60000 ? 60000 : (int)least;
}

static void serve(struct service *service)
{
    uint64_t woken;
    for (;;) {
        struct pollfd polled[] = {{.fd = service->signals, .events = POLLIN},
                                  {.fd = service->proxy->operation->wake, .events = POLLIN},
                                  {.fd = service->control, .events = POLLIN},
                                  {.fd = service->heir, .events = POLLIN},
                                  {.fd = service->successor, .events = POLLIN},
                                  {.fd = atomic_load(&service->proxy->elder), .events = POLLIN}};
        if (poll(polled, sizeof polled / sizeof *polled, wait_time(service)) < 0 && errno != EINTR)
            break;
        if (polled[0].revents)
            take_signals(service);
        if (polled[1].revents && read(service->proxy->operation->wake, &woken, sizeof woken) > 0)
            begin_stop(service, (enum stop_kind)atomic_load(&service->proxy->operation->stop));
        if (polled[3].revents && service->heir >= 0)
            take_heir(service);
        if (polled[4].revents && service->successor >= 0)
            take_cancel(service);
        if (polled[5].revents)
            lose_elder(service);
        if (polled[2].revents && service->control >= 0)
            take_control(service);
        answer_reload(service);
        keep_time(service);
        if (service->stop != STOP_NOT && go_on_stopping(service))
            return;
    }
}

static void finish(struct service *service)
{
    interrupt_waits();
    hang_up(&service->heir);
    hang_up(&service->successor);
    hang_up(&service->asking);
    hang_up(&service->control);
    if (service->control_path[0])
        unlink(service->control_path);
    metrics_http_stop(service->metrics);
    if (service->proxy) {
        proxy_stop(service->proxy, true);
        proxy_wait(service->proxy);
        log_message(service->proxy->log, EVENT_STOP, "stopped");
        proxy_free(service->proxy);
    }
    remove_pid_file(service);
    hang_up(&service->signals);
}

mosaic_status service_run(const struct service_options *options, mosaic_error *error)
{
    struct inheritance from = {.fd = -1};
    struct interrupt watch;
    struct service service = {
        .signals = block_signals(), .control = -1, .heir = -1, .successor = -1, .asking = -1, .stop_at = NO_TIME};
    if (service.signals < 0)
        return error_errno(error, "cannot wait for signals");
    mosaic_status status = interrupt_watch(service.signals, &watch, error);
    if (status != MOSAIC_OK) {
        hang_up(&service.signals);
        return status;
    }
    status = inherit(options, &from, error);
    if (status == MOSAIC_OK)
        status = start(&service, options, &from, error);
    if (interrupt_end(&watch) && status == MOSAIC_OK)
        status = error_set(error, MOSAIC_INTERRUPTED, "interrupted while starting");
    if (status == MOSAIC_OK) {
        close_unused(&service, &from);
        options->ready(service.proxy);
        say_serving(&service);
        if (from.fd >= 0) {
            log_message(service.proxy->log, EVENT_TAKEOVER, "took %zu sockets over", from.count);
            status = control_write(from.fd, "ready", -1, error);
            atomic_store(&service.proxy->elder, from.fd);
        }
    }
    if (status == MOSAIC_OK)
        serve(&service);
    finish(&service);
    hang_up(&from.fd);
    return status;
}
