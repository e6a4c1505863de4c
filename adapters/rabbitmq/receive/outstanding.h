// The delivery tags of one channel that are not acknowledged yet, in the order in which they came,
// and those of them that are to be. Pure but for memory.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define RABBITMQ_QUEUES 3u // of a source: the group's queue, .retry, and .replay

struct rabbitmq_tag {
	uint64_t tag;
	uint32_t consumer; // the caller's; 0: of none
	uint8_t queue;
	uint8_t state; // outstanding.c's
};

// Zero it before its first use.
struct rabbitmq_outstanding {
	struct rabbitmq_tag *tags; // rising; [first, end)
	size_t first, end, room;
	uint32_t open[RABBITMQ_QUEUES]; // not acknowledged, by queue
	uint32_t wanted;                // of these, to be acknowledged
	uint64_t wanted_from;           // no tag below is, except in the run in front
	uint64_t last;                  // the last tag that came; 0: none has
};

// One basic.ack.
struct rabbitmq_ack {
	uint64_t tag;
	bool multiple;
};

// A tag is acknowledged. With `begins` the broker makes one more command of its queue.
typedef void (*rabbitmq_outstanding_fn)(void *ctx, const struct rabbitmq_tag *tag, bool begins);

// A delivery has come. -ENOMEM; -EINVAL: tags do not rise.
int rabbitmq_outstanding_add(struct rabbitmq_outstanding *set, uint64_t tag, uint8_t queue,
			     uint32_t consumer);
// These are to be acknowledged; those that are not open are not.
void rabbitmq_outstanding_want(struct rabbitmq_outstanding *set, const uint64_t *tags,
			       size_t count);
// Acknowledges, of what is wanted, as much as one basic.ack can. False: nothing is.
bool rabbitmq_outstanding_next(struct rabbitmq_outstanding *set, rabbitmq_outstanding_fn acked,
			       void *ctx, struct rabbitmq_ack *ret);
void rabbitmq_outstanding_clear(struct rabbitmq_outstanding *set); // a new channel
void rabbitmq_outstanding_deinit(struct rabbitmq_outstanding *set);
