// Bytes of messages that wait on the cluster, as the management API counted them last: some seconds
// ago, so they are an estimate.
//
// An exchange keeps nothing, so an ordinary topic takes nothing. Of a group its queue counts, too:
// nothing else holds its messages. Of a stream the management API tells no bytes: what a topic with
// a history takes is not known.

#include "adapters/rabbitmq/admin/stored.h"

#include "adapters/rabbitmq/ask/names.h"
#include "adapters/rabbitmq/manage/manage.h"

struct fill {
	struct stored_row *rows;
	size_t count;
	bool history; // topics have streams
};

// false: the queue is there, and what it has is not known.
static bool queue_add(const struct rabbitmq_queues *queues, const char *name, uint64_t *bytes)
{
	const struct rabbitmq_queue_row *row = rabbitmq_facts_find(queues, name);

	if (!row)
		return true;
	if (row->bytes == UINT64_MAX)
		return false;
	*bytes += row->bytes;
	return true;
}

static bool group_add(const struct rabbitmq_queues *queues, const struct group *group,
		      uint64_t *bytes)
{
	bool known = queue_add(queues, group->physical, bytes) &&
		     queue_add(queues, rabbitmq_name_retry(group).text, bytes) &&
		     queue_add(queues, rabbitmq_name_replay(group).text, bytes);

	for (unsigned level = 0; known && level < RABBITMQ_LEVELS; ++level)
		known = queue_add(queues, rabbitmq_name_level(group, level, true).text, bytes) &&
			queue_add(queues, rabbitmq_name_level(group, level, false).text, bytes);
	return known;
}

static bool topic_add(const struct rabbitmq_queues *queues, const struct topic *topic,
		      uint64_t *bytes)
{
	return queue_add(queues, rabbitmq_name_history(topic).text, bytes) &&
	       (!topic->dead_letter_of || queue_add(queues, rabbitmq_name_kept(topic).text, bytes));
}

static void row_fill(const struct rabbitmq_queues *queues, bool history, struct stored_row *row)
{
	uint64_t bytes = 0;

	row->estimated = true;
	if (!row->group && !row->topic->dead_letter_of && !history)
		row->known = true;
	else if (!queues)
		row->known = false;
	else if (row->group)
		row->known = group_add(queues, row->group, &bytes);
	else
		row->known = topic_add(queues, row->topic, &bytes);
	row->bytes = row->known ? bytes : 0;
}

static void rows_fill(const struct rabbitmq_queues *queues, void *ctx)
{
	struct fill *fill = ctx;

	for (size_t i = 0; i < fill->count; ++i)
		row_fill(queues, fill->history, &fill->rows[i]);
}

void rabbitmq_stored_fill(struct adapter *adapter, struct stored_row *rows, size_t count)
{
	rabbitmq_manage_with_queues(adapter, rows_fill,
				    &(struct fill){rows, count, adapter->options.history});
}
