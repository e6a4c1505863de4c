// A librdkafka handle with the thread that serves its main queue: delivery reports, answers of
// admin calls, errors, log lines.
#pragma once

#include "adapters/kafka/client/options.h"
#include "core/base/log.h"

// The longest that an answer is waited for on a connection that carries messages; then there is
// another connection. Brokers make a client over its quota wait by not reading its connection, and
// when a quota is set on a busy client they do so for minutes, because what was sent before counts.
// The quota looks back over 11 s (quota.window.num): a client silent for that long is under it.
#define CLIENT_SILENCE_MS   12000
#define CLIENT_SILENCE_TEXT "12000"

struct client;

struct client_config {
	const struct kafka_options *options;
	rd_kafka_type_t type;
	const char *role; // "produce", "follow": part of the client id and of the thread's name
	const char *const (*settings)[2]; // further settings, ended by {NULL}
	bool by_hand;                     // no thread: the owner calls client_serve() now and then
	// Events the client does not handle itself (log lines it does); may keep nothing of them.
	// @thread the client's own, or the one that serves it
	void (*event)(void *ctx, rd_kafka_event_t *event);
	// Each message whose end is known, before the handle sends anything more to that broker; or
	// NULL. @thread librdkafka's own: short, and no call that waits for it
	void (*ended)(void *ctx, rd_kafka_t *handle, const rd_kafka_message_t *message);
	void (*tick)(void *ctx); // now and then, at least every 100 ms; or NULL. On that thread
	void *ctx;
	struct log_ctx *log;
};

int client_start(const struct client_config *config, struct client **ret, char **ret_error);
rd_kafka_t *client_handle(const struct client *client);
rd_kafka_queue_t *client_queue(const struct client *client); // the main queue, for admin calls
void client_serve(struct client *client);                    // what has come; never blocks
// Until when a broker may let it wait because of a quota; 0 or past: none does. @thread any
uint64_t client_throttled_ns(const struct client *client);
// Stops the thread, then destroys the handle. What is under way must have ended. Blocks.
void client_stop(struct client *client); // accepts NULL
