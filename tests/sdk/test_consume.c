// The library against a fake proxy: push and pull, every settle, pause, redelivery, leaving, and
// the application's own loop.

#include "tests/sdk/scene.h"

#include <poll.h>
#include <stdatomic.h>

// What callbacks saw and what they answer.
struct seen {
	atomic_uint calls;
	atomic_uint first_deliveries;
	atomic_uint running;
	atomic_uint most_running;
	enum mqp_verdict verdict;
	unsigned sleep_ms;
	struct mqp_message *kept[8];
	unsigned keep;
	struct scene *scene;
};

static void pause_ms(unsigned ms)
{
	struct timespec pause = {.tv_sec = ms / 1000, .tv_nsec = (long)(ms % 1000) * 1000000};

	nanosleep(&pause, NULL);
}

static enum mqp_verdict see(struct mqp_message *message, void *arg)
{
	struct seen *seen = arg;
	unsigned running = atomic_fetch_add(&seen->running, 1) + 1;
	unsigned call = atomic_fetch_add(&seen->calls, 1);

	if (running > atomic_load(&seen->most_running))
		atomic_store(&seen->most_running, running);
	if (mqp_message_attempt(message) == 1)
		atomic_fetch_add(&seen->first_deliveries, 1);
	if (seen->sleep_ms)
		pause_ms(seen->sleep_ms);
	atomic_fetch_sub(&seen->running, 1);
	if (call < seen->keep) {
		seen->kept[call] = message;
		return MQP_VERDICT_KEEP;
	}
	// Given back once, then done with.
	if (mqp_message_attempt(message) > 1)
		return MQP_VERDICT_ACK;
	return seen->verdict;
}

static struct mqp_consumer *push_consumer(struct scene *scene, struct seen *seen, unsigned threads,
					  unsigned prefetch)
{
	struct mqp_consumer_config config;
	struct mqp_consumer *consumer;

	mqp_consumer_config_init(&config, sizeof config);
	config.group = "g";
	config.callback = see;
	config.arg = seen;
	config.threads = threads;
	config.prefetch_messages = prefetch;
	OK(mqp_consumer_new(scene->client, &config, &consumer));
	return consumer;
}

static struct mqp_consumer *pull_consumer(struct scene *scene)
{
	struct mqp_consumer_config config;
	struct mqp_consumer *consumer;

	mqp_consumer_config_init(&config, sizeof config);
	config.group = "g";
	OK(mqp_consumer_new(scene->client, &config, &consumer));
	OK(mqp_consumer_ready(consumer, PATIENCE_MS));
	return consumer;
}

static void store_many(struct scene *scene, unsigned count)
{
	char body[16];

	for (unsigned i = 0; i < count; ++i) {
		snprintf(body, sizeof body, "%u", i);
		fake_store(scene->fake, i % 2 ? "odd" : NULL, body);
	}
}

static void push_acks(void)
{
	struct seen seen = {.verdict = MQP_VERDICT_ACK};
	struct mqp_consumer *consumer;
	struct scene scene;

	scene_start(&scene);
	store_many(&scene, 3000);
	consumer = push_consumer(&scene, &seen, 4, 100);
	EVENTUALLY(atomic_load(&seen.calls) == 3000);
	OK(mqp_consumer_close(consumer, PATIENCE_MS));
	CHECK_EQ(fake_acked(scene.fake), 3000);
	CHECK_EQ(stat_of(&scene, MQP_STAT_ACKED), 3000);
	CHECK_EQ(stat_of(&scene, MQP_STAT_DELIVERED), 3000);
	CHECK_EQ(stat_of(&scene, MQP_STAT_IN_HAND), 0);
	CHECK(fake_largest_settle(scene.fake) > 1); // acks share frames
	mqp_consumer_free(consumer);
	scene_end(&scene);
}

static void push_threads_run_together(void)
{
	struct seen seen = {.verdict = MQP_VERDICT_ACK, .sleep_ms = 20};
	struct mqp_consumer *consumer;
	struct scene scene;

	scene_start(&scene);
	store_many(&scene, 40);
	consumer = push_consumer(&scene, &seen, 8, 0);
	EVENTUALLY(atomic_load(&seen.calls) == 40);
	CHECK(atomic_load(&seen.most_running) > 1);
	CHECK(atomic_load(&seen.most_running) <= 8);
	mqp_consumer_free(consumer);
	scene_end(&scene);
}

static void push_verdicts(void)
{
	static const struct {
		enum mqp_verdict verdict;
		enum mqp_stat stat;
		unsigned calls;
	} cases[] = {
		{MQP_VERDICT_NACK, MQP_STAT_NACKED, 20},
		{MQP_VERDICT_REJECT, MQP_STAT_REJECTS, 10},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); ++i) {
		struct seen seen = {.verdict = cases[i].verdict};
		struct mqp_consumer *consumer;
		struct scene scene;

		scene_start(&scene);
		store_many(&scene, 10);
		consumer = push_consumer(&scene, &seen, 1, 0);
		EVENTUALLY(atomic_load(&seen.calls) == cases[i].calls);
		OK(mqp_consumer_close(consumer, PATIENCE_MS));
		CHECK_EQ(stat_of(&scene, cases[i].stat), 10);
		CHECK_EQ(stat_of(&scene, MQP_STAT_REDELIVERED), cases[i].calls - 10);
		CHECK_EQ(fake_in_flight(scene.fake), 0);
		mqp_consumer_free(consumer);
		scene_end(&scene);
	}
}

static void push_keeps(void)
{
	struct seen seen = {.verdict = MQP_VERDICT_ACK, .keep = 5};
	struct mqp_consumer *consumer;
	struct scene scene;

	scene_start(&scene);
	store_many(&scene, 10);
	consumer = push_consumer(&scene, &seen, 1, 0);
	EVENTUALLY(fake_acked(scene.fake) == 5);
	EVENTUALLY(stat_of(&scene, MQP_STAT_IN_HAND) == 5);
	OK(mqp_ack(seen.kept[0]));
	IS(mqp_ack(seen.kept[0]), MQP_CONFLICT);
	OK(mqp_nack(seen.kept[1], 5));
	OK(mqp_extend(seen.kept[2], 1000));
	OK(mqp_extend(seen.kept[2], 1000));
	IS(mqp_extend(seen.kept[2], 0), MQP_INVALID_ARGUMENT);
	OK(mqp_reject(seen.kept[2]));
	mqp_message_free(seen.kept[3]); // unsettled: given back
	OK(mqp_release(seen.kept[4]));
	EVENTUALLY(atomic_load(&seen.calls) == 13);
	for (unsigned i = 0; i < 5; ++i)
		if (i != 3)
			mqp_message_free(seen.kept[i]);
	OK(mqp_consumer_close(consumer, PATIENCE_MS));
	CHECK_EQ(stat_of(&scene, MQP_STAT_EXTENDED), 2);
	CHECK_EQ(stat_of(&scene, MQP_STAT_RELEASED), 2);
	CHECK_EQ(atomic_load(&seen.first_deliveries), 12); // a release does not count
	mqp_consumer_free(consumer);
	scene_end(&scene);
}

static void push_pauses(void)
{
	struct seen seen = {.verdict = MQP_VERDICT_ACK, .sleep_ms = 1};
	struct mqp_consumer *consumer;
	struct scene scene;
	unsigned calls;

	scene_start(&scene);
	store_many(&scene, 300);
	consumer = push_consumer(&scene, &seen, 2, 50);
	EVENTUALLY(atomic_load(&seen.calls) > 10);
	OK(mqp_consumer_pause(consumer));
	OK(mqp_consumer_pause(consumer));
	EVENTUALLY(atomic_load(&seen.running) == 0);
	calls = atomic_load(&seen.calls);
	// Nothing is held back from other consumers meanwhile.
	EVENTUALLY(fake_in_flight(scene.fake) == 0 && fake_unused_credit(scene.fake) == 0);
	CHECK_EQ(atomic_load(&seen.calls), calls);
	OK(mqp_consumer_resume(consumer));
	EVENTUALLY(fake_acked(scene.fake) == 300);
	CHECK_EQ(atomic_load(&seen.first_deliveries), 300);
	mqp_consumer_free(consumer);
	scene_end(&scene);
}

static void push_extends(void)
{
	struct fake_config config = scene_fake;
	struct seen seen = {.verdict = MQP_VERDICT_ACK, .sleep_ms = 1500};
	struct mqp_consumer *consumer;
	struct scene scene;

	config.visibility_ms = 100;
	scene_prepare(&scene, &config);
	scene_client(&scene);
	store_many(&scene, 2);
	consumer = push_consumer(&scene, &seen, 1, 0);
	EVENTUALLY(atomic_load(&seen.calls) == 1);
	EVENTUALLY(fake_verb(scene.fake, MQP_EXTEND) >= 3);
	// The second one waits for the thread: it is given back rather than kept from others.
	EVENTUALLY(fake_verb(scene.fake, MQP_RELEASE) >= 1);
	EVENTUALLY(fake_acked(scene.fake) == 2);
	mqp_consumer_free(consumer);
	scene_end(&scene);
}

static void push_comes_again(void)
{
	struct seen seen = {.verdict = MQP_VERDICT_ACK, .sleep_ms = 50};
	struct mqp_consumer *consumer;
	struct scene scene;

	scene_start(&scene);
	store_many(&scene, 20);
	consumer = push_consumer(&scene, &seen, 4, 0);
	EVENTUALLY(atomic_load(&seen.calls) >= 4);
	fake_kick(scene.fake); // nothing in hand can be settled any more
	EVENTUALLY(fake_acked(scene.fake) == 20);
	EVENTUALLY(fake_in_flight(scene.fake) == 0);
	CHECK(atomic_load(&seen.calls) >= 20);
	CHECK_EQ(fake_logins(scene.fake), 2);
	mqp_consumer_free(consumer);
	scene_end(&scene);
}

static void group_refused(void)
{
	struct seen seen = {.verdict = MQP_VERDICT_ACK};
	struct mqp_consumer *consumer;
	struct scene scene;

	scene_start(&scene);
	fake_refuse_group(scene.fake, CODE_FORBIDDEN);
	consumer = push_consumer(&scene, &seen, 1, 0);
	IS(mqp_consumer_ready(consumer, PATIENCE_MS), MQP_FORBIDDEN);
	fake_refuse_group(scene.fake, CODE_OK);
	store_many(&scene, 1);
	EVENTUALLY(atomic_load(&seen.calls) == 1); // it kept trying
	mqp_consumer_free(consumer);
	scene_end(&scene);
}

static void pull_takes_what_is_ready(void)
{
	struct mqp_message *messages[64];
	struct mqp_consumer *consumer;
	struct scene scene;
	unsigned count, total = 0;

	scene_start(&scene);
	store_many(&scene, 100);
	consumer = pull_consumer(&scene);
	IS(mqp_pull(consumer, 0, 0, messages, &count), MQP_INVALID_ARGUMENT);
	IS(mqp_consumer_pause(consumer), MQP_INVALID_ARGUMENT);
	while (total < 100) {
		OK(mqp_pull(consumer, 64, PATIENCE_MS, messages, &count));
		CHECK(count >= 1 && count <= 64);
		OK(mqp_settle_sync((struct mqp_message *const *)messages, count, MQP_ACK, 0,
				   PATIENCE_MS, NULL));
		for (unsigned i = 0; i < count; ++i) {
			char body[16];
			size_t size;
			const char *text = mqp_message_body(messages[i], &size);

			snprintf(body, sizeof body, "%.*s", (int)size, text);
			CHECK_EQ(atoi(body), total + i);
			CHECK((mqp_message_key(messages[i], NULL) != NULL) ==
			      (mqp_message_offset(messages[i]) % 2 == 1));
			mqp_message_free(messages[i]);
		}
		total += count;
		// Nothing is left on its way.
		CHECK_EQ(fake_in_flight(scene.fake), 0);
		CHECK_EQ(fake_unused_credit(scene.fake), 0);
	}
	CHECK_EQ(fake_acked(scene.fake), 100); // confirmed means done
	IS(mqp_pull(consumer, 64, 0, messages, &count), MQP_TIMEOUT);
	IS(mqp_pull(consumer, 64, 60, messages, &count), MQP_TIMEOUT);
	// The caller leaves at its time; the credit that it takes back is on its way then.
	for (unsigned i = 0; i < 2000 && fake_unused_credit(scene.fake); ++i)
		pause_ms(5);
	CHECK_EQ(fake_unused_credit(scene.fake), 0);
	mqp_consumer_free(consumer);
	scene_end(&scene);
}

static void *store_later(void *arg)
{
	pause_ms(50);
	fake_store(arg, NULL, "late");
	return NULL;
}

static void pull_waits(void)
{
	struct mqp_message *messages[8];
	struct mqp_consumer *consumer;
	struct scene scene;
	pthread_t thread;
	unsigned count;

	scene_start(&scene);
	consumer = pull_consumer(&scene);
	CHECK_EQ(pthread_create(&thread, NULL, store_later, scene.fake), 0);
	OK(mqp_pull(consumer, 8, PATIENCE_MS, messages, &count));
	pthread_join(thread, NULL);
	CHECK_EQ(count, 1);
	CHECK_EQ(mqp_message_attempt(messages[0]), 1);
	CHECK_EQ(fake_unused_credit(scene.fake), 0);
	mqp_message_free(messages[0]);
	EVENTUALLY(fake_verb(scene.fake, MQP_RELEASE) == 1);
	mqp_consumer_free(consumer);
	scene_end(&scene);
}

static uint64_t pull_took_ms(struct mqp_consumer *consumer, int wait_ms, enum mqp_code code)
{
	struct mqp_message *messages[8];
	uint64_t began_ns = clock_now_ns();
	unsigned count;

	IS(mqp_pull(consumer, 8, wait_ms, messages, &count), code);
	return (clock_now_ns() - began_ns) / MS_NS;
}

// 0 never waits: at best, for a machine that others keep busy makes any thread wait now and then.
static void pull_never_waits(struct mqp_consumer *consumer, enum mqp_code code)
{
	unsigned tries = 1;

	while (pull_took_ms(consumer, 0, code) >= 100)
		CHECK(++tries <= 5);
}

// A pull ends when it was told to, whatever the proxy does.
static void pull_keeps_its_time(void)
{
	for (int io = MQP_IO_THREAD; io <= MQP_IO_APP; ++io) {
		struct mqp_consumer *consumer;
		struct scene scene;
		uint64_t took_ms;

		scene_prepare(&scene, &scene_fake);
		scene.config.io = (enum mqp_io)io;
		scene_client(&scene);
		consumer = pull_consumer(&scene);
		OK(mqp_consumer_ready(consumer, PATIENCE_MS));
		took_ms = pull_took_ms(consumer, 200, MQP_TIMEOUT);
		CHECK(took_ms >= 199 && took_ms < 20000);
		fake_freeze(scene.fake);
		for (int i = 0; i < 3; ++i) {
			took_ms = pull_took_ms(consumer, 200, MQP_TIMEOUT);
			CHECK(took_ms >= 199 && took_ms < 20000);
			pull_never_waits(consumer, MQP_TIMEOUT);
		}
		fake_stop_listening(scene.fake);
		fake_kick(scene.fake);
		CHECK(pull_took_ms(consumer, 200, MQP_NOT_CONNECTED) < 20000);
		pull_never_waits(consumer, MQP_NOT_CONNECTED);
		mqp_consumer_free(consumer);
		scene_end(&scene);
	}
}

// An application that only looks in now and then gets everything, and what it does not fetch goes
// back uncounted.
static void pull_looks_in(void)
{
	struct fake_config config = scene_fake;
	struct mqp_message *messages[8];
	struct mqp_consumer *consumer;
	struct scene scene;
	unsigned count, total = 0;

	config.visibility_ms = 1000;
	scene_prepare(&scene, &config);
	scene_client(&scene);
	consumer = pull_consumer(&scene);
	OK(mqp_consumer_ready(consumer, PATIENCE_MS));
	store_many(&scene, 40);
	while (total < 40) {
		enum mqp_code code = mqp_pull(consumer, 8, 0, messages, &count);

		if (code != MQP_OK) {
			IS(code, MQP_TIMEOUT);
			pause_ms(2);
			continue;
		}
		for (unsigned i = 0; i < count; ++i) {
			CHECK_EQ(mqp_message_attempt(messages[i]), 1);
			OK(mqp_ack(messages[i]));
			mqp_message_free(messages[i]);
		}
		total += count;
	}
	EVENTUALLY(fake_acked(scene.fake) == 40);
	store_many(&scene, 3);
	if (mqp_pull(consumer, 8, 0, messages, &count) == MQP_OK) // asks; the answer may be as fast
		for (unsigned i = 0; i < count; ++i)
			mqp_message_free(messages[i]);
	EVENTUALLY(fake_verb(scene.fake, MQP_RELEASE) >= 3); // half of the visibility timeout
	EVENTUALLY(fake_in_flight(scene.fake) == 0);
	CHECK_EQ(fake_unused_credit(scene.fake), 0);
	mqp_consumer_free(consumer);
	scene_end(&scene);
}

// A dead key is told to a consumer that pulls.
static void pull_says_why(void)
{
	struct mqp_consumer *consumer;
	struct scene scene;

	scene_start(&scene);
	consumer = pull_consumer(&scene);
	OK(mqp_consumer_ready(consumer, PATIENCE_MS));
	fake_set_secret(scene.fake, "ak", "another");
	fake_kick(scene.fake);
	EVENTUALLY(mqp_client_connect(scene.client, 0) == MQP_UNAUTHENTICATED);
	pull_took_ms(consumer, 50, MQP_UNAUTHENTICATED);
	pull_took_ms(consumer, 0, MQP_UNAUTHENTICATED);
	IS(mqp_consumer_ready(consumer, 10), MQP_UNAUTHENTICATED);
	mqp_consumer_free(consumer);
	scene_end(&scene);
}

static void pull_survives_the_proxy(void)
{
	struct mqp_message *message;
	struct mqp_consumer *consumer;
	struct scene scene;
	enum mqp_code code;
	unsigned count;

	scene_start(&scene);
	store_many(&scene, 1);
	consumer = pull_consumer(&scene);
	OK(mqp_pull(consumer, 1, PATIENCE_MS, &message, &count));
	fake_kick(scene.fake);
	EVENTUALLY(fake_logins(scene.fake) == 2);
	IS(mqp_settle_sync(&message, 1, MQP_ACK, 0, PATIENCE_MS, &code), MQP_STALE);
	IS(code, MQP_STALE);
	IS(mqp_ack(message), MQP_STALE);
	mqp_message_free(message);
	OK(mqp_pull(consumer, 1, PATIENCE_MS, &message, &count));
	CHECK_EQ(mqp_message_attempt(message), 2);
	fake_expire(scene.fake); // and timed out, and delivered to no other consumer
	IS(mqp_settle_sync(&message, 1, MQP_ACK, 0, PATIENCE_MS, &code), MQP_STALE);
	mqp_message_free(message);
	CHECK_EQ(stat_of(&scene, MQP_STAT_STALE), 1);
	mqp_consumer_free(consumer);
	scene_end(&scene);
}

static void leaving_with_messages_in_hand(void)
{
	struct mqp_message *messages[4];
	struct mqp_consumer *consumer;
	struct scene scene;
	struct fake *second;
	char other[64];
	unsigned count;

	scene_start(&scene);
	CHECK_EQ(fake_new(&scene_fake, &second), 0);
	fake_address(second, other, sizeof other);
	store_many(&scene, 2);
	consumer = pull_consumer(&scene);
	OK(mqp_pull(consumer, 4, PATIENCE_MS, messages, &count));
	CHECK_EQ(count, 2);
	fake_goaway(scene.fake, other);
	EVENTUALLY(fake_connections(second) == 1);
	OK(mqp_consumer_ready(consumer, PATIENCE_MS));
	fake_store(second, NULL, "new");
	OK(mqp_pull(consumer, 2, PATIENCE_MS, messages + 2, &count));
	CHECK_EQ(count, 1);
	// What came over the old connection is settled there, the new one over the new.
	OK(mqp_settle_sync(messages, 3, MQP_ACK, 0, PATIENCE_MS, NULL));
	CHECK_EQ(fake_acked(scene.fake), 2);
	CHECK_EQ(fake_acked(second), 1);
	EVENTUALLY(fake_connections(scene.fake) == 0); // then it is left
	for (unsigned i = 0; i < 3; ++i)
		mqp_message_free(messages[i]);
	mqp_consumer_free(consumer);
	scene_end(&scene);
	fake_free(second);
}

static void messages_outlive_everything(void)
{
	struct mqp_message *messages[3];
	struct mqp_consumer *consumer;
	struct scene scene;
	unsigned count;
	size_t size;

	scene_start(&scene);
	store_many(&scene, 3);
	consumer = pull_consumer(&scene);
	OK(mqp_pull(consumer, 3, PATIENCE_MS, messages, &count));
	CHECK_EQ(count, 3);
	mqp_client_free(scene.client);
	scene.client = NULL;
	IS(mqp_ack(messages[0]), MQP_STALE);
	mqp_consumer_free(consumer);
	CHECK(memcmp(mqp_message_body(messages[2], &size), "2", 1) == 0 && size == 1);
	for (unsigned i = 0; i < 3; ++i)
		mqp_message_free(messages[i]);
	scene_end(&scene);
}

static void whole_messages(void)
{
	static const uint8_t trace[MQP_TRACE_SIZE] = {1, 2, 3, [24] = 1};
	struct mqp_message *message;
	struct mqp_producer *producer;
	struct mqp_consumer *consumer;
	struct scene scene;
	const char *name;
	const void *value;
	size_t name_size, size;
	unsigned count;
	uint32_t ttl;
	int64_t ms;

	scene_start(&scene);
	producer = scene_producer(&scene);
	mqp_message_reset(scene.message);
	mqp_message_set_key(scene.message, "k\0y", 3);
	mqp_message_add_header(scene.message, "a", "1", 1);
	mqp_message_add_header(scene.message, "b", NULL, 0);
	mqp_message_add_header(scene.message, "a", "", 0);
	mqp_message_set_tag(scene.message, "red");
	mqp_message_set_ttl_ms(scene.message, 5000);
	mqp_message_set_priority(scene.message, 7);
	mqp_message_set_trace(scene.message, trace);
	OK(mqp_send(producer, scene.message, PATIENCE_MS, NULL));
	consumer = pull_consumer(&scene);
	OK(mqp_pull(consumer, 1, PATIENCE_MS, &message, &count));
	CHECK(memcmp(mqp_message_key(message, &size), "k\0y", 3) == 0 && size == 3);
	CHECK(!mqp_message_body(message, &size) && size == 0);
	CHECK_EQ(mqp_message_header_count(message), 3);
	CHECK(mqp_message_header(message, 2, &name, &name_size, &value, &size));
	CHECK(name_size == 1 && *name == 'a' && value && size == 0);
	CHECK(mqp_message_header(message, 1, &name, &name_size, &value, &size)); // backwards
	CHECK(*name == 'b' && !value);
	CHECK(!mqp_message_header(message, 3, &name, &name_size, &value, &size));
	CHECK(mqp_message_find_header(message, "a", &value, &size) && size == 1);
	CHECK(!mqp_message_find_header(message, "c", &value, &size));
	CHECK(memcmp(mqp_message_tag(message, &size), "red", 3) == 0 && size == 3);
	CHECK(mqp_message_ttl_ms(message, &ttl) && ttl == 5000);
	CHECK(!mqp_message_due_ms(message, &ms));
	CHECK(mqp_message_created_ms(message, &ms) && ms > 1600000000000);
	CHECK(mqp_message_stored_ms(message, &ms) && ms == 1);
	CHECK_EQ(mqp_message_priority(message), 7);
	CHECK(memcmp(mqp_message_trace(message), trace, MQP_TRACE_SIZE) == 0);
	CHECK_EQ(mqp_message_partition(message), 0);
	// Sent on, it is a message of its own.
	OK(mqp_send(producer, message, PATIENCE_MS, NULL));
	IS(mqp_message_set_key(message, "x", 1), MQP_INVALID_ARGUMENT);
	OK(mqp_ack(message));
	mqp_message_free(message);
	OK(mqp_pull(consumer, 1, PATIENCE_MS, &message, &count));
	CHECK_EQ(mqp_message_header_count(message), 3);
	mqp_message_free(message);
	mqp_producer_free(producer);
	mqp_consumer_free(consumer);
	scene_end(&scene);
}

static unsigned loop_ends;

static void note_end(const struct mqp_result *result, void *arg)
{
	CHECK_EQ(mqp_result_code(result), MQP_OK);
	++loop_ends;
}

static void loop_once(struct scene *scene)
{
	struct pollfd fd = {.fd = mqp_client_fd(scene->client), .events = POLLIN};

	poll(&fd, 1, mqp_client_timeout_ms(scene->client));
	OK(mqp_client_process(scene->client));
}

// One thread does everything: the library starts none.
static void own_loop(void)
{
	struct seen seen = {.verdict = MQP_VERDICT_ACK};
	struct mqp_producer *producer;
	struct mqp_consumer *consumer;
	struct mqp_message *message;
	struct scene scene;
	unsigned count;

	scene_prepare(&scene, &scene_fake);
	scene.config.io = MQP_IO_APP;
	scene_client(&scene);
	CHECK(mqp_client_fd(scene.client) >= 0);
	producer = scene_producer(&scene);
	loop_ends = 0;
	for (int i = 0; i < 500; ++i)
		OK(mqp_send_async(producer, scene.message, note_end, NULL));
	while (loop_ends < 500)
		loop_once(&scene);
	OK(mqp_send(producer, scene.message, PATIENCE_MS, NULL)); // runs the loop itself
	consumer = push_consumer(&scene, &seen, 0, 0);
	while (atomic_load(&seen.calls) < 501)
		loop_once(&scene);
	OK(mqp_consumer_close(consumer, PATIENCE_MS));
	CHECK_EQ(fake_acked(scene.fake), 501);
	mqp_consumer_free(consumer);
	fake_store(scene.fake, NULL, "pulled");
	consumer = pull_consumer(&scene);
	OK(mqp_pull(consumer, 1, PATIENCE_MS, &message, &count));
	OK(mqp_settle_sync(&message, 1, MQP_ACK, 0, PATIENCE_MS, NULL));
	mqp_message_free(message);
	OK(mqp_client_close(scene.client, PATIENCE_MS));
	IS(mqp_client_process(scene.client), MQP_CLOSED);
	mqp_consumer_free(consumer);
	mqp_producer_free(producer);
	scene_end(&scene);
}

static void *ask_close(void *arg)
{
	struct seen *seen = arg;

	return (void *)(uintptr_t)mqp_client_close(seen->scene->client, 1000);
}

static enum mqp_verdict close_inside(struct mqp_message *message, void *arg)
{
	struct seen *seen = arg;

	// On a callback thread waiting is allowed, closing is not.
	CHECK_EQ((uintptr_t)ask_close(seen), MQP_WOULD_DEADLOCK);
	OK(mqp_settle_sync(&message, 1, MQP_ACK, 0, PATIENCE_MS, NULL));
	atomic_fetch_add(&seen->calls, 1);
	return MQP_VERDICT_SETTLED;
}

static void waiting_inside_callbacks(void)
{
	struct mqp_consumer_config config;
	struct mqp_consumer *consumer;
	struct scene scene;
	struct seen seen = {.scene = &scene};

	scene_start(&scene);
	store_many(&scene, 1);
	mqp_consumer_config_init(&config, sizeof config);
	config.group = "g";
	config.callback = close_inside;
	config.arg = &seen;
	OK(mqp_consumer_new(scene.client, &config, &consumer));
	EVENTUALLY(atomic_load(&seen.calls) == 1);
	CHECK_EQ(fake_acked(scene.fake), 1);
	mqp_consumer_free(consumer);
	scene_end(&scene);
}

UNIT_MAIN(UNIT_CASE(push_acks), UNIT_CASE(push_threads_run_together), UNIT_CASE(push_verdicts),
	  UNIT_CASE(push_keeps), UNIT_CASE(push_pauses), UNIT_CASE(push_extends),
	  UNIT_CASE(push_comes_again), UNIT_CASE(group_refused),
	  UNIT_CASE(pull_takes_what_is_ready), UNIT_CASE(pull_waits),
	  UNIT_CASE(pull_keeps_its_time), UNIT_CASE(pull_looks_in), UNIT_CASE(pull_says_why),
	  UNIT_CASE(pull_survives_the_proxy), UNIT_CASE(leaving_with_messages_in_hand),
	  UNIT_CASE(messages_outlive_everything), UNIT_CASE(whole_messages), UNIT_CASE(own_loop),
	  UNIT_CASE(waiting_inside_callbacks))
