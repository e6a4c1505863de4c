// What the files of the queue source share; source.c says how they play together. Below all of
// them: what each may do to the whole.
#pragma once

#include "adapters/queue/held.h"
#include "adapters/queue/queue.h"
#include "core/base/state_table.h"

enum queue_channel {
	QUEUE_CHANNEL_NONE,
	QUEUE_CHANNEL_OPENING,
	QUEUE_CHANNEL_OPEN,
	QUEUE_CHANNEL_CUT,
	QUEUE_CHANNEL_GONE,
};

#define QUEUE_CHANNEL_STATES(X)                                                                    \
	X(QUEUE_CHANNEL_NONE, "timer", QUEUE_CHANNEL_OPENING,                                      \
	  "The source is opened, or the wait after a loss is over.")                               \
	X(QUEUE_CHANNEL_NONE, "gone", QUEUE_CHANNEL_GONE,                                          \
	  "The backend has seen that the queue is not there any more.")                            \
	X(QUEUE_CHANNEL_OPENING, "opened", QUEUE_CHANNEL_OPEN,                                     \
	  "The queue has no other consumer of ours: messages may come.")                           \
	X(QUEUE_CHANNEL_OPENING, "lost", QUEUE_CHANNEL_NONE,                                       \
	  "It could not be opened: a longer wait begins.")                                         \
	X(QUEUE_CHANNEL_OPENING, "gone", QUEUE_CHANNEL_GONE, "There is no such queue.")            \
	X(QUEUE_CHANNEL_OPEN, "lost", QUEUE_CHANNEL_NONE,                                          \
	  "All that was handed out is void; a wait begins.")                                       \
	X(QUEUE_CHANNEL_OPEN, "no memory", QUEUE_CHANNEL_CUT,                                      \
	  "A delivery was left out: it comes again on the next channel.")                          \
	X(QUEUE_CHANNEL_OPEN, "gone", QUEUE_CHANNEL_GONE, "The queue was deleted.")                \
	X(QUEUE_CHANNEL_CUT, "lost", QUEUE_CHANNEL_NONE, "As from OPEN.")                          \
	X(QUEUE_CHANNEL_CUT, "gone", QUEUE_CHANNEL_GONE, "As from OPEN.")

struct source {
	struct adapter *adapter;
	const struct queue_ops *ops;
	struct source_config config;
	struct queue_attachment *attachment;
	struct held_limits limits;
	struct held *held;
	enum source_state state;
	uint64_t counted_bytes; // told to the opener
	bool crowded;           // there was no room for more

	// The channel (source_channel.c).
	enum queue_channel channel; // queue_source_state_set_channel() changes it
	uint64_t epoch;             // of it, or of the last one
	uint64_t opened_ns;         // since when it is open
	uint64_t backoff_ms;        // of the last wait; 0: there was none
	uint64_t open_at_ns;        // the end of the wait; 0: there is none
	uint64_t refused_ns;        // when a copy was refused last; 0: none is

	// What the backend counts (source_backlog.c).
	struct queue_counts counts;
	bool counts_known, counting, counts_changed;
	uint64_t counting_ns; // when it was asked last

	struct loop_timer timer;
	struct loop_task pump;
	bool pump_posted;

	bool closing, drained, detaching,
		detached;  // drained: the engine is closed, and holds nothing
	bool held_closing; // the engine knows that it closes
	void (*closed)(void *ctx);
	void *closed_ctx;
};

// Tells the opener a state that is not the current one, and nothing while it closes. A transition
// that SOURCE_STATES does not have is a fault of ours.
void queue_source_state_set(struct source *source, enum source_state state, enum code code,
			    const char *text);
// A transition that QUEUE_CHANNEL_STATES does not have is a fault of ours.
void queue_source_state_set_channel(struct source *source, enum queue_channel channel);
// The pump runs once this turn of the loop is over.
void queue_source_state_pump_later(struct source *source);
uint64_t queue_source_state_now_ns(const struct source *source);
struct held_time queue_source_state_time(const struct source *source); // of both clocks
