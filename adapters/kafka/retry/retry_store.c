// Stores: made when somebody first asks about a group, emptied when their topic is gone, freed when
// nobody needs them any more.

#include "adapters/kafka/adapter.h"
#include "adapters/kafka/retry/retry.h"
#include "adapters/kafka/retry/retry_rows.h"
#include "adapters/kafka/retry/retry_thread.h"
#include "adapters/kafka/topic/stored.h"

static void rows_forget(struct retry_store *store)
{
	retry_rows_counted(store->stores, -(int64_t)store->rows.index.count);
	retry_rows_deinit(&store->rows);
	store->next = store->written = 0;
	store->loaded = false;
}

void retry_store_forget_topic(struct retry_store *store)
{
	retry_stream_stop(store);
	retry_ahead_clear(store);
	if (store->reading)
		rd_kafka_topic_destroy(store->reading);
	store->reading = NULL;
	rows_forget(store);
	store->presence = RETRY_UNKNOWN;
}

void retry_store_free(struct retry_store *store)
{
	retry_ahead_clear(store);
	rows_forget(store);
	if (store->reading)
		rd_kafka_topic_destroy(store->reading);
	model_unref(store->group);
	model_unref(store->topic);
	free(store->name);
	free(store);
}

struct retry_store *retry_store_get(struct retry_stores *stores, const struct group *group,
				    const struct topic *topic)
{
	struct map_node *node = map_find(&stores->stores, group->object.id);
	struct retry_store *store;

	if (node)
		return CONTAINER_OF(node, struct retry_store, by_id);
	store = calloc(1, sizeof *store);
	if (!store)
		return NULL;
	store->stores = stores;
	store->by_id.key = group->object.id;
	store->group = model_ref(group);
	store->topic = model_ref(topic);
	store->name = retry_topic_name(group);
	store->position = RETRY_NO_STREAM;
	list_init(&store->line);
	list_init(&store->jobs);
	retry_rows_init(&store->rows);
	if (!store->name || map_put(&stores->stores, &store->by_id) < 0) {
		retry_store_free(store);
		return NULL;
	}
	return store;
}

// ---- closing

struct closing {
	struct retry_letter letter;
	uint64_t group;
};

static void closed_run(struct retry_stores *stores, struct retry_letter *letter)
{
	struct closing *closing = CONTAINER_OF(letter, struct closing, letter);
	struct map_node *node = map_find(&stores->stores, closing->group);

	if (node)
		CONTAINER_OF(node, struct retry_store, by_id)->open = false;
	free(closing);
}

void retry_closed(struct adapter *adapter, const struct group *group)
{
	struct closing *closing = calloc(1, sizeof *closing);

	if (!closing)
		return; // it stays in memory
	closing->letter.run = closed_run;
	closing->group = group->object.id;
	if (!retry_post(adapter->retries, &closing->letter))
		free(closing);
}

// ---- deleting

struct forgetting {
	struct retry_letter letter;
	uint64_t group;
};

static void forget_run(struct retry_stores *stores, struct retry_letter *letter)
{
	struct forgetting *forgetting = CONTAINER_OF(letter, struct forgetting, letter);
	struct map_node *node = map_find(&stores->stores, forgetting->group);
	struct retry_store *store = node ? CONTAINER_OF(node, struct retry_store, by_id) : NULL;

	if (store && list_empty(&store->jobs)) {
		retry_store_forget_topic(store);
		retry_job_next(store);
	}
	free(forgetting);
}

enum code retry_topic_forget(struct adapter *adapter, const struct group *group)
{
	struct forgetting *forgetting = calloc(1, sizeof *forgetting);
	_cleanup_(freep) char *name = retry_topic_name(group);
	enum retry_presence presence = RETRY_UNKNOWN;
	enum code code =
		forgetting && name ? retry_topic_ask(adapter, name, &presence) : CODE_OVERLOADED;

	if (code == CODE_OK && presence == RETRY_THERE)
		code = retry_topic_delete(adapter, name);
	if (code != CODE_OK) {
		free(forgetting);
		return code;
	}
	kafka_stored_rows(adapter, group->object.id, 0);
	forgetting->letter.run = forget_run;
	forgetting->group = group->object.id;
	if (!retry_post(adapter->retries, &forgetting->letter))
		free(forgetting);
	return CODE_OK;
}
