// `embedded`: a durable partitioned log in the daemon's own data directory
// (docs/adapters/embedded.md). The table of slots, opening and closing.

#include "adapters/embedded/embedded.h"

#include "adapters/closing.h"
#include "adapters/embedded/damage_list.h"
#include "adapters/embedded/damage_table.h"
#include "adapters/embedded/fault.h"
#include "adapters/embedded/head.h"
#include "adapters/embedded/identity.h"
#include "adapters/embedded/salvage.h"
#include "adapters/embedded/scrub.h"
#include "adapters/embedded/tail.h"
#include "core/base/clock.h"
#include "core/base/log.h"

#include <errno.h>
#include <stdio.h>

#define MAP_BYTES_DEFAULT (1ull << 40)
#define MAP_BYTES_MIN     (16ull << 20)
#define READER_THREADS    2u

#define SCRUB_HOURS_DEFAULT (7u * 24u)
#define SCRUB_HOURS_MAX     87600u

struct options {
	uint64_t map_bytes, scrub_hours;
};

// The options there are, all of them whole numbers.
static const struct {
	const char *name;
	size_t at; // in struct options
	uint64_t usual, least, most;
	const char *wrong;
} option_rows[] = {
	{"map_bytes", offsetof(struct options, map_bytes), MAP_BYTES_DEFAULT, MAP_BYTES_MIN,
	 INT64_MAX, "options.map_bytes: not a whole number of at least 16777216 (16 MiB)"},
	{"scrub_hours", offsetof(struct options, scrub_hours), SCRUB_HOURS_DEFAULT, 0,
	 SCRUB_HOURS_MAX,
	 "options.scrub_hours: not a whole number from 0 (no scrub) to 87600 (10 years)"},
};

static uint64_t *option_of(struct options *options, size_t row)
{
	return (uint64_t *)((char *)options + option_rows[row].at);
}

static int option_read(struct options *options, const char *name, const json_t *value,
		       char **ret_error)
{
	for (size_t i = 0; i < ARRAY_SIZE(option_rows); ++i) {
		if (strcmp(option_rows[i].name, name) != 0)
			continue;
		*option_of(options, i) = (uint64_t)json_integer_value(value);
		if (json_is_integer(value) && json_integer_value(value) >= 0 &&
		    *option_of(options, i) >= option_rows[i].least &&
		    *option_of(options, i) <= option_rows[i].most)
			return 0;
		*ret_error = strdup(option_rows[i].wrong);
		return -EINVAL;
	}
	if (asprintf(ret_error,
		     "options.%s: the kind embedded knows only map_bytes and "
		     "scrub_hours",
		     name) < 0)
		*ret_error = NULL;
	return -EINVAL;
}

static int options_read(const struct cluster *cluster, struct options *ret, char **ret_error)
{
	json_t *options = json_loads(cluster->options_json && *cluster->options_json
					     ? cluster->options_json
					     : "{}",
				     JSON_REJECT_DUPLICATES, NULL),
	       *value;
	const char *name;
	int r = 0;

	for (size_t i = 0; i < ARRAY_SIZE(option_rows); ++i)
		*option_of(ret, i) = option_rows[i].usual;
	if (!json_is_object(options)) {
		*ret_error = strdup("options: not a JSON object");
		r = -EINVAL;
	}
	json_object_foreach(options, name, value)
	{
		if (!r)
			r = option_read(ret, name, value, ret_error);
	}
	ret->map_bytes &= ~(uint64_t)0xffff;
	json_decref(options);
	return r;
}

static int embedded_check(const struct cluster *cluster, char **ret_error)
{
	struct options options;

	if (cluster->secrets_json && strcmp(cluster->secrets_json, "{}") != 0) {
		*ret_error = strdup("secrets: the kind embedded has none");
		return -EINVAL;
	}
	return options_read(cluster, &options, ret_error);
}

// The committers give work to each other, and both need both stores.
static void committers_flush(struct adapter *adapter)
{
	struct committer *d1 = adapter->committers[CLASS_D1], *d2 = adapter->committers[CLASS_D2];
	bool idle = !d1 || !d2;

	while (!idle)
		idle = committer_flush(d1) && committer_flush(d2);
}

static void adapter_free(struct adapter *adapter)
{
	scrub_stop(adapter->scrub);
	housekeeper_stop(adapter->housekeeper);
	reader_stop(adapter->reader);
	committers_flush(adapter);
	committer_stop(adapter->committers[CLASS_D1]);
	committer_stop(adapter->committers[CLASS_D2]);
	store_close(adapter->stores[CLASS_D1]);
	store_close(adapter->stores[CLASS_D2]);
	free(adapter);
}

static int store_start(struct adapter *adapter, int class, const char *data_dir, uint64_t map_bytes,
		       char **ret_error)
{
	static const char *const names[] = {[CLASS_D1] = "d1", [CLASS_D2] = "d2"};
	_cleanup_(freep) char *path = NULL;
	int r;

	if (asprintf(&path, "%s/%s", data_dir, names[class]) < 0)
		return -ENOMEM;
	r = store_open(path, class == CLASS_D1 ? adapter->stores[CLASS_D2] : NULL, map_bytes,
		       &adapter->stores[class], ret_error);
	if (r >= 0)
		r = committer_start(adapter->stores[class], &adapter->committers[class]);
	if (r < 0)
		return r;
	r = damage_table_open(adapter->stores[class]);
	if (r < 0 && asprintf(ret_error, "%s/data.mdb: %s", path, strerror(-r)) < 0)
		*ret_error = NULL;
	return r;
}

static int embedded_open(const struct cluster *cluster, const struct adapter_env *env,
			 struct adapter **ret, char **ret_error)
{
	struct adapter *adapter;
	struct options options;
	int r = options_read(cluster, &options, ret_error);

	if (r < 0)
		return r;
	adapter = calloc(1, sizeof *adapter);
	if (!adapter)
		return -ENOMEM;
	r = store_start(adapter, CLASS_D2, env->data_dir, options.map_bytes, ret_error);
	if (r >= 0)
		r = identity_take(adapter->stores[CLASS_D2], env->installation, ret_error);
	if (r >= 0)
		r = store_start(adapter, CLASS_D1, env->data_dir, options.map_bytes, ret_error);
	if (r >= 0)
		r = reader_start(READER_THREADS, &adapter->reader);
	if (r >= 0)
		r = housekeeper_start(adapter, &adapter->housekeeper);
	if (r >= 0)
		r = scrub_start(adapter->stores, CLASSES, options.scrub_hours, &adapter->scrub);
	if (r < 0) {
		adapter_free(adapter);
		return r;
	}
	*ret = adapter;
	return 0;
}

static void embedded_close(struct adapter *adapter, void (*done)(void *ctx), void *ctx)
{
	if (closing_start(adapter, adapter_free, done, ctx) == 0)
		return;
	// No memory for that: what is committed is safe, and the process is about to end.
	log_error(NULL, "STORE-CLOSE", "the store could not be closed in order");
	done(ctx);
}

static uint32_t embedded_capabilities(struct adapter *adapter)
{
	return CAP_HISTORY | CAP_QUERY_TIME | CAP_OFFSETS | CAP_EXACT_BACKLOG | CAP_DELAY |
	       CAP_KEEPS_WITHOUT_GROUP | CAP_ATTEMPTS_SURVIVE | CAP_CONSUME | CAP_D1 | CAP_D2;
}

static const char *health_problem(const struct adapter *adapter)
{
	for (int i = 0; i < CLASSES; ++i) {
		enum store_health health = committer_health(adapter->committers[i]);

		if (store_stopped(adapter->stores[i]))
			return store_stopped(adapter->stores[i]);
		if (health == STORE_FULL)
			return "the disk or the map is full: appending has stopped";
		if (health == STORE_FAILING)
			return "the last write failed; the log says why";
	}
	return NULL;
}

// What an operator has to deal with, in words.
static void damage_text(struct adapter *adapter, char *text, size_t size)
{
	text[0] = '\0';
	for (int i = 0; i < CLASSES && !*text; ++i)
		damage_list_text(adapter->stores[i]->damages, text, size);
}

// A store that takes no messages is down, though what it holds can be read; one with damage that
// nobody has dealt with is degraded.
static void embedded_state(struct adapter *adapter, struct adapter_state *ret)
{
	const char *problem = health_problem(adapter);
	struct scrub_state scrub;

	*ret = (struct adapter_state){.circuit = CIRCUIT_CLOSED, .known = true, .has_store = true};
	damage_text(adapter, ret->error, sizeof ret->error);
	ret->health = problem ? ADAPTER_DOWN : *ret->error ? ADAPTER_DEGRADED : ADAPTER_READY;
	if (problem)
		snprintf(ret->error, sizeof ret->error, "%s", problem);
	scrub_state(adapter->scrub, &scrub);
	ret->scrub_progress = scrub.progress;
	ret->scrub_passes = scrub.passes;
	ret->scrub_bytes = scrub.bytes;
	for (int i = 0; i < CLASSES; ++i) {
		uint64_t used, left;

		committer_space(adapter->committers[i], &used, &left);
		ret->used_bytes += used;
		ret->left_bytes = i ? MIN(ret->left_bytes, left) : left;
		ret->damaged_total += damage_list_total(adapter->stores[i]->damages);
		ret->damaged_open += damage_list_open(adapter->stores[i]->damages);
	}
}

static void embedded_probe(struct adapter *adapter, uint64_t deadline_ns, adapter_json_fn done,
			   void *ctx)
{
	uint64_t began_ns = clock_now_ns();
	const char *problem = health_problem(adapter);
	MDB_txn *txn;
	int r = store_read_begin(adapter->stores[CLASS_D2], &txn);

	if (!r)
		mdb_txn_abort(txn);
	fault_at(NULL); // it is a loop's thread
	done(ctx, CODE_OK,
	     json_pack("{s:b,s:s,s:i,s:s,s:s,s:o,s:I,s:o}", "reachable", r == 0, "version",
		       MDB_VERSION_STRING, "nodes", 1, "durability", "D2", "durability_reason",
		       "each acknowledgement waits for the disk; topics of class D1 only for the "
		       "operating system",
		       "capabilities", capability_json(embedded_capabilities(adapter)),
		       "latency_us", (json_int_t)((clock_now_ns() - began_ns) / 1000), "error",
		       problem ? json_string(problem) : json_null()),
	     NULL);
}

static void embedded_damage(struct adapter *adapter, adapter_json_fn done, void *ctx)
{
	json_t *rows = damage_list_json(adapter->stores[CLASS_D1]->damages, "D1"),
	       *of_d2 = damage_list_json(adapter->stores[CLASS_D2]->damages, "D2");

	json_array_extend(rows, of_d2);
	json_decref(of_d2);
	done(ctx, CODE_OK, json_pack("{s:o}", "damage", rows), NULL);
}

// ---- sessions

static struct adapter_topic *embedded_topic_open(struct adapter *adapter, const struct topic *topic)
{
	int r;

	return store_topic_open(adapter->stores[class_of(topic)], topic->object.id,
				topic->incarnation, &r);
}

static void embedded_submit(struct adapter *adapter, struct submit *submit)
{
	committer_submit(committer_of(adapter, submit->topic->store), submit);
}

// ---- the log

static void fetch_run(struct log_job *job)
{
	struct log_fetch *fetch = CONTAINER_OF(job, struct log_fetch, job);

	reader_fetch(fetch);
	loop_post(fetch->loop, &fetch->task);
}

static bool embedded_fetch(struct adapter *adapter, struct log_fetch *fetch)
{
	struct store_partition *partition = store_topic_partition(fetch->topic, fetch->partition);

	// What is deleted may be in memory still.
	if (partition && fetch->offset >= __atomic_load_n(&partition->first, __ATOMIC_ACQUIRE) &&
	    tail_fetch(fetch->topic->store->tails, &partition->tail, fetch))
		return true;
	fetch->job.run = fetch_run;
	reader_run(adapter->reader, &fetch->job);
	return false;
}

static const struct log_ops embedded_log_ops = {
	.fetch = embedded_fetch,
	.due = embedded_due,
	.load = embedded_cursors_load,
	.commit = embedded_cursors_commit,
	.bounds = store_topic_bounds,
	.watch = store_topic_watch,
	.unwatch = store_topic_unwatch,
};

static int embedded_source_open(struct adapter *adapter, const struct source_config *config,
				struct source **ret)
{
	return log_source_open(adapter, &embedded_log_ops, config, ret);
}

const struct adapter_ops embedded_ops = {
	.kind = "embedded",
	.assured = DURABILITY_D2,
	.open = embedded_open,
	.check = embedded_check,
	.recall = embedded_recall,
	.salvage = salvage_store,
	.close = embedded_close,
	.probe = embedded_probe,
	.damage = embedded_damage,
	.capabilities = embedded_capabilities,
	.state = embedded_state,
	.topic_create = embedded_topic_create,
	.topic_change = embedded_topic_change,
	.topic_delete = embedded_topic_delete,
	.topic_describe = embedded_topic_describe,
	.topic_purge = embedded_topic_purge,
	.topic_skip = embedded_topic_skip,
	.group_create = embedded_group_create,
	.group_delete = embedded_group_delete,
	.group_reset = embedded_group_reset,
	.group_backlog = embedded_group_backlog,
	.read = embedded_read,
	.stored = embedded_stored,
	.topic_open = embedded_topic_open,
	.topic_close = store_topic_close,
	.submit = embedded_submit,
	.source_open = embedded_source_open,
	.source_demand = log_source_demand,
	.source_settle = log_source_settle,
	.source_backlog = log_source_backlog,
	.source_close = log_source_close,
};
