// Subscriptions of a connection that ends leave their groups a few at a time.
//
// A connection may have tens of thousands of them. If all went at once, the loops of their groups
// would do nothing else for a tenth of a second, and whatever another tenant waits for would wait
// behind them. So the first of each connection go at once, and the others one for each that has
// gone, whichever connection it was of.
//
// Invariant: while links wait, LEAVES_OUT are on their way, so that the queue never stands still.

#include "proxy/client/leaves.h"

#include "proxy/group/member_link.h"

#define LEAVES_OUT     256u // of a worker, while others wait
#define LEAVES_AT_ONCE 64u  // of a connection, in any case

void leaves_init(struct leaves *leaves)
{
	list_init(&leaves->waiting);
	leaves->out = 0;
}

static void leave_now(struct leaves *leaves, struct member_link *link)
{
	link->paced = true;
	++leaves->out;
	loop_post(link->home->loop, &link->leave);
}

void leaves_add(struct leaves *leaves, struct member_link *link, uint32_t before)
{
	if (before < LEAVES_AT_ONCE)
		loop_post(link->home->loop, &link->leave);
	else if (leaves->out < LEAVES_OUT)
		leave_now(leaves, link);
	else
		list_push_back(&leaves->waiting, &link->waiting);
}

void leaves_gone(struct leaves *leaves, const struct member_link *link)
{
	if (!link->paced)
		return;
	assert(leaves->out > 0);
	--leaves->out;
	if (!list_empty(&leaves->waiting))
		leave_now(leaves, LIST_ENTRY(list_pop_front(&leaves->waiting), struct member_link,
					     waiting));
}

void leaves_end(struct leaves *leaves)
{
	while (!list_empty(&leaves->waiting))
		leave_now(leaves, LIST_ENTRY(list_pop_front(&leaves->waiting), struct member_link,
					     waiting));
}
