// Counts what each tenant has stored, in rounds.
//
// A round lists the topics and groups of the catalog, asks each cluster for the bytes of its own,
// and adds them up for their tenants. A send that ended before the round began is in the clusters'
// numbers. One that ended later may be in them, and is then counted twice until the next round.
// Where a cluster does not answer, its last numbers stay.
//
// The thread rests in proportion to the duration of a round, so that counting many topics takes a
// small part of a core.

#include "proxy/resource/storage_count.h"

#include "adapters/adapter.h"
#include "core/base/clock.h"
#include "core/catalog/catalog.h"
#include "core/loop/ticker.h"
#include "proxy/resource/backends.h"
#include "proxy/resource/storage.h"

#include <errno.h>

#define REST_NS           S_NS // between two rounds
#define REST_LIMITED_NS   (S_NS / 5)
#define REST_PART         100u // of what a round takes, without a limit anywhere
#define REST_PART_LIMITED 20u

struct storage_counter {
	struct storage *storage;
	struct ticker *ticker;
	bool limited; // some tenant has a limit
	// What the round before has found, sorted as it was asked for.
	struct count *before;
	size_t before_count;
};

// One topic, or the retry store of one group.
struct count {
	uint64_t cluster, tenant;
	uint64_t id;
	bool is_group;
	struct stored_row row;
};

// One tenant in a round.
struct sum {
	struct storage_tenant *tenant;
	uint64_t id;
	uint64_t limit;
	uint64_t ended, bytes; // `ended`: when the round began
	bool estimated;
};

struct round {
	struct storage_counter *counter;
	struct sum *sums;
	size_t sum_count, sum_room;
	struct count *counts;
	size_t count_count, count_room;
	bool failed; // no memory
};

// ---- listing

static void *room_for(void *items, size_t count, size_t *room, size_t size)
{
	size_t more = MAX(*room * 2, 64);
	void *grown;

	if (count < *room)
		return items;
	grown = reallocarray(items, more, size);
	if (grown)
		*room = more;
	return grown;
}

static void list_tenant(void *ctx, const struct model_object *object)
{
	struct round *round = ctx;
	struct storage_tenant *tenant = storage_tenant(round->counter->storage, object->id);
	struct sum *sums =
		room_for(round->sums, round->sum_count, &round->sum_room, sizeof *round->sums);

	if (sums)
		round->sums = sums;
	if (!tenant || !sums) {
		round->failed = true;
		return;
	}
	round->sums[round->sum_count++] = (struct sum){
		.tenant = tenant,
		.id = object->id,
		.limit = ((const struct tenant *)(const void *)object)->limits.storage_bytes,
		.ended = __atomic_load_n(&tenant->ended, __ATOMIC_ACQUIRE)};
}

static void list_count(struct round *round, struct count count)
{
	struct count *counts = room_for(round->counts, round->count_count, &round->count_room,
					sizeof *round->counts);

	if (!counts) {
		round->failed = true;
		model_unref(count.row.topic);
		model_unref(count.row.group);
		return;
	}
	round->counts = counts;
	round->counts[round->count_count++] = count;
}

static void list_topic(void *ctx, const struct model_object *object)
{
	const struct topic *topic = (const struct topic *)(const void *)object;

	list_count(ctx, (struct count){.cluster = topic->cluster,
				       .tenant = topic->tenant,
				       .id = object->id,
				       .row.topic = model_ref(topic)});
}

// Its topic is found afterwards: the catalog is locked.
static void list_group(void *ctx, const struct model_object *object)
{
	const struct group *group = (const struct group *)(const void *)object;

	list_count(ctx, (struct count){.tenant = group->tenant,
				       .id = object->id,
				       .is_group = true,
				       .row.group = model_ref(group)});
}

static void topics_find(struct round *round)
{
	for (size_t i = 0; i < round->count_count; ++i) {
		struct count *count = &round->counts[i];

		if (!count->is_group)
			continue;
		count->row.topic =
			catalog_topic(round->counter->storage->catalog, count->row.group->topic);
		count->cluster = count->row.topic ? count->row.topic->cluster : 0;
	}
}

static int number_compare(uint64_t a, uint64_t b)
{
	return a < b ? -1 : a > b;
}

static int count_compare(const void *left, const void *right)
{
	const struct count *a = left, *b = right;
	int r = number_compare(a->cluster, b->cluster);

	if (!r)
		r = (int)a->is_group - (int)b->is_group;
	return r ? r : number_compare(a->id, b->id);
}

static int sum_compare(const void *left, const void *right)
{
	return number_compare(((const struct sum *)left)->id, ((const struct sum *)right)->id);
}

// `ended` is read before anything is asked.
static void round_list(struct round *round)
{
	struct catalog *catalog = round->counter->storage->catalog;

	catalog_each(catalog, MODEL_TENANT, list_tenant, round);
	catalog_each(catalog, MODEL_TOPIC, list_topic, round);
	catalog_each(catalog, MODEL_GROUP, list_group, round);
	topics_find(round);
	if (round->count_count)
		qsort(round->counts, round->count_count, sizeof *round->counts, count_compare);
	if (round->sum_count)
		qsort(round->sums, round->sum_count, sizeof *round->sums, sum_compare);
}

// ---- asking

static void cluster_ask(struct storage *storage, uint64_t cluster, struct count *counts,
			size_t count)
{
	struct backend *backend = backend_get(storage->backends, cluster);
	struct stored_row *rows;

	if (backend && backend->ops->stored && (rows = calloc(count, sizeof *rows))) {
		for (size_t i = 0; i < count; ++i)
			rows[i] = counts[i].row;
		backend->ops->stored(backend->adapter, rows, count);
		for (size_t i = 0; i < count; ++i)
			counts[i].row = rows[i];
		free(rows);
	}
	backend_unref(backend);
}

// What a cluster did not tell is as it was.
static void last_take(const struct storage_counter *counter, struct count *count)
{
	const struct count *last = counter->before_count
					   ? bsearch(count, counter->before, counter->before_count,
						     sizeof *counter->before, count_compare)
					   : NULL;

	if (!last || count->row.known)
		return;
	count->row.bytes = last->row.bytes;
	count->row.estimated = last->row.estimated;
}

static void round_ask(struct round *round)
{
	for (size_t at = 0, end; at < round->count_count; at = end) {
		uint64_t cluster = round->counts[at].cluster;

		for (end = at; end < round->count_count && round->counts[end].cluster == cluster;)
			++end;
		if (cluster)
			cluster_ask(round->counter->storage, cluster, &round->counts[at], end - at);
	}
	for (size_t i = 0; i < round->count_count; ++i)
		last_take(round->counter, &round->counts[i]);
}

// ---- adding up

static void round_add(struct round *round)
{
	for (size_t i = 0; i < round->count_count; ++i) {
		const struct count *count = &round->counts[i];
		struct sum key = {.id = count->tenant},
			   *sum = round->sum_count ? bsearch(&key, round->sums, round->sum_count,
							     sizeof key, sum_compare)
						   : NULL;

		if (!sum)
			continue;
		sum->bytes += count->row.bytes;
		sum->estimated |= count->row.estimated;
	}
}

static void counts_free(struct count *counts, size_t count)
{
	for (size_t i = 0; i < count; ++i) {
		model_unref(counts[i].row.topic);
		model_unref(counts[i].row.group);
	}
	free(counts);
}

static void round_keep(struct round *round)
{
	struct storage_counter *counter = round->counter;

	for (size_t i = 0; i < round->count_count; ++i) {
		round->counts[i].row.topic = model_unref(round->counts[i].row.topic);
		round->counts[i].row.group = model_unref(round->counts[i].row.group);
	}
	free(counter->before);
	counter->before = round->counts;
	counter->before_count = round->count_count;
}

static void count_round(struct storage_counter *counter)
{
	struct round round = {.counter = counter};

	round_list(&round);
	if (round.failed) { // what was counted before holds
		counts_free(round.counts, round.count_count);
		free(round.sums);
		return;
	}
	round_ask(&round);
	round_add(&round);
	counter->limited = false;
	for (size_t i = 0; i < round.sum_count; ++i) {
		const struct sum *sum = &round.sums[i];

		storage_limit_set(sum->tenant, sum->limit);
		storage_counted(sum->tenant, sum->ended, sum->bytes, sum->estimated);
		counter->limited |= round.sums[i].limit != MODEL_UNLIMITED;
	}
	round_keep(&round);
	free(round.sums);
}

// ---- the thread

static uint64_t rest_ns(const struct storage_counter *counter, uint64_t took_ns)
{
	return counter->limited ? MAX(REST_LIMITED_NS, took_ns * REST_PART_LIMITED)
				: MAX(REST_NS, took_ns * REST_PART);
}

static uint64_t count_again(void *ctx)
{
	struct storage_counter *counter = ctx;
	uint64_t began_ns = clock_now_ns();

	count_round(counter);
	return rest_ns(counter, clock_now_ns() - began_ns);
}

static void counter_free(struct storage_counter *counter)
{
	free(counter->before);
	free(counter);
}

int storage_count_start(struct storage *storage)
{
	struct storage_counter *counter = calloc(1, sizeof *counter);
	int r;

	if (!counter)
		return -ENOMEM;
	counter->storage = storage;
	count_round(counter); // before anything is taken
	r = ticker_new("storage-count", rest_ns(counter, 0), count_again, counter,
		       &counter->ticker);
	if (r < 0) {
		counter_free(counter);
		return r;
	}
	storage->counter = counter;
	return 0;
}

void storage_count_stop(struct storage *storage)
{
	struct storage_counter *counter = storage->counter;

	if (!counter)
		return;
	ticker_free(counter->ticker);
	counter_free(counter);
	storage->counter = NULL;
}

void storage_count_soon(struct storage *storage)
{
	if (storage->counter)
		ticker_poke(storage->counter->ticker);
}
