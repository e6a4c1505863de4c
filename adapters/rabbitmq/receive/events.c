// Deliveries are gathered and leave in one task at the end of the round of the link's loop, or when
// a batch is full; every other event is a task in the attachment that leaves at once, behind the
// deliveries before it.
//
// An event is told again only when the source has seen the one before: it gives the order that is
// answered again only then. detached() leaves from the end of the round, too: nothing of the
// attachment is touched on the link behind it.

#include "adapters/rabbitmq/receive/events.h"

#include "adapters/rabbitmq/receive/source_home.h"

#include <errno.h>

#define BATCH 64u

struct rabbitmq_batch {
	struct loop_task task;
	struct queue_attachment *attachment;
	unsigned count, renewals;
	struct queue_arrival arrivals[BATCH];
};

#define ATTACHMENT(task, member) CONTAINER_OF(task, struct queue_attachment, member)

// ---- on the home loop

static void on_batch(struct loop_task *task)
{
	struct rabbitmq_batch *batch = CONTAINER_OF(task, struct rabbitmq_batch, task);

	rabbitmq_source_home_arrived(batch->attachment, batch->arrivals, batch->count,
				     batch->renewals);
	for (unsigned i = 0; i < batch->count; ++i)
		buf_unref(batch->arrivals[i].buf);
	free(batch);
}

static void on_opened(struct loop_task *task)
{
	struct queue_attachment *attachment = ATTACHMENT(task, event_opened);

	rabbitmq_source_home_opened(attachment, attachment->opened_epoch);
}

static void on_passed(struct loop_task *task)
{
	struct queue_attachment *attachment = ATTACHMENT(task, event_passed);

	if (!attachment->detaching)
		attachment->to.handlers->passed(attachment->to.ctx, attachment->passed_epoch);
}

static void on_cancelled(struct loop_task *task)
{
	struct queue_attachment *attachment = ATTACHMENT(task, event_cancelled);

	if (!attachment->detaching)
		attachment->to.handlers->cancelled(attachment->to.ctx, attachment->cancelled_epoch);
}

static void on_lost(struct loop_task *task)
{
	struct queue_attachment *attachment = ATTACHMENT(task, event_lost);

	rabbitmq_source_home_lost(attachment, attachment->lost_epoch, &attachment->lost);
}

static void on_gone(struct loop_task *task)
{
	struct queue_attachment *attachment = ATTACHMENT(task, event_gone);

	if (!attachment->detaching)
		attachment->to.handlers->gone(attachment->to.ctx, attachment->gone_text);
}

static void on_counted(struct loop_task *task)
{
	struct queue_attachment *attachment = ATTACHMENT(task, event_counted);

	rabbitmq_source_home_counted(attachment, attachment->counted_ok,
				     (uint64_t)attachment->counted[RABBITMQ_MAIN] +
					     attachment->counted[RABBITMQ_REPLAY],
				     attachment->counted[RABBITMQ_RETRY]);
}

static void on_detached(struct loop_task *task)
{
	rabbitmq_source_home_detached(ATTACHMENT(task, event_detached));
}

// ---- on the link

static void post(struct queue_attachment *attachment, struct loop_task *task)
{
	loop_post(attachment->to.loop, task);
}

static void flush(struct queue_attachment *attachment)
{
	struct rabbitmq_batch *batch = attachment->batch;

	attachment->batch = NULL;
	if (batch)
		post(attachment, &batch->task);
}

static void on_round_end(struct loop_task *task)
{
	struct queue_attachment *attachment = ATTACHMENT(task, batch_task);

	attachment->batch_task_posted = false;
	flush(attachment);
	if (attachment->detached_due)
		post(attachment, &attachment->event_detached);
}

static void leave_later(struct queue_attachment *attachment)
{
	if (attachment->batch_task_posted)
		return;
	attachment->batch_task_posted = true;
	loop_defer(rabbitmq_link_loop(attachment->adapter->receive), &attachment->batch_task);
}

static void tell(struct queue_attachment *attachment, struct loop_task *task)
{
	flush(attachment);
	post(attachment, task);
}

static struct rabbitmq_batch *batch_get(struct queue_attachment *attachment)
{
	struct rabbitmq_batch *batch = attachment->batch;

	if (batch)
		return batch;
	batch = malloc(sizeof *batch);
	if (!batch)
		return NULL;
	batch->task.fn = on_batch;
	batch->attachment = attachment;
	batch->count = batch->renewals = 0;
	attachment->batch = batch;
	leave_later(attachment);
	return batch;
}

int rabbitmq_events_arrived(struct queue_attachment *attachment,
			    const struct queue_arrival *arrival, bool renewal)
{
	struct rabbitmq_batch *batch = batch_get(attachment);

	if (!batch) {
		buf_unref(arrival->buf);
		return -ENOMEM;
	}
	batch->arrivals[batch->count++] = *arrival;
	batch->renewals += renewal;
	if (batch->count == BATCH)
		flush(attachment);
	return 0;
}

void rabbitmq_events_init(struct queue_attachment *attachment)
{
	attachment->batch_task.fn = on_round_end;
	attachment->event_opened.fn = on_opened;
	attachment->event_passed.fn = on_passed;
	attachment->event_cancelled.fn = on_cancelled;
	attachment->event_lost.fn = on_lost;
	attachment->event_gone.fn = on_gone;
	attachment->event_counted.fn = on_counted;
	attachment->event_detached.fn = on_detached;
}

void rabbitmq_events_opened(struct queue_attachment *attachment)
{
	attachment->opened_epoch = attachment->epoch;
	tell(attachment, &attachment->event_opened);
}

void rabbitmq_events_passed(struct queue_attachment *attachment)
{
	attachment->passed_epoch = attachment->epoch;
	tell(attachment, &attachment->event_passed);
}

void rabbitmq_events_cancelled(struct queue_attachment *attachment)
{
	attachment->cancelled_epoch = attachment->epoch;
	tell(attachment, &attachment->event_cancelled);
}

void rabbitmq_events_lost(struct queue_attachment *attachment, const struct rabbitmq_end *end)
{
	attachment->lost_epoch = attachment->epoch;
	attachment->lost = *end;
	tell(attachment, &attachment->event_lost);
}

void rabbitmq_events_gone(struct queue_attachment *attachment)
{
	tell(attachment, &attachment->event_gone);
}

void rabbitmq_events_counted(struct queue_attachment *attachment, bool ok)
{
	attachment->counted_ok = ok;
	tell(attachment, &attachment->event_counted);
}

void rabbitmq_events_detached(struct queue_attachment *attachment)
{
	attachment->detached_due = true;
	leave_later(attachment);
}
