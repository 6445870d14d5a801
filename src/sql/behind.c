#include "sql/behind.h"

#include <ctype.h>
#include <string.h>

#include "sql/words.h"

bool behind_is_hint(const struct facts *facts)
{
    return facts->class == STATEMENT_SET && facts->name && strncmp(facts->name, "mosaic.", 7) == 0;
}

bool behind_means_else(const struct facts *facts)
{
    static const char *const names[] = {"search_path", "role", "session_authorization", "all",
                                        "default_transaction_isolation"};
    if (facts->class != STATEMENT_SET)
        return facts->class == STATEMENT_DISCARD || facts->changes_schema || facts->sets_unknown;
    bool found = !facts->name || behind_is_hint(facts);
    for (size_t i = 0; !found && i < sizeof names / sizeof *names; i++)
        found = strcmp(facts->name, names[i]) == 0;
    return found;
}

static bool is_others(const struct schema *schema, const char *name)
{
    for (size_t i = 0; i < schema->namespace_count; i++) {
        const struct schema_relation *found = schema_relation(schema, schema->namespaces[i], name);
        bool is_other = found && ((found->kind != 'r' && found->kind != 'p') || found->placement == PLACE_SHARDED ||
                                  found->placement == PLACE_REFERENCE);
        if (is_other && strncmp(found->schema, "pg_", 3) != 0 && strcmp(found->schema, "information_schema") != 0)
            return true;
    }
    return false;
}

static bool has_spread(const struct schema *schema)
{
    for (size_t i = 0; i < schema->relation_count; i++)
        if (schema->relations[i].placement == PLACE_SHARDED || schema->relations[i].placement == PLACE_REFERENCE)
            return true;
    return false;
}

bool behind_names_others(const struct schema *schema, const char *text, size_t size)
{
    if (!has_spread(schema))
        return false;
    char name[64];
    struct word word;
    for (size_t at = 0; words_next(text, size, &at, &word);) {
        size_t quotes = word.kind == WORD_QUOTED, length = word.size - 2 * quotes;
        if (word.kind > WORD_QUOTED || length >= sizeof name)
            continue;
        for (size_t i = 0; i < length; i++)
            name[i] = quotes ? word.text[i + 1] : (char)tolower((unsigned char)word.text[i]);
        name[length] = '\0';
        bool is_written_else = quotes && (strchr(name, '"') || strchr(name, '\\')); /* "a""b", U&"\0061" */
        if (is_written_else || is_others(schema, name))
            return true;
    }
    return false;
}
