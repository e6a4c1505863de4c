// The last good copy of the catalog on disk: one full change, then the deltas since, appended.
//
// The full one is written beside and renamed, so that a crash leaves the old or the new; a delta
// that a crash cut short is dropped when the file is read, and everything before it holds.
#pragma once

#include "core/catalog/change.h"

struct snapshot_file {
	char *path;
	int fd; // open for appending; -1: nothing there
	uint64_t full_size, delta_size;
};

int snapshot_file_init(struct snapshot_file *snapshot_file, const char *path); // -ENOMEM
void snapshot_file_deinit(struct snapshot_file *snapshot_file);

// Maps the file and calls `fn` for each whole change in order, until fn answers other than 0.
// Positive SNAPSHOT_FILE_E_DAMAGED: no whole snapshot at its start (fn has not been called), or fn
// refused. A tail that is not whole is cut off. An absent file is 0 without a call.
enum { SNAPSHOT_FILE_E_DAMAGED = 1 };
int snapshot_file_read(struct snapshot_file *snapshot_file,
		       int (*fn)(void *ctx, const uint8_t *data, size_t size), void *ctx);
void snapshot_file_set_aside(struct snapshot_file *snapshot_file); // renames it to <path>.damaged

int snapshot_file_replace(struct snapshot_file *snapshot_file, const struct catalog_change *full);
int snapshot_file_append(struct snapshot_file *snapshot_file, const struct catalog_change *delta);
bool snapshot_file_wants_full(
	const struct snapshot_file *snapshot_file); // the deltas have outgrown the snapshot
