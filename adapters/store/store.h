// A store: one LMDB environment of a durability class with its tables. Topics that sessions hold of
// it are in topic.h.
//
// docs/adapters/embedded.md describes the tables. Writes happen only inside the committer's
// transactions (committer.h); reads on any thread.
#pragma once

#include "adapters/adapter.h"
#include "adapters/log/log.h"
#include "adapters/store/error.h"
#include "adapters/store/key.h"
#include "adapters/store/row.h"

#include <lmdb.h>
#include <pthread.h>

struct adapter_topic;
struct committer;
struct damage;
struct damage_list;
struct tail_cache;

#define STORE_GENERATION_BITS 40 // positions of one generation of a D1 store
#define STORE_FORMAT          2u
#define STORE_CHUNK_MAX       (64u << 10) // records are put together up to this; a larger one is alone
#define STORE_HEAD            136u        // bytes of a head of LMDB's file
#define STORE_RESERVE         (64ull << 20) // appending stops while less is free, so that deleting works

enum store_health { STORE_OK, STORE_FULL, STORE_FAILING };

struct store {
	MDB_env *env;
	MDB_dbi meta, topics, groups; // of the D2 store only: it keeps these rows of both
	MDB_dbi partitions, chunks, cursors, retries, dues, damaged;
	struct store *rows; // where the rows of topics and groups are: the D2 store
	char *path;
	enum durability durability;
	uint64_t map_bytes;
	uint64_t generation; // how often a D1 store was lost: its positions begin behind the lost
	int lock_fd;

	pthread_mutex_t lock; // of the hash of topics
	struct adapter_topic **slots;
	size_t slot_count, topic_count;
	struct tail_cache *tails;
	struct damage_list *damages; // damage_list.h
	struct committer *writer;    // its committer, once there is one
	// Writes what was found down, where there is a table for it (damage_table.h); or NULL.
	void (*damage_found)(struct store *store, const struct damage *damage);

	const char *stopped; // atomic; why nothing is read or written any more (head.h)
	uint32_t page_size;
	pthread_mutex_t head_lock;
	uint8_t heads[2][STORE_HEAD]; // as they were first seen; under its lock
};

// 0, or negative errno with *ret_error (malloc'ed, the caller's), which names the file and what is
// right. -EBUSY: another process has it; -EUCLEAN: it is damaged. `path`: the directory, made if it
// is missing; `rows`: the open D2 store, for a D1 one, which it must outlive; NULL for the D2 store
// itself. @thread start-up, or any that may wait for a disk
int store_open(const char *path, struct store *rows, uint64_t map_bytes, struct store **ret,
	       char **ret_error);
// Accepts NULL. Its committer has been stopped, and no topic of it is open. @thread as store_open()
void store_close(struct store *store);
// A descriptor that holds the lock of a store's folder until it is closed. -EBUSY: another process
// has the store open.
int store_lock_take(const char *path);

// 0 or negative errno; -EUCLEAN: the store has been stopped (head.h). Reads need no lock; a
// transaction must not outlive the call that began it. @thread any that may wait for a disk
int store_read_begin(struct store *store, MDB_txn **ret);
int store_write_begin(struct store *store, MDB_txn **ret); // @thread the committer, or start-up

// Where a partition begins that has no row: no position of a D1 store that was lost is used again.
// @thread any
uint64_t store_first_offset(const struct store *store);
