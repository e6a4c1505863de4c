// What rooms ask of a worker without including its owner: where a group is at home, and that a
// drain looks again. The look itself is worker_thread.c's, which puts it into drain_look.fn.

#include "proxy/base/worker.h"

struct worker *worker_home(const struct worker *worker, uint64_t group)
{
	return worker->workers->all[group % worker->workers->count];
}

void worker_check_drained(struct worker *worker)
{
	if (!worker->draining || worker->drained || worker->drain_look_due)
		return;
	worker->drain_look_due = true;
	loop_defer(worker->loop, &worker->drain_look);
}
