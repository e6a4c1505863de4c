// Settles of one subscription on their way to the proxy: runs are joined; any number of batches may
// be at the proxy, each under its number. Pure; the owner's lock protects it.
#pragma once

#include "core/base/list.h"
#include "core/wire/settle.h"
#include "sdk/c/include/mqpaas/mqpaas.h"

// Entries before `from` are answered, the next `flying` are at the proxy under `number`.
struct settle_queue_batch {
	struct settle_entry *entries;
	uint32_t count;
	uint32_t capacity;
	uint32_t from;
	uint32_t flying;
	uint64_t number;
	uint64_t messages; // that were added
};

// A batch that left.
struct settle_queue_sent {
	struct list node;
	struct settle_queue_batch batch;
};

// A caller that waits for its own settles; lives on the caller's stack.
struct settle_queue_call {
	struct list node;
	struct settle_queue_batch batch;
	enum mqp_code *codes; // one per entry
	bool done;
	bool lost; // the subscription ended before the last answer
};

struct settle_queue {
	struct settle_queue_batch open;
	struct list sent;                // of struct settle_queue_sent, oldest first
	struct settle_queue_sent *spare; // its memory is used again
	struct list calls;               // of struct settle_queue_call, not done
	uint64_t next_number;
};

// What an answer said, for the counters.
struct settle_queue_tally {
	uint64_t settled[WIRE_VERB_COUNT];
	uint64_t stale;
	enum mqp_code code; // the first that is neither OK nor STALE
};

void settle_queue_init(struct settle_queue *queue);
void settle_queue_deinit(struct settle_queue *queue);

// Appends to a batch, joined to its last run where it continues it. -ENOMEM.
int settle_queue_add(struct settle_queue_batch *batch, const struct settle_entry *entry);

// The next batch of which `flying` entries (at most `max_entries`) are to be encoded and sent;
// NULL: none, or no memory for it now. Calls go first.
const struct settle_queue_batch *settle_queue_take(struct settle_queue *queue,
						   uint32_t max_entries);
bool settle_queue_idle(const struct settle_queue *queue); // nothing open, sent or called
size_t settle_queue_encoded_size(const struct settle_queue_batch *batch);
void settle_queue_encode(const struct settle_queue_batch *batch, uint8_t *payload);

// Applies a SETTLED payload. -EBADMSG: it answers nothing that was sent.
int settle_queue_answered(struct settle_queue *queue, const uint8_t *payload, size_t size,
			  struct settle_queue_tally *ret_tally);
// The subscription has ended: waiting calls are done, with what was answered. Returns how many
// messages are unconfirmed.
uint64_t settle_queue_lost(struct settle_queue *queue);
