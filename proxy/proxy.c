// Puts the parts together and takes them apart in order: workers, then clusters.

#include "proxy/proxy.h"

#include "core/base/clock.h"
#include "proxy/listener.h"
#include "proxy/proxy_state.h"
#include "proxy/query/query.h"

#include <errno.h>
#include <semaphore.h>
#include <sys/sysinfo.h>

const struct proxy_limits proxy_limits_default = {
	.unauthenticated = 1024,
	.ready_ms = 10000,
	.keepalive_ms = 30000,
	.max_frame = 4u << 20,
	.max_message = 1u << 20,
	.window = 256u << 10,
	.window_max = 4u << 20,
	.tenant_window = 64u << 20,
	.output = 1u << 20,
	.stalled_ms = 30000,
	.streams = 65536,
	.source_idle_ms = 30000,
	.message_memory = 512ull << 20,
	.probe_timeout_ms = 10000,
};

struct worker *proxy_home(struct proxy *proxy, uint64_t group)
{
	return proxy->workers[group % proxy->worker_count];
}

static void on_catalog_change(void *ctx, enum model_kind kind, uint64_t id,
			      const struct model_object *object)
{
	struct proxy *proxy = ctx;
	bool cluster_gone = kind == MODEL_CLUSTER && backends_changed(&proxy->shared.backends, id);

	if (!__atomic_load_n(&proxy->started, __ATOMIC_ACQUIRE))
		return;
	if (kind == MODEL_TENANT)
		storage_count_soon(&proxy->shared.storage);
	for (unsigned i = 0; i < proxy->worker_count; ++i)
		worker_changed(proxy->workers[i], kind, id, cluster_gone);
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
	int r = 0;

	proxy->listeners = calloc(MAX(config->listener_count, 1), sizeof *proxy->listeners);
	if (!proxy->listeners)
		return -ENOMEM;
	for (size_t i = 0; i < config->listener_count && r == 0; ++i) {
		r = listener_bind(&proxy->listeners[i], &config->listeners[i], proxy->worker_count,
				  ret_error);
		++proxy->listener_count;
	}
	return r;
}

static int set_up(struct proxy *proxy, const struct proxy_config *config, char **ret_error)
{
	unsigned workers = config->workers ? config->workers : (unsigned)MAX(get_nprocs(), 1);
	int r = copy_texts(proxy, config);

	if (r < 0)
		return r;
	shared_init(&proxy->shared, config->catalog, config->limits.message_memory);
	probes_init(&proxy->probes, proxy);
	proxy->started_ns = clock_now_ns();
	memcpy(proxy->salt_secret, config->salt_secret, sizeof proxy->salt_secret);
	proxy->worker_count = MIN(workers, WORKER_MAX);
	proxy->balancers = calloc(MAX(config->balancer_count, 1), sizeof *proxy->balancers);
	if (!proxy->balancers)
		return -ENOMEM;
	for (size_t i = 0; i < config->balancer_count; ++i)
		proxy->balancers[proxy->balancer_count++] = config->balancers[i];
	r = bind_all(proxy, config, ret_error);
	for (unsigned i = 0; i < proxy->worker_count && r == 0; ++i)
		r = worker_new(proxy, i, config, &proxy->workers[i]);
	return r;
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
	query_init(proxy);
	catalog_watch(config->catalog, on_catalog_change, proxy);
	*ret = proxy;
	return 0;
}

int proxy_start(struct proxy *proxy)
{
	int r = storage_start(&proxy->shared.storage);

	__atomic_store_n(&proxy->started, true, __ATOMIC_RELEASE);
	probes_reload(&proxy->probes);
	for (unsigned i = 0; i < proxy->worker_count && r == 0; ++i)
		r = worker_start(proxy->workers[i]);
	return r;
}

void proxy_reload(struct proxy *proxy, const struct proxy_limits *limits, struct ssl_ctx_st *tls)
{
	budget_set_limit(&proxy->shared.budget, limits->message_memory);
	for (unsigned i = 0; i < proxy->worker_count; ++i)
		worker_reload(proxy->workers[i], limits, tls);
}

static void on_backends_closed(void *ctx)
{
	struct proxy *proxy = ctx;

	proxy->drained(proxy->drained_ctx);
}

void proxy_worker_left(struct proxy *proxy)
{
	if (__atomic_sub_fetch(&proxy->unleft, 1, __ATOMIC_ACQ_REL) > 0)
		return;
	for (unsigned i = 0; i < proxy->worker_count; ++i)
		worker_close_groups(proxy->workers[i]);
}

void proxy_worker_drained(struct proxy *proxy)
{
	if (__atomic_sub_fetch(&proxy->undrained, 1, __ATOMIC_ACQ_REL) == 0)
		backends_close(&proxy->shared.backends, on_backends_closed, proxy);
}

void proxy_drain(struct proxy *proxy, uint32_t deadline_ms, void (*done)(void *ctx), void *ctx)
{
	proxy->drained = done;
	proxy->drained_ctx = ctx;
	__atomic_store_n(&proxy->unleft, proxy->worker_count, __ATOMIC_RELEASE);
	__atomic_store_n(&proxy->undrained, proxy->worker_count, __ATOMIC_RELEASE);
	for (unsigned i = 0; i < proxy->worker_count; ++i)
		worker_drain(proxy->workers[i], deadline_ms);
}

static void on_closed_in_free(void *ctx)
{
	sem_post(ctx);
}

// A proxy that was never started has clusters open that nobody drained.
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
	for (unsigned i = 0; i < proxy->worker_count && proxy->workers[i]; ++i)
		worker_stop(proxy->workers[i]);
	storage_stop(&proxy->shared.storage);
	for (unsigned i = 0; i < proxy->worker_count; ++i)
		worker_free(proxy->workers[i]);
	for (size_t i = 0; i < proxy->listener_count; ++i)
		listener_unbind(&proxy->listeners[i]);
	if (!proxy->drained)
		close_backends(proxy);
	shared_deinit(&proxy->shared);
	free(proxy->listeners);
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
	return &proxy->queries;
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
