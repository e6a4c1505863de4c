// The latest changes of a catalog, in order, for those that follow it.
//
// A change is the bytes of core/catalog/change.h, shared by all that send it. For one thread.
#pragma once

#include "core/catalog/change.h"

#include <stdbool.h>

struct link_position {
	uint64_t source;   // which life of a registry
	uint64_t revision; // 0: nothing
};

static inline bool link_position_same(struct link_position one, struct link_position other)
{
	return one.source == other.source && one.revision == other.revision;
}

struct history_change {
	unsigned refs;
	bool full;
	uint64_t from;           // of a delta: the revision that it continues
	struct link_position to; // afterwards
	size_t size;
	uint8_t data[];
};

struct history_change *history_change_ref(struct history_change *change);
struct history_change *history_change_unref(struct history_change *change); // NULL; accepts NULL

struct history {
	struct link_position newest;
	struct history_change **changes; // a ring of deltas, each continues the one before
	size_t head, count, room;
	size_t bytes, most_bytes;
	struct history_change *full; // NULL: none at hand
};

// Keeps at most `most_count` deltas and `most_bytes` of them. -ENOMEM
int history_init(struct history *history, size_t most_count, size_t most_bytes);
void history_deinit(struct history *history);
// The catalog is here, and what led there is not known.
void history_start(struct history *history, struct link_position position);

// The catalog has taken this change (copied). A delta that does not continue the newest position
// empties the history, because what is between is not known. -EBADMSG: not a change; -ENOMEM: the
// history is emptied, and the position is right.
int history_add(struct history *history, const uint8_t *data, size_t size);
// A full copy for those whose position the deltas do not reach (copied). -EBADMSG; -ENOMEM.
int history_give_full(struct history *history, const uint8_t *data, size_t size);
// Gives the memory of the full copy back, unless it is being sent. For callers whose feeds are
// idle.
void history_rest(struct history *history);

// With a reference, each: the delta that continues this position; the full copy, unless it would
// take this position back. NULL: there is none.
struct history_change *history_delta(const struct history *history, struct link_position position);
struct history_change *history_full(const struct history *history, struct link_position position);
