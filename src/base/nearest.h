/*
 * The nearest of some names to what was typed, for messages about mistyped names.
 *
 *     struct nearest nearest = nearest_start(typed, strlen(typed));
 *     nearest_offer(&nearest, "route"); nearest_offer(&nearest, "load");
 *     if (nearest.best) ...
 */
#ifndef MOSAIC_BASE_NEAREST_H
#define MOSAIC_BASE_NEAREST_H

#include <stddef.h>

struct nearest {
    const char *typed; /* not zero-terminated */
    size_t size;
    const char
        *best; /* NULL while nothing is near enough: at most a third of its letters differ, or it is a beginning */
    size_t distance;
};

struct nearest nearest_start(const char *typed, size_t size);
/* Compares one candidate, which must live as long as the result. Of equally near ones the first wins. */
void nearest_offer(struct nearest *nearest, const char *name);
/* Levenshtein's distance with swaps of neighbours counted as one; texts over 63 bytes count as far apart. */
size_t nearest_distance(const char *a, size_t a_size, const char *b, size_t b_size);

#endif
