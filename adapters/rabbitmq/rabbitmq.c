// `rabbitmq`: an existing RabbitMQ cluster (docs/adapters/rabbitmq.md). The table of slots, opening
// and closing.
//
// Opening goes from the links to the rooms that stand on them, closing the other way: sources are
// closed by then, sends end, questions are answered, and last the links, whose loops run all that
// was posted to them.

#include "adapters/closing.h"
#include "adapters/queue/source.h"
#include "adapters/queue/source_backlog.h"
#include "adapters/rabbitmq/admin/class.h"
#include "adapters/rabbitmq/admin/cluster.h"
#include "adapters/rabbitmq/admin/ended.h"
#include "adapters/rabbitmq/admin/existing.h"
#include "adapters/rabbitmq/admin/groups.h"
#include "adapters/rabbitmq/admin/incidents.h"
#include "adapters/rabbitmq/admin/purge.h"
#include "adapters/rabbitmq/admin/rewind.h"
#include "adapters/rabbitmq/admin/stored.h"
#include "adapters/rabbitmq/admin/topics.h"
#include "adapters/rabbitmq/admin/watch.h"
#include "adapters/rabbitmq/ask/ask.h"
#include "adapters/rabbitmq/ask/presence.h"
#include "adapters/rabbitmq/history/query.h"
#include "adapters/rabbitmq/link/link.h"
#include "adapters/rabbitmq/link/options.h"
#include "adapters/rabbitmq/link/rabbitmq_adapter.h"
#include "adapters/rabbitmq/manage/manage.h"
#include "adapters/rabbitmq/receive/receiver.h"
#include "adapters/rabbitmq/receive/store_memo.h"
#include "adapters/rabbitmq/send/health.h"
#include "adapters/rabbitmq/send/sender.h"
#include "adapters/rabbitmq/send/topic.h"
#include "core/base/clock.h"
#include "core/loop/ticker.h"

#include <errno.h>

#define LOOK_MS 500

// ---- what the links tell

static void on_send_changed(void *ctx, enum code code, const char *text)
{
	rabbitmq_health_note(ctx, code, text);
}

static void on_send_blocked(void *ctx, const char *reason)
{
	rabbitmq_health_blocked(ctx, reason);
}

static void on_ask_changed(void *ctx, enum code code, const char *text)
{
	rabbitmq_ask_link_changed(ctx, code, text);
}

// A link that hangs in a send, and how the cluster is doing.
static uint64_t look(void *ctx)
{
	struct adapter *adapter = ctx;
	struct rabbitmq_link *links[] = {adapter->send, adapter->receive, adapter->ask};
	uint64_t limit_ns = adapter->options.timeout_ms * MS_NS;

	for (size_t i = 0; i < ARRAY_SIZE(links); ++i)
		rabbitmq_link_watch(links[i], clock_now_ns(), limit_ns);
	rabbitmq_health_look(adapter);
	return LOOK_MS * MS_NS;
}

// ---- opening and closing

static int links_start(struct adapter *adapter)
{
	struct rabbitmq_link_config config = {.options = &adapter->options,
					      .cluster = adapter->cluster,
					      .log = adapter->log,
					      .ctx = adapter};
	int r;

	config.name = "rabbitmq-receive";
	r = rabbitmq_link_start(&config, &adapter->receive);
	if (r < 0)
		return r;
	config.name = "rabbitmq-ask";
	config.changed = on_ask_changed;
	r = rabbitmq_link_start(&config, &adapter->ask);
	if (r < 0)
		return r;
	config.name = "rabbitmq-send";
	config.changed = on_send_changed;
	config.blocked = on_send_blocked;
	return rabbitmq_link_start(&config, &adapter->send);
}

static void adapter_free(struct adapter *adapter)
{
	ticker_stop(adapter->ticker);
	rabbitmq_manage_stop(adapter);
	if (adapter->receiver)
		rabbitmq_receiver_stop(adapter);
	if (adapter->sender)
		rabbitmq_sender_stop(adapter);
	rabbitmq_watch_stop(adapter);
	rabbitmq_presence_stop(adapter);
	rabbitmq_ask_stop(adapter);
	ticker_free(adapter->ticker);
	rabbitmq_link_stop(adapter->send);
	rabbitmq_link_stop(adapter->receive);
	rabbitmq_link_stop(adapter->ask);
	rabbitmq_ask_free(adapter);
	rabbitmq_watch_free(adapter);
	rabbitmq_presence_free(adapter);
	if (adapter->sender)
		rabbitmq_sender_free(adapter);
	if (adapter->health)
		rabbitmq_health_stop(adapter);
	rabbitmq_rewind_stop(adapter);
	rabbitmq_store_memo_stop(adapter);
	rabbitmq_ended_stop(adapter);
	rabbitmq_options_deinit(&adapter->options);
	free(adapter->cluster);
	free(adapter);
}

static int rooms_start(struct adapter *adapter)
{
	int r = rabbitmq_ended_start(adapter);

	if (r >= 0)
		r = rabbitmq_store_memo_start(adapter);
	if (r >= 0)
		r = rabbitmq_rewind_start(adapter);
	if (r >= 0)
		r = rabbitmq_health_start(adapter);
	if (r >= 0)
		r = links_start(adapter);
	if (r >= 0)
		r = rabbitmq_ask_start(adapter);
	if (r >= 0)
		r = rabbitmq_watch_start(adapter);
	if (r >= 0)
		r = rabbitmq_presence_start(adapter);
	if (r >= 0) {
		rabbitmq_health_opened(adapter);
		r = rabbitmq_sender_start(adapter);
	}
	if (r >= 0)
		r = rabbitmq_receiver_start(adapter);
	if (r >= 0)
		r = rabbitmq_manage_start(adapter, rabbitmq_presence_imported,
					  rabbitmq_class_update);
	if (r >= 0)
		r = ticker_new("rabbitmq-watch", LOOK_MS * MS_NS, look, adapter, &adapter->ticker);
	return r;
}

static int rabbitmq_open(const struct cluster *cluster, const struct adapter_env *env,
			 struct adapter **ret, char **ret_error)
{
	struct adapter *adapter = calloc(1, sizeof *adapter);
	int r;

	if (!adapter)
		return -ENOMEM;
	r = rabbitmq_options_read(cluster, &adapter->options, ret_error);
	if (r < 0) {
		free(adapter);
		return r;
	}
	adapter->log = env->log;
	adapter->cluster = strdup(cluster->name);
	r = adapter->cluster ? rooms_start(adapter) : -ENOMEM;
	if (r < 0) {
		adapter_free(adapter);
		return r;
	}
	rabbitmq_class_update(adapter);
	*ret = adapter;
	return 0;
}

static int rabbitmq_check(const struct cluster *cluster, char **ret_error)
{
	struct rabbitmq_options options;
	int r = rabbitmq_options_read(cluster, &options, ret_error);

	if (r >= 0)
		rabbitmq_options_deinit(&options);
	return r;
}

static void rabbitmq_close(struct adapter *adapter, void (*done)(void *ctx), void *ctx)
{
	if (closing_start(adapter, adapter_free, done, ctx) == 0)
		return;
	log_error(adapter->log, "RABBITMQ-CLOSE", "no memory to close the cluster in order");
	done(ctx);
}

// ---- slots of other parts

static struct adapter_topic *topic_open(struct adapter *adapter, const struct topic *topic)
{
	struct adapter_topic *open =
		rabbitmq_ended_has(adapter, topic) ? NULL : rabbitmq_topic_open(adapter, topic);

	if (open)
		rabbitmq_watch_add(adapter, open);
	return open;
}

static void topic_close(struct adapter_topic *topic)
{
	rabbitmq_watch_remove(topic->adapter, topic);
	rabbitmq_topic_close(topic);
}

static int source_open(struct adapter *adapter, const struct source_config *config,
		       struct source **ret)
{
	return queue_source_open(adapter, &rabbitmq_receiver_ops, config, ret);
}

const struct adapter_ops rabbitmq_ops = {
	.kind = "rabbitmq",
	.assured = DURABILITY_D1,
	.lacks = CAP_OFFSETS | CAP_POSITIONS | CAP_SETTLES_SURVIVE,
	.open = rabbitmq_open,
	.check = rabbitmq_check,
	.keeps_history = rabbitmq_options_history,
	.close = rabbitmq_close,
	.probe = rabbitmq_cluster_probe,
	.capabilities = rabbitmq_class_capabilities,
	.state = rabbitmq_cluster_state,
	.existing = rabbitmq_existing_list,
	.topic_create = rabbitmq_topics_create,
	.topic_change = rabbitmq_topics_change,
	.topic_delete = rabbitmq_topics_delete,
	.topic_describe = rabbitmq_topics_describe,
	.topic_settings = rabbitmq_topics_settings,
	.topic_purge = rabbitmq_purge_topic,
	.damage = rabbitmq_incidents_tell,
	.group_create = rabbitmq_groups_create,
	.group_delete = rabbitmq_groups_delete,
	.group_reset = rabbitmq_groups_reset,
	.group_backlog = rabbitmq_groups_backlog,
	.read = rabbitmq_query_read,
	.stored = rabbitmq_stored_fill,
	.topic_open = topic_open,
	.topic_close = topic_close,
	.submit = rabbitmq_sender_submit,
	.source_open = source_open,
	.source_demand = queue_source_demand,
	.source_settle = queue_source_settle,
	.source_backlog = queue_source_backlog,
	.source_close = queue_source_close,
};
