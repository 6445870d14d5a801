/*
 * Guard rails of what one shard cannot answer (tiers 2 to 4): may it run, and is its client warned?
 *
 * Who is nearest to the statement decides: its leading comment or the session (mosaic.scatter, where hints are heard),
 * then the user (scatter_users), then the cluster (scatter). Limits hold whoever has allowed it.
 */
#ifndef MOSAIC_PLAN_GUARD_H
#define MOSAIC_PLAN_GUARD_H

#include "base/error.h"
#include "config/settings.h"

struct guard_input {
    const struct proxy_settings *settings;
    const char *user;
    const char *said;        /* of the comment or the session; NULL: nothing */
    int tier;                /* 2, 3 or 4 */
    size_t shards;           /* that it may ask */
    const mosaic_error *why; /* why one shard is not enough, with what would make it so */
};

enum guard_verdict { GUARD_PASSES, GUARD_WARNS, GUARD_REFUSES };

/* GUARD_WARNS and GUARD_REFUSES: *error is what the client is told (SQLSTATE 01000; 0A000 or 54000). */
enum guard_verdict guard_look(const struct guard_input *input, mosaic_error *error);

#endif
