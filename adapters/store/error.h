// Errors of the store: a result of LMDB as an errno, an errno as the code that a client sees.
#pragma once

#include "core/base/code.h"

// A result of LMDB, or a positive errno: 0, or a negative errno. -ENOENT: there is no such row;
// -EUCLEAN: the file is damaged; -ENOSPC: the map is full. @thread any
int store_error(int lmdb_result);

// 0 or a negative errno: CODE_OK or what the caller is told. @thread any
enum code store_error_code(int r);
