// The backend that the log source stands on: partitions in memory, cursors and a retry store that
// survive a restart, answers that come late, out of order, short, or not as hoped.
//
// What a commit does, it does at once and whole, some time after it was asked for and some time
// before it is answered. An owner that has died gets its answers too, but nothing it asked for
// happens any more.
#pragma once

#include "adapters/log/log.h"

enum { STORE_PARTITIONS = 3, STORE_MESSAGES = 150 };

struct adapter { // as one life of the owner sees it
	bool dead;
};

struct store_message {
	uint64_t offset;
	uint64_t due_ms, expiry_ms; // its own; 0: none, UINT64_MAX: never
	int64_t stored_ms;
	uint32_t size;
	uint8_t record[112];
	bool kept; // in the retry store
	uint64_t kept_due_ms;
	uint32_t kept_attempts;
};

struct store_partition {
	struct store_message messages[STORE_MESSAGES];
	uint32_t count;
	uint64_t first, end;
	uint64_t position; // the cursor
	char *text;
};

extern struct store {
	struct store_partition partitions[STORE_PARTITIONS];
	uint32_t count;
	// One request in that number fails; 0: none. An answer takes up to delay_ns.
	unsigned fetches_fail, looks_fail, loads_fail, commits_fail;
	uint64_t delay_ns;
	uint64_t failures; // commits that were answered with a failure
} store;

extern const struct log_ops store_ops;

void store_start(uint32_t partitions);
void store_end(void); // nothing may be under way
// The next message of the partition, `gap` positions behind the last one.
void store_append(uint32_t partition, uint64_t gap, uint64_t due_ms, uint64_t ttl_ms);
void store_trim(uint32_t partition, uint64_t first);                   // what lies below is deleted
struct store_message *store_find(uint32_t partition, uint64_t offset); // NULL: there is none
// What is told of a partition while the group has no owner.
struct source_partition store_backlog_row(uint32_t partition);
// The owner dies: a commit of it that is under way happens now or never.
void store_kill(struct adapter *adapter);
