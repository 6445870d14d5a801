/*
 * Transactions over one shard or several. A shard joins with its first statement (BEGIN is lazy); COMMIT over several
 * is the two-phase commit of catalog/twophase.h, which recovery understands.
 *
 * A transaction holds a connection of each of its shards until it ends. Programs whose transactions use several shards
 * in different orders, with pools that are full, can wait for each other until a deadline; using shards in ascending
 * order avoids it.
 */
#include "base/memory.h"
#include "catalog/twophase.h"
#include "client/acquire.h"
#include "client/call.h"
#include "client/statement.h"

#include <stdlib.h>

enum { ROLLBACK_MS = 1000 /* a shard that takes longer loses the connection, which rolls back as well */ };

struct member {
    size_t shard;
    struct lease *lease;
};

struct mosaic_transaction {
    mosaic_cluster *cluster;
    mosaic_atomicity atomicity;
    struct member *members; /* in the order of joining; room for one of each shard */
    size_t count;
    bool failed;
};

mosaic_status mosaic_begin(mosaic_cluster *cluster, mosaic_atomicity atomicity, mosaic_transaction **begun,
                           mosaic_error *error)
{
    if (!cluster || !begun)
        return error_set(error, MOSAIC_USAGE, "mosaic_begin: a cluster and a place for the transaction are needed");
    *begun = NULL;
    if (atomicity != MOSAIC_ONE_SHARD && atomicity != MOSAIC_TWO_PHASE)
        return error_set(error, MOSAIC_USAGE, "mosaic_begin: %d is no atomicity", (int)atomicity);
    mosaic_transaction *transaction = memory_zeroed(1, sizeof *transaction);
    size_t room = atomicity == MOSAIC_ONE_SHARD ? 1 : cluster->shard_count;
    if (transaction)
        transaction->members = memory_zeroed(room, sizeof *transaction->members);
    if (!transaction || !transaction->members) {
        memory_free(transaction);
        return error_memory(error);
    }
    transaction->cluster = cluster;
    transaction->atomicity = atomicity;
    *begun = transaction;
    return MOSAIC_OK;
}

/* ---- statements ------------------------------------------------------------------------------------- */

static struct member *find_member(mosaic_transaction *transaction, size_t shard)
{
    for (size_t i = 0; i < transaction->count; i++)
        if (transaction->members[i].shard == shard)
            return &transaction->members[i];
    return NULL;
}

static mosaic_status refuse_second(const mosaic_transaction *transaction, size_t shard, mosaic_error *error)
{
    error_set(error, MOSAIC_UNSUPPORTED, "the transaction is for one shard, %s, and the statement is for shard %s",
              mosaic_shard_name(transaction->cluster, transaction->members[0].shard),
              mosaic_shard_name(transaction->cluster, shard));
    error_hint(error, "begin it with MOSAIC_TWO_PHASE; what was done so far stands and can be committed");
    return MOSAIC_UNSUPPORTED;
}

/* Takes over the lease; on failure it has gone back. */
static mosaic_status join(mosaic_transaction *transaction, size_t shard, struct lease *lease, int64_t deadline,
                          struct member **joined, mosaic_error *error)
{
    const char *name = lease->pool->name;
    mosaic_status status = pq_exec(lease->connection, name, "BEGIN", deadline, NULL, error);
    if (status != MOSAIC_OK) {
        pool_give(lease);
        return status;
    }
    struct member *member = &transaction->members[transaction->count++];
    *member = (struct member){.shard = shard, .lease = lease};
    *joined = member;
    return MOSAIC_OK;
}

static mosaic_status check_result(const struct member *member, PGresult **result, mosaic_error *error)
{
    ExecStatusType kind = PQresultStatus(*result);
    const char *name = member->lease->pool->name;
    mosaic_status status = MOSAIC_OK;
    if (kind == PGRES_COPY_IN || kind == PGRES_COPY_OUT || kind == PGRES_COPY_BOTH) {
        status = error_set(error, MOSAIC_UNSUPPORTED, "COPY cannot run as a statement of a transaction");
        error_hint(error, "load with mosaic_load_table");
    } else if (PQtransactionStatus(member->lease->connection) != PQTRANS_INTRANS) {
        status = error_set(error, MOSAIC_USAGE, "the statement ended the transaction on its shard");
        error_hint(error, "end it with mosaic_commit or mosaic_rollback");
    }
    if (status == MOSAIC_OK)
        return status;
    error_shard(error, name);
    PQclear(*result);
    *result = NULL;
    return status;
}

static mosaic_status run(struct member *member, const mosaic_statement *statement, int64_t deadline, PGresult **result,
                         mosaic_error *error)
{
    PGconn *connection = member->lease->connection;
    const char *name = member->lease->pool->name;
    PGresult *got = NULL;
    if (PQsetnonblocking(connection, 1) != 0 ||
        !PQsendQueryParams(connection, statement->sql, statement->count, statement->types, statement->values,
                           statement->lengths, statement->formats, statement->result_format))
        return pq_result_error(connection, NULL, name, error);
    mosaic_status status = pq_finish_statement(connection, name, deadline, &got, error);
    if (status == MOSAIC_OK)
        status = check_result(member, &got, error);
    if (statement_marks_session(statement->sql))
        member->lease->dirty = true;
    if (status == MOSAIC_OK && result)
        *result = got;
    else
        PQclear(got);
    return status;
}

static mosaic_status check_usable(const mosaic_transaction *transaction, const mosaic_statement *statement,
                                  mosaic_error *error)
{
    mosaic_status status = statement_check(statement, error);
    if (status != MOSAIC_OK)
        return status;
    if (transaction->failed) {
        error_set(error, MOSAIC_USAGE, "a statement of the transaction has failed: it can only be rolled back");
        error_sqlstate(error, "25P02");
        return MOSAIC_USAGE;
    }
    if (statement_kind(statement->sql) != STATEMENT_BOUNDARY)
        return MOSAIC_OK;
    error_set(error, MOSAIC_USAGE,
              "statements that begin, prepare or end transactions or savepoints are not possible here");
    error_hint(error, "end the transaction with mosaic_commit or mosaic_rollback");
    return MOSAIC_USAGE;
}

/* `lease` is NULL for a shard that has joined. */
static mosaic_status run_on(mosaic_transaction *transaction, size_t shard, struct lease *lease,
                            const mosaic_statement *statement, int64_t deadline, PGresult **result, mosaic_error *error)
{
    struct member *member = find_member(transaction, shard);
    mosaic_status status = MOSAIC_OK;
    if (!member)
        status = join(transaction, shard, lease, deadline, &member, error);
    if (status == MOSAIC_OK)
        status = run(member, statement, deadline, result, error);
    transaction->failed = status != MOSAIC_OK;
    return status;
}

/* What stands before every statement: the checks that look at no shard, and its deadline. */
static mosaic_status begin_statement(const mosaic_transaction *transaction, const mosaic_statement *statement,
                                     int timeout_ms, int64_t *deadline, PGresult **result, mosaic_error *error)
{
    if (result)
        *result = NULL;
    if (!transaction)
        return error_set(error, MOSAIC_USAGE, "no transaction given");
    mosaic_status status = check_usable(transaction, statement, error);
    return status == MOSAIC_OK ? cluster_deadline(transaction->cluster, timeout_ms, deadline, error) : status;
}

static bool may_join(const mosaic_transaction *transaction)
{
    return transaction->atomicity != MOSAIC_ONE_SHARD || transaction->count == 0;
}

mosaic_status mosaic_transaction_exec_shard(mosaic_transaction *transaction, size_t shard,
                                            const mosaic_statement *statement, int timeout_ms, PGresult **result,
                                            mosaic_error *error)
{
    int64_t deadline;
    struct lease *lease = NULL;
    mosaic_status status = begin_statement(transaction, statement, timeout_ms, &deadline, result, error);
    if (status == MOSAIC_OK)
        status = acquire_check_shard(transaction->cluster, shard, error);
    if (status != MOSAIC_OK)
        return status;
    if (!find_member(transaction, shard)) {
        if (!may_join(transaction))
            return refuse_second(transaction, shard, error);
        status = acquire_shard(transaction->cluster, shard, deadline, &lease, error);
    }
    if (status != MOSAIC_OK) {
        transaction->failed = true;
        return status;
    }
    return run_on(transaction, shard, lease, statement, deadline, result, error);
}

/*
 * A new member's connection may bring news of a newer map, by which the key may live elsewhere: so the key is looked up
 * again once the connection is there (acquire_key). A shard that is a member already is as new as its connection.
 */
mosaic_status mosaic_transaction_exec(mosaic_transaction *transaction, const char *table, mosaic_key key,
                                      const mosaic_statement *statement, int timeout_ms, PGresult **result,
                                      mosaic_error *error)
{
    int64_t deadline;
    mosaic_place place;
    struct lease *lease;
    mosaic_status status = begin_statement(transaction, statement, timeout_ms, &deadline, result, error);
    if (status == MOSAIC_OK)
        status = mosaic_locate(transaction->cluster, table, key, &place, error);
    if (status != MOSAIC_OK)
        return status;
    if (find_member(transaction, place.shard))
        return run_on(transaction, place.shard, NULL, statement, deadline, result, error);
    if (!may_join(transaction))
        return refuse_second(transaction, place.shard, error);
    status = acquire_key(transaction->cluster, table, key, deadline, &lease, error);
    if (status != MOSAIC_OK) {
        transaction->failed = true;
        return status;
    }
    size_t shard = lease->pool->shard;
    if (find_member(transaction, shard)) { /* the key has moved to a shard that is a member */
        pool_give(lease);
        lease = NULL;
    }
    return run_on(transaction, shard, lease, statement, deadline, result, error);
}

/* ---- the end ---------------------------------------------------------------------------------------- */

static void free_transaction(mosaic_transaction *transaction)
{
    memory_free(transaction->members);
    memory_free(transaction);
}

static void roll_back(struct lease *lease, int64_t deadline)
{
    PGTransactionStatusType state = PQtransactionStatus(lease->connection);
    if (state == PQTRANS_ACTIVE) {
        pool_reap(lease, true);
        return;
    }
    if (state == PQTRANS_INTRANS || state == PQTRANS_INERROR) {
        mosaic_status ignored = pq_exec(lease->connection, lease->pool->name, "ROLLBACK", deadline, NULL, NULL);
        (void)ignored; /* the pool closes a connection that is still in a transaction, which rolls back */
    }
    pool_give(lease);
}

void mosaic_rollback(mosaic_transaction *transaction)
{
    if (!transaction)
        return;
    int64_t deadline = pq_deadline(ROLLBACK_MS);
    for (size_t i = 0; i < transaction->count; i++)
        roll_back(transaction->members[i].lease, deadline);
    free_transaction(transaction);
}

static int by_shard(const void *one, const void *two)
{
    size_t a = ((const struct participant *)one)->shard, b = ((const struct participant *)two)->shard;
    return (a > b) - (a < b);
}

static mosaic_status commit(mosaic_transaction *transaction, int64_t deadline, mosaic_error *error)
{
    size_t count = transaction->count;
    struct participant *participants = memory_zeroed(count, sizeof *participants);
    if (!participants)
        return error_memory(error);
    for (size_t i = 0; i < count; i++)
        participants[i] = (struct participant){.connection = transaction->members[i].lease->connection,
                                               .shard = transaction->members[i].shard};
    qsort(participants, count, sizeof *participants, by_shard);
    struct snapshot *snapshot = cluster_snapshot(transaction->cluster);
    mosaic_status status = twophase_commit(&snapshot->model, participants, count, deadline, error);
    snapshot_release(snapshot);
    memory_free(participants);
    return status;
}

mosaic_status mosaic_commit(mosaic_transaction *transaction, int timeout_ms, mosaic_error *error)
{
    int64_t deadline;
    if (!transaction)
        return error_set(error, MOSAIC_USAGE, "no transaction given");
    mosaic_status status = cluster_deadline(transaction->cluster, timeout_ms, &deadline, error);
    if (status == MOSAIC_OK && transaction->failed) {
        status = error_set(error, MOSAIC_USAGE, "a statement of the transaction had failed: it was rolled back");
        error_sqlstate(error, "25P02");
    }
    if (status == MOSAIC_OK)
        error_set(error, MOSAIC_OK, "committed"); /* also for one that no shard has joined */
    if (status == MOSAIC_OK && transaction->count)
        status = commit(transaction, deadline, error);
    mosaic_rollback(transaction); /* frees it; nothing is left to roll back after a commit */
    return status;
}
