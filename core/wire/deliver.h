// Payload of DELIVER (docs/protocol.md section 7). `begun`: the feature BEGUN is in use.
#pragma once

#include "core/base/util.h"

#include <stdbool.h>

#define DELIVER_HEAD_SIZE  16
#define DELIVER_ENTRY_SIZE 24 // before each record

// What a DELIVER entry says about its delivery; always 0 without the feature BEGUN.
enum { DELIVER_SUSPECT = 1, DELIVER_LAST = 2, DELIVER_FLAGS = 3 };

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
