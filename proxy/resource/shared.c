// Rows are pushed with one compare-and-swap and live as long as the proxy: as many as there are
// tenants that were ever served.

#include "proxy/resource/shared.h"

#include "core/base/util.h"

void shared_deinit(struct shared *shared)
{
	for (size_t i = 0; i < SHARED_BUCKETS; ++i) {
		while (shared->buckets[i]) {
			struct tenant_shared *row = shared->buckets[i];

			shared->buckets[i] = row->next;
			quota_ledger_deinit(&row->ledger);
			budget_share_deinit(&row->memory);
			free(row);
		}
	}
}

static struct tenant_shared *find(struct tenant_shared *row, uint64_t id)
{
	while (row && row->id != id)
		row = row->next;
	return row;
}

struct tenant_shared *shared_tenant(struct shared *shared, uint64_t id,
				    const struct tenant_limits *limits, uint64_t memory_limit)
{
	struct tenant_shared **bucket =
		&shared->buckets[(id * 0x9E3779B97F4A7C15ull) >> 54 & (SHARED_BUCKETS - 1)];
	struct tenant_shared *first = __atomic_load_n(bucket, __ATOMIC_ACQUIRE);
	struct tenant_shared *row = find(first, id), *added;

	if (row)
		return row;
	added = calloc(1, sizeof *added);
	if (!added)
		return NULL;
	added->id = id;
	quota_ledger_init(&added->ledger, limits, memory_limit);
	budget_share_init(&added->memory, shared->budget);
	do {
		row = find(first, id);
		if (row) {
			free(added); // another worker was faster
			return row;
		}
		added->next = first;
	} while (!__atomic_compare_exchange_n(bucket, &first, added, false, __ATOMIC_ACQ_REL,
					      __ATOMIC_ACQUIRE));
	return added;
}
