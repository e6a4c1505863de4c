// Proxies of the installation: invited, listed with how they are doing, removed.
//
// A proxy's row is the registry's; what is known of it now is the leader's (core/control), which
// runs on the portal's loop, so that both are asked without waiting. The catalog of this process
// hands each change on to it.
//
// A join token has two parts: the registry's secret, and the hash of the authority's key, by which
// the proxy knows the portal.

#include "portal-api/proxies.h"

#include "core/base/base64url.h"
#include "core/base/log.h"
#include "core/base/text.h"
#include "core/catalog/catalog.h"
#include "core/control/certificate.h"
#include "core/control/leader.h"
#include "core/registry/delete.h"
#include "core/registry/lookup.h"
#include "core/registry/page.h"
#include "core/registry/proxies.h"
#include "core/registry/resource.h"
#include "portal-api/crud.h"
#include "portal-api/handlers.h"
#include "portal-api/state.h"

#include <stdio.h>

// ---- the control links

static char *join(void *ctx, const char *token, const uint8_t *key_hash, const char *peer,
		  struct leader_proxy *ret)
{
	struct portal *portal = ctx;
	struct registry_result result = {0};
	struct registry_proxy proxy;
	int r = registry_proxies_join(portal->registry, peer, token, key_hash, &proxy, &result);
	char *wrong = NULL;

	if (r < 0)
		wrong = text_format("the portal cannot use its registry now (%s); try again",
				    strerror(-r));
	else if (result.code != CODE_OK)
		wrong = text_format("%s", result.text ? result.text : code_sentence(result.code));
	registry_result_deinit(&result);
	if (wrong)
		return wrong;
	ret->id = proxy.id;
	snprintf(ret->name, sizeof ret->name, "%s", proxy.name);
	return NULL;
}

static bool knows(void *ctx, uint64_t id, const uint8_t *key_hash, char ret_name[LEADER_NAME_SIZE])
{
	struct portal *portal = ctx;
	struct registry_proxy proxy;

	if (registry_proxies_find(portal->registry, id, key_hash, &proxy) != 1)
		return false;
	snprintf(ret_name, LEADER_NAME_SIZE, "%s", proxy.name);
	return true;
}

static void on_change(void *ctx, const struct catalog_change *change)
{
	struct portal *portal = ctx;

	leader_published(portal->leader, change);
}

int proxies_start(struct portal *portal)
{
	const struct portal_control *control = portal->config.control;
	int r;

	if (!control)
		return 0;
	r = leader_new(portal->loop,
		       &(struct leader_config){
			       .address = control->address,
			       .version = portal->config.version,
			       .authority_key = control->authority_key,
			       .authority = control->authority,
			       .installation = registry_installation(portal->registry),
			       .catalog = portal->config.catalog,
			       .secrets = control->secrets,
			       .secrets_size = control->secrets_size,
			       .join = join,
			       .knows = knows,
			       .ctx = portal,
		       },
		       &portal->leader);
	if (r < 0)
		return r;
	certificate_hash(control->authority, portal->authority_hash);
	catalog_forward(portal->config.catalog, on_change, portal);
	return 0;
}

void proxies_stop(struct portal *portal)
{
	if (!portal->leader)
		return;
	catalog_forward(portal->config.catalog, NULL, NULL);
	leader_free(portal->leader);
	portal->leader = NULL;
}

// ---- the routes

static void add_status(const struct portal *portal, json_t *proxy)
{
	uint64_t id = (uint64_t)json_integer_value(json_object_get(proxy, "id"));

	json_object_set_new(proxy, "status",
			    portal->leader ? leader_status(portal->leader, id) : json_null());
}

void proxies_list(struct call *call)
{
	struct registry_query query = crud_query(call);
	struct registry_result result = {0};
	int r = registry_page(call->portal->registry, REGISTRY_PROXY, &query, &result);
	json_t *proxy;
	size_t i;

	json_array_foreach(json_object_get(result.body, "items"), i, proxy)
		add_status(call->portal, proxy);
	call_result(call, r, &result, NULL);
}

void proxies_get(struct call *call)
{
	const struct registry_ref ref = crud_ref(call, REGISTRY_PROXY);
	struct registry_result result = {0};
	int r = registry_resource_get(call->portal->registry, &ref, &result);

	if (r == 0 && result.code == CODE_OK)
		add_status(call->portal, result.body);
	call_result(call, r, &result, NULL);
}

static void complete_token(const struct portal *portal, json_t *body)
{
	char hash[BASE64URL_SIZE(CERTIFICATE_HASH_SIZE)];
	_cleanup_(freep) char *token = NULL;

	base64url_encode(portal->authority_hash, CERTIFICATE_HASH_SIZE, hash);
	token = text_format("%s.%s", json_string_value(json_object_get(body, "token")), hash);
	json_object_set_new(body, "token", json_string(token));
}

void proxies_invite(struct call *call)
{
	struct registry_result result = {0};
	int r;

	if (!call->portal->leader) {
		call_fail(call, CODE_CONFLICT,
			  "the portal takes part in no control links; set control-listen");
		return;
	}
	r = registry_resource_create(call->portal->registry, &call->actor, REGISTRY_PROXY, NULL,
				     call->body, &result);
	if (r == 0 && result.code == CODE_OK)
		complete_token(call->portal, result.body);
	call_result(call, r, &result, "name");
}

// Answers with what the proxy could read, because only changing it there takes it back.
void proxies_delete(struct call *call)
{
	struct portal *portal = call->portal;
	const struct registry_ref ref = crud_ref(call, REGISTRY_PROXY);
	const struct registry_delete how = {0};
	struct registry_result result = {0};
	uint64_t id = registry_lookup_id(portal->registry, &ref);
	json_t *clusters = NULL;
	int r = registry_delete(portal->registry, &call->actor, &ref, &how, &result);

	if (call_refused(call, r, &result))
		return;
	registry_result_deinit(&result);
	if (portal->leader)
		leader_remove(portal->leader, id);
	r = registry_proxies_credentials(portal->registry, &clusters);
	if (r < 0)
		log_warn(NULL, "PROXY-CREDENTIALS", "%s", strerror(-r));
	call_json(call, 200, json_pack("{s:o}", "credentials", clusters ? clusters : json_array()));
}
