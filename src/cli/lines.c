#include "cli/lines.h"

#include "base/error.h"
#include "base/memory.h"
#include "cli/context.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <unistd.h>

/* Room for the longest line with its end, and as much again, so that reads stay large while lines are short. */
enum { BUFFER_SIZE = 2 * LINE_LIMIT };

mosaic_status lines_open(struct lines *lines, int fd, mosaic_error *error)
{
    *lines = (struct lines){.fd = fd};
    lines->data = memory_allocate(BUFFER_SIZE);
    return lines->data ? MOSAIC_OK : error_memory(error);
}

size_t lines_take(struct lines *lines, struct key_slice *slices, size_t capacity)
{
    size_t count = 0;
    while (count < capacity) {
        const char *begin = lines->data + lines->start;
        const char *stop = memchr(lines->data + lines->scanned, '\n', lines->end - lines->scanned);
        if (!stop) {
            lines->scanned = lines->end;
            break;
        }
        if (stop - begin > LINE_LIMIT)
            break; /* lines_fill will refuse it */
        slices[count++] = (struct key_slice){(const unsigned char *)begin, (size_t)(stop - begin)};
        lines->start = lines->scanned = (size_t)(stop - lines->data) + 1;
    }
    size_t rest = lines->end - lines->start;
    if (count == 0 && lines->at_end_of_file && rest <= LINE_LIMIT) {
        if (rest > 0) {
            slices[count++] =
                (struct key_slice){(const unsigned char *)lines->data + lines->start, lines->end - lines->start};
            lines->start = lines->scanned = lines->end;
        } else {
            lines->ended = true;
        }
    }
    lines->taken += count;
    return count;
}

mosaic_status lines_fill(struct lines *lines, mosaic_error *error)
{
    size_t rest = lines->end - lines->start;
    if (rest > LINE_LIMIT) {
        (void)!error_set(error, MOSAIC_LIMIT, "line %" PRIu64 " is longer than %d bytes", lines->taken + 1,
                         (int)LINE_LIMIT);
        return error_hint(error, "one key a line");
    }
    memmove(lines->data, lines->data + lines->start, rest);
    lines->start = 0;
    lines->end = lines->scanned = rest;
    for (;;) {
        if (context_interrupted)
            return error_set(error, MOSAIC_INTERRUPTED, "interrupted at line %" PRIu64, lines->taken + 1);
        ssize_t size = read(lines->fd, lines->data + lines->end, BUFFER_SIZE - lines->end);
        if (size >= 0) {
            lines->end += (size_t)size;
            lines->at_end_of_file = size == 0;
            return MOSAIC_OK;
        }
        if (errno != EINTR)
            return error_errno(error, "reading line %" PRIu64, lines->taken + 1);
    }
}

uint64_t lines_number(const struct lines *lines, size_t count)
{
    return lines->taken - count + 1;
}

void lines_close(struct lines *lines)
{
    memory_free(lines->data);
    *lines = (struct lines){.fd = -1};
}
