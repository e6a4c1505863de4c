// A group on its home worker: opens and closes its source, applies its policy and changes of the
// catalog, and ends it. Members, and the actions that the engine asks for, are in member.c; every
// call of the engine ends in group_schedule().
//
// The source is opened when there are members and nothing holds the group (such as a reset), and
// closed when the last member has been gone for a while. Closing makes receipts stale. So while
// there are members it is closed only for a reason that they are told, or that moves positions
// anyway.

#include "proxy/group/group.h"

#include "core/base/log.h"
#include "proxy/group/dead_letter_copy.h"
#include "proxy/group/group_memory.h"
#include "proxy/group/member.h"
#include "proxy/resource/shared.h"

#include <errno.h>

static const struct source_handlers source_handlers;
static void source_open_if_wanted(struct group_home *home);
static void retries_wait(struct group_home *home, bool waits);

struct group_home *group_find(struct worker *worker, uint64_t id)
{
	struct map_node *node = map_find(&worker->groups, id);

	return node ? CONTAINER_OF(node, struct group_home, node) : NULL;
}

// ---- policy

const struct topic *group_dead_letter(const struct group_home *home)
{
	if (!home->model->dead_letter)
		return NULL;
	return catalog_topic(home->worker->shared->catalog, home->model->dead_letter);
}

static struct dispatch_policy policy_of(const struct group_home *home)
{
	const struct group *model = home->model;
	const struct topic *dead_letter = group_dead_letter(home);
	struct dispatch_policy policy = {.visibility_ns = model->visibility_ms * MS_NS,
					 .max_attempts = model->max_attempts,
					 .retry_delay_ms = model->retry_delay_ms,
					 .retry_delay_max_ms = model->retry_delay_max_ms,
					 .in_flight_max = UINT32_MAX,
					 .mode = model->mode,
					 .dead_letter = dead_letter != NULL,
					 .marks_by_id = !home->positions};

	if (home->tenant->model)
		policy.in_flight_max = home->tenant->model->limits.in_flight;
	model_unref(dead_letter);
	return policy;
}

// ---- time

static void on_timer(struct loop_timer *timer)
{
	struct group_home *home = CONTAINER_OF(timer, struct group_home, timer);

	dispatch_tick(home->dispatch, group_now_ns(home));
	group_schedule(home);
	members_check_stopped(home);
}

void group_schedule(struct group_home *home)
{
	uint64_t next_ns;

	group_memory_bound_pending(home);
	next_ns = dispatch_next_ns(home->dispatch);
	if (next_ns != UINT64_MAX && (!home->timer.at_ns || next_ns < home->timer.at_ns))
		loop_timer_set(&home->timer, next_ns);
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
		if (dispatch_new(&policy, &member_dispatch_ops, home, &home->dispatch) == 0 &&
		    map_put(&worker->groups, &home->node) == 0)
			return home;
	}
	dispatch_free(home->dispatch);
	model_unref(home->model);
	free(home);
	return NULL;
}

void group_set_source_state(struct group_home *home, enum group_source_state state)
{
	assert(state_table_has(STATE_TABLE_MOVES(GROUP_SOURCE_STATES), home->source_state, state));
	home->source_state = (uint8_t)state;
}

enum code group_source_open(struct group_home *home, const char **ret_text)
{
	struct source_config config = {.group = home->model,
				       .loop = home->worker->loop,
				       .handlers = &source_handlers,
				       .ctx = home,
				       .reserve_full = &home->tenant->storage->reserve_full};
	const struct topic *topic =
		catalog_topic(home->worker->shared->catalog, home->model->topic);
	const struct adapter_ops *ops;
	struct dispatch_policy policy;
	enum code code;
	int r;

	if (!topic)
		return CODE_NOT_FOUND;
	code = topic_use_get(home->worker, topic, &home->topic);
	model_unref(topic);
	if (code != CODE_OK)
		return code;
	ops = home->topic->backend->ops;
	code = capability_check(backend_capabilities(home->topic->backend), CAP_CONSUME, ret_text);
	if (code != CODE_OK) {
		home->topic = topic_use_unref(home->topic);
		return code;
	}
	home->positions = backend_capabilities(home->topic->backend) & CAP_POSITIONS;
	group_memory_open(home, home->topic->backend);
	free(home->partitions);
	home->partitions = calloc(home->topic->model->partitions, sizeof *home->partitions);
	config.topic = home->topic->model;
	config.adapter_topic = home->topic->handle;
	group_set_source_state(home, GROUP_SOURCE_OPEN);
	r = home->partitions
		    ? ops->source_open(home->topic->backend->adapter, &config, &home->source)
		    : -ENOMEM;
	if (r != 0) {
		group_set_source_state(home, GROUP_SOURCE_CLOSED);
		home->topic = topic_use_unref(home->topic);
		return r == -ENOMEM ? CODE_OVERLOADED : CODE_BACKEND_DOWN;
	}
	dispatch_reset(home->dispatch); // nothing has been demanded of this source yet
	policy = policy_of(home);
	dispatch_set_policy(home->dispatch, &policy);
	dispatch_tick(home->dispatch, group_now_ns(home));
	group_schedule(home);
	return CODE_OK;
}

static void tell_holds(struct group_home *home)
{
	while (home->holds) {
		struct loop_task *hold = home->holds;

		home->holds = hold->next;
		++home->held;
		hold->fn(hold);
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
	group_set_source_state(home, GROUP_SOURCE_CLOSED);
	group_memory_closed(home);
	retries_wait(home, false);
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
	group_set_source_state(home, GROUP_SOURCE_CLOSING);
	dispatch_reset(home->dispatch);
	dead_letter_copy_drop_waiting(home);
	group_schedule(home);
	members_check_stopped(home);
	home->topic->backend->ops->source_close(home->source, on_source_closed, home);
}

// Members are told why and go; the source closes behind them.
static void end_group(struct group_home *home, enum code code, const char *text)
{
	members_end(home, code, text);
	source_close(home);
}

static void source_open_if_wanted(struct group_home *home)
{
	const char *text = NULL;
	enum code code;

	if (list_empty(&home->members) || home->held || home->gone ||
	    home->source_state != GROUP_SOURCE_CLOSED || home->worker->draining)
		return;
	code = group_source_open(home, &text);
	if (code == CODE_OK)
		return;
	members_end(home, code, text);
}

static void on_idle(struct loop_timer *timer)
{
	struct group_home *home = CONTAINER_OF(timer, struct group_home, idle);

	if (list_empty(&home->members) && !home->copies)
		source_close(home);
}

void group_idle_later(struct group_home *home)
{
	if (list_empty(&home->members))
		loop_timer_set(&home->idle,
			       group_now_ns(home) + home->worker->limits.source_idle_ms * MS_NS);
}

void group_hold(struct group_home *home, struct loop_task *hold)
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
	assert(home->held > 0);
	--home->held;
	source_open_if_wanted(home);
	free_if_gone(home);
}

static void on_source_deliver(void *ctx, const struct delivery *deliveries, size_t count)
{
	struct group_home *home = ctx;

	assert(home->source_state == GROUP_SOURCE_OPEN);
	dispatch_arrived(home->dispatch, deliveries, count, group_now_ns(home));
	group_schedule(home);
}

// Members stay, and what they hold is stale.
static void on_source_lost(void *ctx)
{
	struct group_home *home = ctx;

	assert(home->source_state == GROUP_SOURCE_OPEN);
	dispatch_source_lost(home->dispatch, group_now_ns(home));
	dead_letter_copy_drop_waiting(home);
	group_schedule(home);
	members_check_stopped(home);
}

// ---- the tenant's reserve

const char *group_storage_waits(const struct group_home *home)
{
	return home->copies_waiting ? "dead_letter" : home->retries_wait ? "retry" : NULL;
}

// A full reserve is an incident of the group; it is over when nothing of the group waits.
static void incident_log(const struct group_home *home, bool before)
{
	const struct tenant *tenant = home->tenant->model;
	const char *waits = group_storage_waits(home);
	struct log_ctx log = {.tenant = tenant ? tenant->name : NULL};
	struct storage_use use;

	if (before == (waits != NULL))
		return;
	storage_use_read(home->tenant->storage, &use);
	if (waits)
		log_error(&log, "STORAGE-RESERVE-FULL",
			  "group %s waits: its %s finds no room, the limit of %llu bytes and the "
			  "reserve of %llu beyond it are in use; raise limits.storage_bytes, or "
			  "remove messages",
			  home->model->name, home->copies_waiting ? "dead letter" : "retries",
			  (unsigned long long)use.limit, (unsigned long long)use.reserve);
	else
		log_info(&log, "STORAGE-RESERVE-OK", "group %s goes on: its tenant has room again",
			 home->model->name);
}

void group_copies_wait(struct group_home *home, int change)
{
	bool before = group_storage_waits(home) != NULL;

	home->copies_waiting = (uint32_t)((int64_t)home->copies_waiting + change);
	incident_log(home, before);
}

static void retries_wait(struct group_home *home, bool waits)
{
	bool before = group_storage_waits(home) != NULL;

	home->retries_wait = waits;
	incident_log(home, before);
}

static void on_source_state(void *ctx, enum source_state state, enum code code, const char *text)
{
	struct group_home *home = ctx;
	struct log_ctx log = {.tenant = home->tenant->model ? home->tenant->model->name : NULL};

	assert(home->source_state == GROUP_SOURCE_OPEN);
	retries_wait(home, state == SOURCE_DOWN && code == CODE_LIMIT_EXCEEDED);
	if (state == SOURCE_DOWN)
		log_warn(&log, "GROUP-DOWN", "group %s cannot be read: %s%s%s", home->model->name,
			 code_name(code), text ? ", " : "", text ? text : "");
	if (state != SOURCE_GONE)
		return;
	topic_use_lost(home->topic); // the next that joins asks the backend again
	end_group(home, CODE_NOT_FOUND, "the group is gone on its backend");
}

static bool on_source_room(void *ctx, uint64_t bytes)
{
	return group_memory_has_room(ctx, bytes);
}

static void on_source_hold(void *ctx, uint64_t before, uint64_t after)
{
	group_memory_hold(ctx, before, after);
}

static const struct source_handlers source_handlers = {.deliver = on_source_deliver,
						       .state = on_source_state,
						       .lost = on_source_lost,
						       .room = on_source_room,
						       .hold = on_source_hold};

size_t group_backlog(struct group_home *home)
{
	if (home->source_state != GROUP_SOURCE_OPEN || !home->source)
		return 0;
	return home->topic->backend->ops->source_backlog(home->source, home->partitions,
							 home->topic->model->partitions);
}

// It waits in the group's retry store, or comes no more.
void group_forget_deleted(struct group_home *home)
{
	size_t count = dispatch_suspects(home->dispatch) ? group_backlog(home) : 0;

	for (size_t i = 0; i < count; ++i) {
		const struct source_partition *partition = &home->partitions[i];

		if (partition->has_log && partition->retrying == 0 && partition->delayed == 0)
			dispatch_gone(home->dispatch, partition->partition, partition->log.first);
	}
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
					 .lost = counters->lost,
					 .dead = counters->dead};
}

static void home_free(struct group_home *home)
{
	const struct consume_counters consumed = group_consumed(home);

	// The tenant's totals keep what a deleted group has counted.
	tenant_add_consumed(&home->tenant->consumed, &consumed);
	assert(list_empty(&home->members) && home->source_state == GROUP_SOURCE_CLOSED);
	assert(home->stopping == 0);
	dead_letter_copy_forget_all(home);
	loop_timer_cancel(&home->timer);
	loop_timer_cancel(&home->idle);
	map_remove(&home->worker->groups, &home->node);
	group_memory_end(home);
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

static void policy_changed(struct group_home *home)
{
	struct dispatch_policy policy = policy_of(home);

	dispatch_set_policy(home->dispatch, &policy);
	dispatch_tick(home->dispatch, group_now_ns(home));
	group_schedule(home);
}

static void delete_group(struct group_home *home)
{
	home->gone = true;
	end_group(home, CODE_NOT_FOUND, "the group was deleted");
	free_if_gone(home);
}

void group_changed(struct worker *worker, uint64_t id)
{
	struct group_home *home = group_find(worker, id);
	const struct group *model;

	if (!home)
		return;
	model = catalog_group(worker->shared->catalog, id);
	if (!model) {
		delete_group(home);
		return;
	}
	if (model->incarnation != home->model->incarnation)
		end_group(home, CODE_NOT_FOUND, "the group was deleted and made again");
	else if (model->state != MODEL_READY)
		end_group(home, CODE_NOT_READY, "the group is being changed or deleted");
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
	const struct topic *topic = catalog_topic(worker->shared->catalog, id);
	size_t cursor = 0;
	struct map_node *next = NULL, *node;

	while ((node = map_next(&worker->groups, &cursor, &next))) {
		struct group_home *home = CONTAINER_OF(node, struct group_home, node);

		if (home->model->dead_letter == id) {
			policy_changed(home);
			dead_letter_copy_retry(home);
		}
		if (!home->topic || home->model->topic != id)
			continue;
		if (!topic || topic->state != MODEL_READY ||
		    topic->incarnation != home->topic->model->incarnation)
			end_group(home, topic ? CODE_NOT_READY : CODE_NOT_FOUND,
				  "the topic has changed");
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
			end_group(home, CODE_NOT_READY, "the cluster is being opened again");
	}
}

void groups_pause(struct worker *worker)
{
	size_t cursor = 0;
	struct map_node *next = NULL, *node;

	while ((node = map_next(&worker->groups, &cursor, &next))) {
		struct group_home *home = CONTAINER_OF(node, struct group_home, node);

		dispatch_pause(home->dispatch, true, group_now_ns(home));
		group_schedule(home);
	}
}

void groups_close(struct worker *worker)
{
	size_t cursor = 0;
	struct map_node *next = NULL, *node;

	while ((node = map_next(&worker->groups, &cursor, &next)))
		end_group(CONTAINER_OF(node, struct group_home, node), CODE_SHUTTING_DOWN,
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
