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

// Kafka says "no limit" by the largest number that it has.
static uint64_t limit_of(uint64_t value)
{
	return value >= INT64_MAX ? ANSWER_NONE : value;
}

// Kafka counts the bytes of each partition by itself.
static uint64_t bytes_times(uint64_t bytes, uint32_t partitions)
{
	return bytes >= INT64_MAX / (partitions ? partitions : 1) ? UINT64_MAX : bytes * partitions;
}

struct answer_settings observed_settings_answer(const struct observed_settings *settings,
						size_t index, uint32_t partitions)
{
	const struct kafka_limits *limits = &settings->limits[index];

	return (struct answer_settings){
		.message_bytes = limit_of(kafka_limits_batch_bytes(limits)),
		.retention_ms = limit_of(limits->retention_ms),
		.retention_bytes = limit_of(bytes_times(limits->retention_bytes, partitions)),
		.compacted = limits->key_needed,
		.oldest_ms = limits->broker_time ? ANSWER_NONE : limit_of(limits->before_ms),
		.min_insync = settings->min_insync[index]};
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

static void add_some(struct adapter *adapter, struct existing_topic *topics,
		     struct answer_settings *room, struct observed_settings *settings)
{
	for (size_t i = 0; i < settings->count; ++i)
		settings->names[i] = topics[i].name;
	observed_settings_read(adapter, settings);
	for (size_t i = 0; i < settings->count; ++i) {
		if (!settings->min_insync[i])
			continue; // the user may not read them
		room[i] = observed_settings_answer(settings, i, topics[i].partitions);
		topics[i].settings = &room[i];
	}
}

void observed_settings_add(struct adapter *adapter, struct existing_topic *topics, size_t count,
			   struct answer_settings *room, uint64_t deadline_ns)
{
	struct observed_settings *settings = calloc(1, sizeof *settings);

	for (size_t from = 0; settings && from < count && clock_now_ns() < deadline_ns;
	     from += settings->count) {
		settings->count = MIN(count - from, (size_t)OBSERVED_SETTINGS_AT_ONCE);
		add_some(adapter, topics + from, room + from, settings);
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
