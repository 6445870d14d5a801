#include "base/control_point.h"

#ifdef MOSAIC_CONTROL_POINTS

#include <signal.h>
#include <stdlib.h>
#include <string.h>

void control_point(const char *name)
{
    static long passed;
    const char *wanted = getenv("MOSAIC_CONTROL_POINT");
    size_t size = strlen(name);
    if (!wanted || strncmp(wanted, name, size) != 0 || wanted[size] != '=')
        return;
    const char *action = wanted + size + 1;
    char *rest;
    long at = strtol(action, &rest, 10);
    if (*rest == ':')
        action = rest + 1;
    else
        at = 1;
    if (++passed == at)
        raise(strcmp(action, "stop") == 0 ? SIGSTOP : SIGKILL);
}

#else
typedef int control_point_is_off; /* ISO C wants a declaration in every file */
#endif
