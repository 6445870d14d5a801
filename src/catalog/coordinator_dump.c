#include "catalog/coordinator_dump.h"

#include <string.h>

/* The first that fits counts. */
static const struct {
    const char *begin;
    enum dump_action action;
} actions[] = {
    {"CREATE SCHEMA ", DUMP_SCHEMA},
    {"CREATE TABLE ", DUMP_RELATION},
    {"CREATE UNLOGGED TABLE ", DUMP_RELATION},
    {"CREATE FOREIGN TABLE ", DUMP_RELATION},
    {"CREATE MATERIALIZED VIEW ", DUMP_RELATION},
    {"CREATE VIEW ", DUMP_VIEW},
    {"CREATE OR REPLACE VIEW ", DUMP_VIEW},
    {"ALTER TABLE ", DUMP_RELATION_OWNER},
    {"ALTER FOREIGN TABLE ", DUMP_RELATION_OWNER},
    {"ALTER VIEW ", DUMP_RELATION_OWNER},
    {"ALTER MATERIALIZED VIEW ", DUMP_RELATION_OWNER},
    {"ALTER SEQUENCE ", DUMP_RELATION_OWNER},
    {"GRANT ", DUMP_GRANT},
    {"REVOKE ", DUMP_GRANT},
    /* Of a session; of what has rows; of what the coordinator has of its own. */
    {"SET ", DUMP_LEAVE_OUT},
    {"RESET ", DUMP_LEAVE_OUT},
    {"SELECT ", DUMP_LEAVE_OUT},
    {"CREATE SEQUENCE ", DUMP_LEAVE_OUT},
    {"CREATE INDEX ", DUMP_LEAVE_OUT},
    {"CREATE UNIQUE INDEX ", DUMP_LEAVE_OUT},
    {"ALTER INDEX ", DUMP_LEAVE_OUT},
    {"CREATE STATISTICS ", DUMP_LEAVE_OUT},
    {"ALTER STATISTICS ", DUMP_LEAVE_OUT},
    {"CREATE TRIGGER ", DUMP_LEAVE_OUT},
    {"CREATE CONSTRAINT TRIGGER ", DUMP_LEAVE_OUT},
    {"CREATE RULE ", DUMP_LEAVE_OUT},
    {"CREATE POLICY ", DUMP_LEAVE_OUT},
    {"CREATE EVENT TRIGGER ", DUMP_LEAVE_OUT},
    {"ALTER EVENT TRIGGER ", DUMP_LEAVE_OUT},
    {"CREATE PUBLICATION ", DUMP_LEAVE_OUT},
    {"ALTER PUBLICATION ", DUMP_LEAVE_OUT},
    {"CREATE SUBSCRIPTION ", DUMP_LEAVE_OUT},
    {"ALTER SUBSCRIPTION ", DUMP_LEAVE_OUT},
    {"CREATE FOREIGN DATA WRAPPER ", DUMP_LEAVE_OUT},
    {"ALTER FOREIGN DATA WRAPPER ", DUMP_LEAVE_OUT},
    {"CREATE SERVER ", DUMP_LEAVE_OUT},
    {"ALTER SERVER ", DUMP_LEAVE_OUT},
    {"CREATE USER MAPPING ", DUMP_LEAVE_OUT},
    {"CREATE ACCESS METHOD ", DUMP_LEAVE_OUT},
    {"ALTER DEFAULT PRIVILEGES ", DUMP_LEAVE_OUT},
    {"ALTER LARGE OBJECT ", DUMP_LEAVE_OUT},
    {"REFRESH MATERIALIZED VIEW ", DUMP_LEAVE_OUT},
    {"CLUSTER ", DUMP_LEAVE_OUT},
    {"COMMENT ON ", DUMP_LEAVE_OUT},
    {"SECURITY LABEL ", DUMP_LEAVE_OUT},
    {"ALTER ", DUMP_OWNER},
};

/* Grants on these are left out with the things themselves. */
static const char *const ungranted[] = {"SEQUENCE ", "LARGE OBJECT ", "FOREIGN SERVER ", "FOREIGN DATA WRAPPER ",
                                        "DATABASE ", "TABLESPACE ",   "PARAMETER "};
static const char *const optional[] = {"CREATE OPERATOR CLASS ", "CREATE OPERATOR FAMILY ", "ALTER OPERATOR FAMILY ",
                                       "ALTER OPERATOR CLASS "};

static bool begins(const char *text, const char *with)
{
    return strncmp(text, with, strlen(with)) == 0;
}

/* Where a word stands first outside of quoted names; NULL: nowhere. */
static const char *find_word(const char *text, const char *word)
{
    bool quoted = false;
    for (const char *at = text; *at; at++) {
        if (*at == '"')
            quoted = !quoted; /* a doubled quote ends and begins again */
        else if (!quoted && begins(at, word))
            return at;
    }
    return NULL;
}

struct reader {
    struct arena *arena;
    bool failed; /* memory was out */
};

static char *take(struct reader *reader, const char *text, size_t size)
{
    char *copy = arena_copy(reader->arena, text, size);
    reader->failed |= !copy;
    return copy;
}

/* Reads one quoted name; what stands behind it, or NULL where there is none. */
static const char *read_name(const char *at, struct reader *reader, const char **name)
{
    if (*at != '"')
        return NULL;
    char *copy = take(reader, at, strlen(at)), *into = copy;
    if (!copy)
        return NULL;
    for (at++; *at; at++) {
        if (*at == '"' && *++at != '"')
            break;
        *into++ = *at;
    }
    *into = '\0';
    *name = copy;
    return at;
}

/* "schema"."name"; what stands behind it, or NULL. */
static const char *read_names(const char *at, struct reader *reader, struct dump_item *item)
{
    at = read_name(at, reader, &item->schema);
    return at && *at == '.' ? read_name(at + 1, reader, &item->name) : NULL;
}

/* ALTER TABLE [ONLY] "s"."t" OWNER TO "r"; every other change of a relation is left out. */
static void read_relation_owner(const char *at, struct reader *reader, struct dump_item *item)
{
    static const char owner[] = " OWNER TO ";
    const char *names = begins(at, "ONLY ") ? at + strlen("ONLY ") : at;
    at = read_names(names, reader, item);
    if (!at || !begins(at, owner)) {
        item->action = DUMP_LEAVE_OUT;
        return;
    }
    item->object = arena_format(reader->arena, "TABLE %.*s", (int)(at - names), names);
    reader->failed |= !item->object;
    item->role = at + strlen(owner);
}

/* ALTER FUNCTION "s"."f"() OWNER TO "r"; any other ALTER is run. */
static void read_owner(const char *at, struct reader *reader, struct dump_item *item)
{
    static const char word[] = " OWNER TO ";
    const char *owner = find_word(at, word);
    if (owner) {
        item->object = take(reader, at, (size_t)(owner - at));
        item->role = owner + strlen(word);
    } else {
        item->action = DUMP_RUN;
    }
}

static void read_grant(const char *text, struct reader *reader, struct dump_item *item)
{
    const char *object = find_word(text, " ON ");
    const char *end = object ? find_word(object, begins(text, "GRANT ") ? " TO " : " FROM ") : NULL;
    if (!end) {
        item->action = DUMP_RUN;
        return;
    }
    object += strlen(" ON ");
    for (size_t i = 0; i < sizeof ungranted / sizeof *ungranted; i++)
        if (begins(object, ungranted[i]))
            item->action = DUMP_LEAVE_OUT;
    item->object = take(reader, object, (size_t)(end - object));
}

static void read_other(const char *text, struct dump_item *item)
{
    if (begins(text, "CREATE FUNCTION ") || begins(text, "CREATE PROCEDURE ")) {
        item->is_definer = strstr(text, "SECURITY DEFINER");
        const char *returns = strstr(text, " RETURNS ");
        item->is_optional =
            returns && (begins(returns, " RETURNS \"trigger\"") || begins(returns, " RETURNS \"event_trigger\""));
    }
    for (size_t i = 0; i < sizeof optional / sizeof *optional; i++)
        item->is_optional |= begins(text, optional[i]);
}

/* False: names are not where they belong, or memory is out. */
static bool read_as(const char *text, const char *rest, struct reader *reader, struct dump_item *item)
{
    switch (item->action) {
    case DUMP_SCHEMA:
        return read_name(rest, reader, &item->name);
    case DUMP_RELATION:
    case DUMP_VIEW:
        return read_names(rest, reader, item);
    case DUMP_RELATION_OWNER:
        read_relation_owner(rest, reader, item);
        break;
    case DUMP_OWNER:
        read_owner(rest, reader, item);
        break;
    case DUMP_GRANT:
        read_grant(text, reader, item);
        break;
    default:
        break;
    }
    if (item->action == DUMP_RUN)
        read_other(text, item);
    bool has_object = item->action == DUMP_OWNER || item->action == DUMP_GRANT || item->action == DUMP_RELATION_OWNER;
    return !has_object || item->object;
}

mosaic_status dump_read(const struct statement *statement, struct arena *arena, struct dump_item *item,
                        mosaic_error *error)
{
    const char *text = arena_copy(arena, statement->text, statement->size);
    size_t at = 0, count = sizeof actions / sizeof *actions;
    *item = (struct dump_item){.action = DUMP_RUN};
    if (!text)
        return error_memory(error);
    while (at < count && !begins(text, actions[at].begin))
        at++;
    if (at < count)
        item->action = actions[at].action;
    struct reader reader = {.arena = arena};
    if (read_as(text, text + (at < count ? strlen(actions[at].begin) : 0), &reader, item))
        return MOSAIC_OK;
    if (reader.failed)
        return error_memory(error);
    return error_set(error, MOSAIC_INTERNAL, "pg_dump said what could not be read: %.*s", (int)strcspn(text, "\n"),
                     text);
}

struct script dump_script(const char *text)
{
    const char *end = text + strlen(text), *last = NULL;
    bool restricted = false;
    /* Before the first statement there are comments, blank lines and \restrict alone. */
    while (*text == '-' || *text == '\n' || *text == '\\') {
        restricted |= *text == '\\';
        text += strcspn(text, "\n");
        text += *text == '\n';
    }
    for (const char *at = text; restricted && (at = strstr(at, "\n\\unrestrict ")) != NULL; at++)
        last = at;
    return script_start(text, (size_t)((last ? last : end) - text));
}
