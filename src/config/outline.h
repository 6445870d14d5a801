/*
 * The outline of a YAML text, checked against a libcyaml schema before libcyaml loads it.
 *
 * libcyaml tells neither the line of a key it does not know nor that of a value it accepted, and has no "one or many".
 * So one pass over libyaml's events comes first. It refuses, with line and column, what no config needs (anchors,
 * aliases, tags, a second document, a key that the schema does not have or that stands twice); it remembers the line of
 * every key; and it puts brackets around a single value where the schema has a sequence, so `key: id` reads as `key:
 * [id]`. Lines do not shift by that.
 */
#ifndef MOSAIC_CONFIG_OUTLINE_H
#define MOSAIC_CONFIG_OUTLINE_H

#include "base/buffer.h"
#include "base/error.h"

#include <cyaml/cyaml.h>

/* One key of a mapping, or with key == NULL the start of an entry of a sequence. */
struct outline_place {
    const char *section; /* the key at the top, from the schema: static */
    size_t entry;        /* number of the section's entry, from 0 */
    const char *key;     /* from the schema: static */
    int line;            /* from 1 */
};

struct outline {
    struct buffer text; /* what libcyaml is to load */
    struct outline_place *places;
    size_t count, capacity;
};

/* `top` is the schema of the whole document, a mapping. On any result outline_free *outline. */
MOSAIC_MUST_CHECK mosaic_status outline_read(const char *text, size_t size, const char *source,
                                             const cyaml_schema_value_t *top, struct outline *outline,
                                             mosaic_error *error);
/* The line of a key of an entry, else of the entry, else of the section; 0 if there is none. key may be NULL. */
int outline_line(const struct outline *outline, const char *section, size_t entry, const char *key);
void outline_free(struct outline *outline);

#endif
