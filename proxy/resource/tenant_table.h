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

#define TENANT_TABLE_BUCKETS 1024u // a power of two

struct tenant_table {
	struct budget *budget;
	struct tenant_shared *buckets[TENANT_TABLE_BUCKETS]; // atomic; rows are only ever added
};

void tenant_table_deinit(struct tenant_table *table); // every balance is zero
// Made with these limits when it is not there yet. NULL: out of memory. @thread any
struct tenant_shared *tenant_table_get(struct tenant_table *table, uint64_t id,
				       const struct tenant_limits *limits, uint64_t memory_limit);
