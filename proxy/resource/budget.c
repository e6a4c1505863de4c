// Counts the memory that messages take, and says which tenant may have more of it.
//
// The idea is the dynamic threshold of shared-memory switches: a use of a tenant may hold at most a
// quarter of what is still free. So one tenant alone gets a fifth of the budget for a use, many get
// equal parts of less, and something stays free for the next tenant; no list of tenants and no
// table of shares is needed.
//
// Invariants: `used` of the budget is the sum over its shares; nothing is in use when a share ends.
// Between asking and counting another worker may count too: the threshold may be exceeded by one
// piece a worker, never the limit by much, because a quarter of what is free was asked for.
// What it does not do: allocate, wait, or decide which connection is closed (memory.c).

#include "proxy/resource/budget.h"

#include "core/base/util.h"

#define PART       4u // a use of a tenant may hold a quarter of what is free
#define SHORT_PART 8u

void budget_init(struct budget *budget, uint64_t limit)
{
	*budget = (struct budget){.limit = limit};
}

void budget_set_limit(struct budget *budget, uint64_t limit)
{
	__atomic_store_n(&budget->limit, limit, __ATOMIC_RELAXED);
}

void budget_deinit(const struct budget *budget)
{
	assert(budget->used == 0);
	(void)budget;
}

uint64_t budget_used(const struct budget *budget)
{
	return __atomic_load_n(&budget->used, __ATOMIC_RELAXED);
}

static uint64_t bytes_free(const struct budget *budget)
{
	uint64_t limit = __atomic_load_n(&budget->limit, __ATOMIC_RELAXED);
	uint64_t used = budget_used(budget);

	return limit > used ? limit - used : 0;
}

bool budget_is_full(const struct budget *budget)
{
	return bytes_free(budget) == 0;
}

bool budget_is_short(const struct budget *budget)
{
	return bytes_free(budget) < __atomic_load_n(&budget->limit, __ATOMIC_RELAXED) / SHORT_PART;
}

void budget_share_init(struct budget_share *share, struct budget *budget)
{
	*share = (struct budget_share){.budget = budget};
}

void budget_share_deinit(const struct budget_share *share)
{
	for (unsigned i = 0; i < BUDGET_USES; ++i)
		assert(share->used[i] == 0);
	assert(share->waiting == 0);
	(void)share;
}

bool budget_has_room(const struct budget_share *share, enum budget_use use, uint64_t bytes)
{
	return budget_may_grow(share, use, 0, bytes);
}

bool budget_may_grow(const struct budget_share *share, enum budget_use use, uint64_t before,
		     uint64_t after)
{
	uint64_t others = __atomic_load_n(&share->used[use], __ATOMIC_RELAXED) - before;
	uint64_t free_bytes = bytes_free(share->budget) + before;

	if (others == 0)
		return after <= free_bytes;
	return others + after <= free_bytes / PART;
}

void budget_add(struct budget_share *share, enum budget_use use, uint64_t bytes)
{
	if (!bytes)
		return;
	__atomic_fetch_add(&share->used[use], bytes, __ATOMIC_RELAXED);
	__atomic_fetch_add(&share->budget->used, bytes, __ATOMIC_RELAXED);
}

void budget_give_back(struct budget_share *share, enum budget_use use, uint64_t bytes)
{
	uint64_t before, all;

	if (!bytes)
		return;
	before = __atomic_fetch_sub(&share->used[use], bytes, __ATOMIC_RELAXED);
	all = __atomic_fetch_sub(&share->budget->used, bytes, __ATOMIC_RELAXED);
	assert(before >= bytes && all >= bytes);
	(void)before;
	(void)all;
}

void budget_move(struct budget_share *share, enum budget_use use, uint64_t before, uint64_t after)
{
	if (after > before)
		budget_add(share, use, after - before);
	else
		budget_give_back(share, use, before - after);
}
