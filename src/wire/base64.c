#include "wire/base64.h"

#include <stdint.h>
#include <string.h>

static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

void base64_write(const void *bytes, size_t size, struct buffer *text)
{
    const unsigned char *at = bytes;
    for (; size > 0; at += 3, size -= size < 3 ? size : 3) {
        uint32_t group = (uint32_t)at[0] << 16 | (size > 1 ? (uint32_t)at[1] << 8 : 0) | (size > 2 ? at[2] : 0);
        char out[4] = {digits[group >> 18], digits[group >> 12 & 63], size > 1 ? digits[group >> 6 & 63] : '=',
                       size > 2 ? digits[group & 63] : '='};
        buffer_add(text, out, sizeof out);
    }
}

static int digit_value(char digit)
{
    const char *at = digit ? strchr(digits, digit) : NULL;
    return at ? (int)(at - digits) : -1;
}

bool base64_read(const char *text, size_t text_size, void *bytes, size_t most, size_t *size)
{
    unsigned char *out = bytes;
    size_t padding = 0;
    *size = 0;
    while (padding < 2 && padding < text_size && text[text_size - 1 - padding] == '=')
        padding++;
    if (text_size % 4 != 0 || text_size / 4 * 3 - padding > most)
        return false;
    uint32_t group = 0;
    for (size_t i = 0; i < text_size - padding; i++) {
        int value = digit_value(text[i]);
        if (value < 0)
            return false;
        group = group << 6 | (uint32_t)value;
        /* The bits of the digits so far that make another byte. */
        if (i % 4 != 0)
            out[(*size)++] = (unsigned char)(group >> (6 - i % 4 * 2));
        if (i % 4 == 3)
            group = 0;
    }
    /* Bits that belong to no byte must be zero, or one value had several texts. */
    return (group & ((1u << padding * 2) - 1)) == 0;
}
