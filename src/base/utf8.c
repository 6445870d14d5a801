#include "base/utf8.h"

size_t utf8_count(const char *text, size_t size)
{
    size_t count = 0;
    for (size_t i = 0; i < size; i++)
        count += !utf8_continues(text[i]);
    return count;
}

size_t utf8_offset(const char *text, size_t size, size_t count)
{
    size_t at = 0;
    for (; count && at < size; count--)
        do
            at++;
        while (at < size && utf8_continues(text[at]));
    return at;
}

size_t utf8_cut(const char *text, size_t size, size_t most)
{
    size_t kept = size > most ? most : size;
    while (kept < size && kept && utf8_continues(text[kept]))
        kept--;
    return kept;
}
