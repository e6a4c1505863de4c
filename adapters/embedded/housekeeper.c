// Retention: once a second a bounded part of the topics is looked at, and what is too old or too
// much is deleted from the front in bounded transactions.
//
// A turn goes through TOPICS_A_TURN rows of a store, then the next ones; so a million topics take
// minutes to go round, and an idle store costs next to nothing.

#include "adapters/embedded/embedded.h"

#include "core/base/clock.h"

#include <errno.h>
#include <time.h>

#define TURN_NS       S_NS
#define TOPICS_A_TURN 2000u
#define TRIM_CHUNKS   1000u

struct turn {
	struct committer_job job;
	struct housekeeper *housekeeper;
	struct adapter_topic *open;
	uint64_t next_id; // where the next turn begins
	uint64_t retention_ms, retention_bytes;
	int class;
	bool running;
};

struct housekeeper {
	struct adapter *adapter;
	pthread_t thread;
	pthread_mutex_t lock;
	pthread_cond_t wake;
	bool stopping;
	struct turn turns[CLASSES];
};

// The next topic with a limit, at or after next_id, among TOPICS_A_TURN rows. false: none in these
// rows.
static bool topic_next(struct turn *turn, struct store *store, unsigned *rows)
{
	uint8_t bytes[STORE_KEY_SIZE];
	MDB_val key = {8, bytes}, value;
	MDB_cursor *cursor;
	MDB_txn *txn;
	bool found = false;
	int r = store_read_begin(store, &txn);

	if (r)
		return false;
	r = mdb_cursor_open(txn, store->topics, &cursor);
	store_key(bytes, turn->next_id, 0, 0);
	if (!r) {
		r = mdb_cursor_get(cursor, &key, &value, MDB_SET_RANGE);
		while (!r && !found && *rows > 0) {
			struct store_topic_row row;
			int opened;

			--*rows;
			memcpy(&row, value.mv_data, MIN(value.mv_size, sizeof row));
			turn->next_id = store_key_id(key.mv_data) + 1;
			if (row.retention_ms || row.retention_bytes) {
				turn->retention_ms = row.retention_ms;
				turn->retention_bytes = row.retention_bytes;
				turn->open = store_topic_open(store, turn->next_id - 1,
							      row.incarnation, &opened);
				found = turn->open != NULL;
			}
			if (!found)
				r = mdb_cursor_get(cursor, &key, &value, MDB_NEXT);
		}
		if (r == MDB_NOTFOUND) {
			turn->next_id = 0;
			*rows = 0;
		}
		mdb_cursor_close(cursor);
	}
	mdb_txn_abort(txn);
	return found;
}

static int turn_apply(struct committer_job *base, struct committer *committer, MDB_txn *txn)
{
	struct turn *turn = CONTAINER_OF(base, struct turn, job);
	uint32_t count = turn->open->partition_count;
	int64_t before_ms =
		turn->retention_ms ? clock_wall_ms() - (int64_t)turn->retention_ms : INT64_MIN;
	uint64_t keep =
		turn->retention_bytes ? MAX(turn->retention_bytes / count, 1ull) : UINT64_MAX;
	unsigned left = TRIM_CHUNKS;

	for (uint32_t i = 0; i < count; ++i) {
		int r = committer_trim(committer, txn, &turn->open->partitions[i], UINT64_MAX,
				       before_ms, keep, left);

		if (r < 0)
			return r;
		left -= (unsigned)r;
		if (left == 0)
			return COMMITTER_AGAIN;
	}
	return 0;
}

static void turn_done(struct committer_job *base, int r)
{
	struct turn *turn = CONTAINER_OF(base, struct turn, job);
	struct housekeeper *housekeeper = turn->housekeeper;

	pthread_mutex_lock(&housekeeper->lock);
	turn->running = false;
	pthread_cond_broadcast(&housekeeper->wake);
	pthread_mutex_unlock(&housekeeper->lock);
}

// Called with the lock held; releases it while the committer works.
static void turn_run(struct turn *turn)
{
	struct housekeeper *housekeeper = turn->housekeeper;
	struct store *store = housekeeper->adapter->stores[turn->class];
	unsigned rows = TOPICS_A_TURN;

	while (!housekeeper->stopping && topic_next(turn, store, &rows)) {
		turn->running = true;
		turn->job.apply = turn_apply;
		turn->job.done = turn_done;
		committer_run(housekeeper->adapter->committers[turn->class], &turn->job);
		while (turn->running)
			pthread_cond_wait(&housekeeper->wake, &housekeeper->lock);
		store_topic_close(turn->open);
		turn->open = NULL;
	}
}

static void *housekeeper_thread(void *ctx)
{
	struct housekeeper *housekeeper = ctx;

	pthread_mutex_lock(&housekeeper->lock);
	while (!housekeeper->stopping) {
		struct timespec until;

		for (int i = 0; i < CLASSES; ++i)
			turn_run(&housekeeper->turns[i]);
		clock_gettime(CLOCK_MONOTONIC, &until);
		until.tv_sec += TURN_NS / S_NS;
		while (!housekeeper->stopping &&
		       pthread_cond_timedwait(&housekeeper->wake, &housekeeper->lock, &until) == 0)
			;
	}
	pthread_mutex_unlock(&housekeeper->lock);
	return NULL;
}

int housekeeper_start(struct adapter *adapter, struct housekeeper **ret)
{
	struct housekeeper *housekeeper = calloc(1, sizeof *housekeeper);
	pthread_condattr_t attributes;
	int r;

	if (!housekeeper)
		return -ENOMEM;
	housekeeper->adapter = adapter;
	for (int i = 0; i < CLASSES; ++i) {
		housekeeper->turns[i].housekeeper = housekeeper;
		housekeeper->turns[i].class = i;
	}
	pthread_mutex_init(&housekeeper->lock, NULL);
	pthread_condattr_init(&attributes);
	pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
	pthread_cond_init(&housekeeper->wake, &attributes);
	pthread_condattr_destroy(&attributes);
	r = pthread_create(&housekeeper->thread, NULL, housekeeper_thread, housekeeper);
	if (r) {
		free(housekeeper);
		return -r;
	}
	pthread_setname_np(housekeeper->thread, "store-keep");
	*ret = housekeeper;
	return 0;
}

void housekeeper_stop(struct housekeeper *housekeeper)
{
	if (!housekeeper)
		return;
	pthread_mutex_lock(&housekeeper->lock);
	housekeeper->stopping = true;
	pthread_cond_broadcast(&housekeeper->wake);
	pthread_mutex_unlock(&housekeeper->lock);
	pthread_join(housekeeper->thread, NULL);
	pthread_mutex_destroy(&housekeeper->lock);
	pthread_cond_destroy(&housekeeper->wake);
	free(housekeeper);
}
