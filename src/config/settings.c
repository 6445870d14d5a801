/*
 * One table row a setting, from the list in the header; every kind of value has its way in (text → field), and its way
 * out (field → text that reads as the same value).
 */
#include "config/settings.h"

#include "base/nearest.h"

#include <inttypes.h>
#include <stddef.h>
#include <string.h>
#include <strings.h>

enum { WORDS_MOST = 1024, VALUE_SHOWN = 60 };

enum kind {
    KIND_INT,
    KIND_MS,
    KIND_BYTES,
    KIND_MODE,
    KIND_BOOL,
    KIND_TEXT,
    KIND_WORDS,
    KIND_POOL_MODE,
    KIND_AUTH_TYPE,
    KIND_TLS_MODE,
    KIND_LOG_FORMAT,
    KIND_LOG_LEVEL,
    KIND_SCATTER_MODE,
};

struct setting {
    struct proxy_setting_info info;
    enum kind kind;
    size_t offset, size; /* of its field in struct proxy_settings */
    int64_t least, most;
};

#define X(name, kind, initial, least, most, reloads, help)       \
    {{#name, initial, help, reloads, KIND_##kind == KIND_WORDS}, \
     KIND_##kind,                                                \
     offsetof(struct proxy_settings, name),                      \
     sizeof(((struct proxy_settings *)0)->name),                 \
     least,                                                      \
     most},
static const struct setting table[] = {PROXY_SETTING_LIST(X)};
#undef X

enum { SETTING_COUNT = sizeof table / sizeof *table };

#define X(identifier, name) name,
static const char *const pool_modes[] = {POOL_MODE_LIST(X) NULL};
static const char *const auth_types[] = {AUTH_TYPE_LIST(X) NULL};
static const char *const tls_modes[] = {TLS_MODE_LIST(X) NULL};
static const char *const log_formats[] = {LOG_FORMAT_LIST(X) NULL};
static const char *const log_levels[] = {LOG_LEVEL_LIST(X) NULL};
static const char *const scatter_modes[] = {SCATTER_MODE_LIST(X) NULL};
#undef X

struct unit {
    const char *name;
    int64_t factor;
};

/* The smallest first: a value is written in the largest that it is whole in. */
static const struct unit times[] = {{"ms", 1}, {"s", 1000}, {"min", 60000}, {"h", 3600000}, {"d", 86400000}};
static const struct unit sizes[] = {
    {"B", 1}, {"kB", 1 << 10}, {"MB", 1 << 20}, {"GB", 1 << 30}, {"TB", INT64_C(1) << 40}};
enum { UNIT_COUNT = 5 };
_Static_assert(sizeof times / sizeof *times == UNIT_COUNT && sizeof sizes / sizeof *sizes == UNIT_COUNT, "as counted");

/* The names of an enum's values; NULL for a kind that is none. */
static const char *const *names_of(enum kind kind)
{
    switch (kind) {
    case KIND_POOL_MODE:
        return pool_modes;
    case KIND_AUTH_TYPE:
        return auth_types;
    case KIND_TLS_MODE:
        return tls_modes;
    case KIND_LOG_FORMAT:
        return log_formats;
    case KIND_LOG_LEVEL:
        return log_levels;
    case KIND_SCATTER_MODE:
        return scatter_modes;
    default:
        return NULL;
    }
}

static const struct unit *units_of(enum kind kind)
{
    return kind == KIND_MS ? times : kind == KIND_BYTES ? sizes : NULL;
}

/* ---- values as text ---- */

static void write_number(struct buffer *out, enum kind kind, int64_t number)
{
    const struct unit *units = units_of(kind), *unit = NULL;
    for (size_t i = 0; units && i < UNIT_COUNT && number; i++)
        if (number % units[i].factor == 0)
            unit = &units[i];
    if (unit)
        buffer_format(out, "%" PRId64 "%s", number / unit->factor, unit->name);
    else
        buffer_format(out, kind == KIND_MODE ? "%04" PRIo64 : "%" PRId64, number);
}

void settings_quote_word(struct buffer *out, const char *word)
{
    if (*word && !strpbrk(word, " \t\r\n,\"")) {
        buffer_text(out, word);
        return;
    }
    buffer_char(out, '"');
    for (; *word; word++) {
        if (*word == '"')
            buffer_char(out, '"');
        buffer_char(out, *word);
    }
    buffer_char(out, '"');
}

static void write_words(struct buffer *out, const char *const *words)
{
    for (size_t i = 0; words[i]; i++) {
        if (i)
            buffer_text(out, ", ");
        settings_quote_word(out, words[i]);
    }
}

static const void *field(const struct proxy_settings *settings, const struct setting *setting)
{
    return (const char *)settings + setting->offset;
}

/* Enums differ in type, not in size. */
static unsigned read_enum(const void *field)
{
    unsigned value;
    memcpy(&value, field, sizeof value);
    return value;
}

/* Takes the buffer's text into the arena and frees it; NULL when memory is out. */
static char *finish(struct arena *arena, struct buffer *out)
{
    char *text = buffer_failed(out) ? NULL : arena_string(arena, buffer_string(out));
    buffer_free(out);
    return text;
}

const char *settings_value(struct arena *arena, const struct proxy_settings *settings, size_t i)
{
    const struct setting *setting = &table[i];
    const void *value = field(settings, setting);
    struct buffer out = BUFFER_INIT(1 << 20);
    switch (setting->kind) {
    case KIND_INT:
    case KIND_MS:
    case KIND_BYTES:
    case KIND_MODE:
        write_number(&out, setting->kind, *(const int64_t *)value);
        break;
    case KIND_BOOL:
        buffer_text(&out, *(const bool *)value ? "true" : "false");
        break;
    case KIND_TEXT:
        return *(const char *const *)value ? arena_string(arena, *(const char *const *)value) : NULL;
    case KIND_WORDS:
        write_words(&out, *(const char *const *const *)value);
        break;
    default:
        buffer_text(&out, names_of(setting->kind)[read_enum(value)]);
    }
    return finish(arena, &out);
}

const char *settings_takes(struct arena *arena, size_t i)
{
    const struct setting *setting = &table[i];
    const char *const *names = names_of(setting->kind);
    struct buffer out = BUFFER_INIT(4096);
    switch (setting->kind) {
    case KIND_INT:
    case KIND_MS:
    case KIND_BYTES:
    case KIND_MODE:
        buffer_text(&out, setting->kind == KIND_INT     ? "a whole number from "
                          : setting->kind == KIND_MS    ? "a time from "
                          : setting->kind == KIND_BYTES ? "a size from "
                                                        : "a file's mode in octal, from ");
        write_number(&out, setting->kind, setting->least);
        buffer_text(&out, " to ");
        write_number(&out, setting->kind, setting->most);
        break;
    case KIND_BOOL:
        buffer_text(&out, "true or false");
        break;
    case KIND_TEXT:
        buffer_text(&out, "a text");
        break;
    case KIND_WORDS:
        buffer_text(&out, "one or several");
        break;
    default:
        for (size_t at = 0; names[at]; at++)
            buffer_format(&out, "%s%s", !at ? "" : names[at + 1] ? ", " : " or ", names[at]);
    }
    return finish(arena, &out);
}

/* ---- text as values ---- */

static mosaic_status refuse_value(const struct setting *setting, const char *value, const char *why, const char *hint,
                                  mosaic_error *error)
{
    struct arena arena = ARENA_INIT;
    const char *takes = settings_takes(&arena, (size_t)(setting - table));
    (void)!error_set(error, MOSAIC_CONFIG, "%s: \"%.*s\" %s", setting->info.name, VALUE_SHOWN, value, why);
    error_detail(error, "it takes %s", takes ? takes : "other values");
    if (hint)
        error_hint(error, "%s", hint);
    arena_free(&arena);
    return MOSAIC_CONFIG;
}

static const struct unit *find_unit(const struct unit *units, const char *name)
{
    for (size_t i = 0; i < UNIT_COUNT; i++)
        if (strcasecmp(units[i].name, name) == 0)
            return &units[i];
    return NULL;
}

static mosaic_status set_number(const struct setting *setting, const char *value, int64_t *number, mosaic_error *error)
{
    const struct unit *units = units_of(setting->kind), *unit = NULL;
    const int64_t base = setting->kind == KIND_MODE ? 8 : 10;
    const char *at = value;
    int64_t whole = 0;
    for (; *at >= '0' && *at < '0' + base; at++)
        if (__builtin_mul_overflow(whole, base, &whole) || __builtin_add_overflow(whole, *at - '0', &whole))
            return refuse_value(setting, value, "is out of range", NULL, error);
    if (at == value)
        return refuse_value(setting, value, "is no number", units == times ? "as in 500ms, 5s, 10min" : NULL, error);
    while (*at == ' ')
        at++;
    if (*at && units && !(unit = find_unit(units, at)))
        return refuse_value(setting, value, "has an unknown unit",
                            units == times ? "one of ms, s, min, h, d" : "one of B, kB, MB, GB, TB", error);
    if (*at && !units)
        return refuse_value(setting, value, "is no number", NULL, error);
    if (!unit && units == times && whole)
        return refuse_value(setting, value, "has no unit", "say which: ms, s, min, h, d, as in 5s", error);
    if (unit && __builtin_mul_overflow(whole, unit->factor, &whole))
        return refuse_value(setting, value, "is out of range", NULL, error);
    if (whole < setting->least || whole > setting->most)
        return refuse_value(setting, value, "is out of range", NULL, error);
    *number = whole;
    return MOSAIC_OK;
}

bool settings_bool(const char *text, bool *flag)
{
    static const char *const words[] = {"false", "true", "off", "on", "no", "yes", "0", "1"};
    for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
        if (strcasecmp(text, words[i]) == 0) {
            *flag = i % 2;
            return true;
        }
    }
    return false;
}

static mosaic_status set_bool(const struct setting *setting, const char *value, bool *flag, mosaic_error *error)
{
    if (settings_bool(value, flag))
        return MOSAIC_OK;
    return refuse_value(setting, value, "is neither true nor false", NULL, error);
}

static mosaic_status set_enum(const struct setting *setting, const char *value, void *to, mosaic_error *error)
{
    const char *const *names = names_of(setting->kind);
    for (unsigned i = 0; names[i]; i++) {
        if (strcasecmp(value, names[i]) == 0) {
            memcpy(to, &i, sizeof i);
            return MOSAIC_OK;
        }
    }
    return refuse_value(setting, value, "is none of its values", NULL, error);
}

/* Copies the word that begins at *at (not a blank) to `to`, and moves *at behind it; false: a quote is not closed. */
static bool take_word(const char **at, char *to)
{
    const char *from = *at;
    bool quoted = *from == '"';
    from += quoted;
    for (;;) {
        if (quoted && from[0] == '"' && from[1] == '"')
            from++;
        else if (quoted ? *from == '"' || !*from : strchr(" \t\r\n,", *from) != NULL)
            break;
        *to++ = *from++;
    }
    *to = '\0';
    bool closed = !quoted || *from == '"';
    *at = from + (quoted && closed);
    return closed;
}

static mosaic_status set_words(struct arena *arena, const struct setting *setting, const char *value,
                               const char *const **to, mosaic_error *error)
{
    const char *words[WORDS_MOST + 1];
    size_t count = 0;
    char *text = arena_allocate(arena, strlen(value) + 1);
    if (!text)
        return error_memory(error);
    for (const char *at = value + strspn(value, " \t\r\n,"); *at; at += strspn(at, " \t\r\n,")) {
        if (count == WORDS_MOST)
            return refuse_value(setting, value, "has too many entries", NULL, error);
        if (!take_word(&at, text))
            return refuse_value(setting, value, "has a quote that is never closed", NULL, error);
        if (!*text)
            continue;
        words[count++] = text;
        text += strlen(text) + 1;
    }
    words[count] = NULL;
    const char **kept = arena_allocate(arena, (count + 1) * sizeof *kept);
    if (!kept)
        return error_memory(error);
    memcpy(kept, words, (count + 1) * sizeof *kept);
    *to = kept;
    return MOSAIC_OK;
}

/* Empty is "not set" for what is not set by default. */
static mosaic_status set_text(struct arena *arena, const struct setting *setting, const char *value, const char **to,
                              mosaic_error *error)
{
    *to = *value || setting->info.initial ? arena_string(arena, value) : NULL;
    return *to || !*value ? MOSAIC_OK : error_memory(error);
}

static mosaic_status set(struct arena *arena, struct proxy_settings *settings, const struct setting *setting,
                         const char *value, mosaic_error *error)
{
    void *to = (char *)settings + setting->offset;
    switch (setting->kind) {
    case KIND_INT:
    case KIND_MS:
    case KIND_BYTES:
    case KIND_MODE:
        return set_number(setting, value, to, error);
    case KIND_BOOL:
        return set_bool(setting, value, to, error);
    case KIND_TEXT:
        return set_text(arena, setting, value, to, error);
    case KIND_WORDS:
        return set_words(arena, setting, value, to, error);
    default:
        return set_enum(setting, value, to, error);
    }
}

mosaic_status settings_set(struct arena *arena, struct proxy_settings *settings, const char *name, const char *value,
                           mosaic_error *error)
{
    size_t i = settings_find(name);
    if (i != SIZE_MAX)
        return set(arena, settings, &table[i], value, error);
    struct nearest nearest = nearest_start(name, strlen(name));
    for (size_t at = 0; at < SETTING_COUNT; at++)
        nearest_offer(&nearest, table[at].info.name);
    (void)!error_set(error, MOSAIC_CONFIG, "there is no setting \"%.*s\"%s%s%s", VALUE_SHOWN, name,
                     nearest.best ? ": did you mean \"" : "", nearest.best ? nearest.best : "",
                     nearest.best ? "\"?" : "");
    return error_hint(error, "all of them: docs/reference/proxy-settings.md, or SHOW CONFIG in the database pgmosaic");
}

mosaic_status settings_default(struct arena *arena, struct proxy_settings *settings, mosaic_error *error)
{
    *settings = (struct proxy_settings){0};
    mosaic_status status = MOSAIC_OK;
    for (size_t i = 0; i < SETTING_COUNT && status == MOSAIC_OK; i++)
        if (table[i].info.initial)
            status = set(arena, settings, &table[i], table[i].info.initial, error);
    return status;
}

mosaic_status settings_read(struct arena *arena, const struct model *model, struct proxy_settings *settings,
                            mosaic_error *error)
{
    mosaic_status status = settings_default(arena, settings, error);
    for (size_t i = 0; i < model->setting_count && status == MOSAIC_OK; i++) {
        const struct model_setting *setting = &model->settings[i];
        status = settings_set(arena, settings, setting->name, setting->value, error);
        if (status == MOSAIC_CONFIG)
            error_prefix(error, "%s:%d", model->source, setting->line);
    }
    return status;
}

/* ---- the list ---- */

size_t settings_count(void)
{
    return SETTING_COUNT;
}

const struct proxy_setting_info *settings_info(size_t i)
{
    return &table[i].info;
}

size_t settings_find(const char *name)
{
    for (size_t i = 0; i < SETTING_COUNT; i++)
        if (strcmp(table[i].info.name, name) == 0)
            return i;
    return SIZE_MAX;
}

static bool equal_texts(const char *a, const char *b)
{
    return a == b || (a && b && strcmp(a, b) == 0);
}

bool settings_equal(const struct proxy_settings *a, const struct proxy_settings *b, size_t i)
{
    const void *left = field(a, &table[i]), *right = field(b, &table[i]);
    if (table[i].kind == KIND_TEXT)
        return equal_texts(*(const char *const *)left, *(const char *const *)right);
    if (table[i].kind != KIND_WORDS)
        return memcmp(left, right, table[i].size) == 0;
    const char *const *x = *(const char *const *const *)left, *const *y = *(const char *const *const *)right;
    size_t at = 0;
    while (x[at] && equal_texts(x[at], y[at]))
        at++;
    return !x[at] && !y[at];
}

void settings_take(struct proxy_settings *to, const struct proxy_settings *from, size_t i)
{
    memcpy((char *)to + table[i].offset, field(from, &table[i]), table[i].size);
}

/* ---- who may ask several shards ---- */

bool settings_scatter_mode(const char *text, enum scatter_mode *mode)
{
    for (unsigned i = 0; scatter_modes[i]; i++) {
        if (strcasecmp(scatter_modes[i], text) == 0) {
            *mode = (enum scatter_mode)i;
            return true;
        }
    }
    return false;
}

enum scatter_mode settings_scatter_of(const struct proxy_settings *settings, const char *user)
{
    enum scatter_mode mode = settings->scatter;
    size_t size = strlen(user);
    for (const char *const *each = settings->scatter_users; *each; each++)
        if (strncmp(*each, user, size) == 0 && (*each)[size] == '=' && settings_scatter_mode(*each + size + 1, &mode))
            return mode;
    return settings->scatter;
}
