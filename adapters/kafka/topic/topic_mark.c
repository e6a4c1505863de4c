// Reads and writes the mark that says which incarnation and generation of a topic the cluster has.
//
// A physical name of ours contains the registry's id and is never used twice. An imported topic
// keeps its name, and another client may make another topic of that name: the mark tells them
// apart. Brokers forget a mark as they do any committed offset, so it is written again while its
// topic is open or a group of it is kept (offset_keepalive.c).
//
// What it does not do: decide what follows from a mark (watcher.c, topic_admin.c).

#include "adapters/kafka/topic/topic_mark.h"

#include "adapters/kafka/client/admin_client.h"
#include "adapters/log/window_text.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>

#define MARK_TEXT 64

static rd_kafka_topic_partition_list_t *list_of(const struct topic_mark *marks, size_t count)
{
	rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new((int)count);

	for (size_t i = 0; i < count; ++i)
		rd_kafka_topic_partition_list_add(list, marks[i].physical, 0);
	return list;
}

static void mark_parse(struct topic_mark *mark, const rd_kafka_topic_partition_t *row)
{
	char text[MARK_TEXT] = "";
	unsigned holes = 0;

	mark->incarnation = mark->generation = 0;
	mark->holes = false;
	if (mark->error || row->offset < 0 || !row->metadata || row->metadata_size >= sizeof text)
		return;
	memcpy(text, row->metadata, row->metadata_size);
	if (sscanf(text, "mqp1 %" SCNu64 " %" SCNu64 " %u", &mark->incarnation, &mark->generation,
		   &holes) < 1)
		mark->incarnation = 0;
	if (mark->generation > WINDOW_EPOCH_MAX)
		mark->generation = 0; // not written by this service
	mark->holes = holes == 1;
}

static void mark_format(char text[MARK_TEXT], const struct topic_mark *mark)
{
	int size = snprintf(text, MARK_TEXT, "mqp1 %" PRIu64, mark->incarnation);

	if (mark->generation || mark->holes)
		snprintf(text + size, MARK_TEXT - (size_t)size, " %" PRIu64 "%s", mark->generation,
			 mark->holes ? " 1" : "");
}

static rd_kafka_resp_err_t group_error(const rd_kafka_group_result_t **groups, size_t count)
{
	const rd_kafka_error_t *error = count ? rd_kafka_group_result_error(groups[0]) : NULL;

	return !count  ? RD_KAFKA_RESP_ERR_UNKNOWN
	       : error ? rd_kafka_error_code(error)
		       : RD_KAFKA_RESP_ERR_NO_ERROR;
}

// What the broker says of each; `error` of the whole question, or the first of one.
static rd_kafka_resp_err_t rows_take(struct topic_mark *marks, size_t count,
				     const rd_kafka_topic_partition_list_t *rows,
				     rd_kafka_resp_err_t error, bool parse)
{
	rd_kafka_resp_err_t first = error;

	for (size_t i = 0; i < count; ++i) {
		const rd_kafka_topic_partition_t *row =
			rows ? rd_kafka_topic_partition_list_find(rows, marks[i].physical, 0)
			     : NULL;

		marks[i].error = error ? error : row ? row->err : RD_KAFKA_RESP_ERR_UNKNOWN;
		first = first ? first : marks[i].error;
		if (parse)
			mark_parse(&marks[i], row);
	}
	return first;
}

rd_kafka_resp_err_t topic_mark_read(struct adapter *adapter, struct topic_mark *marks, size_t count)
{
	rd_kafka_topic_partition_list_t *list = list_of(marks, count);
	rd_kafka_ListConsumerGroupOffsets_t *request =
		rd_kafka_ListConsumerGroupOffsets_new(TOPIC_MARK_GROUP, list);
	const rd_kafka_group_result_t **groups = NULL;
	struct admin_client client;
	const char *text;
	size_t group_count = 0;
	rd_kafka_resp_err_t error;

	admin_client_begin(adapter, RD_KAFKA_ADMIN_OP_LISTCONSUMERGROUPOFFSETS, &client);
	rd_kafka_ListConsumerGroupOffsets(client.handle, &request, 1, client.options, client.queue);
	error = admin_client_await(&client, &text);
	if (!error) {
		groups = rd_kafka_ListConsumerGroupOffsets_result_groups(
			rd_kafka_event_ListConsumerGroupOffsets_result(client.event), &group_count);
		error = group_error(groups, group_count);
	}
	error = rows_take(marks, count, error ? NULL : rd_kafka_group_result_partitions(groups[0]),
			  error, true);
	admin_client_end(&client);
	rd_kafka_ListConsumerGroupOffsets_destroy(request);
	rd_kafka_topic_partition_list_destroy(list);
	return error;
}

static bool list_fill(rd_kafka_topic_partition_list_t *list, const struct topic_mark *marks)
{
	for (int i = 0; i < list->cnt; ++i) {
		char text[MARK_TEXT];

		mark_format(text, &marks[i]);
		list->elems[i].offset = 0;
		list->elems[i].metadata = strdup(text); // the list frees it
		list->elems[i].metadata_size = strlen(text);
		if (!list->elems[i].metadata)
			return false;
	}
	return true;
}

rd_kafka_resp_err_t topic_mark_write(struct adapter *adapter, struct topic_mark *marks,
				     size_t count)
{
	rd_kafka_topic_partition_list_t *list = list_of(marks, count);
	rd_kafka_AlterConsumerGroupOffsets_t *request;
	const rd_kafka_group_result_t **groups = NULL;
	struct admin_client client;
	const char *text;
	size_t group_count = 0;
	rd_kafka_resp_err_t error;

	if (!list_fill(list, marks)) {
		rd_kafka_topic_partition_list_destroy(list);
		return RD_KAFKA_RESP_ERR__FAIL;
	}
	request = rd_kafka_AlterConsumerGroupOffsets_new(TOPIC_MARK_GROUP, list);
	admin_client_begin(adapter, RD_KAFKA_ADMIN_OP_ALTERCONSUMERGROUPOFFSETS, &client);
	rd_kafka_AlterConsumerGroupOffsets(client.handle, &request, 1, client.options,
					   client.queue);
	error = admin_client_await(&client, &text);
	if (!error) {
		groups = rd_kafka_AlterConsumerGroupOffsets_result_groups(
			rd_kafka_event_AlterConsumerGroupOffsets_result(client.event),
			&group_count);
		error = group_error(groups, group_count);
	}
	error = rows_take(marks, count, error ? NULL : rd_kafka_group_result_partitions(groups[0]),
			  error, false);
	admin_client_end(&client);
	rd_kafka_AlterConsumerGroupOffsets_destroy(request);
	rd_kafka_topic_partition_list_destroy(list);
	return error;
}
