// The table of routes, and what their queries and small bodies may hold.
//
// A row is all that the rest of the portal knows of a route: method, path, permission, handler,
// rules, flags, sentence. openapi.yaml says the same to clients, and a test compares the two.
// Bodies of resources have no rules here: the registry checks them by its own table of fields.

#include "portal-api/routes.h"

#include "core/base/util.h"
#include "portal-api/handlers.h"

#define NAME(n)         {.name = n, .type = QUERY_TEXT, .min = 1, .max = 256}
#define FLAG(n)         {.name = n, .type = QUERY_BOOLEAN}
#define NUMBER(n, l, m) {.name = n, .type = QUERY_INTEGER, .min = l, .max = m}
#define INTEGER_MOST    9007199254740991 // what every JSON reader keeps exactly
#define PAGE                                                                                       \
	{.name = "limit", .type = QUERY_INTEGER, .min = 1, .max = 500, .initial = 50},             \
		{.name = "cursor", .type = QUERY_CURSOR, .min = 1, .max = 512}

// ---- queries

static const struct query_rule page_query[] = {PAGE, {0}};
static const struct query_rule list_query[] = {PAGE, NAME("prefix"), {0}};
static const struct query_rule topics_query[] = {
	PAGE, NAME("prefix"), NAME("cluster"), NAME("state"), {0}};
static const struct query_rule groups_query[] = {
	PAGE, NAME("prefix"), NAME("topic"), NAME("state"), {0}};
static const struct query_rule users_query[] = {
	PAGE, NAME("prefix"), NAME("role"), NAME("tenant"), {0}};
static const struct query_rule accounts_query[] = {PAGE, NAME("prefix"), NAME("role"), {0}};
static const struct query_rule audit_query[] = {PAGE,
						NAME("actor"),
						NAME("action"),
						NAME("resource"),
						NUMBER("since_ms", 1, INTEGER_MOST),
						NUMBER("until_ms", 1, INTEGER_MOST),
						{0}};
static const struct query_rule delete_query[] = {FLAG("force"), FLAG("preview"), {0}};
static const struct query_rule import_query[] = {FLAG("preview"), {0}};
static const struct query_rule restore_query[] = {FLAG("preview"), FLAG("revive"), {0}};
static const struct query_rule verify_query[] = {
	{.name = "head", .type = QUERY_TEXT, .min = 12, .max = 64}, {0}};
static const struct query_rule metrics_query[] = {FLAG("detailed"), {0}};
static const struct query_rule messages_query[] = {
	NUMBER("partition", 0, 65535),
	NUMBER("offset", 0, INTEGER_MOST),
	NUMBER("time_ms", 0, INTEGER_MOST),
	{.name = "limit", .type = QUERY_INTEGER, .min = 1, .max = 100, .initial = 10},
	FLAG("bodies"),
	{0}};

// ---- bodies

#define TEXT(n, f, l, m)    {.name = n, .type = BODY_RULE_TEXT, .flags = f, .min = l, .max = m}
#define INTEGER(n, f, l, m) {.name = n, .type = BODY_RULE_INTEGER, .flags = f, .min = l, .max = m}

static const struct body_rule bootstrap_rules[] = {
	TEXT("token", BODY_RULE_REQUIRED, 1, 128),
	TEXT("user", BODY_RULE_REQUIRED, 1, 64),
	TEXT("password", BODY_RULE_REQUIRED | BODY_RULE_ANY, 12, 256),
	{0}};
static const struct body_rule login_rules[] = {
	TEXT("user", BODY_RULE_REQUIRED, 1, 64),
	TEXT("password", BODY_RULE_REQUIRED | BODY_RULE_ANY, 1, 256),
	{0}};
static const struct body_rule password_rules[] = {
	TEXT("old", BODY_RULE_REQUIRED | BODY_RULE_ANY, 0, 256),
	TEXT("new", BODY_RULE_REQUIRED | BODY_RULE_ANY, 12, 256),
	{0}};
static const struct body_rule leave_rules[] = {
	INTEGER("valid_ms", BODY_RULE_REQUIRED, 60000, 2592000000),
	TEXT("reason", BODY_RULE_REQUIRED, 1, 256),
	{0}};
static const struct body_rule break_glass_rules[] = {
	TEXT("user", BODY_RULE_REQUIRED, 1, 64),
	TEXT("password", BODY_RULE_REQUIRED | BODY_RULE_ANY, 12, 256),
	TEXT("reason", BODY_RULE_REQUIRED, 1, 256),
	{0}};
static const struct body_rule rotate_rules[] = {INTEGER("old_valid_ms", 0, 0, 31536000000), {0}};
static const struct body_rule kick_rules[] = {TEXT("access_key", 0, 1, 64), {0}};
static const struct body_rule backup_rules[] = {TEXT("name", 0, 1, 64), {0}};
static const struct body_rule preview_rules[] = {{.name = "preview", .type = BODY_RULE_BOOLEAN},
						 {0}};

static const struct body_rule import_topic_rules[] = {
	TEXT("physical", BODY_RULE_REQUIRED, 1, 255), TEXT("name", 0, 1, 64), {0}};
static const struct body_rule import_group_rules[] = {
	TEXT("physical", BODY_RULE_REQUIRED, 1, 255),
	TEXT("name", 0, 1, 64),
	TEXT("topic", 0, 1, 64),
	{.name = "dead_letter", .type = BODY_RULE_BOOLEAN},
	{0}};
static const struct body_rule existing_rules[] = {TEXT("tenant", BODY_RULE_REQUIRED, 1, 64),
						  {.name = "topics",
						   .type = BODY_RULE_ARRAY,
						   .min = 0,
						   .max = 500,
						   .rules = import_topic_rules},
						  {.name = "groups",
						   .type = BODY_RULE_ARRAY,
						   .min = 0,
						   .max = 500,
						   .rules = import_group_rules},
						  {.name = "preview", .type = BODY_RULE_BOOLEAN},
						  {0}};

static const char *const reset_places[] = {"earliest", "latest", "time", "positions", NULL};
static const struct body_rule position_rules[] = {
	INTEGER("partition", BODY_RULE_REQUIRED, 0, 65535),
	INTEGER("offset", BODY_RULE_REQUIRED, 0, INTEGER_MOST),
	{0}};
static const struct body_rule reset_to_rules[] = {
	{.name = "at", .type = BODY_RULE_ENUM, .flags = BODY_RULE_REQUIRED, .values = reset_places},
	INTEGER("time_ms", 0, 0, INTEGER_MOST),
	{.name = "positions",
	 .type = BODY_RULE_ARRAY,
	 .min = 1,
	 .max = 1024,
	 .rules = position_rules},
	{0}};
static const struct body_rule reset_rules[] = {{.name = "to",
						.type = BODY_RULE_OBJECT,
						.flags = BODY_RULE_REQUIRED,
						.rules = reset_to_rules},
					       {.name = "preview", .type = BODY_RULE_BOOLEAN},
					       {0}};

// ---- the table

// clang-format off
const struct route routes[] = {
	{"GET", "/livez", NULL, health_live, NULL,
	 NULL, ROUTE_RESERVED,
	 "Is the process alive."},
	{"GET", "/readyz", NULL, health_ready, NULL,
	 NULL, ROUTE_RESERVED,
	 "Can it serve: registry, proxy, configuration."},
	{"GET", "/metrics", "metrics.read", health_metrics, NULL,
	 metrics_query, ROUTE_OPENABLE | ROUTE_RESERVED,
	 "Metrics in the Prometheus text format."},
	{"GET", "/docs", NULL, docs_page, NULL,
	 NULL, 0,
	 "This contract as a page for users."},
	{"GET", "/api/v1/openapi.yaml", NULL, docs_openapi_yaml, NULL,
	 NULL, 0,
	 "This contract."},
	{"GET", "/api/v1/openapi.json", NULL, docs_openapi_json, NULL,
	 NULL, 0,
	 "This contract."},
	{"GET", "/api/v1/system", "system.read", health_system, NULL,
	 NULL, 0,
	 "Version, uptime, state of the registry."},
	{"POST", "/api/v1/bootstrap", NULL, sessions_bootstrap, bootstrap_rules,
	 NULL, ROUTE_JSON,
	 "Make the first user with the one-time token; works once."},
	{"POST", "/api/v1/sessions", NULL, sessions_login, login_rules,
	 NULL, ROUTE_JSON,
	 "Log in with name and password."},
	{"GET", "/api/v1/me", "me.read", sessions_me, NULL,
	 NULL, 0,
	 "Who is calling, and what it may do."},
	{"DELETE", "/api/v1/me/session", "me.write", sessions_logout, NULL,
	 NULL, 0,
	 "End this session."},
	{"PUT", "/api/v1/me/password", "me.write", sessions_password, password_rules,
	 NULL, ROUTE_JSON,
	 "Change one's own password; ends the user's other sessions."},
	{"GET", "/api/v1/permissions", "permissions.read", sessions_permissions, NULL,
	 NULL, 0,
	 "The permission table."},
	{"GET", "/api/v1/clusters", "clusters.read", clusters_list, NULL,
	 list_query, 0,
	 "List clusters."},
	{"POST", "/api/v1/clusters", "clusters.write", clusters_create, NULL,
	 NULL, ROUTE_JSON,
	 "Create: cluster."},
	{"GET", "/api/v1/clusters/{cluster}", "clusters.read", clusters_get, NULL,
	 NULL, 0,
	 "Read: cluster."},
	{"PUT", "/api/v1/clusters/{cluster}", "clusters.write", clusters_put, NULL,
	 NULL, ROUTE_JSON | ROUTE_MATCH,
	 "Create or update: cluster."},
	{"DELETE", "/api/v1/clusters/{cluster}", "clusters.write", clusters_delete, NULL,
	 delete_query, ROUTE_MATCH,
	 "Delete: cluster; refused while in use unless forced."},
	{"POST", "/api/v1/clusters/{cluster}/probe", "clusters.probe", clusters_probe, NULL,
	 NULL, 0,
	 "Try the cluster now: reachable, version, capabilities."},
	{"GET", "/api/v1/clusters/{cluster}/state", "clusters.read", clusters_state, NULL,
	 NULL, 0,
	 "How the cluster is doing."},
	{"GET", "/api/v1/clusters/{cluster}/damage", "clusters.read", clusters_damage, NULL,
	 NULL, 0,
	 "What was found damaged or missing on the cluster and no operator has dealt with."},
	{"GET", "/api/v1/clusters/{cluster}/existing", "clusters.import", clusters_existing, NULL,
	 NULL, 0,
	 "What lies on the cluster, of all clients: topics and consumer groups."},
	{"POST", "/api/v1/clusters/{cluster}/import", "clusters.import", clusters_import, existing_rules,
	 NULL, ROUTE_JSON,
	 "Take topics and consumer groups of the cluster under a tenant, untouched."},
	{"GET", "/api/v1/tenants", "tenants.read", tenants_list, NULL,
	 list_query, 0,
	 "List tenants."},
	{"POST", "/api/v1/tenants", "tenants.write", tenants_create, NULL,
	 NULL, ROUTE_JSON,
	 "Create: tenant."},
	{"GET", "/api/v1/tenants/{tenant}", "tenants.read", tenants_get, NULL,
	 NULL, 0,
	 "Read: tenant."},
	{"PUT", "/api/v1/tenants/{tenant}", "tenants.write", tenants_put, NULL,
	 NULL, ROUTE_JSON | ROUTE_MATCH | ROUTE_MAKES_TENANT,
	 "Create or update: tenant."},
	{"DELETE", "/api/v1/tenants/{tenant}", "tenants.write", tenants_delete, NULL,
	 delete_query, ROUTE_MATCH,
	 "Delete: tenant; refused while in use unless forced."},
	{"GET", "/api/v1/tenants/{tenant}/access-keys", "keys.read", keys_list, NULL,
	 list_query, 0,
	 "List access keys."},
	{"POST", "/api/v1/tenants/{tenant}/access-keys", "keys.write", keys_create, NULL,
	 NULL, ROUTE_JSON,
	 "Create: access key."},
	{"GET", "/api/v1/tenants/{tenant}/access-keys/{key_id}", "keys.read", keys_get, NULL,
	 NULL, 0,
	 "Read: access key."},
	{"PUT", "/api/v1/tenants/{tenant}/access-keys/{key_id}", "keys.write", keys_put, NULL,
	 NULL, ROUTE_JSON | ROUTE_MATCH,
	 "Update: access key (grants, networks, disabled, expiry)."},
	{"DELETE", "/api/v1/tenants/{tenant}/access-keys/{key_id}", "keys.write", keys_delete, NULL,
	 delete_query, ROUTE_MATCH,
	 "Delete: access key; refused while in use unless forced."},
	{"POST", "/api/v1/tenants/{tenant}/access-keys/{key_id}/rotate", "keys.write", keys_rotate, rotate_rules,
	 NULL, ROUTE_JSON,
	 "Make a second key with the same rights; the old one expires later."},
	{"GET", "/api/v1/tenants/{tenant}/operator-access", "operator_access.read",
	 operator_access_get, NULL, NULL, 0,
	 "Whether platform roles may make what opens the tenant."},
	{"PUT", "/api/v1/tenants/{tenant}/operator-access", "operator_access.grant",
	 operator_access_grant, leave_rules, NULL, ROUTE_JSON,
	 "Allow platform roles to make keys, tokens and passwords of the tenant, for a while."},
	{"DELETE", "/api/v1/tenants/{tenant}/operator-access", "operator_access.grant",
	 operator_access_withdraw, NULL, NULL, 0,
	 "Allow it no longer."},
	{"POST", "/api/v1/tenants/{tenant}/break-glass", "operator_access.break_glass",
	 operator_access_break_glass, break_glass_rules, NULL, ROUTE_JSON,
	 "Set the password of an administrator of the tenant without its leave; it is told."},
	{"GET", "/api/v1/tenants/{tenant}/users", "accounts.read", users_list_of_tenant, NULL,
	 accounts_query, 0,
	 "List users of a tenant."},
	{"DELETE", "/api/v1/tenants/{tenant}/users/{user}", "accounts.revoke",
	 users_delete_of_tenant, NULL, delete_query, 0,
	 "Delete: user of a tenant."},
	{"GET", "/api/v1/tenants/{tenant}/tokens", "accounts.read", users_list_tokens_of_tenant, NULL,
	 accounts_query, 0,
	 "List tokens of a tenant's machines."},
	{"DELETE", "/api/v1/tenants/{tenant}/tokens/{token_id}", "accounts.revoke",
	 users_delete_token_of_tenant, NULL, delete_query, 0,
	 "Delete: token of a tenant."},
	{"GET", "/api/v1/tenants/{tenant}/topics", "topics.read", topics_list, NULL,
	 topics_query, 0,
	 "List topics."},
	{"POST", "/api/v1/tenants/{tenant}/topics", "topics.write", topics_create, NULL,
	 NULL, ROUTE_JSON,
	 "Create: topic."},
	{"GET", "/api/v1/tenants/{tenant}/topics/{topic}", "topics.read", topics_get, NULL,
	 NULL, 0,
	 "Read: topic."},
	{"PUT", "/api/v1/tenants/{tenant}/topics/{topic}", "topics.write", topics_put, NULL,
	 NULL, ROUTE_JSON | ROUTE_MATCH,
	 "Create or update: topic."},
	{"DELETE", "/api/v1/tenants/{tenant}/topics/{topic}", "topics.write", topics_delete, NULL,
	 delete_query, ROUTE_MATCH,
	 "Delete: topic; refused while in use unless forced."},
	{"GET", "/api/v1/tenants/{tenant}/topics/{topic}/partitions", "topics.read", topics_partitions, NULL,
	 NULL, 0,
	 "First and next offset and size of each partition."},
	{"POST", "/api/v1/tenants/{tenant}/topics/{topic}/purge", "topics.purge", topics_purge, preview_rules,
	 NULL, ROUTE_JSON,
	 "Delete every message; `preview` says how many."},
	{"POST", "/api/v1/tenants/{tenant}/topics/{topic}/skip-damage", "topics.purge", topics_skip, preview_rules,
	 NULL, ROUTE_JSON,
	 "Give up offsets that cannot be read, so that groups pass them; `preview` says which."},
	{"GET", "/api/v1/tenants/{tenant}/topics/{topic}/messages", "messages.read", messages_read, NULL,
	 messages_query, 0,
	 "Read stored messages of one partition, by offset or time."},
	{"GET", "/api/v1/tenants/{tenant}/topics/{topic}/stats", "stats.read", statistics_topic, NULL,
	 NULL, 0,
	 "Totals and rates of a topic."},
	{"GET", "/api/v1/tenants/{tenant}/groups", "groups.read", groups_list, NULL,
	 groups_query, 0,
	 "List groups."},
	{"POST", "/api/v1/tenants/{tenant}/groups", "groups.write", groups_create, NULL,
	 NULL, ROUTE_JSON,
	 "Create: group."},
	{"GET", "/api/v1/tenants/{tenant}/groups/{group}", "groups.read", groups_get, NULL,
	 NULL, 0,
	 "Read: group."},
	{"PUT", "/api/v1/tenants/{tenant}/groups/{group}", "groups.write", groups_put, NULL,
	 NULL, ROUTE_JSON | ROUTE_MATCH,
	 "Create or update: group."},
	{"DELETE", "/api/v1/tenants/{tenant}/groups/{group}", "groups.write", groups_delete, NULL,
	 delete_query, ROUTE_MATCH,
	 "Delete: group; refused while in use unless forced."},
	{"GET", "/api/v1/tenants/{tenant}/groups/{group}/backlog", "groups.read", groups_backlog, NULL,
	 NULL, 0,
	 "Backlog by partition: ready, in flight, retrying, delayed; and dead."},
	{"GET", "/api/v1/tenants/{tenant}/backlogs", "groups.read", groups_backlogs, NULL,
	 NULL, 0,
	 "Backlog of every group of a tenant, as looked at in the last seconds."},
	{"GET", "/api/v1/backlogs", "platform.stats", groups_backlogs_all, NULL,
	 NULL, 0,
	 "Backlog of every group of every tenant, as looked at in the last seconds."},
	{"POST", "/api/v1/tenants/{tenant}/groups/{group}/reset", "groups.reset", groups_reset, reset_rules,
	 NULL, ROUTE_JSON,
	 "Move to earliest, latest, a time or positions; `preview` says what would be skipped and replayed."},
	{"POST", "/api/v1/tenants/{tenant}/groups/{group}/purge", "groups.reset", groups_purge, preview_rules,
	 NULL, ROUTE_JSON,
	 "Acknowledge the whole backlog; `preview` says how many."},
	{"GET", "/api/v1/tenants/{tenant}/groups/{group}/stats", "stats.read", statistics_group, NULL,
	 NULL, 0,
	 "Totals and rates of a group."},
	{"GET", "/api/v1/tenants/{tenant}/stats", "stats.read", statistics_tenant, NULL,
	 NULL, 0,
	 "Totals, rates, quota use of a tenant."},
	{"GET", "/api/v1/stats", "platform.stats", statistics_platform, NULL,
	 NULL, 0,
	 "Totals and rates of the platform and of each tenant."},
	{"GET", "/api/v1/tenants/{tenant}/clients", "clients.read", clients_list, NULL,
	 page_query, 0,
	 "Connected clients of a tenant."},
	{"DELETE", "/api/v1/tenants/{tenant}/clients/{session}", "clients.kick", clients_kick_one, NULL,
	 NULL, 0,
	 "Disconnect one client."},
	{"POST", "/api/v1/tenants/{tenant}/clients/kick", "clients.kick", clients_kick_many, kick_rules,
	 NULL, ROUTE_JSON,
	 "Disconnect the clients of an access key, or all."},
	{"GET", "/api/v1/clients", "platform.clients", clients_list_all, NULL,
	 page_query, 0,
	 "Connected clients of every tenant."},
	{"GET", "/api/v1/tenants/{tenant}/audit", "audit.read", audit_list_tenant, NULL,
	 audit_query, 0,
	 "Changes that concern a tenant, newest first."},
	{"GET", "/api/v1/users", "users.read", users_list, NULL,
	 users_query, 0,
	 "List users."},
	{"POST", "/api/v1/users", "users.write", users_create, NULL,
	 NULL, ROUTE_JSON,
	 "Create: user."},
	{"GET", "/api/v1/users/{user}", "users.read", users_get, NULL,
	 NULL, 0,
	 "Read: user."},
	{"PUT", "/api/v1/users/{user}", "users.write", users_put, NULL,
	 NULL, ROUTE_JSON | ROUTE_MATCH,
	 "Create or update: user."},
	{"DELETE", "/api/v1/users/{user}", "users.write", users_delete, NULL,
	 delete_query, ROUTE_MATCH,
	 "Delete: user; refused while in use unless forced."},
	{"GET", "/api/v1/tokens", "tokens.read", users_list_tokens, NULL,
	 users_query, 0,
	 "List tokens."},
	{"POST", "/api/v1/tokens", "tokens.write", users_create_token, NULL,
	 NULL, ROUTE_JSON,
	 "Create: token."},
	{"GET", "/api/v1/tokens/{token_id}", "tokens.read", users_get_token, NULL,
	 NULL, 0,
	 "Read: token."},
	{"DELETE", "/api/v1/tokens/{token_id}", "tokens.write", users_delete_token, NULL,
	 delete_query, ROUTE_MATCH,
	 "Delete: token; refused while in use unless forced."},
	{"GET", "/api/v1/audit", "platform.audit", audit_list, NULL,
	 audit_query, 0,
	 "Every change, newest first."},
	{"GET", "/api/v1/audit/verify", "platform.audit", audit_verify, NULL,
	 verify_query, 0,
	 "Check the hash chain."},
	{"GET", "/api/v1/definitions", "definitions.read", definitions_export, NULL,
	 NULL, 0,
	 "Clusters, tenants, topics and groups as one document."},
	{"PUT", "/api/v1/definitions", "definitions.write", definitions_import, NULL,
	 import_query, ROUTE_JSON | ROUTE_LARGE,
	 "Create or update all that the document names, or nothing."},
	{"GET", "/api/v1/backups", "backups.read", backups_list, NULL,
	 page_query, 0,
	 "Backups on the daemon's disk."},
	{"POST", "/api/v1/backups", "backups.write", backups_create, backup_rules,
	 NULL, ROUTE_JSON,
	 "Copy the registry while it runs."},
	{"POST", "/api/v1/backups/{backup}/restore", "backups.restore", backups_restore, NULL,
	 restore_query, 0,
	 "Put a backup in place of the registry while it runs."},
};
// clang-format on

const size_t routes_count = ARRAY_SIZE(routes);
