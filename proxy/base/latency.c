// The bounds of latency histograms. They are fixed, so that histograms of workers and proxies add
// up.

#include "proxy/base/latency.h"

#include "core/base/util.h"

static const char *const names[LATENCY_KINDS] = {"send", "deliver", "settle"};

void latency_add(struct latency *latency, uint64_t ns, uint64_t messages)
{
	uint64_t us = ns / 1000;
	size_t bucket = 0;

	while (bucket < LATENCY_BOUNDS && us > latency_bounds_us[bucket])
		++bucket;
	latency->counts[bucket] += messages;
	latency->sum_us += us * messages;
}

static void add_to(json_t *list, size_t index, uint64_t more)
{
	json_t *before = json_array_get(list, index);

	if (before)
		json_integer_set(before, json_integer_value(before) + (json_int_t)more);
	else
		json_array_append_new(list, json_integer((json_int_t)more));
}

void latency_collect(json_t *answer, const struct latency latencies[LATENCY_KINDS])
{
	json_t *all = json_object_get(answer, "latency");

	if (!all) {
		json_object_set_new(answer, "latency", json_object());
		all = json_object_get(answer, "latency");
	}
	for (size_t kind = 0; kind < LATENCY_KINDS; ++kind) {
		json_t *one = json_object_get(all, names[kind]), *sum;

		if (!one) {
			json_object_set_new(all, names[kind],
					    json_pack("{s:[], s:i}", "counts", "sum_us", 0));
			one = json_object_get(all, names[kind]);
		}
		sum = json_object_get(one, "sum_us");
		json_integer_set(sum, json_integer_value(sum) + (json_int_t)latencies[kind].sum_us);
		for (size_t i = 0; i <= LATENCY_BOUNDS; ++i)
			add_to(json_object_get(one, "counts"), i, latencies[kind].counts[i]);
	}
}
