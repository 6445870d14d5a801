/*
 * A server that is to become a node: what has to hold first. Citus itself says some of it in words that help nobody
 * ("failure on connection marked as essential"), and some not at all: it replaces a table on the new node that has the
 * name of a distributed one.
 */
#ifndef MOSAIC_CITUS_CANDIDATE_H
#define MOSAIC_CITUS_CANDIDATE_H

#include "citus/membership.h"

/* A connection between two nodes that fails. */
struct candidate_gap {
    const char *from, *to, *why;
};

struct candidate {
    const char *name; /* host:port */
    const char *database;
    int major, coordinator_major;                   /* of PostgreSQL */
    const char *extension, *coordinators_extension; /* of Citus; "" where it is not made in the database */
    bool available;                                 /* the extension is installed there, and can be made */
    bool standby;                                   /* in recovery */
    bool logical;                                   /* wal_level */
    const char *other_cluster;  /* the coordinator it belongs to by its own list, if that is not ours; or "" */
    const char *const *clashes; /* its tables with names of distributed ones, quoted where needed */
    size_t clash_count;
    const struct candidate_gap *gaps;
    size_t gap_count;
};

/*
 * Logs in to it as to the coordinator and asks it, the coordinator and every node. What is not known for want of an
 * answer before (no extension, say) stays empty. Fails where it cannot be reached from here.
 */
MOSAIC_MUST_CHECK mosaic_status candidate_look(const char *conninfo, PGconn *coordinator, const struct members *members,
                                               const char *host, int port, int64_t deadline, struct arena *arena,
                                               struct candidate *candidate, mosaic_error *error);
/* Everything that speaks against it, each with its fix. Pure. */
void candidate_check(const struct candidate *candidate, struct findings *findings);

#endif
