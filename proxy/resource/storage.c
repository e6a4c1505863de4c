// Decides whether a tenant may store more: a row for each tenant, with what it has stored and what
// is on its way. The counts come from storage_count.c.
//
// base = (last count) - (ended when that count began). So base + taken is the count plus everything
// that was not answered when it began. The two words are read one after the other: a sender that
// has read the previous base sees no less than what was in use then.

#include "proxy/resource/storage.h"

#include "core/base/clock.h"
#include "core/base/log.h"

#include <errno.h>

#define LOG_NS (10 * S_NS)

void storage_init(struct storage *storage, struct catalog *catalog, struct backends *backends)
{
	*storage = (struct storage){.catalog = catalog, .backends = backends};
}

void storage_deinit(struct storage *storage)
{
	assert(!storage->counter);
	for (size_t i = 0; i < STORAGE_BUCKETS; ++i) {
		while (storage->buckets[i]) {
			struct storage_tenant *tenant = storage->buckets[i];

			storage->buckets[i] = tenant->next;
			assert(tenant->taken == tenant->ended);
			free(tenant);
		}
	}
}

// ---- rows

static struct storage_tenant *find_row(struct storage_tenant *tenant, uint64_t id)
{
	while (tenant && tenant->id != id)
		tenant = tenant->next;
	return tenant;
}

struct storage_tenant *storage_tenant(struct storage *storage, uint64_t id)
{
	struct storage_tenant **bucket =
		&storage->buckets[(id * 0x9E3779B97F4A7C15ull) >> 54 & (STORAGE_BUCKETS - 1)];
	struct storage_tenant *first = __atomic_load_n(bucket, __ATOMIC_ACQUIRE);
	struct storage_tenant *tenant = find_row(first, id), *added;

	if (tenant)
		return tenant;
	added = calloc(1, sizeof *added);
	if (!added)
		return NULL;
	added->id = id;
	added->limit = MODEL_UNLIMITED;
	do {
		tenant = find_row(first, id);
		if (tenant) {
			free(added); // another thread was faster
			return tenant;
		}
		added->next = first;
	} while (!__atomic_compare_exchange_n(bucket, &first, added, false, __ATOMIC_ACQ_REL,
					      __ATOMIC_ACQUIRE));
	return added;
}

void storage_counted(struct storage_tenant *tenant, uint64_t ended, uint64_t bytes, bool estimated)
{
	uint64_t limit = __atomic_load_n(&tenant->limit, __ATOMIC_RELAXED);

	__atomic_store_n(&tenant->stored, bytes, __ATOMIC_RELAXED);
	__atomic_store_n(&tenant->estimated, estimated, __ATOMIC_RELAXED);
	__atomic_store_n(&tenant->base, bytes - ended, __ATOMIC_RELEASE);
	__atomic_store_n(&tenant->reserve_full,
			 limit != MODEL_UNLIMITED && bytes >= limit + storage_reserve(limit),
			 __ATOMIC_RELEASE);
	__atomic_store_n(&tenant->counted, true, __ATOMIC_RELEASE);
}

const struct storage_tenant *storage_first(const struct storage *storage, size_t bucket)
{
	return __atomic_load_n(&storage->buckets[bucket], __ATOMIC_ACQUIRE);
}

void storage_limit_set(struct storage_tenant *tenant, uint64_t limit)
{
	__atomic_store_n(&tenant->limit, limit, __ATOMIC_RELAXED);
}

uint64_t storage_reserve(uint64_t limit)
{
	return limit == MODEL_UNLIMITED ? 0 : MAX(limit / 10, STORAGE_RESERVE_MIN);
}

// The base first: one that is newer than `taken` may have more in it than was taken by then.
static uint64_t in_use(const struct storage_tenant *tenant, uint64_t *ret_taken)
{
	uint64_t base = __atomic_load_n(&tenant->base, __ATOMIC_ACQUIRE);

	*ret_taken = __atomic_load_n(&tenant->taken, __ATOMIC_ACQUIRE);
	return base + *ret_taken;
}

void storage_use_read(const struct storage_tenant *tenant, struct storage_use *ret)
{
	uint64_t limit = __atomic_load_n(&tenant->limit, __ATOMIC_RELAXED);
	uint64_t stored = __atomic_load_n(&tenant->stored, __ATOMIC_RELAXED);
	uint64_t reserve = storage_reserve(limit);

	*ret = (struct storage_use){
		.stored = stored,
		.limit = limit,
		.reserve = reserve,
		.reserve_used = stored > limit ? MIN(stored - limit, reserve) : 0,
		.counted = __atomic_load_n(&tenant->counted, __ATOMIC_RELAXED),
		.estimated = __atomic_load_n(&tenant->estimated, __ATOMIC_RELAXED)};
}

// ---- what is on its way

static bool take_bytes(struct storage_tenant *tenant, uint64_t bytes, uint64_t most)
{
	uint64_t taken, used;

	do {
		used = in_use(tenant, &taken);
		if (used > most || bytes > most - used)
			return false;
	} while (!__atomic_compare_exchange_n(&tenant->taken, &taken, taken + bytes, true,
					      __ATOMIC_ACQ_REL, __ATOMIC_RELAXED));
	return true;
}

bool storage_take(struct storage_tenant *tenant, uint64_t bytes)
{
	return take_bytes(tenant, bytes, __atomic_load_n(&tenant->limit, __ATOMIC_RELAXED));
}

bool storage_take_copy(struct storage_tenant *tenant, uint64_t bytes)
{
	uint64_t limit = __atomic_load_n(&tenant->limit, __ATOMIC_RELAXED);

	return take_bytes(tenant, bytes, limit + storage_reserve(limit));
}

void storage_release(struct storage_tenant *tenant, uint64_t bytes)
{
	uint64_t ended = __atomic_add_fetch(&tenant->ended, bytes, __ATOMIC_ACQ_REL);

	assert(ended <= __atomic_load_n(&tenant->taken, __ATOMIC_ACQUIRE));
	(void)ended;
}

void storage_log_refused(struct storage_tenant *tenant, const char *name, uint64_t now_ns)
{
	uint64_t before = __atomic_load_n(&tenant->logged_ns, __ATOMIC_RELAXED);
	struct log_ctx log = {.tenant = name};
	uint64_t taken;

	if ((before && now_ns < before + LOG_NS) ||
	    !__atomic_compare_exchange_n(&tenant->logged_ns, &before, now_ns, false,
					 __ATOMIC_RELAXED, __ATOMIC_RELAXED))
		return;
	log_warn(&log, "STORAGE-LIMIT",
		 "sends are refused: limits.storage_bytes is %llu, in use are %llu%s",
		 (unsigned long long)__atomic_load_n(&tenant->limit, __ATOMIC_RELAXED),
		 (unsigned long long)in_use(tenant, &taken),
		 __atomic_load_n(&tenant->estimated, __ATOMIC_RELAXED) ? " (estimated)" : "");
}
