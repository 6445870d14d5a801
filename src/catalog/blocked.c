#include "catalog/blocked.h"

#include "base/buffer.h"
#include "catalog/decision.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define SESSION "pgmosaic deadlocks"

enum { SQL_MOST = 1 << 22 };

mosaic_status blocked_connect(const struct shard *shard, int64_t deadline, PGconn **connection, mosaic_error *error)
{
    /* A client's words cannot stand in for what is asked; nothing of it is to be slow or to end the session. */
    static const char settings[] = "SET search_path = pg_catalog; SET default_transaction_isolation = 'read "
                                   "committed'; SET statement_timeout = 0; "
                                   "SET jit = off";
    return pq_connect_with(shard->conninfo, shard->name, SESSION, settings, deadline, connection, error);
}

bool blocked_key(uint32_t pid, uint64_t number, uint64_t *key)
{
    *key = (uint64_t)pid << BLOCKED_NUMBER_BITS | number;
    return pid >> BLOCKED_PID_BITS == 0 && number >> BLOCKED_NUMBER_BITS == 0;
}

mosaic_status blocked_tell(PGconn *connection, const char *shard, const uint64_t *keys, size_t count, int64_t deadline,
                           mosaic_error *error)
{
    struct buffer sql = BUFFER_INIT(SQL_MOST);
    buffer_text(&sql, "SELECT pg_advisory_unlock_all(); SELECT pg_try_advisory_lock_shared(key) FROM unnest('{");
    for (size_t i = 0; i < count; i++)
        buffer_format(&sql, "%s%" PRId64, i ? "," : "", (int64_t)keys[i]);
    buffer_text(&sql, "}'::bigint[]) AS keys (key)");
    mosaic_status status = buffer_failed(&sql) ? error_memory(error)
                                               : pq_exec(connection, shard, buffer_string(&sql), deadline, NULL, error);
    buffer_free(&sql);
    return status;
}

/* Columns: kind, process, blocker or key, since, what, gid. A wait of a parallel worker's is its leader's. */
static const char look[] =
    "WITH me AS (SELECT datid, usesysid FROM pg_stat_activity WHERE pid = pg_backend_pid()),"
    " locks AS MATERIALIZED (SELECT * FROM pg_locks),"
    " waiting AS MATERIALIZED (SELECT coalesce(a.leader_pid, l.pid) AS process, l.*,"
    "   pg_blocking_pids(coalesce(a.leader_pid, l.pid)) AS blockers,"
    "   coalesce((extract(epoch FROM (to_jsonb(l) ->> 'waitstart')::timestamptz) * 1000000)::bigint, 0) AS since,"
    "   l.mode || ' on ' || CASE l.locktype"
    "     WHEN 'transactionid' THEN format('transaction %s', l.transactionid)"
    "     WHEN 'relation' THEN format('relation %s of database %s', l.relation, l.database)"
    "     WHEN 'tuple' THEN format('tuple (%s,%s) of relation %s of database %s', l.page, l.tuple, l.relation, "
    "l.database)"
    "     WHEN 'advisory' THEN format('advisory lock [%s,%s,%s,%s]', l.database, l.classid, l.objid, l.objsubid)"
    "     ELSE l.locktype END AS what"
    "   FROM locks AS l JOIN pg_stat_activity AS a ON a.pid = l.pid JOIN me ON me.datid = a.datid WHERE NOT l.granted)"
    " SELECT 'wait', process, blocker::bigint, since, what, NULL FROM waiting, unnest(blockers) AS b (blocker)"
    "   WHERE blocker <> 0"
    " UNION ALL SELECT 'prepared', w.process, NULL, w.since, w.what, p.gid FROM waiting AS w"
    "   JOIN locks AS l ON l.granted AND l.pid IS NULL AND l.locktype = w.locktype AND"
    "     (l.database, l.relation, l.page, l.tuple, l.transactionid, l.classid, l.objid, l.objsubid) IS NOT DISTINCT "
    "FROM"
    "     (w.database, w.relation, w.page, w.tuple, w.transactionid, w.classid, w.objid, w.objsubid)"
    "   JOIN locks AS x ON x.pid IS NULL AND x.locktype = 'transactionid' AND x.granted AND"
    "     x.virtualtransaction = l.virtualtransaction"
    "   JOIN pg_prepared_xacts AS p ON p.transaction = x.transactionid WHERE 0 = ANY (w.blockers)"
    " UNION ALL SELECT 'commit', w.process, l.classid::bigint << 32 | l.objid::bigint, 0, '', NULL FROM waiting AS w"
    "   JOIN locks AS l ON l.pid = w.pid AND l.granted AND l.locktype = 'advisory' AND l.objsubid = 1 AND"
    "     l.mode = 'ExclusiveLock'"
    " UNION ALL SELECT 'told', NULL, l.classid::bigint << 32 | l.objid::bigint, 0, '', NULL FROM locks AS l"
    "   JOIN pg_stat_activity AS a ON a.pid = l.pid JOIN me ON (me.datid, me.usesysid) = (a.datid, a.usesysid)"
    "   WHERE l.granted AND l.locktype = 'advisory' AND l.objsubid = 1 AND l.mode = 'ShareLock' AND"
    "     a.application_name = '" SESSION "'";

static int64_t number_in(const PGresult *answer, int row, int column)
{
    return strtoll(PQgetvalue(answer, row, column), NULL, 10);
}

static void take_row(const PGresult *answer, int row, size_t shard, struct waits *waits)
{
    static const char prefix[] = "mosaic:";
    const char *kind = PQgetvalue(answer, row, 0), *name = PQgetvalue(answer, row, 5);
    struct waits_process process = {shard, (uint64_t)number_in(answer, row, 1)};
    uint64_t key = (uint64_t)number_in(answer, row, 2);
    struct waits_edge edge = {.waiter = process,
                              .blocker = {shard, key},
                              .since = number_in(answer, row, 3),
                              .what = PQgetvalue(answer, row, 4)};
    struct gid gid;
    char part[SHARD_NAME_SIZE];
    if (strcmp(kind, "wait") == 0) {
        waits_add_edge(waits, &edge);
    } else if (strcmp(kind, "commit") == 0) {
        waits_add_name(waits, process, WAITS_COMMIT, key);
    } else if (strcmp(kind, "told") == 0) {
        process.id = key >> BLOCKED_NUMBER_BITS;
        waits_add_name(waits, process, WAITS_NUMBER, key & ((UINT64_C(1) << BLOCKED_NUMBER_BITS) - 1));
    } else if (gid_parse(name, &gid, part)) {
        char hex[GID_HEX_SIZE] = "";
        memcpy(hex, name + sizeof prefix - 1, sizeof hex - 1);
        edge.blocker = (struct waits_process){WAITS_PREPARED, (uint64_t)gid_lock_key(hex)};
        waits_add_edge(waits, &edge);
    }
}

mosaic_status blocked_look(PGconn *connection, const char *shard, size_t number, int64_t deadline, struct waits *waits,
                           mosaic_error *error)
{
    PGresult *answer;
    mosaic_status status = pq_exec(connection, shard, look, deadline, &answer, error);
    if (status != MOSAIC_OK)
        return status;
    for (int row = 0; row < PQntuples(answer); row++)
        take_row(answer, row, number, waits);
    PQclear(answer);
    return MOSAIC_OK;
}
