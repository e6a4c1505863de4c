// One open cluster: where each file of the Kafka adapter keeps its own state. A member belongs to
// the file that is named beside it.
#pragma once

#include "adapters/adapter.h"
#include "adapters/kafka/client/last_error.h"
#include "adapters/kafka/client/options.h"
#include "adapters/kafka/client/waker.h"
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
struct kafka_watcher;
struct group_table;
struct resend;
struct retry_stores;
struct sender;

struct adapter {
	struct kafka_options options;
	struct log_ctx *log;
	struct client *producer;             // sends until a fatal error
	struct sender *sender;               // sender.c: what sends now
	struct resend *resend;               // resend.c: what is sent again
	struct health *health;               // health.c
	struct admin_handles *admin_handles; // admin_handle.c: what carries questions now
	struct fetcher *fetcher;             // fetcher.c
	struct kafka_tasks *tasks;           // task.c
	struct waker watch_waker;            // wakes the watcher
	struct kafka_watcher *watcher;       // watcher.c
	struct retry_stores *retries;        // retry_thread.c
	struct group_table *groups;          // group_table.c
	bool keeping;                        // atomic; offset_keepalive.c: its task is on its way
	struct kafka_stored *stored;         // stored.c
	struct last_error last_error;        // what was last wrong with it
	pthread_mutex_t info_lock;
	struct cluster_info *info; // cluster_info.c, under info_lock
	uint32_t capabilities;     // atomic; what follows from them
	pthread_mutex_t topics_lock;
	struct list topics;               // of adapter_topic.in_adapter
	struct ended_topic *ended_topics; // topic_generation.c, under topics_lock
	size_t ended_next;
	uint64_t epoch_seen; // atomic; the greatest of all (topic_generation.h)
};
