/* A condition of threads that is waited for until a moment of pq_now_ms, which no change of the clock moves. */
#ifndef MOSAIC_PROXY_UNTIL_H
#define MOSAIC_PROXY_UNTIL_H

#include <pthread.h>
#include <stdint.h>

/* For until_wait; it is destroyed as others are. */
void until_init(pthread_cond_t *changed);
/* With the mutex held: until it is signalled, or `due` has come; for no reason, too. INT64_MAX: for good. */
void until_wait(pthread_cond_t *changed, pthread_mutex_t *mutex, int64_t due);

#endif
