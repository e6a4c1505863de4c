// The table of commands: noun, verb, method, path, options, columns, sentence.
//
// A new REST route becomes a command by a row here; help and completion are made from the row.
// Options name the members of the body or query that they set. Not here: commands that are no REST
// call (local.c).

#include "ctl/commands.h"

#include "core/base/util.h"

#define OPTIONS_END {NULL, NULL, 0, NULL}

static const struct option cluster_options[] = {
	{"kind", "kind", VALUE_TEXT, "kind of backend: embedded, kafka, rabbitmq or discard"},
	{"options", "options", VALUE_JSON,
	 "settings of the kind, a JSON object; @FILE reads it from a file"},
	{"secrets", "secrets", VALUE_JSON,
	 "credentials of the kind, a JSON object; kept encrypted; - reads it from standard input, "
	 "@FILE from a file"},
	{"exclusive-tenant", "exclusive_tenant", VALUE_TEXT, "the only tenant that may use it"},
	OPTIONS_END,
};

static const struct option import_options[] = {
	{"of-tenant", "tenant", VALUE_TEXT, "the tenant that gets them"},
	{"topics", "topics", VALUE_LIST, "their names on the cluster; NAME=OTHER to rename here"},
	{"groups", "groups", VALUE_LIST, "consumer groups, in the same way"},
	{"preview", "preview", VALUE_FLAG, "only say what would be made"},
	OPTIONS_END,
};

static const struct option tenant_options[] = {
	{"clusters", "clusters", VALUE_LIST, "names of the clusters it may use, the default first"},
	{"suspended", "suspended", VALUE_FLAG, "refuse every request of its clients"},
	{"produce-tps", "limits.produce_tps", VALUE_COUNT, "messages a second that may be sent"},
	{"produce-bps", "limits.produce_bps", VALUE_SIZE, "bytes a second that may be sent"},
	{"consume-tps", "limits.consume_tps", VALUE_COUNT,
	 "messages a second that may be received"},
	{"consume-bps", "limits.consume_bps", VALUE_SIZE, "bytes a second that may be received"},
	{"connections", "limits.connections", VALUE_COUNT, "connections at a time"},
	{"topics", "limits.topics", VALUE_COUNT, "topics"},
	{"groups", "limits.groups", VALUE_COUNT, "groups"},
	{"in-flight", "limits.in_flight", VALUE_COUNT,
	 "messages delivered and not settled, a group; a new tenant has 100,000"},
	{"message-bytes", "limits.message_bytes", VALUE_SIZE, "largest message"},
	{"over", "limits.over", VALUE_TEXT, "over the quota: wait or reject"},
	{"wait", "limits.wait_ms", VALUE_DURATION, "longest wait before THROTTLED"},
	{"storage-bytes", "limits.storage_bytes", VALUE_SIZE,
	 "bytes that what it has stored may take"},
	OPTIONS_END,
};

static const struct option key_options[] = {
	{"description", "description", VALUE_TEXT, "a text for users"},
	{"produce", "produce", VALUE_LIST, "topics it may send to; a name, or a prefix and *"},
	{"consume", "consume", VALUE_LIST, "groups it may consume from; a name, or a prefix and *"},
	{"grants", "grants", VALUE_JSON, "all grants as JSON: [{\"pattern\": …, \"rights\": […]}]"},
	{"expires-ms", "expires_ms", VALUE_COUNT,
	 "when it ends: milliseconds since 1970, or unlimited"},
	{"disabled", "disabled", VALUE_FLAG, "refuse it like an unknown key"},
	{"allow", "allow", VALUE_LIST, "networks it may come from, such as 10.0.0.0/8"},
	{"deny", "deny", VALUE_LIST, "networks it may not come from"},
	OPTIONS_END,
};

static const struct option verify_options[] = {
	{"head", "head", VALUE_TEXT,
	 "first digits of the hash of an entry that must be there, as the log told it"},
	OPTIONS_END,
};

static const struct option restore_options[] = {
	{"revive", "revive", VALUE_FLAG, "bring back what was revoked since the backup"},
	OPTIONS_END,
};

static const struct option rotate_options[] = {
	{"old-valid", "old_valid_ms", VALUE_DURATION, "how long the old key stays valid"},
	OPTIONS_END,
};

static const struct option leave_options[] = {
	{"valid", "valid_ms", VALUE_DURATION, "for how long, from a minute to 30 days"},
	{"reason", "reason", VALUE_TEXT, "why; stands in the audit log"},
	OPTIONS_END,
};

static const struct option break_glass_options[] = {
	{"password", "password", VALUE_TEXT, "the new password; - reads it from standard input"},
	{"reason", "reason", VALUE_TEXT, "why; the tenant is told"},
	OPTIONS_END,
};

static const struct option topic_options[] = {
	{"cluster", "cluster", VALUE_TEXT,
	 "where it is stored; the tenant's default cluster unless given"},
	{"partitions", "partitions", VALUE_COUNT, "number of partitions"},
	{"durability", "durability", VALUE_TEXT,
	 "D1 survives the death of the process, D2 a power cut"},
	{"retention", "retention_ms", VALUE_DURATION, "oldest message kept; 0: no limit by age"},
	{"retention-bytes", "retention_bytes", VALUE_SIZE,
	 "size kept of the whole topic; 0: no limit by size"},
	{"message-bytes", "message_bytes", VALUE_SIZE, "largest message"},
	{"replication", "replication", VALUE_COUNT,
	 "copies on as many machines; as its cluster has it unless given"},
	{"min-insync", "min_insync", VALUE_COUNT,
	 "copies that must have a message; as its cluster has it unless given"},
	{"native", "native", VALUE_FLAG, "write only the backend's own fields"},
	OPTIONS_END,
};

static const struct option group_options[] = {
	{"topic", "topic", VALUE_TEXT, "the topic it consumes"},
	{"visibility", "visibility_ms", VALUE_DURATION,
	 "a message not settled in this time comes again"},
	{"max-attempts", "max_attempts", VALUE_COUNT,
	 "then the message goes to the dead letters; 0: unlimited"},
	{"retry-delay", "retry_delay_ms", VALUE_DURATION,
	 "first delay of a nack; doubles with each attempt"},
	{"retry-delay-max", "retry_delay_max_ms", VALUE_DURATION, "where doubling ends"},
	{"dead-letter", "dead_letter", VALUE_FLAG, "make a dead-letter topic with it"},
	{"start", "start", VALUE_TEXT,
	 "where it begins: earliest, latest or milliseconds since 1970"},
	{"mode", "mode", VALUE_TEXT,
	 "how consumers divide the messages: shared, exclusive or failover"},
	OPTIONS_END,
};

static const struct option reset_options[] = {
	{"to", "to", VALUE_TEXT, "earliest, latest, time:MS or PARTITION:OFFSET,…"},
	OPTIONS_END,
};

static const struct option messages_options[] = {
	{"partition", "partition", VALUE_COUNT, "which partition"},
	{"offset", "offset", VALUE_COUNT, "first offset; the oldest unless given"},
	{"time-ms", "time_ms", VALUE_COUNT,
	 "first message stored at or after: milliseconds since 1970"},
	{"limit", "limit", VALUE_COUNT, "how many, at most 100"},
	{"bodies", "bodies", VALUE_FLAG, "also bodies"},
	OPTIONS_END,
};

static const struct option kick_options[] = {
	{"access-key-id", "access_key", VALUE_TEXT, "only the connections of this access key"},
	OPTIONS_END,
};

static const struct option user_options[] = {
	{"role", "role", VALUE_TEXT, "admin, operator, auditor, tenant_admin, developer or viewer"},
	{"of-tenant", "tenant", VALUE_TEXT, "the tenant, with a tenant's role"},
	{"password", "password", VALUE_TEXT, "password; - reads it from standard input"},
	{"disabled", "disabled", VALUE_FLAG, "may not log in"},
	OPTIONS_END,
};

static const struct option token_options[] = {
	{"role", "role", VALUE_TEXT, "admin, operator, auditor, tenant_admin, developer or viewer"},
	{"of-tenant", "tenant", VALUE_TEXT, "the tenant, with a tenant's role"},
	{"expires-ms", "expires_ms", VALUE_COUNT,
	 "when it ends: milliseconds since 1970, or unlimited"},
	OPTIONS_END,
};

static const struct option proxy_options[] = {
	{"expires-ms", "expires_ms", VALUE_COUNT,
	 "when the invitation ends: milliseconds since 1970; an hour from now unless set"},
	OPTIONS_END,
};

static const struct option login_options[] = {
	{"password", "password", VALUE_TEXT, "password; - reads it from standard input"},
	OPTIONS_END,
};

static const struct option bootstrap_options[] = {
	{"bootstrap-token", "token", VALUE_TEXT,
	 "the one-time token from the daemon's data directory; - reads it from standard input"},
	{"password", "password", VALUE_TEXT,
	 "password of the first user; - reads it from standard input"},
	OPTIONS_END,
};

#define API     "/api/v1"
#define TENANT  API "/tenants/{tenant}"
#define KEY     TENANT "/access-keys/{key}"
#define TOPIC   TENANT "/topics/{topic}"
#define GROUP   TENANT "/groups/{group}"
#define CLUSTER API "/clusters/{cluster}"

#define KEY_COLUMNS   "key_id,description,disabled,expires_ms,grants"
#define TOPIC_COLUMNS "name,cluster,partitions,durability,retention_ms,retention_bytes,state"
#define GROUP_COLUMNS "name,topic,visibility_ms,max_attempts,dead_letter_topic,state"
#define CLIENT_COLUMNS                                                                             \
	"session,tenant,access_key,address,sdk,sdk_version,client_id,in_flight,topics,groups"
#define AUDIT_COLUMNS "seq,time_ms,actor,action,kind,resource,tenant"

enum {
	L = COMMAND_LIST | COMMAND_GET,
	C = COMMAND_CONFIRM,
	S = COMMAND_SECRET,
	F = COMMAND_FILE,
	B = COMMAND_BODY,
	G = COMMAND_GET,
	P = COMMAND_CONFIRM | COMMAND_PREVIEW | COMMAND_BODY
};

static const struct command commands[] = {
	{"cluster", "list", "GET", API "/clusters", NULL, NULL, L,
	 "name,kind,exclusive_tenant,has_secrets,status.state,status.circuit,status.latency_us,"
	 "status.probe.state,status.error",
	 "the registered clusters, and how they are doing"},
	{"cluster", "show", "GET", CLUSTER, NULL, NULL, G, NULL, "one cluster"},
	{"cluster", "create", "POST", API "/clusters", "name", cluster_options, B, NULL,
	 "register a cluster"},
	{"cluster", "set", "PUT", CLUSTER, NULL, cluster_options, B, NULL,
	 "change a cluster, or register it"},
	{"cluster", "delete", "DELETE", CLUSTER, NULL, NULL, C, NULL, "remove a cluster"},
	{"cluster", "probe", "POST", CLUSTER "/probe", NULL, NULL, G, NULL,
	 "ask a cluster what it is and can do"},
	{"cluster", "state", "GET", CLUSTER "/state", NULL, NULL, G, NULL, "health of a cluster"},
	{"cluster", "damage", "GET", CLUSTER "/damage", NULL, NULL, G, NULL,
	 "what was found damaged in an embedded store, or deleted on a RabbitMQ"},
	{"cluster", "existing", "GET", CLUSTER "/existing", NULL, NULL, G, NULL,
	 "what lies on a cluster, of all clients"},
	{"cluster", "import", "POST", CLUSTER "/import", NULL, import_options, B, NULL,
	 "take topics and consumer groups of it under a tenant, untouched"},
	{"tenant", "list", "GET", API "/tenants", NULL, NULL, L,
	 "name,suspended,clusters,limits.produce_tps,limits.consume_tps", "the tenants"},
	{"tenant", "show", "GET", API "/tenants/{name}", NULL, NULL, G, NULL, "one tenant"},
	{"tenant", "create", "POST", API "/tenants", "name", tenant_options, B, NULL,
	 "make a tenant"},
	{"tenant", "set", "PUT", API "/tenants/{name}", NULL, tenant_options, B, NULL,
	 "change a tenant, or make it"},
	{"tenant", "delete", "DELETE", API "/tenants/{name}", NULL, NULL, C, NULL,
	 "remove a tenant and what it owns"},
	{"tenant", "stats", "GET", API "/tenants/{name}/stats", NULL, NULL, G, NULL,
	 "totals, TPS and quota use of a tenant"},
	{"key", "list", "GET", TENANT "/access-keys", NULL, NULL, L, KEY_COLUMNS,
	 "the access keys of a tenant"},
	{"key", "show", "GET", KEY, NULL, NULL, G, NULL, "one access key"},
	{"key", "create", "POST", TENANT "/access-keys", NULL, key_options, B | S, NULL,
	 "make an access key; its secret is shown this once"},
	{"key", "set", "PUT", KEY, NULL, key_options, B, NULL,
	 "change an access key: expiry, grants, networks, disable"},
	{"key", "rotate", "POST", KEY "/rotate", NULL, rotate_options, B | S, NULL,
	 "make its successor; the old one stays valid for a while"},
	{"key", "delete", "DELETE", KEY, NULL, NULL, C, NULL,
	 "remove an access key; its connections end"},
	{"access", "show", "GET", TENANT "/operator-access", NULL, NULL, G, NULL,
	 "whether platform roles may make what opens the tenant"},
	{"access", "grant", "PUT", TENANT "/operator-access", NULL, leave_options, B, NULL,
	 "allow platform roles to make keys, tokens and passwords of the tenant, for a while"},
	{"access", "withdraw", "DELETE", TENANT "/operator-access", NULL, NULL, 0, NULL,
	 "allow it no longer"},
	{"access", "break-glass", "POST", TENANT "/break-glass", "user", break_glass_options, B,
	 NULL, "set the password of the tenant's administrator without its leave; it is told"},
	{"access", "users", "GET", TENANT "/users", NULL, NULL, L, "name,role,disabled",
	 "the people of the tenant who may log in"},
	{"access", "tokens", "GET", TENANT "/tokens", NULL, NULL, L, "id,name,role,expires_ms",
	 "tokens of the tenant's machines"},
	{"access", "delete-user", "DELETE", TENANT "/users/{user}", NULL, NULL, C, NULL,
	 "remove a user of the tenant"},
	{"access", "delete-token", "DELETE", TENANT "/tokens/{token}", NULL, NULL, C, NULL,
	 "remove a token of the tenant"},
	{"topic", "list", "GET", TENANT "/topics", NULL, NULL, L, TOPIC_COLUMNS,
	 "the topics of a tenant"},
	{"topic", "show", "GET", TOPIC, NULL, NULL, G, NULL, "one topic"},
	{"topic", "create", "POST", TENANT "/topics", "name", topic_options, B, NULL,
	 "make a topic"},
	{"topic", "set", "PUT", TOPIC, NULL, topic_options, B, NULL, "change a topic, or make it"},
	{"topic", "delete", "DELETE", TOPIC, NULL, NULL, C, NULL,
	 "remove a topic and its messages"},
	{"topic", "partitions", "GET", TOPIC "/partitions", NULL, NULL, G, NULL,
	 "offsets and size by partition"},
	{"topic", "messages", "GET", TOPIC "/messages", NULL, messages_options, G, NULL,
	 "look at stored messages"},
	{"topic", "stats", "GET", TOPIC "/stats", NULL, NULL, G, NULL, "totals and TPS of a topic"},
	{"topic", "skip-damage", "POST", TOPIC "/skip-damage", NULL, NULL, P, NULL,
	 "give up messages of a topic that cannot be read, or make its damaged row anew"},
	{"topic", "purge", "POST", TOPIC "/purge", NULL, NULL, P, NULL,
	 "drop all messages of a topic"},
	{"group", "list", "GET", TENANT "/groups", NULL, NULL, L, GROUP_COLUMNS,
	 "the subscription groups of a tenant"},
	{"group", "show", "GET", GROUP, NULL, NULL, G, NULL, "one group"},
	{"group", "create", "POST", TENANT "/groups", "name", group_options, B, NULL,
	 "make a group on a topic"},
	{"group", "set", "PUT", GROUP, NULL, group_options, B, NULL, "change a group, or make it"},
	{"group", "delete", "DELETE", GROUP, NULL, NULL, C, NULL,
	 "remove a group; its progress is lost"},
	{"group", "backlog", "GET", GROUP "/backlog", NULL, NULL, G, NULL,
	 "what waits, and what became of the rest: acked, dead, expired, skipped"},
	{"group", "backlogs", "GET", TENANT "/backlogs", NULL, NULL, G,
	 "group,sent,replayed,backlog,ready,in_flight,retrying,delayed,acked,dead,expired,skipped,"
	 "oldest_ms,at_ms",
	 "of all groups of the tenant, as looked at in the last seconds"},
	{"group", "stats", "GET", GROUP "/stats", NULL, NULL, G, NULL, "totals and TPS of a group"},
	{"group", "reset", "POST", GROUP "/reset", NULL, reset_options, P, NULL,
	 "continue at another position"},
	{"group", "purge", "POST", GROUP "/purge", NULL, NULL, P, NULL,
	 "acknowledge all that is waiting"},
	{"client", "list", "GET", TENANT "/clients", NULL, NULL, L, CLIENT_COLUMNS,
	 "connected clients of a tenant"},
	{"client", "list-all", "GET", API "/clients", NULL, NULL, L, CLIENT_COLUMNS,
	 "connected clients of every tenant"},
	{"client", "kick", "DELETE", TENANT "/clients/{session}", NULL, NULL, 0, NULL,
	 "close one connection"},
	{"client", "kick-all", "POST", TENANT "/clients/kick", NULL, kick_options, B, NULL,
	 "close the connections of a tenant or an access key"},
	{"user", "list", "GET", API "/users", NULL, NULL, L, "name,role,tenant,disabled",
	 "the people who may log in"},
	{"user", "show", "GET", API "/users/{user}", NULL, NULL, G, NULL, "one user"},
	{"user", "create", "POST", API "/users", "name", user_options, B, NULL, "make a user"},
	{"user", "set", "PUT", API "/users/{user}", NULL, user_options, B, NULL,
	 "change a user, or make it"},
	{"user", "delete", "DELETE", API "/users/{user}", NULL, NULL, C, NULL, "remove a user"},
	{"token", "list", "GET", API "/tokens", NULL, NULL, L,
	 "id,name,role,tenant,maker,expires_ms", "tokens of machines"},
	{"token", "show", "GET", API "/tokens/{token}", NULL, NULL, G, NULL, "one token"},
	{"token", "create", "POST", API "/tokens", "name", token_options, B | S, NULL,
	 "make a token; it is shown this once"},
	{"token", "delete", "DELETE", API "/tokens/{token}", NULL, NULL, C, NULL, "remove a token"},
	{"proxy", "list", "GET", API "/proxies", NULL, NULL, L,
	 "name,status.connected,status.address,status.version,status.revision,status.current,"
	 "status.age_ms,joined_ms,expires_ms",
	 "the proxies of the installation, and how they are doing"},
	{"proxy", "show", "GET", API "/proxies/{proxy}", NULL, NULL, G, NULL, "one proxy"},
	{"proxy", "invite", "POST", API "/proxies", "name", proxy_options, B | S, NULL,
	 "let a proxy join; its token is shown this once"},
	{"proxy", "delete", "DELETE", API "/proxies/{proxy}", NULL, NULL, C, NULL,
	 "cut a proxy off, and see which credentials it knew"},
	{"audit", "list", "GET", TENANT "/audit", NULL, NULL, L, AUDIT_COLUMNS,
	 "what was changed in a tenant, and by whom"},
	{"audit", "list-all", "GET", API "/audit", NULL, NULL, L, AUDIT_COLUMNS,
	 "what was changed, and by whom"},
	{"audit", "verify", "GET", API "/audit/verify", NULL, verify_options, G, NULL,
	 "recompute the chain of the audit log"},
	{"definitions", "export", "GET", API "/definitions", NULL, NULL, G, NULL,
	 "all definitions as one document"},
	{"definitions", "import", "PUT", API "/definitions", NULL, NULL, C | F, NULL,
	 "apply a document, all of it or nothing"},
	{"backup", "list", "GET", API "/backups", NULL, NULL, L, "name,bytes,created_ms",
	 "copies of the registry"},
	{"backup", "create", "POST", API "/backups", NULL, NULL, B, NULL,
	 "copy the registry while it runs"},
	{"backup", "restore", "POST", API "/backups/{backup}/restore", NULL, restore_options, C,
	 NULL, "go back to a copy of the registry"},
	{"system", "show", "GET", API "/system", NULL, NULL, G, NULL,
	 "version, uptime and revision of the daemon"},
	{"system", "stats", "GET", API "/stats", NULL, NULL, G, NULL,
	 "totals and TPS of the platform"},
	{"system", "bootstrap", "POST", API "/bootstrap", "user", bootstrap_options, B, NULL,
	 "make the first user with the one-time token"},
	{"me", "show", "GET", API "/me", NULL, NULL, G, NULL, "who the portal takes you for"},
	{"me", "login", "POST", API "/sessions", "user", login_options, B | S, NULL,
	 "open a session; its token is shown this once"},
	{"me", "logout", "DELETE", API "/me/session", NULL, NULL, 0, NULL, "end the session"},
	{"me", "permissions", "GET", API "/permissions", NULL, NULL, G, NULL, "who may do what"},
};

const struct command *commands_at(size_t index)
{
	return index < ARRAY_SIZE(commands) ? &commands[index] : NULL;
}

const struct command *commands_find(const char *noun, const char *verb)
{
	for (size_t i = 0; i < ARRAY_SIZE(commands); ++i)
		if (strcmp(commands[i].noun, noun) == 0 && strcmp(commands[i].verb, verb) == 0)
			return &commands[i];
	return NULL;
}
