#include "catalog/part.h"

#include <stdio.h>
#include <string.h>

static bool is_refusal(mosaic_status status)
{
    return status == MOSAIC_SERVER || status == MOSAIC_OWNERSHIP;
}

void part_send(struct part *part, const char *sql)
{
    part->answer = (struct answer){.status = MOSAIC_OK};
    PQsetnonblocking(part->connection, 1);
    if (!PQsendQuery(part->connection, sql))
        part->answer.status = pq_result_error(part->connection, NULL, part->shard->name, &part->answer.error);
}

static void note_result(struct answer *answer, const PGresult *result)
{
    char *values[] = {answer->first, answer->second, answer->third};
    if (PQresultStatus(result) == PGRES_TUPLES_OK && PQntuples(result) > 0)
        for (int i = 0; i < 3 && i < PQnfields(result); i++)
            snprintf(values[i], sizeof answer->first, "%s", PQgetvalue(result, 0, i));
    snprintf(answer->tag, sizeof answer->tag, "%s", PQcmdStatus((PGresult *)result));
}

mosaic_status part_receive(struct part *part, const char *tag, int64_t deadline)
{
    struct answer *answer = &part->answer;
    const char *shard = part->shard->name;
    bool tagged = !tag;
    PGresult *result = NULL;
    while (answer->status == MOSAIC_OK || is_refusal(answer->status)) {
        mosaic_error later;
        mosaic_status status = pq_next_result(part->connection, shard, deadline, &result, &later);
        if (status != MOSAIC_OK) {
            answer->status = status;
            answer->error = later;
        }
        if (!result)
            break;
        ExecStatusType kind = PQresultStatus(result);
        note_result(answer, result);
        tagged = tagged || !strcmp(answer->tag, tag);
        if (kind != PGRES_COMMAND_OK && kind != PGRES_TUPLES_OK && answer->status == MOSAIC_OK)
            answer->status = pq_result_error(part->connection, result, shard, &answer->error);
        PQclear(result);
    }
    if (answer->status == MOSAIC_OK && !tagged) {
        error_set(&answer->error, MOSAIC_SERVER,
                  "the transaction had failed before: the server answered %s instead of %s", answer->tag, tag);
        error_sqlstate(&answer->error, "25P02");
        answer->status = error_shard(&answer->error, shard);
    }
    if (answer->status == MOSAIC_OK || is_refusal(answer->status))
        PQsetnonblocking(part->connection, 0);
    return answer->status;
}

mosaic_status part_run(struct part *part, const char *sql, const char *tag, int64_t deadline)
{
    part_send(part, sql);
    return part_receive(part, tag, deadline);
}

bool part_was_refused(const struct part *part)
{
    PGTransactionStatusType state = PQtransactionStatus(part->connection);
    return is_refusal(part->answer.status) &&
           (state == PQTRANS_IDLE || state == PQTRANS_INTRANS || state == PQTRANS_INERROR);
}
