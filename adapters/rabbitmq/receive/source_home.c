// The home side of a source: it finds out once what is there of the group's retry store, opens
// channels, adds up counts, and knows when nothing is on its way any more.
//
// What is there of the retry store is found at the first open() and kept: what this source makes is
// added to it, and what the broker misses later is looked for anew. Where the cluster does not
// answer that question, it is asked again after FIND_NS, and open() stays unanswered meanwhile.
//
// A count has two parts. The group's queue and `.retry` are counted on the channel, so that their
// numbers come between deliveries as they were taken; the levels, which only the broker empties,
// are counted on the ask link, and only those that are there. Renewals that wait in `.retry` take
// the place of what is held, which the source takes off `ready`: so they are counted there.
//
// The end: the link has nothing of the attachment any more, no count is unanswered, no copy is on
// its way; a look that is not answered is abandoned.

#include "adapters/rabbitmq/receive/source_home.h"

#include "adapters/rabbitmq/receive/orders.h"
#include "adapters/rabbitmq/receive/store_job.h"

#define FIND_NS S_NS // until the next look, when the cluster has not answered

// ---- the end

static void attachment_free(void *memory)
{
	struct queue_attachment *attachment = memory;

	rabbitmq_outstanding_deinit(&attachment->outstanding);
	free(attachment);
}

static void end_if_done(struct queue_attachment *attachment)
{
	if (!attachment->link_detached || attachment->counts_left || attachment->finding ||
	    attachment->copies)
		return;
	attachment->to.handlers->detached(attachment->to.ctx);
	loop_free_later(attachment->to.loop, attachment, attachment_free);
}

// ---- what is there

static void channel_order(struct queue_attachment *attachment)
{
	attachment->opening = false;
	rabbitmq_orders_open(attachment, attachment->home_epoch, attachment->store.retry,
			     attachment->store.replay);
}

static bool may_pass(enum code code)
{
	return code == CODE_BACKEND_DOWN || code == CODE_TIMEOUT || code == CODE_OVERLOADED;
}

static void find_later(struct queue_attachment *attachment)
{
	loop_timer_set(&attachment->find_timer, loop_now_ns(attachment->to.loop) + FIND_NS);
}

// Levels that are known stay so without `.retry`: it is made again with the next copy.
static void store_found(struct queue_attachment *attachment, const struct rabbitmq_store *found)
{
	struct rabbitmq_store *store = &attachment->store;

	store->retry = found->retry;
	store->replay = found->replay;
	for (unsigned attempts = 0; attempts < 2; ++attempts)
		store->levels[attempts] = MAX(store->levels[attempts], found->levels[attempts]);
}

static void on_found(struct rabbitmq_store_job *job, void *ctx)
{
	struct queue_attachment *attachment = ctx;

	attachment->finding = NULL;
	if (attachment->detaching) {
		end_if_done(attachment);
	} else if (job->code == CODE_OK) {
		store_found(attachment, &job->look.store);
		attachment->store_known = true;
		channel_order(attachment);
	} else if (may_pass(job->code)) {
		find_later(attachment);
	} else {
		attachment->opening = false;
		attachment->to.handlers->lost(attachment->to.ctx, attachment->home_epoch, job->code,
					      job->text);
	}
}

static void find(struct queue_attachment *attachment)
{
	if (rabbitmq_store_job_start(attachment->adapter, attachment->to.group, NULL,
				     attachment->to.loop, on_found, attachment,
				     &attachment->finding) < 0)
		find_later(attachment);
}

static void on_find_timer(struct loop_timer *timer)
{
	find(CONTAINER_OF(timer, struct queue_attachment, find_timer));
}

void rabbitmq_source_home_open(struct queue_attachment *attachment, uint64_t epoch)
{
	attachment->home_epoch = epoch;
	attachment->opening = true;
	if (attachment->store_known)
		channel_order(attachment);
	else
		find(attachment);
}

void rabbitmq_source_home_made(struct queue_attachment *attachment, bool attempts, int level)
{
	uint8_t *levels = &attachment->store.levels[attempts];

	*levels = MAX(*levels, (uint8_t)(level + 1));
	if (attachment->store.retry)
		return;
	attachment->store.retry = true;
	rabbitmq_orders_retry(attachment);
}

// ---- what the link tells

void rabbitmq_source_home_opened(struct queue_attachment *attachment, uint64_t epoch)
{
	if (!attachment->detaching)
		attachment->to.handlers->opened(attachment->to.ctx, epoch);
}

void rabbitmq_source_home_arrived(struct queue_attachment *attachment,
				  const struct queue_arrival *arrivals, size_t count,
				  unsigned renewals)
{
	attachment->renewals -= MIN(attachment->renewals, (uint64_t)renewals);
	if (!attachment->detaching)
		attachment->to.handlers->arrived(attachment->to.ctx, arrivals, count);
}

void rabbitmq_source_home_lost(struct queue_attachment *attachment, uint64_t epoch,
			       const struct rabbitmq_end *end)
{
	attachment->home_hold_ms = end->hold_ms;
	if (attachment->store.replay)
		attachment->store_known = false; // it may have been used up
	if (end->look_again) {
		attachment->store_known = false;
		attachment->store.retry = false;
	}
	if (!attachment->detaching)
		attachment->to.handlers->lost(attachment->to.ctx, epoch, end->code, end->text);
}

uint64_t rabbitmq_source_home_hold_max_ms(struct queue_attachment *attachment)
{
	return attachment->home_hold_ms;
}

// ---- counts

static void count_end(struct queue_attachment *attachment)
{
	struct queue_counts *counts = &attachment->counts;
	uint64_t renewals = MIN(attachment->renewals, counts->retrying);

	if (--attachment->counts_left > 0)
		return;
	counts->ready += renewals;
	counts->retrying -= renewals;
	attachment->to.handlers->counted(attachment->to.ctx,
					 attachment->counts_failed ? NULL : counts);
	if (attachment->detaching)
		end_if_done(attachment);
}

void rabbitmq_source_home_counted(struct queue_attachment *attachment, bool ok, uint64_t ready,
				  uint64_t retrying)
{
	attachment->counts_failed |= !ok;
	attachment->counts.ready += ready;
	attachment->counts.retrying += retrying;
	count_end(attachment);
}

static void on_levels(struct rabbitmq_store_job *job, void *ctx)
{
	struct queue_attachment *attachment = ctx;

	attachment->levels_job = NULL;
	attachment->counts_failed |= job->code != CODE_OK;
	attachment->counts.retrying += job->look.counts.retrying;
	attachment->counts.delayed += job->look.counts.delayed;
	count_end(attachment);
}

static void count_levels(struct queue_attachment *attachment)
{
	if (!attachment->store.levels[0] && !attachment->store.levels[1])
		return;
	if (rabbitmq_store_job_start(attachment->adapter, attachment->to.group, &attachment->store,
				     attachment->to.loop, on_levels, attachment,
				     &attachment->levels_job) < 0)
		attachment->counts_failed = true;
	else
		++attachment->counts_left;
}

void rabbitmq_source_home_count(struct queue_attachment *attachment)
{
	assert(!attachment->counts_left);
	attachment->counts = (struct queue_counts){0};
	attachment->counts_failed = false;
	attachment->counts_left = 1;
	count_levels(attachment);
	rabbitmq_orders_count(attachment);
}

// ---- beginning and ending

// The link has answered its part of a count before.
void rabbitmq_source_home_detached(struct queue_attachment *attachment)
{
	if (attachment->levels_abandoned) {
		attachment->counts_failed = true;
		count_end(attachment);
	}
	attachment->link_detached = true;
	end_if_done(attachment);
}

void rabbitmq_source_home_detach(struct queue_attachment *attachment)
{
	attachment->detaching = true;
	loop_timer_cancel(&attachment->find_timer);
	if (attachment->finding && rabbitmq_store_job_abandon(attachment->finding))
		attachment->finding = NULL;
	if (attachment->levels_job && rabbitmq_store_job_abandon(attachment->levels_job)) {
		attachment->levels_job = NULL;
		attachment->levels_abandoned = true;
	}
	rabbitmq_orders_detach(attachment);
}

void rabbitmq_source_home_init(struct queue_attachment *attachment)
{
	loop_timer_init(&attachment->find_timer, attachment->to.loop, on_find_timer);
}
