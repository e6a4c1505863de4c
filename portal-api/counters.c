// All series, and the bodies of the statistics routes made of them.
//
// There is one row for each tenant, topic or group that has ever counted something, found by a hash
// over kind and id. The platform's numbers are the sums over its tenants. A row is removed when its
// object is gone from the registry, which is checked when totals are saved.
//
// Invariants: a total never falls, also across restarts of the proxy and of the portal. What an
// answer shows is in the journal before it can be shown. Not here: sampling (portal.c), and
// counting, which the proxies do.

#include "portal-api/counters.h"

#include "core/base/list.h"
#include "core/base/log.h"
#include "core/base/util.h"
#include "core/catalog/catalog.h"
#include "core/registry/lookup.h"
#include "core/registry/totals.h"
#include "portal-api/series.h"
#include "portal-api/stored.h"
#include "portal-api/totals_journal.h"

#include <errno.h>

enum { BUCKETS = 4096, BUSIEST = 100 };

struct row {
	struct list link;
	struct row *next; // in the bucket
	enum registry_kind kind;
	uint64_t id, tenant;
	uint64_t connections;
	struct series series;
};

struct counters {
	struct registry *registry;
	struct catalog *catalog;
	struct totals_journal *journal;
	struct stored *stored;
	struct list rows;
	struct row *buckets[BUCKETS];
	uint64_t sampled_ns; // 0: never
	int64_t sampled_wall_ms;
	uint64_t connections;
	unsigned proxies;
	bool complete;
	char *proxy;       // whose counters the last sample were
	json_int_t uptime; // of it
};

static struct row **bucket_of(struct counters *counters, enum registry_kind kind, uint64_t id)
{
	uint64_t hash = (id * 4 + kind) * 0x9e3779b97f4a7c15ull;

	return &counters->buckets[hash >> 52];
}

static struct row *find_row(struct counters *counters, enum registry_kind kind, uint64_t id)
{
	struct row *row = *bucket_of(counters, kind, id);

	while (row && (row->kind != kind || row->id != id))
		row = row->next;
	return row;
}

static struct row *add_row(struct counters *counters, enum registry_kind kind, uint64_t id,
			   uint64_t tenant)
{
	struct row **bucket = bucket_of(counters, kind, id);
	struct row *row = calloc(1, sizeof *row);

	if (!row)
		return NULL;
	*row = (struct row){.next = *bucket, .kind = kind, .id = id, .tenant = tenant};
	*bucket = row;
	list_push_back(&counters->rows, &row->link);
	return row;
}

static void drop_row(struct counters *counters, struct row *row)
{
	struct row **at = bucket_of(counters, row->kind, row->id);

	while (*at != row)
		at = &(*at)->next;
	*at = row->next;
	list_unlink(&row->link);
	free(row);
}

// ---- sampling

// A topic's row holds what was sent, a group's what was received, a tenant's both in parts.
static json_t *parts_of(enum registry_kind kind, const json_t *answer)
{
	json_t *row = (json_t *)(uintptr_t)answer;

	if (kind == REGISTRY_TENANT)
		return json_incref(row);
	return json_pack("{s:O}", kind == REGISTRY_TOPIC ? "produce" : "consume", row);
}

static void take_row(struct counters *counters, enum registry_kind kind, const json_t *answer,
		     uint64_t tenant, uint64_t now_ns)
{
	uint64_t id = (uint64_t)json_integer_value(json_object_get(answer, "id"));
	struct row *row = find_row(counters, kind, id);
	json_t *parts;

	if (!row) {
		row = add_row(counters, kind, id, kind == REGISTRY_TENANT ? id : tenant);
		if (!row)
			return;
	}
	// What it counted since the last look began at nothing.
	if (!row->series.fine[row->series.fine_at].at_ns && counters->sampled_ns)
		series_sample(&row->series, counters->sampled_ns);
	parts = parts_of(kind, answer);
	series_take(&row->series, parts);
	json_decref(parts);
	series_sample(&row->series, now_ns);
	row->connections = (uint64_t)json_integer_value(json_object_get(answer, "connections"));
}

static void take_part(struct counters *counters, enum registry_kind kind, const json_t *tenant,
		      const char *part, uint64_t now_ns)
{
	uint64_t id = (uint64_t)json_integer_value(json_object_get(tenant, "id"));
	size_t index;
	json_t *answer;

	json_array_foreach(json_object_get(tenant, part), index, answer)
		take_row(counters, kind, answer, id, now_ns);
}

// What did not count in this sample stands still: its rates must come down to zero.
static void sample_idle(struct counters *counters, uint64_t now_ns)
{
	LIST_FOREACH(link, next, &counters->rows)
	{
		struct row *row = LIST_ENTRY(link, struct row, link);
		series_sample(&row->series, now_ns);
	}
}

// Another proxy, or the same one younger than it was: all counters began again.
static void notice_restart(struct counters *counters, const json_t *totals)
{
	const char *proxy = json_string_value(json_object_get(totals, "proxy"));
	json_int_t uptime = json_integer_value(json_object_get(totals, "uptime_ms"));
	bool same = counters->proxy && proxy && strcmp(counters->proxy, proxy) == 0;

	if (!same || uptime < counters->uptime) {
		LIST_FOREACH(link, next, &counters->rows)
		series_restart(&LIST_ENTRY(link, struct row, link)->series);
	}
	if (!same) {
		free(counters->proxy);
		counters->proxy = proxy ? strdup(proxy) : NULL;
	}
	counters->uptime = uptime;
}

// What is shown must not be forgotten by a kill: before it can be shown it is in the journal.
static void write_down(struct counters *counters)
{
	int r;

	LIST_FOREACH(link, next, &counters->rows)
	{
		struct row *row = LIST_ENTRY(link, struct row, link);

		if (row->series.unwritten)
			totals_journal_add(counters->journal, row->kind, row->id,
					   series_save(&row->series));
		row->series.unwritten = false;
	}
	r = totals_journal_write(counters->journal);
	if (r < 0)
		log_warn(NULL, "TOTALS-NOT-SAVED", "totals.journal: %s", strerror(-r));
}

// The journal is written before this returns, so before any answer can show the new totals. NULL
// means that no proxy answered: totals stay, and answers are marked incomplete.
void counters_take(struct counters *counters, const json_t *totals, uint64_t now_ns,
		   int64_t wall_ms)
{
	size_t index;
	json_t *tenant;

	counters->complete = totals != NULL;
	if (!totals)
		return;
	notice_restart(counters, totals);
	stored_take(counters->stored, totals, wall_ms);
	LIST_FOREACH(link, next, &counters->rows)
	LIST_ENTRY(link, struct row, link)->connections = 0;
	json_array_foreach(json_object_get(totals, "tenants"), index, tenant)
	{
		take_row(counters, REGISTRY_TENANT, tenant, 0, now_ns);
		take_part(counters, REGISTRY_TOPIC, tenant, "topics", now_ns);
		take_part(counters, REGISTRY_GROUP, tenant, "groups", now_ns);
	}
	write_down(counters);
	sample_idle(counters, now_ns);
	counters->connections =
		(uint64_t)json_integer_value(json_object_get(totals, "connections"));
	counters->proxies = 1;
	counters->sampled_ns = now_ns;
	counters->sampled_wall_ms = wall_ms;
}

uint64_t counters_age_ns(const struct counters *counters, uint64_t now_ns)
{
	return counters->sampled_ns ? now_ns - counters->sampled_ns : UINT64_MAX;
}

// ---- across restarts

static uint64_t tenant_of(struct catalog *catalog, enum registry_kind kind, uint64_t id)
{
	uint64_t tenant = id;

	if (kind == REGISTRY_TOPIC) {
		const struct topic *topic = catalog_topic(catalog, id);
		tenant = topic ? topic->tenant : 0;
		model_unref(topic);
	} else if (kind == REGISTRY_GROUP) {
		const struct group *group = catalog_group(catalog, id);
		tenant = group ? group->tenant : 0;
		model_unref(group);
	}
	return tenant;
}

static void load_row(void *ctx, const struct registry_total *total)
{
	struct counters *counters = ctx;
	struct row *row = add_row(counters, total->kind, total->id,
				  tenant_of(counters->catalog, total->kind, total->id));

	if (row)
		series_load(&row->series, total->counters);
}

static void load_written(void *ctx, unsigned kind, uint64_t id, const json_t *values)
{
	struct counters *counters = ctx;
	struct row *row = kind < REGISTRY_KIND_COUNT ? find_row(counters, kind, id) : NULL;

	if (!row && kind < REGISTRY_KIND_COUNT)
		row = add_row(counters, kind, id, tenant_of(counters->catalog, kind, id));
	if (!row)
		return;
	series_load(&row->series, values);
	row->series.dirty = true;
}

int counters_new(struct registry *registry, struct catalog *catalog, const char *data_dir,
		 struct counters **ret)
{
	struct counters *counters = calloc(1, sizeof *counters);
	int r;

	if (!counters)
		return -ENOMEM;
	counters->registry = registry;
	counters->catalog = catalog;
	list_init(&counters->rows);
	counters->stored = stored_new();
	r = counters->stored ? registry_totals_load(registry, load_row, counters) : -ENOMEM;
	if (r >= 0)
		r = totals_journal_open(data_dir, load_written, counters, &counters->journal);
	if (r < 0) {
		counters_free(counters);
		return r;
	}
	*ret = counters;
	return 0;
}

void counters_free(struct counters *counters)
{
	if (!counters)
		return;
	LIST_FOREACH(link, next, &counters->rows)
	free(LIST_ENTRY(link, struct row, link));
	totals_journal_close(counters->journal);
	stored_free(counters->stored);
	free(counters->proxy);
	free(counters);
}

static void drop_gone(struct counters *counters)
{
	LIST_FOREACH(link, next, &counters->rows)
	{
		struct row *row = LIST_ENTRY(link, struct row, link);
		if (!registry_lookup_name(counters->registry, row->kind, row->id))
			drop_row(counters, row);
	}
}

static size_t count_dirty(struct counters *counters)
{
	size_t count = 0;

	LIST_FOREACH(link, next, &counters->rows)
	count += LIST_ENTRY(link, struct row, link)->series.dirty;
	return count;
}

// The registry takes the totals in one transaction; the journal is emptied only after that. After a
// crash in between both hold the totals, and loading takes the greater ones.
int counters_save(struct counters *counters)
{
	size_t room, count = 0;
	struct registry_total *totals;
	int r;

	drop_gone(counters);
	room = count_dirty(counters);
	if (!room)
		return 0;
	totals = calloc(room, sizeof *totals);
	if (!totals)
		return -ENOMEM;
	LIST_FOREACH(link, next, &counters->rows)
	{
		struct row *row = LIST_ENTRY(link, struct row, link);
		if (row->series.dirty)
			totals[count++] = (struct registry_total){row->kind, row->id,
								  series_save(&row->series)};
	}
	r = registry_totals_save(counters->registry, totals, count);
	for (size_t i = 0; i < count; ++i)
		json_decref((json_t *)(uintptr_t)totals[i].counters);
	free(totals);
	LIST_FOREACH(link, next, &counters->rows)
	{
		struct row *row = LIST_ENTRY(link, struct row, link);
		row->series.dirty &= r < 0;
	}
	return r < 0 ? r : totals_journal_clear(counters->journal);
}

// ---- for metrics

void counters_each(const struct counters *counters, enum registry_kind kind, counters_row_fn fn,
		   void *ctx)
{
	uint64_t totals[SERIES_COUNTERS];

	LIST_FOREACH(link, next, &counters->rows)
	{
		const struct row *row = LIST_ENTRY(link, struct row, link);

		if (row->kind != kind)
			continue;
		for (unsigned i = 0; i < SERIES_COUNTERS; ++i)
			totals[i] = series_total(&row->series, i);
		fn(ctx, row->id, row->tenant, row->connections, totals);
	}
}

const struct stored *counters_stored(const struct counters *counters)
{
	return counters->stored;
}

// ---- bodies

static const struct series nothing;

static json_t *rates_json(const struct series_rate *s1, const struct series_rate *s10,
			  const struct series_rate *s60)
{
	return json_pack("{s:o, s:o, s:o}", "s1", series_rate_json(s1), "s10",
			 series_rate_json(s10), "s60", series_rate_json(s60));
}

static json_t *make_body(const struct counters *counters, json_t *totals, json_t *rates)
{
	json_object_set_new(totals, "at_ms", json_integer(counters->sampled_wall_ms));
	json_object_set_new(totals, "complete", json_boolean(counters->complete));
	json_object_set_new(totals, "rates", rates);
	return totals;
}

static json_t *series_body(const struct counters *counters, const struct series *series)
{
	struct series_rate s1, s10, s60;

	series_rate(series, 1, &s1);
	series_rate(series, 10, &s10);
	series_rate(series, 60, &s60);
	return make_body(counters, series_totals_json(series), rates_json(&s1, &s10, &s60));
}

json_t *counters_of_resource(struct counters *counters, enum registry_kind kind, uint64_t id)
{
	struct row *row = find_row(counters, kind, id);

	return series_body(counters, row ? &row->series : &nothing);
}

struct ranked {
	const struct row *row;
	struct series_rate rate;
};

static int by_rate(const void *a, const void *b)
{
	const struct ranked *left = a, *right = b;
	double x = left->rate.per_s[0] + left->rate.per_s[2];
	double y = right->rate.per_s[0] + right->rate.per_s[2];

	if (x != y)
		return x < y ? 1 : -1;
	return left->row->id < right->row->id ? -1 : left->row->id > right->row->id;
}

// The busiest rows of a kind, by messages a second in both directions.
static json_t *list_busiest(struct counters *counters, enum registry_kind kind, uint64_t tenant)
{
	json_t *list = json_array();
	struct ranked *ranked;
	size_t count = 0;

	LIST_FOREACH(link, next, &counters->rows)
	count += LIST_ENTRY(link, struct row, link)->kind == kind;
	ranked = calloc(count + 1, sizeof *ranked);
	if (!ranked)
		return list;
	count = 0;
	LIST_FOREACH(link, next, &counters->rows)
	{
		const struct row *row = LIST_ENTRY(link, struct row, link);
		if (row->kind != kind || (tenant && row->tenant != tenant))
			continue;
		ranked[count].row = row;
		series_rate(&row->series, 10, &ranked[count++].rate);
	}
	qsort(ranked, count, sizeof *ranked, by_rate);
	for (size_t i = 0; i < MIN(count, (size_t)BUSIEST); ++i) {
		const struct series *series = &ranked[i].row->series;
		const char *name =
			registry_lookup_name(counters->registry, kind, ranked[i].row->id);
		json_t *item;

		if (!name)
			continue; // deleted since
		item = json_pack("{s:s, s:f, s:I}", "name", name, "consume_tps",
				 ranked[i].rate.per_s[2], "consumed",
				 (json_int_t)series_total(series, SERIES_DELIVERED));
		if (kind == REGISTRY_GROUP) {
			json_object_set_new(
				item, "acked",
				json_integer((json_int_t)series_total(series, SERIES_ACKED)));
		} else {
			json_object_set_new(item, "produce_tps",
					    json_real(ranked[i].rate.per_s[0]));
			json_object_set_new(
				item, "produced",
				json_integer((json_int_t)series_total(series, SERIES_STORED)));
		}
		if (kind == REGISTRY_TENANT)
			json_object_set_new(item, "connections",
					    json_integer((json_int_t)ranked[i].row->connections));
		json_array_append_new(list, item);
	}
	free(ranked);
	return list;
}

static json_t *quota_use(uint64_t limit, uint64_t none, double used)
{
	bool limited = limit != none;

	return json_pack("{s:o, s:f, s:o}", "limit",
			 limited ? json_integer((json_int_t)limit) : json_null(), "used", used,
			 "ratio", limited && limit ? json_real(used / (double)limit) : json_null());
}

struct owned {
	uint64_t tenant;
	uint64_t count;
};

static void count_topic(void *ctx, const struct model_object *object)
{
	const struct topic *topic = (const struct topic *)object;
	struct owned *owned = ctx;

	owned->count += topic->tenant == owned->tenant && !topic->dead_letter_of;
}

static void count_group(void *ctx, const struct model_object *object)
{
	struct owned *owned = ctx;

	owned->count += ((const struct group *)object)->tenant == owned->tenant;
}

static json_t *quota_json(struct counters *counters, uint64_t id, const struct series *series,
			  uint64_t connections, const struct tenant_limits *limits)
{
	struct owned topics = {.tenant = id}, groups = {.tenant = id};
	struct series_rate rate;

	series_rate(series, 10, &rate);
	catalog_each(counters->catalog, MODEL_TOPIC, count_topic, &topics);
	catalog_each(counters->catalog, MODEL_GROUP, count_group, &groups);
	return json_pack(
		"{s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o}", "produce_tps",
		quota_use(limits->produce_tps, MODEL_UNLIMITED, rate.per_s[0]), "produce_bps",
		quota_use(limits->produce_bps, MODEL_UNLIMITED, rate.per_s[1]), "consume_tps",
		quota_use(limits->consume_tps, MODEL_UNLIMITED, rate.per_s[2]), "consume_bps",
		quota_use(limits->consume_bps, MODEL_UNLIMITED, rate.per_s[3]), "connections",
		quota_use(limits->connections, UINT32_MAX, (double)connections), "topics",
		quota_use(limits->topics, UINT32_MAX, (double)topics.count), "groups",
		quota_use(limits->groups, UINT32_MAX, (double)groups.count), "storage_bytes",
		quota_use(limits->storage_bytes, MODEL_UNLIMITED,
			  (double)stored_of(counters->stored, id).bytes));
}

json_t *counters_of_tenant(struct counters *counters, uint64_t id,
			   const struct tenant_limits *limits)
{
	struct row *row = find_row(counters, REGISTRY_TENANT, id);
	const struct series *series = row ? &row->series : &nothing;
	uint64_t connections = row ? row->connections : 0;
	json_t *body = series_body(counters, series);

	json_object_set_new(body, "connections", json_integer((json_int_t)connections));
	json_object_set_new(body, "quota", quota_json(counters, id, series, connections, limits));
	json_object_set_new(body, "storage", stored_json(counters->stored, counters->registry, id));
	json_object_set_new(body, "topics", list_busiest(counters, REGISTRY_TOPIC, id));
	json_object_set_new(body, "groups", list_busiest(counters, REGISTRY_GROUP, id));
	return body;
}

static void add_rate(struct series_rate *sum, const struct series *series, unsigned window_s)
{
	struct series_rate rate;

	series_rate(series, window_s, &rate);
	sum->window_s = MAX(sum->window_s, rate.window_s);
	for (unsigned i = 0; i < SERIES_RATES; ++i)
		sum->per_s[i] += rate.per_s[i];
}

json_t *counters_of_platform(struct counters *counters)
{
	struct series_rate s1 = {0}, s10 = {0}, s60 = {0};
	struct series sum = {0};
	json_t *body;

	LIST_FOREACH(link, next, &counters->rows)
	{
		const struct row *row = LIST_ENTRY(link, struct row, link);
		if (row->kind != REGISTRY_TENANT)
			continue;
		for (unsigned i = 0; i < SERIES_COUNTERS; ++i)
			sum.before[i] += series_total(&row->series, i);
		add_rate(&s1, &row->series, 1);
		add_rate(&s10, &row->series, 10);
		add_rate(&s60, &row->series, 60);
	}
	body = make_body(counters, series_totals_json(&sum), rates_json(&s1, &s10, &s60));
	json_object_set_new(body, "connections", json_integer((json_int_t)counters->connections));
	json_object_set_new(body, "proxies", json_integer(counters->proxies));
	json_object_set_new(body, "tenants", list_busiest(counters, REGISTRY_TENANT, 0));
	return body;
}
