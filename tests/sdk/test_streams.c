// The library against a fake proxy: how streams end. Whatever is late for one stream is never taken
// for another's, and none of it costs the connection that all producers and consumers share.

#include "sdk/c/src/link_impl.h"
#include "tests/sdk/scene.h"

#include <stdatomic.h>

struct end {
	atomic_bool over;
	enum mqp_outcome outcome;
	enum mqp_code code;
	unsigned attempts;
};

static void note_end(const struct mqp_result *result, void *arg)
{
	struct end *end = arg;

	end->outcome = mqp_result_outcome(result);
	end->code = mqp_result_code(result);
	end->attempts = mqp_result_attempts(result);
	atomic_store(&end->over, true);
}

// A consumer that holds one message: it stays its own as long as the connection lives.
static struct mqp_consumer *hold_one(struct scene *scene, struct mqp_message **ret_message)
{
	struct mqp_consumer_config config;
	struct mqp_consumer *consumer;
	unsigned count;

	fake_store(scene->fake, NULL, "held");
	mqp_consumer_config_init(&config, sizeof config);
	config.group = "g";
	OK(mqp_consumer_new(scene->client, &config, &consumer));
	OK(mqp_pull(consumer, 1, PATIENCE_MS, ret_message, &count));
	CHECK_EQ(count, 1);
	return consumer;
}

static void still_held(struct scene *scene, struct mqp_consumer *consumer,
		       struct mqp_message *message)
{
	OK(mqp_settle_sync(&message, 1, MQP_ACK, 0, PATIENCE_MS, NULL));
	mqp_message_free(message);
	mqp_consumer_free(consumer);
	CHECK_EQ(fake_logins(scene->fake), 1);
}

// One producer is freed with a batch at the proxy while another opens. The answer to the first's
// batch, which has the number of the second's, says OK; the second's was refused.
static void late_answer(void)
{
	struct scene scene;
	struct mqp_producer *first, *second;
	struct mqp_consumer *consumer;
	struct mqp_message *held;

	scene_start(&scene);
	consumer = hold_one(&scene, &held);
	for (unsigned round = 0; round < 20; ++round) {
		struct end gone = {.over = false}, end = {.over = false};
		size_t batches = fake_batches(scene.fake);

		first = scene_producer(&scene);
		OK(mqp_producer_ready(first, PATIENCE_MS));
		fake_hold_answers(scene.fake, true);
		OK(mqp_send_async(first, scene.message, note_end, &gone));
		EVENTUALLY(fake_batches(scene.fake) == batches + 1);
		mqp_producer_free(first);
		CHECK(gone.over && gone.outcome == MQP_OUTCOME_UNKNOWN);
		second = scene_producer(&scene);
		OK(mqp_producer_ready(second, PATIENCE_MS));
		fake_plan(scene.fake, PLAN_REJECT, 1, CODE_BAD_REQUEST, 0, 0);
		OK(mqp_send_async(second, scene.message, note_end, &end));
		EVENTUALLY(fake_batches(scene.fake) == batches + 2);
		fake_hold_answers(scene.fake, false);
		EVENTUALLY(atomic_load(&end.over));
		CHECK_EQ(end.outcome, MQP_OUTCOME_REJECTED);
		IS(end.code, MQP_BAD_REQUEST);
		mqp_producer_free(second);
	}
	still_held(&scene, consumer, held);
	CHECK_EQ(fake_reused(scene.fake), 0);
	scene_end(&scene);
}

static void ids_rise(void)
{
	struct scene scene;

	scene_start(&scene);
	OK(mqp_client_connect(scene.client, PATIENCE_MS));
	for (unsigned i = 0; i < 50; ++i) {
		struct mqp_producer *producer = scene_producer(&scene);

		OK(mqp_send(producer, scene.message, PATIENCE_MS, NULL));
		mqp_producer_free(producer);
	}
	EVENTUALLY(fake_closes(scene.fake) == 50);
	CHECK_EQ(fake_reused(scene.fake), 0);
	CHECK_EQ(fake_logins(scene.fake), 1);
	scene_end(&scene);
}

static enum mqp_outcome first_outcome;
static enum mqp_code first_code;

static void trace(const struct mqp_result *result, void *arg)
{
	if (mqp_result_attempts(result) != 1)
		return;
	first_outcome = mqp_result_outcome(result);
	first_code = mqp_result_code(result);
}

// What is not answered when CLOSED comes was not taken: it is sent again, or refused, and not in
// doubt.
static void closed_unasked(void)
{
	struct scene scene;
	struct mqp_producer *producer;
	struct end end = {.over = false};

	scene_prepare(&scene, &scene_fake);
	scene.config.trace = trace;
	scene_client(&scene);
	producer = scene_producer(&scene);
	OK(mqp_producer_ready(producer, PATIENCE_MS));
	fake_plan(scene.fake, PLAN_SILENT, 1, CODE_OK, 0, 0);
	OK(mqp_send_async(producer, scene.message, note_end, &end));
	EVENTUALLY(fake_batches(scene.fake) == 1);
	fake_close_topics(scene.fake, CODE_NOT_READY);
	EVENTUALLY(atomic_load(&end.over));
	IS(end.code, MQP_OK);
	CHECK_EQ(end.attempts, 2);
	CHECK_EQ(first_outcome, MQP_OUTCOME_REJECTED);
	IS(first_code, MQP_NOT_READY);
	CHECK_EQ(fake_closes(scene.fake), 1); // the CLOSED was answered
	end.over = false;
	fake_plan(scene.fake, PLAN_SILENT, 1, CODE_OK, 0, 0);
	OK(mqp_send_async(producer, scene.message, note_end, &end));
	EVENTUALLY(fake_batches(scene.fake) == 3);
	fake_close_topics(scene.fake, CODE_NOT_FOUND);
	EVENTUALLY(atomic_load(&end.over));
	CHECK_EQ(end.outcome, MQP_OUTCOME_REJECTED);
	IS(end.code, MQP_NOT_FOUND);
	CHECK_EQ(fake_logins(scene.fake), 1);
	mqp_producer_free(producer);
	scene_end(&scene);
}

// A CLOSE that crosses a CLOSED which was not asked for.
static void close_crosses_closed(void)
{
	struct scene scene;
	struct mqp_consumer *consumer;
	struct mqp_message *held;

	scene_start(&scene);
	consumer = hold_one(&scene, &held);
	for (unsigned i = 0; i < 50; ++i) {
		struct mqp_producer *producer = scene_producer(&scene);

		OK(mqp_producer_ready(producer, PATIENCE_MS));
		fake_close_topics(scene.fake, CODE_NOT_READY);
		mqp_producer_free(producer);
	}
	EVENTUALLY(fake_closes(scene.fake) >= 50);
	still_held(&scene, consumer, held);
	CHECK_EQ(fake_reused(scene.fake), 0);
	scene_end(&scene);
}

// After 2^31 - 1 streams a connection has no ids left: the client goes on over another one.
static void ids_run_out(void)
{
	struct scene scene;
	struct mqp_producer *first, *second;

	scene_prepare(&scene, &scene_fake);
	scene.config.io = MQP_IO_APP;
	scene_client(&scene);
	OK(mqp_client_connect(scene.client, PATIENCE_MS));
	first = scene_producer(&scene);
	OK(mqp_send(first, scene.message, PATIENCE_MS, NULL));
	scene.client->link->next_id = (uint32_t)INT32_MAX + 1;
	second = scene_producer(&scene);
	OK(mqp_send(second, scene.message, PATIENCE_MS, NULL));
	OK(mqp_send(first, scene.message, PATIENCE_MS, NULL));
	CHECK_EQ(fake_logins(scene.fake), 2);
	mqp_producer_free(first);
	mqp_producer_free(second);
	scene_end(&scene);
}

UNIT_MAIN(UNIT_CASE(late_answer), UNIT_CASE(ids_rise), UNIT_CASE(closed_unasked),
	  UNIT_CASE(close_crosses_closed), UNIT_CASE(ids_run_out))
