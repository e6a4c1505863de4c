// The list is short (DAMAGES_MAX) and looked through as a whole; what is found beyond is counted
// and logged, and found again when the first ones have been dealt with.
//
// What is wrong with the pages of a table is not written into them: the next start looks at them
// all.
//
// A report is written to the table by a job of the committer, which may fail: a store that cannot
// be written keeps its incidents in memory, and finds them again after a restart as it did before.

#include "adapters/embedded/damage.h"

#include "adapters/embedded/committer.h"
#include "adapters/embedded/fault.h"
#include "adapters/embedded/row.h"
#include "core/base/clock.h"
#include "core/base/log.h"

#include <errno.h>
#include <stdio.h>

#define DAMAGES_MAX 1000u
#define DAMAGE_KEY  29u // topic, partition, first offset, group, kind

struct damage_row {
	uint32_t crc;
	uint64_t end;
	int64_t found_ms;
} __attribute__((packed));

struct damages {
	pthread_mutex_t lock;
	struct damage *items;
	size_t count;
	uint64_t total;
};

static const char *const kind_names[DAMAGE_KINDS] = {
	[DAMAGE_MESSAGES] = "messages", [DAMAGE_PARTITION] = "partition", [DAMAGE_TOPIC] = "topic",
	[DAMAGE_GROUP] = "group",       [DAMAGE_CURSOR] = "cursor",       [DAMAGE_RETRY] = "retry",
	[DAMAGE_TABLE] = "table",
};

static const char *const kind_texts[DAMAGE_KINDS] = {
	[DAMAGE_MESSAGES] = "messages cannot be read; skip-damage gives them up",
	[DAMAGE_PARTITION] = "the row of the partition is damaged; its messages tell what it held",
	[DAMAGE_TOPIC] = "the row of the topic is damaged; skip-damage makes it anew",
	[DAMAGE_GROUP] = "the row of the group is damaged; delete the group and make it again",
	[DAMAGE_CURSOR] = "the position of the group is damaged; reset the group",
	[DAMAGE_RETRY] = "a message that waits for the group cannot be read; a reset gives it up",
	[DAMAGE_TABLE] = "pages of a table cannot be read; restart mqpaasd, which says which",
};

struct damages *damages_new(void)
{
	struct damages *damages = calloc(1, sizeof *damages);

	if (damages)
		damages->items = calloc(DAMAGES_MAX, sizeof *damages->items);
	if (!damages || !damages->items) {
		free(damages);
		return NULL;
	}
	pthread_mutex_init(&damages->lock, NULL);
	return damages;
}

void damages_free(struct damages *damages)
{
	if (!damages)
		return;
	pthread_mutex_destroy(&damages->lock);
	free(damages->items);
	free(damages);
}

// ---- the table

static void damage_key(const struct damage *damage, uint8_t key[DAMAGE_KEY])
{
	uint64_t group = __builtin_bswap64(damage->group);

	store_key(key, damage->topic, damage->partition, damage->first);
	memcpy(key + STORE_KEY, &group, 8);
	key[DAMAGE_KEY - 1] = (uint8_t)damage->kind;
}

static bool damage_read(const MDB_val *key, const MDB_val *value, struct damage *ret)
{
	const uint8_t *bytes = key->mv_data;
	const struct damage_row *row = value->mv_data;

	if (key->mv_size != DAMAGE_KEY || bytes[DAMAGE_KEY - 1] >= DAMAGE_KINDS ||
	    !row_is_whole(key, value, sizeof *row))
		return false;
	*ret = (struct damage){.kind = bytes[DAMAGE_KEY - 1],
			       .topic = store_key_id(bytes),
			       .partition = store_key_partition(bytes),
			       .first = store_key_offset(bytes),
			       .group = __builtin_bswap64(le64_get(bytes + STORE_KEY)),
			       .end = row->end,
			       .found_ms = row->found_ms};
	return true;
}

int damages_load(struct store *store)
{
	struct damages *damages = store->damages;
	MDB_val key, value;
	MDB_cursor *cursor;
	MDB_txn *txn;
	int r = store_read_begin(store, &txn);

	if (r < 0)
		return r;
	r = mdb_cursor_open(txn, store->damaged, &cursor);
	while (!r && damages->count < DAMAGES_MAX) {
		r = mdb_cursor_get(cursor, &key, &value, MDB_NEXT);
		if (!r && damage_read(&key, &value, &damages->items[damages->count]))
			++damages->count;
	}
	if (r != MDB_NOTFOUND && r != 0) {
		mdb_txn_abort(txn);
		return store_error(r);
	}
	mdb_cursor_close(cursor);
	mdb_txn_abort(txn);
	return 0;
}

struct damage_job {
	struct committer_job job;
	struct damage damage;
};

static int put_apply(struct committer_job *base, struct committer *committer, MDB_txn *txn)
{
	const struct damage *damage = &CONTAINER_OF(base, struct damage_job, job)->damage;
	struct damage_row row = {.end = damage->end, .found_ms = damage->found_ms};
	uint8_t bytes[DAMAGE_KEY];
	MDB_val key = {sizeof bytes, bytes};

	damage_key(damage, bytes);
	return row_put(txn, committer_store(committer)->damaged, &key, &row, sizeof row);
}

static void put_done(struct committer_job *base, int r)
{
	free(CONTAINER_OF(base, struct damage_job, job));
}

static void damage_write(struct store *store, const struct damage *damage)
{
	struct damage_job *job = store->writer ? calloc(1, sizeof *job) : NULL;

	if (!job)
		return;
	job->damage = *damage;
	job->job.apply = put_apply;
	job->job.done = put_done;
	committer_run(store->writer, &job->job);
}

// ---- the list

static bool covers(const struct damage *known, const struct damage *damage)
{
	return known->kind == damage->kind && known->topic == damage->topic &&
	       known->partition == damage->partition && known->group == damage->group &&
	       known->first <= damage->first && known->end >= damage->end;
}

// Called with the lock held. false: it is known.
static bool list_add(struct damages *damages, const struct damage *damage)
{
	for (size_t i = 0; i < damages->count; ++i)
		if (covers(&damages->items[i], damage))
			return false;
	if (damages->count < DAMAGES_MAX)
		damages->items[damages->count++] = *damage;
	++damages->total;
	return true;
}

static void topic_name(struct store *store, uint64_t topic, char *name, size_t size)
{
	uint8_t bytes[STORE_KEY];
	MDB_val key = {STORE_ID_KEY, bytes}, value;
	MDB_txn *txn;

	snprintf(name, size, "?");
	if (store_read_begin(store->rows, &txn) < 0)
		return;
	store_key(bytes, topic, 0, 0);
	if (row_get(txn, store->rows->topics, &key, sizeof(struct store_topic_row), &value) == 0)
		snprintf(name, size, "%.*s", (int)(value.mv_size - sizeof(struct store_topic_row)),
			 (const char *)value.mv_data + sizeof(struct store_topic_row));
	mdb_txn_abort(txn);
}

static void describe(struct store *store, const struct damage *damage, char *text, size_t size)
{
	char name[256], group[40] = "";

	topic_name(store, damage->topic, name, sizeof name);
	if (damage->group)
		snprintf(group, sizeof group, ", group %llu", (unsigned long long)damage->group);
	snprintf(text, size, "topic %s (%llu), partition %u, offsets %llu to %llu%s: %s", name,
		 (unsigned long long)damage->topic, damage->partition,
		 (unsigned long long)damage->first, (unsigned long long)damage->end, group,
		 kind_texts[damage->kind]);
}

void damage_report(struct store *store, const struct damage *damage)
{
	struct damage found = *damage;
	char text[512];
	bool added;

	assert(found.kind < DAMAGE_KINDS && found.first <= found.end);
	found.found_ms = clock_wall_ms();
	pthread_mutex_lock(&store->damages->lock);
	added = list_add(store->damages, &found);
	pthread_mutex_unlock(&store->damages->lock);
	if (!added)
		return;
	describe(store, &found, text, sizeof text);
	log_error(NULL, "STORE-DAMAGED", "%s: %s", store->path, text);
	if (found.kind == DAMAGE_TABLE)
		fault_mark(store->path);
	else
		damage_write(store, &found);
}

static bool is_of(const struct damage *damage, uint64_t topic, uint64_t group, uint32_t kinds)
{
	return damage->topic == topic && (group == 0 || damage->group == group) &&
	       kinds >> damage->kind & 1;
}

static int table_forget(struct store *store, MDB_txn *txn, uint64_t topic, uint64_t group,
			uint32_t kinds)
{
	uint8_t bytes[STORE_KEY];
	MDB_val key = {sizeof bytes, bytes}, value;
	MDB_cursor *cursor;
	int r = mdb_cursor_open(txn, store->damaged, &cursor);

	if (r)
		return store_error(r);
	store_key(bytes, topic, 0, 0);
	r = mdb_cursor_get(cursor, &key, &value, MDB_SET_RANGE);
	while (!r && key.mv_size == DAMAGE_KEY && store_key_id(key.mv_data) == topic) {
		struct damage damage;

		if (!damage_read(&key, &value, &damage) || is_of(&damage, topic, group, kinds))
			r = mdb_cursor_del(cursor, 0);
		if (!r)
			r = mdb_cursor_get(cursor, &key, &value, MDB_NEXT);
	}
	mdb_cursor_close(cursor);
	return r == MDB_NOTFOUND ? 0 : store_error(r);
}

int damages_forget(struct store *store, MDB_txn *txn, uint64_t topic, uint64_t group,
		   uint32_t kinds)
{
	struct damages *damages = store->damages;
	int r = table_forget(store, txn, topic, group, kinds);
	size_t kept = 0;

	if (r)
		return r;
	pthread_mutex_lock(&damages->lock);
	for (size_t i = 0; i < damages->count; ++i)
		if (!is_of(&damages->items[i], topic, group, kinds))
			damages->items[kept++] = damages->items[i];
	damages->count = kept;
	pthread_mutex_unlock(&damages->lock);
	return 0;
}

// ---- looking

bool damage_at(const struct store *store, uint64_t topic, size_t index, struct damage *ret)
{
	bool found = false;

	pthread_mutex_lock(&store->damages->lock);
	for (size_t i = 0; !found && i < store->damages->count; ++i) {
		if (store->damages->items[i].topic != topic || index-- > 0)
			continue;
		*ret = store->damages->items[i];
		found = true;
	}
	pthread_mutex_unlock(&store->damages->lock);
	return found;
}

uint64_t damages_total(const struct store *store)
{
	uint64_t total;

	pthread_mutex_lock(&store->damages->lock);
	total = store->damages->total;
	pthread_mutex_unlock(&store->damages->lock);
	return total;
}

size_t damages_open(const struct store *store)
{
	size_t count;

	pthread_mutex_lock(&store->damages->lock);
	count = store->damages->count;
	pthread_mutex_unlock(&store->damages->lock);
	return count;
}

static json_t *damage_json(const struct damage *damage, const char *class)
{
	return json_pack("{s:s, s:s, s:I, s:o, s:I, s:I, s:I, s:I, s:s}", "class", class, "kind",
			 kind_names[damage->kind], "topic", (json_int_t)damage->topic, "group",
			 damage->group ? json_integer((json_int_t)damage->group) : json_null(),
			 "partition", (json_int_t)damage->partition, "first",
			 (json_int_t)damage->first, "end", (json_int_t)damage->end, "found_ms",
			 (json_int_t)damage->found_ms, "problem", kind_texts[damage->kind]);
}

json_t *damages_json(const struct store *store, const char *class)
{
	json_t *rows = json_array();

	pthread_mutex_lock(&store->damages->lock);
	for (size_t i = 0; i < store->damages->count; ++i)
		json_array_append_new(rows, damage_json(&store->damages->items[i], class));
	pthread_mutex_unlock(&store->damages->lock);
	return rows;
}

void damages_text(const struct store *store, char *text, size_t size)
{
	struct damages *damages = store->damages;
	struct damage first = {0};
	size_t count;

	pthread_mutex_lock(&damages->lock);
	count = damages->count;
	if (count)
		first = damages->items[0];
	pthread_mutex_unlock(&damages->lock);
	text[0] = '\0';
	if (count)
		snprintf(text, size,
			 "%zu damaged: topic %llu, partition %u, offsets %llu to %llu%s", count,
			 (unsigned long long)first.topic, first.partition,
			 (unsigned long long)first.first, (unsigned long long)first.end,
			 count > 1 ? ", …" : "");
}
