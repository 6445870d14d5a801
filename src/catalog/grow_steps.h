/*
 * Between the files of growing (grow.h).
 */
#ifndef MOSAIC_CATALOG_GROW_STEPS_H
#define MOSAIC_CATALOG_GROW_STEPS_H

#include "catalog/apply_steps.h"
#include "catalog/checksum.h"

enum {
    GROW_STEP_MS = 600000,           /* of a statement that scans no table */
    GROW_SCAN_MS = 24 * 3600 * 1000, /* of one that does */
    GROW_SQL_MOST = 64 * 1024 * 1024,
};

struct growing {
    const struct table *table;
    const struct table_facts *facts;        /* on the home shard */
    const struct owner_work *const *owners; /* of each shard; NULL for a reference table */
    struct checksum *sums;                  /* of the rows that each shard is to have */
    uint64_t rows;                          /* that were read */
};

struct grow {
    struct apply *apply;
    size_t home;
    PGconn *connection; /* of the home shard, in the transaction that has the locks */
    struct growing *tables;
    size_t table_count;
    const char **patterns; /* of pg_dump: the tables and their partitions; table_count or more */
    size_t pattern_count;
    struct buffer others, before, behind; /* pg_dump: what is no table; of the tables, before and behind the rows */
    bool *made;                           /* of each shard: its part was committed */
};

/* A step on a shard that is not the home one; what it fails with is the shard's error. */
typedef mosaic_status (*grow_fn)(struct grow *grow, size_t shard);
/* Runs it on all of them at once. */
MOSAIC_MUST_CHECK mosaic_status grow_on_others(struct grow *grow, grow_fn step, mosaic_error *error);
/* Runs the statements on a shard, within its transaction. */
MOSAIC_MUST_CHECK mosaic_status grow_run(struct grow *grow, size_t shard, const char *sql, int timeout_ms,
                                         PGresult **result);
/* The same of what the buffer holds, which is freed. */
MOSAIC_MUST_CHECK mosaic_status grow_run_buffer(struct grow *grow, size_t shard, struct buffer *sql, int timeout_ms,
                                                PGresult **result);
void grow_add_name(struct buffer *sql, const struct table *table);
/* All tables, a comma between two. */
void grow_add_names(struct buffer *sql, const struct grow *grow);
void grow_say(struct apply *apply, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* grow_roles.c: roles that have something in the home database, and their members, where a shard lacks them. */
MOSAIC_MUST_CHECK mosaic_status grow_check_roles(struct apply *apply, mosaic_error *error);
MOSAIC_MUST_CHECK mosaic_status grow_roles(struct grow *grow, mosaic_error *error);

/* grow_schema.c: definitions. */
MOSAIC_MUST_CHECK mosaic_status grow_dump(struct grow *grow, mosaic_error *error);
MOSAIC_MUST_CHECK mosaic_status grow_make(struct grow *grow, size_t shard);
MOSAIC_MUST_CHECK mosaic_status grow_finish(struct grow *grow, size_t shard);

/* grow_rows.c */
MOSAIC_MUST_CHECK mosaic_status grow_copy(struct grow *grow, mosaic_error *error);
MOSAIC_MUST_CHECK mosaic_status grow_verify(struct grow *grow, mosaic_error *error);
/* Of what is left on the home shard. */
MOSAIC_MUST_CHECK mosaic_status grow_verify_home(struct grow *grow, mosaic_error *error);

/* grow_cut.c: the home shard's transaction. */
MOSAIC_MUST_CHECK mosaic_status grow_check_sessions(struct apply *apply, mosaic_error *error);
MOSAIC_MUST_CHECK mosaic_status grow_lock(struct grow *grow, mosaic_error *error);
MOSAIC_MUST_CHECK mosaic_status grow_delete(struct grow *grow, mosaic_error *error);
/* From here on, until the commit, nobody reads the tables. */
MOSAIC_MUST_CHECK mosaic_status grow_fence(struct grow *grow, mosaic_error *error);

#endif
