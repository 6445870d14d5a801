/*
 * What the fuzzers of messages share: a stream is cut into messages, at every split, as a proxy does it; each whole one
 * is handed to `look`, in a block of exactly its size.
 */
#ifndef MOSAIC_TESTS_WIRE_FUZZ_H
#define MOSAIC_TESTS_WIRE_FUZZ_H

#include "fuzz.h"
#include "wire/wire.h"

struct wire_fuzz {
    void (*look)(const char *message, const struct wire_frame *frame);
    size_t messages; /* of the whole stream */
    bool known;
};

static inline void wire_fuzz_look(struct wire_fuzz *fuzz, const uint8_t *data, const struct wire_frame *frame)
{
    char *message = malloc(frame->size);
    FUZZ_REQUIRE(message);
    memcpy(message, data, frame->size);
    fuzz->look(message, frame);
    free(message);
}

static inline void wire_fuzz_feed(const uint8_t *data, size_t size, size_t split, void *context)
{
    struct wire_fuzz *fuzz = context;
    struct wire_frame frame;
    size_t at = 0, messages = 0;
    for (size_t end = split; end <= size; end = end < size ? size : size + 1) {
        enum wire_state state;
        while ((state = wire_peek(data + at, end - at, &frame)) == WIRE_MESSAGE && frame.size <= end - at) {
            FUZZ_REQUIRE(frame.size >= WIRE_HEADER);
            if (split == size)
                wire_fuzz_look(fuzz, data + at, &frame);
            at += frame.size;
            messages++;
        }
        if (state == WIRE_BAD)
            break;
    }
    FUZZ_REQUIRE(!fuzz->known || fuzz->messages == messages);
    fuzz->messages = messages;
    fuzz->known = true;
}

#endif
