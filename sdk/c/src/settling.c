// Settling many messages at once, and waiting until the proxy has made it durable.

#include "core/base/util.h"
#include "sdk/c/src/consumer.h"
#include "sdk/c/src/delivery.h"
#include "sdk/c/src/subscription.h"

#define MANY_MAX 1000000u

// The consumer that all of them belong to; NULL: an argument is wrong.
static struct mqp_consumer *many_check(struct mqp_message *const *messages, size_t count,
				       enum mqp_verb verb, uint32_t ms)
{
	struct mqp_consumer *consumer = NULL;

	if (!messages || count < 1 || count > MANY_MAX || (unsigned)verb > MQP_RELEASE ||
	    (verb == MQP_EXTEND && ms == 0))
		return NULL;
	for (size_t i = 0; i < count; ++i) {
		if (!messages[i] || !messages[i]->delivery)
			return NULL;
		if (!consumer)
			consumer = messages[i]->delivery->subscription->consumer;
		if (messages[i]->delivery->subscription->consumer != consumer)
			return NULL;
	}
	return consumer;
}

enum mqp_code mqp_settle(struct mqp_message *const *messages, size_t count, enum mqp_verb verb,
			 uint32_t ms)
{
	struct mqp_consumer *consumer = many_check(messages, count, verb, ms);
	enum mqp_code first = MQP_OK;

	if (!consumer)
		return MQP_INVALID_ARGUMENT;
	pthread_mutex_lock(&consumer->lock);
	for (size_t i = 0; i < count; ++i) {
		enum mqp_code code = delivery_settle(messages[i], verb, ms);

		if (first == MQP_OK)
			first = code;
	}
	consumer_post(consumer);
	pthread_mutex_unlock(&consumer->lock);
	return first;
}

// A confirmed settle: the messages of one subscription are one call to the proxy.
struct settling {
	struct mqp_message *const *messages;
	size_t count;
	enum mqp_verb verb;
	uint32_t ms;
	uint64_t deadline_ns;
	struct mqp_consumer *consumer;
	enum mqp_code *codes;      // by message
	uint32_t *entries;         // by message: its entry in the call
	bool *taken;               // by message: in this or an earlier call
	enum mqp_code *call_codes; // of one call, by entry
};

static struct subscription *settling_next(struct settling *settling)
{
	for (size_t i = 0; i < settling->count; ++i)
		if (!settling->taken[i])
			return settling->messages[i]->delivery->subscription;
	return NULL;
}

// Puts every message of the subscription into the call; under the lock.
static void settling_fill(struct settling *settling, struct subscription *subscription,
			  struct settles_call *call)
{
	for (size_t i = 0; i < settling->count; ++i) {
		if (settling->taken[i] ||
		    settling->messages[i]->delivery->subscription != subscription)
			continue;
		settling->taken[i] = true;
		settling->entries[i] = UINT32_MAX;
		settling->codes[i] = delivery_settle_into(settling->messages[i], settling->verb,
							  settling->ms, &call->batch);
		if (settling->codes[i] == MQP_OK)
			settling->entries[i] = call->batch.count - 1;
	}
}

static bool call_done(void *ctx)
{
	return ((const struct settles_call *)ctx)->done;
}

static void settling_read(struct settling *settling, const struct subscription *subscription,
			  const struct settles_call *call)
{
	for (size_t i = 0; i < settling->count; ++i)
		if (settling->entries[i] != UINT32_MAX &&
		    settling->messages[i]->delivery->subscription == subscription)
			settling->codes[i] = call->codes[settling->entries[i]];
}

// One subscription's part: sent under a number of its own, so that the answer is exactly its own.
static void settling_call(struct settling *settling, struct subscription *subscription)
{
	struct mqp_consumer *consumer = settling->consumer;
	struct settles_call call = {.codes = settling->call_codes};

	pthread_mutex_lock(&consumer->lock);
	settling_fill(settling, subscription, &call);
	for (uint32_t i = 0; i < call.batch.count; ++i)
		call.codes[i] = MQP_TIMEOUT;
	call.done = call.batch.count == 0;
	if (!call.done) {
		list_push_back(&subscription->settles.calls, &call.node);
		consumer_post(consumer);
	}
	pthread_mutex_unlock(&consumer->lock);
	client_wait(consumer->client, &consumer->lock, &consumer->changed, call_done, &call,
		    settling->deadline_ns);
	pthread_mutex_lock(&consumer->lock);
	if (!call.done)
		list_unlink(&call.node);
	for (uint32_t i = call.batch.from; call.lost && i < call.batch.count; ++i)
		call.codes[i] = MQP_STALE;
	settling_read(settling, subscription, &call);
	pthread_mutex_unlock(&consumer->lock);
	free(call.batch.entries);
}

static enum mqp_code settling_run(struct settling *settling)
{
	struct subscription *subscription;

	while ((subscription = settling_next(settling)))
		settling_call(settling, subscription);
	for (size_t i = 0; i < settling->count; ++i)
		if (settling->codes[i] != MQP_OK)
			return settling->codes[i];
	return MQP_OK;
}

enum mqp_code mqp_settle_sync(struct mqp_message *const *messages, size_t count, enum mqp_verb verb,
			      uint32_t ms, int timeout_ms, enum mqp_code *ret_codes)
{
	struct settling settling = {
		.messages = messages,
		.count = count,
		.verb = verb,
		.ms = ms,
		.consumer = many_check(messages, count, verb, ms),
	};
	enum mqp_code code = MQP_NO_MEMORY;

	if (!settling.consumer || timeout_ms < 1 || timeout_ms > 86400000)
		return MQP_INVALID_ARGUMENT;
	if (client_blocked(settling.consumer->client))
		return MQP_WOULD_DEADLOCK;
	settling.deadline_ns = client_deadline(timeout_ms);
	settling.codes = malloc(count * sizeof *settling.codes);
	settling.entries = malloc(count * sizeof *settling.entries);
	settling.taken = calloc(count, sizeof *settling.taken);
	settling.call_codes = malloc(count * sizeof *settling.call_codes);
	if (settling.codes && settling.entries && settling.taken && settling.call_codes) {
		code = settling_run(&settling);
		if (ret_codes)
			memcpy(ret_codes, settling.codes, count * sizeof *ret_codes);
	}
	free(settling.codes);
	free(settling.entries);
	free(settling.taken);
	free(settling.call_codes);
	return code;
}
