// One rate limit, as a generic cell rate algorithm: a single time, `tat`, up to which units are
// spent.
//
// A unit costs 1/rate seconds. What is owed is `tat` less now, and a charge passes while what is
// owed afterwards is at most the burst (a fifth of a second, or one unit if that is more). Times
// are kept in 1/64 ns (good for nine years of uptime), so that rates of many gigabytes a second are
// exact to a fraction of a percent even unit by unit. A cost is computed for the whole batch at
// once and rounded up: rounding can only under-admit, by 1/64 ns a batch.
//
// Invariant: `tat` changes only by compare-and-swap, so several loops may charge one limit without
// a lock. No memory is ordered by it: a limit protects nothing but its own count. It does not say
// which waiting sender is next (quota.c).

#include "quota/gcra.h"

#include "core/base/util.h"

#define TICKS_PER_NS 64ull
#define TICKS_PER_S  (TICKS_PER_NS * S_NS)
#define BURST_TICKS  (TICKS_PER_S / 5)

__extension__ typedef unsigned __int128 wide;

// Ticks for `units`, rounded up. Limited to a quarter of the range, so that adding two of them to a
// time cannot overflow.
static uint64_t cost_of(uint64_t units, uint64_t rate)
{
	wide ticks = ((wide)units * TICKS_PER_S + rate - 1) / rate;

	return ticks > UINT64_MAX / 4 ? UINT64_MAX / 4 : (uint64_t)ticks;
}

static uint64_t units_of(uint64_t ticks, uint64_t rate)
{
	return (uint64_t)((wide)ticks * rate / TICKS_PER_S);
}

static uint64_t burst_of(uint64_t rate)
{
	return MAX(BURST_TICKS, cost_of(1, rate));
}

void gcra_init(struct gcra *gcra, uint64_t rate)
{
	*gcra = (struct gcra){.rate = rate};
}

// What is owed at `old`, as ticks at `rate`: the same units. A lower rate does not make it more, or
// one burst would be owed for minutes.
static uint64_t owed_after(uint64_t owed, uint64_t old, uint64_t rate)
{
	if (old == 0 || rate == GCRA_UNLIMITED)
		return 0;
	return rate <= old ? owed : (uint64_t)(((wide)owed * old + rate - 1) / rate);
}

void gcra_set_rate(struct gcra *gcra, uint64_t rate, uint64_t now_ns)
{
	uint64_t old = __atomic_exchange_n(&gcra->rate, rate, __ATOMIC_RELAXED),
		 now = now_ns * TICKS_PER_NS, tat = __atomic_load_n(&gcra->tat, __ATOMIC_RELAXED);

	if (old == rate) // every loop sets it: the first that does counts
		return;
	while (tat > now && !__atomic_compare_exchange_n(&gcra->tat, &tat,
							 now + owed_after(tat - now, old, rate),
							 true, __ATOMIC_RELAXED, __ATOMIC_RELAXED))
		;
}

static uint64_t rate_get(const struct gcra *gcra)
{
	return __atomic_load_n(&gcra->rate, __ATOMIC_RELAXED);
}

// Ticks that are free now: the burst, less what is owed.
static uint64_t free_ticks(uint64_t tat, uint64_t now, uint64_t burst)
{
	uint64_t owed = tat > now ? tat - now : 0;

	return owed >= burst ? 0 : burst - owed;
}

static bool tat_advance(struct gcra *gcra, uint64_t *tat, uint64_t now, uint64_t cost)
{
	return __atomic_compare_exchange_n(&gcra->tat, tat, MAX(*tat, now) + cost, true,
					   __ATOMIC_RELAXED, __ATOMIC_RELAXED);
}

// Takes as many of `wanted` as fit. When the swap fails, another loop has charged meanwhile: the
// room is computed again from the new `tat`, for all of `wanted`.
uint64_t gcra_take(struct gcra *gcra, uint64_t wanted, uint64_t now_ns)
{
	uint64_t rate = rate_get(gcra), now = now_ns * TICKS_PER_NS,
		 tat = __atomic_load_n(&gcra->tat, __ATOMIC_RELAXED), burst, cost, units;

	if (rate == GCRA_UNLIMITED || wanted == 0)
		return wanted;
	if (rate == 0)
		return 0;
	burst = burst_of(rate);
	cost = cost_of(wanted, rate);
	do {
		uint64_t room = free_ticks(tat, now, burst);

		units = wanted;
		if (cost > room) {
			units = MIN(units_of(room, rate), wanted);
			cost = cost_of(units, rate);
			if (units == 0)
				return 0;
		}
	} while (!tat_advance(gcra, &tat, now, cost) && (cost = cost_of(wanted, rate)));
	return units;
}

// All or nothing. `oversize` lets one charge above the burst pass when nothing is owed; what it
// owes then delays the following ones.
bool gcra_take_all(struct gcra *gcra, uint64_t wanted, bool oversize, uint64_t now_ns)
{
	uint64_t rate = rate_get(gcra), now = now_ns * TICKS_PER_NS,
		 tat = __atomic_load_n(&gcra->tat, __ATOMIC_RELAXED), burst, cost;

	if (rate == GCRA_UNLIMITED || wanted == 0)
		return true;
	if (rate == 0)
		return false;
	burst = burst_of(rate);
	cost = cost_of(wanted, rate);
	do {
		if (cost > free_ticks(tat, now, burst) && !(oversize && cost > burst && tat <= now))
			return false;
	} while (!tat_advance(gcra, &tat, now, cost));
	return true;
}

// When a charge that ends at `tat` is within the burst, in ns rounded up, and not before now.
static uint64_t passes_ns(uint64_t tat, uint64_t burst, uint64_t now_ns)
{
	uint64_t at_ns = tat > burst ? (tat - burst + TICKS_PER_NS - 1) / TICKS_PER_NS : 0;

	return MAX(at_ns, now_ns);
}

// Charges at once, even far beyond the burst, and returns when the last unit passes; *ret_start_ns
// is when the first one does. Other charges queue behind it, since `tat` has moved.
uint64_t gcra_reserve(struct gcra *gcra, uint64_t wanted, uint64_t now_ns, uint64_t *ret_start_ns)
{
	uint64_t rate = rate_get(gcra), now = now_ns * TICKS_PER_NS,
		 tat = __atomic_load_n(&gcra->tat, __ATOMIC_RELAXED), cost, burst;

	*ret_start_ns = now_ns;
	if (rate == GCRA_UNLIMITED || wanted == 0)
		return now_ns;
	if (rate == 0)
		return UINT64_MAX;
	burst = burst_of(rate);
	cost = cost_of(wanted, rate);
	while (!tat_advance(gcra, &tat, now, cost))
		;
	tat = MAX(tat, now);
	*ret_start_ns = passes_ns(tat, burst, now_ns);
	return passes_ns(tat + cost, burst, now_ns);
}

bool gcra_is_due(const struct gcra *gcra, uint64_t now_ns)
{
	uint64_t rate = rate_get(gcra), tat = __atomic_load_n(&gcra->tat, __ATOMIC_RELAXED);

	return rate == GCRA_UNLIMITED ||
	       (rate > 0 && tat <= now_ns * TICKS_PER_NS + burst_of(rate));
}

uint64_t gcra_burst(const struct gcra *gcra)
{
	uint64_t rate = rate_get(gcra);

	return rate == GCRA_UNLIMITED || rate == 0 ? rate : units_of(burst_of(rate), rate);
}

void gcra_give_back(struct gcra *gcra, uint64_t units)
{
	uint64_t rate = rate_get(gcra), tat = __atomic_load_n(&gcra->tat, __ATOMIC_RELAXED), cost;

	if (rate == GCRA_UNLIMITED || rate == 0 || units == 0)
		return;
	cost = cost_of(units, rate);
	while (!__atomic_compare_exchange_n(&gcra->tat, &tat, tat - MIN(tat, cost), true,
					    __ATOMIC_RELAXED, __ATOMIC_RELAXED))
		;
}

uint64_t gcra_remaining(const struct gcra *gcra, uint64_t now_ns)
{
	uint64_t rate = rate_get(gcra);

	if (rate == GCRA_UNLIMITED || rate == 0)
		return rate;
	return units_of(free_ticks(__atomic_load_n(&gcra->tat, __ATOMIC_RELAXED),
				   now_ns * TICKS_PER_NS, burst_of(rate)),
			rate);
}

uint64_t gcra_wait_ns(const struct gcra *gcra, uint64_t wanted, uint64_t now_ns)
{
	uint64_t rate = rate_get(gcra), now = now_ns * TICKS_PER_NS,
		 tat = __atomic_load_n(&gcra->tat, __ATOMIC_RELAXED), burst, cost, owed;

	if (rate == GCRA_UNLIMITED)
		return 0;
	if (rate == 0)
		return UINT64_MAX;
	burst = burst_of(rate);
	cost = MIN(cost_of(wanted, rate), burst);
	owed = tat > now ? tat - now : 0;
	return owed + cost <= burst ? 0 : (owed + cost - burst + TICKS_PER_NS - 1) / TICKS_PER_NS;
}
