// The row of a group in table `groups` of the D2 store.
#pragma once

#include "core/model/model.h"

struct store;

// In a transaction of its own. `store`: of either class. 0; -ENOENT: not there, or another
// incarnation; -EUCLEAN: damaged; another negative errno. @thread any
int group_row_check(struct store *store, const struct group *group);
