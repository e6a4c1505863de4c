// Opens the channels of a queue source: the first at once, the next some time after each loss.
//
// The wait is a second at first and doubles up to BACKOFF_MAX_MS, of which a random part of up to a
// quarter is taken off, so that sources that lost their channels together do not come back
// together. A channel that has stood for STOOD_MS ends that: one that is lost soon after it was
// opened is no reason to try sooner. It is short, because what ends one channel after the other (a
// broker that is restarted again and again) is waited for in `open`, and not here.
//
// Each channel has an epoch that no other one has: receipts of an earlier channel, an earlier
// source of the group or an earlier process are STALE. It holds the wall clock in milliseconds and
// random bits, and rises within a process, also when the wall clock is set back.

#include "adapters/queue/source_channel.h"

#include "adapters/queue/source_engine.h"
#include "core/base/clock.h"

#include <sys/random.h>

#define BACKOFF_MIN_MS    1000u
#define BACKOFF_MAX_MS    30000u
#define STOOD_MS          5000u
#define EPOCH_RANDOM_BITS 16u

static uint64_t random_bits(void)
{
	uint64_t bits;

	if (getrandom(&bits, sizeof bits, GRND_NONBLOCK) != sizeof bits)
		bits = clock_now_ns() / 1000;
	return bits;
}

static uint64_t epoch_next(uint64_t least)
{
	static uint64_t last; // of the process
	uint64_t drawn = (uint64_t)clock_wall_ms() << EPOCH_RANDOM_BITS |
			 (random_bits() & ((1u << EPOCH_RANDOM_BITS) - 1));
	uint64_t before = __atomic_load_n(&last, __ATOMIC_RELAXED), epoch;

	do {
		epoch = MAX(MAX(drawn, least), before + 1);
	} while (!__atomic_compare_exchange_n(&last, &before, epoch, false, __ATOMIC_RELAXED,
					      __ATOMIC_RELAXED));
	return epoch;
}

static void wait_for_next(struct source *source)
{
	uint64_t now_ns = queue_source_state_now_ns(source), wait_ms;

	if (source->opened_ns && now_ns >= source->opened_ns + STOOD_MS * MS_NS)
		source->backoff_ms = 0;
	source->backoff_ms = MIN(MAX(2 * source->backoff_ms, BACKOFF_MIN_MS), BACKOFF_MAX_MS);
	wait_ms = source->backoff_ms - random_bits() % (source->backoff_ms / 4);
	source->open_at_ns = now_ns + wait_ms * MS_NS;
	source->opened_ns = 0;
}

void queue_source_channel_open_if_due(struct source *source)
{
	if (source->channel != QUEUE_CHANNEL_NONE || source->closing ||
	    queue_source_state_now_ns(source) < source->open_at_ns)
		return;
	source->open_at_ns = 0;
	source->epoch = epoch_next(source->config.epoch);
	queue_source_engine_renewal(source);
	queue_source_state_set_channel(source, QUEUE_CHANNEL_OPENING);
	source->ops->open(source->attachment, source->epoch);
}

uint64_t queue_source_channel_next_ns(const struct source *source)
{
	return source->channel == QUEUE_CHANNEL_NONE && !source->closing ? source->open_at_ns
									 : UINT64_MAX;
}

// Has the engine been told of the channel?
static bool is_held(const struct source *source)
{
	return source->channel == QUEUE_CHANNEL_OPEN || source->channel == QUEUE_CHANNEL_CUT;
}

bool queue_source_channel_opened(struct source *source, uint64_t epoch)
{
	if (source->channel != QUEUE_CHANNEL_OPENING || source->epoch != epoch)
		return false;
	queue_source_state_set_channel(source, QUEUE_CHANNEL_OPEN);
	source->opened_ns = queue_source_state_now_ns(source);
	held_opened(source->held, epoch, queue_source_state_time(source));
	return true;
}

bool queue_source_channel_lost(struct source *source, uint64_t epoch)
{
	bool held = is_held(source);

	if (source->epoch != epoch || (!held && source->channel != QUEUE_CHANNEL_OPENING))
		return false;
	queue_source_state_set_channel(source, QUEUE_CHANNEL_NONE);
	wait_for_next(source);
	if (held)
		held_lost(source->held);
	return true;
}

bool queue_source_channel_gone(struct source *source)
{
	bool held = is_held(source);

	if (source->channel == QUEUE_CHANNEL_GONE)
		return false;
	queue_source_state_set_channel(source, QUEUE_CHANNEL_GONE);
	if (held)
		held_lost(source->held);
	return true;
}
