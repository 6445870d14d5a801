/* What may stand in pg_authid.rolpassword or in a file of users: what is read as a verifier is written alike. */
#include "fuzz.h"
#include "wire/secret.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct scram_verifier verifier, again;
    char *text = malloc(size + 1);
    FUZZ_REQUIRE(text);
    memcpy(text, data, size);
    text[size] = '\0';
    if (scram_verifier_read(text, &verifier)) {
        struct buffer written = BUFFER_INIT(1000);
        scram_verifier_write(&verifier, &written);
        FUZZ_REQUIRE(!md5_is_verifier(text) && !buffer_failed(&written));
        FUZZ_REQUIRE(scram_verifier_read(written.data, &again) && memcmp(&verifier, &again, sizeof again) == 0);
        buffer_free(&written);
    }
    char answer[MD5_PASSWORD + 1];
    FUZZ_REQUIRE(md5_answer(text, (const unsigned char[4]){0}, answer) == md5_is_verifier(text));
    free(text);
    return 0;
}
