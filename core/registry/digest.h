// The digest that a backup carries of all it holds.
#pragma once

#include "core/registry/db.h"

int digest_write(struct db *db);
// The file is no copy any more: it is a registry in use, which a backup was put back as.
int digest_drop(struct db *db);
// 0: it is as it was made, or has none: a registry's own file, copied by hand. -EUCLEAN: damaged,
// and said.
int digest_check(struct db *db);
