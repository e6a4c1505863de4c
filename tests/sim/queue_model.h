// What the model of the held set knows of messages, and what must hold of them: tests/sim/queue.c
// tells it what happens.
#pragma once

#include "tests/sim/queue_broker.h"

#include "core/wire/record.h"

enum { QUEUE_ATTEMPTS = 64 };

enum queue_holding {
	HOLDING_NONE, // not handed out
	HOLDING_OUT,
	HOLDING_REJECTED,
	HOLDING_COPYING,
};

struct queue_message {
	uint8_t id[RECORD_ID_SIZE];
	uint32_t partition, size;
	uint64_t due_ms, expiry_ms;
	bool anonymous, excused;
	bool waits; // for its due time, which had not passed when it was sent or when it came

	enum queue_holding holding;
	bool settled;  // its end was applied; its acknowledgement may be on the way
	bool promised; // and told as durable
	bool unsure;   // its end was applied by an owner that died: it may come again, or not
	uint32_t ended, kept, least; // attempts: at most, told as durable, at least to be shown

	// Of this channel.
	uint64_t offset, number; // number: of its first arrival
	uint32_t attempt;
	bool fresh;        // arrived, without attempts, has not waited, and is not out
	uint64_t again_ms; // with attempts, and ready at that time if not out; UINT64_MAX: not
	// What came with that number of attempts: not before, by the steady clock.
	uint64_t due_at[QUEUE_ATTEMPTS];
	uint32_t nacked; // the last attempt that failed here, and when it may come again at the
			 // earliest, but for what the wall clock was set forward since
	uint64_t nack_until_ms, nack_forward_ms;
};

// A message that a settle has ended, or an attempt of it.
struct queue_settled {
	struct queue_message *message;
	uint32_t attempts; // 0: it has ended
};

extern struct queue_model {
	struct queue_message messages[QUEUE_MESSAGES];
	uint32_t count;
	uint64_t wall_most_ms, forward_ms, arrivals;
	bool forgets;         // the set remembers only a few ids
	uint32_t acked, dead; // by the current owner
} queue_model;

void queue_model_start(bool forgets);
// A new message: its record is written to `record`, of QUEUE_RECORD bytes.
struct queue_message *queue_model_make(uint32_t partition, size_t body_size, uint64_t due_ms,
				       uint32_t ttl_ms, uint8_t *record);
uint32_t queue_model_index(const struct queue_message *message);
struct queue_message *queue_model_of(const uint8_t *record);
struct queue_message *queue_model_out(uint32_t partition, uint64_t offset,
				      enum queue_holding holding, uint32_t attempt);

void queue_model_arrived(const struct queue_instance *instance);
void queue_model_delivered(const struct delivery *delivery);
// Returns whether something must become durable.
bool queue_model_settled(struct queue_message *message, const struct settle *settle,
			 struct queue_settled *ret);
void queue_model_durable(const struct queue_settled *settled);

void queue_model_void(void);   // the channel is lost
void queue_model_forget(void); // the owner is gone
void queue_model_give_up(void);
void queue_model_wall_jump(int64_t ms);

uint64_t queue_model_wall_most_ms(void); // that the clock has ever shown
uint32_t queue_model_count_out(void);
bool queue_model_any_owed(void);
void queue_model_check(void);
