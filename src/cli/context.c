#include "cli/context.h"

volatile int context_interrupted;
