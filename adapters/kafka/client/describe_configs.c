#include "adapters/kafka/client/describe_configs.h"

#include "adapters/kafka/client/admin_client.h"

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
