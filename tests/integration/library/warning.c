/* warning CONFIG: a row on each shard in one transaction; prints what a commit that succeeded warns of. */
#include "check.h"

int main(int count, char **words)
{
    mosaic_transaction *transaction;
    mosaic_error error;
    mosaic_statement insert = {.sql = "INSERT INTO entries VALUES (1)"};
    if (count != 2)
        return 2;
    mosaic_cluster *cluster = open_cluster(words[1], NULL);
    EXPECT(MOSAIC_OK, mosaic_begin(cluster, MOSAIC_TWO_PHASE, &transaction, &error));
    for (size_t shard = 0; shard < mosaic_shard_count(cluster); shard++)
        EXPECT(MOSAIC_OK, mosaic_transaction_exec_shard(transaction, shard, &insert, 10000, NULL, &error));
    EXPECT(MOSAIC_OK, mosaic_commit(transaction, 10000, &error));
    printf("%s\n", error.hint);
    mosaic_close(cluster);
    return 0;
}
