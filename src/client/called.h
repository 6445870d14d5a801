/*
 * What a statement calls, told without parsing it: every name with a parenthesis behind it, but for the table of an
 * INSERT INTO. What triggers, views, defaults, casts and operators call does not stand in the text. Pure.
 */
#ifndef MOSAIC_CLIENT_CALLED_H
#define MOSAIC_CLIENT_CALLED_H

#include <stdbool.h>

/* Does it call nothing but what is known to leave nothing behind in its session? In doubt, no. */
bool called_is_harmless(const char *sql);

#endif
