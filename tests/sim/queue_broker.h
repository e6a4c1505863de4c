// A queue broker in memory for the simulation of the held set: one group's queue and its retry
// store, a channel with a consumer, and writes that go another way.
//
// What goes to the broker and what comes from it is late, in order; a channel that is lost takes
// along what has not arrived. Nothing here calls the held set: what comes from the broker goes to
// the events of the model that started it.
#pragma once

#include "adapters/queue/held.h"

enum { QUEUE_INSTANCES = 1024, QUEUE_RECORD = 512, QUEUE_MESSAGES = 128 };

enum queue_place {
	QUEUE_GONE,
	QUEUE_READY,
	QUEUE_RETRY,  // in the retry store
	QUEUE_UNACKED // handed out
};

// One of a message: what was published, or a copy.
struct queue_instance {
	uint64_t position; // in the queue
	uint64_t tag, due_ms, ready_ms, handed_ms;
	int64_t stored_ms;
	uint32_t message, attempts, size, consumer;
	uint8_t place;
	bool given_back, copy;
	uint8_t record[QUEUE_RECORD];
};

struct queue_events {
	void (*arrived)(const struct queue_instance *instance);
	void (*passed)(void);
	void (*cancelled)(void);
	void (*written)(uint64_t number, enum queue_outcome outcome);
	void (*doubled)(uint32_t message); // it is there twice now, by no fault of the set
};

extern struct queue_broker {
	const struct queue_events *events;
	struct held_time now;
	uint64_t latency_ms;                     // of anything, at most
	unsigned refuse_in, doubt_in, double_in; // one of that number; 0: none
	bool open;
	uint32_t prefetch; // asked for last
	bool barrier;
	uint32_t unacked, writes; // of the channel; on their way
} queue_broker;

void queue_broker_start(const struct queue_events *events, struct held_time now);
void queue_broker_publish(uint32_t message, const uint8_t *record, uint32_t size, uint64_t due_ms);

void queue_broker_open(void);
void queue_broker_lose(void); // what is handed out is given back
void queue_broker_die(void);  // the owner: writes on their way happen or not, and are not answered

void queue_broker_ack(const uint64_t *tags, size_t count);
void queue_broker_barrier(void);
void queue_broker_consume(uint32_t prefetch);
void queue_broker_write(const struct queue_copy *copy, uint32_t message);

void queue_broker_work(void);        // what is to happen by now
uint64_t queue_broker_next_ms(void); // when something is, by the steady clock
bool queue_broker_is_quiet(void);    // nothing is on its way to it or from it
uint32_t queue_broker_count(enum queue_place place);
// Of the message with fewer attempts than these.
uint32_t queue_broker_instances(uint32_t message, uint32_t below);
uint64_t queue_broker_oldest_ms(void); // since when it waits for an acknowledgement; now: for none
bool queue_broker_is_written(uint32_t message); // a copy of it is on its way
