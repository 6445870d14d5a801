/*
 * Between the files of growing (grow.h).
 */
#ifndef MOSAIC_CATALOG_GROW_STEPS_H
#define MOSAIC_CATALOG_GROW_STEPS_H

#include "catalog/apply_steps.h"
#include "catalog/checksum.h"

enum {
    GROW_STEP_MS = 600000, /* of a statement that scans no table */
    GROW_SQL_MOST = 64 * 1024 * 1024,
    GROW_LOCK_MS = 200,         /* how long one try for a lock may make others wait behind it */
    GROW_LOCK_TRIES_MS = 60000, /* how long tries are repeated */
    GROW_SILENT_MS = 600000,    /* of a COPY from which nothing comes */
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
    bool coordinator_raised;              /* to the new epoch; or the answer to that was lost */
};

/* A COPY into a table of one shard. */
struct grow_target {
    PGconn *connection;
    const char *name;
    size_t unflushed;
    uint64_t rows;
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
/* COMMIT on a shard; an answer that says ROLLBACK is a failure. */
MOSAIC_MUST_CHECK mosaic_status grow_commit(struct grow *grow, size_t shard);
/*
 * The home shard's COMMIT has failed. A server that goes on has said no, and rolled back: `undo` does the rest. Of one
 * that does not nobody knows: MOSAIC_IN_DOUBT.
 */
MOSAIC_MUST_CHECK mosaic_status grow_judge_commit(struct grow *grow, void (*undo)(struct grow *grow),
                                                  mosaic_error *error);
/* Runs `step` for each shard whose connection is there; one that is in a COPY, or in a statement whose end nobody waits
 * for, is ended instead. Then the coordinator's epoch is put back. */
void grow_undo(struct grow *grow, void (*step)(struct grow *grow, size_t shard));
/* ROLLBACK on a shard that is in a transaction. */
MOSAIC_MUST_CHECK mosaic_status grow_roll_back(struct grow *grow, size_t shard);
void grow_add_name(struct buffer *sql, const struct table *table);
/* All tables, a comma between two. */
void grow_add_names(struct buffer *sql, const struct grow *grow);
void grow_say(struct apply *apply, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* grow_beside.c: views and publications of the home shard. Adds findings. */
MOSAIC_MUST_CHECK mosaic_status grow_check_beside(struct apply *apply, const struct table *table, mosaic_error *error);
/* Publications alone. Does the table return? */
MOSAIC_MUST_CHECK mosaic_status grow_check_publications(struct apply *apply, const struct table *table, bool returns,
                                                        mosaic_error *error);

/* grow_roles.c: roles that have something in the home database, their members, and the groups of those, where a shard
 * lacks them. */
MOSAIC_MUST_CHECK mosaic_status grow_check_roles(struct apply *apply, mosaic_error *error);
MOSAIC_MUST_CHECK mosaic_status grow_roles(struct grow *grow, mosaic_error *error);

/*
 * grow_drop.c: tables that are dropped on a shard.
 *
 * What DROP TABLE would refuse because of, one a row: schema and name of a view, or of the table that has a foreign
 * key, and that key's name; NULLs where it is neither; and what it is, in words.
 */
MOSAIC_MUST_CHECK mosaic_status grow_read_dependents(PGconn *connection, const char *shard, const char *table,
                                                     int timeout_ms, PGresult **result, mosaic_error *error);
/* Tables that an apply has made, to be dropped at once: they may have foreign keys to each other. */
struct grow_drop {
    struct buffer names, texts; /* as identifiers, and as literals of these; a comma between two */
};
#define GROW_DROP_INIT ((struct grow_drop){BUFFER_INIT(GROW_SQL_MOST), BUFFER_INIT(GROW_SQL_MOST)})
void grow_drop_add(struct grow_drop *drop, const char *schema, const char *name);
/* Appends the statements, which fail where something of others would go with the tables, and frees the names. False:
 * there were none. */
bool grow_drop_end(struct buffer *sql, struct grow_drop *drop);

/* grow_schema.c: definitions. */
MOSAIC_MUST_CHECK mosaic_status grow_dump(struct grow *grow, mosaic_error *error);
MOSAIC_MUST_CHECK mosaic_status grow_make(struct grow *grow, size_t shard);
MOSAIC_MUST_CHECK mosaic_status grow_finish(struct grow *grow, size_t shard);

/* grow_rows.c */
MOSAIC_MUST_CHECK mosaic_status grow_copy(struct grow *grow, mosaic_error *error);
MOSAIC_MUST_CHECK mosaic_status grow_verify(struct grow *grow, mosaic_error *error);
/* Of what is left on the home shard. */
MOSAIC_MUST_CHECK mosaic_status grow_verify_home(struct grow *grow, mosaic_error *error);
/* Of each part of the table, or of all as part 0: its number, count and sums. */
void grow_add_sums(struct buffer *sql, const struct growing *growing, bool by_part);
/* Begins a COPY into the table on this shard. What it fails with is the shard's error. */
MOSAIC_MUST_CHECK mosaic_status grow_put_begin(struct grow *grow, const struct growing *growing, size_t shard,
                                               struct grow_target *target);
MOSAIC_MUST_CHECK mosaic_status grow_put(struct grow_target *target, const char *row, size_t size, mosaic_error *error);
MOSAIC_MUST_CHECK mosaic_status grow_put_end(struct grow_target *target, mosaic_error *error);
/* The end of a COPY: what the server says of it. */
MOSAIC_MUST_CHECK mosaic_status grow_take_result(PGconn *connection, const char *name, mosaic_error *error);

/* grow_cut.c: the home shard's transaction. */
/* May this role end the sessions of a shard? Adds findings. */
MOSAIC_MUST_CHECK mosaic_status grow_check_sessions(struct apply *apply, size_t shard, mosaic_error *error);
MOSAIC_MUST_CHECK mosaic_status grow_lock(struct grow *grow, mosaic_error *error);
/* What a shard has failed with is what all of it fails with. */
MOSAIC_MUST_CHECK mosaic_status grow_fail(const struct grow *grow, size_t shard, mosaic_error *error);
/* With the lock: what was read of the tables before, and judged, still holds on this shard. */
MOSAIC_MUST_CHECK mosaic_status grow_look_again(struct grow *grow, size_t shard);
MOSAIC_MUST_CHECK mosaic_status grow_delete(struct grow *grow, mosaic_error *error);
/* From here on, until the commit, nobody reads the tables. */
MOSAIC_MUST_CHECK mosaic_status grow_fence(struct grow *grow, mosaic_error *error);
/* It has come to nothing, and the home shard is rolled back: the coordinator's epoch is the old one again. */
void grow_lower_coordinator(struct grow *grow);
/* Ends all other sessions of a database, and waits until they are gone. */
MOSAIC_MUST_CHECK mosaic_status grow_end_sessions(PGconn *connection, const char *name, mosaic_error *error);
/* Did the shard's statement fail because others have the table, so that it may be tried again? */
bool grow_is_lock_timeout(const struct grow *grow, size_t shard);
/* Between two tries. */
void grow_pause(void);
/* They were tried for long enough. */
mosaic_status grow_in_use(const struct grow *grow, size_t shard, mosaic_error *error);
/* Appends what switches the triggers of the table and of its partitions off, or on again as they were. */
void grow_set_triggers(struct buffer *sql, const struct growing *growing, bool enable);

#endif
