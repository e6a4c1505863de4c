// The library against a fake proxy: sending, its outcomes and retries, order, memory, leaving.

#include "tests/sdk/scene.h"
#include "tests/unit/identity.h"

#include <arpa/inet.h>
#include <sys/socket.h>

// How async sends ended, in order of their callbacks.
static struct {
	pthread_mutex_t lock;
	size_t count;
	size_t by_outcome[3];
	enum mqp_code last;
} ends = {.lock = PTHREAD_MUTEX_INITIALIZER};

static void note_end(const struct mqp_result *result, void *arg)
{
	pthread_mutex_lock(&ends.lock);
	++ends.count;
	++ends.by_outcome[mqp_result_outcome(result)];
	ends.last = mqp_result_code(result);
	pthread_mutex_unlock(&ends.lock);
}

static size_t ended(void)
{
	size_t count;

	pthread_mutex_lock(&ends.lock);
	count = ends.count;
	pthread_mutex_unlock(&ends.lock);
	return count;
}

static void ends_reset(void)
{
	ends.count = 0;
	memset(ends.by_outcome, 0, sizeof ends.by_outcome);
}

static void send_numbered(struct scene *scene, struct mqp_producer *producer, int from, int to,
			  const char *key)
{
	for (int i = from; i < to; ++i) {
		char body[16];

		snprintf(body, sizeof body, "%d", i);
		mqp_message_set_body(scene->message, body, strlen(body));
		mqp_message_set_key(scene->message, key, key ? strlen(key) : 0);
		OK(mqp_send_async(producer, scene->message, note_end, NULL));
	}
}

// First appearances in the log must be 0, 1, 2, … count−1.
static void check_order(struct scene *scene, int count)
{
	char key[16], body[16];
	uint8_t id[16];
	int next = 0;

	for (size_t i = 0; fake_message(scene->fake, i, key, body, sizeof body, id); ++i) {
		CHECK(atoi(body) <= next);
		next += atoi(body) == next;
	}
	CHECK_EQ(next, count);
}

static void three_ways(void)
{
	struct scene scene;
	struct mqp_producer *producer;
	struct mqp_result *result;
	char key[16], body[16];
	uint8_t id[16];

	scene_start(&scene);
	OK(mqp_client_connect(scene.client, PATIENCE_MS));
	producer = scene_producer(&scene);
	OK(mqp_producer_ready(producer, PATIENCE_MS));
	OK(mqp_result_new(&result));
	OK(mqp_send(producer, scene.message, PATIENCE_MS, result));
	CHECK_EQ(mqp_result_outcome(result), MQP_OUTCOME_OK);
	CHECK_EQ(mqp_result_offset(result), 0);
	CHECK_EQ(mqp_result_partition(result), 0);
	CHECK_EQ(mqp_result_incarnation(result), 7);
	CHECK_EQ(mqp_result_durability(result), 1);
	CHECK_EQ(mqp_result_attempts(result), 1);
	CHECK(mqp_result_final(result));
	CHECK_STR(mqp_result_topic(result), "t");
	CHECK(fake_message(scene.fake, 0, key, body, sizeof body, id));
	CHECK_STR(body, "body");
	CHECK(memcmp(id, mqp_result_id(result), 16) == 0);
	ends_reset();
	for (int i = 0; i < 1000; ++i)
		OK(mqp_send_async(producer, scene.message, note_end, NULL));
	OK(mqp_flush(producer, PATIENCE_MS));
	CHECK_EQ(ended(), 1000);
	for (int i = 0; i < 1000; ++i)
		OK(mqp_send_oneway(producer, scene.message));
	OK(mqp_flush(producer, PATIENCE_MS));
	EVENTUALLY(fake_oneway(scene.fake) == 1000);
	CHECK_EQ(fake_stored(scene.fake), 2001);
	CHECK_EQ(stat_of(&scene, MQP_STAT_SENT), 2001);
	CHECK_EQ(stat_of(&scene, MQP_STAT_ACKNOWLEDGED), 1001);
	CHECK_EQ(stat_of(&scene, MQP_STAT_ONEWAY_WRITTEN), 1000);
	CHECK_EQ(stat_of(&scene, MQP_STAT_QUEUED_BYTES), 0);
	CHECK(fake_batches(scene.fake) < 500); // batched without a setting
	mqp_result_free(result);
	mqp_producer_free(producer);
	scene_end(&scene);
}

struct sender {
	struct mqp_producer *producer;
	int count;
};

static void *send_many(void *arg)
{
	struct sender *sender = arg;
	struct mqp_message *message;

	OK(mqp_message_new(&message));
	mqp_message_set_body(message, "x", 1);
	for (int i = 0; i < sender->count; ++i)
		OK(mqp_send(sender->producer, message, PATIENCE_MS, NULL));
	mqp_message_free(message);
	return NULL;
}

static void many_threads_share_batches(void)
{
	enum { THREADS = 200, EACH = 20 };
	struct scene scene;
	struct sender sender;
	pthread_attr_t attr;
	pthread_t threads[THREADS];

	scene_start(&scene);
	sender = (struct sender){scene_producer(&scene), EACH};
	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, 256 << 10);
	for (int i = 0; i < THREADS; ++i)
		CHECK_EQ(pthread_create(&threads[i], &attr, send_many, &sender), 0);
	for (int i = 0; i < THREADS; ++i)
		pthread_join(threads[i], NULL);
	CHECK_EQ(fake_stored(scene.fake), THREADS * EACH);
	CHECK(fake_batches(scene.fake) < THREADS * EACH / 2);
	CHECK_EQ(fake_logins(scene.fake), 1);
	mqp_producer_free(sender.producer);
	scene_end(&scene);
}

// Every attempt is traced: an UNKNOWN one explains the duplicate.
static struct {
	unsigned attempts, unknown, final;
	uint8_t id[16];
	bool same_id;
} traced;

static void trace(const struct mqp_result *attempt, void *arg)
{
	if (traced.attempts++ > 0)
		traced.same_id &= memcmp(traced.id, mqp_result_id(attempt), 16) == 0;
	memcpy(traced.id, mqp_result_id(attempt), 16);
	traced.unknown += mqp_result_outcome(attempt) == MQP_OUTCOME_UNKNOWN;
	traced.final += (unsigned)mqp_result_final(attempt);
	CHECK_EQ(mqp_result_attempts(attempt), traced.attempts);
}

static void lost_answer(void)
{
	struct scene scene;
	struct mqp_producer *producer;
	char text[16];
	uint8_t first[16], second[16];

	memset(&traced, 0, sizeof traced);
	traced.same_id = true;
	scene_prepare(&scene, &scene_fake);
	scene.config.trace = trace;
	scene_client(&scene);
	fake_plan(scene.fake, PLAN_LOSE_ANSWER, 1, CODE_OK, 0, 0);
	producer = scene_producer(&scene);
	OK(mqp_send(producer, scene.message, PATIENCE_MS, NULL));
	CHECK_EQ(fake_stored(scene.fake), 2);
	fake_message(scene.fake, 0, text, text, sizeof text, first);
	fake_message(scene.fake, 1, text, text, sizeof text, second);
	CHECK(memcmp(first, second, 16) == 0);
	CHECK(traced.attempts == 2 && traced.unknown == 1 && traced.final == 1 && traced.same_id);
	CHECK_EQ(stat_of(&scene, MQP_STAT_RETRIES), 1);
	CHECK_EQ(stat_of(&scene, MQP_STAT_CONNECTS), 2);
	mqp_producer_free(producer);
	scene_end(&scene);
}

// A proxy whose connection is open and dead: found by its silence, and what was sent goes
// elsewhere.
static void silent_proxy(void)
{
	struct fake_config config = scene_fake;
	struct scene scene;
	struct mqp_producer *producer;
	uint64_t began_ns;

	config.keepalive_ms = 1000;
	memset(&traced, 0, sizeof traced);
	traced.same_id = true;
	scene_prepare(&scene, &config);
	scene.config.trace = trace;
	scene_client(&scene);
	producer = scene_producer(&scene);
	began_ns = clock_now_ns(); // whatever is heard last is heard later
	OK(mqp_producer_ready(producer, PATIENCE_MS));
	fake_freeze(scene.fake);
	OK(mqp_send(producer, scene.message, PATIENCE_MS, NULL));
	CHECK(clock_now_ns() - began_ns >= 1900 * MS_NS); // not before two keepalives
	CHECK(traced.attempts == 2 && traced.unknown == 1 && traced.final == 1 && traced.same_id);
	CHECK_EQ(fake_logins(scene.fake), 2);
	CHECK_EQ(fake_stored(scene.fake), 1);
	mqp_producer_free(producer);
	scene_end(&scene);
}

// One that is slow and answers pings is not given up.
static void slow_proxy(void)
{
	struct fake_config config = scene_fake;
	struct scene scene;
	struct mqp_producer *producer;
	uint64_t until_ns = clock_now_ns() + 2500 * MS_NS;

	config.keepalive_ms = 1000;
	scene_prepare(&scene, &config);
	scene_client(&scene);
	producer = scene_producer(&scene);
	ends_reset();
	fake_hold_answers(scene.fake, true);
	OK(mqp_send_async(producer, scene.message, note_end, NULL));
	EVENTUALLY(clock_now_ns() > until_ns);
	CHECK_EQ(ended(), 0);
	fake_hold_answers(scene.fake, false);
	OK(mqp_flush(producer, PATIENCE_MS));
	CHECK_EQ(fake_logins(scene.fake), 1);
	CHECK_EQ(stat_of(&scene, MQP_STAT_RETRIES), 0);
	mqp_producer_free(producer);
	scene_end(&scene);
}

// An address that takes connections and says nothing costs its timeout, then comes the next.
static void silent_address(void)
{
	struct sockaddr_in in = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	struct scene scene;
	char addresses[128];

	CHECK(listener >= 0 && bind(listener, (struct sockaddr *)&in, sizeof in) == 0 &&
	      listen(listener, 8) == 0);
	CHECK_EQ(getsockname(listener, (struct sockaddr *)&in, &(socklen_t){sizeof in}), 0);
	scene_prepare(&scene, &scene_fake);
	snprintf(addresses, sizeof addresses, "127.0.0.1:%u,%s", ntohs(in.sin_port), scene.address);
	scene.config.addresses = addresses;
	scene.config.connect_timeout_ms = 1000;
	scene_client(&scene);
	OK(mqp_client_connect(scene.client, PATIENCE_MS));
	CHECK_EQ(stat_of(&scene, MQP_STAT_CONNECT_FAILURES), 1);
	CHECK_EQ(fake_logins(scene.fake), 1);
	scene_end(&scene);
	close(listener);
}

// Whatever goes wrong on the way, first appearances keep their order and nothing is missing.
static void order_through_faults(void)
{
	static const struct {
		enum fake_plan plan;
		enum code code;
	} faults[] = {
		{PLAN_REJECT, CODE_THROTTLED}, {PLAN_LOSE_ANSWER, CODE_OK},
		{PLAN_UNKNOWN, CODE_TIMEOUT},  {PLAN_LOSE_REQUEST, CODE_OK},
		{PLAN_REJECT, CODE_NOT_READY},
	};

	for (size_t i = 0; i < ARRAY_SIZE(faults); ++i) {
		struct scene scene;
		struct mqp_producer *producer;

		scene_start(&scene);
		producer = scene_producer(&scene);
		ends_reset();
		fake_plan(scene.fake, faults[i].plan, 3, faults[i].code, 10, 2);
		for (int part = 0; part < 10; ++part) {
			send_numbered(&scene, producer, part * 50, part * 50 + 50, "key");
			EVENTUALLY(fake_batches(scene.fake) > (size_t)part / 2);
		}
		OK(mqp_flush(producer, PATIENCE_MS));
		CHECK_EQ(ends.by_outcome[MQP_OUTCOME_OK], 500);
		check_order(&scene, 500);
		mqp_producer_free(producer);
		scene_end(&scene);
	}
}

static void refused_for_good(void)
{
	struct scene scene;
	struct mqp_producer *producer;
	struct mqp_result *result;

	scene_start(&scene);
	producer = scene_producer(&scene);
	OK(mqp_result_new(&result));
	fake_plan(scene.fake, PLAN_REJECT, 1, CODE_FORBIDDEN, 0, 0);
	IS(mqp_send(producer, scene.message, PATIENCE_MS, result), MQP_FORBIDDEN);
	CHECK_EQ(mqp_result_outcome(result), MQP_OUTCOME_REJECTED);
	CHECK_EQ(mqp_result_attempts(result), 1);
	CHECK_EQ(fake_stored(scene.fake), 0);
	mqp_result_free(result);
	mqp_producer_free(producer);
	scene_end(&scene);
}

static void out_of_time(void)
{
	struct scene scene;
	struct mqp_producer *producer;
	struct mqp_result *result;

	scene_start(&scene);
	producer = scene_producer(&scene);
	OK(mqp_producer_ready(producer, PATIENCE_MS));
	OK(mqp_result_new(&result));
	fake_plan(scene.fake, PLAN_REJECT, 1000, CODE_THROTTLED, 20, 0);
	IS(mqp_send(producer, scene.message, 1000, result), MQP_THROTTLED);
	CHECK_EQ(mqp_result_outcome(result), MQP_OUTCOME_REJECTED);
	CHECK(mqp_result_attempts(result) > 1);
	fake_plan(scene.fake, PLAN_SILENT, 1, CODE_OK, 0, 0);
	IS(mqp_send(producer, scene.message, 1000, result), MQP_TIMEOUT);
	CHECK_EQ(mqp_result_outcome(result), MQP_OUTCOME_UNKNOWN);
	mqp_result_free(result);
	mqp_producer_free(producer);
	scene_end(&scene);
}

static void never_connected(void)
{
	struct scene scene;
	struct mqp_producer *producer;
	struct mqp_result *result;

	scene_prepare(&scene, &scene_fake);
	fake_stop_listening(scene.fake);
	scene_client(&scene);
	producer = scene_producer(&scene);
	OK(mqp_result_new(&result));
	IS(mqp_send(producer, scene.message, 500, result), MQP_NOT_CONNECTED);
	IS(mqp_result_code(result), MQP_NOT_CONNECTED);
	CHECK_EQ(mqp_result_outcome(result), MQP_OUTCOME_REJECTED); // certainly not stored
	CHECK_EQ(mqp_result_attempts(result), 0);
	CHECK(mqp_code_retriable(MQP_NOT_CONNECTED));
	IS(mqp_client_connect(scene.client, 10), MQP_NOT_CONNECTED);
	IS(mqp_producer_ready(producer, 10), MQP_NOT_CONNECTED);
	OK(mqp_send_async(producer, scene.message, NULL, NULL));
	IS(mqp_flush(producer, 10), MQP_NOT_CONNECTED);
	mqp_result_free(result);
	mqp_producer_free(producer);
	scene_end(&scene);
}

static void unknown_topic(void)
{
	struct scene scene;
	struct mqp_producer_config config;
	struct mqp_producer *producer;

	scene_start(&scene);
	mqp_producer_config_init(&config, sizeof config);
	config.topic = "nowhere";
	OK(mqp_producer_new(scene.client, &config, &producer));
	IS(mqp_producer_ready(producer, PATIENCE_MS), MQP_NOT_FOUND);
	IS(mqp_send(producer, scene.message, PATIENCE_MS, NULL), MQP_NOT_FOUND);
	mqp_producer_free(producer);
	scene_end(&scene);
}

static void wrong_secret(void)
{
	struct scene scene;

	scene_prepare(&scene, &scene_fake);
	scene.config.secret = "guess";
	scene_client(&scene);
	IS(mqp_client_connect(scene.client, PATIENCE_MS), MQP_UNAUTHENTICATED);
	scene_end(&scene);
}

static struct mqp_producer *small_producer(struct scene *scene, enum mqp_when_full when_full)
{
	struct mqp_producer_config config;
	struct mqp_producer *producer;

	mqp_producer_config_init(&config, sizeof config);
	config.topic = "t";
	config.memory_bytes = 64 << 10;
	config.when_full = when_full;
	config.send_timeout_ms = PATIENCE_MS;
	OK(mqp_producer_new(scene->client, &config, &producer));
	OK(mqp_producer_ready(producer, PATIENCE_MS));
	return producer;
}

// A key that stops working is told to each send that fails by it: an outbox must not retry for
// ever.
static void dead_key(void)
{
	struct scene scene;
	struct mqp_producer *producer;
	struct mqp_result *result;
	char body[40000] = {0};

	scene_start(&scene);
	producer = small_producer(&scene, MQP_FULL_BLOCK);
	OK(mqp_result_new(&result));
	OK(mqp_send(producer, scene.message, PATIENCE_MS, NULL));
	fake_set_secret(scene.fake, "ak", "another");
	fake_kick(scene.fake);
	EVENTUALLY(mqp_client_connect(scene.client, 0) == MQP_UNAUTHENTICATED);
	IS(mqp_send(producer, scene.message, 100, result), MQP_UNAUTHENTICATED);
	CHECK_EQ(mqp_result_outcome(result), MQP_OUTCOME_REJECTED);
	CHECK(!mqp_code_retriable(mqp_result_code(result)));
	IS(mqp_producer_ready(producer, 10), MQP_UNAUTHENTICATED);
	mqp_message_set_body(scene.message, body, sizeof body);
	OK(mqp_send_async(producer, scene.message, NULL, NULL));
	IS(mqp_flush(producer, 10), MQP_UNAUTHENTICATED);
	// No room, for the same reason.
	IS(mqp_send(producer, scene.message, 100, result), MQP_UNAUTHENTICATED);
	mqp_result_free(result);
	mqp_producer_free(producer);
	scene_end(&scene);
}

// Sent once, its answer lost with the connection, and the key is dead since: it may be stored.
static void dead_key_in_doubt(void)
{
	struct scene scene;
	struct mqp_producer *producer;
	struct mqp_result *result;

	scene_start(&scene);
	producer = scene_producer(&scene);
	OK(mqp_producer_ready(producer, PATIENCE_MS));
	OK(mqp_result_new(&result));
	fake_plan(scene.fake, PLAN_LOSE_ANSWER, 1, CODE_OK, 0, 0);
	fake_set_secret(scene.fake, "ak", "another");
	IS(mqp_send(producer, scene.message, 2000, result), MQP_UNAUTHENTICATED);
	CHECK_EQ(mqp_result_outcome(result), MQP_OUTCOME_UNKNOWN);
	mqp_result_free(result);
	mqp_producer_free(producer);
	scene_end(&scene);
}

// The proxy withholds its window because of a quota: that is why, not time.
static void window_throttled(void)
{
	struct fake_config config = scene_fake;
	struct scene scene;
	struct mqp_producer *producer;
	struct mqp_result *result;

	config.window = 300;
	scene_prepare(&scene, &config);
	scene_client(&scene);
	producer = scene_producer(&scene);
	OK(mqp_producer_ready(producer, PATIENCE_MS));
	OK(mqp_result_new(&result));
	fake_hold_answers(scene.fake, true);
	for (int i = 0; i < 2; ++i)
		OK(mqp_send_async(producer, scene.message, NULL, NULL));
	EVENTUALLY(fake_batches(scene.fake) >= 1);
	fake_throttle(scene.fake);
	EVENTUALLY(stat_of(&scene, MQP_STAT_THROTTLES) == 1);
	IS(mqp_send(producer, scene.message, 100, result), MQP_THROTTLED);
	CHECK_EQ(mqp_result_outcome(result), MQP_OUTCOME_REJECTED);
	fake_hold_answers(scene.fake, false);
	OK(mqp_flush(producer, PATIENCE_MS));
	mqp_result_free(result);
	mqp_producer_free(producer);
	scene_end(&scene);
}

// The connection is there and nothing is answered: ready must not say that it is.
static void ready_is_not_connected(void)
{
	struct scene scene;
	struct mqp_producer *producer;

	scene_start(&scene);
	OK(mqp_client_connect(scene.client, PATIENCE_MS));
	fake_freeze(scene.fake);
	producer = scene_producer(&scene);
	IS(mqp_producer_ready(producer, 50), MQP_TIMEOUT);
	IS(mqp_send(producer, scene.message, 50, NULL), MQP_TIMEOUT);
	mqp_producer_free(producer);
	scene_end(&scene);
}

static void full_fails(void)
{
	struct scene scene;
	struct mqp_producer *producer;
	enum mqp_code code;
	size_t taken = 0;

	scene_start(&scene);
	producer = small_producer(&scene, MQP_FULL_FAIL);
	ends_reset();
	fake_hold_answers(scene.fake, true);
	while ((code = mqp_send_async(producer, scene.message, note_end, NULL)) == MQP_OK)
		++taken;
	IS(code, MQP_QUEUE_FULL);
	CHECK(taken > 500 && taken < 2000);
	EVENTUALLY(stat_of(&scene, MQP_STAT_QUEUED_BYTES) > 0);
	CHECK(stat_of(&scene, MQP_STAT_QUEUED_BYTES) <= 64 << 10);
	IS(mqp_flush(producer, 20), MQP_TIMEOUT);
	fake_hold_answers(scene.fake, false);
	OK(mqp_flush(producer, PATIENCE_MS));
	CHECK_EQ(ended(), taken);
	OK(mqp_send(producer, scene.message, PATIENCE_MS, NULL));
	mqp_producer_free(producer);
	scene_end(&scene);
}

static void *release_later(void *arg)
{
	struct timespec pause = {.tv_nsec = 50000000};

	nanosleep(&pause, NULL);
	fake_hold_answers(arg, false);
	return NULL;
}

static void full_blocks(void)
{
	struct scene scene;
	struct mqp_producer *producer;
	pthread_t thread;
	uint64_t began_ns = clock_now_ns();

	scene_start(&scene);
	producer = small_producer(&scene, MQP_FULL_BLOCK);
	ends_reset();
	fake_hold_answers(scene.fake, true);
	CHECK_EQ(pthread_create(&thread, NULL, release_later, scene.fake), 0);
	for (int i = 0; i < 5000; ++i) // several times what fits
		OK(mqp_send_async(producer, scene.message, note_end, NULL));
	CHECK(clock_now_ns() - began_ns > 40 * MS_NS);
	pthread_join(thread, NULL);
	OK(mqp_flush(producer, PATIENCE_MS));
	CHECK_EQ(ended(), 5000);
	mqp_producer_free(producer);
	scene_end(&scene);
}

// Waiting for room ends with the send's own deadline, and in a callback it does not begin.
static struct mqp_producer *full_producer;
static enum mqp_code code_in_callback;

static void send_into_full(const struct mqp_result *result, void *arg)
{
	code_in_callback = MQP_OK;
	while (code_in_callback == MQP_OK)
		code_in_callback = mqp_send_async(full_producer, arg, NULL, NULL);
}

static void full_blocks_in_vain(void)
{
	struct scene scene;
	struct mqp_result *result;
	uint64_t began_ns;
	char body[60000] = {0};

	scene_start(&scene);
	OK(mqp_result_new(&result));
	CHECK_EQ(mqp_result_outcome(result), MQP_OUTCOME_REJECTED); // before it is filled
	full_producer = small_producer(&scene, MQP_FULL_BLOCK);
	ends_reset();
	fake_hold_answers(scene.fake, true);
	mqp_message_set_body(scene.message, body, sizeof body);
	OK(mqp_send_async(full_producer, scene.message, send_into_full, scene.message));
	began_ns = clock_now_ns();
	IS(mqp_send(full_producer, scene.message, 60, result), MQP_TIMEOUT);
	CHECK(clock_now_ns() - began_ns >= 60 * MS_NS);
	CHECK_EQ(mqp_result_outcome(result), MQP_OUTCOME_REJECTED); // certainly not stored
	IS(mqp_result_code(result), MQP_TIMEOUT);
	EVENTUALLY(fake_stored(scene.fake) == 1);
	fake_hold_answers(scene.fake, false);
	OK(mqp_flush(full_producer, PATIENCE_MS));
	IS(code_in_callback, MQP_QUEUE_FULL);
	mqp_result_free(result);
	mqp_producer_free(full_producer);
	scene_end(&scene);
}

static void closing_cancels(void)
{
	struct scene scene;
	struct mqp_producer *producer;

	scene_start(&scene);
	producer = scene_producer(&scene);
	OK(mqp_producer_ready(producer, PATIENCE_MS));
	ends_reset();
	fake_hold_answers(scene.fake, true);
	for (int i = 0; i < 10; ++i)
		OK(mqp_send_async(producer, scene.message, note_end, NULL));
	EVENTUALLY(fake_stored(scene.fake) > 0);
	IS(mqp_producer_close(producer, 50), MQP_TIMEOUT);
	CHECK_EQ(ended(), 10);
	CHECK_EQ(ends.last, MQP_CANCELLED);
	IS(mqp_send_async(producer, scene.message, NULL, NULL), MQP_CLOSED);
	IS(mqp_send(producer, scene.message, 10, NULL), MQP_CLOSED);
	IS(mqp_producer_ready(producer, 0), MQP_CLOSED);
	OK(mqp_producer_close(producer, 0));
	mqp_producer_free(producer);
	scene_end(&scene);
}

static void closing_waits(void)
{
	struct scene scene;
	struct mqp_producer *producer;

	scene_start(&scene);
	producer = scene_producer(&scene);
	ends_reset();
	for (int i = 0; i < 5000; ++i)
		OK(mqp_send_async(producer, scene.message, note_end, NULL));
	OK(mqp_client_close(scene.client, PATIENCE_MS));
	CHECK_EQ(ends.by_outcome[MQP_OUTCOME_OK], 5000);
	CHECK_EQ(fake_stored(scene.fake), 5000);
	IS(mqp_send(producer, scene.message, 10, NULL), MQP_CLOSED);
	mqp_client_free(scene.client);
	scene.client = NULL;
	mqp_producer_free(producer); // after its client
	scene_end(&scene);
}

static void small_frames(void)
{
	struct fake_config config = scene_fake;
	struct scene scene;
	struct mqp_producer *producer;
	char body[5000];

	config.max_frame = 4096;
	config.window = 5000;
	scene_prepare(&scene, &config);
	scene_client(&scene);
	producer = scene_producer(&scene);
	ends_reset();
	send_numbered(&scene, producer, 0, 2000, NULL); // before the limits are known
	OK(mqp_flush(producer, PATIENCE_MS));
	CHECK_EQ(ends.by_outcome[MQP_OUTCOME_OK], 2000);
	check_order(&scene, 2000);
	CHECK_EQ(fake_logins(scene.fake), 1); // never past the window
	memset(body, 'x', sizeof body);
	mqp_message_set_body(scene.message, body, sizeof body);
	IS(mqp_send(producer, scene.message, PATIENCE_MS, NULL), MQP_TOO_LARGE);
	mqp_producer_free(producer);
	scene_end(&scene);
}

static void compressed(void)
{
	for (int compression = MQP_COMPRESSION_LZ4; compression <= MQP_COMPRESSION_ZSTD;
	     ++compression) {
		struct scene scene;
		struct mqp_producer_config config;
		struct mqp_producer *producer;

		scene_start(&scene);
		mqp_producer_config_init(&config, sizeof config);
		config.topic = "t";
		config.compression = (enum mqp_compression)compression;
		OK(mqp_producer_new(scene.client, &config, &producer));
		ends_reset();
		send_numbered(&scene, producer, 0, 3000, "k");
		OK(mqp_flush(producer, PATIENCE_MS));
		check_order(&scene, 3000);
		CHECK(stat_of(&scene, MQP_STAT_BYTES_OUT) < 3000 * 40);
		mqp_producer_free(producer);
		scene_end(&scene);
	}
}

static void failover(void)
{
	struct scene scene;
	struct fake *second;
	struct mqp_producer *producer;
	char list[160], other[64];

	scene_prepare(&scene, &scene_fake);
	CHECK_EQ(fake_new(&scene_fake, &second), 0);
	fake_address(second, other, sizeof other);
	snprintf(list, sizeof list, "127.0.0.1:1,%s,%s", scene.address, other);
	scene.config.addresses = list; // the first one does not answer
	scene_client(&scene);
	producer = scene_producer(&scene);
	OK(mqp_send(producer, scene.message, PATIENCE_MS, NULL));
	CHECK_EQ(fake_stored(scene.fake), 1);
	fake_stop_listening(scene.fake);
	fake_kick(scene.fake);
	for (int i = 0; i < 100; ++i)
		OK(mqp_send(producer, scene.message, PATIENCE_MS, NULL));
	CHECK_EQ(fake_stored(second), 100);
	mqp_producer_free(producer);
	scene_end(&scene);
	fake_free(second);
}

static void goaway(void)
{
	struct scene scene;
	struct fake *second;
	struct mqp_producer *producer;
	char other[64];

	scene_start(&scene);
	CHECK_EQ(fake_new(&scene_fake, &second), 0);
	fake_address(second, other, sizeof other);
	producer = scene_producer(&scene);
	OK(mqp_producer_ready(producer, PATIENCE_MS));
	ends_reset();
	fake_hold_answers(scene.fake, true);
	send_numbered(&scene, producer, 0, 10, "k");
	EVENTUALLY(fake_stored(scene.fake) > 0);
	send_numbered(&scene, producer, 10, 20, "k");
	fake_goaway(scene.fake, other);
	EVENTUALLY(fake_connections(second) == 1);
	CHECK_EQ(fake_stored(second), 0); // what is in flight ends first, for the order
	fake_hold_answers(scene.fake, false);
	OK(mqp_flush(producer, PATIENCE_MS));
	CHECK_EQ(ends.by_outcome[MQP_OUTCOME_OK], 20);
	CHECK_EQ(fake_stored(scene.fake) + fake_stored(second), 20); // nothing twice
	CHECK(fake_stored(second) > 0);
	EVENTUALLY(fake_connections(scene.fake) == 0);
	CHECK_EQ(stat_of(&scene, MQP_STAT_GOAWAYS), 1);
	mqp_producer_free(producer);
	scene_end(&scene);
	fake_free(second);
}

static void write_credentials(const char *path, const char *address, const char *key,
			      const char *secret)
{
	char beside[80];
	FILE *file;

	snprintf(beside, sizeof beside, "%s.new", path);
	file = fopen(beside, "we");
	CHECK(file);
	fprintf(file, "MQPAAS_ADDRESS=%s\nMQPAAS_ACCESS_KEY=%s\nMQPAAS_SECRET=%s\n", address, key,
		secret);
	fclose(file);
	CHECK_EQ(rename(beside, path), 0);
}

static void credentials_reload(void)
{
	char directory[] = "/tmp/mqpaas-sdk-XXXXXX", path[64];
	struct scene scene;
	struct mqp_producer *producer;

	CHECK(mkdtemp(directory));
	snprintf(path, sizeof path, "%s/credentials", directory);
	scene_prepare(&scene, &scene_fake);
	write_credentials(path, scene.address, "ak", "secret");
	scene.config.addresses = scene.config.access_key = scene.config.secret = NULL;
	scene.config.credentials_file = path;
	scene_client(&scene);
	producer = scene_producer(&scene);
	OK(mqp_send(producer, scene.message, PATIENCE_MS, NULL));
	fake_set_secret(scene.fake, "ak2", "secret2");
	write_credentials(path, scene.address, "ak2", "secret2");
	EVENTUALLY(fake_logins(scene.fake) == 2); // moved without losing a connection
	OK(mqp_send(producer, scene.message, PATIENCE_MS, NULL));
	EVENTUALLY(fake_connections(scene.fake) == 1);
	CHECK_EQ(stat_of(&scene, MQP_STAT_CONNECT_FAILURES), 0);
	CHECK_EQ(fake_stored(scene.fake), 2);
	mqp_producer_free(producer);
	scene_end(&scene);
	unlink(path);
	rmdir(directory);
}

static void pause_ms(long ms)
{
	struct timespec pause = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000};

	nanosleep(&pause, NULL);
}

// A wrong file costs nothing: what works goes on working, also after the connection is lost, and
// the right one is taken as soon as it is there.
static void credentials_wrong(void)
{
	char directory[] = "/tmp/mqpaas-sdk-XXXXXX", path[64];
	struct scene scene;
	struct mqp_producer *producer;
	struct mqp_consumer_config group;
	struct mqp_consumer *consumer;
	struct mqp_message *held;
	unsigned count;

	CHECK(mkdtemp(directory));
	snprintf(path, sizeof path, "%s/credentials", directory);
	scene_prepare(&scene, &scene_fake);
	write_credentials(path, scene.address, "ak", "secret");
	scene.config.addresses = scene.config.access_key = scene.config.secret = NULL;
	scene.config.credentials_file = path;
	scene_client(&scene);
	producer = scene_producer(&scene);
	OK(mqp_send(producer, scene.message, PATIENCE_MS, NULL));
	mqp_consumer_config_init(&group, sizeof group);
	group.group = "g";
	OK(mqp_consumer_new(scene.client, &group, &consumer));
	OK(mqp_pull(consumer, 1, PATIENCE_MS, &held, &count));
	write_credentials(path, scene.address, "ak", "wrong-secret");
	EVENTUALLY(stat_of(&scene, MQP_STAT_CONNECT_FAILURES) >= 2); // tried, and tried again
	OK(mqp_send(producer, scene.message, PATIENCE_MS, NULL));
	OK(mqp_settle_sync(&held, 1, MQP_ACK, 0, PATIENCE_MS, NULL)); // nothing was lost
	CHECK_EQ(fake_logins(scene.fake), 1);
	fake_kick(scene.fake); // the values in use serve to reconnect, too
	OK(mqp_send(producer, scene.message, PATIENCE_MS, NULL));
	CHECK_EQ(fake_logins(scene.fake), 2);
	write_credentials(path, "127.0.0.1:1", "ak", "secret"); // no server is there
	pause_ms(1500);
	OK(mqp_send(producer, scene.message, PATIENCE_MS, NULL));
	CHECK_EQ(fake_logins(scene.fake), 2);
	fake_set_secret(scene.fake, "ak2", "secret2");
	write_credentials(path, scene.address, "ak2", "secret2");
	EVENTUALLY(fake_logins(scene.fake) == 3);
	OK(mqp_send(producer, scene.message, PATIENCE_MS, NULL));
	EVENTUALLY(fake_connections(scene.fake) == 1);
	mqp_message_free(held);
	mqp_consumer_free(consumer);
	mqp_producer_free(producer);
	scene_end(&scene);
	unlink(path);
	rmdir(directory);
}

// Credentials that never worked give way at once.
static void credentials_mended(void)
{
	char directory[] = "/tmp/mqpaas-sdk-XXXXXX", path[64];
	struct scene scene;
	struct mqp_producer *producer;

	CHECK(mkdtemp(directory));
	snprintf(path, sizeof path, "%s/credentials", directory);
	scene_prepare(&scene, &scene_fake);
	write_credentials(path, scene.address, "ak", "typo");
	scene.config.addresses = scene.config.access_key = scene.config.secret = NULL;
	scene.config.credentials_file = path;
	scene_client(&scene);
	producer = scene_producer(&scene);
	IS(mqp_send(producer, scene.message, 2000, NULL), MQP_UNAUTHENTICATED);
	write_credentials(path, scene.address, "ak", "secret");
	OK(mqp_send(producer, scene.message, PATIENCE_MS, NULL));
	mqp_producer_free(producer);
	scene_end(&scene);
	unlink(path);
	rmdir(directory);
}

static void tls_connections(void)
{
	char directory[] = "/tmp/mqpaas-sdk-XXXXXX", cert[64], key[64], other[64];
	char plain[64], secure[80], named[80];
	struct fake_config config = scene_fake;
	struct scene scene;
	struct mqp_producer *producer;

	CHECK(mkdtemp(directory));
	snprintf(cert, sizeof cert, "%s/cert", directory);
	snprintf(key, sizeof key, "%s/key", directory);
	snprintf(other, sizeof other, "%s/other", directory);
	identity_make(other, key, "other");
	identity_make(cert, key, "proxy");
	config.cert_file = cert;
	config.key_file = key;
	scene_prepare(&scene, &config);
	memcpy(plain, scene.address, sizeof plain);
	snprintf(secure, sizeof secure, "tls://%s", plain);
	snprintf(named, sizeof named, "tls://localhost%s", strchr(plain, ':'));
	scene.config.connect_timeout_ms = 10000;
	scene.config.tls_ca_file = cert;
	scene.config.addresses = secure; // the certificate names the address
	scene_client(&scene);
	producer = scene_producer(&scene);
	for (int i = 0; i < 2000; ++i)
		OK(mqp_send_async(producer, scene.message, NULL, NULL));
	OK(mqp_flush(producer, PATIENCE_MS));
	CHECK_EQ(fake_stored(scene.fake), 2000);
	CHECK(fake_bound(scene.fake));
	mqp_producer_free(producer);
	mqp_client_free(scene.client);

	scene.config.addresses = named; // … and the host, which has to be looked up
	OK(mqp_client_new(&scene.config, &scene.client));
	OK(mqp_client_connect(scene.client, PATIENCE_MS));
	mqp_client_free(scene.client);

	scene.config.tls_name = "elsewhere";
	OK(mqp_client_new(&scene.config, &scene.client));
	EVENTUALLY(mqp_client_connect(scene.client, 10) == MQP_TLS);
	mqp_client_free(scene.client);

	scene.config.tls_skip_name = 1;
	OK(mqp_client_new(&scene.config, &scene.client));
	OK(mqp_client_connect(scene.client, PATIENCE_MS));
	mqp_client_free(scene.client);

	scene.config.tls_ca_file = other; // not the authority, whatever the name
	OK(mqp_client_new(&scene.config, &scene.client));
	EVENTUALLY(mqp_client_connect(scene.client, 10) == MQP_TLS);
	mqp_message_free(scene.message);
	scene.message = NULL;
	scene_end(&scene);
	unlink(cert);
	unlink(key);
	unlink(other);
	rmdir(directory);
}

// In a callback on the I/O thread everything that waits is refused, and sending is not.
static struct mqp_producer *callback_producer;
static enum mqp_code callback_codes[4];

static void send_again(const struct mqp_result *result, void *arg)
{
	struct scene *scene = arg;

	callback_codes[0] = mqp_send(callback_producer, scene->message, 1000, NULL);
	callback_codes[1] = mqp_flush(callback_producer, 1000);
	callback_codes[2] = mqp_client_close(scene->client, 1000);
	callback_codes[3] = mqp_send_async(callback_producer, scene->message, note_end, NULL);
}

static void inside_callbacks(void)
{
	struct scene scene;

	scene_start(&scene);
	callback_producer = scene_producer(&scene);
	ends_reset();
	OK(mqp_send_async(callback_producer, scene.message, send_again, &scene));
	EVENTUALLY(ended() == 1);
	IS(callback_codes[0], MQP_WOULD_DEADLOCK);
	IS(callback_codes[1], MQP_WOULD_DEADLOCK);
	IS(callback_codes[2], MQP_WOULD_DEADLOCK);
	IS(callback_codes[3], MQP_OK);
	CHECK_EQ(fake_stored(scene.fake), 2);
	mqp_producer_free(callback_producer);
	scene_end(&scene);
}

static void statistics(void)
{
	struct scene scene;
	struct mqp_producer *producer;
	char *json;

	scene_start(&scene);
	producer = scene_producer(&scene);
	OK(mqp_send(producer, scene.message, PATIENCE_MS, NULL));
	OK(mqp_client_stats_json(scene.client, &json));
	CHECK(strstr(json, "\"acknowledged\":1,"));
	CHECK(strstr(json, "\"topic\":\"t\""));
	CHECK(strstr(json, scene.address));
	mqp_free(json);
	mqp_producer_free(producer);
	scene_end(&scene);
}

UNIT_MAIN(UNIT_CASE(three_ways), UNIT_CASE(many_threads_share_batches), UNIT_CASE(lost_answer),
	  UNIT_CASE(silent_proxy), UNIT_CASE(slow_proxy), UNIT_CASE(silent_address),
	  UNIT_CASE(order_through_faults), UNIT_CASE(refused_for_good), UNIT_CASE(out_of_time),
	  UNIT_CASE(never_connected), UNIT_CASE(unknown_topic), UNIT_CASE(wrong_secret),
	  UNIT_CASE(full_fails), UNIT_CASE(full_blocks), UNIT_CASE(full_blocks_in_vain),
	  UNIT_CASE(closing_cancels), UNIT_CASE(closing_waits), UNIT_CASE(small_frames),
	  UNIT_CASE(compressed), UNIT_CASE(failover), UNIT_CASE(tls_connections), UNIT_CASE(goaway),
	  UNIT_CASE(dead_key), UNIT_CASE(dead_key_in_doubt), UNIT_CASE(window_throttled),
	  UNIT_CASE(ready_is_not_connected), UNIT_CASE(credentials_wrong),
	  UNIT_CASE(credentials_mended), UNIT_CASE(credentials_reload), UNIT_CASE(inside_callbacks),
	  UNIT_CASE(statistics))
