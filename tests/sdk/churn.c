// Frees producers that have a batch at the proxy while others open, over and over, on one client
// with an innocent consumer: every result must be of its own message.
//
//   churn ROUNDS TOPIC OTHER GROUP COUNT
//
// Address and key come from the environment. Messages go to TOPIC (incarnation 1) by producers that
// are freed and to OTHER (incarnation 2) by those that stay until all is answered; one of four asks
// for partition 99 of 1. The consumer holds COUNT messages of GROUP all the while. Prints one line
// of JSON; tests/e2e/test_sdk_streams.py knows what it must say.

#include "sdk/c/include/mqpaas/mqpaas.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define SENDS    4
#define BAD      3 // of them, asks for a partition that is not there
#define HELD_MAX 256

static atomic_ulong ended, stored, foreign, bad_stored;

static void must(enum mqp_code code, const char *what)
{
	if (code == MQP_OK)
		return;
	fprintf(stderr, "churn: %s: %s\n", what, mqp_code_name(code));
	exit(1);
}

static void on_end(const struct mqp_result *result, void *arg)
{
	const int *bad = arg;

	if (mqp_result_outcome(result) == MQP_OUTCOME_OK) {
		++stored;
		foreign += mqp_result_incarnation(result) != 2;
		bad_stored += *bad != 0;
	}
	++ended;
}

static void on_cut_end(const struct mqp_result *result, void *arg)
{
}

static struct mqp_producer *open_topic(struct mqp_client *client, const char *topic)
{
	struct mqp_producer_config config;
	struct mqp_producer *producer;

	mqp_producer_config_init(&config, sizeof config);
	config.topic = topic;
	must(mqp_producer_new(client, &config, &producer), topic);
	return producer;
}

static void send_some(struct mqp_producer *producer, mqp_send_fn end)
{
	static int is_bad[SENDS] = {[BAD] = 1};
	struct mqp_message *message;

	must(mqp_message_new(&message), "a message");
	for (int i = 0; i < SENDS; ++i) {
		must(mqp_message_reset(message), "a reset");
		must(mqp_message_set_body(message, "body", 4), "a body");
		if (i == BAD)
			must(mqp_message_set_partition(message, 99), "a partition");
		must(mqp_send_async(producer, message, end, &is_bad[i]), "a send");
	}
	mqp_message_free(message);
}

static void sleep_ms(long ms)
{
	nanosleep(&(struct timespec){0, ms * 1000000}, NULL);
}

static void round_of(struct mqp_client *client, const char *cut_topic, const char *topic, int n)
{
	struct mqp_producer *cut = open_topic(client, cut_topic), *whole;

	must(mqp_producer_ready(cut, 10000), "a topic");
	send_some(cut, on_cut_end);
	sleep_ms(n % 20);
	mqp_producer_free(cut);
	whole = open_topic(client, topic);
	send_some(whole, on_end);
	must(mqp_flush(whole, 20000), "a flush");
	mqp_producer_free(whole);
}

int main(int argc, char **argv)
{
	struct mqp_client_config config;
	struct mqp_consumer_config group;
	struct mqp_message *held[HELD_MAX];
	struct mqp_client *client;
	struct mqp_consumer *consumer;
	unsigned count = 0, want, got;

	if (argc != 6 || (want = (unsigned)atoi(argv[5])) > HELD_MAX)
		return 2;
	mqp_client_config_init(&config, sizeof config);
	must(mqp_client_new(&config, &client), "a client");
	mqp_consumer_config_init(&group, sizeof group);
	group.group = argv[4];
	must(mqp_consumer_new(client, &group, &consumer), "a consumer");
	for (; count < want; count += got)
		must(mqp_pull(consumer, want - count, 10000, held + count, &got), "a pull");
	for (int i = 0; i < atoi(argv[1]); ++i)
		round_of(client, argv[2], argv[3], i);
	must(mqp_settle_sync(held, count, MQP_ACK, 0, 10000, NULL), "the settle of what was held");
	printf("{\"ended\": %lu, \"stored\": %lu, \"foreign\": %lu, \"bad_stored\": %lu, "
	       "\"connects\": %llu}\n",
	       atomic_load(&ended), atomic_load(&stored), atomic_load(&foreign),
	       atomic_load(&bad_stored),
	       (unsigned long long)mqp_client_stat(client, MQP_STAT_CONNECTS));
	for (unsigned i = 0; i < count; ++i)
		mqp_message_free(held[i]);
	mqp_consumer_free(consumer);
	mqp_client_free(client);
	return 0;
}
