// What the files of the Kafka adapter share.
#pragma once

#include "adapters/adapter.h"
#include "adapters/kafka/client/client.h"
#include "adapters/kafka/client/error.h"
#include "adapters/kafka/client/last_error.h"
#include "adapters/kafka/topic/limits.h"
#include "adapters/log/log.h"

#include <pthread.h>

struct coordinators;
// Messages that the producer puts into one request for a partition. A topic that takes less refuses
// them all, however small each is.
#define KAFKA_BATCH_BYTES 1000000

#define KAFKA_RECORD_MAX ((16u << 20) + 65536) // the largest record, and what a dead letter adds

struct fetcher;
struct health;
struct kafka_facts;
struct kafka_watcher;
struct kafka_questions;
struct kafka_sent;
struct kafka_stored;
struct known_groups;
struct resend;
struct retry_stores;
struct sender;

struct adapter {
	struct kafka_options options;
	struct log_ctx *log;
	struct client *producer;           // sends until a fatal error
	struct sender *sender;             // sender.c: what sends now
	struct resend *resend;             // resend.c: what is sent again
	struct health *health;             // health.c
	struct coordinators *coordinators; // admin_handle.c: what carries questions now
	struct fetcher *fetcher;           // fetcher.c
	struct kafka_questions *questions;
	struct kafka_watcher *watcher; // watcher.c
	struct retry_stores *retries;  // retry_thread.h
	struct known_groups *known;    // offset_keepalive.c
	struct kafka_stored *stored;   // stored.c
	struct kafka_trouble trouble;  // what was last wrong with it
	pthread_mutex_t facts_lock;
	struct kafka_facts *facts; // cluster_info.c, under facts_lock
	uint32_t capabilities;     // atomic; what follows from them
	pthread_mutex_t topics_lock;
	struct list topics;       // of adapter_topic.in_adapter
	struct kafka_life *lives; // topic_generation.c, under topics_lock
	size_t life_next;
	uint64_t epoch_seen; // atomic; the greatest of all (topic_generation.h)
};

// A partition of an open topic. Stays where it is as long as its topic is open.
struct kafka_partition {
	struct adapter_topic *topic;
	uint32_t number;
	bool known;          // atomic: first and end have been asked for once
	bool leaderless;     // atomic: as the watcher last heard; asking for it would wait
	uint64_t first, end; // atomic; as far as known; they only rise
	void *following;     // fetcher.c
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
	bool rules_soon;            // atomic: its settings are to be asked for soon
	uint32_t handed;            // atomic: batches handed to a producer and not answered
	rd_kafka_topic_t *watching; // of the handle for questions: it keeps the metadata
	struct coordinator *watched_on;      // that handle, entered; both under topics_lock
	struct kafka_partition **partitions; // atomic
	struct kafka_array *arrays;          // what `partitions` points into, and all before it
	uint32_t partition_count;            // atomic, after partitions
	bool gone;                           // atomic: deleted; sends answer NOT_FOUND
	bool lost;  // under topics_lock: gone, and not deleted by us; the adapter has a reference
	bool back;  // under topics_lock: lost, and there again
	bool holes; // atomic: it has positions without a message, as far as was read
	bool life_known;    // atomic, before life
	uint64_t life;      // atomic; see topic_mark.h
	uint8_t durability; // atomic, enum durability: what its copies are good for, as far as
			    // known
	// The watcher's.
	uint64_t missing_ns, mark_due_ns, mark_keep_ns, unanswered_ns, rules_due_ns, rules_asked_ns;
	uint32_t replicas;    // of the partition that has the fewest
	bool marked, foreign; // it had our mark; it has another's
	bool holes_marked;    // and the mark says that it has holes
	uint64_t life_least;  // lives before are over
	pthread_mutex_t watch_lock;
	struct list watches; // of log_watch.node
};

uint32_t kafka_capabilities(struct adapter *adapter); // cluster_info.c; cheap

// topic.c: open topics and what is known of them
struct adapter_topic *kafka_topic_open(struct adapter *adapter, const struct topic *topic);
struct adapter_topic *kafka_topic_ref(struct adapter_topic *topic);
void kafka_topic_close(struct adapter_topic *topic);
struct adapter_topic *kafka_topic_find(struct adapter *adapter,
				       uint64_t id); // open ones; with a reference; or NULL
struct kafka_partition *kafka_partition_of(struct adapter_topic *topic, uint32_t number); // or NULL
void kafka_topic_grow(struct adapter_topic *topic, uint32_t partitions);
void kafka_topic_gone(struct adapter_topic *topic);    // wakes who waits for it
void kafka_topic_rewatch(struct adapter_topic *topic); // on the handle of now; under topics_lock
// Raise what is known; who follows the end is told when it rises. @thread any
void kafka_partition_end(struct kafka_partition *partition, uint64_t end);
void kafka_partition_first(struct kafka_partition *partition, uint64_t first);
bool kafka_bounds(struct adapter_topic *topic, uint32_t partition, uint64_t *ret_first,
		  uint64_t *ret_end);
void kafka_topic_holes_found(struct adapter_topic *topic);     // @thread any
bool kafka_topic_has_holes(const struct adapter_topic *topic); // @thread any
void kafka_watch(struct adapter_topic *topic, struct log_watch *watch);
void kafka_unwatch(struct adapter_topic *topic, struct log_watch *watch);
bool kafka_topic_watched(struct adapter_topic *topic);

// watermarks.c: ask the cluster for first and end of every partition that has a leader. Block: for
// a question.
enum code kafka_bounds_ask(struct adapter_topic *topic);
rd_kafka_resp_err_t kafka_bounds_ask_all(struct adapter *adapter, struct adapter_topic **topics,
					 size_t count, int timeout_ms);

// watcher.c: finds what others do to open topics, and where those that are read end
int kafka_watcher_start(struct adapter *adapter);
void kafka_watcher_stop(struct kafka_watcher *watcher); // accepts NULL
void kafka_watcher_poke(struct adapter *adapter);       // look now. @thread any
// A record was refused by the topic's settings as they are known, or in spite of them. @thread any
void kafka_topic_rules_doubt(struct adapter_topic *topic);

// check.c
int kafka_check(const struct cluster *cluster, char **ret_error);

// produce.c
void kafka_submit(struct adapter *adapter, struct submit *submit);
// Delivery reports of the producer of a size class (sender.h).
void kafka_delivered(struct adapter *adapter, unsigned slot, rd_kafka_event_t *event);

// librdkafka's queue of a partition that is read, or of all retry stores; then it asks for no more.
#define KAFKA_QUEUE_BYTES    (4u << 20)
#define KAFKA_QUEUE_MESSAGES 100000u

// fetcher.c
int fetcher_start(struct adapter *adapter, char **ret_error);
void fetcher_stop(struct fetcher *fetcher); // accepts NULL; ends every fetch; blocks
void fetcher_free(struct fetcher *fetcher); // accepts NULL; no topic is open any more
// The consumer of the first lane of all partitions, by which the retry stores read their topics,
// too; until the fetcher is freed. NULL: it cannot be made now. Blocks for some steps. @thread
// kafka-fetch, kafka-retry
struct client *fetcher_aside(struct fetcher *fetcher);
bool kafka_fetch(struct adapter *adapter, struct log_fetch *fetch);
void kafka_partition_forget(struct kafka_partition *partition); // before it is freed
void kafka_topic_follow(struct adapter_topic *topic); // somebody watches it, or it has grown

// topic_admin.c
void kafka_topic_create(struct adapter *adapter, const struct topic *topic, adapter_done_fn done,
			void *ctx);
void kafka_topic_change(struct adapter *adapter, const struct topic *topic, adapter_done_fn done,
			void *ctx);
void kafka_topic_delete(struct adapter *adapter, const struct topic *topic, adapter_done_fn done,
			void *ctx);
void kafka_topic_describe(struct adapter *adapter, const struct topic *topic, adapter_json_fn done,
			  void *ctx);
void kafka_topic_purge(struct adapter *adapter, const struct topic *topic, bool preview,
		       adapter_json_fn done, void *ctx);
void kafka_read(struct adapter *adapter, const struct topic *topic, const json_t *query,
		adapter_json_fn done, void *ctx);
void kafka_probe(struct adapter *adapter, uint64_t deadline_ns, adapter_json_fn done, void *ctx);
void kafka_existing(struct adapter *adapter, uint64_t deadline_ns, adapter_json_fn done, void *ctx);

// health.c: health, circuit, latency and the last error. `known` once a broker has told
// what kafka_capabilities() depends on: D2 and D3 need more than one node.
void kafka_state(struct adapter *adapter, struct adapter_state *ret);

// groups.c, cursors.c, retry_due.c, retry_thread.c
void kafka_group_create(struct adapter *adapter, const struct group *group,
			const struct topic *topic, adapter_done_fn done, void *ctx);
void kafka_group_delete(struct adapter *adapter, const struct group *group,
			const struct topic *topic, adapter_done_fn done, void *ctx);
void kafka_group_reset(struct adapter *adapter, const struct group *group,
		       const struct topic *topic, const json_t *to, bool preview,
		       adapter_json_fn done, void *ctx);
void kafka_group_backlog(struct adapter *adapter, const struct group *group,
			 const struct topic *topic, adapter_json_fn done, void *ctx);
void kafka_cursors_load(struct adapter *adapter, struct log_cursors *load);
void kafka_cursors_commit(struct adapter *adapter, struct log_cursors *commit);
void kafka_due(struct adapter *adapter, struct log_due *due);
int retry_stores_start(struct adapter *adapter);      // after the fetcher
void retry_stores_stop(struct retry_stores *retries); // accepts NULL; ends what is asked of it
void retry_stores_free(struct retry_stores *retries); // accepts NULL
// The report of a message whose topic has an opaque: only those of the retry store have one.
void kafka_retry_delivered(const rd_kafka_message_t *message);
