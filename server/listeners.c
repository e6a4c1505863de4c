// What the daemon shows to the outside: listening addresses, certificates, the proxy and the portal
// behind them.
//
// Addresses and certificates are checked before anything is opened, so that --check-config and a
// reload find every problem without touching what serves.
//
// Invariant: listeners_check() accepts a configuration only if each address, block and certificate
// of it can be read; whether an address is free shows when it is opened. Not here: connections
// (proxy, core/http).

#include "server/listeners.h"

#include "adapters/adapter.h"
#include "adapters/kinds.h"
#include "core/base/text.h"
#include "core/model/network.h"
#include "core/net/tls.h"
#include "proxy/client/socket_address.h"
#include "server/daemon_state.h"
#include "server/files.h"
#include "server/metrics.h"

#include <errno.h>
#include <stdio.h>

#define LISTENERS_MAX    64
#define FRAME_LEAST      (4u << 20)
#define FRAME_SLACK      (64u << 10) // what a frame holds besides one largest message
#define PROXY_ID_MAX     64          // the protocol's
#define PORTAL_LISTENERS 8           // the HTTP server's

// ---- addresses

static const char *const tls_scheme = "tls://";

static bool is_tls(const char *address)
{
	return strncmp(address, tls_scheme, strlen(tls_scheme)) == 0;
}

static const char *strip_scheme(const char *address)
{
	return is_tls(address) ? address + strlen(tls_scheme) : address;
}

// "ADDRESS as NAME:PORT"; the listener points into `copy`, which the caller frees.
static char *client_listener_read(const char *text, struct proxy_listener_config *ret)
{
	char *copy = text_format("%s", text), *as = strstr(copy, " as ");

	*ret = (struct proxy_listener_config){.address = copy};
	if (as) {
		*as = '\0';
		ret->advertised = as + strlen(" as ");
	}
	return copy;
}

static char *address_check(const char *setting, const char *address)
{
	struct sockaddr_storage parsed;
	socklen_t size;

	return socket_address_parse(address, &parsed, &size) < 0
		       ? text_format(
				 "%s: \"%s\" is not an address such as 127.0.0.1:7300, [::]:7300 "
				 "or 0.0.0.0:7300",
				 setting, address)
		       : NULL;
}

static char *advertised_check(const char *advertised)
{
	const char *colon = strrchr(strip_scheme(advertised), ':');
	char *end;
	unsigned long port = colon ? strtoul(colon + 1, &end, 10) : 0;

	return !colon || colon == strip_scheme(advertised) || *end || port == 0 || port > 65535
		       ? text_format(
				 "listen: \"%s\" is not what clients could be told: NAME:PORT or "
				 "tls://NAME:PORT",
				 advertised)
		       : NULL;
}

static char *client_addresses_check(const struct settings *settings, bool tls)
{
	const char *const *texts;
	size_t count = settings_list(settings, SERVER_LISTEN, &texts);
	char *wrong = NULL;

	for (size_t i = 0; i < count && !wrong; ++i) {
		struct proxy_listener_config listener;
		_cleanup_(freep) char *copy = client_listener_read(texts[i], &listener);

		wrong = address_check("listen", listener.address);
		if (!wrong && listener.advertised)
			wrong = advertised_check(listener.advertised);
		if (!wrong && listener.advertised && is_tls(listener.advertised) && !tls)
			wrong = text_format("listen: %s needs tls-cert", listener.advertised);
	}
	return wrong;
}

static char *rest_addresses_check(const struct settings *settings, bool tls)
{
	const char *const *texts;
	size_t count = settings_list(settings, SERVER_PORTAL_LISTEN, &texts);
	char *wrong = NULL;

	if (count > PORTAL_LISTENERS)
		return text_format("portal-listen: more than %d", PORTAL_LISTENERS);
	for (size_t i = 0; i < count && !wrong; ++i) {
		wrong = address_check("portal-listen", strip_scheme(texts[i]));
		if (!wrong && is_tls(texts[i]) && !tls)
			wrong = text_format("portal-listen: %s needs tls-cert", texts[i]);
	}
	return wrong;
}

static char *blocks_check(const struct settings *settings, size_t setting)
{
	const char *const *texts;
	size_t count = settings_list(settings, setting, &texts);
	struct network network;

	for (size_t i = 0; i < count; ++i)
		if (network_parse(texts[i], &network) < 0)
			return text_format("%s: \"%s\" is no address or block such as 10.0.0.7, "
					   "10.1.0.0/16 or 2001:db8::/32",
					   server_settings[setting].name, texts[i]);
	return NULL;
}

static char *balancers_check(const struct settings *settings)
{
	const char *const *texts;
	bool named = settings_text(settings, SERVER_CLIENT_HEADER);
	char *wrong = blocks_check(settings, SERVER_PROXY_PROTOCOL_FROM);

	if (!wrong)
		wrong = blocks_check(settings, SERVER_CLIENT_HEADER_FROM);
	if (!wrong && named != (settings_list(settings, SERVER_CLIENT_HEADER_FROM, &texts) > 0))
		wrong = text_format("client-header and client-header-from are set together");
	return wrong;
}

static char *proxy_id_check(const struct settings *settings)
{
	const char *id = settings_text(settings, SERVER_PROXY_ID);

	return id && strlen(id) > PROXY_ID_MAX
		       ? text_format("proxy-id: longer than %d bytes", PROXY_ID_MAX)
		       : NULL;
}

char *listeners_check(const struct settings *settings)
{
	SSL_CTX *tls;
	char *wrong = listeners_tls_load(settings, &tls);

	if (wrong)
		return wrong;
	wrong = client_addresses_check(settings, tls != NULL);
	if (!wrong && settings_text(settings, SERVER_CONTROL_LISTEN))
		wrong = address_check("control-listen",
				      settings_text(settings, SERVER_CONTROL_LISTEN));
	if (!wrong)
		wrong = rest_addresses_check(settings, tls != NULL);
	if (!wrong)
		wrong = balancers_check(settings);
	if (!wrong)
		wrong = proxy_id_check(settings);
	SSL_CTX_free(tls);
	return wrong;
}

// ---- certificates

char *listeners_tls_load(const struct settings *settings, SSL_CTX **ret)
{
	const char *cert = settings_text(settings, SERVER_TLS_CERT),
		   *key = settings_text(settings, SERVER_TLS_KEY);
	char why[512], *wrong;

	*ret = NULL;
	if (!cert)
		return key ? text_format("tls-key is set, but tls-cert is not") : NULL;
	if (tls_server_new(cert, key, ret, why, sizeof why) < 0)
		return text_format("TLS: %s", why);
	wrong = files_key_check(key ? key : cert);
	if (wrong) {
		SSL_CTX_free(*ret);
		*ret = NULL;
	}
	return wrong;
}

// @thread portal
static SSL_CTX *tls_reference(void *ctx)
{
	struct daemon *daemon = ctx;
	SSL_CTX *tls;

	pthread_mutex_lock(&daemon->tls_lock);
	tls = daemon->tls;
	if (tls)
		SSL_CTX_up_ref(tls);
	pthread_mutex_unlock(&daemon->tls_lock);
	return tls;
}

// ---- proxy

// The blocks of a list that was checked; NULL: no memory.
static struct network *blocks_read(const struct settings *settings, size_t setting,
				   size_t *ret_count)
{
	const char *const *texts;
	size_t count = settings_list(settings, setting, &texts);
	struct network *blocks = calloc(MAX(count, 1), sizeof *blocks);

	for (size_t i = 0; blocks && i < count; ++i)
		network_parse(texts[i], &blocks[i]);
	*ret_count = count;
	return blocks;
}

struct proxy_limits listeners_limits(const struct settings *settings)
{
	struct proxy_limits limits = proxy_limits_default;

	limits.unauthenticated = (uint32_t)settings_number(settings, SERVER_UNAUTHENTICATED);
	limits.ready_ms = (uint32_t)settings_number(settings, SERVER_READY_TIMEOUT);
	limits.keepalive_ms = (uint32_t)settings_number(settings, SERVER_KEEPALIVE);
	limits.max_message = (uint32_t)settings_number(settings, SERVER_MAX_MESSAGE);
	limits.message_memory = settings_number(settings, SERVER_MESSAGE_MEMORY);
	limits.probe_interval_ms = (uint32_t)settings_number(settings, SERVER_PROBE_INTERVAL);
	limits.probe_timeout_ms = (uint32_t)settings_number(settings, SERVER_PROBE_TIMEOUT);
	limits.max_frame = MAX(FRAME_LEAST, limits.max_message + FRAME_SLACK);
	return limits;
}

// What lies on one machine is the standalone daemon's: a store of its own here, for the same
// cluster, would be another one.
static const struct adapter_ops *find_shared(const char *kind)
{
	return strcmp(kind, "embedded") == 0 ? NULL : adapter_kind_find(kind);
}

char *listeners_proxy_open(struct daemon *daemon)
{
	const struct settings *settings = daemon->settings;
	struct proxy_listener_config listeners[LISTENERS_MAX];
	char *copies[LISTENERS_MAX], host[PROXY_ID_MAX + 1] = "proxy", *wrong = NULL;
	const char *const *texts,
		*id = settings_text(settings, SERVER_PROXY_ID),
		*name = json_string_value(json_object_get(daemon->control.identity, "name"));
	size_t count = settings_list(settings, SERVER_LISTEN, &texts);
	struct proxy_config config = {
		.server_version = VERSION,
		.data_dir = daemon->data_dir,
		.workers = (unsigned)settings_number(settings, SERVER_WORKERS),
		.listeners = listeners,
		.listener_count = count,
		.limits = listeners_limits(settings),
		.tls = daemon->tls,
		.catalog = daemon->catalog,
		.find_adapter = name ? find_shared : adapter_kind_find,
	};
	_cleanup_(freep) struct network *balancers =
		blocks_read(settings, SERVER_PROXY_PROTOCOL_FROM, &config.balancer_count);
	int r;

	if (!balancers)
		return text_format("the proxy does not start: %s", strerror(ENOMEM));
	config.balancers = balancers;
	gethostname(host, PROXY_ID_MAX);
	config.proxy_id = id ? id : name ? name : host;
	memcpy(config.salt_secret, daemon->salt_secret, sizeof config.salt_secret);
	for (size_t i = 0; i < count; ++i)
		copies[i] = client_listener_read(texts[i], &listeners[i]);
	r = proxy_new(&config, &daemon->proxy, &wrong);
	for (size_t i = 0; i < count; ++i)
		free(copies[i]);
	return r < 0 && !wrong ? text_format("the proxy does not start: %s", strerror(-r)) : wrong;
}

// ---- portal

static char *portal_refused(const char *address, int r)
{
	if (r == PORTAL_E_PLAIN)
		return text_format("portal-listen: %s is not loopback and has no TLS; use tls://%s "
				   "with tls-cert, or set portal-plain = yes",
				   address, address);
	return text_format("%s: cannot listen: %s", address, strerror(-r));
}

char *listeners_portal_start(struct daemon *daemon)
{
	const struct settings *settings = daemon->settings;
	struct portal_listener listeners[PORTAL_LISTENERS];
	const char *const *texts;
	size_t count = settings_list(settings, SERVER_PORTAL_LISTEN, &texts), which = 0;
	struct control *authority = &daemon->control;
	uint8_t secrets[sizeof daemon->seal_key + FILES_SECRET_SIZE];
	const struct portal_control control = {
		.address = settings_text(settings, SERVER_CONTROL_LISTEN),
		.authority_key = authority->key,
		.authority = authority->certificate,
		.secrets = secrets,
		.secrets_size = sizeof secrets,
	};
	struct portal_config config = {
		.listeners = listeners,
		.listener_count = count,
		.allow_plain = settings_flag(settings, SERVER_PORTAL_PLAIN),
		.client_header = settings_text(settings, SERVER_CLIENT_HEADER),
		.open_metrics = settings_flag(settings, SERVER_OPEN_METRICS),
		.connections = (uint32_t)settings_number(settings, SERVER_PORTAL_CONNECTIONS),
		.head_ms = (uint32_t)settings_number(settings, SERVER_PORTAL_HEAD_TIMEOUT),
		.body_ms = (uint32_t)settings_number(settings, SERVER_PORTAL_BODY_TIMEOUT),
		.work_ms = (uint32_t)settings_number(settings, SERVER_PORTAL_ANSWER_TIMEOUT),
		.write_ms = (uint32_t)settings_number(settings, SERVER_PORTAL_ANSWER_TIMEOUT),
		.body_bytes = (uint32_t)settings_number(settings, SERVER_PORTAL_BODY),
		.definitions_bytes = (uint32_t)settings_number(settings, SERVER_PORTAL_IMPORT),
		.registry = daemon->registry,
		.catalog = daemon->catalog,
		.control = authority->certificate ? &control : NULL,
		.queries = daemon->proxy ? proxy_query_channel(daemon->proxy) : NULL,
		.data_dir = daemon->data_dir,
		.version = VERSION,
		.cluster_kinds = daemon->kinds,
		.tls_context = tls_reference,
		.metrics = metrics_collect,
		.ctx = daemon,
	};
	int r;

	_cleanup_(freep) struct network *balancers =
		blocks_read(settings, SERVER_CLIENT_HEADER_FROM, &config.balancer_count);
	if (!balancers)
		return text_format("the portal does not start: %s", strerror(ENOMEM));
	config.balancers = balancers;
	for (size_t i = 0; i < count; ++i)
		listeners[i] = (struct portal_listener){strip_scheme(texts[i]), is_tls(texts[i])};
	memcpy(secrets, daemon->seal_key.bytes, sizeof daemon->seal_key);
	memcpy(secrets + sizeof daemon->seal_key, daemon->salt_secret, FILES_SECRET_SIZE);
	r = portal_start(&config, &daemon->portal, &which);
	explicit_bzero(secrets, sizeof secrets);
	if (r && which == count)
		return text_format("the portal does not start: %s", strerror(-r));
	return r ? portal_refused(strip_scheme(texts[which]), r) : NULL;
}

char *listeners_control_address(const struct daemon *daemon)
{
	const char *address = settings_text(daemon->settings, SERVER_CONTROL_LISTEN), *colon;
	unsigned port = daemon->portal ? portal_control_port(daemon->portal) : 0;

	if (!port)
		return NULL;
	colon = strrchr(address, ':');
	return text_format("%.*s:%u", (int)(colon - address), address, port);
}

char *listeners_portal_address(const struct daemon *daemon, size_t index)
{
	const char *const *texts, *address, *colon;
	size_t count = settings_list(daemon->settings, SERVER_PORTAL_LISTEN, &texts);

	if (!daemon->portal || index >= count)
		return NULL;
	address = strip_scheme(texts[index]);
	colon = strrchr(address, ':');
	return text_format("%.*s:%u", (int)(colon - address), address,
			   portal_port(daemon->portal, index));
}
