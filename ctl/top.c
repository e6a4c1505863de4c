// Shows clusters and backlogs, the oldest first, again and again.
//
// Each round makes two calls: for the clusters, and for all backlogs at once. A caller that may not
// see the platform sees the tenant of the context. It computes no rates; values are those of the
// portal's last look.

#include "ctl/top.h"

#include "core/base/clock.h"
#include "core/base/util.h"
#include "ctl/output.h"
#include "ctl/rest.h"

#include <stdio.h>

#define INTERVAL_MS 2000
#define ROWS        30u
#define CLUSTERS                                                                                   \
	"name,kind,status.state,status.circuit,status.latency_us,status.probe.state,"              \
	"status.probe.receive_us,status.error"
#define GROUPS "tenant,group,backlog,ready,in_flight,retrying,delayed,oldest"
#define TO_TOP "\033[H\033[2J" // and an empty screen

const struct option top_options[] = {
	{"interval", "interval", VALUE_DURATION, "between two looks (default 2s)"},
	{"rounds", "rounds", VALUE_COUNT, "how often (default: until it is interrupted)"},
	{NULL, NULL, 0, NULL},
};

// Takes the body of a call that went well. 0, with *ret NULL where it may not be seen; else a
// status to end with.
static int get_body(const struct ctl *ctl, const char *path, json_t **ret)
{
	struct rest_answer answer;
	int r = rest_call(&ctl->context, "GET", path, NULL, NULL, &answer);

	*ret = NULL;
	if (r)
		return r;
	if (answer.status == 200)
		*ret = json_incref(answer.body);
	else if (answer.status != 403 && answer.status != 404)
		r = rest_fail(&answer);
	rest_answer_deinit(&answer);
	return r;
}

static int ask_backlogs(const struct ctl *ctl, json_t **ret)
{
	_cleanup_(freep) char *tenant = NULL, *path = NULL;
	int r = get_body(ctl, "/api/v1/backlogs", ret);

	if (r || *ret)
		return r;
	tenant = ctl->context.tenant ? rest_escape(ctl->context.tenant) : NULL;
	if (!tenant)
		return ctl_fail(CTL_USAGE, "name a --tenant: the token does not see the platform");
	if (asprintf(&path, "/api/v1/tenants/%s/backlogs", tenant) < 0)
		return ctl_fail(CTL_FAILED, "out of memory");
	r = get_body(ctl, path, ret);
	return r || *ret ? r : ctl_fail(CTL_MISSING, "no such tenant, or it may not be seen");
}

// ---- the order of the rows

static double number_of(const json_t *row, const char *name)
{
	return json_number_value(json_object_get(row, name));
}

// The oldest message first, then the largest backlog.
static int row_compare(const void *left, const void *right)
{
	const json_t *a = *(const json_t *const *)left, *b = *(const json_t *const *)right;
	double a_ms = number_of(a, "oldest_ms"), b_ms = number_of(b, "oldest_ms");

	if ((a_ms > 0) != (b_ms > 0))
		return a_ms > 0 ? -1 : 1;
	if (a_ms != b_ms)
		return a_ms < b_ms ? -1 : 1;
	return number_of(a, "backlog") > number_of(b, "backlog")   ? -1
	       : number_of(a, "backlog") < number_of(b, "backlog") ? 1
								   : 0;
}

static json_t *age_json(const json_t *row)
{
	double since_ms = number_of(row, "oldest_ms");
	char text[32];
	long long age_s;

	if (since_ms <= 0)
		return json_null();
	age_s = MAX((long long)(((double)clock_wall_ms() - since_ms) / 1000), 0);
	if (age_s < 120)
		snprintf(text, sizeof text, "%llds", age_s);
	else if (age_s < 7200)
		snprintf(text, sizeof text, "%lldm", age_s / 60);
	else
		snprintf(text, sizeof text, "%lldh", age_s / 3600);
	return json_string(text);
}

static json_t *rows_sorted(const json_t *backlogs)
{
	const json_t *items = json_object_get(backlogs, "items");
	size_t count = json_array_size(items);
	json_t **rows = calloc(count + 1, sizeof *rows), *sorted = json_array();

	for (size_t i = 0; rows && i < count; ++i)
		rows[i] = json_array_get(items, i);
	if (rows)
		qsort(rows, count, sizeof *rows, row_compare);
	for (size_t i = 0; rows && i < MIN(count, (size_t)ROWS); ++i) {
		json_object_set_new(rows[i], "oldest", age_json(rows[i]));
		json_array_append(sorted, rows[i]);
	}
	free(rows);
	return json_pack("{s:o}", "items", sorted);
}

// ---- rounds

static void print_screen(const struct ctl *ctl, const json_t *clusters, const json_t *backlogs)
{
	json_t *groups = rows_sorted(backlogs);

	if (ctl->format != OUTPUT_TABLE) {
		json_t *all =
			json_pack("{s:O?, s:O}", "clusters", json_object_get(clusters, "items"),
				  "groups", json_object_get(groups, "items"));

		output_print(all, ctl->format, NULL);
		json_decref(all);
	} else {
		if (isatty(STDOUT_FILENO))
			fputs(TO_TOP, stdout);
		if (clusters) {
			output_print(clusters, OUTPUT_TABLE, CLUSTERS);
			putchar('\n');
		}
		output_print(groups, OUTPUT_TABLE, GROUPS);
	}
	fflush(stdout);
	json_decref(groups);
}

static int round_run(const struct ctl *ctl)
{
	json_t *clusters = NULL, *backlogs = NULL;
	int r = get_body(ctl, "/api/v1/clusters?limit=100", &clusters);

	if (!r)
		r = ask_backlogs(ctl, &backlogs);
	if (!r)
		print_screen(ctl, clusters, backlogs);
	json_decref(clusters);
	json_decref(backlogs);
	return r;
}

int top_run(const struct ctl *ctl, const json_t *options)
{
	const json_t *interval = json_object_get(options, "interval"),
		     *rounds = json_object_get(options, "rounds");
	json_int_t interval_ms = interval ? json_integer_value(interval) : INTERVAL_MS,
		   left = rounds ? json_integer_value(rounds) : -1;

	for (;;) {
		int r = round_run(ctl);

		if (r || (left > 0 && --left == 0))
			return r;
		usleep((useconds_t)MAX(interval_ms, 100) * 1000);
	}
}
