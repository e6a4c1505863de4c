// The one thread that writes to a store: everything that has come since the last commit goes into
// one transaction (group commit).
#pragma once

#include "adapters/embedded/store.h"

struct committer;

// A write other than an append. The struct belongs to the asker until `done` (which may free it).
struct committer_job {
	struct committer_job *next;
	int result; // the committer's
	// Inside a transaction; 0, COMMITTER_AGAIN (done for now: run again in the next
	// transaction), or negative errno: its transaction is undone.
	int (*apply)(struct committer_job *job, struct committer *committer, MDB_txn *txn);
	void (*done)(struct committer_job *job,
		     int r); // after the commit; on the committer's thread
};
enum { COMMITTER_AGAIN = 1 };

int committer_start(struct store *store, struct committer **ret);
void committer_stop(struct committer *committer); // finishes what was given to it

void committer_submit(struct committer *committer, struct submit *submit);  // @thread any
void committer_run(struct committer *committer, struct committer_job *job); // @thread any
struct store *committer_store(const struct committer *committer);
enum store_health committer_health(const struct committer *committer); // @thread any

// For jobs: the committer's copy of a partition's row, to be changed inside this transaction.
struct store_partition *committer_touch(struct committer *committer,
					struct store_partition *partition);
// Deletes at most `max` chunks from the front of a partition while they end at or before `until`
// and `stored_ms` is below `before_ms`, or while the partition is larger than `keep_bytes`. Returns
// how many chunks went, or negative errno.
int committer_trim(struct committer *committer, MDB_txn *txn, struct store_partition *partition,
		   uint64_t until, int64_t before_ms, uint64_t keep_bytes, unsigned max);
