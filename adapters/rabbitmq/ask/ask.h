// Requests to the cluster on the ask link: a list of steps, one after the other. A step that the
// broker refuses closes the channel; the next request opens another.
#pragma once

#include "adapters/rabbitmq/link/rabbitmq_adapter.h"

enum rabbitmq_verb {
	RABBITMQ_EXCHANGE_LOOK, // is it there?
	RABBITMQ_EXCHANGE_DECLARE,
	RABBITMQ_EXCHANGE_DELETE,
	RABBITMQ_QUEUE_LOOK,
	RABBITMQ_QUEUE_DECLARE,
	RABBITMQ_QUEUE_DELETE,
	RABBITMQ_QUEUE_PURGE,
	RABBITMQ_BIND,
	RABBITMQ_UNBIND,
};

// Of a declare. Of an exchange: `kind` is "fanout" and `internal`; of a queue the rest.
struct rabbitmq_shape {
	const char *kind; // of an exchange: "fanout", …; of a queue: "quorum", "classic", "stream"
	bool internal;    // an exchange that no client publishes to
	uint32_t replication; // of a quorum queue or stream; 0: the broker's default
	uint64_t
		ttl_ms; // a level: messages go to the default exchange when it is over; 0: no level
	const char *dead_letter_key;  // of a level: where to
	uint64_t keep_ms, keep_bytes; // of a stream; 0: without end
};

struct rabbitmq_step {
	uint8_t verb;         // enum rabbitmq_verb
	bool may_miss;        // that it is not there (404) is no failure of the request
	bool may_differ;      // nor that it is there in another shape (406)
	const char *name;     // of the exchange or queue
	const char *exchange; // BIND, UNBIND: of the queue `name`
	struct rabbitmq_shape shape;
	// Out.
	bool missing;                 // it is not there (never an error of a delete)
	bool differs;                 // it is there in another shape
	uint64_t messages, consumers; // of a queue: LOOK, DECLARE; messages: PURGE, DELETE
};

// Owned by the caller until done(); lies in it.
struct rabbitmq_ask {
	struct adapter *adapter;
	struct rabbitmq_step *steps;
	size_t count;
	uint64_t deadline_ns; // monotonic; 0: timeout_ms from now
	uint64_t rest_ns;     // it begins so long after the call
	// OK when all steps were carried out; else what the first one that failed met, in words
	// that name the cluster: NOT_FOUND (404), CONFLICT (406: another shape), FORBIDDEN (403),
	// BACKEND_DOWN, TIMEOUT, BACKEND_ERROR, OVERLOADED. Steps behind it were not begun; with
	// TIMEOUT and BACKEND_DOWN it is not known whether that one was carried out. A step that
	// the end of a connection leaves without an answer is sent again on the next one.
	void (*done)(struct rabbitmq_ask *ask, enum code code,
		     const char *text); // @thread ask link
	// ask.c's.
	struct loop_task task;
	struct list in_queue;
	uint64_t begin_ns;
	size_t next;
};

int rabbitmq_ask_start(struct adapter *adapter); // the link is there
// Answers all, and from then on every request at once, SHUTTING_DOWN; blocks. @thread any but the
// link's
void rabbitmq_ask_stop(struct adapter *adapter);
void rabbitmq_ask_free(struct adapter *adapter); // the link is stopped
void rabbitmq_ask_run(struct rabbitmq_ask *ask); // @thread any; never blocks
// What the link has met, as its `changed` tells it: requests that wait for it say so, and where
// waiting does not help they end. @thread the link's loop
void rabbitmq_ask_link_changed(struct adapter *adapter, enum code code, const char *text);
