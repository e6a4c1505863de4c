// One open cluster: where each file of the Kafka adapter keeps its own state. A member belongs to
// the file that is named beside it.
#pragma once

#include "adapters/adapter.h"
#include "adapters/kafka/client/last_error.h"
#include "adapters/kafka/client/options.h"
#include "core/base/list.h"
#include "core/base/log.h"

#include <pthread.h>

struct client;
struct admin_handles;
struct fetcher;
struct health;
struct cluster_info;
struct ended_topic;
struct kafka_tasks;
struct kafka_stored;
struct kafka_partition;
struct kafka_watcher;
struct group_table;
struct resend;
struct retry_stores;
struct sender;
struct ticker;

// Calls to a room that the caller may not include, and those that would close a circle inside a
// room. kafka.c sets all of them before anything starts; none is NULL.
struct kafka_hooks {
	// client/: a client reports an error of the cluster as a whole. @thread the client's
	void (*client_error)(struct adapter *adapter, rd_kafka_event_t *event);
	// client/: another admin handle is the current one; under topics_lock. @thread watcher
	void (*handle_swapped)(struct adapter *adapter);
	// topic/: the topic has a watch, or has grown. @thread any
	void (*topic_follow)(struct adapter_topic *topic);
	// topic/: the partition is about to be freed. @thread any
	void (*partition_forget)(struct kafka_partition *partition);
	// topic/: it is closed by its last user; under topics_lock. @thread any
	void (*topic_closed)(struct adapter_topic *topic);
	// topic/: the cluster has more partitions of it than before. Blocks. @thread watcher
	void (*topic_grown)(struct adapter_topic *topic, uint32_t partitions);
	// topic/: the largest batch that it takes, as now known. @thread watcher
	void (*topic_batch_limit)(struct adapter_topic *topic, uint64_t bytes);
	// produce/: the delivery reports of one producer. @thread the producer's
	void (*delivered)(struct adapter *adapter, unsigned slot, rd_kafka_event_t *event);
	// produce/: the end of one message, before its broker is sent anything more. @thread
	// librdkafka's
	void (*ended)(struct adapter *adapter, unsigned slot, rd_kafka_t *handle,
		      const rd_kafka_message_t *message);
	// produce/: between two events of one producer. @thread the producer's
	void (*between)(struct adapter *adapter, unsigned slot);
	// produce/: from now on nothing is sent again; and: nothing is under way any more.
	void (*leaving)(struct adapter *adapter);
	void (*drained)(struct adapter *adapter);
};

struct adapter {
	const struct kafka_hooks *hooks;
	struct kafka_options options;
	struct log_ctx *log;
	struct client *producer; // sends until a fatal error
	struct sender *sender;   // sender.c: what sends now
	struct resend *resend;   // resend.c: what is sent again
	struct health *health;   // health.c
	struct admin_handles
		*admin_handles;    // admin_handle.c: the current handle for all that is no message
	struct fetcher *fetcher;   // fetcher.c
	struct kafka_tasks *tasks; // task.c
	struct ticker *watch_ticker;   // of the watcher, for whoever pokes it; stays until the end
	struct kafka_watcher *watcher; // watcher.c
	struct retry_stores *retries;  // retry_thread.c
	struct group_table *groups;    // group_table.c
	bool keeping;                  // atomic; offset_keepalive.c: its task is on its way
	struct kafka_stored *stored;   // stored.c
	struct last_error last_error;  // what was last wrong with it
	pthread_mutex_t info_lock;
	struct cluster_info *info; // cluster_info.c, under info_lock
	uint32_t capabilities;     // atomic; what follows from them
	pthread_mutex_t topics_lock;
	struct list topics;               // of adapter_topic.in_adapter
	struct ended_topic *ended_topics; // topic_generation.c, under topics_lock
	size_t ended_next;
	uint64_t epoch_seen; // atomic; the greatest of all (topic_generation.h)
};
