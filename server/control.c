// Keeps what control links need in the data directory: the portal's authority.pem, a proxy's
// proxy.json.
//
// proxy.json is written twice: with the private key alone before the proxy asks to join, so that it
// can ask again with the same token when the answer is lost, and as a whole afterwards. The
// installation's secrets lie in it wrapped for that key.
//
// A proxy that is told that it was removed takes its configuration away at once, which closes all
// clients, then its files, and ends.

#include "server/control.h"

#include "core/base/base64url.h"
#include "core/base/clock.h"
#include "core/base/log.h"
#include "core/base/text.h"
#include "core/catalog/catalog.h"
#include "core/catalog/change.h"
#include "core/control/certificate.h"
#include "core/control/envelope.h"
#include "core/control/join.h"
#include "core/control/portal_link.h"
#include "core/registry/registry.h"
#include "server/daemon_state.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>

#define AUTHORITY_FILE "authority.pem"
#define PROXY_FILE     "proxy.json"
#define FILE_MOST      65536
#define SECRETS_SIZE   (sizeof(struct seal_key) + FILES_SECRET_SIZE)
#define FIRST_WAIT_NS  (10 * S_NS)

static char *path_of(const struct daemon *daemon, const char *name)
{
	return text_format("%s/%s", daemon->data_dir, name);
}

// malloc'ed; NULL: it cannot be read, and errno says why.
static char *file_read(const char *path)
{
	FILE *file = fopen(path, "re");
	char *text = file ? calloc(1, FILE_MOST + 1) : NULL;

	if (text && fread(text, 1, FILE_MOST, file) == 0) {
		errno = ferror(file) ? EIO : ENODATA;
		free(text);
		text = NULL;
	}
	if (file)
		fclose(file);
	return text;
}

// ---- the portal's side

static char *authority_issue(const char *key, uint64_t installation)
{
	_cleanup_(freep) char *public_key = certificate_key_public(key);
	char name[CERTIFICATE_NAME_SIZE];
	const struct certificate_order order = {.name = name,
						.public_key = public_key,
						.authority_key = key,
						.now_ms = clock_wall_ms()};

	certificate_name_authority(installation, name);
	return public_key ? certificate_issue(&order) : NULL;
}

static char *authority_write(struct daemon *daemon, const char *path)
{
	struct control *control = &daemon->control;
	_cleanup_(freep) char *text = NULL;

	free(control->certificate);
	control->certificate =
		authority_issue(control->key, registry_installation(daemon->registry));
	if (!control->certificate)
		return text_format("%s: the authority's certificate cannot be made", path);
	text = text_format("%s%s", control->key, control->certificate);
	return files_write(path, text, 0600);
}

// The key stands first, the certificate behind it.
static bool authority_read(struct control *control, const char *text)
{
	const char *certificate = strstr(text, "-----BEGIN CERTIFICATE");
	uint8_t hash[CERTIFICATE_HASH_SIZE];

	if (!certificate || certificate_hash(certificate, hash) < 0)
		return false;
	control->key = strndup(text, (size_t)(certificate - text));
	control->certificate = strdup(certificate);
	return control->key && control->certificate;
}

char *control_authority_open(struct daemon *daemon)
{
	struct control *control = &daemon->control;
	_cleanup_(freep) char *path = path_of(daemon, AUTHORITY_FILE), *text = NULL;

	if (!settings_text(daemon->settings, SERVER_CONTROL_LISTEN))
		return NULL;
	if (files_exist(daemon->data_dir, AUTHORITY_FILE)) {
		text = file_read(path);
		if (!text || !authority_read(control, text))
			return text_format("%s does not hold the installation's authority; put the "
					   "file back, or remove it, and then every proxy must be "
					   "invited again",
					   path);
		return certificate_is_old(control->certificate, clock_wall_ms())
			       ? authority_write(daemon, path)
			       : NULL;
	}
	control->key = certificate_key_new();
	return control->key ? authority_write(daemon, path)
			    : text_format("%s: no key can be made", path);
}

// ---- the proxy's side

bool control_has_joined(const struct daemon *daemon)
{
	const char *const *portals;

	return strcmp(settings_text(daemon->settings, SERVER_ROLE), "proxy") == 0 &&
	       (files_exist(daemon->data_dir, PROXY_FILE) ||
		settings_list(daemon->settings, SERVER_JOIN, &portals) > 0);
}

static char *identity_write(struct daemon *daemon)
{
	_cleanup_(freep) char *path = path_of(daemon, PROXY_FILE), *text = NULL;

	text = json_dumps(daemon->control.identity, JSON_INDENT(1));
	return text ? files_write(path, text, 0600) : text_format("%s: out of memory", path);
}

static const char *identity_text(const struct daemon *daemon, const char *member)
{
	return json_string_value(json_object_get(daemon->control.identity, member));
}

static char *identity_load(struct daemon *daemon)
{
	_cleanup_(freep) char *path = path_of(daemon, PROXY_FILE), *text = NULL, *key = NULL;

	if (files_exist(daemon->data_dir, PROXY_FILE)) {
		text = file_read(path);
		daemon->control.identity = text ? json_loads(text, 0, NULL) : NULL;
		return identity_text(daemon, "key")
			       ? NULL
			       : text_format("%s does not hold the identity of a proxy; put the "
					     "file back, or remove it and join with a new token",
					     path);
	}
	key = certificate_key_new();
	daemon->control.identity = key ? json_pack("{s:s}", "key", key) : NULL;
	return daemon->control.identity ? identity_write(daemon)
					: text_format("%s: no key can be made", path);
}

// Addresses that are given replace those that are kept.
static char *take_portals(struct daemon *daemon)
{
	const char *const *given;
	size_t count = settings_list(daemon->settings, SERVER_JOIN, &given);
	json_t *portals = json_array();

	for (size_t i = 0; i < count; ++i)
		json_array_append_new(portals, json_string(given[i]));
	if (count && !json_equal(portals, json_object_get(daemon->control.identity, "portals"))) {
		json_object_set_new(daemon->control.identity, "portals", portals);
		return identity_write(daemon);
	}
	json_decref(portals);
	return NULL;
}

static char *join_now(struct daemon *daemon)
{
	const char *token = settings_text(daemon->settings, SERVER_TOKEN);
	json_t *portals = json_object_get(daemon->control.identity, "portals"), *portal,
	       *answer = NULL;
	char *wrong = NULL;
	size_t i;

	if (!token)
		return text_format("this proxy belongs to no installation yet: start it with "
				   "--token and the token of mqpaasctl proxy invite");
	json_array_foreach(portals, i, portal)
	{
		free(wrong);
		wrong = join_ask(json_string_value(portal), token, identity_text(daemon, "key"),
				 VERSION, &answer);
		if (!wrong)
			break;
	}
	if (wrong || !answer)
		return wrong ? wrong : text_format("join: no address of a portal");
	json_object_update(daemon->control.identity, answer);
	json_decref(answer);
	return identity_write(daemon);
}

static uint64_t installation_of(const struct daemon *daemon)
{
	const char *text = identity_text(daemon, "installation");

	return text ? strtoull(text, NULL, 16) : 0;
}

static uint64_t id_of(const struct daemon *daemon)
{
	return (uint64_t)json_integer_value(json_object_get(daemon->control.identity, "id"));
}

static char *secrets_open(struct daemon *daemon)
{
	const char *text = identity_text(daemon, "secrets");
	size_t size = text ? strlen(text) : 0;
	_cleanup_(freep) uint8_t *closed = malloc(size + 1);
	uint8_t plain[SECRETS_SIZE];
	char name[CERTIFICATE_NAME_SIZE];

	certificate_name_proxy(installation_of(daemon), id_of(daemon), name);
	if (!text || !closed || base64url_decode(text, size, closed, &size) < 0 ||
	    size != sizeof plain + ENVELOPE_OVERHEAD ||
	    envelope_open(identity_text(daemon, "key"), name, closed, size, plain) < 0)
		return text_format("%s/%s was altered: the installation's secrets do not open; "
				   "remove it and join with a new token",
				   daemon->data_dir, PROXY_FILE);
	memcpy(daemon->seal_key.bytes, plain, sizeof daemon->seal_key.bytes);
	memcpy(daemon->salt_secret, plain + sizeof daemon->seal_key.bytes, FILES_SECRET_SIZE);
	explicit_bzero(plain, sizeof plain);
	return NULL;
}

char *control_identity_open(struct daemon *daemon)
{
	char *wrong = identity_load(daemon);

	if (!wrong)
		wrong = take_portals(daemon);
	if (!wrong && !identity_text(daemon, "certificate"))
		wrong = join_now(daemon);
	return wrong ? wrong : secrets_open(daemon);
}

// @thread control
static void on_renewed(void *ctx, const char *certificate, const char *authority)
{
	struct daemon *daemon = ctx;
	_cleanup_(freep) char *wrong = NULL;

	json_object_set_new(daemon->control.identity, "certificate", json_string(certificate));
	json_object_set_new(daemon->control.identity, "authority", json_string(authority));
	wrong = identity_write(daemon);
	if (wrong)
		log_error(NULL, "CONTROL-IDENTITY", "%s", wrong);
}

static void configuration_drop(struct catalog *catalog)
{
	const struct change_head head = {.full = true,
					 .source = catalog_source(catalog),
					 .to = catalog_revision(catalog) + 1,
					 .installation = catalog_installation(catalog),
					 .next_id = catalog_next_id(catalog)};
	struct catalog_change *empty;
	struct change_writer writer;

	if (change_begin(&writer, &head, NULL) < 0)
		return;
	empty = change_end(&writer);
	catalog_apply(catalog, empty);
	free(empty);
}

// @thread control
static void on_removed(void *ctx)
{
	struct daemon *daemon = ctx;
	static const char *const names[] = {PROXY_FILE, "catalog"};

	log_error(NULL, "CONTROL-REMOVED",
		  "this proxy was removed from its installation: it closes all clients, deletes "
		  "what it knows, and ends");
	configuration_drop(daemon->catalog);
	for (size_t i = 0; i < ARRAY_SIZE(names); ++i) {
		_cleanup_(freep) char *path = path_of(daemon, names[i]);

		unlink(path);
	}
	kill(getpid(), SIGTERM);
}

// Has a change been applied as a whole, clusters opened too? Only then is it confirmed.
static bool has_configuration(struct catalog *catalog)
{
	uint64_t now_ns = clock_now_ns();

	return catalog_revision(catalog) && catalog_age_ns(catalog, now_ns) < now_ns;
}

static void wait_for_configuration(const struct daemon *daemon)
{
	uint64_t until_ns = clock_now_ns() + FIRST_WAIT_NS;
	const struct timespec nap = {.tv_nsec = 10 * MS_NS};

	while (!has_configuration(daemon->catalog) && clock_now_ns() < until_ns)
		nanosleep(&nap, NULL);
	if (!has_configuration(daemon->catalog))
		log_warn(NULL, "CONTROL-EMPTY",
			 "there is no configuration yet: clients are refused until it comes");
}

char *control_follow(struct daemon *daemon)
{
	json_t *portals = json_object_get(daemon->control.identity, "portals"), *portal;
	const char *addresses[64];
	struct portal_link_config config = {
		.version = VERSION,
		.key = identity_text(daemon, "key"),
		.certificate = identity_text(daemon, "certificate"),
		.authority = identity_text(daemon, "authority"),
		.installation = installation_of(daemon),
		.id = id_of(daemon),
		.portals = addresses,
		.catalog = daemon->catalog,
		.renewed = on_renewed,
		.removed = on_removed,
		.ctx = daemon,
	};
	bool empty = catalog_revision(daemon->catalog) == 0;
	size_t i;
	int r;

	json_array_foreach(portals, i, portal) if (config.portal_count < ARRAY_SIZE(addresses))
		addresses[config.portal_count++] = json_string_value(portal);
	r = portal_link_start(&config, &daemon->control.link);
	if (r < 0)
		return text_format("%s/%s: the portal cannot be followed: %s", daemon->data_dir,
				   PROXY_FILE, strerror(-r));
	if (empty)
		wait_for_configuration(daemon);
	return NULL;
}

void control_leave(struct daemon *daemon)
{
	portal_link_stop(daemon->control.link);
	daemon->control.link = NULL;
}

void control_close(struct daemon *daemon)
{
	control_leave(daemon);
	json_decref(daemon->control.identity);
	if (daemon->control.key)
		explicit_bzero(daemon->control.key, strlen(daemon->control.key));
	free(daemon->control.key);
	free(daemon->control.certificate);
}
