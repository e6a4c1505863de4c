// The topic of a retry store: its name, whether it exists, making and deleting it.
//
// One partition, compacted, with the copies of the group's topic. Blocks, so it runs in tasks.
//
// What it does not do: read or write it.

#include "adapters/kafka/retry/retry_topic.h"

#include "adapters/kafka/client/admin_client.h"
#include "adapters/kafka/client/admin_handle.h"
#include "adapters/kafka/client/error.h"
#include "adapters/kafka/topic/limits.h"
#include "adapters/kafka/topic/metadata_wait.h"
#include "adapters/kafka/topic/topic_settings.h"
#include "core/base/clock.h"
#include "core/base/crc32c.h"

#include <ctype.h>
#include <stdio.h>
#include <unistd.h>

#define SEGMENT_BYTES "16777216" // what is removed leaves the disk when its segment is full
#define ASK_AGAIN_MS  200
#define MESSAGE_MORE  65536u // of a row beside its record

// An imported consumer group may be named in a way that no topic can be, and what we make begins
// with mqp. anyway: the readable part of the name, and what tells it from others.
static char *imported_name(const char *physical)
{
	char readable[101], *name = NULL;
	size_t size = strnlen(physical, sizeof readable - 1);

	for (size_t i = 0; i < size; ++i)
		readable[i] = isascii((unsigned char)physical[i]) &&
					      (isalnum((unsigned char)physical[i]) ||
					       strchr(".-", physical[i]))
				      ? physical[i]
				      : '-';
	readable[size] = '\0';
	return asprintf(&name, "mqp.%s-%08x.retry", readable,
			crc32c(0, physical, strlen(physical))) < 0
		       ? NULL
		       : name;
}

char *retry_topic_name(const struct group *group)
{
	char *name = NULL;

	if (group->imported)
		return imported_name(group->physical);
	return asprintf(&name, "%s.retry", group->physical) < 0 ? NULL : name;
}

enum code retry_topic_code(rd_kafka_resp_err_t error)
{
	enum code code = kafka_error_code(error);

	return code == CODE_NOT_FOUND ? CODE_BACKEND_DOWN : code;
}

enum code retry_topic_ask(struct adapter *adapter, const char *name, enum retry_presence *ret)
{
	// Not the handle that sends: there the topic has an opaque, and only the first to name it
	// can give it one.
	_cleanup_(admin_handle_leave) struct admin_handle_entered entered =
		admin_handle_enter(adapter);
	rd_kafka_topic_t *topic = rd_kafka_topic_new(entered.handle, name, NULL);
	const struct rd_kafka_metadata *metadata;
	rd_kafka_resp_err_t error =
		topic ? rd_kafka_metadata(entered.handle, 0, topic, &metadata, ADMIN_HANDLE_CALL_MS)
		      : rd_kafka_last_error();

	if (topic)
		rd_kafka_topic_destroy(topic);
	if (error)
		return retry_topic_code(error);
	error = metadata->topic_cnt ? metadata->topics[0].err
				    : RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART;
	rd_kafka_metadata_destroy(metadata);
	*ret = error == RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART ? RETRY_ABSENT : RETRY_THERE;
	if (error == RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART ||
	    error == RD_KAFKA_RESP_ERR_LEADER_NOT_AVAILABLE)
		return CODE_OK;
	return retry_topic_code(error);
}

enum code retry_topic_ask_again(struct adapter *adapter, const char *name, enum retry_presence *ret)
{
	uint64_t until_ns = clock_now_ns() + METADATA_WAIT_MISSING_MS * MS_NS;
	enum code code = retry_topic_ask(adapter, name, ret);

	while (code == CODE_OK && *ret == RETRY_ABSENT && clock_now_ns() < until_ns) {
		usleep(ASK_AGAIN_MS * 1000);
		code = retry_topic_ask(adapter, name, ret);
	}
	return code;
}

#define SETTINGS 4

// The settings that a store needs, also in a topic that another client has made.
static void settings_fill(struct topic_setting settings[SETTINGS])
{
	memcpy(settings,
	       (struct topic_setting[SETTINGS]){
		       {.name = "cleanup.policy", .value = "compact"},
		       {.name = "min.cleanable.dirty.ratio", .value = "0.1"},
		       {.name = "segment.bytes", .value = SEGMENT_BYTES},
		       {.name = "max.message.bytes"},
	       },
	       SETTINGS * sizeof *settings);
	// Its topic may take larger ones some day.
	snprintf(settings[3].value, sizeof settings[3].value, "%u",
		 KAFKA_RECORD_MAX + MESSAGE_MORE);
}

static void config_fill(const struct adapter *adapter, const struct topic *topic,
			rd_kafka_NewTopic_t *wish)
{
	uint32_t min_insync = kafka_options_min_insync(&adapter->options, topic);
	struct topic_setting settings[SETTINGS];
	char number[24];

	settings_fill(settings);
	for (size_t i = 0; i < SETTINGS; ++i)
		rd_kafka_NewTopic_set_config(wish, settings[i].name, settings[i].value);
	if (min_insync) {
		snprintf(number, sizeof number, "%u", min_insync);
		rd_kafka_NewTopic_set_config(wish, "min.insync.replicas", number);
	}
}

enum code retry_topic_settle(struct adapter *adapter, const char *name)
{
	struct topic_setting settings[SETTINGS];
	rd_kafka_resp_err_t error;
	bool changed;
	char text[256];

	settings_fill(settings);
	error = topic_settings_put(adapter, name, settings, SETTINGS, &changed, text, sizeof text);
	if (kafka_error_is_transient(error) || error == RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART)
		return CODE_BACKEND_DOWN;
	if (error)
		log_error(adapter->log, "KAFKA-TOPIC-SETTINGS",
			  "the retry topic %s was made by another client and does not get its "
			  "settings, so that it may forget messages: %s",
			  name, text);
	return CODE_OK;
}

// The handles that send and read ask any broker, and take its word that there is no such topic.
static enum code retry_topic_await(struct adapter *adapter, const char *name, char *text,
				   size_t room)
{
	rd_kafka_resp_err_t error = metadata_wait_partitions(adapter, name, 1);

	if (error)
		snprintf(text, room, "the retry topic %s is made, but has no leader: %s", name,
			 rd_kafka_err2str(error));
	else
		metadata_wait_brokers(adapter, name, true);
	return retry_topic_code(error);
}

enum code retry_topic_make(struct adapter *adapter, const char *name, const struct topic *topic,
			   char *text, size_t room)
{
	uint32_t replication = kafka_options_replication(&adapter->options, topic);
	char why[160] = "";
	const char *what = why;
	rd_kafka_NewTopic_t *wish = rd_kafka_NewTopic_new(
		name, 1, replication ? (int)replication : -1, why, sizeof why);
	rd_kafka_resp_err_t error = RD_KAFKA_RESP_ERR__INVALID_ARG;
	struct admin_client client;
	bool others = false;
	enum code code;

	if (wish) {
		config_fill(adapter, topic, wish);
		admin_client_begin(adapter, RD_KAFKA_ADMIN_OP_CREATETOPICS, &client);
		rd_kafka_CreateTopics(client.handle, &wish, 1, client.options, client.queue);
		error = admin_client_await_topic(&client, &what);
		others = error == RD_KAFKA_RESP_ERR_TOPIC_ALREADY_EXISTS;
		if (others)
			error = RD_KAFKA_RESP_ERR_NO_ERROR;
	}
	if (error)
		snprintf(text, room, "the retry topic %s cannot be made: %s", name,
			 what && *what ? what : rd_kafka_err2str(error));
	if (wish) {
		admin_client_end(&client);
		rd_kafka_NewTopic_destroy(wish);
	}
	code = error ? retry_topic_code(error) : retry_topic_await(adapter, name, text, room);
	if (code == CODE_OK && others)
		code = retry_topic_settle(adapter, name);
	return code;
}

enum code retry_topic_delete(struct adapter *adapter, const char *name)
{
	rd_kafka_DeleteTopic_t *wish = rd_kafka_DeleteTopic_new(name);
	struct admin_client client;
	const char *text;
	rd_kafka_resp_err_t error;

	admin_client_begin(adapter, RD_KAFKA_ADMIN_OP_DELETETOPICS, &client);
	rd_kafka_DeleteTopics(client.handle, &wish, 1, client.options, client.queue);
	rd_kafka_DeleteTopic_destroy(wish);
	error = admin_client_await_topic(&client, &text);
	admin_client_end(&client);
	return error == RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART ? CODE_OK : kafka_error_code(error);
}
