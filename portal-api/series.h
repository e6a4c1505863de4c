// The counters of one tenant, topic or group: totals that go on across restarts, and a short
// history.
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

//     name in C, part of the answer, name in JSON
#define SERIES_TABLE(ROW)                                                                          \
	ROW(SENT, "produce", "messages")                                                           \
	ROW(SENT_BYTES, "produce", "bytes")                                                        \
	ROW(STORED, "produce", "ok")                                                               \
	ROW(SEND_REJECTED, "produce", "rejected")                                                  \
	ROW(SEND_UNKNOWN, "produce", "unknown")                                                    \
	ROW(DROPPED, "produce", "dropped")                                                         \
	ROW(THROTTLED, "produce", "throttled")                                                     \
	ROW(DELIVERED, "consume", "messages")                                                      \
	ROW(DELIVERED_BYTES, "consume", "bytes")                                                   \
	ROW(ACKED, "consume", "acked")                                                             \
	ROW(NACKED, "consume", "nacked")                                                           \
	ROW(REJECTED, "consume", "rejected")                                                       \
	ROW(RELEASED, "consume", "released")                                                       \
	ROW(TIMEOUTS, "consume", "timeouts")                                                       \
	ROW(LOST, "consume", "lost")                                                               \
	ROW(DEAD, "consume", "dead")

#define SERIES_ENUM(id, part, name) SERIES_##id,
enum series_counter { SERIES_TABLE(SERIES_ENUM) SERIES_COUNTERS };
#undef SERIES_ENUM

enum { SERIES_FINE = 12, SERIES_COARSE = 8, SERIES_RATES = 5 };

struct series_sample {
	uint64_t at_ns; // 0: none
	uint64_t values[SERIES_RATES];
};

struct series {
	uint64_t before[SERIES_COUNTERS];           // of earlier lives of the proxy
	uint64_t live[SERIES_COUNTERS];             // of the present one
	struct series_sample fine[SERIES_FINE];     // a ring, a second apart
	struct series_sample coarse[SERIES_COARSE]; // a ring, ten seconds apart
	unsigned fine_at, coarse_at;
	bool dirty; // changed since it was saved
};

struct series_rate {
	double window_s;
	double per_s[SERIES_RATES]; // stored, sent bytes, delivered, delivered bytes, acked
};

uint64_t series_total(const struct series *series, enum series_counter counter);

// The proxy began a new life: its counters start again at nothing.
void series_restart(struct series *series);

// Reads {produce: {…}, consume: {…}}. A total never goes back: what a counter of the same life has
// lost (a part of it was deleted) stays counted.
void series_take(struct series *series, const json_t *counters);
void series_sample(struct series *series,
		   uint64_t now_ns); // rings keep their distance by themselves

// Over the longest stretch of samples not longer than the window.
void series_rate(const struct series *series, unsigned window_s, struct series_rate *ret);

json_t *series_totals_json(const struct series *series); // {produce: {…}, consume: {…}}
json_t *series_save(const struct series *series);        // flat: {"produce.messages": …, …}
void series_load(struct series *series, const json_t *saved);
json_t *series_rate_json(const struct series_rate *rate);
