// For comparison: an application that talks to Kafka itself, through librdkafka, with the settings
// that the proxy's own producer has (adapters/kafka/produce/sender.c).
//
//   bench_direct bootstrap= topic= [mode=hot|small|sync|consume] [size=BYTES] [seconds=N]
//                [producers=N] [rate=N] [messages=N] [watch=PID]
//
// hot: one producer as fast as it can. small: many producers, each with one message under way, all
// served by one thread. sync: one message at a time, evenly at `rate` a second. consume: reads
// `messages` from the beginning of the topic with automatic commits. Prints messages, seconds, the
// CPU time of its own and of the process `watch`, and with mode=sync percentiles in ns.

#include "core/base/clock.h"
#include "core/base/histogram.h"
#include "core/base/util.h"
#include "tests/bench/args.h"
#include "tests/bench/costs.h"

#include <errno.h>
#include <librdkafka/rdkafka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define POLL_EVERY 1024u // messages between two looks at delivery reports
#define BATCH      1000u // messages consumed at a time

static struct args args;
static char *body;
static size_t size;
static uint64_t acknowledged, refused;
static struct histogram calls;

static rd_kafka_t *handle_new(rd_kafka_type_t type, const char *const (*settings)[2])
{
	rd_kafka_conf_t *conf = rd_kafka_conf_new();
	char problem[256];
	rd_kafka_t *kafka;

	for (; (*settings)[0]; ++settings)
		if (rd_kafka_conf_set(conf, (*settings)[0], (*settings)[1], problem,
				      sizeof problem) != RD_KAFKA_CONF_OK)
			die("%s", problem);
	if (rd_kafka_conf_set(conf, "bootstrap.servers", args_text(&args, "bootstrap", NULL),
			      problem, sizeof problem) != RD_KAFKA_CONF_OK)
		die("%s", problem);
	rd_kafka_conf_set_events(conf, RD_KAFKA_EVENT_DR);
	kafka = rd_kafka_new(type, conf, problem, sizeof problem);
	if (!kafka)
		die("%s", problem);
	return kafka;
}

static rd_kafka_t *producer_new(void)
{
	static const char *const settings[][2] = {
		{"acks", "all"},
		{"enable.idempotence", "true"},
		{"linger.ms", "0"},
		{"max.in.flight.requests.per.connection", "1"},
		{"queue.buffering.max.messages", "10000000"},
		{"queue.buffering.max.kbytes", "262144"},
		{"batch.size", "1000000"},
		{NULL, NULL},
	};

	return handle_new(RD_KAFKA_PRODUCER, settings);
}

static const char *topic_name(void)
{
	return args_text(&args, "topic", "bench");
}

// Takes the delivery reports that are there, or waits for some.
static void reports_take(rd_kafka_queue_t *queue, int wait_ms)
{
	rd_kafka_event_t *event = rd_kafka_queue_poll(queue, wait_ms);
	const rd_kafka_message_t *message;

	if (!event)
		return;
	while ((message = rd_kafka_event_message_next(event)))
		++*(message->err ? &refused : &acknowledged);
	rd_kafka_event_destroy(event);
}

static void drain(rd_kafka_queue_t *queue, uint64_t sent)
{
	while (acknowledged + refused < sent)
		reports_take(queue, 1000);
}

static void send_one(rd_kafka_topic_t *topic, rd_kafka_queue_t *queue)
{
	while (rd_kafka_produce(topic, 0, RD_KAFKA_MSG_F_COPY, body, size, NULL, 0, NULL) < 0) {
		if (errno != ENOBUFS)
			die("cannot send: %s", strerror(errno));
		reports_take(queue, 1);
	}
}

// ---- what it costs, from when everything stands to the end

static struct costs begun, spent;

static void costs_begin(void)
{
	begun = costs_now(&args);
}

static void costs_end(void)
{
	spent = costs_since(&begun, &args);
}

// ---- modes

static void hot(uint64_t seconds)
{
	rd_kafka_t *kafka = producer_new();
	rd_kafka_queue_t *queue = rd_kafka_queue_get_main(kafka);
	rd_kafka_topic_t *topic = rd_kafka_topic_new(kafka, topic_name(), NULL);
	uint64_t until_ns, sent = 0;

	send_one(topic, queue); // connects and learns of the topic
	drain(queue, 1);
	acknowledged = 0;
	costs_begin();
	until_ns = clock_now_ns() + seconds * S_NS;
	while (clock_now_ns() < until_ns) {
		for (uint32_t i = 0; i < POLL_EVERY; ++i, ++sent)
			send_one(topic, queue);
		reports_take(queue, 0);
	}
	drain(queue, sent);
	costs_end();
	rd_kafka_topic_destroy(topic);
	rd_kafka_queue_destroy(queue);
	rd_kafka_destroy(kafka);
}

struct producer {
	rd_kafka_t *kafka;
	rd_kafka_queue_t *queue;
	rd_kafka_topic_t *topic;
};

// A pipe says which producers have a report. The process ends without taking thousands of threads
// apart.
static void small(uint64_t seconds)
{
	uint32_t count = (uint32_t)args_number(&args, "producers", 1000), ready[256];
	struct producer *producers = calloc(count, sizeof *producers);
	uint64_t until_ns;
	int ends[2];

	if (!producers || pipe(ends) < 0)
		die("out of memory");
	for (uint32_t i = 0; i < count; ++i) {
		struct producer *one = &producers[i];

		one->kafka = producer_new();
		one->queue = rd_kafka_queue_get_main(one->kafka);
		one->topic = rd_kafka_topic_new(one->kafka, topic_name(), NULL);
		send_one(one->topic, one->queue);
	}
	for (uint32_t i = 0; i < count; ++i)
		drain(producers[i].queue, i + 1);
	for (uint32_t i = 0; i < count; ++i) {
		rd_kafka_queue_io_event_enable(producers[i].queue, ends[1], &i, sizeof i);
		send_one(producers[i].topic, producers[i].queue);
	}
	acknowledged = 0;
	costs_begin();
	until_ns = clock_now_ns() + seconds * S_NS;
	while (clock_now_ns() < until_ns) {
		ssize_t got = read(ends[0], ready, sizeof ready);

		for (ssize_t i = 0; i < got / (ssize_t)sizeof ready[0]; ++i) {
			struct producer *one = &producers[ready[i]];
			uint64_t before = acknowledged + refused;

			reports_take(one->queue, 0);
			if (acknowledged + refused > before)
				send_one(one->topic, one->queue);
		}
	}
	costs_end();
}

static void in_turn(uint64_t seconds)
{
	rd_kafka_t *kafka = producer_new();
	rd_kafka_queue_t *queue = rd_kafka_queue_get_main(kafka);
	rd_kafka_topic_t *topic = rd_kafka_topic_new(kafka, topic_name(), NULL);
	uint64_t rate = args_number(&args, "rate", 0), started_ns, until_ns, now_ns;

	send_one(topic, queue);
	drain(queue, 1);
	acknowledged = 0;
	costs_begin();
	now_ns = started_ns = clock_now_ns();
	until_ns = started_ns + seconds * S_NS;
	for (uint64_t sent = 0; now_ns < until_ns; ++sent) {
		uint64_t before_ns, due_ns;

		due_ns = rate ? started_ns + (uint64_t)((double)sent * 1e9 / (double)rate) : 0;
		if (due_ns > now_ns)
			costs_sleep_until(due_ns);
		before_ns = clock_now_ns();
		send_one(topic, queue);
		drain(queue, sent + 1);
		now_ns = clock_now_ns();
		histogram_add(&calls, now_ns - before_ns);
	}
	costs_end();
	rd_kafka_topic_destroy(topic);
	rd_kafka_queue_destroy(queue);
	rd_kafka_destroy(kafka);
}

// From the first message to the last.
static void consume(void)
{
	static const char *const settings[][2] = {
		{"group.id", "bench"},
		{"auto.offset.reset", "earliest"},
		{"enable.auto.commit", "true"},
		{NULL, NULL},
	};
	rd_kafka_t *kafka = handle_new(RD_KAFKA_CONSUMER, settings);
	rd_kafka_topic_partition_list_t *topics = rd_kafka_topic_partition_list_new(1);
	rd_kafka_message_t *messages[BATCH];
	uint64_t wanted = args_number(&args, "messages", 1);
	rd_kafka_queue_t *queue;

	rd_kafka_topic_partition_list_add(topics, topic_name(), RD_KAFKA_PARTITION_UA);
	rd_kafka_poll_set_consumer(kafka);
	queue = rd_kafka_queue_get_consumer(kafka);
	rd_kafka_subscribe(kafka, topics);
	while (acknowledged < wanted) {
		ssize_t count = rd_kafka_consume_batch_queue(queue, 1000, messages, BATCH);

		for (ssize_t i = 0; i < count; ++i) {
			acknowledged += messages[i]->err == RD_KAFKA_RESP_ERR_NO_ERROR;
			rd_kafka_message_destroy(messages[i]);
		}
		if (!begun.at_ns && acknowledged)
			costs_begin();
	}
	costs_end();
	rd_kafka_topic_partition_list_destroy(topics);
	rd_kafka_queue_destroy(queue);
	rd_kafka_consumer_close(kafka);
	rd_kafka_destroy(kafka);
}

int main(int argc, char **argv)
{
	const char *mode;
	uint64_t seconds;

	args = (struct args){argc, argv};
	mode = args_text(&args, "mode", "hot");
	seconds = args_number(&args, "seconds", 2);
	size = (size_t)args_number(&args, "size", 100);
	body = malloc(size + 1);
	if (!body)
		die("out of memory");
	memset(body, 'b', size);
	histogram_init(&calls);
	if (strcmp(mode, "small") == 0)
		small(seconds);
	else if (strcmp(mode, "sync") == 0)
		in_turn(seconds);
	else if (strcmp(mode, "consume") == 0)
		consume();
	else
		hot(seconds);
	printf("{\"messages\": %llu, \"refused\": %llu, \"seconds\": %.6f, \"cpu_ns\": %llu, "
	       "\"watched_ns\": %llu, \"p50_ns\": %llu, \"p99_ns\": %llu}\n",
	       (unsigned long long)acknowledged, (unsigned long long)refused,
	       (double)spent.at_ns / 1e9, (unsigned long long)spent.own_ns,
	       (unsigned long long)spent.watched_ns,
	       (unsigned long long)histogram_percentile(&calls, 50),
	       (unsigned long long)histogram_percentile(&calls, 99));
	fflush(stdout);
	_exit(refused > 0); // handles of mode=small are still there
}
