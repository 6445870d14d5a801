/*
 * SCRAM as a client: malicious servers. Input: one byte (1: PLUS), the server's first message up to a newline, its
 * final message. No server that does not know the verifier is believed, and none makes us compute for long.
 */
#include "fuzz.h"
#include "wire/scram.h"

#include <string.h>

static const unsigned char hash[32];

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct scram_keys keys = {.client_key = "client", .server_key = "server"};
    struct scram_client *client;
    mosaic_error error;
    const uint8_t *newline = size ? memchr(data, '\n', size) : NULL;
    if (!newline)
        return 0;
    struct scram_channel channel = {data[0] & 1, false, hash, sizeof hash};
    struct buffer answer = BUFFER_INIT(SCRAM_MESSAGE_MOST);
    FUZZ_REQUIRE(scram_client_first(NULL, &keys, &channel, "mine", &answer, &client, &error) == MOSAIC_OK);
    if (scram_client_final(client, data + 1, (size_t)(newline - data) - (newline > data), &answer, &error) ==
        MOSAIC_OK) {
        FUZZ_REQUIRE(scram_client_check(client, newline + 1, size - (size_t)(newline - data) - 1, &error) != MOSAIC_OK);
        FUZZ_REQUIRE(error.message[0]);
    }
    scram_client_free(client);
    buffer_free(&answer);
    return 0;
}
