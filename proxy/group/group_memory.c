// Counts a group's messages in the message memory, and says whether it may have more.
//
// What the source of a log has read ahead it can drop and read again, so it is counted as AHEAD. A
// queue cannot be read again: its source has what is not settled, also what consumers work on, for
// as long as they take. That is counted as UNSETTLED, a use of its own. So a tenant's queues, whose
// consumers may hold messages for hours, take nothing from what its logs read ahead, and none of
// the process's uses can be starved by them (budget.c). And since it stands in the memory of this
// process what a cluster waits for, all groups of a cluster share a second budget, in which each
// group has a share: at most a quarter of what is free, so that one group leaves room for others.
//
// Invariant: what is counted in the cluster's budget is what is counted as UNSETTLED of its groups.

#include "proxy/group/group_memory.h"

#include "proxy/group/group.h"
#include "proxy/resource/backends.h"
#include "proxy/resource/delivery_budget.h"

static enum budget_use source_use(const struct group_home *home)
{
	return home->positions ? BUDGET_AHEAD : BUDGET_UNSETTLED;
}

void group_memory_open(struct group_home *home, struct backend *backend)
{
	assert(home->memory.source == 0);
	budget_share_init(&home->memory.of_cluster, &backend->unsettled);
}

void group_memory_closed(struct group_home *home)
{
	assert(home->memory.source == 0);
	budget_share_deinit(&home->memory.of_cluster);
}

void group_memory_end(struct group_home *home)
{
	assert(home->memory.source == 0);
	budget_give_back(home->tenant->memory, BUDGET_HELD, home->memory.pending);
}

bool group_memory_has_room(const struct group_home *home, uint64_t bytes)
{
	enum budget_use use = source_use(home);

	return budget_has_room(home->tenant->memory, use, bytes) &&
	       (home->positions || budget_has_room(&home->memory.of_cluster, use, bytes));
}

void group_memory_hold(struct group_home *home, uint64_t before, uint64_t after)
{
	struct group_memory *memory = &home->memory;
	enum budget_use use = source_use(home);

	assert(memory->source >= before);
	memory->source += after - before;
	budget_move(home->tenant->memory, use, before, after);
	if (!home->positions)
		budget_move(&memory->of_cluster, use, before, after);
}

static void count_pending(struct group_home *home)
{
	uint64_t bytes = dispatch_pending_bytes(home->dispatch);

	budget_move(home->tenant->memory, BUDGET_HELD, home->memory.pending, bytes);
	home->memory.pending = bytes;
}

void group_memory_bound_pending(struct group_home *home)
{
	struct group_memory *memory = &home->memory;

	count_pending(home);
	if (memory->pending == 0)
		return;
	if (budget_has_room(home->tenant->memory, BUDGET_HELD, 0)) {
		memory->wait_ns = 0;
		return;
	}
	memory->wait_ns = delivery_budget_wait_longer(memory->wait_ns);
	dispatch_give_pending_back(home->dispatch, group_now_ns(home) + memory->wait_ns);
	count_pending(home);
}
