// Payloads of CREDIT, DELIVER, SETTLE, SETTLED and DRAINED (docs/protocol.md section 7).
#pragma once

#include "core/base/util.h"

#include <stdbool.h>

#define CREDIT_SIZE        24
#define CREDIT_BEGUN_SIZE  32 // with the feature BEGUN
#define DELIVER_HEAD_SIZE  16
#define DELIVER_ENTRY_SIZE 24 // before each record
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

// What a DELIVER entry says about its delivery; always 0 without the feature BEGUN.
enum { DELIVER_SUSPECT = 1, DELIVER_LAST = 2, DELIVER_FLAGS = 3 };

// `begun` in these functions: the feature is in use on the connection.

struct credit {
	uint64_t messages, bytes, drain;
	uint64_t begun; // 0 without the feature
};

const char *credit_read(const uint8_t *payload, size_t size, bool begun,
			struct credit *ret); // NULL: fine; else what is wrong
// Returns the size of the payload, at most CREDIT_BEGUN_SIZE.
size_t credit_write(uint8_t *payload, bool begun, const struct credit *credit);

struct deliver_head {
	uint32_t partition, count;
	uint64_t epoch;
};

struct deliver_entry {
	uint64_t offset;
	int64_t stored_ms;
	uint32_t attempt;
	uint32_t flags;
	const uint8_t *record; // checked
};

void deliver_head_write(uint8_t *payload, const struct deliver_head *head);
void deliver_entry_write(uint8_t *at,
			 const struct deliver_entry *entry); // without the record, which follows
// Checks the whole payload, records included.
const char *deliver_check(const uint8_t *payload, size_t size, bool begun,
			  struct deliver_head *ret);
// Entries of a checked payload: start with *cursor = 0; false at the end.
bool deliver_next(const uint8_t *payload, size_t size, size_t *cursor, struct deliver_entry *ret);

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

struct settled_entry {
	uint32_t settled;
	uint16_t code;
};

void settled_entry_write(uint8_t *at, const struct settled_entry *entry);
void settled_entry_read(const uint8_t *at, struct settled_entry *ret);
const char *settled_check(const uint8_t *payload, size_t size, struct settle_head *ret);
