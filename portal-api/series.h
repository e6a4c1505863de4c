// The counters of one tenant, topic or group: totals that go on across restarts, and a short
// history.
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

//     name in C, part of the answer, name in the proxy's answer and on disk, name in REST
#define SERIES_TABLE(ROW)                                                                          \
	ROW(SENT, "produce", "messages", "offered")                                                \
	ROW(SENT_BYTES, "produce", "bytes", "offered_bytes")                                       \
	ROW(STORED, "produce", "ok", "stored")                                                     \
	ROW(STORED_BYTES, "produce", "stored_bytes", "stored_bytes")                               \
	ROW(SEND_REJECTED, "produce", "rejected", "rejected")                                      \
	ROW(SEND_UNKNOWN, "produce", "unknown", "unknown")                                         \
	ROW(DROPPED, "produce", "dropped", "dropped")                                              \
	ROW(THROTTLED, "produce", "throttled", "throttled")                                        \
	ROW(DELIVERED, "consume", "messages", "messages")                                          \
	ROW(DELIVERED_BYTES, "consume", "bytes", "bytes")                                          \
	ROW(ACKED, "consume", "acked", "acked")                                                    \
	ROW(NACKED, "consume", "nacked", "nacked")                                                 \
	ROW(REJECTED, "consume", "rejected", "rejected")                                           \
	ROW(RELEASED, "consume", "released", "released")                                           \
	ROW(TIMEOUTS, "consume", "timeouts", "timeouts")                                           \
	ROW(LOST, "consume", "lost", "lost")                                                       \
	ROW(DEAD, "consume", "dead", "dead")

#define SERIES_ENUM(id, part, name, shown) SERIES_##id,
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
	bool dirty;     // changed since it was saved
	bool unwritten; // has changed since it was written to the journal
};

struct series_rate {
	double window_s;
	double per_s[SERIES_RATES]; // stored, stored bytes, delivered, delivered bytes, acked
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

json_t *series_totals_json(const struct series *series);      // {produce: {…}, consume: {…}}
json_t *series_save(const struct series *series);             // flat: {"produce.messages": …, …}
void series_load(struct series *series, const json_t *saved); // a total never goes back
json_t *series_rate_json(const struct series_rate *rate);
