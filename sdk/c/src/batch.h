// A batch of a producer: records in wire form, and an entry for each.
#pragma once

#include "core/base/buf.h"
#include "core/base/list.h"
#include "core/base/util.h"
#include "core/wire/produce.h"
#include "sdk/c/include/mqpaas/mqpaas.h"

#include <stdbool.h>

// Room in front of the records of a batch for the head of PRODUCE, so that a batch leaves as it
// lies.
#define BATCH_HEAD_SIZE ((uint32_t)PRODUCE_HEAD_SIZE)

enum batch_flag {
	BATCH_KEYED = 1,        // has a key: its order counts
	BATCH_MAYBE_STORED = 2, // an attempt ended UNKNOWN
	BATCH_ENDED = 4,        // reported
};

struct batch_entry {
	mqp_send_fn done;
	void *arg;
	uint64_t deadline_ns;
	uint32_t at;       // offset of the record in the batch's bytes
	uint16_t attempts; // times it was given to a connection
	uint8_t code;      // of the last attempt; OK: none has ended
	uint8_t flags;
};

struct batch {
	struct list node;
	struct buf *buf; // BATCH_HEAD_SIZE, then the records
	struct batch_entry *entries;
	uint32_t size; // bytes used in buf
	uint32_t count;
	uint32_t capacity; // of entries
	uint32_t checked;  // bytes whose records are in `crc`
	uint32_t crc;
	uint32_t keyed;    // entries with BATCH_KEYED
	uint64_t number;   // of the PRODUCE frame; 0: not sent
	uint64_t serial;   // in order of opening; kept when divided
	uint64_t first_ns; // when its first message came
	uint64_t deadline_ns;
	uint32_t ended;          // entries reported and not yet counted: the driver's
	uint32_t over;           // entries reported and counted
	uint32_t retry_after_ms; // greatest the answers asked for
	bool progress;           // the last round had an OK, or its connection was lost
	bool paced; // what failed in it waits for the turn of its producer, not for a pause
	bool alone; // what failed in it failed for reasons of its own messages, not of all
};

int batch_new(struct batch **ret);
// An empty one with room for all of `model`, so that dividing cannot fail half-way.
int batch_new_like(const struct batch *model, struct batch **ret);
void batch_free(struct batch *batch);  // accepts NULL
void batch_empty(struct batch *batch); // for reuse
// Makes room for `count` more records of `bytes` together. -ENOMEM.
int batch_reserve(struct batch *batch, uint32_t count, size_t bytes);
// The place of one record more, which the caller writes; there is room.
static inline uint8_t *batch_append(struct batch *batch, const struct batch_entry *entry,
				    size_t record_size)
{
	struct batch_entry *slot = &batch->entries[batch->count++];
	uint8_t *record = batch->buf->data + batch->size;

	assert(batch->size + record_size <= batch->buf->size);
	*slot = *entry;
	slot->at = batch->size;
	batch->size += (uint32_t)record_size;
	batch->keyed += (entry->flags & BATCH_KEYED) != 0;
	batch->deadline_ns = MIN(batch->deadline_ns, entry->deadline_ns);
	return record;
}

// Takes the records so far, all of them written, into the checksum, if they are worth a step.
void batch_check(struct batch *batch);
// The checksum of the batch as a payload, whose head is there now.
uint32_t batch_crc(const struct batch *batch);

uint64_t batch_charge(const struct batch *batch);                // what it takes of memory_bytes
uint32_t batch_fitting(const struct batch *batch, size_t limit); // records in a payload

typedef bool (*batch_choose_fn)(const struct batch_entry *entry, const uint8_t *record,
				const void *arg);
// Moves the chosen entries to `to` (NULL: forgets them) and closes the gaps. `to` has room.
void batch_divide(struct batch *batch, struct batch *to, batch_choose_fn choose, const void *arg);
