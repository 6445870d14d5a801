/* What a provider of servers does for a lab: one table of functions each. */
#ifndef MOSAIC_LAB_PROVIDER_H
#define MOSAIC_LAB_PROVIDER_H

#include "lab/state.h"

struct provider_options {
    const char *image, *postgres; /* as lab_options */
    const volatile int *interrupted;
};

struct provider {
    /* Checks that what manages the servers answers; NULL where nothing does. */
    mosaic_status (*reach)(mosaic_error *error);
    /* Finds what it needs for a lab that is to be made or is there, before anything is changed; fills the state. */
    mosaic_status (*open)(struct state *state, const struct provider_options *options, void **handle,
                          mosaic_error *error);
    /* Makes the servers first … end-1 with role and database, and leaves them running; ports are set in the state. */
    mosaic_status (*make)(void *handle, size_t first, size_t end, const char *password, mosaic_error *error);
    /* Starts those of the first `end` that are down; waits until they answer. Ports may change in the state. */
    mosaic_status (*start)(void *handle, size_t first, size_t end, mosaic_error *error);
    bool (*running)(const struct state *state, size_t shard);
    /* Ends one server as a crash would; not running is fine. */
    mosaic_status (*crash)(const struct state *state, size_t shard, mosaic_error *error);
    /* Removes the servers from `first` on, known to lab.json or not, with their data. Those that are not there are
     * fine. */
    mosaic_status (*remove)(const struct state *state, size_t first, mosaic_error *error);
};

extern const struct provider provider_local;
extern const struct provider provider_docker;

const struct provider *provider_of(enum lab_provider provider);

#endif
