/* What `pgmosaic explain` explains with: model, schema, and a cache of plans. From the servers, or from files alone. */
#ifndef MOSAIC_CLI_EXPLAIN_SOURCE_H
#define MOSAIC_CLI_EXPLAIN_SOURCE_H

#include "cli/command.h"
#include "plan/cache.h"
#include "plan/explain.h"

struct explain_source {
    struct model model;
    struct schema schema;
    bool assumed; /* no server was asked: the map is the one that a first apply makes */
    struct arena arena;
    struct sql_context context;
    uint64_t context_id;
    struct plan_cache *cache;
};

/* Reads --schema, --search-path and the config, or asks the servers. Close it whatever the outcome. */
MOSAIC_MUST_CHECK mosaic_status explain_source_open(struct explain_source *source, const struct invocation *invocation,
                                                    mosaic_error *error);
void explain_source_close(struct explain_source *source);

/* The values of "42,abc,\"a,b\",NULL". */
MOSAIC_MUST_CHECK mosaic_status explain_parameters(struct arena *arena, const char *text,
                                                   const struct plan_value **values, size_t *count,
                                                   mosaic_error *error);

struct explain_text {
    const char *text;
    size_t size;
    const struct plan_value *parameters;
    size_t parameter_count;
};

/* Calls `each` for every statement of a text; of PREPARE, for the statement prepared. Everything is in the arena. */
typedef mosaic_status (*explain_each_fn)(void *context, const struct explain_input *input,
                                         const struct explanation *explanation, mosaic_error *error);
MOSAIC_MUST_CHECK mosaic_status explain_text(struct explain_source *source, const struct explain_text *text,
                                             struct arena *arena, explain_each_fn each, void *context,
                                             mosaic_error *error);

#endif
