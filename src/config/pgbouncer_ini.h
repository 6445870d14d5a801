/*
 * Reading pgbouncer.ini: lines of `[section]`, `name = value`, comments that begin with ; or #. Pure.
 */
#ifndef MOSAIC_CONFIG_PGBOUNCER_INI_H
#define MOSAIC_CONFIG_PGBOUNCER_INI_H

#include "base/error.h"
#include "base/memory.h"

#include <stdbool.h>

struct ini_entry {
    const char *name, *value; /* in the reader's arena */
    int line;
};

struct ini_reader {
    struct arena *arena;
    const char *source;
    /* For each entry; a section as it is written. */
    mosaic_status (*take)(void *context, const char *section, const struct ini_entry *entry);
    /* For a line such as %include, which is not followed. */
    void (*directive)(void *context, const char *line);
    void *context;
    mosaic_error *error;
};

/* MOSAIC_CONFIG with the line for what is no ini file; else the first failure of `take`. */
MOSAIC_MUST_CHECK mosaic_status ini_read(const struct ini_reader *reader, const char *text, size_t size);
/* Refuses a line: always MOSAIC_CONFIG. */
mosaic_status ini_refuse(const struct ini_reader *reader, int line, const char *what);
/*
 * One key=value of a connect string, the value bare or in '' ('' within stands for one). *at starts as the string.
 * False at the end, or with *bad at what is malformed or when memory is out: then *name or *value is NULL.
 */
bool ini_pair(struct arena *arena, const char **at, const char **name, const char **value, bool *bad);

#endif
