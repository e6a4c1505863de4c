// Consumes through the SDK, and measures how long messages are on their way.
//
//   bench_deliver address= key= secret= group= messages=N
//   bench_deliver address= key= secret= group= messages=N groups=N
//   bench_deliver address= key= secret= group= topic= seconds=N [rate=N] [size=BYTES]
//
// Each message is settled by its own handle. The first form takes what is there and prints messages
// and seconds from the first delivery to the last. The second has `groups` groups, named GROUP-0
// and so on, of which each takes `messages` messages; it says `ready` on standard error once all
// are open. The third sends too, evenly at `rate` a second (0: as fast as it may), and prints from
// when a message was due to be sent to its callback the percentiles in ns: the moment travels in
// the body, sender and receiver are one process, and a sender that is late is not forgiven.

#include "core/base/clock.h"
#include "core/base/histogram.h"
#include "core/base/util.h"
#include "tests/bench/app.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LOOK_NS    (1 * MS_NS)
#define QUIET_NS   (30 * S_NS) // nothing has come for so long: it will not come
#define SLICE_NS   (50000ull)  // an even sender wakes up so often
#define PREFETCH   65536u
#define BODY_BYTES (64u << 20)
#define LEAST      256u // messages of a consumer among many

static uint64_t delivered, first_ns, last_ns; // by the consumer's thread; `delivered` atomic
static bool is_timed;
static struct histogram latency;

static enum mqp_verdict on_message(struct mqp_message *message, void *arg)
{
	uint64_t count = __atomic_fetch_add(&delivered, 1, __ATOMIC_RELEASE);

	(void)arg;
	if (is_timed) {
		size_t size;
		const void *body = mqp_message_body(message, &size);

		histogram_add(&latency, clock_now_ns() - le64_get(body));
	} else {
		last_ns = count % 64 == 0 ? clock_now_ns() : last_ns;
		first_ns = count ? first_ns : last_ns;
	}
	return MQP_VERDICT_ACK;
}

static struct mqp_consumer *open_consumer(struct mqp_client *client, const char *group,
					  uint64_t groups)
{
	struct mqp_consumer_config config;
	struct mqp_consumer *consumer;

	mqp_consumer_config_init(&config, sizeof config);
	config.group = group;
	config.callback = on_message;
	config.prefetch_messages = MAX(PREFETCH / (uint32_t)groups, LEAST);
	config.prefetch_bytes = BODY_BYTES / (uint32_t)groups;
	app_check(mqp_consumer_new(client, &config, &consumer), "consumer");
	return consumer;
}

static struct mqp_consumer **open_consumers(const struct args *args, struct mqp_client *client,
					    uint64_t groups)
{
	struct mqp_consumer **consumers = calloc(groups, sizeof(struct mqp_consumer *));
	const char *name = args_text(args, "group", NULL);

	if (!consumers)
		die("out of memory");
	for (uint64_t i = 0; i < groups; ++i) {
		char group[128];

		snprintf(group, sizeof group, "%s-%llu", name, (unsigned long long)i);
		consumers[i] = open_consumer(client, groups > 1 ? group : name, groups);
	}
	for (uint64_t i = 0; i < groups; ++i)
		app_check(mqp_consumer_ready(consumers[i], APP_WAIT_MS), "group");
	if (groups > 1)
		fprintf(stderr, "ready\n");
	return consumers;
}

static void wait_for(uint64_t count)
{
	uint64_t seen = 0, seen_ns = clock_now_ns(), now_ns = seen_ns;

	while (seen < count) {
		uint64_t found;

		app_sleep_until(now_ns + LOOK_NS);
		now_ns = clock_now_ns();
		found = __atomic_load_n(&delivered, __ATOMIC_ACQUIRE);
		if (found != seen)
			seen_ns = now_ns;
		else if (now_ns - seen_ns > QUIET_NS)
			die("%llu of %llu messages came", (unsigned long long)seen,
			    (unsigned long long)count);
		seen = found;
	}
}

// Number of messages sent. Those due within one slice leave together, each with its own moment.
static uint64_t send_all(const struct args *args, struct mqp_producer *producer)
{
	uint64_t rate = args_number(args, "rate", 0), size = args_number(args, "size", 100);
	uint64_t started_ns = clock_now_ns(), now_ns = started_ns, sent = 0,
		 until_ns = started_ns + args_number(args, "seconds", 2) * S_NS;
	uint8_t *body = calloc(1, size + 8);
	struct mqp_message *message;

	if (!body)
		die("out of memory");
	app_check(mqp_message_new(&message), "message");
	while (now_ns < until_ns) {
		uint64_t due_ns = now_ns;

		if (rate)
			due_ns = started_ns + (uint64_t)((double)sent * 1e9 / (double)rate);
		if (due_ns > now_ns) {
			app_sleep_until(MAX(due_ns, now_ns + SLICE_NS));
			now_ns = clock_now_ns();
			continue;
		}
		le64_put(body, due_ns);
		app_check(mqp_message_set_body(message, body, size), "body");
		app_check(mqp_send_async(producer, message, NULL, NULL), "send");
		if (++sent % 64 == 0 || !rate)
			now_ns = clock_now_ns();
	}
	app_check(mqp_flush(producer, APP_WAIT_MS), "flush");
	mqp_message_free(message);
	free(body);
	return sent;
}

static void print(uint64_t count, double seconds, uint64_t used_ns)
{
	printf("{\"messages\": %llu, \"seconds\": %.6f, \"cpu_ns\": %llu, \"p50_ns\": %llu, "
	       "\"p99_ns\": %llu}\n",
	       (unsigned long long)count, seconds, (unsigned long long)used_ns,
	       (unsigned long long)histogram_percentile(&latency, 50),
	       (unsigned long long)histogram_percentile(&latency, 99));
}

int main(int argc, char **argv)
{
	struct args args = {argc, argv};
	struct mqp_client *client = app_connect(&args);
	struct mqp_producer *producer = NULL;
	uint64_t count, used_ns = app_cpu_ns(), groups = args_number(&args, "groups", 1);
	struct mqp_consumer **consumers;

	histogram_init(&latency);
	is_timed = args_text(&args, "topic", "")[0] != '\0';
	if (is_timed)
		producer = app_producer(&args, client);
	consumers = open_consumers(&args, client, groups);
	if (is_timed)
		first_ns = clock_now_ns();
	count = is_timed ? send_all(&args, producer) : groups * args_number(&args, "messages", 1);
	wait_for(count);
	if (is_timed)
		last_ns = clock_now_ns();
	count = __atomic_load_n(&delivered, __ATOMIC_ACQUIRE);
	for (uint64_t i = 0; i < groups; ++i)
		app_check(mqp_consumer_close(consumers[i], APP_WAIT_MS), "close");
	print(count, (double)(last_ns - first_ns) / 1e9, app_cpu_ns() - used_ns);
	for (uint64_t i = 0; i < groups; ++i)
		mqp_consumer_free(consumers[i]);
	free(consumers);
	mqp_producer_free(producer);
	mqp_client_free(client);
	return 0;
}
