/*
 * How the examples print: headings, bars, numbers. Nothing here knows of sharding; read basic.c first.
 */
#ifndef STORY_H
#define STORY_H

#include <pgmosaic.h>
#include <stdint.h>
#include <stdnoreturn.h>

enum { SHARDS_SHOWN = 64 };

/* "1  A heading" in bold, where the output is a terminal. */
void story_heading(const char *text);
/* A line of the story, indented. */
void story_line(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* The same in two columns, for cell 0, 1, 2 …; cell -1 ends the last line. */
void story_column(int cell, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* "s0  ██████████  25,003 rows  3.1 MiB": one line of a bar chart; bytes 0: not shown. */
void story_bar(const char *name, uint64_t rows, uint64_t most, uint64_t bytes);
/* 12345678 as "12,345,678". The text is overwritten by the eighth call after. */
const char *story_count(uint64_t count);
/* Prints what failed and what to do next, and ends the program. */
noreturn void story_fail(const char *doing, const mosaic_error *error);
/* Runs `pgmosaic ARGUMENTS…` (the command is named by $PGMOSAIC) quietly; ends the program if it fails. */
void story_pgmosaic(const char *const *arguments);
/* The same, and what it prints is part of the story. */
void story_show_pgmosaic(const char *const *arguments);
/* The closing lines: three commands to paste, two of them given. */
void story_what_next(const char *table, const char *first, const char *second);
/* Seconds, for measuring how long something took. */
double story_seconds(void);

#endif
