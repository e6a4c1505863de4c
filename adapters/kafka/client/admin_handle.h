// The client for everything that is no message, and what is asked of coordinators of groups without
// waiting.
//
// It never sends, so that nothing waits behind messages and a fatal error of the idempotent
// producer does not end it; and it never reads: a broker that throttles a reader lets its
// connection wait.
//
// Two things of librdkafka make it what it is. A request to a coordinator that is answered
// NOT_COORDINATOR is a null pointer there unless the handle has a group id, which it never joins
// (its issue 5040, up to 2.12 at least). A request that times out before its coordinator was found
// is used after it was freed as soon as it is found (the same versions): so librdkafka is given an
// hour, and we give up after KAFKA_ASK_MS by ourselves.
//
// Given up is not undone: the request may still be sent. Therefore a group of which something was
// given up is asked nothing more until that has ended: no commit is overtaken by an older one. A
// handle on which something was given up is replaced soon: librdkafka may also have stopped to look
// for a coordinator, and its hour must never be over.
#pragma once

#include "adapters/kafka/adapter.h"

#define KAFKA_ASK_MS           5000    // the timeout of one blocking call
#define COORDINATOR_TIMEOUT_MS 3600000 // the longest that librdkafka takes

// One request on its way; opaque of its options.
struct coordinator_asked;
struct coordinator;

// The handle for all that is not a message, from enter to leave: it may be replaced in between
// and it stays until everybody has left it. What is made of it ends before.
struct kafka_handle {
	struct adapter *adapter;
	struct coordinator *coordinator;
	rd_kafka_t *handle;
};
struct kafka_handle kafka_handle_enter(struct adapter *adapter); // @thread any
void kafka_handle_leave(struct kafka_handle *entered);           // for _cleanup_, too

// Embedded in what the caller allocated. `answered` gets the event on the thread of the client that
// carried it, and owns the call again; the event is destroyed when it returns.
struct kafka_call {
	void (*answered)(struct kafka_call *call, rd_kafka_event_t *event);
};

void kafka_call_event(rd_kafka_event_t *event); // for the client's event handler

int coordinators_start(struct adapter *adapter, char **ret_error);
void coordinators_stop(struct adapter *adapter); // answers what is on its way; blocks
// The client for the next request; it stays until it is left. @thread any
struct coordinator *coordinator_enter(struct adapter *adapter);
struct client *coordinator_client(const struct coordinator *coordinator);
void coordinator_leave(struct adapter *adapter, struct coordinator *coordinator);
void coordinator_given_up(struct adapter *adapter); // a request that was waited for
// Whether something that was given up is still held for a group: nothing more can be asked.
bool coordinator_is_held(struct adapter *adapter, uint64_t group);
// Before a request about a group goes to the client's main queue: what is the opaque of its
// options; NULL: no memory. Its call is answered exactly once, perhaps before the request is sent,
// and with NULL when there was no answer in time.
// @thread any
struct coordinator_asked *coordinator_begin(struct adapter *adapter, uint64_t group,
					    struct kafka_call *call, const struct coordinator *on);
// Replaces a client that is due for it; once in a while. Blocks. @thread watcher
void coordinators_renew(struct adapter *adapter, uint64_t now_ns);
