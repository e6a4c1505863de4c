// Lists what lies on a cluster already: topics and consumer groups of all clients. Internal topics
// and groups, and those of our probes and marks, are left out. Settings and offsets are added as
// far as they come before the deadline. What it does not do: import anything; the registry does.

#include "adapters/kafka/admin/existing.h"

#include "adapters/kafka/admin/admin_request.h"
#include "adapters/kafka/client/admin_client.h"
#include "adapters/kafka/client/admin_handle.h"
#include "adapters/kafka/topic/observed_settings.h"
#include "adapters/kafka/topic/topic_mark.h"
#include "core/base/clock.h"
#include "core/model/name.h"

#define SETTINGS_NS (2 * S_NS) // for the settings of all topics
#define LATE_MS     300        // before the deadline: what is known by then is the answer

static bool is_internal(const char *name)
{
	return strncmp(name, "__", 2) == 0 || name_is_probe(name, strlen(name));
}

// ---- topics

static json_t *topic_json(const struct rd_kafka_metadata_topic *row)
{
	return json_pack("{s:s,s:i,s:i}", "name", row->topic, "partitions", row->partition_cnt,
			 "replication", row->partition_cnt ? row->partitions[0].replica_cnt : 0);
}

static json_t *topics_ask(struct adapter *adapter, struct admin_request *request)
{
	_cleanup_(admin_handle_leave) struct admin_handle_entered entered =
		admin_handle_enter(adapter);
	const struct rd_kafka_metadata *metadata;
	json_t *topics = NULL;

	if (admin_request_failed(
		    request, adapter,
		    rd_kafka_metadata(entered.handle, 1, NULL, &metadata, ADMIN_HANDLE_CALL_MS),
		    NULL))
		return NULL;
	topics = json_array();
	for (int i = 0; i < metadata->topic_cnt; ++i)
		if (!metadata->topics[i].err && !is_internal(metadata->topics[i].topic))
			json_array_append_new(topics, topic_json(&metadata->topics[i]));
	rd_kafka_metadata_destroy(metadata);
	return topics;
}

// ---- groups

static json_t *groups_ask(struct adapter *adapter, struct admin_request *request)
{
	const rd_kafka_ListConsumerGroups_result_t *result = NULL;
	const rd_kafka_ConsumerGroupListing_t **rows;
	const char *text = NULL;
	struct admin_client client;
	json_t *groups = json_array();
	size_t count = 0;

	admin_client_begin(adapter, RD_KAFKA_ADMIN_OP_LISTCONSUMERGROUPS, &client);
	rd_kafka_ListConsumerGroups(client.handle, client.options, client.queue);
	if (!admin_request_failed(request, adapter, admin_client_await(&client, &text), text))
		result = rd_kafka_event_ListConsumerGroups_result(client.event);
	rows = result ? rd_kafka_ListConsumerGroups_result_valid(result, &count) : NULL;
	for (size_t i = 0; i < count; ++i) {
		const char *name = rd_kafka_ConsumerGroupListing_group_id(rows[i]);

		if (strcmp(name, TOPIC_MARK_GROUP) != 0 && !is_internal(name))
			json_array_append_new(
				groups,
				json_pack("{s:s,s:s,s:n,s:[]}", "name", name, "state",
					  rd_kafka_consumer_group_state_name(
						  rd_kafka_ConsumerGroupListing_state(rows[i])),
					  "members", "topics"));
	}
	admin_client_end(&client);
	return groups;
}

// Counts the members of groups that may have some.
static void members_ask(struct adapter *adapter, json_t *group)
{
	const rd_kafka_ConsumerGroupDescription_t **rows = NULL;
	const char *name = json_string_value(json_object_get(group, "name")), *text;
	struct admin_client client;
	size_t count = 0;

	if (strcmp(json_string_value(json_object_get(group, "state")), "Empty") == 0) {
		json_object_set_new(group, "members", json_integer(0));
		return;
	}
	admin_client_begin(adapter, RD_KAFKA_ADMIN_OP_DESCRIBECONSUMERGROUPS, &client);
	rd_kafka_DescribeConsumerGroups(client.handle, &name, 1, client.options, client.queue);
	if (!admin_client_await(&client, &text))
		rows = rd_kafka_DescribeConsumerGroups_result_groups(
			rd_kafka_event_DescribeConsumerGroups_result(client.event), &count);
	if (count && !rd_kafka_ConsumerGroupDescription_error(rows[0]))
		json_object_set_new(
			group, "members",
			json_integer((json_int_t)rd_kafka_ConsumerGroupDescription_member_count(
				rows[0])));
	admin_client_end(&client);
}

static void topics_note(json_t *topics, const rd_kafka_topic_partition_list_t *offsets)
{
	const char *last = "";

	for (int i = 0; i < offsets->cnt; ++i) {
		if (offsets->elems[i].offset < 0 || strcmp(offsets->elems[i].topic, last) == 0)
			continue;
		last = offsets->elems[i].topic;
		json_array_append_new(topics, json_string(last));
	}
}

static void offsets_ask(struct adapter *adapter, json_t *group)
{
	rd_kafka_ListConsumerGroupOffsets_t *wish = rd_kafka_ListConsumerGroupOffsets_new(
		json_string_value(json_object_get(group, "name")), NULL);
	const rd_kafka_group_result_t **rows = NULL;
	struct admin_client client;
	const char *text;
	size_t count = 0;

	admin_client_begin(adapter, RD_KAFKA_ADMIN_OP_LISTCONSUMERGROUPOFFSETS, &client);
	rd_kafka_ListConsumerGroupOffsets(client.handle, &wish, 1, client.options, client.queue);
	if (!admin_client_await(&client, &text))
		rows = rd_kafka_ListConsumerGroupOffsets_result_groups(
			rd_kafka_event_ListConsumerGroupOffsets_result(client.event), &count);
	if (count && !rd_kafka_group_result_error(rows[0])) {
		rd_kafka_topic_partition_list_t *offsets = rd_kafka_topic_partition_list_copy(
			rd_kafka_group_result_partitions(rows[0]));

		rd_kafka_topic_partition_list_sort(offsets, NULL, NULL);
		topics_note(json_object_get(group, "topics"), offsets);
		rd_kafka_topic_partition_list_destroy(offsets);
	}
	admin_client_end(&client);
	rd_kafka_ListConsumerGroupOffsets_destroy(wish);
}

static void existing_run(struct adapter *adapter, struct admin_request *request)
{
	json_t *topics = topics_ask(adapter, request), *groups = NULL, *group;
	size_t i;

	if (topics)
		observed_settings_add(adapter, topics, clock_now_ns() + SETTINGS_NS);
	if (topics)
		groups = groups_ask(adapter, request);
	json_array_foreach(groups, i, group)
	{
		if (clock_now_ns() + LATE_MS * MS_NS >= request->deadline_ns)
			break;
		members_ask(adapter, group);
		offsets_ask(adapter, group);
	}
	if (groups)
		request->json = json_pack("{s:o,s:o}", "topics", topics, "groups", groups);
}

void kafka_existing(struct adapter *adapter, uint64_t deadline_ns, adapter_json_fn done, void *ctx)
{
	struct admin_request *request =
		admin_request_new(NULL, (struct caller){.json_done = done, .ctx = ctx});

	if (!request)
		return;
	request->deadline_ns = deadline_ns;
	admin_request_start(adapter, request, existing_run);
}
