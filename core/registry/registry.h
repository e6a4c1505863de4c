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
	void *validate_ctx;      // of both
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
bool registry_is_empty(struct registry *registry);         // no user, no tenant: nobody used it yet
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

#define REGISTRY_MATCH_NONE 0          // no condition
#define REGISTRY_MATCH_ANY  UINT64_MAX // it must exist

// Body: the resource.
int registry_resource_get(struct registry *registry, const struct registry_ref *ref,
			  struct registry_result *ret);

// Makes a resource that is not there yet (CONFLICT otherwise). With an access key or a token the
// body holds `secret` or `token`, which nobody can read again.
int registry_resource_create(struct registry *registry, const struct registry_actor *actor,
			     enum registry_kind kind, const char *tenant, const json_t *body,
			     struct registry_result *ret);

// Makes it, or changes the members that are given; the same again changes nothing. Access keys and
// tokens are never made so. PRECONDITION_FAILED when `match` (a revision) is not the present one.
int registry_resource_put(struct registry *registry, const struct registry_actor *actor,
			  const struct registry_ref *ref, uint64_t match, const json_t *body,
			  struct registry_result *ret);

struct registry_delete {
	uint64_t match;
	bool force;   // also what uses it
	bool preview; // only say what would go; body {in_use, affected}
};

// IN_USE with `affected` when something would go with it and force is not set. A topic or group
// passes through state "deleting" until its backend has let it go.
int registry_delete(struct registry *registry, const struct registry_actor *actor,
		    const struct registry_ref *ref, const struct registry_delete *how,
		    struct registry_result *ret);

struct registry_query {
	const char *tenant; // name; NULL: of all, or not a tenant's kind
	const char *cursor; // `next` of the page before; NULL: the first
	unsigned limit;     // entries a page, 1 to 500
	// Filters; NULL or 0: any. A list that does not know one answers BAD_REQUEST.
	const char *prefix;                    // of the name
	const char *cluster;                   // topics: name
	const char *topic;                     // groups: name
	const char *state;                     // topics and groups
	const char *role;                      // users and tokens
	const char *actor, *action, *resource; // audit
	int64_t since_ms, until_ms;            // audit
};

// Body: {items, next}, by name; the audit log newest first.
int registry_page(struct registry *registry, enum registry_kind kind,
		  const struct registry_query *query, struct registry_result *ret);

// A second key with the same rights (body as of registry_resource_create); the old one expires
// after old_valid_ms. CONFLICT when two are active already.
int registry_rotate_key(struct registry *registry, const struct registry_actor *actor,
			const char *tenant, const char *key_id, uint64_t old_valid_ms,
			struct registry_result *ret);

// The id of a tenant, for permission_check(). 0: none of that name.
uint64_t registry_store_tenant_id(struct registry *registry, const char *name);
// The same for anything; 0: none. What live queries name.
uint64_t registry_store_id(struct registry *registry, const struct registry_ref *ref);
// And back: NULL: none. Lives until the next call.
const char *registry_store_name(struct registry *registry, enum registry_kind kind, uint64_t id);

// ---- what lies on a cluster and is not here yet

// Adds `owner` to each topic and group of an answer of QUERY_CLUSTER_EXISTING: {tenant, name} of
// the resource it is here, or null.
int registry_import_owners(struct registry *registry, uint64_t cluster, json_t *existing);
// Takes some of it under a tenant: all that is wanted, or nothing. `wanted` is {tenant,
// topics:[{physical, name?}], groups:[{physical, name?, topic?, dead_letter?}]}, checked in its
// form. Body: {preview, topics, groups}, the resources.
int registry_import(struct registry *registry, const struct registry_actor *actor,
		    const char *cluster, const json_t *wanted, const json_t *existing, bool preview,
		    struct registry_result *ret);

// ---- who calls

struct registry_identity {
	bool session; // else a machine's token
	uint64_t id;  // of the user or token
	uint64_t tenant;
	enum role role;
	int64_t expires_ms; // 0: never
	char name[MODEL_NAME_BYTES + 1];
	char tenant_name[MODEL_NAME_BYTES + 1]; // "" for the platform
};

// The one-time token for the first user, made anew at every call; an earlier one is void. Positive
// REGISTRY_E_BOOTSTRAPPED: there is a user already.
enum { REGISTRY_E_BOOTSTRAPPED = 1 };
#define REGISTRY_TOKEN_SIZE 48 // with its zero
int registry_identity_bootstrap_token(struct registry *registry, char ret[REGISTRY_TOKEN_SIZE]);
bool registry_identity_bootstrapped(struct registry *registry);

// Whether a password is a user's takes tens of milliseconds of CPU by intent: limit how many are
// tried. So it goes in three steps: what the user has is looked up, the password is compared with
// it on any thread, and what needs the password is done with the check in hand. An unknown user, a
// wrong password and a password changed in between end alike.
struct registry_identity_password {
	char encoded[160]; // "": the user is not known
	bool fits;
};
int registry_identity_password_look(struct registry *registry, const char *user,
				    struct registry_identity_password *ret);
void registry_identity_password_compare(struct registry_identity_password *check,
					const char *password); // @thread any

// Each ends in a session; body {token, expires_ms, user, role, tenant, break_glass}.
// UNAUTHENTICATED says nothing about which part was wrong.
int registry_identity_bootstrap(struct registry *registry, const char *address, const char *token,
				const char *user, const char *password,
				struct registry_result *ret);
int registry_identity_login(struct registry *registry, const char *address, const char *user,
			    const struct registry_identity_password *check,
			    struct registry_result *ret);

// `bearer` is a session's or a machine's token. Positive REGISTRY_E_UNKNOWN: nobody's, expired or
// disabled.
enum { REGISTRY_E_UNKNOWN = 1 };
int registry_identity_authenticate(struct registry *registry, const char *bearer,
				   struct registry_identity *ret);
int registry_identity_logout(struct registry *registry, const char *bearer);
// `old` is the check of the session's user. Ends the user's other sessions.
int registry_identity_password_change(struct registry *registry, const struct registry_actor *actor,
				      const char *bearer,
				      const struct registry_identity_password *old,
				      const char *new_password, struct registry_result *ret);

// ---- what a platform role may do to what opens a tenant: its keys, tokens and passwords

// Body: {guarded_since_ms, granted_until_ms, granted_by, reason, break_glass}; guarded from the
// first login of an administrator of the tenant on.
int registry_operator_access(struct registry *registry, const char *tenant,
			     struct registry_result *ret);
// The tenant allows it from now on for valid_ms, or no longer. Body as above.
int registry_operator_access_grant(struct registry *registry, const struct registry_actor *actor,
				   const char *tenant, uint64_t valid_ms, const char *reason,
				   struct registry_result *ret);
int registry_operator_access_withdraw(struct registry *registry, const struct registry_actor *actor,
				      const char *tenant, struct registry_result *ret);
// Without the tenant's leave: `user` becomes an enabled administrator of it with this password, its
// sessions end, and the tenant is told for ever. Body as above.
struct registry_operator_access_break_glass {
	const char *user, *password, *reason;
};
int registry_operator_access_break_glass(struct registry *registry,
					 const struct registry_actor *actor, const char *tenant,
					 const struct registry_operator_access_break_glass *how,
					 struct registry_result *ret);
// How often the audit log says that it was done.
uint64_t registry_operator_access_glass_broken(struct registry *registry);

// ---- audit

// For acts that change nothing in the registry: kick, purge, reset, backup. `details` may be NULL.
int registry_audit_note(struct registry *registry, const struct registry_actor *actor,
			const char *action, const char *kind, const char *resource,
			const char *tenant, const json_t *details);
int registry_audit_list(struct registry *registry, const struct registry_query *query,
			struct registry_result *ret);
// Body: {ok, entries, first_bad, missing, head, head_found}. `head`: the first digits (hexadecimal,
// lower case) of the hash of an entry that must be there, as the log or the metrics told it; NULL:
// none.
int registry_audit_verify(struct registry *registry, const char *head, struct registry_result *ret);
// The number of the newest entry (0: none), and its hash.
#define REGISTRY_HASH_TEXT 65 // with its zero
uint64_t registry_audit_head(const struct registry *registry, char ret_hash[REGISTRY_HASH_TEXT]);

// ---- totals: counters that survive restarts, saved about once a minute

// Replaces the counters of one object; they go with it. `counters` is an object of integers.
struct registry_total {
	enum registry_kind kind;
	uint64_t id;
	const json_t *counters;
};
int registry_totals_save(struct registry *registry, const struct registry_total *totals,
			 size_t count); // in one transaction
int registry_totals_load(struct registry *registry,
			 void (*fn)(void *ctx, const struct registry_total *total), void *ctx);

// ---- the whole

// Body: the document of `definitions`.
int registry_definitions_export(struct registry *registry, struct registry_result *ret);
// All of it or nothing. Body: {preview, created, updated, unchanged, changes}.
int registry_definitions_import(struct registry *registry, const struct registry_actor *actor,
				const json_t *document, bool preview, struct registry_result *ret);

// A consistent copy while running, of what was committed when it began. -EEXIST: the file is there
// already. Note it in the audit log. @thread any, one call at a time for a path
int registry_backup(const struct registry *registry, const char *path);

// A restore takes two steps. First the backup is copied beside the registry and the copy is looked
// at as a whole: -EUCLEAN, -ENOTSUP and others as registry_open() when it cannot be used, with a
// malloc'ed sentence. @thread any, one call at a time
int registry_backup_restore_prepare(const struct registry *registry, const char *path,
				    char **ret_error);
// Then the copy is merged with the registry (docs/registry.md), takes its place and is published;
// ids and revisions go on above both. Sessions end. Body: {preview, revive, revoked:[{kind, tenant,
// name, since}], topics:[{kind, tenant, name, reason}], unknown:[{kind, tenant, name, reason}]}.
struct registry_backup_restore_how {
	const char *path; // for the audit log
	bool revive;      // what was revoked since the copy comes back
	bool preview;     // nothing is done
};
int registry_backup_restore(struct registry *registry, const struct registry_actor *actor,
			    const struct registry_backup_restore_how *how,
			    struct registry_result *ret);
void registry_backup_restore_abandon(const struct registry *registry); // instead of the second step

// ---- settings of imported topics, for reconcile.c

// The next one after that id: 1, or 0 when there is none.
int registry_follow_next(struct registry *registry, uint64_t after, uint64_t *ret);
// Its row takes what its cluster says (an answer of QUERY_TOPIC_SETTINGS).
int registry_follow(struct registry *registry, uint64_t topic, const json_t *settings);

// ---- life of topics and groups, for reconcile.c

struct registry_lifecycle_pending {
	enum registry_kind kind; // topic or group
	uint64_t id;
	bool deleting;       // else creating, failed or growing
	bool verify;         // only ask whether the cluster has it: after a restore
	uint32_t found;      // partitions of a topic that was found so; set with the answer
	uint32_t partitions; // a topic that grows: how many it is to have; else 0
	uint64_t revision;   // a topic that was changed: the revision to take; else 0
};
// What waits for its backend and may be tried now: a topic goes only after its groups.
int registry_lifecycle_pending(struct registry *registry,
			       struct registry_lifecycle_pending *pending, size_t room,
			       size_t *ret_count);
// The backend's answer: OK makes it ready or gone; anything else is its reason, and with `failed`
// the state too.
int registry_lifecycle_settle(struct registry *registry,
			      const struct registry_lifecycle_pending *pending, enum code code,
			      const char *reason, bool failed);
