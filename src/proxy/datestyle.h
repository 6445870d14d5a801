/*
 * The values of DateStyle. Its two halves are a style and an order, and SET that names one leaves the other as it
 * stands (check_datestyle, src/backend/commands/variable.c). A session's setting is to say the same on whichever
 * connection it is replayed, so it is kept whole: "SQL, DMY"; where one half was never set, "ISO, DEFAULT", by which
 * PostgreSQL takes that half from the connection's own default.
 */
#ifndef MOSAIC_PROXY_DATESTYLE_H
#define MOSAIC_PROXY_DATESTYLE_H

#include <stdbool.h>

enum { DATESTYLE_SIZE = 32 };

/*
 * What DateStyle is once it is set to `value` where it was `had`, which is whole; NULL: the connection's default.
 * False: `value` has a word that PostgreSQL refuses.
 */
bool datestyle_set(const char *had, const char *value, char whole[static DATESTYLE_SIZE]);

#endif
