/* Messages of clients: what is accepted lies inside of the message, and what can be written again is the same. */
#include "wire_fuzz.h"

static void is_inside(const char *at, size_t size, const char *message, const struct wire_frame *frame)
{
    FUZZ_REQUIRE(at >= message && at + size <= message + frame->size);
}

static void look_at_parse(const char *message, const struct wire_frame *frame)
{
    struct wire_parse parse;
    if (!wire_read_parse(message, frame, &parse))
        return;
    struct buffer out = BUFFER_INIT(frame->size);
    uint32_t *types = malloc(4 * (size_t)parse.type_count + 1);
    FUZZ_REQUIRE(types);
    for (uint16_t i = 0; i < parse.type_count; i++)
        types[i] = wire_get32(parse.types + 4 * (size_t)i);
    wire_parse(&out, parse.name, parse.sql, strlen(parse.sql), types, parse.type_count);
    FUZZ_REQUIRE(!buffer_failed(&out) && out.size == frame->size && memcmp(out.data, message, out.size) == 0);
    free(types);
    buffer_free(&out);
}

static void look_at_bind(const char *message, const struct wire_frame *frame)
{
    struct wire_bind bind;
    struct wire_value value;
    for (size_t here = WIRE_HEADER; here <= frame->size; here += here < 64 ? 1 : 61)
        if (wire_read_bind_begun(message, frame, here, &bind) == WIRE_MESSAGE)
            is_inside(bind.values, 0, message, frame);
    if (!wire_read_bind(message, frame, &bind))
        return;
    const char *at = bind.values;
    uint16_t count = 0;
    while (wire_bind_value(&bind, count, &at, &value)) {
        if (value.size > 0)
            is_inside(value.data, (size_t)value.size, message, frame);
        count++;
    }
    FUZZ_REQUIRE(count == bind.value_count && at + 2 == bind.results);
    is_inside(bind.formats, 2 * (size_t)bind.format_count, message, frame);
    is_inside(bind.results, 2 * (size_t)bind.result_count, message, frame);
}

static void look(const char *message, const struct wire_frame *frame)
{
    struct wire_named named;
    struct wire_sasl_initial initial;
    wire_frontend_name(frame->type);
    switch (frame->type) {
    case WIRE_PARSE:
        look_at_parse(message, frame);
        break;
    case WIRE_BIND:
        look_at_bind(message, frame);
        break;
    case WIRE_DESCRIBE:
    case WIRE_CLOSE:
    case WIRE_EXECUTE:
        if (wire_read_named(message, frame, &named))
            is_inside(named.name, strlen(named.name) + 1, message, frame);
        break;
    case WIRE_PASSWORD:
        if (wire_read_sasl_initial(message, frame, &initial) && initial.data)
            is_inside(initial.data, initial.size, message, frame);
        break;
    default:
        break;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct wire_fuzz fuzz = {.look = look};
    wire_fuzz_feed(data, size, size, &fuzz);
    fuzz_splits(data, size, wire_fuzz_feed, &fuzz);
    return 0;
}
