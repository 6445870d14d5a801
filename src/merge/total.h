/*
 * An exact sum of numerics, as sum(numeric) gives it: all digits, the largest of the display scales; NaN and infinities
 * as numeric_sum has them (utils/adt/numeric.c).
 */
#ifndef MOSAIC_MERGE_TOTAL_H
#define MOSAIC_MERGE_TOTAL_H

#include "base/buffer.h"

#include <stdint.h>

struct total {
    int32_t *digits; /* base 10000, each with a sign and carries of its own, the lowest first; NULL: zero */
    int64_t lowest;  /* the weight of the first: it counts 10000^lowest */
    size_t count;
    uint16_t scale;   /* digits after the point that are shown */
    uint16_t special; /* the sign of a binary form that says NaN or an infinity; 0: the sum is a number */
    bool is_negative; /* of a finished sum */
};

enum total_result { TOTAL_OK, TOTAL_MALFORMED, TOTAL_MEMORY };

/* Adds a numeric in its binary form; at most 65535 of them. After a failure the sum is what it was. */
enum total_result total_add(struct total *total, const char *bytes, size_t size);
/* Carries, drops zeros at both ends; then nothing can be added any more. False: it overflows the numeric format
 * (22003). */
bool total_finish(struct total *total);
/* Appends the finished sum as numeric_out or numeric_send writes it. */
void total_text(const struct total *total, struct buffer *out);
void total_binary(const struct total *total, struct buffer *out);
void total_free(struct total *total);

#endif
