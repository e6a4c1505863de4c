// Rows by group, each good for KEEP_NS from the look that made it. What this process makes or
// deletes ends the row; what another owner of the group makes is seen a minute later.
//
// A look and a request that makes queues may overlap. So what a look has found counts only when
// nothing was forgotten since it began, of any group: it is looked for again with the next count.

#include "adapters/rabbitmq/receive/store_memo.h"

#include "core/base/clock.h"
#include "core/base/map.h"

#include <errno.h>

#define KEEP_NS (60 * S_NS)

struct row {
	struct map_node by_group; // its key is the id
	struct rabbitmq_store store;
	uint64_t found_ns;
};

struct rabbitmq_store_memo {
	pthread_mutex_t lock;
	struct map rows;
	uint64_t number; // of what was forgotten
};

int rabbitmq_store_memo_start(struct adapter *adapter)
{
	adapter->stores = calloc(1, sizeof *adapter->stores);
	if (!adapter->stores)
		return -ENOMEM;
	pthread_mutex_init(&adapter->stores->lock, NULL);
	return 0;
}

void rabbitmq_store_memo_stop(struct adapter *adapter)
{
	struct map_node *node, *next = NULL;
	size_t cursor = 0;

	if (!adapter->stores)
		return;
	while ((node = map_next(&adapter->stores->rows, &cursor, &next))) {
		map_remove(&adapter->stores->rows, node);
		free(CONTAINER_OF(node, struct row, by_group));
	}
	map_deinit(&adapter->stores->rows);
	pthread_mutex_destroy(&adapter->stores->lock);
	free(adapter->stores);
	adapter->stores = NULL;
}

static struct row *row_find(struct rabbitmq_store_memo *memo, const struct group *group)
{
	struct map_node *node = map_find(&memo->rows, group->object.id);

	return node ? CONTAINER_OF(node, struct row, by_group) : NULL;
}

bool rabbitmq_store_memo_get(struct adapter *adapter, const struct group *group,
			     struct rabbitmq_store *ret_store, uint64_t *ret_number)
{
	struct rabbitmq_store_memo *memo = adapter->stores;
	const struct row *row;
	bool known;

	pthread_mutex_lock(&memo->lock);
	*ret_number = memo->number;
	row = row_find(memo, group);
	known = row && clock_now_ns() < row->found_ns + KEEP_NS;
	if (known)
		*ret_store = row->store;
	pthread_mutex_unlock(&memo->lock);
	return known;
}

// NULL: no memory.
static struct row *row_get(struct rabbitmq_store_memo *memo, const struct group *group)
{
	struct row *row = row_find(memo, group);

	if (row)
		return row;
	row = calloc(1, sizeof *row);
	if (!row)
		return NULL;
	row->by_group.key = group->object.id;
	if (map_put(&memo->rows, &row->by_group) == 0)
		return row;
	free(row);
	return NULL;
}

void rabbitmq_store_memo_put(struct adapter *adapter, const struct group *group,
			     struct rabbitmq_store store, uint64_t number)
{
	struct rabbitmq_store_memo *memo = adapter->stores;
	struct row *row;

	pthread_mutex_lock(&memo->lock);
	row = number == memo->number ? row_get(memo, group) : NULL;
	if (row) {
		row->store = store;
		row->found_ns = clock_now_ns();
	}
	pthread_mutex_unlock(&memo->lock);
}

void rabbitmq_store_memo_forget(struct adapter *adapter, const struct group *group)
{
	struct rabbitmq_store_memo *memo = adapter->stores;
	struct row *row;

	pthread_mutex_lock(&memo->lock);
	++memo->number;
	row = row_find(memo, group);
	if (row)
		map_remove(&memo->rows, &row->by_group);
	free(row);
	pthread_mutex_unlock(&memo->lock);
}
