// Ends deliveries that consumers settle: acknowledged, failed, released, extended, or dead.
//
// A dead letter takes two deliveries, since the proxy keeps no bodies. The message is settled
// REJECT and its offset stays here as DEAD_LETTER_PENDING. The source hands it out once more,
// because what is due again comes before what is new. Then the copy is made (DEAD_LETTER_COPYING),
// and only after that the original ends as dead (SETTLE_DEAD).
//
// Invariants: a settle takes effect only if partition, epoch, offset, attempt and consumer fit, and
// goes on with the epoch of its own delivery: offsets may be counted anew in another epoch. Each
// message leaves the flights exactly once. Settles that continue each other go to the source
// as one.
//
// What it does not do: take back what a consumer does not settle (dispatch_reclaim.c), or tell when
// its time is over (dispatch_deadlines.c).

#include "proxy/engine/dispatch_settle.h"

#include "proxy/engine/dispatch_deadlines.h"
#include "proxy/engine/dispatch_held.h"
#include "proxy/engine/dispatch_reclaim.h"
#include "proxy/engine/dispatch_state.h"

#define NACK_BY_SCHEDULE 0xFFFFFFFFu
#define SPARE_MISSES     4096 // offsets a settle frame may name without effect, besides its own

bool dispatch_is_last(const struct dispatch *dispatch, uint32_t attempt)
{
	const struct dispatch_policy *policy = &dispatch->policy;

	return policy->dead_letter && policy->max_attempts && attempt >= policy->max_attempts;
}

// ---- settles on their way to the source

void dispatch_out_send(struct dispatch *dispatch, void *request)
{
	size_t count = dispatch->out_count;

	dispatch->out_count = 0;
	if (count)
		dispatch->ops->settle(dispatch->ctx, dispatch->out, count, request);
}

// Joins the message to the entry before where it continues it.
static void out_add(struct dispatch *dispatch, uint32_t partition, const struct flight *flight,
		    enum settle_verb verb, uint32_t delay_ms, void *request)
{
	struct settle *last = dispatch->out_count ? &dispatch->out[dispatch->out_count - 1] : NULL;

	if (last && last->partition == partition && last->offset + last->count == flight->offset &&
	    last->epoch == flight->epoch && last->attempt == flight->attempt &&
	    last->verb == verb && last->delay_ms == delay_ms) {
		++last->count;
		return;
	}
	if (dispatch->out_count == DISPATCH_OUT)
		dispatch_out_send(dispatch, request);
	dispatch->out[dispatch->out_count++] = (struct settle){.epoch = flight->epoch,
							       .offset = flight->offset,
							       .count = 1,
							       .partition = partition,
							       .attempt = flight->attempt,
							       .delay_ms = delay_ms,
							       .verb = (uint8_t)verb};
}

// ---- out of the hands of a consumer

void dispatch_disown(struct dispatch *dispatch, struct flight *flight)
{
	struct dispatch_consumer *consumer = flight->consumer;

	assert(consumer->in_flight > 0);
	dispatch_deadlines_remove(dispatch, flight);
	--dispatch->owned;
	if (--consumer->in_flight)
		return;
	if (consumer->blocked || consumer->alone) {
		consumer->blocked = false;
		consumer->alone = false;
		dispatch_consumer_changed(dispatch, consumer);
	}
	if (dispatch->ops->emptied)
		dispatch->ops->emptied(dispatch->ctx, consumer);
}

static void unmark_suspect(struct dispatch *dispatch, struct flight *flight)
{
	if (!flight->suspect)
		return;
	flight->suspect = false;
	if (dispatch->policy.marks_by_id) {
		suspects_remove(&dispatch->suspect_ids, flight->id);
		dispatch->suspects = dispatch->suspect_ids.count;
	} else {
		--dispatch->suspects;
	}
}

// Held by no consumer and not settled for good: only a suspect is remembered, here or by its id.
static void leave_open(struct dispatch *dispatch, uint32_t partition, struct flight *flight)
{
	flight->consumer = NULL;
	if (flight->suspect && !dispatch->policy.marks_by_id)
		flight->state = FLIGHT_SUSPECT;
	else
		flight_map_remove(&dispatch->partitions[partition].flights, flight);
}

// A rejection ends a mark that stands in the flight. One that is kept by id ends when the copy is
// confirmed: the source may lose the message before, and then it comes again as any other.
static void unmark_rejected(struct dispatch *dispatch, struct flight *flight)
{
	if (!dispatch->policy.marks_by_id)
		unmark_suspect(dispatch, flight);
}

static void mark_dead_letter(struct dispatch *dispatch, struct flight *flight,
			     enum dispatch_reason reason, void *request)
{
	unmark_rejected(dispatch, flight);
	flight->state = FLIGHT_DEAD_LETTER_PENDING;
	flight->consumer = NULL;
	flight->reason = (uint8_t)reason;
	flight->request = request;
	++dispatch->dead_letters_pending;
}

void dispatch_fail(struct dispatch *dispatch, uint32_t partition, struct flight *flight,
		   uint32_t delay_ms, void *request)
{
	bool last = dispatch_is_last(dispatch, flight->attempt);

	out_add(dispatch, partition, flight, last ? SETTLE_REJECT : SETTLE_NACK, delay_ms, request);
	dispatch_disown(dispatch, flight);
	if (last)
		mark_dead_letter(dispatch, flight, DISPATCH_ATTEMPTS, NULL);
	else
		leave_open(dispatch, partition, flight);
}

void dispatch_release(struct dispatch *dispatch, uint32_t partition, struct flight *flight,
		      void *request)
{
	uint64_t *from = &dispatch->partitions[partition].released_from;

	*from = MIN(*from, flight->offset);
	dispatch->any_released = true;
	out_add(dispatch, partition, flight, SETTLE_RELEASE, 0, request);
	dispatch_disown(dispatch, flight);
	leave_open(dispatch, partition, flight);
}

uint32_t dispatch_scheduled_delay_ms(const struct dispatch_policy *policy, uint32_t attempt)
{
	uint64_t delay_ms = policy->retry_delay_ms;

	for (uint32_t i = 1; i < attempt && delay_ms && delay_ms < policy->retry_delay_max_ms; ++i)
		delay_ms *= 2;
	return (uint32_t)MIN(delay_ms, MAX(policy->retry_delay_ms, policy->retry_delay_max_ms));
}

// What has not begun has no end of its time that could be moved.
static void extend_deadline(struct dispatch *dispatch, struct flight *flight, uint32_t ms,
			    uint64_t now_ns)
{
	if (!dispatch_has_begun(flight))
		return;
	dispatch_deadlines_remove(dispatch, flight);
	flight->timed = true;
	flight->deadline_ns = now_ns + MIN(ms, DISPATCH_EXTEND_MAX_MS) * MS_NS;
	dispatch_deadlines_add(dispatch, flight, now_ns);
}

static void take_back(struct dispatch *dispatch, const struct settle *settle, struct flight *flight,
		      void *request, uint64_t now_ns)
{
	struct flight_map *flights = &dispatch->partitions[settle->partition].flights;
	uint32_t delay_ms = settle->delay_ms;

	switch ((enum settle_verb)settle->verb) {
	case SETTLE_ACK:
		++dispatch->counters.acked;
		out_add(dispatch, settle->partition, flight, SETTLE_ACK, 0, request);
		dispatch_disown(dispatch, flight);
		unmark_suspect(dispatch, flight);
		flight_map_remove(flights, flight);
		return;
	case SETTLE_NACK:
		++dispatch->counters.nacked;
		if (delay_ms == NACK_BY_SCHEDULE)
			delay_ms = dispatch_scheduled_delay_ms(&dispatch->policy, flight->attempt);
		dispatch_fail(dispatch, settle->partition, flight, delay_ms, request);
		return;
	case SETTLE_EXTEND: extend_deadline(dispatch, flight, delay_ms, now_ns); return;
	case SETTLE_REJECT:
		++dispatch->counters.rejected;
		out_add(dispatch, settle->partition, flight, SETTLE_REJECT, 0, request);
		dispatch_disown(dispatch, flight);
		mark_dead_letter(dispatch, flight, DISPATCH_REJECTED, request);
		return;
	case SETTLE_RELEASE:
		++dispatch->counters.released;
		dispatch_release(dispatch, settle->partition, flight, request);
		return;
	case SETTLE_DEAD: assert(!"a verb of the wire");
	}
}

// The receipt is of this very delivery. A released message keeps its attempt, so a consumer that
// tells what it begins names the number, too.
static bool receipt_fits(const struct flight *flight, const struct dispatch_consumer *consumer,
			 const struct settle *settle, uint32_t i)
{
	return flight && flight->state == FLIGHT_OWNED && flight->consumer == consumer &&
	       flight->epoch == settle->epoch && flight->attempt == settle->attempt &&
	       (!consumer->tells_begun || (uint32_t)flight->number == settle->number + i);
}

// One entry of a SETTLE frame. What a hostile count can cost is bounded by `misses`.
static void settle_run(struct dispatch *dispatch, struct dispatch_consumer *consumer,
		       struct settle *settle, void *request, uint64_t now_ns, size_t *misses)
{
	struct dispatch_partition *partition;

	settle->settled = 0;
	settle->code = CODE_STALE;
	if (settle->verb == SETTLE_REJECT && !dispatch->policy.dead_letter) {
		settle->code = CODE_UNSUPPORTED_BY_BACKEND;
		return;
	}
	if (settle->partition >= dispatch->partition_count)
		return;
	partition = &dispatch->partitions[settle->partition];
	for (uint32_t i = 0; i < settle->count && *misses; ++i) {
		struct flight *flight = flight_map_find(&partition->flights, settle->offset + i);

		if (!receipt_fits(flight, consumer, settle, i)) {
			--*misses;
			continue;
		}
		take_back(dispatch, settle, flight, request, now_ns);
		++settle->settled;
	}
	if (settle->settled == settle->count)
		settle->code = CODE_OK;
}

size_t dispatch_settle(struct dispatch *dispatch, struct dispatch_consumer *consumer,
		       struct settle *settles, size_t count, void *request, uint64_t now_ns)
{
	size_t misses = consumer->in_flight + SPARE_MISSES, rejected = 0;

	consumer->last_active_ns = now_ns;
	for (size_t i = 0; i < count; ++i) {
		settle_run(dispatch, consumer, &settles[i], request, now_ns, &misses);
		if (settles[i].verb == SETTLE_REJECT)
			rejected += settles[i].settled;
	}
	dispatch_out_send(dispatch, request);
	dispatch_run(dispatch, now_ns);
	return rejected;
}

// ---- dead letters

// Nothing is to be copied any more: it leaves the source.
static void end_dead_letter(struct dispatch *dispatch, uint32_t partition, struct flight *flight,
			    enum settle_verb verb)
{
	void *request = flight->request;

	out_add(dispatch, partition, flight, verb, 0, request);
	unmark_suspect(dispatch, flight);
	flight_map_remove(&dispatch->partitions[partition].flights, flight);
	--dispatch->dead_letters_copying;
	dispatch_out_send(dispatch, request);
	if (request)
		dispatch->ops->release_request(dispatch->ctx, request, false);
}

void dispatch_copy_dead_letter(struct dispatch *dispatch, const struct delivery *delivery)
{
	struct dispatch_partition *partition = &dispatch->partitions[delivery->partition];
	struct flight *flight = flight_map_find(&partition->flights, delivery->offset);
	uint32_t attempts = delivery->attempt - 1;

	if (!flight) {
		if (flight_map_reserve(&partition->flights, 1) < 0) {
			dispatch_give_back(dispatch, delivery, 1);
			return;
		}
		flight = flight_map_put(&partition->flights, delivery->offset);
	}
	if (flight->state == FLIGHT_DEAD_LETTER_COPYING)
		return; // the copy is on its way already
	if (flight->state == FLIGHT_OWNED)
		dispatch_disown(dispatch, flight);
	if (dispatch->policy.marks_by_id && delivery->record)
		dispatch_name(dispatch, flight, delivery);
	unmark_rejected(dispatch, flight);
	if (flight->state == FLIGHT_DEAD_LETTER_PENDING) {
		attempts = flight->attempt;
		--dispatch->dead_letters_pending;
	} else {
		attempts = MIN(attempts, dispatch->policy.max_attempts);
		flight->reason = DISPATCH_ATTEMPTS;
		flight->request = NULL;
	}
	flight->state = FLIGHT_DEAD_LETTER_COPYING;
	flight->consumer = NULL;
	flight->epoch = delivery->epoch;
	flight->attempt = delivery->attempt;
	++dispatch->dead_letters_copying;
	if (delivery->record)
		dispatch->ops->copy_dead_letter(dispatch->ctx, delivery,
						(enum dispatch_reason)flight->reason, attempts);
	else
		end_dead_letter(dispatch, delivery->partition, flight,
				SETTLE_ACK); // the log has lost it
}

void dispatch_dead_letter_copied(struct dispatch *dispatch, uint64_t epoch, uint32_t partition,
				 uint64_t offset, uint64_t now_ns)
{
	struct flight *flight = NULL;

	if (partition < dispatch->partition_count)
		flight = flight_map_find(&dispatch->partitions[partition].flights, offset);
	// An offset stands for another message in another epoch, where the source counts them anew.
	if (!flight || flight->epoch != epoch || flight->state != FLIGHT_DEAD_LETTER_COPYING)
		return; // the source was reopened meanwhile: the copy may come twice
	++dispatch->counters.dead;
	end_dead_letter(dispatch, partition, flight, SETTLE_DEAD);
	dispatch_run(dispatch, now_ns);
}
