// Members of a group: events from their connections become calls of the engine, and actions of the
// engine become events for them and calls of the source.
//
// A member lives from JOIN to LEAVE, or until the group ends it. A settle that wants an answer is
// answered when the source has made it durable; STOPPED and GONE come after the last such answer.

#include "proxy/group/member.h"

#include "proxy/group/dead_letter_copy.h"
#include "proxy/group/member_link.h"
#include "proxy/resource/delivery_budget.h"
#include "proxy/resource/shared.h"
#include "quota/quota.h"

#define QUOTA_LOOK_NS S_NS // the quota may have been raised meanwhile

struct member {
	struct dispatch_consumer consumer;
	struct list in_group;
	struct group_home *home;
	struct member_link *link;
	uint64_t throttle_told_ns;
	bool stopping, stopped; // STOPPED is sent when nothing of it is in flight
};

// STOPPED comes after the last answer to a settle.
static void check_stopped(struct member *member)
{
	struct member_link *link = member->link;

	if (!member->stopping || member->stopped || member->consumer.in_flight || link->requests)
		return;
	assert(member->home->stopping > 0);
	member->stopped = true;
	--member->home->stopping;
	loop_post(link->near->loop, &link->stopped);
}

void members_check_stopped(struct group_home *home)
{
	if (home->stopping == 0)
		return;
	LIST_FOREACH(pos, next, &home->members)
	check_stopped(LIST_ENTRY(pos, struct member, in_group));
}

// ---- what the engine wants done

// The member goes when the engine has returned.
static void end_later(struct member *member, enum code code, const char *text)
{
	struct member_link *link = member->link;

	if (link->ending)
		return;
	link->ending = true;
	link->closed_code = code;
	link->closed_text = text;
	++link->requests; // the link stays until then
	loop_post(link->home->loop, &link->end);
}

static void do_silent(void *ctx, struct dispatch_consumer *consumer)
{
	end_later(CONTAINER_OF(consumer, struct member, consumer), CODE_TIMEOUT,
		  "nothing was heard of the subscription for half of the visibility timeout");
}

static void do_deliver(void *ctx, struct dispatch_consumer *consumer,
		       const struct delivery *deliveries, size_t count, uint32_t flags)
{
	struct member *member = CONTAINER_OF(consumer, struct member, consumer);
	struct deliver_event *event = malloc(sizeof *event + count * sizeof event->deliveries[0]);
	struct buf *last = NULL;

	if (!event) {
		// Both sides number deliveries by counting, so none may be left out.
		end_later(member, CODE_OVERLOADED, "out of memory");
		return;
	}
	event->task.fn = member->link->ops->deliver;
	event->link = member->link;
	event->flags = flags;
	event->count = (uint32_t)count;
	event->memory = member->home->tenant->memory;
	event->bytes = delivery_budget_size(deliveries, count);
	budget_add(event->memory, BUDGET_OUTPUT, event->bytes);
	memcpy(event->deliveries, deliveries, count * sizeof *deliveries);
	for (size_t i = 0; i < count; ++i) {
		if (deliveries[i].buf != last)
			buf_ref(deliveries[i].buf);
		last = deliveries[i].buf;
	}
	loop_post(member->link->near->loop, &event->task);
}

static void do_drained(void *ctx, struct dispatch_consumer *consumer, uint64_t number)
{
	struct member *member = CONTAINER_OF(consumer, struct member, consumer);
	struct drained_event *event = malloc(sizeof *event);

	if (!event)
		return; // the client's own deadline ends its wait
	*event = (struct drained_event){
		.task.fn = member->link->ops->drained, .link = member->link, .number = number};
	loop_post(member->link->near->loop, &event->task);
}

// A settle is over: the link may be waiting for that.
static void request_over(struct member_link *link)
{
	assert(link->requests > 0);
	--link->requests;
	if (link->member)
		check_stopped(link->member);
	else if (link->left && link->requests == 0)
		loop_post(link->near->loop, &link->gone);
}

static void request_done(struct settle_event *request)
{
	struct member_link *link = request->link;

	assert(request->pending > 0);
	if (--request->pending)
		return;
	for (uint32_t i = 0; request->code != CODE_OK && i < request->count; ++i) {
		request->entries[i].code = (uint16_t)request->code;
		request->entries[i].settled = 0;
	}
	request->task.fn = link->ops->settled;
	loop_post(link->near->loop, &request->task);
	request_over(link);
}

static void on_durable(void *ctx, enum code code)
{
	struct settle_event *request = ctx;

	if (code != CODE_OK)
		request->code = code;
	request_done(request);
}

static void do_settle(void *ctx, struct settle *settles, size_t count, void *opaque)
{
	struct group_home *home = ctx;
	struct settle_event *request = opaque;
	const struct adapter_ops *ops;

	if (home->source_state != GROUP_SOURCE_OPEN) {
		if (request)
			request->code = CODE_STALE;
		return;
	}
	ops = home->topic->backend->ops;
	if (request)
		++request->pending;
	ops->source_settle(home->source, settles, count, request ? on_durable : NULL, request);
}

static void do_demand(void *ctx, uint32_t messages, uint64_t bytes, uint32_t rejected)
{
	struct group_home *home = ctx;

	if (home->source_state == GROUP_SOURCE_OPEN && home->source)
		home->topic->backend->ops->source_demand(home->source, messages, bytes, rejected);
}

static void do_copy_dead_letter(void *ctx, const struct delivery *delivery,
				enum dispatch_reason reason, uint32_t attempts)
{
	dead_letter_copy_start(ctx, delivery, reason, attempts);
}

static void do_release_request(void *ctx, void *opaque, bool lost)
{
	struct settle_event *request = opaque;

	if (lost)
		request->code = CODE_STALE;
	request_done(request);
}

static void tell_throttled(struct group_home *home, uint32_t size, uint64_t now_ns)
{
	struct quota_answer why;

	quota_explain(home->tenant->ledger, QUOTA_CONSUME, size, now_ns, &why);
	LIST_FOREACH(pos, next, &home->members)
	{
		struct member *member = LIST_ENTRY(pos, struct member, in_group);
		struct throttle_event *event;

		if (member->throttle_told_ns && now_ns < member->throttle_told_ns + S_NS)
			continue;
		event = malloc(sizeof *event);
		if (!event)
			return; // only a notice
		member->throttle_told_ns = now_ns;
		*event = (struct throttle_event){.task.fn = member->link->ops->throttle,
						 .link = member->link,
						 .wait_ns = why.wait_ns,
						 .limit = why.limit,
						 .remaining = why.remaining,
						 .bytes = why.bytes};
		loop_post(member->link->near->loop, &event->task);
	}
}

// How many of the deliveries the tenant's share of memory has room for. With fewer than count, when
// to ask again: later each time, because a tenant may have any number of groups.
static size_t memory_allows(struct group_home *home, const struct delivery *deliveries,
			    size_t count, uint64_t now_ns, uint64_t *ret_retry_ns)
{
	size_t fit = delivery_budget_fit(home->tenant->memory, deliveries, count);

	if (fit) {
		home->memory_wait_ns = 0;
	} else {
		home->memory_wait_ns = delivery_budget_wait_longer(home->memory_wait_ns);
		*ret_retry_ns = now_ns + home->memory_wait_ns;
	}
	if (fit && fit < count)
		*ret_retry_ns = now_ns + delivery_budget_wait_longer(0);
	return fit;
}

// Its connection may be waiting for that. One that is being dropped has told it already.
static void do_emptied(void *ctx, struct dispatch_consumer *consumer)
{
	struct member *member = CONTAINER_OF(consumer, struct member, consumer);

	if (member->link->member == member)
		check_stopped(member);
}

static size_t quota_allows(struct group_home *home, const struct delivery *deliveries, size_t count,
			   uint64_t now_ns, uint64_t *ret_retry_ns)
{
	struct quota_charge charge;
	struct quota_answer why;
	uint64_t total = 0;
	size_t passed;

	for (size_t i = 0; i < count; ++i)
		total += deliveries[i].size;
	passed = quota_charge_batch(home->tenant->ledger, QUOTA_CONSUME, &deliveries->size,
				    sizeof *deliveries, count, total, now_ns, &charge);
	quota_charge_close(&charge);
	if (passed == count)
		return count;
	quota_explain(home->tenant->ledger, QUOTA_CONSUME, deliveries[passed].size, now_ns, &why);
	*ret_retry_ns = now_ns + MIN(MAX(why.wait_ns, MS_NS), QUOTA_LOOK_NS);
	tell_throttled(home, deliveries[passed].size, now_ns);
	return passed;
}

static size_t do_charge(void *ctx, const struct delivery *deliveries, size_t count, uint64_t now_ns,
			uint64_t *ret_retry_ns)
{
	struct group_home *home = ctx;
	size_t fit = memory_allows(home, deliveries, count, now_ns, ret_retry_ns);

	return fit ? quota_allows(home, deliveries, fit, now_ns, ret_retry_ns) : 0;
}

static uint64_t do_ready(void *ctx)
{
	struct group_home *home = ctx;
	uint64_t ready = 0;
	size_t count = group_backlog(home);

	if (count == 0)
		return home->source_state == GROUP_SOURCE_OPEN ? UINT64_MAX : 0;
	for (size_t i = 0; i < count; ++i) {
		if (home->partitions[i].outdated)
			return UINT64_MAX;
		ready += home->partitions[i].ready;
	}
	return ready;
}

const struct dispatch_ops member_dispatch_ops = {.deliver = do_deliver,
						 .silent = do_silent,
						 .drained = do_drained,
						 .settle = do_settle,
						 .demand = do_demand,
						 .copy_dead_letter = do_copy_dead_letter,
						 .release_request = do_release_request,
						 .emptied = do_emptied,
						 .charge = do_charge,
						 .ready = do_ready};

// ---- members

static void drop_member(struct member *member, enum dispatch_leave why)
{
	struct group_home *home = member->home;

	member->link->member = NULL;
	if (member->stopping && !member->stopped)
		--home->stopping;
	list_unlink(&member->in_group);
	if (why == DISPATCH_LOST)
		group_forget_deleted(home);
	dispatch_leave(home->dispatch, &member->consumer, why, group_now_ns(home));
	group_schedule(home);
	free(member);
	group_idle_later(home);
}

static void close_member(struct member *member, enum code code, const char *text)
{
	struct member_link *link = member->link;

	link->closed_code = code;
	link->closed_text = text;
	drop_member(member, DISPATCH_ENDED);
	loop_post(link->near->loop, &link->closed);
}

void member_on_end(struct loop_task *task)
{
	struct member_link *link = CONTAINER_OF(task, struct member_link, end);

	if (link->member)
		close_member(link->member, link->closed_code, link->closed_text);
	request_over(link);
}

void members_end(struct group_home *home, enum code code, const char *text)
{
	while (!list_empty(&home->members))
		close_member(LIST_ENTRY(home->members.next, struct member, in_group), code, text);
}

static enum code join_member(struct group_home *home, struct member_link *link,
			     const char **ret_text)
{
	struct member *member;
	enum code code = CODE_OK;
	int r;

	if (home->gone)
		return CODE_NOT_FOUND;
	if (home->worker->draining)
		return CODE_SHUTTING_DOWN;
	if (home->source_state == GROUP_SOURCE_CLOSED && !home->held)
		code = group_source_open(home, ret_text);
	if (code != CODE_OK)
		return code;
	member = calloc(1, sizeof *member);
	if (!member)
		return CODE_OVERLOADED;
	r = dispatch_join(home->dispatch, &member->consumer, link->tells_begun, group_now_ns(home));
	if (r == DISPATCH_E_IN_USE) {
		free(member);
		*ret_text = "the group is exclusive and has its consumer";
		return CODE_IN_USE;
	}
	assert(!link->member && !link->left);
	member->home = home;
	member->link = link;
	link->member = member;
	list_push_back(&home->members, &member->in_group);
	loop_timer_cancel(&home->idle);
	return CODE_OK;
}

void member_on_join(struct loop_task *task)
{
	struct member_link *link = CONTAINER_OF(task, struct member_link, join);
	struct catalog *catalog = link->home->shared->catalog;
	struct group_home *home;

	link->text = NULL;
	link->code = CODE_NOT_FOUND;
	link->model = catalog_group(catalog, link->group);
	if (link->model)
		link->topic = catalog_topic(catalog, link->model->topic);
	if (link->model && link->topic) {
		home = group_get(link->home, link->model);
		link->code = home ? join_member(home, link, &link->text) : CODE_OVERLOADED;
		if (home)
			link->dead_letter = group_dead_letter(home);
	}
	loop_post(link->near->loop, &link->joined);
}

void member_on_credit(struct loop_task *task)
{
	struct credit_event *event = CONTAINER_OF(task, struct credit_event, task);
	struct member *member = event->link->member;

	if (member && event->heard)
		dispatch_heartbeat(member->home->dispatch, &member->consumer, event->begun,
				   group_now_ns(member->home));
	if (member) {
		bool gets = !member->stopping; // its drain is answered all the same

		dispatch_credit(member->home->dispatch, &member->consumer,
				gets ? event->messages : 0, gets ? event->bytes : 0, event->drain,
				group_now_ns(member->home));
		group_schedule(member->home);
	}
	free(event);
}

void member_on_settle(struct loop_task *task)
{
	struct settle_event *event = CONTAINER_OF(task, struct settle_event, task);
	struct member *member = event->link->member;
	struct group_home *home = member ? member->home : NULL;
	struct settle_event *request = event->number ? event : NULL;

	event->code = CODE_OK;
	event->pending = 1;
	++event->link->requests;
	if (member && home->source_state == GROUP_SOURCE_OPEN) {
		event->pending +=
			(uint32_t)dispatch_settle(home->dispatch, &member->consumer, event->entries,
						  event->count, request, group_now_ns(home));
		group_schedule(home);
	} else {
		event->code = CODE_STALE;
	}
	if (request) {
		request_done(request);
		return;
	}
	request_over(event->link);
	free(event);
}

void member_on_stop(struct loop_task *task)
{
	struct member_link *link = CONTAINER_OF(task, struct member_link, stop);
	struct member *member = link->member;

	if (!member) {
		loop_post(link->near->loop, &link->stopped);
		return;
	}
	member->stopping = true;
	++member->home->stopping;
	dispatch_stop(member->home->dispatch, &member->consumer, group_now_ns(member->home));
	group_schedule(member->home);
	check_stopped(member);
}

void member_on_leave(struct loop_task *task)
{
	struct member_link *link = CONTAINER_OF(task, struct member_link, leave);

	if (link->member)
		drop_member(link->member, link->lost ? DISPATCH_LOST : DISPATCH_ENDED);
	link->left = true;
	if (link->requests == 0)
		loop_post(link->near->loop, &link->gone);
}

void members_each(const struct worker *worker,
		  void (*fn)(void *ctx, uint64_t session, uint32_t in_flight), void *ctx)
{
	size_t cursor = 0;
	struct map_node *next_node = NULL, *node;

	while ((node = map_next(&worker->groups, &cursor, &next_node))) {
		struct group_home *home = CONTAINER_OF(node, struct group_home, node);

		LIST_FOREACH(pos, next, &home->members)
		{
			struct member *member = LIST_ENTRY(pos, struct member, in_group);

			fn(ctx, member->link->session, member->consumer.in_flight);
		}
	}
}
