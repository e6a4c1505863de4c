// A chunk: consecutive records of one partition in one row; its checksums, and walking from one to
// the next inside a transaction of the caller. Any thread.
#pragma once

#include <lmdb.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct store_chunk;

// Borrowed from the map: lives as long as the transaction.
struct chunk_view {
	uint64_t offset, count; // of its first record; of its records
	int64_t stored_ms;      // milliseconds since 1970
	const uint8_t *records; // none: damaged ones that an operator has skipped
	size_t size;            // bytes of the records
};

// Fills in both checksums; the rest of the row is already what will be stored.
void chunk_seal(const MDB_val *key, struct store_chunk *chunk, size_t records_size);
bool chunk_head_is_whole(const MDB_val *key, const MDB_val *value);
bool chunk_records_are_whole(const MDB_val *value); // of a chunk whose head is
// Whether the key is one of a chunk of this partition.
bool chunk_is_of(const MDB_val *key, uint64_t topic, uint32_t partition);

// Results of LMDB: MDB_NOTFOUND: no more; MDB_CORRUPTED: the head of the chunk is damaged.
//
// Puts the cursor on the chunk that holds `offset`, or on the next one of the partition.
int chunk_seek(MDB_cursor *cursor, uint64_t topic, uint32_t partition, uint64_t offset,
	       struct chunk_view *ret);
int chunk_next(MDB_cursor *cursor, uint64_t topic, uint32_t partition, struct chunk_view *ret);
bool chunk_is_whole(const struct chunk_view *chunk); // its records

// Where what can be read begins again, at `end` at the latest: the next whole chunk behind `after`.
uint64_t chunk_resume(MDB_cursor *cursor, uint64_t topic, uint32_t partition, uint64_t after,
		      uint64_t end);
