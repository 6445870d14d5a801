#include "core/model.h"

#include "base/error.h"
#include "core/sqlexpr.h"

#include <string.h>

enum { NAME_MOST = 63 /* NAMEDATALEN - 1; PostgreSQL cuts longer names silently, we refuse them */ };

const char *engine_name(enum engine_kind engine)
{
    static const char *const names[] = {
#define X(identifier, name) name,
        ENGINE_LIST(X)
#undef X
    };
    return names[engine];
}

const char *table_kind_name(enum table_kind kind)
{
    static const char *const names[] = {
#define X(identifier, name) name,
        TABLE_KIND_LIST(X)
#undef X
    };
    return names[kind];
}

/* Of one identifier: its unquoted form. */
struct part {
    char text[NAME_MOST + 1];
    size_t size;
};

static bool add(struct part *part, char c)
{
    if (part->size == NAME_MOST)
        return false;
    part->text[part->size++] = c;
    part->text[part->size] = '\0';
    return true;
}

static const char *read_quoted(const char *at, struct part *part)
{
    for (; *at; at++) {
        if (*at == '"' && *++at != '"')
            return part->size ? at : NULL;
        if (!add(part, *at))
            return NULL;
    }
    return NULL;
}

static bool starts_name(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || (unsigned char)c >= 0x80;
}

/* Reads one identifier as PostgreSQL's scanner does (src/backend/parser/scan.l). NULL if there is none, or it is too
 * long. */
static const char *read_part(const char *at, struct part *part)
{
    part->size = 0;
    part->text[0] = '\0';
    if (*at == '"')
        return read_quoted(at + 1, part);
    if (!starts_name(*at))
        return NULL;
    for (; starts_name(*at) || (*at >= '0' && *at <= '9') || *at == '$'; at++) {
        char c = *at >= 'A' && *at <= 'Z' ? (char)(*at - 'A' + 'a') : *at;
        if (!add(part, c))
            return NULL;
    }
    return at;
}

static bool read_name(const char *typed, struct part *schema, struct part *name)
{
    const char *at = read_part(typed, name);
    if (at && *at == '.') {
        *schema = *name;
        at = read_part(at + 1, name);
    } else {
        *schema = (struct part){.text = "public", .size = 6};
    }
    return at && *at == '\0';
}

mosaic_status model_table_name(struct arena *arena, const char *typed, const char **schema, const char **name,
                               mosaic_error *error)
{
    struct part first, second;
    if (!read_name(typed, &first, &second)) {
        error_set(error, MOSAIC_USAGE, "\"%s\" is not a table name", typed);
        error_hint(error,
                   "write table or schema.table, each at most %d bytes; put a part in double quotes if it has "
                   "capitals or other characters than letters, digits and _",
                   NAME_MOST);
        return MOSAIC_USAGE;
    }
    *schema = arena_copy(arena, first.text, first.size);
    *name = arena_copy(arena, second.text, second.size);
    return *schema && *name ? MOSAIC_OK : error_memory(error);
}

const struct table *model_table(const struct model *model, const char *name)
{
    struct part schema, table;
    if (!read_name(name, &schema, &table))
        return NULL;
    for (size_t i = 0; i < model->table_count; i++) {
        const struct table *candidate = &model->tables[i];
        if (strcmp(candidate->schema, schema.text) == 0 && strcmp(candidate->name, table.text) == 0)
            return candidate;
    }
    return NULL;
}

size_t model_shard(const struct model *model, const char *name)
{
    for (size_t i = 0; i < model->shard_count; i++) {
        if (strcmp(model->shards[i].name, name) == 0)
            return i;
    }
    size_t number = 0, digits = 0;
    for (; name[digits] >= '0' && name[digits] <= '9' && digits < 5; digits++)
        number = number * 10 + (size_t)(name[digits] - '0');
    bool is_number = digits > 0 && name[digits] == '\0';
    return is_number && number < model->shard_count ? number : SIZE_MAX;
}

const char *model_display_name(struct arena *arena, const char *schema, const char *name)
{
    struct buffer text = BUFFER_INIT(4096);
    if (strcmp(schema, "public") != 0) {
        sql_identifier(&text, schema);
        buffer_char(&text, '.');
    }
    sql_identifier(&text, name);
    const char *display = buffer_failed(&text) ? NULL : arena_copy(arena, text.data, text.size);
    buffer_free(&text);
    return display;
}

void model_free(struct model *model)
{
    if (!model)
        return;
    arena_free(&model->arena);
    *model = (struct model){0};
}
