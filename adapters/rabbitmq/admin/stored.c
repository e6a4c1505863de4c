// Bytes of messages that wait on the cluster, as the management API counted them last: some seconds
// ago, so they are an estimate.
//
// An exchange keeps nothing, so an ordinary topic takes nothing. Of a group its queue counts, too:
// nothing else holds its messages.

#include "adapters/rabbitmq/admin/stored.h"

#include "adapters/rabbitmq/ask/names.h"
#include "adapters/rabbitmq/manage/manage.h"

struct fill {
	struct stored_row *rows;
	size_t count;
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
		     queue_add(queues, rabbitmq_name_retry(group).text, bytes);

	for (unsigned level = 0; known && level < RABBITMQ_LEVELS; ++level)
		known = queue_add(queues, rabbitmq_name_level(group, level, true).text, bytes) &&
			queue_add(queues, rabbitmq_name_level(group, level, false).text, bytes);
	return known;
}

static void row_fill(const struct rabbitmq_queues *queues, struct stored_row *row)
{
	uint64_t bytes = 0;

	row->estimated = true;
	if (!row->group && !row->topic->dead_letter_of)
		row->known = true;
	else if (!queues)
		row->known = false;
	else if (row->group)
		row->known = group_add(queues, row->group, &bytes);
	else
		row->known = queue_add(queues, rabbitmq_name_kept(row->topic).text, &bytes);
	row->bytes = row->known ? bytes : 0;
}

static void rows_fill(const struct rabbitmq_queues *queues, void *ctx)
{
	struct fill *fill = ctx;

	for (size_t i = 0; i < fill->count; ++i)
		row_fill(queues, &fill->rows[i]);
}

void rabbitmq_stored_fill(struct adapter *adapter, struct stored_row *rows, size_t count)
{
	rabbitmq_manage_with_queues(adapter, rows_fill, &(struct fill){rows, count});
}
