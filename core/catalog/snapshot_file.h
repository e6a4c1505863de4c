// The last good copy of the catalog on disk: one full change, then the deltas since, appended.
//
// The full one is written beside and renamed, so that a crash leaves the old or the new; a delta
// that a crash cut short is dropped when the file is read, and everything before it holds.
#pragma once

#include "core/catalog/change.h"

struct lastgood {
	char *path;
	int fd; // open for appending; -1: nothing there
	uint64_t full_size, delta_size;
};

int lastgood_init(struct lastgood *lastgood, const char *path); // -ENOMEM
void lastgood_deinit(struct lastgood *lastgood);

// Maps the file and calls `fn` for each whole change in order, until fn answers other than 0.
// Positive LASTGOOD_E_DAMAGED: no whole snapshot at its start (fn has not been called), or fn
// refused. A tail that is not whole is cut off. An absent file is 0 without a call.
enum { LASTGOOD_E_DAMAGED = 1 };
int lastgood_read(struct lastgood *lastgood, int (*fn)(void *ctx, const uint8_t *data, size_t size),
		  void *ctx);
void lastgood_set_aside(struct lastgood *lastgood); // renames it to <path>.damaged

int lastgood_replace(struct lastgood *lastgood, const struct catalog_change *full);
int lastgood_append(struct lastgood *lastgood, const struct catalog_change *delta);
bool lastgood_wants_full(const struct lastgood *lastgood); // the deltas have outgrown the snapshot
