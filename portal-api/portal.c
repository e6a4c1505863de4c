// The portal's thread: one loop with the HTTP server, the sampler of statistics and the reconciler.
//
// Beside it an executor runs what takes long and needs nothing of the portal: background jobs. The
// thread is no loop_thread: its loop ends by itself, and the thread then saves the totals.
//
// Invariants: from portal_start()'s return to portal_stop()'s only this thread touches what belongs
// to the portal. The proxies' answers come on any thread and reach it through the loop's mailbox,
// and so do jobs that are done. Stopping waits for open requests and for every query, both of which
// have deadlines of their own, and for the jobs, each of which ends by itself.
//
// Not here: what the routes do, and the signals that stop the daemon (server/daemon.c).

#include "portal-api/portal.h"

#include "core/base/clock.h"
#include "core/base/log.h"
#include "core/base/util.h"
#include "core/control/leader.h"
#include "core/loop/thread.h"
#include "core/model/network.h"
#include "portal-api/call.h"
#include "portal-api/counters.h"
#include "portal-api/forwarded.h"
#include "portal-api/incidents.h"
#include "portal-api/portal_query.h"
#include "portal-api/proxies.h"
#include "portal-api/routes.h"
#include "portal-api/state.h"
#include "portal-api/throttle.h"

#include <errno.h>
#include <sched.h>
#include <sys/random.h>

enum { SAVE_EVERY = 60 }; // samples

struct sampler {
	struct portal *portal;
	struct loop_timer timer;
	unsigned round;
	bool asking;
};

// ---- statistics

static void on_totals(void *ctx, enum code code, json_t *answer, const char *text)
{
	struct sampler *sampler = ctx;
	struct portal *portal = sampler->portal;

	sampler->asking = false;
	if (code == CODE_OK) {
		json_decref(portal->latency);
		portal->latency = json_incref(json_object_get(answer, "latency"));
	}
	counters_take(portal->counters, code == CODE_OK ? answer : NULL, clock_now_ns(),
		      clock_wall_ms());
	json_decref(answer);
}

// Kept while it is fresh: an old answer says nothing about how a cluster is doing.
static void on_states(void *ctx, enum code code, json_t *answer, const char *text)
{
	struct portal *portal = ctx;

	json_decref(portal->states);
	portal->states = code == CODE_OK ? answer : NULL;
}

static void save_totals(struct portal *portal)
{
	int r = counters_save(portal->counters);

	if (r < 0)
		log_warn(NULL, "TOTALS-NOT-SAVED", "%s", strerror(-r));
}

static void on_sample(struct loop_timer *timer)
{
	struct sampler *sampler = CONTAINER_OF(timer, struct sampler, timer);
	struct portal *portal = sampler->portal;

	if (portal->stopping)
		return;
	loop_timer_set(timer, loop_now_ns(portal->loop) + S_NS);
	if (++sampler->round % SAVE_EVERY == 0)
		save_totals(portal);
	backlogs_tick(portal->backlogs);
	incidents_tick(portal->incidents);
	if (sampler->asking)
		return;
	sampler->asking = true;
	portal_query(portal, QUERY_CLUSTER_STATES, json_object(), on_states, portal);
	portal_query(portal, QUERY_TOTALS, json_object(), on_totals, sampler);
}

// ---- reconciling

static void reconcile_now(struct portal *portal)
{
	uint64_t next;

	if (portal->stopping)
		return;
	next = reconcile_run(portal->reconcile, clock_now_ns());
	if (next == UINT64_MAX)
		loop_timer_cancel(&portal->reconcile_timer);
	else
		loop_timer_set(&portal->reconcile_timer, next);
}

static void on_reconcile_timer(struct loop_timer *timer)
{
	reconcile_now(CONTAINER_OF(timer, struct portal, reconcile_timer));
}

static void on_reconcile_task(struct loop_task *task)
{
	struct portal *portal = CONTAINER_OF(task, struct portal, reconcile_task);

	__atomic_store_n(&portal->reconcile_posted, false, __ATOMIC_RELEASE);
	reconcile_now(portal);
}

// @thread any
static void wake_reconciler(void *ctx)
{
	state_wake_reconciler(ctx);
}

// ---- the HTTP server's handler

// A trusted balancer names the client it speaks for. Of several headers the last one counts: the
// client itself could have sent those before it.
static void find_client(const struct portal *portal, struct http_exchange *exchange)
{
	const struct portal_config *config = &portal->config;
	const struct head *head = http_head(exchange);
	const char *value = NULL;
	char client[INET6_ADDRSTRLEN];

	for (size_t i = 0; config->client_header && i < head->field_count; ++i)
		if (strcasecmp(head->fields[i].name, config->client_header) == 0)
			value = head->fields[i].value;
	for (size_t i = 0; value && i < config->balancer_count; ++i) {
		if (!network_contains(&config->balancers[i], http_peer_address(exchange)))
			continue;
		if (forwarded_client(value, config->balancers, config->balancer_count, client))
			http_set_peer(exchange, client);
		return;
	}
}

static void on_head(void *ctx, struct http_exchange *exchange, size_t *ret_body_bytes)
{
	find_client(ctx, exchange);
	call_begin(ctx, exchange, ret_body_bytes);
}

static void on_request(void *ctx, struct http_exchange *exchange)
{
	call_run(http_user(exchange));
}

static void on_refuse(void *ctx, struct http_exchange *exchange, unsigned status, const char *why)
{
	enum code code = status == 408 || status == 504   ? CODE_TIMEOUT
			 : status == 413 || status == 431 ? CODE_TOO_LARGE
			 : status == 503                  ? CODE_OVERLOADED
							  : CODE_BAD_REQUEST;

	call_problem(exchange, status, code, why, NULL, NULL);
}

static SSL_CTX *on_tls_context(void *ctx)
{
	struct portal *portal = ctx;

	return portal->config.tls_context ? portal->config.tls_context(portal->config.ctx) : NULL;
}

// ---- life

static void on_last_totals(void *ctx, enum code code, json_t *answer, const char *text)
{
	struct portal *portal = ctx;

	if (code == CODE_OK)
		counters_take(portal->counters, answer, clock_now_ns(), clock_wall_ms());
	json_decref(answer);
}

// What was counted since the last sample must not be lost with this process.
static void on_drained(void *ctx)
{
	struct portal *portal = ctx;

	portal->drained = true;
	portal_query(portal, QUERY_TOTALS, json_object(), on_last_totals, portal);
	state_stop_when_idle(portal);
}

static void on_stop(struct loop_task *task)
{
	struct portal *portal = CONTAINER_OF(task, struct portal, stop_task);

	portal->stopping = true;
	loop_timer_cancel(&portal->reconcile_timer);
	http_drain(portal->http, on_drained, portal);
}

static void *portal_thread(void *arg)
{
	struct portal *portal = arg;
	struct sampler sampler = {.portal = portal};
	int r;

	loop_timer_init(&sampler.timer, portal->loop, on_sample);
	loop_timer_set(&sampler.timer, clock_now_ns());
	reconcile_now(portal);
	r = loop_run(portal->loop);
	if (r < 0)
		log_error(NULL, "PORTAL-ENDED", "%s", strerror(-r));
	loop_timer_cancel(&sampler.timer);
	save_totals(portal);
	return NULL;
}

static void fill_defaults(struct portal_config *config)
{
#define DEFAULT(member, value) config->member = config->member ? config->member : (value)
	DEFAULT(connections, 256);
	DEFAULT(head_ms, 10000);
	DEFAULT(body_ms, 30000);
	DEFAULT(work_ms, 30000);
	DEFAULT(write_ms, 30000);
	DEFAULT(query_ms, 5000);
	DEFAULT(body_bytes, 64 << 10);
	DEFAULT(definitions_bytes, 16 << 20);
#undef DEFAULT
}

static bool is_loopback(const char *address)
{
	return strncmp(address, "127.", 4) == 0 || strncmp(address, "[::1]:", 6) == 0;
}

static int listen_all(struct portal *portal, const struct portal_config *config, size_t *ret_which)
{
	for (size_t i = 0; i < config->listener_count; ++i) {
		const struct portal_listener *listener = &config->listeners[i];
		int r;

		*ret_which = i;
		if (!listener->tls && !config->allow_plain && !is_loopback(listener->address))
			return PORTAL_E_PLAIN;
		r = http_listen(portal->http, listener->address, listener->tls, &portal->ports[i]);
		if (r < 0)
			return r;
	}
	*ret_which = config->listener_count;
	return 0;
}

// Also for a portal that was started halfway. Users of the loop go before it, in the reverse order
// of portal_init().
static void portal_free(struct portal *portal)
{
	if (portal->loop)
		proxies_stop(portal);
	reconcile_free(portal->reconcile);
	json_decref(portal->states);
	json_decref(portal->latency);
	incidents_free(portal->incidents);
	backlogs_free(portal->backlogs);
	counters_free(portal->counters);
	throttle_free(portal->throttle);
	http_free(portal->http);
	executor_free(portal->jobs);
	if (portal->loop)
		loop_free(portal->loop);
	free((char *)(uintptr_t)portal->config.data_dir);
	free((char *)(uintptr_t)portal->config.client_header);
	free((struct network *)(uintptr_t)portal->config.balancers);
	free(portal->ports);
	free(portal);
}

static int throttle_make(struct portal *portal)
{
	uint64_t seed;

	if (getrandom(&seed, sizeof seed, 0) != sizeof seed)
		return -EIO;
	return throttle_new(seed, &portal->throttle);
}

// Everything that may fail, without a thread yet. Listening comes last, so that no connection
// arrives before its parts exist. *ret_which is the listener that failed.
static int portal_init(struct portal *portal, size_t *ret_which)
{
	const struct portal_config *config = &portal->config;
	const struct http_limits limits = {.connections = config->connections,
					   .head_ms = config->head_ms,
					   .body_ms = config->body_ms,
					   .work_ms = config->work_ms,
					   .write_ms = config->write_ms};
	const struct http_handler handler = {.ctx = portal,
					     .head = on_head,
					     .request = on_request,
					     .refuse = on_refuse,
					     .tls_context = on_tls_context,
					     .release = call_release};
	const struct reconcile_config reconcile = {.registry = portal->registry,
						   .queries = config->queries,
						   .wake = wake_reconciler,
						   .wake_ctx = portal};
	int r;

	portal->ports = calloc(config->listener_count + 1, sizeof *portal->ports);
	if (!config->data_dir || !portal->ports || !config->balancers)
		return -ENOMEM;
	if ((r = loop_new("portal", &portal->loop)) < 0 ||
	    (r = executor_new("portal-jobs", 1, &portal->jobs)) < 0 ||
	    (r = http_new(portal->loop, &limits, &handler, &portal->http)) < 0 ||
	    (r = counters_new(portal->registry, config->catalog, config->data_dir,
			      &portal->counters)) < 0 ||
	    (r = backlogs_new(portal, &portal->backlogs)) < 0 ||
	    (r = incidents_new(portal, &portal->incidents)) < 0 ||
	    (r = throttle_make(portal)) < 0 ||
	    (r = reconcile_new(&reconcile, &portal->reconcile)) < 0)
		return r;
	loop_timer_init(&portal->reconcile_timer, portal->loop, on_reconcile_timer);
	portal->reconcile_task.fn = on_reconcile_task;
	portal->stop_task.fn = on_stop;
	r = listen_all(portal, config, ret_which);
	return r ? r : proxies_start(portal);
}

static const struct network *balancers_copy(const struct portal_config *config)
{
	struct network *copy = calloc(MAX(config->balancer_count, 1), sizeof *copy);

	for (size_t i = 0; copy && i < config->balancer_count; ++i)
		copy[i] = config->balancers[i];
	return copy;
}

int portal_start(const struct portal_config *config, struct portal **ret, size_t *ret_which)
{
	struct portal *portal = calloc(1, sizeof *portal);
	int r;

	*ret_which = config->listener_count;
	if (!portal)
		return -ENOMEM;
	portal->config = *config;
	portal->config.data_dir = strdup(config->data_dir);
	portal->config.client_header = config->client_header ? strdup(config->client_header) : NULL;
	portal->config.balancers = balancers_copy(config);
	portal->registry = config->registry;
	portal->routes = routes;
	portal->route_count = routes_count;
	portal->started_ms = clock_wall_ms();
	portal->started_ns = clock_now_ns();
	fill_defaults(&portal->config);
	r = portal_init(portal, ret_which);
	if (r == 0)
		r = thread_start("portal", portal_thread, portal, &portal->thread);
	if (r) {
		portal_free(portal);
		return r;
	}
	*ret = portal;
	return 0;
}

uint16_t portal_port(const struct portal *portal, size_t listener)
{
	return portal->ports[listener];
}

unsigned portal_control_port(const struct portal *portal)
{
	return portal->leader ? leader_port(portal->leader) : 0;
}

void portal_leaving(struct portal *portal)
{
	if (portal)
		__atomic_store_n(&portal->leaving, true, __ATOMIC_RELAXED);
}

void portal_each_total(const struct portal *portal, enum registry_kind kind, counters_row_fn fn,
		       void *ctx)
{
	counters_each(portal->counters, kind, fn, ctx);
}

void portal_each_backlog(const struct portal *portal, backlog_row_fn fn, void *ctx)
{
	backlogs_each(portal->backlogs, fn, ctx);
}

void portal_each_stored(const struct portal *portal, stored_use_fn fn, void *ctx)
{
	stored_each(counters_stored(portal->counters), fn, ctx);
}

void portal_each_stored_wait(const struct portal *portal, stored_wait_fn fn, void *ctx)
{
	stored_each_wait(counters_stored(portal->counters), fn, ctx);
}

const json_t *portal_latencies(const struct portal *portal)
{
	return portal->latency;
}

const json_t *portal_cluster_states(const struct portal *portal)
{
	return json_object_get(portal->states, "clusters");
}

uint64_t portal_totals_age_ns(const struct portal *portal)
{
	return counters_age_ns(portal->counters, clock_now_ns());
}

// Another thread may still be inside state_post() after its task has run on the loop: `posting` is
// 0 only when none is. Until then the loop must not be freed.
void portal_stop(struct portal *portal)
{
	if (!portal)
		return;
	loop_post(portal->loop, &portal->stop_task);
	pthread_join(portal->thread, NULL);
	executor_drain(portal->jobs);
	reconcile_free(portal->reconcile); // the loop is not woken any more
	portal->reconcile = NULL;
	while (__atomic_load_n(&portal->posting, __ATOMIC_ACQUIRE))
		sched_yield();
	portal_free(portal);
}
