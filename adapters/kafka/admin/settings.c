// How long a topic keeps messages, and how large they may be, on the cluster.
//
// librdkafka 2.0 knows only the request that replaces all settings of a topic: what is set for it
// is read first and written back, ours in its place. So what another client sets between the two is
// lost; nothing is written when nothing of ours is another.

#include "adapters/kafka/admin/settings.h"

#include "adapters/kafka/admin/admin_request.h"
#include "adapters/kafka/client/admin_client.h"
#include "adapters/kafka/topic/limits.h"
#include "adapters/kafka/topic/rules.h"

#include <stdio.h>

static void setting_set_number(struct kafka_setting *setting, uint64_t value)
{
	snprintf(setting->value, sizeof setting->value, "%llu", (unsigned long long)value);
}

static uint64_t value_clamp(uint64_t value, uint64_t least, uint64_t most)
{
	return MIN(MAX(value, least), most);
}

// Of a batch, and what it adds around a message. Only the proxy writes dead letters, and a
// dead letter is as large as its topic allowed when it was sent: these take all there can be.
static uint64_t batch_bytes(const struct topic *topic)
{
	uint64_t bytes = topic->dead_letter_of ? KAFKA_RECORD_MAX : topic->message_bytes;

	return MAX(bytes, (uint64_t)KAFKA_BATCH_BYTES) + 4096;
}

// Kafka forgets whole segments, so a topic keeps up to one of them more than it is told: a quarter
// of that, as far as segments can be so small.
void kafka_settings_of(const struct topic *topic, struct kafka_setting settings[KAFKA_SETTINGS])
{
	// It counts each partition by itself.
	uint64_t bytes = topic->retention_bytes / topic->partitions;

	memcpy(settings,
	       (struct kafka_setting[KAFKA_SETTINGS]){{"retention.ms", "-1"},
						      {"retention.bytes", "-1"},
						      {"segment.ms", ""},
						      {"segment.bytes", ""},
						      {"max.message.bytes", ""}},
	       KAFKA_SETTINGS * sizeof *settings);
	if (topic->retention_ms) {
		setting_set_number(&settings[0], topic->retention_ms);
		setting_set_number(&settings[2], value_clamp(topic->retention_ms / 4, 10 * 60000,
							     7 * 86400000ull));
	}
	if (topic->retention_bytes) {
		setting_set_number(&settings[1], MAX(bytes, 1));
		setting_set_number(&settings[3], value_clamp(bytes / 4, 1 << 20, 1 << 30));
	}
	if (topic->message_bytes)
		setting_set_number(&settings[4], batch_bytes(topic));
}

// What the topic is to have, from what is set for it; how many of our settings are another.
static size_t settings_merge(const rd_kafka_ConfigResource_t *found,
			     const struct kafka_setting *settings, rd_kafka_ConfigResource_t *wish)
{
	size_t count = 0, differ = 0;
	const rd_kafka_ConfigEntry_t **entries = rd_kafka_ConfigResource_configs(found, &count);
	bool same[KAFKA_SETTINGS] = {false};

	for (size_t i = 0; i < KAFKA_SETTINGS; ++i) {
		same[i] = !*settings[i].value;
		if (!same[i])
			rd_kafka_ConfigResource_set_config(wish, settings[i].name,
							   settings[i].value);
	}
	for (size_t i = 0; i < count; ++i) {
		const char *name = rd_kafka_ConfigEntry_name(entries[i]),
			   *value = rd_kafka_ConfigEntry_value(entries[i]);
		size_t at = 0;

		if (rd_kafka_ConfigEntry_source(entries[i]) !=
			    RD_KAFKA_CONFIG_SOURCE_DYNAMIC_TOPIC_CONFIG ||
		    !value)
			continue;
		while (at < KAFKA_SETTINGS && strcmp(settings[at].name, name) != 0)
			++at;
		if (at < KAFKA_SETTINGS)
			same[at] = strcmp(settings[at].value, value) == 0;
		else
			rd_kafka_ConfigResource_set_config(wish, name, value);
	}
	for (size_t i = 0; i < KAFKA_SETTINGS; ++i)
		differ += !same[i];
	return differ;
}

// The error of the only resource that was asked about.
static rd_kafka_resp_err_t resource_of(const rd_kafka_ConfigResource_t **resources, size_t count,
				       const char **ret_text)
{
	rd_kafka_resp_err_t error;

	if (!count)
		return RD_KAFKA_RESP_ERR_UNKNOWN;
	error = rd_kafka_ConfigResource_error(resources[0]);
	if (error)
		*ret_text = rd_kafka_ConfigResource_error_string(resources[0]);
	return error;
}

// `differ` of OK: how many settings are to be changed.
static void settings_read(struct adapter *adapter, struct admin_request *request,
			  rd_kafka_ConfigResource_t *wish, size_t *ret_differ)
{
	rd_kafka_ConfigResource_t *task =
		rd_kafka_ConfigResource_new(RD_KAFKA_RESOURCE_TOPIC, request->topic->physical);
	const rd_kafka_ConfigResource_t **found;
	struct kafka_setting settings[KAFKA_SETTINGS];
	struct admin_client client;
	const char *text = NULL;
	size_t count = 0;
	rd_kafka_resp_err_t error;

	kafka_settings_of(request->topic, settings);
	admin_client_begin(adapter, RD_KAFKA_ADMIN_OP_DESCRIBECONFIGS, &client);
	rd_kafka_DescribeConfigs(client.handle, &task, 1, client.options, client.queue);
	error = admin_client_await(&client, &text);
	if (!error) {
		found = rd_kafka_DescribeConfigs_result_resources(
			rd_kafka_event_DescribeConfigs_result(client.event), &count);
		error = resource_of(found, count, &text);
		if (!error)
			*ret_differ = settings_merge(found[0], settings, wish);
	}
	admin_request_failed(request, adapter, error, text);
	admin_client_end(&client);
	rd_kafka_ConfigResource_destroy(task);
}

static void settings_replace(struct adapter *adapter, struct admin_request *request,
			     rd_kafka_ConfigResource_t *wish)
{
	struct admin_client client;
	const char *text = NULL;
	size_t count = 0;
	rd_kafka_resp_err_t error;

	admin_client_begin(adapter, RD_KAFKA_ADMIN_OP_ALTERCONFIGS, &client);
	rd_kafka_AlterConfigs(client.handle, &wish, 1, client.options, client.queue);
	error = admin_client_await(&client, &text);
	if (!error) {
		const rd_kafka_ConfigResource_t **done = rd_kafka_AlterConfigs_result_resources(
			rd_kafka_event_AlterConfigs_result(client.event), &count);

		error = resource_of(done, count, &text);
	}
	admin_request_failed(request, adapter, error, text);
	admin_client_end(&client);
}

void kafka_settings_write(struct adapter *adapter, struct admin_request *request)
{
	rd_kafka_ConfigResource_t *wish =
		rd_kafka_ConfigResource_new(RD_KAFKA_RESOURCE_TOPIC, request->topic->physical);
	size_t differ = 0;

	settings_read(adapter, request, wish, &differ);
	if (request->code == CODE_OK && differ)
		settings_replace(adapter, request, wish);
	rd_kafka_ConfigResource_destroy(wish);
}

// ---- what a topic of others is set to

static void describe_run(struct adapter *adapter, struct admin_request *request)
{
	const struct topic *topic = request->topic;
	struct rules *rules = request->work;

	rules->names[0] = topic->physical;
	rules->count = 1;
	if (!admin_request_failed(request, adapter, rules_ask(adapter, rules), NULL))
		request->answer =
			rules_json(&rules->limits[0], topic->partitions, rules->min_insync[0]);
}

void kafka_settings_describe(struct adapter *adapter, const struct topic *topic,
			     adapter_json_fn done, void *ctx)
{
	struct admin_request *request =
		admin_request_new(topic, (struct caller){.json_done = done, .ctx = ctx});

	if (!request)
		return;
	request->work = calloc(1, sizeof(struct rules));
	if (request->work) {
		admin_request_start(adapter, request, describe_run);
		return;
	}
	request->code = CODE_OVERLOADED;
	admin_request_end(request);
}
