// A ring of the topics that were deleted here, so that opening one is refused without asking the
// cluster. One that fell out of the ring is opened, and its sends meet a missing exchange.

#include "adapters/rabbitmq/admin/ended.h"

#include <errno.h>

#define ENDED 1024

struct ended_row {
	uint64_t id, incarnation; // 0: empty
};

struct rabbitmq_ended {
	pthread_mutex_t lock;
	size_t next;
	struct ended_row rows[ENDED];
};

int rabbitmq_ended_start(struct adapter *adapter)
{
	adapter->ended = calloc(1, sizeof *adapter->ended);
	if (!adapter->ended)
		return -ENOMEM;
	pthread_mutex_init(&adapter->ended->lock, NULL);
	return 0;
}

void rabbitmq_ended_stop(struct adapter *adapter)
{
	if (!adapter->ended)
		return;
	pthread_mutex_destroy(&adapter->ended->lock);
	free(adapter->ended);
	adapter->ended = NULL;
}

static struct ended_row *row_find(struct rabbitmq_ended *ended, const struct topic *topic)
{
	for (size_t i = 0; i < ENDED; ++i)
		if (ended->rows[i].id == topic->object.id &&
		    ended->rows[i].incarnation == topic->incarnation)
			return &ended->rows[i];
	return NULL;
}

void rabbitmq_ended_add(struct adapter *adapter, const struct topic *topic)
{
	struct rabbitmq_ended *ended = adapter->ended;

	pthread_mutex_lock(&ended->lock);
	if (!row_find(ended, topic))
		ended->rows[ended->next++ % ENDED] =
			(struct ended_row){topic->object.id, topic->incarnation};
	pthread_mutex_unlock(&ended->lock);
}

void rabbitmq_ended_remove(struct adapter *adapter, const struct topic *topic)
{
	struct rabbitmq_ended *ended = adapter->ended;
	struct ended_row *row;

	pthread_mutex_lock(&ended->lock);
	row = row_find(ended, topic);
	if (row)
		*row = (struct ended_row){0};
	pthread_mutex_unlock(&ended->lock);
}

bool rabbitmq_ended_has(struct adapter *adapter, const struct topic *topic)
{
	struct rabbitmq_ended *ended = adapter->ended;
	bool has;

	pthread_mutex_lock(&ended->lock);
	has = row_find(ended, topic) != NULL;
	pthread_mutex_unlock(&ended->lock);
	return has;
}
