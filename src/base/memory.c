#include "base/memory.h"

#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static atomic_long fail_countdown = -1;

void memory_fail_after(long countdown)
{
    atomic_store(&fail_countdown, countdown);
}

static int must_fail(void)
{
    long left = atomic_load_explicit(&fail_countdown, memory_order_relaxed);
    if (left < 0)
        return 0;
    if (left == 0)
        return 1;
    atomic_fetch_sub(&fail_countdown, 1);
    return 0;
}

void *memory_allocate(size_t size)
{
    return must_fail() ? NULL : malloc(size ? size : 1);
}

void *memory_zeroed(size_t count, size_t size)
{
    return must_fail() ? NULL : calloc(count ? count : 1, size ? size : 1);
}

void *memory_resize(void *memory, size_t size)
{
    return must_fail() ? NULL : realloc(memory, size);
}

void memory_free(void *memory)
{
    free(memory);
}

enum { ALIGNMENT = 16, FIRST_CHUNK = 1024, LARGEST_CHUNK = 64 * 1024 };

struct arena_chunk {
    struct arena_chunk *next;
    size_t used, size; /* of the bytes behind the header */
    char pad[8];       /* so that `bytes` is aligned */
    char bytes[];
};

_Static_assert(sizeof(struct arena_chunk) % ALIGNMENT == 0, "chunk header keeps the alignment");

static struct arena_chunk *add_chunk(struct arena *arena, size_t size)
{
    size_t wanted = arena->chunks ? arena->chunks->size * 2 : FIRST_CHUNK;
    if (wanted > LARGEST_CHUNK)
        wanted = LARGEST_CHUNK;
    if (wanted < size)
        wanted = size;
    size_t whole = wanted + sizeof(struct arena_chunk);
    if (whole < wanted || (arena->limit && whole > arena->limit - arena->total))
        return NULL;
    struct arena_chunk *chunk = memory_allocate(whole);
    if (!chunk)
        return NULL;
    *chunk = (struct arena_chunk){.next = arena->chunks, .size = wanted};
    arena->chunks = chunk;
    arena->total += whole;
    return chunk;
}

void *arena_allocate(struct arena *arena, size_t size)
{
    if (size > SIZE_MAX / 2)
        return NULL;
    size = (size + ALIGNMENT - 1) & ~(size_t)(ALIGNMENT - 1);
    struct arena_chunk *chunk = arena->chunks;
    if (!chunk || chunk->size - chunk->used < size)
        chunk = add_chunk(arena, size);
    if (!chunk)
        return NULL;
    void *piece = chunk->bytes + chunk->used;
    chunk->used += size;
    return piece;
}

void *arena_zeroed(struct arena *arena, size_t count, size_t size)
{
    if (size && count > SIZE_MAX / 2 / size)
        return NULL;
    void *piece = arena_allocate(arena, count * size);
    return piece ? memset(piece, 0, count * size) : NULL;
}

void *arena_copy(struct arena *arena, const void *bytes, size_t size)
{
    char *copy = size < SIZE_MAX / 2 ? arena_allocate(arena, size + 1) : NULL;
    if (!copy)
        return NULL;
    if (size)
        memcpy(copy, bytes, size);
    copy[size] = '\0';
    return copy;
}

char *arena_string(struct arena *arena, const char *zero_terminated)
{
    return arena_copy(arena, zero_terminated, strlen(zero_terminated));
}

char *arena_vformat(struct arena *arena, const char *format, va_list arguments)
{
    va_list again;
    va_copy(again, arguments);
    int size = vsnprintf(NULL, 0, format, again);
    va_end(again);
    char *text = size < 0 ? NULL : arena_allocate(arena, (size_t)size + 1);
    if (text)
        vsnprintf(text, (size_t)size + 1, format, arguments);
    return text;
}

char *arena_format(struct arena *arena, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    char *text = arena_vformat(arena, format, arguments);
    va_end(arguments);
    return text;
}

void arena_free(struct arena *arena)
{
    struct arena_chunk *chunk = arena->chunks;
    while (chunk) {
        struct arena_chunk *next = chunk->next;
        memory_free(chunk);
        chunk = next;
    }
    arena->chunks = NULL;
    arena->total = 0;
}

void arena_reset(struct arena *arena)
{
    if (!arena->chunks)
        return;
    struct arena_chunk *kept = arena->chunks;
    struct arena rest = {.chunks = kept->next};
    arena_free(&rest);
    kept->next = NULL;
    kept->used = 0;
    arena->total = kept->size + sizeof *kept;
}
