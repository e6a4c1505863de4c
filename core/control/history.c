// Keeps deltas in a ring, each of which continues the one before, so that the next change for a
// position is found by its revision.
//
// Bounded by count and bytes: the oldest go first, and whoever is behind them takes a full copy.
// The full copy is made by the caller, on demand: it is large, and rarely needed.
//
// Invariant: the newest delta ends at `newest`; a full copy is kept only while its position is one
// from which the deltas lead there.

#include "core/control/history.h"

#include "core/base/util.h"

#include <errno.h>

struct history_change *history_change_ref(struct history_change *change)
{
	assert(change->refs);
	++change->refs;
	return change;
}

struct history_change *history_change_unref(struct history_change *change)
{
	if (change && --change->refs == 0)
		free(change);
	return NULL;
}

int history_init(struct history *history, size_t most_count, size_t most_bytes)
{
	*history = (struct history){.room = most_count, .most_bytes = most_bytes};
	history->changes = calloc(most_count, sizeof(struct history_change *));
	return history->changes ? 0 : -ENOMEM;
}

static struct history_change *delta_at(const struct history *history, size_t index)
{
	return history->changes[(history->head + index) % history->room];
}

static void drop_oldest(struct history *history)
{
	struct history_change *oldest = delta_at(history, 0);

	history->bytes -= oldest->size;
	history_change_unref(oldest);
	history->head = (history->head + 1) % history->room;
	--history->count;
}

static void drop_all(struct history *history)
{
	while (history->count)
		drop_oldest(history);
}

void history_deinit(struct history *history)
{
	if (history->changes)
		drop_all(history);
	free(history->changes);
	history->changes = NULL;
	history->full = history_change_unref(history->full);
}

void history_start(struct history *history, struct link_position position)
{
	drop_all(history);
	history->full = history_change_unref(history->full);
	history->newest = position;
}

static int change_make(const uint8_t *data, size_t size, struct history_change **ret)
{
	struct history_change *change;
	struct change_head head;
	int r = change_head_read(data, size, &head);

	if (r < 0)
		return r;
	change = malloc(sizeof *change + size);
	if (!change)
		return -ENOMEM;
	*change = (struct history_change){.refs = 1,
					  .full = head.full,
					  .from = head.from,
					  .to = {head.source, head.to},
					  .size = size};
	memcpy(change->data, data, size);
	*ret = change;
	return 0;
}

// Whether the deltas lead from this position to the newest one.
static bool leads_on(const struct history *history, struct link_position position)
{
	struct history_change *delta = history_delta(history, position);

	history_change_unref(delta);
	return delta || link_position_same(position, history->newest);
}

static void keep_full_if_useful(struct history *history)
{
	if (history->full && !leads_on(history, history->full->to))
		history->full = history_change_unref(history->full);
}

static void delta_add(struct history *history, struct history_change *change)
{
	if (change->to.source != history->newest.source || change->from != history->newest.revision)
		drop_all(history);
	history->newest = change->to;
	while (history->count && (history->count == history->room ||
				  history->bytes + change->size > history->most_bytes))
		drop_oldest(history);
	if (change->size > history->most_bytes) {
		history_change_unref(change);
	} else {
		history->changes[(history->head + history->count++) % history->room] = change;
		history->bytes += change->size;
	}
	keep_full_if_useful(history);
}

int history_add(struct history *history, const uint8_t *data, size_t size)
{
	struct history_change *change;
	struct change_head head;
	int r = change_make(data, size, &change);

	if (r == -ENOMEM && change_head_read(data, size, &head) == 0) {
		drop_all(history);
		history->newest = (struct link_position){head.source, head.to};
		keep_full_if_useful(history);
	}
	if (r < 0)
		return r;
	if (!change->full) {
		delta_add(history, change);
		return 0;
	}
	drop_all(history);
	history->newest = change->to;
	history_change_unref(history->full);
	history->full = change;
	return 0;
}

int history_give_full(struct history *history, const uint8_t *data, size_t size)
{
	struct history_change *change;
	int r = change_make(data, size, &change);

	if (r < 0)
		return r;
	if (!change->full || !leads_on(history, change->to)) {
		history_change_unref(change);
		return -EBADMSG;
	}
	history_change_unref(history->full);
	history->full = change;
	return 0;
}

void history_rest(struct history *history)
{
	if (history->full && history->full->refs == 1)
		history->full = history_change_unref(history->full);
}

struct history_change *history_delta(const struct history *history, struct link_position position)
{
	if (position.source != history->newest.source)
		return NULL;
	for (size_t i = history->count; i > 0; --i)
		if (delta_at(history, i - 1)->from == position.revision)
			return history_change_ref(delta_at(history, i - 1));
	return NULL;
}

struct history_change *history_full(const struct history *history, struct link_position position)
{
	struct history_change *full = history->full;

	if (!full || (full->to.source == position.source && full->to.revision < position.revision))
		return NULL;
	return history_change_ref(full);
}
