/* COPY's binary format. Input: one byte of options (number of fields, row limit), then the file. */
#include "copy_fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 1)
        return 0;
    struct copy_fuzz fuzz = {.format = {.kind = MOSAIC_BINARY, .row_limit = data[0] & 4 ? 20 : 0},
                             .fields = data[0] >> 4 & 3,
                             .key_fields = {0, 1}};
    copy_fuzz_run(&fuzz, data + 1, size - 1);
    return 0;
}
