#include "citus/progress.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

const char *rebalance_outcome_name(enum rebalance_outcome outcome)
{
    static const char *const names[] = {
#define X(identifier, name) name,
        REBALANCE_LIST(X)
#undef X
    };
    return names[outcome];
}

const struct rebalance_task *rebalance_culprit(const struct rebalance_job *job)
{
    const struct rebalance_task *found = NULL;
    for (size_t i = 0; i < job->task_count; i++) {
        const struct rebalance_task *task = &job->tasks[i];
        if (*task->message && !task->running && (!found || task->retries > found->retries))
            found = task;
    }
    return found;
}

static bool waits_after_failure(const struct rebalance_job *job)
{
    for (size_t i = 0; i < job->task_count; i++)
        if (!job->tasks[i].running && job->tasks[i].retries > 0)
            return true;
    return false;
}

enum rebalance_outcome rebalance_judge(const struct rebalance_job *job)
{
    if (!job->id)
        return REBALANCE_NONE;
    if (strcmp(job->state, "finished") == 0)
        return REBALANCE_FINISHED;
    if (strcmp(job->state, "failed") == 0)
        return REBALANCE_FAILED;
    if (strcmp(job->state, "cancelled") == 0)
        return REBALANCE_CANCELLED;
    if (strcmp(job->state, "cancelling") == 0 || strcmp(job->state, "failing") == 0)
        return REBALANCE_STOPPING;
    return job->running == 0 && waits_after_failure(job) ? REBALANCE_STUCK : REBALANCE_MOVING;
}

bool rebalance_is_open(enum rebalance_outcome outcome)
{
    return outcome == REBALANCE_MOVING || outcome == REBALANCE_STUCK || outcome == REBALANCE_STOPPING;
}

/* The words are those of PostgreSQL's src/backend/replication (slot.c, logical.c, walsender.c) and of libpq, and of
 * Citus's operations/shard_rebalancer.c and shard_transfer.c. The first that a message has counts. */
static const struct {
    const char *words, *advice;
} advices[] = {
    {"replication slots are in use",
     "on the node that gives the shard away drop replication slots that nobody uses (pg_replication_slots, "
     "pg_drop_replication_slot), or raise max_replication_slots and restart it; it is then tried again by itself"},
    {"max_wal_senders", "raise max_wal_senders on the node that gives the shard away and restart it"},
    {"wal_level", "set wal_level = logical on every worker and restart it; or stop, and move with writes blocked: "
                  "pgmosaic rebalance --stop, then pgmosaic rebalance --mode block_writes"},
    {"REPLICA IDENTITY", "give the table a primary key or a replica identity (ALTER TABLE … REPLICA IDENTITY FULL); or "
                         "stop, and start again with --mode block_writes"},
    {"not enough empty space", "make room on the disk of the node that gets the shard"},
    {"No space left", "make room on the disk of the node that gets the shard"},
    {"password", "let the nodes log in to each other as the role that started the job: its password belongs in the "
                 "passfile of every node, or in pg_dist_authinfo"},
    {"pg_hba.conf", "let pg_hba.conf of that node allow the other nodes"},
    {"Could not fetch disk stats", "a node is down: start it; it is then tried again by itself"},
    {"not responsive", "a node is down: start it; it is then tried again by itself"},
    {"connection", "a node is down or cannot be reached: start it; it is then tried again by itself"},
    {"must be owner", "start it as a role that owns all distributed tables"},
    {"lock timeout", "a long transaction holds the table: end it (pg_stat_activity)"},
};

const char *rebalance_advice(const char *message)
{
    for (size_t i = 0; i < sizeof advices / sizeof *advices; i++)
        if (strstr(message, advices[i].words))
            return advices[i].advice;
    return "see the logs of the coordinator and of both nodes; pgmosaic rebalance --stop ends the job, and a new one "
           "goes on with what is left";
}

const char *rebalance_describe(const struct rebalance_task *task, char *text, size_t size)
{
    if (task->shard)
        snprintf(text, size, "shard %" PRId64 "%s%s, %s -> %s", task->shard, *task->table ? " of " : "", task->table,
                 task->from, task->to);
    else
        snprintf(text, size, "the reference tables, to the nodes that lack them");
    return text;
}
