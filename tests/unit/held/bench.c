// What the cases of a held set stand on: a set, what it has asked for, a clock, and memory that may
// be missing.

#include "tests/unit/held/bench.h"

#include "core/wire/record.h"

const struct held_limits bench_limits = {.messages_max = 512,
					 .bytes_max = 64u << 20,
					 .crowd_bytes = 64u << 10,
					 .renew_ms = 900000,
					 .ended_max = 4096,
					 .acks_max = 32};

struct bench_asked asked;

struct held *held;
struct held_time now;
uint64_t epoch;
bool bench_refuse_at_once;

// ---- memory that is not there

unsigned bench_allocations_left = UINT32_MAX;

void *__real_calloc(size_t count, size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_calloc(size_t count, size_t size)
{
	if (bench_allocations_left == 0)
		return NULL;
	--bench_allocations_left;
	return __real_calloc(count, size);
}

// ---- the set and its surroundings

static void on_deliver(void *ctx, const struct delivery *deliveries, size_t count)
{
	for (size_t i = 0; i < count; ++i)
		asked.deliveries[asked.delivered++] = deliveries[i];
}

static void on_ack(void *ctx, const uint64_t *tags, size_t count)
{
	for (size_t i = 0; i < count; ++i)
		asked.tags[asked.acked++] = tags[i];
}

static void on_barrier(void *ctx)
{
	++asked.barriers;
}

static bool on_write(void *ctx, const struct queue_copy *copy)
{
	asked.copies[asked.written++] = *copy;
	return !bench_refuse_at_once;
}

static void on_consume(void *ctx, uint32_t prefetch)
{
	asked.prefetch = prefetch;
	++asked.consumes;
}

static void on_lost(void *ctx)
{
	++asked.lost;
}

static void on_reopen(void *ctx)
{
	++asked.reopens;
}

static void on_closed(void *ctx)
{
	++asked.closed;
}

static const struct held_ops ops = {.deliver = on_deliver,
				    .ack = on_ack,
				    .barrier = on_barrier,
				    .write = on_write,
				    .consume = on_consume,
				    .lost = on_lost,
				    .reopen = on_reopen,
				    .closed = on_closed};

void bench_on_done(void *ctx, enum code code)
{
	asked.answers[asked.answered++] = (uint64_t)(uintptr_t)ctx;
	asked.code = code;
}

void bench_clear(void)
{
	memset(&asked, 0, sizeof asked);
}

void bench_run(void)
{
	bench_clear();
	held_run(held, now);
}

void bench_pass_ms(uint64_t ms)
{
	now.wall_ms += ms;
	now.steady_ms += ms;
	bench_run();
}

void bench_open_channel(void)
{
	held_opened(held, ++epoch, now);
}

void bench_begin_with(const struct held_limits *with)
{
	now = (struct held_time){1000000, 50000};
	CHECK_EQ(held_new(with, PARTITIONS, &ops, NULL, &held), 0);
	bench_open_channel();
	bench_clear();
}

void bench_begin(void)
{
	bench_begin_with(&bench_limits);
}

void bench_end(void)
{
	held_free(held);
	held = NULL;
}

void bench_demand(uint32_t messages)
{
	held_demand(held, messages, 1u << 30, 0, now);
	bench_run();
}

void bench_arrive_message(struct bench_message message)
{
	uint8_t id[RECORD_ID_SIZE] = {0}, body[BODY] = {0};
	struct record_parts parts = {.id = id,
				     .due_ms = (int64_t)message.due_ms,
				     .ttl_ms = message.ttl_ms,
				     .flags = (message.due_ms ? RECORD_DUE : 0u) |
					      (message.ttl_ms ? RECORD_TTL : 0u),
				     .body = {body, sizeof body}};
	struct queue_arrival *arrival = &message.arrival;

	le32_put(id, message.id);
	CHECK_EQ(buf_new(record_parts_size(&parts), &arrival->buf), 0);
	record_write(&parts, arrival->buf->data);
	arrival->record = arrival->buf->data;
	arrival->epoch = epoch;
	arrival->stored_ms = (int64_t)now.wall_ms;
	held_arrived(held, arrival, now);
	buf_unref(arrival->buf);
}

void bench_arrive(uint64_t tag, uint32_t id, uint32_t attempts)
{
	bench_arrive_message(
		(struct bench_message){.arrival = {.tag = tag, .attempts = attempts}, .id = id});
}

void bench_arrive_again(uint64_t tag, uint32_t id, uint32_t attempts)
{
	bench_arrive_message((struct bench_message){
		.arrival = {.tag = tag, .attempts = attempts, .given_back = true}, .id = id});
}

void bench_arrive_due(uint64_t tag, uint32_t id, uint32_t attempts, uint64_t due_ms)
{
	bench_arrive_message((struct bench_message){
		.arrival = {.tag = tag, .attempts = attempts, .due_ms = due_ms}, .id = id});
}

struct settle bench_settle_of(uint64_t offset, uint32_t attempt, enum settle_verb verb)
{
	return (struct settle){.epoch = epoch,
			       .offset = offset,
			       .count = 1,
			       .attempt = attempt,
			       .verb = (uint8_t)verb};
}

void bench_settle_run(uint64_t offset, uint32_t count, uint32_t attempt, enum settle_verb verb,
		      uintptr_t request)
{
	struct settle settle = bench_settle_of(offset, attempt, verb);

	settle.count = count;
	CHECK_EQ(
		held_settle(held, &settle, 1, request ? bench_on_done : NULL, (void *)request, now),
		0);
	CHECK_EQ(settle.code, CODE_OK);
	CHECK_EQ(settle.settled, count);
	bench_run();
}

void bench_settle(uint64_t offset, uint32_t attempt, enum settle_verb verb, uintptr_t request)
{
	bench_settle_run(offset, 1, attempt, verb, request);
}

void bench_nack(uint64_t offset, uint32_t attempt, uint32_t delay_ms, uintptr_t request)
{
	struct settle settle = bench_settle_of(offset, attempt, SETTLE_NACK);

	settle.delay_ms = delay_ms;
	CHECK_EQ(held_settle(held, &settle, 1, bench_on_done, (void *)request, now), 0);
	CHECK_EQ(settle.code, CODE_OK);
	bench_run();
}

void bench_check_stale(struct settle settle)
{
	CHECK_EQ(held_settle(held, &settle, 1, NULL, NULL, now), 0);
	CHECK_EQ(settle.code, CODE_STALE);
	CHECK_EQ(settle.settled, 0);
}

void bench_pass_barrier(void)
{
	held_passed(held, epoch);
	bench_run();
}

void bench_written(uint64_t number, enum queue_outcome outcome)
{
	held_written(held, number, outcome, now);
	bench_run();
}

void bench_lose(void)
{
	held_lost(held);
	bench_run();
}

// One message that is out: tag 1, id 1, at 0/1.
void bench_begin_with_one(void)
{
	bench_begin();
	bench_demand(100);
	bench_arrive(1, 1, 0);
	bench_run();
	CHECK_EQ(asked.delivered, 1);
	CHECK_EQ(asked.deliveries[0].offset, 1);
}

void bench_check_acks(uint64_t tag)
{
	CHECK_EQ(asked.acked, 1);
	CHECK_EQ(asked.tags[0], tag);
	CHECK_EQ(asked.barriers, 1);
}
