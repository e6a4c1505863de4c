// Open topics, and what is known of them without asking.
#pragma once

#include "adapters/kafka/client/kafka_adapter.h"
#include "adapters/kafka/topic/limits.h"
#include "adapters/log/log.h"

struct admin_handle;
struct kafka_array;
struct kafka_sent;

// A partition of an open topic. Stays where it is as long as its topic is open.
struct kafka_partition {
	struct adapter_topic *topic;
	uint32_t number;
	bool known;          // atomic: first and end have been asked for once
	bool leaderless;     // atomic: as the watcher last heard; asking for it would wait
	uint64_t first, end; // atomic; as far as known; they only rise
	void *reader;        // fetcher.c
	void *split;         // resend.c, under its gate
};

// One a topic, however many have opened it. partitions[] only grows: the array is replaced, what it
// points to stays, old arrays go with the topic.
struct adapter_topic {
	struct adapter *adapter;
	struct list in_adapter;
	uint32_t refs; // under topics_lock
	const struct topic *model;
	rd_kafka_topic_t *producing; // atomic; the sender's, made by the first message
	struct kafka_limits limits;  // as last told
	struct kafka_sent *sent;     // stored.c
	unsigned slot, slot_next;   // whose producer takes it, and soon will; under resend.c's gate
	bool moving;                // under that gate: it waits until nothing is under way
	bool settings_soon;         // atomic: its settings are to be asked for soon
	uint32_t handed;            // atomic: batches handed to a producer and not answered
	rd_kafka_topic_t *watching; // of the admin handle: it keeps the metadata
	struct admin_handle *watched_on;     // that handle, entered; both under topics_lock
	struct kafka_partition **partitions; // atomic
	struct kafka_array *arrays;          // what `partitions` points into, and all before it
	uint32_t partition_count;            // atomic, after partitions
	bool gone;                           // atomic: deleted; sends answer NOT_FOUND
	bool lost;  // under topics_lock: gone, and not deleted by us; the adapter has a reference
	bool back;  // under topics_lock: lost, and there again
	bool holes; // atomic: it has positions without a message, as far as was read
	bool generation_known; // atomic, before generation
	uint64_t generation;   // atomic; see topic_mark.h
	uint8_t durability;    // atomic, enum durability: what its copies are good for, as far as
			       // known
	// The watcher's.
	uint64_t missing_ns, mark_due_ns, mark_keep_ns, unanswered_ns, settings_due_ns,
		settings_read_ns;
	uint32_t replicas;         // of the partition that has the fewest
	bool marked, foreign;      // it had our mark; it has another's
	bool settled;              // it has our settings, or cannot have them
	bool holes_marked;         // and the mark says that it has holes
	uint64_t generation_least; // earlier generations are over
	pthread_mutex_t watch_lock;
	struct list watches; // of log_watch.node
};

struct adapter_topic *kafka_topic_open(struct adapter *adapter, const struct topic *topic);
struct adapter_topic *kafka_topic_ref(struct adapter_topic *topic);
void kafka_topic_close(struct adapter_topic *topic);
struct adapter_topic *kafka_topic_find(struct adapter *adapter,
				       uint64_t id); // open ones; with a reference; or NULL
struct kafka_partition *kafka_topic_partition(struct adapter_topic *topic,
					      uint32_t number); // or NULL
void kafka_topic_grow(struct adapter_topic *topic, uint32_t partitions);
void kafka_topic_gone(struct adapter_topic *topic); // wakes the fetches that wait for it
// Open topics go to the current admin handle; under topics_lock.
void kafka_topic_handle_swapped(struct adapter *adapter);
// Raise what is known; followers of the end are told when it rises. @thread any
void kafka_topic_raise_end(struct kafka_partition *partition, uint64_t end);
void kafka_topic_raise_first(struct kafka_partition *partition, uint64_t first);
bool kafka_topic_bounds(struct adapter_topic *topic, uint32_t partition, uint64_t *ret_first,
			uint64_t *ret_end);
void kafka_topic_holes_found(struct adapter_topic *topic);     // @thread any
bool kafka_topic_has_holes(const struct adapter_topic *topic); // @thread any
void kafka_topic_watch(struct adapter_topic *topic, struct log_watch *watch);
void kafka_topic_unwatch(struct adapter_topic *topic, struct log_watch *watch);
bool kafka_topic_watched(struct adapter_topic *topic);
// A record was refused by the topic's settings as they are known, or in spite of them. @thread any
void kafka_topic_settings_doubt(struct adapter_topic *topic);
