// What a backend that is a queue gives to the queue source (source.h), and what it tells it. An
// adapter for such a backend is written from this header and adapter.h; docs/queue.md says why.
//
// The backend has one queue for each group, and beside it the group's *retry store*: copies that
// come back into the queue when they are due. A source is *attached* to both for all its life. It
// consumes through one *channel* after another: a channel begins with open(), hands out messages
// under tags that are good on it alone, and ends with lost() or gone(). Then everything that was
// handed out on it and not acknowledged is back in the queue, before anything new. Copies are
// written and messages are counted beside the channel: a channel's end does not end them.
//
// Threads: every op is called on the home loop of the source, never blocks, and calls no handler
// before it returns. Every handler is called on that loop, too: a backend with threads of its own
// posts a loop_task and calls the handler from there. Events of a channel come in the order in
// which the backend has them. A handler may call ops before it returns, but not detach().
//
// Memory: what an op or a handler is given is borrowed until it returns; of a buffer the receiver
// takes a reference if it keeps the record. An attachment is the backend's, and is named by the
// source until detached().
#pragma once

#include "adapters/adapter.h"

struct queue_attachment; // the backend's own

// A message that the backend hands out.
struct queue_arrival {
	uint64_t epoch; // of its channel
	uint64_t tag;   // the backend's name for it on that channel, from 1
	struct buf *buf;
	const uint8_t *record; // wire form, checked, inside buf; its id stands for one message ever
	uint32_t partition;    // below the number of the topic's
	uint32_t attempts;     // that have ended: of a copy, what the copy says; else 0
	uint64_t due_ms;       // wall clock: of a copy; else of the record; 0: now
	int64_t stored_ms;     // when the message was first stored
	bool given_back;       // handed out before: on an earlier channel, or to another owner
	bool anonymous;        // its id was made just now: when it comes again it has another
	bool from_retry;       // it has a place of the retry store's (`retry_share`)
};

// A copy of a message that is held. Everything of it comes back with its arrival.
struct queue_copy {
	uint64_t number; // names the write
	struct buf *buf;
	const uint8_t *record;
	uint64_t due_ms; // wall clock; 0: at once
	int64_t stored_ms;
	uint32_t size, partition, attempts;
	bool renewal; // takes the place of what is held
};

enum queue_outcome {
	QUEUE_WRITTEN, // the backend keeps it, as surely as what was sent to the topic
	QUEUE_REFUSED, // certainly not stored
	QUEUE_DOUBT,   // may be stored
};

// Messages of the group that the backend has and has not handed out.
struct queue_counts {
	uint64_t ready;    // in the queue
	uint64_t retrying; // in the retry store, with attempts that have ended
	uint64_t delayed;  // there, without: they wait for their own due time
};

// What the backend tells the source. @thread the home loop
struct queue_handlers {
	// The channel of this epoch is there: the first answer to an open() that succeeds.
	void (*opened)(void *ctx, uint64_t epoch);
	// Only between a consume() and its end, and never more that are not acknowledged than the
	// prefetch of the consumer.
	void (*arrived)(void *ctx, const struct queue_arrival *arrivals, size_t count);
	// Answers one barrier(): all acknowledgements before it are durable.
	void (*passed)(void *ctx, uint64_t epoch);
	// Answers one consume(0): nothing more arrives until the next consume().
	void (*cancelled)(void *ctx, uint64_t epoch);
	// Once, the last of a channel: it could not be opened, it has failed, or it was cut.
	// The source opens the next one when it is time. What is told of the channel later is
	// ignored. `text` is for operators and names the cause; NULL: none is known.
	void (*lost)(void *ctx, uint64_t epoch, enum code code, const char *text);
	// Once, in place of lost() or when there is no channel: the queue or its topic is not
	// there any more. No op but write, count and detach is called then.
	void (*gone)(void *ctx, const char *text);
	// Answers each write() that was begun, once, whatever becomes of channel and attachment.
	// Code and text say why it was refused.
	void (*written)(void *ctx, uint64_t number, enum queue_outcome outcome, enum code code,
			const char *text);
	// Answers each count(), once. NULL: it cannot be told now.
	void (*counted)(void *ctx, const struct queue_counts *counts);
	// Answers detach(), once, the last call of all: the attachment is freed behind it.
	void (*detached)(void *ctx);
};

struct queue_attach {
	const struct group *group; // these three stay until detached()
	const struct topic *topic;
	struct adapter_topic *adapter_topic;
	struct loop *loop; // home loop
	const struct queue_handlers *handlers;
	void *ctx;
};

// What the backend does. @thread the home loop
struct queue_ops {
	// How many messages of one source may be handed out and unacknowledged, renewed ones apart:
	// as many as a group can have in flight. The contract has 6,000 in flight at once, and
	// wants a bound below 20,000.
	uint32_t messages_max;
	// Of a prefetch one place in `retry_share`, at least one, is only for what comes out of the
	// retry store, and the others, at least one, only for the queue. 0: a place is for either.
	uint32_t retry_share;
	// How many tags one ack() may name: 1 to 1,024. A batch waits for the barrier of the one
	// before, so with few of them consuming is bound to as many messages a round trip.
	uint32_t acks_max;
	// How long a delivery may stay unacknowledged before the backend ends its channel; 0: for
	// ever, as without this op. Held for half of that time it is written anew (`renewal`).
	// Asked before each channel is opened.
	uint64_t (*hold_max_ms)(struct queue_attachment *attachment);
	// Makes what the backend needs for one source, without asking the cluster. 0 or -ENOMEM.
	// A queue that is not there answers open() with gone().
	int (*attach)(struct adapter *adapter, const struct queue_attach *attach,
		      struct queue_attachment **ret);
	// Begins a channel; there is none. Answered by opened(), or by lost() or gone(). Opened is
	// a channel only when the queue has no consumer of an earlier one any more: the cluster
	// has noticed that one's end, and has put back what it held. It may take as long as the
	// cluster is away; what is answered with lost() is tried again after a wait. Epochs rise.
	void (*open)(struct queue_attachment *attachment, uint64_t epoch);
	// Ends the channel that is open, without a farewell that would confirm or reorder anything:
	// lost() comes, unless it is on its way already. Nothing is called of the channel after it.
	void (*cut)(struct queue_attachment *attachment);
	// Hands out messages from now on, of which `prefetch` may be unacknowledged; called when
	// nothing is consumed. 0: ends that, cancelled() comes, and what is handed out stays so.
	// Only while the channel is open, as are ack and barrier.
	void (*consume)(struct queue_attachment *attachment, uint32_t prefetch);
	// Acknowledges these tags; has no answer. At most `acks_max`, then a barrier.
	void (*ack)(struct queue_attachment *attachment, const uint64_t *tags, size_t count);
	// Something that the cluster answers only when the acknowledgements before it are durable:
	// passed(). One at a time.
	void (*barrier)(struct queue_attachment *attachment);
	// Stores the copy: due at once it stands at the end of the queue, else it comes there at
	// its time, not before. true: begun, written() comes. false: not begun, nothing is stored.
	// Also while no channel is open; a write that cannot be confirmed is answered in doubt and
	// not kept for later.
	bool (*write)(struct queue_attachment *attachment, const struct queue_copy *copy);
	// Counts; answered by counted(). One at a time.
	void (*count)(struct queue_attachment *attachment);
	// The last call: ends the channel, or its opening, in which case neither opened() nor
	// lost() has to come; answers what is under way; then detached(). No write is under way.
	void (*detach)(struct queue_attachment *attachment);
};
