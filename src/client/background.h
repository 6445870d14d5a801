/*
 * One thread in the background, for the few things that block and must not hold up a caller: reading the map again, and
 * cancelling statements that nobody waits for. It starts with the first job, and takes no signals.
 */
#ifndef MOSAIC_CLIENT_BACKGROUND_H
#define MOSAIC_CLIENT_BACKGROUND_H

#include <pthread.h>
#include <stdbool.h>

/* Embedded as the first member of what the job is about. `run` is the last to touch it. */
struct job {
    void (*run)(struct job *job);
    struct job *next;
};

struct background {
    pthread_mutex_t mutex;
    pthread_cond_t changed;
    struct job *first, *last;
    pthread_t thread;
    bool started, stopping;
};

void background_init(struct background *background);
/* Queues the job. False if no thread could be started: then the job was not taken. */
bool background_add(struct background *background, struct job *job);
/* Runs what is queued to its end, then ends the thread. No job may be added meanwhile. */
void background_stop(struct background *background);

#endif
