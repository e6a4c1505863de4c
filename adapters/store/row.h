// Rows with checksums: how every table is read and written.
//
// A row begins with a CRC-32C over its key and everything behind the checksum, so that a flipped
// bit in a key, a count or a position is seen like one in a record. Of a chunk it covers key, head
// and the number of bytes of its records; these have a checksum of their own, so that walking over
// chunks need not read them.
#pragma once

#include <lmdb.h>
#include <stdbool.h>
#include <stdint.h>

// Rows are packed: LMDB aligns a value to two bytes only. Each begins with a checksum over its key
// and what follows (row.h).

// A chunk: consecutive records of a partition, key (topic, partition, first offset). It begins
// where the one before ended, the first one at the first offset of the partition.
struct store_chunk {
	uint32_t crc;         // over key, head and the number of bytes of the records
	uint32_t records_crc; // CRC-32C of the records
	uint32_t count;
	int64_t stored_ms; // never falls along a partition
	uint8_t records[]; // none: damaged ones that an operator has skipped
} __attribute__((packed));

// A message in a group's retry store, key (group, partition, offset).
struct store_retry {
	uint32_t crc;
	uint32_t attempts;
	uint64_t due_ms;
	int64_t stored_ms;
	uint8_t record[];
} __attribute__((packed));

// A cursor, key (group, partition).
struct store_cursor {
	uint32_t crc;
	uint64_t position;
	uint64_t retrying, delayed; // rows in the retry store, with attempts and without
	char text[];                // commit metadata, to the end of the row
} __attribute__((packed));

// When a message of the retry store is due, key (group, due ms, partition, offset).
struct store_due {
	uint32_t crc;
} __attribute__((packed));

// What is kept of a topic, key (topic).
struct store_topic_row {
	uint32_t crc;
	uint64_t incarnation;
	uint64_t retention_ms, retention_bytes;
	uint32_t partitions;
	uint32_t durability;
} __attribute__((packed));

// What is kept of a partition, key (topic, partition).
struct store_partition_row {
	uint32_t crc;
	uint64_t first, end, bytes;
	int64_t stored_ms; // of the newest chunk
} __attribute__((packed));

struct store_group_row {
	uint32_t crc;
	uint64_t incarnation;
	uint64_t topic;
} __attribute__((packed));

// A number in the table `meta`, key: its name.
struct store_number {
	uint32_t crc;
	uint64_t value;
} __attribute__((packed));

// Sizes are bytes, with the crc. Pure functions of the bytes; any thread. `row` is packed and
// begins with its crc.
void row_seal(const MDB_val *key, void *row, size_t size);
uint32_t row_crc(const MDB_val *key, const void *row, size_t size); // what its checksum should be
bool row_is_whole(const MDB_val *key, const MDB_val *value, size_t size_min);

// Inside a transaction of the caller. 0, -ENOENT, -EUCLEAN (damaged), or another negative errno.
// *ret is borrowed from the map and lives as long as the transaction.
int row_get(MDB_txn *txn, MDB_dbi table, MDB_val *key, size_t size_min, MDB_val *ret);
int row_put(MDB_txn *txn, MDB_dbi table, MDB_val *key, void *row, size_t size); // seals it
