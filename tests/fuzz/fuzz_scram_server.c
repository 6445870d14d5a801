/*
 * SCRAM as a server: hostile clients. Input: one byte (1: the mechanism is PLUS; 2: PLUS was offered), the first
 * message up to a newline, the final message. Nobody without the password gets in.
 */
#include "fuzz.h"
#include "wire/scram.h"

#include <string.h>

static const unsigned char hash[32];

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct scram_verifier verifier = {.iterations = 1, .salt_size = 4, .stored_key = "no key has this hash"};
    struct scram_server *server;
    struct scram_keys keys;
    mosaic_error error;
    const uint8_t *newline = size ? memchr(data, '\n', size) : NULL;
    if (!newline)
        return 0;
    struct scram_channel channel = {data[0] & 1, data[0] & 2, hash, sizeof hash};
    struct buffer answer = BUFFER_INIT(SCRAM_MESSAGE_MOST);
    if (scram_server_first(data + 1, (size_t)(newline - data) - (newline > data), &verifier, false, &channel, "Server",
                           &answer, &server, &error) == MOSAIC_OK) {
        FUZZ_REQUIRE(answer.size > 6 && strncmp(answer.data, "r=", 2) == 0);
        size_t before = answer.size;
        FUZZ_REQUIRE(scram_server_final(server, newline + 1, size - (size_t)(newline - data) - 1, &answer, &keys,
                                        &error) != MOSAIC_OK);
        FUZZ_REQUIRE(error.message[0] && answer.size == before);
        scram_server_free(server);
    }
    buffer_free(&answer);
    return 0;
}
