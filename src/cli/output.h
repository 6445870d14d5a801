/*
 * What a person sees: tables, bars, progress; colours only on a terminal and never under NO_COLOR. JSON is made with
 * jansson.
 */
#ifndef MOSAIC_CLI_OUTPUT_H
#define MOSAIC_CLI_OUTPUT_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

enum colour { COLOUR_NONE, COLOUR_BOLD, COLOUR_DIM, COLOUR_RED, COLOUR_GREEN, COLOUR_YELLOW, COLOUR_CYAN };

/* True when the stream is a terminal, NO_COLOR is unset or empty and TERM is not "dumb". */
bool output_is_colourful(FILE *stream);
/* The escape sequence, or "" where the stream has no colours. COLOUR_NONE resets. */
const char *output_colour(FILE *stream, enum colour colour);

/* True when standard output is a pipe that nobody reads any more, as after `| head`. */
bool output_reader_gone(void);

/* "12,345,678" into text (at least 32 bytes); returns text. */
const char *output_count(uint64_t count, char *text);
/* "1.2 MiB" into text (at least 32 bytes); returns text. */
const char *output_bytes(uint64_t bytes, char *text);
/* "3.2 s", "1:05 min" into text (at least 32 bytes); returns text. */
const char *output_duration(double seconds, char *text);

/* A table with aligned columns: add cells row by row (the first row is the header), then print. Cells are copied. */
struct output_table;
struct output_table *output_table_new(size_t columns, const char *alignment /* e.g. "lrr" */);
void output_table_cell(struct output_table *table, const char *text);
void output_table_print(struct output_table *table, FILE *stream); /* also frees it */

/* One line of JSON, or an indented document for a person; keeps key order; decrefs value. Returns false on a write
 * error. */
bool output_json_line(FILE *stream, json_t *value);
bool output_json_document(FILE *stream, json_t *value);

/* A bar of `width` cells filled to `share` (0..1), in UTF-8 eighths; into text (at least 4 * width + 1 bytes). */
const char *output_bar(double share, int width, char *text);

/* A progress line: redrawn in place on a terminal ten times a second; a plain line every five seconds elsewhere. */
struct output_progress {
    FILE *stream;
    const char *label;
    uint64_t total_bytes;  /* 0: not known */
    double started, drawn; /* seconds */
    bool terminal;
};
void output_progress_start(struct output_progress *progress, FILE *stream, const char *label, uint64_t total_bytes);
void output_progress_update(struct output_progress *progress, uint64_t rows, uint64_t bytes);
void output_progress_end(struct output_progress *progress, uint64_t rows, uint64_t bytes);

#endif
