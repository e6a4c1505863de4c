// Work that may block, and a loop for what operators ask for: neither holds up a loop of the proxy.
//
// One thread runs what the data plane waits for, in order; the admin loop runs administrative
// requests, so that they hold up no group.
#pragma once

#include "adapters/kafka/adapter.h"

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
