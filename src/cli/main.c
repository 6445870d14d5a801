#include "cli/commands.h"

#include <stdio.h>

int main(void)
{
    printf("pgmosaic %s\n", mosaic_version());
    return EXIT_CODE_OK;
}
