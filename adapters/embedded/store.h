// The embedded store: one LMDB environment of a durability class, its tables, and what is known of
// its topics in memory.
//
// docs/adapters/embedded.md describes the tables. Writes happen only inside the committer's
// transactions (committer.h); reads on any thread.
#pragma once

#include "adapters/adapter.h"
#include "adapters/log/log.h"

#include <lmdb.h>
#include <pthread.h>

#define STORE_FORMAT 1u
#define STORE_CHUNK_MAX                                                                            \
	(64u << 10) // records are put together up to this many bytes; a larger record stands alone
#define STORE_KEY_SIZE 20u
#define STORE_RESERVE                                                                              \
	(64ull << 20) // appending stops while less is free, so that deleting always works

// A chunk: consecutive records of a partition, key (topic, partition, first offset).
struct store_chunk {
	uint64_t count;
	int64_t stored_ms;
	uint8_t records[];
};

struct store_partition {
	uint64_t first, end; // committed; atomic: read by any thread
	uint64_t bytes;      // committed; atomic
	// The committer's, inside a transaction.
	uint64_t next_first, next_end, next_bytes;
	struct store_partition *touched_next;
	struct adapter_topic *topic;
	bool touched;
	uint32_t number;
	// The chunk being put together in this transaction.
	struct store_chunk *open_chunk;
	size_t open_size;
	uint64_t open_offset;
};

// A topic as sessions hold it; one per topic and store, counted.
struct adapter_topic {
	struct adapter_topic *next; // of its hash slot
	struct store *store;
	uint64_t id, incarnation;
	uint32_t refs, partition_count;
	bool gone; // deleted underneath; atomic
	pthread_mutex_t watch_lock;
	struct list watches;
	struct store_partition *partitions; // atomic: replaced when the topic grows
	struct store_retired
		*retired; // arrays that were replaced, kept for readers until the topic is closed
};

struct store_retired {
	struct store_retired *next;
	struct store_partition *partitions;
};

// What is kept of a topic in its row.
struct store_topic_row {
	uint64_t incarnation;
	uint64_t retention_ms, retention_bytes;
	uint32_t partitions;
	uint32_t reserved;
};

enum store_health { STORE_OK, STORE_FULL, STORE_FAILING };

struct store {
	MDB_env *env;
	MDB_dbi meta, topics, partitions, chunks, cursors, groups;
	char *path;
	enum durability durability;
	uint64_t map_bytes;
	int lock_fd;

	pthread_mutex_t lock; // of the hash of topics
	struct adapter_topic **slots;
	size_t slot_count, topic_count;
};

// 0, or negative errno with *ret_error saying which file and what is right. -EBUSY: another process
// has it.
int store_open(const char *path, enum durability durability, uint64_t map_bytes, struct store **ret,
	       char **ret_error);
void store_close(struct store *store);

// Reads need no lock; a transaction must not outlive the call that began it.
int store_read_begin(struct store *store, MDB_txn **ret);

// NULL with *ret_r: -ENOENT when there is no such topic (or another incarnation), or another
// negative errno.
struct adapter_topic *store_topic_open(struct store *store, uint64_t id, uint64_t incarnation,
				       int *ret_r);
void store_topic_close(struct adapter_topic *topic);
// More partitions for a topic that sessions hold. @thread committer, outside a transaction
int store_topic_grow(struct adapter_topic *topic, uint32_t partitions);
struct adapter_topic *
store_topic_find(struct store *store,
		 uint64_t id); // only if some session holds it; with a reference

// Keys: big-endian, so that they sort by number.
void store_key(uint8_t key[STORE_KEY_SIZE], uint64_t id, uint32_t partition, uint64_t offset);
uint64_t store_key_id(const void *key);
uint32_t store_key_partition(const void *key);
uint64_t store_key_offset(const void *key);

int store_errno(int lmdb_result); // 0 or negative errno
