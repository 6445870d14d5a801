/* A place in a text, shown by the line it is in. */
#include "plan/explain.h"

#include <string.h>

static size_t characters(const char *text, size_t size)
{
    size_t count = 0;
    for (size_t i = 0; i < size; i++)
        count += ((unsigned char)text[i] & 0xc0) != 0x80;
    return count;
}

/* The byte `count` characters from `from` on, forward or back, within [least, most]. */
static size_t step(const char *text, size_t from, size_t count, size_t least, size_t most, bool back)
{
    size_t at = from;
    while (count && (back ? at > least : at < most)) {
        do
            at += back ? (size_t)-1 : 1;
        while (at > least && at < most && ((unsigned char)text[at] & 0xc0) == 0x80);
        count--;
    }
    return at;
}

const char *const *explain_caret(const char *text, size_t size, size_t location, size_t width, struct arena *arena)
{
    const char **lines = arena_allocate(arena, 2 * sizeof *lines);
    size_t start = location > size ? size : location, end = start, at = start;
    while (start > 0 && text[start - 1] != '\n')
        start--;
    while (end < size && text[end] != '\n' && text[end] != '\r')
        end++;
    size_t from = step(text, at, width / 2, start, end, true);
    size_t to = step(text, from, width, from, end, false);
    const char *left = from > start ? "\xe2\x80\xa6" : "", *right = to < end ? "\xe2\x80\xa6" : "";
    char *shown = arena_copy(arena, text + from, to - from);
    if (!lines || !shown)
        return NULL;
    for (char *c = shown; *c; c++)
        *c = (unsigned char)*c < ' ' ? ' ' : *c;
    lines[0] = arena_format(arena, "%s%s%s", left, shown, right);
    lines[1] = arena_format(arena, "%*s^", (int)(characters(text + from, at - from) + (*left ? 1 : 0)), "");
    return lines[0] && lines[1] ? lines : NULL;
}
