// The thread, the run queue of its connections, and events from outside: changes of the catalog,
// reload, drain.

#include "proxy/worker.h"

#include "proxy/client/conn.h"
#include "proxy/group/group.h"
#include "proxy/listener.h"
#include "proxy/proxy_state.h"
#include "proxy/query/query.h"

#include <errno.h>
#include <openssl/ssl.h>
#include <stdio.h>

#define TENANT_BYTES (1024u * 1024) // of a tenant in a round
#define RUN_BYTES    (256u * 1024)  // of a connection in a run

static void on_run(struct loop_task *task);
static void on_drain_timer(struct loop_timer *timer);
static void on_drain_look(struct loop_task *task);
static void on_close_groups(struct loop_task *task);

static void tls_replace(struct worker *worker, SSL_CTX *tls)
{
	if (tls)
		SSL_CTX_up_ref(tls);
	SSL_CTX_free(worker->tls);
	worker->tls = tls;
}

int worker_new(struct proxy *proxy, unsigned index, const struct proxy_config *config,
	       struct worker **ret)
{
	struct worker *worker = calloc(1, sizeof *worker);
	char name[16];
	int r;

	if (!worker)
		return -ENOMEM;
	worker->proxy = proxy;
	worker->index = index;
	worker->limits = config->limits;
	list_init(&worker->conns);
	list_init(&worker->queries);
	list_init(&worker->partial);
	leaves_init(&worker->leaves);
	fair_init(&worker->fair);
	fair_queue_init(&worker->unauthenticated);
	worker->run_task.fn = on_run;
	worker->drain_look.fn = on_drain_look;
	worker->close_groups.fn = on_close_groups;
	snprintf(name, sizeof name, "proxy-%u", index);
	r = loop_new(name, &worker->loop);
	if (r < 0) {
		free(worker);
		return r;
	}
	loop_timer_init(&worker->drain_timer, worker->loop, on_drain_timer);
	loop_timer_init(&worker->partial_timer, worker->loop, memory_on_partial);
	refusals_init(worker);
	r = sources_init(&worker->sources);
	if (r < 0) {
		loop_free(worker->loop);
		free(worker);
		return r;
	}
	tls_replace(worker, config->tls);
	*ret = worker;
	return 0;
}

static void *run(void *arg)
{
	struct worker *worker = arg;
	int r = loop_run(worker->loop);

	if (r < 0)
		log_error(NULL, "LOOP-FAILED", "a worker's loop ended: %s", strerror(-r));
	return NULL;
}

int worker_start(struct worker *worker)
{
	int r = listeners_open(worker);

	if (r == 0)
		r = -pthread_create(&worker->thread, NULL, run, worker);
	worker->running = r == 0;
	return r;
}

struct stop_event {
	struct loop_task task;
	struct loop *loop;
};

static void on_stop(struct loop_task *task)
{
	loop_stop(CONTAINER_OF(task, struct stop_event, task)->loop);
}

void worker_stop(struct worker *worker)
{
	if (!worker->running)
		return;
	loop_stop(worker->loop);
	pthread_join(worker->thread, NULL);
	worker->running = false;
}

// Runs what is still in the mailbox: completions that came while the thread ended.
static void run_mailbox(struct worker *worker)
{
	struct stop_event stop = {{.fn = on_stop}, worker->loop};

	loop_post(worker->loop, &stop.task);
	loop_run(worker->loop);
}

void worker_free(struct worker *worker)
{
	if (!worker)
		return;
	listeners_close(worker);
	while (!list_empty(&worker->conns))
		conn_close(LIST_ENTRY(worker->conns.next, struct conn, all), CODE_SHUTTING_DOWN,
			   NULL);
	leaves_end(&worker->leaves);
	worker->ending = true;
	run_mailbox(worker);
	queries_deinit(worker);
	if (worker->index == 0)
		probes_deinit(&worker->proxy->probes);
	groups_deinit(worker);
	loop_timer_cancel(&worker->drain_timer);
	loop_timer_cancel(&worker->partial_timer);
	refusals_deinit(worker);
	sources_deinit(&worker->sources);
	topics_deinit(worker);
	tenants_deinit(worker);
	map_deinit(&worker->sessions);
	loop_free(worker->loop);
	SSL_CTX_free(worker->tls);
	free(worker);
}

// ---- the run queue

void worker_enqueue(struct worker *worker, struct fair_queue *queue, struct fair_item *item)
{
	fair_add(&worker->fair, queue, item);
	if (worker->run_due)
		return;
	worker->run_due = true;
	loop_defer(worker->loop, &worker->run_task);
}

static void on_run(struct loop_task *task)
{
	struct worker *worker = CONTAINER_OF(task, struct worker, run_task);

	worker->run_due = fair_round(&worker->fair, TENANT_BYTES, RUN_BYTES, conn_work);
	if (worker->run_due)
		loop_defer(worker->loop, &worker->run_task);
}

// ---- changes of the catalog

struct change_event {
	struct loop_task task;
	struct worker *worker;
	enum model_kind kind;
	uint64_t id;
	bool cluster_gone;
};

static void recheck_conns(struct worker *worker, uint64_t key)
{
	LIST_FOREACH(pos, next, &worker->conns)
	{
		struct conn *conn = LIST_ENTRY(pos, struct conn, all);

		if (conn->state >= CONN_READY && conn->key && conn->key->object.id == key)
			conn_recheck(conn);
	}
}

static void on_change(struct loop_task *task)
{
	struct change_event *event = CONTAINER_OF(task, struct change_event, task);
	struct worker *worker = event->worker;

	switch (event->kind) {
	case MODEL_TENANT:
		tenant_changed(worker, event->id);
		groups_tenant_changed(worker, event->id);
		break;
	case MODEL_ACCESS_KEY: recheck_conns(worker, event->id); break;
	case MODEL_CLUSTER:
		if (event->cluster_gone) {
			groups_cluster_gone(worker, event->id);
			topics_cluster_gone(worker, event->id);
		}
		if (worker->index == 0)
			probes_cluster_changed(&worker->proxy->probes, event->id,
					       event->cluster_gone);
		break;
	case MODEL_TOPIC:
		topic_changed(worker, event->id);
		groups_topic_changed(worker, event->id);
		break;
	case MODEL_GROUP: group_changed(worker, event->id); break;
	case MODEL_KIND_COUNT: break;
	}
	free(event);
}

void worker_changed(struct worker *worker, enum model_kind kind, uint64_t id, bool cluster_gone)
{
	struct change_event *event = malloc(sizeof *event);

	if (!event) {
		log_error(NULL, "CHANGE-LOST",
			  "out of memory; a worker keeps an old configuration");
		return;
	}
	*event = (struct change_event){.task.fn = on_change,
				       .worker = worker,
				       .kind = kind,
				       .id = id,
				       .cluster_gone = cluster_gone};
	loop_post(worker->loop, &event->task);
}

struct reload_event {
	struct loop_task task;
	struct worker *worker;
	struct proxy_limits limits;
	SSL_CTX *tls;
};

static void on_reload(struct loop_task *task)
{
	struct reload_event *event = CONTAINER_OF(task, struct reload_event, task);

	event->worker->limits = event->limits;
	tls_replace(event->worker, event->tls);
	SSL_CTX_free(event->tls);
	if (event->worker->index == 0)
		probes_reload(&event->worker->proxy->probes);
	free(event);
}

void worker_reload(struct worker *worker, const struct proxy_limits *limits, SSL_CTX *tls)
{
	struct reload_event *event = malloc(sizeof *event);

	if (!event) {
		log_error(NULL, "RELOAD-LOST", "out of memory; a worker keeps its old settings");
		return;
	}
	if (tls)
		SSL_CTX_up_ref(tls);
	*event = (struct reload_event){
		.task.fn = on_reload, .worker = worker, .limits = *limits, .tls = tls};
	loop_post(worker->loop, &event->task);
}

// ---- drain

struct drain_event {
	struct loop_task task;
	struct worker *worker;
	uint32_t deadline_ms;
};

static void on_drain_timer(struct loop_timer *timer)
{
	struct worker *worker = CONTAINER_OF(timer, struct worker, drain_timer);

	while (!list_empty(&worker->conns))
		conn_close(LIST_ENTRY(worker->conns.next, struct conn, all), CODE_SHUTTING_DOWN,
			   "the time to leave is over");
}

static void on_drain(struct loop_task *task)
{
	struct drain_event *event = CONTAINER_OF(task, struct drain_event, task);
	struct worker *worker = event->worker;

	worker->draining = true;
	listeners_close(worker);
	groups_pause(worker);
	loop_timer_set(&worker->drain_timer,
		       loop_now_ns(worker->loop) + event->deadline_ms * MS_NS);
	LIST_FOREACH(pos, next, &worker->conns)
	conn_goaway(LIST_ENTRY(pos, struct conn, all), CODE_SHUTTING_DOWN, event->deadline_ms);
	free(event);
	worker_check_drained(worker);
}

void worker_drain(struct worker *worker, uint32_t deadline_ms)
{
	struct drain_event *event = malloc(sizeof *event);

	if (!event)
		abort(); // leaving without it would lose what is in flight
	*event = (struct drain_event){
		.task.fn = on_drain, .worker = worker, .deadline_ms = deadline_ms};
	loop_post(worker->loop, &event->task);
}

// First the connections of every worker, because groups have consumers on any; then the groups.
static void on_drain_look(struct loop_task *task)
{
	struct worker *worker = CONTAINER_OF(task, struct worker, drain_look);

	worker->drain_look_due = false;
	if (!worker->left && list_empty(&worker->conns) && list_empty(&worker->leaves.waiting)) {
		worker->left = true;
		loop_timer_cancel(&worker->drain_timer);
		proxy_worker_left(worker->proxy);
	}
	if (worker->groups_closing && !worker->drained && groups_closed(worker) &&
	    (worker->index > 0 || probes_closed(&worker->proxy->probes))) {
		worker->drained = true;
		proxy_worker_drained(worker->proxy);
	}
}

static void on_close_groups(struct loop_task *task)
{
	struct worker *worker = CONTAINER_OF(task, struct worker, close_groups);

	worker->groups_closing = true;
	groups_close(worker);
	if (worker->index == 0)
		probes_close(&worker->proxy->probes);
	worker_check_drained(worker);
}

void worker_close_groups(struct worker *worker)
{
	loop_post(worker->loop, &worker->close_groups);
}

void worker_check_drained(struct worker *worker)
{
	if (!worker->draining || worker->drained || worker->drain_look_due)
		return;
	worker->drain_look_due = true;
	loop_defer(worker->loop, &worker->drain_look);
}
