#include "base/buffer.h"

#include "base/memory.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum { FIRST_CAPACITY = 256 };

char *buffer_reserve(struct buffer *buffer, size_t size)
{
    if (buffer->failed || size > buffer->maximum || buffer->size > buffer->maximum - size) {
        buffer->failed = true;
        return NULL;
    }
    size_t needed = buffer->size + size + 1;
    if (needed > buffer->capacity) {
        size_t capacity = buffer->capacity ? buffer->capacity : FIRST_CAPACITY;
        while (capacity < needed)
            capacity *= 2;
        char *data = memory_resize(buffer->data, capacity);
        if (!data) {
            buffer->failed = true;
            return NULL;
        }
        buffer->data = data;
        buffer->capacity = capacity;
        data[buffer->size] = '\0';
    }
    return buffer->data + buffer->size;
}

void buffer_added(struct buffer *buffer, size_t size)
{
    buffer->size += size;
    buffer->data[buffer->size] = '\0';
}

void buffer_add(struct buffer *buffer, const void *bytes, size_t size)
{
    char *end = buffer_reserve(buffer, size);
    if (!end)
        return;
    if (size)
        memcpy(end, bytes, size);
    buffer_added(buffer, size);
}

void buffer_text(struct buffer *buffer, const char *zero_terminated)
{
    buffer_add(buffer, zero_terminated, strlen(zero_terminated));
}

void buffer_char(struct buffer *buffer, char character)
{
    buffer_add(buffer, &character, 1);
}

void buffer_format(struct buffer *buffer, const char *format, ...)
{
    va_list arguments, again;
    va_start(arguments, format);
    va_copy(again, arguments);
    int size = vsnprintf(NULL, 0, format, arguments);
    va_end(arguments);
    char *end = size < 0 ? NULL : buffer_reserve(buffer, (size_t)size);
    if (end) {
        vsnprintf(end, (size_t)size + 1, format, again);
        buffer_added(buffer, (size_t)size);
    }
    va_end(again);
}

const char *buffer_string(const struct buffer *buffer)
{
    return buffer->data ? buffer->data : "";
}

void buffer_clear(struct buffer *buffer)
{
    buffer->size = 0;
    buffer->failed = false;
    if (buffer->data)
        buffer->data[0] = '\0';
}

void buffer_free(struct buffer *buffer)
{
    memory_free(buffer->data);
    *buffer = BUFFER_INIT(buffer->maximum);
}
