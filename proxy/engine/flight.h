// The messages of one partition that are in flight, found by offset.
#pragma once

#include "core/wire/record.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct dispatch_consumer;

enum flight_state {
	FLIGHT_FREE,                // the slot is empty
	FLIGHT_OWNED,               // handed to a consumer
	FLIGHT_SUSPECT,             // held by no consumer; the mark stays until it is acked or dead
	FLIGHT_DEAD_LETTER_PENDING, // settled for the dead-letter topic; expected from the source
				    // once more
	FLIGHT_DEAD_LETTER_COPYING, // its dead-letter copy is on the way
};

struct flight {
	uint64_t offset;
	uint64_t epoch; // of its delivery
	union {
		uint64_t deadline_ns; // OWNED
		void *request; // DEAD_LETTER_PENDING, DEAD_LETTER_COPYING: the settle that waits
			       // for it, or NULL
	};
	struct dispatch_consumer *consumer; // OWNED
	uint64_t number;                    // OWNED: of the delivery, in its subscription
	uint8_t id[RECORD_ID_SIZE];         // of the message, where marks go by it
	uint32_t attempt;
	uint8_t state; // enum flight_state
	union {
		uint8_t slot;   // OWNED: slot of the deadline
		uint8_t reason; // DEAD_LETTER_PENDING, DEAD_LETTER_COPYING: enum dispatch_reason
	};
	bool suspect; // a consumer was lost while it worked on it
	bool timed;   // OWNED: the deadline stands, whatever is told of its begin
};

struct flight_map {
	struct flight *slots;
	size_t count, room; // room: 0 or a power of two
};

void flight_map_deinit(struct flight_map *map);
int flight_map_reserve(struct flight_map *map, size_t more); // -ENOMEM; then `more` inserts succeed
struct flight *flight_map_find(struct flight_map *map, uint64_t offset);
// The entry of the offset: the one that is there, or a new one in state FREE that the caller fills.
// Needs flight_map_reserve() before. Entries move: pointers are good until the next call.
struct flight *flight_map_put(struct flight_map *map, uint64_t offset);
void flight_map_remove(struct flight_map *map, struct flight *flight);
