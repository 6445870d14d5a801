/*
 * What SHOW and the metrics read, put together from the proxy's shared state: settings, world, accounts, counters. What
 * only the threads know comes as a snapshot (gather.h).
 */
#ifndef MOSAIC_PROXY_VIEW_H
#define MOSAIC_PROXY_VIEW_H

#include "proxy/admin_show.h"
#include "proxy/proxy.h"

/* All that it points to lives in the arena, in world and config (held by the caller), and in the snapshot (may be
 * NULL). */
MOSAIC_MUST_CHECK mosaic_status view_make(struct proxy *proxy, const struct world *world, const struct config *config,
                                          const struct snapshot *snapshot, struct arena *arena, struct admin_view *view,
                                          mosaic_error *error);
/* Most connections to a shard that the pools of so many users may open. */
int64_t view_budget(const struct proxy_settings *settings, size_t users);
/* Users that the proxy knows: those that have logged in, or of auth_file. */
size_t view_users(struct proxy *proxy);
/* CPU time and resident memory of the process. */
void view_process(uint64_t *cpu_us, uint64_t *memory);

#endif
