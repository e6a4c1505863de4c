// The messages of a group's retry store that the source deals with just now: taken out, in flight,
// or on their way in or out. Found by partition and offset.
#pragma once

#include "adapters/log/log.h"
#include "core/base/list.h"

enum retry_inflight_state {
	INFLIGHT_MOVING,    // waits in the store; its row is being written
	INFLIGHT_READY,     // taken out, to be handed out
	INFLIGHT_DELIVERED, // handed out
	INFLIGHT_LEAVING,   // done; its row is being removed
};

struct retry_inflight {
	struct retry_inflight *next; // in its slot
	struct list in_set; // member of the set's ready while READY, of its settled when settled
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

struct retry_inflight_set {
	struct retry_inflight **slots;
	uint32_t room, count;
	struct list ready; // in the order in which they are due
	uint32_t ready_count;
	uint32_t copies;     // rejected, and their rows are the truth: to be taken out for the copy
	struct list settled; // whose row is the truth again, but a look into the store is under way
};

void retry_inflight_set_init(struct retry_inflight_set *set);
void retry_inflight_set_deinit(struct retry_inflight_set *set);
struct retry_inflight *retry_inflight_find(const struct retry_inflight_set *set, uint32_t partition,
					   uint64_t offset);
// A new one; NULL: out of memory.
struct retry_inflight *retry_inflight_add(struct retry_inflight_set *set, uint32_t partition,
					  uint64_t offset);
void retry_inflight_remove(struct retry_inflight_set *set,
			   struct retry_inflight *inflight); // and frees it
