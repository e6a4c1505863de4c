// What a tenant has on all workers together: its quota ledger and its share of
// the message memory, found without a lock.
#pragma once

#include "proxy/resource/budget.h"
#include "quota/quota.h"

struct tenant_shared {
	struct tenant_shared *next;
	uint64_t id;
	struct quota_ledger ledger;
	struct budget_share memory;
};

#define SHARED_BUCKETS 1024u // a power of two

struct shared {
	struct budget *budget;
	struct tenant_shared *buckets[SHARED_BUCKETS]; // atomic; rows are only ever added
};

void shared_deinit(struct shared *shared); // every balance is zero
// Made with these limits when it is not there yet. NULL: out of memory. @thread any
struct tenant_shared *shared_tenant(struct shared *shared, uint64_t id,
				    const struct tenant_limits *limits, uint64_t memory_limit);
