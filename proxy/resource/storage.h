// How many bytes each tenant has stored on all its clusters, and the limit of them.
//
// A batch is taken into the count before it is submitted, and released when it is answered. A
// thread asks the clusters for what really lies there. What is in use is the last count and all
// that was taken and had not been answered when the count began: never less than what is stored.
// docs/storage-limits.md says what is promised.
#pragma once

#include "core/base/util.h"
#include "core/model/model.h"

#include <pthread.h>

struct backends;
struct catalog;

// Beyond the limit, for the service's own copies: a tenth of it, at least this.
#define STORAGE_RESERVE_MIN (64ull << 20)

// One a tenant, for all workers; lives as long as the proxy. All members but id and next are
// atomic.
struct storage_tenant {
	struct storage_tenant *next;
	uint64_t id;
	uint64_t limit;        // MODEL_UNLIMITED: none
	uint64_t taken, ended; // bytes that were taken since the start; of these, released
	uint64_t base;         // with `taken`: what is in use; wraps
	uint64_t stored;       // as last counted
	bool counted;          // once at least
	bool estimated;        // some of it is an estimate
	bool reserve_full;     // by the last count
	uint64_t logged_ns;    // when its refusals were last logged
};

struct storage_use {
	uint64_t stored;                // as last counted
	uint64_t limit;                 // MODEL_UNLIMITED: none
	uint64_t reserve, reserve_used; // 0 without a limit
	bool counted, estimated;
};

#define STORAGE_BUCKETS 1024u // a power of two

struct storage {
	struct catalog *catalog;
	struct backends *backends;
	struct storage_tenant *buckets[STORAGE_BUCKETS]; // atomic; rows are only ever added
	struct storage_counter *counter;                 // storage_count.c
};

void storage_init(struct storage *storage, struct catalog *catalog, struct backends *backends);
void storage_deinit(struct storage *storage); // stopped

// Made when it is not there yet. NULL: out of memory. @thread any
struct storage_tenant *storage_tenant(struct storage *storage, uint64_t id);
// A count has found `bytes`; `ended` is the value from before the count began.
void storage_counted(struct storage_tenant *tenant, uint64_t ended, uint64_t bytes, bool estimated);
// The rows that begin in a bucket. @thread any
const struct storage_tenant *storage_first(const struct storage *storage, size_t bucket);
void storage_limit_set(struct storage_tenant *tenant, uint64_t limit);               // @thread any
void storage_use_read(const struct storage_tenant *tenant, struct storage_use *ret); // @thread any
// The room beyond a limit for the service's own copies.
uint64_t storage_reserve(uint64_t limit);

// ---- what is on its way. @thread any

static inline bool storage_is_limited(const struct storage_tenant *tenant)
{
	return __atomic_load_n(&tenant->limit, __ATOMIC_RELAXED) != MODEL_UNLIMITED;
}

// Takes bytes that a sender wants to store, at most up to the limit. False: they do not fit.
bool storage_take(struct storage_tenant *tenant, uint64_t bytes);
// The same for a copy of the service's own, at most up to the end of the reserve.
bool storage_take_copy(struct storage_tenant *tenant, uint64_t bytes);
// What was taken has been answered, whichever way.
void storage_release(struct storage_tenant *tenant, uint64_t bytes);
// Says in the log that a sender was refused, now and then.
void storage_log_refused(struct storage_tenant *tenant, const char *name, uint64_t now_ns);
