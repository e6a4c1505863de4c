// The tables of fields, one row for each member of a resource: type, place in the struct, range,
// default, unit, sentence.
//
// Invariant: a row says everything about its member once; nothing else in the tree repeats a range,
// a default or a unit. Reading, writing, storing, copying and the pages follow from the rows. Not
// here: rules between members (core/registry).

#include "core/model/field.h"

#include "core/base/util.h"

#define DAY_MS       (24ull * 3600 * 1000)
#define JSON_INT_MAX 9007199254740991ull // what every JSON reader holds exactly

static const char *const over_values[] = {"wait", "reject", NULL};
static const char *const durability_values[] = {"D0", "D1", "D2", "D3", NULL};
static const char *const state_values[] = {"creating", "ready", "deleting", "failed", NULL};
static const char *const mode_values[] = {"shared", "exclusive", "failover", NULL};
static const char *const start_values[] = {"earliest", "latest", "time", NULL};

#define AT(member) .offset = offsetof(struct STRUCT, member)
#define LIMIT64(member, u, s)                                                                      \
	{.name = "limits." #member,                                                                \
	 .type = FIELD_U64,                                                                        \
	 AT(limits.member),                                                                        \
	 .flags = FIELD_NONE,                                                                      \
	 .min = 1,                                                                                 \
	 .max = 1ull << 40,                                                                        \
	 .initial = MODEL_UNLIMITED,                                                               \
	 .none = MODEL_UNLIMITED,                                                                  \
	 .unit = u,                                                                                \
	 .sentence = s}
#define LIMIT32(member, least, s)                                                                  \
	{.name = "limits." #member,                                                                \
	 .type = FIELD_U32,                                                                        \
	 AT(limits.member),                                                                        \
	 .flags = FIELD_NONE,                                                                      \
	 .min = least,                                                                             \
	 .max = UINT32_MAX - 1,                                                                    \
	 .initial = UINT32_MAX,                                                                    \
	 .none = UINT32_MAX,                                                                       \
	 .unit = "",                                                                               \
	 .sentence = s}

#define STRUCT tenant
static const struct field tenant_fields[] = {
	{.name = "name",
	 .type = FIELD_NAME,
	 AT(name),
	 .flags = FIELD_REQUIRED | FIELD_IMMUTABLE,
	 .unit = "",
	 .sentence = "Name of the tenant, unique."},
	{.name = "suspended",
	 .type = FIELD_BOOL,
	 AT(suspended),
	 .unit = "",
	 .sentence = "Every request of its access keys answers FORBIDDEN."},
	LIMIT64(produce_tps, "messages/s", "Messages it may send a second."),
	LIMIT64(produce_bps, "bytes/s", "Bytes it may send a second."),
	LIMIT64(consume_tps, "messages/s", "Messages delivered to it a second."),
	LIMIT64(consume_bps, "bytes/s", "Bytes delivered to it a second."),
	LIMIT32(connections, 0, "Connections open at one time."),
	LIMIT32(topics, 0, "Topics it may have, dead-letter topics apart."),
	LIMIT32(groups, 0, "Subscription groups it may have."),
	{.name = "limits.in_flight",
	 .type = FIELD_U32,
	 AT(limits.in_flight),
	 .flags = FIELD_NONE,
	 .min = 1,
	 .max = UINT32_MAX - 1,
	 .initial = MODEL_IN_FLIGHT,
	 .none = UINT32_MAX,
	 .unit = "",
	 .sentence = "Messages of one group handed out and not yet settled."},
	{.name = "limits.message_bytes",
	 .type = FIELD_U32,
	 AT(limits.message_bytes),
	 .min = 1024,
	 .max = 16u << 20,
	 .initial = 4u << 20,
	 .unit = "bytes",
	 .sentence = "Largest message it may send, counted as a topic does."},
	{.name = "limits.wait_ms",
	 .type = FIELD_U32,
	 AT(limits.wait_ms),
	 .min = 0,
	 .max = 60000,
	 .initial = 5000,
	 .unit = "ms",
	 .sentence = "Longest time a sender over its quota is made to wait before THROTTLED."},
	{.name = "limits.over",
	 .type = FIELD_ENUM,
	 AT(limits.over),
	 .initial = QUOTA_OVER_WAIT,
	 .max = QUOTA_OVER_REJECT,
	 .values = over_values,
	 .unit = "",
	 .sentence = "What happens to a sender over its quota."},
	{.name = "clusters",
	 .type = FIELD_REFS,
	 AT(clusters),
	 .count_offset = offsetof(struct tenant, cluster_count),
	 .ref = MODEL_CLUSTER,
	 .max = 64,
	 .unit = "",
	 .sentence = "Names of the clusters it may use, the default first."},
	{.name = "limits.storage_bytes",
	 .type = FIELD_U64,
	 AT(limits.storage_bytes),
	 .flags = FIELD_NONE,
	 .min = 0,
	 .max = 1ull << 50,
	 .initial = MODEL_UNLIMITED,
	 .none = MODEL_UNLIMITED,
	 .unit = "bytes",
	 .sentence = "Bytes that what it has stored may take on all its clusters; what would go "
		     "beyond is LIMIT_EXCEEDED."},
};
#undef STRUCT

#define STRUCT access_key
static const struct field key_fields[] = {
	{.name = "key_id",
	 .type = FIELD_TEXT,
	 AT(key_id),
	 .flags = FIELD_READ_ONLY,
	 .unit = "",
	 .sentence = "The access key's id: its user name."},
	{.name = "tenant",
	 .type = FIELD_REF,
	 AT(tenant),
	 .flags = FIELD_READ_ONLY,
	 .ref = MODEL_TENANT,
	 .unit = "",
	 .sentence = "The tenant it belongs to."},
	{.name = "disabled",
	 .type = FIELD_BOOL,
	 AT(disabled),
	 .unit = "",
	 .sentence = "It is refused, and its connections are closed."},
	{.name = "expires_ms",
	 .type = FIELD_TIME,
	 AT(expires_ms),
	 .flags = FIELD_NONE,
	 .min = 1,
	 .max = JSON_INT_MAX,
	 .unit = "ms since 1970",
	 .sentence = "When it stops being accepted; null: never."},
	{.name = "salt",
	 .type = FIELD_BYTES,
	 AT(salt),
	 .size = 16,
	 .flags = FIELD_HIDDEN,
	 .unit = "",
	 .sentence = ""},
	{.name = "salt_count",
	 .type = FIELD_U32,
	 AT(salt_count),
	 .flags = FIELD_HIDDEN,
	 .unit = "",
	 .sentence = ""},
	{.name = "stored_key",
	 .type = FIELD_BYTES,
	 AT(stored_key),
	 .size = 32,
	 .flags = FIELD_HIDDEN,
	 .unit = "",
	 .sentence = ""},
	{.name = "server_key",
	 .type = FIELD_BYTES,
	 AT(server_key),
	 .size = 32,
	 .flags = FIELD_HIDDEN,
	 .unit = "",
	 .sentence = ""},
	{.name = "grants",
	 .type = FIELD_GRANTS,
	 AT(grants),
	 .count_offset = offsetof(struct access_key, grant_count),
	 .max = 256,
	 .unit = "",
	 .sentence = "What it may do where: a name or a prefix ending in '*', with the rights "
		     "\"produce\" and \"consume\"; no grant, no right."},
	{.name = "allow",
	 .type = FIELD_NETWORKS,
	 AT(allow),
	 .count_offset = offsetof(struct access_key, allow_count),
	 .max = 256,
	 .unit = "",
	 .sentence = "Addresses it is accepted from, as CIDR blocks; empty: all."},
	{.name = "deny",
	 .type = FIELD_NETWORKS,
	 AT(deny),
	 .count_offset = offsetof(struct access_key, deny_count),
	 .max = 256,
	 .unit = "",
	 .sentence = "Addresses it is refused from, stronger than allow."},
};
#undef STRUCT

#define STRUCT cluster
static const struct field cluster_fields[] = {
	{.name = "name",
	 .type = FIELD_NAME,
	 AT(name),
	 .flags = FIELD_REQUIRED | FIELD_IMMUTABLE,
	 .unit = "",
	 .sentence = "Name of the cluster, unique."},
	{.name = "kind",
	 .type = FIELD_TEXT,
	 AT(kind),
	 .flags = FIELD_REQUIRED | FIELD_IMMUTABLE,
	 .min = 1,
	 .max = 32,
	 .unit = "",
	 .sentence = "Kind of backend, as \"embedded\"."},
	{.name = "options",
	 .type = FIELD_OBJECT,
	 AT(options_json),
	 .unit = "",
	 .max = 32768,
	 .sentence = "Settings of the backend, described on the kind's own page."},
	{.name = "secrets",
	 .type = FIELD_SECRET,
	 .flags = FIELD_WRITE_ONLY,
	 AT(secrets_json),
	 .unit = "",
	 .max = 32768,
	 .sentence = "Credentials for the backend; kept encrypted, never given out."},
	{.name = "exclusive_tenant",
	 .type = FIELD_REF,
	 AT(exclusive_tenant),
	 .flags = FIELD_NONE,
	 .ref = MODEL_TENANT,
	 .unit = "",
	 .sentence = "The only tenant that may use it; null: it is shared."},
};
#undef STRUCT

#define STRUCT topic
static const struct field topic_fields[] = {
	{.name = "name",
	 .type = FIELD_NAME,
	 AT(name),
	 .flags = FIELD_REQUIRED | FIELD_IMMUTABLE,
	 .unit = "",
	 .sentence = "Name of the topic, unique within the tenant."},
	{.name = "physical",
	 .type = FIELD_TEXT,
	 AT(physical),
	 .flags = FIELD_READ_ONLY,
	 .unit = "",
	 .sentence = "Its name on the backend."},
	{.name = "tenant",
	 .type = FIELD_REF,
	 AT(tenant),
	 .flags = FIELD_READ_ONLY,
	 .ref = MODEL_TENANT,
	 .unit = "",
	 .sentence = "The tenant it belongs to."},
	{.name = "cluster",
	 .type = FIELD_REF,
	 AT(cluster),
	 .flags = FIELD_IMMUTABLE,
	 .ref = MODEL_CLUSTER,
	 .unit = "",
	 .sentence = "The cluster that holds it; the tenant's first when left out."},
	{.name = "incarnation",
	 .type = FIELD_U64,
	 AT(incarnation),
	 .flags = FIELD_READ_ONLY,
	 .unit = "",
	 .sentence = "Which life of the name this is; older positions are STALE."},
	{.name = "partitions",
	 .type = FIELD_U32,
	 AT(partitions),
	 .flags = FIELD_GROWS,
	 .min = 1,
	 .max = 1024,
	 .initial = 1,
	 .unit = "",
	 .sentence = "Number of partitions; order holds within one."},
	{.name = "message_bytes",
	 .type = FIELD_U32,
	 AT(message_bytes),
	 .min = 1024,
	 .max = 16u << 20,
	 .initial = 1u << 20,
	 .unit = "bytes",
	 .sentence =
		 "Largest message it takes: the whole record, that is key, headers and body with "
		 "what they are framed in (40 bytes and more)."},
	{.name = "retention_ms",
	 .type = FIELD_U64,
	 AT(retention_ms),
	 .max = JSON_INT_MAX,
	 .initial = 7 * DAY_MS,
	 .unit = "ms",
	 .sentence = "Age at which messages go; 0: not by age."},
	{.name = "retention_bytes",
	 .type = FIELD_U64,
	 AT(retention_bytes),
	 .max = JSON_INT_MAX,
	 .unit = "bytes",
	 .sentence = "Size of the whole topic at which the oldest messages go; 0: not by size."},
	{.name = "durability",
	 .type = FIELD_ENUM,
	 AT(durability),
	 .flags = FIELD_IMMUTABLE,
	 .min = DURABILITY_D0,
	 .max = DURABILITY_D3,
	 .initial = TOPIC_DURABILITY_BEST,
	 .values = durability_values,
	 .unit = "",
	 .sentence = "What an acknowledged message survives: D0 nothing, D1 the death of the "
		     "process that holds it, D2 a power cut, D3 the loss of one of several "
		     "machines; the best the cluster has when left out."},
	{.name = "state",
	 .type = FIELD_ENUM,
	 AT(state),
	 .flags = FIELD_READ_ONLY,
	 .max = MODEL_FAILED,
	 .values = state_values,
	 .unit = "",
	 .sentence = "Only a ready one is served."},
	{.name = "native",
	 .type = FIELD_BOOL,
	 AT(native),
	 .flags = FIELD_IMMUTABLE,
	 .unit = "",
	 .sentence =
		 "Messages are as native clients of the backend expect them: one has the envelope "
		 "header only if it asks for something the backend has no place for."},
	{.name = "dead_letter_of",
	 .type = FIELD_REF,
	 AT(dead_letter_of),
	 .flags = FIELD_READ_ONLY | FIELD_NONE,
	 .ref = MODEL_GROUP,
	 .unit = "",
	 .sentence = "The group whose dead letters it holds; null: an ordinary topic."},
	{.name = "imported",
	 .type = FIELD_BOOL,
	 AT(imported),
	 .flags = FIELD_READ_ONLY,
	 .unit = "",
	 .sentence = "It was on the cluster before, keeps its name there, and stays when it is "
		     "deleted here."},
	{.name = "replication",
	 .type = FIELD_U32,
	 AT(replication),
	 .flags = FIELD_IMMUTABLE | FIELD_NONE,
	 .min = 1,
	 .max = 32767,
	 .unit = "",
	 .sentence = "Copies that its cluster keeps, on as many machines; null: as the cluster has "
		     "it."},
	{.name = "min_insync",
	 .type = FIELD_U32,
	 AT(min_insync),
	 .flags = FIELD_IMMUTABLE | FIELD_NONE,
	 .min = 1,
	 .max = 32767,
	 .unit = "",
	 .sentence = "Copies that must have a message before it is acknowledged; null: as the "
		     "cluster has it."},
};
#undef STRUCT

#define STRUCT group
static const struct field group_fields[] = {
	{.name = "name",
	 .type = FIELD_NAME,
	 AT(name),
	 .flags = FIELD_REQUIRED | FIELD_IMMUTABLE,
	 .unit = "",
	 .sentence = "Name of the subscription group, unique within the tenant."},
	{.name = "physical",
	 .type = FIELD_TEXT,
	 AT(physical),
	 .flags = FIELD_READ_ONLY,
	 .unit = "",
	 .sentence = "Its name on the backend."},
	{.name = "tenant",
	 .type = FIELD_REF,
	 AT(tenant),
	 .flags = FIELD_READ_ONLY,
	 .ref = MODEL_TENANT,
	 .unit = "",
	 .sentence = "The tenant it belongs to."},
	{.name = "topic",
	 .type = FIELD_REF,
	 AT(topic),
	 .flags = FIELD_REQUIRED | FIELD_IMMUTABLE,
	 .ref = MODEL_TOPIC,
	 .unit = "",
	 .sentence = "The topic it reads."},
	{.name = "incarnation",
	 .type = FIELD_U64,
	 AT(incarnation),
	 .flags = FIELD_READ_ONLY,
	 .unit = "",
	 .sentence = "Which life of the name this is; older handles are STALE."},
	{.name = "dead_letter_topic",
	 .type = FIELD_REF,
	 AT(dead_letter),
	 .flags = FIELD_READ_ONLY | FIELD_NONE,
	 .ref = MODEL_TOPIC,
	 .unit = "",
	 .sentence = "Where messages go after the last attempt; null: attempts are unlimited."},
	{.name = "visibility_ms",
	 .type = FIELD_U32,
	 AT(visibility_ms),
	 .min = 1000,
	 .max = 12 * 3600 * 1000,
	 .initial = 30000,
	 .unit = "ms",
	 .sentence = "Time to settle a delivery before the message comes again."},
	{.name = "max_attempts",
	 .type = FIELD_U32,
	 AT(max_attempts),
	 .max = 1000,
	 .initial = 16,
	 .unit = "",
	 .sentence = "Deliveries of a message before it is a dead letter; 0: unlimited, always so "
		     "without dead letters."},
	{.name = "retry_delay_ms",
	 .type = FIELD_U32,
	 AT(retry_delay_ms),
	 .max = 3600 * 1000,
	 .initial = 1000,
	 .unit = "ms",
	 .sentence = "Delay after the first nack that names none; doubles each attempt."},
	{.name = "retry_delay_max_ms",
	 .type = FIELD_U32,
	 AT(retry_delay_max_ms),
	 .min = 0,
	 .max = 24 * 3600 * 1000,
	 .initial = 600000,
	 .unit = "ms",
	 .sentence = "Longest delay that doubling reaches."},
	{.name = "start.time_ms",
	 .type = FIELD_TIME,
	 AT(start_ms),
	 .flags = FIELD_IMMUTABLE,
	 .max = JSON_INT_MAX,
	 .initial = UINT64_MAX, // not given

	 .unit = "ms since 1970",
	 .sentence = "Where a new group starts when start.from is time."},
	{.name = "start.from",
	 .type = FIELD_ENUM,
	 AT(start),
	 .flags = FIELD_IMMUTABLE,
	 .max = GROUP_START_TIME,
	 .initial = GROUP_START_ANY,
	 .values = start_values,
	 .unit = "",
	 .sentence = "Where a new group starts; when left out, at the earliest message, or with "
		     "the next one where the cluster keeps no positions."},
	{.name = "mode",
	 .type = FIELD_ENUM,
	 AT(mode),
	 .flags = FIELD_IMMUTABLE,
	 .max = GROUP_FAILOVER,
	 .initial = GROUP_SHARED,
	 .values = mode_values,
	 .unit = "",
	 .sentence = "How its consumers divide the messages."},
	{.name = "state",
	 .type = FIELD_ENUM,
	 AT(state),
	 .flags = FIELD_READ_ONLY,
	 .max = MODEL_FAILED,
	 .values = state_values,
	 .unit = "",
	 .sentence = "Only a ready group is served."},
	{.name = "imported",
	 .type = FIELD_BOOL,
	 AT(imported),
	 .flags = FIELD_READ_ONLY,
	 .unit = "",
	 .sentence = "It was on the cluster before, keeps its name there, and stays when it is "
		     "deleted here."},
};
#undef STRUCT

#define TABLE(kind_name, rows)                                                                     \
	{.name = #kind_name,                                                                       \
	 .fields = rows,                                                                           \
	 .count = ARRAY_SIZE(rows),                                                                \
	 .size = sizeof(struct kind_name)}
static const struct field_table tables[MODEL_KIND_COUNT] = {
	[MODEL_TENANT] = TABLE(tenant, tenant_fields),
	[MODEL_ACCESS_KEY] = TABLE(access_key, key_fields),
	[MODEL_CLUSTER] = TABLE(cluster, cluster_fields),
	[MODEL_TOPIC] = TABLE(topic, topic_fields),
	[MODEL_GROUP] = TABLE(group, group_fields),
};

const struct field_table *field_table(enum model_kind kind)
{
	assert((unsigned)kind < MODEL_KIND_COUNT);
	return &tables[kind];
}

const struct field *field_find(const struct field_table *table, const char *name)
{
	for (size_t i = 0; i < table->count; ++i)
		if (strcmp(table->fields[i].name, name) == 0)
			return &table->fields[i];
	return NULL;
}

uint64_t field_get(const struct field *field, const void *object)
{
	const char *at = (const char *)object + field->offset;

	switch (field->type) {
	case FIELD_BOOL: return *(const bool *)at;
	case FIELD_ENUM: return *(const uint8_t *)at;
	case FIELD_U32: return *(const uint32_t *)(const void *)at;
	default: return *(const uint64_t *)(const void *)at;
	}
}

void field_set(const struct field *field, void *object, uint64_t value)
{
	char *at = (char *)object + field->offset;

	switch (field->type) {
	case FIELD_BOOL: *(bool *)at = value; break;
	case FIELD_ENUM: *(uint8_t *)at = (uint8_t)value; break;
	case FIELD_U32: *(uint32_t *)(void *)at = (uint32_t)value; break;
	default: *(uint64_t *)(void *)at = value; break;
	}
}

void field_set_initial(const struct field *field, void *object)
{
	char *at = (char *)object + field->offset;

	switch (field->type) {
	case FIELD_BOOL:
	case FIELD_ENUM:
	case FIELD_U32:
	case FIELD_U64:
	case FIELD_TIME:
	case FIELD_REF: field_set(field, object, field->initial); break;
	case FIELD_BYTES: memset(at, 0, field->size); break;
	case FIELD_REFS:
	case FIELD_NETWORKS:
	case FIELD_GRANTS:
		*(size_t *)(void *)((char *)object + field->count_offset) = 0;
		*(void **)(void *)at = NULL;
		break;
	default: *(void **)(void *)at = NULL; break;
	}
}
