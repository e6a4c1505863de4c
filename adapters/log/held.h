// The messages of a group's retry store that the source deals with just now: taken out, in flight,
// or on their way in or out. Found by partition and offset.
#pragma once

#include "adapters/log/log.h"
#include "core/base/list.h"

enum held_state {
	HELD_MOVING,  // waits in the store; its row is being written
	HELD_READY,   // taken out, to be handed out
	HELD_FLIGHT,  // handed out
	HELD_LEAVING, // done; its row is being removed
};

struct held {
	struct held *next;      // in its slot
	struct list in_set;     // member of held_set.ready while READY, of .settled when settled
	struct log_entry entry; // READY: the record, inside buf
	struct buf *buf;
	uint64_t offset, due_ms;
	uint32_t partition, attempts; // that have ended
	uint32_t pending;             // writes of its row that are not durable yet
	uint8_t state;
	bool lost;     // its record is nowhere any more: there is no row
	bool rejected; // kept until it is taken out again: that delivery is for its dead-letter
		       // copy
};

struct held_set {
	struct held **slots;
	uint32_t room, count;
	struct list ready; // in the order in which they are due
	uint32_t ready_count;
	uint32_t copies;     // rejected, and their rows are the truth: to be taken out for the copy
	struct list settled; // whose row is the truth again, but a look into the store is under way
};

void held_set_init(struct held_set *set);
void held_set_deinit(struct held_set *set);
struct held *held_find(const struct held_set *set, uint32_t partition, uint64_t offset);
// A new one; NULL: out of memory.
struct held *held_add(struct held_set *set, uint32_t partition, uint64_t offset);
void held_remove(struct held_set *set, struct held *held); // and frees it
