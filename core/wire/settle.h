// Payloads of SETTLE and SETTLED (docs/protocol.md section 7). `begun`: the feature BEGUN is in
// use.
#pragma once

#include "core/base/util.h"

#include <stdbool.h>

#define SETTLE_HEAD_SIZE   16
#define SETTLE_ENTRY_SIZE  40
#define SETTLED_HEAD_SIZE  16
#define SETTLED_ENTRY_SIZE 8
#define SETTLE_BY_SCHEDULE UINT32_MAX // the delay of a NACK: the group's own schedule

enum settle_wire_verb {
	WIRE_ACK,
	WIRE_NACK,
	WIRE_EXTEND,
	WIRE_REJECT,
	WIRE_RELEASE,
	WIRE_VERB_COUNT
};

struct settle_head {
	uint64_t settle;
	uint32_t count;
};

struct settle_entry {
	uint64_t epoch, offset;
	uint32_t partition, count, attempt;
	uint32_t ms;     // NACK: delay; EXTEND: from now
	uint32_t number; // of the first offset's delivery, its low bits; 0 without the feature
	uint8_t verb;
};

void settle_head_write(uint8_t *payload,
		       const struct settle_head *head); // SETTLED has the same head
void settle_entry_write(uint8_t *at, const struct settle_entry *entry);
void settle_entry_read(const uint8_t *at, struct settle_entry *ret);
const char *settle_check(const uint8_t *payload, size_t size, bool begun,
			 struct settle_head *ret); // entries included

struct settle_outcome {
	uint32_t settled;
	uint16_t code;
};

// An entry of SETTLED; the check is of its whole payload.
void settle_outcome_write(uint8_t *at, const struct settle_outcome *entry);
void settle_outcome_read(const uint8_t *at, struct settle_outcome *ret);
const char *settle_outcome_check(const uint8_t *payload, size_t size, struct settle_head *ret);
