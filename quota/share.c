// This proxy's part of limits that hold over all proxies: which of them have demand, how much, what
// the script was asked and has granted, and what holds while it does not answer.
//
// A lease is a pace for a limiter that stands already. Tokens flow into it at that pace; what they
// are not used for is free, up to a burst, and what overflows is returned: the next call tells how
// many were taken. A pace that rises makes nothing free at once, so tokens are nowhere made but in
// the script's books.
//
// A limit without demand costs no call. Its limiter has its part of the membership, so that the
// first messages of a tenant wait for nothing.
//
// Invariants: a bucket is in one list; it is in at most one call; a pace is never 0. Not here: the
// carrying of calls (core/redis), and what Redis's books hold (share.lua).

#include "quota/share.h"

#include "core/base/util.h"

#define BUSY_NS   (100 * MS_NS) // between two calls
#define CALM_NS   (250 * MS_NS)
#define QUIET_NS  S_NS // of a count that is not in use
#define AGAIN_NS  (200 * MS_NS)
#define IDLE_NS   (2 * S_NS)
#define FADE_NS   (S_NS / 5) // in which demand that is gone is forgotten
#define USED_MASK ((1ull << 48) - 1)
#define FLOORS    64 // an idle proxy's demand: its part of the limit, divided by this

__extension__ typedef unsigned __int128 wide;

// ---- parts

static uint64_t part_of(const struct share_bucket *bucket)
{
	uint64_t proxies = bucket->share->proxies;

	if (bucket->kind == SHARE_COUNT)
		return (bucket->limit + proxies - 1) / proxies;
	return MAX(bucket->limit / proxies, 1);
}

static void grant(struct share_bucket *bucket, uint64_t granted, uint64_t now_ns)
{
	bucket->granted = granted;
	if (bucket->kind == SHARE_COUNT)
		__atomic_store_n(bucket->allowance, granted, __ATOMIC_RELAXED);
	else
		gcra_set_pace(bucket->gcra, MAX(granted, 1), now_ns);
}

static void set_mode(struct share_bucket *bucket, enum share_mode mode)
{
	bucket->share->alone += mode == SHARE_ALONE;
	bucket->share->alone -= bucket->mode == SHARE_ALONE;
	bucket->mode = mode;
}

static void move_to(struct list *list, struct share_bucket *bucket)
{
	list_unlink(&bucket->link);
	list_push_back(list, &bucket->link);
}

static void activate(struct share_bucket *bucket, uint64_t now_ns)
{
	bucket->active_until_ns = now_ns + IDLE_NS;
	bucket->next_ns = now_ns;
	move_to(&bucket->share->active, bucket);
}

// ---- demand

static uint64_t taken_of(struct share_bucket *bucket)
{
	uint64_t refused, taken;

	if (bucket->kind == SHARE_COUNT) {
		refused = __atomic_exchange_n(&bucket->turned_away, false, __ATOMIC_RELAXED);
		taken = __atomic_load_n(bucket->used, __ATOMIC_RELAXED);
	} else {
		taken = gcra_taken(bucket->gcra, &refused);
	}
	bucket->refused = MIN(bucket->refused + refused, SHARE_LIMIT_MAX);
	return taken;
}

// The highest pace of late of what was taken and refused, which fades: a pause between two bursts
// is no end of demand.
static void look_at_demand(struct share_bucket *bucket, uint64_t now_ns)
{
	uint64_t taken = taken_of(bucket), past_ns = MAX(now_ns - bucket->seen_ns, 1);
	// Given back after it was looked at: less than nothing.
	uint64_t more = (int64_t)(taken - bucket->seen) > 0 ? taken - bucket->seen : 0;
	wide wanted =
		(wide)(more + bucket->refused) * GCRA_FINE * S_NS / MAX(past_ns, SHARE_TICK_NS);
	uint64_t faded =
		past_ns >= FADE_NS
			? 0
			: bucket->recent - (uint64_t)((wide)bucket->recent * past_ns / FADE_NS);

	bucket->recent = MAX((uint64_t)MIN(wanted, bucket->limit), faded);
	if (more || bucket->refused || taken != bucket->seen)
		bucket->active_until_ns = now_ns + IDLE_NS;
	bucket->seen = taken;
	bucket->seen_ns = now_ns;
}

static uint64_t demand_of(const struct share_bucket *bucket)
{
	uint64_t floor = part_of(bucket) / FLOORS;

	if (bucket->kind == SHARE_COUNT)
		return bucket->refused > 0;
	return MIN(bucket->recent + bucket->recent / 16 + floor, bucket->limit);
}

// Beyond half of its lease the next answer is needed soon.
static uint64_t pause_ns(const struct share_bucket *bucket, bool refused)
{
	if (refused)
		return BUSY_NS;
	if (bucket->kind == SHARE_COUNT)
		return bucket->seen ? CALM_NS : QUIET_NS;
	return bucket->recent > bucket->granted / 2 ? BUSY_NS : CALM_NS;
}

// ---- buckets

void share_init(struct share *share, uint64_t proxies)
{
	assert(proxies > 0);
	*share = (struct share){.proxies = proxies};
	list_init(&share->active);
	list_init(&share->idle);
}

void share_deinit(struct share *share)
{
	assert(list_empty(&share->active) && list_empty(&share->idle) && share->alone == 0);
}

static void bucket_add(struct share *share, struct share_bucket *bucket, uint64_t now_ns)
{
	bucket->share = share;
	bucket->seen_ns = now_ns;
	list_push_back(&share->idle, &bucket->link);
}

void share_add_rate(struct share *share, struct share_bucket *bucket, uint64_t id,
		    struct gcra *gcra, uint64_t limit, uint64_t now_ns)
{
	*bucket = (struct share_bucket){.id = id, .kind = SHARE_RATE, .gcra = gcra};
	assert(limit > 0);
	bucket->limit = MIN(limit, SHARE_LIMIT_MAX / GCRA_FINE) * GCRA_FINE;
	bucket_add(share, bucket, now_ns);
	grant(bucket, part_of(bucket), now_ns);
	// A proxy that joins brings little that is free: the others have that already.
	gcra_take(gcra, gcra_remaining(gcra, now_ns) / 4 * 3, now_ns);
	gcra_count(gcra, true);
	bucket->seen = bucket->told = taken_of(bucket);
	bucket->refused = 0;
}

// Begins with nothing: what is in use stays in use, so no part may be used before it is leased.
void share_add_count(struct share *share, struct share_bucket *bucket, uint64_t id, uint64_t *used,
		     uint64_t *allowance, uint64_t limit, uint64_t now_ns)
{
	*bucket = (struct share_bucket){.id = id,
					.kind = SHARE_COUNT,
					.used = used,
					.allowance = allowance,
					.limit = MIN(limit, SHARE_LIMIT_MAX)};
	bucket_add(share, bucket, now_ns);
	grant(bucket, 0, now_ns);
	activate(bucket, now_ns);
}

void share_count_refused(struct share_bucket *bucket)
{
	__atomic_store_n(&bucket->turned_away, true, __ATOMIC_RELAXED);
}

void share_remove(struct share_bucket *bucket)
{
	if (bucket->call)
		bucket->call->buckets[bucket->row] = NULL;
	set_mode(bucket, SHARE_OWN);
	list_unlink(&bucket->link);
	if (bucket->gcra)
		gcra_count(bucket->gcra, false);
}

// The books of the old limit hold for a moment: the part of the new one until the next answer.
void share_set_limit(struct share_bucket *bucket, uint64_t limit, uint64_t now_ns)
{
	assert(limit > 0 || bucket->kind == SHARE_COUNT);
	bucket->limit = bucket->kind == SHARE_COUNT
				? MIN(limit, SHARE_LIMIT_MAX)
				: MIN(limit, SHARE_LIMIT_MAX / GCRA_FINE) * GCRA_FINE;
	grant(bucket,
	      MIN(part_of(bucket), bucket->kind == SHARE_COUNT ? bucket->granted : UINT64_MAX),
	      now_ns);
	activate(bucket, now_ns);
}

static void list_grant_parts(struct list *list, uint64_t now_ns)
{
	LIST_FOREACH(pos, next, list)
	{
		struct share_bucket *bucket = LIST_ENTRY(pos, struct share_bucket, link);

		if (bucket->mode == SHARE_ALONE ||
		    (bucket->mode == SHARE_OWN && bucket->kind == SHARE_RATE))
			grant(bucket, part_of(bucket), now_ns);
	}
}

void share_set_proxies(struct share *share, uint64_t proxies, uint64_t now_ns)
{
	assert(proxies > 0);
	if (proxies == share->proxies)
		return;
	share->proxies = proxies;
	list_grant_parts(&share->active, now_ns);
	list_grant_parts(&share->idle, now_ns);
}

// ---- time

// What has a lease and no demand keeps no more than its part: others have the rest of it soon.
static void retire(struct share_bucket *bucket, uint64_t now_ns)
{
	if (bucket->mode == SHARE_LEASED)
		grant(bucket, MIN(bucket->granted, part_of(bucket)), now_ns);
	set_mode(bucket, SHARE_OWN);
	bucket->waiting_ns = 0;
	move_to(&bucket->share->idle, bucket);
}

static bool is_refused(const struct share_bucket *bucket)
{
	if (bucket->kind == SHARE_COUNT)
		return __atomic_load_n(&bucket->turned_away, __ATOMIC_RELAXED);
	return __atomic_load_n(&bucket->gcra->refused, __ATOMIC_RELAXED) > 0;
}

static bool is_over(const struct share_bucket *bucket, uint64_t now_ns)
{
	return bucket->kind == SHARE_RATE && now_ns > bucket->active_until_ns;
}

static void tick_active(struct share_bucket *bucket, uint64_t now_ns)
{
	if (bucket->waiting_ns && now_ns - bucket->waiting_ns > SHARE_GRACE_NS &&
	    bucket->mode != SHARE_ALONE) {
		set_mode(bucket, SHARE_ALONE);
		grant(bucket, part_of(bucket), now_ns);
	}
	if (bucket->call)
		return;
	if (is_over(bucket, now_ns) && bucket->mode != SHARE_LEASED)
		retire(bucket, now_ns);
	else if (is_refused(bucket) && !bucket->pressed && !bucket->waiting_ns)
		bucket->next_ns = MIN(bucket->next_ns, bucket->called_ns + BUSY_NS / 4);
}

static void tick_idle(struct share_bucket *bucket, uint64_t now_ns)
{
	uint64_t taken = taken_of(bucket);

	if (taken == bucket->seen && bucket->refused == 0)
		return;
	bucket->seen_ns =
		MAX(bucket->seen_ns, now_ns - SHARE_TICK_NS); // it came since the last look
	activate(bucket, now_ns);
}

void share_tick(struct share *share, uint64_t now_ns)
{
	LIST_FOREACH(pos, next, &share->active)
	tick_active(LIST_ENTRY(pos, struct share_bucket, link), now_ns);
	LIST_FOREACH(pos, next, &share->idle)
	tick_idle(LIST_ENTRY(pos, struct share_bucket, link), now_ns);
}

// ---- calls

static struct share_row row_of(struct share_bucket *bucket, uint64_t now_ns)
{
	uint64_t burst = (uint64_t)((wide)bucket->limit * SHARE_CREDIT_NS / S_NS / GCRA_FINE);
	struct share_row row = {.id = bucket->id,
				.kind = bucket->kind,
				.limit = bucket->limit,
				.used = bucket->seen,
				.demand = demand_of(bucket)};

	if (bucket->kind == SHARE_COUNT) {
		row.holds = MAX(bucket->granted, bucket->seen);
		return row;
	}
	row.used &= USED_MASK;
	row.missed = (int64_t)(bucket->seen - bucket->told) > 0 ? bucket->seen - bucket->told : 0;
	row.missed = MIN(row.missed, burst);
	row.credit = gcra_remaining(bucket->gcra, now_ns) * GCRA_FINE;
	row.holds = bucket->granted;
	return row;
}

static void call_add(struct share_call *call, struct share_bucket *bucket, uint64_t now_ns)
{
	look_at_demand(bucket, now_ns);
	bucket->call = call;
	bucket->row = call->count;
	bucket->called_ns = now_ns;
	bucket->told_now = bucket->seen;
	bucket->pressed = bucket->refused > 0;
	if (!bucket->waiting_ns)
		bucket->waiting_ns = now_ns;
	call->rows[call->count] = row_of(bucket, now_ns);
	bucket->returning = is_over(bucket, now_ns);
	if (bucket->returning)
		call->rows[call->count].kind = SHARE_RETURN;
	call->buckets[call->count++] = bucket;
}

// Those of a call go to the end of the list, so that none is passed over when there are too many.
bool share_call_next(struct share *share, struct share_call *call, uint64_t now_ns)
{
	call->count = 0;
	LIST_FOREACH(pos, next, &share->active)
	{
		struct share_bucket *bucket = LIST_ENTRY(pos, struct share_bucket, link);

		if (bucket->call || bucket->next_ns > now_ns)
			continue;
		call_add(call, bucket, now_ns);
		if (call->count == SHARE_ROWS_MAX)
			break;
	}
	for (size_t i = 0; i < call->count; ++i)
		move_to(&share->active, call->buckets[i]);
	call->number = call->count ? ++share->number : 0;
	return call->count > 0;
}

static void bucket_failed(struct share_bucket *bucket, uint64_t now_ns)
{
	if (bucket->returning) {
		retire(bucket, now_ns); // the script forgets it in a second
		return;
	}
	bucket->next_ns = now_ns + AGAIN_NS;
}

static void bucket_answered(struct share_bucket *bucket, uint64_t granted, uint64_t now_ns)
{
	bool refused = bucket->refused > 0;

	bucket->waiting_ns = 0;
	bucket->told = bucket->told_now;
	bucket->refused = 0;
	if (bucket->returning) {
		retire(bucket, now_ns);
		return;
	}
	set_mode(bucket, SHARE_LEASED);
	grant(bucket, MIN(granted, bucket->limit + bucket->limit / 4), now_ns);
	bucket->next_ns = bucket->called_ns + pause_ns(bucket, refused);
}

void share_call_answered(struct share_call *call, const uint64_t *granted, uint64_t now_ns)
{
	for (size_t i = 0; i < call->count; ++i) {
		struct share_bucket *bucket = call->buckets[i];

		if (!bucket)
			continue;
		bucket->call = NULL;
		if (granted[i] == SHARE_FAILED)
			bucket_failed(bucket, now_ns);
		else
			bucket_answered(bucket, granted[i], now_ns);
	}
}

void share_call_failed(struct share_call *call, uint64_t now_ns)
{
	for (size_t i = 0; i < call->count; ++i) {
		if (!call->buckets[i])
			continue;
		call->buckets[i]->call = NULL;
		bucket_failed(call->buckets[i], now_ns);
	}
}

// The credit of all proxies, the part that wakes before it is leased, and a unit a proxy.
uint64_t share_bound(uint64_t limit, uint64_t proxies)
{
	return limit / 5 + limit / 10 * (proxies - 1) / proxies + proxies;
}
