// What the files of this room share: the sender, and its lanes.
#pragma once

#include "adapters/rabbitmq/link/rabbitmq_adapter.h"
#include "adapters/rabbitmq/message/message.h"
#include "adapters/rabbitmq/send/confirms.h"

#define RABBITMQ_LANES 4u // for topics; one more for posts

enum rabbitmq_lane_state {
	RABBITMQ_LANE_CLOSED, // its channel is opened at the next tick
	RABBITMQ_LANE_OPENING,
	RABBITMQ_LANE_READY,
	RABBITMQ_LANE_CLOSING, // by us
};

// A channel in confirm mode, and what waits for it. @thread send link
struct rabbitmq_lane {
	struct rabbitmq_sender *sender;
	struct rabbitmq_channel channel;
	struct rabbitmq_confirms confirms;
	struct list batches, posts; // that are not wholly published; one of the two is in use
	uint8_t state;              // enum rabbitmq_lane_state
	// Why the channel ended, while its messages end:
	uint16_t reply;
	const char *text;
	const struct adapter_topic *asked; // the topic that was looked for last
};

struct rabbitmq_sender {
	struct adapter *adapter;
	struct loop *loop;                    // of the send link
	struct loop_task start, wake, finish; // sender.c
	loop_task_fn topic_asked;             // of the task of a topic
	struct loop_timer tick;
	struct rabbitmq_message_room *room;
	struct rabbitmq_lane lanes[RABBITMQ_LANES + 1];
	uint64_t body_most; // of a message, as the broker said when it refused one; 0: not known
	struct list parked; // struct rabbitmq_batch: their topics are being looked for
	bool ended;         // nothing is sent any more; @thread send link
	uint64_t bytes;     // atomic: of batches on their way
	pthread_mutex_t lock;
	pthread_cond_t idle; // under the lock, as all below
	struct list batches, posts, topics;
	uint64_t pending; // batches and posts without an answer
	bool woken, stopping, finished;
};
