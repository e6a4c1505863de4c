// Takes messages, by pull or by push, and settles them in every way there is.
//
// What becomes of a delivery is drawn anew for each (a release does not count the attempt); from
// the fourth attempt on every message is acknowledged, so that a test comes to its end.
// RECORD_DELIVERY is written before anything is done with a message, RECORD_SETTLE before it is
// settled, RECORD_SETTLED with the service's own answer (waited for), RECORD_NOTED with the
// library's (not waited for). What is kept is not settled at all: it comes again by its visibility
// timeout.

#include "tests/e2e/history/content.h"
#include "tests/e2e/history/record.h"
#include "tests/e2e/history/workload.h"

#include <stdatomic.h>
#include <stdlib.h>

#define PULL_MAX  64u
#define PULL_MS   200
#define PREFETCH  256u
#define SETTLE_MS 20000
#define CLOSE_MS  60000
#define NACK_MS   300u
#define EXTEND_MS 5000u

// What becomes of a delivery.
enum fate {
	FATE_ACK,        // waited for
	FATE_ACK_NOTED,  // not waited for
	FATE_NACK,       // waited for, with a delay
	FATE_REJECT,     // waited for
	FATE_RELEASE,    // waited for
	FATE_EXTEND_ACK, // extended first
	FATE_KEEP,       // not settled
};

// A received message on its way to its settle.
struct taken {
	struct mqp_message *message;
	struct record record;
	enum fate fate;
};

struct taker {
	const struct workload *workload;
	struct mqp_consumer *consumer;
	struct mqp_message **kept;
	size_t kept_count, kept_room;
};

static atomic_uint deliveries;

// Of 128 deliveries in the mixed workload, and up to which attempt; the rest is acknowledged.
static const struct {
	unsigned share;
	enum fate fate;
	uint32_t last_attempt;
} fate_shares[] = {
	{8, FATE_NACK, 3},       {2, FATE_REJECT, 3}, {4, FATE_RELEASE, 3},
	{4, FATE_EXTEND_ACK, 3}, {1, FATE_KEEP, 1},   {25, FATE_ACK_NOTED, UINT32_MAX},
};

static enum fate fate_draw(const struct workload *workload, const struct record *record)
{
	uint64_t drawn = content_mix(record->sequence, record->extra);
	unsigned place = drawn % 128;

	if (!workload->mixed)
		return drawn % 4 ? FATE_ACK : FATE_ACK_NOTED;
	for (size_t i = 0; i < sizeof fate_shares / sizeof *fate_shares; ++i) {
		if (place < fate_shares[i].share)
			return record->attempt <= fate_shares[i].last_attempt ? fate_shares[i].fate
									      : FATE_ACK;
		place -= fate_shares[i].share;
	}
	return FATE_ACK;
}

static struct record delivery_record(const struct mqp_message *message)
{
	struct identity identity;
	struct record record = {
		.kind = RECORD_DELIVERY,
		.attempt = mqp_message_attempt(message),
		.digest = content_digest(message),
		.id = record_id(mqp_message_id(message)),
		.partition = mqp_message_partition(message),
		.offset = mqp_message_offset(message),
		.extra = atomic_fetch_add(&deliveries, 1),
	};

	content_identify(message, &identity);
	record.sequence = identity.sequence;
	record.producer = identity.producer;
	record.key = identity.key;
	return record;
}

static struct record settle_begun(struct record record, enum mqp_verb verb, uint64_t timeout_ms)
{
	record.kind = RECORD_SETTLE;
	record.what = (uint8_t)verb;
	record.id = timeout_ms;
	return record;
}

static struct record settle_ended(struct record record, enum record_kind kind, enum mqp_code code)
{
	record.kind = kind;
	record.code = (uint16_t)code;
	return record;
}

// ---- Settling

// Settles those of one fate together and writes each one's answer.
static void settle_alike(struct taken *taken, unsigned count, enum fate fate, enum mqp_verb verb,
			 uint32_t ms)
{
	struct mqp_message *messages[PULL_MAX];
	struct record records[PULL_MAX];
	enum mqp_code codes[PULL_MAX];
	unsigned chosen = 0;
	enum mqp_code code;

	for (unsigned i = 0; i < count; ++i) {
		if (taken[i].fate != fate)
			continue;
		messages[chosen] = taken[i].message;
		records[chosen++] = settle_begun(taken[i].record, verb, SETTLE_MS);
	}
	if (chosen == 0)
		return;
	record_append(records, chosen);
	code = mqp_settle_sync(messages, chosen, verb, ms, SETTLE_MS, codes);
	if (code == MQP_INVALID_ARGUMENT || code == MQP_NO_MEMORY || code == MQP_WOULD_DEADLOCK)
		workload_check(code, "cannot settle");
	for (unsigned i = 0; i < chosen; ++i)
		records[i] = settle_ended(records[i], RECORD_SETTLED, codes[i]);
	record_append(records, chosen);
}

static void ack_noted(struct taken *taken)
{
	struct record record = settle_begun(taken->record, MQP_ACK, SETTLE_MS);

	record_append(&record, 1);
	record = settle_ended(record, RECORD_NOTED, mqp_ack(taken->message));
	record_append(&record, 1);
}

static void settle_all(struct taken *taken, unsigned count)
{
	for (unsigned i = 0; i < count; ++i)
		if (taken[i].fate == FATE_ACK_NOTED)
			ack_noted(&taken[i]);
	settle_alike(taken, count, FATE_EXTEND_ACK, MQP_EXTEND, EXTEND_MS);
	settle_alike(taken, count, FATE_ACK, MQP_ACK, 0);
	settle_alike(taken, count, FATE_NACK, MQP_NACK, NACK_MS);
	settle_alike(taken, count, FATE_REJECT, MQP_REJECT, 0);
	settle_alike(taken, count, FATE_RELEASE, MQP_RELEASE, 0);
	settle_alike(taken, count, FATE_EXTEND_ACK, MQP_ACK, 0);
}

// ---- Pull

static void keep(struct taker *taker, struct mqp_message *message)
{
	if (taker->kept_count == taker->kept_room) {
		taker->kept_room = taker->kept_room * 2 + 64;
		taker->kept = realloc(taker->kept, taker->kept_room * sizeof *taker->kept);
	}
	taker->kept[taker->kept_count++] = message;
}

static void batch_take(struct taker *taker, struct mqp_message **messages, unsigned count)
{
	struct record records[PULL_MAX];
	struct taken taken[PULL_MAX];

	for (unsigned i = 0; i < count; ++i) {
		taken[i].message = messages[i];
		records[i] = taken[i].record = delivery_record(messages[i]);
		taken[i].fate = fate_draw(taker->workload, &records[i]);
	}
	record_append(records, count);
	settle_all(taken, count);
	for (unsigned i = 0; i < count; ++i) {
		if (taken[i].fate == FATE_KEEP)
			keep(taker, messages[i]);
		else
			mqp_message_free(messages[i]);
	}
}

static void pull_run(struct taker *taker)
{
	struct mqp_message *messages[PULL_MAX];
	unsigned count;

	while (!workload_ending(0)) {
		enum mqp_code code = mqp_pull(taker->consumer, PULL_MAX, PULL_MS, messages, &count);

		if (code == MQP_OK)
			batch_take(taker, messages, count);
		else if (code >= 1000 && code != MQP_NOT_CONNECTED)
			workload_check(code, "cannot pull");
	}
}

// ---- Push

// What the callback leaves to the library. Most acks are left, so that callbacks stay fast; what
// was to be kept is released, since the library extends what a callback holds.
static enum mqp_verdict verdict_of(enum fate fate, const struct record *record)
{
	switch (fate) {
	case FATE_ACK: return record->sequence % 8 ? MQP_VERDICT_ACK : MQP_VERDICT_SETTLED;
	case FATE_ACK_NOTED: return MQP_VERDICT_ACK;
	case FATE_NACK: return MQP_VERDICT_NACK;
	case FATE_KEEP: return MQP_VERDICT_RELEASE;
	default: return MQP_VERDICT_SETTLED;
	}
}

static enum mqp_verdict message_came(struct mqp_message *message, void *arg)
{
	static const enum mqp_verb verbs[] = {
		[MQP_VERDICT_ACK] = MQP_ACK,
		[MQP_VERDICT_NACK] = MQP_NACK,
		[MQP_VERDICT_RELEASE] = MQP_RELEASE,
	};
	const struct taker *taker = arg;
	struct taken taken = {.message = message, .record = delivery_record(message)};
	struct record record = taken.record;
	enum mqp_verdict verdict;

	record_append(&record, 1);
	taken.fate = fate_draw(taker->workload, &record);
	verdict = verdict_of(taken.fate, &record);
	if (verdict == MQP_VERDICT_SETTLED) {
		settle_all(&taken, 1);
	} else {
		record = settle_begun(record, verbs[verdict], 0);
		record_append(&record, 1);
	}
	return verdict;
}

// ---- The whole

static void taker_begin(struct taker *taker, struct mqp_client *client)
{
	struct mqp_consumer_config config;

	mqp_consumer_config_init(&config, sizeof config);
	config.group = taker->workload->group;
	if (taker->workload->push) {
		config.callback = message_came;
		config.arg = taker;
		config.threads = taker->workload->threads;
		config.prefetch_messages = PREFETCH;
	}
	workload_check(mqp_consumer_new(client, &config, &taker->consumer),
		       "cannot make a consumer");
}

void consume_run(const struct workload *workload)
{
	bool ordered = !workload->push || workload->threads == 1;
	struct taker taker = {.workload = workload};
	struct record end = {.kind = RECORD_END};
	struct mqp_client *client;

	record_open(workload->history, 'c', ordered ? RECORD_ORDERED : 0, workload->group);
	workload_check(mqp_client_new(NULL, &client), "cannot make a client");
	taker_begin(&taker, client);
	if (workload->push)
		while (!workload_ending(-1)) {
		}
	else
		pull_run(&taker);
	end.code = (uint16_t)mqp_consumer_close(taker.consumer, CLOSE_MS);
	end.sequence = mqp_client_stat(client, MQP_STAT_STALE);
	record_append(&end, 1);
	for (size_t i = 0; i < taker.kept_count; ++i)
		mqp_message_free(taker.kept[i]);
	free(taker.kept);
	mqp_consumer_free(taker.consumer);
	mqp_client_free(client);
}
