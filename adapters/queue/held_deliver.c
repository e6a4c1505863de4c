// Handing out: the demand is spent here.
//
// What was rejected goes against a demand of its own. Of the rest, what was due goes before what is
// new, each in the order of arrival; a message that was released has kept its place. Invariants:
// nothing is handed out beyond demand, except that the last message may exceed what is left of the
// bytes; nothing whose time to live is over; nothing without a channel, or once the set is closing.
// A record lies in its member's buffer until its delivery is settled.

#include "adapters/queue/held_deliver.h"

#include "adapters/queue/held_due.h"

enum { BATCH_MAX = 64 };

struct batch {
	struct delivery deliveries[BATCH_MAX];
	size_t count;
};

bool held_deliver_wanted(const struct held *held)
{
	return held->demand_messages > 0 && held->demand_bytes > 0;
}

static void flush(struct held *held, struct batch *batch)
{
	size_t count = batch->count;

	batch->count = 0;
	if (count)
		held->ops->deliver(held->ctx, batch->deliveries, count);
}

static void add(struct held *held, struct batch *batch, struct held_item *item,
		enum held_state state)
{
	held_state_set(held, item, state);
	held_state_enlist(held, item, HELD_LIST_OUT);
	item->attempt = item->attempts + 1;
	assert(item->buf && item->attempt > 0);
	batch->deliveries[batch->count++] = (struct delivery){.offset = item->offset,
							      .epoch = held->epoch,
							      .stored_ms = item->stored_ms,
							      .record = item->record,
							      .size = item->size,
							      .partition = item->partition,
							      .attempt = item->attempt,
							      .rejected = state == HELD_COPYING,
							      .buf = item->buf};
	if (batch->count == BATCH_MAX)
		flush(held, batch);
}

static void deliver_rejected(struct held *held, struct batch *batch)
{
	struct held_item *item;

	while (held->demand_rejected && (item = held_state_first(held, HELD_LIST_REJECTED))) {
		--held->demand_rejected;
		add(held, batch, item, HELD_COPYING);
	}
	flush(held, batch);
}

static void deliver_ready(struct held *held, struct batch *batch, enum held_list list)
{
	struct held_item *item;

	while (held_deliver_wanted(held) && (item = held_state_first(held, list))) {
		if (held_due_expire(held, item))
			continue;
		--held->demand_messages;
		held->demand_bytes -= MIN(held->demand_bytes, (uint64_t)item->size);
		add(held, batch, item, HELD_FLIGHT);
	}
	flush(held, batch);
}

void held_deliver_all(struct held *held)
{
	struct batch batch;

	batch.count = 0;
	if (!held->open || held->closing)
		return;
	deliver_rejected(held, &batch);
	deliver_ready(held, &batch, HELD_LIST_DUE);
	deliver_ready(held, &batch, HELD_LIST_NEW);
}
