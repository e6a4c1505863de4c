// What all workers of a proxy share: the catalog, the clusters, and what tenants have altogether.
#pragma once

#include "proxy/resource/backends.h"
#include "proxy/resource/budget.h"
#include "proxy/resource/storage.h"
#include "proxy/resource/tenant_table.h"

struct shared {
	struct catalog *catalog;
	struct budget budget;                // of message memory
	struct budget_share unauthenticated; // of connections that are not authenticated
	struct tenant_table tenants;
	struct backends backends;
	struct storage storage;
};

void shared_init(struct shared *shared, struct catalog *catalog, uint64_t message_memory);
// Opens the clusters; `data_dir` is borrowed.
void shared_open(struct shared *shared, adapter_find_fn find_adapter, const char *data_dir);
void shared_deinit(struct shared *shared); // all closed; also one that was not opened
