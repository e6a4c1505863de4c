// Rounds of a few batches in flight at once, so that they share a commit, then of settles: acks and
// long nacks, some waited for and some not, and what an administrator does beside it. Halfway the
// store is closed and opened in order; now and then a commit fails in its last write, and it is
// opened again.

#include "tests/crash/workload.h"

#include "core/base/clock.h"
#include "core/wire/record.h"
#include "tests/crash/admin.h"
#include "tests/crash/durable.h"
#include "tests/crash/recorder.h"

#include <pthread.h>

#define PARTITIONS   2u
#define IN_FLIGHT    6u
#define BATCH_MAX    20u
#define BODY_MAX     3000u
#define SHORT_NACK   50000u   // waits in the window
#define LONG_NACK    3600000u // waits in the retry store
#define DEMAND_BYTES (64u << 20)

static uint64_t random_state;

static uint64_t random_below(uint64_t limit)
{
	random_state ^= random_state << 13;
	random_state ^= random_state >> 7;
	random_state ^= random_state << 17;
	return random_state % limit;
}

uint32_t workload_body_size(uint32_t number)
{
	return 4 + number * 2654435761u % (number % 7 ? 100 : BODY_MAX);
}

void workload_body(uint32_t number, uint8_t *room)
{
	for (uint32_t i = 0, size = workload_body_size(number); i < size; ++i)
		room[i] = (uint8_t)(number * 31 + i * 7 + (i >> 8));
}

// ---- sending

struct batch {
	struct submit submit;
	struct submit_record records[BATCH_MAX];
	struct submit_run runs[BATCH_MAX];
	uint32_t number; // of the first
	size_t done;     // when; atomic
};

static size_t early_acks; // atomic

// On the thread that commits: nothing else is being written.
static void on_sent(struct submit *submit)
{
	struct batch *batch = CONTAINER_OF(submit, struct batch, submit);

	if (batch->runs[0].outcome == OUTCOME_OK && batch->runs[0].durability == DURABILITY_D2 &&
	    !recorder_is_durable(RECORDER_D2))
		__atomic_add_fetch(&early_acks, 1, __ATOMIC_RELAXED);
	__atomic_store_n(&batch->done, recorder_now(), __ATOMIC_RELEASE);
}

static void batch_fill(struct batch *batch, uint32_t number, uint32_t count)
{
	uint8_t body[4 + BODY_MAX], id[RECORD_ID_SIZE] = {0};
	size_t at = 0;

	CHECK_EQ(buf_new(count * (RECORD_HEAD_SIZE + sizeof body), &batch->submit.buf), 0);
	for (uint32_t i = 0; i < count; ++i) {
		struct record_parts parts = {.id = id, .created_ms = clock_wall_ms()};
		uint8_t *record = batch->submit.buf->data + at;

		le32_put(id, number + i);
		workload_body(number + i, body);
		parts.body = (struct slice){body, workload_body_size(number + i)};
		record_write(&parts, record);
		batch->records[i] =
			(struct submit_record){record, record_size(record), i % PARTITIONS};
		at += record_size(record);
	}
	batch->number = number;
	batch->done = NEVER;
	batch->submit.records = batch->records;
	batch->submit.runs = batch->runs;
	batch->submit.count = count;
	batch->submit.done = on_sent;
}

static void facts_add(struct workload *workload, uint32_t count, bool d1)
{
	workload->facts =
		realloc(workload->facts, (workload->count + count) * sizeof *workload->facts);
	CHECK(workload->facts);
	for (uint32_t i = 0; i < count; ++i)
		workload->facts[workload->count++] = (struct fact){.d1 = d1,
								   .sent = recorder_now(),
								   .sent_ok = NEVER,
								   .acked = NEVER,
								   .acked_ok = NEVER,
								   .delayed = NEVER,
								   .delayed_ok = NEVER};
}

static void batch_end(struct workload *workload, const struct batch *batch)
{
	uint32_t at = 0;

	for (uint32_t i = 0; i < batch->submit.run_count; ++i) {
		const struct submit_run *run = &batch->runs[i];

		CHECK_EQ(run->outcome, OUTCOME_OK);
		for (uint32_t k = 0; k < run->count; ++k, ++at) {
			struct fact *fact = &workload->facts[batch->number + at];

			fact->sent_ok = batch->done;
			fact->partition = run->partition;
			fact->offset = run->offset + k;
		}
	}
	CHECK_EQ(at, batch->submit.count);
}

// One batch whose commit fails where it is not known what the disk has; the store is opened again.
static void send_in_doubt(struct workload *workload, struct bench *bench)
{
	struct batch *batch = calloc(1, sizeof *batch);

	batch_fill(batch, workload->count, BATCH_MAX);
	facts_add(workload, BATCH_MAX, false);
	batch->submit.topic = bench->ops->topic_open(bench->adapter, workload->topic);
	recorder_fail_next();
	bench->ops->submit(bench->adapter, &batch->submit);
	while (__atomic_load_n(&batch->done, __ATOMIC_ACQUIRE) == NEVER)
		usleep(20);
	if (batch->runs[0].outcome == OUTCOME_OK) // planted: it has no such write
		batch_end(workload, batch);
	else
		++workload->doubts;
	bench->ops->topic_close(batch->submit.topic);
	buf_unref(batch->submit.buf);
	free(batch);
	bench_reopen(bench);
}

static void send_some(struct workload *workload, struct bench *bench)
{
	static struct batch batches[IN_FLIGHT];
	uint32_t count = 1 + (uint32_t)random_below(IN_FLIGHT);

	for (uint32_t i = 0; i < count; ++i) {
		bool d1 = random_below(5) == 0;
		uint32_t messages = 1 + (uint32_t)random_below(BATCH_MAX);

		batches[i] = (struct batch){0};
		batch_fill(&batches[i], workload->count, messages);
		facts_add(workload, messages, d1);
		batches[i].submit.topic = bench->ops->topic_open(
			bench->adapter, d1 ? workload->d1_topic : workload->topic);
		bench->ops->submit(bench->adapter, &batches[i].submit);
	}
	for (uint32_t i = 0; i < count; ++i) {
		while (__atomic_load_n(&batches[i].done, __ATOMIC_ACQUIRE) == NEVER)
			usleep(20);
		batch_end(workload, &batches[i]);
		bench->ops->topic_close(batches[i].submit.topic);
		buf_unref(batches[i].submit.buf);
	}
}

// ---- settling

static void settle_some(struct workload *workload, struct reader *reader)
{
	enum { MOST = 64 };
	struct settle settles[MOST];
	struct got got[MOST];
	bool wait = random_below(3) != 0;
	size_t came, count = 0, begun, ended;

	reader_demand(reader, (uint32_t)random_below(MOST) + 1, DEMAND_BYTES);
	came = reader_take(reader, got, MOST, 5);
	begun = recorder_now();
	for (size_t i = 0; i < came; ++i) {
		struct fact *fact = &workload->facts[got[i].number];
		uint64_t what = random_below(8);

		if (what == 0)
			continue; // held until the end
		if (what == 1) {
			uint32_t delay_ms = random_below(2) ? SHORT_NACK : LONG_NACK;

			fact->delayed = begun;
			fact->due_ms = clock_wall_ms() + delay_ms;
			settles[count++] = reader_receipt(&got[i], SETTLE_NACK, delay_ms);
		} else {
			fact->acked = begun;
			settles[count++] = reader_receipt(&got[i], SETTLE_ACK, 0);
		}
	}
	if (!wait) {
		reader_settle_soon(reader, settles, count);
	} else if (count) {
		durable_ask();
		CHECK_EQ(reader_settle(reader, settles, count), CODE_OK);
	}
	ended = recorder_now();
	for (size_t i = 0; i < came && wait; ++i) {
		struct fact *fact = &workload->facts[got[i].number];

		if (fact->acked == begun)
			fact->acked_ok = ended;
		if (fact->delayed == begun)
			fact->delayed_ok = ended;
	}
	reader_drop(got, came);
}

void workload_run(struct workload *workload, const char *dir, uint32_t rounds, uint64_t seed)
{
	struct bench bench;
	struct reader *reader;

	*workload = (struct workload){0};
	random_state = seed * 0x9e3779b97f4a7c15ull + 1;
	recorder_start(dir);
	bench_open(&bench, "embedded", DURABILITY_D2, dir, "");
	workload->topic = bench_topic(&bench, &(struct topic_wish){.partitions = PARTITIONS});
	workload->d1_topic = bench_topic(&bench, &(struct topic_wish){.partitions = PARTITIONS,
								      .durability = DURABILITY_D1});
	workload->group = bench_group(&bench, workload->topic, GROUP_START_EARLIEST, 0);
	workload->begin = recorder_now();
	reader = reader_open(&bench, workload->topic, workload->group);
	for (uint32_t round = 0; round < rounds; ++round) {
		send_some(workload, &bench);
		settle_some(workload, reader);
		if (round % 10 == 6)
			admin_round(&bench, round % 20 == 6 ? DURABILITY_D2 : DURABILITY_D1);
		if (round == rounds / 2 || round % 10 == 3) {
			reader_close(reader);
			if (round == rounds / 2)
				bench_reopen(&bench);
			else
				send_in_doubt(workload, &bench);
			reader = reader_open(&bench, workload->topic, workload->group);
		}
	}
	reader_close(reader);
	bench_leave(&bench);
	recorder_stop();
	workload->ended_ms = clock_wall_ms();
}

void workload_free(struct workload *workload)
{
	model_unref(workload->group);
	model_unref(workload->topic);
	model_unref(workload->d1_topic);
	free(workload->facts);
}

// ---- transactions of more bytes than a commit takes at once

#define BULK_ROUNDS  2u
#define BULK_BATCHES 6u
#define BULK_RECORDS 4u
#define BULK_BODY    (1u << 20)

static void bulk_fill(struct batch *batch, const uint8_t *body)
{
	uint8_t id[RECORD_ID_SIZE] = {0};
	size_t at = 0;

	CHECK_EQ(buf_new(BULK_RECORDS * (RECORD_HEAD_SIZE + BULK_BODY + 100), &batch->submit.buf),
		 0);
	for (uint32_t i = 0; i < BULK_RECORDS; ++i) {
		struct record_parts parts = {
			.id = id, .created_ms = clock_wall_ms(), .body = {body, BULK_BODY}};
		uint8_t *record = batch->submit.buf->data + at;

		record_write(&parts, record);
		batch->records[i] = (struct submit_record){record, record_size(record), 0};
		at += record_size(record);
	}
	batch->done = NEVER;
	batch->submit.records = batch->records;
	batch->submit.runs = batch->runs;
	batch->submit.count = BULK_RECORDS;
	batch->submit.done = on_sent;
}

static size_t bulk_round(struct bench *bench, struct adapter_topic *topic, const uint8_t *body)
{
	struct batch *batches = calloc(BULK_BATCHES, sizeof *batches);
	size_t oks = 0;

	for (uint32_t i = 0; i < BULK_BATCHES; ++i) {
		bulk_fill(&batches[i], body);
		batches[i].submit.topic = topic;
	}
	for (uint32_t i = 0; i < BULK_BATCHES; ++i)
		bench->ops->submit(bench->adapter, &batches[i].submit);
	for (uint32_t i = 0; i < BULK_BATCHES; ++i) {
		while (__atomic_load_n(&batches[i].done, __ATOMIC_ACQUIRE) == NEVER)
			usleep(100);
		oks += batches[i].runs[0].outcome == OUTCOME_OK;
		buf_unref(batches[i].submit.buf);
	}
	free(batches);
	return oks;
}

size_t workload_bulk(const char *dir)
{
	struct topic_wish wish = {.durability = DURABILITY_D2};
	uint8_t *body = calloc(1, BULK_BODY);
	const struct topic *topic;
	struct adapter_topic *open;
	struct bench bench;
	size_t oks = 0;

	recorder_start(dir);
	bench_open(&bench, "embedded", DURABILITY_D2, dir, "");
	topic = bench_topic(&bench, &wish);
	open = bench.ops->topic_open(bench.adapter, topic);
	for (uint32_t i = 0; i < BULK_ROUNDS; ++i)
		oks += bulk_round(&bench, open, body);
	CHECK_EQ(oks, BULK_ROUNDS * BULK_BATCHES);
	bench.ops->topic_close(open);
	model_unref(topic);
	bench_leave(&bench);
	recorder_stop();
	free(body);
	return oks;
}

size_t workload_early_acks(void)
{
	return __atomic_load_n(&early_acks, __ATOMIC_RELAXED) + durable_early();
}
