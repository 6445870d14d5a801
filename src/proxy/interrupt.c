#define _GNU_SOURCE
#include "proxy/interrupt.h"

#include "pq/pq.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <unistd.h>

/* What cannot be interrupted, as a look-up of a name that no server answers, is not waited for longer. */
enum { PATIENCE_MS = 700 };

static volatile int flag;

void interrupt_waits(void)
{
    __atomic_store_n(&flag, 1, __ATOMIC_RELAXED);
}

static bool is_over(const struct interrupt *watch, int wait_ms)
{
    struct pollfd over = {.fd = watch->over, .events = POLLIN};
    return poll(&over, 1, wait_ms) > 0;
}

/* As if it had not been blocked. */
static void end_by(int number)
{
    sigset_t set;
    signal(number, SIG_DFL);
    sigemptyset(&set);
    sigaddset(&set, number);
    pthread_sigmask(SIG_UNBLOCK, &set, NULL);
    raise(number);
}

static void *run(void *context)
{
    struct interrupt *watch = context;
    struct signalfd_siginfo found;
    for (;;) {
        struct pollfd polled[] = {{.fd = watch->over, .events = POLLIN}, {.fd = watch->signals, .events = POLLIN}};
        if ((poll(polled, 2, -1) < 0 && errno != EINTR) || polled[0].revents)
            return NULL;
        if (read(watch->signals, &found, sizeof found) != (ssize_t)sizeof found || found.ssi_signo == SIGHUP)
            continue; /* SIGHUP: the config is being read */
        atomic_store(&watch->came, true);
        interrupt_waits();
        if (!is_over(watch, PATIENCE_MS))
            end_by((int)found.ssi_signo);
        return NULL;
    }
}

mosaic_status interrupt_watch(int signals, struct interrupt *watch, mosaic_error *error)
{
    watch->signals = signals;
    watch->over = eventfd(0, EFD_CLOEXEC);
    atomic_init(&watch->came, false);
    if (watch->over < 0)
        return error_errno(error, "cannot make an eventfd");
    __atomic_store_n(&flag, 0, __ATOMIC_RELAXED);
    pq_interrupt_flag(&flag);
    errno = pthread_create(&watch->thread, NULL, run, watch);
    if (errno == 0)
        return MOSAIC_OK;
    close(watch->over);
    return error_errno(error, "cannot start a thread");
}

bool interrupt_end(struct interrupt *watch)
{
    uint64_t one = 1;
    while (write(watch->over, &one, sizeof one) < 0 && errno == EINTR)
        ;
    pthread_join(watch->thread, NULL);
    close(watch->over);
    return atomic_load(&watch->came);
}
