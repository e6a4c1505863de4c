// What the files of the held set share: its members, their states, and the list that each is in.
// Below all of them.
#pragma once

#include "adapters/queue/held.h"
#include "core/base/list.h"
#include "core/base/map.h"
#include "core/base/state_table.h"

enum held_state {
	HELD_ARRIVED,
	HELD_READY,
	HELD_WAITING,
	HELD_FLIGHT,
	HELD_REJECTED,
	HELD_COPYING,
	HELD_WRITING,
	HELD_ACKING,
	HELD_STATE_COUNT
};

#define HELD_STATES(X)                                                                             \
	X(HELD_ARRIVED, "may be handed out", HELD_READY, "It is due now, or has no due time.")     \
	X(HELD_ARRIVED, "due soon", HELD_WAITING, "It is due within 60 s.")                        \
	X(HELD_ARRIVED, "due later", HELD_WRITING, "A copy with its due time is written back.")    \
	X(HELD_ARRIVED, "known or expired", HELD_ACKING,                                           \
	  "Its message has ended, is held under another tag, or has outlived its time to live.")   \
	X(HELD_WAITING, "due", HELD_READY, "Its time has come.")                                   \
	X(HELD_WAITING, "due later", HELD_WRITING,                                                 \
	  "The wall clock was set back, or it waits for long and has a tag again.")                \
	X(HELD_WAITING, "known or expired", HELD_ACKING,                                           \
	  "A copy with more attempts has come, or its time to live is over.")                      \
	X(HELD_READY, "demand", HELD_FLIGHT, "It is handed to the dispatch.")                      \
	X(HELD_READY, "known or expired", HELD_ACKING,                                             \
	  "A copy with more attempts has come, or its time to live is over.")                      \
	X(HELD_FLIGHT, "RELEASE", HELD_READY, "The same attempt, in its old place.")               \
	X(HELD_FLIGHT, "RELEASE", HELD_WAITING,                                                    \
	  "A copy with more attempts has come meanwhile, and is not due.")                         \
	X(HELD_FLIGHT, "NACK", HELD_WRITING, "A copy with one attempt more is written.")           \
	X(HELD_FLIGHT, "REJECT", HELD_REJECTED, "It waits for its dead-letter copy.")              \
	X(HELD_FLIGHT, "ACK", HELD_ACKING, "It is acknowledged to the backend.")                   \
	X(HELD_REJECTED, "demand for rejected", HELD_COPYING, "It is handed out for its copy.")    \
	X(HELD_COPYING, "RELEASE", HELD_REJECTED, "The copy has not been made.")                   \
	X(HELD_COPYING, "DEAD", HELD_ACKING, "The copy is confirmed.")                             \
	X(HELD_WRITING, "due soon", HELD_WAITING,                                                  \
	  "Its time has come near while the write was refused.")                                   \
	X(HELD_WRITING, "due", HELD_READY, "Its time has come while the write was refused.")       \
	X(HELD_WRITING, "written", HELD_ACKING, "The copy is confirmed, or has come by itself.")

// Each member is in one of these.
enum held_list {
	HELD_LIST_DUE,         // READY: has waited, or has attempts; by sequence
	HELD_LIST_NEW,         // READY: the others; by sequence
	HELD_LIST_WAIT_STEADY, // WAITING, with attempts; by the end of its delay
	HELD_LIST_WAIT_WALL,   // WAITING, without; by due time
	HELD_LIST_REJECTED,    // by sequence
	HELD_LIST_OUT,         // FLIGHT and COPYING
	HELD_LIST_TO_WRITE,    // WRITING: the next run begins
	HELD_LIST_AGAIN,       // WRITING: failed; by when it is tried again
	HELD_LIST_WRITING,     // WRITING: on its way
	HELD_LIST_ACKS,        // ACKING: the next batch
	HELD_LIST_SENT,        // ACKING: before the barrier that is on its way
	HELD_LIST_LIMBO, // ACKING: waits for a renewal's end, or for its delivery to come again
	HELD_LIST_COUNT
};

struct held_item {
	struct list in_list; // of one held_list
	struct list in_age;  // of those that may need a renewal, the longest held first
	struct map_node by_position, by_write;
	struct held_id *id; // counted there; NULL: the lesser one of two deliveries
	struct held_waiter *waiter;
	struct held_item *follower; // ended, but told durable only together with this one
	struct held_item *spare;    // while a renewal is on its way: what acknowledges the original
	struct buf *buf;            // NULL: its record is not needed any more
	const uint8_t *record;
	uint64_t tag; // 0: the backend has not handed it out on this channel
	uint64_t sequence, offset, order;
	uint64_t due_ms, expiry_ms, since_ms, again_ms;
	uint64_t write, write_tag; // number of the write on its way, 0: none; of which delivery
	int64_t stored_ms;
	uint32_t size, partition, consumer;
	uint32_t attempts;       // that have ended
	uint32_t tag_attempts;   // of those, what the backend's message says
	uint32_t write_attempts; // what the copy says
	uint32_t attempt;        // handed out under
	uint8_t state, list;
	bool was_due;  // goes before what is new
	bool renewing; // the write on its way is a renewal
	bool awaited;  // its renewal is written and has not come
	bool lost;     // WRITING while its channel was lost
	bool anonymous;
	bool from_retry; // its tag
};

struct held_consumption {
	uint32_t prefetch; // of the consumer; 0: there is none
	uint32_t consumer; // its number
	uint32_t own;      // tags of it
	uint32_t retry;    // of those, in places of the retry store
	uint32_t largest;  // bytes of a message, seen lately
	bool cancelling, crowded;
	uint64_t quiet_since_ms; // no demand since; UINT64_MAX: there is
	uint64_t proof_since_ms; // it could have handed out more since; UINT64_MAX: it could not
};

struct held {
	const struct held_limits *limits;
	const struct held_ops *ops;
	void *ctx;
	struct held_time time; // of the event under way
	uint64_t epoch;
	bool open, closing, closed;
	bool tell_lost, broken; // broken: a delivery was left out, the channel must go
	bool reopen_told, barrier;

	struct list lists[HELD_LIST_COUNT], age;
	uint32_t counts[HELD_STATE_COUNT];
	struct map positions, writes;
	struct map_node stay_positions, stay_writes; // a map that has had a member never fails
	uint64_t *next_offsets;                      // of each partition
	uint32_t partitions;
	uint64_t sequence, write_number;
	uint32_t writes_open; // on their way
	uint32_t tags;        // that the backend counts as ours
	uint32_t limbo;       // in that list
	uint32_t awaited;
	uint64_t bytes;
	uint64_t renew_again_ms; // no renewal before

	struct held_ids {
		struct held_id **slots;
		struct list ended; // the oldest first
		uint32_t room, count, ended_count;
	} ids;
	struct held_waiter *answered, **answered_end;

	uint32_t demand_messages, demand_rejected;
	uint64_t demand_bytes;
	struct held_consumption use;
	uint64_t acked, dead, expired;
};

// A transition that HELD_STATES does not have is a fault of ours.
void held_state_set(struct held *held, struct held_item *item, enum held_state state);
void held_state_delist(struct held *held, struct held_item *item); // a follower alone is in none
void held_state_enlist(struct held *held, struct held_item *item, enum held_list list);
// By item->order, behind those of the same.
void held_state_enlist_by(struct held *held, struct held_item *item, enum held_list list);
struct held_item *held_state_first(const struct held *held, enum held_list list); // NULL: none

struct held_item *held_state_item_new(struct held *held); // ARRIVED, in no list; NULL: no memory
void held_state_item_free(struct held *held, struct held_item *item); // without id and waiter
void held_state_record_keep(struct held *held, struct held_item *item, struct buf *buf,
			    const uint8_t *record);
void held_state_record_drop(struct held *held, struct held_item *item);

// The tag counts to the consumer that runs; it must have none.
void held_state_tag_set(struct held *held, struct held_item *item, uint64_t tag, bool from_retry);
uint64_t held_state_tag_take(struct held *held, struct held_item *item);
void held_state_tag_swap(struct held_item *one, struct held_item *other); // either may have none
void held_state_await(struct held *held, struct held_item *item, bool awaited);

// Gives it its offset and sequence, unless it has them.
void held_state_position_set(struct held *held, struct held_item *item);
void held_state_position_drop(struct held *held, struct held_item *item);
struct held_item *held_state_at(const struct held *held, uint32_t partition, uint64_t offset);

void held_state_write_set(struct held *held, struct held_item *item, bool renewal);
void held_state_write_drop(struct held *held, struct held_item *item); // its answer says nothing
struct held_item *held_state_writing(const struct held *held, uint64_t number); // NULL: dropped

// It has a tag and nothing renews it: it ages from `since_ms` on.
void held_state_age(struct held *held, struct held_item *item, bool first);
