// A registry that does not fit what lies beside it: refused, put back, or taken as the older copy
// that it is. For the main thread, at the start, with the data directory locked.
#pragma once

#include "server/daemon_state.h"

#include <stdio.h>

// What the stores of this machine remember together.
struct stores_memory {
	uint64_t installation; // of those that hold something; 0: none does, or none says
	uint64_t highest_id;
	bool holds;    // topics or groups are in them, or one cannot be read
	bool unread;   // that one: the holder
	json_t *found; // per store, for a restore (core/registry/orphans.h); freed too
	char *holder;  // the directory of one that does; freed by recover_stores_forget()
};
char *recover_stores_remember(const struct daemon *daemon, struct stores_memory *ret);
void recover_stores_forget(struct stores_memory *stores);

// All return a problem; NULL: fine.

// A restore that a crash cut short is finished; what that left undone and was given up is removed.
char *recover_resume(const struct daemon *daemon);
// An empty registry beside stores, a catalog or remains of a registry that are not: what to do
// instead.
char *recover_refuse_empty(const struct daemon *daemon, const struct stores_memory *stores);
// The registry is an older copy than catalog and stores: it is restored from itself, and what comes
// of that is logged.
char *recover_older(struct daemon *daemon, const struct stores_memory *stores, const char *path);
// mqpaasd --restore FILE: the report goes to `out`.
char *recover_from(struct daemon *daemon, const char *from, bool revive, FILE *out);
