// The durable control data: one SQLite file. The portal's side of the catalog.
//
// Everything is for one thread, the portal's, unless marked @thread any, and may wait for the disk.
// Every change is checked,
// written with its audit entry in one transaction, and then published to the catalog. A call
// returns 0 and says in its result how it ended (OK or a refusal with its reason), or a negative
// errno when the database failed: nothing was changed then.
//
// Resources go in and out in the JSON form of portal-api/openapi.yaml, read, checked and written by
// the field tables. Bodies are borrowed.
#pragma once

#include "core/base/code.h"
#include "core/catalog/seal.h"
#include "core/model/model.h"
#include "core/registry/permission.h"

#include <jansson.h>

struct catalog;
struct catalog_change;
struct registry;

enum registry_kind {
	REGISTRY_TENANT = MODEL_TENANT,
	REGISTRY_ACCESS_KEY = MODEL_ACCESS_KEY,
	REGISTRY_CLUSTER = MODEL_CLUSTER,
	REGISTRY_TOPIC = MODEL_TOPIC,
	REGISTRY_GROUP = MODEL_GROUP,
	REGISTRY_USER,
	REGISTRY_TOKEN,
	REGISTRY_PROXY,
	REGISTRY_KIND_COUNT
};

// ---- opening

struct registry_config {
	const char *path;           // of the database file
	const struct seal_key *key; // for the clusters' credentials; copied; not in the database
	struct catalog *catalog; // brought up to date at once, then with every change; NULL: none
	// What only the backends know: called with a cluster, topic or group before it is made or
	// changed, and with the cluster it would lie on (NULL for a cluster). CODE_OK, or the
	// refusal with *ret_text (malloc'ed), which begins with the member it is about:
	// "options.bootstrap: …". NULL: everything goes.
	enum code (*validate)(void *ctx, const struct model_object *draft,
			      const struct cluster *cluster, char **ret_text);
	// The best class of durability that a cluster has, as far as that is known: for a topic
	// that asks for none. NULL: D2.
	enum durability (*durability)(void *ctx, const struct topic *topic,
				      const struct cluster *cluster);
	// Where a group begins of which nothing is said. NULL: at the earliest.
	enum group_start (*group_start)(void *ctx, const struct cluster *cluster);
	void *validate_ctx;      // of these three
	int64_t (*now_ms)(void); // wall clock; NULL: the real one
	// A file that always names the newest entry of the audit log, so that a log cut at its end
	// is seen; NULL: none.
	const char *audit_head;
};

// -EUCLEAN: damaged, or not a registry; -ENOTSUP: made by a newer version; -EBUSY: locked by
// another process; others as the system says. `ret_error` is a malloc'ed sentence in every case.
int registry_open(const struct registry_config *config, struct registry **ret, char **ret_error);
void registry_close(struct registry *registry);

uint64_t registry_revision(struct registry *registry);
uint64_t registry_source(struct registry *registry);       // revisions of two do not compare
uint64_t registry_installation(struct registry *registry); // kept by copies and restores
uint64_t registry_next_id(struct registry *registry);      // every id below was given out once
bool registry_is_empty(struct registry *registry);         // no user, no tenant: not used yet
// For a registry that was opened without a catalog: no id below `least_id` is given out from now
// on, and the catalog is brought up to date.
int registry_attach(struct registry *registry, struct catalog *catalog, uint64_t least_id);
// Tells the catalog that the control plane lives, and what it lacks, should a publication have
// failed. reconcile_run() does it every second; changes are published without it.
void registry_publish(struct registry *registry);
// What a proxy that holds `from` needs: a delta where that is possible, else a full snapshot.
int registry_change(struct registry *registry, uint64_t source, uint64_t from,
		    struct catalog_change **ret);

// ---- results

struct registry_actor {
	const char *name;    // "user:ann", "token:ci", "system"
	const char *address; // NULL: none
	uint64_t tenant;     // of a tenant's caller; 0: the platform's, or the daemon itself
	bool of_platform; // with a role of the platform: needs a tenant's leave for what opens it
};

struct registry_result {
	enum code code;
	char *text;        // what, where, and what would be right; NULL with OK
	json_t *errors;    // [{field, detail}]: `field` is a JSON pointer; NULL: none
	json_t *affected;  // [{kind, tenant, name}] with IN_USE and previews; NULL: none
	json_t *body;      // the resource, page or answer; NULL: none
	uint64_t revision; // of the resource, for its ETag
	bool created;      // it was not there before
};

void registry_result_deinit(struct registry_result *result); // a zeroed one is fine too

// ---- resources

// `tenant` is the name of the tenant that owns a topic, group or access key; NULL for the other
// kinds. `name` is the name; of an access key its id; of a token its id in decimal.
struct registry_ref {
	enum registry_kind kind;
	const char *tenant;
	const char *name;
};
