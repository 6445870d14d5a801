#include "config/outline.h"

#include "base/memory.h"
#include "base/nearest.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <yaml.h>

enum { DEPTH_MOST = 8, NAME_SHOWN = 60, FIELDS_MOST = 128 };

/* A mapping or sequence that is open. */
struct level {
    const cyaml_schema_value_t *schema;
    const cyaml_schema_field_t *field; /* of a mapping: the key whose value comes next; NULL: a key comes next */
    bool seen[FIELDS_MOST];            /* of a mapping: which fields of the schema stood */
    size_t entries;                    /* of a sequence */
};

struct walk {
    struct outline *outline;
    const char *source;
    const cyaml_schema_value_t *top;
    struct level levels[DEPTH_MOST];
    size_t depth;
    const char *input;
    size_t size;
    size_t copied;            /* bytes of the input that stand in outline->text */
    size_t characters, bytes; /* one place in the input, counted both ways: libyaml's marks count characters */
    const char *section;
    size_t entry;
    int documents;
    mosaic_error *error;
};

static int line_of(yaml_mark_t mark)
{
    return (int)mark.line + 1;
}

__attribute__((format(printf, 3, 4))) static mosaic_status refuse(struct walk *walk, yaml_mark_t mark,
                                                                  const char *format, ...)
{
    char what[300];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(what, sizeof what, format, arguments);
    va_end(arguments);
    error_set(walk->error, MOSAIC_CONFIG, "%s:%d: %s", walk->source, line_of(mark), what);
    error_detail(walk->error, "line %d, column %d", line_of(mark), (int)mark.column + 1);
    return MOSAIC_CONFIG;
}

static mosaic_status remember(struct walk *walk, const char *key, yaml_mark_t mark)
{
    struct outline *outline = walk->outline;
    if (outline->count == outline->capacity) {
        size_t capacity = outline->capacity ? outline->capacity * 2 : 64;
        void *places = memory_resize(outline->places, capacity * sizeof *outline->places);
        if (!places)
            return error_memory(walk->error);
        outline->places = places;
        outline->capacity = capacity;
    }
    outline->places[outline->count++] = (struct outline_place){walk->section, walk->entry, key, line_of(mark)};
    return MOSAIC_OK;
}

static mosaic_status refuse_key(struct walk *walk, const cyaml_schema_field_t *fields, const char *name,
                                yaml_mark_t mark)
{
    struct nearest nearest = nearest_start(name, strlen(name));
    char known[256] = "";
    for (const cyaml_schema_field_t *field = fields; field->key; field++) {
        size_t used = strlen(known), room = sizeof known - used;
        nearest_offer(&nearest, field->key);
        if (strlen(field->key) + 8 < room) /* its parting, and the last one's dots */
            snprintf(known + used, room, "%s%s", used ? ", " : "", field->key);
        else if (room > 5 && strcmp(known + used - 3, "…") != 0)
            snprintf(known + used, room, ", …");
    }
    refuse(walk, mark, "there is no key \"%.*s\"%s%s%s", NAME_SHOWN, name, nearest.best ? ", did you mean \"" : "",
           nearest.best ? nearest.best : "", nearest.best ? "\"?" : "");
    error_hint(walk->error, "known here: %s", known);
    return MOSAIC_CONFIG;
}

static mosaic_status take_key(struct walk *walk, struct level *level, const yaml_event_t *event)
{
    const char *name = (const char *)event->data.scalar.value;
    const cyaml_schema_field_t *fields = level->schema->mapping.fields;
    size_t at = 0;
    if (strlen(name) != event->data.scalar.length)
        return refuse(walk, event->start_mark, "a key holds a zero byte");
    while (fields[at].key && strcmp(fields[at].key, name) != 0)
        at++;
    if (!fields[at].key)
        return refuse_key(walk, fields, name, event->start_mark);
    if (at < FIELDS_MOST && level->seen[at])
        return refuse(walk, event->start_mark, "the key \"%s\" stands twice", name);
    if (at < FIELDS_MOST)
        level->seen[at] = true;
    level->field = &fields[at];
    if (walk->depth == 1) {
        walk->section = fields[at].key;
        walk->entry = 0;
    }
    return remember(walk, fields[at].key, event->start_mark);
}

/* The offset in bytes of a place counted in characters; places are asked for in ascending order, or from the start
 * again. */
static size_t byte_offset(struct walk *walk, size_t characters)
{
    if (characters < walk->characters)
        walk->characters = walk->bytes = 0;
    while (walk->characters < characters && walk->bytes < walk->size) {
        walk->bytes++;
        while (walk->bytes < walk->size && ((unsigned char)walk->input[walk->bytes] & 0xC0) == 0x80)
            walk->bytes++;
        walk->characters++;
    }
    return walk->bytes;
}

/* Copies the input up to a place and then one more character. */
static void copy_and_add(struct walk *walk, size_t characters, char character)
{
    size_t end = byte_offset(walk, characters);
    buffer_add(&walk->outline->text, walk->input + walk->copied, end - walk->copied);
    buffer_char(&walk->outline->text, character);
    walk->copied = end;
}

static bool is_null(const yaml_event_t *event)
{
    const char *text = (const char *)event->data.scalar.value;
    return event->data.scalar.style == YAML_PLAIN_SCALAR_STYLE &&
           (!*text || strcmp(text, "~") == 0 || strcasecmp(text, "null") == 0);
}

/* libcyaml would read 1e9 and 1.5 as 1, 010 as 8, and -0 as 0. */
static bool is_whole_number(const char *text)
{
    size_t digits = strspn(text, "0123456789");
    bool plain = digits && digits <= 10 && !text[digits] && (*text != '0' || digits == 1);
    return plain && strtoull(text, NULL, 10) <= UINT32_MAX;
}

static mosaic_status take_scalar(struct walk *walk, const cyaml_schema_value_t *schema, const yaml_event_t *event)
{
    const char *text = (const char *)event->data.scalar.value;
    bool nullable = (schema->flags & CYAML_FLAG_POINTER_NULL_STR) == CYAML_FLAG_POINTER_NULL_STR;
    if (strlen(text) != event->data.scalar.length)
        return refuse(walk, event->start_mark, "a value holds a zero byte");
    if (is_null(event))
        return nullable ? MOSAIC_OK : refuse(walk, event->start_mark, "a value is missing");
    if (schema->type == CYAML_UINT && !is_whole_number(text))
        return refuse(walk, event->start_mark, "\"%.*s\" is not a whole number from 0 to 4294967295", NAME_SHOWN, text);
    if (schema->type == CYAML_MAPPING)
        return refuse(walk, event->start_mark, "expected keys with values, found \"%.*s\"", NAME_SHOWN, text);
    if (schema->type != CYAML_SEQUENCE)
        return MOSAIC_OK;
    if (schema->sequence.entry->type == CYAML_MAPPING)
        return refuse(walk, event->start_mark, "expected a list, found \"%.*s\"", NAME_SHOWN, text);
    if (event->data.scalar.style == YAML_LITERAL_SCALAR_STYLE || event->data.scalar.style == YAML_FOLDED_SCALAR_STYLE ||
        (event->data.scalar.style == YAML_PLAIN_SCALAR_STYLE && strpbrk(text, ",[]{}")))
        return refuse(walk, event->start_mark,
                      "write several values as a list: [a, b], and a name with such characters in quotes");
    copy_and_add(walk, event->start_mark.index, '[');
    copy_and_add(walk, event->end_mark.index, ']');
    return MOSAIC_OK;
}

static mosaic_status open_level(struct walk *walk, const cyaml_schema_value_t *schema, const yaml_event_t *event)
{
    bool mapping = event->type == YAML_MAPPING_START_EVENT;
    if (schema->type != (mapping ? CYAML_MAPPING : CYAML_SEQUENCE))
        return refuse(walk, event->start_mark, "expected %s, found %s",
                      schema->type == CYAML_MAPPING    ? "keys with values"
                      : schema->type == CYAML_SEQUENCE ? "a list"
                                                       : "a single value",
                      mapping ? "keys with values" : "a list");
    if (walk->depth == DEPTH_MOST)
        return refuse(walk, event->start_mark, "nested too deeply");
    walk->levels[walk->depth++] = (struct level){.schema = schema};
    return MOSAIC_OK;
}

/* A value begins: which schema is it to follow? Counts the entries of a section. */
static const cyaml_schema_value_t *next_schema(struct walk *walk, struct level *level)
{
    if (level->schema->type == CYAML_MAPPING) {
        const cyaml_schema_value_t *schema = &level->field->value;
        level->field = NULL;
        return schema;
    }
    if (walk->depth == 2)
        walk->entry = level->entries;
    level->entries++;
    return level->schema->sequence.entry;
}

static mosaic_status take_value(struct walk *walk, const yaml_event_t *event)
{
    struct level *level = walk->depth ? &walk->levels[walk->depth - 1] : NULL;
    bool scalar = event->type == YAML_SCALAR_EVENT;
    if (level && level->schema->type == CYAML_MAPPING && !level->field)
        return scalar ? take_key(walk, level, event) : refuse(walk, event->start_mark, "a key must be a single word");
    const cyaml_schema_value_t *schema = level ? next_schema(walk, level) : walk->top;
    if (level && level->schema->type == CYAML_SEQUENCE && walk->depth == 2) {
        mosaic_status status = remember(walk, NULL, event->start_mark);
        if (status != MOSAIC_OK)
            return status;
    }
    if (scalar && !level)
        return refuse(walk, event->start_mark, "expected keys with values (cluster, shards, tables)");
    return scalar ? take_scalar(walk, schema, event) : open_level(walk, schema, event);
}

static mosaic_status take_event(struct walk *walk, const yaml_event_t *event)
{
    const yaml_char_t *anchor = NULL, *tag = NULL;
    switch (event->type) {
    case YAML_DOCUMENT_START_EVENT:
        return ++walk->documents > 1 ? refuse(walk, event->start_mark, "a second document begins; a config is one")
                                     : MOSAIC_OK;
    case YAML_ALIAS_EVENT:
        return refuse(walk, event->start_mark, "aliases (*%.*s) are not supported: write the value out", NAME_SHOWN,
                      (const char *)event->data.alias.anchor);
    case YAML_SCALAR_EVENT:
        anchor = event->data.scalar.anchor;
        tag = event->data.scalar.tag;
        break;
    case YAML_SEQUENCE_START_EVENT:
        anchor = event->data.sequence_start.anchor;
        tag = event->data.sequence_start.tag;
        break;
    case YAML_MAPPING_START_EVENT:
        anchor = event->data.mapping_start.anchor;
        tag = event->data.mapping_start.tag;
        break;
    case YAML_SEQUENCE_END_EVENT:
    case YAML_MAPPING_END_EVENT:
        walk->depth--;
        return MOSAIC_OK;
    default:
        return MOSAIC_OK;
    }
    if (anchor)
        return refuse(walk, event->start_mark, "anchors (&%.*s) are not supported: write the value out", NAME_SHOWN,
                      (const char *)anchor);
    if (tag)
        return refuse(walk, event->start_mark, "tags (%.*s) are not supported", NAME_SHOWN, (const char *)tag);
    return take_value(walk, event);
}

static mosaic_status refuse_syntax(struct walk *walk, const yaml_parser_t *parser)
{
    if (parser->error == YAML_MEMORY_ERROR)
        return error_memory(walk->error);
    yaml_mark_t mark = parser->problem_mark;
    if (parser->error == YAML_READER_ERROR) { /* has an offset only */
        mark = (yaml_mark_t){.index = parser->problem_offset};
        for (size_t i = 0; i < parser->problem_offset && i < walk->size; i++) {
            mark.column = walk->input[i] == '\n' ? 0 : mark.column + 1;
            mark.line += walk->input[i] == '\n';
        }
        refuse(walk, mark, "not valid UTF-8 text: %s", parser->problem ? parser->problem : "?");
        error_hint(walk->error, "save the file as UTF-8");
        return MOSAIC_CONFIG;
    }
    size_t offset = byte_offset(walk, mark.index);
    bool tab = offset < walk->size && walk->input[offset] == '\t';
    refuse(walk, mark, "%s%s%s",
           tab               ? "a tab indents; YAML wants spaces"
           : parser->problem ? parser->problem
                             : "the YAML is malformed",
           parser->context && !tab ? " " : "", parser->context && !tab ? parser->context : "");
    if (tab)
        error_hint(walk->error, "replace the tab by spaces");
    return MOSAIC_CONFIG;
}

mosaic_status outline_read(const char *text, size_t size, const char *source, const cyaml_schema_value_t *top,
                           struct outline *outline, mosaic_error *error)
{
    *outline = (struct outline){.text = BUFFER_INIT(size * 2 + 16)};
    struct walk walk = {.outline = outline, .source = source, .top = top, .input = text, .size = size, .error = error};
    mosaic_status status = MOSAIC_OK;
    yaml_parser_t parser;
    if (!yaml_parser_initialize(&parser))
        return error_memory(error);
    yaml_parser_set_input_string(&parser, (const unsigned char *)text, size);
    yaml_parser_set_encoding(&parser, YAML_UTF8_ENCODING);
    for (bool end = false; !end && status == MOSAIC_OK;) {
        yaml_event_t event;
        if (!yaml_parser_parse(&parser, &event)) {
            status = refuse_syntax(&walk, &parser);
            break;
        }
        end = event.type == YAML_STREAM_END_EVENT;
        status = take_event(&walk, &event);
        yaml_event_delete(&event);
    }
    yaml_parser_delete(&parser);
    if (status == MOSAIC_OK && !walk.documents) {
        error_set(error, MOSAIC_CONFIG, "%s: the file is empty", source);
        error_hint(error, "it needs at least cluster and shards; pgmosaic lab up makes one to start from");
        return MOSAIC_CONFIG;
    }
    if (status == MOSAIC_OK) {
        buffer_add(&outline->text, text + walk.copied, size - walk.copied);
        if (buffer_failed(&outline->text))
            status = error_memory(error);
    }
    return status;
}

int outline_line(const struct outline *outline, const char *section, size_t entry, const char *key)
{
    int line = 0, better = 0;
    for (size_t i = 0; i < outline->count; i++) {
        const struct outline_place *place = &outline->places[i];
        if (strcmp(place->section, section) != 0)
            continue;
        int match = 1;
        if (place->entry == entry && !place->key)
            match = 2;
        else if (place->entry == entry && key && strcmp(place->key, key) == 0)
            match = 3;
        if (match > better) {
            better = match;
            line = place->line;
        }
    }
    return line;
}

void outline_free(struct outline *outline)
{
    buffer_free(&outline->text);
    memory_free(outline->places);
    *outline = (struct outline){0};
}
