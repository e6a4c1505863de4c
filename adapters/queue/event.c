// Events of a queue backend on their way to the home loop of the source: one task each.
//
// An op may not call a handler before it returns, and a thread of the backend never; so both post.
//
// Invariant: an event names handlers, not the attachment, which may be freed before it is told. Not
// here: arrivals, which a backend has in memory of its own; and what a backend does when there is
// no memory for an event; it must end the channel or try again, since a source waits for each
// answer.

#include "adapters/queue/event.h"

#include "core/base/util.h"

#include <errno.h>

struct posted {
	struct loop_task task;
	const struct queue_handlers *handlers;
	void *ctx;
	struct queue_event event;
};

static void tell(const struct queue_handlers *handlers, void *ctx, const struct queue_event *event)
{
	switch (event->kind) {
	case QUEUE_EVENT_OPENED: handlers->opened(ctx, event->number); break;
	case QUEUE_EVENT_PASSED: handlers->passed(ctx, event->number); break;
	case QUEUE_EVENT_CANCELLED: handlers->cancelled(ctx, event->number); break;
	case QUEUE_EVENT_LOST: handlers->lost(ctx, event->number, event->code, event->text); break;
	case QUEUE_EVENT_GONE: handlers->gone(ctx, event->text); break;
	case QUEUE_EVENT_WRITTEN:
		handlers->written(ctx, event->number, event->outcome, event->code, event->text);
		break;
	case QUEUE_EVENT_COUNTED:
		handlers->counted(ctx, event->number ? &event->counts : NULL);
		break;
	case QUEUE_EVENT_DETACHED: handlers->detached(ctx); break;
	}
}

static void on_task(struct loop_task *task)
{
	struct posted *posted = CONTAINER_OF(task, struct posted, task);

	tell(posted->handlers, posted->ctx, &posted->event);
	free(posted);
}

int queue_event_post(const struct queue_attach *attach, const struct queue_event *event)
{
	struct posted *posted = malloc(sizeof *posted);

	if (!posted)
		return -ENOMEM;
	*posted = (struct posted){{.fn = on_task}, attach->handlers, attach->ctx, *event};
	loop_post(attach->loop, &posted->task);
	return 0;
}
