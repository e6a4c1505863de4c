// The life of topics and groups on their backends.

#include "tests/unit/registry/cases.h"

#include "core/base/clock.h"
#include "core/catalog/query.h"
#include "core/registry/reconcile.h"
#include "tests/unit/registry/bench.h"

static struct {
	unsigned asked[QUERY_COUNT];
	enum code answer;
	bool silent;
	query_done_fn done;
	void *done_ctx;
	unsigned woken;
} backend;

static void backend_query(struct query_channel *channel, enum query_kind kind, json_t *parameters,
			  uint64_t deadline_ns, query_done_fn done, void *done_ctx)
{
	(void)channel;
	CHECK(deadline_ns > 0);
	CHECK_EQ(json_object_size(parameters), 1);
	json_decref(parameters);
	++backend.asked[kind];
	if (backend.silent) {
		backend.done = done;
		backend.done_ctx = done_ctx;
	} else {
		done(done_ctx, backend.answer, json_object(), "because");
	}
}

static void backend_wake(void *ctx)
{
	(void)ctx;
	++backend.woken;
}

static struct query_channel backend_channel = {.query = backend_query};

static struct reconcile *reconciler(void)
{
	struct reconcile_config config = {
		.registry = bench.registry, .queries = &backend_channel, .wake = backend_wake};
	struct reconcile *reconcile;

	memset(&backend, 0, sizeof backend);
	CHECK_EQ(reconcile_new(&config, &reconcile), 0);
	return reconcile;
}

static const char *state(enum registry_kind kind, const char *name)
{
	CHECK_EQ(bench_get(kind, "acme", name), CODE_OK);
	return bench_text("state");
}

void reconcile_makes_and_deletes(void)
{
	struct reconcile *reconcile;

	bench_acme();
	reconcile = reconciler();
	CHECK_EQ(bench_create(REGISTRY_TOPIC, "acme", "{\"name\":\"orders\"}"), CODE_OK);
	CHECK_EQ(bench_create(REGISTRY_GROUP, "acme", "{\"name\":\"g\",\"topic\":\"orders\"}"),
		 CODE_OK);
	for (unsigned i = 0; i < 3; ++i)
		reconcile_run(reconcile, S_NS);
	CHECK_STR(state(REGISTRY_GROUP, "g"), "ready");
	CHECK_EQ(backend.asked[QUERY_TOPIC_CREATE], 2);
	CHECK_EQ(backend.asked[QUERY_GROUP_CREATE], 1);
	CHECK_EQ(backend.woken, 3);
	CHECK_EQ(bench_drop(REGISTRY_TOPIC, "acme", "orders", true), CODE_OK);
	for (unsigned i = 0; i < 3; ++i)
		reconcile_run(reconcile, 2 * S_NS);
	CHECK(bench_id(REGISTRY_TOPIC, "acme", "orders") == 0);
	CHECK_EQ(backend.asked[QUERY_TOPIC_DELETE], 2);
	CHECK_EQ(backend.asked[QUERY_GROUP_DELETE], 1);
	reconcile_free(reconcile);
	bench_end();
}

void reconcile_waits_longer_and_longer(void)
{
	struct reconcile *reconcile;
	uint64_t now_ns = S_NS;

	bench_acme();
	reconcile = reconciler();
	backend.answer = CODE_BACKEND_DOWN;
	CHECK_EQ(bench_create(REGISTRY_TOPIC, "acme", "{\"name\":\"t\"}"), CODE_OK);
	for (unsigned i = 0; i < 1000; ++i) {
		uint64_t next_ns = reconcile_run(reconcile, now_ns);

		CHECK(next_ns > now_ns && next_ns <= now_ns + S_NS);
		now_ns += 100 * MS_NS;
	}
	CHECK(backend.asked[QUERY_TOPIC_CREATE] >= 9 && backend.asked[QUERY_TOPIC_CREATE] <= 14);
	CHECK_STR(state(REGISTRY_TOPIC, "t"), "creating");
	CHECK_STR(bench_text("state_reason"), "because");
	backend.answer = CODE_OK;
	now_ns += 40 * S_NS;
	reconcile_run(reconcile, now_ns);
	reconcile_run(reconcile, now_ns);
	CHECK_STR(state(REGISTRY_TOPIC, "t"), "ready");
	CHECK(json_is_null(json_object_get(bench.result.body, "state_reason")));
	reconcile_free(reconcile);
	bench_end();
}

// A cluster that is deleted by force takes its topics with it, though its backend never agrees.
void reconcile_abandons_what_a_lost_cluster_holds(void)
{
	struct reconcile *reconcile;
	uint64_t now_ns = S_NS;

	bench_acme_with_group();
	reconcile = reconciler();
	for (; now_ns < 4 * S_NS; now_ns += S_NS)
		reconcile_run(reconcile, now_ns);
	backend.answer = CODE_BACKEND_DOWN;
	CHECK_EQ(bench_drop(REGISTRY_GROUP, "acme", "billing", true), CODE_OK);
	for (; now_ns < 1000 * S_NS; now_ns += S_NS)
		reconcile_run(reconcile, now_ns);
	CHECK_STR(state(REGISTRY_GROUP, "billing"), "deleting"); // its cluster may come back
	CHECK_STR(bench_text("state_reason"), "because");
	CHECK_EQ(bench_drop(REGISTRY_CLUSTER, NULL, "local", true), CODE_OK);
	for (; now_ns < 1010 * S_NS; now_ns += S_NS)
		reconcile_run(reconcile, now_ns);
	CHECK_STR(state(REGISTRY_TOPIC, "orders"), "deleting");
	for (; now_ns < 1200 * S_NS; now_ns += S_NS)
		reconcile_run(reconcile, now_ns);
	CHECK(bench_id(REGISTRY_GROUP, "acme", "billing") == 0);
	CHECK(bench_id(REGISTRY_TOPIC, "acme", "orders") == 0);
	CHECK(bench_id(REGISTRY_CLUSTER, NULL, "local") == 0);
	CHECK(bench_file_holds(bench.db_path, "abandoned") ||
	      bench_file_holds(bench.wal_path, "abandoned"));
	reconcile_free(reconcile);
	bench_end();
}

void reconcile_gives_up_on_refusal(void)
{
	struct reconcile *reconcile;
	uint64_t made_ns, real_ns;

	bench_acme();
	reconcile = reconciler();
	backend.answer = CODE_UNSUPPORTED_BY_BACKEND;
	CHECK_EQ(bench_create(REGISTRY_TOPIC, "acme", "{\"name\":\"t\"}"), CODE_OK);
	made_ns = clock_now_ns();
	for (uint64_t now_ns = S_NS; now_ns < 100 * S_NS; now_ns += S_NS)
		reconcile_run(reconcile, now_ns);
	real_ns = clock_now_ns();
	CHECK(catalog_age_ns(bench.catalog, real_ns) <= real_ns - made_ns); // heard since
	CHECK_EQ(backend.asked[QUERY_TOPIC_CREATE], 1);
	CHECK_STR(state(REGISTRY_TOPIC, "t"), "failed");
	backend.answer = CODE_OK;
	CHECK_EQ(bench_put(REGISTRY_TOPIC, "acme", "t", "{}"), CODE_OK); // try again
	CHECK_STR(state(REGISTRY_TOPIC, "t"), "creating");
	reconcile_run(reconcile, 200 * S_NS);
	reconcile_run(reconcile, 200 * S_NS);
	CHECK_STR(state(REGISTRY_TOPIC, "t"), "ready");
	reconcile_free(reconcile);
	bench_end();
}

// Deleted while it is being made: the answer to the first query must not make it ready, and the
// second query waits for it.
void reconcile_deletes_what_is_being_made(void)
{
	struct reconcile *reconcile;

	bench_acme();
	reconcile = reconciler();
	backend.silent = true;
	CHECK_EQ(bench_create(REGISTRY_TOPIC, "acme", "{\"name\":\"t\"}"), CODE_OK);
	reconcile_run(reconcile, S_NS);
	CHECK_EQ(bench_drop(REGISTRY_TOPIC, "acme", "t", false), CODE_OK);
	reconcile_run(reconcile, 2 * S_NS);
	CHECK_EQ(backend.asked[QUERY_TOPIC_DELETE], 0);
	backend.silent = false;
	backend.done(backend.done_ctx, CODE_OK, NULL, NULL);
	reconcile_run(reconcile, 3 * S_NS);
	CHECK_STR(state(REGISTRY_TOPIC, "t"), "deleting");
	CHECK_EQ(backend.asked[QUERY_TOPIC_DELETE], 1);
	reconcile_run(reconcile, 3 * S_NS);
	CHECK(bench_id(REGISTRY_TOPIC, "acme", "t") == 0);

	// An answer that comes when no caller waits any more.
	backend.silent = true;
	CHECK_EQ(bench_create(REGISTRY_TOPIC, "acme", "{\"name\":\"u\"}"), CODE_OK);
	reconcile_run(reconcile, 4 * S_NS);
	reconcile_free(reconcile);
	backend.done(backend.done_ctx, CODE_OK, json_object(), NULL);
	bench_end();
}
