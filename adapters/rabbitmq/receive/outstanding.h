// The delivery tags of one channel that are not acknowledged yet, in the order in which they came.
// Pure but for memory.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define RABBITMQ_QUEUES 2u // of a source: the group's queue, and .retry

struct rabbitmq_tag {
	uint64_t tag;
	uint32_t consumer; // the caller's
	uint8_t queue;
	bool acked;
};

// Zero it before its first use.
struct rabbitmq_outstanding {
	struct rabbitmq_tag *tags; // rising; [first, end)
	size_t first, end, room;
	uint32_t open[RABBITMQ_QUEUES]; // not acknowledged, by queue
	uint64_t last;                  // the last tag that came; 0: none has
};

typedef void (*rabbitmq_outstanding_fn)(void *ctx, uint64_t tag, bool multiple);

// A delivery has come. -ENOMEM; -EINVAL: tags do not rise.
int rabbitmq_outstanding_add(struct rabbitmq_outstanding *set, uint64_t tag, uint8_t queue,
			     uint32_t consumer);
// NULL: it is not open.
const struct rabbitmq_tag *rabbitmq_outstanding_find(const struct rabbitmq_outstanding *set,
						     uint64_t tag);
// Acknowledges these tags with at most `count` commands: one for the run that ends everything
// before it, and one for each of the others. The result has a bit for each queue that they are of.
unsigned rabbitmq_outstanding_ack(struct rabbitmq_outstanding *set, const uint64_t *tags,
				  size_t count, rabbitmq_outstanding_fn send, void *ctx);
void rabbitmq_outstanding_clear(struct rabbitmq_outstanding *set); // a new channel
void rabbitmq_outstanding_deinit(struct rabbitmq_outstanding *set);
