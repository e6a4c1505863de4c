// sdk/c/src/send_queue: batching, order per key through failures, deadlines, the memory limit.

#include "core/base/crc32c.h"
#include "core/wire/record.h"
#include "sdk/c/src/send_queue.h"
#include "tests/unit/unit.h"

#define WIDE  (64u << 20)
#define LATER (1000 * S_NS)

static const struct send_queue_config plenty = {
	.memory_bytes = 1 << 20, .batch_bytes = 1 << 16, .batch_messages = 100};

// What was reported, in order.
static struct report {
	int number;
	enum mqp_outcome outcome;
	enum mqp_code code;
	unsigned attempts;
	bool final;
	uint64_t offset;
} reports[4096];
static unsigned reported;

static void note(void *ctx, const struct batch_entry *entry, struct mqp_result *result)
{
	reports[reported++] = (struct report){
		.number = result->id[15] | result->id[14] << 8,
		.outcome = result->outcome,
		.code = result->code,
		.attempts = result->attempts,
		.final = result->final,
		.offset = result->offset,
	};
}

static bool woken;

// Adds the message `number`, whose id is the number. `key` 0: it has none.
static int add_key(struct send_queue *queue, int number, char key, uint64_t now_ns,
		   uint64_t deadline_ns)
{
	struct batch_entry entry = {.deadline_ns = deadline_ns, .flags = key ? BATCH_KEYED : 0};
	uint8_t id[16] = {1, [14] = (uint8_t)(number >> 8), [15] = (uint8_t)number};
	struct record_parts parts = {.id = id, .priority = 4};
	uint8_t *record;
	int r;

	if (key)
		parts.key = (struct slice){(const uint8_t *)&key, 1};
	parts.body = (struct slice){(const uint8_t *)"0123456789", 10};
	r = send_queue_add(queue, record_parts_size(&parts), &entry, now_ns, &record, &woken);
	if (r == 0)
		record_write(&parts, record);
	return r;
}

static int add_until(struct send_queue *queue, int number, bool keyed, uint64_t now_ns,
		     uint64_t deadline_ns)
{
	return add_key(queue, number, keyed ? 'k' : 0, now_ns, deadline_ns);
}

static int add(struct send_queue *queue, int number, bool keyed)
{
	return add_until(queue, number, keyed, 0, LATER);
}

static struct batch *take_at(struct send_queue *queue, uint64_t now_ns)
{
	struct batch *batch;

	if (send_queue_take(queue, now_ns, WIDE, WIDE, UINT64_MAX, &batch) != 0)
		return NULL;
	memset(batch->buf->data, 0xa5, BATCH_HEAD_SIZE);
	CHECK_EQ(batch_crc(batch), crc32c(0, batch->buf->data, batch->size));
	return batch;
}

static struct batch *take(struct send_queue *queue)
{
	return take_at(queue, 0);
}

static int number_at(const struct batch *batch, uint32_t index)
{
	const uint8_t *id = record_id(batch->buf->data + batch->entries[index].at);

	return id[15] | id[14] << 8;
}

static void answer(struct send_queue *queue, struct batch *batch, uint32_t first, uint32_t count,
		   enum mqp_outcome outcome, enum mqp_code code, uint64_t now_ns)
{
	struct send_queue_verdict run = {
		.count = count, .outcome = outcome, .code = code, .offset = 100 + first};

	send_queue_answer(batch, first, &run, now_ns, note, NULL);
}

static void start(struct send_queue *queue, const struct send_queue_config *config)
{
	send_queue_init(queue, config);
	reported = 0;
}

static void smart_batching(void)
{
	struct send_queue queue;
	struct batch *one, *two;

	start(&queue, &plenty);
	CHECK_EQ(add(&queue, 1, false), 0);
	CHECK(woken); // no other thread would send it
	one = take(&queue);
	CHECK(one && one->count == 1);
	// While one is at the proxy the next fills and does not leave.
	for (int i = 2; i <= 50; ++i) {
		CHECK_EQ(add(&queue, i, false), 0);
		CHECK(!woken);
	}
	CHECK(!take(&queue));
	answer(&queue, one, 0, 1, MQP_OUTCOME_OK, MQP_OK, 0);
	send_queue_settle(&queue, one, 0);
	two = take(&queue);
	CHECK(two && two->count == 49);
	answer(&queue, two, 0, 49, MQP_OUTCOME_OK, MQP_OK, 0);
	send_queue_settle(&queue, two, 0);
	CHECK_EQ(reported, 50);
	CHECK_EQ(reports[49].offset, 148);
	CHECK_EQ(queue.memory, 0);
	CHECK_EQ(queue.messages, 0);
	send_queue_deinit(&queue);
}

static void full_batches_follow(void)
{
	struct send_queue queue;

	start(&queue, &plenty);
	for (int i = 0; i < 350; ++i)
		CHECK_EQ(add(&queue, i, false), 0);
	CHECK_EQ(take(&queue)->count, 100);
	CHECK_EQ(take(&queue)->count, 100);
	CHECK_EQ(take(&queue)->count, 100);
	CHECK(!take(&queue)); // the open one waits
	send_queue_deinit(&queue);
}

static void keys_one_at_a_time(void)
{
	struct send_queue queue;
	struct batch *first;

	start(&queue, &plenty);
	for (int i = 0; i < 250; ++i)
		CHECK_EQ(add(&queue, i, true), 0);
	first = take(&queue);
	CHECK(first && !take(&queue));
	answer(&queue, first, 0, 100, MQP_OUTCOME_OK, MQP_OK, 0);
	send_queue_settle(&queue, first, 0);
	CHECK_EQ(number_at(take(&queue), 0), 100);
	CHECK(!take(&queue));
	send_queue_deinit(&queue);
}

// Messages that failed come before later ones, in their own order.
static void failed_first(void)
{
	struct send_queue queue;
	struct batch *batch;

	start(&queue, &plenty);
	for (int i = 0; i < 4; ++i)
		add(&queue, i, true);
	batch = take(&queue);
	for (int i = 4; i < 6; ++i)
		add(&queue, i, true);
	answer(&queue, batch, 0, 1, MQP_OUTCOME_OK, MQP_OK, 0);
	answer(&queue, batch, 1, 1, MQP_OUTCOME_REJECTED, MQP_TOO_LARGE, 0);
	answer(&queue, batch, 2, 2, MQP_OUTCOME_REJECTED, MQP_THROTTLED, 0);
	send_queue_settle(&queue, batch, 0);
	CHECK_EQ(reported, 4);
	CHECK(reports[1].final && reports[1].code == MQP_TOO_LARGE);
	CHECK(!reports[2].final && !reports[3].final);
	batch = take(&queue);
	CHECK_EQ(batch->count, 2);
	CHECK_EQ(number_at(batch, 0), 2);
	CHECK_EQ(number_at(batch, 1), 3);
	CHECK(!take(&queue));
	answer(&queue, batch, 0, 2, MQP_OUTCOME_OK, MQP_OK, 0);
	send_queue_settle(&queue, batch, 0);
	CHECK_EQ(reports[5].attempts, 2);
	CHECK_EQ(number_at(take(&queue), 0), 4);
	send_queue_deinit(&queue);
}

static void lost_in_order(void)
{
	struct send_queue queue;
	struct batch *batch;
	int next = 0;

	start(&queue, &plenty);
	for (int i = 0; i < 300; ++i)
		add(&queue, i, false);
	while (take(&queue))
		continue;
	CHECK_EQ(queue.sent_count, 3);
	while ((batch = send_queue_last_sent(&queue))) {
		answer(&queue, batch, 0, batch->count, MQP_OUTCOME_UNKNOWN, MQP_CONNECTION_LOST, 0);
		send_queue_settle(&queue, batch, 0);
	}
	while ((batch = take(&queue)))
		for (uint32_t i = 0; i < batch->count; ++i)
			CHECK_EQ(number_at(batch, i), next++);
	CHECK_EQ(next, 300);
	send_queue_deinit(&queue);
}

// A refusal after an attempt that may have succeeded is not "certainly not stored".
static void unknown_stays_unknown(void)
{
	struct send_queue queue;
	struct batch *batch;

	start(&queue, &plenty);
	add(&queue, 1, true);
	batch = take(&queue);
	answer(&queue, batch, 0, 1, MQP_OUTCOME_UNKNOWN, MQP_CONNECTION_LOST, 0);
	send_queue_settle(&queue, batch, 0);
	batch = take(&queue);
	answer(&queue, batch, 0, 1, MQP_OUTCOME_REJECTED, MQP_FORBIDDEN, 0);
	send_queue_settle(&queue, batch, 0);
	CHECK_EQ(reported, 2);
	CHECK(reports[1].final && reports[1].outcome == MQP_OUTCOME_UNKNOWN);
	CHECK_EQ(reports[1].code, MQP_FORBIDDEN);
	send_queue_deinit(&queue);
}

static void retry_waits(void)
{
	struct send_queue queue;
	struct batch *batch;
	uint64_t now_ns = S_NS;

	start(&queue, &plenty);
	add(&queue, 1, true);
	batch = take_at(&queue, now_ns);
	batch->retry_after_ms = 50;
	answer(&queue, batch, 0, 1, MQP_OUTCOME_REJECTED, MQP_THROTTLED, now_ns);
	send_queue_settle(&queue, batch, now_ns);
	CHECK(!take_at(&queue, now_ns + 49 * MS_NS));
	CHECK_EQ(send_queue_next_ns(&queue, now_ns), now_ns + 50 * MS_NS);
	CHECK(take_at(&queue, now_ns + 50 * MS_NS));
	send_queue_deinit(&queue);
}

static void deadlines(void)
{
	struct send_queue queue;
	struct batch *batch, *late;

	start(&queue, &plenty);
	add_until(&queue, 1, true, 0, 10 * MS_NS);
	batch = take(&queue);
	add_until(&queue, 2, true, 0, 5 * MS_NS);
	add_until(&queue, 3, true, 0, 20 * MS_NS);
	CHECK_EQ(send_queue_next_ns(&queue, 0), 5 * MS_NS);
	late = send_queue_expired(&queue, 10 * MS_NS, false);
	CHECK(late && late->count == 1);
	send_queue_end(late, MQP_TIMEOUT, note, NULL);
	send_queue_drop(&queue, late);
	CHECK(reports[0].number == 2 && reports[0].outcome == MQP_OUTCOME_REJECTED);
	CHECK_EQ(reports[0].attempts, 0);
	// What is at the proxy may be stored; its batch stays until the answer.
	send_queue_end_sent(&queue, 10 * MS_NS, false, MQP_TIMEOUT, note, NULL);
	send_queue_count_ended(&queue);
	CHECK(reports[1].number == 1 && reports[1].outcome == MQP_OUTCOME_UNKNOWN);
	CHECK_EQ(queue.messages, 1);
	CHECK(!take_at(&queue, 11 * MS_NS));
	answer(&queue, batch, 0, 1, MQP_OUTCOME_OK, MQP_OK, 11 * MS_NS);
	send_queue_settle(&queue, batch, 11 * MS_NS);
	CHECK_EQ(reported, 2); // not reported twice
	CHECK_EQ(number_at(take_at(&queue, 11 * MS_NS), 0), 3);
	send_queue_deinit(&queue);
}

static void late_failure_is_final(void)
{
	struct send_queue queue;
	struct batch *batch;

	start(&queue, &plenty);
	add_until(&queue, 1, true, 0, 10);
	batch = take(&queue);
	answer(&queue, batch, 0, 1, MQP_OUTCOME_REJECTED, MQP_THROTTLED, 10);
	send_queue_settle(&queue, batch, 10);
	CHECK(reports[0].final && reports[0].code == MQP_THROTTLED);
	CHECK_EQ(queue.messages, 0);
	CHECK_EQ(queue.memory, 0);
	send_queue_deinit(&queue);
}

static void memory_limit(void)
{
	struct send_queue_config config = plenty;
	struct send_queue queue;
	int taken = 0;

	config.memory_bytes = 64 << 10;
	start(&queue, &config);
	while (add(&queue, taken, false) == 0)
		++taken;
	CHECK_EQ(add(&queue, taken, false), SEND_QUEUE_E_FULL);
	CHECK(queue.memory <= config.memory_bytes);
	CHECK_EQ((uint64_t)taken * send_queue_charge(50), queue.memory);
	CHECK(taken > 700);
	send_queue_deinit(&queue);
}

static void window_divides(void)
{
	struct send_queue queue;
	struct batch *batch;

	start(&queue, &plenty);
	for (int i = 0; i < 10; ++i)
		add(&queue, i, false);
	// Room for the head and three records of 50 bytes.
	CHECK_EQ(send_queue_take(&queue, 0, BATCH_HEAD_SIZE + 170, WIDE, UINT64_MAX, &batch), 0);
	CHECK_EQ(batch->count, 3);
	// With something at the proxy the window will widen: no more crumbs.
	CHECK_EQ(send_queue_take(&queue, 0, BATCH_HEAD_SIZE + 170, WIDE, UINT64_MAX, &batch),
		 SEND_QUEUE_E_WAIT);
	batch = take(&queue);
	CHECK_EQ(batch->count, 7);
	CHECK_EQ(number_at(batch, 0), 3);
	send_queue_deinit(&queue);
}

static void too_large(void)
{
	struct send_queue queue;
	struct batch *batch;

	start(&queue, &plenty);
	add(&queue, 1, false);
	add(&queue, 2, false);
	CHECK_EQ(send_queue_take(&queue, 0, WIDE, 40, UINT64_MAX, &batch), SEND_QUEUE_E_TOO_LARGE);
	CHECK_EQ(batch->count, 1);
	send_queue_end(batch, MQP_TOO_LARGE, note, NULL);
	send_queue_drop(&queue, batch);
	CHECK(reports[0].number == 1 && reports[0].code == MQP_TOO_LARGE);
	CHECK_EQ(queue.messages, 1);
	send_queue_deinit(&queue);
}

static void linger(void)
{
	struct send_queue_config config = plenty;
	struct send_queue queue;

	config.linger_ns = 10 * MS_NS;
	start(&queue, &config);
	add(&queue, 1, false);
	CHECK(!take_at(&queue, 9 * MS_NS));
	CHECK_EQ(send_queue_next_ns(&queue, 0), 10 * MS_NS);
	CHECK(take_at(&queue, 10 * MS_NS));
	send_queue_deinit(&queue);
}

static void flushing(void)
{
	struct send_queue_config config = plenty;
	struct send_queue queue;
	struct batch *batch;
	uint64_t serial;

	config.linger_ns = S_NS;
	start(&queue, &config);
	CHECK(send_queue_flushed(&queue, send_queue_flush(&queue)));
	add(&queue, 1, false);
	serial = send_queue_flush(&queue);
	CHECK(!send_queue_flushed(&queue, serial));
	batch = take(&queue); // does not linger any more
	CHECK(batch);
	add(&queue, 2, false); // later messages do not hold it up
	CHECK(!send_queue_flushed(&queue, serial));
	answer(&queue, batch, 0, 1, MQP_OUTCOME_OK, MQP_OK, 0);
	send_queue_settle(&queue, batch, 0);
	CHECK(send_queue_flushed(&queue, serial));
	send_queue_deinit(&queue);
}

// Random outcomes: every message ends exactly once, first deliveries of the keyed ones in order,
// nothing is left charged.
static void random_schedules(void)
{
	for (unsigned seed = 1; seed <= 300; ++seed) {
		unsigned random = seed * 2654435761u;
		int ended[400] = {0}, stored = -1, added = 0;
		struct send_queue_config config = plenty;
		struct send_queue queue;
		uint64_t now_ns = 0;

		config.batch_messages = 7;
		start(&queue, &config);
		while (queue.messages > 0 || added < 400) {
			struct batch *batch = NULL;

			random = random * 1664525u + 1013904223u;
			for (unsigned i = 0; i < (random >> 8) % 12 && added < 400; ++i)
				CHECK_EQ(add_until(&queue, added++, true, now_ns, UINT64_MAX), 0);
			now_ns += ((random >> 16) % 50) * MS_NS;
			while (send_queue_take(&queue, now_ns, 60 + (random >> 20) % 900, WIDE,
					       UINT64_MAX, &batch) == 0)
				continue;
			batch = send_queue_last_sent(&queue);
			for (uint32_t i = 0; batch && i < batch->count;) {
				uint32_t run = MIN(1 + (random >> 24) % 3, batch->count - i);
				unsigned pick = (random >> 12) % 4;

				random = random * 1664525u + 1013904223u;
				// The proxy stores a prefix, as quotas and ends of connections do.
				if (pick > 1)
					run = batch->count - i;
				for (uint32_t j = i; pick < 3 && j < i + run; ++j) {
					int number = number_at(batch, j);

					CHECK(number <= stored + 1);
					stored = MAX(stored, number);
				}
				answer(&queue, batch, i, run,
				       pick < 2    ? MQP_OUTCOME_OK
				       : pick == 2 ? MQP_OUTCOME_UNKNOWN
						   : MQP_OUTCOME_REJECTED,
				       pick < 2    ? MQP_OK
				       : pick == 2 ? MQP_TIMEOUT
						   : MQP_THROTTLED,
				       now_ns);
				i += run;
			}
			if (batch)
				send_queue_settle(&queue, batch, now_ns);
			for (unsigned i = 0; i < reported; ++i)
				ended[reports[i].number] += reports[i].final;
			reported = 0;
		}
		for (int i = 0; i < 400; ++i)
			if (ended[i] != 1)
				fprintf(stderr, "seed %u: message %d ended %d times\n", seed, i,
					ended[i]);
		for (int i = 0; i < 400; ++i)
			CHECK_EQ(ended[i], 1);
		CHECK_EQ(queue.memory, 0);
		CHECK_EQ(stored, 399);
		send_queue_deinit(&queue);
	}
}

// ---- messages that fail for reasons of their own

static void check_numbers(const struct batch *batch, const char *wanted)
{
	char text[128] = "";

	for (uint32_t i = 0; batch && i < batch->count; ++i)
		snprintf(text + strlen(text), sizeof text - strlen(text), "%s%d", i ? " " : "",
			 number_at(batch, i));
	CHECK_STR(text, wanted);
}

static void all_ok(struct send_queue *queue, struct batch *batch, uint64_t now_ns)
{
	answer(queue, batch, 0, batch->count, MQP_OUTCOME_OK, MQP_OK, now_ns);
	send_queue_settle(queue, batch, now_ns);
}

static void all_down(struct send_queue *queue, struct batch *batch, uint64_t now_ns)
{
	answer(queue, batch, 0, batch->count, MQP_OUTCOME_REJECTED, MQP_BACKEND_DOWN, now_ns);
	send_queue_settle(queue, batch, now_ns);
}

static void other_keys_go_on(void)
{
	struct send_queue queue;
	struct batch *batch;
	uint64_t serial;

	start(&queue, &plenty);
	for (int i = 0; i < 4; ++i)
		add_key(&queue, i, "abac"[i], 0, LATER);
	batch = take(&queue);
	for (uint32_t i = 0; i < 4; ++i)
		answer(&queue, batch, i, 1, i % 2 ? MQP_OUTCOME_OK : MQP_OUTCOME_REJECTED,
		       i % 2 ? MQP_OK : MQP_BACKEND_DOWN, 0);
	send_queue_settle(&queue, batch, 0);
	for (int i = 4; i < 7; ++i)
		add_key(&queue, i, "abc"[i - 4], 0, LATER);
	serial = send_queue_flush(&queue);
	batch = take(&queue); // at once
	check_numbers(batch, "5 6");
	all_ok(&queue, batch, 0);
	add_key(&queue, 7, 'a', 0, LATER);
	CHECK(!take(&queue) &&
	      !send_queue_waits(&queue)); // it has joined what it must not overtake
	CHECK(!send_queue_flushed(&queue, serial));
	CHECK_EQ(send_queue_next_ns(&queue, 0), 5 * MS_NS);
	CHECK(!take_at(&queue, 5 * MS_NS - 1));
	batch = take_at(&queue, 5 * MS_NS);
	check_numbers(batch, "0 2 4 7");
	CHECK_EQ(batch->entries[1].attempts, 2);
	CHECK_EQ(batch->entries[2].attempts, 1);
	all_down(&queue, batch, 5 * MS_NS); // the pause doubles
	CHECK_EQ(send_queue_next_ns(&queue, 5 * MS_NS), 15 * MS_NS);
	add_key(&queue, 8, 'b', 5 * MS_NS, LATER);
	batch = take_at(&queue, 5 * MS_NS);
	check_numbers(batch, "8");
	all_ok(&queue, batch, 5 * MS_NS);
	batch = take_at(&queue, 15 * MS_NS);
	check_numbers(batch, "0 2 4 7");
	all_ok(&queue, batch, 15 * MS_NS);
	CHECK(send_queue_flushed(&queue, serial));
	CHECK(queue.memory == 0 && queue.messages == 0);
	send_queue_deinit(&queue);
}

// What concerns all makes all wait, also when it comes beside a reason of some.
static void a_quota_holds_every_key(void)
{
	struct send_queue queue;
	struct batch *batch;

	start(&queue, &plenty);
	for (int i = 0; i < 3; ++i)
		add_key(&queue, i, "abc"[i], 0, LATER);
	batch = take(&queue);
	batch->retry_after_ms = 30;
	answer(&queue, batch, 0, 1, MQP_OUTCOME_OK, MQP_OK, 0);
	answer(&queue, batch, 1, 1, MQP_OUTCOME_REJECTED, MQP_BACKEND_DOWN, 0);
	answer(&queue, batch, 2, 1, MQP_OUTCOME_REJECTED, MQP_THROTTLED, 0);
	send_queue_settle(&queue, batch, 0);
	add_key(&queue, 3, 'd', 0, LATER);
	CHECK(!take_at(&queue, 29 * MS_NS));
	check_numbers(take_at(&queue, 30 * MS_NS), "1 2");
	send_queue_deinit(&queue);
}

static void parked_messages_run_out_of_time(void)
{
	struct send_queue queue;
	struct batch *late;

	start(&queue, &plenty);
	add_key(&queue, 1, 'a', 0, 3 * MS_NS);
	all_down(&queue, take(&queue), 0);
	add_key(&queue, 2, 'a', 0, LATER);
	CHECK(!take(&queue));
	CHECK_EQ(send_queue_next_ns(&queue, 0), 3 * MS_NS);
	late = send_queue_expired(&queue, 3 * MS_NS, false);
	check_numbers(late, "1");
	send_queue_end(late, MQP_TIMEOUT, note, NULL);
	send_queue_drop(&queue, late);
	CHECK(reports[1].final && reports[1].code == MQP_BACKEND_DOWN);
	CHECK(!send_queue_expired(&queue, 3 * MS_NS, false));
	late = send_queue_expired(&queue, 3 * MS_NS, true); // closing takes the rest
	check_numbers(late, "2");
	send_queue_end(late, MQP_CANCELLED, note, NULL);
	send_queue_drop(&queue, late);
	CHECK(queue.memory == 0 && queue.messages == 0);
	send_queue_deinit(&queue);
}

// A backend that is down altogether is not flooded; a message that can be sent is found in its
// turn.
static void nothing_succeeds(void)
{
	struct send_queue queue;
	struct batch *batch;
	unsigned batches = 0;
	int number = 0;
	bool sent = false;
	uint64_t now_ns = 0;

	start(&queue, &plenty);
	for (; now_ns < 10 * S_NS; now_ns += MS_NS) {
		if (number < 300) {
			add_key(&queue, number, (char)('a' + number % 20), now_ns, UINT64_MAX);
			++number;
		}
		if (now_ns == 5 * S_NS)
			add_key(&queue, 3000, 'Z', now_ns, UINT64_MAX);
		while ((batch = take_at(&queue, now_ns))) {
			++batches;
			for (uint32_t i = 0; i < batch->count; ++i) {
				bool good = number_at(batch, i) == 3000;

				answer(&queue, batch, i, 1,
				       good ? MQP_OUTCOME_OK : MQP_OUTCOME_REJECTED,
				       good ? MQP_OK : MQP_BACKEND_DOWN, now_ns);
				sent |= good;
				reported = 0;
			}
			send_queue_settle(&queue, batch, now_ns);
		}
	}
	CHECK(sent);
	CHECK(batches < 100); // without a pause there would be one each millisecond
	send_queue_deinit(&queue);
}

// Keys that fail now and then, each by itself: all keep their order, all end, and what does not
// fail is never longer under way than its own batches take.
static void keys_fail_at_random(void)
{
	enum { KEYS = 6, COUNT = 600 };

	for (unsigned seed = 1; seed <= 200; ++seed) {
		unsigned random = seed * 2654435761u;
		int stored[KEYS], ended[COUNT] = {0}, added = 0, healthy = 0;
		struct send_queue_config config = plenty;
		struct send_queue queue;
		uint64_t now_ns = 0;

		for (int k = 0; k < KEYS; ++k)
			stored[k] = k - KEYS;
		config.batch_messages = 9;
		start(&queue, &config);
		while (queue.messages > 0 || added < COUNT) {
			struct batch *batch;

			random = random * 1664525u + 1013904223u;
			for (unsigned i = 0; i < (random >> 8) % 12 && added < COUNT; ++i, ++added)
				CHECK_EQ(add_key(&queue, added, (char)('a' + added % KEYS), now_ns,
						 UINT64_MAX),
					 0);
			now_ns += (random >> 16) % 8 * MS_NS;
			while ((batch = take_at(&queue, now_ns))) {
				// Key 0 fails until the others are through; key 1 now and then.
				bool down[KEYS] = {healthy < COUNT / KEYS * (KEYS - 2),
						   (random >> 20) % 3 == 0};

				for (uint32_t i = 0; i < batch->count; ++i) {
					int number = number_at(batch, i), key = number % KEYS;
					// A backend stores the messages of a key in order.
					bool unknown = down[key] && (random >> 24) % 4 == 0 &&
						       number <= stored[key] + KEYS;

					if (!down[key] || unknown) {
						CHECK(number <= stored[key] + KEYS);
						stored[key] = MAX(stored[key], number);
					}
					healthy += !down[key] && key > 1;
					answer(&queue, batch, i, 1,
					       !down[key] ? MQP_OUTCOME_OK
					       : unknown  ? MQP_OUTCOME_UNKNOWN
							  : MQP_OUTCOME_REJECTED,
					       down[key] ? MQP_BACKEND_DOWN : MQP_OK, now_ns);
				}
				send_queue_settle(&queue, batch, now_ns);
				for (unsigned i = 0; i < reported; ++i)
					ended[reports[i].number] += reports[i].final;
				reported = 0;
			}
			CHECK(now_ns < 100 * S_NS); // no caller waits for ever
		}
		for (int i = 0; i < COUNT; ++i)
			CHECK_EQ(ended[i], 1);
		CHECK_EQ(queue.memory, 0);
		send_queue_deinit(&queue);
	}
}

// A sender that waits for memory goes on when an eighth is free, and a deadline is known however
// many batches have ended meanwhile.
static void relief_and_deadlines(void)
{
	struct send_queue_config config = plenty;
	struct batch *batch;
	struct send_queue queue;
	int number = 0;

	config.memory_bytes = 64 << 10;
	config.batch_bytes = 4 << 10;
	start(&queue, &config);
	CHECK_EQ(send_queue_next_ns(&queue, 0), UINT64_MAX);
	while (add_until(&queue, number, false, 0, (uint64_t)(number + 1) * MS_NS) == 0)
		++number;
	CHECK(!send_queue_is_relieved(&queue) && !send_queue_fits(&queue, send_queue_charge(50)));
	batch = take(&queue);
	all_ok(&queue, batch, 0);
	CHECK(!send_queue_is_relieved(&queue) && send_queue_fits(&queue, send_queue_charge(50)));
	CHECK(send_queue_next_ns(&queue, 0) <= MS_NS); // the first message's, which has ended
	CHECK(!send_queue_expired(&queue, MS_NS, false));
	CHECK(send_queue_next_ns(&queue, MS_NS) > 2 * MS_NS);
	while ((batch = take(&queue)))
		all_ok(&queue, batch, 0);
	CHECK(send_queue_is_relieved(&queue));
	CHECK_EQ(send_queue_next_ns(&queue, 0), UINT64_MAX);
	send_queue_deinit(&queue);
}

// take() compares the checksum made on the way with the payload's.
static void checksum_on_the_way(void)
{
	struct send_queue_config config = plenty;
	struct batch *batch;
	struct send_queue queue;

	config.batch_messages = 1000;
	start(&queue, &config);
	for (int i = 0; i < 900; ++i)
		add(&queue, i, false);
	CHECK(queue.open->checked > 30000);
	batch = take(&queue);
	CHECK_EQ(batch->count, 900);
	for (uint32_t i = 0; i < 900; ++i)
		answer(&queue, batch, i, 1, i % 3 ? MQP_OUTCOME_OK : MQP_OUTCOME_REJECTED,
		       i % 3 ? MQP_OK : MQP_THROTTLED, 0);
	send_queue_settle(&queue, batch, 0);
	batch = take_at(&queue, 1000 * MS_NS);
	CHECK_EQ(batch->count, 300);
	all_ok(&queue, batch, 1000 * MS_NS);
	add(&queue, 900, false);
	batch = take_at(&queue, 1000 * MS_NS); // a batch that is used again
	CHECK_EQ(batch->count, 1);
	all_ok(&queue, batch, 1000 * MS_NS);
	send_queue_deinit(&queue);
}

UNIT_MAIN(UNIT_CASE(smart_batching), UNIT_CASE(full_batches_follow), UNIT_CASE(keys_one_at_a_time),
	  UNIT_CASE(failed_first), UNIT_CASE(lost_in_order), UNIT_CASE(unknown_stays_unknown),
	  UNIT_CASE(retry_waits), UNIT_CASE(deadlines), UNIT_CASE(late_failure_is_final),
	  UNIT_CASE(memory_limit), UNIT_CASE(relief_and_deadlines), UNIT_CASE(checksum_on_the_way),
	  UNIT_CASE(window_divides), UNIT_CASE(too_large), UNIT_CASE(linger), UNIT_CASE(flushing),
	  UNIT_CASE(random_schedules), UNIT_CASE(other_keys_go_on),
	  UNIT_CASE(a_quota_holds_every_key), UNIT_CASE(parked_messages_run_out_of_time),
	  UNIT_CASE(nothing_succeeds), UNIT_CASE(keys_fail_at_random))
