/*
 * date, timestamp and timestamptz from ISO 8601 text.
 *
 *     [blanks] year-month-day [ (T or blanks) hour:minute[:second[.fraction]] [blanks] [offset] ] [blanks] [BC or AD]
 * [blanks] [blanks] infinity or -infinity [blanks]
 *
 * A year of four digits or more in front can't be taken for anything else under any DateStyle. PostgreSQL reads much
 * else (names of months, now, zones by name): what it means depends on the session or the clock, so it is refused here.
 */
#include "core/parse.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    TEXT_MOST = 100,      /* a little below MAXDATELEN (src/include/utils/datetime.h) */
    DATE_EPOCH = 2451545, /* Julian day of 2000-01-01 (POSTGRES_EPOCH_JDATE) */
    YEAR_MOST = 5874897,  /* the last date is the end of this year */
    ZONE_HOURS_MOST = 15, /* MAX_TZDISP_HOUR */
};
#define MICROSECONDS INT64_C(1000000)
#define MICROSECONDS_PER_DAY (86400 * MICROSECONDS)
/* END_TIMESTAMP: 294277-01-01 (src/include/datatype/timestamp.h). */
#define TIMESTAMP_END INT64_C(9223371331200000000)
#define TIMESTAMP_FIRST INT64_C(-211813488000000000) /* MIN_TIMESTAMP: 4714-11-24 BC */
#define DATE_END INT64_C(2145031949)                 /* 5874898-01-01 (DATE_END_JULIAN) */

static const char malformed[] = "it is not in ISO form (yyyy-mm-dd, hh:mm:ss)";
static const char out_of_range[] = "a field is out of range";
static const char no_offset[] = "it has no offset from UTC; write one, as in 2024-01-31 10:00:00+02";
static const char named_zone[] = "its zone is not an offset; write one, as in 2024-01-31 10:00:00+02";

struct cursor {
    const char *at, *end;
};

static char peek(const struct cursor *c)
{
    return c->at < c->end ? *c->at : '\0';
}

static bool take(struct cursor *c, char wanted)
{
    if (peek(c) != wanted)
        return false;
    c->at++;
    return true;
}

static bool skip_blanks(struct cursor *c)
{
    const char *start = c->at;
    while (c->at < c->end && parse_blank(*c->at))
        c->at++;
    return c->at > start;
}

/* A number of least to most digits, and no digit behind it. */
static bool number(struct cursor *c, int least, int most, int *value)
{
    int digits = 0;
    for (*value = 0; parse_digit(peek(c)) && digits <= most; digits++)
        *value = *value * 10 + (*c->at++ - '0');
    return digits >= least && digits <= most;
}

static bool word(struct cursor *c, const char *lower_case)
{
    size_t size = strlen(lower_case);
    if ((size_t)(c->end - c->at) < size)
        return false;
    for (size_t i = 0; i < size; i++) {
        if ((c->at[i] | 0x20) != lower_case[i])
            return false;
    }
    c->at += size;
    return true;
}

struct moment {
    int year, month, day; /* year as written, before BC is applied */
    int64_t time;         /* microseconds in the day */
    bool has_time, has_offset;
    int offset; /* seconds east of UTC */
};

static const char *read_date(struct cursor *c, struct moment *m)
{
    if (!number(c, 4, 7, &m->year) || !take(c, '-') || !number(c, 1, 2, &m->month) || !take(c, '-') ||
        !number(c, 1, 2, &m->day))
        return malformed;
    return NULL;
}

/* PostgreSQL rounds the fraction as a double (ParseFractionalSecond), so 0.0000005 goes where the double goes. */
static const char *read_fraction(struct cursor *c, int64_t *microseconds)
{
    char text[TEXT_MOST + 16];
    int digits = 0;
    while (parse_digit(peek(c)) && digits < TEXT_MOST)
        text[digits++] = *c->at++;
    if (digits == 0)
        return malformed;
    /* An exponent in place of a point: strtod would look for the locale's point. */
    snprintf(text + digits, sizeof text - (size_t)digits, "e-%d", digits);
    *microseconds = (int64_t)rint(strtod(text, NULL) * 1e6);
    return NULL;
}

static const char *read_time(struct cursor *c, struct moment *m)
{
    int hour, minute, second = 0;
    int64_t fraction = 0;
    if (!number(c, 1, 2, &hour) || !take(c, ':') || !number(c, 2, 2, &minute))
        return malformed;
    if (take(c, ':')) {
        if (!number(c, 2, 2, &second))
            return malformed;
        const char *why = take(c, '.') ? read_fraction(c, &fraction) : NULL;
        if (why)
            return why;
    }
    m->time = ((int64_t)hour * 3600 + minute * 60 + second) * MICROSECONDS + fraction;
    m->has_time = true;
    /* 24:00:00 and a 60th second are the next day's and minute's first (time_overflows). */
    if (hour > 24 || minute > 59 || second > 60 || m->time > MICROSECONDS_PER_DAY)
        return out_of_range;
    return NULL;
}

/* Z, +h, +hh, +hmm, +hhmm, +hh:mm or +hh:mm:ss (DecodeTimezone). */
static const char *read_offset(struct cursor *c, struct moment *m)
{
    m->has_offset = true;
    if (word(c, "z"))
        return NULL;
    bool west = peek(c) == '-';
    if (!west && peek(c) != '+')
        return named_zone;
    c->at++;
    const char *start = c->at;
    int hour, minute = 0, second = 0;
    if (!number(c, 1, 4, &hour))
        return malformed;
    if (c->at - start > 2) {
        minute = hour % 100;
        hour /= 100;
    } else if (take(c, ':')) {
        if (!number(c, 2, 2, &minute) || (take(c, ':') && !number(c, 2, 2, &second)))
            return malformed;
    }
    if (hour > ZONE_HOURS_MOST || minute > 59 || second > 59)
        return "its offset is out of range";
    m->offset = (hour * 60 + minute) * 60 + second;
    if (west)
        m->offset = -m->offset;
    return NULL;
}

static bool at_era(struct cursor *c)
{
    struct cursor ahead = *c;
    return word(&ahead, "bc") || word(&ahead, "ad");
}

static const char *read_time_and_offset(struct cursor *c, struct moment *m)
{
    if (peek(c) == 'T' || peek(c) == 't')
        c->at++;
    else if (!skip_blanks(c))
        return malformed;
    else if (c->at == c->end || at_era(c))
        return NULL;
    const char *why = read_time(c, m);
    if (why)
        return why;
    bool blanks = skip_blanks(c);
    if (c->at == c->end || (blanks && at_era(c)))
        return NULL;
    return read_offset(c, m);
}

static const char *read_era(struct cursor *c, struct moment *m)
{
    if (m->year == 0)
        return out_of_range; /* there is no year 0: 1 BC is followed by 1 AD */
    bool blanks = parse_blank(c->at[-1]) || skip_blanks(c);
    if (blanks && word(c, "bc"))
        m->year = 1 - m->year;
    else if (blanks)
        (void)word(c, "ad");
    skip_blanks(c);
    return c->at == c->end ? NULL : malformed;
}

static const char *read_moment(struct cursor *c, struct moment *m)
{
    const char *why = read_date(c, m);
    if (!why && c->at < c->end)
        why = read_time_and_offset(c, m);
    return why ? why : read_era(c, m);
}

static int month_days(int year, int month)
{
    static const int days[12] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    bool leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    return month == 2 && leap ? 29 : days[month - 1];
}

/* Days since 2000-01-01 in the proleptic Gregorian calendar. Years are counted from March, so that a leap day is the
 * last. */
static int64_t days_of(int year, int month, int day)
{
    int64_t y = (int64_t)year + 4800 - (month <= 2);
    int m = month + (month <= 2 ? 9 : -3);
    int64_t julian = day + (153 * m + 2) / 5 + 365 * y + y / 4 - y / 100 + y / 400 - 32045;
    return julian - DATE_EPOCH;
}

static const char *to_value(const struct moment *m, struct key_value *value)
{
    if (m->month < 1 || m->month > 12 || m->day < 1 || m->year > YEAR_MOST || m->year < -4713)
        return out_of_range;
    if (m->day > month_days(m->year, m->month))
        return out_of_range;
    int64_t days = days_of(m->year, m->month, m->day);
    value->integer = days;
    if (value->type != KEY_DATE) {
        if (value->type == KEY_TIMESTAMPTZ && !m->has_offset)
            return no_offset;
        if (days > TIMESTAMP_END / MICROSECONDS_PER_DAY)
            return out_of_range;
        value->integer = days * MICROSECONDS_PER_DAY + m->time;
        /* PostgreSQL reads and drops the offset of a timestamp without time zone. */
        if (value->type == KEY_TIMESTAMPTZ)
            value->integer -= m->offset * MICROSECONDS;
    }
    bool infinite = value->integer == INT64_MIN || value->integer == INT64_MAX;
    return datetime_in_range(value) && !infinite ? NULL : "it is out of the type's range";
}

static bool read_infinity(struct cursor c, struct key_value *value)
{
    bool negative = take(&c, '-');
    if (!word(&c, "infinity") || c.at != c.end)
        return false;
    if (value->type == KEY_DATE)
        value->integer = negative ? INT32_MIN : INT32_MAX;
    else
        value->integer = negative ? INT64_MIN : INT64_MAX;
    return true;
}

const char *datetime_from_text(const char *text, size_t size, struct key_value *value)
{
    parse_trim(&text, &size);
    if (size > TEXT_MOST)
        return malformed;
    struct cursor c = {text, text + size};
    if (read_infinity(c, value))
        return NULL;
    struct moment m = {0};
    const char *why = read_moment(&c, &m);
    if (!why && value->type == KEY_DATE && m.has_time)
        why = "it has a time of day";
    return why ? why : to_value(&m, value);
}

bool datetime_in_range(const struct key_value *value)
{
    int64_t x = value->integer;
    if (value->type == KEY_DATE)
        return x == INT32_MIN || x == INT32_MAX || (x >= -DATE_EPOCH && x < DATE_END);
    return x == INT64_MIN || x == INT64_MAX || (x >= TIMESTAMP_FIRST && x < TIMESTAMP_END);
}
