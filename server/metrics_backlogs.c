// What groups have still to do and what became of their messages, by tenant and, in detail, by
// group.
//
// Every number and age of a scrape is of one moment: the scrape runs on the portal's thread, which
// takes no newer look meanwhile, and ages count from the scrape's beginning. Groups that were not
// looked at yet are absent. Not here: looking at them (portal-api/backlogs.c).

#include "server/metrics_tables.h"

#include "core/base/util.h"
#include "server/daemon_state.h"

// Where the messages of a group are, the backlog first.
static const struct group_state {
	const char *name;
	size_t at; // in struct backlog_row
} group_states[] = {
	{"ready", offsetof(struct backlog_row, ready)},
	{"in_flight", offsetof(struct backlog_row, in_flight)},
	{"retrying", offsetof(struct backlog_row, retrying)},
	{"delayed", offsetof(struct backlog_row, delayed)},
	{"sent", offsetof(struct backlog_row, sent)},
	{"replayed", offsetof(struct backlog_row, replayed)},
	{"acked", offsetof(struct backlog_row, acked)},
	{"dead", offsetof(struct backlog_row, dead)},
	{"expired", offsetof(struct backlog_row, expired)},
	{"skipped", offsetof(struct backlog_row, skipped)},
};

#define GROUP_STATES   ARRAY_SIZE(group_states)
#define BACKLOG_STATES 4u // of them

static double state_count(const struct backlog_row *row, size_t state)
{
	return (double)*(const uint64_t *)(const void *)((const char *)row +
							 group_states[state].at);
}

struct backlog_sum {
	uint64_t tenant;
	double counts[GROUP_STATES]; // as group_states
	int64_t oldest_ms;
};

struct backlog_sums {
	struct backlog_sum *items;
	size_t count, room;
};

static struct backlog_sum *sum_of(struct backlog_sums *sums, uint64_t tenant)
{
	for (size_t i = 0; i < sums->count; ++i)
		if (sums->items[i].tenant == tenant)
			return &sums->items[i];
	if (sums->count == sums->room) {
		size_t room = MAX(2 * sums->room, (size_t)16);
		struct backlog_sum *items = realloc(sums->items, room * sizeof *items);

		if (!items)
			return NULL;
		sums->items = items;
		sums->room = room;
	}
	sums->items[sums->count] = (struct backlog_sum){.tenant = tenant};
	return &sums->items[sums->count++];
}

static void sum_add(void *ctx, const struct backlog_row *row)
{
	struct backlog_sum *sum = row->at_ms ? sum_of(ctx, row->tenant) : NULL;

	if (!sum)
		return;
	for (size_t i = 0; i < GROUP_STATES; ++i)
		sum->counts[i] += state_count(row, i);
	if (row->oldest_ms > 0 && (!sum->oldest_ms || row->oldest_ms < sum->oldest_ms))
		sum->oldest_ms = row->oldest_ms;
}

static double age_s(const struct collector *collector, int64_t since_ms)
{
	return since_ms > 0 ? MAX((double)(collector->now_ms - since_ms) / 1e3, 0.0) : 0;
}

static void each_backlog_sum(struct collector *collector,
			     void (*fn)(struct collector *collector, const char *tenant,
					const struct backlog_sum *sum))
{
	struct backlog_sums sums = {0};

	portal_each_backlog(collector->portal, sum_add, &sums);
	for (size_t i = 0; i < sums.count; ++i) {
		char *tenant = collector_name(collector->daemon->registry, REGISTRY_TENANT,
					      sums.items[i].tenant);

		if (tenant)
			fn(collector, tenant, &sums.items[i]);
		free(tenant);
	}
	free(sums.items);
}

static void put_backlog(struct collector *collector, const char *tenant,
			const struct backlog_sum *sum)
{
	for (size_t i = 0; i < BACKLOG_STATES; ++i)
		collector_put(collector, sum->counts[i],
			      (const char *const[]){tenant, group_states[i].name});
}

static void put_backlogs(struct collector *collector)
{
	each_backlog_sum(collector, put_backlog);
}

static void put_outcome(struct collector *collector, const char *tenant,
			const struct backlog_sum *sum)
{
	for (size_t i = BACKLOG_STATES; i < GROUP_STATES; ++i)
		collector_put(collector, sum->counts[i],
			      (const char *const[]){tenant, group_states[i].name});
}

static void put_outcomes(struct collector *collector)
{
	each_backlog_sum(collector, put_outcome);
}

static void put_oldest(struct collector *collector, const char *tenant,
		       const struct backlog_sum *sum)
{
	collector_put(collector, age_s(collector, sum->oldest_ms), (const char *const[]){tenant});
}

static void put_oldest_all(struct collector *collector)
{
	each_backlog_sum(collector, put_oldest);
}

// One group's row, where detail is asked for.
struct group_put {
	struct collector *collector;
	void (*put)(struct collector *collector, const char *tenant, const char *group,
		    const struct backlog_row *row);
};

static void group_put(void *ctx, const struct backlog_row *row)
{
	const struct group_put *one = ctx;
	struct registry *registry = one->collector->daemon->registry;
	char *tenant = collector_name(registry, REGISTRY_TENANT, row->tenant),
	     *group = collector_name(registry, REGISTRY_GROUP, row->group);

	if (tenant && group && row->at_ms)
		one->put(one->collector, tenant, group, row);
	free(tenant);
	free(group);
}

static void put_group_backlog(struct collector *collector, const char *tenant, const char *group,
			      const struct backlog_row *row)
{
	for (size_t i = 0; i < BACKLOG_STATES; ++i)
		collector_put(collector, state_count(row, i),
			      (const char *const[]){tenant, group, group_states[i].name});
}

static void put_group_backlogs(struct collector *collector)
{
	struct group_put one = {collector, put_group_backlog};

	portal_each_backlog(collector->portal, group_put, &one);
}

static void put_group_outcome(struct collector *collector, const char *tenant, const char *group,
			      const struct backlog_row *row)
{
	for (size_t i = BACKLOG_STATES; i < GROUP_STATES; ++i)
		collector_put(collector, state_count(row, i),
			      (const char *const[]){tenant, group, group_states[i].name});
}

static void put_group_outcomes(struct collector *collector)
{
	struct group_put one = {collector, put_group_outcome};

	portal_each_backlog(collector->portal, group_put, &one);
}

static void put_group_oldest(struct collector *collector, const char *tenant, const char *group,
			     const struct backlog_row *row)
{
	if (row->oldest_ms >= 0)
		collector_put(collector, age_s(collector, row->oldest_ms),
			      (const char *const[]){tenant, group});
}

static void put_group_oldest_all(struct collector *collector)
{
	struct group_put one = {collector, put_group_oldest};

	portal_each_backlog(collector->portal, group_put, &one);
}

static const struct metric_row rows[] = {
	{{"mqpaas_tenant_backlog_messages", METRIC_GAUGE, "messages", "tenant,state", false,
	  "not acknowledged in all its groups: ready, in_flight, retrying, delayed; looked at "
	  "every 10 s or as often as all groups can be"},
	 put_backlogs},
	{{"mqpaas_tenant_group_messages", METRIC_GAUGE, "messages", "tenant,state", false,
	  "what became of them in all its groups, each counted once a group: sent, replayed, "
	  "acked, "
	  "dead, expired, skipped; sent + replayed = backlog + acked + dead + expired + skipped"},
	 put_outcomes},
	{{"mqpaas_tenant_oldest_unacked_seconds", METRIC_GAUGE, "seconds", "tenant", false,
	  "age of the oldest message in all its groups that is neither acknowledged nor waiting "
	  "for a time"},
	 put_oldest_all},
};
const struct metric_table metrics_backlogs = {rows, ARRAY_SIZE(rows)};

static const struct metric_row detailed_rows[] = {
	{{"mqpaas_group_backlog_messages", METRIC_GAUGE, "messages", "tenant,group,state", true,
	  "not acknowledged: ready, in_flight, retrying, delayed"},
	 put_group_backlogs},
	{{"mqpaas_group_messages", METRIC_GAUGE, "messages", "tenant,group,state", true,
	  "what became of them: sent, replayed, acked, dead, expired, skipped; sent + replayed = "
	  "backlog + acked + dead + expired + skipped"},
	 put_group_outcomes},
	{{"mqpaas_group_oldest_unacked_seconds", METRIC_GAUGE, "seconds", "tenant,group", true,
	  "age of its oldest message that is neither acknowledged nor waiting for a time"},
	 put_group_oldest_all},
};
const struct metric_table metrics_backlogs_groups = {detailed_rows, ARRAY_SIZE(detailed_rows)};
