// The rows that all workers share, one for each tenant that was ever served.
//
// Rows are pushed with one compare-and-swap and live as long as the proxy, so finding one takes no
// lock.

#include "proxy/resource/tenant_table.h"

#include "core/base/util.h"

void tenant_table_deinit(struct tenant_table *table)
{
	for (size_t i = 0; i < TENANT_TABLE_BUCKETS; ++i) {
		while (table->buckets[i]) {
			struct tenant_shared *row = table->buckets[i];

			table->buckets[i] = row->next;
			quota_ledger_deinit(&row->ledger);
			budget_share_deinit(&row->memory);
			free(row);
		}
	}
}

static struct tenant_shared *find_row(struct tenant_shared *row, uint64_t id)
{
	while (row && row->id != id)
		row = row->next;
	return row;
}

struct tenant_shared *tenant_table_get(struct tenant_table *table, uint64_t id,
				       const struct tenant_limits *limits, uint64_t memory_limit)
{
	struct tenant_shared **bucket =
		&table->buckets[(id * 0x9E3779B97F4A7C15ull) >> 54 & (TENANT_TABLE_BUCKETS - 1)];
	struct tenant_shared *first = __atomic_load_n(bucket, __ATOMIC_ACQUIRE);
	struct tenant_shared *row = find_row(first, id), *added;

	if (row)
		return row;
	added = calloc(1, sizeof *added);
	if (!added)
		return NULL;
	added->id = id;
	quota_ledger_init(&added->ledger, limits, memory_limit);
	budget_share_init(&added->memory, table->budget);
	do {
		row = find_row(first, id);
		if (row) {
			free(added); // another worker was faster
			return row;
		}
		added->next = first;
	} while (!__atomic_compare_exchange_n(bucket, &first, added, false, __ATOMIC_ACQ_REL,
					      __ATOMIC_ACQUIRE));
	return added;
}
