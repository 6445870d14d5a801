#include "config/edit.h"

#include "base/memory.h"

#include <string.h>
#include <yaml.h>

/* Bytes of the text from the first of an entry to behind its last. */
struct span {
    size_t start, end;
};

/* The section `tables:`. */
struct section {
    bool exists, is_null, is_flow;
    size_t key_end;    /* behind the word */
    struct span whole; /* of the value, in flow style */
    struct span *entries;
    size_t count, capacity;
};

struct walk {
    yaml_parser_t parser;
    const char *text;
    size_t size;
    size_t depth;             /* of open mappings and sequences */
    bool is_value;            /* at depth 1: the value of a key comes next */
    bool is_ours;             /* and the key is `tables` */
    bool within;              /* in its sequence */
    size_t characters, bytes; /* one place, counted both ways: libyaml's marks count characters */
    struct section *section;
};

static size_t byte_of(struct walk *walk, yaml_mark_t mark)
{
    if (mark.index < walk->characters)
        walk->characters = walk->bytes = 0;
    while (walk->characters < mark.index && walk->bytes < walk->size) {
        walk->bytes++;
        while (walk->bytes < walk->size && ((unsigned char)walk->text[walk->bytes] & 0xC0) == 0x80)
            walk->bytes++;
        walk->characters++;
    }
    return walk->bytes;
}

/* ---- where it stands ---- */

static bool add_entry(struct section *section, size_t start)
{
    if (section->count == section->capacity) {
        size_t capacity = section->capacity ? 2 * section->capacity : 16;
        struct span *entries = memory_resize(section->entries, capacity * sizeof *entries);
        if (!entries)
            return false;
        section->entries = entries;
        section->capacity = capacity;
    }
    section->entries[section->count++] = (struct span){start, start};
    return true;
}

/* A node of the document at depth 1: a key, or a key's value. */
static void take_top(struct walk *walk, const yaml_event_t *event)
{
    struct section *section = walk->section;
    bool is_scalar = event->type == YAML_SCALAR_EVENT;
    if (!walk->is_value) {
        walk->is_ours = is_scalar && strcmp((const char *)event->data.scalar.value, "tables") == 0;
        if (walk->is_ours) {
            section->exists = true;
            section->key_end = byte_of(walk, event->end_mark);
        }
    } else if (walk->is_ours && is_scalar) {
        section->is_null = event->data.scalar.length == 0;
    } else if (walk->is_ours && event->type == YAML_SEQUENCE_START_EVENT) {
        walk->within = true;
        section->is_flow = event->data.sequence_start.style == YAML_FLOW_SEQUENCE_STYLE;
        section->whole.start = byte_of(walk, event->start_mark);
    }
    walk->is_value = !walk->is_value;
}

/* The end of a block is no place in the text: only what is written has one. */
static bool is_written(const yaml_event_t *event)
{
    return event->type == YAML_SCALAR_EVENT || event->end_mark.index > event->start_mark.index;
}

static bool take_event(struct walk *walk, const yaml_event_t *event)
{
    struct section *section = walk->section;
    bool opens = event->type == YAML_MAPPING_START_EVENT || event->type == YAML_SEQUENCE_START_EVENT;
    bool closes = event->type == YAML_MAPPING_END_EVENT || event->type == YAML_SEQUENCE_END_EVENT;
    walk->depth -= closes;
    if (walk->depth == 1 && !closes)
        take_top(walk, event);
    else if (walk->within && walk->depth == 2 && !closes && !add_entry(section, byte_of(walk, event->start_mark)))
        return false;
    if (walk->within && walk->depth >= 2 && section->count && is_written(event))
        section->entries[section->count - 1].end = byte_of(walk, event->end_mark);
    if (walk->within && closes && walk->depth == 1) {
        walk->within = false;
        section->whole.end = byte_of(walk, event->end_mark);
    }
    walk->depth += opens;
    return true;
}

static mosaic_status find_section(const char *text, size_t size, struct section *section, mosaic_error *error)
{
    struct walk walk = {.text = text, .size = size, .section = section};
    yaml_event_t event;
    bool goes_on = true, read = true;
    mosaic_status status = MOSAIC_OK;
    if (!yaml_parser_initialize(&walk.parser))
        return error_memory(error);
    yaml_parser_set_input_string(&walk.parser, (const unsigned char *)text, size);
    while (goes_on && status == MOSAIC_OK && (read = yaml_parser_parse(&walk.parser, &event))) {
        bool is_node = event.type >= YAML_ALIAS_EVENT;
        if (is_node && !take_event(&walk, &event))
            status = error_memory(error);
        goes_on = event.type != YAML_STREAM_END_EVENT;
        yaml_event_delete(&event);
    }
    yaml_parser_delete(&walk.parser);
    return read ? status : error_set(error, MOSAIC_CONFIG, "the config cannot be read");
}

static mosaic_status not_known(mosaic_error *error)
{
    return error_set(error, MOSAIC_UNSUPPORTED,
                     "the section tables: of the config is written in a way that only a "
                     "person changes");
}

/* ---- lines ---- */

static size_t line_start(const char *text, size_t at)
{
    while (at && text[at - 1] != '\n')
        at--;
    return at;
}

static size_t line_end(const char *text, size_t size, size_t at)
{
    const char *end = memchr(text + at, '\n', size - at);
    return end ? (size_t)(end - text) : size;
}

/* What stands before an entry of a block: blanks, a dash, blanks. False: something else. */
static bool is_dashed(const char *text, size_t entry, struct span *indent)
{
    size_t start = line_start(text, entry), at = start;
    while (at < entry && text[at] == ' ')
        at++;
    *indent = (struct span){start, at};
    if (at == entry || text[at] != '-')
        return false;
    for (at++; at < entry && text[at] == ' ';)
        at++;
    return at == entry;
}

static bool is_comment(const char *text, size_t at, size_t end)
{
    while (at < end && (text[at] == ' ' || text[at] == '\t' || text[at] == '\r'))
        at++;
    return at == end || text[at] == '#';
}

static void replace(struct buffer *changed, const char *text, size_t size, struct span old, const char *parts[3])
{
    buffer_add(changed, text, old.start);
    for (int i = 0; i < 3; i++)
        buffer_text(changed, parts[i]);
    buffer_add(changed, text + old.end, size - old.end);
}

/* ---- adding ---- */

static mosaic_status add_to_block(const char *text, size_t size, const struct section *section, const char *entry,
                                  struct buffer *changed, mosaic_error *error)
{
    struct span indent;
    size_t end = line_end(text, size, section->entries[section->count - 1].end);
    if (!is_dashed(text, section->entries[0].start, &indent) ||
        !is_comment(text, section->entries[section->count - 1].end, end))
        return not_known(error);
    buffer_add(changed, text, end);
    buffer_char(changed, '\n');
    buffer_add(changed, text + indent.start, indent.end - indent.start);
    buffer_format(changed, "- %s", entry);
    buffer_add(changed, text + end, size - end);
    return MOSAIC_OK;
}

static mosaic_status add(const char *text, size_t size, const struct section *section, const char *entry,
                         struct buffer *changed, mosaic_error *error)
{
    if (!section->exists) {
        bool ended = size && text[size - 1] == '\n';
        replace(changed, text, size, (struct span){size, size},
                (const char *[]){ended ? "tables:\n  - " : "\ntables:\n  - ", entry, "\n"});
    } else if (section->is_null) {
        size_t end = line_end(text, size, section->key_end);
        replace(changed, text, size, (struct span){end, end}, (const char *[]){"\n  - ", entry, ""});
    } else if (section->is_flow && !section->count) {
        replace(changed, text, size, section->whole, (const char *[]){"\n  - ", entry, ""});
    } else if (section->is_flow) {
        size_t end = section->entries[section->count - 1].end;
        replace(changed, text, size, (struct span){end, end}, (const char *[]){", ", entry, ""});
    } else if (section->count) {
        return add_to_block(text, size, section, entry, changed, error);
    } else {
        return not_known(error);
    }
    return MOSAIC_OK;
}

static bool has_mark(const char *text, size_t size)
{
    return size >= 3 && memcmp(text, "\xEF\xBB\xBF", 3) == 0; /* libyaml does not count it */
}

mosaic_status config_add_table(const char *text, size_t size, const char *entry, struct buffer *changed,
                               mosaic_error *error)
{
    struct section section = {0};
    mosaic_status status = has_mark(text, size) ? not_known(error) : find_section(text, size, &section, error);
    if (status == MOSAIC_OK)
        status = add(text, size, &section, entry, changed, error);
    memory_free(section.entries);
    return status == MOSAIC_OK && buffer_failed(changed) ? error_memory(error) : status;
}

/* ---- removing ---- */

static mosaic_status remove_from_block(const char *text, size_t size, struct span entry, struct buffer *changed,
                                       mosaic_error *error)
{
    struct span indent;
    size_t end = line_end(text, size, entry.end);
    if (!is_dashed(text, entry.start, &indent) || !is_comment(text, entry.end, end))
        return not_known(error);
    replace(changed, text, size, (struct span){indent.start, end < size ? end + 1 : end}, (const char *[]){"", "", ""});
    return MOSAIC_OK;
}

mosaic_status config_remove_table(const char *text, size_t size, size_t number, struct buffer *changed,
                                  mosaic_error *error)
{
    struct section section = {0};
    mosaic_status status = has_mark(text, size) ? not_known(error) : find_section(text, size, &section, error);
    const struct span *entries = section.entries;
    if (status == MOSAIC_OK && number >= section.count) {
        status = not_known(error);
    } else if (status == MOSAIC_OK && section.is_flow) {
        struct span old = entries[number];
        if (number)
            old.start = entries[number - 1].end;
        else if (section.count > 1)
            old.end = entries[1].start;
        replace(changed, text, size, old, (const char *[]){"", "", ""});
    } else if (status == MOSAIC_OK) {
        status = remove_from_block(text, size, entries[number], changed, error);
    }
    memory_free(section.entries);
    return status == MOSAIC_OK && buffer_failed(changed) ? error_memory(error) : status;
}

/* ---- words ---- */

static bool is_plain(const char *text)
{
    static const char *const others[] = {"null", "true", "false", "yes", "no", "on", "off", "y", "n"};
    if (!(*text >= 'a' && *text <= 'z') && *text != '_')
        return false;
    for (size_t i = 0; i < sizeof others / sizeof *others; i++)
        if (strcmp(text, others[i]) == 0)
            return false;
    return text[strspn(text, "abcdefghijklmnopqrstuvwxyz0123456789_.")] == '\0';
}

void config_add_text(struct buffer *out, const char *text)
{
    if (is_plain(text)) {
        buffer_text(out, text);
        return;
    }
    buffer_char(out, '"');
    for (; *text; text++) {
        unsigned char c = (unsigned char)*text;
        if (c == '"' || c == '\\')
            buffer_format(out, "\\%c", c);
        else if (c < ' ' || c == 127)
            buffer_format(out, "\\x%02x", c);
        else
            buffer_char(out, (char)c);
    }
    buffer_char(out, '"');
}
