// The contract of the REST API against the field tables: the same members, ranges, words and nulls.

#include "core/registry/row.h"
#include "portal-api/contract.h"
#include "tests/unit/unit.h"

static json_t *schemas;

static const json_t *resolve(const json_t *schema)
{
	const char *reference = json_string_value(json_object_get(schema, "$ref"));

	return reference ? json_object_get(schemas, strrchr(reference, '/') + 1) : schema;
}

static const json_t *property(const json_t *schema, const char *name)
{
	return resolve(json_object_get(json_object_get(resolve(schema), "properties"), name));
}

// "start" has one form for a time and one for the rest.
static const json_t *member(const json_t *schema, const char *path)
{
	const char *dot = strchr(path, '.');
	char parent[64];
	const json_t *group;

	if (!dot)
		return property(schema, path);
	snprintf(parent, sizeof parent, "%.*s", (int)(dot - path), path);
	group = property(schema, parent);
	if (json_object_get(group, "oneOf"))
		group = json_array_get(json_object_get(group, "oneOf"), 1);
	return property(group, dot + 1);
}

static bool has_type(const json_t *schema, const char *type)
{
	const json_t *types = json_object_get(schema, "type"), *one;
	size_t i;

	if (json_is_string(types))
		return strcmp(json_string_value(types), type) == 0;
	json_array_foreach(types, i,
			   one) if (strcmp(json_string_value(one), type) == 0) return true;
	return false;
}

static void fail(const char *schema, const struct field *field, const char *what)
{
	fprintf(stderr, "schema %s and field %s differ: %s\n", schema, field->name, what);
	exit(1);
}

static void compare_number(const char *name, const struct field *field, const json_t *schema)
{
	if (!has_type(schema, "integer"))
		fail(name, field, "not an integer");
	if (field->flags & FIELD_READ_ONLY)
		return;
	if ((uint64_t)json_integer_value(json_object_get(schema, "minimum")) != field->min)
		fail(name, field, "minimum");
	if ((uint64_t)json_integer_value(json_object_get(schema, "maximum")) != field->max)
		fail(name, field, "maximum");
}

static void compare_words(const char *name, const struct field *field, const json_t *schema)
{
	const json_t *words = json_object_get(schema, "enum");

	if (strncmp(field->name, "start.", 6) == 0)
		return; // the words are spread over the two forms
	if (json_array_size(words) != field->max - field->min + 1)
		fail(name, field, "the number of words");
	for (uint64_t i = field->min; i <= field->max; ++i)
		if (strcmp(json_string_value(json_array_get(words, i - field->min)),
			   field->values[i]) != 0)
			fail(name, field, field->values[i]);
}

static void compare(const char *name, const struct field *field, const json_t *schema)
{
	bool list = field->type == FIELD_REFS || field->type == FIELD_NETWORKS ||
		    field->type == FIELD_GRANTS;

	if (has_type(schema, "null") !=
	    ((field->flags & FIELD_NONE) || field->type == FIELD_SECRET ||
	     strcmp(field->name, "state_reason") == 0))
		fail(name, field, "null");
	switch (field->type) {
	case FIELD_U32:
	case FIELD_U64:
	case FIELD_TIME: compare_number(name, field, schema); break;
	case FIELD_ENUM: compare_words(name, field, schema); break;
	case FIELD_BOOL:
		if (!has_type(schema, "boolean"))
			fail(name, field, "not a boolean");
		break;
	case FIELD_TEXT:
		if (field->max > 32 && json_object_get(schema, "maxLength") &&
		    (uint64_t)json_integer_value(json_object_get(schema, "maxLength")) !=
			    field->max)
			fail(name, field, "maxLength");
		break;
	default:
		if (list &&
		    (uint64_t)json_integer_value(json_object_get(schema, "maxItems")) != field->max)
			fail(name, field, "maxItems");
	}
}

static bool visible(const struct field *field, bool taken)
{
	if (field->flags & FIELD_HIDDEN)
		return false;
	return taken ? !(field->flags & FIELD_READ_ONLY) : !(field->flags & FIELD_WRITE_ONLY);
}

// Every field that is seen there, and nothing else but what `besides` names.
static void compare_schema(enum registry_kind kind, const char *name, bool taken, bool named,
			   const char *besides)
{
	struct json_shape shape = row_kind(kind).shape;
	const json_t *schema = json_object_get(schemas, name);
	size_t groups = 0, expected = 0;
	const char *key;
	json_t *value;

	CHECK(schema != NULL);
	for (size_t t = 0; t < 2; ++t) {
		for (size_t i = 0; i < shape.tables[t]->count; ++i) {
			const struct field *field = &shape.tables[t]->fields[i];
			const json_t *found = member(schema, field->name);

			if (!visible(field, taken) || (named && field->type == FIELD_NAME)) {
				if (found)
					fail(name, field, "must not be there");
				continue;
			}
			if (!found)
				fail(name, field, "is not there");
			compare(name, field, found);
			expected += !strchr(field->name, '.');
		}
	}
	json_object_foreach(json_object_get(schema, "properties"), key, value)
	{
		char known[64];

		snprintf(known, sizeof known, " %s ", key);
		groups += strcmp(key, "limits") == 0 || strcmp(key, "start") == 0 ||
			  strstr(besides, known) != NULL;
	}
	CHECK_EQ(json_object_size(json_object_get(schema, "properties")), expected + groups);
}

static void schemas_agree(void)
{
	json_t *contract = json_loadb((const char *)contract_json, contract_json_size, 0, NULL);

	schemas = json_object_get(json_object_get(contract, "components"), "schemas");
	CHECK(schemas != NULL);
	compare_schema(REGISTRY_TENANT, "Tenant", false, false, " id revision ");
	compare_schema(REGISTRY_TENANT, "TenantCreate", true, false, "");
	compare_schema(REGISTRY_TENANT, "TenantWrite", true, true, "");
	compare_schema(REGISTRY_CLUSTER, "Cluster", false, false,
		       " id revision has_secrets status ");
	compare_schema(REGISTRY_CLUSTER, "ClusterCreate", true, false, "");
	compare_schema(REGISTRY_CLUSTER, "ClusterWrite", true, true, "");
	compare_schema(REGISTRY_ACCESS_KEY, "AccessKey", false, false, " id revision ");
	compare_schema(REGISTRY_ACCESS_KEY, "AccessKeySecret", false, false,
		       " id revision secret ");
	compare_schema(REGISTRY_ACCESS_KEY, "AccessKeyWrite", true, false, "");
	compare_schema(REGISTRY_TOPIC, "Topic", false, false, " id revision ");
	compare_schema(REGISTRY_TOPIC, "TopicCreate", true, false, "");
	compare_schema(REGISTRY_TOPIC, "TopicWrite", true, true, "");
	compare_schema(REGISTRY_GROUP, "Group", false, false, " id revision ");
	compare_schema(REGISTRY_GROUP, "GroupCreate", true, false, "");
	compare_schema(REGISTRY_GROUP, "GroupWrite", true, true, "");
	compare_schema(REGISTRY_USER, "User", false, false, " id revision ");
	// UserCreate and TokenCreate have one form for each side: constraints.c says the same.
	compare_schema(REGISTRY_USER, "UserWrite", true, true, "");
	compare_schema(REGISTRY_TOKEN, "Token", false, false, " id revision ");
	compare_schema(REGISTRY_TOKEN, "TokenSecret", false, false, " id revision token ");
	compare_schema(REGISTRY_PROXY, "Proxy", false, false, " id revision status ");
	compare_schema(REGISTRY_PROXY, "ProxyToken", false, false, " id revision token ");
	compare_schema(REGISTRY_PROXY, "ProxyInvite", true, false, "");
	json_decref(contract);
}

UNIT_MAIN(UNIT_CASE(schemas_agree))
