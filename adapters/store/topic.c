// The topics of one store that sessions hold, in memory: a hash by id, counted, each with the ends
// of its partitions as of the last commit.
//
// A topic is read once, when the first session opens it, and held against its chunks; afterwards
// only the committer changes it, and any thread reads first, end and bytes without a lock. A topic
// that grows gets a new array of partitions; the old one is kept until the topic is closed, because
// readers may be in it.
//
// Invariants: one topic has at most one object in a store that is not `gone`; an object that is
// gone stays in the hash while its rows are being deleted, so that they are not read anew. `first`
// and `end` of an object never fall.
//
// Not here: making, changing and deleting a topic (topic_admin.c), and appending to it (append.c).

#include "adapters/store/topic.h"

#include "adapters/store/damage.h"
#include "adapters/store/fault.h"
#include "adapters/store/key.h"
#include "adapters/store/partition_row.h"
#include "adapters/store/row.h"
#include "adapters/store/tail.h"
#include "adapters/store/topic_row.h"

#include <errno.h>

struct store_retired {
	struct store_retired *next;
	struct store_partition *partitions;
};

static struct adapter_topic **slot_of(struct store *store, uint64_t id)
{
	return &store->slots[(id * 0x9e3779b97f4a7c15ull >> 32) & (store->slot_count - 1)];
}

static void slots_grow(struct store *store)
{
	size_t old_count = store->slot_count;
	struct adapter_topic **old = store->slots,
			     **grown = calloc(old_count * 2, sizeof(struct adapter_topic *));

	if (!grown)
		return;
	store->slots = grown;
	store->slot_count = old_count * 2;
	for (size_t i = 0; i < old_count; ++i) {
		for (struct adapter_topic *topic = old[i], *next; topic; topic = next) {
			struct adapter_topic **slot = slot_of(store, topic->id);

			next = topic->next;
			topic->next = *slot;
			*slot = topic;
		}
	}
	free(old);
}

bool store_topic_gone(const struct adapter_topic *topic)
{
	return __atomic_load_n(&topic->gone, __ATOMIC_ACQUIRE);
}

uint32_t store_topic_partition_count(const struct adapter_topic *topic)
{
	return __atomic_load_n(&topic->partition_count, __ATOMIC_ACQUIRE);
}

struct store_partition *store_topic_partition(const struct adapter_topic *topic, uint32_t partition)
{
	if (partition >= store_topic_partition_count(topic))
		return NULL;
	return &__atomic_load_n(&topic->partitions, __ATOMIC_ACQUIRE)[partition];
}

// Called with the lock held.
static struct adapter_topic *find_locked(struct store *store, uint64_t id)
{
	struct adapter_topic *topic = *slot_of(store, id);

	while (topic && (topic->id != id || store_topic_gone(topic)))
		topic = topic->next;
	if (topic)
		++topic->refs;
	return topic;
}

// Its rows may still be there while it is being deleted.
static bool is_being_deleted(struct store *store, uint64_t id, uint64_t incarnation)
{
	struct adapter_topic *topic = *slot_of(store, id);

	while (topic &&
	       !(topic->id == id && topic->incarnation == incarnation && store_topic_gone(topic)))
		topic = topic->next;
	return topic != NULL;
}

struct adapter_topic *store_topic_find(struct store *store, uint64_t id)
{
	struct adapter_topic *topic;

	pthread_mutex_lock(&store->lock);
	topic = find_locked(store, id);
	pthread_mutex_unlock(&store->lock);
	return topic;
}

static void partition_init(struct adapter_topic *topic, uint32_t number)
{
	struct store_partition *partition = &topic->partitions[number];
	uint64_t first = store_first_offset(topic->store);

	partition->topic = topic;
	partition->number = number;
	partition->now = (struct store_partition_row){.first = first, .end = first};
}

static void partition_report(struct store *store, const struct store_partition *partition,
			     enum damage_kind kind, uint64_t first, uint64_t end)
{
	damage_report(store, &(struct damage){.kind = kind,
					      .topic = partition->topic->id,
					      .partition = partition->number,
					      .first = first,
					      .end = end});
}

// The row, held against the chunks; a damaged one is taken from them.
static int partition_read(struct store *store, MDB_txn *txn, struct store_partition *partition)
{
	struct store_partition_row *row = &partition->now;
	uint64_t topic = partition->topic->id, first, end;
	int r = partition_row_read(store, txn, topic, partition->number, row);

	if (r == -ENOENT)
		return 0; // nothing was ever sent to it
	if (r == -EUCLEAN) {
		r = partition_row_rebuild(store, txn, topic, partition->number, row);
		if (!r)
			partition_report(store, partition, DAMAGE_PARTITION, row->first, row->end);
	}
	if (!r)
		r = partition_row_check_ends(store, txn, topic, partition->number, row, &first,
					     &end);
	if (r == 1)
		partition_report(store, partition, DAMAGE_MESSAGES, first, end);
	return MIN(r, 0);
}

static int partitions_read(struct store *store, struct adapter_topic *topic)
{
	MDB_txn *txn;
	int r = store_read_begin(store, &txn);

	if (r < 0)
		return r;
	for (uint32_t i = 0; !r && i < topic->partition_count; ++i) {
		struct store_partition *partition = &topic->partitions[i];

		partition_init(topic, i);
		r = partition_read(store, txn, partition);
		partition->first = partition->now.first;
		partition->end = partition->now.end;
		partition->bytes = partition->now.bytes;
	}
	mdb_txn_abort(txn);
	return r;
}

// Reads a topic's rows. The lock is held, so that no second copy comes to be.
static int topic_load(struct store *store, uint64_t id, uint64_t incarnation,
		      struct adapter_topic **ret)
{
	struct store_topic_row row = {0};
	struct adapter_topic *topic;
	int r = topic_row_read(store, id, &row);

	if (r == -EUCLEAN)
		damage_report(store->rows, &(struct damage){.kind = DAMAGE_TOPIC, .topic = id});
	if (!r && (row.incarnation != incarnation || row.durability != store->durability))
		r = -ENOENT;
	if (!r && row.partitions == 0)
		r = -EUCLEAN;
	if (r)
		return r;
	topic = calloc(1, sizeof *topic);
	if (topic)
		topic->partitions = calloc(row.partitions, sizeof *topic->partitions);
	r = topic && topic->partitions ? 0 : -ENOMEM;
	if (!r) {
		topic->store = store;
		topic->id = id;
		topic->incarnation = incarnation;
		topic->refs = 1;
		topic->partition_count = row.partitions;
		pthread_mutex_init(&topic->watch_lock, NULL);
		list_init(&topic->watches);
		r = partitions_read(store, topic);
	}
	if (r < 0) {
		if (topic)
			free(topic->partitions);
		free(topic);
		return r;
	}
	*ret = topic;
	return 0;
}

static void topic_link(struct store *store, struct adapter_topic *topic)
{
	struct adapter_topic **slot;

	if (store->topic_count++ >= store->slot_count)
		slots_grow(store);
	slot = slot_of(store, topic->id);
	topic->next = *slot;
	*slot = topic;
}

struct adapter_topic *store_topic_open(struct store *store, uint64_t id, uint64_t incarnation,
				       int *ret_r)
{
	struct adapter_topic *topic;

	*ret_r = 0;
	pthread_mutex_lock(&store->lock);
	topic = find_locked(store, id);
	if (topic && topic->incarnation != incarnation) {
		assert(topic->refs > 1);
		--topic->refs; // never the last: a session holds it
		topic = NULL;
		*ret_r = -ENOENT;
	} else if (!topic && is_being_deleted(store, id, incarnation)) {
		*ret_r = -ENOENT;
	} else if (!topic) {
		*ret_r = topic_load(store, id, incarnation, &topic);
		if (topic)
			topic_link(store, topic);
	}
	pthread_mutex_unlock(&store->lock);
	fault_at(NULL);
	return topic;
}

// The topic leaves the hash under the lock, with its last reference; what follows needs no lock,
// since no other thread can find it. Retired arrays are freed here, when no reader can be in them.
void store_topic_close(struct adapter_topic *topic)
{
	struct store *store = topic->store;
	struct adapter_topic **at;

	pthread_mutex_lock(&store->lock);
	assert(topic->refs > 0);
	if (--topic->refs > 0) {
		pthread_mutex_unlock(&store->lock);
		return;
	}
	for (at = slot_of(store, topic->id); *at != topic; at = &(*at)->next)
		;
	*at = topic->next;
	--store->topic_count;
	pthread_mutex_unlock(&store->lock);
	pthread_mutex_destroy(&topic->watch_lock);
	for (uint32_t i = 0; i < topic->partition_count; ++i)
		tail_free(store->tails, topic->partitions[i].tail);
	while (topic->retired) {
		struct store_retired *retired = topic->retired;

		topic->retired = retired->next;
		free(retired->partitions);
		free(retired);
	}
	free(topic->partitions);
	free(topic);
}

// Called on the committer's thread, between two transactions. The count is stored after the array,
// so a reader that sees the new count finds the new array; one that has the old array uses it until
// the topic is closed.
int store_topic_grow(struct adapter_topic *topic, uint32_t partitions)
{
	struct store_retired *retired;
	struct store_partition *grown;
	uint64_t first = store_first_offset(topic->store);

	if (partitions <= topic->partition_count)
		return 0;
	retired = malloc(sizeof *retired);
	grown = calloc(partitions, sizeof *grown);
	if (!retired || !grown) {
		free(retired);
		free(grown);
		return -ENOMEM;
	}
	memcpy(grown, topic->partitions, topic->partition_count * sizeof *grown);
	for (uint32_t i = topic->partition_count; i < partitions; ++i)
		grown[i] = (struct store_partition){.topic = topic,
						    .number = i,
						    .first = first,
						    .end = first,
						    .now = {.first = first, .end = first}};
	*retired = (struct store_retired){topic->retired, topic->partitions};
	topic->retired = retired;
	__atomic_store_n(&topic->partitions, grown, __ATOMIC_RELEASE);
	__atomic_store_n(&topic->partition_count, partitions, __ATOMIC_RELEASE);
	return 0;
}

// ---- what a source of it is told

bool store_topic_bounds(struct adapter_topic *topic, uint32_t partition, uint64_t *ret_first,
			uint64_t *ret_end)
{
	const struct store_partition *row = store_topic_partition(topic, partition);

	*ret_first = *ret_end = store_first_offset(topic->store);
	if (row) {
		*ret_end = __atomic_load_n(&row->end, __ATOMIC_ACQUIRE);
		*ret_first = __atomic_load_n(&row->first, __ATOMIC_ACQUIRE);
	}
	return !store_topic_gone(topic);
}

void store_topic_watch(struct adapter_topic *topic, struct log_watch *watch)
{
	pthread_mutex_lock(&topic->watch_lock);
	list_push_back(&topic->watches, &watch->node);
	__atomic_store_n(&topic->watched, true, __ATOMIC_RELAXED);
	pthread_mutex_unlock(&topic->watch_lock);
}

void store_topic_unwatch(struct adapter_topic *topic, struct log_watch *watch)
{
	pthread_mutex_lock(&topic->watch_lock);
	list_unlink(&watch->node);
	__atomic_store_n(&topic->watched, !list_empty(&topic->watches), __ATOMIC_RELAXED);
	pthread_mutex_unlock(&topic->watch_lock);
}
