// A librdkafka handle and, unless its owner serves it, the thread that does.
//
// The thread is no executor and no ticker: it waits inside librdkafka's main queue for the next
// event, and no other thread hands it anything.
//
// Log lines, throttling and events come by the handle's main queue; the owner gets the events.
// Errors that are a consequence of throttling by a quota are not passed on: we do not read a
// connection then, and librdkafka takes it for dead.
//
// Invariant: all callbacks but `ended` run on the thread that serves the main queue. What it does
// not do: count messages or wait for them; the sender drains first.

#include "adapters/kafka/client/client.h"

#include "core/base/clock.h"
#include "core/base/util.h"
#include "core/loop/thread.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define POLL_MS       100
#define TELL_NS       (60 * S_NS)
#define AFTERWARDS_NS (2 * S_NS) // for what was not read meanwhile to be answered

struct client {
	rd_kafka_t *handle;
	rd_kafka_queue_t *queue;
	pthread_t thread;
	bool stopping;         // atomic
	uint64_t throttled_ns; // atomic
	uint64_t told_ns;      // of the thread that serves it: when it was last told of throttling
	struct client_config config;
	char name[16];
};

uint64_t client_throttled_ns(const struct client *client)
{
	return __atomic_load_n(&client->throttled_ns, __ATOMIC_ACQUIRE);
}

static bool is_throttled(const struct client *client)
{
	return clock_now_ns() < client_throttled_ns(client);
}

// Comes by the main queue, as events do.
static void on_throttle(rd_kafka_t *handle, const char *broker, int32_t id, int throttle_ms,
			void *opaque)
{
	uint64_t now_ns = clock_now_ns(),
		 wait_ns = (uint64_t)MIN(throttle_ms, CLIENT_SILENCE_MS) * MS_NS;
	struct client *client = opaque;

	if (throttle_ms <= 0)
		return; // over, for what was asked
	__atomic_store_n(&client->throttled_ns, now_ns + wait_ns + AFTERWARDS_NS, __ATOMIC_RELEASE);
	if (client->told_ns && now_ns - client->told_ns < TELL_NS)
		return;
	client->told_ns = now_ns;
	log_warn(client->config.log, "KAFKA-THROTTLED",
		 "broker %s lets client mqpaas-%s wait for %d ms: it is over a quota", broker,
		 client->config.role, throttle_ms);
}

// Such an event is the end of a connection that was not read any more.
static bool is_silence(const struct client *client, rd_kafka_event_t *event)
{
	rd_kafka_resp_err_t error = rd_kafka_event_error(event);

	return rd_kafka_event_type(event) == RD_KAFKA_EVENT_ERROR &&
	       (error == RD_KAFKA_RESP_ERR__TIMED_OUT ||
		error == RD_KAFKA_RESP_ERR__MSG_TIMED_OUT) &&
	       is_throttled(client);
}

static void log_line(const struct client *client, rd_kafka_event_t *event)
{
	const char *facility, *text;
	int level;

	if (rd_kafka_event_log(event, &facility, &text, &level) != 0)
		return;
	// What is wrong with connections comes as an event, too, and is told once; topics grow and
	// go, and brokers that start ask for patience.
	if (strcmp(facility, "FAIL") == 0 || strcmp(facility, "ERROR") == 0 ||
	    strcmp(facility, "PARTCNT") == 0 || strstr(text, ": retrying"))
		return;
	if (strcmp(facility, "REQTMOUT") == 0 && is_throttled(client))
		return;
	if (level <= 3)
		log_error(client->config.log, "KAFKA-CLIENT", "%s: %s", facility, text);
	else if (level <= 5)
		log_warn(client->config.log, "KAFKA-CLIENT", "%s: %s", facility, text);
}

// false: nothing came in time.
static bool serve_one(struct client *client, int wait_ms)
{
	rd_kafka_event_t *event = rd_kafka_queue_poll(client->queue, wait_ms);

	if (!event)
		return false;
	if (rd_kafka_event_type(event) == RD_KAFKA_EVENT_LOG)
		log_line(client, event);
	else if (!is_silence(client, event))
		client->config.event(client->config.ctx, event);
	rd_kafka_event_destroy(event);
	return true;
}

static void *client_run(void *arg)
{
	struct client *client = arg;

	while (!__atomic_load_n(&client->stopping, __ATOMIC_ACQUIRE)) {
		serve_one(client, POLL_MS);
		if (client->config.tick)
			client->config.tick(client->config.ctx);
	}
	return NULL;
}

void client_serve(struct client *client)
{
	while (serve_one(client, 0))
		;
}

static bool conf_fill(rd_kafka_conf_t *conf, const struct client_config *config, char **ret_error)
{
	char id[64], text[256];

	snprintf(id, sizeof id, "mqpaas-%s", config->role);
	if (rd_kafka_conf_set(conf, "client.id", id, text, sizeof text) != RD_KAFKA_CONF_OK ||
	    rd_kafka_conf_set(conf, "log.queue", "true", text, sizeof text) != RD_KAFKA_CONF_OK)
		goto refused;
	for (size_t i = 0; config->settings && config->settings[i][0]; ++i)
		if (rd_kafka_conf_set(conf, config->settings[i][0], config->settings[i][1], text,
				      sizeof text) != RD_KAFKA_CONF_OK)
			goto refused;
	rd_kafka_conf_set_events(conf,
				 RD_KAFKA_EVENT_DR | RD_KAFKA_EVENT_ERROR | RD_KAFKA_EVENT_LOG);
	return true;
refused:
	*ret_error = strdup(text);
	return false;
}

// ---- what librdkafka tells on its own threads

static rd_kafka_resp_err_t on_acknowledgement(rd_kafka_t *handle, rd_kafka_message_t *message,
					      void *ctx)
{
	const struct client *client = ctx;

	client->config.ended(client->config.ctx, handle, message);
	return RD_KAFKA_RESP_ERR_NO_ERROR;
}

static rd_kafka_resp_err_t on_new(rd_kafka_t *handle, const rd_kafka_conf_t *conf, void *ctx,
				  char *text, size_t room)
{
	(void)conf;
	(void)text;
	(void)room;
	return rd_kafka_interceptor_add_on_acknowledgement(handle, "mqpaas", on_acknowledgement,
							   ctx);
}

int client_start(const struct client_config *config, struct client **ret, char **ret_error)
{
	struct client *client = calloc(1, sizeof *client);
	rd_kafka_conf_t *conf = client ? kafka_options_conf(config->options, ret_error) : NULL;
	char text[256];
	int r = -EINVAL;

	if (!client)
		return -ENOMEM;
	client->config = *config;
	snprintf(client->name, sizeof client->name, "kafka-%s", config->role);
	if (!conf || !conf_fill(conf, config, ret_error))
		goto fail;
	rd_kafka_conf_set_opaque(conf, client);
	if (config->ended)
		rd_kafka_conf_interceptor_add_on_new(conf, "mqpaas", on_new, client);
	rd_kafka_conf_set_throttle_cb(conf, on_throttle);
	client->handle = rd_kafka_new(config->type, conf, text, sizeof text);
	if (!client->handle) {
		*ret_error = strdup(text);
		goto fail;
	}
	conf = NULL; // the handle's
	client->queue = rd_kafka_queue_get_main(client->handle);
	rd_kafka_poll_set_consumer(client->handle); // with a group id: what the group says too
	rd_kafka_set_log_queue(client->handle, client->queue);
	r = config->by_hand ? 0 : thread_start(client->name, client_run, client, &client->thread);
	if (r < 0) {
		rd_kafka_queue_destroy(client->queue);
		rd_kafka_destroy(client->handle);
		goto fail;
	}
	*ret = client;
	return 0;
fail:
	if (conf)
		rd_kafka_conf_destroy(conf);
	free(client);
	return r;
}

rd_kafka_t *client_handle(const struct client *client)
{
	return client->handle;
}

rd_kafka_queue_t *client_queue(const struct client *client)
{
	return client->queue;
}

void client_stop(struct client *client)
{
	if (!client)
		return;
	__atomic_store_n(&client->stopping, true, __ATOMIC_RELEASE);
	if (!client->config.by_hand)
		pthread_join(client->thread, NULL);
	rd_kafka_queue_destroy(client->queue);
	// It is a member of no group that it could leave.
	rd_kafka_destroy_flags(client->handle, RD_KAFKA_DESTROY_F_NO_CONSUMER_CLOSE);
	free(client);
}
