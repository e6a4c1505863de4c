// Taking in a copy of a registry, for restores.
#pragma once

#include "core/catalog/seal.h"

// Copies the registry in file `from` to `to`, and looks at the copy as a whole: pages, digest,
// rows, audit log, credentials that `key` opens. Errors as registry_open(), with a sentence or
// without.
int backup_take(const struct seal_key *key, const char *from, const char *to, char **ret_error);
