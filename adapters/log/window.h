// The ack window of one group on one partition: which positions are open, in flight, waiting to
// come again, or done.
//
// A pure engine: no clock, no I/O; memory is asked for in the few calls that say so. A ring of
// states stands above `base`, the first position that is not done; done positions at the front are
// passed at once, so `base` is what is committed. Everything from window_next() on has not been
// seen yet. Positions that hold no message (holes) count as done once passed. Not thread-safe:
// lives on its source's loop.
#pragma once

#include "adapters/answer.h"
#include "core/base/util.h"

#include <stdbool.h>

#define WINDOW_POSITIONS    16384u
#define WINDOW_MARKS        256u   // positions with attempts or a due time
#define WINDOW_ATTEMPTS     60u    // of one position
#define WINDOW_DELAY_MAX_MS 60000u // of one wait

enum window_state {
	WINDOW_DONE,
	WINDOW_FLIGHT,   // handed out
	WINDOW_OPEN,     // to be handed out (again)
	WINDOW_WAITING,  // to be handed out again when its time has come
	WINDOW_REJECTED, // to be handed out once more, for its dead-letter copy
};

// What is known of a position beyond its state. attempts: how many have ended.
struct window_mark {
	uint64_t offset;
	uint64_t due_ms; // WAITING: by the group's steady clock (source_clock.c)
	uint32_t attempts;
	bool used;
};

struct window {
	uint64_t base;
	struct consumed_counts counts; // since the group began
	uint8_t *states;               // ring of enum window_state
	uint32_t head, count, room;
	uint32_t flight, open, waiting, rejected; // counts; what is left of `count` is done
	uint64_t open_from;                       // no position below is OPEN
	struct window_mark *marks; // hash by offset, open addressing, at most half full
	uint32_t mark_count, mark_room;
	uint64_t next_due_ms; // no position waits for less; UINT64_MAX: none waits
	uint64_t truncated;   // what lies below was looked at already
	// Of the commit it was read from, and for the next one: the time it was written, and what
	// the wall clock showed more than that. Both 0: not known.
	uint64_t written_ms;
	int64_t shift_ms;
};

void window_init(struct window *window, uint64_t base);
void window_deinit(struct window *window);

static inline uint64_t window_next(const struct window *window) // the first position not seen
{
	return window->base + window->count;
}

// Whether this new position may be added now, or only when something is done.
static inline bool window_fits(const struct window *window, uint64_t offset)
{
	return window->count == 0 || offset - window->base < WINDOW_POSITIONS;
}

static inline bool window_full(const struct window *window)
{
	return !window_fits(window, window_next(window));
}

// The next new position that fits, at or after window_next(); what lies between holds no message,
// and is skipped. `hole`: nor does this one; else it is in flight, attempt 1. -ENOMEM: nothing
// changed.
int window_add(struct window *window, uint64_t offset, bool hole);

enum window_state window_state_at(const struct window *window,
				  uint64_t offset); // DONE: also what is not there
const struct window_mark *window_mark_at(const struct window *window, uint64_t offset);
bool window_in_flight(const struct window *window, uint64_t offset, uint32_t attempt);

enum window_result {
	WINDOW_OK,
	WINDOW_STALE,   // not in flight, or another attempt; nothing changed
	WINDOW_CROWDED, // no room for one more attempt or due time: it must leave; nothing changed
};
enum window_result window_ack(struct window *window, uint64_t offset, uint32_t attempt);
// Due 0: at once.
enum window_result window_nack(struct window *window, uint64_t offset, uint32_t attempt,
			       uint64_t due_ms);
// As a nack, but it comes outside window_first_open(); a restart makes it an open one.
enum window_result window_reject(struct window *window, uint64_t offset, uint32_t attempt);
// The attempt does not count.
enum window_result window_release(struct window *window, uint64_t offset, uint32_t attempt);

// What has waited long enough becomes open; returns how many.
uint32_t window_wake(struct window *window, uint64_t now_ms);
// The lowest open position and the end of a stretch behind it, at most `span` long, that holds the
// open ones worth reading with it. false: nothing is open.
bool window_first_open(struct window *window, uint32_t span, uint64_t *ret_offset,
		       uint64_t *ret_until);
// The same of the rejected ones; all of the stretch are.
bool window_first_rejected(struct window *window, uint64_t *ret_offset, uint64_t *ret_until);
// Hands out an open or rejected position; returns the number of the attempt, 0: it is neither.
uint32_t window_take(struct window *window, uint64_t offset);
bool window_drop(struct window *window, uint64_t offset); // done, if open (expired, or gone)
// Everything below `first` is gone from the log: done, but for what is in flight or rejected.
void window_truncate(struct window *window, uint64_t first);

// A position leaves the window, whatever its state: done here.
void window_leave(struct window *window, uint64_t offset);

// For window_text.c.
int window_restore(struct window *window, uint64_t offset, enum window_state state,
		   uint32_t attempts, uint64_t due_ms);
