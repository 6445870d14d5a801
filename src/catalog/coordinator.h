/*
 * The coordinator: a database without data that sees the whole cluster through postgres_fdw, for statements that no
 * lower tier can answer (docs/design/coordinator.md).
 *
 *     what the shards have          what the coordinator has, under the same name, with the same grants
 *     sharded table                 a table partitioned by the owner of its key's bucket, one foreign partition a shard
 *     reference and home tables,    a foreign table on the home shard
 *       materialized views
 *     partition of a sharded table  as a sharded table, attached to nothing
 *     view, function, type, domain  itself
 *       operator, collation …
 *     table with row security       a view that refuses to be read: its policies do not stand here
 *
 * `key = 5` does not prune partitions; the condition that plan/prune.c says, beside it, does.
 *
 * What it cannot say, and who routes must not send here: ONLY (foreign partitions stand behind every table), system
 * columns (tableoid, ctid, xmin …), TABLESAMPLE, FOR UPDATE and SHARE, columns that are functionally dependent on a
 * primary key in GROUP BY (it has no keys: 42803), sequences, questions to pg_catalog about tables.
 */
#ifndef MOSAIC_CATALOG_COORDINATOR_H
#define MOSAIC_CATALOG_COORDINATOR_H

#include "base/buffer.h"
#include "core/model.h"
#include "pq/pq.h"

enum { COORDINATOR_FINGERPRINT_SIZE = 80 };

/*
 * All that the coordinator's definitions depend on, as a text: what stands on the home shard (columns, types, enums,
 * functions, views, grants, owners …), and the map (tables, rules, owners of buckets, addresses of shards), but for
 * the epoch. `home` is a connection to the home shard; the model is completed. One statement, some ms for each thousand
 * tables.
 */
MOSAIC_MUST_CHECK mosaic_status coordinator_fingerprint(PGconn *home, const struct model *model, int64_t deadline,
                                                        char fingerprint[COORDINATOR_FINGERPRINT_SIZE],
                                                        mosaic_error *error);
/*
 * May tier 4 be used: is the database behind `coordinator` this cluster's, of the model's epoch, complete, and made
 * from what stands on the home shard now? MOSAIC_OK: yes. MOSAIC_STALE: no; the message says why in one line, the hint
 * what to do. Anything else: it could not be found out. Two statements, one on each connection, by any role that may
 * log in to both.
 *
 * It holds for the moment of the question. A change of definitions afterwards is seen by schema_stamp (schema_read.h)
 * too, one of the map by the epoch: so ask when the schema was read, and again while the answer was no.
 */
MOSAIC_MUST_CHECK mosaic_status coordinator_check(PGconn *home, PGconn *coordinator, const struct model *model,
                                                  int64_t deadline, mosaic_error *error);
/*
 * The judgement of coordinator_question's answer alone (NULL: the server has no such table), against a fingerprint that
 * was made before, for who waits for the answer himself.
 */
extern const char coordinator_question[];
/* Asks it; *answer is NULL where there is no such table. PQclear it. */
MOSAIC_MUST_CHECK mosaic_status coordinator_ask(PGconn *coordinator, int64_t deadline, PGresult **answer,
                                                mosaic_error *error);
MOSAIC_MUST_CHECK mosaic_status coordinator_judge(const struct model *model, const PGresult *answer,
                                                  const char *fingerprint, mosaic_error *error);

#endif
