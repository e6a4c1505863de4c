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

// What was found. Names and lists are its own.
struct listing {
	struct existing_topic *topics;
	struct answer_settings *settings; // room for those of each topic
	struct existing_group *groups;
	size_t topic_count, group_count;
};

static void text_free(const char *text)
{
	free((void *)(uintptr_t)text);
}

static void listing_free(void *work)
{
	struct listing *listing = work;

	for (size_t i = 0; i < listing->topic_count; ++i)
		text_free(listing->topics[i].name);
	for (size_t i = 0; i < listing->group_count; ++i) {
		const struct existing_group *group = &listing->groups[i];

		for (size_t topic = 0; topic < group->topic_count; ++topic)
			text_free(group->topics[topic]);
		free((void *)(uintptr_t)group->topics);
		text_free(group->name);
	}
	free(listing->topics);
	free(listing->settings);
	free(listing->groups);
	free(listing);
}

static bool is_internal(const char *name)
{
	return strncmp(name, "__", 2) == 0 || name_is_probe(name, strlen(name));
}

// ---- topics

static void topics_take(struct listing *listing, const struct rd_kafka_metadata *metadata)
{
	size_t room = (size_t)MAX(metadata->topic_cnt, 1);

	listing->topics = calloc(room, sizeof *listing->topics);
	listing->settings = calloc(room, sizeof *listing->settings);
	for (int i = 0; listing->topics && listing->settings && i < metadata->topic_cnt; ++i) {
		const struct rd_kafka_metadata_topic *row = &metadata->topics[i];
		char *name = row->err || is_internal(row->topic) ? NULL : strdup(row->topic);

		if (name)
			listing->topics[listing->topic_count++] = (struct existing_topic){
				.name = name,
				.partitions = (uint32_t)row->partition_cnt,
				.replication = row->partition_cnt
						       ? (uint32_t)row->partitions[0].replica_cnt
						       : 0};
	}
}

static bool topics_ask(struct adapter *adapter, struct admin_request *request)
{
	_cleanup_(admin_handle_leave) struct admin_handle_entered entered =
		admin_handle_enter(adapter);
	const struct rd_kafka_metadata *metadata;

	if (admin_request_failed(
		    request, adapter,
		    rd_kafka_metadata(entered.handle, 1, NULL, &metadata, ADMIN_HANDLE_CALL_MS),
		    NULL))
		return false;
	topics_take(request->work, metadata);
	rd_kafka_metadata_destroy(metadata);
	return true;
}

// ---- groups

static void groups_take(struct listing *listing, const rd_kafka_ConsumerGroupListing_t **rows,
			size_t count)
{
	listing->groups = calloc(MAX(count, 1), sizeof *listing->groups);
	for (size_t i = 0; listing->groups && i < count; ++i) {
		const char *name = rd_kafka_ConsumerGroupListing_group_id(rows[i]);
		char *copy = strcmp(name, TOPIC_MARK_GROUP) == 0 || is_internal(name)
				     ? NULL
				     : strdup(name);

		if (copy)
			listing->groups[listing->group_count++] = (struct existing_group){
				.name = copy,
				.state = rd_kafka_consumer_group_state_name(
					rd_kafka_ConsumerGroupListing_state(rows[i])),
				.members = ANSWER_NONE};
	}
}

static void groups_ask(struct adapter *adapter, struct admin_request *request)
{
	const rd_kafka_ListConsumerGroups_result_t *result = NULL;
	const rd_kafka_ConsumerGroupListing_t **rows;
	const char *text = NULL;
	struct admin_client client;
	size_t count = 0;

	admin_client_begin(adapter, RD_KAFKA_ADMIN_OP_LISTCONSUMERGROUPS, &client);
	rd_kafka_ListConsumerGroups(client.handle, client.options, client.queue);
	if (!admin_request_failed(request, adapter, admin_client_await(&client, &text), text))
		result = rd_kafka_event_ListConsumerGroups_result(client.event);
	rows = result ? rd_kafka_ListConsumerGroups_result_valid(result, &count) : NULL;
	groups_take(request->work, rows, count);
	admin_client_end(&client);
}

// Counts the members of groups that may have some.
static void members_ask(struct adapter *adapter, struct existing_group *group)
{
	const rd_kafka_ConsumerGroupDescription_t **rows = NULL;
	const char *name = group->name, *text;
	struct admin_client client;
	size_t count = 0;

	if (strcmp(group->state, "Empty") == 0) {
		group->members = 0;
		return;
	}
	admin_client_begin(adapter, RD_KAFKA_ADMIN_OP_DESCRIBECONSUMERGROUPS, &client);
	rd_kafka_DescribeConsumerGroups(client.handle, &name, 1, client.options, client.queue);
	if (!admin_client_await(&client, &text))
		rows = rd_kafka_DescribeConsumerGroups_result_groups(
			rd_kafka_event_DescribeConsumerGroups_result(client.event), &count);
	if (count && !rd_kafka_ConsumerGroupDescription_error(rows[0]))
		group->members = rd_kafka_ConsumerGroupDescription_member_count(rows[0]);
	admin_client_end(&client);
}

// The offsets are sorted by topic.
static void topics_note(struct existing_group *group,
			const rd_kafka_topic_partition_list_t *offsets)
{
	const char **topics = calloc((size_t)MAX(offsets->cnt, 1), sizeof *topics);
	const char *last = "";

	for (int i = 0; topics && i < offsets->cnt; ++i) {
		if (offsets->elems[i].offset < 0 || strcmp(offsets->elems[i].topic, last) == 0)
			continue;
		last = offsets->elems[i].topic;
		topics[group->topic_count] = strdup(last);
		group->topic_count += topics[group->topic_count] != NULL;
	}
	group->topics = topics;
}

static void offsets_ask(struct adapter *adapter, struct existing_group *group)
{
	rd_kafka_ListConsumerGroupOffsets_t *wish =
		rd_kafka_ListConsumerGroupOffsets_new(group->name, NULL);
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
		topics_note(group, offsets);
		rd_kafka_topic_partition_list_destroy(offsets);
	}
	admin_client_end(&client);
	rd_kafka_ListConsumerGroupOffsets_destroy(wish);
}

static void existing_run(struct adapter *adapter, struct admin_request *request)
{
	struct listing *listing = request->work;

	if (!topics_ask(adapter, request))
		return;
	observed_settings_add(adapter, listing->topics, listing->topic_count, listing->settings,
			      clock_now_ns() + SETTINGS_NS);
	groups_ask(adapter, request);
	for (size_t i = 0; i < listing->group_count; ++i) {
		if (clock_now_ns() + LATE_MS * MS_NS >= request->deadline_ns)
			break;
		members_ask(adapter, &listing->groups[i]);
		offsets_ask(adapter, &listing->groups[i]);
	}
	request->answer =
		(struct adapter_answer){.kind = ANSWER_EXISTING,
					.existing = {listing->topics, listing->topic_count,
						     listing->groups, listing->group_count}};
}

void kafka_existing(struct adapter *adapter, uint64_t deadline_ns, adapter_answer_fn done,
		    void *ctx)
{
	struct admin_request *request = admin_request_new(
		&(struct request){.answer_done = done, .ctx = ctx}, sizeof(struct listing));

	if (!request)
		return;
	request->work_free = listing_free;
	request->deadline_ns = deadline_ns;
	admin_request_start(adapter, request, existing_run);
}
