/* The first packet of a connection: what is accepted is inside, can be gone through, and is not whole any earlier. */
#include "fuzz.h"
#include "wire/wire.h"

static void feed(const uint8_t *data, size_t size, size_t split, void *context)
{
    const enum wire_state *whole = context;
    struct wire_startup startup;
    uint8_t *piece = malloc(split ? split : 1);
    FUZZ_REQUIRE(piece);
    for (size_t i = 0; i < split; i++)
        piece[i] = data[i];
    enum wire_state state = wire_startup_read(piece, split, &startup);
    FUZZ_REQUIRE(state == WIRE_MORE || state == *whole);
    FUZZ_REQUIRE(split < size || state == *whole);
    if (state == WIRE_MESSAGE) {
        const char *at = startup.parameters, *name, *value;
        size_t pairs = 0;
        FUZZ_REQUIRE(startup.size <= split && startup.key_size <= 256);
        while (wire_startup_next(&at, &name, &value))
            FUZZ_REQUIRE(*name && ++pairs <= split);
        FUZZ_REQUIRE(startup.kind != WIRE_STARTUP || startup.major != 3 || at + 1 == (char *)piece + startup.size);
        for (uint32_t i = 0; i < startup.key_size; i++)
            FUZZ_REQUIRE(&startup.key[i] < piece + startup.size);
    }
    free(piece);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct wire_startup startup;
    enum wire_state whole = wire_startup_read(data, size, &startup);
    fuzz_splits(data, size, feed, &whole);
    return 0;
}
