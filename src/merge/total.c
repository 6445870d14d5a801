#include "merge/total.h"

#include "base/memory.h"
#include "wire/wire.h"

enum {
    BASE = 10000,
    BASE_DIGITS = 4,
    WEIGHT_MOST = INT16_MAX,
    SCALE_MOST = 0x3FFF, /* NUMERIC_DSCALE_MASK */
    CARRIED = 2,         /* digits: 65535 numbers below 1 have a sum below BASE * BASE */
    NEGATIVE = 0x4000,
    NOT_A_NUMBER = 0xC000,
    PLUS_INFINITY = 0xD000,
    MINUS_INFINITY = 0xF000,
};

/* A numeric's binary form. */
struct form {
    size_t count;
    int64_t weight;
    uint16_t sign, scale;
    const char *digits;
};

/* PostgreSQL has no digits that the scale would hide, but for zeros. */
static bool read_form(const char *bytes, size_t size, struct form *form)
{
    static const int powers[BASE_DIGITS] = {1, 1000, 100, 10};
    if (size < 8)
        return false;
    *form = (struct form){wire_get16(bytes), (int16_t)wire_get16(bytes + 2), wire_get16(bytes + 4),
                          wire_get16(bytes + 6), bytes + 8};
    if (size != 8 + 2 * form->count || form->scale > SCALE_MOST)
        return false;
    if (form->sign == NOT_A_NUMBER || form->sign == PLUS_INFINITY || form->sign == MINUS_INFINITY)
        return true;
    if (form->sign != 0 && form->sign != NEGATIVE)
        return false;
    int64_t last = -((form->scale + BASE_DIGITS - 1) / BASE_DIGITS); /* weight of the last digit that is shown */
    for (size_t i = 0; i < form->count; i++) {
        int digit = wire_get16(form->digits + 2 * i);
        int64_t weight = form->weight - (int64_t)i;
        bool hidden = weight < last || (weight == last && digit % powers[form->scale % BASE_DIGITS]);
        if (digit >= BASE || (digit && hidden))
            return false;
    }
    return true;
}

/* Room for the weights from lowest to highest, and for what is carried beyond. */
static bool widen(struct total *total, int64_t lowest, int64_t highest)
{
    highest += CARRIED;
    if (total->count && lowest >= total->lowest && highest < total->lowest + (int64_t)total->count)
        return true;
    if (total->count) {
        int64_t top = total->lowest + (int64_t)total->count - 1;
        lowest = lowest < total->lowest ? lowest : total->lowest;
        highest = highest > top ? highest : top;
    }
    size_t count = (size_t)(highest - lowest + 1);
    int32_t *digits = memory_zeroed(count, sizeof *digits);
    if (!digits)
        return false;
    if (total->count)
        memcpy(digits + (total->lowest - lowest), total->digits, total->count * sizeof *digits);
    memory_free(total->digits);
    total->digits = digits;
    total->lowest = lowest;
    total->count = count;
    return true;
}

enum total_result total_add(struct total *total, const char *bytes, size_t size)
{
    struct form form;
    if (!read_form(bytes, size, &form))
        return TOTAL_MALFORMED;
    if (form.sign != 0 && form.sign != NEGATIVE) {
        bool differs = total->special && total->special != form.sign;
        total->special = differs ? NOT_A_NUMBER : form.sign;
        return TOTAL_OK;
    }
    if (form.count && !widen(total, form.weight - (int64_t)form.count + 1, form.weight))
        return TOTAL_MEMORY;
    for (size_t i = 0; i < form.count; i++) {
        int32_t digit = wire_get16(form.digits + 2 * i);
        total->digits[form.weight - (int64_t)i - total->lowest] += form.sign == NEGATIVE ? -digit : digit;
    }
    if (form.scale > total->scale)
        total->scale = form.scale;
    return TOTAL_OK;
}

/* Leaves digits from 0 to 9999; what is carried out of the highest is returned. */
static int32_t carry(struct total *total)
{
    int32_t over = 0;
    for (size_t i = 0; i < total->count; i++) {
        int32_t digit = total->digits[i] + over;
        over = digit / BASE - (digit % BASE < 0);
        total->digits[i] = digit - over * BASE;
    }
    return over;
}

bool total_finish(struct total *total)
{
    total->is_negative = carry(total) < 0;
    for (size_t i = 0; total->is_negative && i < total->count; i++)
        total->digits[i] = -total->digits[i];
    if (total->is_negative)
        carry(total);
    size_t zeros = 0;
    while (total->count && total->digits[total->count - 1] == 0)
        total->count--;
    while (zeros < total->count && total->digits[zeros] == 0)
        zeros++;
    if (zeros)
        memmove(total->digits, total->digits + zeros, (total->count - zeros) * sizeof *total->digits);
    total->count -= zeros;
    total->lowest += (int64_t)zeros;
    return total->special || total->count == 0 || total->lowest + (int64_t)total->count - 1 <= WEIGHT_MOST;
}

/* The digit of a weight. */
static int digit_at(const struct total *total, int64_t weight)
{
    bool is_here = weight >= total->lowest && weight < total->lowest + (int64_t)total->count;
    return is_here ? total->digits[weight - total->lowest] : 0;
}

/* The first `count` of a digit's four decimal ones. */
static void add_decimals(struct buffer *out, int digit, int count)
{
    char decimals[BASE_DIGITS];
    for (int i = BASE_DIGITS; i > 0; digit /= 10)
        decimals[--i] = (char)('0' + digit % 10);
    buffer_add(out, decimals, (size_t)count);
}

void total_text(const struct total *total, struct buffer *out)
{
    if (total->special) {
        buffer_text(out, total->special == NOT_A_NUMBER    ? "NaN"
                         : total->special == PLUS_INFINITY ? "Infinity"
                                                           : "-Infinity");
        return;
    }
    int64_t weight = total->count ? total->lowest + (int64_t)total->count - 1 : 0;
    if (total->is_negative)
        buffer_char(out, '-');
    buffer_format(out, "%d", weight < 0 ? 0 : digit_at(total, weight));
    while (--weight >= 0)
        add_decimals(out, digit_at(total, weight), BASE_DIGITS);
    if (total->scale)
        buffer_char(out, '.');
    weight = -1;
    for (int left = total->scale; left > 0; left -= BASE_DIGITS)
        add_decimals(out, digit_at(total, weight--), left < BASE_DIGITS ? left : BASE_DIGITS);
}

void total_binary(const struct total *total, struct buffer *out)
{
    /* numeric_send takes the bits that tell infinities apart for a scale of 32 */
    uint16_t scale = total->special == NOT_A_NUMBER ? 0 : total->special ? 32 : total->scale;
    size_t count = total->special ? 0 : total->count;
    wire_16(out, (uint16_t)count);
    wire_16(out, count ? (uint16_t)(total->lowest + (int64_t)count - 1) : 0);
    wire_16(out, total->special ? total->special : total->is_negative ? NEGATIVE : 0);
    wire_16(out, scale);
    while (count--)
        wire_16(out, (uint16_t)total->digits[count]);
}

void total_free(struct total *total)
{
    memory_free(total->digits);
    *total = (struct total){0};
}
