// `embedded`: a durable partitioned log in the daemon's own data directory
// (docs/adapters/embedded.md), as an adapter. This is the table of slots: each calls the durable
// log, which knows nothing of adapters but the shapes that they share (adapter.h,
// adapters/log/log.h).
//
// Its own are the options and their limits, what it says it can do, and the threads of closing.
//
// Not here: anything that is stored. Another adapter over the same store is another such table.

#include "adapters/embedded/embedded.h"

#include "adapters/closing.h"
#include "adapters/log/source.h"
#include "adapters/log/source_settle.h"
#include "adapters/store/durable_log.h"
#include "adapters/store/group_admin.h"
#include "adapters/store/group_reset.h"
#include "adapters/store/identity.h"
#include "adapters/store/salvage.h"
#include "adapters/store/source_requests.h"
#include "adapters/store/topic.h"
#include "adapters/store/topic_admin.h"
#include "adapters/store/topic_query.h"
#include "adapters/store/topic_skip.h"
#include "adapters/store/usage.h"
#include "core/base/clock.h"
#include "core/base/log.h"

#include <errno.h>
#include <stdio.h>

#define MAP_BYTES_DEFAULT (1ull << 40)
#define MAP_BYTES_MIN     (16ull << 20)

#define SCRUB_HOURS_DEFAULT (7u * 24u)
#define SCRUB_HOURS_MAX     87600u

// The options there are, all of them whole numbers.
static const struct {
	const char *name;
	size_t at; // in struct durable_log_options
	uint64_t usual, least, most;
	const char *wrong;
} option_rows[] = {
	{"map_bytes", offsetof(struct durable_log_options, map_bytes), MAP_BYTES_DEFAULT,
	 MAP_BYTES_MIN, INT64_MAX,
	 "options.map_bytes: not a whole number of at least 16777216 (16 MiB)"},
	{"scrub_hours", offsetof(struct durable_log_options, scrub_hours), SCRUB_HOURS_DEFAULT, 0,
	 SCRUB_HOURS_MAX,
	 "options.scrub_hours: not a whole number from 0 (no scrub) to 87600 (10 years)"},
};

static uint64_t *option_of(struct durable_log_options *options, size_t row)
{
	return (uint64_t *)((char *)options + option_rows[row].at);
}

static int option_read(struct durable_log_options *options, const char *name, const json_t *value,
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

static int options_read(const struct cluster *cluster, struct durable_log_options *ret,
			char **ret_error)
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
	struct durable_log_options options = {0};

	if (cluster->secrets_json && strcmp(cluster->secrets_json, "{}") != 0) {
		*ret_error = strdup("secrets: the kind embedded has none");
		return -EINVAL;
	}
	return options_read(cluster, &options, ret_error);
}

static void adapter_free(struct adapter *adapter)
{
	durable_log_close(adapter->log);
	free(adapter);
}

static int embedded_open(const struct cluster *cluster, const struct adapter_env *env,
			 struct adapter **ret, char **ret_error)
{
	struct adapter *adapter;
	struct durable_log_options options = {0};
	int r = options_read(cluster, &options, ret_error);

	if (r < 0)
		return r;
	options.data_dir = env->data_dir;
	options.installation = env->installation;
	adapter = calloc(1, sizeof *adapter);
	r = adapter ? durable_log_open(&options, &adapter->log, ret_error) : -ENOMEM;
	if (r < 0) {
		free(adapter);
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
	       CAP_KEEPS_WITHOUT_GROUP | CAP_ATTEMPTS_SURVIVE | CAP_CONSUME | CAP_D1 | CAP_D2 |
	       CAP_POSITIONS | CAP_SETTLES_SURVIVE;
}

static void embedded_state(struct adapter *adapter, struct adapter_state *ret)
{
	durable_log_state(adapter->log, ret);
	ret->circuit = CIRCUIT_CLOSED;
	ret->known = true;
}

static void embedded_probe(struct adapter *adapter, uint64_t deadline_ns, adapter_answer_fn done,
			   void *ctx)
{
	uint64_t began_ns = clock_now_ns();
	const char *problem = durable_log_problem(adapter->log);
	struct adapter_answer answer = {
		.kind = ANSWER_PROBE,
		.probe = {.reachable = durable_log_is_readable(adapter->log),
			  .version = durable_log_version(),
			  .nodes = 1,
			  .durability = DURABILITY_D2,
			  .durability_reason = "each acknowledgement waits for the disk; topics of "
					       "class D1 only for the operating system",
			  .capabilities = embedded_capabilities(adapter),
			  .error = problem}};

	answer.probe.latency_us = (clock_now_ns() - began_ns) / 1000;
	done(ctx, CODE_OK, &answer, NULL);
}

static void embedded_damage(struct adapter *adapter, adapter_answer_fn done, void *ctx)
{
	size_t count = 0;
	struct damaged_part *rows = durable_log_damage(adapter->log, &count);
	struct adapter_answer answer = {.kind = ANSWER_DAMAGE, .damage = {rows, count}};

	done(ctx, rows ? CODE_OK : CODE_OVERLOADED, rows ? &answer : NULL, NULL);
	free(rows);
}

// ---- topics and groups

static void embedded_topic_create(struct adapter *adapter, const struct topic *topic,
				  adapter_done_fn done, void *ctx)
{
	store_topic_admin_create(adapter->log, topic, done, ctx);
}

static void embedded_topic_change(struct adapter *adapter, const struct topic *topic,
				  adapter_done_fn done, void *ctx)
{
	store_topic_admin_change(adapter->log, topic, done, ctx);
}

static void embedded_topic_delete(struct adapter *adapter, const struct topic *topic,
				  adapter_done_fn done, void *ctx)
{
	store_topic_admin_delete(adapter->log, topic, done, ctx);
}

static void embedded_topic_describe(struct adapter *adapter, const struct topic *topic,
				    adapter_answer_fn done, void *ctx)
{
	store_topic_query_describe(adapter->log, topic, done, ctx);
}

static void embedded_topic_purge(struct adapter *adapter, const struct topic *topic, bool preview,
				 adapter_answer_fn done, void *ctx)
{
	store_topic_admin_purge(adapter->log, topic, preview, done, ctx);
}

static void embedded_topic_skip(struct adapter *adapter, const struct topic *topic, bool preview,
				adapter_answer_fn done, void *ctx)
{
	store_topic_skip(adapter->log, topic, preview, done, ctx);
}

static void embedded_group_create(struct adapter *adapter, const struct group *group,
				  const struct topic *topic, adapter_done_fn done, void *ctx)
{
	store_group_admin_create(adapter->log, group, topic, done, ctx);
}

static void embedded_group_delete(struct adapter *adapter, const struct group *group,
				  const struct topic *topic, adapter_done_fn done, void *ctx)
{
	store_group_admin_delete(adapter->log, group, topic, done, ctx);
}

static void embedded_group_reset(struct adapter *adapter, const struct group *group,
				 const struct topic *topic, const struct seek_target *to,
				 bool preview, adapter_answer_fn done, void *ctx)
{
	store_group_reset(adapter->log, group, topic, to, preview, done, ctx);
}

static void embedded_group_backlog(struct adapter *adapter, const struct group *group,
				   const struct topic *topic, adapter_answer_fn done, void *ctx)
{
	store_group_admin_backlog(adapter->log, group, topic, done, ctx);
}

static void embedded_read(struct adapter *adapter, const struct topic *topic,
			  const struct message_query *query, adapter_answer_fn done, void *ctx)
{
	store_topic_query_read(adapter->log, topic, query, done, ctx);
}

static void embedded_stored(struct adapter *adapter, struct stored_row *rows, size_t count)
{
	store_usage_measure(adapter->log, rows, count);
}

// ---- messages

static struct adapter_topic *embedded_topic_open(struct adapter *adapter, const struct topic *topic)
{
	return durable_log_topic(adapter->log, topic);
}

static void embedded_submit(struct adapter *adapter, struct submit *submit)
{
	durable_log_submit(adapter->log, submit);
}

static bool embedded_fetch(struct adapter *adapter, struct log_fetch *fetch)
{
	return durable_log_fetch(adapter->log, fetch);
}

static void embedded_due(struct adapter *adapter, struct log_due *due)
{
	store_source_requests_due(adapter->log, due);
}

static void embedded_load(struct adapter *adapter, struct log_cursors *load)
{
	store_source_requests_load(adapter->log, load);
}

static void embedded_commit(struct adapter *adapter, struct log_cursors *commit)
{
	store_source_requests_commit(adapter->log, commit);
}

static const struct log_ops embedded_log_ops = {
	.fetch = embedded_fetch,
	.due = embedded_due,
	.load = embedded_load,
	.commit = embedded_commit,
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
	.recall = identity_recall,
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
