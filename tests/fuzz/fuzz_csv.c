/* COPY's csv. Input: one byte of options (escape, delimiter, number of fields, row limit), then the csv. */
#include "copy_fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 1)
        return 0;
    struct copy_fuzz fuzz = {.format = {.kind = MOSAIC_CSV,
                                        .escape = data[0] & 1 ? '\\' : 0,
                                        .delimiter = data[0] & 2 ? ';' : 0,
                                        .row_limit = data[0] & 4 ? 20 : 0},
                             .fields = data[0] >> 4 & 3,
                             .key_fields = {data[0] >> 6, 2}};
    if (fuzz.key_fields[0] == 2)
        fuzz.key_fields[1] = 0;
    copy_fuzz_run(&fuzz, data + 1, size - 1);
    return 0;
}
