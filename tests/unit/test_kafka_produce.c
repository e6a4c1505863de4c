// adapters/kafka: produce/, retry/retry_write, client/health, in front of librdkafka's own mock of
// a cluster: how batches are answered when all is well and when it is not.
//
// The mock knows neither admin calls nor groups; what needs those is in tests/contract. An adapter
// that closes waits seconds for the answers that it does not get from it: meanwhile the next case
// runs.

#include "adapters/kafka/client/health.h"
#include "adapters/kafka/client/kafka_adapter.h"
#include "adapters/kafka/produce/sender.h"
#include "adapters/kafka/retry/retry_rows.h"
#include "adapters/kafka/retry/retry_store.h"
#include "adapters/kafka/retry/retry_write.h"
#include "adapters/kafka/topic/limits.h"
#include "adapters/kafka/topic/topic.h"
#include "core/base/clock.h"
#include "core/loop/ticker.h"
#include "core/wire/record.h"
#include "tests/unit/unit.h"

#include <librdkafka/rdkafka_mock.h>

#define TOPIC      "produced"
#define PARTITIONS 3
#define WAIT_MS    60000 // longer than a slow machine needs

extern const struct adapter_ops kafka_ops;

struct lab {
	rd_kafka_t *owner; // of the mock
	rd_kafka_mock_cluster_t *mock;
	struct adapter *adapter;
	const struct topic *model;
	struct adapter_topic *topic;
	const struct group *group; // with a retry store; NULL for none
};

static struct log_ctx *quiet(void)
{
	return NULL;
}

static void lab_open(struct lab *lab, bool native, const char *more_options)
{
	char text[256], options[256], *error = NULL;
	struct cluster cluster = {.name = "mock", .kind = "kafka", .options_json = options};
	struct adapter_env env = {.data_dir = "/nonexistent", .log = quiet()};
	struct topic draft = {.object.id = 1,
			      .name = TOPIC,
			      .physical = TOPIC,
			      .incarnation = 1,
			      .partitions = PARTITIONS,
			      .durability = DURABILITY_D1,
			      .native = native};

	lab->group = NULL;
	lab->owner = rd_kafka_new(RD_KAFKA_PRODUCER, rd_kafka_conf_new(), text, sizeof text);
	CHECK(lab->owner);
	lab->mock = rd_kafka_mock_cluster_new(lab->owner, 1);
	CHECK(lab->mock);
	CHECK(!rd_kafka_mock_topic_create(lab->mock, TOPIC, PARTITIONS, 1));
	snprintf(options, sizeof options, "{\"bootstrap\": \"%s\"%s}",
		 rd_kafka_mock_cluster_bootstraps(lab->mock), more_options);
	CHECK_EQ(kafka_ops.open(&cluster, &env, &lab->adapter, &error), 0);
	lab->model = model_new(MODEL_TOPIC, &draft);
	lab->topic = kafka_ops.topic_open(lab->adapter, lab->model);
	CHECK(lab->topic);
}

struct latch {
	pthread_mutex_t lock;
	pthread_cond_t changed;
	bool done;
};

static void latch_open(void *ctx)
{
	struct latch *latch = ctx;

	pthread_mutex_lock(&latch->lock);
	latch->done = true;
	pthread_cond_signal(&latch->changed);
	pthread_mutex_unlock(&latch->lock);
}

static bool latch_wait(struct latch *latch, unsigned wait_ms)
{
	struct timespec until;
	int r = 0;

	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_sec += wait_ms / 1000;
	until.tv_nsec += wait_ms % 1000 * 1000000;
	until.tv_sec += until.tv_nsec / 1000000000;
	until.tv_nsec %= 1000000000;
	pthread_mutex_lock(&latch->lock);
	while (!latch->done && r == 0)
		r = pthread_cond_timedwait(&latch->changed, &latch->lock, &until);
	pthread_mutex_unlock(&latch->lock);
	return latch->done;
}

static struct closing {
	struct closing *next;
	struct lab lab;
	struct latch latch;
} *closing;

// Begins it; the case need not wait for the end.
static void lab_close(struct lab *lab)
{
	struct closing *one = calloc(1, sizeof *one);

	CHECK(one);
	*one = (struct closing){
		.next = closing,
		.lab = *lab,
		.latch = {PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, false}};
	closing = one;
	if (lab->topic)
		kafka_ops.topic_close(lab->topic);
	kafka_ops.close(lab->adapter, latch_open, &one->latch);
}

static void every_lab_closes(void)
{
	for (struct closing *one; (one = closing);) {
		closing = one->next;
		CHECK(latch_wait(&one->latch, 60000));
		model_unref(one->lab.model);
		model_unref(one->lab.group);
		rd_kafka_mock_cluster_destroy(one->lab.mock);
		rd_kafka_destroy(one->lab.owner);
		free(one);
	}
}

// ---- batches

#define BATCH_MAX 4096

struct batch_sent {
	struct submit submit; // first
	struct submit_record records[BATCH_MAX];
	struct submit_run runs[BATCH_MAX];
	uint64_t ends[PARTITIONS]; // of the partitions when it was answered
	bool closes;               // the topic, when it has been answered
	struct latch latch;
};

static void on_done(struct submit *submit)
{
	struct batch_sent *batch = CONTAINER_OF(submit, struct batch_sent, submit);
	uint64_t first;

	for (uint32_t i = 0; i < PARTITIONS; ++i)
		kafka_topic_bounds(submit->topic, i, &first, &batch->ends[i]);
	if (batch->closes)
		kafka_ops.topic_close(submit->topic);
	latch_open(&batch->latch);
}

// `count` records of `size` bytes, in turn to the partitions of the list ("012").
static struct batch_sent *send_some(struct lab *lab, uint32_t count, size_t size,
				    const char *partitions)
{
	struct batch_sent *batch = calloc(1, sizeof *batch);
	uint8_t *body = calloc(1, size + 1);
	struct record_parts parts = {.id = (const uint8_t *)"0123456789abcdef",
				     .created_ms = clock_wall_ms(),
				     .body = {body, size}};
	uint32_t record_bytes = (uint32_t)record_parts_size(&parts);
	struct buf *buf;

	CHECK(batch && body && count <= BATCH_MAX);
	CHECK_EQ(buf_new((size_t)record_bytes * count, &buf), 0);
	for (uint32_t i = 0; i < count; ++i) {
		uint8_t *room = buf->data + (size_t)i * record_bytes;

		record_write(&parts, room);
		batch->records[i] = (struct submit_record){
			room, record_bytes, (uint32_t)(partitions[i % strlen(partitions)] - '0')};
	}
	batch->latch = (struct latch){PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, false};
	batch->submit = (struct submit){.topic = lab->topic,
					.buf = buf,
					.records = batch->records,
					.count = count,
					.runs = batch->runs,
					.done = on_done,
					.submitted_ns = clock_now_ns()};
	free(body);
	kafka_ops.submit(lab->adapter, &batch->submit);
	buf_unref(buf);
	return batch;
}

static void answered(struct batch_sent *batch, unsigned wait_ms)
{
	uint32_t count = 0;

	CHECK(latch_wait(&batch->latch, wait_ms));
	for (uint32_t i = 0; i < batch->submit.run_count; ++i)
		count += batch->runs[i].count;
	CHECK_EQ(count, batch->submit.count);
}

static void expect_all(struct batch_sent *batch, enum outcome outcome, enum code code)
{
	answered(batch, WAIT_MS);
	for (uint32_t i = 0; i < batch->submit.run_count; ++i) {
		CHECK_EQ(batch->runs[i].code, code);
		CHECK_EQ(batch->runs[i].outcome, outcome);
	}
	free(batch);
}

static void expect_ok(struct lab *lab)
{
	expect_all(send_some(lab, 4, 100, "0"), OUTCOME_OK, CODE_OK);
}

// Until then it is refused.
static void wait_ok(struct lab *lab)
{
	for (unsigned i = 0; i < WAIT_MS / 10; ++i) {
		struct batch_sent *batch = send_some(lab, 1, 100, "0");
		bool ok;

		answered(batch, WAIT_MS);
		ok = batch->runs[0].outcome == OUTCOME_OK;
		CHECK(ok || batch->runs[0].outcome == OUTCOME_REJECTED);
		free(batch);
		if (ok)
			return;
		usleep(10000);
	}
	CHECK(!"it became OK");
}

// ---- cases

static void runs_are_in_the_order_of_the_batch(bool native)
{
	struct lab lab;
	struct batch_sent *batch;
	uint64_t next[PARTITIONS] = {0};

	lab_open(&lab, native, "");
	for (unsigned round = 0; round < 3; ++round) {
		uint32_t at = 0;

		batch = send_some(&lab, 1000, 10, round == 0 ? "0011120" : "2");
		answered(batch, WAIT_MS);
		for (uint32_t i = 0; i < batch->submit.run_count; ++i) {
			struct submit_run *run = &batch->runs[i];

			CHECK_EQ(run->outcome, OUTCOME_OK);
			CHECK_EQ(run->durability, DURABILITY_D1);
			CHECK_EQ(run->offset, next[run->partition]);
			next[run->partition] += run->count;
			for (uint32_t k = 0; k < run->count; ++k)
				CHECK_EQ(batch->records[at++].partition, run->partition);
		}
		for (uint32_t i = 0; i < PARTITIONS; ++i)
			CHECK(batch->ends[i] >= next[i]); // before the answer
		if (round)
			CHECK_EQ(batch->submit.run_count, 1);
		free(batch);
	}
	lab_close(&lab);
}

static void errors_of_the_broker_are_told_apart(void)
{
	static const struct {
		rd_kafka_resp_err_t error;
		enum code code;
	} rows[] = {
		{RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE, CODE_TOO_LARGE},
		{RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED, CODE_BACKEND_ERROR},
		{RD_KAFKA_RESP_ERR_INVALID_TIMESTAMP, CODE_BAD_REQUEST},
		{RD_KAFKA_RESP_ERR_INVALID_RECORD, CODE_BAD_REQUEST},
		{RD_KAFKA_RESP_ERR_POLICY_VIOLATION, CODE_BACKEND_ERROR},
	};
	struct lab lab;

	lab_open(&lab, false, "");
	expect_ok(&lab);
	for (size_t i = 0; i < ARRAY_SIZE(rows); ++i) {
		rd_kafka_mock_push_request_errors(lab.mock, 0 /* Produce */, 1, rows[i].error);
		expect_all(send_some(&lab, 1, 100, "0"), OUTCOME_REJECTED, rows[i].code);
		wait_ok(&lab); // a missing right is asked for again only now and then
	}
	lab_close(&lab);
}

// ---- batches that are refused for one record

// What happened to record `at` of an answered batch.
static struct submit_run run_of(const struct batch_sent *batch, uint32_t at)
{
	uint32_t i = 0;

	while (at >= batch->runs[i].count)
		at -= batch->runs[i++].count;
	return batch->runs[i];
}

static uint64_t offset_of(const struct batch_sent *batch, uint32_t at)
{
	uint32_t i = 0;

	while (at >= batch->runs[i].count)
		at -= batch->runs[i++].count;
	return batch->runs[i].offset + at;
}

// The broker refuses eight records, a half of the latter four, and one of that. Meanwhile later
// ones are queued.
static void only_the_guilty_record_is_refused(void)
{
	struct lab lab;
	struct batch_sent *first, *suspects, *later;
	uint32_t good = 0;

	lab_open(&lab, false, "");
	expect_ok(&lab);
	rd_kafka_mock_push_request_errors(
		lab.mock, 0, 5, RD_KAFKA_RESP_ERR_NO_ERROR, RD_KAFKA_RESP_ERR_INVALID_RECORD,
		RD_KAFKA_RESP_ERR_NO_ERROR, RD_KAFKA_RESP_ERR_INVALID_RECORD,
		RD_KAFKA_RESP_ERR_INVALID_RECORD);
	rd_kafka_mock_broker_set_rtt(lab.mock, 1, 1500);
	first = send_some(&lab, 1, 100, "0");
	usleep(200000); // it is under way: what follows shares a request
	suspects = send_some(&lab, 8, 100, "0");
	expect_all(first, OUTCOME_OK, CODE_OK);
	usleep(200000); // now they are
	later = send_some(&lab, 50, 100, "0");
	rd_kafka_mock_broker_set_rtt(lab.mock, 1, 20);
	answered(suspects, WAIT_MS);
	answered(later, WAIT_MS);
	for (uint32_t i = 0; i < 8; ++i) {
		if (run_of(suspects, i).outcome == OUTCOME_OK)
			CHECK_EQ(offset_of(suspects, i), 5 + good++);
		else
			CHECK_EQ(run_of(suspects, i).code, CODE_BAD_REQUEST);
	}
	CHECK(good == 7 || good == 6); // more requests, if enqueuing is slow
	CHECK_EQ(later->runs[0].offset, 5 + good);
	free(suspects);
	expect_all(later, OUTCOME_OK, CODE_OK);
	rd_kafka_mock_clear_request_errors(lab.mock, 0);
	expect_ok(&lab);
	CHECK_EQ(health_under_way(lab.adapter), 0);
	lab_close(&lab);
}

// Refusals at any time, of batches of any size: each record ends once, and those that are stored
// lie in the order in which they were sent.
static void refusals_keep_the_order(void)
{
	enum { BATCHES = 300, EACH = 20 };
	static struct batch_sent *batches[BATCHES];
	uint64_t next[PARTITIONS] = {0};
	uint32_t refused = 0;
	struct lab lab;

	lab_open(&lab, false, "");
	expect_ok(&lab);
	rd_kafka_mock_broker_set_rtt(lab.mock, 1, 3);
	for (unsigned i = 0; i < BATCHES; ++i) {
		if (i % 10 == 0)
			// Five, which no number of partitions in turn divides: else one of them may
			// get all the refusals, and what is refused in a row is given up.
			rd_kafka_mock_push_request_errors(
				lab.mock, 0, 5, RD_KAFKA_RESP_ERR_NO_ERROR,
				i % 20 ? RD_KAFKA_RESP_ERR_INVALID_RECORD
				       : RD_KAFKA_RESP_ERR_INVALID_TIMESTAMP,
				RD_KAFKA_RESP_ERR_NO_ERROR, RD_KAFKA_RESP_ERR_NO_ERROR,
				RD_KAFKA_RESP_ERR_INVALID_RECORD);
		batches[i] = send_some(&lab, EACH, 10 + i, "0120011");
		if (i % 3 == 0)
			usleep(1000);
	}
	for (unsigned i = 0; i < BATCHES; ++i) {
		answered(batches[i], 3 * WAIT_MS);
		for (uint32_t at = 0; at < EACH; ++at) {
			struct submit_run run = run_of(batches[i], at);

			if (run.outcome != OUTCOME_OK) {
				CHECK_EQ(run.code, CODE_BAD_REQUEST);
				++refused;
				continue;
			}
			CHECK(offset_of(batches[i], at) >= next[run.partition]);
			next[run.partition] = offset_of(batches[i], at) + 1;
		}
		free(batches[i]);
	}
	CHECK(refused <= 60); // as many as there were refusals
	CHECK_EQ(health_under_way(lab.adapter), 0);
	lab_close(&lab);
}

// A broker that refuses everything costs a bounded number of tries, and closing waits for none.
static void a_broker_that_refuses_everything_is_believed(void)
{
	static rd_kafka_resp_err_t errors[5000];
	struct batch_sent *batch;
	struct lab lab;
	uint64_t since_ns;

	for (unsigned i = 0; i < ARRAY_SIZE(errors); ++i)
		errors[i] = RD_KAFKA_RESP_ERR_INVALID_RECORD;
	lab_open(&lab, false, "");
	expect_ok(&lab);
	rd_kafka_mock_push_request_errors_array(lab.mock, 0, ARRAY_SIZE(errors), errors);
	since_ns = clock_now_ns();
	expect_all(send_some(&lab, 1000, 100, "0"), OUTCOME_REJECTED, CODE_BAD_REQUEST);
	CHECK(clock_now_ns() - since_ns < 30 * S_NS); // 5,000 answers of a broker on loopback
	rd_kafka_mock_broker_set_rtt(lab.mock, 1, 200);
	batch = send_some(&lab, 1000, 100, "0");
	usleep(300000);
	batch->closes = true;
	lab.topic = NULL;
	lab_close(&lab);
	answered(batch, 2 * WAIT_MS);
	free(batch);
}

// What is known of the topic is not sent at all.
static void known_rules_are_checked_beforehand(void)
{
	struct kafka_limits rules;
	struct batch_sent *batch;
	struct lab lab;

	lab_open(&lab, false, "");
	expect_ok(&lab);
	kafka_limits_init(&rules);
	kafka_limits_note(&rules, "cleanup.policy", "compact");
	kafka_limits_store(&lab.topic->limits, &rules);
	batch = send_some(&lab, 8, 100, "0");
	expect_all(batch, OUTCOME_REJECTED, CODE_BAD_REQUEST); // none has a key
	kafka_limits_init(&rules);
	kafka_limits_note(&rules, "max.message.bytes", "300");
	kafka_limits_store(&lab.topic->limits, &rules);
	expect_all(send_some(&lab, 8, 300, "0"), OUTCOME_REJECTED, CODE_TOO_LARGE);
	expect_ok(&lab);
	lab_close(&lab);
}

// A topic that takes small batches is served by another producer, in order.
static void a_topic_moves_to_its_size_class(void)
{
	enum { BATCHES = 60 };
	static struct batch_sent *batches[BATCHES];
	static const char *const sizes[] = {"1048588", "20000", "2000", "100000"};
	struct kafka_limits rules;
	uint64_t next = 0;
	struct lab lab;

	lab_open(&lab, false, "");
	expect_ok(&lab);
	rd_kafka_mock_broker_set_rtt(lab.mock, 1, 20);
	for (unsigned i = 0; i < BATCHES; ++i) {
		if (i % 15 == 0) {
			kafka_limits_init(&rules);
			kafka_limits_note(&rules, "max.message.bytes", sizes[i / 15]);
			kafka_limits_store(&lab.topic->limits, &rules);
			ticker_poke(lab.adapter->watch_ticker);
		}
		batches[i] = send_some(&lab, 20, 50, "0");
		usleep(20000);
	}
	for (unsigned i = 0; i < BATCHES; ++i) {
		answered(batches[i], WAIT_MS);
		CHECK_EQ(batches[i]->submit.run_count, 1);
		CHECK_EQ(batches[i]->runs[0].outcome, OUTCOME_OK);
		CHECK(batches[i]->runs[0].offset >= next);
		next = batches[i]->runs[0].offset + 20;
		free(batches[i]);
	}
	for (unsigned i = 0;
	     __atomic_load_n(&lab.topic->slot, __ATOMIC_RELAXED) != sender_slot_of(100000); ++i) {
		CHECK(i < WAIT_MS / 10);
		usleep(10000);
	}
	lab_close(&lab);
}

// One partition that is not there holds up nothing but itself.
static void an_unknown_partition_is_not_ready(bool native)
{
	struct lab lab;
	struct batch_sent *batch;
	uint32_t at = 0;

	lab_open(&lab, native, "");
	expect_ok(&lab);
	batch = send_some(&lab, 9, 100, "071");
	answered(batch, WAIT_MS);
	for (uint32_t i = 0; i < batch->submit.run_count; ++i)
		for (uint32_t k = 0; k < batch->runs[i].count; ++k, ++at)
			CHECK_EQ(batch->runs[i].code,
				 batch->records[at].partition == 7 ? CODE_NOT_READY : CODE_OK);
	free(batch);
	lab_close(&lab);
}

static struct adapter_state state_of(struct lab *lab)
{
	struct adapter_state state;

	kafka_ops.state(lab->adapter, &state);
	return state;
}

static void wait_circuit(struct lab *lab, enum adapter_circuit circuit, bool is)
{
	for (unsigned i = 0; (state_of(lab).circuit == circuit) != is; ++i) {
		CHECK(i < WAIT_MS / 10);
		usleep(10000);
	}
}

static void memory_has_a_bound_and_nothing_overtakes(bool native)
{
	struct lab lab;
	struct batch_sent *batch;
	uint32_t ok = 0;

	lab_open(&lab, native, ", \"memory_bytes\": 1048576");
	expect_ok(&lab);
	rd_kafka_mock_broker_set_rtt(lab.mock, 1, 1000);
	batch = send_some(&lab, 400, 10000, "01");
	answered(batch, WAIT_MS);
	for (uint32_t i = 0; i < batch->submit.run_count; ++i) {
		struct submit_run *run = &batch->runs[i];

		if (run->outcome == OUTCOME_OK) {
			CHECK_EQ(ok, i); // none after the first refusal
			ok += run->count;
			continue;
		}
		CHECK_EQ(run->code, CODE_OVERLOADED);
		CHECK(run->retry_after_ms > 0);
	}
	CHECK(ok >= 90 && ok <= 110); // a mebibyte of them
	free(batch);
	lab_close(&lab);
}

static void a_silent_cluster_is_left_alone_until_it_answers(void)
{
	struct batch_sent *early;
	unsigned quick = 0;
	struct lab lab;

	lab_open(&lab, false, "");
	expect_ok(&lab);
	CHECK_EQ(state_of(&lab).health, ADAPTER_READY);
	rd_kafka_mock_broker_set_down(lab.mock, 1);
	early = send_some(&lab, 4, 100, "0");
	wait_circuit(&lab, CIRCUIT_CLOSED, false);
	CHECK_EQ(state_of(&lab).health, ADAPTER_DOWN);
	CHECK(state_of(&lab).error[0]);
	for (unsigned i = 0; i < 20; ++i) {
		uint64_t started_ns = clock_now_ns();
		struct batch_sent *batch = send_some(&lab, 4, 100, "0");

		expect_all(batch, OUTCOME_REJECTED, CODE_BACKEND_DOWN);
		quick += clock_now_ns() - started_ns < 50 * MS_NS;
	}
	CHECK(quick >= 5); // of 20, on a machine that others keep busy; none if they waited
	rd_kafka_mock_broker_set_up(lab.mock, 1);
	wait_circuit(&lab, CIRCUIT_CLOSED, true);
	expect_all(early, OUTCOME_OK, CODE_OK);
	expect_ok(&lab);
	CHECK_EQ(state_of(&lab).health, ADAPTER_READY);
	lab_close(&lab);
}

// What is under way when the adapter closes is answered, and a dead cluster is not waited for.
static void closing_answers_everything(void)
{
	struct batch_sent *batch;
	struct lab lab;

	lab_open(&lab, false, "");
	expect_ok(&lab);
	rd_kafka_mock_broker_set_down(lab.mock, 1);
	batch = send_some(&lab, 100, 100, "012");
	batch->closes = true;
	lab.topic = NULL;
	wait_circuit(&lab, CIRCUIT_CLOSED, false);
	lab_close(&lab);
	every_lab_closes();
	expect_all(batch, OUTCOME_REJECTED, CODE_BACKEND_DOWN);
}

static void a_fatal_error_needs_no_restart(void)
{
	struct lab lab;
	rd_kafka_t *first;

	lab_open(&lab, false, "");
	expect_ok(&lab);
	for (unsigned round = 0; round < 2; ++round) {
		struct batch_sent *batch;

		first = sender_enter(lab.adapter);
		sender_leave(lab.adapter);
		rd_kafka_mock_broker_set_rtt(lab.mock, 1, 300);
		batch = send_some(&lab, 100, 100, "01");
		usleep(50000); // so that the first of them are at the broker
		rd_kafka_test_fatal_error(first, RD_KAFKA_RESP_ERR_OUT_OF_ORDER_SEQUENCE_NUMBER,
					  "for a test");
		rd_kafka_mock_broker_set_rtt(lab.mock, 1, 0);
		answered(batch, WAIT_MS);
		for (uint32_t i = 0; i < batch->submit.run_count; ++i)
			CHECK(code_retriable(batch->runs[i].code) ||
			      batch->runs[i].outcome == OUTCOME_OK);
		free(batch);
		wait_ok(&lab);
		CHECK(sender_enter(lab.adapter) != first);
		sender_leave(lab.adapter);
		expect_ok(&lab);
	}
	lab_close(&lab);
}

// ---- rows of a retry store

#define ROWS 50u

struct looked {
	struct retry_job job;
	struct latch latch;
	enum code code;
};

static void on_looked(struct retry_job *job, struct retry_rows *rows, enum code code,
		      const char *text)
{
	struct looked *looked = CONTAINER_OF(job, struct looked, job);

	(void)rows;
	(void)text;
	looked->code = code;
	latch_open(&looked->latch);
}

// A group, and its store, which is told its topic: the mock makes none.
static void store_open(struct lab *lab)
{
	struct group draft = {
		.object.id = 2, .name = "readers", .physical = "readers", .incarnation = 1};
	struct looked looked = {
		.job = {.topic = lab->model, .fresh = true, .done = on_looked},
		.latch = {PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, false}};

	looked.job.group = lab->group = model_new(MODEL_GROUP, &draft);
	CHECK(!rd_kafka_mock_topic_create(lab->mock, "readers.retry", 1, 1));
	retry_store_look(lab->adapter, &looked.job);
	CHECK(latch_wait(&looked.latch, WAIT_MS));
	CHECK_EQ(looked.code, CODE_OK);
}

struct rows_written {
	struct retry_batch batch;
	struct retry_item items[ROWS];
	uint8_t value[RETRY_HEAD + 100];
	struct latch latch;
	enum code code;
};

static void on_written(struct retry_batch *batch, enum code code, const char *text)
{
	struct rows_written *written = CONTAINER_OF(batch, struct rows_written, batch);

	(void)text;
	written->code = code;
	latch_open(&written->latch);
}

static struct rows_written *write_rows(struct lab *lab)
{
	struct rows_written *written = calloc(1, sizeof *written);
	struct log_retry retry = {.put = true, .due_ms = 1, .attempts = 1};

	CHECK(written);
	retry_rows_head_put(written->value, &retry, 1);
	for (uint32_t i = 0; i < ROWS; ++i) {
		retry_rows_key_put(written->items[i].key, 0, i, 0);
		written->items[i].value = written->value;
		written->items[i].size = sizeof written->value;
	}
	written->latch = (struct latch){PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, false};
	written->batch = (struct retry_batch){.group = lab->group,
					      .topic = lab->model,
					      .items = written->items,
					      .count = ROWS,
					      .done = on_written};
	retry_write(lab->adapter, &written->batch);
	return written;
}

static void expect_written(struct rows_written *written, enum code code)
{
	CHECK(latch_wait(&written->latch, WAIT_MS));
	CHECK_EQ(written->code, code);
	free(written);
}

static void wait_under_way(struct lab *lab, uint64_t count)
{
	for (unsigned i = 0; health_under_way(lab->adapter) != count; ++i) {
		CHECK(i < WAIT_MS / 10);
		usleep(10000);
	}
}

// Counted with the messages, refused while the circuit is open, and all given back.
static void rows_are_messages_under_way(void)
{
	struct batch_sent *batch;
	struct rows_written *rows;
	struct lab lab;

	lab_open(&lab, false, "");
	store_open(&lab);
	expect_ok(&lab);
	expect_written(write_rows(&lab), CODE_OK);
	wait_under_way(&lab, 0);
	rd_kafka_mock_broker_set_rtt(lab.mock, 1, 2500);
	rows = write_rows(&lab);
	wait_under_way(&lab, ROWS);
	batch = send_some(&lab, 4, 100, "0");
	CHECK_EQ(health_under_way(lab.adapter), ROWS + 4);
	rd_kafka_mock_broker_set_rtt(lab.mock, 1, 0);
	expect_written(rows, CODE_OK);
	expect_all(batch, OUTCOME_OK, CODE_OK);
	wait_under_way(&lab, 0);
	rd_kafka_mock_broker_set_down(lab.mock, 1);
	rows = write_rows(&lab);
	wait_circuit(&lab, CIRCUIT_CLOSED, false);
	for (unsigned i = 0; i < 5; ++i)
		expect_written(write_rows(&lab), CODE_BACKEND_DOWN);
	CHECK_EQ(health_under_way(lab.adapter), ROWS);
	rd_kafka_mock_broker_set_up(lab.mock, 1);
	wait_circuit(&lab, CIRCUIT_CLOSED, true);
	expect_written(rows, CODE_OK);
	expect_written(write_rows(&lab), CODE_OK);
	wait_under_way(&lab, 0);
	lab_close(&lab);
}

static void rows_are_given_up_in_time(void)
{
	struct rows_written *rows;
	struct lab lab;

	lab_open(&lab, false, ", \"timeout_ms\": 1000");
	store_open(&lab);
	expect_written(write_rows(&lab), CODE_OK);
	rd_kafka_mock_broker_set_down(lab.mock, 1);
	rows = write_rows(&lab);
	CHECK(latch_wait(&rows->latch, WAIT_MS));
	CHECK(rows->code != CODE_OK);
	free(rows);
	wait_under_way(&lab, 0);
	lab_close(&lab);
}

static void closing_waits_for_no_row_of_a_dead_cluster(void)
{
	struct rows_written *rows;
	uint64_t since_ns;
	struct lab lab;

	lab_open(&lab, false, "");
	store_open(&lab);
	expect_written(write_rows(&lab), CODE_OK);
	rd_kafka_mock_broker_set_down(lab.mock, 1);
	rows = write_rows(&lab);
	wait_circuit(&lab, CIRCUIT_CLOSED, false);
	since_ns = clock_now_ns();
	lab_close(&lab);
	every_lab_closes();
	CHECK(clock_now_ns() - since_ns < 25 * S_NS); // less than the time a row has
	CHECK(latch_wait(&rows->latch, 0));
	CHECK(rows->code != CODE_OK);
	free(rows);
}

static void with_headers(void)
{
	runs_are_in_the_order_of_the_batch(false);
	an_unknown_partition_is_not_ready(false);
	memory_has_a_bound_and_nothing_overtakes(false);
}

static void native_and_bare(void)
{
	runs_are_in_the_order_of_the_batch(true);
	an_unknown_partition_is_not_ready(true);
	memory_has_a_bound_and_nothing_overtakes(true);
}

UNIT_MAIN(UNIT_CASE(with_headers), UNIT_CASE(native_and_bare),
	  UNIT_CASE(errors_of_the_broker_are_told_apart),
	  UNIT_CASE(only_the_guilty_record_is_refused), UNIT_CASE(refusals_keep_the_order),
	  UNIT_CASE(a_broker_that_refuses_everything_is_believed),
	  UNIT_CASE(known_rules_are_checked_beforehand), UNIT_CASE(a_topic_moves_to_its_size_class),
	  UNIT_CASE(a_silent_cluster_is_left_alone_until_it_answers),
	  UNIT_CASE(closing_answers_everything), UNIT_CASE(a_fatal_error_needs_no_restart),
	  UNIT_CASE(rows_are_messages_under_way), UNIT_CASE(rows_are_given_up_in_time),
	  UNIT_CASE(closing_waits_for_no_row_of_a_dead_cluster), UNIT_CASE(every_lab_closes))
