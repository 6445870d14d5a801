#include "cli/output.h"

#include "base/memory.h"

#include <inttypes.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

bool output_is_colourful(FILE *stream)
{
    const char *no_colour = getenv("NO_COLOR"), *terminal = getenv("TERM");
    return isatty(fileno(stream)) && !(no_colour && *no_colour) && terminal && strcmp(terminal, "dumb") != 0;
}

const char *output_colour(FILE *stream, enum colour colour)
{
    static const char *const sequences[] = {
        [COLOUR_NONE] = "\033[0m",  [COLOUR_BOLD] = "\033[1m",   [COLOUR_DIM] = "\033[2m",
        [COLOUR_RED] = "\033[31m",  [COLOUR_GREEN] = "\033[32m", [COLOUR_YELLOW] = "\033[33m",
        [COLOUR_CYAN] = "\033[36m",
    };
    return output_is_colourful(stream) ? sequences[colour] : "";
}

bool output_reader_gone(void)
{
    struct pollfd output = {.fd = STDOUT_FILENO};
    return poll(&output, 1, 0) > 0 && (output.revents & POLLERR);
}

const char *output_count(uint64_t count, char *text)
{
    char digits[24];
    int size = snprintf(digits, sizeof digits, "%" PRIu64, count);
    char *to = text;
    for (int i = 0; i < size; i++) {
        if (i > 0 && (size - i) % 3 == 0)
            *to++ = ',';
        *to++ = digits[i];
    }
    *to = '\0';
    return text;
}

const char *output_bytes(uint64_t bytes, char *text)
{
    static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
    double value = (double)bytes;
    size_t unit = 0;
    /* 1023.95 would be shown as 1024.0. */
    while (unit < 6 && value >= (unit ? 1023.95 : 1024)) {
        value /= 1024;
        unit++;
    }
    snprintf(text, 32, unit ? "%.1f %s" : "%.0f %s", value, units[unit]);
    return text;
}

const char *output_duration(double seconds, char *text)
{
    if (seconds < 59.95) {
        snprintf(text, 32, "%.1f s", seconds < 0 ? 0 : seconds);
        return text;
    }
    uint64_t whole = seconds > 1e12 ? (uint64_t)1e12 : (uint64_t)(seconds + 0.5);
    if (whole < 3600)
        snprintf(text, 32, "%u:%02u min", (unsigned)(whole / 60), (unsigned)(whole % 60));
    else
        snprintf(text, 32, "%" PRIu64 ":%02u h", whole / 3600, (unsigned)(whole / 60 % 60));
    return text;
}

struct output_table {
    size_t columns;
    char *alignment;
    char **cells; /* row by row */
    size_t count, capacity;
    bool failed; /* memory was out: prints what there is no more */
};

struct output_table *output_table_new(size_t columns, const char *alignment)
{
    struct output_table *table = memory_zeroed(1, sizeof *table);
    if (!table)
        return NULL;
    table->columns = columns;
    table->alignment = memory_zeroed(columns + 1, 1);
    if (!table->alignment) {
        memory_free(table);
        return NULL;
    }
    for (size_t i = 0; i < columns && alignment[i]; i++)
        table->alignment[i] = alignment[i];
    return table;
}

void output_table_cell(struct output_table *table, const char *text)
{
    if (!table || table->failed)
        return;
    if (table->count == table->capacity) {
        size_t capacity = table->capacity ? table->capacity * 2 : 64;
        char **cells = memory_resize(table->cells, capacity * sizeof *cells);
        table->failed = !cells;
        if (!cells)
            return;
        table->cells = cells;
        table->capacity = capacity;
    }
    size_t size = strlen(text) + 1;
    char *copy = memory_allocate(size);
    table->failed = !copy;
    if (!copy)
        return;
    memcpy(copy, text, size);
    table->cells[table->count++] = copy;
}

/* Columns on a terminal: characters of UTF-8, without escape sequences. Wide characters are not known. */
static size_t shown_width(const char *text)
{
    size_t width = 0;
    for (; *text; text++) {
        if (*text == '\033') {
            while (text[1] && *text != 'm')
                text++;
            continue;
        }
        width += ((unsigned char)*text & 0xC0) != 0x80;
    }
    return width;
}

static void print_cell(FILE *stream, const char *text, size_t width, bool right, bool last)
{
    size_t shown = shown_width(text);
    int pad = shown < width ? (int)(width - shown) : 0;
    if (right)
        fprintf(stream, "%*s%s", pad, "", text);
    else
        fprintf(stream, "%s%*s", text, last ? 0 : pad, "");
}

static void print_row(const struct output_table *table, size_t row, const size_t *widths, FILE *stream)
{
    for (size_t column = 0; column < table->columns; column++) {
        size_t cell = row * table->columns + column;
        if (column > 0)
            fputs("  ", stream);
        if (row == 0)
            fputs(output_colour(stream, COLOUR_BOLD), stream);
        print_cell(stream, cell < table->count ? table->cells[cell] : "", widths[column],
                   table->alignment[column] == 'r', column + 1 == table->columns);
        if (row == 0)
            fputs(output_colour(stream, COLOUR_NONE), stream);
    }
    fputc('\n', stream);
}

void output_table_print(struct output_table *table, FILE *stream)
{
    if (!table) {
        fputs("pgmosaic: out of memory\n", stderr);
        return;
    }
    size_t *widths = memory_zeroed(table->columns, sizeof *widths);
    if (!widths || table->failed) {
        fputs("pgmosaic: out of memory\n", stderr);
    } else {
        for (size_t i = 0; i < table->count; i++) {
            size_t width = shown_width(table->cells[i]), column = i % table->columns;
            if (width > widths[column])
                widths[column] = width;
        }
        for (size_t row = 0; row * table->columns < table->count; row++)
            print_row(table, row, widths, stream);
    }
    for (size_t i = 0; i < table->count; i++)
        memory_free(table->cells[i]);
    memory_free(table->cells);
    memory_free(table->alignment);
    memory_free(table);
    memory_free(widths);
}

static bool print_json(FILE *stream, json_t *value, size_t flags)
{
    bool fine = value && json_dumpf(value, stream, flags | JSON_ENCODE_ANY) == 0 && fputc('\n', stream) != EOF;
    json_decref(value);
    return fine;
}

bool output_json_line(FILE *stream, json_t *value)
{
    return print_json(stream, value, JSON_COMPACT);
}

bool output_json_document(FILE *stream, json_t *value)
{
    return print_json(stream, value, JSON_INDENT(2));
}

const char *output_bar(double share, int width, char *text)
{
    static const char *const eighths[] = {"", "▏", "▎", "▍", "▌", "▋", "▊", "▉"};
    if (!(share > 0))
        share = 0;
    if (share > 1)
        share = 1;
    int filled = (int)(share * width * 8 + 0.5);
    char *to = text;
    for (int i = 0; i < filled / 8; i++)
        to += sprintf(to, "█");
    if (filled % 8)
        to += sprintf(to, "%s", eighths[filled % 8]);
    for (int i = (filled + 7) / 8; i < width; i++)
        *to++ = ' ';
    *to = '\0';
    return text;
}

static double now_seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

void output_progress_start(struct output_progress *progress, FILE *stream, const char *label, uint64_t total_bytes)
{
    double now = now_seconds();
    *progress = (struct output_progress){.stream = stream,
                                         .label = label,
                                         .total_bytes = total_bytes,
                                         .started = now,
                                         .drawn = now,
                                         .terminal = isatty(fileno(stream)) != 0};
}

static void draw(struct output_progress *progress, uint64_t rows, uint64_t bytes, bool done)
{
    char count[32], size[32], rate[32], left[32], bar[4 * 20 + 1];
    double seconds = now_seconds() - progress->started;
    double speed = seconds > 0 ? (double)bytes / seconds : 0;
    fprintf(progress->stream, "%s%s  ", progress->terminal ? "\r\033[K" : "", progress->label);
    if (progress->total_bytes && progress->terminal && !done)
        fprintf(progress->stream, "%s %3.0f %%  ", output_bar((double)bytes / (double)progress->total_bytes, 20, bar),
                100.0 * (double)bytes / (double)progress->total_bytes);
    fprintf(progress->stream, "%s rows  %s  %s/s", output_count(rows, count), output_bytes(bytes, size),
            output_bytes((uint64_t)speed, rate));
    if (done)
        fprintf(progress->stream, "  in %s", output_duration(seconds, left));
    else if (progress->total_bytes > bytes && speed > 0)
        fprintf(progress->stream, "  %s left", output_duration((double)(progress->total_bytes - bytes) / speed, left));
    if (done || !progress->terminal)
        fputc('\n', progress->stream);
    fflush(progress->stream);
}

void output_progress_update(struct output_progress *progress, uint64_t rows, uint64_t bytes)
{
    double now = now_seconds();
    if (now - progress->drawn < (progress->terminal ? 0.1 : 5.0))
        return;
    progress->drawn = now;
    draw(progress, rows, bytes, false);
}

void output_progress_end(struct output_progress *progress, uint64_t rows, uint64_t bytes)
{
    draw(progress, rows, bytes, true);
}
