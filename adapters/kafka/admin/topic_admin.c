// Makes, changes and deletes topics.
//
// Each is an administrative request, written in the order of what happens. A topic is made, or
// gone, when the cluster's metadata says so: after OK the caller can use it, or make another of the
// same name. An imported topic is looked up instead of made, and released instead of deleted;
// nothing of it is changed but its mark and, when asked, a larger number of partitions.
//
// What it does not do: undo. A step that fails is reported, and the request may be made again.

#include "adapters/kafka/admin/topic_admin.h"

#include "adapters/kafka/admin/admin_request.h"
#include "adapters/kafka/client/admin_client.h"
#include "adapters/kafka/client/admin_handle.h"
#include "adapters/kafka/client/cluster_info.h"
#include "adapters/kafka/client/error.h"
#include "adapters/kafka/client/task.h"
#include "adapters/kafka/produce/sender.h"
#include "adapters/kafka/topic/metadata_wait.h"
#include "adapters/kafka/topic/observed_settings.h"
#include "adapters/kafka/topic/stored.h"
#include "adapters/kafka/topic/topic.h"
#include "adapters/kafka/topic/topic_generation.h"
#include "adapters/kafka/topic/topic_mark.h"
#include "adapters/kafka/topic/topic_settings.h"
#include "core/base/clock.h"

#include <stdio.h>

#define NODES_MS       5000 // for a broker that is missing to be heard of
#define NODES_PAUSE_MS 100

// ---- making

static void config_number(rd_kafka_NewTopic_t *wish, const char *name, uint64_t value)
{
	char text[24];

	snprintf(text, sizeof text, "%llu", (unsigned long long)value);
	rd_kafka_NewTopic_set_config(wish, name, text);
}

static void config_fill(struct adapter *adapter, const struct topic *topic,
			rd_kafka_NewTopic_t *wish)
{
	struct cluster_info info = cluster_info_get(adapter);
	uint32_t min_insync = kafka_options_min_insync(&adapter->options, topic);
	struct topic_setting settings[TOPIC_SETTINGS];

	// The broker's default may change; what was promised must not.
	if (!min_insync && topic->durability >= DURABILITY_D2)
		min_insync = info.min_insync;
	if (min_insync)
		config_number(wish, "min.insync.replicas", min_insync);
	topic_settings_of(topic, settings);
	for (size_t i = 0; i < TOPIC_SETTINGS; ++i)
		if (*settings[i].value)
			rd_kafka_NewTopic_set_config(wish, settings[i].name, settings[i].value);
}

// The request's code; TOPIC_ALREADY_EXISTS is the caller's.
static rd_kafka_resp_err_t topic_make(struct adapter *adapter, struct admin_request *request)
{
	const struct topic *topic = request->base.topic;
	char why[160] = "";
	const char *text = why;
	struct admin_client client;
	rd_kafka_resp_err_t error;
	uint32_t replication = kafka_options_replication(&adapter->options, topic);
	rd_kafka_NewTopic_t *wish =
		rd_kafka_NewTopic_new(topic->physical, (int)topic->partitions,
				      replication ? (int)replication : -1, why, sizeof why);

	if (!wish) {
		admin_request_failed(request, adapter, RD_KAFKA_RESP_ERR__INVALID_ARG, why);
		return RD_KAFKA_RESP_ERR__INVALID_ARG;
	}
	config_fill(adapter, topic, wish);
	admin_client_begin(adapter, RD_KAFKA_ADMIN_OP_CREATETOPICS, &client);
	rd_kafka_CreateTopics(client.handle, &wish, 1, client.options, client.queue);
	error = admin_client_await_topic(&client, &text);
	if (error != RD_KAFKA_RESP_ERR_TOPIC_ALREADY_EXISTS)
		admin_request_failed(request, adapter, error, text);
	admin_client_end(&client);
	rd_kafka_NewTopic_destroy(wish);
	return error;
}

// Brokers that join, or were silent for a while, are fenced until they are heard again: meanwhile a
// cluster has too few for any number of copies.
static rd_kafka_resp_err_t topic_make_when_unfenced(struct adapter *adapter,
						    struct admin_request *request)
{
	uint64_t until_ns = clock_now_ns() + NODES_MS * MS_NS;
	rd_kafka_resp_err_t error;

	while ((error = topic_make(adapter, request)) ==
		       RD_KAFKA_RESP_ERR_INVALID_REPLICATION_FACTOR &&
	       clock_now_ns() < until_ns && !kafka_task_is_leaving(adapter)) {
		request->code = CODE_OK;
		*request->text = '\0';
		usleep(NODES_PAUSE_MS * 1000);
	}
	return error;
}

static void partitions_add(struct adapter *adapter, struct admin_request *request)
{
	char why[160] = "";
	const char *text = why;
	struct admin_client client;
	rd_kafka_resp_err_t error;
	rd_kafka_NewPartitions_t *wish = rd_kafka_NewPartitions_new(
		request->base.topic->physical, request->base.topic->partitions, why, sizeof why);

	if (!wish) {
		admin_request_failed(request, adapter, RD_KAFKA_RESP_ERR__INVALID_ARG, why);
		return;
	}
	admin_client_begin(adapter, RD_KAFKA_ADMIN_OP_CREATEPARTITIONS, &client);
	rd_kafka_CreatePartitions(client.handle, &wish, 1, client.options, client.queue);
	error = admin_client_await_topic(&client, &text);
	admin_request_failed(request, adapter, error, text);
	admin_client_end(&client);
	rd_kafka_NewPartitions_destroy(wish);
}

// How many partitions it has. One that is expected is waited for: metadata may be late.
static rd_kafka_resp_err_t count_ask(struct adapter *adapter, const char *physical, bool expected,
				     uint32_t *ret)
{
	uint64_t until_ns = clock_now_ns() + METADATA_WAIT_MISSING_MS * MS_NS;
	rd_kafka_resp_err_t error;
	uint32_t led;

	while (!(error = metadata_wait_ask(adapter, physical, ret, &led)) && !*ret && expected &&
	       clock_now_ns() < until_ns)
		usleep(100 * 1000);
	return error;
}

// Is it the topic that is meant? `expected`: the cluster has not just said that it exists.
static void topic_compare(struct adapter *adapter, struct admin_request *request, bool expected)
{
	const struct topic *topic = request->base.topic;
	struct topic_mark mark = {.physical = topic->physical};
	uint32_t count;

	if (admin_request_failed(request, adapter, topic_mark_read(adapter, &mark, 1), NULL) ||
	    admin_request_failed(request, adapter,
				 count_ask(adapter, topic->physical, expected, &count), NULL))
		return;
	if (mark.incarnation && mark.incarnation != topic->incarnation)
		admin_request_refuse(request, CODE_CONFLICT, "it exists as another incarnation");
	else if (!count && expected)
		admin_request_refuse(request, CODE_CONFLICT,
				     "it is not on the cluster: put it there, or delete it here "
				     "and make it again");
	else if (count > topic->partitions && !topic->imported)
		admin_request_refuse(request, CODE_CONFLICT, "it exists with more partitions");
	else if (count && count < topic->partitions)
		partitions_add(adapter, request);
}

// A broker that joins or comes back is in the metadata of the others a little later, and what is
// known of the cluster may be some seconds old: one that is missing is asked for anew for a while.
static void nodes_await(struct adapter *adapter, const struct kafka_options *own,
			struct cluster_info *info)
{
	uint64_t until_ns = clock_now_ns() + NODES_MS * MS_NS;

	while ((own->replication ? own->replication : info->replication) > info->nodes &&
	       clock_now_ns() < until_ns && !kafka_task_is_leaving(adapter)) {
		usleep(NODES_PAUSE_MS * 1000);
		cluster_info_refresh(adapter, ADMIN_HANDLE_CALL_MS);
		*info = cluster_info_get(adapter);
	}
}

// Numbers of copies that do not fit together, or need more brokers than there are. What is the
// brokers' default may be unknown (0).
static bool copies_refused(struct adapter *adapter, struct admin_request *request,
			   const struct cluster_info *info, const struct kafka_options *own)
{
	uint32_t replication = own->replication ? own->replication : info->replication,
		 min_insync = own->min_insync ? own->min_insync : info->min_insync;
	const char *cluster = adapter->log && adapter->log->cluster ? adapter->log->cluster : "";

	if (replication > info->nodes)
		snprintf(request->text, sizeof request->text,
			 "cluster %s: %u copies need as many brokers, and there are %u", cluster,
			 replication, info->nodes);
	else if (replication && min_insync > replication)
		snprintf(request->text, sizeof request->text,
			 "cluster %s: no message would be acknowledged: %u copies must have it, "
			 "and there are %u",
			 cluster, min_insync, replication);
	else
		return false;
	request->code = CODE_UNSUPPORTED_BY_BACKEND;
	return true;
}

// What the cluster cannot promise is refused now, not found out when a broker is lost.
static bool class_refused(struct adapter *adapter, struct admin_request *request)
{
	const struct topic *topic = request->base.topic;
	struct cluster_info info = cluster_info_get(adapter);
	struct kafka_options own = adapter->options;
	char reason[CLUSTER_INFO_REASON];
	uint32_t count, led;

	own.replication = kafka_options_replication(&adapter->options, topic);
	own.min_insync = kafka_options_min_insync(&adapter->options, topic);
	if (topic->imported ||
	    (topic->durability < DURABILITY_D2 && !topic->replication && !topic->min_insync))
		return false;
	if (!metadata_wait_ask(adapter, topic->physical, &count, &led) && count)
		return false; // what is there stays, also while brokers are away
	if (!info.known &&
	    admin_request_failed(request, adapter,
				 cluster_info_refresh(adapter, ADMIN_HANDLE_CALL_MS), NULL))
		return true;
	info = cluster_info_get(adapter);
	nodes_await(adapter, &own, &info);
	if (copies_refused(adapter, request, &info, &own))
		return true;
	if (cluster_info_durability(&info, &own, reason) >=
	    (enum durability)request->base.topic->durability)
		return false;
	admin_request_refuse(request, CODE_UNSUPPORTED_BY_BACKEND, reason);
	return true;
}

// `changed`: it was marked when it was made, so if it is not, it is another generation. The
// coordinator may hear of the topic later than the broker that was asked for its metadata.
static void topic_write_mark(struct adapter *adapter, struct admin_request *request, bool changed)
{
	struct topic_mark mark = {.physical = request->base.topic->physical};
	uint64_t until_ns = clock_now_ns() + METADATA_WAIT_MS * MS_NS;
	rd_kafka_resp_err_t error;

	do {
		error = topic_mark_read(adapter, &mark, 1);
		topic_generation_epoch_seen(adapter, mark.generation);
		if (mark.incarnation != request->base.topic->incarnation) {
			mark.generation = changed ? topic_generation_epoch_new(adapter) : 0;
			mark.holes = false;
		}
		mark.incarnation = request->base.topic->incarnation;
		if (!error)
			error = topic_mark_write(adapter, &mark, 1);
		if (error)
			usleep(50 * 1000);
	} while ((error == RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART ||
		  kafka_error_is_transient(error)) &&
		 clock_now_ns() < until_ns);
	if (error)
		admin_request_failed(request, adapter, error,
				     "it is made, but the cluster refuses commits of the consumer "
				     "group " TOPIC_MARK_GROUP);
}

// Its open handle goes on with all its partitions, and what it takes now.
static void open_grow(struct adapter *adapter, const struct topic *topic)
{
	struct adapter_topic *open = kafka_topic_find(adapter, topic->object.id);
	uint64_t until_ns = clock_now_ns() + METADATA_WAIT_MS * MS_NS;

	if (!open)
		return;
	kafka_topic_grow(open, topic->partitions);
	while (!sender_topic_grown(open, topic->partitions) && clock_now_ns() < until_ns)
		usleep(5000);
	observed_settings_refresh(open);
	kafka_topic_close(open);
}

// What is there takes the shape of the model.
static void topic_take(struct adapter *adapter, struct admin_request *request, bool expected)
{
	char text[256];
	bool changed;

	topic_compare(adapter, request, expected);
	if (request->code == CODE_OK && !request->base.topic->imported)
		admin_request_failed(request, adapter,
				     topic_settings_write(adapter, request->base.topic, &changed,
							  text, sizeof text),
				     text);
}

// Waits until the cluster serves all of it.
static void topic_await(struct adapter *adapter, struct admin_request *request, bool changed)
{
	if (request->code == CODE_OK)
		admin_request_failed(request, adapter,
				     metadata_wait_partitions(adapter,
							      request->base.topic->physical,
							      request->base.topic->partitions),
				     "it is made, but not every partition has a leader");
	if (request->code == CODE_OK)
		metadata_wait_brokers(adapter, request->base.topic->physical, true);
	if (request->code == CODE_OK)
		topic_write_mark(adapter, request, changed);
	if (request->code == CODE_OK)
		open_grow(adapter, request->base.topic);
}

static void create_run(struct adapter *adapter, struct admin_request *request)
{
	if (class_refused(adapter, request))
		return;
	if (request->base.topic->imported)
		topic_take(adapter, request, true);
	else if (topic_make_when_unfenced(adapter, request) ==
		 RD_KAFKA_RESP_ERR_TOPIC_ALREADY_EXISTS)
		topic_take(adapter, request, false);
	topic_await(adapter, request, false);
	if (request->code == CODE_OK)
		topic_generation_begin(adapter, request->base.topic);
}

static void change_run(struct adapter *adapter, struct admin_request *request)
{
	topic_take(adapter, request, true);
	topic_await(adapter, request, true);
}

static void topic_wish(struct adapter *adapter, const struct topic *topic,
		       void (*run)(struct adapter *adapter, struct admin_request *request),
		       adapter_done_fn done, void *ctx)
{
	struct admin_request *request;

	if (!topic->partitions) {
		done(ctx, CODE_BAD_REQUEST, "a topic has at least one partition");
		return;
	}
	request = admin_request_new(&(struct request){.topic = topic, .done = done, .ctx = ctx}, 0);
	if (request)
		admin_request_start(adapter, request, run);
}

void topic_admin_create(struct adapter *adapter, const struct topic *topic, adapter_done_fn done,
			void *ctx)
{
	topic_wish(adapter, topic, create_run, done, ctx);
}

void topic_admin_change(struct adapter *adapter, const struct topic *topic, adapter_done_fn done,
			void *ctx)
{
	topic_wish(adapter, topic, change_run, done, ctx);
}

// ---- deleting

static rd_kafka_resp_err_t topic_remove(struct adapter *adapter, struct admin_request *request)
{
	const char *text = NULL;
	struct admin_client client;
	rd_kafka_resp_err_t error;
	rd_kafka_DeleteTopic_t *wish = rd_kafka_DeleteTopic_new(request->base.topic->physical);

	admin_client_begin(adapter, RD_KAFKA_ADMIN_OP_DELETETOPICS, &client);
	rd_kafka_DeleteTopics(client.handle, &wish, 1, client.options, client.queue);
	error = admin_client_await_topic(&client, &text);
	if (error == RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART)
		error = RD_KAFKA_RESP_ERR_NO_ERROR; // deleting what is gone is done
	admin_request_failed(request, adapter, error, text);
	admin_client_end(&client);
	rd_kafka_DeleteTopic_destroy(wish);
	return error;
}

// Its mark goes, so that it can be imported again.
static rd_kafka_resp_err_t topic_let_go(struct adapter *adapter, struct admin_request *request)
{
	struct topic_mark none = {.physical = request->base.topic->physical};
	rd_kafka_resp_err_t error = topic_mark_write(adapter, &none, 1);

	if (error == RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART)
		error = RD_KAFKA_RESP_ERR_NO_ERROR; // another client has deleted it
	admin_request_failed(request, adapter, error, NULL);
	return error;
}

static void delete_run(struct adapter *adapter, struct admin_request *request)
{
	const struct topic *topic = request->base.topic;
	struct topic_mark mark = {.physical = topic->physical};
	struct adapter_topic *open;
	bool another;

	// Without its mark this cannot be told, and the name is the only thing there is to go by.
	another = !topic_mark_read(adapter, &mark, 1) && mark.incarnation &&
		  mark.incarnation != topic->incarnation;
	if (!another &&
	    (topic->imported ? topic_let_go(adapter, request) : topic_remove(adapter, request)))
		return;
	topic_generation_end(adapter, topic);
	kafka_stored_deleted(adapter, topic->object.id);
	open = kafka_topic_find(adapter, topic->object.id);
	if (open) {
		if (open->model->incarnation == topic->incarnation)
			kafka_topic_gone(open);
		kafka_topic_close(open);
	}
	if (another || topic->imported)
		return;
	admin_request_failed(request, adapter,
			     metadata_wait_partitions(adapter, topic->physical, 0),
			     "it is deleted, but the cluster still names it");
	metadata_wait_brokers(adapter, topic->physical, false);
}

void topic_admin_delete(struct adapter *adapter, const struct topic *topic, adapter_done_fn done,
			void *ctx)
{
	struct admin_request *request =
		admin_request_new(&(struct request){.topic = topic, .done = done, .ctx = ctx}, 0);

	if (request)
		admin_request_start(adapter, request, delete_run);
}
