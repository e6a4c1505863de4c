// Writing copies, and acknowledging the original when its copy is confirmed: so a message may be
// twice but never nowhere.
//
// Three kinds. A *failed attempt* is written with one attempt more and its due time. What is *due
// later* than HELD_NEAR_MS is written as it is. A *renewal* is a copy of what has been held for so
// long that the backend might close the channel: the original is acknowledged, the member stays as
// it is without a tag, and takes the tag of the copy when that arrives (held_arrive.c).
//
// A write that is refused, or ends in doubt, is tried again after HELD_AGAIN_MS, a renewal later.
// Writes go another way than deliveries: one that is on its way when the channel is lost still
// ends. A failed attempt then keeps its member, without a record, so that its original, which comes
// again, is not handed out in between (held_arrive.c).
//
// Invariants: an original is acknowledged by its copy's confirmation only if it is the one that was
// copied: meanwhile its tag may have become that of the copy itself. A member has one write on its
// way; what ends or fails while a renewal is on its way waits for its answer.

#include "adapters/queue/held_write.h"

#include "adapters/queue/held_ack.h"
#include "adapters/queue/held_due.h"

// Else the copy says no more than its original, and the two cannot be told apart.
static bool is_failed_attempt(const struct held_item *item)
{
	return item->attempts > item->tag_attempts;
}

// ---- beginning

static void begin(struct held *held, struct held_item *item, bool renewal)
{
	struct queue_copy copy;

	assert(item->buf);
	held_state_write_set(held, item, renewal);
	copy = (struct queue_copy){.number = item->write,
				   .buf = item->buf,
				   .record = item->record,
				   .size = item->size,
				   .partition = item->partition,
				   .attempts = item->write_attempts,
				   .due_ms = renewal ? 0 : item->due_ms,
				   .stored_ms = item->stored_ms,
				   .renewal = renewal};
	if (!held->ops->write(held->ctx, &copy))
		held_write_answered(held, copy.number, QUEUE_REFUSED);
}

// As if it had come just now.
static void place_again(struct held *held, struct held_item *item)
{
	held_due_place(held, item);
	held_state_age(held, item, false);
}

// What is due later may have come near while it was refused.
static void begin_next(struct held *held, struct held_item *item)
{
	if (!is_failed_attempt(item))
		place_again(held, item);
	if (item->state != HELD_WRITING)
		return;
	held_state_enlist(held, item, HELD_LIST_WRITING);
	begin(held, item, false);
}

// It is not urgent, and one in doubt may leave a copy behind each time.
static void renew_later(struct held *held)
{
	held->renew_again_ms = held->time.steady_ms + held->limits->renew_ms / 16;
}

static bool renew_first(struct held *held)
{
	struct held_item *item;

	if (list_empty(&held->age) || held->time.steady_ms < held->renew_again_ms)
		return false;
	item = LIST_ENTRY(held->age.next, struct held_item, in_age);
	if (held->time.steady_ms < item->since_ms + held->limits->renew_ms)
		return false;
	if (item->state == HELD_WAITING) {
		list_unlink(&item->in_age); // due soon: looked at again then
		return true;
	}
	item->spare = held_state_item_new(held);
	if (!item->spare) {
		renew_later(held);
		return false;
	}
	list_unlink(&item->in_age);
	begin(held, item, true);
	return true;
}

void held_write_run(struct held *held)
{
	struct held_item *item;

	while ((item = held_state_first(held, HELD_LIST_AGAIN)) &&
	       item->again_ms <= held->time.steady_ms)
		held_state_enlist(held, item, HELD_LIST_TO_WRITE);
	while ((item = held_state_first(held, HELD_LIST_TO_WRITE)))
		begin_next(held, item);
	while (held->limits->renew_ms && !held->closing && renew_first(held))
		;
}

uint64_t held_write_next_ms(const struct held *held)
{
	const struct held_item *again = held_state_first(held, HELD_LIST_AGAIN), *oldest;
	uint64_t next_ms = again ? again->again_ms : UINT64_MAX;

	if (!held->limits->renew_ms || held->closing || list_empty(&held->age))
		return next_ms;
	oldest = LIST_ENTRY(held->age.next, struct held_item, in_age);
	return MIN(next_ms, MAX(oldest->since_ms + held->limits->renew_ms, held->renew_again_ms));
}

// ---- answers

static void copy_written(struct held *held, struct held_item *item)
{
	if (is_failed_attempt(item))
		held_ack_end(held, item, item->attempts);
	else if (item->tag == item->write_tag)
		held_ack_end(held, item, 0);
	else if (held->closing)
		held_ack_drop(held, item, CODE_OK);
	else
		place_again(held, item); // what would be acknowledged may be the very copy
}

static void copy_failed(struct held *held, struct held_item *item)
{
	if (item->lost || held->closing) {
		held_ack_drop(held, item, CODE_CONNECTION_LOST);
		return;
	}
	item->again_ms = held->time.steady_ms + HELD_AGAIN_MS;
	held_state_enlist(held, item, HELD_LIST_AGAIN);
}

// What the member was to do next waited for the answer.
static void after_renewal(struct held *held, struct held_item *item)
{
	if (item->state == HELD_ACKING)
		held_ack_route(held, item);
	else if (item->state == HELD_WRITING)
		held_state_enlist(held, item, HELD_LIST_TO_WRITE);
	else if (held->closing)
		held_ack_drop(held, item, CODE_OK);
}

static void renewal_answered(struct held *held, struct held_item *item, bool written)
{
	struct held_item *spare = item->spare;

	item->spare = NULL;
	if (written && item->tag && item->tag == item->write_tag) {
		held_state_tag_swap(item, spare);
		held_state_await(held, item, true);
		item->tag_attempts = item->write_attempts;
		item->anonymous = false; // the copy has the id that is known here
		held_ack_lesser(held, spare);
	} else {
		held_state_item_free(held, spare);
		if (!written)
			renew_later(held);
		held_state_age(held, item, !written);
	}
	after_renewal(held, item);
}

void held_write_answered(struct held *held, uint64_t number, enum queue_outcome outcome)
{
	struct held_item *item = held_state_writing(held, number);
	bool written = outcome == QUEUE_WRITTEN, renewal;

	assert(held->writes_open > 0);
	--held->writes_open;
	if (!item)
		return;
	renewal = item->renewing;
	held_state_write_drop(held, item);
	if (renewal)
		renewal_answered(held, item, written);
	else if (written)
		copy_written(held, item);
	else
		copy_failed(held, item);
}

// ---- ends

static void lose_writing(struct held *held, struct held_item *item)
{
	if (!item->write || item->renewing || item->anonymous || !is_failed_attempt(item)) {
		held_ack_drop(held, item, CODE_CONNECTION_LOST);
		return;
	}
	item->lost = true;
	held_state_tag_take(held, item);
	held_state_await(held, item, false);
	held_state_record_drop(held, item);
}

void held_write_lost(struct held *held)
{
	LIST_FOREACH(pos, next, &held->lists[HELD_LIST_WRITING])
	{
		lose_writing(held, LIST_ENTRY(pos, struct held_item, in_list));
	}
}

// An attempt that has failed is written once; what can wait comes again from the backend.
void held_write_close(struct held *held)
{
	struct held_item *item;

	while ((item = held_state_first(held, HELD_LIST_AGAIN)))
		held_ack_drop(held, item, CODE_CONNECTION_LOST);
	LIST_FOREACH(pos, next, &held->lists[HELD_LIST_TO_WRITE])
	{
		item = LIST_ENTRY(pos, struct held_item, in_list);
		if (!is_failed_attempt(item))
			held_ack_drop(held, item, CODE_OK);
	}
}
