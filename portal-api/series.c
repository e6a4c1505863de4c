// Counters and rates of one object.
//
// Rates come from differences of sampled totals, never from a counter of their own, so that totals
// and rates cannot disagree. Two rings keep the history small: one second apart for the short
// windows, ten seconds apart for the long one.
//
// Invariants: a total is `before` (earlier processes) plus `live` (the current proxy), and never
// falls. A rate is over at most its window and half a second. Not here: when to sample (portal.c).

#include "portal-api/series.h"

#include "core/base/util.h"

#define SERIES_ROW(id, part, name, shown) {part, name, part "." name, shown},
static const struct {
	const char *part, *name, *flat, *shown;
} counters_of[] = {SERIES_TABLE(SERIES_ROW)};
#undef SERIES_ROW

static const enum series_counter rated[SERIES_RATES] = {
	SERIES_STORED, SERIES_STORED_BYTES, SERIES_DELIVERED, SERIES_DELIVERED_BYTES, SERIES_ACKED};
static const char *const rate_names[SERIES_RATES] = {"produce_tps", "produce_bps", "consume_tps",
						     "consume_bps", "ack_tps"};

uint64_t series_total(const struct series *series, enum series_counter counter)
{
	return series->before[counter] + series->live[counter];
}

void series_restart(struct series *series)
{
	for (unsigned i = 0; i < SERIES_COUNTERS; ++i) {
		series->before[i] += series->live[i];
		series->live[i] = 0;
	}
}

// A counter that falls without a restart of the proxy leaves the total as it is, and goes on from
// there.
void series_take(struct series *series, const json_t *counters)
{
	for (unsigned i = 0; i < SERIES_COUNTERS; ++i) {
		const json_t *part = json_object_get(counters, counters_of[i].part);
		const json_t *value = json_object_get(part, counters_of[i].name);
		uint64_t now;

		if (!json_is_integer(value) || json_integer_value(value) < 0)
			continue;
		now = (uint64_t)json_integer_value(value);
		if (now < series->live[i])
			series->before[i] += series->live[i] - now;
		series->dirty |= now != series->live[i];
		series->unwritten |= now != series->live[i];
		series->live[i] = now;
	}
}

static void push_sample(struct series_sample *ring, unsigned size, unsigned *at,
			const struct series_sample *sample, uint64_t apart_ns)
{
	if (ring[*at].at_ns && sample->at_ns - ring[*at].at_ns < apart_ns)
		return;
	*at = (*at + 1) % size;
	ring[*at] = *sample;
}

void series_sample(struct series *series, uint64_t now_ns)
{
	struct series_sample sample = {.at_ns = now_ns};

	for (unsigned i = 0; i < SERIES_RATES; ++i)
		sample.values[i] = series_total(series, rated[i]);
	// Timers come late rather than early: a little less than the distance is the distance.
	push_sample(series->fine, SERIES_FINE, &series->fine_at, &sample, S_NS - 50 * MS_NS);
	push_sample(series->coarse, SERIES_COARSE, &series->coarse_at, &sample,
		    10 * S_NS - 500 * MS_NS);
}

void series_rate(const struct series *series, unsigned window_s, struct series_rate *ret)
{
	const struct series_sample *ring = window_s <= 10 ? series->fine : series->coarse;
	unsigned size = window_s <= 10 ? SERIES_FINE : SERIES_COARSE;
	const struct series_sample *newest = &series->fine[series->fine_at], *oldest = newest;
	uint64_t most_ns = window_s * S_NS + S_NS / 2;

	*ret = (struct series_rate){0};
	for (unsigned i = 0; i < size; ++i) {
		if (ring[i].at_ns && newest->at_ns - ring[i].at_ns <= most_ns &&
		    ring[i].at_ns < oldest->at_ns)
			oldest = &ring[i];
	}
	if (oldest == newest)
		return;
	ret->window_s = (double)(newest->at_ns - oldest->at_ns) / 1e9;
	for (unsigned i = 0; i < SERIES_RATES; ++i)
		ret->per_s[i] = (double)(newest->values[i] - oldest->values[i]) / ret->window_s;
}

json_t *series_totals_json(const struct series *series)
{
	json_t *totals = json_pack("{s:{}, s:{}}", "produce", "consume");

	for (unsigned i = 0; i < SERIES_COUNTERS; ++i)
		json_object_set_new(json_object_get(totals, counters_of[i].part),
				    counters_of[i].shown,
				    json_integer((json_int_t)series_total(series, i)));
	return totals;
}

json_t *series_save(const struct series *series)
{
	json_t *saved = json_object();

	for (unsigned i = 0; i < SERIES_COUNTERS; ++i)
		json_object_set_new(saved, counters_of[i].flat,
				    json_integer((json_int_t)series_total(series, i)));
	return saved;
}

void series_load(struct series *series, const json_t *saved)
{
	for (unsigned i = 0; i < SERIES_COUNTERS; ++i) {
		json_int_t value = json_integer_value(json_object_get(saved, counters_of[i].flat));
		series->before[i] = MAX(series->before[i], value > 0 ? (uint64_t)value : 0);
	}
}

json_t *series_rate_json(const struct series_rate *rate)
{
	json_t *json = json_pack("{s:f}", "window_s", rate->window_s);

	for (unsigned i = 0; i < SERIES_RATES; ++i)
		json_object_set_new(json, rate_names[i], json_real(rate->per_s[i]));
	return json;
}
