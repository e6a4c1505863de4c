// Offers more than a quota in mode `reject` allows, for some seconds, and counts what that costs.
//
//   reject TOPIC PRODUCERS CLIENTS BATCH SECONDS WARM
//
// Address and key come from the environment. The producers, shared out among the clients, have
// always something to send, in batches of at most BATCH. Prints one line of JSON: what was stored,
// and all attempts of messages, after the first WARM seconds.

#include "sdk/c/include/mqpaas/mqpaas.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define PRODUCERS_MAX 256

static atomic_ulong stored, tries, lost;
static atomic_bool over;

static void must(enum mqp_code code, const char *what)
{
	if (code == MQP_OK)
		return;
	fprintf(stderr, "reject: %s: %s\n", what, mqp_code_name(code));
	exit(1);
}

static void trace(const struct mqp_result *result, void *arg)
{
	if (!mqp_result_final(result))
		return;
	tries += mqp_result_attempts(result);
	if (mqp_result_outcome(result) == MQP_OUTCOME_OK)
		++stored;
	else
		++lost;
}

static void *offer(void *arg)
{
	struct mqp_producer *producer = arg;
	struct mqp_message *message;

	must(mqp_message_new(&message), "a message");
	must(mqp_message_set_body(message, "0123456789abcdef", 16), "a body");
	while (!atomic_load(&over))
		mqp_send_async(producer, message, NULL, NULL);
	mqp_message_free(message);
	return NULL;
}

static double now(void)
{
	struct timespec at;

	clock_gettime(CLOCK_MONOTONIC, &at);
	return (double)at.tv_sec + (double)at.tv_nsec / 1e9;
}

static void sleep_for(double seconds)
{
	struct timespec pause = {(time_t)seconds,
				 (long)((seconds - (double)(time_t)seconds) * 1e9)};

	nanosleep(&pause, NULL);
}

int main(int argc, char **argv)
{
	static struct mqp_client *clients[PRODUCERS_MAX];
	static struct mqp_producer *producers[PRODUCERS_MAX];
	static pthread_t threads[PRODUCERS_MAX];
	struct mqp_client_config config;
	struct mqp_producer_config topic;
	unsigned count, client_count;
	unsigned long stored_warm, tries_warm;
	double began;

	if (argc != 7)
		return 2;
	count = (unsigned)atoi(argv[2]);
	client_count = (unsigned)atoi(argv[3]);
	if (count > PRODUCERS_MAX || client_count > count)
		return 2;
	mqp_client_config_init(&config, sizeof config);
	config.trace = trace;
	mqp_producer_config_init(&topic, sizeof topic);
	topic.topic = argv[1];
	topic.batch_messages = (uint32_t)atoi(argv[4]);
	topic.memory_bytes = 256 << 10;
	topic.send_timeout_ms = 10000;
	for (unsigned i = 0; i < client_count; ++i)
		must(mqp_client_new(&config, &clients[i]), "a client");
	for (unsigned i = 0; i < count; ++i)
		must(mqp_producer_new(clients[i % client_count], &topic, &producers[i]),
		     "a producer");
	for (unsigned i = 0; i < count; ++i)
		must(mqp_producer_ready(producers[i], 10000), "ready");
	for (unsigned i = 0; i < count; ++i)
		pthread_create(&threads[i], NULL, offer, producers[i]);
	sleep_for(atof(argv[6]));
	stored_warm = stored;
	tries_warm = tries;
	began = now();
	sleep_for(atof(argv[5]));
	printf("{\"seconds\": %.3f, \"stored\": %lu, \"tries\": %lu, \"lost\": %lu, "
	       "\"stored_all\": %lu, \"tries_all\": %lu}\n",
	       now() - began, atomic_load(&stored) - stored_warm, atomic_load(&tries) - tries_warm,
	       atomic_load(&lost), atomic_load(&stored), atomic_load(&tries));
	fflush(stdout);
	atomic_store(&over, true);
	_exit(0);
}
