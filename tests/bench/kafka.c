// For comparison: librdkafka sending to the mock broker it brings along, in one process, as
// `bench_load mode=async` does to a proxy.
//
//   bench_kafka [size=BYTES] [seconds=N]
//
// Delivery reports are asked for and counted; the settings are those that its own documentation
// names for throughput.

#include "core/base/clock.h"
#include "core/base/util.h"
#include "tests/bench/args.h"

#include <errno.h>
#include <librdkafka/rdkafka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define POLL_EVERY 1024u // messages between two looks at delivery reports

static uint64_t acknowledged, failed;

static void on_report(rd_kafka_t *kafka, const rd_kafka_message_t *message, void *opaque)
{
	if (message->err)
		++failed;
	else
		++acknowledged;
}

static rd_kafka_t *producer_new(void)
{
	static const char *const settings[][2] = {
		{"test.mock.num.brokers", "1"},
		{"linger.ms", "5"},
		{"batch.num.messages", "100000"},
		{"batch.size", "1000000"},
		{"queue.buffering.max.messages", "1000000"},
		{"queue.buffering.max.kbytes", "1048576"},
	};
	rd_kafka_conf_t *conf = rd_kafka_conf_new();
	char problem[256];
	rd_kafka_t *kafka;

	for (size_t i = 0; i < ARRAY_SIZE(settings); ++i)
		if (rd_kafka_conf_set(conf, settings[i][0], settings[i][1], problem,
				      sizeof problem) != RD_KAFKA_CONF_OK)
			die("%s", problem);
	rd_kafka_conf_set_dr_msg_cb(conf, on_report);
	kafka = rd_kafka_new(RD_KAFKA_PRODUCER, conf, problem, sizeof problem);
	if (!kafka)
		die("%s", problem);
	return kafka;
}

static void send_one(rd_kafka_t *kafka, rd_kafka_topic_t *topic, char *body, size_t size)
{
	while (rd_kafka_produce(topic, 0, RD_KAFKA_MSG_F_COPY, body, size, NULL, 0, NULL) < 0) {
		if (errno != ENOBUFS)
			die("cannot send: %s", strerror(errno));
		rd_kafka_poll(kafka, 1);
	}
}

int main(int argc, char **argv)
{
	struct args args = {argc, argv};
	size_t size = (size_t)args_number(&args, "size", 100);
	char *body = malloc(size + 1);
	rd_kafka_t *kafka = producer_new();
	rd_kafka_topic_t *topic = rd_kafka_topic_new(kafka, "bench", NULL);
	uint64_t started_ns, until_ns, sent = 0;
	double seconds;

	if (!body || !topic)
		die("out of memory");
	memset(body, 'b', size);
	send_one(kafka, topic, body, size); // connects and learns of the topic
	rd_kafka_flush(kafka, 10000);
	acknowledged = 0;
	started_ns = clock_now_ns();
	until_ns = started_ns + args_number(&args, "seconds", 2) * S_NS;
	while (clock_now_ns() < until_ns)
		for (uint32_t i = 0; i < POLL_EVERY; ++i, ++sent) {
			send_one(kafka, topic, body, size);
			if (i == 0)
				rd_kafka_poll(kafka, 0);
		}
	rd_kafka_flush(kafka, 30000);
	seconds = (double)(clock_now_ns() - started_ns) / 1e9;
	printf("{\"messages\": %llu, \"refused\": %llu, \"seconds\": %.6f}\n",
	       (unsigned long long)acknowledged, (unsigned long long)(sent - acknowledged),
	       seconds);
	rd_kafka_topic_destroy(topic);
	rd_kafka_destroy(kafka);
	free(body);
	return failed > 0;
}
