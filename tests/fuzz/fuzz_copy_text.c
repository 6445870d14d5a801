/* COPY's text format. Input: one byte of options (number of fields, row limit), then the text. */
#include "copy_fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 1)
        return 0;
    struct copy_fuzz fuzz = {.format = {.kind = MOSAIC_TEXT, .row_limit = data[0] & 4 ? 20 : 0},
                             .fields = data[0] >> 4 & 3,
                             .key_fields = {1, 0}};
    copy_fuzz_run(&fuzz, data + 1, size - 1);
    return 0;
}
