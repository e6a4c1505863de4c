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
//
// The rate is kept as a pace, in 1/1024 units a second, so that a proxy's share of one message a
// second is exact too. A limit that is shared counts what it admits; others do not pay for that.

#include "quota/gcra.h"

#include "core/base/util.h"

#define TICKS_PER_NS 64ull
#define TICKS_PER_S  (TICKS_PER_NS * S_NS)
#define TICKS_FINE   (TICKS_PER_S * GCRA_FINE)
#define BURST_TICKS  (TICKS_PER_S / 5)
#define UNITS_SHORT  (INT64_MAX / TICKS_FINE) // their ticks are less than 2^63

__extension__ typedef unsigned __int128 wide;

// Ticks for `units`, rounded up. Limited to a quarter of the range, so that adding two of them to a
// time cannot overflow.
static uint64_t cost_of(uint64_t units, uint64_t pace)
{
	wide ticks;

	if (units <= UNITS_SHORT &&
	    pace <= INT64_MAX) // what is usual needs no division of 128 bits
		return MIN((units * TICKS_FINE + pace - 1) / pace, UINT64_MAX / 4);
	ticks = ((wide)units * TICKS_FINE + pace - 1) / pace;

	return ticks > UINT64_MAX / 4 ? UINT64_MAX / 4 : (uint64_t)ticks;
}

static uint64_t units_of(uint64_t ticks, uint64_t pace)
{
	return (uint64_t)((wide)ticks * pace / TICKS_FINE);
}

static uint64_t burst_of(uint64_t pace)
{
	return pace >= 5 * GCRA_FINE ? BURST_TICKS : cost_of(1, pace);
}

static uint64_t pace_of(uint64_t rate)
{
	if (rate == GCRA_UNLIMITED)
		return rate;
	return MIN(rate, (GCRA_UNLIMITED - 1) / GCRA_FINE) * GCRA_FINE;
}

void gcra_init(struct gcra *gcra, uint64_t rate)
{
	*gcra = (struct gcra){.pace = pace_of(rate)};
}

static uint64_t pace_get(const struct gcra *gcra)
{
	return __atomic_load_n(&gcra->pace, __ATOMIC_RELAXED);
}

uint64_t gcra_rate(const struct gcra *gcra)
{
	uint64_t pace = pace_get(gcra);

	return pace == GCRA_UNLIMITED ? pace : pace / GCRA_FINE;
}

// What is owed at `old`, as ticks at `pace`: the same units. A lower pace does not make it more, or
// one burst would be owed for minutes.
static uint64_t owed_after(uint64_t owed, uint64_t old, uint64_t pace)
{
	if (old == 0 || pace == GCRA_UNLIMITED)
		return 0;
	return pace <= old ? owed : (uint64_t)(((wide)owed * old + pace - 1) / pace);
}

void gcra_set_rate(struct gcra *gcra, uint64_t rate, uint64_t now_ns)
{
	uint64_t pace = pace_of(rate),
		 old = __atomic_exchange_n(&gcra->pace, pace, __ATOMIC_RELAXED),
		 now = now_ns * TICKS_PER_NS, tat = __atomic_load_n(&gcra->tat, __ATOMIC_RELAXED);

	if (old == pace) // every loop sets it: the first that does counts
		return;
	while (tat > now && !__atomic_compare_exchange_n(&gcra->tat, &tat,
							 now + owed_after(tat - now, old, pace),
							 true, __ATOMIC_RELAXED, __ATOMIC_RELAXED))
		;
}

// Ticks that are free now: the burst, less what is owed.
static uint64_t free_ticks(uint64_t tat, uint64_t now, uint64_t burst)
{
	uint64_t owed = tat > now ? tat - now : 0;

	return owed >= burst ? 0 : burst - owed;
}

// What is owed at `pace` when as many units are free as at `old`, at most a burst. A debt beyond
// the burst stays as many units.
static uint64_t owed_at_pace(uint64_t owed, uint64_t old, uint64_t pace)
{
	uint64_t burst = burst_of(pace), burst_old = burst_of(old), free;

	if (owed > burst_old)
		return burst + (uint64_t)(((wide)(owed - burst_old) * old + pace - 1) / pace);
	free = (uint64_t)((wide)(burst_old - owed) * old / pace);
	return burst - MIN(free, burst);
}

void gcra_set_pace(struct gcra *gcra, uint64_t pace, uint64_t now_ns)
{
	uint64_t old = __atomic_exchange_n(&gcra->pace, pace, __ATOMIC_RELAXED),
		 now = now_ns * TICKS_PER_NS, tat = __atomic_load_n(&gcra->tat, __ATOMIC_RELAXED);

	assert(pace > 0 && pace != GCRA_UNLIMITED && old > 0 && old != GCRA_UNLIMITED);
	while (old != pace &&
	       !__atomic_compare_exchange_n(
		       &gcra->tat, &tat, now + owed_at_pace(tat > now ? tat - now : 0, old, pace),
		       true, __ATOMIC_RELAXED, __ATOMIC_RELAXED))
		;
}

void gcra_count(struct gcra *gcra, bool counted)
{
	__atomic_store_n(&gcra->counted, counted, __ATOMIC_RELAXED);
}

uint64_t gcra_taken(struct gcra *gcra, uint64_t *ret_refused)
{
	*ret_refused = __atomic_exchange_n(&gcra->refused, 0, __ATOMIC_RELAXED);
	return __atomic_load_n(&gcra->taken, __ATOMIC_RELAXED);
}

// The counts are no part of the decision: a reader may see them a charge too early or too late.
static inline void count_taken(struct gcra *gcra, uint64_t taken, uint64_t refused)
{
	if (!__atomic_load_n(&gcra->counted, __ATOMIC_RELAXED))
		return;
	if (taken)
		__atomic_add_fetch(&gcra->taken, taken, __ATOMIC_RELAXED);
	if (refused)
		__atomic_add_fetch(&gcra->refused, refused, __ATOMIC_RELAXED);
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
	uint64_t pace = pace_get(gcra), now = now_ns * TICKS_PER_NS,
		 tat = __atomic_load_n(&gcra->tat, __ATOMIC_RELAXED), burst, cost, units;

	if (pace == GCRA_UNLIMITED || wanted == 0)
		return wanted;
	if (pace == 0)
		return 0;
	burst = burst_of(pace);
	cost = cost_of(wanted, pace);
	do {
		uint64_t room = free_ticks(tat, now, burst);

		units = wanted;
		if (cost > room) {
			units = MIN(units_of(room, pace), wanted);
			cost = cost_of(units, pace);
			if (units == 0) {
				count_taken(gcra, 0, wanted);
				return 0;
			}
		}
	} while (!tat_advance(gcra, &tat, now, cost) && (cost = cost_of(wanted, pace)));
	count_taken(gcra, units, wanted - units);
	return units;
}

// All or nothing. `oversize` lets one charge above the burst pass when nothing is owed; what it
// owes then delays the following ones.
bool gcra_take_all(struct gcra *gcra, uint64_t wanted, bool oversize, uint64_t now_ns)
{
	uint64_t pace = pace_get(gcra), now = now_ns * TICKS_PER_NS,
		 tat = __atomic_load_n(&gcra->tat, __ATOMIC_RELAXED), burst, cost;

	if (pace == GCRA_UNLIMITED || wanted == 0)
		return true;
	if (pace == 0)
		return false;
	burst = burst_of(pace);
	cost = cost_of(wanted, pace);
	do {
		if (cost > free_ticks(tat, now, burst) &&
		    !(oversize && cost > burst && tat <= now)) {
			count_taken(gcra, 0, wanted);
			return false;
		}
	} while (!tat_advance(gcra, &tat, now, cost));
	count_taken(gcra, wanted, 0);
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
	uint64_t pace = pace_get(gcra), now = now_ns * TICKS_PER_NS,
		 tat = __atomic_load_n(&gcra->tat, __ATOMIC_RELAXED), cost, burst;

	*ret_start_ns = now_ns;
	if (pace == GCRA_UNLIMITED || wanted == 0)
		return now_ns;
	if (pace == 0)
		return UINT64_MAX;
	burst = burst_of(pace);
	cost = cost_of(wanted, pace);
	while (!tat_advance(gcra, &tat, now, cost))
		;
	count_taken(gcra, wanted, 0);
	tat = MAX(tat, now);
	*ret_start_ns = passes_ns(tat, burst, now_ns);
	return passes_ns(tat + cost, burst, now_ns);
}

bool gcra_is_due(const struct gcra *gcra, uint64_t now_ns)
{
	uint64_t pace = pace_get(gcra), tat = __atomic_load_n(&gcra->tat, __ATOMIC_RELAXED);

	return pace == GCRA_UNLIMITED ||
	       (pace > 0 && tat <= now_ns * TICKS_PER_NS + burst_of(pace));
}

uint64_t gcra_burst(const struct gcra *gcra)
{
	uint64_t pace = pace_get(gcra);

	return pace == GCRA_UNLIMITED || pace == 0 ? pace : units_of(burst_of(pace), pace);
}

void gcra_give_back(struct gcra *gcra, uint64_t units)
{
	uint64_t pace = pace_get(gcra), tat = __atomic_load_n(&gcra->tat, __ATOMIC_RELAXED), cost;

	if (pace == GCRA_UNLIMITED || pace == 0 || units == 0)
		return;
	cost = cost_of(units, pace);
	while (!__atomic_compare_exchange_n(&gcra->tat, &tat, tat - MIN(tat, cost), true,
					    __ATOMIC_RELAXED, __ATOMIC_RELAXED))
		;
	count_taken(gcra, 0 - units, 0);
}

uint64_t gcra_remaining(const struct gcra *gcra, uint64_t now_ns)
{
	uint64_t pace = pace_get(gcra);

	if (pace == GCRA_UNLIMITED || pace == 0)
		return pace;
	return units_of(free_ticks(__atomic_load_n(&gcra->tat, __ATOMIC_RELAXED),
				   now_ns * TICKS_PER_NS, burst_of(pace)),
			pace);
}

uint64_t gcra_wait_ns(const struct gcra *gcra, uint64_t wanted, uint64_t now_ns)
{
	uint64_t pace = pace_get(gcra), now = now_ns * TICKS_PER_NS,
		 tat = __atomic_load_n(&gcra->tat, __ATOMIC_RELAXED), burst, cost, owed;

	if (pace == GCRA_UNLIMITED)
		return 0;
	if (pace == 0)
		return UINT64_MAX;
	burst = burst_of(pace);
	cost = MIN(cost_of(wanted, pace), burst);
	owed = tat > now ? tat - now : 0;
	return owed + cost <= burst ? 0 : (owed + cost - burst + TICKS_PER_NS - 1) / TICKS_PER_NS;
}
