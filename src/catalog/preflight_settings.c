#include "catalog/preflight_settings.h"

#include <ctype.h>
#include <string.h>

static bool has_role(const struct shard_facts *facts, const char *role)
{
    for (size_t i = 0; i < facts->role_count; i++)
        if (strcmp(facts->roles[i], role) == 0)
            return true;
    return !*role;
}

static const struct setting_facts *find(const struct shard_facts *facts, const char *role, const char *name)
{
    for (size_t i = 0; i < facts->setting_count; i++)
        if (strcmp(facts->settings[i].role, role) == 0 && strcmp(facts->settings[i].name, name) == 0)
            return &facts->settings[i];
    return NULL;
}

/* What a session of the role is given: its own, or else what all are; NULL where that is not known. */
static const char *value_of(const struct shard_facts *facts, const char *role, const char *name)
{
    const struct setting_facts *own = find(facts, role, name), *any = own ? own : find(facts, "", name);
    return any ? any->value : NULL;
}

/* The statement that gives the other shard the value. */
static const char *fix_of(struct findings *findings, const struct shard_facts *other, const char *role,
                          const char *name, const char *value)
{
    const char *quote = strcmp(name, "search_path") == 0 && *value ? "" : "'"; /* a list, quoted name by name */
    const char *whose = *role ? finding_text(findings, "ROLE \"%s\" IN ", role) : "";
    return finding_text(findings, "ALTER %sDATABASE \"%s\" SET %s = %s%s%s", whose, other->database, name, quote, value,
                        quote);
}

/* As they were written: blanks are none of a value, and capitals are those of names alone. */
static bool is_same(const char *name, const char *a, const char *b)
{
    bool of_names = strcmp(name, "search_path") == 0;
    for (;; a++, b++) {
        a += strspn(a, " ");
        b += strspn(b, " ");
        if (of_names ? *a != *b : tolower((unsigned char)*a) != tolower((unsigned char)*b))
            return false;
        if (!*a)
            return true;
    }
}

static void compare(const struct shard_facts *first, const struct shard_facts *other,
                    const struct setting_facts *setting, struct findings *findings)
{
    const char *role = setting->role, *name = setting->name;
    const char *wanted = value_of(first, role, name), *found = value_of(other, role, name);
    /* Who is not on both is no user of the cluster. */
    if (!wanted || !found || is_same(name, wanted, found) || !has_role(first, role) || !has_role(other, role))
        return;
    finding_add(findings, true, other->shard, "", fix_of(findings, other, role, name, wanted),
                "%s is \"%s\"%s%s, on shard %s \"%s\": one value would be read, shown or found in two ways", name,
                found, *role ? " for role " : "", role, first->shard, wanted);
}

void preflight_settings(const struct shard_facts *first, const struct shard_facts *other, struct findings *findings)
{
    for (size_t i = 0; i < first->setting_count; i++)
        compare(first, other, &first->settings[i], findings);
    for (size_t i = 0; i < other->setting_count; i++)
        if (!find(first, other->settings[i].role, other->settings[i].name))
            compare(first, other, &other->settings[i], findings);
}
