#include "core/turn.h"

#include "core/hash.h"

#include <string.h>

uint32_t turn_of_table(const struct table *table)
{
    return (hash32_of_bytes(table->display, strlen(table->display)) & INT32_MAX) | 2;
}
