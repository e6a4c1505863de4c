// Administrative requests for callers that may block.
// The answer comes to a queue of the request's own, so any number of threads may ask at a time. A
// request that concerns a group goes to the group's coordinator; librdkafka frees such a request
// too early when it times out before the coordinator was found (admin_handle.h), so its timeout is
// an hour and this file gives up earlier by itself. Invariant: between begin and end the admin
// handle stays what it is. What it does not do: retry, or translate errors (error.c).

#include "adapters/kafka/client/admin_client.h"

// Whether an operation goes to the coordinator of a group.
static bool is_coordinated(rd_kafka_admin_op_t operation)
{
	switch (operation) {
	case RD_KAFKA_ADMIN_OP_LISTCONSUMERGROUPOFFSETS:
	case RD_KAFKA_ADMIN_OP_ALTERCONSUMERGROUPOFFSETS:
	case RD_KAFKA_ADMIN_OP_DESCRIBECONSUMERGROUPS:
	case RD_KAFKA_ADMIN_OP_DELETEGROUPS: return true;
	default: return false;
	}
}

void admin_client_begin(struct adapter *adapter, rd_kafka_admin_op_t operation,
			struct admin_client *client)
{
	struct admin_handle_entered entered = admin_handle_enter(adapter);
	bool coordinated = is_coordinated(operation);
	char text[128];

	*client = (struct admin_client){
		.entered = entered,
		.handle = entered.handle,
		.coordinated = coordinated,
		.options = rd_kafka_AdminOptions_new(entered.handle, operation),
		.queue = rd_kafka_queue_new(entered.handle)};
	rd_kafka_AdminOptions_set_request_timeout(
		client->options, coordinated ? ADMIN_HANDLE_TIMEOUT_MS : ADMIN_HANDLE_CALL_MS, text,
		sizeof text);
}

rd_kafka_resp_err_t admin_client_await(struct admin_client *client, const char **ret_text)
{
	client->event =
		rd_kafka_queue_poll(client->queue, client->coordinated ? ADMIN_HANDLE_CALL_MS
								       : 2 * ADMIN_HANDLE_CALL_MS);
	if (!client->event) {
		if (client->coordinated)
			admin_handle_given_up(client->entered.adapter);
		*ret_text = "no answer in time";
		return RD_KAFKA_RESP_ERR__TIMED_OUT;
	}
	*ret_text = rd_kafka_event_error_string(client->event);
	return rd_kafka_event_error(client->event);
}

// What the answer says of the topics; NULL: it is of another kind.
static const rd_kafka_topic_result_t **topics_of(rd_kafka_event_t *event, size_t *ret_count)
{
	switch (rd_kafka_event_type(event)) {
	case RD_KAFKA_EVENT_CREATETOPICS_RESULT:
		return rd_kafka_CreateTopics_result_topics(
			rd_kafka_event_CreateTopics_result(event), ret_count);
	case RD_KAFKA_EVENT_CREATEPARTITIONS_RESULT:
		return rd_kafka_CreatePartitions_result_topics(
			rd_kafka_event_CreatePartitions_result(event), ret_count);
	case RD_KAFKA_EVENT_DELETETOPICS_RESULT:
		return rd_kafka_DeleteTopics_result_topics(
			rd_kafka_event_DeleteTopics_result(event), ret_count);
	default: return NULL;
	}
}

rd_kafka_resp_err_t admin_client_await_topic(struct admin_client *client, const char **ret_text)
{
	rd_kafka_resp_err_t error = admin_client_await(client, ret_text);
	const rd_kafka_topic_result_t **topics;
	size_t count = 0;

	if (error)
		return error;
	topics = topics_of(client->event, &count);
	if (!topics || !count)
		return RD_KAFKA_RESP_ERR_UNKNOWN;
	*ret_text = rd_kafka_topic_result_error_string(topics[0]);
	return rd_kafka_topic_result_error(topics[0]);
}

void admin_client_end(struct admin_client *client)
{
	if (client->event)
		rd_kafka_event_destroy(client->event);
	rd_kafka_queue_destroy(client->queue);
	rd_kafka_AdminOptions_destroy(client->options);
	admin_handle_leave(&client->entered);
}

// ---- settings

static rd_kafka_resp_err_t resource_read(const rd_kafka_ConfigResource_t *resource,
					 admin_client_config_fn found, void *ctx)
{
	size_t count = 0;
	const rd_kafka_ConfigEntry_t **entries = rd_kafka_ConfigResource_configs(resource, &count);

	for (size_t i = 0; found && i < count; ++i)
		if (rd_kafka_ConfigEntry_value(entries[i]))
			found(ctx, rd_kafka_ConfigResource_name(resource),
			      rd_kafka_ConfigEntry_name(entries[i]),
			      rd_kafka_ConfigEntry_value(entries[i]));
	return rd_kafka_ConfigResource_error(resource);
}

rd_kafka_resp_err_t admin_client_describe_configs(struct adapter *adapter, int32_t broker,
						  rd_kafka_ResourceType_t type,
						  const char *const *names, size_t count,
						  admin_client_config_fn found, void *ctx)
{
	rd_kafka_ConfigResource_t **wishes = calloc(count, sizeof(rd_kafka_ConfigResource_t *));
	const rd_kafka_ConfigResource_t **resources = NULL;
	struct admin_client client;
	char why[128];
	const char *text;
	rd_kafka_resp_err_t error;

	if (!wishes)
		return RD_KAFKA_RESP_ERR__FAIL;
	for (size_t i = 0; i < count; ++i)
		wishes[i] = rd_kafka_ConfigResource_new(type, names[i]);
	admin_client_begin(adapter, RD_KAFKA_ADMIN_OP_DESCRIBECONFIGS, &client);
	if (broker >= 0)
		rd_kafka_AdminOptions_set_broker(client.options, broker, why, sizeof why);
	rd_kafka_DescribeConfigs(client.handle, wishes, count, client.options, client.queue);
	rd_kafka_ConfigResource_destroy_array(wishes, count);
	free(wishes);
	error = admin_client_await(&client, &text);
	if (!error)
		resources = rd_kafka_DescribeConfigs_result_resources(
			rd_kafka_event_DescribeConfigs_result(client.event), &count);
	for (size_t i = 0; resources && i < count; ++i) {
		rd_kafka_resp_err_t one = resource_read(resources[i], found, ctx);

		error = error ? error : one;
	}
	admin_client_end(&client);
	return error;
}
