#define _GNU_SOURCE /* memmem */
#include "proxy/http_request.h"

#include <stdbool.h>
#include <string.h>

int http_request(const char *data, size_t size)
{
    static const char path[] = "/metrics";
    size_t word = strnlen(data, size), method = 0;
    while (method < word && method < 8 && data[method] >= 'A' && data[method] <= 'Z')
        method++;
    if (method == word)
        return word < 8 ? 0 : 400;
    if (method == 0 || data[method] != ' ')
        return 400;
    bool reads = (method == 3 && memcmp(data, "GET", 3) == 0) || (method == 4 && memcmp(data, "HEAD", 4) == 0);
    const char *line = memchr(data, '\n', size), *at = data + method + 1;
    if (!line)
        return size < HTTP_REQUEST_MOST ? 0 : 400;
    size_t rest = (size_t)(line - at), length = sizeof path - 1;
    bool found = rest > length && memcmp(at, path, length) == 0 && memchr(" ?\r", at[length], 3);
    if (!memmem(data, size, "\r\n\r\n", 4) && !memmem(data, size, "\n\n", 2))
        return size < HTTP_REQUEST_MOST ? 0 : 400;
    return !reads ? 405 : found ? 200 : 404;
}
