// A whole proxy and the library as its client, in one process over loopback: what they say to each
// other arrives, and when the proxy has drained every count in it is back at zero (its parts assert
// that).

#include "core/base/clock.h"
#include "proxy/proxy.h"
#include "sdk/c/include/mqpaas/mqpaas.h"
#include "tests/e2e/memory_proxy.h"
#include "tests/unit/unit.h"

#include <semaphore.h>
#include <stdatomic.h>
#include <time.h>

#define PATIENCE_MS 60000
#define IDLE_MS     50u // until the source of a group without consumers is closed
#define LARGE       (64u * 1024)

#define OK(call) CHECK_STR(mqp_code_name(call), "OK")

static struct mqp_client *client;
static struct mqp_message *message;

// `physical`: says what sends to the topic are answered (tests/e2e/memory_adapter.h).
static void begin_with(const char *physical)
{
	struct mqp_client_config config;

	memory_proxy_open();
	memory_proxy.topic.physical = physical;
	memory_proxy_put(MODEL_TOPIC, &memory_proxy.topic);
	memory_proxy.limits.source_idle_ms = IDLE_MS;
	memory_proxy_start();
	mqp_client_config_init(&config, sizeof config);
	config.addresses = memory_proxy.address;
	config.access_key = MEMORY_PROXY_KEY;
	config.secret = MEMORY_PROXY_SECRET;
	config.log_level = MQP_LOG_ERROR;
	OK(mqp_client_new(&config, &client));
	OK(mqp_client_connect(client, PATIENCE_MS));
	OK(mqp_message_new(&message));
	mqp_message_set_body(message, "body", 4);
}

static void begin(void)
{
	begin_with("t");
}

static void end(void)
{
	mqp_message_free(message);
	OK(mqp_client_close(client, PATIENCE_MS));
	mqp_client_free(client);
	if (memory_proxy.proxy)
		memory_proxy_stop();
	memory_proxy_close();
}

static struct mqp_producer *new_producer(void)
{
	struct mqp_producer_config config;
	struct mqp_producer *producer;

	mqp_producer_config_init(&config, sizeof config);
	config.topic = "t";
	OK(mqp_producer_new(client, &config, &producer));
	return producer;
}

// `callback` NULL: it pulls.
static struct mqp_consumer *new_consumer(mqp_consume_fn callback, void *arg)
{
	struct mqp_consumer_config config;
	struct mqp_consumer *consumer;

	mqp_consumer_config_init(&config, sizeof config);
	config.group = "g";
	config.callback = callback;
	config.arg = arg;
	OK(mqp_consumer_new(client, &config, &consumer));
	OK(mqp_consumer_ready(consumer, PATIENCE_MS));
	return consumer;
}

static void send_many(struct mqp_producer *producer, unsigned count)
{
	for (unsigned i = 0; i < count; ++i)
		OK(mqp_send_async(producer, message, NULL, NULL));
	OK(mqp_flush(producer, PATIENCE_MS));
}

// Takes `count` messages and settles them. Returns the sum of their attempts.
static unsigned take(struct mqp_consumer *consumer, unsigned count, enum mqp_verb verb)
{
	struct mqp_message *taken[64];
	unsigned got, attempts = 0;

	for (; count; count -= got) {
		OK(mqp_pull(consumer, MIN(count, (unsigned)ARRAY_SIZE(taken)), PATIENCE_MS, taken,
			    &got));
		for (unsigned i = 0; i < got; ++i)
			attempts += mqp_message_attempt(taken[i]);
		OK(mqp_settle_sync(taken, got, verb, 0, PATIENCE_MS, NULL));
		for (unsigned i = 0; i < got; ++i)
			mqp_message_free(taken[i]);
	}
	return attempts;
}

static void pause_ms(unsigned ms)
{
	nanosleep(&(struct timespec){.tv_nsec = (long)ms * 1000000}, NULL);
}

// ---- cases

static void messages_come_and_are_settled(void)
{
	static const uint8_t large[LARGE];
	struct mqp_producer *producer, *other;
	struct mqp_consumer *consumer;

	begin();
	producer = new_producer();
	other = new_producer();
	consumer = new_consumer(NULL, NULL);
	send_many(other, 1);
	CHECK_EQ(take(consumer, 1, MQP_ACK), 1);
	mqp_producer_free(other);
	send_many(producer, 300);
	CHECK_EQ(take(consumer, 1, MQP_NACK), 1);
	CHECK_EQ(take(consumer, 300, MQP_ACK), 301);
	mqp_message_set_body(message, large, sizeof large);
	send_many(producer, 3);
	CHECK_EQ(take(consumer, 3, MQP_ACK), 3);
	mqp_consumer_free(consumer);
	mqp_producer_free(producer);
	end();
}

// What is sent while the group has no consumer waits for the next one.
static void a_group_without_consumers_closes(void)
{
	struct mqp_producer *producer;
	struct mqp_consumer *consumer;

	begin();
	producer = new_producer();
	consumer = new_consumer(NULL, NULL);
	send_many(producer, 10);
	CHECK_EQ(take(consumer, 10, MQP_ACK), 10);
	OK(mqp_consumer_close(consumer, PATIENCE_MS));
	mqp_consumer_free(consumer);
	pause_ms(4 * IDLE_MS);
	send_many(producer, 10);
	consumer = new_consumer(NULL, NULL);
	CHECK_EQ(take(consumer, 10, MQP_ACK), 10);
	mqp_consumer_free(consumer);
	mqp_producer_free(producer);
	end();
}

// Sender and group go on over a topic that has more partitions, and over a cluster that is opened
// anew.
static void what_they_use_is_replaced(void)
{
	struct mqp_producer *producer;
	struct mqp_consumer *consumer;

	begin();
	producer = new_producer();
	consumer = new_consumer(NULL, NULL);
	send_many(producer, 10);
	CHECK_EQ(take(consumer, 10, MQP_ACK), 10);
	memory_proxy.topic.partitions = 4;
	memory_proxy_put(MODEL_TOPIC, &memory_proxy.topic);
	send_many(producer, 10);
	CHECK_EQ(take(consumer, 10, MQP_ACK), 10);
	memory_proxy.cluster.options_json = "{\"other\":1}";
	memory_proxy_put(MODEL_CLUSTER, &memory_proxy.cluster);
	OK(mqp_send(producer, message, PATIENCE_MS, NULL));
	CHECK_EQ(take(consumer, 1, MQP_ACK), 1);
	mqp_consumer_free(consumer);
	mqp_producer_free(producer);
	end();
}

static void a_group_is_deleted_under_its_consumer(void)
{
	struct mqp_producer *producer;
	struct mqp_consumer *consumer;
	struct mqp_message *taken;
	unsigned got;

	begin();
	producer = new_producer();
	consumer = new_consumer(NULL, NULL);
	send_many(producer, 10);
	OK(mqp_pull(consumer, 1, PATIENCE_MS, &taken, &got));
	memory_proxy_gone(MODEL_GROUP, memory_proxy.group.object.id);
	memory_proxy_gone(MODEL_TOPIC, memory_proxy.topic.object.id);
	while (mqp_consumer_ready(consumer, 0) == MQP_OK)
		pause_ms(1);
	mqp_message_free(taken);
	mqp_consumer_free(consumer);
	mqp_producer_free(producer);
	end();
}

static void on_result(const struct mqp_result *result, void *arg)
{
	++*(unsigned *)arg;
}

// Every second message of a batch is refused, so its answer has a run for each.
static void an_answer_has_many_runs(void)
{
	struct mqp_producer *producer;
	unsigned ended = 0;

	begin_with("half");
	producer = new_producer();
	for (unsigned i = 0; i < 40; ++i)
		OK(mqp_send_async(producer, message, on_result, &ended));
	mqp_producer_close(producer, 1000);
	CHECK_EQ(ended, 40);
	mqp_producer_free(producer);
	end();
}

static void on_reset(void *ctx, enum code code, json_t *answer, const char *text)
{
	CHECK_EQ(code, CODE_OK);
	json_decref(answer);
	sem_post(ctx);
}

static enum mqp_verdict count_one(struct mqp_message *came, void *arg)
{
	atomic_fetch_add((atomic_uint *)arg, 1);
	return MQP_VERDICT_ACK;
}

static void await_count(const atomic_uint *count, unsigned wanted)
{
	while (atomic_load(count) < wanted)
		pause_ms(1);
}

// The source of the group closes under its consumer and opens again, while more is sent.
static void a_group_is_reset(void)
{
	struct query_channel *channel;
	struct mqp_producer *producer;
	struct mqp_consumer *consumer;
	atomic_uint came = 0;
	sem_t reset;

	begin();
	sem_init(&reset, 0, 0);
	channel = proxy_query_channel(memory_proxy.proxy);
	producer = new_producer();
	consumer = new_consumer(count_one, &came);
	send_many(producer, 10);
	await_count(&came, 10);
	channel->query(channel, QUERY_GROUP_RESET,
		       json_pack("{s:I, s:{s:b}}", "group",
				 (json_int_t)memory_proxy.group.object.id, "to", "earliest", 1),
		       clock_now_ns() + PATIENCE_MS * MS_NS, on_reset, &reset);
	pause_ms(5);
	send_many(producer, 10);
	while (sem_wait(&reset) < 0)
		continue;
	sem_destroy(&reset);
	await_count(&came, 30);
	mqp_consumer_free(consumer);
	mqp_producer_free(producer);
	end();
}

// The backend takes back what it handed out: the receipts are stale, nothing that was settled then
// is told OK, and the consumer gets it again as the same attempt, without a word of its own.
static void a_source_loses_what_is_out(void)
{
	struct mqp_message *taken[2];
	struct mqp_producer *producer;
	struct mqp_consumer *consumer;
	unsigned got;

	begin_with("lose");
	producer = new_producer();
	consumer = new_consumer(NULL, NULL);
	send_many(producer, 1);
	OK(mqp_pull(consumer, 1, PATIENCE_MS, taken, &got));
	pause_ms(300); // it is lost after 200 ms, and comes again after 400
	CHECK_STR(mqp_code_name(mqp_settle_sync(taken, 1, MQP_ACK, 0, PATIENCE_MS, NULL)), "STALE");
	OK(mqp_pull(consumer, 1, PATIENCE_MS, taken + 1, &got));
	CHECK_EQ(got, 1);
	CHECK_EQ(mqp_message_attempt(taken[1]), 1);
	OK(mqp_settle_sync(taken + 1, 1, MQP_ACK, 0, PATIENCE_MS, NULL));
	mqp_message_free(taken[0]);
	mqp_message_free(taken[1]);
	send_many(producer, 100);
	CHECK_EQ(take(consumer, 100, MQP_ACK), 100);
	mqp_consumer_free(consumer);
	mqp_producer_free(producer);
	end();
}

struct asked {
	sem_t answered;
	json_t *answer;
};

static void on_answer(void *ctx, enum code code, json_t *answer, const char *text)
{
	struct asked *asked = ctx;

	CHECK_EQ(code, CODE_OK);
	asked->answer = answer;
	sem_post(&asked->answered);
}

// The caller's.
static json_t *ask_backlog(void)
{
	struct query_channel *channel = proxy_query_channel(memory_proxy.proxy);
	struct asked asked = {.answer = NULL};

	sem_init(&asked.answered, 0, 0);
	channel->query(channel, QUERY_BACKLOG,
		       json_pack("{s:I}", "group", (json_int_t)memory_proxy.group.object.id),
		       clock_now_ns() + PATIENCE_MS * MS_NS, on_answer, &asked);
	while (sem_wait(&asked.answered) < 0)
		continue;
	sem_destroy(&asked.answered);
	return asked.answer;
}

static bool backlog_is(json_int_t dead, const char *refused)
{
	json_t *backlog = ask_backlog();
	const char *told = json_string_value(json_object_get(backlog, "dead_letter_refused"));
	bool is = json_integer_value(json_object_get(backlog, "dead")) == dead &&
		  (refused ? told && strcmp(told, refused) == 0 : !told);

	CHECK(json_object_get(backlog, "dead_letter_refused"));
	json_decref(backlog);
	return is;
}

// A copy that finds no route is not tried again and again: its message stays rejected, the group
// says why, and it is tried when the topic has changed, and after a while. It is not lost.
static void a_dead_letter_finds_no_route(void)
{
	struct topic dead_letter;
	struct mqp_producer *producer;
	struct mqp_consumer *consumer;
	struct mqp_message *taken;
	uint64_t began_ns;
	unsigned got;

	begin();
	dead_letter = memory_proxy.topic;
	dead_letter.object.id = 6;
	dead_letter.name = "t.dead";
	dead_letter.physical = "noroute"; // until the third batch
	memory_proxy_put(MODEL_TOPIC, &dead_letter);
	memory_proxy.group.dead_letter = 6;
	memory_proxy_put(MODEL_GROUP, &memory_proxy.group);
	producer = new_producer();
	consumer = new_consumer(NULL, NULL);
	send_many(producer, 1);
	OK(mqp_pull(consumer, 1, PATIENCE_MS, &taken, &got));
	CHECK(backlog_is(0, NULL));
	began_ns = clock_now_ns();
	CHECK(mqp_settle_sync(&taken, 1, MQP_REJECT, 0, 100, NULL) != MQP_OK);
	while (!backlog_is(0, "NO_ROUTE"))
		pause_ms(1);
	send_many(producer, 10); // others go on
	CHECK_EQ(take(consumer, 10, MQP_ACK), 10);
	CHECK(backlog_is(0, "NO_ROUTE"));
	memory_proxy_put(MODEL_TOPIC, &dead_letter); // the second
	pause_ms(50);
	CHECK(backlog_is(0, "NO_ROUTE"));
	memory_proxy_put(MODEL_TOPIC, &dead_letter);
	while (!backlog_is(1, NULL))
		pause_ms(1);
	CHECK(clock_now_ns() < began_ns + 3 * S_NS); // when it would have come by itself
	mqp_message_free(taken);
	mqp_consumer_free(consumer);
	mqp_producer_free(producer);
	end();
}

// Begins with a group of this mode, whose source loses what is out 200 ms after the first delivery.
static void begin_losing(uint8_t mode)
{
	begin_with("lose");
	memory_proxy.group.mode = mode;
	memory_proxy_put(MODEL_GROUP, &memory_proxy.group);
}

// Takes one message, and the same once more when the source has lost it.
static void take_over_a_loss(struct mqp_consumer *consumer)
{
	struct mqp_message *taken[2];
	unsigned got;

	OK(mqp_pull(consumer, 1, PATIENCE_MS, taken, &got));
	OK(mqp_pull(consumer, 1, PATIENCE_MS, taken + 1, &got));
	CHECK_EQ(mqp_message_offset(taken[0]), mqp_message_offset(taken[1]));
	CHECK_EQ(mqp_message_attempt(taken[1]), 1);
	CHECK_STR(mqp_code_name(mqp_settle_sync(taken, 1, MQP_ACK, 0, PATIENCE_MS, NULL)), "STALE");
	OK(mqp_settle_sync(taken + 1, 1, MQP_ACK, 0, PATIENCE_MS, NULL));
	mqp_message_free(taken[0]);
	mqp_message_free(taken[1]);
}

// The consumer stays the group's, and the message comes to it again.
static void an_exclusive_group_goes_on_over_a_loss(void)
{
	struct mqp_producer *producer;
	struct mqp_consumer *consumer;

	begin_losing(GROUP_EXCLUSIVE);
	producer = new_producer();
	consumer = new_consumer(NULL, NULL);
	send_many(producer, 1);
	take_over_a_loss(consumer);
	send_many(producer, 100);
	CHECK_EQ(take(consumer, 100, MQP_ACK), 100);
	mqp_consumer_free(consumer);
	mqp_producer_free(producer);
	end();
}

// The oldest consumer stays the one that is served; the other one's turn comes when it goes.
static void a_failover_group_goes_on_over_a_loss(void)
{
	struct mqp_producer *producer;
	struct mqp_consumer *first, *second;
	struct mqp_message *taken;
	unsigned got;

	begin_losing(GROUP_FAILOVER);
	producer = new_producer();
	first = new_consumer(NULL, NULL);
	second = new_consumer(NULL, NULL);
	send_many(producer, 1);
	take_over_a_loss(first);
	CHECK(mqp_pull(second, 1, 0, &taken, &got) != MQP_OK || got == 0);
	mqp_consumer_free(first);
	send_many(producer, 100);
	CHECK_EQ(take(second, 100, MQP_ACK), 100);
	mqp_consumer_free(second);
	mqp_producer_free(producer);
	end();
}

// What a consumer holds can still be settled while the proxy leaves.
static void a_proxy_drains_under_its_consumer(void)
{
	struct mqp_producer *producer;
	struct mqp_consumer *consumer;

	begin();
	producer = new_producer();
	consumer = new_consumer(NULL, NULL);
	send_many(producer, 10);
	CHECK_EQ(take(consumer, 10, MQP_ACK), 10);
	memory_proxy_stop();
	mqp_consumer_free(consumer);
	mqp_producer_free(producer);
	end();
}

UNIT_MAIN(UNIT_CASE(an_answer_has_many_runs), UNIT_CASE(a_group_is_reset),
	  UNIT_CASE(a_source_loses_what_is_out), UNIT_CASE(a_dead_letter_finds_no_route),
	  UNIT_CASE(an_exclusive_group_goes_on_over_a_loss),
	  UNIT_CASE(a_failover_group_goes_on_over_a_loss), UNIT_CASE(messages_come_and_are_settled),
	  UNIT_CASE(a_group_without_consumers_closes), UNIT_CASE(what_they_use_is_replaced),
	  UNIT_CASE(a_group_is_deleted_under_its_consumer),
	  UNIT_CASE(a_proxy_drains_under_its_consumer))
