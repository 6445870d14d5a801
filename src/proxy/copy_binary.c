#include "proxy/copy_binary.h"

#include "base/utf8.h"
#include "proxy/prepare_sql.h"
#include "proxy/rowmap.h"
#include "proxy/server_rows.h"

static bool is_of_query(const struct facts *facts)
{
    return facts->inner_start > 0;
}

/* Of a table: none of its columns may name a type. */
static bool is_plain_table(const struct schema *schema, const struct facts *facts)
{
    for (size_t i = 0; i < facts->relation_count; i++) {
        const struct schema_relation *relation = facts->relations[i].relation;
        for (size_t column = 0; column < relation->column_count; column++)
            if (rowmap_holds(schema, relation->columns[column].type))
                return false;
    }
    return facts->relation_count > 0;
}

static bool is_plain(const struct client *client, const struct facts *facts)
{
    if (facts->class != STATEMENT_COPY_TO || !facts->copies_binary)
        return true;
    return !is_of_query(facts) && is_plain_table(own_schema_of(client, client->worker), facts);
}

static void explain(const struct client *client, mosaic_error *error)
{
    const char *name = client->worker->world->model.shards[client->server->pool->shard].name;
    (void)!error_set(error, MOSAIC_UNSUPPORTED, "COPY TO in binary from %s of values that may name types", name);
    error_detail(error, "Types have other OIDs there than on the home shard.");
    error_hint(error, "ask for text or csv, or send COPY (SELECT …) TO alone, as a simple query");
}

bool copy_binary_may_bind(const struct client *client, const struct facts *facts, mosaic_error *error)
{
    if (!server_typemap(client->server)->count || is_plain(client, facts))
        return true;
    explain(client, error);
    return false;
}

/* In a simple query, whose server may have been linked for it: the server ends the cycle. */
static enum taken refuse(struct client *client)
{
    mosaic_error error;
    explain(client, &error);
    client->in_segment = true; /* as far as errors go */
    enum taken taken = client_refuse(client, &error, true);
    client->in_segment = false;
    return taken == TAKEN ? prepare_sql_failed(client) : taken;
}

/* The query within is parsed and described, as the unnamed statement, which a simple query ends anyway. */
static enum taken ask(struct client *client, const struct facts *facts, const char *text)
{
    struct server *server = client->server;
    struct buffer *out = batch_make(&client->worker->to_server);
    int32_t shift = -(int32_t)utf8_count(text, (size_t)facts->inner_start);
    wire_parse(out, "", text + facts->inner_start, (size_t)facts->inner_length, NULL, 0);
    wire_describe(out, 'S', "");
    wire_empty(out, WIRE_FLUSH);
    server->unnamed = 0;
    client->asks_shape = true;
    if (!expect_add(&server->expect, EXPECT_PARSE_OURS, 0, NULL))
        return client_out_of_memory(client);
    expect_shift(&server->expect, shift);
    return expect_add(&server->expect, EXPECT_COLUMNS, EXPECT_MAPPED, NULL) ? TAKEN_LATER
                                                                            : client_out_of_memory(client);
}

enum taken copy_binary_prepare(struct client *client, const struct facts_list *list, const char *text, bool asked,
                               bool *mapped)
{
    bool plain = true;
    *mapped = false;
    if (!server_typemap(client->server)->count)
        return REACHED;
    for (size_t i = 0; list && i < list->count; i++)
        plain &= is_plain(client, &list->facts[i]);
    if (plain)
        return REACHED;
    if (list->count > 1 || !is_of_query(&list->facts[0]))
        return refuse(client);
    if (!asked)
        return ask(client, &list->facts[0], text);
    *mapped = true;
    wire_empty(batch_make(&client->worker->to_server), WIRE_SYNC);
    return expect_add(&client->server->expect, EXPECT_SYNC_OURS, 0, NULL) ? REACHED : client_out_of_memory(client);
}
