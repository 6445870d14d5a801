#include "pq/advice.h"

#include <stddef.h>
#include <string.h>

static const struct {
    const char *words; /* of the message */
    const char *hint;
} advice[] = {
    {"modifying the partition value of rows", "the key says where a row lives: in one transaction, DELETE the row and "
                                              "INSERT it with its new key"},
    {"creating unique indexes on non-partition columns", "add the distribution column to the index: each node sees its "
                                                         "own rows only"},
    {"cannot create constraint on ", "add the distribution column to the constraint: each node sees its own rows only"},
    {"must not be VOLATILE", "compute the value first and give it as a constant"},
    {"involving partition column",
     "the key of a distributed table stays as it is: make a new table, copy the rows, and "
     "rename it; or undistribute_table() first"},
    {"cannot create foreign key constraint", "make the tables colocated and begin the foreign key with the key, or "
                                             "make the other one a reference table"},
    {"partition column of table", "give every row its key: without one it has no shard"},
    {"without a partition column value", "give every row its key: without one it has no shard"},
    {"triggers are not supported on distributed tables", "do it in the statement or in the program that writes; or SET "
                                                         "citus.enable_unsafe_triggers, and read what that means"},
    {"complex joins are only supported", "join by the keys of colocated tables, or SET citus.enable_repartition_joins "
                                         "= on, which sends rows between the nodes"},
    {"the query contains a join that requires repartitioning", "SET citus.enable_repartition_joins = on, which sends "
                                                               "rows between the nodes; or join by the keys"},
    {"cannot use 2PC in transactions involving", "COMMIT: Citus does a two-phase commit over its nodes by itself"},
    {"connection to the remote node", "a node does not answer the coordinator: pgmosaic status shows which"},
    {"connection not open", "a node does not answer the coordinator: pgmosaic status shows which"},
};

/* Said only of tables that Citus spreads. */
static const char *const marks[] = {"distributed", "co-located",       "colocated", "shard ",
                                    "shards",      "partition column", "Citus"};

const char *pq_advice(const char *sqlstate, const char *message)
{
    for (size_t i = 0; i < sizeof advice / sizeof advice[0]; i++)
        if (strstr(message, advice[i].words))
            return advice[i].hint;
    if (strcmp(sqlstate, "0A000") != 0)
        return NULL;
    for (size_t i = 0; i < sizeof marks / sizeof marks[0]; i++)
        if (strstr(message, marks[i]))
            return "Citus cannot spread this statement: filter each table by one key, join by keys of colocated "
                   "tables, or do it in steps through a temporary or a reference table";
    return NULL;
}
