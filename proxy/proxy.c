// Starts the parts of the proxy and stops them in order: workers, then clusters.

#include "proxy/proxy.h"

#include "core/base/clock.h"
#include "core/model/network.h"
#include "proxy/listener.h"
#include "proxy/probe/probes.h"
#include "proxy/query/query.h"
#include "proxy/resource/shared.h"
#include "proxy/resource/storage_count.h"
#include "proxy/worker_thread.h"

#include <errno.h>
#include <semaphore.h>
#include <sys/sysinfo.h>

struct proxy {
	struct queries queries; // of the first worker
	struct probes probes;   // of the first worker
	struct shared shared;
	struct workers workers;
	struct worker_thread *threads[WORKER_MAX];
	struct worker_thread_config config; // of each of them
	struct client_service service;
	char *proxy_id, *server_version, *data_dir;
	struct network *balancers;
	struct bound_listener *listeners;
	size_t listener_count;
	bool started; // atomic: changes of the catalog are passed to the workers

	uint32_t unleft, undrained; // atomic: workers with connections, with open groups
	void (*drained)(void *ctx);
	void *drained_ctx;
};

static void on_catalog_change(void *ctx, enum model_kind kind, uint64_t id,
			      const struct model_object *object)
{
	struct proxy *proxy = ctx;
	bool cluster_gone = kind == MODEL_CLUSTER && backends_changed(&proxy->shared.backends, id);

	if (!__atomic_load_n(&proxy->started, __ATOMIC_ACQUIRE))
		return;
	if (kind == MODEL_TENANT)
		storage_count_soon(&proxy->shared.storage);
	for (unsigned i = 0; i < proxy->workers.count; ++i)
		worker_thread_changed(proxy->threads[i], kind, id, cluster_gone);
}

static int copy_texts(struct proxy *proxy, const struct proxy_config *config)
{
	proxy->proxy_id = strdup(config->proxy_id);
	proxy->server_version = strdup(config->server_version);
	proxy->data_dir = strdup(config->data_dir);
	return proxy->proxy_id && proxy->server_version && proxy->data_dir ? 0 : -ENOMEM;
}

static int bind_all(struct proxy *proxy, const struct proxy_config *config, char **ret_error)
{
	size_t room = MAX(config->listener_count, 1);
	int r = 0;

	proxy->listeners = calloc(room, sizeof *proxy->listeners);
	proxy->service.addresses = calloc(room, sizeof *proxy->service.addresses);
	if (!proxy->listeners || !proxy->service.addresses)
		return -ENOMEM;
	for (size_t i = 0; i < config->listener_count && r == 0; ++i) {
		r = listener_bind(&proxy->listeners[i], &config->listeners[i], proxy->workers.count,
				  ret_error);
		++proxy->listener_count;
		proxy->service.addresses[i] = proxy->listeners[i].advertised;
		proxy->service.address_count = proxy->listener_count;
	}
	return r;
}

static int copy_balancers(struct proxy *proxy, const struct proxy_config *config)
{
	proxy->balancers = calloc(MAX(config->balancer_count, 1), sizeof *proxy->balancers);
	if (!proxy->balancers)
		return -ENOMEM;
	for (size_t i = 0; i < config->balancer_count; ++i)
		proxy->balancers[i] = config->balancers[i];
	proxy->service.balancers = proxy->balancers;
	proxy->service.balancer_count = config->balancer_count;
	return 0;
}

// The last worker whose connections are gone lets all close their groups.
static void on_worker_left(void *ctx)
{
	struct proxy *proxy = ctx;

	if (__atomic_sub_fetch(&proxy->unleft, 1, __ATOMIC_ACQ_REL) > 0)
		return;
	for (unsigned i = 0; i < proxy->workers.count; ++i)
		worker_thread_close_groups(proxy->threads[i]);
}

static void on_backends_closed(void *ctx)
{
	struct proxy *proxy = ctx;

	proxy->drained(proxy->drained_ctx);
}

static void on_worker_drained(void *ctx)
{
	struct proxy *proxy = ctx;

	if (__atomic_sub_fetch(&proxy->undrained, 1, __ATOMIC_ACQ_REL) == 0)
		backends_close(&proxy->shared.backends, on_backends_closed, proxy);
}

static int make_workers(struct proxy *proxy, const struct proxy_config *config)
{
	int r = 0;

	proxy->config = (struct worker_thread_config){.workers = &proxy->workers,
						      .shared = &proxy->shared,
						      .service = &proxy->service,
						      .listeners = proxy->listeners,
						      .listener_count = proxy->listener_count,
						      .probes = &proxy->probes,
						      .queries = &proxy->queries,
						      .limits = &config->limits,
						      .tls = config->tls,
						      .left = on_worker_left,
						      .drained = on_worker_drained,
						      .ctx = proxy};
	for (unsigned i = 0; i < proxy->workers.count && r == 0; ++i) {
		r = worker_thread_new(&proxy->config, i, &proxy->threads[i]);
		if (r == 0)
			proxy->workers.all[i] = &proxy->threads[i]->worker;
	}
	proxy->config.limits = NULL; // the caller's; each worker has its own by now
	proxy->config.tls = NULL;
	return r;
}

static int set_up(struct proxy *proxy, const struct proxy_config *config, char **ret_error)
{
	unsigned workers = config->workers ? config->workers : (unsigned)MAX(get_nprocs(), 1);
	int r = copy_texts(proxy, config);

	if (r < 0)
		return r;
	proxy->workers.count = MIN(workers, WORKER_MAX);
	shared_init(&proxy->shared, config->catalog, config->limits.message_memory);
	probes_init(&proxy->probes, &proxy->workers, &proxy->shared, proxy->proxy_id);
	query_init(&proxy->queries, &proxy->workers, &proxy->shared, &proxy->probes,
		   proxy->proxy_id);
	proxy->service.proxy_id = proxy->proxy_id;
	proxy->service.server_version = proxy->server_version;
	memcpy(proxy->service.salt_secret, config->salt_secret, sizeof config->salt_secret);
	r = copy_balancers(proxy, config);
	if (r == 0)
		r = bind_all(proxy, config, ret_error);
	return r < 0 ? r : make_workers(proxy, config);
}

int proxy_new(const struct proxy_config *config, struct proxy **ret, char **ret_error)
{
	struct proxy *proxy = calloc(1, sizeof *proxy);
	int r;

	*ret_error = NULL;
	if (!proxy)
		return -ENOMEM;
	r = set_up(proxy, config, ret_error);
	if (r < 0) {
		proxy_free(proxy);
		return r;
	}
	shared_open(&proxy->shared, config->find_adapter, proxy->data_dir);
	catalog_watch(config->catalog, on_catalog_change, proxy);
	*ret = proxy;
	return 0;
}

int proxy_start(struct proxy *proxy)
{
	int r = storage_count_start(&proxy->shared.storage);

	__atomic_store_n(&proxy->started, true, __ATOMIC_RELEASE);
	probes_reload(&proxy->probes);
	for (unsigned i = 0; i < proxy->workers.count && r == 0; ++i)
		r = worker_thread_start(proxy->threads[i], &proxy->config);
	return r;
}

void proxy_reload(struct proxy *proxy, const struct proxy_limits *limits, struct ssl_ctx_st *tls)
{
	budget_set_limit(&proxy->shared.budget, limits->message_memory);
	for (unsigned i = 0; i < proxy->workers.count; ++i)
		worker_thread_reload(proxy->threads[i], limits, tls);
}

void proxy_drain(struct proxy *proxy, uint32_t deadline_ms, void (*done)(void *ctx), void *ctx)
{
	proxy->drained = done;
	proxy->drained_ctx = ctx;
	__atomic_store_n(&proxy->unleft, proxy->workers.count, __ATOMIC_RELEASE);
	__atomic_store_n(&proxy->undrained, proxy->workers.count, __ATOMIC_RELEASE);
	for (unsigned i = 0; i < proxy->workers.count; ++i)
		worker_thread_drain(proxy->threads[i], deadline_ms);
}

static void on_closed_in_free(void *ctx)
{
	sem_post(ctx);
}

// A proxy that was never started has clusters open that were not drained.
static void close_backends(struct proxy *proxy)
{
	sem_t closed;

	sem_init(&closed, 0, 0);
	backends_close(&proxy->shared.backends, on_closed_in_free, &closed);
	while (sem_wait(&closed) < 0)
		;
	sem_destroy(&closed);
}

void proxy_free(struct proxy *proxy)
{
	if (!proxy)
		return;
	__atomic_store_n(&proxy->started, false, __ATOMIC_RELEASE);
	for (unsigned i = 0; i < proxy->workers.count && proxy->threads[i]; ++i)
		worker_thread_stop(proxy->threads[i]);
	storage_count_stop(&proxy->shared.storage);
	for (unsigned i = 0; i < proxy->workers.count; ++i)
		worker_thread_free(proxy->threads[i]);
	for (size_t i = 0; i < proxy->listener_count; ++i)
		listener_unbind(&proxy->listeners[i]);
	if (!proxy->drained)
		close_backends(proxy);
	shared_deinit(&proxy->shared);
	free(proxy->listeners);
	free(proxy->service.addresses);
	free(proxy->balancers);
	free(proxy->proxy_id);
	free(proxy->server_version);
	free(proxy->data_dir);
	free(proxy);
}

bool proxy_cluster_state(struct proxy *proxy, uint64_t cluster, struct adapter_state *ret,
			 uint32_t *ret_capabilities)
{
	return backends_state(&proxy->shared.backends, cluster, ret, ret_capabilities);
}

struct query_channel *proxy_query_channel(struct proxy *proxy)
{
	return &proxy->queries.channel;
}

const char *proxy_address(struct proxy *proxy, size_t index)
{
	return index < proxy->listener_count ? proxy->listeners[index].address : NULL;
}

uint64_t proxy_message_memory(struct proxy *proxy, uint64_t *ret_limit)
{
	*ret_limit = __atomic_load_n(&proxy->shared.budget.limit, __ATOMIC_RELAXED);
	return budget_used(&proxy->shared.budget);
}
