// The load test: sends at a wanted rate, or as fast as possible, and measures.
//
// One thread sends; the SDK's threads bring acknowledgements and deliveries. Latencies are
// corrected for coordinated omission: a message counts from the moment at which it was due to be
// sent, not from the later one at which a delayed sender sent it. Without a rate there is no such
// moment, and the time of the call is taken. End to end, that moment travels in the first 8 bytes
// of the body, so sender and receiver are this one process with one clock.
//
// Invariant: `lock` guards everything that the SDK's threads write. Latencies are in microseconds.
// It creates no topics or groups.

#include "ctl/perf.h"

#include "core/base/clock.h"
#include "core/base/histogram.h"
#include "core/base/util.h"
#include "ctl/output.h"
#include "ctl/session.h"

#include <pthread.h>
#include <stdio.h>
#include <time.h>

#define READY_MS      30000
#define BODY_MIN      8u
#define DRAIN_MS      30000
#define PROGRESS_NS   (2 * S_NS)
#define DEFAULT_COUNT 1000000u

const struct option perf_options[] = {
	{"count", "count", VALUE_COUNT, "how many messages (default 1M, or as --duration says)"},
	{"duration", "duration", VALUE_DURATION, "how long"},
	{"rate", "rate", VALUE_COUNT, "messages a second (default: as fast as possible)"},
	{"size", "size", VALUE_SIZE, "bytes of a body (default 100)"},
	{"keys", "keys", VALUE_COUNT, "number of different keys (default: no key)"},
	{"mode", "mode", VALUE_TEXT, "produce: async (default), sync or oneway"},
	{"compression", "compression", VALUE_TEXT, "none (default), lz4 or zstd"},
	{"threads", "threads", VALUE_COUNT, "consume: callback threads (default 1)"},
	{NULL, NULL, 0, NULL},
};

enum send_mode { SEND_ASYNC, SEND_SYNC, SEND_ONEWAY };

struct perf {
	uint64_t count, duration_ns, rate, keys;
	size_t size;
	enum send_mode mode;
	enum mqp_compression compression;
	uint32_t threads;
	bool progress;

	pthread_mutex_t lock; // of what follows: SDK threads write it
	struct histogram latency;
	uint64_t acknowledged, failed, delivered, redelivered;
	enum mqp_code first_failure;
	uint64_t first_delivery_ns, last_delivery_ns;

	uint64_t sent, start_ns, sent_ns;
};

static uint64_t number_option(const json_t *options, const char *name, uint64_t otherwise)
{
	const json_t *value = json_object_get(options, name);

	return json_is_integer(value) ? (uint64_t)json_integer_value(value) : otherwise;
}

// One of the words of a list ("async,sync,oneway"); -1: none.
static int word_option(const json_t *options, const char *name, const char *const *words,
		       size_t count)
{
	const char *text = json_string_value(json_object_get(options, name));

	for (size_t i = 0; text && i < count; ++i)
		if (strcmp(text, words[i]) == 0)
			return (int)i;
	return text ? -1 : 0;
}

static int options_read(const json_t *options, bool produces, struct perf *perf)
{
	static const char *const modes[] = {"async", "sync", "oneway"}, *const compressions[] = {
										"none", "lz4",
										"zstd"};
	int mode = word_option(options, "mode", modes, ARRAY_SIZE(modes));
	int compression =
		word_option(options, "compression", compressions, ARRAY_SIZE(compressions));

	if (mode < 0)
		return ctl_fail(CTL_USAGE, "--mode: not async, sync or oneway");
	if (compression < 0)
		return ctl_fail(CTL_USAGE, "--compression: not none, lz4 or zstd");
	perf->mode = (enum send_mode)mode;
	perf->compression = (enum mqp_compression)compression;
	perf->duration_ns = number_option(options, "duration", 0) * MS_NS;
	perf->count =
		number_option(options, "count", perf->duration_ns ? UINT64_MAX : DEFAULT_COUNT);
	perf->rate = number_option(options, "rate", 0);
	perf->keys = number_option(options, "keys", 0);
	perf->size = (size_t)number_option(options, "size", 100);
	perf->threads = (uint32_t)number_option(options, "threads", 1);
	if (produces && (perf->size < BODY_MIN || perf->size > (64u << 20)))
		return ctl_fail(
			CTL_USAGE,
			"--size: a body has 8 bytes to 64 MiB here (its first 8 hold a time)");
	if (perf->count == 0 || perf->threads == 0)
		return ctl_fail(CTL_USAGE, "--count and --threads begin at 1");
	return 0;
}

// The one test of this process. A callback's argument carries the moment at which its message was
// due, so that nothing is allocated per message.
static struct perf *running;

// ---- callbacks, on the SDK's threads

static void on_sent(const struct mqp_result *result, void *due_ns)
{
	uint64_t now_ns = clock_now_ns();

	pthread_mutex_lock(&running->lock);
	if (mqp_result_outcome(result) == MQP_OUTCOME_OK) {
		++running->acknowledged;
		histogram_add(&running->latency, (now_ns - (uint64_t)(uintptr_t)due_ns) / 1000);
	} else if (running->failed++ == 0) {
		running->first_failure = mqp_result_code(result);
	}
	pthread_mutex_unlock(&running->lock);
}

static enum mqp_verdict on_delivered(struct mqp_message *message, void *arg)
{
	bool timed = arg != NULL;
	uint64_t now_ns = clock_now_ns();
	size_t size;
	const void *body = mqp_message_body(message, &size);

	pthread_mutex_lock(&running->lock);
	++running->delivered;
	running->redelivered += mqp_message_attempt(message) > 1;
	if (!running->first_delivery_ns)
		running->first_delivery_ns = now_ns;
	running->last_delivery_ns = now_ns;
	// Messages of an earlier run may still be in the topic: they are counted, not timed.
	if (timed && body && size >= BODY_MIN && le64_get(body) >= running->start_ns)
		histogram_add(&running->latency, (now_ns - le64_get(body)) / 1000);
	pthread_mutex_unlock(&running->lock);
	return MQP_VERDICT_ACK;
}

// ---- sending

static void sleep_until(uint64_t at_ns)
{
	struct timespec at = {.tv_sec = (time_t)(at_ns / S_NS), .tv_nsec = (long)(at_ns % S_NS)};

	clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &at, NULL);
}

static uint64_t value_locked(struct perf *perf, const uint64_t *value)
{
	uint64_t copy;

	pthread_mutex_lock(&perf->lock);
	copy = *value;
	pthread_mutex_unlock(&perf->lock);
	return copy;
}

static void print_progress(struct perf *perf, uint64_t now_ns, uint64_t *next_ns)
{
	if (!perf->progress || now_ns < *next_ns)
		return;
	*next_ns = now_ns + PROGRESS_NS;
	fprintf(stderr, "%5.0f s  sent %llu  acknowledged %llu  delivered %llu  failed %llu\n",
		(double)(now_ns - perf->start_ns) / 1e9, (unsigned long long)perf->sent,
		(unsigned long long)value_locked(perf, &perf->acknowledged),
		(unsigned long long)value_locked(perf, &perf->delivered),
		(unsigned long long)value_locked(perf, &perf->failed));
}

static enum mqp_code send_one(struct perf *perf, struct mqp_producer *producer,
			      struct mqp_message *message, uint8_t *body, uint64_t due_ns)
{
	char key[24];
	enum mqp_code code;

	le64_put(body, due_ns);
	mqp_message_set_body(message, body, perf->size);
	if (perf->keys)
		mqp_message_set_key(
			message, key,
			(size_t)snprintf(key, sizeof key, "%llu",
					 (unsigned long long)(perf->sent % perf->keys)));
	if (perf->mode == SEND_ONEWAY)
		return mqp_send_oneway(producer, message);
	if (perf->mode == SEND_ASYNC)
		return mqp_send_async(producer, message, on_sent, (void *)(uintptr_t)due_ns);
	code = mqp_send(producer, message, DRAIN_MS, NULL);
	pthread_mutex_lock(&perf->lock);
	if (code == MQP_OK) {
		++perf->acknowledged;
		histogram_add(&perf->latency, (clock_now_ns() - due_ns) / 1000);
	} else if (perf->failed++ == 0) {
		perf->first_failure = code;
	}
	pthread_mutex_unlock(&perf->lock);
	return MQP_OK;
}

static int send_all(struct perf *perf, struct mqp_producer *producer)
{
	_cleanup_(freep) uint8_t *body = calloc(1, perf->size);
	struct mqp_message *message = NULL;
	uint64_t next_progress_ns = perf->start_ns + PROGRESS_NS;
	enum mqp_code code = body ? mqp_message_new(&message) : MQP_NO_MEMORY;

	while (code == MQP_OK && perf->sent < perf->count && !session_interrupted) {
		uint64_t now_ns = clock_now_ns(), due_ns = now_ns;

		if (perf->duration_ns && now_ns - perf->start_ns >= perf->duration_ns)
			break;
		if (perf->rate) {
			due_ns = perf->start_ns +
				 (uint64_t)((double)perf->sent * 1e9 / (double)perf->rate);
			if (due_ns > now_ns)
				sleep_until(due_ns);
		}
		print_progress(perf, now_ns, &next_progress_ns);
		code = send_one(perf, producer, message, body, due_ns);
		perf->sent += code == MQP_OK;
	}
	mqp_message_free(message);
	if (code == MQP_OK)
		code = mqp_flush(producer, DRAIN_MS);
	perf->sent_ns = clock_now_ns();
	return code == MQP_OK ? 0 : session_fail("sending", code);
}

static int run_producer(struct perf *perf, struct mqp_client *client, const char *topic)
{
	struct mqp_producer_config config;
	struct mqp_producer *producer;
	enum mqp_code code;
	int r;

	mqp_producer_config_init(&config, sizeof config);
	config.topic = topic;
	config.compression = perf->compression;
	code = mqp_producer_new(client, &config, &producer);
	if (code != MQP_OK)
		return session_fail(topic, code);
	code = mqp_producer_ready(producer, READY_MS);
	perf->start_ns = clock_now_ns();
	r = code == MQP_OK ? send_all(perf, producer) : session_fail(topic, code);
	mqp_producer_close(producer, DRAIN_MS);
	mqp_producer_free(producer);
	return r;
}

// ---- receiving

static int consumer_open(struct perf *perf, struct mqp_client *client, const char *group,
			 bool timed, struct mqp_consumer **ret)
{
	struct mqp_consumer_config config;
	enum mqp_code code;

	mqp_consumer_config_init(&config, sizeof config);
	config.group = group;
	config.callback = on_delivered;
	config.arg = timed ? perf : NULL;
	config.threads = perf->threads;
	config.prefetch_messages = 16384;
	config.prefetch_bytes = 64u << 20;
	code = mqp_consumer_new(client, &config, ret);
	if (code != MQP_OK)
		return session_fail(group, code);
	code = mqp_consumer_ready(*ret, READY_MS);
	if (code == MQP_OK)
		return 0;
	mqp_consumer_free(*ret);
	return session_fail(group, code);
}

// Until `count` were delivered, the time is over, or nothing has come for `idle_ns`.
static void await_deliveries(struct perf *perf, uint64_t count, uint64_t idle_ns)
{
	uint64_t next_progress_ns = clock_now_ns() + PROGRESS_NS, seen = 0,
		 seen_ns = clock_now_ns();

	while (!session_interrupted) {
		uint64_t now_ns = clock_now_ns(), delivered = value_locked(perf, &perf->delivered);

		if (delivered != seen) {
			seen = delivered;
			seen_ns = now_ns;
		}
		if (delivered >= count || now_ns - seen_ns >= idle_ns ||
		    (perf->duration_ns && now_ns - perf->start_ns >= perf->duration_ns + idle_ns))
			break;
		print_progress(perf, now_ns, &next_progress_ns);
		sleep_until(now_ns + 2 * MS_NS);
	}
}

static int run_consumer(struct perf *perf, struct mqp_client *client, const char *group)
{
	struct mqp_consumer *consumer;
	int r = consumer_open(perf, client, group, false, &consumer);

	if (r)
		return r;
	perf->start_ns = clock_now_ns();
	await_deliveries(perf, perf->count,
			 perf->duration_ns ? perf->duration_ns : DRAIN_MS * MS_NS);
	mqp_consumer_close(consumer, DRAIN_MS);
	mqp_consumer_free(consumer);
	return 0;
}

static int end_to_end(struct perf *perf, struct mqp_client *client, const char *topic,
		      const char *group)
{
	struct mqp_consumer *consumer;
	int r = consumer_open(perf, client, group, true, &consumer);

	if (r)
		return r;
	perf->mode = SEND_ONEWAY == perf->mode ? SEND_ONEWAY : SEND_ASYNC;
	r = run_producer(perf, client, topic);
	if (!r)
		await_deliveries(perf, perf->sent, 5 * S_NS);
	mqp_consumer_close(consumer, DRAIN_MS);
	mqp_consumer_free(consumer);
	return r;
}

// ---- result

static double per_second(uint64_t count, uint64_t from_ns, uint64_t to_ns)
{
	return to_ns > from_ns ? (double)count * 1e9 / (double)(to_ns - from_ns) : 0;
}

static json_t *result_make(const struct perf *perf, bool produced, bool consumed)
{
	json_t *result = json_object(), *latency = json_object();
	static const struct {
		const char *name;
		double percent;
	} points[] = {{"p50", 50}, {"p90", 90}, {"p99", 99}, {"p99_9", 99.9}, {"p99_99", 99.99}};

	if (produced) {
		double rate = per_second(perf->acknowledged, perf->start_ns, perf->sent_ns);

		json_object_set_new(result, "sent", json_integer((json_int_t)perf->sent));
		json_object_set_new(result, "acknowledged",
				    json_integer((json_int_t)perf->acknowledged));
		json_object_set_new(result, "failed", json_integer((json_int_t)perf->failed));
		json_object_set_new(
			result, "sent_per_s",
			json_real(per_second(perf->sent, perf->start_ns, perf->sent_ns)));
		json_object_set_new(result, "acknowledged_per_s", json_real(rate));
		json_object_set_new(result, "megabytes_per_s",
				    json_real(rate * (double)perf->size / 1e6));
	}
	if (consumed) {
		json_object_set_new(result, "delivered", json_integer((json_int_t)perf->delivered));
		json_object_set_new(result, "redelivered",
				    json_integer((json_int_t)perf->redelivered));
		json_object_set_new(result, "delivered_per_s",
				    json_real(per_second(perf->delivered, perf->first_delivery_ns,
							 perf->last_delivery_ns)));
	}
	if (perf->latency.count) {
		for (size_t i = 0; i < ARRAY_SIZE(points); ++i)
			json_object_set_new(latency, points[i].name,
					    json_integer((json_int_t)histogram_percentile(
						    &perf->latency, points[i].percent)));
		json_object_set_new(latency, "max", json_integer((json_int_t)perf->latency.max));
		json_object_set(result, "latency_us", latency);
	}
	json_decref(latency);
	return result;
}

int perf_run(const struct ctl *ctl, const char *topic, const char *group, const json_t *options)
{
	struct perf perf = {.lock = PTHREAD_MUTEX_INITIALIZER, .progress = !ctl->quiet};
	struct mqp_client *client;
	int r = options_read(options, topic != NULL, &perf);

	if (r || (r = session_open(&ctl->context, &client)))
		return r;
	histogram_init(&perf.latency);
	running = &perf;
	session_catch_signals();
	r = topic && group ? end_to_end(&perf, client, topic, group)
	    : topic        ? run_producer(&perf, client, topic)
			   : run_consumer(&perf, client, group);
	mqp_client_close(client, DRAIN_MS);
	mqp_client_free(client);
	if (!r) {
		json_t *result = result_make(&perf, topic != NULL, group != NULL);

		output_print(result, ctl->format, NULL);
		json_decref(result);
	}
	if (!r && perf.failed)
		r = session_fail("at least one message was not stored; the first",
				 perf.first_failure);
	return r;
}
