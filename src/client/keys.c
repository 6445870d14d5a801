/* Keys by value, as programs write them. */
#include "pgmosaic.h"

#include <string.h>

mosaic_key mosaic_key_int64(int64_t value)
{
    return (mosaic_key){.kind = MOSAIC_KEY_INT64, .integer = value};
}

mosaic_key mosaic_key_text(const char *zero_terminated)
{
    return (mosaic_key){
        .kind = MOSAIC_KEY_TEXT, .data = zero_terminated, .size = zero_terminated ? strlen(zero_terminated) : 0};
}

mosaic_key mosaic_key_bytes(const void *bytes, size_t size)
{
    return (mosaic_key){.kind = MOSAIC_KEY_BYTES, .data = bytes, .size = size};
}

mosaic_key mosaic_key_uuid(const unsigned char bytes[16])
{
    return (mosaic_key){.kind = MOSAIC_KEY_UUID, .data = bytes, .size = 16};
}

mosaic_key mosaic_key_composite(const mosaic_key *parts, size_t count)
{
    return (mosaic_key){.kind = MOSAIC_KEY_COMPOSITE, .data = parts, .size = count};
}
