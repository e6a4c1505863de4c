// The run queue of a worker: decides which connection is served next.
//
// A round serves each queue that was active when it began once, in rotating order. A queue's
// members are served from the front until its quantum is used up; one that is not done goes to the
// back. So a tenant with a thousand busy connections gets no more of a round than one with a single
// connection, and no queue waits while the worker is idle. It does not know what the work is: no
// clock, no socket.

#include "proxy/engine/fair.h"

void fair_init(struct fair *fair)
{
	list_init(&fair->active);
}

void fair_queue_init(struct fair_queue *queue)
{
	list_init(&queue->active);
	list_init(&queue->waiting);
}

void fair_item_init(struct fair_item *item)
{
	list_init(&item->waiting);
}

void fair_add(struct fair *fair, struct fair_queue *queue, struct fair_item *item)
{
	if (!list_empty(&item->waiting))
		return;
	list_push_back(&queue->waiting, &item->waiting);
	if (list_empty(&queue->active))
		list_push_back(&fair->active, &queue->active);
}

void fair_remove(struct fair_queue *queue, struct fair_item *item)
{
	list_unlink(&item->waiting);
	if (list_empty(&queue->waiting))
		list_unlink(&queue->active);
}

// The queue is in no list while it is served: an item may remove itself or others from it.
static void serve_queue(struct fair *fair, struct fair_queue *queue, size_t quantum, size_t most,
			fair_work_fn work)
{
	size_t done = 0;

	while (done < quantum && !list_empty(&queue->waiting)) {
		struct fair_item *item =
			LIST_ENTRY(list_pop_front(&queue->waiting), struct fair_item, waiting);
		bool again = false;

		done += work(item, MIN(most, quantum - done), &again) + 1;
		if (again && list_empty(&item->waiting))
			list_push_back(&queue->waiting, &item->waiting);
	}
	// An item added meanwhile has made the queue active, and may have been served already.
	if (list_empty(&queue->waiting))
		list_unlink(&queue->active);
	else if (list_empty(&queue->active))
		list_push_back(&fair->active, &queue->active);
}

bool fair_round(struct fair *fair, size_t quantum, size_t most, fair_work_fn work)
{
	struct list round = LIST_INIT(round);

	while (!list_empty(&fair->active))
		list_push_back(&round, list_pop_front(&fair->active));
	while (!list_empty(&round)) {
		struct list *first = list_pop_front(&round);

		serve_queue(fair, LIST_ENTRY(first, struct fair_queue, active), quantum, most,
			    work);
	}
	return !list_empty(&fair->active);
}
