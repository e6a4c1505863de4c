// A message: made by the application and encoded into a record, or received and pointing into one.
#pragma once

#include "core/wire/record.h"
#include "sdk/c/include/mqpaas/mqpaas.h"
#include "sdk/c/src/hand.h"

struct delivery; // delivery.h: the frame that a received message lies in

struct mqp_message {
	// What a record would be, or was, made of. A received one's headers are the raw ones.
	struct record_parts parts;
	bool has_created;

	// Made.
	struct record_header *headers; // parts.headers
	uint32_t header_capacity;

	// Where the last look for a header of a received message ended.
	uint32_t cursor_index;
	size_t cursor_at;

	// Received.
	struct delivery *delivery; // NULL: made
	struct mqp_message *next;  // in lists on their way out
	struct hand_item item;     // in the consumer's hand
	uint64_t offset;
	int64_t stored_ms;
	uint32_t size; // of the record
	uint32_t attempt;
	bool settled; // under the consumer's lock
};

// A message's record, when it is sent now. `id` and `created_ms` stand in where it has none; both
// must be valid until the record is written.
void message_parts(const struct mqp_message *message, const uint8_t *id, int64_t created_ms,
		   struct record_parts *ret);
// Fills in a received message; the record is checked and outlives it.
void message_receive(struct mqp_message *message, struct delivery *delivery, const uint8_t *record);
