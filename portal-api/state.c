// The portal's loop as its parts use it: what they post to it, and what it waits for before it
// ends.
//
// `asking` counts queries and jobs under way, `posting` the threads inside state_post(). Invariant:
// the loop stops only when the HTTP server is drained and `asking` is 0, so an answer always finds
// its portal. Only state_post() and state_wake_reconciler() may be called by other threads.

#include "portal-api/state.h"

void state_post(struct portal *portal, struct loop_task *task)
{
	__atomic_add_fetch(&portal->posting, 1, __ATOMIC_ACQ_REL);
	loop_post(portal->loop, task);
	__atomic_sub_fetch(&portal->posting, 1, __ATOMIC_ACQ_REL);
}

void state_stop_when_idle(struct portal *portal)
{
	if (portal->drained && portal->asking == 0)
		loop_stop(portal->loop);
}

void state_asked(struct portal *portal)
{
	portal->asking += 1;
}

void state_answered(struct portal *portal)
{
	assert(portal->asking);
	portal->asking -= 1;
	state_stop_when_idle(portal);
}

void state_wake_reconciler(struct portal *portal)
{
	if (!__atomic_exchange_n(&portal->reconcile_posted, true, __ATOMIC_ACQ_REL))
		state_post(portal, &portal->reconcile_task);
}

const json_t *state_cluster(const struct portal *portal, uint64_t cluster)
{
	const json_t *row;
	size_t i;

	json_array_foreach(json_object_get(portal->states, "clusters"), i,
			   row) if ((uint64_t)json_integer_value(json_object_get(row, "id")) ==
				    cluster) return row;
	return NULL;
}
