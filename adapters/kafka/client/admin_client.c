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

void kafka_wait_begin(struct adapter *adapter, rd_kafka_admin_op_t operation,
		      struct kafka_wait *wait)
{
	struct kafka_handle entered = kafka_handle_enter(adapter);
	bool coordinated = is_coordinated(operation);
	char text[128];

	*wait = (struct kafka_wait){.entered = entered,
				    .handle = entered.handle,
				    .coordinated = coordinated,
				    .options = rd_kafka_AdminOptions_new(entered.handle, operation),
				    .queue = rd_kafka_queue_new(entered.handle)};
	rd_kafka_AdminOptions_set_request_timeout(
		wait->options, coordinated ? COORDINATOR_TIMEOUT_MS : KAFKA_ASK_MS, text,
		sizeof text);
}

rd_kafka_resp_err_t kafka_wait_end(struct kafka_wait *wait, const char **ret_text)
{
	wait->event = rd_kafka_queue_poll(wait->queue,
					  wait->coordinated ? KAFKA_ASK_MS : 2 * KAFKA_ASK_MS);
	if (!wait->event) {
		if (wait->coordinated)
			coordinator_given_up(wait->entered.adapter);
		*ret_text = "no answer in time";
		return RD_KAFKA_RESP_ERR__TIMED_OUT;
	}
	*ret_text = rd_kafka_event_error_string(wait->event);
	return rd_kafka_event_error(wait->event);
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

rd_kafka_resp_err_t kafka_wait_topic_end(struct kafka_wait *wait, const char **ret_text)
{
	rd_kafka_resp_err_t error = kafka_wait_end(wait, ret_text);
	const rd_kafka_topic_result_t **topics;
	size_t count = 0;

	if (error)
		return error;
	topics = topics_of(wait->event, &count);
	if (!topics || !count)
		return RD_KAFKA_RESP_ERR_UNKNOWN;
	*ret_text = rd_kafka_topic_result_error_string(topics[0]);
	return rd_kafka_topic_result_error(topics[0]);
}

void kafka_wait_deinit(struct kafka_wait *wait)
{
	if (wait->event)
		rd_kafka_event_destroy(wait->event);
	rd_kafka_queue_destroy(wait->queue);
	rd_kafka_AdminOptions_destroy(wait->options);
	kafka_handle_leave(&wait->entered);
}

// ---- settings

static rd_kafka_resp_err_t resource_read(const rd_kafka_ConfigResource_t *resource,
					 kafka_config_fn found, void *ctx)
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

rd_kafka_resp_err_t kafka_configs_ask(struct adapter *adapter, int32_t broker,
				      rd_kafka_ResourceType_t type, const char *const *names,
				      size_t count, kafka_config_fn found, void *ctx)
{
	rd_kafka_ConfigResource_t **wishes = calloc(count, sizeof(rd_kafka_ConfigResource_t *));
	const rd_kafka_ConfigResource_t **resources = NULL;
	struct kafka_wait wait;
	char why[128];
	const char *text;
	rd_kafka_resp_err_t error;

	if (!wishes)
		return RD_KAFKA_RESP_ERR__FAIL;
	for (size_t i = 0; i < count; ++i)
		wishes[i] = rd_kafka_ConfigResource_new(type, names[i]);
	kafka_wait_begin(adapter, RD_KAFKA_ADMIN_OP_DESCRIBECONFIGS, &wait);
	if (broker >= 0)
		rd_kafka_AdminOptions_set_broker(wait.options, broker, why, sizeof why);
	rd_kafka_DescribeConfigs(wait.handle, wishes, count, wait.options, wait.queue);
	rd_kafka_ConfigResource_destroy_array(wishes, count);
	free(wishes);
	error = kafka_wait_end(&wait, &text);
	if (!error)
		resources = rd_kafka_DescribeConfigs_result_resources(
			rd_kafka_event_DescribeConfigs_result(wait.event), &count);
	for (size_t i = 0; resources && i < count; ++i) {
		rd_kafka_resp_err_t one = resource_read(resources[i], found, ctx);

		error = error ? error : one;
	}
	kafka_wait_deinit(&wait);
	return error;
}
