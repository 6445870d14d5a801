#include "cli/coordinator.h"

#include "citus/metadata.h"
#include "cli/context.h"
#include "cli/output.h"

#include <stdio.h>
#include <string.h>

mosaic_status coordinator_open(const struct invocation *invocation, struct coordinator *coordinator,
                               mosaic_error *error)
{
    *coordinator = (struct coordinator){0};
    mosaic_status status = context_model(invocation, &coordinator->model, error);
    if (status != MOSAIC_OK)
        return status;
    const struct model *model = &coordinator->model;
    if (model->engine != ENGINE_CITUS) {
        error_set(error, MOSAIC_UNSUPPORTED, "%s is for clusters of engine citus; %s is of engine %s",
                  invocation->parent ? invocation->parent->name : invocation->command->name, model->name,
                  engine_name(model->engine));
        return error_hint(error, "rows move to other shards by a copy into a cluster that has them: "
                                 "pgmosaic copy --from old.yaml --to new.yaml");
    }
    const struct shard *shard = &model->shards[0];
    status = pq_connect(shard->conninfo, shard->name, "pgmosaic", pq_deadline(COORDINATOR_CONNECT_MS),
                        &coordinator->connection, error);
    if (status == MOSAIC_OK)
        status = citus_check_coordinator(model, coordinator->connection, pq_deadline(COORDINATOR_ASK_MS), error);
    return status;
}

void coordinator_close(struct coordinator *coordinator)
{
    PQfinish(coordinator->connection);
    model_free(&coordinator->model);
    coordinator->connection = NULL;
}

bool coordinator_show(struct findings *findings)
{
    finding_merge(findings);
    fflush(stdout);
    for (size_t i = 0; i < findings->count; i++) {
        const struct finding *finding = &findings->list[i];
        fprintf(stderr, "%s%s%s", output_colour(stderr, finding->fatal ? COLOUR_RED : COLOUR_YELLOW),
                finding->fatal ? "error" : "warning", output_colour(stderr, COLOUR_NONE));
        if (*finding->table)
            fprintf(stderr, ": table %s", finding->table);
        if (*finding->shard)
            fprintf(stderr, ": node%s %s", strchr(finding->shard, ',') ? "s" : "", finding->shard);
        fprintf(stderr, ": %s\n", finding->what);
        if (*finding->fix)
            fprintf(stderr, "    fix: %s\n", finding->fix);
    }
    if (findings->failed)
        fputs("pgmosaic: out of memory\n", stderr);
    return findings->fatal == 0 && !findings->failed;
}
