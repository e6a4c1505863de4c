// Reads the settings of topics: once when they are listed for import, and periodically for imported
// ones, because their owners may change them.
//
// At most OBSERVED_SETTINGS_AT_ONCE topics a request. Settings that the user may not see stay as
// they were known before.
//
// What it does not do: change settings (topic_settings.c), or check records (limits.c).

#include "adapters/kafka/topic/observed_settings.h"

#include "adapters/kafka/client/admin_client.h"
#include "adapters/kafka/topic/topic.h"
#include "core/base/clock.h"

static json_t *number_json(uint64_t value)
{
	return value >= INT64_MAX ? json_null() : json_integer((json_int_t)value);
}

// Kafka counts the bytes of each partition by itself.
static uint64_t bytes_times(uint64_t bytes, uint32_t partitions)
{
	return bytes >= INT64_MAX / (partitions ? partitions : 1) ? UINT64_MAX : bytes * partitions;
}

json_t *observed_settings_json(const struct kafka_limits *limits, uint32_t partitions,
			       uint32_t min_insync)
{
	return json_pack("{s:o, s:o, s:o, s:b, s:o, s:I}", "message_bytes",
			 number_json(kafka_limits_batch_bytes(limits)), "retention_ms",
			 number_json(limits->retention_ms), "retention_bytes",
			 number_json(bytes_times(limits->retention_bytes, partitions)), "compacted",
			 (int)limits->key_needed, "oldest_ms",
			 limits->broker_time ? json_null() : number_json(limits->before_ms),
			 "min_insync", (json_int_t)min_insync);
}

static void note_setting(void *ctx, const char *resource, const char *name, const char *value)
{
	struct observed_settings *settings = ctx;

	for (size_t i = 0; i < settings->count; ++i) {
		if (strcmp(settings->names[i], resource) != 0)
			continue;
		kafka_limits_note(&settings->limits[i], name, value);
		if (strcmp(name, "min.insync.replicas") == 0)
			settings->min_insync[i] = (uint32_t)strtoul(value, NULL, 10);
	}
}

rd_kafka_resp_err_t observed_settings_read(struct adapter *adapter,
					   struct observed_settings *settings)
{
	for (size_t i = 0; i < settings->count; ++i) {
		kafka_limits_init(&settings->limits[i]);
		settings->min_insync[i] = 0;
	}
	return admin_client_describe_configs(adapter, -1, RD_KAFKA_RESOURCE_TOPIC, settings->names,
					     settings->count, note_setting, settings);
}

static void add_some(struct adapter *adapter, json_t *topics, size_t from,
		     struct observed_settings *settings)
{
	for (size_t i = 0; i < settings->count; ++i) {
		settings->names[i] = json_string_value(
			json_object_get(json_array_get(topics, from + i), "name"));
	}
	observed_settings_read(adapter, settings);
	for (size_t i = 0; i < settings->count; ++i) {
		json_t *row = json_array_get(topics, from + i);
		json_int_t partitions = json_integer_value(json_object_get(row, "partitions"));

		if (!settings->min_insync[i])
			continue; // the user may not read them
		json_object_set_new(row, "min_insync", json_integer(settings->min_insync[i]));
		json_object_set_new(row, "settings",
				    observed_settings_json(&settings->limits[i],
							   (uint32_t)partitions,
							   settings->min_insync[i]));
	}
}

void observed_settings_add(struct adapter *adapter, json_t *topics, uint64_t deadline_ns)
{
	struct observed_settings *settings = calloc(1, sizeof *settings);
	size_t count = json_array_size(topics);

	for (size_t from = 0; settings && from < count && clock_now_ns() < deadline_ns;
	     from += settings->count) {
		settings->count = MIN(count - from, (size_t)OBSERVED_SETTINGS_AT_ONCE);
		add_some(adapter, topics, from, settings);
	}
	free(settings);
}

// ---- one topic

void observed_settings_refresh(struct adapter_topic *topic)
{
	struct observed_settings *settings = calloc(1, sizeof *settings);

	if (!settings)
		return;
	settings->names[0] = topic->model->physical;
	settings->count = 1;
	observed_settings_read(topic->adapter, settings);
	if (settings->min_insync[0])
		kafka_limits_store(&topic->limits, &settings->limits[0]);
	free(settings);
}
