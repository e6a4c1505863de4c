// Consuming: how many messages the backend may hand out by itself, and when none.
//
// A prefetch cannot be changed while its consumer runs, and counts only what that consumer was
// handed: what is held from the ones before comes on top. So a change is a cancel, and, when the
// backend has answered it, a new consumer with what is then left of the bounds. To be cancelled
// rarely, a consumer grows only when it could hand out a quarter of what the bounds allow in all
// more than it still may, and shrinks only when that is half of it too much.
//
// What is held is bounded in messages and in bytes. The bytes of what is held are known, and those
// of what may come are guessed by the largest message seen lately; so it begins low, and what is
// held and small lets it grow, settled or not. Beyond the bytes nothing is consumed until half of
// them are free. Without memory for more there are fewer bytes: a group that holds
// much consumes nothing until its consumers have settled, and one that holds nothing goes on with
// a little. While something is in limbo that does not hold, since callers wait for it.
//
// A renewal takes the tag from a member, so that the consumer may be handed one more: where members
// without a tag would exceed the bound, the consumer is cancelled. Their copies stay in the queue
// meanwhile. While something is in limbo it is consumed without demand too. A consumer that could
// have handed out more for HELD_PROOF_MS, and has not, shows that nothing of that is left.

#include "adapters/queue/held_consume.h"

#include "adapters/queue/held_ack.h"
#include "adapters/queue/held_deliver.h"

#define HELD_START 32u // messages, before the size of any is known

void held_consume_init(struct held *held)
{
	held->use = (struct held_consumption){
		.largest = (uint32_t)MIN(held->limits->bytes_max / HELD_START, UINT32_MAX),
		.proof_since_ms = UINT64_MAX};
}

void held_consume_note_demand(struct held *held)
{
	struct held_consumption *use = &held->use;

	if (held_deliver_wanted(held))
		use->quiet_since_ms = UINT64_MAX;
	else if (use->quiet_since_ms == UINT64_MAX)
		use->quiet_since_ms = held->time.steady_ms;
}

static bool is_quiet(const struct held *held)
{
	uint64_t since_ms = held->use.quiet_since_ms;

	return since_ms != UINT64_MAX && held->time.steady_ms >= since_ms + HELD_QUIET_MS;
}

// What the bound is for: tags that the backend counts, and members whose renewal has not come.
static uint32_t members(const struct held *held)
{
	uint32_t count = held->tags + held->awaited;

	if (!held->awaited)
		return count;
	LIST_FOREACH(pos, next, &held->lists[HELD_LIST_LIMBO])
	{
		count -= LIST_ENTRY(pos, struct held_item, in_list)->awaited;
	}
	return count;
}

static uint64_t most_bytes(const struct held *held)
{
	const struct held_limits *limits = held->limits;

	return held->use.crowded && !held->limbo ? MIN(limits->crowd_bytes, limits->bytes_max)
						 : limits->bytes_max;
}

// How many messages these bytes are, by the largest one; at least one, or it would stand still.
static uint32_t fit(const struct held *held, uint64_t bytes)
{
	uint64_t count = MAX(bytes / MAX(held->use.largest, 1u), 1ull);

	return (uint32_t)MIN(count, (uint64_t)held->limits->messages_max);
}

// How many may come beside what is held. Its bytes are known; only of the others they are guessed.
static uint32_t left_of(const struct held *held)
{
	const struct held_limits *limits = held->limits;
	uint32_t there = members(held);

	if (there >= limits->messages_max || held->bytes > most_bytes(held))
		return 0;
	return MIN(limits->messages_max - there, fit(held, most_bytes(held) - held->bytes));
}

static bool should_stop(const struct held *held)
{
	return held->closing || held->broken || held->bytes > most_bytes(held) ||
	       (is_quiet(held) && !held->limbo);
}

static bool should_change(const struct held *held)
{
	const struct held_consumption *use = &held->use;
	uint32_t most = fit(held, most_bytes(held));
	uint32_t rest = use->prefetch - MIN(use->own, use->prefetch), left = left_of(held);
	uint32_t others = members(held) - use->own;

	if (others + use->prefetch > held->limits->messages_max || rest > left + most / 2)
		return true;
	return left >= rest + MAX(most / 4, 1u);
}

static void begin(struct held *held)
{
	struct held_consumption *use = &held->use;
	uint32_t prefetch = left_of(held);

	if (!prefetch || (held->bytes > most_bytes(held) / 2 && !held->limbo))
		return;
	use->prefetch = prefetch;
	use->own = use->retry = 0;
	++use->consumer;
	held->ops->consume(held->ctx, prefetch);
}

// Has it places for whatever is there? Those of the retry store are of no use to the queue.
static bool has_places(const struct held *held)
{
	const struct held_consumption *use = &held->use;
	uint32_t share = held->limits->retry_share, retry;

	if (!share)
		return use->own < use->prefetch;
	retry = MAX(use->prefetch / share, 1u);
	return use->retry < retry &&
	       use->own - use->retry < MAX(use->prefetch - MIN(retry, use->prefetch), 1u);
}

// Since when could it have handed out more?
static void note_idle(struct held *held)
{
	struct held_consumption *use = &held->use;

	if (!use->prefetch || use->cancelling || !has_places(held))
		use->proof_since_ms = UINT64_MAX;
	else if (use->proof_since_ms == UINT64_MAX)
		use->proof_since_ms = held->time.steady_ms;
}

static void change_prefetch(struct held *held)
{
	struct held_consumption *use = &held->use;

	if (!use->prefetch) {
		if (!should_stop(held))
			begin(held);
	} else if (should_stop(held) || should_change(held)) {
		use->cancelling = true;
		held->ops->consume(held->ctx, 0);
	}
}

void held_consume_run(struct held *held)
{
	if (!held->open)
		return;
	note_idle(held);
	if (held->use.proof_since_ms != UINT64_MAX)
		held_ack_prove_idle(held, held->use.proof_since_ms);
	if (!held->use.cancelling)
		change_prefetch(held);
	note_idle(held);
}

void held_consume_cancelled(struct held *held)
{
	assert(held->use.cancelling);
	held->use.cancelling = false;
	held->use.prefetch = 0;
}

void held_consume_lost(struct held *held)
{
	assert(held->tags == 0 && held->use.own == 0 && held->use.retry == 0);
	held->use.cancelling = false;
	held->use.prefetch = 0;
	held->use.proof_since_ms = UINT64_MAX;
}

uint64_t held_consume_next_ms(const struct held *held)
{
	const struct held_consumption *use = &held->use;
	uint64_t next_ms = UINT64_MAX, limbo_ms = held_ack_limbo_since_ms(held);

	if (use->prefetch && !use->cancelling && !is_quiet(held) &&
	    use->quiet_since_ms != UINT64_MAX)
		next_ms = use->quiet_since_ms + HELD_QUIET_MS;
	if (use->proof_since_ms != UINT64_MAX && limbo_ms != UINT64_MAX)
		next_ms = MIN(next_ms, MAX(use->proof_since_ms, limbo_ms) + HELD_PROOF_MS);
	return next_ms;
}
