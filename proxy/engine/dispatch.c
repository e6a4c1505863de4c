// Hands deliveries to consumers: credits in, demand to the source, fair shares, pending deliveries.
//
// Invariants: a consumer is in `ready` exactly when it could take a message; offer_* are the sums
// over these; what the source may deliver (asked) plus what is pending never exceeds the offers.
// Dead letters have a demand of their own, which no consumer's credit pays for. Deliveries are
// handed out in the order they came.

#include "proxy/engine/dispatch.h"

#include "proxy/engine/dispatch_deadlines.h"
#include "proxy/engine/dispatch_held.h"
#include "proxy/engine/dispatch_settle.h"
#include "proxy/engine/dispatch_state.h"

#include <errno.h>

#define OFFER_BYTES_MAX    (1ull << 40) // keeps sums of hostile credits small
#define OFFER_MESSAGES_MAX (1ull << 30)
#define COPIES_MAX         16 // dead-letter copies at once
#define DRAIN_WAIT_NS      S_NS
#define DRAIN_LOOK_NS      (5 * MS_NS)

int dispatch_new(const struct dispatch_policy *policy, const struct dispatch_ops *ops, void *ctx,
		 struct dispatch **ret)
{
	struct dispatch *dispatch = calloc(1, sizeof *dispatch);

	if (!dispatch)
		return -ENOMEM;
	dispatch->ops = ops;
	dispatch->ctx = ctx;
	dispatch->slot_next = UINT64_MAX;
	list_init(&dispatch->consumers);
	list_init(&dispatch->ready);
	dispatch_set_policy(dispatch, policy);
	*ret = dispatch;
	return 0;
}

void dispatch_free(struct dispatch *dispatch)
{
	if (!dispatch)
		return;
	assert(list_empty(&dispatch->consumers));
	dispatch_reset(dispatch);
	free(dispatch->partitions);
	free(dispatch->pending);
	free(dispatch);
}

void dispatch_set_policy(struct dispatch *dispatch, const struct dispatch_policy *policy)
{
	assert(policy->marks_by_id == dispatch->policy.marks_by_id || !dispatch->suspects);
	dispatch->policy = *policy;
	dispatch->slot_ns = MAX(policy->visibility_ns / 100, 10 * MS_NS);
	dispatch_deadlines_rebuild(dispatch, dispatch->slot_now * dispatch->slot_ns);
	LIST_FOREACH(pos, next, &dispatch->consumers)
	dispatch_consumer_changed(dispatch, LIST_ENTRY(pos, struct dispatch_consumer, all));
}

const struct dispatch_counters *dispatch_counters(const struct dispatch *dispatch)
{
	return &dispatch->counters;
}

uint32_t dispatch_in_flight(const struct dispatch *dispatch)
{
	return dispatch->owned;
}

uint64_t dispatch_pending_bytes(const struct dispatch *dispatch)
{
	return dispatch->pending_bytes;
}

// ---- consumers and their offers

static uint64_t credit_left(uint64_t credit, uint64_t given)
{
	return credit > given ? credit - given : 0;
}

// In failover mode only the oldest consumer is served; the others wait for it to leave.
static bool is_served(const struct dispatch *dispatch, const struct dispatch_consumer *consumer)
{
	return dispatch->policy.mode != GROUP_FAILOVER ||
	       dispatch->consumers.next == &consumer->all;
}

void dispatch_consumer_changed(struct dispatch *dispatch, struct dispatch_consumer *consumer)
{
	uint64_t messages = credit_left(consumer->credit_messages, consumer->given_messages);
	uint64_t bytes = credit_left(consumer->credit_bytes, consumer->given_bytes);
	bool ready = messages && bytes && !consumer->blocked && !consumer->alone &&
		     !consumer->silent && is_served(dispatch, consumer);

	dispatch->offer_messages -= consumer->offer_messages;
	dispatch->offer_bytes -= consumer->offer_bytes;
	consumer->offer_messages = ready ? MIN(messages, OFFER_MESSAGES_MAX) : 0;
	consumer->offer_bytes = ready ? MIN(bytes, OFFER_BYTES_MAX) : 0;
	dispatch->offer_messages += consumer->offer_messages;
	dispatch->offer_bytes += consumer->offer_bytes;
	if (ready && list_empty(&consumer->ready)) {
		list_push_back(&dispatch->ready, &consumer->ready);
		++dispatch->ready_count;
	} else if (!ready && !list_empty(&consumer->ready)) {
		list_unlink(&consumer->ready);
		--dispatch->ready_count;
	}
}

int dispatch_join(struct dispatch *dispatch, struct dispatch_consumer *consumer, bool tells_begun,
		  uint64_t now_ns)
{
	if (dispatch->policy.mode == GROUP_EXCLUSIVE && !list_empty(&dispatch->consumers))
		return DISPATCH_E_IN_USE;
	*consumer =
		(struct dispatch_consumer){.tells_begun = tells_begun, .last_active_ns = now_ns};
	list_init(&consumer->ready);
	list_push_back(&dispatch->consumers, &consumer->all);
	return 0;
}

// ---- demand

static void update_demand(struct dispatch *dispatch)
{
	uint64_t messages = 0, bytes = 0, busy, rejected;

	if (!dispatch->paused && dispatch->charge_again_ns == 0) {
		messages = credit_left(dispatch->offer_messages, dispatch->pending_count);
		bytes = credit_left(dispatch->offer_bytes, dispatch->pending_bytes);
		busy = dispatch->owned + dispatch->pending_count;
		messages = MIN(messages, credit_left(dispatch->policy.in_flight_max, busy));
	}
	messages = bytes ? MIN(messages, UINT32_MAX) : 0;
	if (messages == 0)
		bytes = 0;
	rejected = MIN(dispatch->dead_letters_pending,
		       credit_left(COPIES_MAX, dispatch->dead_letters_copying));
	if (messages == dispatch->asked_messages && bytes == dispatch->asked_bytes &&
	    rejected == dispatch->asked_rejected)
		return;
	dispatch->asked_messages = messages;
	dispatch->asked_bytes = bytes;
	dispatch->asked_rejected = rejected;
	dispatch->ops->demand(dispatch->ctx, (uint32_t)messages, bytes, (uint32_t)rejected);
}

// ---- handing out

static int partition_reserve(struct dispatch *dispatch, uint32_t partition)
{
	uint32_t count = dispatch->partition_count;
	struct dispatch_partition *grown;

	if (partition < count)
		return 0;
	grown = realloc(dispatch->partitions, (partition + 1) * sizeof *grown);
	if (!grown)
		return -ENOMEM;
	for (uint32_t i = count; i <= partition; ++i)
		grown[i] = (struct dispatch_partition){.released_from = UINT64_MAX};
	dispatch->partitions = grown;
	dispatch->partition_count = partition + 1;
	return 0;
}

// How many of the deliveries its bytes allow. A message larger than what is left goes to a consumer
// that holds nothing, so that no message is too large for ever.
static size_t count_fitting(const struct dispatch_consumer *consumer,
			    const struct delivery *deliveries, size_t count)
{
	uint64_t bytes = credit_left(consumer->credit_bytes, consumer->given_bytes);
	size_t n = 0;

	if (bytes && count && consumer->in_flight == 0 && deliveries[0].size > bytes)
		return 1;
	for (; n < count && deliveries[n].size <= bytes && bytes; ++n)
		bytes -= deliveries[n].size;
	return n;
}

static bool is_suspect(const struct dispatch *dispatch, const struct delivery *delivery)
{
	const struct flight *flight;

	if (dispatch->policy.marks_by_id)
		return suspects_have(&dispatch->suspect_ids, record_id(delivery->record));
	flight = flight_map_find(&dispatch->partitions[delivery->partition].flights,
				 delivery->offset);
	return flight && flight->suspect;
}

void dispatch_name(struct dispatch *dispatch, struct flight *flight,
		   const struct delivery *delivery)
{
	memcpy(flight->id, record_id(delivery->record), sizeof flight->id);
	flight->suspect = suspects_have(&dispatch->suspect_ids, flight->id);
	if (flight->suspect) // in use: the youngest mark
		(void)suspects_add(&dispatch->suspect_ids, flight->id);
}

static uint32_t flags_of(const struct dispatch *dispatch, const struct delivery *delivery)
{
	if (!is_suspect(dispatch, delivery))
		return 0;
	return DISPATCH_FLAG_SUSPECT |
	       (dispatch_is_last(dispatch, delivery->attempt) ? DISPATCH_FLAG_LAST : 0);
}

// How many of the first deliveries may go to the consumer in one piece: all with the same flags. A
// suspect goes to a consumer that does not tell what it begins only when that holds nothing, and
// alone.
static size_t same_flags(const struct dispatch *dispatch, const struct dispatch_consumer *consumer,
			 const struct delivery *deliveries, size_t count, uint32_t *ret_flags)
{
	size_t n = 1;

	*ret_flags = 0;
	if (count == 0 || dispatch->suspects == 0)
		return count;
	*ret_flags = flags_of(dispatch, deliveries);
	if (*ret_flags && !consumer->tells_begun)
		return consumer->in_flight == 0;
	while (n < count && flags_of(dispatch, &deliveries[n]) == *ret_flags)
		++n;
	return n;
}

// Room for the flights of the first deliveries, as many as are of one partition. 0: no memory.
static size_t flights_reserve(struct dispatch *dispatch, const struct delivery *deliveries,
			      size_t count)
{
	size_t n = 1;

	while (n < count && deliveries[n].partition == deliveries->partition)
		++n;
	return flight_map_reserve(&dispatch->partitions[deliveries->partition].flights, n) < 0 ? 0
											       : n;
}

// The deliveries become the consumer's. Fewer than count: out of memory for the rest.
static size_t own_deliveries(struct dispatch *dispatch, struct dispatch_consumer *consumer,
			     const struct delivery *deliveries, size_t count, uint64_t now_ns)
{
	uint64_t deadline_ns = now_ns + dispatch->policy.visibility_ns;
	uint8_t slot = dispatch_deadlines_slot_of(dispatch, deadline_ns, now_ns);
	size_t reserved = 0;

	for (size_t i = 0; i < count; ++i) {
		const struct delivery *delivery = &deliveries[i];
		struct dispatch_partition *partition = &dispatch->partitions[delivery->partition];
		struct flight *flight;

		if (i == reserved)
			reserved += flights_reserve(dispatch, delivery, count - i);
		if (i == reserved)
			return i;
		flight = flight_map_put(&partition->flights, delivery->offset);
		if (flight->state == FLIGHT_OWNED)
			dispatch_disown(dispatch, flight); // the source took it back by itself
		flight->state = FLIGHT_OWNED;
		if (dispatch->policy.marks_by_id)
			dispatch_name(dispatch, flight, delivery);
		flight->epoch = delivery->epoch;
		flight->consumer = consumer;
		flight->attempt = delivery->attempt;
		flight->number = consumer->given_messages + i + 1;
		flight->timed = !consumer->tells_begun;
		flight->deadline_ns = deadline_ns;
		flight->slot = slot;
		++dispatch->slots[slot];
		dispatch_held_add(dispatch, consumer, delivery, flight->number);
		consumer->given_bytes += delivery->size;
		dispatch->counters.delivered_bytes += delivery->size;
		dispatch->counters.redelivered += delivery->attempt > 1 || flight->suspect;
	}
	return count;
}

// At most `share` of them for the consumer whose turn it is. 0: no consumer can take the first now.
static size_t hand_share(struct dispatch *dispatch, const struct delivery *deliveries, size_t share,
			 uint64_t now_ns)
{
	while (share && !list_empty(&dispatch->ready)) {
		struct dispatch_consumer *consumer =
			LIST_ENTRY(dispatch->ready.next, struct dispatch_consumer, ready);
		size_t n, passed;
		uint64_t retry_ns = 0;
		uint32_t flags;

		n = count_fitting(consumer, deliveries,
				  MIN(share, credit_left(consumer->credit_messages,
							 consumer->given_messages)));
		n = same_flags(dispatch, consumer, deliveries, n, &flags);
		if (n == 0) {
			consumer->blocked = true;
			dispatch_consumer_changed(dispatch, consumer);
			continue;
		}
		passed = dispatch->ops->charge(dispatch->ctx, deliveries, n, now_ns, &retry_ns);
		if (passed < n)
			dispatch->charge_again_ns = MAX(retry_ns, now_ns + 1);
		n = passed ? own_deliveries(dispatch, consumer, deliveries, passed, now_ns) : 0;
		if (n == 0)
			return 0;
		consumer->given_messages += n;
		consumer->in_flight += (uint32_t)n;
		consumer->alone = flags && !consumer->tells_begun;
		dispatch->owned += (uint32_t)n;
		dispatch->counters.delivered_messages += n;
		list_unlink(&consumer->ready);
		list_push_back(&dispatch->ready, &consumer->ready);
		dispatch_consumer_changed(dispatch, consumer);
		dispatch->ops->deliver(dispatch->ctx, consumer, deliveries, n, flags);
		return n;
	}
	return 0;
}

static size_t hand_out(struct dispatch *dispatch, const struct delivery *deliveries, size_t count,
		       uint64_t now_ns)
{
	size_t done = 0, share;

	if (dispatch->paused || dispatch->ready_count == 0)
		return 0;
	share = (count + dispatch->ready_count - 1) / dispatch->ready_count;
	while (done < count && dispatch->charge_again_ns == 0) {
		// The limit may have been lowered since they were demanded.
		size_t room = credit_left(dispatch->policy.in_flight_max, dispatch->owned);
		size_t n = hand_share(dispatch, deliveries + done,
				      MIN(MIN(share, count - done), room), now_ns);

		if (n == 0)
			break;
		done += n;
	}
	return done;
}

static int pending_reserve(struct dispatch *dispatch, size_t more)
{
	size_t room = MAX(dispatch->pending_room, 16);
	struct delivery *grown;

	while (dispatch->pending_count + more > room)
		room *= 2;
	if (room == dispatch->pending_room)
		return 0;
	grown = malloc(room * sizeof *grown);
	if (!grown)
		return -ENOMEM;
	for (size_t i = 0; i < dispatch->pending_count; ++i)
		grown[i] = dispatch->pending[(dispatch->pending_head + i) &
					     (dispatch->pending_room - 1)];
	free(dispatch->pending);
	dispatch->pending = grown;
	dispatch->pending_head = 0;
	dispatch->pending_room = room;
	return 0;
}

static void pending_add(struct dispatch *dispatch, const struct delivery *delivery)
{
	size_t at =
		(dispatch->pending_head + dispatch->pending_count) & (dispatch->pending_room - 1);

	assert(dispatch->pending_count < dispatch->pending_room);
	dispatch->pending[at] = *delivery;
	buf_ref(delivery->buf);
	++dispatch->pending_count;
	dispatch->pending_bytes += delivery->size;
}

static void pending_drop(struct dispatch *dispatch, size_t count)
{
	for (; count; --count) {
		struct delivery *delivery = &dispatch->pending[dispatch->pending_head];

		dispatch->pending_bytes -= delivery->size;
		buf_unref(delivery->buf);
		dispatch->pending_head =
			(dispatch->pending_head + 1) & (dispatch->pending_room - 1);
		--dispatch->pending_count;
	}
}

static void hand_pending(struct dispatch *dispatch, uint64_t now_ns)
{
	while (dispatch->pending_count) {
		size_t straight = MIN(dispatch->pending_count,
				      dispatch->pending_room - dispatch->pending_head);
		size_t n = hand_out(dispatch, dispatch->pending + dispatch->pending_head, straight,
				    now_ns);

		pending_drop(dispatch, n);
		if (n < straight)
			return;
	}
}

// ---- drain: what is ready goes first, then the credit

static bool drain_is_over(const struct dispatch *dispatch, const struct dispatch_consumer *consumer,
			  uint64_t now_ns)
{
	if (list_empty(&consumer->ready) || dispatch->paused || dispatch->charge_again_ns ||
	    dispatch->owned >= dispatch->policy.in_flight_max || now_ns >= consumer->drain_until_ns)
		return true;
	return dispatch->pending_count == 0 && dispatch->ops->ready(dispatch->ctx) == 0;
}

static void answer_drains(struct dispatch *dispatch, uint64_t now_ns)
{
	dispatch->drain_look_ns = now_ns + DRAIN_LOOK_NS;
	LIST_FOREACH(pos, next, &dispatch->consumers)
	{
		struct dispatch_consumer *consumer = LIST_ENTRY(pos, struct dispatch_consumer, all);

		if (consumer->drain == consumer->drained ||
		    !drain_is_over(dispatch, consumer, now_ns))
			continue;
		consumer->drained = consumer->drain;
		consumer->credit_messages = consumer->given_messages;
		consumer->credit_bytes = consumer->given_bytes;
		consumer->blocked = false;
		--dispatch->draining;
		dispatch_consumer_changed(dispatch, consumer);
		dispatch->ops->drained(dispatch->ctx, consumer, consumer->drained);
	}
}

void dispatch_run(struct dispatch *dispatch, uint64_t now_ns)
{
	if (dispatch->any_released)
		dispatch_give_back_above(dispatch);
	hand_pending(dispatch, now_ns);
	update_demand(dispatch);
	if (dispatch->draining) {
		answer_drains(dispatch, now_ns);
		update_demand(dispatch);
	}
}

// ---- events

void dispatch_credit(struct dispatch *dispatch, struct dispatch_consumer *consumer,
		     uint64_t messages, uint64_t bytes, uint64_t drain, uint64_t now_ns)
{
	consumer->credit_messages = MAX(consumer->credit_messages, messages);
	consumer->credit_bytes = MAX(consumer->credit_bytes, bytes);
	consumer->blocked = false;
	if (drain > consumer->drain) {
		if (consumer->drain == consumer->drained)
			++dispatch->draining;
		consumer->drain = drain;
		consumer->drain_until_ns = now_ns + DRAIN_WAIT_NS;
	}
	dispatch_consumer_changed(dispatch, consumer);
	dispatch_run(dispatch, now_ns);
}

void dispatch_stop(struct dispatch *dispatch, struct dispatch_consumer *consumer, uint64_t now_ns)
{
	consumer->credit_messages = consumer->given_messages;
	consumer->credit_bytes = consumer->given_bytes;
	dispatch_consumer_changed(dispatch, consumer);
	dispatch_run(dispatch, now_ns);
}

static bool is_dead_letter(const struct dispatch *dispatch, const struct delivery *delivery)
{
	struct flight *flight;

	if (delivery->attempt == 1 && dispatch->dead_letters_pending == 0)
		return false;
	if (delivery->rejected || dispatch_is_last(dispatch, delivery->attempt - 1))
		return true;
	flight = flight_map_find(&dispatch->partitions[delivery->partition].flights,
				 delivery->offset);
	return flight && (flight->state == FLIGHT_DEAD_LETTER_PENDING ||
			  flight->state == FLIGHT_DEAD_LETTER_COPYING);
}

void dispatch_give_back(struct dispatch *dispatch, const struct delivery *deliveries, size_t count)
{
	for (size_t i = 0; i < count; ++i) {
		struct settle settle = {.verb = SETTLE_RELEASE,
					.partition = deliveries[i].partition,
					.epoch = deliveries[i].epoch,
					.offset = deliveries[i].offset,
					.attempt = deliveries[i].attempt,
					.count = 1};

		dispatch->ops->settle(dispatch->ctx, &settle, 1, NULL);
	}
}

void dispatch_give_back_above(struct dispatch *dispatch)
{
	size_t mask = dispatch->pending_room - 1, kept = 0;

	for (size_t i = 0; i < dispatch->pending_count; ++i) {
		struct delivery *delivery = &dispatch->pending[(dispatch->pending_head + i) & mask];

		if (delivery->offset < dispatch->partitions[delivery->partition].released_from) {
			dispatch->pending[(dispatch->pending_head + kept++) & mask] = *delivery;
			continue;
		}
		dispatch_give_back(dispatch, delivery, 1);
		dispatch->pending_bytes -= delivery->size;
		buf_unref(delivery->buf);
	}
	dispatch->pending_count = kept;
	for (uint32_t i = 0; i < dispatch->partition_count; ++i)
		dispatch->partitions[i].released_from = UINT64_MAX;
	dispatch->any_released = false;
}

void dispatch_give_pending_back(struct dispatch *dispatch, uint64_t again_ns)
{
	size_t mask = dispatch->pending_room - 1;

	for (size_t i = 0; i < dispatch->pending_count; ++i)
		dispatch_give_back(dispatch,
				   &dispatch->pending[(dispatch->pending_head + i) & mask], 1);
	pending_drop(dispatch, dispatch->pending_count);
	dispatch->charge_again_ns = MAX(dispatch->charge_again_ns, again_ns);
	update_demand(dispatch);
}

static void hand_or_keep(struct dispatch *dispatch, const struct delivery *deliveries, size_t count,
			 uint64_t now_ns)
{
	size_t done = dispatch->pending_count ? 0 : hand_out(dispatch, deliveries, count, now_ns);

	if (done == count)
		return;
	if (pending_reserve(dispatch, count - done) < 0) {
		dispatch_give_back(dispatch, deliveries + done, count - done);
		return;
	}
	for (size_t i = done; i < count; ++i)
		pending_add(dispatch, &deliveries[i]);
}

void dispatch_arrived(struct dispatch *dispatch, const struct delivery *deliveries, size_t count,
		      uint64_t now_ns)
{
	size_t first = 0, rejected = 0;
	uint64_t bytes = 0;

	for (size_t i = 0; i < count; ++i) {
		const struct delivery *delivery = &deliveries[i];

		assert(delivery->attempt > 0);
		if (delivery->rejected)
			++rejected;
		else
			bytes += delivery->size;
		if (partition_reserve(dispatch, delivery->partition) < 0) {
			hand_or_keep(dispatch, deliveries + first, i - first, now_ns);
			dispatch_give_back(dispatch, delivery, 1);
			first = i + 1;
			continue;
		}
		if (is_dead_letter(dispatch, delivery)) {
			hand_or_keep(dispatch, deliveries + first, i - first, now_ns);
			dispatch_copy_dead_letter(dispatch, delivery);
			first = i + 1;
		}
	}
	hand_or_keep(dispatch, deliveries + first, count - first, now_ns);
	dispatch->asked_messages = credit_left(dispatch->asked_messages, count - rejected);
	dispatch->asked_rejected = credit_left(dispatch->asked_rejected, rejected);
	dispatch->asked_bytes = credit_left(dispatch->asked_bytes, bytes);
	dispatch_run(dispatch, now_ns);
}

void dispatch_pause(struct dispatch *dispatch, bool paused, uint64_t now_ns)
{
	dispatch->paused = paused;
	dispatch_run(dispatch, now_ns);
}

// Nothing of the source is here any more. Marks that are kept by offset go, too; those by id stay.
static void drop_everything(struct dispatch *dispatch)
{
	pending_drop(dispatch, dispatch->pending_count);
	for (uint32_t i = 0; i < dispatch->partition_count; ++i) {
		struct flight_map *flights = &dispatch->partitions[i].flights;

		for (size_t k = 0; k < flights->room; ++k) {
			struct flight *flight = &flights->slots[k];

			if ((flight->state == FLIGHT_DEAD_LETTER_PENDING ||
			     flight->state == FLIGHT_DEAD_LETTER_COPYING) &&
			    flight->request)
				dispatch->ops->release_request(dispatch->ctx, flight->request,
							       true);
		}
		flight_map_deinit(flights);
	}
	LIST_FOREACH(pos, next, &dispatch->consumers)
	{
		struct dispatch_consumer *consumer = LIST_ENTRY(pos, struct dispatch_consumer, all);

		consumer->in_flight = 0;
		dispatch_held_drop(consumer);
		consumer->blocked = false;
		consumer->alone = false;
		dispatch_consumer_changed(dispatch, consumer);
	}
	memset(dispatch->slots, 0, sizeof dispatch->slots);
	dispatch->slot_next = UINT64_MAX;
	dispatch->owned = 0;
	dispatch->dead_letters_pending = 0;
	dispatch->dead_letters_copying = 0;
	dispatch->suspects = dispatch->suspect_ids.count;
}

void dispatch_reset(struct dispatch *dispatch)
{
	suspects_clear(&dispatch->suspect_ids);
	drop_everything(dispatch);
	dispatch->asked_messages = 0;
	dispatch->asked_bytes = 0;
	dispatch->asked_rejected = 0;
}

void dispatch_source_lost(struct dispatch *dispatch, uint64_t now_ns)
{
	drop_everything(dispatch);
	dispatch_run(dispatch, now_ns);
}

uint64_t dispatch_next_ns(const struct dispatch *dispatch)
{
	uint64_t next_ns = UINT64_MAX;

	if (dispatch->slot_next != UINT64_MAX)
		next_ns = dispatch->slot_next * dispatch->slot_ns;
	if (dispatch->charge_again_ns)
		next_ns = MIN(next_ns, dispatch->charge_again_ns);
	if (dispatch->draining)
		next_ns = MIN(next_ns, dispatch->drain_look_ns);
	return next_ns;
}
