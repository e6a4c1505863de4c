// Looking at a store's file before LMDB maps it.
#pragma once

#include <stdbool.h>

// 0: whole, or not there yet; -EUCLEAN: damaged, *ret_problem says how (static text); other
// negative errors. No thread or process may write to the file meanwhile. `leaves`: those of the
// tables too, also in a file that is so large that a start would take long.
int check_file(const char *path, bool leaves, const char **ret_problem);
