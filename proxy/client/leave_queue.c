// Lets the subscriptions of a connection that ends leave their groups a few at a time.
//
// A connection may have tens of thousands of them. If all went at once, the loops of their groups
// would do nothing else for a tenth of a second, and other tenants would wait behind them. So the
// first few of each connection leave at once; each of the others leaves when an earlier one, of any
// connection, has gone.
//
// Invariant: while links wait, LEAVE_QUEUE_OUT are on their way, so that the queue never stands
// still.

#include "proxy/client/leave_queue.h"

#include "proxy/group/member_link.h"

#define LEAVE_QUEUE_OUT     256u // of a worker, while others wait
#define LEAVE_QUEUE_AT_ONCE 64u  // of a connection, in any case

void leave_queue_init(struct leave_queue *queue)
{
	list_init(&queue->waiting);
	queue->out = 0;
}

static void leave_now(struct leave_queue *queue, struct member_link *link)
{
	link->paced = true;
	++queue->out;
	loop_post(link->home->loop, &link->leave);
}

void leave_queue_add(struct leave_queue *queue, struct member_link *link, uint32_t before)
{
	if (before < LEAVE_QUEUE_AT_ONCE)
		loop_post(link->home->loop, &link->leave);
	else if (queue->out < LEAVE_QUEUE_OUT)
		leave_now(queue, link);
	else
		list_push_back(&queue->waiting, &link->waiting);
}

void leave_queue_gone(struct leave_queue *queue, const struct member_link *link)
{
	if (!link->paced)
		return;
	assert(queue->out > 0);
	--queue->out;
	if (!list_empty(&queue->waiting))
		leave_now(queue,
			  LIST_ENTRY(list_pop_front(&queue->waiting), struct member_link, waiting));
}

void leave_queue_end(struct leave_queue *queue)
{
	while (!list_empty(&queue->waiting))
		leave_now(queue,
			  LIST_ENTRY(list_pop_front(&queue->waiting), struct member_link, waiting));
}
