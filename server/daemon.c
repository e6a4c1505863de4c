// Order of starting: lock, secrets, catalog (with the last good copy), registry (brings the catalog
// up to date), proxy, portal. Stopping goes backwards: the portal first, so that nothing changes
// any more; then the proxy drains; the registry and the catalog last.

#include "server/daemon.h"

#include "adapters/adapter.h"
#include "core/base/clock.h"
#include "core/base/log.h"
#include "core/net/tls.h"
#include "core/registry/catalog.h"
#include "core/registry/registry.h"
#include "portal-api/portal.h"
#include "proxy/proxy.h"
#include "server/files.h"
#include "server/table.h"
#include "server/vet.h"

#include <errno.h>
#include <limits.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>

#define VERSION       "0.1.0"
#define LISTENERS_MAX 64
#define KINDS_MAX     16
#define TOKEN_FILE    "bootstrap-token"

struct daemon {
	struct settings *settings;
	const char *data_dir;
	int lock_fd;
	uint8_t salt_secret[32];
	struct seal_key seal_key;
	struct catalog *catalog;
	struct registry *registry;
	struct proxy *proxy;
	struct portal *portal;
	const char *kinds[KINDS_MAX + 1];

	pthread_mutex_t lock; // of the TLS context and the drain
	pthread_cond_t drained_wake;
	SSL_CTX *tls;
	bool drained;
	volatile bool hurry;
};

static char *problem(const char *fmt, ...) PRINTF_LIKE(1, 2);
static char *problem(const char *fmt, ...)
{
	char *text;
	va_list args;

	va_start(args, fmt);
	if (vasprintf(&text, fmt, args) < 0)
		abort();
	va_end(args);
	return text;
}

static char *path_of(const struct daemon *daemon, const char *name)
{
	return problem("%s/%s", daemon->data_dir, name);
}

// ---- what can be reloaded

static char *tls_load(const struct settings *settings, SSL_CTX **ret)
{
	const char *cert = settings_text(settings, SERVER_TLS_CERT),
		   *key = settings_text(settings, SERVER_TLS_KEY);
	char why[512];

	*ret = NULL;
	if (!cert)
		return key ? problem("tls-key is set, but tls-cert is not") : NULL;
	return tls_server_new(cert, key, ret, why, sizeof why) < 0 ? problem("tls-cert: %s", why)
								   : NULL;
}

static void level_apply(const struct settings *settings)
{
	enum log_level level;

	if (log_level_parse(settings_text(settings, SERVER_LOG_LEVEL), &level) == 0)
		log_set_level(level);
}

static struct proxy_limits limits_of(const struct settings *settings)
{
	struct proxy_limits limits = proxy_limits_default;

	limits.unauthenticated = (uint32_t)settings_number(settings, SERVER_UNAUTHENTICATED);
	limits.ready_ms = (uint32_t)settings_number(settings, SERVER_READY_TIMEOUT);
	limits.keepalive_ms = (uint32_t)settings_number(settings, SERVER_KEEPALIVE);
	limits.max_frame = (uint32_t)settings_number(settings, SERVER_MAX_FRAME);
	limits.max_message = (uint32_t)settings_number(settings, SERVER_MAX_MESSAGE);
	return limits;
}

static SSL_CTX *tls_reference(void *ctx)
{
	struct daemon *daemon = ctx;
	SSL_CTX *tls;

	pthread_mutex_lock(&daemon->lock);
	tls = daemon->tls;
	if (tls)
		SSL_CTX_up_ref(tls);
	pthread_mutex_unlock(&daemon->lock);
	return tls;
}

static void warn_restart(void *ctx, const struct setting *setting)
{
	log_warn(NULL, "RELOAD-LATER", "%s has changed and takes effect at the next start",
		 setting->name);
}

char *daemon_reload(struct daemon *daemon, struct settings *next)
{
	struct proxy_limits limits = limits_of(next);
	SSL_CTX *tls, *old;
	char *wrong = tls_load(next, &tls);

	if (wrong)
		return wrong;
	settings_differ(daemon->settings, next, warn_restart, NULL);
	level_apply(next);
	pthread_mutex_lock(&daemon->lock);
	old = daemon->tls;
	daemon->tls = tls;
	pthread_mutex_unlock(&daemon->lock);
	// What needs a restart keeps its value until then.
	limits.max_frame = (uint32_t)settings_number(daemon->settings, SERVER_MAX_FRAME);
	if (daemon->proxy)
		proxy_reload(daemon->proxy, &limits, tls);
	SSL_CTX_free(old);
	log_info(NULL, "RELOADED", "settings and certificates were read again");
	return NULL;
}

// ---- control data

static bool has_proxy(const struct settings *settings)
{
	return strcmp(settings_text(settings, SERVER_ROLE), "portal") != 0;
}

static bool has_portal(const struct settings *settings)
{
	return strcmp(settings_text(settings, SERVER_ROLE), "proxy") != 0;
}

static char *catalog_start(struct daemon *daemon)
{
	_cleanup_(freep) char *path = path_of(daemon, "catalog");
	int r = catalog_new(path, &daemon->seal_key, &daemon->catalog);

	if (r == CATALOG_E_DAMAGED)
		log_error(NULL, "CATALOG-DAMAGED",
			  "%s was damaged and has been set aside as %s.damaged", path, path);
	return r < 0 ? problem("%s: %s", path, strerror(-r)) : NULL;
}

static char *registry_start(struct daemon *daemon)
{
	_cleanup_(freep) char *path = path_of(daemon, "registry.db");
	struct registry_config config = {
		.path = path,
		.key = &daemon->seal_key,
		.catalog = daemon->catalog,
		.vet = vet_draft,
	};
	char *wrong = NULL;

	if (registry_open(&config, &daemon->registry, &wrong) < 0)
		return wrong ? wrong : problem("%s: it cannot be opened", path);
	return NULL;
}

// Without a user there is nobody who could make one: a token that works once lies where only the
// operator of the machine can read it.
static char *token_offer(struct daemon *daemon)
{
	_cleanup_(freep) char *path = path_of(daemon, TOKEN_FILE), *text = NULL;
	char token[REGISTRY_TOKEN_SIZE], *wrong;
	int r = registry_bootstrap_token(daemon->registry, token);

	if (r == REGISTRY_E_BOOTSTRAPPED) {
		unlink(path);
		return NULL;
	}
	if (r < 0)
		return problem("registry: %s", strerror(-r));
	text = problem("%s\n", token);
	wrong = files_write_private(path, text);
	if (!wrong)
		log_info(NULL, "BOOTSTRAP",
			 "there is no user yet; make the first with the token in %s (mqpaasctl "
			 "system bootstrap)",
			 path);
	return wrong;
}

// A new installation has somewhere to put topics: the cluster "local" of kind embedded.
static char *default_cluster(struct daemon *daemon)
{
	const struct registry_actor actor = {.name = "system"};
	const struct registry_query query = {.limit = 1};
	struct registry_result result = {0};
	int r = registry_list(daemon->registry, REGISTRY_CLUSTER, &query, &result);
	bool empty = r == 0 && json_array_size(json_object_get(result.body, "items")) == 0;

	registry_result_deinit(&result);
	if (r == 0 && empty && !registry_bootstrapped(daemon->registry)) {
		json_t *body = json_pack("{s:s,s:s}", "name", "local", "kind", "embedded");

		result = (struct registry_result){0};
		r = registry_create(daemon->registry, &actor, REGISTRY_CLUSTER, NULL, body,
				    &result);
		json_decref(body);
		registry_result_deinit(&result);
	}
	return r < 0 ? problem("registry: %s", strerror(-r)) : NULL;
}

// ---- proxy

// "ADDRESS as NAME:PORT" in a copy that the caller frees.
static char *listener_read(const char *text, struct proxy_listener_config *ret)
{
	char *copy = strdup(text), *as = strstr(copy, " as ");

	*ret = (struct proxy_listener_config){.address = copy};
	if (as) {
		*as = '\0';
		ret->advertised = as + 4;
	}
	return copy;
}

static char *proxy_begin(struct daemon *daemon)
{
	const struct settings *settings = daemon->settings;
	struct proxy_listener_config listeners[LISTENERS_MAX];
	char *copies[LISTENERS_MAX], host[256] = "proxy", *wrong = NULL;
	const char *const *addresses;
	size_t count = settings_list(settings, SERVER_LISTEN, &addresses);
	struct proxy_config config = {
		.server_version = VERSION,
		.data_dir = daemon->data_dir,
		.workers = (unsigned)settings_number(settings, SERVER_WORKERS),
		.listeners = listeners,
		.listener_count = count,
		.limits = limits_of(settings),
		.tls = daemon->tls,
		.catalog = daemon->catalog,
		.find_adapter = adapter_find,
	};
	int r;

	gethostname(host, sizeof host - 1);
	config.proxy_id = settings_text(settings, SERVER_PROXY_ID)
				  ? settings_text(settings, SERVER_PROXY_ID)
				  : host;
	memcpy(config.salt_secret, daemon->salt_secret, sizeof config.salt_secret);
	for (size_t i = 0; i < count; ++i)
		copies[i] = listener_read(addresses[i], &listeners[i]);
	r = proxy_new(&config, &daemon->proxy, &wrong);
	for (size_t i = 0; i < count; ++i)
		free(copies[i]);
	if (r < 0)
		return wrong ? wrong : problem("proxy: %s", strerror(-r));
	r = proxy_start(daemon->proxy);
	return r < 0 ? problem("proxy: %s", strerror(-r)) : NULL;
}

static void on_drained(void *ctx)
{
	struct daemon *daemon = ctx;

	pthread_mutex_lock(&daemon->lock);
	daemon->drained = true;
	pthread_cond_signal(&daemon->drained_wake);
	pthread_mutex_unlock(&daemon->lock);
}

static void proxy_end(struct daemon *daemon)
{
	struct timespec step;

	proxy_drain(daemon->proxy, (uint32_t)settings_number(daemon->settings, SERVER_DRAIN),
		    on_drained, daemon);
	pthread_mutex_lock(&daemon->lock);
	while (!daemon->drained && !daemon->hurry) {
		clock_gettime(CLOCK_REALTIME, &step);
		step.tv_nsec += 100000000;
		step.tv_sec += step.tv_nsec / 1000000000;
		step.tv_nsec %= 1000000000;
		pthread_cond_timedwait(&daemon->drained_wake, &daemon->lock, &step);
	}
	pthread_mutex_unlock(&daemon->lock);
	if (!daemon->drained) {
		// The second signal: whoever waits for an answer asks again elsewhere; everything
		// acknowledged is on disk.
		log_warn(NULL, "STOP-NOW", "stopping without waiting for clients");
		_exit(0);
	}
	proxy_free(daemon->proxy);
}

// ---- portal

static char *portal_begin(struct daemon *daemon)
{
	const struct settings *settings = daemon->settings;
	struct portal_listener listeners[LISTENERS_MAX];
	const char *const *addresses;
	size_t count = settings_list(settings, SERVER_PORTAL_LISTEN, &addresses), which = 0;
	struct portal_config config = {
		.listeners = listeners,
		.listener_count = count,
		.allow_plain = settings_flag(settings, SERVER_PORTAL_PLAIN),
		.open_metrics = settings_flag(settings, SERVER_OPEN_METRICS),
		.registry = daemon->registry,
		.catalog = daemon->catalog,
		.door = daemon->proxy ? proxy_door(daemon->proxy) : NULL,
		.data_dir = daemon->data_dir,
		.version = VERSION,
		.cluster_kinds = daemon->kinds,
		.tls_context = tls_reference,
		.ctx = daemon,
	};
	int r;

	for (size_t i = 0; i < count; ++i) {
		bool tls = strncmp(addresses[i], "tls://", 6) == 0;

		if (tls && !daemon->tls)
			return problem("portal-listen: %s needs tls-cert", addresses[i]);
		listeners[i] = (struct portal_listener){.address = addresses[i] + (tls ? 6 : 0),
							.tls = tls};
	}
	r = portal_start(&config, &daemon->portal, &which);
	if (r == PORTAL_E_PLAIN)
		return problem("portal-listen: %s is not loopback and has no TLS; use tls://%s "
			       "with tls-cert, or set portal-plain = yes",
			       addresses[which], addresses[which]);
	return r < 0 ? problem("portal-listen: %s: %s", addresses[which], strerror(-r)) : NULL;
}

// ---- all of it

static void kinds_collect(struct daemon *daemon)
{
	const struct adapter_ops *ops;

	for (size_t i = 0; i < KINDS_MAX && (ops = adapter_at(i)); ++i)
		daemon->kinds[i] = ops->kind;
}

static char *parts_start(struct daemon *daemon)
{
	const struct settings *settings = daemon->settings;
	char *wrong = files_lock(daemon->data_dir, &daemon->lock_fd);

	if (!wrong)
		wrong = files_secret(daemon->data_dir, "salt.key", daemon->salt_secret);
	if (!wrong)
		wrong = files_secret(daemon->data_dir, "master.key", daemon->seal_key.bytes);
	if (!wrong)
		wrong = tls_load(settings, &daemon->tls);
	if (!wrong)
		wrong = catalog_start(daemon);
	if (!wrong && has_portal(settings))
		wrong = registry_start(daemon);
	if (!wrong && daemon->registry)
		wrong = default_cluster(daemon);
	if (!wrong && has_proxy(settings))
		wrong = proxy_begin(daemon);
	if (!wrong && daemon->registry)
		wrong = token_offer(daemon);
	if (!wrong && has_portal(settings))
		wrong = portal_begin(daemon);
	return wrong;
}

char *daemon_start(struct settings *settings, struct daemon **ret)
{
	struct daemon *daemon = calloc(1, sizeof *daemon);
	char *wrong;

	if (!daemon)
		return problem("out of memory");
	pthread_mutex_init(&daemon->lock, NULL);
	pthread_cond_init(&daemon->drained_wake, NULL);
	daemon->settings = settings;
	daemon->data_dir = settings_text(settings, SERVER_DATA_DIR);
	daemon->lock_fd = -1;
	kinds_collect(daemon);
	level_apply(settings);
	wrong = parts_start(daemon);
	if (wrong) {
		daemon_stop(daemon);
		return wrong;
	}
	for (size_t i = 0; daemon->proxy && proxy_address(daemon->proxy, i); ++i)
		log_info(NULL, "LISTEN", "clients on %s", proxy_address(daemon->proxy, i));
	for (size_t i = 0; daemon->portal && portal_port(daemon->portal, i); ++i)
		log_info(NULL, "LISTEN", "REST on port %u", portal_port(daemon->portal, i));
	*ret = daemon;
	return NULL;
}

void daemon_hurry(struct daemon *daemon)
{
	daemon->hurry = true;
}

void daemon_stop(struct daemon *daemon)
{
	portal_stop(daemon->portal);
	if (daemon->proxy)
		proxy_end(daemon);
	registry_close(daemon->registry);
	catalog_free(daemon->catalog);
	SSL_CTX_free(daemon->tls);
	closep(&daemon->lock_fd);
	pthread_mutex_destroy(&daemon->lock);
	pthread_cond_destroy(&daemon->drained_wake);
	free(daemon);
}
