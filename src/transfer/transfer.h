/*
 * Copying tables from one cluster to another, of any engine: `pgmosaic copy`. docs/design/copy.md tells why it is so.
 *
 *     look      both sides are asked; what speaks against it is found before anything is changed
 *     marker    what this copy makes is written down on the target, so that whoever comes next can remove it
 *     snapshot  one for each source node: definitions, rows and sums of a node are of one moment
 *     schema    pg_dump's definitions, without indexes and constraints; apply spreads the tables
 *     rows      from each source node by COPY binary, split by key to the target's shards
 *     finish    indexes, constraints, sequences
 *     verify    rows counted and summed up by the servers of both sides
 *
 * A copy that fails removes what it made; one that is killed is removed by the next copy, or by transfer_abort.
 */
#ifndef MOSAIC_TRANSFER_TRANSFER_H
#define MOSAIC_TRANSFER_TRANSFER_H

#include "catalog/finding.h"
#include "catalog/introspect.h"
#include "core/model.h"

/* One node that rows are read from: a shard, or the coordinator of a Citus cluster. */
struct transfer_source {
    PGconn *connection; /* in a REPEATABLE READ transaction, so that all tables are of one moment */
    const char *name;
};

struct transfer_table {
    const struct table *table;       /* of the target's config */
    const struct table_facts *facts; /* of the source, from its first node */
    bool everywhere;                 /* the source has all of its rows on every node */
    bool creates;                    /* the target has no such table yet; else it has an empty one */
    uint64_t rows;                   /* copied */
};

/* Called with one line about each step; by one thread at a time. */
typedef void (*transfer_say_fn)(void *context, const char *line);
/* Rows and bytes of a table so far; several times a second; by one thread at a time. */
typedef void (*transfer_progress_fn)(void *context, const char *table, uint64_t rows, uint64_t bytes, bool done);

struct transfer_options {
    const char *const *tables; /* as typed; none: all that both configs have */
    size_t table_count;
    int timeout_ms; /* of a server that gives no sign of life */
    transfer_say_fn say;
    transfer_progress_fn progress;
    void *context;
    const volatile int *interrupted;
};

struct transfer {
    struct arena arena;
    struct transfer_options options;
    struct model *from, *to;
    const char *from_path, *to_path; /* of the configs */
    struct transfer_source *sources;
    size_t source_count;
    const char *snapshot; /* of the first source, as pg_export_snapshot names it, once there is one */
    struct transfer_table *tables;
    size_t table_count;
    PGconn **targets; /* of each shard of the target */
    struct findings findings;
    const char *unfinished; /* when an earlier copy was cut off: when it began; else NULL */
};

/* Looks at both sides. On MOSAIC_OK findings say what speaks against it. transfer_close in any case. */
MOSAIC_MUST_CHECK mosaic_status transfer_look(struct transfer *transfer, mosaic_error *error);
/* Copies and verifies, after a look that found nothing against it and nothing unfinished. On failure what was made is
 * removed, and the error's hint says if that failed too. */
MOSAIC_MUST_CHECK mosaic_status transfer_do(struct transfer *transfer, mosaic_error *error);
/* Compares the tables of both sides; each difference is said. *equal is false when there is one. */
MOSAIC_MUST_CHECK mosaic_status transfer_verify(struct transfer *transfer, bool *equal, mosaic_error *error);
/* Removes what a copy that was cut off has made on the target. *removed: there was one. */
MOSAIC_MUST_CHECK mosaic_status transfer_abort(struct transfer *transfer, bool *removed, mosaic_error *error);
void transfer_close(struct transfer *transfer);

/* ---- between the files of this folder ------------------------------------------------------------------ */

/* side.c. Opens what is to be read, each node in its transaction. */
MOSAIC_MUST_CHECK mosaic_status transfer_open_sources(struct transfer *transfer, mosaic_error *error);
MOSAIC_MUST_CHECK mosaic_status transfer_open_targets(struct transfer *transfer, mosaic_error *error);
/* Appends schema.name, quoted. */
void transfer_add_name(struct buffer *sql, const struct table *table);
/* The same as a text of the arena; NULL when memory is out. */
const char *transfer_name(struct transfer *transfer, const struct table *table);
/* Has the table of this name, as transfer_name gives it, rows on a shard of the target? Those that a policy hides from
 * this role are an error. */
MOSAIC_MUST_CHECK mosaic_status transfer_has_rows(struct transfer *transfer, size_t shard, const char *name, bool *rows,
                                                  mosaic_error *error);
/* Runs a statement on every shard of the target, one after the other. */
MOSAIC_MUST_CHECK mosaic_status transfer_on_targets(struct transfer *transfer, const char *sql, mosaic_error *error);
__attribute__((format(printf, 2, 3))) void transfer_say(const struct transfer *transfer, const char *format, ...);

/* marker.c */
/* Takes the copy's lock; transfer->unfinished is set where a copy was cut off. */
MOSAIC_MUST_CHECK mosaic_status marker_find(struct transfer *transfer, mosaic_error *error);
MOSAIC_MUST_CHECK mosaic_status marker_write(struct transfer *transfer, mosaic_error *error);
/* Writes down which the tables are that stand on the target now: before rows come into them. */
MOSAIC_MUST_CHECK mosaic_status marker_note(struct transfer *transfer, mosaic_error *error);
/* Removes what the marker names, and then the marker. Refuses before anything is removed where a table is another now.
 */
MOSAIC_MUST_CHECK mosaic_status marker_undo(struct transfer *transfer, mosaic_error *error);
MOSAIC_MUST_CHECK mosaic_status marker_remove(struct transfer *transfer, mosaic_error *error);

/* schema.c */
MOSAIC_MUST_CHECK mosaic_status schema_create(struct transfer *transfer, mosaic_error *error);
MOSAIC_MUST_CHECK mosaic_status schema_finish(struct transfer *transfer, mosaic_error *error);

/* sequences.c. Of all copied tables' columns, on every shard, once the rows and the columns' defaults are there. */
MOSAIC_MUST_CHECK mosaic_status sequences_set(struct transfer *transfer, mosaic_error *error);

/* rows.c */
MOSAIC_MUST_CHECK mosaic_status rows_copy(struct transfer *transfer, mosaic_error *error);

#endif
