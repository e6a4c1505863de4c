// core/model: names, networks, the JSON form and its checks.

#include "core/base/base64url.h"
#include "core/model/json.h"
#include "core/model/name.h"
#include "core/model/network.h"
#include "tests/unit/unit.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>

// ---- names

static void repeat(char *out, const char *part, unsigned times)
{
	for (*out = '\0'; times--;)
		strcat(out, part);
}

static void names_checked(void)
{
	static const char *const good[] = {"a", "orders", "订单", "a b", "a/b", "Größe", "🙂"};
	static const char *const bad[] = {"", "a\nb", "a\x7f", "\xc2\x80", "\xff", "a\xc0\xaf",
					  "\xed\xa0\x80", ".", "..", "\xe2\x80\xa8",
					  // zero width, right to left, a tag, a selector
					  "a\xe2\x80\x8b",
					  "\xe2\x80\xae"
					  "a",
					  "a\xf3\xa0\x81\x81", "a\xef\xb8\x8f",
					  "\xef\xbb\xbf"
					  "a",
					  "\xc2\xad"};
	const char *problem = NULL;
	char text[MODEL_NAME_BYTES + 8];

	for (size_t i = 0; i < ARRAY_SIZE(good); ++i)
		CHECK_EQ(name_check(good[i], &problem), 0);
	for (size_t i = 0; i < ARRAY_SIZE(bad); ++i) {
		problem = NULL;
		CHECK_EQ(name_check(bad[i], &problem), -EINVAL);
		CHECK(strncmp(problem, "must ", 5) == 0);
	}
	repeat(text, "🙂", MODEL_NAME_MAX);
	CHECK_EQ(name_check(text, &problem), 0);
	strcat(text, "a");
	CHECK_EQ(name_check(text, &problem), -EINVAL);
}

static void names_normalized(void)
{
	const char *problem;
	char text[4 * MODEL_NAME_MAX + 1], *normal;

	CHECK_EQ(name_normalize("e\xcc\x81t\xc3\xa9", &normal, &problem), 0); // e + acute
	CHECK_STR(normal, "\xc3\xa9t\xc3\xa9");
	free(normal);
	// Hebrew shin with dot and dagesh: one character before, three in form C.
	repeat(text, "\xef\xac\xac", MODEL_NAME_MAX);
	CHECK_EQ(name_check(text, &problem), 0);
	CHECK_EQ(name_normalize(text, &normal, &problem), -EINVAL);
}

static void physical_names(void)
{
	char name[MODEL_PHYSICAL_MAX + 1], longest[MODEL_NAME_MAX + 1];

	name_physical("ACME Corp.", "Orders_2024/été", 1, 35, name);
	CHECK_STR(name, "mqp.acme-corp..orders-2024-ete-1-00000z");
	name_physical("租户", "订单", 46655, 36, name);
	CHECK_STR(name, "mqp.x.x-zzz-000010");
	repeat(longest, "a", MODEL_NAME_MAX);
	name_physical(longest, longest, UINT64_MAX, UINT64_MAX, name);
	CHECK(strlen(name) <= MODEL_PHYSICAL_MAX);
	CHECK(strcmp(name + strlen(name) - 21, "-3w5e11264sgsf-64sgsf") == 0);
	CHECK(name[strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789-.")] == '\0');
}

// What a probe has on a cluster is told from whatever a tenant can be named.
static void probe_names(void)
{
	char topic[MODEL_PHYSICAL_MAX + 1], name[MODEL_PHYSICAL_MAX + 1],
		longest[MODEL_NAME_MAX + 1];

	name_probe_topic(7, 0x1f, topic);
	CHECK_STR(topic, "mqp.probe-7-000000000000001f");
	name_probe_group(7, 0x1f, "Proxy.1", name);
	CHECK_STR(name, "mqp.probe-7-000000000000001f-proxy-1-6da21877");
	CHECK(name_is_probe(topic, strlen(topic)) && name_is_probe(name, strlen(name)));
	repeat(longest, "a", MODEL_NAME_MAX);
	name_probe_topic(UINT64_MAX, UINT64_MAX, topic);
	name_probe_group(UINT64_MAX, UINT64_MAX, longest, name);
	CHECK(strlen(name) < MODEL_PHYSICAL_MAX && strncmp(name, topic, strlen(topic)) == 0);
	name_physical("probe-7", "orders", 1, 35, name);
	CHECK(strncmp(name, "mqp.probe-7", 11) == 0 && !name_is_probe(name, strlen(name)));
	name_physical("mqp", "probe-7", 1, 35, name);
	CHECK(!name_is_probe(name, strlen(name)));
	CHECK(!name_is_probe("mqp.probe-", 10) && !name_is_probe("mqp.", 4));
}

// ---- networks

static bool contains(const char *network, const char *address)
{
	struct sockaddr_in v4 = {.sin_family = AF_INET};
	struct sockaddr_in6 v6 = {.sin6_family = AF_INET6};
	struct network parsed;

	CHECK_EQ(network_parse(network, &parsed), 0);
	if (inet_pton(AF_INET, address, &v4.sin_addr) == 1)
		return network_contains(&parsed, (struct sockaddr *)&v4);
	CHECK_EQ(inet_pton(AF_INET6, address, &v6.sin6_addr), 1);
	return network_contains(&parsed, (struct sockaddr *)&v6);
}

static void networks_contain(void)
{
	CHECK(contains("10.0.0.0/8", "10.255.1.2"));
	CHECK(!contains("10.0.0.0/8", "11.0.0.0"));
	CHECK(contains("192.168.1.7", "192.168.1.7"));
	CHECK(!contains("192.168.1.7", "192.168.1.6"));
	CHECK(contains("192.168.1.4/30", "::ffff:192.168.1.7"));
	CHECK(!contains("192.168.1.4/30", "192.168.1.8"));
	CHECK(contains("0.0.0.0/0", "1.2.3.4"));
	CHECK(!contains("0.0.0.0/0", "2001:db8::1"));
	CHECK(contains("::/0", "1.2.3.4"));
	CHECK(contains("2001:db8::/33", "2001:db8:7fff::1"));
	CHECK(!contains("2001:db8::/33", "2001:db8:8000::1"));
}

static void networks_refused(void)
{
	static const char *const bad[] = {"",           "10.0.0.0/33", "10.0.0.0/", "10.0.0.0/08",
					  "10.0.0/8",   "::/129",      "::1/1x",    "a",
					  "1.2.3.4/-1", "1.2.3.4/8/8"};
	struct network network;

	for (size_t i = 0; i < ARRAY_SIZE(bad); ++i)
		CHECK_EQ(network_parse(bad[i], &network), -EINVAL);
}

static void lists_admit(void)
{
	const char *const allow[] = {"10.0.0.0/8"}, *const deny[] = {"10.1.0.0/16"};
	struct sockaddr_in in = {.sin_family = AF_INET}, denied = in, out = in;
	struct sockaddr local = {.sa_family = AF_UNIX};

	inet_pton(AF_INET, "10.2.0.1", &in.sin_addr);
	inet_pton(AF_INET, "10.1.0.1", &denied.sin_addr);
	inet_pton(AF_INET, "11.0.0.1", &out.sin_addr);
	CHECK(network_admits(allow, 1, deny, 1, (struct sockaddr *)&in));
	CHECK(!network_admits(allow, 1, deny, 1, (struct sockaddr *)&denied));
	CHECK(!network_admits(allow, 1, deny, 1, (struct sockaddr *)&out));
	CHECK(network_admits(NULL, 0, deny, 1, (struct sockaddr *)&out));
	CHECK(network_admits(NULL, 0, NULL, 0, &local));
	CHECK(!network_admits(allow, 1, NULL, 0, &local));
}

// ---- base 64

static void base64url_round(void)
{
	static const struct {
		const char *plain, *text;
	} vectors[] = {{"", ""},        {"f", "Zg"},         {"fo", "Zm8"},
		       {"foo", "Zm9v"}, {"\xff\xff", "__8"}, {"\xfb\xef", "--8"}};
	char text[16], plain[16];
	size_t size;

	for (size_t i = 0; i < ARRAY_SIZE(vectors); ++i) {
		base64url_encode(vectors[i].plain, strlen(vectors[i].plain), text);
		CHECK_STR(text, vectors[i].text);
		CHECK_EQ(base64url_decode(text, strlen(text), plain, &size), 0);
		CHECK_EQ(size, strlen(vectors[i].plain));
		CHECK_EQ(memcmp(plain, vectors[i].plain, size), 0);
	}
	CHECK_EQ(base64url_decode("Zh", 2, plain, &size), -EINVAL); // a bit that no byte has
	CHECK_EQ(base64url_decode("Z", 1, plain, &size), -EINVAL);
	CHECK_EQ(base64url_decode("Zg==", 4, plain, &size), -EINVAL);
	CHECK_EQ(base64url_decode("Z\0aa", 4, plain, &size), -EINVAL);
}

// ---- JSON

static uint64_t test_id(void *ctx, enum model_kind kind, const char *name)
{
	(void)ctx;
	if (kind == MODEL_CLUSTER)
		return strcmp(name, "local") == 0 ? 3 : strcmp(name, "far") == 0 ? 4 : 0;
	return 0;
}

static const char *test_name(void *ctx, enum model_kind kind, uint64_t id)
{
	(void)ctx;
	(void)kind;
	return id == 3 ? "local" : id == 4 ? "far" : NULL;
}

static const struct json_names names = {.id = test_id, .name = test_name};

struct reading {
	struct json_reader reader;
	struct json_shape shape;
	struct arena arena;
	json_t *body;
	union model_any object;
	int r;
};

static void reading_free(struct reading *reading)
{
	json_decref(reading->reader.errors);
	json_decref(reading->body);
	arena_deinit(&reading->arena);
}

static void read_over(struct reading *reading, enum model_kind kind, bool create, const char *text)
{
	json_decref(reading->body);
	json_decref(reading->reader.errors);
	reading->shape.tables[0] = field_table(kind);
	reading->reader = (struct json_reader){.shape = &reading->shape,
					       .names = &names,
					       .arena = &reading->arena,
					       .create = create};
	reading->body = json_loads(text, JSON_ALLOW_NUL, NULL);
	CHECK(reading->body != NULL);
	reading->r = json_read(&reading->reader, reading->body, &reading->object);
}

static void read_new(struct reading *reading, enum model_kind kind, const char *text)
{
	const struct field_table *table = field_table(kind);

	memset(reading, 0, sizeof *reading);
	for (size_t i = 0; i < table->count; ++i)
		field_set_initial(&table->fields[i], &reading->object);
	read_over(reading, kind, true, text);
}

static void expect_problem(enum model_kind kind, const char *text, const char *field,
			   const char *detail)
{
	struct reading reading;
	json_t *error;

	read_new(&reading, kind, text);
	CHECK_EQ(reading.r, JSON_E_WRONG);
	CHECK_EQ(json_array_size(reading.reader.errors), 1);
	error = json_array_get(reading.reader.errors, 0);
	CHECK_STR(json_string_value(json_object_get(error, "field")), field);
	if (!strstr(json_string_value(json_object_get(error, "detail")), detail))
		CHECK_STR(json_string_value(json_object_get(error, "detail")), detail);
	reading_free(&reading);
}

static void json_round(void)
{
	static const char text[] =
		"{\"name\":\"acme\",\"suspended\":true,\"limits\":{\"produce_tps\":1000,"
		"\"produce_bps\":null,\"over\":\"reject\",\"wait_ms\":0,\"topics\":7.0},"
		"\"clusters\":[\"far\",\"local\"]}";
	struct reading reading;
	json_t *out, *limits;

	read_new(&reading, MODEL_TENANT, text);
	CHECK_EQ(reading.r, 0);
	CHECK_EQ(reading.object.tenant.limits.produce_tps, 1000);
	CHECK(reading.object.tenant.limits.produce_bps == MODEL_UNLIMITED);
	CHECK_EQ(reading.object.tenant.limits.topics, 7);
	CHECK_EQ(reading.object.tenant.limits.groups, UINT32_MAX);
	CHECK_EQ(reading.object.tenant.limits.in_flight, MODEL_IN_FLIGHT);
	CHECK_EQ(reading.object.tenant.limits.message_bytes, 4 << 20);
	CHECK_EQ(reading.object.tenant.clusters[0], 4);
	out = json_write(&reading.shape, &names, &reading.object);
	limits = json_object_get(out, "limits");
	CHECK_STR(json_string_value(json_object_get(out, "name")), "acme");
	CHECK(json_is_null(json_object_get(limits, "consume_tps")));
	CHECK_STR(json_string_value(json_object_get(limits, "over")), "reject");
	CHECK_STR(json_string_value(json_array_get(json_object_get(out, "clusters"), 1)), "local");
	CHECK_EQ(json_object_size(limits), 12);
	json_decref(out);
	reading_free(&reading);
}

static void json_key_lists(void)
{
	static const char text[] = "{\"grants\":[{\"pattern\":\"orders*\",\"rights\":[\"consume\","
				   "\"produce\"]}],\"allow\":[\"10.0.0.0/8\"],\"expires_ms\":5}";
	struct reading reading;
	json_t *out;

	read_new(&reading, MODEL_ACCESS_KEY, text);
	CHECK_EQ(reading.r, 0);
	CHECK_EQ(reading.object.key.grants[0].rights, 3);
	CHECK_EQ(reading.object.key.expires_ms, 5);
	reading.object.key.key_id = "AK";
	out = json_write(&reading.shape, &names, &reading.object);
	CHECK_EQ(json_array_size(json_object_get(out, "grants")), 1);
	CHECK(json_object_get(out, "stored_key") == NULL);
	CHECK(json_object_get(out, "salt") == NULL);
	json_decref(out);
	reading_free(&reading);
}

static void json_problems(void)
{
	static const struct {
		enum model_kind kind;
		const char *text, *field, *detail;
	} cases[] = {
		{MODEL_TENANT, "[]", "", "object"},
		{MODEL_TENANT, "{}", "/name", "missing"},
		{MODEL_TENANT, "{\"name\":5}", "/name", "text"},
		{MODEL_TENANT, "{\"name\":\"a\\u0000b\"}", "/name", "text"},
		{MODEL_TENANT, "{\"name\":\"a\\u0007\"}", "/name", "control"},
		{MODEL_TENANT, "{\"name\":\"a\",\"nme\":1}", "/nme", "not a member"},
		{MODEL_TENANT, "{\"name\":\"a\",\"limits\":5}", "/limits", "object"},
		{MODEL_TENANT, "{\"name\":\"a\",\"limits\":{\"tps\":5}}", "/limits/tps",
		 "not a member"},
		{MODEL_TENANT, "{\"name\":\"a\",\"limits.over\":\"wait\"}", "/limits.over",
		 "not a member"},
		{MODEL_TENANT, "{\"name\":\"a\",\"suspended\":1}", "/suspended", "true or false"},
		{MODEL_TENANT, "{\"name\":\"a\",\"limits\":{\"over\":\"drop\"}}", "/limits/over",
		 "\"wait\", \"reject\""},
		{MODEL_TENANT, "{\"name\":\"a\",\"limits\":{\"wait_ms\":60001}}", "/limits/wait_ms",
		 "from 0 to 60000 ms"},
		{MODEL_TENANT, "{\"name\":\"a\",\"limits\":{\"wait_ms\":-1}}", "/limits/wait_ms",
		 "from 0"},
		{MODEL_TENANT, "{\"name\":\"a\",\"limits\":{\"wait_ms\":1.5}}", "/limits/wait_ms",
		 "whole"},
		{MODEL_TENANT, "{\"name\":\"a\",\"limits\":{\"wait_ms\":1e300}}", "/limits/wait_ms",
		 "whole"},
		{MODEL_TENANT, "{\"name\":\"a\",\"limits\":{\"wait_ms\":null}}", "/limits/wait_ms",
		 "whole"},
		{MODEL_TENANT, "{\"name\":\"a\",\"limits\":{\"produce_tps\":0}}",
		 "/limits/produce_tps", "or null"},
		{MODEL_TENANT, "{\"name\":\"a\",\"clusters\":[\"near\"]}", "/clusters",
		 "no cluster \"near\""},
		{MODEL_TENANT, "{\"name\":\"a\",\"clusters\":[\"far\",\"far\"]}", "/clusters",
		 "twice"},
		{MODEL_TENANT, "{\"name\":\"a\",\"clusters\":\"far\"}", "/clusters", "list"},
		{MODEL_TOPIC, "{\"name\":\"a\",\"state\":\"ready\"}", "/state", "registry"},
		{MODEL_TOPIC, "{\"name\":\"a\",\"durability\":\"D4\"}", "/durability",
		 "\"D0\", \"D1\", \"D2\", \"D3\""},
		{MODEL_TOPIC, "{\"name\":\"a\",\"durability\":\"d2\"}", "/durability",
		 "\"D0\", \"D1\", \"D2\", \"D3\""},
		{MODEL_ACCESS_KEY, "{\"allow\":[\"10.0.0.0/99\"]}", "/allow", "CIDR"},
		{MODEL_ACCESS_KEY, "{\"grants\":[{\"pattern\":\"a\",\"rights\":[]}]}", "/grants",
		 "rights"},
		{MODEL_ACCESS_KEY,
		 "{\"grants\":[{\"pattern\":\"a\",\"rights\":[\"produce\",\"produce\"]}]}",
		 "/grants", "once"},
		{MODEL_ACCESS_KEY, "{\"grants\":[{\"pattern\":\"a\"}]}", "/grants", "entry 0"},
		{MODEL_ACCESS_KEY, "{\"grants\":[7]}", "/grants", "entry 0"},
		{MODEL_ACCESS_KEY, "{\"stored_key\":\"x\"}", "/stored_key", "not a member"},
		{MODEL_CLUSTER, "{\"name\":\"a\",\"kind\":\"k\",\"options\":{\"a\":[]}}",
		 "/options", "object"},
		{MODEL_CLUSTER, "{\"name\":\"a\",\"kind\":\"k\",\"secrets\":{\"a\":1}}", "/secrets",
		 "object"},
		{MODEL_CLUSTER, "{\"name\":\"a\",\"kind\":\"\"}", "/kind", "1 to 32"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); ++i)
		expect_problem(cases[i].kind, cases[i].text, cases[i].field, cases[i].detail);
}

static void json_options_are_stored_sorted(void)
{
	struct reading reading;

	read_new(&reading, MODEL_CLUSTER,
		 "{\"name\":\"a\",\"kind\":\"k\",\"options\":{\"b\":5.0,\"a\":\"x\"}}");
	CHECK_EQ(reading.r, 0);
	CHECK_STR(reading.object.cluster.options_json, "{\"a\":\"x\",\"b\":5}");
	reading_free(&reading);
}

static void json_all_problems_at_once(void)
{
	struct reading reading;

	read_new(&reading, MODEL_TOPIC, "{\"partitions\":0,\"native\":3,\"other\":1}");
	CHECK_EQ(json_array_size(reading.reader.errors), 4);
	reading_free(&reading);
}

static void json_fixed_members(void)
{
	struct reading reading;

	read_new(&reading, MODEL_TOPIC, "{\"name\":\"a\",\"partitions\":4}");
	CHECK_EQ(reading.r, 0);
	read_over(&reading, MODEL_TOPIC, false, "{\"partitions\":4,\"name\":\"a\"}");
	CHECK_EQ(reading.r, 0);
	read_over(&reading, MODEL_TOPIC, false, "{\"partitions\":3}"); // it can only grow
	CHECK(reading.r == JSON_E_WRONG && reading.reader.conflict);
	read_over(&reading, MODEL_TOPIC, false, "{\"durability\":\"D1\"}");
	CHECK(reading.r == JSON_E_WRONG && reading.reader.conflict);
	read_over(&reading, MODEL_TOPIC, false, "{\"name\":\"b\"}");
	CHECK(reading.r == JSON_E_WRONG && reading.reader.conflict);
	reading_free(&reading);
}

// ---- drafts of an object

static bool is_number(const struct field *field)
{
	return field->type <= FIELD_TIME || field->type == FIELD_REF;
}

// Every member has a value of its own, so that one that is left out is seen.
static void drafts_have_every_member(void)
{
	const struct field_table *table = field_table(MODEL_TOPIC);
	union model_any wanted = {.topic = {.object = {.id = 41, .revision = 7}}}, draft;
	struct topic *topic, *copy;

	for (size_t i = 0; i < table->count; ++i) {
		const struct field *field = &table->fields[i];

		if (is_number(field))
			field_set(field, &wanted, field->type == FIELD_BOOL ? 1 : 2 + i % 100);
	}
	wanted.topic.name = "orders";
	wanted.topic.physical = "t-41";
	topic = model_new(MODEL_TOPIC, &wanted);
	model_ref(topic);
	memset(&draft, 0xa5, sizeof draft);
	model_draft(topic, &draft);
	CHECK_EQ(draft.object.refs, 0);
	++draft.topic.partitions;
	copy = model_new(MODEL_TOPIC, &draft);
	for (size_t i = 0; i < table->count; ++i) {
		const struct field *field = &table->fields[i];

		if (is_number(field))
			CHECK_EQ(field_get(field, copy),
				 field_get(field, topic) +
					 (field->offset == offsetof(struct topic, partitions)));
	}
	CHECK_EQ(copy->object.refs, 1);
	CHECK_EQ(copy->object.id, 41);
	CHECK_EQ(copy->object.revision, 7);
	CHECK_EQ(topic->object.refs, 2);
	CHECK(copy->name != topic->name);
	model_unref(topic);
	model_unref(topic);
	CHECK_STR(copy->name, "orders");
	CHECK_STR(copy->physical, "t-41");
	model_unref(copy);
}

UNIT_MAIN(UNIT_CASE(names_checked), UNIT_CASE(names_normalized), UNIT_CASE(physical_names),
	  UNIT_CASE(probe_names), UNIT_CASE(networks_contain), UNIT_CASE(networks_refused),
	  UNIT_CASE(lists_admit), UNIT_CASE(base64url_round), UNIT_CASE(json_round),
	  UNIT_CASE(json_key_lists), UNIT_CASE(json_problems),
	  UNIT_CASE(json_options_are_stored_sorted), UNIT_CASE(json_all_problems_at_once),
	  UNIT_CASE(json_fixed_members), UNIT_CASE(drafts_have_every_member))
