// Requests to the cluster that are not messages: admin calls, answered on a client's thread,
// and questions for which librdkafka has only blocking calls, asked on a thread of their own.
#pragma once

#include "adapters/kafka/kafka.h"

struct coordinator;

// ---- the handle

// The handle for all that is not a message, from enter to leave: it may be replaced in between
// (admin_handle.h), and it stays until everybody has left it. What is made of it ends before.
struct kafka_handle {
	struct adapter *adapter;
	struct coordinator *coordinator;
	rd_kafka_t *handle;
};
struct kafka_handle kafka_handle_enter(struct adapter *adapter); // @thread any
void kafka_handle_leave(struct kafka_handle *entered);           // for _cleanup_, too

// ---- admin calls

// Embedded in what the caller allocated. `answered` gets the event on the thread of the client that
// carried it, and owns the call again; the event is destroyed when it returns.
struct kafka_call {
	void (*answered)(struct kafka_call *call, rd_kafka_event_t *event);
};

void kafka_call_event(rd_kafka_event_t *event); // for the client's event handler

// The same for who may block: begin, the request on `handle` with both members, end. What concerns
// a group goes to its coordinator (admin_handle.h).
struct kafka_wait {
	struct kafka_handle entered;
	rd_kafka_t *handle;
	bool coordinated;
	rd_kafka_AdminOptions_t *options;
	rd_kafka_queue_t *queue;
	rd_kafka_event_t *event;
};
void kafka_wait_begin(struct adapter *adapter, rd_kafka_admin_op_t operation,
		      struct kafka_wait *wait);
// Waits for the answer; the error of the request as a whole. *ret_text lives until deinit.
rd_kafka_resp_err_t kafka_wait_end(struct kafka_wait *wait, const char **ret_text);
// The same for who asks for one topic to be made, grown or deleted: also the error of the topic.
rd_kafka_resp_err_t kafka_wait_topic_end(struct kafka_wait *wait, const char **ret_text);
void kafka_wait_deinit(struct kafka_wait *wait);

// ---- blocking questions

struct kafka_question {
	struct kafka_question *next;
	struct loop_task task; // aside
	struct adapter *adapter;
	void (*run)(struct adapter *adapter, struct kafka_question *question); // owns it; may block
};

int kafka_questions_start(struct adapter *adapter);
void kafka_questions_stop(struct adapter *adapter); // runs what waits, then returns
void kafka_ask(struct adapter *adapter, struct kafka_question *question); // @thread any
// The same for what people ask for: it holds up no group. It is a loop of the adapter's own, so
// that what was asked can go on with letters.
void kafka_ask_aside(struct adapter *adapter, struct kafka_question *question); // @thread any
struct loop *kafka_aside(struct adapter *adapter);
// What waits there has run, and kafka_leaving() is true for all that comes. Blocks.
void kafka_aside_drain(struct adapter *adapter);
bool kafka_leaving(struct adapter *adapter);
#define KAFKA_ASK_MS 5000 // the timeout of one blocking call
