#include "lab/config_text.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

/* As a YAML double-quoted string. */
static void add_quoted(struct buffer *text, const char *value)
{
    buffer_char(text, '"');
    for (const char *at = value; *at; at++) {
        if (*at == '"' || *at == '\\')
            buffer_char(text, '\\');
        buffer_char(text, *at);
    }
    buffer_char(text, '"');
}

static void add_shard(struct buffer *text, const char *indent, const char *name, const char *conninfo, bool in_network)
{
    buffer_format(text, "%s- {name: %s, conninfo: ", indent, name);
    add_quoted(text, conninfo);
    if (in_network)
        buffer_format(text, ", internal: \"host=%s port=5432\"", name);
    buffer_text(text, "}\n");
}

void config_text_new(struct buffer *text, const char *cluster, const char *const *conninfos, size_t count,
                     bool in_network)
{
    buffer_text(text, "# A cluster of throwaway servers, made by pgmosaic lab up. This file is yours to edit:\n"
                      "# name your tables at its end, then run pgmosaic apply.\n"
                      "# Passwords stand in the passfile. A later lab up with more shards adds lines to `shards`.\n");
    buffer_text(text, "cluster: ");
    add_quoted(text, cluster);
    buffer_text(text, "\nengine: postgres\nshards:\n");
    for (size_t i = 0; i < count; i++) {
        char name[24];

        snprintf(name, sizeof name, "s%zu", i);
        add_shard(text, "  ", name, conninfos[i], in_network);
    }
    buffer_text(text, "# What is sharded, by which key and function; tables must stand on every shard first\n"
                      "# (pgmosaic exec --all -f schema.sql). For example:\n"
                      "#  - {name: users, key: id, function: modulo}\n"
                      "#  - {name: members, key: user_id, function: hash}\n"
                      "#  - {name: countries, kind: reference}\n"
                      "tables:\n");
}

void config_text_new_citus(struct buffer *text, const char *cluster, const char *coordinator)
{
    buffer_text(text, "# A throwaway Citus cluster, made by pgmosaic lab up. This file is yours to edit:\n"
                      "# name your tables at its end, then run pgmosaic apply.\n"
                      "# Passwords stand in the passfile. The coordinator knows its workers.\n");
    buffer_text(text, "cluster: ");
    add_quoted(text, cluster);
    buffer_text(text, "\nengine: citus\ncoordinator: ");
    add_quoted(text, coordinator);
    buffer_text(text, "\n# What is distributed, by which key and into how many shards; tables must stand on the\n"
                      "# coordinator first (pgmosaic exec --all -f schema.sql). For example:\n"
                      "#  - {name: users, key: id, shard_count: 32}\n"
                      "#  - {name: orders, key: user_id, colocate_with: users}\n"
                      "#  - {name: countries, kind: reference}\n"
                      "tables:\n");
}

struct line {
    const char *start;
    size_t size; /* with its newline */
    size_t indent;
};

/* False at the end. */
static bool next_line(const char **at, struct line *line)
{
    const char *end;

    if (**at == '\0')
        return false;
    end = strchr(*at, '\n');
    line->start = *at;
    line->size = end ? (size_t)(end - *at) + 1 : strlen(*at);
    for (line->indent = 0; line->indent < line->size && line->start[line->indent] == ' '; line->indent++)
        ;
    *at += line->size;
    return true;
}

static bool is_blank_or_comment(const struct line *line)
{
    return line->indent == line->size || strchr("#\r\n", line->start[line->indent]) != NULL;
}

/* True if the line names the shard: "name: s4" with a word's end after it, quoted or not. */
static bool names_shard(const struct line *line, const char *name)
{
    size_t size = strlen(name);
    const char *end = line->start + line->size;

    for (const char *at = line->start; at + 5 < end; at++) {
        if (*at == '#' && (at == line->start || at[-1] == ' '))
            return false;
        if (strncmp(at, "name:", 5) != 0)
            continue;
        for (at += 5; at < end && strchr(" \"'", *at); at++)
            ;
        if ((size_t)(end - at) >= size && strncmp(at, name, size) == 0 &&
            (at + size == end || !(isalnum((unsigned char)at[size]) || at[size] == '_' || at[size] == '-')))
            return true;
    }
    return false;
}

mosaic_status config_text_add(const char *old, const char *name, const char *conninfo, bool in_network,
                              struct buffer *text, mosaic_error *error)
{
    const char *at = old, *insert = NULL;
    char indent[64] = "  ";
    struct line line;
    bool inside = false;

    while (next_line(&at, &line)) {
        if (is_blank_or_comment(&line))
            continue;
        if (inside && line.indent == 0 && line.start[0] != '-')
            break;
        if (inside) {
            if (names_shard(&line, name)) {
                buffer_text(text, old);
                return buffer_failed(text) ? error_memory(error) : MOSAIC_OK;
            }
            if (line.start[line.indent] == '-' && line.indent < sizeof indent)
                snprintf(indent, sizeof indent, "%.*s", (int)line.indent, line.start);
            insert = at;
        } else if (line.indent == 0 && strncmp(line.start, "shards:", 7) == 0) {
            const struct line rest = {line.start + 7, line.size - 7, 0};
            size_t skip = strspn(rest.start, " \t");

            inside = true;
            insert = strchr("#\r\n", rest.start[skip]) ? at : NULL;
            if (!insert)
                break;
        }
    }
    if (!insert) {
        error_set(error, MOSAIC_CONFIG, "no block list of shards was found in mosaic.yaml to add %s to", name);
        return error_hint(error, "add it by hand: - {name: %s, conninfo: \"%s\"}", name, conninfo);
    }
    buffer_add(text, old, (size_t)(insert - old));
    if (insert > old && insert[-1] != '\n')
        buffer_char(text, '\n');
    add_shard(text, indent, name, conninfo, in_network);
    buffer_text(text, insert);
    return buffer_failed(text) ? error_memory(error) : MOSAIC_OK;
}

bool config_text_change_port(const char *old, const char *name, int old_port, int new_port, struct buffer *text)
{
    const char *at = old;
    char wanted[32];
    struct line line;
    bool changed = false, current = false;

    snprintf(wanted, sizeof wanted, "port=%d", old_port);
    while (next_line(&at, &line)) {
        const char *found = strstr(line.start, wanted);
        size_t size = strlen(wanted);

        if (line.indent < line.size && line.start[line.indent] == '-')
            current = false;
        if (line.indent == 0 && strncmp(line.start, "coordinator:", 12) == 0)
            current = strcmp(name, "coordinator") == 0;
        current = current || names_shard(&line, name);
        if (!current || changed || !found || found >= line.start + line.size || isdigit((unsigned char)found[size])) {
            buffer_add(text, line.start, line.size);
            continue;
        }
        buffer_add(text, line.start, (size_t)(found - line.start));
        buffer_format(text, "port=%d", new_port);
        buffer_add(text, found + size, line.size - (size_t)(found - line.start) - size);
        changed = true;
    }
    return changed && !buffer_failed(text);
}
