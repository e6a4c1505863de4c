// Holds the parts that every worker uses and no worker owns. Each finds its rows without a lock;
// they are made before the workers start and taken apart after the last one has ended.

#include "proxy/resource/shared.h"

void shared_init(struct shared *shared, struct catalog *catalog, uint64_t message_memory)
{
	shared->catalog = catalog;
	budget_init(&shared->budget, message_memory);
	budget_share_init(&shared->unauthenticated, &shared->budget);
	shared->tenants.budget = &shared->budget;
}

void shared_open(struct shared *shared, adapter_find_fn find_adapter, const char *data_dir)
{
	backends_init(&shared->backends, shared->catalog, find_adapter, data_dir);
	storage_init(&shared->storage, shared->catalog, &shared->backends);
}

void shared_deinit(struct shared *shared)
{
	backends_deinit(&shared->backends);
	storage_deinit(&shared->storage);
	tenant_table_deinit(&shared->tenants);
	budget_share_deinit(&shared->unauthenticated);
	budget_deinit(&shared->budget);
}
