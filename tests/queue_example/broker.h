// A broker in the memory of the process, in place of a cluster and its client library: queues, each
// with its messages, under one lock. A broker outlives the adapters that are opened on it.
//
// Functions are called with the lock taken; they cannot fail, since without memory it is dead.
// @thread any
#pragma once

#include "adapters/queue/queue.h"
#include "core/base/list.h"

#include <pthread.h>

// Until the end of the block. An answer that is given inside may ask again.
#define BROKER_LOCKED                                                                              \
	pthread_mutex_t *locked __attribute__((cleanup(broker_unlock), unused)) = broker_lock()
#define BROKER_MESSAGE(at) LIST_ENTRY(at, struct broker_message, in_queue)
#define BROKER_QUEUE(at)   LIST_ENTRY(at, struct broker_queue, in_broker)

struct broker_message {
	struct list in_queue;
	struct queue_arrival arrival; // tag 0: it is not handed out
	bool copy;                    // of the retry store: not handed out before its time
};

// The queue of a group, or a topic: that is the queue of group 0, which gets messages only where
// the topic keeps them without a group.
struct broker_queue {
	struct list in_broker, messages; // in their order, handed out or not, copies among them
	uint64_t topic, group, incarnation;
	uint32_t partitions;
	bool keeps;
	struct queue_attachment *consumer; // with the open channel; NULL: none
};

struct broker {
	struct broker *next;
	struct list queues;
	char dir[];
};

pthread_mutex_t *broker_lock(void);
void broker_unlock(pthread_mutex_t **locked);
void *broker_alloc(size_t size); // zeroed

struct broker *broker_at(const char *dir); // there is one for each directory
// Of a group, or of the topic itself; NULL: it is not there.
struct broker_queue *broker_find(struct broker *broker, const struct topic *topic,
				 const struct group *group);
void broker_make(struct broker *broker, const struct topic *topic, const struct group *group);
void broker_put(struct broker_queue *queue, const struct queue_arrival *arrival, bool copy);
// What is handed out under this tag; 0: all that is not handed out.
void broker_drop(struct broker_queue *queue, uint64_t tag);
void broker_give_back(struct broker_queue *queue); // what is handed out, each to its place
struct queue_counts broker_count(const struct broker_queue *queue); // of NULL: none
// The next messages, from `tag` on, at most `room`; with references of their buffers.
size_t broker_take(struct broker_queue *queue, uint64_t tag, struct queue_arrival *ret,
		   size_t room);
// What is not handed out: how many messages. `preview`: they stay.
uint64_t broker_purge(struct broker_queue *queue, bool preview);
// To every queue of the topic; otherwise the code says why to none.
enum code broker_send(struct broker *broker, const struct topic *topic, struct buf *buf,
		      const struct submit_record *record);
