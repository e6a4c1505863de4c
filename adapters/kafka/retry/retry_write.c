// Writes to a retry topic: it is made before its first row, then all messages of a batch are handed
// to the producer in order, and when all are reported the rows in memory follow. Behind a message
// that is refused all later ones of the batch are refused, so there is no gap. Deleting from a
// topic that does not exist writes nothing. Invariant: a batch is done exactly once. What it does
// not do: retry.

#include "adapters/kafka/retry/retry_write.h"

#include "adapters/kafka/client/error.h"
#include "adapters/kafka/client/health.h"
#include "adapters/kafka/produce/produce.h"
#include "adapters/kafka/produce/sender.h"
#include "adapters/kafka/retry/retry_store.h"
#include "adapters/kafka/retry/retry_topic.h"

#include <stdio.h>

static void batch_end(struct retry_batch *batch, enum code code, const char *text)
{
	const struct group *group = batch->group;
	const struct topic *topic = batch->topic;

	batch->done(batch, code, text); // the batch may be gone
	model_unref(group);
	model_unref(topic);
}

static void store_left(struct retry_store *store)
{
	--store->writing_count;
	retry_thread_under_way(store->stores, -1);
}

// ---- reports

static int item_apply(struct retry_store *store, const struct retry_item *item)
{
	uint32_t before = store->rows.index.count;
	int r = retry_rows_apply(&store->rows, item->written,
				 (struct slice){item->key, sizeof item->key},
				 (struct slice){item->value, item->size});

	retry_store_changed(store, (int64_t)store->rows.index.count - before);
	return r;
}

static enum code item_code(struct retry_store *store, rd_kafka_resp_err_t error)
{
	if (!kafka_error_is_missing_topic(error))
		return kafka_error_send_code(error);
	retry_store_doubt(store);
	return CODE_BACKEND_DOWN;
}

// Rows that are not in memory are read when they are wanted.
static void batch_reported(struct loop_task *event)
{
	struct retry_batch *batch = CONTAINER_OF(event, struct retry_batch, event);
	struct retry_store *store = batch->store;
	enum code code = batch->code;

	for (uint32_t i = 0; i < batch->count; ++i) {
		struct retry_item *item = &batch->items[i];

		if (item->skip)
			continue;
		if (item->error) {
			code = code == CODE_OK ? item_code(store, item->error) : code;
			if (!*batch->text)
				snprintf(batch->text, sizeof batch->text, "retry topic %s: %s",
					 store->name, rd_kafka_err2str(item->error));
			continue;
		}
		store->presence = RETRY_THERE;
		store->written = MAX(store->written, item->written + 1);
		if (!store->loaded)
			continue;
		if (item_apply(store, item) < 0)
			store->loaded = false;
		else if (item->written == store->next)
			++store->next;
	}
	store_left(store);
	batch_end(batch, code, batch->text);
}

static void item_delivered(const rd_kafka_message_t *message)
{
	struct retry_item *item = message->_private;
	struct retry_batch *batch = item->batch;

	item->error = message->err;
	item->written = (uint64_t)message->offset;
	if (__atomic_sub_fetch(&batch->left, 1, __ATOMIC_ACQ_REL) == 0)
		retry_thread_post(batch->stores, &batch->event);
}

// ---- sending

static const struct produce_sink sink = {item_delivered};

static rd_kafka_topic_t *topic_new(rd_kafka_t *handle, const struct retry_store *store)
{
	// What the handle is set to: one made anew would have librdkafka's own timeout, 5 minutes.
	rd_kafka_topic_conf_t *conf = rd_kafka_default_topic_conf_dup(handle);

	rd_kafka_topic_conf_set_opaque(conf, (void *)(uintptr_t)&sink);
	return rd_kafka_topic_new(handle, store->name, conf);
}

static rd_kafka_resp_err_t item_send(rd_kafka_t *handle, rd_kafka_topic_t *topic,
				     struct retry_item *item)
{
	const rd_kafka_vu_t parts[] = {
		{.vtype = RD_KAFKA_VTYPE_RKT, .u.rkt = topic},
		{.vtype = RD_KAFKA_VTYPE_PARTITION, .u.i32 = 0},
		{.vtype = RD_KAFKA_VTYPE_KEY, .u.mem = {item->key, sizeof item->key}},
		{.vtype = RD_KAFKA_VTYPE_VALUE, .u.mem = {item->value, item->size}},
		{.vtype = RD_KAFKA_VTYPE_OPAQUE, .u.ptr = item},
	};
	rd_kafka_error_t *failure = rd_kafka_produceva(handle, parts, ARRAY_SIZE(parts));
	rd_kafka_resp_err_t error =
		failure ? rd_kafka_error_code(failure) : RD_KAFKA_RESP_ERR_NO_ERROR;

	if (failure)
		rd_kafka_error_destroy(failure);
	return error;
}

// Hands over what is to be written; returns how much of it was refused, which is all behind a gap.
static uint32_t items_send(struct adapter *adapter, struct retry_batch *batch)
{
	rd_kafka_t *handle = sender_enter(adapter);
	rd_kafka_topic_t *topic = topic_new(handle, batch->store);
	rd_kafka_resp_err_t error = topic ? RD_KAFKA_RESP_ERR_NO_ERROR : rd_kafka_last_error();
	uint32_t refused = 0;

	for (uint32_t i = 0; i < batch->count; ++i) {
		struct retry_item *item = &batch->items[i];

		if (item->skip)
			continue;
		if (!error)
			error = item_send(handle, topic, item);
		if (!error)
			continue; // it is the report's now
		item->error = error;
		++refused;
	}
	if (topic)
		rd_kafka_topic_destroy(topic);
	sender_leave(adapter);
	return refused;
}

// Chooses what is to be written; returns how much.
static uint32_t items_choose(struct retry_batch *batch)
{
	uint32_t count = 0;

	for (uint32_t i = 0; i < batch->count; ++i) {
		struct retry_item *item = &batch->items[i];

		item->batch = batch;
		item->skip = !item->value && batch->store->presence == RETRY_ABSENT;
		count += !item->skip;
	}
	return count;
}

static void batch_send(struct retry_batch *batch)
{
	struct retry_store *store = batch->store;
	struct adapter *adapter = store->stores->adapter;
	uint32_t count = items_choose(batch), refused;

	if (count && !health_admit(adapter, count)) {
		store_left(store);
		batch_end(batch, CODE_BACKEND_DOWN, "the cluster does not answer");
		return;
	}
	batch->event.fn = batch_reported;
	batch->left = count + 1; // one is ours, so that no report is the last before all are sent
	refused = items_send(adapter, batch);
	if (refused) {
		health_ended(adapter, refused, false, 0);
		sender_check(adapter);
	}
	if (__atomic_sub_fetch(&batch->left, refused + 1, __ATOMIC_ACQ_REL) == 0)
		retry_thread_post(batch->stores, &batch->event);
}

// ---- making the topic

static void topic_made(struct loop_task *event)
{
	struct retry_batch *batch = CONTAINER_OF(event, struct retry_batch, event);

	if (batch->code == CODE_OK) {
		batch->store->presence = RETRY_THERE;
		// One that was lost may have come back: what is in it is read anew.
		if (batch->store->lost)
			batch->store->loaded = batch->store->lost = false;
		batch_send(batch);
		return;
	}
	store_left(batch->store);
	batch_end(batch, batch->code, batch->text);
}

static void make_run(struct adapter *adapter, struct kafka_task *task)
{
	struct retry_batch *batch = CONTAINER_OF(task, struct retry_batch, task);

	batch->code = retry_topic_make(adapter, batch->store->name, batch->topic, batch->text,
				       sizeof batch->text);
	batch->event.fn = topic_made;
	retry_thread_post(batch->stores, &batch->event);
}

static bool has_values(const struct retry_batch *batch)
{
	for (uint32_t i = 0; i < batch->count; ++i)
		if (batch->items[i].value)
			return true;
	return false;
}

static void batch_arrived(struct loop_task *event)
{
	struct retry_batch *batch = CONTAINER_OF(event, struct retry_batch, event);
	struct retry_stores *stores = batch->stores;
	struct retry_store *store = retry_store_get(stores, batch->group, batch->topic);

	if (!store) {
		batch_end(batch, CODE_OVERLOADED, NULL);
		return;
	}
	batch->store = store;
	++store->writing_count;
	retry_thread_under_way(stores, 1);
	if (store->presence == RETRY_THERE ||
	    (store->presence == RETRY_ABSENT && !has_values(batch))) {
		batch_send(batch);
		return;
	}
	batch->task.run = make_run;
	kafka_task_post_blocking(stores->adapter, &batch->task);
}

void retry_write(struct adapter *adapter, struct retry_batch *batch)
{
	batch->group = model_ref(batch->group);
	batch->topic = model_ref(batch->topic);
	batch->code = CODE_OK;
	batch->text[0] = '\0';
	batch->event.fn = batch_arrived;
	batch->stores = adapter->retries;
	if (!retry_thread_post(batch->stores, &batch->event))
		batch_end(batch, CODE_SHUTTING_DOWN, NULL);
}
