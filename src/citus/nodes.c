#include "citus/nodes.h"

#include "base/memory.h"

#include <stdlib.h>
#include <string.h>

/* A node that is down answers success = false and what libpq said. The command runs as the session's role. */
static const char ask_sql[] = "SELECT nodeid, success, result FROM pg_catalog.run_command_on_all_nodes($$"
                              "SELECT (SELECT extversion FROM pg_catalog.pg_extension WHERE extname = 'citus') || ' '"
                              " || pg_catalog.pg_database_size(pg_catalog.current_database()) || ' '"
                              " || pg_catalog.current_setting('server_version')$$)";

static mosaic_status take_answer(const PGresult *result, int row, struct arena *arena, struct citus_answer *answer,
                                 mosaic_error *error)
{
    const char *text = PQgetvalue(result, row, 2);
    answer->reachable = PQgetvalue(result, row, 1)[0] == 't';
    if (!answer->reachable) {
        char *failure = arena_copy(arena, text, strcspn(text, "\n"));
        answer->failure = failure;
        return failure ? MOSAIC_OK : error_memory(error);
    }
    size_t extension = strcspn(text, " ");
    const char *bytes = text[extension] ? text + extension + 1 : "";
    const char *server = strchr(bytes, ' ');
    answer->extension = arena_copy(arena, text, extension);
    answer->bytes = strtoull(bytes, NULL, 10);
    answer->server = arena_string(arena, server ? server + 1 : "");
    return answer->extension && answer->server ? MOSAIC_OK : error_memory(error);
}

mosaic_status citus_ask_nodes(const struct model *model, PGconn *coordinator, int64_t deadline, struct arena *arena,
                              struct citus_answers *answers, mosaic_error *error)
{
    PGresult *result = NULL;
    answers->list = arena_zeroed(arena, model->node_count, sizeof *answers->list);
    if (!answers->list)
        return error_memory(error);
    for (size_t i = 0; i < model->node_count; i++)
        answers->list[i] = (struct citus_answer){.extension = "", .server = "", .failure = "it did not answer"};
    mosaic_status status = pq_exec(coordinator, model->shards[0].name, ask_sql, deadline, &result, error);
    for (int row = 0; status == MOSAIC_OK && row < PQntuples(result); row++)
        for (size_t i = 0; i < model->node_count && status == MOSAIC_OK; i++)
            if (model->nodes[i].id == atoi(PQgetvalue(result, row, 0)))
                status = take_answer(result, row, arena, &answers->list[i], error);
    PQclear(result);
    return status;
}

void citus_judge_nodes(const struct model *model, const struct citus_answers *answers, bool fatal,
                       struct findings *findings)
{
    const char *first = NULL;
    const struct citus_node *first_node = NULL;
    size_t holders = 0;
    for (size_t i = 0; i < model->node_count; i++) {
        const struct citus_node *node = &model->nodes[i];
        const struct citus_answer *answer = &answers->list[i];
        holders += node->active && node->has_shards;
        if (!node->active) {
            finding_add(findings, fatal, node->name, "", "SELECT citus_activate_node(…), or remove it",
                        "the node is not active");
        } else if (!answer->reachable) {
            finding_add(findings, fatal, node->name, "",
                        "start it; reads by keys that other nodes hold go on, all else that needs it fails until then",
                        "the node is down: %s", answer->failure);
        } else if (first && strcmp(first, answer->extension) != 0) {
            finding_add(findings, fatal, node->name, "", "run on every node: ALTER EXTENSION citus UPDATE",
                        "it has Citus %s, and %s has %s", answer->extension, first_node->name, first);
        } else if (!first) {
            first = answer->extension;
            first_node = node;
        }
    }
    if (!holders)
        finding_add(findings, fatal, "", "", "pgmosaic node add HOST:PORT",
                    "the cluster has no worker that may hold shards");
}
