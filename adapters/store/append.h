// What a transaction changes in partitions: records put together into chunks, chunks deleted from
// the front. One struct a committer; all of it belongs to the committer's thread. Functions that
// answer a number return 0 or negative errno, after which the transaction must be given up.
#pragma once

#include "adapters/store/store.h"
#include "adapters/store/topic.h"

// The partitions that the transaction changes.
struct append {
	struct store *store;
	int64_t now_ms; // of this transaction
	struct store_partition *touched;
	struct store_chunk *spare; // room for open chunks
	struct list fresh;         // tail chunks, shown when the transaction is committed
};

void append_init(struct append *append, struct store *store);
void append_deinit(struct append *append);

// The partition, with `next` to be changed inside this transaction.
struct store_partition *append_touch(struct append *append, struct store_partition *partition);
// Takes all records of a batch and fills in its runs. The records stay borrowed until append_end().
int append_submit(struct append *append, MDB_txn *txn, struct submit *submit);
// Writes what is still open, and the rows of the partitions.
int append_finish(struct append *append, MDB_txn *txn);
// After a commit: what readers may see. After a failure: everything as before.
void append_end(struct append *append, bool committed);

// What may be deleted from the front of a partition: chunks that end at or before `until` and are
// too old or too many.
struct append_trim {
	uint64_t until;      // an offset
	int64_t before_ms;   // stored before this; INT64_MIN: nothing by age
	uint64_t keep_bytes; // or in a partition larger than this; UINT64_MAX: nothing by size
	bool damaged_too;    // all before `until`, as an operator said: whole or not
};
// Deletes at most `max` chunks; returns how many, or negative errno. Stops before what is damaged
// or missing, and reports it.
int append_trim(struct append *append, MDB_txn *txn, struct store_partition *partition,
		const struct append_trim *trim, unsigned max);
