// What the files of the log source share; source.c says how they play together. Below all of them:
// what each may do to the whole.
#pragma once

#include "adapters/log/log.h"
#include "adapters/log/retry_inflight.h"
#include "adapters/log/window.h"
#include "core/base/state_table.h"

#define SOURCE_BATCH    256u // deliveries in one call of the handler
#define SOURCE_RETRY_NS S_NS // between two tries of what failed

enum fetch_slot { FETCH_IDLE, FETCH_RUNNING, FETCH_ARRIVED };

struct part {
	struct source *source;
	struct window window;
	uint32_t number;
	bool dirty;  // its cursor must be committed
	bool failed; // the last fetch failed: it waits for the timer

	struct log_fetch again; // of open positions
	bool again_running;
	struct log_fetch fetch; // of new positions
	uint8_t fetch_slot;     // enum fetch_slot
	struct log_fetch stash; // arrived before; buf NULL: empty
	uint32_t stash_at;
	uint64_t again_held, fetch_held, stash_held; // their bytes, counted (source_memory.c)
	uint64_t read_at;                            // the next new position to fetch

	// Which position holds the head, since when, and what had been seen then.
	uint64_t head, head_since_ns, head_limit;

	uint64_t waiting_retry, waiting_delay;       // in the retry store, not taken out
	uint32_t inflight_ready, inflight_delivered; // taken out of it
};

struct waiter {
	struct waiter *next;
	void (*done)(void *ctx, enum code code);
	void *ctx;
};

// What time it is (source_clock.c). All are milliseconds since 1970.
struct source_time {
	uint64_t wall_ms;   // for what has a due time or an end of its own
	uint64_t steady_ms; // for delays
};

struct source_clock {
	int64_t ahead_ms; // the wall clock before the monotonic one, when last looked at
	int64_t shift_ms; // the wall clock before the steady one
};

// A row of the retry store without attempts waits for the due time of its message, one with
// attempts for the end of a delay. While both clocks show the same time, one look into the store
// takes all that is due; else each kind has its own.
enum { LOOK_OWN, LOOK_DELAYS, LOOKS };

struct retry_look {
	struct log_retry after; // where the next look into the store begins
	uint64_t at_ms;         // when, by its clock; UINT64_MAX: nothing waits
};

// Writes of the retry store, in order.
struct retry_list {
	struct log_retry *items;
	uint32_t count, room;
};

// What a source is at, from opening until its group is gone. It may be closed in each of them
// (`closing`); what its handlers are told is enum source_state.
enum source_phase { PHASE_LOADING, PHASE_LOAD_FAILED, PHASE_CLAIMING, PHASE_OPEN, PHASE_GONE };

#define SOURCE_PHASE_STATES(X)                                                                     \
	X(PHASE_LOADING, "loaded", PHASE_CLAIMING,                                                 \
	  "The cursors are read; a commit with the new epoch is on its way.")                      \
	X(PHASE_LOADING, "cannot be read", PHASE_LOAD_FAILED, "The cursors cannot be read now.")   \
	X(PHASE_LOADING, "not found", PHASE_GONE, "The group is not on its backend.")              \
	X(PHASE_LOAD_FAILED, "timer", PHASE_LOADING, "The cursors are read once more.")            \
	X(PHASE_CLAIMING, "committed", PHASE_OPEN,                                                 \
	  "The epoch is durable: messages may be handed out.")                                     \
	X(PHASE_CLAIMING, "not found", PHASE_GONE, "The group is not on its backend any more.")    \
	X(PHASE_CLAIMING, "stale", PHASE_GONE, "Another owner has begun the group anew.")          \
	X(PHASE_OPEN, "not found", PHASE_GONE,                                                     \
	  "The topic or the group is not on its backend any more.")                                \
	X(PHASE_OPEN, "stale", PHASE_GONE, "Another owner has begun the group anew.")

struct source {
	struct adapter *adapter;
	const struct log_ops *ops;
	struct source_config config;
	struct part *parts;
	uint32_t part_count, turn;
	struct source_clock clock;

	uint32_t demand_messages, demand_rejected;
	uint64_t demand_bytes;
	uint64_t idle_since_ns; // no demand since; 0: there is
	uint64_t again_ns;      // what failed is tried again; 0: nothing has

	// Message memory (source_memory.c).
	uint64_t new_bytes, open_bytes; // of what is read: new positions, open ones
	uint64_t memory_wait_ns;        // it waits for room, so long; 0: it does not
	bool memory_short;              // a read of this pump was put off

	struct delivery deliveries[SOURCE_BATCH];
	size_t delivery_count;

	// Commits (source_commit.c).
	struct log_cursors cursors; // the load, then commits
	bool committing, commit_failed;
	enum code commit_code;
	struct waiter *waiters, **waiters_end;
	struct waiter *waiters_under_way;
	uint64_t commit_at_ns; // 0: nothing to commit

	// The retry store (source_retry.c).
	struct retry_list retries; // to be committed; those under way are in cursors
	uint32_t retries_room;     // of cursors.retries
	struct retry_inflight_set inflight;
	struct log_due due;
	bool taking, due_rewound; // while taking: something came that may lie before
	bool due_for_copies;      // while taking: only what was rejected is taken out
	bool due_passed;          // such a look has passed something over
	struct retry_look looks[LOOKS];
	uint8_t look;   // the one under way, or the last one
	bool look_both; // while taking: for rows of both kinds

	struct log_watch watch;
	struct loop_timer timer;
	struct loop_task pump;
	bool pump_posted, pumping;
	enum source_state state;
	enum source_phase phase; // source_state_set_phase() changes it
	uint64_t epoch;

	bool closing;
	void (*closed)(void *ctx);
	void *closed_ctx;
};

// Tells the handlers a state that is not the current one. A transition that neither SOURCE_STATES
// nor SOURCE_LOG_STATES have is a fault of ours.
void source_state_set(struct source *source, enum source_state state, enum code code,
		      const char *text);
// A transition that SOURCE_PHASE_STATES does not have is a fault of ours.
void source_state_set_phase(struct source *source, enum source_phase phase);
// Something failed that is tried again.
void source_state_set_down(struct source *source, enum code code, const char *text);
// The topic or the group is gone: nothing is read or written any more.
void source_state_set_gone(struct source *source, const char *text);
// The pump runs once this turn of the loop is over.
void source_state_pump_later(struct source *source);
// The partition's cursor is committed soon.
void source_state_mark_dirty(struct part *part);
