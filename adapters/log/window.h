// The ack window of one group on one partition: which positions are open, in flight, waiting to
// come again, or done.
//
// A pure engine: no clock, no I/O; the only allocation is the ring's growth. A ring of states
// stands above `base`, the first position that is not done; done positions at the front are passed
// at once, so `base` is what is committed. Everything from window_next() on has not been seen yet.
// Positions that hold no message (holes) count as done once passed. Not thread-safe: lives on its
// source's loop.
#pragma once

#include "core/base/util.h"

#include <stdbool.h>

#define WINDOW_POSITIONS_MAX 16384u
#define WINDOW_TEXT_MAX      4096u // what the commit metadata of Kafka can hold

enum window_state {
	WINDOW_DONE,
	WINDOW_FLIGHT,  // handed out
	WINDOW_WAITING, // to be handed out (again) when its time has come
};

struct window_slot {
	uint64_t due_ms;  // WAITING: wall clock; 0: now
	uint32_t attempt; // FLIGHT: this one's number; WAITING: how many there have been
	uint8_t state;
	bool delayed; // WAITING for the message's own due time, not for a retry
};

// Who waits, by (due, position). Entries may be out of date: valid only while the slot still waits
// with this due time.
struct window_wait {
	uint64_t due_ms;
	uint64_t offset;
};

struct window {
	struct window_slot *slots; // ring
	struct window_wait *heap;
	uint64_t base;
	uint32_t head, count, room; // count: positions from base to next
	uint32_t heap_count, heap_room;
	uint32_t flight, retrying, delayed,
		untried; // counts of open slots: in flight; waiting after an attempt; for their due
			 // time; without any attempt
	uint32_t text_limit; // 0: none
};

void window_init(struct window *window, uint64_t base, uint32_t text_limit);
void window_deinit(struct window *window);

uint64_t window_next(const struct window *window); // the first position not seen
bool window_full(const struct window *window); // nothing new may be added before something is done

// New positions come in rising order; what lies between them and window_next() holds no message.
// -ENOMEM: nothing changed.
int window_add_flight(struct window *window, uint64_t offset); // handed out, attempt 1
int window_add_delayed(struct window *window, uint64_t offset, uint64_t due_ms);
int window_add_done(struct window *window, uint64_t offset); // expired or moved elsewhere

// false: stale (not in flight, or another attempt); nothing changed.
bool window_ack(struct window *window, uint64_t offset, uint32_t attempt);
bool window_nack(struct window *window, uint64_t offset, uint32_t attempt, uint64_t due_ms);
bool window_release(struct window *window, uint64_t offset,
		    uint32_t attempt); // the attempt does not count

// The first position whose time has come, without changing it. false: none.
bool window_peek(struct window *window, uint64_t now_ms, uint64_t *ret_offset);
// How many positions from `offset` on, at most `max`, wait and are due.
uint32_t window_run(const struct window *window, uint64_t offset, uint64_t now_ms, uint32_t max);
// Takes a position that waits and whose time has come; returns the number of its next attempt, 0:
// it does not wait.
uint32_t window_take(struct window *window, uint64_t offset, uint64_t now_ms);
void window_drop(struct window *window, uint64_t offset); // done, if it waits (expired, gone)
uint64_t window_next_due_ms(struct window *window);       // UINT64_MAX: nothing waits

// Everything below `first` is gone from the log.
void window_truncate(struct window *window, uint64_t first);

// ---- commit metadata: ASCII with magic, version and CRC (window_text.c)

// Writes the epoch and what is known above `base`; returns malloc'ed text.
char *window_encode(const struct window *window, uint64_t epoch);
// Restores a window whose base is set. Positive WINDOW_E_FOREIGN: not ours or damaged; the window
// is empty above base then. `text` "" is fine.
enum { WINDOW_E_FOREIGN = 1 };
int window_decode(struct window *window, const char *text, uint64_t *ret_epoch);
