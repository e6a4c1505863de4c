// The head of a registry's file: what it is, how far it has come, and where its audit log ends. One
// row of table `meta`, with a checksum, written in each change's own transaction.
#pragma once

#include "core/registry/db.h"

#include <stdbool.h>

#define AUDIT_HASH_SIZE 32

struct head {
	uint64_t source;       // drawn anew at a restore: revisions of two sources do not compare
	uint64_t installation; // drawn once, kept by every copy and restore
	uint64_t revision, next_id;
	uint64_t audit_seq; // of the newest entry; 0: none
	uint8_t audit_hash[AUDIT_HASH_SIZE];
};

// 1: it was read; 0: there is none; -EUCLEAN: damaged.
int head_read(struct db *db, struct head *ret);
int head_write(struct db *db, const struct head *head);
// Of a schema that kept its numbers in rows of their own, and of a new file: what is missing is
// drawn.
int head_make(struct db *db, struct head *ret);
int head_draw(uint64_t *ret); // never 0
