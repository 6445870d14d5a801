/*
 * Settings that a client may not set, for what they would do to the statements behind them.
 */
#include "plan/hint.h"
#include "proxy/client.h"
#include "proxy/effect.h"
#include "proxy/proxy.h"
#include "proxy/route.h"

#include <string.h>
#include <strings.h>

static bool is_one_of(const char *value, const char *const *words)
{
    for (; *words; words++)
        if (strcasecmp(value, *words) == 0)
            return true;
    return false;
}

static bool hint_is_allowed(const struct model *model, const char *name, const char *value, mosaic_error *error)
{
    struct arena arena = ARENA_INIT;
    struct plan_hint hint = {0};
    mosaic_status status = hint_set(model, name, value, &arena, &hint, error);
    arena_free(&arena);
    return status == MOSAIC_OK;
}

/* Of settings that change what a statement means: what each must be. */
static const struct fixed {
    const char *name;
    const char *const *values; /* as clients write it; the first one is told */
    const char *changes;       /* what another value does */
} fixed_settings[] = {
    {"client_encoding", (const char *const[]){"UTF8", "utf-8", "unicode", "'utf8'", "'utf-8'", NULL},
     "It changes what a literal is."},
    {"standard_conforming_strings", (const char *const[]){"on", "true", "yes", "1", "t", "y", NULL},
     "It changes what a literal is."},
    {"transform_null_equals", (const char *const[]){"off", "false", "no", "0", "f", "n", NULL},
     "It makes `= NULL` another condition than the one by which shards are chosen."},
};

bool effect_is_allowed(const struct model *model, const char *name, const char *value, mosaic_error *error)
{
    if (!value || !name)
        return true;
    if (strncasecmp(name, "mosaic.", 7) == 0)
        return hint_is_allowed(model, name, value, error);
    if (strcmp(name, "search_path") == 0 && strncasecmp(value, "pg_temp", 7) == 0) {
        (void)!error_set(error, MOSAIC_UNSUPPORTED, "search_path \"%.100s\" is not supported", value);
        error_detail(error, "What is made there would be temporary without saying so.");
        return error_hint(error, "name pg_temp behind another schema, and say CREATE TEMPORARY"), false;
    }
    for (size_t i = 0; i < sizeof fixed_settings / sizeof *fixed_settings; i++) {
        const struct fixed *fixed = &fixed_settings[i];
        if (strcasecmp(name, fixed->name) != 0 || is_one_of(value, fixed->values))
            continue;
        (void)!error_set(error, MOSAIC_UNSUPPORTED, "%s \"%.100s\" is not supported", name, value);
        error_detail(error, "%s", fixed->changes);
        return error_hint(error, "use %s", fixed->values[0]), false;
    }
    return true;
}

static bool refuse_local(const char *name, mosaic_error *error)
{
    (void)!error_set(error, MOSAIC_UNSUPPORTED, "\"%.100s\" of one transaction is not supported", name);
    error_detail(error, "It is read from the session's settings alone, and would not be heeded.");
    error_hint(error, "use SET, and RESET behind the transaction");
    return false;
}

bool effect_set_is_allowed(const struct client *client, const struct facts *facts, mosaic_error *error)
{
    if (facts->is_local && facts->name && strncasecmp(facts->name, "mosaic.", 7) == 0)
        return refuse_local(facts->name, error);
    bool is_all = !facts->name || strcmp(facts->name, "all") == 0;
    if (facts->value || client->status == 'I' || !route_is_analysed(client))
        return effect_is_allowed(&client->worker->world->model, facts->name, facts->value, error);
    if (is_all ? client->startup->count == 0 : !settings_lookup(client->startup, facts->name))
        return true;
    (void)!error_set(error, MOSAIC_UNSUPPORTED, "RESET %s in a transaction, of what was set when the session began",
                     is_all ? "ALL" : facts->name);
    return error_hint(error, "SET it to the value that it is to have, or reset it outside of the transaction"), false;
}
