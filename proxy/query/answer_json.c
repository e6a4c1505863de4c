// Writes what adapters answer as JSON: the one place that knows the keys of these answers and their
// order, which the REST interface and mqpaasctl show as they are.
//
// Invariant: a member is there for every kind of cluster, and null when it is not known; what is
// left out instead is said where it is. Not here: what a query adds that no adapter knows
// (query.c).

#include "proxy/query/answer_json.h"

#include "adapters/capability.h"
#include "core/base/base64.h"
#include "core/base/util.h"
#include "core/wire/record.h"

#include <stdio.h>

static json_t *number_json(uint64_t value)
{
	return value >= INT64_MAX ? json_null() : json_integer((json_int_t)value);
}

static json_t *text_json(const char *text)
{
	return text ? json_string(text) : json_null();
}

// An array of what `row_json` makes of each row; NULL when it is not complete.
static json_t *rows_json(const void *rows, size_t count, size_t size,
			 json_t *(*row_json)(const void *row))
{
	json_t *array = json_array();

	for (size_t i = 0; array && i < count; ++i) {
		if (json_array_append_new(array, row_json((const char *)rows + i * size)) < 0) {
			json_decref(array);
			array = NULL;
		}
	}
	return array;
}

#define ROWS_JSON(answer, row_json)                                                                \
	rows_json((answer)->rows, (answer)->count, sizeof *(answer)->rows, row_json)

// ---- clusters

json_t *answer_json_capabilities(uint32_t capabilities)
{
	const struct capability_row *row;
	json_t *json = json_object();

	for (size_t i = 0; (row = capability_at(i)); ++i)
		json_object_set_new(json, row->key, json_boolean(capabilities & row->bit));
	return json;
}

static json_t *probe_json(const struct answer_probe *probe)
{
	static const char *const classes[] = {"D0", "D1", "D2", "D3"};

	return json_pack("{s:b,s:o,s:o,s:s,s:o,s:o,s:o,s:o}", "reachable", (int)probe->reachable,
			 "version", text_json(probe->version), "nodes", number_json(probe->nodes),
			 "durability", classes[probe->durability], "durability_reason",
			 text_json(probe->durability_reason), "capabilities",
			 answer_json_capabilities(probe->capabilities), "latency_us",
			 number_json(probe->latency_us), "error", text_json(probe->error));
}

static json_t *settings_json(const struct answer_settings *settings)
{
	return json_pack("{s:o, s:o, s:o, s:b, s:o, s:I}", "message_bytes",
			 number_json(settings->message_bytes), "retention_ms",
			 number_json(settings->retention_ms), "retention_bytes",
			 number_json(settings->retention_bytes), "compacted",
			 (int)settings->compacted, "oldest_ms", number_json(settings->oldest_ms),
			 "min_insync", (json_int_t)settings->min_insync);
}

static json_t *existing_topic_json(const struct existing_topic *topic)
{
	json_t *row = json_pack("{s:s,s:I,s:I}", "name", topic->name, "partitions",
				(json_int_t)topic->partitions, "replication",
				(json_int_t)topic->replication);

	if (row && topic->settings) {
		json_object_set_new(row, "min_insync",
				    json_integer((json_int_t)topic->settings->min_insync));
		json_object_set_new(row, "settings", settings_json(topic->settings));
	}
	return row;
}

// A client whose words are not UTF-8 is left out.
static json_t *existing_clients_json(const struct existing_group *group)
{
	json_t *clients = json_array();

	for (size_t i = 0; i < group->client_count; ++i) {
		const struct existing_client *client = &group->clients[i];

		json_array_append_new(clients,
				      json_pack("{s:s,s:s?,s:s,s:s}", "connection",
						client->connection, "name", client->name, "user",
						client->user, "consumer", client->consumer));
	}
	return clients;
}

static json_t *existing_group_json(const struct existing_group *group)
{
	json_t *topics = json_array(), *json;

	for (size_t i = 0; i < group->topic_count; ++i)
		json_array_append_new(topics, json_string(group->topics[i]));
	json = json_pack("{s:s,s:s,s:o,s:o}", "name", group->name, "state", group->state, "members",
			 number_json(group->members), "topics", topics);
	if (json && group->clients)
		json_object_set_new(json, "clients", existing_clients_json(group));
	return json;
}

// A name that is not UTF-8 cannot be imported: its row is left out.
static json_t *existing_json(const struct answer_existing *existing)
{
	json_t *topics = json_array(), *groups = json_array();

	for (size_t i = 0; i < existing->topic_count; ++i)
		json_array_append_new(topics, existing_topic_json(&existing->topics[i]));
	for (size_t i = 0; i < existing->group_count; ++i)
		json_array_append_new(groups, existing_group_json(&existing->groups[i]));
	return json_pack("{s:o,s:o}", "topics", topics, "groups", groups);
}

static json_t *damaged_part_json(const void *row)
{
	const struct damaged_part *part = row;

	json_t *json = json_pack("{s:s, s:s, s:I, s:o, s:I, s:I, s:I, s:I, s:s}", "class",
				 part->store == DURABILITY_D1 ? "D1" : "D2", "kind", part->kind,
				 "topic", (json_int_t)part->topic, "group",
				 part->group ? json_integer((json_int_t)part->group) : json_null(),
				 "partition", (json_int_t)part->partition, "first",
				 (json_int_t)part->first, "end", (json_int_t)part->end, "found_ms",
				 (json_int_t)part->found_ms, "problem", part->problem);

	if (json && part->since_ms)
		json_object_set_new(json, "since_ms", json_integer((json_int_t)part->since_ms));
	return json;
}

// ---- topics

static json_t *described_partition_json(const void *row)
{
	const struct described_partition *partition = row;

	return json_pack("{s:I,s:o,s:o,s:o,s:o,s:o}", "partition", (json_int_t)partition->partition,
			 "first", number_json(partition->first), "end", number_json(partition->end),
			 "messages", number_json(partition->messages), "bytes",
			 number_json(partition->bytes), "oldest_ms",
			 number_json(partition->oldest_ms));
}

static json_t *skipped_range_json(const void *row)
{
	const struct skipped_range *range = row;

	return json_pack("{s:I,s:I,s:I}", "partition", (json_int_t)range->partition, "first",
			 (json_int_t)range->first, "end", (json_int_t)range->end);
}

// `row` is there only when it is true.
static json_t *skip_json(const struct answer_skip *skip)
{
	json_t *json = json_pack("{s:o}", "partitions", ROWS_JSON(skip, skipped_range_json));

	if (json && skip->row_made)
		json_object_set_new(json, "row", json_true());
	return json;
}

// ---- groups

static json_t *moved_partition_json(const void *row)
{
	const struct moved_partition *moved = row;

	return json_pack("{s:I,s:I,s:I,s:I,s:I}", "partition", (json_int_t)moved->partition, "from",
			 (json_int_t)moved->from, "to", (json_int_t)moved->to, "skipped",
			 (json_int_t)moved->skipped, "replayed", (json_int_t)moved->replayed);
}

// What only a log has is null elsewhere.
static json_t *source_partition_json(const void *row)
{
	const struct source_partition *partition = row;
	const struct log_partition *log = partition->has_log ? &partition->log : NULL;
	json_t *json = json_object();
	const struct {
		const char *name;
		uint64_t value;
	} members[] = {
		{"partition", partition->partition},
		{"first", log ? log->first : ANSWER_NONE},
		{"end", log ? log->end : ANSWER_NONE},
		{"committed", log ? log->committed : ANSWER_NONE},
		{"ready", partition->ready},
		{"in_flight", partition->in_flight},
		{"retrying", partition->retrying},
		{"delayed", partition->delayed},
		{"acked", partition->acked},
		{"dead", partition->counts.dead},
		{"expired", partition->counts.expired},
		{"skipped", partition->counts.skipped},
		{"replayed", partition->counts.replayed},
	};

	for (size_t i = 0; i < ARRAY_SIZE(members); ++i)
		json_object_set_new(json, members[i].name, number_json(members[i].value));
	json_object_set_new(json, "window_full",
			    log ? json_boolean(log->window_full) : json_null());
	return json;
}

// ---- messages

static json_t *bytes_json(struct slice bytes)
{
	_cleanup_(freep) char *text = bytes.data ? base64_encode(bytes.data, bytes.size) : NULL;

	return text ? json_string(text) : json_null();
}

static json_t *headers_json(const struct record_view *view)
{
	struct record_header header;
	json_t *headers = json_array();
	size_t cursor = 0;

	while (record_header_next(view, &cursor, &header))
		json_array_append_new(
			headers,
			json_pack("{s:o,s:o}", "name",
				  json_stringn((const char *)header.name.data, header.name.size),
				  "value", bytes_json(header.value)));
	return headers;
}

static json_t *message_json(const struct stored_message *message, uint32_t partition, bool body)
{
	struct record_view view;
	char id[2 * RECORD_ID_SIZE + 1];

	record_read(message->record, &view);
	for (size_t i = 0; i < RECORD_ID_SIZE; ++i)
		snprintf(id + 2 * i, 3, "%02x", view.id[i]);
	return json_pack("{s:I,s:I,s:s,s:I,s:o,s:o,s:o,s:o,s:I,s:o}", "partition",
			 (json_int_t)partition, "offset", (json_int_t)message->offset, "id", id,
			 "stored_ms", (json_int_t)message->stored_ms, "created_ms",
			 view.created_ms >= 0 ? json_integer(view.created_ms) : json_null(), "key",
			 bytes_json(view.key), "tag",
			 view.tag.data ? json_stringn((const char *)view.tag.data, view.tag.size)
				       : json_null(),
			 "headers", headers_json(&view), "size", (json_int_t)view.body.size, "body",
			 body ? bytes_json(view.body) : json_null());
}

static json_t *messages_json(const struct answer_messages *messages, bool bodies)
{
	json_t *rows = json_array();

	for (size_t i = 0; i < messages->count; ++i)
		json_array_append_new(
			rows, message_json(&messages->rows[i], messages->partition, bodies));
	return json_pack("{s:o,s:o}", "messages", rows, "next", number_json(messages->next));
}

json_t *answer_json(const struct adapter_answer *answer, bool bodies)
{
	switch (answer->kind) {
	case ANSWER_PROBE: return probe_json(&answer->probe);
	case ANSWER_EXISTING: return existing_json(&answer->existing);
	case ANSWER_DESCRIBE:
		return json_pack("{s:o}", "partitions",
				 ROWS_JSON(&answer->describe, described_partition_json));
	case ANSWER_SETTINGS: return settings_json(&answer->settings);
	case ANSWER_PURGE:
		return json_pack("{s:I,s:o}", "messages", (json_int_t)answer->purge.messages,
				 "bytes", number_json(answer->purge.bytes));
	case ANSWER_DAMAGE:
		return json_pack("{s:o}", "damage", ROWS_JSON(&answer->damage, damaged_part_json));
	case ANSWER_SKIP: return skip_json(&answer->skip);
	case ANSWER_RESET:
		return json_pack("{s:o}", "partitions",
				 ROWS_JSON(&answer->reset, moved_partition_json));
	case ANSWER_BACKLOG:
		return json_pack("{s:o}", "partitions",
				 ROWS_JSON(&answer->backlog, source_partition_json));
	case ANSWER_MESSAGES: return messages_json(&answer->messages, bodies);
	}
	assert(!"an answer without its kind");
	return NULL;
}
