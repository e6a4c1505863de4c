// The threads that read from a store, so that no loop waits for a disk.
#pragma once

#include "adapters/embedded/store.h"

struct reader;

int reader_start(unsigned threads, struct reader **ret);
void reader_stop(struct reader *reader); // runs what was given to it
void reader_run(struct reader *reader,
		struct log_job *job); // calls job->run on one of the threads; @thread any

// Fills a fetch from the store of its topic. @thread reader
void reader_fetch(struct log_fetch *fetch);

// The first offset of a partition stored at or after a time, between `first` and `end`. @thread
// any, inside a transaction
int reader_find_time(struct store *store, MDB_txn *txn, uint64_t topic, uint32_t partition,
		     uint64_t first, uint64_t end, int64_t time_ms, uint64_t *ret);
