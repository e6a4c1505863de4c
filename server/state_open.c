// Opens the control data: the proxy's catalog with its last good copy, and the portal's registry.
//
// Invariant: nothing of a registry is published before it is known to fit the stores and the
// catalog beside it (recover.c). A new installation gets a cluster "local" and a one-time token for
// its first user.
//
// Not here: the order among the daemon's parts (daemon.c).

#include "server/state_open.h"

#include "adapters/adapter.h"
#include "core/base/log.h"
#include "core/base/text.h"
#include "core/catalog/catalog.h"
#include "core/registry/identity.h"
#include "core/registry/lookup.h"
#include "core/registry/recover.h"
#include "core/registry/resource.h"
#include "core/registry/scrub.h"
#include "server/daemon_state.h"
#include "server/recover.h"
#include "server/validate.h"

#define CATALOG_FILE    "catalog"
#define REGISTRY_FILE   "registry.db"
#define TOKEN_FILE      "bootstrap-token"
#define AUDIT_HEAD_FILE "audit-head"
#define LOCAL_CLUSTER   "local"

char *state_open_catalog(struct daemon *daemon)
{
	_cleanup_(freep) char *path = text_format("%s/%s", daemon->data_dir, CATALOG_FILE);
	int r = catalog_new(path, &daemon->seal_key, &daemon->catalog);

	if (r == CATALOG_E_DAMAGED)
		log_error(NULL, "CATALOG-DAMAGED",
			  "%s was damaged and has been set aside as %s.damaged", path, path);
	return r < 0 ? text_format("%s: %s", path, strerror(-r)) : NULL;
}

// A new installation has somewhere to put topics.
static char *local_cluster_make(struct daemon *daemon)
{
	const struct registry_actor actor = {.name = "system"};
	const struct registry_ref ref = {.kind = REGISTRY_CLUSTER, .name = LOCAL_CLUSTER};
	struct registry_result result = {0};
	json_t *body;
	int r;

	if (registry_identity_bootstrapped(daemon->registry) ||
	    registry_lookup_id(daemon->registry, &ref))
		return NULL;
	body = json_pack("{s:s,s:s}", "name", LOCAL_CLUSTER, "kind", "embedded");
	r = registry_resource_create(daemon->registry, &actor, REGISTRY_CLUSTER, NULL, body,
				     &result);
	json_decref(body);
	if (r == 0 && result.code != CODE_OK)
		log_warn(NULL, "NO-CLUSTER", "the cluster %s was not made: %s", LOCAL_CLUSTER,
			 result.text ? result.text : code_sentence(result.code));
	registry_result_deinit(&result);
	return r < 0 ? text_format("%s/%s: %s", daemon->data_dir, REGISTRY_FILE, strerror(-r))
		     : NULL;
}

static char *registry_file_open(struct daemon *daemon, const char *path)
{
	_cleanup_(freep) char *audit_head = text_format("%s/%s", daemon->data_dir, AUDIT_HEAD_FILE);
	struct registry_config config = {
		.path = path,
		.key = &daemon->seal_key,
		.validate = validate_draft,
		.durability = validate_durability,
		.group_start = validate_group_start,
		.validate_ctx = daemon,
		.audit_head = audit_head,
	};
	char *wrong = NULL;

	if (registry_open(&config, &daemon->registry, &wrong) < 0)
		return wrong ? wrong : text_format("%s cannot be opened", path);
	return NULL;
}

// True if the catalog or a store knows something that the registry does not: a later revision, or
// an id that the registry has not given yet.
static bool is_older(const struct daemon *daemon, const struct stores_memory *stores)
{
	struct registry *registry = daemon->registry;

	return registry_recover_is_older(registry, daemon->catalog) ||
	       (stores->installation == registry_installation(registry) &&
		stores->highest_id >= registry_next_id(registry));
}

// Nothing is published before the registry is known to fit what lies beside it.
static char *registry_fit(struct daemon *daemon, const struct stores_memory *stores,
			  const char *path)
{
	char *wrong =
		registry_is_empty(daemon->registry) ? recover_refuse_empty(daemon, stores) : NULL;
	int r;

	if (!wrong && is_older(daemon, stores)) {
		registry_close(daemon->registry);
		daemon->registry = NULL;
		wrong = recover_older(daemon, stores, path);
		if (!wrong)
			wrong = registry_file_open(daemon, path);
	}
	if (wrong)
		return wrong;
	r = registry_attach(daemon->registry, daemon->catalog,
			    MAX(stores->highest_id + 1, catalog_next_id(daemon->catalog)));
	if (r == 0)
		r = registry_scrub_start(daemon->registry);
	return r < 0 ? text_format("%s: %s", path, strerror(-r)) : NULL;
}

// First an interrupted restore is finished, then the stores are asked what they remember, and only
// then the registry's file is opened: opening would make an empty one.
char *state_open_registry(struct daemon *daemon)
{
	_cleanup_(freep) char *path = text_format("%s/%s", daemon->data_dir, REGISTRY_FILE);
	struct stores_memory stores;
	char *wrong = recover_resume(daemon);

	if (wrong)
		return wrong;
	wrong = recover_stores_remember(daemon, &stores);
	if (!wrong && !files_hold(daemon->data_dir, REGISTRY_FILE))
		wrong = recover_refuse_empty(daemon, &stores);
	if (!wrong)
		wrong = registry_file_open(daemon, path);
	if (!wrong)
		wrong = registry_fit(daemon, &stores, path);
	recover_stores_forget(&stores);
	return wrong ? wrong : local_cluster_make(daemon);
}

// The first user has no user to make it: a token that works once lies where only the operator of
// the machine can read it.
char *state_open_offer_token(struct daemon *daemon)
{
	_cleanup_(freep) char *path = text_format("%s/%s", daemon->data_dir, TOKEN_FILE),
			      *text = NULL;
	char token[REGISTRY_TOKEN_SIZE], *wrong;
	int r = registry_identity_bootstrap_token(daemon->registry, token);

	if (r == REGISTRY_E_BOOTSTRAPPED) {
		unlink(path);
		return NULL;
	}
	if (r < 0)
		return text_format("%s/%s: %s", daemon->data_dir, REGISTRY_FILE, strerror(-r));
	text = text_format("%s\n", token);
	wrong = files_write(path, text, 0600);
	if (!wrong)
		log_info(NULL, "BOOTSTRAP",
			 "there is no user yet; make the first with the token in %s (mqpaasctl "
			 "system bootstrap)",
			 path);
	return wrong;
}
