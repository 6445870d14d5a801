#include "proxy/datestyle.h"

#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

enum half { STYLE, ORDER, BOTH };

/* The halves, each by its own name; NULL: the default's. */
struct datestyle {
    const char *halves[BOTH];
};

static const struct {
    const char *word;
    enum half half;
    const char *name; /* NULL: the default's */
    bool is_prefix;   /* what follows is not looked at: European */
} words[] = {
    {"iso", STYLE, "ISO", false},    {"sql", STYLE, "SQL", false},       {"postgres", STYLE, "Postgres", true},
    {"ymd", ORDER, "YMD", false},    {"german", STYLE, "German", false}, {"dmy", ORDER, "DMY", false},
    {"euro", ORDER, "DMY", true},    {"mdy", ORDER, "MDY", false},       {"us", ORDER, "MDY", false},
    {"noneuro", ORDER, "MDY", true}, {"default", BOTH, NULL, false},
};

static bool take_word(struct datestyle *style, bool named[static BOTH], const char *word, size_t size)
{
    size_t i = 0, count = sizeof words / sizeof *words;
    for (; i < count; i++) {
        size_t length = strlen(words[i].word);
        if ((size == length || (size > length && words[i].is_prefix)) && strncasecmp(words[i].word, word, length) == 0)
            break;
    }
    if (i == count)
        return false;
    for (enum half half = STYLE; half < BOTH && words[i].half == BOTH; half++)
        if (!named[half])
            style->halves[half] = NULL;
    if (words[i].half == BOTH)
        return true;
    style->halves[words[i].half] = words[i].name;
    named[words[i].half] = true;
    if (strcmp(words[i].word, "german") == 0 && !named[ORDER])
        style->halves[ORDER] = "DMY"; /* whatever order there was */
    return true;
}

static bool take(struct datestyle *style, const char *value)
{
    static const char blank[] = " \t\n\r\f\v\"";
    bool named[BOTH] = {false};
    for (const char *at = value + strspn(value, blank); *at; at += strspn(at, blank)) {
        size_t size = strcspn(at, " \t\n\r\f\v\",");
        if (!take_word(style, named, at, size))
            return false;
        at += size;
        at += strspn(at, blank);
        if (*at && *at++ != ',')
            return false;
    }
    return true;
}

bool datestyle_set(const char *had, const char *value, char whole[static DATESTYLE_SIZE])
{
    struct datestyle style = {{NULL, NULL}};
    if ((had && !take(&style, had)) || !take(&style, value))
        return false;
    const char *first = style.halves[STYLE], *second = style.halves[ORDER];
    if (first && second)
        (void)snprintf(whole, DATESTYLE_SIZE, "%s, %s", first, second);
    else if (first || second)
        (void)snprintf(whole, DATESTYLE_SIZE, "%s, DEFAULT", first ? first : second);
    else
        (void)snprintf(whole, DATESTYLE_SIZE, "DEFAULT");
    return true;
}
