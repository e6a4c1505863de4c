// The threads that read from a store, so that no loop waits for a disk.
#pragma once

#include "adapters/store/store.h"
#include "adapters/store/topic.h"

struct reader;

int reader_start(unsigned threads, struct reader **ret);
void reader_stop(struct reader *reader); // runs what was given to it
// Calls job->run on one of the threads. @thread any
void reader_run(struct reader *reader, struct log_job *job);

// Fills a fetch from the store of its topic. @thread reader
void reader_fetch(struct log_fetch *fetch);

// These need a transaction of their caller; any thread.

// A copy (malloc'ed) of one record. -ENOENT: it is not there any more.
int reader_copy(struct store *store, MDB_txn *txn, uint64_t topic, uint32_t partition,
		uint64_t offset, uint8_t **ret_record, uint32_t *ret_size, int64_t *ret_stored_ms);
// Store time of the oldest message; -1: there is none.
int64_t reader_oldest_ms(struct store *store, MDB_txn *txn, uint64_t topic, uint32_t partition);
// The first offset of a partition stored at or after a time, between `first` and `end`.
int reader_find_time(struct store *store, MDB_txn *txn, uint64_t topic, uint32_t partition,
		     uint64_t first, uint64_t end, int64_t time_ms, uint64_t *ret);
