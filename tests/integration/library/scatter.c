/*
 * scatter CONFIG [text|binary] ORDER LIMIT SQL: the rows of all shards, a line each, then the status.
 * ORDER is "-" or columns as 0, 1d (descending), 2f (nulls first), 3l (nulls last), 1df …, with commas.
 */
#include "check.h"

struct seen {
    long rows;
    size_t ends;
    long stop_after;
};

static bool print_row(void *context, size_t shard, const PGresult *result, int row)
{
    struct seen *seen = context;
    (void)shard;
    for (int column = 0; column < PQnfields(result); column++) {
        if (column)
            putchar('\t');
        if (PQgetisnull(result, row, column))
            printf("\\N");
        else if (PQfformat(result, column) == 0)
            fwrite(PQgetvalue(result, row, column), 1, (size_t)PQgetlength(result, row, column), stdout);
        else
            for (int i = 0; i < PQgetlength(result, row, column); i++)
                printf("%02x", (unsigned char)PQgetvalue(result, row, column)[i]);
    }
    putchar('\n');
    return ++seen->rows == seen->stop_after;
}

static void count_end(void *context, size_t shard, const PGresult *result)
{
    (void)shard;
    CHECK(result && PQntuples(result) == 0);
    ((struct seen *)context)->ends++;
}

static size_t read_order(char *text, mosaic_order *order)
{
    size_t count = 0;
    for (char *part = strtok(text, ","); part && strcmp(text, "-") != 0; part = strtok(NULL, ",")) {
        char *rest;
        order[count] = (mosaic_order){.column = (int)strtol(part, &rest, 10)};
        for (; *rest; rest++) {
            order[count].descending |= *rest == 'd';
            if (*rest == 'f' || *rest == 'l')
                order[count].nulls = *rest == 'f' ? MOSAIC_NULLS_FIRST : MOSAIC_NULLS_LAST;
        }
        count++;
    }
    return count;
}

/* KiB of memory at most so far, of this program alone. */
static long peak_memory(void)
{
    char line[200];
    long peak = 0;
    FILE *file = fopen("/proc/self/status", "r");
    while (file && fgets(line, sizeof line, file))
        if (strncmp(line, "VmHWM:", 6) == 0)
            peak = atol(line + 6);
    CHECK(file && fclose(file) == 0);
    return peak;
}

int main(int count, char **words)
{
    CHECK(count == 6);
    mosaic_order order[16];
    mosaic_error error = {0};
    struct seen seen = {.stop_after = getenv("STOP_AFTER") ? atol(getenv("STOP_AFTER")) : -1};
    const char *timeout = getenv("TIMEOUT_MS");
    mosaic_cluster *cluster = open_cluster(words[1], &(mosaic_options){.pool_size = 1});
    mosaic_statement statement = {.sql = words[5], .result_format = strcmp(words[2], "binary") == 0};
    mosaic_scatter scatter = {.row = print_row,
                              .end = count_end,
                              .context = &seen,
                              .order = order,
                              .order_count = read_order(words[3], order),
                              .limit = strtoull(words[4], NULL, 10),
                              .timeout_ms = timeout ? atoi(timeout) : 60000};
    double start = seconds();
    mosaic_status status = mosaic_exec_all(cluster, &statement, &scatter, &error);
    double took = seconds() - start;
    printf("%s rows=%ld ends=%zu took=%.3f peak=%ld shard=%s %s | %s\n", mosaic_status_name(status), seen.rows,
           seen.ends, took, peak_memory(), error.shard, error.message, error.hint);
    /* Whatever happened, all connections serve again: there is one a shard. */
    for (size_t shard = 0; getenv("AFTERWARDS") && shard < mosaic_shard_count(cluster); shard++)
        CHECK(number_on(cluster, shard, "SELECT 41 + 1") == 42);
    mosaic_close(cluster);
    return 0;
}
