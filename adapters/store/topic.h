// A topic as sessions hold it, and its partitions: where they begin and end, as of the last commit.
//
// Everything that is atomic may be read by any thread; the rest of a partition belongs to the
// committer of its store. Offsets are positions of messages, sizes are bytes of rows.
#pragma once

#include "adapters/store/store.h"

struct tail;
struct store_retired;

struct store_partition {
	uint64_t first, end; // committed; atomic: read by any thread
	uint64_t bytes;      // committed; atomic
	struct tail *tail;   // tail.h: its newest chunks; NULL: none yet
	// The committer's, inside a transaction.
	struct store_partition_row now, next;
	struct store_partition *touched_next;
	struct adapter_topic *topic;
	bool touched;
	uint32_t number;
	// The chunk being put together in this transaction.
	struct store_chunk *open_chunk;
	size_t open_size;
	uint64_t open_offset;
	uint64_t chunks_end; // where the next chunk of this transaction must begin
};

// A topic as sessions hold it; one per topic and store, counted.
struct adapter_topic {
	struct adapter_topic *next; // of its hash slot
	struct store *store;
	uint64_t id, incarnation;
	uint32_t refs, partition_count; // partition_count: atomic
	bool gone;                      // deleted underneath; atomic
	bool watched;                   // atomic
	pthread_mutex_t watch_lock;
	struct list watches;
	struct store_partition *partitions; // atomic: replaced when the topic grows
	struct store_retired *retired;      // replaced ones, kept for readers until the end
};

// With a reference, which the caller gives back with store_topic_close(). NULL with *ret_r: -ENOENT
// when there is no such topic (or another incarnation), or another negative errno. May read the
// disk, once. @thread any
struct adapter_topic *store_topic_open(struct store *store, uint64_t id, uint64_t incarnation,
				       int *ret_r);
void store_topic_close(struct adapter_topic *topic); // @thread any
// More partitions for a topic that sessions hold. 0 or -ENOMEM. @thread its committer, outside a
// transaction
int store_topic_grow(struct adapter_topic *topic, uint32_t partitions);
// With a reference, but only if a session holds it already; else NULL. @thread any
struct adapter_topic *store_topic_find(struct store *store, uint64_t id);
// NULL: it has fewer. @thread any
struct store_partition *store_topic_partition(const struct adapter_topic *topic,
					      uint32_t partition);
uint32_t store_topic_partition_count(const struct adapter_topic *topic); // @thread any
bool store_topic_gone(const struct adapter_topic *topic); // it is being deleted. @thread any

// For a log source (adapters/log/log.h, struct log_ops). @thread any
bool store_topic_bounds(struct adapter_topic *topic, uint32_t partition, uint64_t *ret_first,
			uint64_t *ret_end);
void store_topic_watch(struct adapter_topic *topic, struct log_watch *watch);
void store_topic_unwatch(struct adapter_topic *topic, struct log_watch *watch);
