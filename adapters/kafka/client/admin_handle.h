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
// hour, and we give up after ADMIN_HANDLE_CALL_MS by ourselves.
//
// Given up is not undone: the request may still be sent. Therefore a group of which something was
// given up is asked nothing more until that has ended: no commit is overtaken by an older one. A
// handle on which something was given up is replaced soon: librdkafka may also have stopped to look
// for a coordinator, and its hour must never be over.
#pragma once

#include "adapters/kafka/client/kafka_adapter.h"

#define ADMIN_HANDLE_CALL_MS    5000    // the timeout of one blocking call
#define ADMIN_HANDLE_TIMEOUT_MS 3600000 // the longest that librdkafka takes

// One request on its way; opaque of its options.
struct admin_handle_request;
struct admin_handle;

// The handle for all that is not a message, from enter to leave: it may be replaced in between
// and it stays until every caller has left it. What is made of it ends before.
struct admin_handle_entered {
	struct adapter *adapter;
	struct admin_handle *admin;
	rd_kafka_t *handle;
};
struct admin_handle_entered admin_handle_enter(struct adapter *adapter); // @thread any
void admin_handle_leave(struct admin_handle_entered *entered);           // for _cleanup_, too

// Embedded in what the caller allocated. `answered` gets the event on the thread of the client that
// carried it, and owns the call again; the event is destroyed when it returns.
struct admin_handle_call {
	void (*answered)(struct admin_handle_call *call, rd_kafka_event_t *event);
};

void admin_handle_event(rd_kafka_event_t *event); // for the client's event handler

int admin_handle_start(struct adapter *adapter, char **ret_error);
void admin_handle_stop(struct adapter *adapter); // answers what is on its way; blocks
// The client for the next request; it stays until it is left. @thread any
struct admin_handle *admin_handle_ref(struct adapter *adapter);
struct client *admin_handle_client(const struct admin_handle *handle);
void admin_handle_unref(struct adapter *adapter, struct admin_handle *handle);
void admin_handle_given_up(struct adapter *adapter); // a request that was waited for
// Whether something that was given up is still held for a group: nothing more can be asked.
bool admin_handle_is_held(struct adapter *adapter, uint64_t group);
// Before a request about a group goes to the client's main queue: what is the opaque of its
// options; NULL: no memory. Its call is answered exactly once, perhaps before the request is sent,
// and with NULL when there was no answer in time.
// @thread any
struct admin_handle_request *admin_handle_begin(struct adapter *adapter, uint64_t group,
						struct admin_handle_call *call,
						const struct admin_handle *on);
// Replaces a client that is due for it; once in a while. Blocks. @thread watcher
void admin_handle_renew(struct adapter *adapter, uint64_t now_ns);
