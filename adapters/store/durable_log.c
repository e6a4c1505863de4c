// The durable log: two stores, one for each durability class, with their readers, retention and
// scrub.
//
// There are two, since an unsynced commit of class D1 could destroy synced data of class D2. Each
// has one environment and one committer. Readers, retention and the scrub serve both. The rows of
// topics and groups of either class are in the D2 store, which is opened first and closed last.
//
// Invariants: whatever is given to the log is answered once, also while it closes. The readers stop
// first, because they give work to the committers, which give work to each other and stop when both
// are idle. A loop's thread does only what needs no disk; what reads goes to the readers, which are
// one thread until all are busy.
//
// Not here: names of options and their limits, permissions, and the table of slots. They belong to
// the adapter.

#include "adapters/store/durable_log.h"

#include "adapters/store/damage_list.h"
#include "adapters/store/damage_table.h"
#include "adapters/store/fault.h"
#include "adapters/store/head.h"
#include "adapters/store/identity.h"
#include "adapters/store/range.h"
#include "adapters/store/retention.h"
#include "adapters/store/scrub.h"
#include "adapters/store/tail.h"

#include <errno.h>
#include <stdio.h>

#define READERS 2u // threads

// ---- opening and closing

// The committers give work to each other, and both need both stores.
static void committers_flush(struct durable_log *log)
{
	struct committer *d1 = log->committers[CLASS_D1], *d2 = log->committers[CLASS_D2];
	bool idle = !d1 || !d2;

	while (!idle)
		idle = committer_flush(d1) && committer_flush(d2);
}

void durable_log_close(struct durable_log *log)
{
	scrub_stop(log->scrub);
	retention_stop(log->retention);
	executor_free(log->readers);
	committers_flush(log);
	committer_stop(log->committers[CLASS_D1]);
	committer_stop(log->committers[CLASS_D2]);
	store_close(log->stores[CLASS_D1]);
	store_close(log->stores[CLASS_D2]);
	free(log);
}

static int store_start(struct durable_log *log, int class, const char *data_dir, uint64_t map_bytes,
		       char **ret_error)
{
	static const char *const names[] = {[CLASS_D1] = "d1", [CLASS_D2] = "d2"};
	_cleanup_(freep) char *path = NULL;
	int r;

	if (asprintf(&path, "%s/%s", data_dir, names[class]) < 0)
		return -ENOMEM;
	r = store_open(path, class == CLASS_D1 ? log->stores[CLASS_D2] : NULL, map_bytes,
		       &log->stores[class], ret_error);
	if (r >= 0)
		r = committer_start(log->stores[class], &log->committers[class]);
	if (r < 0)
		return r;
	r = damage_table_open(log->stores[class]);
	if (r < 0 && asprintf(ret_error, "%s/data.mdb: %s", path, strerror(-r)) < 0)
		*ret_error = NULL;
	return r;
}

static int parts_open(struct durable_log *log, const struct durable_log_options *options,
		      char **ret_error)
{
	int r = store_start(log, CLASS_D2, options->data_dir, options->map_bytes, ret_error);

	if (r >= 0)
		r = identity_take(log->stores[CLASS_D2], options->installation, ret_error);
	if (r >= 0)
		r = store_start(log, CLASS_D1, options->data_dir, options->map_bytes, ret_error);
	if (r >= 0)
		r = executor_new("store-read", READERS, &log->readers);
	if (r >= 0)
		r = retention_start(log, &log->retention);
	if (r >= 0)
		r = scrub_start(log->stores, CLASSES, options->scrub_hours, &log->scrub);
	return r;
}

int durable_log_open(const struct durable_log_options *options, struct durable_log **ret,
		     char **ret_error)
{
	struct durable_log *log = calloc(1, sizeof *log);
	int r;

	if (!log)
		return -ENOMEM;
	r = parts_open(log, options, ret_error);
	if (r < 0) {
		durable_log_close(log);
		return r;
	}
	*ret = log;
	return 0;
}

// ---- how it is doing

const char *durable_log_problem(const struct durable_log *log)
{
	for (int i = 0; i < CLASSES; ++i) {
		enum store_health health = committer_health(log->committers[i]);

		if (head_stopped(log->stores[i]))
			return head_stopped(log->stores[i]);
		if (health == STORE_FULL)
			return "the disk or the map is full: appending has stopped";
		if (health == STORE_FAILING)
			return "the last write failed; the log says why";
	}
	return NULL;
}

// What an operator has to deal with, in words.
static void damage_text(struct durable_log *log, char *text, size_t size)
{
	text[0] = '\0';
	for (int i = 0; i < CLASSES && !*text; ++i)
		damage_list_text(log->stores[i]->damages, text, size);
}

// A store that takes no messages is down, though what it holds can be read; one with damage that
// no operator has dealt with is degraded.
void durable_log_state(struct durable_log *log, struct adapter_state *ret)
{
	const char *problem = durable_log_problem(log);
	struct scrub_state scrub;

	*ret = (struct adapter_state){.has_store = true};
	damage_text(log, ret->error, sizeof ret->error);
	ret->health = problem ? ADAPTER_DOWN : *ret->error ? ADAPTER_DEGRADED : ADAPTER_READY;
	if (problem)
		snprintf(ret->error, sizeof ret->error, "%s", problem);
	scrub_state(log->scrub, &scrub);
	ret->scrub_progress = scrub.progress;
	ret->scrub_passes = scrub.passes;
	ret->scrub_bytes = scrub.bytes;
	for (int i = 0; i < CLASSES; ++i) {
		struct damage_list *damages = log->stores[i]->damages;
		uint64_t used, left;

		committer_space(log->committers[i], &used, &left);
		ret->used_bytes += used;
		ret->left_bytes = i ? MIN(ret->left_bytes, left) : left;
		ret->damaged_total += damage_list_total(damages);
		ret->damaged_open += damage_list_open(damages);
	}
}

const char *durable_log_version(void)
{
	return MDB_VERSION_STRING;
}

bool durable_log_is_readable(struct durable_log *log)
{
	MDB_txn *txn;
	int r = store_read_begin(log->stores[CLASS_D2], &txn);

	if (!r)
		mdb_txn_abort(txn);
	fault_at(NULL); // it may be a loop's thread
	return r == 0;
}

struct damaged_part *durable_log_damage(struct durable_log *log, size_t *ret_count)
{
	struct damage_list *of_d1 = log->stores[CLASS_D1]->damages,
			   *of_d2 = log->stores[CLASS_D2]->damages;
	size_t room = damage_list_open(of_d1) + damage_list_open(of_d2), count;
	struct damaged_part *rows = calloc(MAX(room, 1), sizeof *rows);

	if (!rows)
		return NULL;
	count = damage_list_copy(of_d1, DURABILITY_D1, rows, room);
	count += damage_list_copy(of_d2, DURABILITY_D2, rows + count, room - count);
	*ret_count = count;
	return rows;
}

// ---- messages

struct adapter_topic *durable_log_topic(struct durable_log *log, const struct topic *topic)
{
	int r;

	return store_topic_open(log->stores[durable_log_class(topic)], topic->object.id,
				topic->incarnation, &r);
}

void durable_log_submit(struct durable_log *log, struct submit *submit)
{
	committer_submit(durable_log_committer(log, submit->topic->store), submit);
}

static void run_fetch(struct loop_task *task)
{
	struct log_fetch *fetch = CONTAINER_OF(task, struct log_fetch, work);

	store_range_fetch(fetch);
	loop_post(fetch->loop, &fetch->task);
}

bool durable_log_fetch(struct durable_log *log, struct log_fetch *fetch)
{
	struct store_partition *partition = store_topic_partition(fetch->topic, fetch->partition);

	// What is deleted may be in memory still.
	if (partition && fetch->offset >= __atomic_load_n(&partition->first, __ATOMIC_ACQUIRE) &&
	    tail_fetch(fetch->topic->store->tails, &partition->tail, fetch))
		return true;
	fetch->work.fn = run_fetch;
	executor_post(log->readers, &fetch->work);
	return false;
}
