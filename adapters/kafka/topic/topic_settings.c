// Writes the settings of a topic on the cluster: how long it keeps messages, which time that is
// counted from, and how large they may be.
//
// librdkafka 2.0 knows only the request that replaces all settings of a topic: what is set for it
// is read first and written back, ours in its place. So what another client sets between the two is
// lost; nothing is written when ours are as they should be.
//
// Settings that do not follow from the resource are written once, where none is set: a topic made
// by another client keeps what that client has set.

#include "adapters/kafka/topic/topic_settings.h"

#include "adapters/kafka/client/admin_client.h"
#include "adapters/kafka/topic/limits.h"

#include <stdio.h>

static void setting_set_number(struct topic_setting *setting, uint64_t value)
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
void topic_settings_of(const struct topic *topic, struct topic_setting settings[TOPIC_SETTINGS])
{
	// It counts each partition by itself.
	uint64_t bytes = topic->retention_bytes / topic->partitions;

	memcpy(settings,
	       (struct topic_setting[TOPIC_SETTINGS]){
		       {.name = "retention.ms", .value = "-1"},
		       {.name = "retention.bytes", .value = "-1"},
		       {.name = "segment.ms"},
		       {.name = "segment.bytes"},
		       {.name = "max.message.bytes"},
		       {.name = "cleanup.policy", .value = "delete", .once = true},
		       {.name = "message.timestamp.type", .once = true},
	       },
	       TOPIC_SETTINGS * sizeof *settings);
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
	// Else retention would count from the time of creation that a message names.
	if (!topic->native)
		strcpy(settings[6].value, "LogAppendTime");
}

// What the topic is to have, from what is set for it; how many of our settings are another.
static size_t settings_merge(const rd_kafka_ConfigResource_t *found,
			     const struct topic_setting *settings, size_t count,
			     rd_kafka_ConfigResource_t *wish)
{
	size_t entry_count = 0, differ = 0;
	const rd_kafka_ConfigEntry_t **entries =
		rd_kafka_ConfigResource_configs(found, &entry_count);
	const char *set[TOPIC_SETTINGS] = {NULL};

	assert(count <= TOPIC_SETTINGS);
	for (size_t i = 0; i < entry_count; ++i) {
		const char *name = rd_kafka_ConfigEntry_name(entries[i]),
			   *value = rd_kafka_ConfigEntry_value(entries[i]);
		size_t at = 0;

		if (rd_kafka_ConfigEntry_source(entries[i]) !=
			    RD_KAFKA_CONFIG_SOURCE_DYNAMIC_TOPIC_CONFIG ||
		    !value)
			continue;
		while (at < count && strcmp(settings[at].name, name) != 0)
			++at;
		if (at < count)
			set[at] = value;
		else
			rd_kafka_ConfigResource_set_config(wish, name, value);
	}
	for (size_t i = 0; i < count; ++i) {
		const char *value = set[i] && settings[i].once ? set[i] : settings[i].value;

		if (*value)
			rd_kafka_ConfigResource_set_config(wish, settings[i].name, value);
		differ += strcmp(set[i] ? set[i] : "", value) != 0;
	}
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

static void text_copy(char *room, size_t size, rd_kafka_resp_err_t error, const char *text)
{
	snprintf(room, size, "%s", text && *text ? text : rd_kafka_err2str(error));
}

// *ret_differ: how many settings are to be changed.
static rd_kafka_resp_err_t settings_read(struct adapter *adapter, const char *physical,
					 const struct topic_setting *settings, size_t count,
					 rd_kafka_ConfigResource_t *wish, size_t *ret_differ,
					 char *room, size_t size)
{
	rd_kafka_ConfigResource_t *resource =
		rd_kafka_ConfigResource_new(RD_KAFKA_RESOURCE_TOPIC, physical);
	const rd_kafka_ConfigResource_t **found;
	struct admin_client client;
	const char *text = NULL;
	size_t found_count = 0;
	rd_kafka_resp_err_t error;

	admin_client_begin(adapter, RD_KAFKA_ADMIN_OP_DESCRIBECONFIGS, &client);
	rd_kafka_DescribeConfigs(client.handle, &resource, 1, client.options, client.queue);
	error = admin_client_await(&client, &text);
	if (!error) {
		found = rd_kafka_DescribeConfigs_result_resources(
			rd_kafka_event_DescribeConfigs_result(client.event), &found_count);
		error = resource_of(found, found_count, &text);
		if (!error)
			*ret_differ = settings_merge(found[0], settings, count, wish);
	}
	text_copy(room, size, error, text);
	admin_client_end(&client);
	rd_kafka_ConfigResource_destroy(resource);
	return error;
}

static rd_kafka_resp_err_t
settings_replace(struct adapter *adapter, rd_kafka_ConfigResource_t *wish, char *room, size_t size)
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
	text_copy(room, size, error, text);
	admin_client_end(&client);
	return error;
}

rd_kafka_resp_err_t topic_settings_put(struct adapter *adapter, const char *physical,
				       const struct topic_setting *settings, size_t count,
				       bool *ret_changed, char *room, size_t size)
{
	rd_kafka_ConfigResource_t *wish =
		rd_kafka_ConfigResource_new(RD_KAFKA_RESOURCE_TOPIC, physical);
	size_t differ = 0;
	rd_kafka_resp_err_t error =
		settings_read(adapter, physical, settings, count, wish, &differ, room, size);

	if (!error && differ)
		error = settings_replace(adapter, wish, room, size);
	*ret_changed = !error && differ;
	rd_kafka_ConfigResource_destroy(wish);
	return error;
}

rd_kafka_resp_err_t topic_settings_write(struct adapter *adapter, const struct topic *topic,
					 bool *ret_changed, char *room, size_t size)
{
	struct topic_setting settings[TOPIC_SETTINGS];

	topic_settings_of(topic, settings);
	return topic_settings_put(adapter, topic->physical, settings, TOPIC_SETTINGS, ret_changed,
				  room, size);
}
