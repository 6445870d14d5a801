#define _GNU_SOURCE
#include "proxy/until.h"

#include <time.h>

void until_init(pthread_cond_t *changed)
{
    pthread_condattr_t attributes;
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(changed, &attributes);
    pthread_condattr_destroy(&attributes);
}

void until_wait(pthread_cond_t *changed, pthread_mutex_t *mutex, int64_t due)
{
    const struct timespec until = {.tv_sec = due / 1000, .tv_nsec = due % 1000 * 1000000};
    if (due == INT64_MAX)
        pthread_cond_wait(changed, mutex);
    else
        pthread_cond_timedwait(changed, mutex, &until);
}
