#include "people.h"

#include <stdio.h>

enum { LINE = 128, DAY = 24 * 60, MINUTES = 360 * DAY };

/* "2025-03-08 14:33:00Z": 7919 is prime and does not divide MINUTES, so that no two of the first people are the same.
 */
static int add_time(char *out, size_t size, int number)
{
    int minute = (int)(number * 7919L % MINUTES), day = minute / DAY;
    return snprintf(out, size, "2025-%02d-%02d %02d:%02d:00Z\n", day / 30 + 1, day % 30 % 28 + 1, minute / 60 % 24,
                    minute % 60);
}

ptrdiff_t people_users(void *context, void *buffer, size_t size)
{
    int *made = context;
    char *out = buffer;
    size_t used = 0;
    if (*made == 0)
        used = (size_t)snprintf(out, size, "id,name,email,created\n");
    for (; *made < PEOPLE && size - used > LINE; ++*made) {
        int id = *made + 1;
        used += (size_t)snprintf(out + used, size - used, "%d,User %d,user%d@example.com,", id, id, id);
        used += (size_t)add_time(out + used, size - used, id);
    }
    return (ptrdiff_t)used;
}

ptrdiff_t people_members(void *context, void *buffer, size_t size)
{
    int *made = context;
    char *out = buffer;
    size_t used = 0;
    if (*made == 0)
        used = (size_t)snprintf(out, size, "user_id,homeserver,joined\n");
    for (; *made < PEOPLE && size - used > LINE; ++*made) {
        int number = *made + 1;
        char homeserver[32] = "matrix.org";
        if (number % 20 >= 9)
            snprintf(homeserver, sizeof homeserver, "hs%ld.example.org", number * 7919L % 401);
        used += (size_t)snprintf(out + used, size - used, "@user%d:%s,%s,", number, homeserver, homeserver);
        used += (size_t)add_time(out + used, size - used, number);
    }
    return (ptrdiff_t)used;
}
