/* What a log's statements come to: how many go which way, and the commonest reasons of those that are beyond one shard.
 */
#ifndef MOSAIC_CLI_EXPLAIN_REPORT_H
#define MOSAIC_CLI_EXPLAIN_REPORT_H

#include "plan/explain.h"

#include <stdio.h>

enum { REASONS_MOST = 1000 }; /* further ones are counted together */

struct explain_reason {
    const char *reason, *remedy, *example; /* remedy may be NULL; the example is the first statement, cut */
    uint64_t count, line;
};

struct explain_report {
    struct arena arena;
    uint64_t statements, ways[EXPLAIN_WAY_COUNT];
    struct explain_reason reasons[REASONS_MOST];
    size_t reason_count;
    uint64_t further; /* beyond one shard, for a reason beyond REASONS_MOST */
};

MOSAIC_MUST_CHECK mosaic_status explain_report_add(struct explain_report *report, const struct explain_input *input,
                                                   const struct explanation *explanation, uint64_t line,
                                                   mosaic_error *error);
/* A text that is refused before it is analysed: for its hint. */
MOSAIC_MUST_CHECK mosaic_status explain_report_refuse(struct explain_report *report, const char *reason,
                                                      const char *remedy, const char *text, size_t size, uint64_t line,
                                                      mosaic_error *error);
/* The commonest reasons first. */
void explain_report_print(struct explain_report *report, bool json, FILE *stream);
void explain_report_free(struct explain_report *report);

#endif
