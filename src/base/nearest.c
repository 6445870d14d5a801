#include "base/nearest.h"

#include <stdint.h>
#include <string.h>

enum { LONGEST = 63 };

static size_t least(size_t a, size_t b)
{
    return a < b ? a : b;
}

size_t nearest_distance(const char *a, size_t a_size, const char *b, size_t b_size)
{
    size_t rows[3][LONGEST + 1];
    if (a_size > LONGEST || b_size > LONGEST)
        return SIZE_MAX;
    size_t *before = rows[0], *last = rows[1], *row = rows[2];
    for (size_t j = 0; j <= b_size; j++)
        last[j] = j;
    for (size_t i = 1; i <= a_size; i++) {
        row[0] = i;
        for (size_t j = 1; j <= b_size; j++) {
            row[j] = least(least(last[j], row[j - 1]) + 1, last[j - 1] + (a[i - 1] != b[j - 1]));
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
                row[j] = least(row[j], before[j - 2] + 1);
        }
        size_t *spare = before;
        before = last;
        last = row;
        row = spare;
    }
    return last[b_size];
}

struct nearest nearest_start(const char *typed, size_t size)
{
    return (struct nearest){.typed = typed, .size = size, .distance = SIZE_MAX};
}

void nearest_offer(struct nearest *nearest, const char *name)
{
    size_t size = strlen(name);
    size_t distance = nearest_distance(nearest->typed, nearest->size, name, size);
    size_t longer = size > nearest->size ? size : nearest->size;
    if (nearest->size >= 2 && nearest->size < size && memcmp(nearest->typed, name, nearest->size) == 0)
        distance = 1; /* the beginning of the name */
    if (distance <= (longer + 2) / 3 && distance < nearest->distance) {
        nearest->best = name;
        nearest->distance = distance;
    }
}
