// What is known of a message by its id: which delivery of it is held, and which ones are void
// because the message, or an attempt of it, has ended.
#pragma once

#include "adapters/queue/held_state.h"
#include "core/wire/record.h"

struct held_id {
	struct held_id *next;   // in its slot
	struct list in_ended;   // while nothing refers to it
	struct held_item *item; // the delivery that is held and not ACKING; NULL: none
	uint32_t refs;          // members with this id
	uint32_t void_below;    // deliveries with fewer attempts are void; UINT32_MAX: all
	uint8_t id[RECORD_ID_SIZE];
};

int held_id_init(struct held *held);
void held_id_deinit(struct held *held);
// Referred to by the item from then on. -ENOMEM
int held_id_of(struct held *held, const uint8_t *id, struct held_item *item);
// The item does not refer to its id any more, which is remembered while something is void by it.
void held_id_drop(struct held *held, struct held_item *item);
void held_id_void(struct held_item *item, uint32_t below);
bool held_id_shared(const struct held_item *item); // with another member
