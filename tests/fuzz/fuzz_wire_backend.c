/* Messages of servers, hostile ones too. */
#include "wire_fuzz.h"

static void text_is_inside(const char *text, const char *message, const struct wire_frame *frame)
{
    FUZZ_REQUIRE(!text || (text > message && text + strlen(text) < message + frame->size));
}

static void look(const char *message, const struct wire_frame *frame)
{
    struct wire_error error;
    wire_backend_name(frame->type);
    if (frame->type == WIRE_B_AUTHENTICATION)
        FUZZ_REQUIRE(!wire_read_mechanisms(message, frame, ""));
    if (frame->type != WIRE_B_ERROR_RESPONSE && frame->type != WIRE_B_NOTICE_RESPONSE)
        return;
    if (!wire_read_error(message, frame, &error))
        return;
    const char *const fields[] = {error.severity, error.sqlstate, error.message,
                                  error.detail,   error.hint,     error.position};
    for (size_t i = 0; i < sizeof fields / sizeof fields[0]; i++)
        text_is_inside(fields[i], message, frame);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct wire_fuzz fuzz = {.look = look};
    wire_fuzz_feed(data, size, size, &fuzz);
    fuzz_splits(data, size, wire_fuzz_feed, &fuzz);
    return 0;
}
