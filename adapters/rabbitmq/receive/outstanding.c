// Which tags may be acknowledged with one basic.ack, and how many commands the broker makes of it.
//
// A broker's `multiple` acknowledges every tag up to the one that is named. So what is wanted
// becomes one such basic.ack for the run of tags with which everything that came before is
// acknowledged, and single ones for the rest. The broker makes a command of it for each consumer
// of which it acknowledges messages, and few commands are worth more than short ones (proof.c).
//
// The messages of one consumer come together, those of the two queues mixed. Where another consumer
// begins within a run, one more command is counted; a consumer that came again would be counted
// twice, which is safe. What was got by itself (consumer 0) is a command of its own.
//
// Tags rise, so the set is a sorted array: a tag is found by halving. What is acknowledged behind
// an older open tag stays as a hole until the holes in front of it close, or until the array is
// full: then they are squeezed out. So one message that is held for long costs no memory.

#include "adapters/rabbitmq/receive/outstanding.h"

#include "core/base/util.h"

#include <errno.h>

#define ROOM_MIN 64u

enum { OPEN, WANTED, ACKED };

// ---- room

static void squeeze(struct rabbitmq_outstanding *set)
{
	size_t end = 0;

	for (size_t i = set->first; i < set->end; ++i)
		if (set->tags[i].state != ACKED)
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

void rabbitmq_outstanding_want(struct rabbitmq_outstanding *set, const uint64_t *tags, size_t count)
{
	for (size_t i = 0; i < count; ++i) {
		size_t at = position_of(set, tags[i]);

		if (at == set->end || set->tags[at].tag != tags[i] || set->tags[at].state != OPEN)
			continue;
		set->tags[at].state = WANTED;
		set->wanted_from = set->wanted ? MIN(set->wanted_from, tags[i]) : tags[i];
		++set->wanted;
	}
}

static void take(struct rabbitmq_outstanding *set, struct rabbitmq_tag *tag)
{
	tag->state = ACKED;
	--set->open[tag->queue];
	--set->wanted;
}

static void close_front(struct rabbitmq_outstanding *set)
{
	while (set->first < set->end && set->tags[set->first].state == ACKED)
		++set->first;
}

// The end of the run in front.
static size_t run_end(const struct rabbitmq_outstanding *set)
{
	size_t end = set->first;

	while (end < set->end && set->tags[end].state != OPEN)
		++end;
	return end;
}

static void run_ack(struct rabbitmq_outstanding *set, size_t end, rabbitmq_outstanding_fn acked,
		    void *ctx, struct rabbitmq_ack *ret)
{
	uint32_t last[RABBITMQ_QUEUES] = {0};
	size_t count = 0;

	for (size_t i = set->first; i < end; ++i) {
		struct rabbitmq_tag *tag = &set->tags[i];

		if (tag->state == ACKED)
			continue;
		acked(ctx, tag, !tag->consumer || tag->consumer != last[tag->queue]);
		last[tag->queue] = tag->consumer;
		take(set, tag);
		ret->tag = tag->tag;
		++count;
	}
	ret->multiple = count > 1;
	close_front(set);
}

// One behind the run in front.
static void single_ack(struct rabbitmq_outstanding *set, rabbitmq_outstanding_fn acked, void *ctx,
		       struct rabbitmq_ack *ret)
{
	size_t at = position_of(set, set->wanted_from);
	struct rabbitmq_tag *tag;

	while (at < set->end && set->tags[at].state != WANTED)
		++at;
	assert(at < set->end);
	tag = &set->tags[at];
	set->wanted_from = tag->tag;
	acked(ctx, tag, true);
	take(set, tag);
	*ret = (struct rabbitmq_ack){.tag = tag->tag};
}

bool rabbitmq_outstanding_next(struct rabbitmq_outstanding *set, rabbitmq_outstanding_fn acked,
			       void *ctx, struct rabbitmq_ack *ret)
{
	size_t end;

	if (!set->wanted)
		return false;
	end = run_end(set);
	if (end > set->first)
		run_ack(set, end, acked, ctx, ret);
	else
		single_ack(set, acked, ctx, ret);
	return true;
}

void rabbitmq_outstanding_clear(struct rabbitmq_outstanding *set)
{
	set->first = set->end = 0;
	set->last = 0;
	set->wanted = 0;
	memset(set->open, 0, sizeof set->open);
}

void rabbitmq_outstanding_deinit(struct rabbitmq_outstanding *set)
{
	free(set->tags);
	*set = (struct rabbitmq_outstanding){0};
}
