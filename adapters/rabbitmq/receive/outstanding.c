// Which tags may be acknowledged with one command.
//
// A broker's `multiple` acknowledges every tag up to the one that is named. So a batch becomes one
// such command for the run of tags with which everything that came before is acknowledged, and
// single ones for the rest. A channel of RabbitMQ holds back all but 32 commands of a quorum queue,
// so few commands are worth more than short ones.
//
// Tags rise, so the set is a sorted array: a tag is found by halving. What is acknowledged behind
// an older open tag stays as a hole until the holes in front of it close, or until the array is
// full: then they are squeezed out. So one message that is held for long costs no memory.

#include "adapters/rabbitmq/receive/outstanding.h"

#include "core/base/util.h"

#include <errno.h>

#define ROOM_MIN 64u

// ---- room

static void squeeze(struct rabbitmq_outstanding *set)
{
	size_t end = 0;

	for (size_t i = set->first; i < set->end; ++i)
		if (!set->tags[i].acked)
			set->tags[end++] = set->tags[i];
	set->first = 0;
	set->end = end;
}

static int make_room(struct rabbitmq_outstanding *set)
{
	struct rabbitmq_tag *tags;
	size_t room = MAX(2 * set->room, ROOM_MIN);

	if (set->end < set->room)
		return 0;
	squeeze(set);
	if (set->end <= set->room / 2 && set->room)
		return 0;
	tags = realloc(set->tags, room * sizeof *tags);
	if (!tags)
		return set->end < set->room ? 0 : -ENOMEM;
	set->tags = tags;
	set->room = room;
	return 0;
}

int rabbitmq_outstanding_add(struct rabbitmq_outstanding *set, uint64_t tag, uint8_t queue,
			     uint32_t consumer)
{
	assert(queue < RABBITMQ_QUEUES);
	if (tag <= set->last)
		return -EINVAL;
	if (make_room(set) < 0)
		return -ENOMEM;
	set->tags[set->end++] =
		(struct rabbitmq_tag){.tag = tag, .consumer = consumer, .queue = queue};
	++set->open[queue];
	set->last = tag;
	return 0;
}

// ---- acknowledging

// The first that is not below this tag.
static size_t position_of(const struct rabbitmq_outstanding *set, uint64_t tag)
{
	size_t low = set->first, high = set->end;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (set->tags[middle].tag < tag)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

const struct rabbitmq_tag *rabbitmq_outstanding_find(const struct rabbitmq_outstanding *set,
						     uint64_t tag)
{
	size_t i = position_of(set, tag);

	return i == set->end || set->tags[i].tag != tag || set->tags[i].acked ? NULL
									      : &set->tags[i];
}

// False: it is not open.
static bool mark(struct rabbitmq_outstanding *set, uint64_t tag, unsigned *ret_queues)
{
	const struct rabbitmq_tag *found = rabbitmq_outstanding_find(set, tag);

	if (!found)
		return false;
	set->tags[found - set->tags].acked = true;
	--set->open[found->queue];
	*ret_queues |= 1u << found->queue;
	return true;
}

// The last tag of the run in front that is acknowledged without a hole; 0: there is none.
static uint64_t close_front(struct rabbitmq_outstanding *set)
{
	uint64_t last = 0;

	while (set->first < set->end && set->tags[set->first].acked)
		last = set->tags[set->first++].tag;
	return last;
}

unsigned rabbitmq_outstanding_ack(struct rabbitmq_outstanding *set, const uint64_t *tags,
				  size_t count, rabbitmq_outstanding_fn send, void *ctx)
{
	uint64_t front, newest = 0; // newest: of the batch, within the run in front
	size_t within = 0;
	unsigned queues = 0;
	bool known[64];

	assert(count <= ARRAY_SIZE(known));
	for (size_t i = 0; i < count; ++i)
		known[i] = mark(set, tags[i], &queues);
	front = close_front(set);
	for (size_t i = 0; i < count; ++i) {
		if (!known[i] || tags[i] > front)
			continue;
		newest = MAX(newest, tags[i]);
		++within;
	}
	if (within)
		send(ctx, newest, within > 1);
	for (size_t i = 0; i < count; ++i)
		if (known[i] && tags[i] > front)
			send(ctx, tags[i], false);
	return queues;
}

void rabbitmq_outstanding_clear(struct rabbitmq_outstanding *set)
{
	set->first = set->end = 0;
	set->last = 0;
	memset(set->open, 0, sizeof set->open);
}

void rabbitmq_outstanding_deinit(struct rabbitmq_outstanding *set)
{
	free(set->tags);
	*set = (struct rabbitmq_outstanding){0};
}
