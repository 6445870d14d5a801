/*
 * One run of pgmosaic exec: what its files share.
 *
 *     exec.c   running, committing, the command     exec_target.c   which shards     exec_script.c   the SQL
 */
#ifndef MOSAIC_CLI_EXEC_H
#define MOSAIC_CLI_EXEC_H

#include "base/buffer.h"
#include "cli/command.h"
#include "cli/rows.h"
#include "core/model.h"
#include "core/script.h"
#include "pq/pq.h"

enum { SCRIPT_MOST = 64 * 1024 * 1024, TAG_SIZE = 64 };

struct target {
    size_t shard;
    const char *name;
    PGconn *connection;
    char tag[TAG_SIZE]; /* of the statement that was run last */
    bool rows;          /* it had rows, so that no tag is shown */
    mosaic_status status;
    mosaic_error error;
};

struct exec {
    const struct invocation *invocation;
    struct model model;
    bool has_model;
    struct target *targets;
    size_t count;
    struct buffer text; /* of the script */
    struct script script;
    const char *file; /* NULL: SQL from the command line */
    bool transaction, quiet;
    struct rows *rows;
    int64_t deadline;
    struct buffer sql; /* of one statement */
    mosaic_error *error;
};

/* exec_target.c. Reads the config, and allocates exec->targets; nothing is connected yet. */
MOSAIC_MUST_CHECK mosaic_status exec_choose_targets(struct exec *exec);
MOSAIC_MUST_CHECK mosaic_status exec_connect(const struct exec *exec, size_t shard, PGconn **connection,
                                             mosaic_error *error);
/* exec_script.c. Reads all of the SQL, and refuses what cannot be run before anything is. */
MOSAIC_MUST_CHECK mosaic_status exec_read_script(struct exec *exec);

#endif
