// The broker that several owners of a group stand on: the topic, its offsets, a compacted retry
// topic, and the order of the adapter's steps (load: offsets, then rows; commit: rows, and when all
// are acknowledged offsets), each step of which may be late, fail, or fail and happen later.
//
// No owner is fenced: what one asked for may happen long after it died. Only the rows in memory
// are the adapter's own (adapters/kafka/retry/retry_rows.c).

#pragma once

#include "adapters/kafka/retry/retry_rows.h"
#include "adapters/log/log.h"
#include "core/base/clock.h"
#include "core/base/list.h"

enum { BROKER_PARTITIONS = 2, BROKER_MESSAGES = 60, BROKER_RECORDS = 20000 };

struct adapter { // one life of an owner
	struct adapter *next;
	uint64_t log_life; // of the topic, as it was when the owner began
	uint64_t ends[BROKER_PARTITIONS];
	struct source *source; // NULL: closed
	struct retry_rows rows;
	uint64_t read_to; // of the retry topic
	uint64_t epoch;
	uint32_t works; // under way
	bool dead;      // nothing it asked for goes on
	bool gone;      // its source is, because a fence has made it void
	bool closing, closed, closing_works;
};

struct broker_message {
	uint64_t due_ms;
	bool acked;   // some owner has accepted the ack
	bool skipped; // the group was moved past it
	uint8_t record[112];
	uint32_t size;
};

// One message of the retry topic; its place is its offset.
struct broker_record {
	uint8_t key[RETRY_KEY];
	uint8_t *value; // NULL: a tombstone
	uint32_t size;
	bool gone; // compacted
};

extern struct broker {
	struct loop *loop;
	uint32_t log;         // how often the topic was deleted and made anew
	bool marked;          // an owner has found that out
	uint64_t life;        // of the topic, then
	uint64_t epoch_floor; // the greatest that a fence has
	struct broker_message messages[BROKER_PARTITIONS][BROKER_MESSAGES];
	uint32_t counts[BROKER_PARTITIONS];
	struct {
		uint64_t position;
		char *text;
	} offsets[BROKER_PARTITIONS];
	struct broker_record records[BROKER_RECORDS];
	uint32_t record_count;
	struct list works, watches;
	uint64_t delay_ns;
	unsigned fail;    // one step in this number; 0: none
	uint32_t pending; // on its way, whatever becomes of the sender
} broker;

extern const struct log_ops broker_ops;

static inline uint64_t now_ms(void)
{
	return (uint64_t)clock_wall_ms();
}

void broker_start(struct loop *loop);
void broker_end(void);                                   // nothing may be under way
void broker_append(uint32_t partition, uint64_t due_ms); // a message of the topic, if there is room
void broker_begin_anew(
	void); // deletes the topic past the owners, and with it its offsets, and makes it anew
uint64_t broker_epoch_above(uint64_t epoch); // of a fence
uint64_t broker_life(void); // what an owner that begins now takes the topic for, and marks it
uint32_t broker_log_of(const uint8_t *record); // in which log it was written
// A message of the retry topic; its offset. No value: a tombstone.
uint64_t broker_put(const uint8_t key[RETRY_KEY], const uint8_t *value, uint32_t size);
void broker_fence_put(uint64_t epoch, const uint64_t *positions);
bool broker_is_fenced(const struct retry_rows *rows, uint64_t life); // all partitions are
void broker_compact(void);
void broker_rows_read(struct retry_rows *rows, uint64_t from, uint64_t to);
void broker_commit(uint32_t partition, uint64_t position, const char *text);
void broker_commit_late(const struct log_cursor *cursor); // some time from now on
void broker_offsets_read(struct log_cursor *cursors);     // every partition; texts are malloc'ed
// What is durable holds every message that no consumer acknowledged and no reset passed.
void broker_check(bool at_the_end);
