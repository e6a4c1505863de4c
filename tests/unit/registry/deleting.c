// Deleting, and lists.

#include "tests/unit/registry/cases.h"

#include "core/registry/definitions.h"
#include "core/registry/delete.h"
#include "core/registry/lifecycle.h"
#include "core/registry/page.h"
#include "tests/unit/registry/bench.h"

// ---- deleting

static bool affects(const char *kind, const char *name)
{
	json_t *entry;
	size_t i;

	json_array_foreach(
		bench.result.affected, i,
		entry) if (strcmp(json_string_value(json_object_get(entry, "kind")), kind) == 0 &&
			   strcmp(json_string_value(json_object_get(entry, "name")), name) ==
				   0) return true;
	return false;
}

void deletion_in_use(void)
{
	struct registry_ref ref = {REGISTRY_TOPIC, "acme", "orders"};
	struct registry_delete how = {.preview = true};

	bench_acme_with_group();
	CHECK_EQ(bench_outcome(
			 registry_delete(bench.registry, &bench_ann, &ref, &how, &bench.result)),
		 CODE_OK);
	CHECK(json_is_true(json_object_get(bench.result.body, "in_use")));
	CHECK_EQ(json_array_size(bench.result.affected), 3);
	CHECK_EQ(bench_drop(REGISTRY_TOPIC, "acme", "orders", false), CODE_IN_USE);
	CHECK(affects("topic", "orders") && affects("group", "billing") &&
	      affects("topic", "billing.dead"));
	CHECK_EQ(bench_drop(REGISTRY_TOPIC, "acme", "billing.dead", true), CODE_CONFLICT);
	CHECK_EQ(bench_drop(REGISTRY_TOPIC, "acme", "orders", true), CODE_OK);
	CHECK_EQ(bench_get(REGISTRY_TOPIC, "acme", "orders"), CODE_OK);
	CHECK_STR(bench_text("state"), "deleting");
	CHECK_EQ(bench_put(REGISTRY_TOPIC, "acme", "orders", "{}"), CODE_NOT_READY);
	CHECK_EQ(bench_drop(REGISTRY_TOPIC, "acme", "orders", false), CODE_OK); // again
	CHECK_EQ(bench_settle(), 3);
	CHECK_EQ(bench_get(REGISTRY_TOPIC, "acme", "orders"), CODE_NOT_FOUND);
	CHECK(bench_id(REGISTRY_GROUP, "acme", "billing") == 0);
	CHECK(catalog_topic_by_name(bench.catalog, 2, "orders") == NULL);
	bench_catalog_follows();
	// A new life of the name is another topic.
	CHECK_EQ(bench_create(REGISTRY_TOPIC, "acme", "{\"name\":\"orders\"}"), CODE_OK);
	CHECK(bench_number("incarnation") > 3);
	bench_end();
}

void deletion_of_a_group(void)
{
	bench_acme_with_group();
	CHECK_EQ(bench_drop(REGISTRY_GROUP, "acme", "billing", false), CODE_OK);
	CHECK_EQ(bench_settle(), 2);
	CHECK(bench_id(REGISTRY_TOPIC, "acme", "billing.dead") == 0);
	CHECK(bench_id(REGISTRY_TOPIC, "acme", "orders") != 0);
	bench_end();
}

// A topic is asked away only when its groups are gone.
void deletion_order(void)
{
	struct registry_lifecycle_pending pending[4];
	size_t count;

	bench_acme_with_group();
	CHECK_EQ(bench_drop(REGISTRY_TOPIC, "acme", "orders", true), CODE_OK);
	CHECK_EQ(registry_lifecycle_pending(bench.registry, pending, 4, &count), 0);
	CHECK_EQ(count, 1);
	CHECK_EQ(pending[0].kind, REGISTRY_GROUP);
	CHECK(pending[0].deleting);
	CHECK_EQ(registry_lifecycle_settle(bench.registry, &pending[0], CODE_BACKEND_DOWN, "away",
					   true),
		 0);
	CHECK_EQ(bench_get(REGISTRY_GROUP, "acme", "billing"), CODE_OK);
	CHECK_STR(bench_text("state"), "deleting");
	CHECK_STR(bench_text("state_reason"), "away");
	CHECK_EQ(bench_settle(), 3);
	bench_end();
}

void deletion_of_a_tenant(void)
{
	bench_acme_with_group();
	CHECK_EQ(bench_create(REGISTRY_ACCESS_KEY, "acme", "{}"), CODE_OK);
	CHECK_EQ(bench_drop(REGISTRY_TENANT, NULL, "acme", false), CODE_IN_USE);
	CHECK_EQ(json_array_size(bench.result.affected), 5);
	CHECK_EQ(bench_drop(REGISTRY_TENANT, NULL, "acme", true), CODE_OK);
	CHECK_EQ(bench_get(REGISTRY_TENANT, NULL, "acme"), CODE_NOT_FOUND);
	CHECK_EQ(bench_get(REGISTRY_TOPIC, "acme", "orders"), CODE_NOT_FOUND);
	CHECK_EQ(bench_create(REGISTRY_TENANT, NULL, "{\"name\":\"acme\"}"), CODE_NOT_READY);
	CHECK_EQ(bench_settle(), 3);
	CHECK(catalog_tenant(bench.catalog, 2) == NULL);
	CHECK_EQ(bench_create(REGISTRY_TENANT, NULL, "{\"name\":\"acme\"}"), CODE_OK);
	CHECK_EQ(bench_drop(REGISTRY_TENANT, NULL, "acme", false), CODE_OK);
	CHECK_EQ(bench_create(REGISTRY_TENANT, NULL, "{\"name\":\"acme\"}"), CODE_OK);
	bench_end();
}

// More than one transaction takes: the rest goes in rounds, unreachable from the start.
void deletion_of_a_large_tenant(void)
{
	json_t *document, *topics = json_array();
	char name[24];

	for (unsigned i = 0; i < 2500; ++i) {
		snprintf(name, sizeof name, "topic-%u", i);
		json_array_append_new(topics, json_pack("{s:s}", "name", name));
	}
	document = json_pack("{s:i, s:[{s:s, s:[s], s:o}]}", "format", 1, "tenants", "name", "acme",
			     "clusters", "local", "topics", topics);
	bench_acme();
	CHECK_EQ(bench_outcome(registry_definitions_import(bench.registry, &bench_ann, document,
							   false, &bench.result)),
		 CODE_OK);
	json_decref(document);
	CHECK_EQ(bench_create(REGISTRY_ACCESS_KEY, "acme", "{}"), CODE_OK);
	CHECK_EQ(bench_drop(REGISTRY_TENANT, NULL, "acme", true), CODE_OK);
	CHECK_EQ(bench_get(REGISTRY_TENANT, NULL, "acme"), CODE_NOT_FOUND);
	CHECK(bench_settle() >= 2500); // a few were made ready before their turn came
	CHECK(catalog_tenant(bench.catalog, 2) == NULL);
	CHECK(catalog_topic_by_name(bench.catalog, 2, "topic-2499") == NULL);
	bench_catalog_follows();
	bench_end();
}

void deletion_of_a_cluster(void)
{
	const struct tenant *tenant;

	bench_acme_with_group();
	CHECK_EQ(bench_drop(REGISTRY_CLUSTER, NULL, "local", false), CODE_IN_USE);
	CHECK_EQ(bench_drop(REGISTRY_CLUSTER, NULL, "local", true), CODE_OK);
	tenant = catalog_tenant(bench.catalog, 2);
	CHECK_EQ(tenant->cluster_count, 0);
	model_unref(tenant);
	CHECK_EQ(bench_get(REGISTRY_CLUSTER, NULL, "local"), CODE_NOT_FOUND);
	CHECK_EQ(bench_settle(), 3);
	CHECK(catalog_cluster(bench.catalog, 1) == NULL);
	bench_end();
}

// ---- lists

static unsigned count_pages(enum registry_kind kind, struct registry_query query, unsigned *pages)
{
	char cursor[600];
	unsigned items = 0;

	for (*pages = 0;; ++*pages) {
		registry_result_deinit(&bench.result);
		CHECK_EQ(bench_outcome(registry_page(bench.registry, kind, &query, &bench.result)),
			 CODE_OK);
		items += (unsigned)json_array_size(json_object_get(bench.result.body, "items"));
		if (!bench_text("next"))
			return items;
		snprintf(cursor, sizeof cursor, "%s", bench_text("next"));
		query.cursor = cursor;
	}
}

static enum code list(enum registry_kind kind, struct registry_query query)
{
	registry_result_deinit(&bench.result);
	return bench_outcome(registry_page(bench.registry, kind, &query, &bench.result));
}

void lists(void)
{
	unsigned pages;
	char body[64];

	bench_acme();
	for (unsigned i = 0; i < 25; ++i) {
		snprintf(body, sizeof body, "{\"name\":\"%s-%02u\"}", i % 2 ? "odd" : "even", i);
		CHECK_EQ(bench_create(REGISTRY_TOPIC, "acme", body), CODE_OK);
	}
	CHECK_EQ(count_pages(REGISTRY_TOPIC, (struct registry_query){.tenant = "acme", .limit = 10},
			     &pages),
		 25);
	CHECK_EQ(pages, 2);
	CHECK_EQ(
		count_pages(REGISTRY_TOPIC,
			    (struct registry_query){.tenant = "acme", .limit = 12, .prefix = "odd"},
			    &pages),
		12);
	CHECK_EQ(pages, 0);
	CHECK_EQ(count_pages(REGISTRY_TOPIC,
			     (struct registry_query){.limit = 500, .state = "creating"}, &pages),
		 25);
	CHECK_EQ(count_pages(REGISTRY_TOPIC,
			     (struct registry_query){.limit = 500, .state = "ready"}, &pages),
		 0);
	CHECK_EQ(count_pages(REGISTRY_TOPIC,
			     (struct registry_query){.limit = 500, .cluster = "none"}, &pages),
		 0);
	CHECK_EQ(count_pages(REGISTRY_TOPIC,
			     (struct registry_query){.limit = 500, .cluster = "local"}, &pages),
		 25);
	CHECK_EQ(list(REGISTRY_TOPIC, (struct registry_query){.limit = 0}), CODE_BAD_REQUEST);
	CHECK_EQ(list(REGISTRY_TOPIC, (struct registry_query){.limit = 501}), CODE_BAD_REQUEST);
	CHECK_EQ(list(REGISTRY_TOPIC, (struct registry_query){.limit = 1, .cursor = "!"}),
		 CODE_BAD_REQUEST);
	CHECK_EQ(list(REGISTRY_TOPIC, (struct registry_query){.limit = 1, .cursor = "YWJj"}),
		 CODE_BAD_REQUEST);
	CHECK_EQ(list(REGISTRY_TOPIC, (struct registry_query){.limit = 1, .state = "odd"}),
		 CODE_BAD_REQUEST);
	CHECK_EQ(list(REGISTRY_TENANT, (struct registry_query){.limit = 1, .state = "ready"}),
		 CODE_BAD_REQUEST);
	CHECK_EQ(list(REGISTRY_TOPIC, (struct registry_query){.limit = 1, .tenant = "nobody"}),
		 CODE_NOT_FOUND);
	CHECK_EQ(list(REGISTRY_TENANT, (struct registry_query){.limit = 50}), CODE_OK);
	CHECK_EQ(json_array_size(json_object_get(bench.result.body, "items")), 1);
	bench_end();
}
