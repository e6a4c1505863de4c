// The tables of the registry's file, made and brought up to date by the field tables.
#pragma once

#include "core/registry/db.h"

#define SCHEMA_VERSION 4

// Positive SCHEMA_E_NEWER: a newer version made it; SCHEMA_E_FOREIGN: not a registry at all.
enum { SCHEMA_E_NEWER = 1, SCHEMA_E_FOREIGN = 2 };
int schema_prepare(struct db *db, int *ret_version); // version found; 0: a new file
