// Reading records of a partition from the disk.
#pragma once

#include "adapters/log/log.h"

#include <lmdb.h>

struct store;

// Fills a fetch from the store of its topic; fetch->buf is the caller's reference. Damage on the
// way is reported, and what lies before it comes. @thread any that may wait for a disk
void store_range_fetch(struct log_fetch *fetch);

// These need a transaction of their caller; any thread.

// A copy (malloc'ed) of one record. -ENOENT: it is not there any more.
int store_range_copy(struct store *store, MDB_txn *txn, uint64_t topic, uint32_t partition,
		     uint64_t offset, uint8_t **ret_record, uint32_t *ret_size,
		     int64_t *ret_stored_ms);
// Store time of the oldest message; -1: there is none.
int64_t store_range_oldest_ms(struct store *store, MDB_txn *txn, uint64_t topic,
			      uint32_t partition);
// The first offset of a partition stored at or after a time, between `first` and `end`.
int store_range_find_time(struct store *store, MDB_txn *txn, uint64_t topic, uint32_t partition,
			  uint64_t first, uint64_t end, int64_t time_ms, uint64_t *ret);
