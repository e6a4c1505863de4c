// Starts, reloads, drains and stops the daemon's parts in order.
//
// Order of starting: lock, secrets (a proxy that has no portal here joins an installation for
// them), catalog (with the last good copy), registry (brings the catalog up to date), the proxy's
// addresses, control link, portal. The proxy serves last, when no part can refuse any
// more. What the lock protects is touched only while it is held.
//
// Order of stopping: the proxy drains while the portal still answers (its /readyz says that the
// daemon leaves, its counters include the last messages); then the portal, the proxy's threads, the
// registry and the catalog, and the lock last.
//
// Invariant: a reload that is refused changes nothing. Not here: signals (main.c), and how each
// part is opened (listeners.c, state_open.c).

#include "server/daemon_state.h"

#include "adapters/adapter.h"
#include "adapters/kinds.h"
#include "core/base/log.h"
#include "core/base/text.h"
#include "core/catalog/catalog.h"
#include "core/registry/registry.h"
#include "server/control.h"
#include "server/listeners.h"
#include "server/recover.h"
#include "server/state_open.h"

#include <errno.h>
#include <poll.h>
#include <sys/eventfd.h>

#define DRAIN_GRACE_MS 30000 // beyond the clients' time: what the proxy may need for its backends

static bool has_proxy(const struct settings *settings)
{
	return strcmp(settings_text(settings, SERVER_ROLE), "portal") != 0;
}

static bool has_portal(const struct settings *settings)
{
	return strcmp(settings_text(settings, SERVER_ROLE), "proxy") != 0;
}

// ---- starting

static void level_apply(const struct settings *settings)
{
	enum log_level level;

	if (log_level_parse(settings_text(settings, SERVER_LOG_LEVEL), &level) == 0)
		log_set_level(level);
}

static void kinds_collect(struct daemon *daemon)
{
	const struct adapter_ops *ops;

	for (size_t i = 0; i < KINDS_MAX && (ops = adapter_kind_at(i)); ++i)
		daemon->kinds[i] = ops->kind;
}

static char *secrets_load(struct daemon *daemon)
{
	bool used = files_exist(daemon->data_dir, "registry.db") ||
		    files_exist(daemon->data_dir, "registry.db.restored") ||
		    files_exist(daemon->data_dir, "catalog");
	char *wrong = files_secret(daemon->data_dir, "master.key",
				   used ? "the clusters' credentials cannot be read" : NULL,
				   daemon->seal_key.bytes);

	// Losing this one only changes the salts that unknown keys are answered with.
	return wrong ? wrong
		     : files_secret(daemon->data_dir, "salt.key", NULL, daemon->salt_secret);
}

static char *parts_open(struct daemon *daemon)
{
	const struct settings *settings = daemon->settings;
	char *wrong = listeners_check(settings);
	bool joined;

	if (!wrong)
		wrong = listeners_tls_load(settings, &daemon->tls);
	if (!wrong)
		wrong = files_lock(daemon->data_dir, &daemon->lock_fd);
	joined = !wrong && control_has_joined(daemon);
	if (!wrong)
		wrong = joined ? control_identity_open(daemon) : secrets_load(daemon);
	if (!wrong)
		wrong = state_open_catalog(daemon);
	if (!wrong && has_portal(settings))
		wrong = state_open_registry(daemon);
	if (!wrong && has_portal(settings))
		wrong = control_authority_open(daemon);
	if (!wrong && has_proxy(settings))
		wrong = listeners_proxy_open(daemon);
	if (!wrong && joined)
		wrong = control_follow(daemon);
	if (!wrong && has_portal(settings))
		wrong = state_open_offer_token(daemon);
	if (!wrong && has_portal(settings))
		wrong = listeners_portal_start(daemon);
	return wrong;
}

static void log_address(void *ctx, const char *what, const char *address)
{
	log_info(NULL, "LISTEN", "%s: %s", what, address);
}

char *daemon_check(const struct settings *settings)
{
	return listeners_check(settings);
}

static struct daemon *daemon_new(struct settings *settings)
{
	struct daemon *daemon = calloc(1, sizeof *daemon);

	if (!daemon)
		return NULL;
	pthread_mutex_init(&daemon->tls_lock, NULL);
	daemon->settings = settings;
	daemon->data_dir = settings_text(settings, SERVER_DATA_DIR);
	daemon->lock_fd = -1;
	daemon->drained_fd = eventfd(0, EFD_CLOEXEC);
	kinds_collect(daemon);
	level_apply(settings);
	return daemon;
}

char *daemon_restore(struct settings *settings, const char *from, bool revive)
{
	struct daemon *daemon = daemon_new(settings);
	char *wrong;

	if (!daemon)
		return text_format("out of memory");
	wrong = files_lock(daemon->data_dir, &daemon->lock_fd);
	if (!wrong)
		wrong = secrets_load(daemon);
	if (!wrong)
		wrong = state_open_catalog(daemon);
	if (!wrong)
		wrong = recover_from(daemon, from, revive, stdout);
	daemon_free(daemon);
	return wrong;
}

char *daemon_start(struct settings *settings, struct daemon **ret)
{
	struct daemon *daemon = daemon_new(settings);
	char *wrong;
	int r;

	if (!daemon)
		return text_format("out of memory");
	wrong = daemon->drained_fd < 0 ? text_format("eventfd: %s", strerror(errno))
				       : parts_open(daemon);
	if (wrong) {
		daemon_free(daemon);
		return wrong;
	}
	r = daemon->proxy ? proxy_start(daemon->proxy) : 0;
	if (r < 0) // the portal may be asking it already: nothing can be taken apart any more
		return text_format("the proxy does not start: %s", strerror(-r));
	daemon_each_address(daemon, log_address, NULL);
	*ret = daemon;
	return NULL;
}

void daemon_each_address(const struct daemon *daemon,
			 void (*fn)(void *ctx, const char *what, const char *address), void *ctx)
{
	const char *clients;
	char *rest;

	for (size_t i = 0; daemon->proxy && (clients = proxy_address(daemon->proxy, i)); ++i)
		fn(ctx, "clients", clients);
	for (size_t i = 0; (rest = listeners_portal_address(daemon, i)); ++i) {
		fn(ctx, "rest", rest);
		free(rest);
	}
	rest = listeners_control_address(daemon);
	if (rest)
		fn(ctx, "control", rest);
	free(rest);
}

// ---- reloading

static void report_change(void *ctx, const struct setting *setting, bool taken)
{
	if (taken)
		log_info(NULL, "RELOAD-TAKEN", "%s has changed", setting->name);
	else
		log_warn(NULL, "RELOAD-LATER", "%s has changed and takes effect at the next start",
			 setting->name);
}

// All that may fail comes first; from settings_adopt() on nothing does. Connections that hold the
// old context keep it until they close.
char *daemon_reload(struct daemon *daemon, struct settings *next)
{
	struct proxy_limits limits;
	SSL_CTX *tls, *old;
	char *wrong = listeners_check(next);

	if (!wrong)
		wrong = listeners_tls_load(next, &tls);
	if (wrong)
		return wrong;
	settings_adopt(daemon->settings, next, report_change, NULL);
	level_apply(daemon->settings);
	pthread_mutex_lock(&daemon->tls_lock);
	old = daemon->tls;
	daemon->tls = tls;
	pthread_mutex_unlock(&daemon->tls_lock);
	SSL_CTX_free(old);
	limits = listeners_limits(daemon->settings);
	if (daemon->proxy)
		proxy_reload(daemon->proxy, &limits, tls);
	return NULL;
}

// ---- stopping

// @thread of the proxy
static void on_drained(void *ctx)
{
	const struct daemon *daemon = ctx;

	if (eventfd_write(daemon->drained_fd, 1) < 0)
		log_error(NULL, "DRAINED", "%s", strerror(errno));
}

// True: drained; false: the deadline has passed or there is a second signal.
static bool drained_wait(const struct daemon *daemon, int signal_fd, int timeout_ms)
{
	struct pollfd fds[] = {{.fd = daemon->drained_fd, .events = POLLIN},
			       {.fd = signal_fd, .events = POLLIN}};
	eventfd_t count;
	int n;

	do
		n = poll(fds, ARRAY_SIZE(fds), timeout_ms);
	while (n < 0 && errno == EINTR);
	return n > 0 && fds[0].revents && eventfd_read(daemon->drained_fd, &count) == 0;
}

bool daemon_drain(struct daemon *daemon, int signal_fd)
{
	uint32_t clients_ms = (uint32_t)settings_number(daemon->settings, SERVER_DRAIN);

	if (!daemon->proxy)
		return true;
	portal_leaving(daemon->portal);
	control_leave(daemon);
	proxy_drain(daemon->proxy, clients_ms, on_drained, daemon);
	return drained_wait(daemon, signal_fd, (int)clients_ms + DRAIN_GRACE_MS);
}

// Accepts a daemon that was started halfway: each part accepts NULL. The order is that of the head;
// the lock is released when nothing touches the directory any more.
void daemon_free(struct daemon *daemon)
{
	portal_stop(daemon->portal);
	control_close(daemon);
	proxy_free(daemon->proxy);
	registry_close(daemon->registry);
	catalog_free(daemon->catalog);
	SSL_CTX_free(daemon->tls);
	closep(&daemon->drained_fd);
	closep(&daemon->lock_fd);
	pthread_mutex_destroy(&daemon->tls_lock);
	free(daemon);
}
