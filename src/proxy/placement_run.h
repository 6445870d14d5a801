/*
 * What mosaic.shard_table, reference_table and home_table do: the config with one table more or less, written beside
 * the old one; `pgmosaic apply` of it, in this process; and then the new file in the old one's place, in one step.
 * Blocks for as long as rows move.
 */
#ifndef MOSAIC_PROXY_PLACEMENT_RUN_H
#define MOSAIC_PROXY_PLACEMENT_RUN_H

#include "base/error.h"
#include "sql/facts.h"

struct placement_order {
    enum placement_kind kind;
    const char *table;                                    /* as typed, with its schema unless it is public */
    const char *key, *colocate_with, *function, *buckets; /* NULL: not given. key: columns, a comma between two */
    bool is_known;                                        /* the schema that the proxy has read has such a relation */
};

struct placement_outcome {
    char table[140]; /* as displayed */
    uint64_t rows;   /* that were moved, or copied */
};

/* Lines about what is done, for the client. */
typedef void (*placement_say_fn)(void *context, const char *line);

/*
 * MOSAIC_OK: the file at config_path is the new one, and the cluster is as it says. Otherwise the file is the old one,
 * and the cluster too, unless the error says more; MOSAIC_IN_DOUBT: that is not known, and the new file is kept. Its
 * waits end by pq_interrupt_thread.
 */
MOSAIC_MUST_CHECK mosaic_status placement_run(const char *config_path, const struct placement_order *order,
                                              placement_say_fn say, void *context, struct placement_outcome *outcome,
                                              mosaic_error *error);

#endif
