// What tells that a row of the registry's file is as it was written: SQLite checks the shape of its
// pages, but no bit of a value.
#pragma once

#include "core/registry/registry.h"
#include "core/registry/row.h"

// Over kind, id, revision and every member, secrets in the clear: CRC-32C of what was decoded, so
// that whatever changes a meaning is found and nothing else is.
uint32_t checksum_row(enum registry_kind kind, const struct row *row);

// Over the values of a small row of another table, in order: integers and texts as db_query()
// takes them.
uint32_t checksum_values(const char *types, ...);
