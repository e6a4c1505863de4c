// What was found damaged in a store: incidents that stay until an operator has dealt with them.
//
// Each is logged once (STORE-DAMAGED), counted, kept in memory and in the table `damaged`, so that
// it is still known after a restart.
#pragma once

#include "adapters/embedded/store.h"

enum damage_kind {
	DAMAGE_MESSAGES,  // offsets that cannot be read
	DAMAGE_PARTITION, // its first offset, end and size; they were taken from its chunks
	DAMAGE_TOPIC,     // its row
	DAMAGE_GROUP,     // its row
	DAMAGE_CURSOR,    // the position of a group
	DAMAGE_RETRY,     // a message that waits in the retry store of a group
	DAMAGE_TABLE,     // pages of one of its tables: LMDB cannot walk through it
	DAMAGE_KINDS
};

struct damage {
	enum damage_kind kind;
	uint64_t topic; // 0: not known
	uint64_t group; // 0: none
	uint32_t partition;
	uint64_t first, end; // offsets
	int64_t found_ms;    // filled in by damage_report()
};

struct damages;

struct damages *damages_new(void);
void damages_free(struct damages *damages); // accepts NULL
int damages_load(struct store *store);      // at start

// Does nothing for what is known already. @thread any
void damage_report(struct store *store, const struct damage *damage);
#define DAMAGE_OF_TOPIC (1u << DAMAGE_MESSAGES | 1u << DAMAGE_PARTITION)
#define DAMAGE_ANY      UINT32_MAX

// Those of the topic, or of one group of it (0: all), of some kinds, have been dealt with.
// @thread the committer
int damages_forget(struct store *store, MDB_txn *txn, uint64_t topic, uint64_t group,
		   uint32_t kinds);
// One of those of the topic; false: there are not so many. @thread any
bool damage_at(const struct store *store, uint64_t topic, size_t index, struct damage *ret);

uint64_t damages_total(const struct store *store); // reports since the start. @thread any
size_t damages_open(const struct store *store);    // @thread any
json_t *damages_json(const struct store *store, const char *class); // an array. @thread any
// The oldest in words, "" when there is none. @thread any
void damages_text(const struct store *store, char *text, size_t size);
