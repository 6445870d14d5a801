#include "plan/guard.h"

#include "base/buffer.h"

#include <inttypes.h>
#include <string.h>

enum { TEXT_MOST = 1000 };

/* "3 shards (tier 2)", "the coordinator (tier 4)". */
static void write_place(const struct guard_input *input, struct buffer *out)
{
    if (input->tier == 4)
        buffer_text(out, "the coordinator (tier 4)");
    else
        buffer_format(out, "%zu shards (tier %d)", input->shards, input->tier);
}

/* Why not one shard. */
static void add_detail(const struct guard_input *input, const char *rule, mosaic_error *error)
{
    const mosaic_error *why = input->why;
    error_detail(error, "%s%sWhy not one shard: %s%s%s", rule, *rule ? " " : "", why->message,
                 why->detail[0] ? ". " : "", why->detail);
}

/* What would make it one shard's, then what else helps. */
static void add_hint(const struct guard_input *input, const char *other, mosaic_error *error)
{
    const char *hint = input->why->hint;
    size_t size = strlen(hint);
    bool ends = !size || hint[size - 1] == '.';
    error_hint(error, "%s%s%s%s", hint, ends ? "" : ".", size && *other ? " " : "", other);
}

static enum guard_verdict refuse_number(const struct guard_input *input, const char *place, mosaic_error *error)
{
    (void)!error_set(error, MOSAIC_LIMIT, "this statement needs %s, which is over scatter_max_shards (%" PRId64 ")",
                     place, input->settings->scatter_max_shards);
    error_sqlstate(error, "54000");
    add_detail(input, "", error);
    add_hint(input, "", error);
    return GUARD_REFUSES;
}

static enum guard_verdict refuse(const struct guard_input *input, const char *place, const char *rule,
                                 mosaic_error *error)
{
    (void)!error_set(error, MOSAIC_UNSUPPORTED, "this statement needs %s, which is not allowed here", place);
    error_sqlstate(error, "0A000");
    add_detail(input, rule, error);
    add_hint(input,
             input->settings->hints ? "To allow it once: /* mosaic: scatter=allow */ before it; for the session: SET "
                                      "mosaic.scatter = 'allow'."
                                    : "The settings scatter and scatter_users of the proxy can allow it.",
             error);
    return GUARD_REFUSES;
}

enum guard_verdict guard_look(const struct guard_input *input, mosaic_error *error)
{
    const struct proxy_settings *settings = input->settings;
    enum scatter_mode mode = settings_scatter_of(settings, input->user);
    const char *rule = "The proxy's settings forbid it (scatter, scatter_users).";
    enum guard_verdict verdict = GUARD_PASSES;
    struct buffer place = BUFFER_INIT(TEXT_MOST);
    if (input->said && settings_scatter_mode(input->said, &mode))
        rule = "mosaic.scatter forbids it.";
    write_place(input, &place);
    if (mode == SCATTER_DENY) {
        verdict = refuse(input, buffer_string(&place), rule, error);
    } else if (settings->scatter_max_shards && input->shards > (uint64_t)settings->scatter_max_shards) {
        verdict = refuse_number(input, buffer_string(&place), error);
    } else if (mode == SCATTER_WARN) {
        (void)!error_set(error, MOSAIC_UNSUPPORTED, "this statement is answered by %s", buffer_string(&place));
        error_sqlstate(error, "01000");
        add_detail(input, "", error);
        add_hint(input, "", error);
        verdict = GUARD_WARNS;
    }
    buffer_free(&place);
    return verdict;
}
