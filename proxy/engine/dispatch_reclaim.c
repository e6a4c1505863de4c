// Takes deliveries from consumers that do not settle them: they leave, fall silent, or are late.
//
// A consumer that dies may have been killed by what it was working on. What it had not begun is
// released, and nothing happens to it. What had begun is a suspect from its first loss on, which
// costs no attempt; each further loss of a suspect that had begun counts one. A consumer is given
// suspects marked as such and runs them alone, so that the message that kills is the only one that
// is lost again and again. A consumer that does not tell what it begins may have begun everything.
//
// Invariants: what had not begun never costs an attempt; nor does an end that the proxy decided. No
// more suspects are remembered than may be in flight; beyond that a loss counts at once. A suspect
// that retention has deleted is forgotten, so that it takes no other's place. Where marks go by id
// (suspects.c) they have a bound of their own, and outlive the flight and a loss of the source.
//
// Timeouts: a delivery's time starts when the consumer tells that it begins, at most a sixteenth
// late. A delivery that has not begun does not time out while its subscription shows life. When a
// delivery is overdue and its consumer has been silent for half of the visibility timeout, the
// consumer is lost as a whole.

#include "proxy/engine/dispatch_reclaim.h"

#include "proxy/engine/dispatch_deadlines.h"
#include "proxy/engine/dispatch_held.h"
#include "proxy/engine/dispatch_settle.h"
#include "proxy/engine/dispatch_state.h"

// ---- what consumers tell

static void told_add(const struct dispatch *dispatch, struct dispatch_consumer *consumer,
		     uint64_t now_ns)
{
	uint64_t grain_ns = dispatch->policy.visibility_ns / (DISPATCH_TOLD - 2);
	struct dispatch_told *told = &consumer->told[consumer->told_at];

	if (told->begun == 0 || now_ns >= told->first_ns + grain_ns) {
		consumer->told_at = (consumer->told_at + 1) % DISPATCH_TOLD;
		told = &consumer->told[consumer->told_at];
		told->first_ns = now_ns;
	}
	told->begun = consumer->begun;
	told->last_ns = now_ns;
}

void dispatch_heartbeat(struct dispatch *dispatch, struct dispatch_consumer *consumer,
			uint64_t begun, uint64_t now_ns)
{
	assert(begun <= consumer->given_messages);
	consumer->last_active_ns = now_ns;
	if (begun <= consumer->begun)
		return;
	consumer->begun = begun;
	told_add(dispatch, consumer, now_ns);
}

// When the begin of a delivery was told; of older ones than all entries only that it was.
static uint64_t told_ns(const struct dispatch_consumer *consumer, uint64_t number)
{
	for (uint32_t i = 1; i <= DISPATCH_TOLD; ++i) {
		const struct dispatch_told *told =
			&consumer->told[(consumer->told_at + i) % DISPATCH_TOLD];

		if (told->begun >= number)
			return told->last_ns;
	}
	return 0;
}

bool dispatch_has_begun(const struct flight *flight)
{
	return !flight->consumer->tells_begun || flight->number <= flight->consumer->begun;
}

// ---- one delivery

static void release_delivery(struct dispatch *dispatch, uint32_t partition, struct flight *flight)
{
	++dispatch->counters.released;
	dispatch_release(dispatch, partition, flight, NULL);
}

// False: no more can be remembered.
static bool make_suspect(struct dispatch *dispatch, struct flight *flight)
{
	if (dispatch->policy.marks_by_id) {
		if (suspects_add(&dispatch->suspect_ids, flight->id) < 0)
			return false;
		dispatch->suspects = dispatch->suspect_ids.count;
	} else if (dispatch->suspects < dispatch->policy.in_flight_max) {
		++dispatch->suspects;
	} else {
		return false;
	}
	flight->suspect = true;
	return true;
}

// Its consumer is lost.
static void lose_delivery(struct dispatch *dispatch, uint32_t partition, struct flight *flight)
{
	if (!dispatch_has_begun(flight)) {
		release_delivery(dispatch, partition, flight);
		return;
	}
	++dispatch->counters.lost;
	if (!flight->suspect && make_suspect(dispatch, flight)) {
		dispatch_release(dispatch, partition, flight, NULL);
		return;
	}
	dispatch_fail(dispatch, partition, flight,
		      dispatch_scheduled_delay_ms(&dispatch->policy, flight->attempt), NULL);
}

// Its time is over, if that is not moved by what its consumer told. Slots are made anew afterwards.
static void end_overdue(struct dispatch *dispatch, uint32_t partition, struct flight *flight,
			uint64_t now_ns)
{
	struct dispatch_consumer *consumer = flight->consumer;
	uint64_t visibility_ns = dispatch->policy.visibility_ns;

	if (!flight->timed && dispatch_has_begun(flight)) {
		flight->timed = true;
		flight->deadline_ns = told_ns(consumer, flight->number) + visibility_ns;
		if (flight->deadline_ns > now_ns)
			return;
	}
	if (consumer->tells_begun && now_ns >= consumer->last_active_ns + visibility_ns / 2) {
		consumer->silent = true;
		return;
	}
	if (!dispatch_has_begun(flight)) {
		flight->deadline_ns = consumer->last_active_ns + visibility_ns;
		return;
	}
	++dispatch->counters.timeouts;
	dispatch_fail(dispatch, partition, flight, 0, NULL);
}

// ---- all of them

enum sweep { SWEEP_LOST, SWEEP_ENDED, SWEEP_SILENT, SWEEP_OVERDUE };

struct sweep_of {
	enum sweep what;
	const struct dispatch_consumer *consumer; // LOST, ENDED
	uint64_t now_ns;
};

static void sweep_one(struct dispatch *dispatch, const struct sweep_of *sweep, uint32_t partition,
		      struct flight *flight)
{
	switch (sweep->what) {
	case SWEEP_LOST:
		if (flight->consumer == sweep->consumer)
			lose_delivery(dispatch, partition, flight);
		return;
	case SWEEP_ENDED:
		if (flight->consumer == sweep->consumer)
			release_delivery(dispatch, partition, flight);
		return;
	case SWEEP_SILENT:
		if (flight->consumer->silent)
			lose_delivery(dispatch, partition, flight);
		return;
	case SWEEP_OVERDUE:
		if (flight->deadline_ns <= sweep->now_ns)
			end_overdue(dispatch, partition, flight, sweep->now_ns);
		return;
	}
}

// A removal moves later entries down, so the place is looked at again; one that wraps round the end
// may be looked at twice, which is harmless.
static void sweep_flights(struct dispatch *dispatch, const struct sweep_of *sweep)
{
	for (uint32_t i = 0; i < dispatch->partition_count; ++i) {
		struct flight_map *flights = &dispatch->partitions[i].flights;

		for (size_t k = 0; k < flights->room;) {
			size_t before = flights->count;

			if (flights->slots[k].state == FLIGHT_OWNED)
				sweep_one(dispatch, sweep, i, &flights->slots[k]);
			k += flights->count == before;
		}
	}
}

// Of one consumer: only what it holds is looked at.
static void sweep_held(struct dispatch *dispatch, const struct sweep_of *of,
		       struct dispatch_consumer *consumer)
{
	struct flight *flight;
	uint32_t cursor = 0, partition;

	while ((flight = dispatch_held_next(dispatch, consumer, &cursor, &partition)))
		sweep_one(dispatch, of, partition, flight);
	if (consumer->held.incomplete)
		sweep_flights(dispatch, of);
	assert(consumer->in_flight == 0);
}

void dispatch_leave(struct dispatch *dispatch, struct dispatch_consumer *consumer,
		    enum dispatch_leave why, uint64_t now_ns)
{
	const struct sweep_of all = {.what = why == DISPATCH_LOST ? SWEEP_LOST : SWEEP_ENDED,
				     .consumer = consumer};

	if (consumer->in_flight)
		sweep_held(dispatch, &all, consumer);
	dispatch_held_drop(consumer);
	if (consumer->drain != consumer->drained)
		--dispatch->draining;
	consumer->credit_messages = 0;
	dispatch_consumer_changed(dispatch, consumer);
	list_unlink(&consumer->all);
	if (dispatch->policy.mode == GROUP_FAILOVER && !list_empty(&dispatch->consumers))
		dispatch_consumer_changed(dispatch, LIST_ENTRY(dispatch->consumers.next,
							       struct dispatch_consumer, all));
	dispatch_out_send(dispatch, NULL);
	dispatch_run(dispatch, now_ns);
}

uint32_t dispatch_suspects(const struct dispatch *dispatch)
{
	return dispatch->suspects;
}

void dispatch_gone(struct dispatch *dispatch, uint32_t partition, uint64_t first)
{
	struct flight_map *flights;

	if (dispatch->suspects == 0 || partition >= dispatch->partition_count)
		return;
	flights = &dispatch->partitions[partition].flights;
	for (size_t k = 0; k < flights->room;) {
		struct flight *flight = &flights->slots[k];

		if (flight->state != FLIGHT_SUSPECT || flight->offset >= first) {
			++k;
			continue;
		}
		--dispatch->suspects;
		flight_map_remove(flights, flight); // another may have moved here
	}
}

// Gives up the consumers that have been found silent.
static void end_silent(struct dispatch *dispatch)
{
	const struct sweep_of silent = {.what = SWEEP_SILENT};
	bool any = false;

	LIST_FOREACH(pos, next, &dispatch->consumers)
	{
		struct dispatch_consumer *consumer = LIST_ENTRY(pos, struct dispatch_consumer, all);

		if (!consumer->silent || consumer->in_flight == 0)
			continue;
		any = true;
		dispatch_consumer_changed(dispatch, consumer);
		dispatch->ops->silent(dispatch->ctx, consumer);
	}
	if (any)
		sweep_flights(dispatch, &silent);
}

static void expire_deadlines(struct dispatch *dispatch, uint64_t now_ns)
{
	const struct sweep_of late = {.what = SWEEP_OVERDUE, .now_ns = now_ns};
	uint64_t now = now_ns / dispatch->slot_ns;

	if (dispatch->slot_next > now)
		return;
	if (!dispatch_deadlines_have_ended(dispatch, now)) {
		dispatch_deadlines_find_next(dispatch, now);
		return;
	}
	sweep_flights(dispatch, &late);
	end_silent(dispatch);
	dispatch_deadlines_rebuild(dispatch, now_ns);
	dispatch_out_send(dispatch, NULL);
}

void dispatch_tick(struct dispatch *dispatch, uint64_t now_ns)
{
	if (dispatch->charge_again_ns && now_ns >= dispatch->charge_again_ns)
		dispatch->charge_again_ns = 0;
	expire_deadlines(dispatch, now_ns);
	dispatch_run(dispatch, now_ns);
}
