/*
 * The schema from the servers: everything that analysis must know of the home shard's database, read in one moment, and
 * the OIDs that its types have on the other shards.
 *
 *     schema_read_cluster(&model, "pgmosaic proxy", deadline, &schema, &report, error);   once, and after a change
 *     schema_stamp(home, name, deadline, &stamp, error);                                  every schema_check_interval
 */
#ifndef MOSAIC_CATALOG_SCHEMA_READ_H
#define MOSAIC_CATALOG_SCHEMA_READ_H

#include "pq/pq.h"
#include "sql/schema.h"

/* What a reading met that is no failure. */
struct schema_report {
    uint64_t stamp; /* schema_stamp's, of the same moment */
    /*
     * Shards whose types' OIDs could not be asked: there every type of a user counts as missing (0 in type_oids), so
     * that a value of one is refused and never misread. Read again once they are back.
     */
    size_t silent_count;
    size_t silent;       /* the first of them */
    mosaic_error reason; /* of the first of them */
};

/*
 * Reads the schema through a connection to the home shard, whose index is `home`; no transaction is open on it. The
 * other shards are connected to at once, each for one question, and only where the home shard has types whose OIDs can
 * differ. The model is completed (catalog_complete) and outlives the schema. On MOSAIC_OK schema_free it; `version` is
 * the caller's to set. `report` may be NULL.
 */
MOSAIC_MUST_CHECK mosaic_status schema_read(const struct model *model, size_t home, PGconn *connection,
                                            int64_t deadline, struct schema *schema, struct schema_report *report,
                                            mosaic_error *error);
/*
 * The same from nothing but a config: connects to the first shard, completes the model, finds the home shard (where the
 * catalog is), reads.
 */
MOSAIC_MUST_CHECK mosaic_status schema_read_cluster(struct model *model, const char *application_name, int64_t deadline,
                                                    struct schema *schema, struct schema_report *report,
                                                    mosaic_error *error);
/*
 * The schema as a transaction sees it that has changed it, for who asks its servers by other ways than libpq: the
 * statements of schema_question, with `search_path` pg_catalog, of the home shard, each answer in text; and
 * schema_oids_question of the other shards.
 */
enum { SCHEMA_ANSWERS = 9 };
struct buffer;
void schema_question(struct buffer *sql);
const char *schema_oids_question(void);
/*
 * Reads the answers, in the order of the questions; `oids`: of each place, NULL where it was not asked, which has the
 * OIDs that `before` has. Frees none of them. `version` is the caller's to set.
 */
MOSAIC_MUST_CHECK mosaic_status schema_take(const struct schema *before, PGresult *const *answers,
                                            PGresult *const *oids, struct schema *schema, mosaic_error *error);
/*
 * Has anything changed since? A number over what schema_read reads of user-made objects: it differs after any committed
 * change of them, and stays after VACUUM, ANALYZE, TRUNCATE, and temporary tables. One statement, some ms for each
 * thousand tables.
 *
 * Its limits: it sees what is committed, so a change is noticed up to one interval late. It looks at the home shard
 * alone: a type made again on another shard only (with another OID) is not seen. It is a sum of 64-bit hashes: two
 * changes that cancel out are as likely as a collision.
 */
MOSAIC_MUST_CHECK mosaic_status schema_stamp(PGconn *connection, const char *shard, int64_t deadline, uint64_t *stamp,
                                             mosaic_error *error);
/* A query that gives that number, as a bigint. */
const char *schema_stamp_query(void);
/* An expression, right under any search_path, that gives schema->sight on the home shard. */
const char *schema_sight_query(void);

#endif
