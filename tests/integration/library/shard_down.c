/* shard_down CONFIG: for each line on stdin, a statement on shard 1; prints status, shard, milliseconds, message. */
#include "check.h"

int main(int count, char **words)
{
    CHECK(count == 2);
    mosaic_cluster *cluster = open_cluster(words[1], &(mosaic_options){.retry_max_ms = 500, .pool_size = 3});
    char line[100];
    while (fgets(line, sizeof line, stdin)) {
        mosaic_error error = {0};
        double start = seconds();
        mosaic_status status =
            line[0] == 'a'
                ? mosaic_exec_all(cluster, &(mosaic_statement){.sql = "SELECT 1"}, NULL, &error)
                : mosaic_exec_shard(cluster, line[0] == '0' ? 0 : 1,
                                    &(mosaic_statement){.sql = line[0] == 's' ? "SELECT pg_sleep(30)" : "SELECT 1"},
                                    40000, NULL, &error);
        printf("%s shard=%s ms=%.0f %s\n", mosaic_status_name(status), error.shard, (seconds() - start) * 1000,
               error.message);
        fflush(stdout);
    }
    mosaic_close(cluster);
    return 0;
}
