// The tables of the registry's file, made and brought up to date by the field tables.
#pragma once

#include "core/registry/db.h"

#define SCHEMA_VERSION 7

// Positive SCHEMA_E_NEWER: a newer version made it; SCHEMA_E_FOREIGN: not a registry at all.
enum { SCHEMA_E_NEWER = 1, SCHEMA_E_FOREIGN = 2 };
// `stamp` is called inside the migration's transaction, when all columns are there, with the
// version found (0: a new file): what older files lack beside columns.
int schema_prepare(struct db *db, int (*stamp)(void *ctx, int version), void *ctx,
		   int *ret_version);
