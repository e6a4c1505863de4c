// Sends through the SDK as an application does.
//
//   bench_load address= key= secret= topic= [mode=async|sync] [io=thread|app] [size=BYTES]
//   [seconds=N] [rate=N] [ca=FILE] [batch=BYTES]
//
// Prints messages, batches, seconds until the last was acknowledged, refused ones by their first
// code, its own CPU time, and with mode=sync the calls' percentiles in ns.

#include "core/base/clock.h"
#include "core/base/histogram.h"
#include "core/base/util.h"
#include "sdk/c/include/mqpaas/mqpaas.h"
#include "tests/bench/args.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define WAIT_MS     30000
#define CLOCK_EVERY 256u // sends between two looks at the clock

static uint64_t acknowledged, refused; // by the SDK's thread; read after the flush
static enum mqp_code first_code;
static struct histogram calls;

static void on_end(const struct mqp_result *result, void *arg)
{
	if (mqp_result_outcome(result) == MQP_OUTCOME_OK)
		++acknowledged;
	else if (refused++ == 0)
		first_code = mqp_result_code(result);
}

static void check(enum mqp_code code, const char *what)
{
	if (code != MQP_OK)
		die("%s: %s", what, mqp_code_name(code));
}

static struct mqp_client *connect_client(const struct args *args)
{
	struct mqp_client_config config;
	struct mqp_client *client;

	mqp_client_config_init(&config, sizeof config);
	config.addresses = args_text(args, "address", NULL);
	config.access_key = args_text(args, "key", "bare");
	config.secret = args_text(args, "secret", "bare");
	config.tls_ca_file = args_text(args, "ca", NULL);
	config.io =
		strcmp(args_text(args, "io", "thread"), "app") == 0 ? MQP_IO_APP : MQP_IO_THREAD;
	check(mqp_client_new(&config, &client), "client");
	check(mqp_client_connect(client, WAIT_MS), "connect");
	return client;
}

static struct mqp_producer *open_producer(const struct args *args, struct mqp_client *client)
{
	struct mqp_producer_config config;
	struct mqp_producer *producer;

	mqp_producer_config_init(&config, sizeof config);
	config.topic = args_text(args, "topic", "bare");
	config.batch_bytes = (uint32_t)args_number(args, "batch", 0);
	check(mqp_producer_new(client, &config, &producer), "producer");
	check(mqp_producer_ready(producer, WAIT_MS), "topic");
	return producer;
}

static void send_sync(struct mqp_producer *producer, struct mqp_message *message, uint64_t until_ns)
{
	for (uint64_t before_ns = clock_now_ns(); before_ns < until_ns;) {
		uint64_t after_ns;

		check(mqp_send(producer, message, WAIT_MS, NULL), "send");
		after_ns = clock_now_ns();
		++acknowledged;
		histogram_add(&calls, after_ns - before_ns);
		before_ns = after_ns;
	}
}

// As fast as the SDK takes them, or evenly at `rate` a second.
static void send_async(struct mqp_producer *producer, struct mqp_message *message,
		       uint64_t until_ns, uint64_t rate)
{
	uint64_t started_ns = clock_now_ns(), now_ns = started_ns;

	for (uint64_t sent = 0; now_ns < until_ns; ++sent) {
		uint64_t due_ns =
			rate ? started_ns + (uint64_t)((double)sent * 1e9 / (double)rate) : 0;

		if (due_ns > now_ns) {
			struct timespec at = {(time_t)(due_ns / S_NS), (long)(due_ns % S_NS)};

			clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &at, NULL);
		}
		check(mqp_send_async(producer, message, on_end, NULL), "send");
		if (rate || sent % CLOCK_EVERY == 0)
			now_ns = clock_now_ns();
	}
}

static uint64_t cpu_ns(void)
{
	struct timespec used;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &used);
	return (uint64_t)used.tv_sec * S_NS + (uint64_t)used.tv_nsec;
}

static void print(double seconds, uint64_t used_ns, uint64_t batches)
{
	printf("{\"messages\": %llu, \"batches\": %llu, \"refused\": %llu, \"first_code\": \"%s\", "
	       "\"seconds\": %.6f, "
	       "\"cpu_ns\": %llu, \"p50_ns\": %llu, \"p99_ns\": %llu}\n",
	       (unsigned long long)acknowledged, (unsigned long long)batches,
	       (unsigned long long)refused, mqp_code_name(first_code), seconds,
	       (unsigned long long)used_ns, (unsigned long long)histogram_percentile(&calls, 50),
	       (unsigned long long)histogram_percentile(&calls, 99));
}

int main(int argc, char **argv)
{
	struct args args = {argc, argv};
	size_t size = (size_t)args_number(&args, "size", 100);
	struct mqp_client *client = connect_client(&args);
	struct mqp_producer *producer = open_producer(&args, client);
	uint64_t started_ns, until_ns, used_ns;
	struct mqp_message *message;
	char *body = malloc(size + 1);

	if (!body)
		die("out of memory");
	memset(body, 'b', size);
	check(mqp_message_new(&message), "message");
	check(mqp_message_set_body(message, body, size), "body");
	histogram_init(&calls);
	used_ns = cpu_ns();
	started_ns = clock_now_ns();
	until_ns = started_ns + args_number(&args, "seconds", 2) * S_NS;
	if (strcmp(args_text(&args, "mode", "async"), "sync") == 0)
		send_sync(producer, message, until_ns);
	else
		send_async(producer, message, until_ns, args_number(&args, "rate", 0));
	check(mqp_flush(producer, WAIT_MS), "flush");
	print((double)(clock_now_ns() - started_ns) / 1e9, cpu_ns() - used_ns,
	      mqp_client_stat(client, MQP_STAT_BATCHES));
	mqp_message_free(message);
	mqp_producer_free(producer);
	mqp_client_free(client);
	free(body);
	return 0;
}
