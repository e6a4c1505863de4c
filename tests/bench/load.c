// Sends through the SDK as an application does.
//
//   bench_load address= key= secret= topic= [mode=async|sync] [io=thread|app] [size=BYTES]
//   [seconds=N] [rate=N] [ca=FILE] [batch=BYTES] [memory=BYTES]
//
// Prints messages, batches, seconds until the last was acknowledged, refused ones by their first
// code, its own CPU time, and with mode=sync the calls' percentiles in ns.

#include "core/base/clock.h"
#include "core/base/histogram.h"
#include "core/base/util.h"
#include "tests/bench/app.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

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

// One after the other, or evenly at `rate` a second.
static void send_sync(struct mqp_producer *producer, struct mqp_message *message, uint64_t until_ns,
		      uint64_t rate)
{
	uint64_t started_ns = clock_now_ns(), before_ns = started_ns;

	while (before_ns < until_ns) {
		uint64_t after_ns;

		app_check(mqp_send(producer, message, APP_WAIT_MS, NULL), "send");
		after_ns = clock_now_ns();
		++acknowledged;
		histogram_add(&calls, after_ns - before_ns);
		before_ns = after_ns;
		if (rate) {
			app_sleep_until(started_ns +
					(uint64_t)((double)acknowledged * 1e9 / (double)rate));
			before_ns = clock_now_ns();
		}
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

		if (due_ns > now_ns)
			app_sleep_until(due_ns);
		app_check(mqp_send_async(producer, message, on_end, NULL), "send");
		if (rate || sent % CLOCK_EVERY == 0)
			now_ns = clock_now_ns();
	}
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
	struct mqp_client *client = app_connect(&args);
	struct mqp_producer *producer = app_producer(&args, client);
	uint64_t started_ns, until_ns, used_ns;
	struct mqp_message *message;
	char *body = malloc(size + 1);

	if (!body)
		die("out of memory");
	memset(body, 'b', size);
	app_check(mqp_message_new(&message), "message");
	app_check(mqp_message_set_body(message, body, size), "body");
	histogram_init(&calls);
	used_ns = app_cpu_ns();
	started_ns = clock_now_ns();
	until_ns = started_ns + args_number(&args, "seconds", 2) * S_NS;
	if (strcmp(args_text(&args, "mode", "async"), "sync") == 0)
		send_sync(producer, message, until_ns, args_number(&args, "rate", 0));
	else
		send_async(producer, message, until_ns, args_number(&args, "rate", 0));
	app_check(mqp_flush(producer, APP_WAIT_MS), "flush");
	print((double)(clock_now_ns() - started_ns) / 1e9, app_cpu_ns() - used_ns,
	      mqp_client_stat(client, MQP_STAT_BATCHES));
	mqp_message_free(message);
	mqp_producer_free(producer);
	mqp_client_free(client);
	free(body);
	return 0;
}
