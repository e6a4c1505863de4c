// mqpaasd --salvage DIR: taking out of a damaged store what can be read.
#pragma once

#include <stdio.h>

// `path`: the directory of a store. What came of it goes to `out`. A problem; NULL: it is done.
// @thread the main one, while no daemon has the store open
char *salvage_print(const char *path, FILE *out);
