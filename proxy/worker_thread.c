// The thread of a worker, from start to end: it runs the loop and handles events from outside:
// changes of the catalog, reload, drain.
//
// It knows every room and calls each in the order of dependence: a change is applied to tenants and
// topics before connections and groups look at it. A drain has two steps: first the connections of
// every worker, because groups have consumers on any; then the groups.

#include "proxy/worker_thread.h"

#include "core/base/log.h"
#include "proxy/client/tenant_clients.h"
#include "proxy/group/group.h"
#include "proxy/probe/probes.h"
#include "proxy/query/query.h"
#include "proxy/resource/tenant.h"
#include "proxy/resource/topic.h"

#include <errno.h>
#include <openssl/ssl.h>
#include <stdio.h>

static void on_drain_timer(struct loop_timer *timer);
static void on_drain_look(struct loop_task *task);
static void on_close_groups(struct loop_task *task);

int worker_thread_new(const struct worker_thread_config *config, unsigned index,
		      struct worker_thread **ret)
{
	struct worker_thread *thread = calloc(1, sizeof *thread);
	struct worker *worker;
	char name[16];
	int r;

	if (!thread)
		return -ENOMEM;
	worker = &thread->worker;
	worker->workers = config->workers;
	worker->shared = config->shared;
	worker->clients = &thread->clients;
	worker->index = index;
	worker->limits = *config->limits;
	worker->drain_look.fn = on_drain_look;
	thread->probes = index == 0 ? config->probes : NULL;
	thread->queries = index == 0 ? config->queries : NULL;
	thread->on_left = config->left;
	thread->on_drained = config->drained;
	thread->ctx = config->ctx;
	thread->close_groups.fn = on_close_groups;
	snprintf(name, sizeof name, "proxy-%u", index);
	r = loop_new(name, &worker->loop);
	if (r < 0) {
		free(thread);
		return r;
	}
	loop_timer_init(&thread->drain_timer, worker->loop, on_drain_timer);
	r = clients_init(&thread->clients, worker, config->service, config->tls);
	if (r < 0) {
		loop_free(worker->loop);
		free(thread);
		return r;
	}
	*ret = thread;
	return 0;
}

int worker_thread_start(struct worker_thread *thread, const struct worker_thread_config *config)
{
	int r = listeners_open(&thread->listeners, &thread->worker, config->listeners,
			       config->listener_count);

	return r == 0 ? loop_thread_start(&thread->thread, thread->worker.loop) : r;
}

void worker_thread_stop(struct worker_thread *thread)
{
	loop_thread_stop(&thread->thread);
}

struct stop_event {
	struct loop_task task;
	struct loop *loop;
};

static void on_stop(struct loop_task *task)
{
	loop_stop(CONTAINER_OF(task, struct stop_event, task)->loop);
}

// Runs what is still in the mailbox: completions that came while the thread ended.
static void run_mailbox(struct loop *loop)
{
	struct stop_event stop = {{.fn = on_stop}, loop};

	loop_post(loop, &stop.task);
	loop_run(loop);
}

void worker_thread_free(struct worker_thread *thread)
{
	struct worker *worker;

	if (!thread)
		return;
	worker = &thread->worker;
	listeners_close(&thread->listeners);
	clients_close_all(&thread->clients, NULL);
	leave_queue_end(&thread->clients.leave_queue);
	worker->ending = true;
	run_mailbox(worker->loop);
	if (thread->queries)
		query_deinit(thread->queries);
	if (thread->probes)
		probes_deinit(thread->probes);
	groups_deinit(worker);
	loop_timer_cancel(&thread->drain_timer);
	topics_deinit(worker);
	tenant_clients_deinit(worker);
	tenants_deinit(worker);
	clients_deinit(&thread->clients);
	loop_free(worker->loop);
	free(thread);
}

// ---- changes of the catalog

struct change_event {
	struct loop_task task;
	struct worker_thread *thread;
	enum model_kind kind;
	uint64_t id;
	bool cluster_gone;
};

static void on_cluster_changed(const struct change_event *event)
{
	struct worker_thread *thread = event->thread;

	if (event->cluster_gone) {
		groups_cluster_gone(&thread->worker, event->id);
		topics_cluster_gone(&thread->worker, event->id);
	}
	if (thread->probes)
		probes_cluster_changed(thread->probes, event->id, event->cluster_gone);
}

static void on_change(struct loop_task *task)
{
	struct change_event *event = CONTAINER_OF(task, struct change_event, task);
	struct worker *worker = &event->thread->worker;

	switch (event->kind) {
	case MODEL_TENANT:
		tenant_changed(worker, event->id);
		tenant_clients_changed(worker, event->id);
		groups_tenant_changed(worker, event->id);
		break;
	case MODEL_ACCESS_KEY: clients_key_changed(worker->clients, event->id); break;
	case MODEL_CLUSTER: on_cluster_changed(event); break;
	case MODEL_TOPIC:
		topic_changed(worker, event->id);
		groups_topic_changed(worker, event->id);
		break;
	case MODEL_GROUP: group_changed(worker, event->id); break;
	case MODEL_KIND_COUNT: break;
	}
	free(event);
}

void worker_thread_changed(struct worker_thread *thread, enum model_kind kind, uint64_t id,
			   bool cluster_gone)
{
	struct change_event *event = malloc(sizeof *event);

	if (!event) {
		log_error(NULL, "CHANGE-LOST",
			  "out of memory; a worker keeps an old configuration");
		return;
	}
	*event = (struct change_event){.task.fn = on_change,
				       .thread = thread,
				       .kind = kind,
				       .id = id,
				       .cluster_gone = cluster_gone};
	loop_post(thread->worker.loop, &event->task);
}

struct reload_event {
	struct loop_task task;
	struct worker_thread *thread;
	struct proxy_limits limits;
	SSL_CTX *tls;
};

static void on_reload(struct loop_task *task)
{
	struct reload_event *event = CONTAINER_OF(task, struct reload_event, task);

	event->thread->worker.limits = event->limits;
	clients_set_tls(&event->thread->clients, event->tls);
	SSL_CTX_free(event->tls);
	if (event->thread->probes)
		probes_reload(event->thread->probes);
	free(event);
}

void worker_thread_reload(struct worker_thread *thread, const struct proxy_limits *limits,
			  SSL_CTX *tls)
{
	struct reload_event *event = malloc(sizeof *event);

	if (!event) {
		log_error(NULL, "RELOAD-LOST", "out of memory; a worker keeps its old settings");
		return;
	}
	if (tls)
		SSL_CTX_up_ref(tls);
	*event = (struct reload_event){
		.task.fn = on_reload, .thread = thread, .limits = *limits, .tls = tls};
	loop_post(thread->worker.loop, &event->task);
}

// ---- drain

struct drain_event {
	struct loop_task task;
	struct worker_thread *thread;
	uint32_t deadline_ms;
};

static void on_drain_timer(struct loop_timer *timer)
{
	struct worker_thread *thread = CONTAINER_OF(timer, struct worker_thread, drain_timer);

	clients_close_all(&thread->clients, "the time to leave is over");
}

static void on_drain(struct loop_task *task)
{
	struct drain_event *event = CONTAINER_OF(task, struct drain_event, task);
	struct worker_thread *thread = event->thread;
	struct worker *worker = &thread->worker;

	worker->draining = true;
	listeners_close(&thread->listeners);
	groups_pause(worker);
	loop_timer_set(&thread->drain_timer,
		       loop_now_ns(worker->loop) + event->deadline_ms * MS_NS);
	clients_goaway(&thread->clients, event->deadline_ms);
	free(event);
	worker_check_drained(worker);
}

void worker_thread_drain(struct worker_thread *thread, uint32_t deadline_ms)
{
	struct drain_event *event = malloc(sizeof *event);

	if (!event)
		abort(); // leaving without it would lose what is in flight
	*event = (struct drain_event){
		.task.fn = on_drain, .thread = thread, .deadline_ms = deadline_ms};
	loop_post(thread->worker.loop, &event->task);
}

static void on_drain_look(struct loop_task *task)
{
	struct worker *worker = CONTAINER_OF(task, struct worker, drain_look);
	struct worker_thread *thread = CONTAINER_OF(worker, struct worker_thread, worker);

	worker->drain_look_due = false;
	if (!thread->left && clients_gone(&thread->clients)) {
		thread->left = true;
		loop_timer_cancel(&thread->drain_timer);
		thread->on_left(thread->ctx);
	}
	if (thread->groups_closing && !worker->drained && groups_closed(worker) &&
	    (!thread->probes || probes_closed(thread->probes))) {
		worker->drained = true;
		thread->on_drained(thread->ctx);
	}
}

static void on_close_groups(struct loop_task *task)
{
	struct worker_thread *thread = CONTAINER_OF(task, struct worker_thread, close_groups);

	thread->groups_closing = true;
	groups_close(&thread->worker);
	if (thread->probes)
		probes_close(thread->probes);
	worker_check_drained(&thread->worker);
}

void worker_thread_close_groups(struct worker_thread *thread)
{
	loop_post(thread->worker.loop, &thread->close_groups);
}
