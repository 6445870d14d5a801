#include "catalog/finding.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static const char *format_text(struct findings *findings, const char *format, va_list arguments)
{
    char text[2048];
    vsnprintf(text, sizeof text, format, arguments);
    const char *copy = arena_string(findings->arena, text);
    findings->failed |= !copy;
    return copy ? copy : "";
}

const char *finding_text(struct findings *findings, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    const char *text = format_text(findings, format, arguments);
    va_end(arguments);
    return text;
}

void finding_add(struct findings *findings, bool fatal, const char *shard, const char *table, const char *fix,
                 const char *format, ...)
{
    if (findings->count == findings->capacity) {
        size_t capacity = findings->capacity ? findings->capacity * 2 : 16;
        struct finding *list = arena_zeroed(findings->arena, capacity, sizeof *list);
        if (!list) {
            findings->failed = true;
            return;
        }
        if (findings->count)
            memcpy(list, findings->list, findings->count * sizeof *list);
        findings->list = list;
        findings->capacity = capacity;
    }
    va_list arguments;
    va_start(arguments, format);
    const char *what = format_text(findings, format, arguments);
    va_end(arguments);
    findings->list[findings->count++] = (struct finding){fatal, shard, table, what, fix};
    findings->fatal += fatal;
}

static bool same_but_shard(const struct finding *a, const struct finding *b)
{
    return a->fatal == b->fatal && *a->shard && *b->shard && strcmp(a->table, b->table) == 0 &&
           strcmp(a->what, b->what) == 0 && strcmp(a->fix, b->fix) == 0;
}

void finding_merge(struct findings *findings)
{
    size_t kept = 0;
    for (size_t i = 0; i < findings->count; i++) {
        struct finding *finding = &findings->list[i];
        size_t same = 0;
        while (same < kept && !same_but_shard(&findings->list[same], finding))
            same++;
        if (same == kept) {
            findings->list[kept++] = *finding;
            continue;
        }
        findings->list[same].shard = finding_text(findings, "%s, %s", findings->list[same].shard, finding->shard);
        findings->fatal -= finding->fatal;
    }
    findings->count = kept;
}
