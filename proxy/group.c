// Joins members, source and engine. Every call of the engine ends in group_schedule(); the engine's
// actions are turned into letters and calls of the source here.
//
// The source is opened when there are members and nobody holds the group (a reset, say), and closed
// when the last member has been gone for a while. Closing makes receipts stale, so it never happens
// under members without a reason that they are told or that moves positions anyway.

#include "proxy/group.h"

#include "proxy/letter.h"
#include "proxy/proxy_state.h"
#include "quota/quota.h"

#include <errno.h>

struct member {
	struct dispatch_consumer consumer;
	struct list in_group;
	struct group_home *home;
	struct member_link *link;
	uint64_t throttle_told_ns;
	bool stopping, stopped; // STOPPED is sent when nothing of it is in flight
};

static const struct source_handlers source_handlers;
static const struct dispatch_ops dispatch_ops;
static void source_open_if_wanted(struct group_home *home);

static uint64_t now_of(const struct group_home *home)
{
	return loop_now_ns(home->worker->loop);
}

struct group_home *group_find(struct worker *worker, uint64_t id)
{
	struct map_node *node = map_find(&worker->groups, id);

	return node ? CONTAINER_OF(node, struct group_home, node) : NULL;
}

// ---- policy

static const struct topic *dead_letter_of(const struct group_home *home)
{
	if (!home->model->dead_letter)
		return NULL;
	return catalog_topic(home->worker->proxy->catalog, home->model->dead_letter);
}

static struct dispatch_policy policy_of(const struct group_home *home)
{
	const struct group *model = home->model;
	const struct topic *dead_letter = dead_letter_of(home);
	struct dispatch_policy policy = {.visibility_ns = model->visibility_ms * MS_NS,
					 .max_attempts = model->max_attempts,
					 .retry_delay_ms = model->retry_delay_ms,
					 .retry_delay_max_ms = model->retry_delay_max_ms,
					 .in_flight_max = UINT32_MAX,
					 .mode = model->mode,
					 .dead_letter = dead_letter != NULL};

	if (home->tenant->model)
		policy.in_flight_max = home->tenant->model->limits.in_flight;
	model_unref(dead_letter);
	return policy;
}

// ---- time

static void on_timer(struct loop_timer *timer)
{
	struct group_home *home = CONTAINER_OF(timer, struct group_home, timer);

	dispatch_tick(home->dispatch, now_of(home));
	group_schedule(home);
}

// STOPPED comes after the last answer to a settle.
static void check_stopped(struct member *member)
{
	struct member_link *link = member->link;

	if (!member->stopping || member->stopped || member->consumer.in_flight || link->requests)
		return;
	member->stopped = true;
	--member->home->stopping;
	loop_post(link->near->loop, &link->stopped);
}

static void check_all_stopped(struct group_home *home)
{
	LIST_FOREACH(pos, next, &home->members)
	check_stopped(LIST_ENTRY(pos, struct member, in_group));
}

void group_schedule(struct group_home *home)
{
	uint64_t next_ns = dispatch_next_ns(home->dispatch);

	if (next_ns != UINT64_MAX && (!home->timer.at_ns || next_ns < home->timer.at_ns))
		loop_timer_set(&home->timer, next_ns);
	if (home->stopping)
		check_all_stopped(home);
}

// ---- the source

static void on_idle(struct loop_timer *timer);
static void on_end(struct loop_task *task);

struct group_home *group_get(struct worker *worker, const struct group *model)
{
	struct group_home *home = group_find(worker, model->object.id);
	struct dispatch_policy policy;

	if (home)
		return home;
	home = calloc(1, sizeof *home);
	if (!home)
		return NULL;
	home->node.key = model->object.id;
	home->worker = worker;
	home->model = model_ref(model);
	list_init(&home->members);
	loop_timer_init(&home->timer, worker->loop, on_timer);
	loop_timer_init(&home->idle, worker->loop, on_idle);
	home->end.fn = on_end;
	home->tenant = tenant_get(worker, model->tenant);
	if (home->tenant) {
		policy = policy_of(home);
		if (dispatch_new(&policy, &dispatch_ops, home, &home->dispatch) == 0 &&
		    map_put(&worker->groups, &home->node) == 0)
			return home;
	}
	dispatch_free(home->dispatch);
	model_unref(home->model);
	free(home);
	return NULL;
}

static enum code source_open(struct group_home *home, const char **ret_text)
{
	struct source_config config = {.group = home->model,
				       .loop = home->worker->loop,
				       .handlers = &source_handlers,
				       .ctx = home};
	const struct topic *topic = catalog_topic(home->worker->proxy->catalog, home->model->topic);
	const struct adapter_ops *ops;
	enum code code;
	int r;

	if (!topic)
		return CODE_NOT_FOUND;
	code = topic_use_get(home->worker, topic, &home->topic);
	model_unref(topic);
	if (code != CODE_OK)
		return code;
	ops = home->topic->backend->ops;
	if (!(home->topic->backend->capabilities & CAP_CONSUME) || !ops->source_open) {
		*ret_text = "nothing can be consumed from this backend";
		home->topic = topic_use_unref(home->topic);
		return CODE_UNSUPPORTED_BY_BACKEND;
	}
	free(home->partitions);
	home->partitions = calloc(home->topic->model->partitions, sizeof *home->partitions);
	config.topic = home->topic->model;
	config.adapter_topic = home->topic->handle;
	home->source_state = GROUP_SOURCE_OPEN;
	r = home->partitions
		    ? ops->source_open(home->topic->backend->adapter, &config, &home->source)
		    : -ENOMEM;
	if (r != 0) {
		home->source_state = GROUP_SOURCE_CLOSED;
		home->topic = topic_use_unref(home->topic);
		return r == -ENOMEM ? CODE_OVERLOADED : CODE_BACKEND_DOWN;
	}
	dispatch_reset(home->dispatch); // nothing has been demanded of this source yet
	dispatch_tick(home->dispatch, now_of(home));
	group_schedule(home);
	return CODE_OK;
}

static void tell_holds(struct group_home *home)
{
	while (home->holds) {
		struct group_hold *hold = home->holds;

		home->holds = hold->next;
		++home->held;
		hold->done(hold);
	}
}

static void free_if_gone(struct group_home *home)
{
	if (!home->gone || home->ending || home->held || home->source_state != GROUP_SOURCE_CLOSED)
		return;
	home->ending = true;
	loop_defer(home->worker->loop, &home->end);
}

static void on_source_closed(void *ctx)
{
	struct group_home *home = ctx;

	struct worker *worker = home->worker;

	home->source = NULL;
	home->source_state = GROUP_SOURCE_CLOSED;
	home->topic = topic_use_unref(home->topic);
	tell_holds(home);
	source_open_if_wanted(home);
	free_if_gone(home);
	worker_check_drained(worker);
}

static void source_close(struct group_home *home)
{
	if (home->source_state != GROUP_SOURCE_OPEN)
		return;
	home->source_state = GROUP_SOURCE_CLOSING;
	dispatch_reset(home->dispatch);
	group_schedule(home);
	home->topic->backend->ops->source_close(home->source, on_source_closed, home);
}

static void close_member(struct member *member, enum code code, const char *text);

static void source_open_if_wanted(struct group_home *home)
{
	const char *text = NULL;
	enum code code;

	if (list_empty(&home->members) || home->held || home->gone ||
	    home->source_state != GROUP_SOURCE_CLOSED || home->worker->draining)
		return;
	code = source_open(home, &text);
	if (code == CODE_OK)
		return;
	while (!list_empty(&home->members))
		close_member(LIST_ENTRY(home->members.next, struct member, in_group), code, text);
}

static void on_idle(struct loop_timer *timer)
{
	struct group_home *home = CONTAINER_OF(timer, struct group_home, idle);

	if (list_empty(&home->members) && !home->burials)
		source_close(home);
}

static void idle_later(struct group_home *home)
{
	if (list_empty(&home->members))
		loop_timer_set(&home->idle,
			       now_of(home) + home->worker->limits.source_idle_ms * MS_NS);
}

void group_hold(struct group_home *home, struct group_hold *hold)
{
	hold->next = home->holds;
	home->holds = hold;
	if (home->source_state == GROUP_SOURCE_CLOSED)
		tell_holds(home);
	else
		source_close(home);
}

void group_release(struct group_home *home)
{
	--home->held;
	source_open_if_wanted(home);
	free_if_gone(home);
}

static void on_source_deliver(void *ctx, const struct delivery *deliveries, size_t count)
{
	struct group_home *home = ctx;

	if (home->source_state != GROUP_SOURCE_OPEN)
		return;
	dispatch_arrived(home->dispatch, deliveries, count, now_of(home));
	group_schedule(home);
}

static void end_members(struct group_home *home, enum code code, const char *text)
{
	while (!list_empty(&home->members))
		close_member(LIST_ENTRY(home->members.next, struct member, in_group), code, text);
}

static void on_source_state(void *ctx, enum source_state state, enum code code, const char *text)
{
	struct group_home *home = ctx;
	struct log_ctx log = {.tenant = home->tenant->model ? home->tenant->model->name : NULL};

	if (state == SOURCE_DOWN)
		log_warn(&log, "GROUP-DOWN", "group %s cannot be read: %s%s%s", home->model->name,
			 code_name(code), text ? ", " : "", text ? text : "");
	else if (state == SOURCE_GONE)
		end_members(home, CODE_NOT_FOUND, "the group is gone on its backend");
}

static const struct source_handlers source_handlers = {on_source_deliver, on_source_state};

// ---- what the engine wants done

static void do_deliver(void *ctx, struct dispatch_consumer *consumer,
		       const struct delivery *deliveries, size_t count)
{
	struct member *member = CONTAINER_OF(consumer, struct member, consumer);
	struct deliver_letter *letter =
		malloc(sizeof *letter + count * sizeof letter->deliveries[0]);
	struct buf *last = NULL;

	if (!letter)
		return; // they come again when their time is over
	letter->task.fn = subscription_on_deliver;
	letter->link = member->link;
	letter->count = (uint32_t)count;
	memcpy(letter->deliveries, deliveries, count * sizeof *deliveries);
	for (size_t i = 0; i < count; ++i) {
		if (deliveries[i].buf != last)
			buf_ref(deliveries[i].buf);
		last = deliveries[i].buf;
	}
	loop_post(member->link->near->loop, &letter->task);
}

static void do_drained(void *ctx, struct dispatch_consumer *consumer, uint64_t number)
{
	struct member *member = CONTAINER_OF(consumer, struct member, consumer);
	struct drained_letter *letter = malloc(sizeof *letter);

	if (!letter)
		return; // the client's own deadline ends its wait
	*letter = (struct drained_letter){
		.task.fn = subscription_on_drained, .link = member->link, .number = number};
	loop_post(member->link->near->loop, &letter->task);
}

// A settle is over: the link may be waiting for that.
static void request_over(struct member_link *link)
{
	--link->requests;
	if (link->member)
		check_stopped(link->member);
	else if (link->left && link->requests == 0)
		loop_post(link->near->loop, &link->gone);
}

static void request_done(struct settle_letter *request)
{
	struct member_link *link = request->link;

	if (--request->pending)
		return;
	for (uint32_t i = 0; request->code != CODE_OK && i < request->count; ++i) {
		request->entries[i].code = (uint16_t)request->code;
		request->entries[i].settled = 0;
	}
	request->task.fn = subscription_on_settled;
	loop_post(link->near->loop, &request->task);
	request_over(link);
}

static void on_durable(void *ctx, enum code code)
{
	struct settle_letter *request = ctx;

	if (code != CODE_OK)
		request->code = code;
	request_done(request);
}

static void do_settle(void *ctx, struct settle *settles, size_t count, void *opaque)
{
	struct group_home *home = ctx;
	struct settle_letter *request = opaque;
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

static void do_bury(void *ctx, const struct delivery *delivery, enum dispatch_reason reason,
		    uint32_t attempts)
{
	burial_start(ctx, delivery, reason, attempts);
}

static void do_unhold(void *ctx, void *opaque, bool lost)
{
	struct settle_letter *request = opaque;

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
		struct throttle_letter *letter;

		if (member->throttle_told_ns && now_ns < member->throttle_told_ns + S_NS)
			continue;
		letter = malloc(sizeof *letter);
		if (!letter)
			return; // only a notice
		member->throttle_told_ns = now_ns;
		*letter = (struct throttle_letter){.task.fn = subscription_on_throttle,
						   .link = member->link,
						   .wait_ns = why.wait_ns,
						   .limit = why.limit,
						   .remaining = why.remaining,
						   .bytes = why.bytes};
		loop_post(member->link->near->loop, &letter->task);
	}
}

static size_t do_charge(void *ctx, const struct delivery *deliveries, size_t count, uint64_t now_ns,
			uint64_t *ret_retry_ns)
{
	struct group_home *home = ctx;
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
	*ret_retry_ns = now_ns + MAX(why.wait_ns, MS_NS);
	tell_throttled(home, deliveries[passed].size, now_ns);
	return passed;
}

static uint64_t do_ready(void *ctx)
{
	struct group_home *home = ctx;
	uint64_t ready = 0;
	size_t count = group_backlog(home);

	if (count == 0)
		return home->source_state == GROUP_SOURCE_OPEN ? UINT64_MAX : 0;
	for (size_t i = 0; i < count; ++i)
		ready += home->partitions[i].ready;
	return ready;
}

static const struct dispatch_ops dispatch_ops = {.deliver = do_deliver,
						 .drained = do_drained,
						 .settle = do_settle,
						 .demand = do_demand,
						 .bury = do_bury,
						 .unhold = do_unhold,
						 .charge = do_charge,
						 .ready = do_ready};

size_t group_backlog(struct group_home *home)
{
	if (home->source_state != GROUP_SOURCE_OPEN || !home->source)
		return 0;
	return home->topic->backend->ops->source_backlog(home->source, home->partitions,
							 home->topic->model->partitions);
}

void groups_each_member(const struct worker *worker,
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

// ---- members

static void drop_member(struct member *member)
{
	struct group_home *home = member->home;

	member->link->member = NULL;
	if (member->stopping && !member->stopped)
		--home->stopping;
	list_unlink(&member->in_group);
	dispatch_leave(home->dispatch, &member->consumer, now_of(home));
	group_schedule(home);
	free(member);
	idle_later(home);
}

static void close_member(struct member *member, enum code code, const char *text)
{
	struct member_link *link = member->link;

	link->closed_code = code;
	link->closed_text = text;
	drop_member(member);
	loop_post(link->near->loop, &link->closed);
}

static enum code join(struct group_home *home, struct member_link *link, const char **ret_text)
{
	struct member *member;
	enum code code = CODE_OK;
	int r;

	if (home->gone)
		return CODE_NOT_FOUND;
	if (home->worker->draining)
		return CODE_SHUTTING_DOWN;
	if (home->source_state == GROUP_SOURCE_CLOSED && !home->held)
		code = source_open(home, ret_text);
	if (code != CODE_OK)
		return code;
	member = calloc(1, sizeof *member);
	if (!member)
		return CODE_OVERLOADED;
	r = dispatch_join(home->dispatch, &member->consumer);
	if (r == DISPATCH_E_IN_USE) {
		free(member);
		*ret_text = "the group is exclusive and has its consumer";
		return CODE_IN_USE;
	}
	member->home = home;
	member->link = link;
	link->member = member;
	list_push_back(&home->members, &member->in_group);
	loop_timer_cancel(&home->idle);
	return CODE_OK;
}

void group_on_join(struct loop_task *task)
{
	struct member_link *link = CONTAINER_OF(task, struct member_link, join);
	struct catalog *catalog = link->home->proxy->catalog;
	struct group_home *home;

	link->text = NULL;
	link->code = CODE_NOT_FOUND;
	link->model = catalog_group(catalog, link->group);
	if (link->model)
		link->topic = catalog_topic(catalog, link->model->topic);
	if (link->model && link->topic) {
		home = group_get(link->home, link->model);
		link->code = home ? join(home, link, &link->text) : CODE_OVERLOADED;
		if (home)
			link->dead_letter = dead_letter_of(home);
	}
	loop_post(link->near->loop, &link->joined);
}

void group_on_credit(struct loop_task *task)
{
	struct credit_letter *letter = CONTAINER_OF(task, struct credit_letter, task);
	struct member *member = letter->link->member;

	if (member && !member->stopping) {
		dispatch_credit(member->home->dispatch, &member->consumer, letter->messages,
				letter->bytes, letter->drain, now_of(member->home));
		group_schedule(member->home);
	}
	free(letter);
}

void group_on_settle(struct loop_task *task)
{
	struct settle_letter *letter = CONTAINER_OF(task, struct settle_letter, task);
	struct member *member = letter->link->member;
	struct group_home *home = member ? member->home : NULL;
	struct settle_letter *request = letter->number ? letter : NULL;

	letter->code = CODE_OK;
	letter->pending = 1;
	++letter->link->requests;
	if (member && home->source_state == GROUP_SOURCE_OPEN) {
		letter->pending += (uint32_t)dispatch_settle(home->dispatch, &member->consumer,
							     letter->entries, letter->count,
							     request, now_of(home));
		group_schedule(home);
	} else {
		letter->code = CODE_STALE;
	}
	if (request) {
		request_done(request);
		return;
	}
	request_over(letter->link);
	free(letter);
}

void group_on_stop(struct loop_task *task)
{
	struct member_link *link = CONTAINER_OF(task, struct member_link, stop);
	struct member *member = link->member;

	if (!member) {
		loop_post(link->near->loop, &link->stopped);
		return;
	}
	member->stopping = true;
	++member->home->stopping;
	dispatch_stop(member->home->dispatch, &member->consumer, now_of(member->home));
	group_schedule(member->home);
}

void group_on_leave(struct loop_task *task)
{
	struct member_link *link = CONTAINER_OF(task, struct member_link, leave);

	if (link->member)
		drop_member(link->member);
	link->left = true;
	if (link->requests == 0)
		loop_post(link->near->loop, &link->gone);
}

// ---- changes and the end

struct consume_counters group_consumed(const struct group_home *home)
{
	const struct dispatch_counters *counters = dispatch_counters(home->dispatch);

	return (struct consume_counters){.messages = counters->delivered_messages,
					 .bytes = counters->delivered_bytes,
					 .redelivered = counters->redelivered,
					 .acked = counters->acked,
					 .nacked = counters->nacked,
					 .rejected = counters->rejected,
					 .released = counters->released,
					 .timeouts = counters->timeouts,
					 .dead = counters->dead};
}

static void home_free(struct group_home *home)
{
	const struct consume_counters consumed = group_consumed(home);

	// The tenant's totals keep what a deleted group has counted.
	consume_counters_add(&home->tenant->consumed, &consumed);
	assert(list_empty(&home->members) && home->source_state == GROUP_SOURCE_CLOSED);
	burials_forget(home);
	loop_timer_cancel(&home->timer);
	loop_timer_cancel(&home->idle);
	map_remove(&home->worker->groups, &home->node);
	dispatch_free(home->dispatch);
	model_unref(home->model);
	free(home->partitions);
	free(home);
}

// Not from inside the source's own callback.
static void on_end(struct loop_task *task)
{
	home_free(CONTAINER_OF(task, struct group_home, end));
}

// Members are told why and go; the source closes behind them.
static void end(struct group_home *home, enum code code, const char *text)
{
	end_members(home, code, text);
	source_close(home);
}

static void policy_changed(struct group_home *home)
{
	struct dispatch_policy policy = policy_of(home);

	dispatch_set_policy(home->dispatch, &policy);
	dispatch_tick(home->dispatch, now_of(home));
	group_schedule(home);
}

static void go(struct group_home *home)
{
	home->gone = true;
	end(home, CODE_NOT_FOUND, "the group was deleted");
	free_if_gone(home);
}

void group_changed(struct worker *worker, uint64_t id)
{
	struct group_home *home = group_find(worker, id);
	const struct group *model;

	if (!home)
		return;
	model = catalog_group(worker->proxy->catalog, id);
	if (!model) {
		go(home);
		return;
	}
	if (model->incarnation != home->model->incarnation)
		end(home, CODE_NOT_FOUND, "the group was deleted and made again");
	else if (model->state != MODEL_READY)
		end(home, CODE_NOT_READY, "the group is being changed or deleted");
	model_unref(home->model);
	home->model = model;
	policy_changed(home);
}

void groups_tenant_changed(struct worker *worker, uint64_t tenant)
{
	size_t cursor = 0;
	struct map_node *next = NULL, *node;

	while ((node = map_next(&worker->groups, &cursor, &next))) {
		struct group_home *home = CONTAINER_OF(node, struct group_home, node);

		if (home->model->tenant == tenant)
			policy_changed(home);
	}
}

void groups_topic_changed(struct worker *worker, uint64_t id)
{
	const struct topic *topic = catalog_topic(worker->proxy->catalog, id);
	size_t cursor = 0;
	struct map_node *next = NULL, *node;

	while ((node = map_next(&worker->groups, &cursor, &next))) {
		struct group_home *home = CONTAINER_OF(node, struct group_home, node);

		if (home->model->dead_letter == id)
			policy_changed(home);
		if (!home->topic || home->model->topic != id)
			continue;
		if (!topic || topic->state != MODEL_READY ||
		    topic->incarnation != home->topic->model->incarnation)
			end(home, topic ? CODE_NOT_READY : CODE_NOT_FOUND, "the topic has changed");
		else if (!home->topic->current)
			source_close(home); // and opens again with the new partitions
	}
	model_unref(topic);
}

void groups_cluster_gone(struct worker *worker, uint64_t cluster)
{
	size_t cursor = 0;
	struct map_node *next = NULL, *node;

	while ((node = map_next(&worker->groups, &cursor, &next))) {
		struct group_home *home = CONTAINER_OF(node, struct group_home, node);

		if (home->topic && home->topic->model->cluster == cluster)
			end(home, CODE_NOT_READY, "the cluster is being opened again");
	}
}

void groups_pause(struct worker *worker)
{
	size_t cursor = 0;
	struct map_node *next = NULL, *node;

	while ((node = map_next(&worker->groups, &cursor, &next))) {
		struct group_home *home = CONTAINER_OF(node, struct group_home, node);

		dispatch_pause(home->dispatch, true, now_of(home));
		group_schedule(home);
	}
}

void groups_close(struct worker *worker)
{
	size_t cursor = 0;
	struct map_node *next = NULL, *node;

	while ((node = map_next(&worker->groups, &cursor, &next)))
		end(CONTAINER_OF(node, struct group_home, node), CODE_SHUTTING_DOWN,
		    "the proxy is leaving");
}

bool groups_closed(const struct worker *worker)
{
	size_t cursor = 0;
	struct map_node *next = NULL, *node;

	while ((node = map_next(&worker->groups, &cursor, &next)))
		if (CONTAINER_OF(node, struct group_home, node)->source_state !=
		    GROUP_SOURCE_CLOSED)
			return false;
	return true;
}

void groups_deinit(struct worker *worker)
{
	size_t cursor = 0;
	struct map_node *next = NULL, *node;

	while ((node = map_next(&worker->groups, &cursor, &next)))
		home_free(CONTAINER_OF(node, struct group_home, node));
}
