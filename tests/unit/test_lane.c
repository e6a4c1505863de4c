// sdk/c/src/lane: batching, order per key through failures, deadlines, the memory limit.

#include "core/base/crc32c.h"
#include "core/wire/record.h"
#include "sdk/c/src/lane.h"
#include "tests/unit/unit.h"

#define WIDE  (64u << 20)
#define LATER (1000 * S_NS)

static const struct lane_config plenty = {
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

static void note(void *ctx, const struct lane_entry *entry, struct mqp_result *result)
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
static int add_key(struct lane *lane, int number, char key, uint64_t now_ns, uint64_t deadline_ns)
{
	struct lane_entry entry = {.deadline_ns = deadline_ns, .flags = key ? LANE_KEYED : 0};
	uint8_t id[16] = {1, [14] = (uint8_t)(number >> 8), [15] = (uint8_t)number};
	struct record_parts parts = {.id = id, .priority = 4};
	uint8_t *record;
	int r;

	if (key)
		parts.key = (struct slice){(const uint8_t *)&key, 1};
	parts.body = (struct slice){(const uint8_t *)"0123456789", 10};
	r = lane_add(lane, record_parts_size(&parts), &entry, now_ns, &record, &woken);
	if (r == 0)
		record_write(&parts, record);
	return r;
}

static int add_until(struct lane *lane, int number, bool keyed, uint64_t now_ns,
		     uint64_t deadline_ns)
{
	return add_key(lane, number, keyed ? 'k' : 0, now_ns, deadline_ns);
}

static int add(struct lane *lane, int number, bool keyed)
{
	return add_until(lane, number, keyed, 0, LATER);
}

static struct lane_batch *take_at(struct lane *lane, uint64_t now_ns)
{
	struct lane_batch *batch;

	if (lane_take(lane, now_ns, WIDE, WIDE, UINT64_MAX, &batch) != 0)
		return NULL;
	memset(batch->buf->data, 0xa5, LANE_HEAD_SIZE);
	CHECK_EQ(batch_crc(batch), crc32c(0, batch->buf->data, batch->size));
	return batch;
}

static struct lane_batch *take(struct lane *lane)
{
	return take_at(lane, 0);
}

static int number_at(const struct lane_batch *batch, uint32_t index)
{
	const uint8_t *id = record_id(batch->buf->data + batch->entries[index].at);

	return id[15] | id[14] << 8;
}

static void answer(struct lane *lane, struct lane_batch *batch, uint32_t first, uint32_t count,
		   enum mqp_outcome outcome, enum mqp_code code, uint64_t now_ns)
{
	struct lane_verdict run = {
		.count = count, .outcome = outcome, .code = code, .offset = 100 + first};

	lane_answer(batch, first, &run, now_ns, note, NULL);
}

static void start(struct lane *lane, const struct lane_config *config)
{
	lane_init(lane, config);
	reported = 0;
}

static void smart_batching(void)
{
	struct lane lane;
	struct lane_batch *one, *two;

	start(&lane, &plenty);
	CHECK_EQ(add(&lane, 1, false), 0);
	CHECK(woken); // nobody else would send it
	one = take(&lane);
	CHECK(one && one->count == 1);
	// While one is at the proxy the next fills and does not leave.
	for (int i = 2; i <= 50; ++i) {
		CHECK_EQ(add(&lane, i, false), 0);
		CHECK(!woken);
	}
	CHECK(!take(&lane));
	answer(&lane, one, 0, 1, MQP_OUTCOME_OK, MQP_OK, 0);
	lane_settle(&lane, one, 0);
	two = take(&lane);
	CHECK(two && two->count == 49);
	answer(&lane, two, 0, 49, MQP_OUTCOME_OK, MQP_OK, 0);
	lane_settle(&lane, two, 0);
	CHECK_EQ(reported, 50);
	CHECK_EQ(reports[49].offset, 148);
	CHECK_EQ(lane.memory, 0);
	CHECK_EQ(lane.messages, 0);
	lane_deinit(&lane);
}

static void full_batches_follow(void)
{
	struct lane lane;

	start(&lane, &plenty);
	for (int i = 0; i < 350; ++i)
		CHECK_EQ(add(&lane, i, false), 0);
	CHECK_EQ(take(&lane)->count, 100);
	CHECK_EQ(take(&lane)->count, 100);
	CHECK_EQ(take(&lane)->count, 100);
	CHECK(!take(&lane)); // the open one waits
	lane_deinit(&lane);
}

static void keys_one_at_a_time(void)
{
	struct lane lane;
	struct lane_batch *first;

	start(&lane, &plenty);
	for (int i = 0; i < 250; ++i)
		CHECK_EQ(add(&lane, i, true), 0);
	first = take(&lane);
	CHECK(first && !take(&lane));
	answer(&lane, first, 0, 100, MQP_OUTCOME_OK, MQP_OK, 0);
	lane_settle(&lane, first, 0);
	CHECK_EQ(number_at(take(&lane), 0), 100);
	CHECK(!take(&lane));
	lane_deinit(&lane);
}

// Messages that failed come before later ones, in their own order.
static void failed_first(void)
{
	struct lane lane;
	struct lane_batch *batch;

	start(&lane, &plenty);
	for (int i = 0; i < 4; ++i)
		add(&lane, i, true);
	batch = take(&lane);
	for (int i = 4; i < 6; ++i)
		add(&lane, i, true);
	answer(&lane, batch, 0, 1, MQP_OUTCOME_OK, MQP_OK, 0);
	answer(&lane, batch, 1, 1, MQP_OUTCOME_REJECTED, MQP_TOO_LARGE, 0);
	answer(&lane, batch, 2, 2, MQP_OUTCOME_REJECTED, MQP_THROTTLED, 0);
	lane_settle(&lane, batch, 0);
	CHECK_EQ(reported, 4);
	CHECK(reports[1].final && reports[1].code == MQP_TOO_LARGE);
	CHECK(!reports[2].final && !reports[3].final);
	batch = take(&lane);
	CHECK_EQ(batch->count, 2);
	CHECK_EQ(number_at(batch, 0), 2);
	CHECK_EQ(number_at(batch, 1), 3);
	CHECK(!take(&lane));
	answer(&lane, batch, 0, 2, MQP_OUTCOME_OK, MQP_OK, 0);
	lane_settle(&lane, batch, 0);
	CHECK_EQ(reports[5].attempts, 2);
	CHECK_EQ(number_at(take(&lane), 0), 4);
	lane_deinit(&lane);
}

static void lost_in_order(void)
{
	struct lane lane;
	struct lane_batch *batch;
	int next = 0;

	start(&lane, &plenty);
	for (int i = 0; i < 300; ++i)
		add(&lane, i, false);
	while (take(&lane))
		continue;
	CHECK_EQ(lane.sent_count, 3);
	while ((batch = lane_last_sent(&lane))) {
		answer(&lane, batch, 0, batch->count, MQP_OUTCOME_UNKNOWN, MQP_CONNECTION_LOST, 0);
		lane_settle(&lane, batch, 0);
	}
	while ((batch = take(&lane)))
		for (uint32_t i = 0; i < batch->count; ++i)
			CHECK_EQ(number_at(batch, i), next++);
	CHECK_EQ(next, 300);
	lane_deinit(&lane);
}

// A refusal after an attempt that may have succeeded is not "certainly not stored".
static void unknown_stays_unknown(void)
{
	struct lane lane;
	struct lane_batch *batch;

	start(&lane, &plenty);
	add(&lane, 1, true);
	batch = take(&lane);
	answer(&lane, batch, 0, 1, MQP_OUTCOME_UNKNOWN, MQP_CONNECTION_LOST, 0);
	lane_settle(&lane, batch, 0);
	batch = take(&lane);
	answer(&lane, batch, 0, 1, MQP_OUTCOME_REJECTED, MQP_FORBIDDEN, 0);
	lane_settle(&lane, batch, 0);
	CHECK_EQ(reported, 2);
	CHECK(reports[1].final && reports[1].outcome == MQP_OUTCOME_UNKNOWN);
	CHECK_EQ(reports[1].code, MQP_FORBIDDEN);
	lane_deinit(&lane);
}

static void retry_waits(void)
{
	struct lane lane;
	struct lane_batch *batch;
	uint64_t now_ns = S_NS;

	start(&lane, &plenty);
	add(&lane, 1, true);
	batch = take_at(&lane, now_ns);
	batch->retry_after_ms = 50;
	answer(&lane, batch, 0, 1, MQP_OUTCOME_REJECTED, MQP_THROTTLED, now_ns);
	lane_settle(&lane, batch, now_ns);
	CHECK(!take_at(&lane, now_ns + 49 * MS_NS));
	CHECK_EQ(lane_next_ns(&lane, now_ns), now_ns + 50 * MS_NS);
	CHECK(take_at(&lane, now_ns + 50 * MS_NS));
	lane_deinit(&lane);
}

static void deadlines(void)
{
	struct lane lane;
	struct lane_batch *batch, *late;

	start(&lane, &plenty);
	add_until(&lane, 1, true, 0, 10 * MS_NS);
	batch = take(&lane);
	add_until(&lane, 2, true, 0, 5 * MS_NS);
	add_until(&lane, 3, true, 0, 20 * MS_NS);
	CHECK_EQ(lane_next_ns(&lane, 0), 5 * MS_NS);
	late = lane_expired(&lane, 10 * MS_NS, false);
	CHECK(late && late->count == 1);
	lane_end(late, MQP_TIMEOUT, note, NULL);
	lane_drop(&lane, late);
	CHECK(reports[0].number == 2 && reports[0].outcome == MQP_OUTCOME_REJECTED);
	CHECK_EQ(reports[0].attempts, 0);
	// What is at the proxy may be stored; its batch stays until the answer.
	lane_end_sent(&lane, 10 * MS_NS, false, MQP_TIMEOUT, note, NULL);
	lane_count_ended(&lane);
	CHECK(reports[1].number == 1 && reports[1].outcome == MQP_OUTCOME_UNKNOWN);
	CHECK_EQ(lane.messages, 1);
	CHECK(!take_at(&lane, 11 * MS_NS));
	answer(&lane, batch, 0, 1, MQP_OUTCOME_OK, MQP_OK, 11 * MS_NS);
	lane_settle(&lane, batch, 11 * MS_NS);
	CHECK_EQ(reported, 2); // not reported twice
	CHECK_EQ(number_at(take_at(&lane, 11 * MS_NS), 0), 3);
	lane_deinit(&lane);
}

static void late_failure_is_final(void)
{
	struct lane lane;
	struct lane_batch *batch;

	start(&lane, &plenty);
	add_until(&lane, 1, true, 0, 10);
	batch = take(&lane);
	answer(&lane, batch, 0, 1, MQP_OUTCOME_REJECTED, MQP_THROTTLED, 10);
	lane_settle(&lane, batch, 10);
	CHECK(reports[0].final && reports[0].code == MQP_THROTTLED);
	CHECK_EQ(lane.messages, 0);
	CHECK_EQ(lane.memory, 0);
	lane_deinit(&lane);
}

static void memory_limit(void)
{
	struct lane_config config = plenty;
	struct lane lane;
	int taken = 0;

	config.memory_bytes = 64 << 10;
	start(&lane, &config);
	while (add(&lane, taken, false) == 0)
		++taken;
	CHECK_EQ(add(&lane, taken, false), LANE_E_FULL);
	CHECK(lane.memory <= config.memory_bytes);
	CHECK_EQ((uint64_t)taken * lane_charge(50), lane.memory);
	CHECK(taken > 700);
	lane_deinit(&lane);
}

static void window_divides(void)
{
	struct lane lane;
	struct lane_batch *batch;

	start(&lane, &plenty);
	for (int i = 0; i < 10; ++i)
		add(&lane, i, false);
	// Room for the head and three records of 50 bytes.
	CHECK_EQ(lane_take(&lane, 0, LANE_HEAD_SIZE + 170, WIDE, UINT64_MAX, &batch), 0);
	CHECK_EQ(batch->count, 3);
	// With something at the proxy the window will widen: no more crumbs.
	CHECK_EQ(lane_take(&lane, 0, LANE_HEAD_SIZE + 170, WIDE, UINT64_MAX, &batch), LANE_E_WAIT);
	batch = take(&lane);
	CHECK_EQ(batch->count, 7);
	CHECK_EQ(number_at(batch, 0), 3);
	lane_deinit(&lane);
}

static void too_large(void)
{
	struct lane lane;
	struct lane_batch *batch;

	start(&lane, &plenty);
	add(&lane, 1, false);
	add(&lane, 2, false);
	CHECK_EQ(lane_take(&lane, 0, WIDE, 40, UINT64_MAX, &batch), LANE_E_TOO_LARGE);
	CHECK_EQ(batch->count, 1);
	lane_end(batch, MQP_TOO_LARGE, note, NULL);
	lane_drop(&lane, batch);
	CHECK(reports[0].number == 1 && reports[0].code == MQP_TOO_LARGE);
	CHECK_EQ(lane.messages, 1);
	lane_deinit(&lane);
}

static void linger(void)
{
	struct lane_config config = plenty;
	struct lane lane;

	config.linger_ns = 10 * MS_NS;
	start(&lane, &config);
	add(&lane, 1, false);
	CHECK(!take_at(&lane, 9 * MS_NS));
	CHECK_EQ(lane_next_ns(&lane, 0), 10 * MS_NS);
	CHECK(take_at(&lane, 10 * MS_NS));
	lane_deinit(&lane);
}

static void flushing(void)
{
	struct lane_config config = plenty;
	struct lane lane;
	struct lane_batch *batch;
	uint64_t serial;

	config.linger_ns = S_NS;
	start(&lane, &config);
	CHECK(lane_flushed(&lane, lane_flush(&lane)));
	add(&lane, 1, false);
	serial = lane_flush(&lane);
	CHECK(!lane_flushed(&lane, serial));
	batch = take(&lane); // does not linger any more
	CHECK(batch);
	add(&lane, 2, false); // later messages do not hold it up
	CHECK(!lane_flushed(&lane, serial));
	answer(&lane, batch, 0, 1, MQP_OUTCOME_OK, MQP_OK, 0);
	lane_settle(&lane, batch, 0);
	CHECK(lane_flushed(&lane, serial));
	lane_deinit(&lane);
}

// Random outcomes: every message ends exactly once, first deliveries of the keyed ones in order,
// nothing is left charged.
static void random_schedules(void)
{
	for (unsigned seed = 1; seed <= 300; ++seed) {
		unsigned random = seed * 2654435761u;
		int ended[400] = {0}, stored = -1, added = 0;
		struct lane_config config = plenty;
		struct lane lane;
		uint64_t now_ns = 0;

		config.batch_messages = 7;
		start(&lane, &config);
		while (lane.messages > 0 || added < 400) {
			struct lane_batch *batch = NULL;

			random = random * 1664525u + 1013904223u;
			for (unsigned i = 0; i < (random >> 8) % 12 && added < 400; ++i)
				CHECK_EQ(add_until(&lane, added++, true, now_ns, UINT64_MAX), 0);
			now_ns += ((random >> 16) % 50) * MS_NS;
			while (lane_take(&lane, now_ns, 60 + (random >> 20) % 900, WIDE, UINT64_MAX,
					 &batch) == 0)
				continue;
			batch = lane_last_sent(&lane);
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
				answer(&lane, batch, i, run,
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
				lane_settle(&lane, batch, now_ns);
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
		CHECK_EQ(lane.memory, 0);
		CHECK_EQ(stored, 399);
		lane_deinit(&lane);
	}
}

// ---- messages that fail for reasons of their own

static void check_numbers(const struct lane_batch *batch, const char *wanted)
{
	char text[128] = "";

	for (uint32_t i = 0; batch && i < batch->count; ++i)
		snprintf(text + strlen(text), sizeof text - strlen(text), "%s%d", i ? " " : "",
			 number_at(batch, i));
	CHECK_STR(text, wanted);
}

static void all_ok(struct lane *lane, struct lane_batch *batch, uint64_t now_ns)
{
	answer(lane, batch, 0, batch->count, MQP_OUTCOME_OK, MQP_OK, now_ns);
	lane_settle(lane, batch, now_ns);
}

static void all_down(struct lane *lane, struct lane_batch *batch, uint64_t now_ns)
{
	answer(lane, batch, 0, batch->count, MQP_OUTCOME_REJECTED, MQP_BACKEND_DOWN, now_ns);
	lane_settle(lane, batch, now_ns);
}

static void other_keys_go_on(void)
{
	struct lane lane;
	struct lane_batch *batch;
	uint64_t serial;

	start(&lane, &plenty);
	for (int i = 0; i < 4; ++i)
		add_key(&lane, i, "abac"[i], 0, LATER);
	batch = take(&lane);
	for (uint32_t i = 0; i < 4; ++i)
		answer(&lane, batch, i, 1, i % 2 ? MQP_OUTCOME_OK : MQP_OUTCOME_REJECTED,
		       i % 2 ? MQP_OK : MQP_BACKEND_DOWN, 0);
	lane_settle(&lane, batch, 0);
	for (int i = 4; i < 7; ++i)
		add_key(&lane, i, "abc"[i - 4], 0, LATER);
	serial = lane_flush(&lane);
	batch = take(&lane); // at once
	check_numbers(batch, "5 6");
	all_ok(&lane, batch, 0);
	add_key(&lane, 7, 'a', 0, LATER);
	CHECK(!take(&lane) && !lane_waits(&lane)); // it has joined what it must not overtake
	CHECK(!lane_flushed(&lane, serial));
	CHECK_EQ(lane_next_ns(&lane, 0), 5 * MS_NS);
	CHECK(!take_at(&lane, 5 * MS_NS - 1));
	batch = take_at(&lane, 5 * MS_NS);
	check_numbers(batch, "0 2 4 7");
	CHECK_EQ(batch->entries[1].attempts, 2);
	CHECK_EQ(batch->entries[2].attempts, 1);
	all_down(&lane, batch, 5 * MS_NS); // the pause doubles
	CHECK_EQ(lane_next_ns(&lane, 5 * MS_NS), 15 * MS_NS);
	add_key(&lane, 8, 'b', 5 * MS_NS, LATER);
	batch = take_at(&lane, 5 * MS_NS);
	check_numbers(batch, "8");
	all_ok(&lane, batch, 5 * MS_NS);
	batch = take_at(&lane, 15 * MS_NS);
	check_numbers(batch, "0 2 4 7");
	all_ok(&lane, batch, 15 * MS_NS);
	CHECK(lane_flushed(&lane, serial));
	CHECK(lane.memory == 0 && lane.messages == 0);
	lane_deinit(&lane);
}

// What concerns all makes all wait, also when it comes beside a reason of some.
static void a_quota_holds_every_key(void)
{
	struct lane lane;
	struct lane_batch *batch;

	start(&lane, &plenty);
	for (int i = 0; i < 3; ++i)
		add_key(&lane, i, "abc"[i], 0, LATER);
	batch = take(&lane);
	batch->retry_after_ms = 30;
	answer(&lane, batch, 0, 1, MQP_OUTCOME_OK, MQP_OK, 0);
	answer(&lane, batch, 1, 1, MQP_OUTCOME_REJECTED, MQP_BACKEND_DOWN, 0);
	answer(&lane, batch, 2, 1, MQP_OUTCOME_REJECTED, MQP_THROTTLED, 0);
	lane_settle(&lane, batch, 0);
	add_key(&lane, 3, 'd', 0, LATER);
	CHECK(!take_at(&lane, 29 * MS_NS));
	check_numbers(take_at(&lane, 30 * MS_NS), "1 2");
	lane_deinit(&lane);
}

static void parked_messages_run_out_of_time(void)
{
	struct lane lane;
	struct lane_batch *late;

	start(&lane, &plenty);
	add_key(&lane, 1, 'a', 0, 3 * MS_NS);
	all_down(&lane, take(&lane), 0);
	add_key(&lane, 2, 'a', 0, LATER);
	CHECK(!take(&lane));
	CHECK_EQ(lane_next_ns(&lane, 0), 3 * MS_NS);
	late = lane_expired(&lane, 3 * MS_NS, false);
	check_numbers(late, "1");
	lane_end(late, MQP_TIMEOUT, note, NULL);
	lane_drop(&lane, late);
	CHECK(reports[1].final && reports[1].code == MQP_BACKEND_DOWN);
	CHECK(!lane_expired(&lane, 3 * MS_NS, false));
	late = lane_expired(&lane, 3 * MS_NS, true); // closing takes the rest
	check_numbers(late, "2");
	lane_end(late, MQP_CANCELLED, note, NULL);
	lane_drop(&lane, late);
	CHECK(lane.memory == 0 && lane.messages == 0);
	lane_deinit(&lane);
}

// A backend that is down altogether is not flooded; a message that can be sent is found in its
// turn.
static void nothing_succeeds(void)
{
	struct lane lane;
	struct lane_batch *batch;
	unsigned batches = 0;
	int number = 0;
	bool sent = false;
	uint64_t now_ns = 0;

	start(&lane, &plenty);
	for (; now_ns < 10 * S_NS; now_ns += MS_NS) {
		if (number < 300) {
			add_key(&lane, number, (char)('a' + number % 20), now_ns, UINT64_MAX);
			++number;
		}
		if (now_ns == 5 * S_NS)
			add_key(&lane, 3000, 'Z', now_ns, UINT64_MAX);
		while ((batch = take_at(&lane, now_ns))) {
			++batches;
			for (uint32_t i = 0; i < batch->count; ++i) {
				bool good = number_at(batch, i) == 3000;

				answer(&lane, batch, i, 1,
				       good ? MQP_OUTCOME_OK : MQP_OUTCOME_REJECTED,
				       good ? MQP_OK : MQP_BACKEND_DOWN, now_ns);
				sent |= good;
				reported = 0;
			}
			lane_settle(&lane, batch, now_ns);
		}
	}
	CHECK(sent);
	CHECK(batches < 100); // without a pause there would be one each millisecond
	lane_deinit(&lane);
}

// Keys that fail now and then, each by itself: all keep their order, all end, and what does not
// fail is never longer under way than its own batches take.
static void keys_fail_at_random(void)
{
	enum { KEYS = 6, COUNT = 600 };

	for (unsigned seed = 1; seed <= 200; ++seed) {
		unsigned random = seed * 2654435761u;
		int stored[KEYS], ended[COUNT] = {0}, added = 0, healthy = 0;
		struct lane_config config = plenty;
		struct lane lane;
		uint64_t now_ns = 0;

		for (int k = 0; k < KEYS; ++k)
			stored[k] = k - KEYS;
		config.batch_messages = 9;
		start(&lane, &config);
		while (lane.messages > 0 || added < COUNT) {
			struct lane_batch *batch;

			random = random * 1664525u + 1013904223u;
			for (unsigned i = 0; i < (random >> 8) % 12 && added < COUNT; ++i, ++added)
				CHECK_EQ(add_key(&lane, added, (char)('a' + added % KEYS), now_ns,
						 UINT64_MAX),
					 0);
			now_ns += (random >> 16) % 8 * MS_NS;
			while ((batch = take_at(&lane, now_ns))) {
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
					answer(&lane, batch, i, 1,
					       !down[key] ? MQP_OUTCOME_OK
					       : unknown  ? MQP_OUTCOME_UNKNOWN
							  : MQP_OUTCOME_REJECTED,
					       down[key] ? MQP_BACKEND_DOWN : MQP_OK, now_ns);
				}
				lane_settle(&lane, batch, now_ns);
				for (unsigned i = 0; i < reported; ++i)
					ended[reports[i].number] += reports[i].final;
				reported = 0;
			}
			CHECK(now_ns < 100 * S_NS); // nobody waits for ever
		}
		for (int i = 0; i < COUNT; ++i)
			CHECK_EQ(ended[i], 1);
		CHECK_EQ(lane.memory, 0);
		lane_deinit(&lane);
	}
}

// Who waits for memory goes on when an eighth is free, and a deadline is known however many batches
// have ended meanwhile.
static void relief_and_deadlines(void)
{
	struct lane_config config = plenty;
	struct lane_batch *batch;
	struct lane lane;
	int number = 0;

	config.memory_bytes = 64 << 10;
	config.batch_bytes = 4 << 10;
	start(&lane, &config);
	CHECK_EQ(lane_next_ns(&lane, 0), UINT64_MAX);
	while (add_until(&lane, number, false, 0, (uint64_t)(number + 1) * MS_NS) == 0)
		++number;
	CHECK(!lane_is_relieved(&lane) && !lane_fits(&lane, lane_charge(50)));
	batch = take(&lane);
	all_ok(&lane, batch, 0);
	CHECK(!lane_is_relieved(&lane) && lane_fits(&lane, lane_charge(50)));
	CHECK(lane_next_ns(&lane, 0) <= MS_NS); // the first message's, which has ended
	CHECK(!lane_expired(&lane, MS_NS, false));
	CHECK(lane_next_ns(&lane, MS_NS) > 2 * MS_NS);
	while ((batch = take(&lane)))
		all_ok(&lane, batch, 0);
	CHECK(lane_is_relieved(&lane));
	CHECK_EQ(lane_next_ns(&lane, 0), UINT64_MAX);
	lane_deinit(&lane);
}

// take() compares the checksum made on the way with the payload's.
static void checksum_on_the_way(void)
{
	struct lane_config config = plenty;
	struct lane_batch *batch;
	struct lane lane;

	config.batch_messages = 1000;
	start(&lane, &config);
	for (int i = 0; i < 900; ++i)
		add(&lane, i, false);
	CHECK(lane.open->checked > 30000);
	batch = take(&lane);
	CHECK_EQ(batch->count, 900);
	for (uint32_t i = 0; i < 900; ++i)
		answer(&lane, batch, i, 1, i % 3 ? MQP_OUTCOME_OK : MQP_OUTCOME_REJECTED,
		       i % 3 ? MQP_OK : MQP_THROTTLED, 0);
	lane_settle(&lane, batch, 0);
	batch = take_at(&lane, 1000 * MS_NS);
	CHECK_EQ(batch->count, 300);
	all_ok(&lane, batch, 1000 * MS_NS);
	add(&lane, 900, false);
	batch = take_at(&lane, 1000 * MS_NS); // a batch that is used again
	CHECK_EQ(batch->count, 1);
	all_ok(&lane, batch, 1000 * MS_NS);
	lane_deinit(&lane);
}

UNIT_MAIN(UNIT_CASE(smart_batching), UNIT_CASE(full_batches_follow), UNIT_CASE(keys_one_at_a_time),
	  UNIT_CASE(failed_first), UNIT_CASE(lost_in_order), UNIT_CASE(unknown_stays_unknown),
	  UNIT_CASE(retry_waits), UNIT_CASE(deadlines), UNIT_CASE(late_failure_is_final),
	  UNIT_CASE(memory_limit), UNIT_CASE(relief_and_deadlines), UNIT_CASE(checksum_on_the_way),
	  UNIT_CASE(window_divides), UNIT_CASE(too_large), UNIT_CASE(linger), UNIT_CASE(flushing),
	  UNIT_CASE(random_schedules), UNIT_CASE(other_keys_go_on),
	  UNIT_CASE(a_quota_holds_every_key), UNIT_CASE(parked_messages_run_out_of_time),
	  UNIT_CASE(nothing_succeeds), UNIT_CASE(keys_fail_at_random))
