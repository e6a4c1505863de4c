// The deliveries that a queue backend has handed to one group's source and that are not yet
// acknowledged there: what is handed on, what is settled, and what becomes of it when the channel
// is lost. docs/queue.md says what is promised.
//
// A pure engine: no clock, socket, thread or loop. Events change the set and call nothing back; all
// actions come out of held_run(), through the ops. An op may call held_demand() and held_settle(),
// which then need another held_run(); it may call nothing else of the set. Not thread-safe.
#pragma once

#include "adapters/queue/queue.h"

struct held;

#define HELD_NEAR_MS  60000u // what is due within this is held, what is due later is written back
#define HELD_AGAIN_MS 1000u  // until a write that failed is tried again
#define HELD_QUIET_MS 5000u  // without demand: then nothing is consumed
#define HELD_PROOF_MS 60000u // of an idle consumer: what has not come again will not come
#define HELD_ACKS_MAX 1024u  // the largest batch of acknowledgements

// What time it is: the wall clock for due times and times to live, a steady one for delays and
// timeouts.
struct held_time {
	uint64_t wall_ms, steady_ms;
};

struct held_limits {
	uint32_t messages_max; // held at once, at least 1
	uint64_t bytes_max;    // what is on its way when they are reached comes beyond them
	uint64_t crowd_bytes;  // in their place while there is no memory for more: held_crowd()
	uint64_t renew_ms;     // what is held so long is renewed; 0: never
	uint32_t ended_max;    // ids of what has ended that are remembered, at least 1
	uint32_t acks_max;     // acknowledgements of a batch, 1 to HELD_ACKS_MAX
	uint32_t retry_share;  // as in struct queue_ops
};

struct held_ops {
	// At most what was demanded, but for the bytes of one message. A record stays until its
	// delivery is settled.
	void (*deliver)(void *ctx, const struct delivery *deliveries, size_t count);
	// Acknowledges tags of the open channel; at most `acks_max`, then a barrier.
	void (*ack)(void *ctx, const uint64_t *tags, size_t count);
	// Something that the backend answers behind the acknowledgements: held_passed().
	void (*barrier)(void *ctx);
	// true: answered once with held_written(), whatever becomes of the channel. false: refused,
	// there is no other answer. Borrowed, but for the buffer, of which the callee takes a
	// reference.
	bool (*write)(void *ctx, const struct queue_copy *copy);
	// Begins to consume with this prefetch, only when nothing is consumed; 0: cancels, answered
	// with held_cancelled().
	void (*consume)(void *ctx, uint32_t prefetch);
	// What was handed out is void: its receipts are stale, and it comes again.
	void (*lost)(void *ctx);
	// There was no memory for a delivery, which stays unacknowledged: the channel must be lost
	// and opened anew.
	void (*reopen)(void *ctx);
	// After held_close(), once and last: the set may be freed in it.
	void (*closed)(void *ctx);
};

// Called once by a later held_run(). CODE_OK: durable; CODE_CONNECTION_LOST: given up at a loss or
// a close; CODE_OVERLOADED: too many wait.
typedef void (*held_done_fn)(void *ctx, enum code code);

// With what the backend counts itself, the backlog of the group.
struct held_backlog {
	uint64_t ready, in_flight, retrying, delayed;
	uint64_t twice;                // of these the backend has a copy, which it counts as ready
	uint64_t acked, dead, expired; // since held_new()
};

// -ENOMEM. Limits and ops are borrowed: they outlive the set.
int held_new(const struct held_limits *limits, uint32_t partitions, const struct held_ops *ops,
	     void *ctx, struct held **ret);
void held_free(struct held *held); // any time; no op or done is called any more; NULL: nothing

// A channel, when the backend has no consumer of ours any more: what the one before held has been
// given back, and comes before anything new. Epochs rise.
void held_opened(struct held *held, uint64_t epoch, struct held_time time);
// Of a channel of another epoch, these three change nothing.
void held_arrived(struct held *held, const struct queue_arrival *arrival, struct held_time time);
void held_passed(struct held *held, uint64_t epoch);
void held_cancelled(struct held *held, uint64_t epoch);
void held_written(struct held *held, uint64_t number, enum queue_outcome outcome,
		  struct held_time time);
void held_lost(struct held *held); // when there is a channel
// No memory of the process for more: only `crowd_bytes` are held, once more than that is settled.
void held_crowd(struct held *held, bool crowded);

void held_demand(struct held *held, uint32_t messages, uint64_t bytes, uint32_t rejected,
		 struct held_time time); // replaces the one before
// Codes are set on return. done may be NULL. -ENOMEM: applied, but done is not called.
int held_settle(struct held *held, struct settle *settles, size_t count, held_done_fn done,
		void *done_ctx, struct held_time time);
// What is settled becomes durable, the rest is given up, nothing is handed out.
void held_close(struct held *held);

void held_run(struct held *held, struct held_time time);
// When held_run() is needed at the latest, by the steady clock; UINT64_MAX: not before an event.
// What waits by the wall clock may wait shorter or longer when that is set.
uint64_t held_next_ms(const struct held *held, struct held_time time);

struct held_backlog held_backlog(const struct held *held);
uint64_t held_bytes(const struct held *held); // of the records in memory
