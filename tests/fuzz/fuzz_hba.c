/* Rules: what is accepted can be asked, and never trusts another machine. */
#include "auth_fuzz.h"
#include "proxy/hba.h"

#include <arpa/inet.h>
#include <netinet/in.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct arena arena = ARENA_INIT;
    struct hba hba;
    mosaic_error error;
    static const char *const clients[] = {"10.1.2.3", "8.8.8.8"};
    if (auth_fuzz_judge(hba_parse(&arena, "file", (const char *)data, size, &hba, &error), &error))
        for (size_t i = 0; i < 4; i++) {
            struct sockaddr_in client = {.sin_family = AF_INET}, server = {.sin_family = AF_INET};
            inet_pton(AF_INET, clients[i % 2], &client.sin_addr);
            inet_pton(AF_INET, "10.1.1.1", &server.sin_addr);
            struct hba_request request = {i / 2, (struct sockaddr *)&client, (struct sockaddr *)&server, "demo", "a"};
            const struct hba_rule *rule = hba_match(&hba, &request);
            FUZZ_REQUIRE(!rule || (rule->line >= 1 && rule->method != HBA_TRUST && hba_method_name(rule->method)));
        }
    arena_free(&arena);
    return 0;
}
