/*
 * Partial results: rows of shards that are not reached are left out, and the client is told whose. Only rows as they
 * come, or in order, can miss some: an aggregate without a shard's share is a wrong value.
 */
#include "proxy/leg.h"
#include "proxy/proxy.h"
#include "proxy/record.h"

#include <string.h>

enum { NAMES_MOST = 300 };

/* No connection to its server, as opposed to none that is free. */
static bool is_unreached(const mosaic_error *why)
{
    return why->status == MOSAIC_UNREACHABLE || strncmp(why->sqlstate, "08", 2) == 0 ||
           strcmp(why->sqlstate, "57P03") == 0;
}

static bool others_are_there(const struct scatter *scatter, const struct leg *leg)
{
    for (size_t i = 0; i < scatter->leg_count; i++)
        if (&scatter->legs[i] != leg && !scatter->legs[i].is_missing)
            return true;
    return false;
}

bool leg_is_left_out(struct leg *leg, const mosaic_error *why)
{
    struct scatter *scatter = leg->scatter;
    if (!scatter->may_miss || !scatter->client || leg->state != LEG_NEW || !is_unreached(why) ||
        !others_are_there(scatter, leg))
        return false;
    leg->is_missing = scatter->has_missed = true;
    scatter->missed = *why;
    leg_over(leg);
    scatter_merge(scatter); /* perhaps it was the last that was waited for */
    return true;
}

void scatter_tell_missing(struct scatter *scatter, struct buffer *out)
{
    struct buffer names = BUFFER_INIT(NAMES_MOST + 100);
    mosaic_error error;
    size_t count = 0;
    if (!scatter->has_missed)
        return;
    scatter->has_missed = false;
    for (size_t i = 0; i < scatter->leg_count; i++) {
        const char *name = scatter->legs[i].name;
        if (!scatter->legs[i].is_missing)
            continue;
        if (names.size + strlen(name) < NAMES_MOST)
            buffer_format(&names, "%s%s", count ? ", " : "", name);
        count++;
    }
    (void)!error_set(&error, MOSAIC_UNREACHABLE, "the rows of %zu of %zu shards are missing: %s", count,
                     scatter->leg_count, buffer_string(&names));
    error_sqlstate(&error, "01000");
    error_detail(&error, "%s", scatter->missed.message);
    error_hint(&error, "partial_results is on: off, the statement would have failed");
    wire_warning(out, error.sqlstate, error.message, error.detail, error.hint);
    record_client(scatter->client, EVENT_PARTIAL, &error);
    buffer_free(&names);
}
