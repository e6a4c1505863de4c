// `kafka`: an existing Kafka cluster (docs/adapters/kafka.md). The table of slots, the hooks
// between the adapter's rooms, opening and closing.
//
// Opening goes from the lowest room to the highest, closing the other way. A room that is closed
// may still get delivery reports until the producers are drained.

#include "adapters/closing.h"
#include "adapters/kafka/admin/check.h"
#include "adapters/kafka/admin/existing.h"
#include "adapters/kafka/admin/foreign_settings.h"
#include "adapters/kafka/admin/probe.h"
#include "adapters/kafka/admin/topic_admin.h"
#include "adapters/kafka/admin/topic_query.h"
#include "adapters/kafka/client/admin_handle.h"
#include "adapters/kafka/client/cluster_info.h"
#include "adapters/kafka/client/health.h"
#include "adapters/kafka/client/kafka_adapter.h"
#include "adapters/kafka/client/last_error.h"
#include "adapters/kafka/client/options.h"
#include "adapters/kafka/client/task.h"
#include "adapters/kafka/group/cursors.h"
#include "adapters/kafka/group/group_reset.h"
#include "adapters/kafka/group/groups.h"
#include "adapters/kafka/offsets/group_table.h"
#include "adapters/kafka/produce/produce.h"
#include "adapters/kafka/produce/resend.h"
#include "adapters/kafka/produce/sender.h"
#include "adapters/kafka/read/fetcher.h"
#include "adapters/kafka/retry/retry_due.h"
#include "adapters/kafka/retry/retry_store.h"
#include "adapters/kafka/retry/retry_thread.h"
#include "adapters/kafka/topic/stored.h"
#include "adapters/kafka/topic/topic.h"
#include "adapters/kafka/topic/topic_generation.h"
#include "adapters/kafka/topic/watcher.h"
#include "adapters/log/source.h"
#include "adapters/log/source_settle.h"
#include "core/loop/ticker.h"

#include <errno.h>

static void topic_grown(struct adapter_topic *topic, uint32_t partitions)
{
	sender_topic_grown(topic, partitions); // what it has not heard yet it hears later
}

static const struct kafka_hooks hooks = {
	.client_error = health_error,
	.handle_swapped = kafka_topic_handle_swapped,
	.topic_follow = fetcher_follow,
	.partition_forget = fetcher_forget,
	.topic_closed = sender_topic_drop,
	.topic_grown = topic_grown,
	.topic_batch_limit = resend_move,
	.delivered = produce_delivered,
	.ended = resend_ended,
	.between = resend_go_on,
	.leaving = resend_leaving,
	.drained = resend_end,
};

// Nothing is waited for that will not come.
static int drain_ms(struct adapter *adapter)
{
	struct adapter_state state;

	if (!adapter->health)
		return 0;
	health_state(adapter, &state);
	return state.circuit == CIRCUIT_CLOSED ? (int)adapter->options.timeout_ms : 0;
}

static void adapter_free(struct adapter *adapter)
{
	kafka_task_drain_admin(adapter); // no operator reads any more
	kafka_watcher_stop(adapter->watcher);
	topic_generation_forget_lost(adapter);
	fetcher_stop(adapter->fetcher);
	if (!drain_ms(adapter))
		sender_drain(adapter, 0); // rows, too: the stores wait for them
	retry_thread_stop(adapter->retries);
	sender_drain(adapter, drain_ms(adapter));
	kafka_task_stop(adapter);
	sender_drain(adapter, 0); // a handle that took over meanwhile
	retry_thread_free(adapter->retries);
	fetcher_free(adapter->fetcher);
	sender_stop(adapter);
	resend_stop(adapter);
	admin_handle_stop(adapter);
	health_stop(adapter->health);
	group_table_stop(adapter->groups);
	kafka_stored_stop(adapter);
	cluster_info_stop(adapter);
	last_error_deinit(&adapter->last_error);
	ticker_free(adapter->watch_ticker);
	pthread_mutex_destroy(&adapter->topics_lock);
	kafka_options_deinit(&adapter->options);
	free(adapter->ended_topics);
	free(adapter);
}

static int kafka_open(const struct cluster *cluster, const struct adapter_env *env,
		      struct adapter **ret, char **ret_error)
{
	struct adapter *adapter = calloc(1, sizeof *adapter);
	int r;

	if (!adapter)
		return -ENOMEM;
	adapter->log = env->log;
	adapter->hooks = &hooks;
	pthread_mutex_init(&adapter->topics_lock, NULL);
	list_init(&adapter->topics);
	last_error_init(&adapter->last_error);
	r = kafka_check(cluster, ret_error);
	if (r >= 0)
		r = kafka_options_read(cluster, &adapter->options, ret_error);
	if (r >= 0)
		r = cluster_info_start(adapter);
	if (r >= 0)
		r = health_start(adapter);
	if (r >= 0)
		r = admin_handle_start(adapter, ret_error);
	if (r >= 0)
		r = kafka_task_start(adapter);
	if (r >= 0)
		r = resend_start(adapter);
	if (r >= 0)
		r = sender_start(adapter, ret_error);
	if (r >= 0)
		r = group_table_start(adapter);
	if (r >= 0)
		r = kafka_stored_start(adapter, env->data_dir);
	if (r >= 0)
		r = fetcher_start(adapter, ret_error);
	if (r >= 0)
		r = retry_thread_start(adapter);
	if (r >= 0)
		r = kafka_watcher_start(adapter);
	if (r < 0) {
		adapter_free(adapter);
		return r;
	}
	health_opened(adapter);
	*ret = adapter;
	return 0;
}

static void kafka_close(struct adapter *adapter, void (*done)(void *ctx), void *ctx)
{
	if (closing_start(adapter, adapter_free, done, ctx) == 0)
		return;
	log_error(adapter->log, "KAFKA-CLOSE", "no memory to close the cluster in order");
	done(ctx);
}

static const struct log_ops kafka_log_ops = {
	.has_holes = kafka_topic_has_holes,
	.fetch = fetcher_fetch,
	.due = retry_due,
	.load = kafka_cursors_load,
	.commit = kafka_cursors_commit,
	.bounds = kafka_topic_bounds,
	.watch = kafka_topic_watch,
	.unwatch = kafka_topic_unwatch,
	.closed = retry_store_closed,
};

static int kafka_source_open(struct adapter *adapter, const struct source_config *config,
			     struct source **ret)
{
	return log_source_open(adapter, &kafka_log_ops, config, ret);
}

const struct adapter_ops kafka_ops = {
	.kind = "kafka",
	.assured = DURABILITY_D1,
	.open = kafka_open,
	.check = kafka_check,
	.close = kafka_close,
	.probe = kafka_probe,
	.capabilities = cluster_info_capabilities,
	.state = health_state,
	.existing = kafka_existing,
	.topic_create = topic_admin_create,
	.topic_change = topic_admin_change,
	.topic_delete = topic_admin_delete,
	.topic_describe = topic_query_describe,
	.topic_settings = foreign_settings_describe,
	.topic_purge = topic_query_purge,
	.group_create = kafka_groups_create,
	.group_delete = kafka_groups_delete,
	.group_reset = kafka_group_reset,
	.group_backlog = kafka_groups_backlog,
	.read = topic_query_read,
	.stored = kafka_stored_fill,
	.topic_open = kafka_topic_open,
	.topic_close = kafka_topic_close,
	.submit = produce_submit,
	.source_open = kafka_source_open,
	.source_demand = log_source_demand,
	.source_settle = log_source_settle,
	.source_backlog = log_source_backlog,
	.source_close = log_source_close,
};
