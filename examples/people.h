/* The rows of the examples: CSV of the same people each time, for mosaic_load. */
#ifndef PEOPLE_H
#define PEOPLE_H

#include <stddef.h>

enum { PEOPLE = 100000 };

/* id, name, email, created: ids in order, times of joining scattered over a year, no two the same. `context` is an int
 * that begins as 0. */
ptrdiff_t people_users(void *context, void *buffer, size_t size);
/* user_id, homeserver, joined: Matrix ids, 45 % on one hot homeserver, the others on 400 more. Likewise. */
ptrdiff_t people_members(void *context, void *buffer, size_t size);

#endif
