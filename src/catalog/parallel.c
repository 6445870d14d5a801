#include "catalog/parallel.h"

#include "pq/pq.h"

#include <pthread.h>
#include <stdatomic.h>

enum { THREADS_MOST = 32 };

struct pool {
    atomic_size_t next;
    size_t count;
    parallel_fn work;
    void *context;
    struct pq_interrupts interrupts;
};

static void *run(void *argument)
{
    struct pool *pool = argument;
    pq_interrupts_take(pool->interrupts);
    for (;;) {
        size_t at = atomic_fetch_add(&pool->next, 1);
        if (at >= pool->count)
            return NULL;
        pool->work(pool->context, at);
    }
}

void parallel_run(size_t count, parallel_fn work, void *context)
{
    struct pool pool = {.count = count, .work = work, .context = context, .interrupts = pq_interrupts_of_thread()};
    pthread_t threads[THREADS_MOST];
    size_t started = 0;
    atomic_init(&pool.next, 0);
    while (started + 1 < count && started < THREADS_MOST - 1 &&
           pthread_create(&threads[started], NULL, run, &pool) == 0)
        started++;
    run(&pool);
    for (size_t i = 0; i < started; i++)
        pthread_join(threads[i], NULL);
}
