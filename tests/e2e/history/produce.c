// Sends: one asynchronous sender at a steady rate, and threads that wait for each send.
//
// Each sender has a producer handle and a number of its own, so that "what one producer handle
// sent" is what one number sent. RECORD_SEND is written before the library sees the message,
// RECORD_SENT inside its answer; RECORD_ATTEMPT for every attempt that ended UNKNOWN, by the
// library's trace hook.

#include "tests/e2e/history/content.h"
#include "tests/e2e/history/record.h"
#include "tests/e2e/history/workload.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <time.h>

#define TICK_MS      5
#define SYNC_TICK_MS 5 // a sync sender's pause
#define MEMORY_BYTES (4u << 20)
#define CLOSE_MS     120000

struct sender {
	const struct workload *workload;
	struct mqp_producer *handle;
	uint32_t producer;
	uint64_t sequence; // of the last message
	struct mqp_message *message;
	struct content content;
	pthread_t thread;
};

static atomic_bool ending;

static void attempt_ended(const struct mqp_result *attempt, void *arg)
{
	struct record record = {.kind = RECORD_ATTEMPT};

	if (mqp_result_outcome(attempt) != MQP_OUTCOME_UNKNOWN)
		return;
	record.code = (uint16_t)mqp_result_code(attempt);
	record.attempt = mqp_result_attempts(attempt);
	record.id = record_id(mqp_result_id(attempt));
	record_append(&record, 1);
}

static void write_sent(struct record record, const struct mqp_result *result)
{
	record.kind = RECORD_SENT;
	record.what = (uint8_t)mqp_result_outcome(result);
	record.code = (uint16_t)mqp_result_code(result);
	record.attempt = mqp_result_attempts(result);
	record.id = record_id(mqp_result_id(result));
	record.partition = mqp_result_partition(result);
	record.offset = mqp_result_offset(result);
	record.extra = (uint32_t)mqp_result_durability(result);
	record_append(&record, 1);
}

// A message that the library did not take is certainly not stored.
static void write_not_taken(struct record record, enum mqp_code code)
{
	record.kind = RECORD_SENT;
	record.what = MQP_OUTCOME_REJECTED;
	record.code = (uint16_t)code;
	record_append(&record, 1);
}

// Makes the next message and writes that it is about to be sent.
static struct record sender_next(struct sender *sender)
{
	uint64_t drawn = content_mix(++sender->sequence, sender->producer);
	struct identity identity = {
		.producer = sender->producer,
		.sequence = sender->sequence,
		.key = drawn % 5 ? (uint32_t)(drawn >> 8) % sender->workload->keys : RECORD_NO_KEY,
	};
	struct record record = {
		.kind = RECORD_SEND,
		.sequence = identity.sequence,
		.producer = identity.producer,
		.key = identity.key,
		.id = sender->workload->send_timeout_ms,
	};

	mqp_message_reset(sender->message);
	content_fill(&identity, sender->workload->body_bytes, &sender->content, sender->message);
	record.digest = content_digest(sender->message);
	record_append(&record, 1);
	return record;
}

static void pause_ms(long ms)
{
	struct timespec pause = {.tv_nsec = ms * 1000000};

	nanosleep(&pause, NULL);
}

// ---- Waiting for each

static void *sync_run(void *arg)
{
	struct sender *sender = arg;
	int timeout_ms = (int)sender->workload->send_timeout_ms;
	struct mqp_result *result;

	workload_check(mqp_result_new(&result), "cannot make a result");
	while (!atomic_load(&ending)) {
		struct record record = sender_next(sender);
		enum mqp_code code = mqp_send(sender->handle, sender->message, timeout_ms, result);

		if (code < 1000)
			write_sent(record, result);
		else
			write_not_taken(record, code);
		pause_ms(SYNC_TICK_MS);
	}
	mqp_result_free(result);
	return NULL;
}

// ---- Many at once

static void send_ended(const struct mqp_result *result, void *arg)
{
	struct record *record = arg; // the send's own, RECORD_SEND

	write_sent(*record, result);
	free(record);
}

static void async_send(struct sender *sender)
{
	struct record *record = malloc(sizeof *record);
	enum mqp_code code;

	*record = sender_next(sender);
	code = mqp_send_async(sender->handle, sender->message, send_ended, record);
	if (code == MQP_OK)
		return;
	write_not_taken(*record, code);
	free(record);
}

static void async_run(struct sender *sender)
{
	uint32_t share = sender->workload->rate * TICK_MS / 1000;

	while (!workload_ending(TICK_MS))
		for (uint32_t i = 0; i < share; ++i)
			async_send(sender);
}

// ---- The whole

static void sender_begin(struct sender *sender, const struct workload *workload, uint32_t number,
			 struct mqp_client *client)
{
	struct mqp_producer_config config;

	mqp_producer_config_init(&config, sizeof config);
	config.topic = workload->topic;
	config.memory_bytes = MEMORY_BYTES;
	config.send_timeout_ms = workload->send_timeout_ms;
	config.batch_messages = workload->batch_messages;
	sender->workload = workload;
	sender->producer = workload->producer + number;
	workload_check(mqp_message_new(&sender->message), "cannot make a message");
	workload_check(mqp_producer_new(client, &config, &sender->handle),
		       "cannot make a producer");
}

static void senders_run(struct sender *senders, uint32_t sync_senders)
{
	for (uint32_t i = 1; i <= sync_senders; ++i)
		if (pthread_create(&senders[i].thread, NULL, sync_run, &senders[i]))
			workload_check(MQP_SYSTEM, "no thread");
	async_run(&senders[0]);
	atomic_store(&ending, true);
	for (uint32_t i = 1; i <= sync_senders; ++i)
		pthread_join(senders[i].thread, NULL);
}

void produce_run(const struct workload *workload)
{
	struct sender *senders = calloc(1 + workload->sync_senders, sizeof *senders);
	struct record end = {.kind = RECORD_END};
	struct mqp_client_config config;
	struct mqp_client *client;

	record_open(workload->history, 'p', 0, workload->topic);
	mqp_client_config_init(&config, sizeof config);
	config.trace = attempt_ended;
	workload_check(mqp_client_new(&config, &client), "cannot make a client");
	for (uint32_t i = 0; i <= workload->sync_senders; ++i)
		sender_begin(&senders[i], workload, i, client);
	senders_run(senders, workload->sync_senders);
	end.code = (uint16_t)mqp_client_close(client, CLOSE_MS);
	record_append(&end, 1);
	for (uint32_t i = 0; i <= workload->sync_senders; ++i) {
		mqp_producer_free(senders[i].handle);
		mqp_message_free(senders[i].message);
	}
	mqp_client_free(client);
	free(senders);
}
