/*
 * Citus on the servers of a lab: server 0 is the coordinator, the others are its workers. All of it is done as the
 * lab's own role, which is a superuser there (docs/design/citus-lab.md says why).
 */
#ifndef MOSAIC_LAB_CITUS_H
#define MOSAIC_LAB_CITUS_H

#include "lab/state.h"

/*
 * On the nodes first … end-1, which must run: makes the extension in the lab's database, and allows its plugin to
 * decode changes, which splits of shards need. What is there already is left alone.
 */
MOSAIC_MUST_CHECK mosaic_status citus_prepare(const struct state *state, size_t first, size_t end, mosaic_error *error);
/*
 * Brings the coordinator's list of nodes in line with the lab: its own address first, then workers that are not on the
 * list, and addresses that changed. A new worker must have the coordinator's version of the extension and an empty
 * database: Citus would replace a table of a distributed table's name. A worker that somebody took off the list stays
 * off. Sets config_port of each worker that is done; changed tells whether any was. wait: until every node has heard of
 * an address that changed, for which all must run.
 */
MOSAIC_MUST_CHECK mosaic_status citus_register(struct state *state, bool wait, bool *changed, mosaic_error *error);
/* Makes count the shards of each later table that does not say how many. */
MOSAIC_MUST_CHECK mosaic_status citus_set_shard_count(const struct state *state, int count, mosaic_error *error);
/*
 * error says that this machine has no Citus: adds to its message why Docker cannot give it either (docker, or NULL),
 * and which package or image gives it on this system, and what works without. Returns the error's status.
 */
mosaic_status citus_explain_absence(struct arena *arena, const mosaic_error *docker, mosaic_error *error);

#endif
