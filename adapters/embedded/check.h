// Looking at a store's file before LMDB maps it.
#pragma once

// 0: whole, or not there yet; -EUCLEAN: damaged, *ret_problem says how (static text); other
// negative errors. Nobody may write to the file meanwhile.
int check_file(const char *path, const char **ret_problem);
