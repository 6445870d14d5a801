#include "cli/explain_report.h"

#include "base/error.h"
#include "base/utf8.h"
#include "cli/output.h"

#include <stdlib.h>
#include <string.h>

enum { EXAMPLE_BYTES = 120, REASONS_SHOWN = 20 };

/* On one line, cut at a character. */
static const char *example_of(struct arena *arena, const char *text, size_t size)
{
    size_t shown = utf8_cut(text, size, EXAMPLE_BYTES);
    char *copy = arena_format(arena, "%.*s%s", (int)shown, text, shown < size ? "\xe2\x80\xa6" : "");
    for (char *c = copy; c && *c; c++)
        *c = (unsigned char)*c < ' ' ? ' ' : *c;
    return copy;
}

static mosaic_status add_reason(struct explain_report *report, const char *reason, const char *remedy, const char *text,
                                size_t size, uint64_t line, mosaic_error *error)
{
    for (size_t i = 0; i < report->reason_count; i++)
        if (strcmp(report->reasons[i].reason, reason) == 0) {
            report->reasons[i].count++;
            return MOSAIC_OK;
        }
    if (report->reason_count == REASONS_MOST) {
        report->further++;
        return MOSAIC_OK;
    }
    struct explain_reason *made = &report->reasons[report->reason_count];
    *made = (struct explain_reason){.reason = arena_string(&report->arena, reason),
                                    .remedy = remedy ? arena_string(&report->arena, remedy) : NULL,
                                    .example = example_of(&report->arena, text, size),
                                    .count = 1,
                                    .line = line};
    if (!made->reason || !made->example || (remedy && !made->remedy))
        return error_memory(error);
    report->reason_count++;
    return MOSAIC_OK;
}

mosaic_status explain_report_add(struct explain_report *report, const struct explain_input *input,
                                 const struct explanation *explanation, uint64_t line, mosaic_error *error)
{
    report->statements++;
    report->ways[explanation->way]++;
    if (explanation->way < EXPLAIN_SCATTER)
        return MOSAIC_OK;
    return add_reason(report, explanation->reason, explanation->remedy, input->text, input->size, line, error);
}

mosaic_status explain_report_refuse(struct explain_report *report, const char *reason, const char *remedy,
                                    const char *text, size_t size, uint64_t line, mosaic_error *error)
{
    report->statements++;
    report->ways[EXPLAIN_REFUSED]++;
    return add_reason(report, reason, remedy, text, size, line, error);
}

static int by_count(const void *a, const void *b)
{
    const struct explain_reason *left = a, *right = b;
    if (left->count != right->count)
        return left->count < right->count ? 1 : -1;
    return (left->line > right->line) - (left->line < right->line);
}

static double share_of(const struct explain_report *report, uint64_t count)
{
    return report->statements ? (double)count / (double)report->statements : 0;
}

static void print_json(const struct explain_report *report, FILE *stream)
{
    json_t *ways = json_array(), *reasons = json_array();
    for (int way = 0; way < EXPLAIN_WAY_COUNT; way++) {
        int tier = explain_tier((enum explain_way)way);
        json_array_append_new(ways,
                              json_pack("{s:s, s:o, s:I, s:f}", "way", explain_way_name((enum explain_way)way), "tier",
                                        tier ? json_integer(tier) : json_null(), "count", (json_int_t)report->ways[way],
                                        "share", share_of(report, report->ways[way])));
    }
    for (size_t i = 0; i < report->reason_count; i++) {
        const struct explain_reason *reason = &report->reasons[i];
        json_array_append_new(reasons, json_pack("{s:s, s:s?, s:I, s:s, s:I}", "reason", reason->reason, "hint",
                                                 reason->remedy, "count", (json_int_t)reason->count, "example",
                                                 reason->example, "line", (json_int_t)reason->line));
    }
    output_json_document(stream, json_pack("{s:I, s:o, s:o, s:I}", "statements", (json_int_t)report->statements, "ways",
                                           ways, "reasons", reasons, "further_reasons", (json_int_t)report->further));
}

static void print_ways(const struct explain_report *report, FILE *stream)
{
    struct output_table *table = output_table_new(4, "llrr");
    static const char *const header[] = {"TIER", "WAY", "STATEMENTS", "SHARE"}, *const tiers[] = {"-", "1", "2", "3",
                                                                                                  "4"};
    for (size_t i = 0; table && i < 4; i++)
        output_table_cell(table, header[i]);
    for (int way = 0; table && way < EXPLAIN_WAY_COUNT; way++) {
        char count[32], share[32];
        if (!report->ways[way])
            continue;
        snprintf(share, sizeof share, "%.1f %%", 100 * share_of(report, report->ways[way]));
        output_table_cell(table, tiers[explain_tier((enum explain_way)way)]);
        output_table_cell(table, explain_way_name((enum explain_way)way));
        output_table_cell(table, output_count(report->ways[way], count));
        output_table_cell(table, share);
    }
    if (table)
        output_table_print(table, stream);
}

static void print_reasons(const struct explain_report *report, FILE *stream)
{
    char count[32];
    uint64_t others = report->further;
    for (size_t i = 0; i < report->reason_count; i++) {
        const struct explain_reason *reason = &report->reasons[i];
        if (i >= REASONS_SHOWN) {
            others += reason->count;
            continue;
        }
        fprintf(stream, "\n%s beyond one shard: %s\n", output_count(reason->count, count), reason->reason);
        fprintf(stream, "  line %llu: %s\n", (unsigned long long)reason->line, reason->example);
        if (reason->remedy)
            fprintf(stream, "  hint: %s\n", reason->remedy);
    }
    if (others)
        fprintf(stream, "\n%s beyond one shard for other reasons\n", output_count(others, count));
}

void explain_report_print(struct explain_report *report, bool json, FILE *stream)
{
    qsort(report->reasons, report->reason_count, sizeof *report->reasons, by_count);
    if (json) {
        print_json(report, stream);
        return;
    }
    print_ways(report, stream);
    print_reasons(report, stream);
}

void explain_report_free(struct explain_report *report)
{
    arena_free(&report->arena);
}
