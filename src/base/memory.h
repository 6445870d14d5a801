/*
 * Memory: one wrapper around malloc, and arenas.
 *
 * All long-lived memory comes through memory_*, so that a test can make the Nth allocation fail. What belongs to one
 * statement or request lives in an arena and is freed at once.
 */
#ifndef MOSAIC_BASE_MEMORY_H
#define MOSAIC_BASE_MEMORY_H

#include <stdarg.h>
#include <stddef.h>

/* As malloc, calloc, realloc (size > 0), free. NULL when memory is out, or when a test says so. */
void *memory_allocate(size_t size);
void *memory_zeroed(size_t count, size_t size);
void *memory_resize(void *memory, size_t size);
void memory_free(void *memory);

/* Tests only: the allocation after `countdown` more ones fails, and every one after it; < 0: none fails. */
void memory_fail_after(long countdown);

/* Chunks in a list, each twice the size of the one before up to 64 KiB; larger pieces get a chunk of their own. */
struct arena {
    struct arena_chunk *chunks; /* the newest first */
    size_t total;               /* bytes taken from memory_allocate */
    size_t limit;               /* at most so many bytes; 0: no limit */
};

#define ARENA_INIT ((struct arena){0})

/* 16-byte aligned, not zeroed. NULL when memory or the limit is out. Valid until arena_free. */
void *arena_allocate(struct arena *arena, size_t size);
void *arena_zeroed(struct arena *arena, size_t count, size_t size);
/* A copy of `size` bytes with a '\0' after them. */
void *arena_copy(struct arena *arena, const void *bytes, size_t size);
char *arena_string(struct arena *arena, const char *zero_terminated);
char *arena_format(struct arena *arena, const char *format, ...) __attribute__((format(printf, 2, 3)));
char *arena_vformat(struct arena *arena, const char *format, va_list arguments) __attribute__((format(printf, 2, 0)));
/* Frees everything; the arena is empty and usable again. */
void arena_free(struct arena *arena);
/* Forgets everything but keeps the newest chunk for reuse. */
void arena_reset(struct arena *arena);

#endif
