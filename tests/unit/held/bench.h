// What the cases of a held set stand on: a set, what it has asked for, and short ways to call it.
// Each case begins and ends one.
#pragma once

#include "adapters/queue/held_state.h"
#include "tests/unit/unit.h"

enum { BODY = 60, PARTITIONS = 2 };

// What the set has asked for, since it was last cleared.
extern struct bench_asked {
	struct delivery deliveries[600];
	uint64_t tags[600], answers[600];
	struct queue_copy copies[64];
	size_t delivered, acked, barriers, written, answered;
	uint32_t prefetch, consumes, lost, reopens, closed;
	enum code code;
} asked;

extern struct held *held;
extern struct held_time now;
extern uint64_t epoch;
extern bool bench_refuse_at_once; // writes
extern const struct held_limits bench_limits;
extern unsigned bench_allocations_left; // of calloc()

// What a message is, beside its id: all else of an arrival may be changed before it arrives.
struct bench_message {
	struct queue_arrival arrival;
	uint64_t due_ms; // in the record
	uint32_t ttl_ms;
	uint32_t id;
};

void bench_clear(void);
void bench_run(void);
void bench_pass_ms(uint64_t ms);
void bench_open_channel(void);
void bench_begin_with(const struct held_limits *with);
void bench_begin(void);
void bench_end(void);
void bench_demand(uint32_t messages);
void bench_arrive_message(struct bench_message message);
void bench_arrive(uint64_t tag, uint32_t id, uint32_t attempts);
void bench_arrive_again(uint64_t tag, uint32_t id, uint32_t attempts);
void bench_arrive_due(uint64_t tag, uint32_t id, uint32_t attempts, uint64_t due_ms);
struct settle bench_settle_of(uint64_t offset, uint32_t attempt, enum settle_verb verb);
void bench_settle_run(uint64_t offset, uint32_t count, uint32_t attempt, enum settle_verb verb,
		      uintptr_t request);
void bench_settle(uint64_t offset, uint32_t attempt, enum settle_verb verb, uintptr_t request);
void bench_nack(uint64_t offset, uint32_t attempt, uint32_t delay_ms, uintptr_t request);
void bench_check_stale(struct settle settle);
void bench_pass_barrier(void);
void bench_written(uint64_t number, enum queue_outcome outcome);
void bench_lose(void);
void bench_begin_with_one(void);
void bench_check_acks(uint64_t tag);
void bench_on_done(void *ctx, enum code code);
