// What is written down and stays: the audit, the way to the catalog, kills and full disks, totals.

#include "tests/unit/registry/cases.h"

#include "core/catalog/change.h"
#include "core/registry/audit.h"
#include "core/registry/page.h"
#include "core/registry/resource.h"
#include "core/registry/totals.h"
#include "tests/unit/registry/bench.h"

#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>

// ---- audit

void audit_tells_everything(void)
{
	struct registry_query query = {.limit = 2, .tenant = "acme"};
	json_t *entry;

	bench_acme();
	CHECK_EQ(bench_put(REGISTRY_TENANT, NULL, "acme", "{\"suspended\":true}"), CODE_OK);
	CHECK_EQ(bench_create(REGISTRY_TOPIC, "acme", "{\"name\":\"t\"}"), CODE_OK);
	CHECK_EQ(registry_audit_note(bench.registry, &bench_ann, "kick", "client", "7", "acme",
				     NULL),
		 0);
	registry_result_deinit(&bench.result);
	CHECK_EQ(bench_outcome(registry_audit_list(bench.registry, &query, &bench.result)),
		 CODE_OK);
	CHECK_EQ(json_array_size(json_object_get(bench.result.body, "items")), 2);
	CHECK_STR(bench_text("next"), "4");
	query.cursor = "4";
	registry_result_deinit(&bench.result);
	CHECK_EQ(bench_outcome(registry_audit_list(bench.registry, &query, &bench.result)),
		 CODE_OK);
	entry = json_array_get(json_object_get(bench.result.body, "items"), 0);
	CHECK_STR(json_string_value(json_object_get(entry, "action")), "update");
	CHECK_STR(json_string_value(json_object_get(entry, "actor")), "user:ann");
	CHECK_STR(json_string_value(json_object_get(entry, "address")), "127.0.0.1");
	CHECK(json_is_false(json_object_get(json_object_get(entry, "old"), "suspended")));
	CHECK(json_is_true(json_object_get(json_object_get(entry, "new"), "suspended")));
	query = (struct registry_query){.limit = 10, .action = "kick"};
	registry_result_deinit(&bench.result);
	CHECK_EQ(bench_outcome(registry_audit_list(bench.registry, &query, &bench.result)),
		 CODE_OK);
	CHECK_EQ(json_array_size(json_object_get(bench.result.body, "items")), 1);
	query.cursor = "x";
	registry_result_deinit(&bench.result);
	CHECK_EQ(bench_outcome(registry_audit_list(bench.registry, &query, &bench.result)),
		 CODE_BAD_REQUEST);
	CHECK_EQ(bench_first_bad(), 0);
	bench_end();
}

void audit_tampering_is_found(void)
{
	static const struct {
		const char *change, *back;
		json_int_t bad;
	} damages[] = {
		{"UPDATE audit SET actor = 'user:eve' WHERE seq = 2",
		 "UPDATE audit SET actor = 'user:ann' WHERE seq = 2", 2},
		{"UPDATE audit SET address = NULL WHERE seq = 3",
		 "UPDATE audit SET address = '127.0.0.1' WHERE seq = 3", 3},
		{"UPDATE audit SET time_ms = time_ms + 1 WHERE seq = 1",
		 "UPDATE audit SET time_ms = time_ms - 1 WHERE seq = 1", 1},
		{"UPDATE audit SET hash = zeroblob(32) WHERE seq = 2", NULL, 2},
		{"DELETE FROM audit WHERE seq = 2", NULL, 3},
	};

	for (size_t i = 0; i < ARRAY_SIZE(damages); ++i) {
		bench_acme();
		CHECK_EQ(bench_create(REGISTRY_TOPIC, "acme", "{\"name\":\"t\"}"), CODE_OK);
		CHECK_EQ(bench_first_bad(), 0);
		bench_sql(damages[i].change);
		CHECK_EQ(bench_first_bad(), damages[i].bad);
		if (damages[i].back) {
			bench_sql(damages[i].back);
			CHECK_EQ(bench_first_bad(), 0);
		}
		bench_end();
	}
}

static bool verify(const char *head)
{
	registry_result_deinit(&bench.result);
	CHECK_EQ(bench_outcome(registry_audit_verify(bench.registry, head, &bench.result)),
		 CODE_OK);
	return json_is_true(json_object_get(bench.result.body, "ok"));
}

// Rows are taken away under a running registry, and under one that is opened afterwards.
void audit_cut_at_its_end_is_found(void)
{
	char told[REGISTRY_HASH_TEXT], short_told[13];

	snprintf(bench.audit_path, sizeof bench.audit_path, "%s/audit-head", bench.directory);
	bench_acme();
	CHECK_EQ(bench_create(REGISTRY_TOPIC, "acme", "{\"name\":\"t\"}"), CODE_OK);
	CHECK_EQ(bench_create(REGISTRY_TOPIC, "acme", "{\"name\":\"u\"}"), CODE_OK);
	CHECK_EQ(registry_audit_head(bench.registry, told), 4);
	snprintf(short_told, sizeof short_told, "%.12s", told);
	CHECK(verify(short_told));
	CHECK(!verify("0123456789abcdef"));
	CHECK(json_is_false(json_object_get(bench.result.body, "head_found")));
	bench_sql("DELETE FROM audit WHERE seq > 2");
	CHECK(!verify(NULL));
	CHECK_EQ(bench_number("missing"), 2);
	CHECK(!verify(told));
	registry_close(bench.registry);
	bench_reopen();
	CHECK(!verify(NULL));
	CHECK_EQ(bench_number("missing"), 2);
	// The log goes on behind what is missing: the hole stays.
	CHECK_EQ(bench_create(REGISTRY_TOPIC, "acme", "{\"name\":\"v\"}"), CODE_OK);
	CHECK(!verify(NULL));
	CHECK_EQ(bench_number("first_bad"), 5);
	unlink(bench.audit_path);
	bench.audit_path[0] = '\0';
	bench_end();
}

void refusals_leave_no_trace(void)
{
	uint64_t revision;

	bench_acme();
	revision = registry_revision(bench.registry);
	CHECK_EQ(bench_create(REGISTRY_TOPIC, "acme", "{\"name\":\"t\",\"cluster\":\"none\"}"),
		 CODE_BAD_REQUEST);
	CHECK_EQ(bench_drop(REGISTRY_TENANT, NULL, "nobody", true), CODE_NOT_FOUND);
	CHECK_EQ(registry_revision(bench.registry), revision);
	registry_result_deinit(&bench.result);
	CHECK_EQ(bench_outcome(registry_audit_verify(bench.registry, NULL, &bench.result)),
		 CODE_OK);
	CHECK_EQ(bench_number("entries"), 2);
	bench_end();
}

// ---- the catalog

void catalog_is_brought_up_to_date(void)
{
	_cleanup_(freep) struct catalog_change *change = NULL;
	const struct topic *topic;

	bench_acme_with_group();
	// As after a crash between commit and publication: the catalog knows less.
	registry_close(bench.registry);
	catalog_free(bench.catalog);
	bench.catalog = NULL;
	bench_reopen();
	CHECK_EQ(bench_create(REGISTRY_TOPIC, "acme", "{\"name\":\"late\"}"), CODE_OK);
	CHECK_EQ(bench_drop(REGISTRY_GROUP, "acme", "billing", false), CODE_OK);
	bench_settle();
	registry_close(bench.registry);
	CHECK_EQ(catalog_new(bench.copy_path, &bench_key, &bench.catalog), 0);
	CHECK(catalog_topic_by_name(bench.catalog, 2, "late") == NULL);
	bench_reopen();
	bench_catalog_follows();
	topic = catalog_topic_by_name(bench.catalog, 2, "late");
	CHECK(topic != NULL);
	model_unref(topic);
	CHECK(catalog_group_by_name(bench.catalog, 2, "billing") == NULL);

	CHECK_EQ(registry_change(bench.registry, catalog_source(bench.catalog), 2, &change), 0);
	CHECK_EQ(le16_get(change->data + 6), 0); // a delta
	free(change);
	CHECK_EQ(registry_change(bench.registry, 4711, 2, &change), 0);
	CHECK_EQ(le16_get(change->data + 6), 1); // a full one
	bench_end();
}

// Makes topics and tells of each one that it was promised, until it is killed.
static void make_topics_for_ever(int pipe_end, unsigned from)
{
	char body[64];

	bench_begin();
	for (unsigned i = from;; ++i) {
		snprintf(body, sizeof body, "{\"name\":\"topic-%u\"}", i);
		if (bench_create(REGISTRY_TOPIC, "acme", body) != CODE_OK ||
		    write(pipe_end, &i, sizeof i) != sizeof i)
			_exit(1);
	}
}

void kill_loses_nothing(void)
{
	unsigned promised = 0, made;
	char name[32];

	bench_acme();
	registry_close(bench.registry);
	catalog_free(bench.catalog);
	for (unsigned round = 0; round < 10; ++round) {
		int ends[2], status;
		pid_t child;

		CHECK_EQ(pipe(ends), 0);
		child = fork();
		if (child == 0)
			make_topics_for_ever(ends[1], promised + 2);
		close(ends[1]);
		for (unsigned i = 0; i < 5 + 7 * round; ++i)
			CHECK_EQ(read(ends[0], &promised, sizeof promised), sizeof promised);
		kill(child, SIGKILL);
		CHECK_EQ(waitpid(child, &status, 0), child);
		CHECK(WIFSIGNALED(status));
		while (read(ends[0], &made, sizeof made) == sizeof made)
			promised = made;
		close(ends[0]);
		bench_begin();
		snprintf(name, sizeof name, "topic-%u", promised);
		CHECK_EQ(bench_get(REGISTRY_TOPIC, "acme", name), CODE_OK);
		bench_catalog_follows();
		CHECK_EQ(bench_first_bad(), 0);
		registry_result_deinit(&bench.result);
		registry_close(bench.registry);
		catalog_free(bench.catalog);
	}
	bench_begin();
	bench_end();
}

// No file may grow: what a full disk looks like from here.
static void disk_full(bool full)
{
	struct rlimit limit;

	signal(SIGXFSZ, SIG_IGN);
	CHECK_EQ(getrlimit(RLIMIT_FSIZE, &limit), 0);
	limit.rlim_cur = full ? 0 : limit.rlim_max;
	CHECK_EQ(setrlimit(RLIMIT_FSIZE, &limit), 0);
}

void full_disk_loses_nothing(void)
{
	struct registry_ref ref = {REGISTRY_TOPIC, "acme", "orders"};
	json_t *body = json_pack("{s:i}", "retention_ms", 5000);
	uint64_t revision;

	bench_acme_with_group();
	revision = registry_revision(bench.registry);
	disk_full(true);
	CHECK(registry_resource_put(bench.registry, &bench_ann, &ref, REGISTRY_MATCH_NONE, body,
				    &bench.result) < 0);
	disk_full(false);
	CHECK_EQ(bench.result.code, CODE_INTERNAL);
	CHECK_EQ(registry_revision(bench.registry), revision);
	bench_catalog_follows();
	registry_result_deinit(&bench.result);
	CHECK_EQ(bench_outcome(registry_resource_put(bench.registry, &bench_ann, &ref,
						     REGISTRY_MATCH_NONE, body, &bench.result)),
		 CODE_OK);
	CHECK_EQ(registry_revision(bench.registry), revision + 1);
	bench_catalog_follows();
	CHECK_EQ(bench_first_bad(), 0);
	json_decref(body);
	bench_end();
}

// ---- totals

static void see_total(void *ctx, const struct registry_total *total)
{
	json_int_t *sum = ctx;

	*sum += json_integer_value(json_object_get(total->counters, "messages"));
}

void totals_survive(void)
{
	json_t *counters = json_pack("{s:i}", "messages", 5);
	struct registry_total totals[] = {{REGISTRY_TOPIC, 3, counters},
					  {REGISTRY_GROUP, 4, counters}};
	json_int_t sum = 0;

	bench_acme_with_group();
	totals[1].id = bench_id(REGISTRY_GROUP, "acme", "billing");
	CHECK_EQ(registry_totals_save(bench.registry, totals, 2), 0);
	CHECK_EQ(registry_totals_save(bench.registry, totals, 2), 0);
	registry_close(bench.registry);
	bench_reopen();
	CHECK_EQ(registry_totals_load(bench.registry, see_total, &sum), 0);
	CHECK_EQ(sum, 10);
	CHECK_EQ(bench_drop(REGISTRY_GROUP, "acme", "billing", false), CODE_OK);
	bench_settle();
	sum = 0;
	CHECK_EQ(registry_totals_load(bench.registry, see_total, &sum), 0);
	CHECK_EQ(sum, 5);
	json_decref(counters);
	bench_end();
}
