// Lists under a lock, searched from their beginning: a broker for tests.

#include "tests/queue_example/broker.h"

#include "core/base/clock.h"
#include "core/wire/record.h"

static pthread_mutex_t lock = PTHREAD_RECURSIVE_MUTEX_INITIALIZER_NP;
static struct broker *brokers;

pthread_mutex_t *broker_lock(void)
{
	pthread_mutex_lock(&lock);
	return &lock;
}

void broker_unlock(pthread_mutex_t **locked)
{
	pthread_mutex_unlock(*locked);
}

void *broker_alloc(size_t size)
{
	void *memory = calloc(1, size);

	assert(memory);
	return memory;
}

struct broker *broker_at(const char *dir)
{
	struct broker *broker;

	for (broker = brokers; broker; broker = broker->next)
		if (strcmp(broker->dir, dir) == 0)
			return broker;
	broker = broker_alloc(sizeof *broker + strlen(dir) + 1);
	strcpy(broker->dir, dir);
	list_init(&broker->queues);
	broker->next = brokers;
	return brokers = broker;
}

struct broker_queue *broker_find(struct broker *broker, const struct topic *topic,
				 const struct group *group)
{
	LIST_FOREACH(at, next, &broker->queues)
	{
		if (BROKER_QUEUE(at)->topic == topic->object.id &&
		    BROKER_QUEUE(at)->group == (group ? group->object.id : 0))
			return BROKER_QUEUE(at);
	}
	return NULL;
}

void broker_make(struct broker *broker, const struct topic *topic, const struct group *group)
{
	struct broker_queue *queue = broker_alloc(sizeof *queue);

	*queue = (struct broker_queue){.topic = topic->object.id,
				       .group = group ? group->object.id : 0,
				       .incarnation = topic->incarnation,
				       .partitions = topic->partitions,
				       .keeps = group || topic->dead_letter_of};
	list_init(&queue->messages);
	list_push_back(&broker->queues, &queue->in_broker);
}

void broker_put(struct broker_queue *queue, const struct queue_arrival *arrival, bool copy)
{
	struct broker_message *message = broker_alloc(sizeof *message);

	message->arrival = *arrival;
	message->copy = copy;
	buf_ref(arrival->buf);
	list_push_back(&queue->messages, &message->in_queue);
}

void broker_drop(struct broker_queue *queue, uint64_t tag)
{
	LIST_FOREACH(at, next, &queue->messages)
	{
		if (BROKER_MESSAGE(at)->arrival.tag == tag) {
			list_unlink(at);
			buf_unref(BROKER_MESSAGE(at)->arrival.buf);
			free(BROKER_MESSAGE(at));
		}
	}
}

void broker_give_back(struct broker_queue *queue)
{
	LIST_FOREACH(at, next, &queue->messages)
	{
		struct queue_arrival *arrival = &BROKER_MESSAGE(at)->arrival;

		arrival->given_back = arrival->given_back || arrival->tag;
		arrival->tag = 0;
	}
}

struct queue_counts broker_count(const struct broker_queue *queue)
{
	uint64_t now_ms = (uint64_t)clock_wall_ms();
	struct queue_counts counts = {0};

	if (!queue)
		return counts;
	LIST_FOREACH(at, next, &queue->messages)
	{
		const struct queue_arrival *arrival = &BROKER_MESSAGE(at)->arrival;
		bool waits = arrival->due_ms > now_ms;

		if (arrival->tag)
			continue;
		counts.ready += !waits;
		counts.retrying += waits && arrival->attempts;
		counts.delayed += waits && !arrival->attempts;
	}
	return counts;
}

size_t broker_take(struct broker_queue *queue, uint64_t tag, struct queue_arrival *ret, size_t room)
{
	uint64_t now_ms = (uint64_t)clock_wall_ms();
	size_t taken = 0;

	LIST_FOREACH(at, next, &queue->messages)
	{
		struct queue_arrival *arrival = &BROKER_MESSAGE(at)->arrival;
		bool waits = BROKER_MESSAGE(at)->copy && arrival->due_ms > now_ms;

		if (taken == room)
			break;
		if (arrival->tag || waits)
			continue;
		arrival->tag = tag + taken;
		buf_ref(arrival->buf);
		ret[taken++] = *arrival;
	}
	return taken;
}

uint64_t broker_purge(struct broker_queue *queue, bool preview)
{
	struct queue_counts counts = broker_count(queue);

	if (!preview)
		broker_drop(queue, 0);
	return counts.ready + counts.retrying + counts.delayed;
}

static uint64_t due_ms_of(const uint8_t *record)
{
	struct record_view view;

	record_read(record, &view);
	return view.flags & RECORD_DUE ? (uint64_t)view.due_ms : 0;
}

enum code broker_send(struct broker *broker, const struct topic *topic, struct buf *buf,
		      const struct submit_record *record)
{
	const struct broker_queue *row = broker_find(broker, topic, NULL);
	const struct queue_arrival arrival = {.buf = buf,
					      .record = record->data,
					      .partition = record->partition,
					      .due_ms = due_ms_of(record->data),
					      .stored_ms = clock_wall_ms()};
	enum code code = CODE_NO_ROUTE;

	if (!row || record->partition >= row->partitions)
		return row ? CODE_NOT_READY : CODE_NOT_FOUND;
	LIST_FOREACH(at, next, &broker->queues)
	{
		if (BROKER_QUEUE(at)->topic != row->topic || !BROKER_QUEUE(at)->keeps)
			continue;
		broker_put(BROKER_QUEUE(at), &arrival, false);
		code = CODE_OK;
	}
	return code;
}
