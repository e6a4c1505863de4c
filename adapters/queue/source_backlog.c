// Keeps what the backend counted last, and asks again after changes and looks, COUNT_NS after the
// last question at the earliest.
//
// The slot is synchronous and the backend's answer is not, so a row is exact when nothing has moved
// since the last answer. What is held is counted as it is now, and what the backend counted as it
// was then: a message that moved from one to the other meanwhile counts twice, or not at all. After
// a loss the last answer is wrong by everything that was held, so nothing is said until the next.
//
// A look at an answer that is older than COUNT_NS asks, too: what producers send changes nothing
// here while no consumer wants it. Until its answer has come a row says that it is outdated.

#include "adapters/queue/source_backlog.h"

#define COUNT_NS (200 * MS_NS)

void queue_source_backlog_changed(struct source *source)
{
	source->counts_changed = true;
}

void queue_source_backlog_forget(struct source *source)
{
	source->counts_known = false;
	source->counts_changed = true;
}

static bool can_ask(const struct source *source)
{
	return source->counts_changed && !source->counting && !source->closing &&
	       source->channel == QUEUE_CHANNEL_OPEN;
}

// On a new channel at once.
static uint64_t due_ns(const struct source *source)
{
	return source->counting_ns < source->opened_ns ? 0 : source->counting_ns + COUNT_NS;
}

uint64_t queue_source_backlog_next_ns(const struct source *source)
{
	return can_ask(source) ? due_ns(source) : UINT64_MAX;
}

void queue_source_backlog_ask_if_due(struct source *source)
{
	uint64_t now_ns = queue_source_state_now_ns(source);

	if (!can_ask(source) || now_ns < due_ns(source))
		return;
	source->counting = true;
	source->counts_changed = false;
	source->counting_ns = now_ns;
	source->ops->count(source->attachment);
}

// An answer to a question from before a loss says nothing.
void queue_source_backlog_counted(struct source *source, const struct queue_counts *counts)
{
	assert(source->counting);
	source->counting = false;
	if (!counts || source->counting_ns < source->opened_ns || !source->opened_ns)
		return;
	source->counts = *counts;
	source->counts_known = true;
}

static bool is_outdated(const struct source *source)
{
	return source->counts_changed || source->counting ||
	       queue_source_state_now_ns(source) >= source->counting_ns + COUNT_NS;
}

size_t queue_source_backlog(struct source *source, struct source_partition *partitions, size_t room)
{
	struct held_backlog held = held_backlog(source->held);
	const struct queue_counts *counts = &source->counts;
	uint64_t ready = counts->ready + held.ready;
	bool outdated = is_outdated(source);

	if (outdated && !source->counting && !source->counts_changed) {
		queue_source_backlog_changed(source);
		queue_source_state_pump_later(source);
	}
	if (!source->counts_known || room == 0)
		return 0;
	partitions[0] = (struct source_partition){
		.ready = ready - MIN(ready, held.twice),
		.in_flight = held.in_flight,
		.retrying = counts->retrying + held.retrying,
		.delayed = counts->delayed + held.delayed,
		.acked = held.acked,
		.counts = {.dead = held.dead, .expired = held.expired},
		.outdated = outdated,
	};
	return 1;
}
