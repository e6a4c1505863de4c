// The library against a fake proxy: begins are told before they happen, and suspects run alone.

#include "sdk/c/src/consumer.h"
#include "tests/sdk/scene.h"

#include <signal.h>
#include <stdatomic.h>

struct seen {
	struct scene *scene;
	atomic_uint calls, running, beside;
	unsigned sleep_ms;
	size_t suspect; // its place
	bool exactly;   // callbacks are long: nothing is told ahead
	bool untold;    // the proxy does not know what is told
};

static void pause_ms(unsigned ms)
{
	struct timespec pause = {.tv_nsec = (long)ms * 1000000};

	nanosleep(&pause, NULL);
}

// The fake proxy, which reads as it comes, hears of a message before the callback has done
// anything.
static enum mqp_verdict see(struct mqp_message *message, void *arg)
{
	struct seen *seen = arg;
	unsigned call = atomic_fetch_add(&seen->calls, 1) + 1;
	bool suspect = mqp_message_offset(message) == seen->suspect;

	EVENTUALLY(seen->untold || fake_begun(seen->scene->fake) >= call);
	if (atomic_fetch_add(&seen->running, 1) > 0 && suspect)
		atomic_fetch_add(&seen->beside, 1);
	if (seen->sleep_ms)
		pause_ms(seen->sleep_ms);
	if (suspect)
		atomic_fetch_add(&seen->beside, atomic_load(&seen->running) - 1);
	if (seen->exactly && call > 1)
		CHECK_EQ(fake_begun(seen->scene->fake), call);
	atomic_fetch_sub(&seen->running, 1);
	return MQP_VERDICT_ACK;
}

static struct mqp_consumer *consumer_new(struct seen *seen, unsigned threads)
{
	struct mqp_consumer_config config;
	struct mqp_consumer *consumer;

	mqp_consumer_config_init(&config, sizeof config);
	config.group = "g";
	config.callback = see;
	config.arg = seen;
	config.threads = threads;
	OK(mqp_consumer_new(seen->scene->client, &config, &consumer));
	return consumer;
}

static void store_many(struct scene *scene, unsigned count)
{
	for (unsigned i = 0; i < count; ++i)
		fake_store(scene->fake, NULL, "body");
}

static void begins_are_told_first(void)
{
	struct scene scene;
	struct seen seen = {.scene = &scene, .suspect = SIZE_MAX};
	struct mqp_consumer *consumer;

	scene_start(&scene);
	store_many(&scene, 500);
	consumer = consumer_new(&seen, 3);
	EVENTUALLY(fake_acked(scene.fake) == 500);
	CHECK_EQ(fake_begun(scene.fake), 500);
	mqp_consumer_free(consumer);
	scene_end(&scene);
}

static void long_callbacks_are_told_exactly(void)
{
	struct scene scene;
	struct seen seen = {.scene = &scene, .suspect = SIZE_MAX, .sleep_ms = 20, .exactly = true};
	struct mqp_consumer *consumer;

	scene_start(&scene);
	store_many(&scene, 12);
	consumer = consumer_new(&seen, 1);
	EVENTUALLY(fake_acked(scene.fake) == 12);
	mqp_consumer_free(consumer);
	scene_end(&scene);
}

// Two consumers, of two clients, in one process.
static void suspects_run_alone(void)
{
	for (unsigned last = 0; last < 2; ++last) {
		struct scene scene;
		struct seen seen = {.scene = &scene, .sleep_ms = 15, .suspect = 9};
		struct mqp_client *first, *second;
		struct mqp_consumer *one, *two;

		scene_start(&scene);
		store_many(&scene, 60);
		fake_suspect(scene.fake, 9, last);
		one = consumer_new(&seen, 4);
		first = scene.client;
		OK(mqp_client_new(&scene.config, &second));
		scene.client = second;
		two = consumer_new(&seen, 4);
		scene.client = first;
		EVENTUALLY(fake_acked(scene.fake) == 60);
		CHECK_EQ(atomic_load(&seen.beside), 0);
		mqp_consumer_free(one);
		mqp_consumer_free(two);
		mqp_client_free(second);
		scene_end(&scene);
	}
}

static void suspects_are_pulled_alone(void)
{
	struct mqp_consumer_config config;
	struct mqp_consumer *consumer;
	struct mqp_message *messages[10];
	struct scene scene;
	unsigned count, taken = 0;

	scene_start(&scene);
	store_many(&scene, 6);
	fake_suspect(scene.fake, 2, true);
	mqp_consumer_config_init(&config, sizeof config);
	config.group = "g";
	OK(mqp_consumer_new(scene.client, &config, &consumer));
	for (unsigned pulls = 0; pulls < 3; ++pulls) {
		OK(mqp_pull(consumer, 10, PATIENCE_MS, messages, &count));
		CHECK_EQ(count, pulls == 0 ? 2 : pulls == 1 ? 1 : 3);
		for (unsigned i = 0; i < count; ++i) {
			CHECK_EQ(mqp_message_offset(messages[i]), taken + i);
			OK(mqp_ack(messages[i]));
			mqp_message_free(messages[i]);
		}
		taken += count;
		EVENTUALLY(fake_begun(scene.fake) >= taken); // it was in the socket before
	}
	EVENTUALLY(fake_acked(scene.fake) == 6);
	mqp_consumer_free(consumer);
	scene_end(&scene);
}

// A caller that is not let run: as long as a signal's handler does not return.
struct late_pull {
	struct mqp_consumer *consumer;
	struct mqp_message *messages[10];
	unsigned count;
	enum mqp_code code;
};

static atomic_bool late_stopped, late_goes_on;

static void late_stop(int number)
{
	atomic_store(&late_stopped, true);
	while (!atomic_load(&late_goes_on))
		pause_ms(1);
}

static void *late_run(void *arg)
{
	struct late_pull *pull = arg;

	pull->code = mqp_pull(pull->consumer, 10, PATIENCE_MS, pull->messages, &pull->count);
	return NULL;
}

static enum pull_phase phase_of(struct mqp_consumer *consumer)
{
	enum pull_phase phase;

	pthread_mutex_lock(&consumer->lock);
	phase = consumer->phase;
	pthread_mutex_unlock(&consumer->lock);
	return phase;
}

static bool hand_is_empty(struct mqp_consumer *consumer)
{
	bool empty;

	pthread_mutex_lock(&consumer->lock);
	empty = !consumer->hand.first;
	pthread_mutex_unlock(&consumer->lock);
	return empty;
}

// What a pull has got is gone again, with its connection or given back, before the caller wakes.
static void caller_wakes_late(void)
{
	struct sigaction action = {.sa_handler = late_stop};

	CHECK_EQ(sigaction(SIGUSR1, &action, NULL), 0);
	for (unsigned kicked = 0; kicked < 2; ++kicked) {
		struct late_pull pull = {.count = 0};
		struct mqp_consumer_config config;
		struct scene scene;
		pthread_t thread;

		atomic_store(&late_stopped, false);
		atomic_store(&late_goes_on, false);
		scene_start(&scene);
		mqp_consumer_config_init(&config, sizeof config);
		config.group = "g";
		OK(mqp_consumer_new(scene.client, &config, &pull.consumer));
		CHECK_EQ(pthread_create(&thread, NULL, late_run, &pull), 0);
		EVENTUALLY(phase_of(pull.consumer) == PULL_WAITING);
		CHECK_EQ(pthread_kill(thread, SIGUSR1), 0);
		EVENTUALLY(atomic_load(&late_stopped));
		store_many(&scene, 3);
		EVENTUALLY(phase_of(pull.consumer) == PULL_DONE);
		if (kicked)
			fake_kick(scene.fake);
		else
			fake_goaway(scene.fake, NULL);
		EVENTUALLY(hand_is_empty(pull.consumer));
		atomic_store(&late_goes_on, true);
		CHECK_EQ(pthread_join(thread, NULL), 0);
		CHECK(pull.code != MQP_OK);
		for (unsigned taken = 0; taken < 3; taken += pull.count) {
			OK(mqp_pull(pull.consumer, 10, PATIENCE_MS, pull.messages, &pull.count));
			for (unsigned i = 0; i < pull.count; ++i) {
				OK(mqp_ack(pull.messages[i]));
				mqp_message_free(pull.messages[i]);
			}
		}
		EVENTUALLY(fake_acked(scene.fake) == 3);
		mqp_consumer_free(pull.consumer);
		scene_end(&scene);
	}
}

// A proxy without the feature: nothing is told, and everything works.
static void old_proxy(void)
{
	struct fake_config config = scene_fake;
	struct scene scene;
	struct seen seen = {.scene = &scene, .suspect = SIZE_MAX, .untold = true};
	struct mqp_consumer *consumer;

	config.old = true;
	scene_prepare(&scene, &config);
	scene_client(&scene);
	store_many(&scene, 100);
	consumer = consumer_new(&seen, 2);
	EVENTUALLY(fake_acked(scene.fake) == 100);
	mqp_consumer_free(consumer);
	scene_end(&scene);
}

UNIT_MAIN(UNIT_CASE(begins_are_told_first), UNIT_CASE(long_callbacks_are_told_exactly),
	  UNIT_CASE(suspects_run_alone), UNIT_CASE(suspects_are_pulled_alone),
	  UNIT_CASE(caller_wakes_late), UNIT_CASE(old_proxy))
