/* What the programs of test_library.py share: they exit 1 at the first thing that is not as it should be. */
#ifndef LIBRARY_CHECK_H
#define LIBRARY_CHECK_H

#include <libpq-fe.h>
#include <pgmosaic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define CHECK(condition)                                                    \
    do {                                                                    \
        if (!(condition)) {                                                 \
            fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition); \
            exit(1);                                                        \
        }                                                                   \
    } while (0)

/* The status must be this one; else what the error says is printed. */
#define EXPECT(wanted, call)                                                                                        \
    do {                                                                                                            \
        mosaic_status got_ = (call);                                                                                \
        if (got_ != (wanted)) {                                                                                     \
            fprintf(stderr, "%s:%d: %s, not %s: [%s] %s | %s | %s\n", __FILE__, __LINE__, mosaic_status_name(got_), \
                    mosaic_status_name(wanted), error.shard, got_ ? error.message : "", got_ ? error.detail : "",   \
                    got_ ? error.hint : "");                                                                        \
            exit(1);                                                                                                \
        }                                                                                                           \
    } while (0)

static inline double seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static inline mosaic_cluster *open_cluster(const char *config, const mosaic_options *options)
{
    mosaic_error error;
    mosaic_cluster *cluster = NULL;
    EXPECT(MOSAIC_OK, mosaic_open(config, options, &cluster, &error));
    CHECK(cluster);
    return cluster;
}

/* The one value of a statement on a shard, as a number. */
static inline long long number_on(mosaic_cluster *cluster, size_t shard, const char *sql)
{
    mosaic_error error;
    PGresult *result;
    EXPECT(MOSAIC_OK, mosaic_exec_shard(cluster, shard, &(mosaic_statement){.sql = sql}, 10000, &result, &error));
    CHECK(PQntuples(result) == 1);
    long long value = atoll(PQgetvalue(result, 0, 0));
    PQclear(result);
    return value;
}

static inline bool add_number(void *context, size_t shard, const PGresult *result, int row)
{
    (void)shard;
    *(long long *)context += atoll(PQgetvalue(result, row, 0));
    return false;
}

/* The sum of the one value on all shards. */
static inline long long sum_of(mosaic_cluster *cluster, const char *sql)
{
    mosaic_error error;
    long long sum = 0;
    mosaic_scatter scatter = {.row = add_number, .context = &sum, .timeout_ms = 10000};
    EXPECT(MOSAIC_OK, mosaic_exec_all(cluster, &(mosaic_statement){.sql = sql}, &scatter, &error));
    return sum;
}

#endif
