#include "proxy/saslprep.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <stringprep.h>

static char *copied(const char *text)
{
    size_t size = strlen(text) + 1;
    char *copy = memory_allocate(size);
    return copy ? memcpy(copy, text, size) : NULL;
}

static bool is_ascii(const char *text)
{
    for (; *text; text++)
        if ((unsigned char)*text >= 0x80)
            return false;
    return true;
}

char *saslprep(const char *password)
{
    char *prepared = NULL;
    if (is_ascii(password) ||
        stringprep_profile(password, &prepared, "SASLprep", STRINGPREP_NO_UNASSIGNED) != STRINGPREP_OK)
        return copied(password);
    char *copy = copied(*prepared ? prepared : password);
    explicit_bzero(prepared, strlen(prepared));
    free(prepared);
    return copy;
}
