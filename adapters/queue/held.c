// The held set of one source: its events, and the run in which all actions come out.
//
//   held_arrive.c    what becomes of a delivery that comes, and of two of one message
//   held_due.c       when it may be handed out
//   held_deliver.c   handing out against demand
//   held_settle.c    what a consumer says of it
//   held_write.c     copies: failed attempts, what is due later, renewals
//   held_ack.c       acknowledging, barriers, and what is in limbo after a loss
//   held_consume.c   how much the backend may hand out
//   held_id.c        what is known of ids; held_waiter.c: settles that are not answered yet
//   held_state.c     the members, below all of them
//
// An event changes the set and calls nothing; held_run() then does what follows from it, always in
// the same order: the loss is told, what is due wakes, copies are begun, messages are handed out,
// acknowledgements go, the prefetch is looked at, and settles are answered. So no handler finds the
// set in the middle of a change.
//
// Invariants: a member has one state and is in one list; of a message, at most one is not ACKING;
// what the backend counts as ours is a member with a tag. Connections, threads and the message
// format of a backend are none of this.

#include "adapters/queue/held.h"

#include "adapters/queue/held_ack.h"
#include "adapters/queue/held_arrive.h"
#include "adapters/queue/held_consume.h"
#include "adapters/queue/held_deliver.h"
#include "adapters/queue/held_due.h"
#include "adapters/queue/held_id.h"
#include "adapters/queue/held_settle.h"
#include "adapters/queue/held_waiter.h"
#include "adapters/queue/held_write.h"

#include <errno.h>

// ---- making and freeing

static void offsets_reset(struct held *held)
{
	for (uint32_t i = 0; i < held->partitions; ++i)
		held->next_offsets[i] = 1;
}

static int prepare(struct held *held)
{
	held->next_offsets = calloc(held->partitions, sizeof *held->next_offsets);
	held->stay_positions.key = held->stay_writes.key = UINT64_MAX;
	if (!held->next_offsets || held_id_init(held) < 0 ||
	    map_put(&held->positions, &held->stay_positions) < 0 ||
	    map_put(&held->writes, &held->stay_writes) < 0)
		return -ENOMEM;
	offsets_reset(held);
	return 0;
}

int held_new(const struct held_limits *limits, uint32_t partitions, const struct held_ops *ops,
	     void *ctx, struct held **ret)
{
	struct held *held = calloc(1, sizeof *held);

	if (!held)
		return -ENOMEM;
	held->limits = limits;
	held->ops = ops;
	held->ctx = ctx;
	held->partitions = partitions;
	held->answered_end = &held->answered;
	list_init(&held->age);
	for (size_t i = 0; i < HELD_LIST_COUNT; ++i)
		list_init(&held->lists[i]);
	list_init(&held->ids.ended);
	held_consume_init(held);
	if (prepare(held) < 0) {
		held_free(held);
		return -ENOMEM;
	}
	*ret = held;
	return 0;
}

static void drop_list(struct held *held, enum held_list list, enum code code)
{
	struct held_item *item;

	while ((item = held_state_first(held, list)))
		held_ack_drop(held, item, code);
}

void held_free(struct held *held)
{
	if (!held)
		return;
	for (size_t i = 0; i < HELD_LIST_COUNT; ++i)
		drop_list(held, (enum held_list)i, CODE_CONNECTION_LOST);
	held_waiter_discard(held);
	held_id_deinit(held);
	map_deinit(&held->positions);
	map_deinit(&held->writes);
	free(held->next_offsets);
	free(held);
}

// ---- the channel

void held_opened(struct held *held, uint64_t epoch, struct held_time time)
{
	assert(!held->open && epoch > held->epoch);
	held->time = time;
	held->open = true;
	held->epoch = epoch;
}

static bool is_current(const struct held *held, uint64_t epoch)
{
	return held->open && held->epoch == epoch;
}

void held_arrived(struct held *held, const struct queue_arrival *arrival, struct held_time time)
{
	held->time = time;
	if (is_current(held, arrival->epoch) && !held->closing && !held->broken)
		held_arrive(held, arrival);
}

void held_passed(struct held *held, uint64_t epoch)
{
	if (is_current(held, epoch))
		held_ack_passed(held);
}

void held_cancelled(struct held *held, uint64_t epoch)
{
	if (is_current(held, epoch))
		held_consume_cancelled(held);
}

void held_written(struct held *held, uint64_t number, enum queue_outcome outcome,
		  struct held_time time)
{
	held->time = time;
	held_write_answered(held, number, outcome);
}

void held_lost(struct held *held)
{
	assert(held->open);
	held->open = held->broken = held->reopen_told = false;
	held->tell_lost = !held->closing;
	for (enum held_list list = HELD_LIST_DUE; list <= HELD_LIST_AGAIN; ++list)
		drop_list(held, list, CODE_CONNECTION_LOST);
	held_write_lost(held);
	held_ack_lost(held);
	held_consume_lost(held);
	offsets_reset(held);
}

void held_crowd(struct held *held, bool crowded)
{
	held->use.crowded = crowded;
}

// ---- demand and settles

void held_demand(struct held *held, uint32_t messages, uint64_t bytes, uint32_t rejected,
		 struct held_time time)
{
	held->time = time;
	held->demand_messages = messages;
	held->demand_bytes = bytes;
	held->demand_rejected = rejected;
	held_consume_note_demand(held);
}

int held_settle(struct held *held, struct settle *settles, size_t count, held_done_fn done,
		void *done_ctx, struct held_time time)
{
	struct held_waiter *waiter = done ? held_waiter_new(done, done_ctx) : NULL;

	held->time = time;
	for (size_t i = 0; i < count; ++i)
		held_settle_entry(held, &settles[i], waiter);
	held_waiter_leave(held, waiter);
	return done && !waiter ? -ENOMEM : 0;
}

// What a renewal is on its way of is dropped with its answer: then its original is acknowledged.
static void give_up(struct held *held, enum held_list list)
{
	LIST_FOREACH(pos, next, &held->lists[list])
	{
		struct held_item *item = LIST_ENTRY(pos, struct held_item, in_list);

		if (!item->renewing)
			held_ack_drop(held, item, CODE_OK);
	}
}

void held_close(struct held *held)
{
	held->closing = true;
	held->tell_lost = false;
	for (enum held_list list = HELD_LIST_DUE; list <= HELD_LIST_OUT; ++list)
		give_up(held, list);
	held_write_close(held);
}

// ---- the run

static bool has_ended(const struct held *held)
{
	return held->closing && !held->writes_open &&
	       list_empty(&held->lists[HELD_LIST_TO_WRITE]) &&
	       list_empty(&held->lists[HELD_LIST_ACKS]) && list_empty(&held->lists[HELD_LIST_SENT]);
}

static void tell_state(struct held *held)
{
	if (held->tell_lost) {
		held->tell_lost = false;
		held->ops->lost(held->ctx);
	}
	if (held->broken && !held->reopen_told && !held->closing) {
		held->reopen_told = true;
		held->ops->reopen(held->ctx);
	}
}

void held_run(struct held *held, struct held_time time)
{
	bool ended;

	if (held->closed)
		return;
	held->time = time;
	tell_state(held);
	held_due_wake(held);
	held_write_run(held);
	held_deliver_all(held);
	held_consume_note_demand(held);
	held_ack_send(held);
	held_consume_run(held);
	ended = has_ended(held);
	if (ended)
		drop_list(held, HELD_LIST_LIMBO, CODE_CONNECTION_LOST);
	held_waiter_tell(held);
	if (!ended)
		return;
	held->closed = true;
	held->ops->closed(held->ctx);
}

uint64_t held_next_ms(const struct held *held, struct held_time time)
{
	uint64_t next_ms;

	if (held->closed)
		return UINT64_MAX;
	next_ms = MIN(held_due_next_ms(held), held_write_next_ms(held));
	next_ms = MIN(next_ms, held_consume_next_ms(held));
	return MAX(next_ms, time.steady_ms);
}

// ---- what there is

static uint64_t with_attempts(const struct held *held, enum held_list list)
{
	uint64_t count = 0;

	LIST_FOREACH(pos, next, &held->lists[list])
	{
		count += LIST_ENTRY(pos, struct held_item, in_list)->attempts > 0;
	}
	return count;
}

struct held_backlog held_backlog(const struct held *held)
{
	uint64_t waiting = held->counts[HELD_WAITING] + held->counts[HELD_WRITING];
	struct held_backlog backlog = {.ready = held->counts[HELD_READY],
				       .in_flight = held->counts[HELD_FLIGHT] +
						    held->counts[HELD_REJECTED] +
						    held->counts[HELD_COPYING],
				       .twice = held->awaited,
				       .acked = held->acked,
				       .dead = held->dead,
				       .expired = held->expired};

	for (enum held_list list = HELD_LIST_TO_WRITE; list <= HELD_LIST_WRITING; ++list)
		backlog.retrying += with_attempts(held, list);
	backlog.retrying +=
		held->counts[HELD_WAITING] ? with_attempts(held, HELD_LIST_WAIT_STEADY) : 0;
	backlog.delayed = waiting - backlog.retrying;
	return backlog;
}

uint64_t held_bytes(const struct held *held)
{
	return held->bytes;
}
