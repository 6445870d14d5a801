#include "client/background.h"

#include <signal.h>
#include <stddef.h>

void background_init(struct background *background)
{
    *background = (struct background){0};
    pthread_mutex_init(&background->mutex, NULL);
    pthread_cond_init(&background->changed, NULL);
}

static struct job *next_job(struct background *background)
{
    pthread_mutex_lock(&background->mutex);
    while (!background->first && !background->stopping)
        pthread_cond_wait(&background->changed, &background->mutex);
    struct job *job = background->first;
    if (job) {
        background->first = job->next;
        if (!background->first)
            background->last = NULL;
    }
    pthread_mutex_unlock(&background->mutex);
    return job;
}

static void *work(void *context)
{
    struct job *job;
    while ((job = next_job(context)))
        job->run(job);
    return NULL;
}

/* With the mutex held. All signals are blocked in the new thread: a program's handlers run in its own threads. */
static bool start(struct background *background)
{
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    background->started = pthread_create(&background->thread, NULL, work, background) == 0;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return background->started;
}

bool background_add(struct background *background, struct job *job)
{
    pthread_mutex_lock(&background->mutex);
    bool taken = background->started || start(background);
    if (taken) {
        job->next = NULL;
        if (background->last)
            background->last->next = job;
        else
            background->first = job;
        background->last = job;
        pthread_cond_signal(&background->changed);
    }
    pthread_mutex_unlock(&background->mutex);
    return taken;
}

void background_stop(struct background *background)
{
    pthread_mutex_lock(&background->mutex);
    background->stopping = true;
    bool started = background->started;
    pthread_cond_signal(&background->changed);
    pthread_mutex_unlock(&background->mutex);
    if (started)
        pthread_join(background->thread, NULL);
    pthread_cond_destroy(&background->changed);
    pthread_mutex_destroy(&background->mutex);
}
