// The one thread that writes to a store: everything that has come since the last commit goes into
// one transaction (group commit).
#pragma once

#include "adapters/store/append.h"

struct committer;

// A write other than a submit. The struct belongs to the asker until `done` (which may free it).
struct committer_job {
	struct committer_job *next;
	int result; // the committer's
	// Or NULL. Inside a transaction, before `apply`, and only reads: 0, or negative errno: the
	// job ends with it, and nothing else notices.
	int (*check)(struct committer_job *job, struct committer *committer, MDB_txn *txn);
	// Inside a transaction; 0, COMMITTER_AGAIN (done for now: run again in the next
	// transaction), or negative errno: what it wrote is undone. May be run more than once
	// before `done`: a transaction that fails for another reason is tried again.
	int (*apply)(struct committer_job *job, struct committer *committer, MDB_txn *txn);
	void (*done)(struct committer_job *job, int r); // after the commit; on its thread
};
enum { COMMITTER_AGAIN = 1 };

int committer_start(struct store *store, struct committer **ret);
// Waits until nothing is left to do. true: that was so already.
bool committer_flush(struct committer *committer);
void committer_stop(struct committer *committer); // finishes what was given to it

void committer_submit(struct committer *committer, struct submit *submit);  // @thread any
void committer_run(struct committer *committer, struct committer_job *job); // @thread any
enum store_health committer_health(const struct committer *committer);      // @thread any

// For jobs.
struct store *committer_store(const struct committer *committer);
struct append *committer_append(struct committer *committer);
// What the file has become, and what can still be written, pages that deletions have freed not
// counted. @thread any
void committer_space(const struct committer *committer, uint64_t *ret_used, uint64_t *ret_left);
bool committer_is_full(struct committer *committer); // nothing should be added
