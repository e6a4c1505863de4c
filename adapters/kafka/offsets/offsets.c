// Reads and commits offsets as an administrator, not as a member of the group: the broker asks for
// no membership as long as the group has no members, and fences no one.
//
// Two requests, each with and without waiting; a table says what they differ in.
//
// Invariant: nothing is sent for a group of which a request was given up and may still be under
// way: an older commit never overtakes a later one. What it does not do: exclude other owners of
// the group, nor retry.

#include "adapters/kafka/offsets/offsets.h"

#include "adapters/kafka/client/admin_client.h"
#include "adapters/kafka/client/client.h"
#include "adapters/kafka/client/error.h"

#include <stdio.h>

static void offsets_fail(struct kafka_offsets *offsets, rd_kafka_resp_err_t error, const char *text)
{
	const char *group = offsets->group->physical;

	offsets->code = kafka_error_code(error);
	if (error == RD_KAFKA_RESP_ERR_UNKNOWN_MEMBER_ID ||
	    error == RD_KAFKA_RESP_ERR_NON_EMPTY_GROUP)
		snprintf(offsets->text, sizeof offsets->text,
			 "the consumer group %s has members of its own on the cluster (a native "
			 "consumer); its offsets can be committed when they have left",
			 group);
	else
		snprintf(offsets->text, sizeof offsets->text,
			 "the offsets of consumer group %s: %s", group,
			 text && *text ? text : rd_kafka_err2str(error));
}

static rd_kafka_topic_partition_list_t *partitions_of(const struct kafka_offsets *offsets)
{
	rd_kafka_topic_partition_list_t *list =
		rd_kafka_topic_partition_list_new((int)offsets->count);

	for (uint32_t i = 0; i < offsets->count; ++i)
		rd_kafka_topic_partition_list_add(list, offsets->topic->physical,
						  (int32_t)offsets->cursors[i].partition);
	return list;
}

// The only group of an answer; NULL: it failed, and that is noted.
static const rd_kafka_topic_partition_list_t *
answer_partitions(struct kafka_offsets *offsets, rd_kafka_event_t *event,
		  const rd_kafka_group_result_t **groups, size_t count)
{
	const rd_kafka_error_t *error = count ? rd_kafka_group_result_error(groups[0]) : NULL;

	if (!event)
		offsets_fail(offsets, RD_KAFKA_RESP_ERR__TIMED_OUT, "no answer in time");
	else if (rd_kafka_event_error(event))
		offsets_fail(offsets, rd_kafka_event_error(event),
			     rd_kafka_event_error_string(event));
	else if (error)
		offsets_fail(offsets, rd_kafka_error_code(error), rd_kafka_error_string(error));
	else if (!count)
		offsets_fail(offsets, RD_KAFKA_RESP_ERR_UNKNOWN, "no answer for it");
	else
		return rd_kafka_group_result_partitions(groups[0]);
	return NULL;
}

static const rd_kafka_topic_partition_t *partition_find(const rd_kafka_topic_partition_list_t *list,
							const struct kafka_offsets *offsets,
							uint32_t at)
{
	uint32_t number = offsets->cursors[at].partition;

	// Answers usually keep the order of the request.
	if ((int)at < list->cnt && list->elems[at].partition == (int32_t)number)
		return &list->elems[at];
	for (int i = 0; i < list->cnt; ++i)
		if (list->elems[i].partition == (int32_t)number)
			return &list->elems[i];
	return NULL;
}

static void offsets_finish(struct kafka_offsets *offsets)
{
	if (offsets->done)
		offsets->done(offsets);
}

// ---- reading

static bool cursor_fill(struct log_cursor *cursor, const rd_kafka_topic_partition_t *found)
{
	bool there = found && found->offset >= 0;
	size_t size = there && found->metadata ? found->metadata_size : 0;

	cursor->position = there ? (uint64_t)found->offset : OFFSET_NONE;
	cursor->text = strndup(size ? found->metadata : "", size);
	return cursor->text != NULL;
}

static void texts_free(struct kafka_offsets *offsets)
{
	for (uint32_t i = 0; i < offsets->count; ++i) {
		free(offsets->cursors[i].text);
		offsets->cursors[i].text = NULL;
	}
}

static const rd_kafka_group_result_t **read_groups(rd_kafka_event_t *event, size_t *ret_count)
{
	const rd_kafka_ListConsumerGroupOffsets_result_t *result =
		rd_kafka_event_ListConsumerGroupOffsets_result(event);

	return result ? rd_kafka_ListConsumerGroupOffsets_result_groups(result, ret_count) : NULL;
}

static void read_take(struct kafka_offsets *offsets, const rd_kafka_topic_partition_list_t *list)
{
	for (uint32_t i = 0; list && i < offsets->count && offsets->code == CODE_OK; ++i) {
		const rd_kafka_topic_partition_t *found = partition_find(list, offsets, i);

		if (found && found->err)
			offsets_fail(offsets, found->err, NULL);
		else if (!cursor_fill(&offsets->cursors[i], found))
			offsets->code = CODE_OVERLOADED;
	}
	if (offsets->code != CODE_OK)
		texts_free(offsets);
}

static void *read_request(const struct kafka_offsets *offsets)
{
	rd_kafka_topic_partition_list_t *list = partitions_of(offsets);
	void *request = rd_kafka_ListConsumerGroupOffsets_new(offsets->group->physical, list);

	rd_kafka_topic_partition_list_destroy(list);
	return request;
}

static void read_send(rd_kafka_t *handle, void *made, const rd_kafka_AdminOptions_t *options,
		      rd_kafka_queue_t *queue)
{
	rd_kafka_ListConsumerGroupOffsets_t *request = made;

	rd_kafka_ListConsumerGroupOffsets(handle, &request, 1, options, queue);
}

static void read_free(void *request)
{
	rd_kafka_ListConsumerGroupOffsets_destroy(request);
}

// ---- committing

static const rd_kafka_group_result_t **commit_groups(rd_kafka_event_t *event, size_t *ret_count)
{
	const rd_kafka_AlterConsumerGroupOffsets_result_t *result =
		rd_kafka_event_AlterConsumerGroupOffsets_result(event);

	return result ? rd_kafka_AlterConsumerGroupOffsets_result_groups(result, ret_count) : NULL;
}

static void commit_take(struct kafka_offsets *offsets, const rd_kafka_topic_partition_list_t *list)
{
	for (int i = 0; list && i < list->cnt && offsets->code == CODE_OK; ++i)
		if (list->elems[i].err)
			offsets_fail(offsets, list->elems[i].err, NULL);
}

static void *commit_request(const struct kafka_offsets *offsets)
{
	rd_kafka_topic_partition_list_t *list = partitions_of(offsets);
	void *request;

	for (uint32_t i = 0; i < offsets->count; ++i) {
		list->elems[i].offset = (int64_t)offsets->cursors[i].position;
		list->elems[i].metadata = strdup(offsets->cursors[i].text);
		if (list->elems[i].metadata)
			list->elems[i].metadata_size = strlen(list->elems[i].metadata);
	}
	request = rd_kafka_AlterConsumerGroupOffsets_new(offsets->group->physical, list);
	rd_kafka_topic_partition_list_destroy(list);
	return request;
}

static void commit_send(rd_kafka_t *handle, void *made, const rd_kafka_AdminOptions_t *options,
			rd_kafka_queue_t *queue)
{
	rd_kafka_AlterConsumerGroupOffsets_t *request = made;

	rd_kafka_AlterConsumerGroupOffsets(handle, &request, 1, options, queue);
}

static void commit_free(void *request)
{
	rd_kafka_AlterConsumerGroupOffsets_destroy(request);
}

// ---- with and without waiting

static const struct offsets_request {
	rd_kafka_admin_op_t operation;
	void *(*request)(const struct kafka_offsets *offsets);
	void (*send)(rd_kafka_t *handle, void *request, const rd_kafka_AdminOptions_t *options,
		     rd_kafka_queue_t *queue);
	void (*free)(void *request);
	// What an event says of each group.
	const rd_kafka_group_result_t **(*groups)(rd_kafka_event_t *event, size_t *ret_count);
	// The answer; NULL: it failed, and that is noted.
	void (*take)(struct kafka_offsets *offsets, const rd_kafka_topic_partition_list_t *list);
} reading = {RD_KAFKA_ADMIN_OP_LISTCONSUMERGROUPOFFSETS,
	     read_request,
	     read_send,
	     read_free,
	     read_groups,
	     read_take},
  committing = {RD_KAFKA_ADMIN_OP_ALTERCONSUMERGROUPOFFSETS,
		commit_request,
		commit_send,
		commit_free,
		commit_groups,
		commit_take};

static void on_answered(struct admin_handle_call *call, rd_kafka_event_t *event)
{
	struct kafka_offsets *offsets = CONTAINER_OF(call, struct kafka_offsets, call);
	const struct offsets_request *kind = offsets->kind;
	size_t count = 0;
	const rd_kafka_group_result_t **groups = event ? kind->groups(event, &count) : NULL;

	kind->take(offsets, answer_partitions(offsets, event, groups, count));
	offsets_finish(offsets);
}

static void request_begin(struct kafka_offsets *offsets, const struct offsets_request *kind)
{
	offsets->code = CODE_OK;
	offsets->text[0] = '\0';
	offsets->kind = kind;
	offsets->call.answered = on_answered;
}

// Something that was asked before and given up may still be on its way: nothing overtakes it.
static bool may_go(struct adapter *adapter, struct kafka_offsets *offsets)
{
	if (!admin_handle_is_held(adapter, offsets->group->object.id))
		return true;
	offsets_fail(offsets, RD_KAFKA_RESP_ERR__TIMED_OUT,
		     "its coordinator has not answered what was asked before");
	return false;
}

static void request_send(struct adapter *adapter, struct kafka_offsets *offsets,
			 const struct offsets_request *kind)
{
	struct admin_handle *admin;
	struct admin_handle_request *asked;
	void *request;

	request_begin(offsets, kind);
	if (!may_go(adapter, offsets)) {
		offsets_finish(offsets);
		return;
	}
	admin = admin_handle_ref(adapter);
	request = kind->request(offsets);
	asked = admin_handle_begin(adapter, offsets->group->object.id, &offsets->call, admin);
	if (asked) {
		struct client *client = admin_handle_client(admin);
		rd_kafka_AdminOptions_t *options =
			rd_kafka_AdminOptions_new(client_handle(client), kind->operation);
		char text[128];

		// Another owner may have the offsets already.
		rd_kafka_AdminOptions_set_request_timeout(options, ADMIN_HANDLE_TIMEOUT_MS, text,
							  sizeof text);
		rd_kafka_AdminOptions_set_opaque(options, asked);
		kind->send(client_handle(client), request, options, client_queue(client));
		rd_kafka_AdminOptions_destroy(options);
	} else {
		offsets->code = CODE_OVERLOADED;
		offsets_finish(offsets);
	}
	kind->free(request);
	admin_handle_unref(adapter, admin);
}

static void go_and_wait(struct adapter *adapter, struct kafka_offsets *offsets,
			const struct offsets_request *kind)
{
	struct admin_client client;
	void *request = kind->request(offsets);
	rd_kafka_resp_err_t error;
	const char *text;

	offsets->done = NULL;
	request_begin(offsets, kind);
	admin_client_begin(adapter, kind->operation, &client);
	kind->send(client.handle, request, client.options, client.queue);
	error = admin_client_await(&client, &text);
	if (client.event)
		on_answered(&offsets->call, client.event);
	else
		offsets_fail(offsets, error, text);
	admin_client_end(&client);
	kind->free(request);
}

void kafka_offsets_read(struct adapter *adapter, struct kafka_offsets *offsets)
{
	request_send(adapter, offsets, &reading);
}

void kafka_offsets_commit(struct adapter *adapter, struct kafka_offsets *offsets)
{
	request_send(adapter, offsets, &committing);
}

void kafka_offsets_read_wait(struct adapter *adapter, struct kafka_offsets *offsets)
{
	go_and_wait(adapter, offsets, &reading);
}

void kafka_offsets_commit_wait(struct adapter *adapter, struct kafka_offsets *offsets)
{
	go_and_wait(adapter, offsets, &committing);
}
