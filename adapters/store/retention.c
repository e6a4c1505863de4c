// Retention: once a second looks at a bounded number of topics, and deletes from the front what is
// too old or too much, in bounded transactions of the committer.
//
// A turn goes through TOPICS_A_TURN rows, the next turn through the following ones. So a round over
// a million topics takes minutes, and an idle store costs next to nothing.
//
// Invariants: one step is under way at a time, and stopping waits for it. A damaged row is left
// alone; the scrub reports it. Not here: which chunks may go (append_trim() in append.c).

#include "adapters/store/retention.h"

#include "adapters/store/durable_log.h"
#include "adapters/store/row.h"
#include "core/base/clock.h"
#include "core/loop/ticker.h"

#include <errno.h>
#include <pthread.h>

#define TURN_NS       S_NS
#define TOPICS_A_TURN 2000u
#define TRIM_CHUNKS   1000u

struct turn {
	struct committer_job job;
	struct retention *retention;
	struct adapter_topic *open;
	uint64_t id, next_id; // of this topic; where the next look begins
	struct store_topic_row row;
	bool running; // under the retention's lock: the committer has the job
};

struct retention {
	struct durable_log *log;
	struct ticker *ticker;
	bool stopping; // atomic
	pthread_mutex_t lock;
	pthread_cond_t ended; // a step
	struct turn turn;
};

// The next topic with a limit, at or after next_id, among TOPICS_A_TURN rows. false: none in these
// rows.
static bool topic_next(struct turn *turn, unsigned *rows)
{
	struct durable_log *log = turn->retention->log;
	struct store *store = log->stores[CLASS_D2];
	uint8_t bytes[STORE_KEY];
	MDB_val key = {STORE_ID_KEY, bytes}, value;
	MDB_cursor *cursor;
	MDB_txn *txn;
	bool found = false;
	int r = store_read_begin(store, &txn);

	if (r)
		return false;
	r = mdb_cursor_open(txn, store->topics, &cursor);
	if (r) {
		mdb_txn_abort(txn);
		return false;
	}
	store_key(bytes, turn->next_id, 0, 0);
	r = mdb_cursor_get(cursor, &key, &value, MDB_SET_RANGE);
	for (; !r && !found && *rows > 0; r = mdb_cursor_get(cursor, &key, &value, MDB_NEXT)) {
		--*rows;
		if (key.mv_size != STORE_ID_KEY)
			continue;
		turn->id = store_key_id(key.mv_data);
		turn->next_id = turn->id + 1;
		if (!row_is_whole(&key, &value, sizeof turn->row))
			continue; // the scrub reports it
		memcpy(&turn->row, value.mv_data, sizeof turn->row);
		found = turn->row.retention_ms || turn->row.retention_bytes;
	}
	if (r == MDB_NOTFOUND && !found) {
		turn->next_id = 0;
		*rows = 0;
	}
	mdb_cursor_close(cursor);
	mdb_txn_abort(txn);
	return found;
}

static int turn_apply(struct committer_job *base, struct committer *committer, MDB_txn *txn)
{
	struct turn *turn = CONTAINER_OF(base, struct turn, job);
	const struct store_topic_row *row = &turn->row;
	uint32_t count = turn->open->partition_count;
	unsigned left = TRIM_CHUNKS;
	uint64_t bytes = 0;

	for (uint32_t i = 0; i < count; ++i)
		bytes += turn->open->partitions[i].now.bytes;
	for (uint32_t i = 0; i < count; ++i) {
		struct store_partition *partition = &turn->open->partitions[i];
		struct append_trim trim = {
			.until = UINT64_MAX, .before_ms = INT64_MIN, .keep_bytes = UINT64_MAX};
		int r;

		if (row->retention_ms)
			trim.before_ms =
				clock_wall_ms() - (int64_t)MIN(row->retention_ms, INT64_MAX);
		// What the topic has too much is taken from its partitions as large as they are.
		if (row->retention_bytes && bytes > row->retention_bytes)
			trim.keep_bytes = (uint64_t)((double)partition->now.bytes *
						     (double)row->retention_bytes / (double)bytes);
		r = append_trim(committer_append(committer), txn, partition, &trim, left);
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
	struct retention *retention = turn->retention;

	pthread_mutex_lock(&retention->lock);
	turn->running = false;
	pthread_cond_signal(&retention->ended);
	pthread_mutex_unlock(&retention->lock);
}

static void run_step(struct retention *retention, struct committer *committer)
{
	struct turn *turn = &retention->turn;

	turn->job.apply = turn_apply;
	turn->job.done = turn_done;
	pthread_mutex_lock(&retention->lock);
	turn->running = true;
	committer_run(committer, &turn->job);
	while (turn->running)
		pthread_cond_wait(&retention->ended, &retention->lock);
	pthread_mutex_unlock(&retention->lock);
}

// A stop ends it before the next topic.
static uint64_t run_turn(void *ctx)
{
	struct retention *retention = ctx;
	struct durable_log *log = retention->log;
	struct turn *turn = &retention->turn;
	unsigned rows = TOPICS_A_TURN;

	while (!__atomic_load_n(&retention->stopping, __ATOMIC_RELAXED) &&
	       topic_next(turn, &rows)) {
		int class = turn->row.durability == DURABILITY_D1 ? CLASS_D1 : CLASS_D2, r;

		turn->open =
			store_topic_open(log->stores[class], turn->id, turn->row.incarnation, &r);
		if (!turn->open)
			continue;
		run_step(retention, log->committers[class]);
		store_topic_close(turn->open);
		turn->open = NULL;
	}
	return TURN_NS;
}

static void retention_free(struct retention *retention)
{
	pthread_cond_destroy(&retention->ended);
	pthread_mutex_destroy(&retention->lock);
	free(retention);
}

int retention_start(struct durable_log *log, struct retention **ret)
{
	struct retention *retention = calloc(1, sizeof *retention);
	int r;

	if (!retention)
		return -ENOMEM;
	retention->log = log;
	retention->turn.retention = retention;
	pthread_mutex_init(&retention->lock, NULL);
	pthread_cond_init(&retention->ended, NULL);
	r = ticker_new("store-keep", 0, run_turn, retention, &retention->ticker);
	if (r < 0) {
		retention_free(retention);
		return r;
	}
	*ret = retention;
	return 0;
}

void retention_stop(struct retention *retention)
{
	if (!retention)
		return;
	__atomic_store_n(&retention->stopping, true, __ATOMIC_RELAXED);
	ticker_free(retention->ticker);
	retention_free(retention);
}
