/*
 * Options that load and export share: the format and what belongs to it.
 */
#ifndef MOSAIC_CLI_COPY_OPTIONS_H
#define MOSAIC_CLI_COPY_OPTIONS_H

#include "base/memory.h"
#include "cli/command.h"
#include "copy/format.h"

/* The lines of an option table, to stand in both. */
/* clang-format off */
#define COPY_OPTIONS \
    {"format", 'f', "F", "csv (the default), text, or PostgreSQL's binary format", "csv|text|binary"}, \
    {"delimiter", 'd', "CHAR", "between fields; \\t is a tab", NULL}, \
    {"quote", 'q', "CHAR", "around fields, csv", NULL}, \
    {"escape", 'e', "CHAR", "before a quote inside quotes, csv; the quote by default", NULL}, \
    {"null", 'n', "TEXT", "what stands for NULL; csv: nothing, unquoted; text: \\N", NULL}, \
    {"columns", 'C', "A,B,C", "names of the columns, in the order of the fields", NULL}
/* clang-format on */

/* From the options above, checked as COPY does. */
MOSAIC_MUST_CHECK mosaic_status copy_options_format(const struct invocation *invocation, struct copy_format *format,
                                                    mosaic_error *error);
/* The names of --columns, in the arena; *count 0 when it is not given. A name with a comma or quote in it is written as
 * in csv. */
MOSAIC_MUST_CHECK mosaic_status copy_options_columns(const struct invocation *invocation, struct arena *arena,
                                                     const char ***columns, size_t *count, mosaic_error *error);

#endif
