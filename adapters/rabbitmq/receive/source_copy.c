// One copy: published to a queue of the group's retry store, and confirmed. A queue that is not
// there (it is known, or the broker returns the message) is made, once, and the copy is published
// again: what was returned is certainly not stored.
//
// What is due at once goes to the end of the group's queue, where it counts as ready; only in an
// imported queue, which may have native consumers, no copies are put. What is due within the
// shortest level goes to `.retry`; else to the largest level that is not longer than what remains.
// So a copy never comes too late by its level, and the source that receives it sends it on.
//
// A job goes from the home loop to the send link, perhaps over the ask link and back, and ends on
// the home loop; one thread has it at a time.

#include "adapters/rabbitmq/receive/source_copy.h"

#include "adapters/rabbitmq/receive/receiver_state.h"
#include "adapters/rabbitmq/receive/source_home.h"
#include "adapters/rabbitmq/send/sender.h"
#include "core/base/clock.h"

#include <stdio.h>

#define LEVEL_RETRY (-1) // no level, but `.retry`
#define LEVEL_QUEUE (-2) // nor that, but the group's queue

struct copy {
	struct rabbitmq_post post;
	struct rabbitmq_name name; // of the queue
	struct queue_attachment *attachment;
	uint64_t number;
	bool attempts;
	int level; // or one of the two above
	bool made; // the queue has been made for this copy
	struct rabbitmq_store_make *make;
	enum outcome outcome;
	enum code code;
	char text[256];
	struct loop_task task; // to the home loop
};

// ---- the end

static enum queue_outcome outcome_of(enum outcome outcome)
{
	switch (outcome) {
	case OUTCOME_OK: return QUEUE_WRITTEN;
	case OUTCOME_REJECTED: return QUEUE_REFUSED;
	default: return QUEUE_DOUBT;
	}
}

static void on_end(struct loop_task *task)
{
	struct copy *copy = CONTAINER_OF(task, struct copy, task);
	struct queue_attachment *attachment = copy->attachment;
	bool written = copy->outcome == OUTCOME_OK;

	if (copy->level != LEVEL_QUEUE && (copy->made || written))
		rabbitmq_source_home_made(attachment, copy->attempts, copy->level);
	if (written && copy->post.renewal)
		++attachment->renewals;
	--attachment->copies;
	attachment->to.handlers->written(attachment->to.ctx, copy->number,
					 outcome_of(copy->outcome), copy->code,
					 *copy->text ? copy->text : NULL);
	buf_unref(copy->post.buf);
	free(copy->make);
	free(copy);
}

static void copy_end(struct copy *copy, enum outcome outcome, enum code code, const char *text)
{
	copy->outcome = outcome;
	copy->code = code;
	snprintf(copy->text, sizeof copy->text, "%s", text ? text : "");
	loop_post(copy->attachment->to.loop, &copy->task);
}

// ---- making its queue

static void on_made(struct rabbitmq_store_make *make, enum code code, const char *text);

static void make_begin(struct copy *copy)
{
	struct queue_attachment *attachment = copy->attachment;

	copy->make = calloc(1, sizeof *copy->make);
	if (!copy->make) {
		copy_end(copy, OUTCOME_REJECTED, CODE_OVERLOADED, NULL);
		return;
	}
	*copy->make = (struct rabbitmq_store_make){.adapter = attachment->adapter,
						   .group = attachment->to.group,
						   .topic = attachment->to.topic,
						   .attempts = copy->attempts,
						   .level = copy->level,
						   .ctx = copy,
						   .done = on_made};
	rabbitmq_store_make(copy->make);
}

static void on_made(struct rabbitmq_store_make *make, enum code code, const char *text)
{
	struct copy *copy = make->ctx;

	if (code != CODE_OK) {
		copy_end(copy, OUTCOME_REJECTED, code, text);
		return;
	}
	copy->made = true;
	rabbitmq_sender_post(copy->attachment->adapter, &copy->post);
}

// ---- publishing

static void on_posted(struct rabbitmq_post *post, enum outcome outcome, enum code code,
		      const char *text)
{
	struct copy *copy = CONTAINER_OF(post, struct copy, post);

	if (outcome == OUTCOME_REJECTED && code == CODE_NO_ROUTE && !copy->made &&
	    copy->level != LEVEL_QUEUE)
		make_begin(copy);
	else
		copy_end(copy, outcome, code, text);
}

// A renewal must not come behind all that waits.
static int level_of(const struct queue_attachment *attachment, const struct queue_copy *copy)
{
	uint64_t now_ms = (uint64_t)clock_wall_ms();

	if (copy->due_ms > now_ms)
		return rabbitmq_receiver_state_level_for(attachment->adapter,
							 copy->due_ms - now_ms);
	return copy->renewal || attachment->to.group->imported ? LEVEL_RETRY : LEVEL_QUEUE;
}

static bool is_there(const struct rabbitmq_store *store, const struct copy *copy)
{
	return copy->level == LEVEL_QUEUE ||
	       (store->retry && copy->level < store->levels[copy->attempts]);
}

static void name_set(struct copy *copy)
{
	const struct group *group = copy->attachment->to.group;

	if (copy->level == LEVEL_QUEUE) {
		copy->post.queue = group->physical;
		return;
	}
	copy->name = copy->level == LEVEL_RETRY
			     ? rabbitmq_name_retry(group)
			     : rabbitmq_name_level(group, (unsigned)copy->level, copy->attempts);
	copy->post.queue = copy->name.text;
}

bool rabbitmq_source_copy_write(struct queue_attachment *attachment, const struct queue_copy *from)
{
	struct copy *copy = calloc(1, sizeof *copy);

	if (!copy)
		return false;
	copy->attachment = attachment;
	copy->number = from->number;
	copy->attempts = from->attempts > 0;
	copy->level = level_of(attachment, from);
	copy->task.fn = on_end;
	copy->post = (struct rabbitmq_post){.buf = buf_ref(from->buf),
					    .record = from->record,
					    .native = attachment->to.topic->native,
					    .partition = from->partition,
					    .attempts = from->attempts,
					    .due_ms = from->due_ms,
					    .stored_ms = from->stored_ms,
					    .renewal = from->renewal,
					    .done = on_posted};
	name_set(copy);
	++attachment->copies;
	if (attachment->store_known && !is_there(&attachment->store, copy))
		make_begin(copy);
	else
		rabbitmq_sender_post(attachment->adapter, &copy->post);
	return true;
}
