#include "proxy/reset.h"

#include "proxy/effect.h"
#include "proxy/proxy.h"
#include "sql/words.h"

#include <string.h>

enum { RESET_MOST = 4096 };

/* Of a list of names each is quoted by itself: such a value is not written as one text. */
static bool is_list_of_names(const char *name, const char *value)
{
    return setting_is_name_list(name) && (strpbrk(value, ",\" ") || !*value);
}

bool reset_route(struct client *client, const struct facts *only, struct route *route)
{
    bool resets = only && only->class == STATEMENT_SET && !only->value && !only->is_local && only->name;
    const struct setting *at_start =
        resets && client->startup->count && client->status != 'E' ? settings_lookup(client->startup, only->name) : NULL;
    if (!at_start || !at_start->value || is_list_of_names(only->name, at_start->value) || route->pruned)
        return true;
    struct buffer sql = BUFFER_INIT(RESET_MOST);
    buffer_text(&sql, "SET ");
    settings_quote_name(&sql, only->name);
    buffer_text(&sql, " = ");
    settings_quote_text(&sql, at_start->value);
    route->pruned = buffer_failed(&sql) ? NULL : arena_string(&client->worker->scratch, buffer_string(&sql));
    buffer_free(&sql);
    return route->pruned != NULL;
}

bool reset_is_answered(const struct expect_entry *head, const char *tag)
{
    bool is_other = head->shift == EXPECT_NO_PLACE && (head->kind == EXPECT_QUERY || head->kind == EXPECT_EXECUTE);
    return is_other && strcmp(tag, "SET") == 0;
}

const char *reset_tag(const struct client *client, const struct expect_entry *head)
{
    const struct prepared *prepared = head->kind == EXPECT_EXECUTE ? head->subject : NULL;
    const struct effect *effect = head->kind == EXPECT_QUERY && client->effects ? client->effects->first : NULL;
    const char *text = prepared ? prepared->text : effect ? effect->text : "";
    struct word word;
    size_t at = 0;
    return words_next(text, strlen(text), &at, &word) && word_is(&word, "reset") ? "RESET" : "SET";
}
