// The one thread that writes to a store: everything that has come since the last commit goes into
// one transaction (group commit).
#pragma once

#include "adapters/store/append.h"

struct committer;

// A write other than a submit. The struct is the caller's, which keeps it until `done` (which may
// free it).
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

// The store must outlive it; it has one committer. 0 or negative errno. @thread start-up
int committer_start(struct store *store, struct committer **ret);
// Waits until nothing is left to do. true: that was so already. @thread any but the committer
bool committer_flush(struct committer *committer);
// Finishes what was given to it, ends the thread and frees it. Accepts NULL. @thread as flush
void committer_stop(struct committer *committer);

// Owns the batch until its `done`, which comes on the committer's thread.
void committer_submit(struct committer *committer, struct submit *submit);  // @thread any
void committer_run(struct committer *committer, struct committer_job *job); // @thread any
enum store_health committer_health(const struct committer *committer);      // @thread any

// For jobs. @thread the committer
struct store *committer_store(const struct committer *committer);
struct append *committer_append(struct committer *committer);
// Bytes of the file, and bytes that can still be written, pages that deletions have freed not
// counted. @thread any
void committer_space(const struct committer *committer, uint64_t *ret_used, uint64_t *ret_left);
// Nothing should be added to the store now. @thread the committer
bool committer_is_full(struct committer *committer);
