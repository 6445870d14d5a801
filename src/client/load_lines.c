/*
 * An entry of the ring is the distance to the row before in the input, as a number of 7 bits a byte, the lowest first,
 * plus one. Zero stands before the entry of a row that counts as several lines: 0, the count, the distance.
 */
#include "client/load_lines.h"

#include "base/memory.h"

#include <string.h>

enum { ENTRY_MOST = 16 };

bool line_log_start(struct line_log *log, size_t capacity)
{
    *log = (struct line_log){.ring = memory_allocate(capacity), .capacity = capacity};
    return log->ring != NULL;
}

void line_log_free(struct line_log *log)
{
    memory_free(log->ring);
    *log = (struct line_log){0};
}

static uint64_t read_number(const struct line_log *log, uint64_t *at)
{
    uint64_t number = 0;
    for (int shift = 0;; shift += 7) {
        unsigned char byte = log->ring[(*at)++ & (log->capacity - 1)];
        number |= (uint64_t)(byte & 0x7F) << shift;
        if (byte < 0x80)
            return number;
    }
}

/* The entry at *at: adds to the lines of the stream and to the line of the input. */
static void read_entry(const struct line_log *log, uint64_t *at, uint64_t *stream, uint64_t *input)
{
    uint64_t number = read_number(log, at), count = 1;
    if (number == 0) {
        count = read_number(log, at);
        number = read_number(log, at);
    }
    *stream += count;
    *input += number - 1;
}

static void write_number(struct line_log *log, uint64_t number)
{
    while (number >= 0x80) {
        log->ring[log->head++ & (log->capacity - 1)] = (unsigned char)(number | 0x80);
        number >>= 7;
    }
    log->ring[log->head++ & (log->capacity - 1)] = (unsigned char)number;
}

void line_log_add(struct line_log *log, uint64_t line, uint32_t count)
{
    while (log->head - log->tail > log->capacity - 2 * ENTRY_MOST)
        read_entry(log, &log->tail, &log->old_stream, &log->old_input);
    if (count != 1) {
        write_number(log, 0);
        write_number(log, count);
    }
    write_number(log, line - log->new_input + 1);
    log->new_input = line;
}

uint64_t line_log_find(const struct line_log *log, uint64_t stream_line)
{
    uint64_t stream = log->old_stream, input = log->old_input;
    if (stream_line <= stream)
        return 0;
    for (uint64_t at = log->tail; at < log->head;) {
        read_entry(log, &at, &stream, &input);
        if (stream_line <= stream)
            return input;
    }
    return 0;
}

uint32_t line_count_of_row(const struct copy_format *format, enum copy_newline newline, const char *row, size_t size,
                           bool first)
{
    uint32_t count = 1;
    if (format->kind != MOSAIC_CSV)
        return count;
    char line_end = first || newline != COPY_NEWLINE_LF ? '\r' : '\n';
    const char *end = row + size;
    while (row < end && (row = memchr(row, line_end, (size_t)(end - row)))) {
        count++;
        row++;
    }
    return count;
}
