/* The file of users: what is accepted is sorted, and found by its name. */
#include "auth_fuzz.h"
#include "proxy/auth_file.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct arena arena = ARENA_INIT;
    struct auth_users users;
    mosaic_error error;
    if (auth_fuzz_judge(auth_file_parse(&arena, "file", (const char *)data, size, &users, &error), &error))
        for (size_t i = 0; i < users.count; i++)
            FUZZ_REQUIRE(auth_users_find(&users, users.users[i].name) == &users.users[i]);
    arena_free(&arena);
    return 0;
}
