// The background scrub: reads everything in both stores again and again, and reports what is
// damaged or missing.
//
// A pass goes through the tables in slices, each with a read transaction of its own, so that no old
// page is kept from reuse. After a slice it rests: 19 times as long as reading took, so that it
// uses at most 5 % of a disk, and longer when the pass has time.
//
// A row's own checksum shows damage in it. Missing rows are found by others: chunks follow each
// other from the first offset of their partition to its end; a waiting message has a row by
// position and one by due time; a cursor counts the waiting messages of its partition.
//
// A row under a wrong key is not reported under the name that its key happens to have, but as what
// is missing in its place. The rows of topics and groups have no such counterparts: a topic that
// the registry knows and the store does not is reported as TOPIC-MISSING.
//
// The end of a slice is found again by its last whole row. Pages that are out of order may lead
// back from there, so a slice goes on until it is past the place where it began. A table that does
// not come to an end at all is reported as one that cannot be read.
//
// The place of the pass is kept over restarts (scrub_mark.h): else a daemon that is restarted often
// would never read the end of a large store.
//
// Not here: repairing anything; an operator deals with what is reported.

#include "adapters/store/scrub.h"

#include "adapters/store/chunk.h"
#include "adapters/store/cursor.h"
#include "adapters/store/damage.h"
#include "adapters/store/partition_row.h"
#include "adapters/store/retry.h"
#include "adapters/store/row.h"
#include "adapters/store/scrub_mark.h"
#include "core/base/clock.h"
#include "core/loop/ticker.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>

#define SLICE_BYTES  (1u << 20)
#define SLICE_ROWS   5000u
#define REST_TIMES   19u            // of the time that a slice took
#define RATE_MIN     (256ull << 10) // bytes a second, however small the store
#define REST_MIN_NS  (10 * MS_NS)
#define REST_MAX_NS  (3600 * S_NS) // after a slice, and from one pass to the next
#define BEGIN_NS     (10 * S_NS)   // after the start, which has enough to read
#define MARK_NS      (60 * S_NS)   // between two times that the place is written down
#define ROW_OVERHEAD 16u           // of a row in its page, about

// Where a pass is in one store.
struct place {
	struct store *store;
	unsigned table;
	uint8_t key[SCRUB_KEY_MAX]; // of the last whole row that was looked at
	size_t key_size;
	bool resumed; // that row is looked at again: what follows it is held against it
	// The chunk before: the next one of its partition begins at its end.
	uint64_t topic, end;
	uint32_t partition;
	bool follows;
	uint64_t bytes; // read in this slice
};

struct scrub {
	struct place places[2];
	size_t count, at;
	uint64_t period_ns, pass_bytes, pass_done, marked_ns;
	int64_t began_ms;      // the pass, by the wall clock
	char *mark;            // file
	struct ticker *ticker; // NULL: no pass is made
	pthread_mutex_t lock;
	struct scrub_state state; // under the lock
};

// ---- rows

static uint64_t topic_of_group(struct store *store, uint64_t group)
{
	uint8_t bytes[STORE_KEY];
	MDB_val key = {STORE_ID_KEY, bytes}, value;
	struct store_group_row row = {0};
	MDB_txn *txn;

	if (store_read_begin(store->rows, &txn) < 0)
		return 0;
	store_key(bytes, group, 0, 0);
	if (row_get(txn, store->rows->groups, &key, sizeof row, &value) == 0)
		memcpy(&row, value.mv_data, sizeof row);
	mdb_txn_abort(txn);
	return row.topic;
}

static void report_damage(struct place *place, enum damage_kind kind, uint64_t topic,
			  uint64_t group, uint32_t partition, uint64_t first, uint64_t end)
{
	damage_report(place->store, &(struct damage){.kind = kind,
						     .topic = topic,
						     .group = group,
						     .partition = partition,
						     .first = first,
						     .end = MAX(first, end)});
}

static void topic_look(struct place *place, MDB_txn *txn, const MDB_val *key, const MDB_val *value)
{
	if (!row_is_whole(key, value, sizeof(struct store_topic_row)))
		report_damage(place, DAMAGE_TOPIC, store_key_id(key->mv_data), 0, 0, 0, 0);
}

static void group_look(struct place *place, MDB_txn *txn, const MDB_val *key, const MDB_val *value)
{
	if (!row_is_whole(key, value, sizeof(struct store_group_row)))
		report_damage(place, DAMAGE_GROUP, 0, store_key_id(key->mv_data), 0, 0, 0);
}

static void partition_look(struct place *place, MDB_txn *txn, const MDB_val *key,
			   const MDB_val *value)
{
	uint64_t topic = store_key_id(key->mv_data), first, end;
	uint32_t partition = store_key_partition(key->mv_data);
	struct store_partition_row row;

	if (!row_is_whole(key, value, sizeof row)) {
		report_damage(place, DAMAGE_PARTITION, topic, 0, partition, 0, 0);
		return;
	}
	memcpy(&row, value->mv_data, sizeof row);
	if (partition_row_check_ends(place->store, txn, topic, partition, &row, &first, &end) == 1)
		report_damage(place, DAMAGE_MESSAGES, topic, 0, partition, first, end);
}

// A cursor that is counted and not there.
static void count_look(struct place *place, MDB_txn *txn, uint64_t group)
{
	struct log_cursor cursor;
	uint64_t count = 0;

	if (cursor_count(place->store, txn, group, &count))
		return;
	for (uint32_t i = 0; i < count; ++i) {
		int r = cursor_get(place->store, txn, group, i, &cursor);

		free(cursor.text);
		if (r == -EUCLEAN)
			report_damage(place, DAMAGE_CURSOR, topic_of_group(place->store, group),
				      group, i, 0, 0);
	}
}

static void cursor_look(struct place *place, MDB_txn *txn, const MDB_val *key, const MDB_val *value)
{
	uint64_t group = store_key_id(key->mv_data), rows;
	uint32_t partition = store_key_partition(key->mv_data);
	struct store_cursor row;

	if (!row_is_whole(key, value, sizeof row)) {
		report_damage(place, DAMAGE_CURSOR, topic_of_group(place->store, group), group,
			      partition, 0, 0);
		return;
	}
	if (partition == CURSOR_COUNT) {
		count_look(place, txn, group);
		return;
	}
	memcpy(&row, value->mv_data, sizeof row);
	if (store_retry_count(place->store, txn, group, partition, UINT64_MAX, &rows) == 0 &&
	    rows != row.retrying + row.delayed)
		report_damage(place, DAMAGE_RETRY, topic_of_group(place->store, group), group,
			      partition, 0, row.position);
}

static void retry_report(struct place *place, uint64_t group, uint32_t partition, uint64_t offset)
{
	report_damage(place, DAMAGE_RETRY, topic_of_group(place->store, group), group, partition,
		      offset, MAX(offset, offset + 1));
}

static void retry_look(struct place *place, MDB_txn *txn, const MDB_val *key, const MDB_val *value)
{
	uint64_t group = store_key_id(key->mv_data), offset = store_key_offset(key->mv_data);
	uint32_t partition = store_key_partition(key->mv_data);
	const struct store_retry *row = value->mv_data;
	uint8_t bytes[STORE_DUE_KEY];
	MDB_val due_key = {sizeof bytes, bytes}, due;

	if (row_is_whole(key, value, sizeof *row)) {
		store_key_due(bytes, group, le64_get(&row->due_ms), partition, offset);
		if (row_get(txn, place->store->dues, &due_key, sizeof(struct store_due), &due) == 0)
			return;
	}
	retry_report(place, group, partition, offset);
}

static void due_look(struct place *place, MDB_txn *txn, const MDB_val *key, const MDB_val *value)
{
	uint64_t group = store_key_id(key->mv_data), offset = store_key_due_offset(key->mv_data);
	uint32_t partition = store_key_due_partition(key->mv_data);
	uint8_t bytes[STORE_KEY];
	MDB_val retry_key = {sizeof bytes, bytes}, retry;

	store_key(bytes, group, partition, offset);
	if (!row_is_whole(key, value, sizeof(struct store_due)) ||
	    mdb_get(txn, place->store->retries, &retry_key, &retry))
		retry_report(place, group, partition, offset);
}

// ---- chunks

// Of the last chunk before a restart, which is not there any more; 0: there is none.
static uint64_t resumed_offset(const struct place *place, uint64_t topic, uint32_t partition)
{
	return place->resumed && place->key_size == STORE_KEY &&
			       store_key_id(place->key) == topic &&
			       store_key_partition(place->key) == partition
		       ? store_key_offset(place->key)
		       : 0;
}

// Where the chunk should begin: behind the one before, or at the partition's first offset, which
// retention moves.
static bool chunk_follows(struct place *place, MDB_txn *txn, uint64_t topic, uint32_t partition,
			  uint64_t offset, uint64_t *ret_expected)
{
	struct store_partition_row row;

	if (place->follows && place->topic == topic && place->partition == partition) {
		*ret_expected = place->end;
		if (place->end == offset)
			return true;
	}
	if (partition_row_read(place->store, txn, topic, partition, &row) < 0)
		return true; // that is reported with the partitions
	if (!place->follows || place->topic != topic || place->partition != partition)
		*ret_expected = MAX(row.first, resumed_offset(place, topic, partition));
	return row.first == offset;
}

// The very chunk that was the last one before a restart.
static bool is_resumed(const struct place *place, const MDB_val *key)
{
	return place->resumed && key->mv_size == place->key_size &&
	       memcmp(key->mv_data, place->key, key->mv_size) == 0;
}

static void chunk_look(struct place *place, MDB_txn *txn, const MDB_val *key, const MDB_val *value)
{
	const struct store_chunk *chunk = value->mv_data;
	uint64_t topic = store_key_id(key->mv_data), offset = store_key_offset(key->mv_data), end,
		 expected = offset;
	uint32_t partition = store_key_partition(key->mv_data);

	if (!chunk_head_is_whole(key, value))
		return; // its place is found missing
	end = offset + le32_get(&chunk->count);
	if (!is_resumed(place, key) &&
	    !chunk_follows(place, txn, topic, partition, offset, &expected))
		report_damage(place, DAMAGE_MESSAGES, topic, 0, partition, MIN(expected, offset),
			      MAX(expected, offset));
	if (!chunk_records_are_whole(value))
		report_damage(place, DAMAGE_MESSAGES, topic, 0, partition, offset, end);
	place->topic = topic;
	place->partition = partition;
	place->end = end;
	place->follows = true;
}

// ---- slices

typedef void (*look_fn)(struct place *place, MDB_txn *txn, const MDB_val *key,
			const MDB_val *value);

struct table {
	MDB_dbi table;
	size_t key_size, size_min;
	enum damage_kind kind; // of a row that is not found under its key
	look_fn look;
};

#define TABLES 7u

static struct table table_at(const struct store *store, unsigned index)
{
	const struct table tables[TABLES] = {
		{store->partitions, STORE_PARTITION_KEY, sizeof(struct store_partition_row),
		 DAMAGE_PARTITION, partition_look},
		{store->cursors, STORE_PARTITION_KEY, sizeof(struct store_cursor), DAMAGE_CURSOR,
		 cursor_look},
		{store->retries, STORE_KEY, sizeof(struct store_retry), DAMAGE_KINDS, retry_look},
		{store->dues, STORE_DUE_KEY, sizeof(struct store_due), DAMAGE_KINDS, due_look},
		{store->chunks, STORE_KEY, 0, DAMAGE_KINDS, chunk_look},
		{store->topics, STORE_ID_KEY, sizeof(struct store_topic_row), DAMAGE_TOPIC,
		 topic_look},
		{store->groups, STORE_ID_KEY, sizeof(struct store_group_row), DAMAGE_GROUP,
		 group_look},
	};

	return tables[index];
}

static unsigned table_count(const struct store *store)
{
	return store->rows == store ? TABLES : TABLES - 2;
}

// A key of another size than its table's: the row it belongs to is missing, and is named as far as
// the key still does. Of chunks and waiting messages others tell what is missing.
static void misplaced_look(struct place *place, const struct table *table, const MDB_val *key)
{
	bool has_partition = key->mv_size >= STORE_PARTITION_KEY;
	uint64_t id = key->mv_size >= STORE_ID_KEY ? store_key_id(key->mv_data) : 0;
	uint32_t partition = has_partition ? store_key_partition(key->mv_data) : 0;

	if (table->kind == DAMAGE_CURSOR)
		report_damage(place, table->kind, topic_of_group(place->store, id), id, partition,
			      0, 0);
	else if (table->kind == DAMAGE_GROUP)
		report_damage(place, table->kind, 0, id, 0, 0, 0);
	else if (table->kind != DAMAGE_KINDS)
		report_damage(place, table->kind, id, 0, partition, 0, 0);
}

static bool is_in_place(const struct table *table, const MDB_val *key, const MDB_val *value)
{
	if (key->mv_size != table->key_size)
		return false;
	return table->size_min ? row_is_whole(key, value, table->size_min)
			       : chunk_head_is_whole(key, value);
}

// The place moves to this row, which comes behind it. A row that is not whole does not say where it
// lies: from its key the rest of the table may not be found.
static bool place_move(struct place *place, const MDB_val *key)
{
	assert(key->mv_size <= sizeof place->key);
	if (key->mv_size == place->key_size && memcmp(key->mv_data, place->key, key->mv_size) <= 0)
		return false;
	memcpy(place->key, key->mv_data, key->mv_size);
	place->key_size = key->mv_size;
	return true;
}

static int place_seek(const struct place *place, MDB_cursor *cursor, MDB_val *key, MDB_val *value)
{
	int r;

	*key = (MDB_val){place->key_size, (void *)(uintptr_t)place->key};
	r = mdb_cursor_get(cursor, key, value, place->key_size ? MDB_SET_RANGE : MDB_FIRST);
	if (!r && place->key_size && !place->resumed && key->mv_size == place->key_size &&
	    memcmp(key->mv_data, place->key, key->mv_size) == 0)
		r = mdb_cursor_get(cursor, key, value, MDB_NEXT);
	return r;
}

// Rows from the place on, until there are enough for a slice. MDB_NOTFOUND: the table's end.
static int rows_look(struct place *place, MDB_txn *txn, MDB_cursor *cursor,
		     const struct table *table)
{
	MDB_stat stat = {0};
	MDB_val key, value;
	bool moved = false;
	uint64_t rows = 0;
	int r = place_seek(place, cursor, &key, &value);

	mdb_stat(txn, table->table, &stat);
	while (!r && !(moved && (rows >= SLICE_ROWS || place->bytes >= SLICE_BYTES))) {
		if (key.mv_size == table->key_size)
			table->look(place, txn, &key, &value);
		else
			misplaced_look(place, table, &key);
		place->bytes += key.mv_size + value.mv_size + ROW_OVERHEAD;
		if (is_in_place(table, &key, &value))
			moved = place_move(place, &key) || moved;
		if (++rows > stat.ms_entries)
			return MDB_CORRUPTED; // pages that lead in a circle
		r = mdb_cursor_get(cursor, &key, &value, MDB_NEXT);
	}
	place->resumed = false;
	return r;
}

static void table_next(struct place *place)
{
	++place->table;
	place->key_size = 0;
	place->resumed = false;
	place->follows = false;
}

// 1: there is more; 0: the store has been gone through; negative errno.
static int slice_look(struct place *place)
{
	struct table table = table_at(place->store, place->table);
	MDB_cursor *cursor;
	MDB_txn *txn;
	int r = store_read_begin(place->store, &txn);

	place->bytes = 0;
	if (r < 0)
		return r;
	r = mdb_cursor_open(txn, table.table, &cursor);
	if (!r) {
		r = rows_look(place, txn, cursor, &table);
		mdb_cursor_close(cursor);
	}
	mdb_txn_abort(txn);
	if (r && store_error(r) != -EUCLEAN && r != MDB_NOTFOUND)
		return store_error(r);
	if (r && r != MDB_NOTFOUND)
		report_damage(place, DAMAGE_TABLE, 0, 0, 0, 0, 0);
	if (r)
		table_next(place);
	return place->table < table_count(place->store);
}

int scrub_store(struct store *store)
{
	struct place place = {.store = store};
	int r;

	do {
		r = slice_look(&place);
	} while (r == 1);
	return r;
}

// ---- passes

static uint64_t bytes_used(const struct store *store)
{
	MDB_envinfo info;
	MDB_stat stat;

	mdb_env_info(store->env, &info);
	mdb_env_stat(store->env, &stat);
	return ((uint64_t)info.me_last_pgno + 1) * stat.ms_psize;
}

static void pass_begin(struct scrub *scrub)
{
	scrub->at = 0;
	scrub->pass_done = 0;
	scrub->pass_bytes = 1;
	scrub->began_ms = clock_wall_ms();
	for (size_t i = 0; i < scrub->count; ++i) {
		scrub->places[i] = (struct place){.store = scrub->places[i].store};
		scrub->pass_bytes += bytes_used(scrub->places[i].store);
	}
}

static uint64_t last_transaction(const struct store *store)
{
	MDB_envinfo info;

	mdb_env_info(store->env, &info);
	return info.me_last_txnid;
}

static void place_resume(struct place *place, const struct scrub_mark_place *mark)
{
	place->table = mark->table;
	memcpy(place->key, mark->key, mark->key_size);
	place->key_size = mark->key_size;
	place->resumed = mark->key_size > 0;
}

// Goes on where the last process stopped. A store that has gone back since, because a copy of it
// was put back, is begun anew.
static void pass_resume(struct scrub *scrub)
{
	struct scrub_mark mark;

	pass_begin(scrub);
	if (!scrub->mark || !scrub_mark_read(scrub->mark, &mark) || mark.at >= scrub->count)
		return;
	for (size_t i = 0; i < scrub->count; ++i)
		if (mark.places[i].transaction > last_transaction(scrub->places[i].store) ||
		    mark.places[i].table > table_count(scrub->places[i].store))
			return;
	for (size_t i = 0; i < scrub->count; ++i)
		place_resume(&scrub->places[i], &mark.places[i]);
	scrub->at = mark.at;
	scrub->pass_done = mark.done;
	scrub->began_ms = MIN(mark.began_ms, scrub->began_ms);
	scrub->state.progress = MIN((double)mark.done / (double)scrub->pass_bytes, 1.0);
}

static void place_mark(struct scrub *scrub)
{
	struct scrub_mark mark = {
		.at = (uint32_t)scrub->at, .done = scrub->pass_done, .began_ms = scrub->began_ms};

	for (size_t i = 0; i < scrub->count; ++i) {
		const struct place *place = &scrub->places[i];

		mark.places[i].transaction = last_transaction(place->store);
		mark.places[i].table = place->table;
		mark.places[i].key_size = (uint32_t)place->key_size;
		memcpy(mark.places[i].key, place->key, place->key_size);
	}
	if (scrub->mark && scrub->at < scrub->count)
		scrub_mark_write(scrub->mark, &mark); // without it the next pass begins anew
	scrub->marked_ns = clock_now_ns();
}

// How long to rest after a slice that took so long: what is left of the pass is read in what is
// left of its time.
static uint64_t rest_ns(const struct scrub *scrub, uint64_t bytes, uint64_t took_ns)
{
	int64_t gone_ms = MAX(clock_wall_ms() - scrub->began_ms, 0);
	double least_ns = (double)scrub->period_ns / 20,
	       left_ns = MAX((double)scrub->period_ns - (double)gone_ms * MS_NS, least_ns),
	       left = MAX((double)scrub->pass_bytes - (double)scrub->pass_done, 1.0),
	       rate = MAX(left * S_NS / MAX(left_ns, 1.0), (double)RATE_MIN);

	return MAX(REST_TIMES * took_ns, MIN((uint64_t)((double)bytes / rate * S_NS), REST_MAX_NS));
}

uint64_t scrub_slice(struct scrub *scrub)
{
	struct place *place = &scrub->places[scrub->at];
	struct scrub_state state = scrub->state; // only this thread changes it
	uint64_t began_ns = clock_now_ns(), rest = REST_MAX_NS;
	int r = slice_look(place);

	state.bytes += place->bytes;
	scrub->pass_done += place->bytes;
	if (r <= 0)
		++scrub->at; // a store that cannot be read says so to its readers
	state.progress = MIN((double)scrub->pass_done / (double)scrub->pass_bytes, 1.0);
	if (scrub->at < scrub->count) {
		rest = rest_ns(scrub, place->bytes, clock_now_ns() - began_ns);
	} else {
		++state.passes;
		state.ended_ms = clock_wall_ms();
		pass_begin(scrub);
	}
	if (clock_now_ns() >= scrub->marked_ns + MARK_NS)
		place_mark(scrub);
	pthread_mutex_lock(&scrub->lock);
	scrub->state = state;
	pthread_mutex_unlock(&scrub->lock);
	return rest;
}

static uint64_t run_round(void *ctx)
{
	return MAX(scrub_slice(ctx), REST_MIN_NS);
}

int scrub_start(struct store *const stores[], size_t count, uint64_t hours, struct scrub **ret)
{
	struct scrub *scrub = calloc(1, sizeof *scrub);

	assert(count > 0 && count <= ARRAY_SIZE(scrub->places));
	if (!scrub)
		return -ENOMEM;
	if (asprintf(&scrub->mark, "%s/scrub", stores[0]->rows->path) < 0)
		scrub->mark = NULL;
	for (size_t i = 0; i < count; ++i)
		scrub->places[i].store = stores[i];
	scrub->count = count;
	scrub->period_ns = hours * 3600 * S_NS;
	pthread_mutex_init(&scrub->lock, NULL);
	scrub->marked_ns = clock_now_ns();
	pass_resume(scrub);
	*ret = scrub;
	if (hours == 0)
		return 0;
	return ticker_new("store-scrub", BEGIN_NS, run_round, scrub, &scrub->ticker);
}

void scrub_stop(struct scrub *scrub)
{
	if (!scrub)
		return;
	ticker_free(scrub->ticker);
	place_mark(scrub);
	pthread_mutex_destroy(&scrub->lock);
	free(scrub->mark);
	free(scrub);
}

void scrub_state(struct scrub *scrub, struct scrub_state *ret)
{
	pthread_mutex_lock(&scrub->lock);
	*ret = scrub->state;
	pthread_mutex_unlock(&scrub->lock);
}
