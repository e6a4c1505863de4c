// Counts deliveries on their way in the message memory of their tenant.
//
// A delivery counts from when it is handed to a connection's loop. A group whose deliveries do not
// fit waits and tries again, later each time, because a tenant may have any number of groups.

#include "proxy/resource/delivery_budget.h"

#include "adapters/adapter.h"
#include "core/wire/deliver.h"

#define WAIT_NS     (5 * MS_NS) // between two looks of a group, at first
#define WAIT_MAX_NS (320 * MS_NS)

static uint64_t one_size(const struct delivery *delivery)
{
	return (uint64_t)delivery->size + DELIVER_ENTRY_SIZE;
}

size_t delivery_budget_fit(const struct budget_share *share, const struct delivery *deliveries,
			   size_t count)
{
	uint64_t bytes = delivery_budget_size(deliveries, count);

	while (count && !budget_has_room(share, BUDGET_OUTPUT, bytes))
		bytes -= one_size(&deliveries[--count]);
	return count;
}

uint64_t delivery_budget_size(const struct delivery *deliveries, size_t count)
{
	uint64_t bytes = 0;

	for (size_t i = 0; i < count; ++i)
		bytes += one_size(&deliveries[i]);
	return bytes;
}

uint64_t delivery_budget_wait_longer(uint64_t waited_ns)
{
	return MIN(MAX(2 * waited_ns, WAIT_NS), WAIT_MAX_NS);
}
