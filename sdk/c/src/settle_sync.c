// Settling many messages at once (mqp_settle), and waiting until the proxy has made it durable
// (mqp_settle_sync).
//
// The messages of one subscription become one call, which is sent under a number of its own, so
// that its answer is exactly the caller's. Subscriptions are settled one after the other, under one
// deadline.
//
// Invariant: the call lies on the caller's stack, so it is off the subscription's list before the
// caller returns. What was not answered by then is TIMEOUT: the proxy may still settle it.

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
struct settle_sync {
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

static struct subscription *settle_sync_next(struct settle_sync *sync)
{
	for (size_t i = 0; i < sync->count; ++i)
		if (!sync->taken[i])
			return sync->messages[i]->delivery->subscription;
	return NULL;
}

// Puts every message of the subscription into the call; under the lock.
static void settle_sync_fill(struct settle_sync *sync, struct subscription *subscription,
			     struct settle_queue_call *call)
{
	for (size_t i = 0; i < sync->count; ++i) {
		if (sync->taken[i] || sync->messages[i]->delivery->subscription != subscription)
			continue;
		sync->taken[i] = true;
		sync->entries[i] = UINT32_MAX;
		sync->codes[i] =
			delivery_settle_into(sync->messages[i], sync->verb, sync->ms, &call->batch);
		if (sync->codes[i] == MQP_OK)
			sync->entries[i] = call->batch.count - 1;
	}
}

static bool call_done(void *ctx)
{
	return ((const struct settle_queue_call *)ctx)->done;
}

static void settle_sync_read(struct settle_sync *sync, const struct subscription *subscription,
			     const struct settle_queue_call *call)
{
	for (size_t i = 0; i < sync->count; ++i)
		if (sync->entries[i] != UINT32_MAX &&
		    sync->messages[i]->delivery->subscription == subscription)
			sync->codes[i] = call->codes[sync->entries[i]];
}

// One subscription's part: sent under a number of its own, so that the answer is exactly its own.
static void settle_sync_call(struct settle_sync *sync, struct subscription *subscription)
{
	struct mqp_consumer *consumer = sync->consumer;
	struct settle_queue_call call = {.codes = sync->call_codes};

	pthread_mutex_lock(&consumer->lock);
	settle_sync_fill(sync, subscription, &call);
	for (uint32_t i = 0; i < call.batch.count; ++i)
		call.codes[i] = MQP_TIMEOUT;
	call.done = call.batch.count == 0;
	if (!call.done) {
		list_push_back(&subscription->settle_queue.calls, &call.node);
		consumer_post(consumer);
	}
	pthread_mutex_unlock(&consumer->lock);
	client_wait(consumer->client, &consumer->lock, &consumer->changed, call_done, &call,
		    sync->deadline_ns);
	pthread_mutex_lock(&consumer->lock);
	if (!call.done)
		list_unlink(&call.node);
	for (uint32_t i = call.batch.from; call.lost && i < call.batch.count; ++i)
		call.codes[i] = MQP_STALE;
	settle_sync_read(sync, subscription, &call);
	pthread_mutex_unlock(&consumer->lock);
	free(call.batch.entries);
}

static enum mqp_code settle_sync_run(struct settle_sync *sync)
{
	struct subscription *subscription;

	while ((subscription = settle_sync_next(sync)))
		settle_sync_call(sync, subscription);
	for (size_t i = 0; i < sync->count; ++i)
		if (sync->codes[i] != MQP_OK)
			return sync->codes[i];
	return MQP_OK;
}

// The arrays are allocated before the first message is settled. A message whose entry finds no
// memory is answered NO_MEMORY and stays unsettled.
enum mqp_code mqp_settle_sync(struct mqp_message *const *messages, size_t count, enum mqp_verb verb,
			      uint32_t ms, int timeout_ms, enum mqp_code *ret_codes)
{
	struct settle_sync sync = {
		.messages = messages,
		.count = count,
		.verb = verb,
		.ms = ms,
		.consumer = many_check(messages, count, verb, ms),
	};
	enum mqp_code code = MQP_NO_MEMORY;

	if (!sync.consumer || timeout_ms < 1 || timeout_ms > 86400000)
		return MQP_INVALID_ARGUMENT;
	if (client_blocked(sync.consumer->client))
		return MQP_WOULD_DEADLOCK;
	sync.deadline_ns = client_deadline(timeout_ms);
	sync.codes = malloc(count * sizeof *sync.codes);
	sync.entries = malloc(count * sizeof *sync.entries);
	sync.taken = calloc(count, sizeof *sync.taken);
	sync.call_codes = malloc(count * sizeof *sync.call_codes);
	if (sync.codes && sync.entries && sync.taken && sync.call_codes) {
		code = settle_sync_run(&sync);
		if (ret_codes)
			memcpy(ret_codes, sync.codes, count * sizeof *ret_codes);
	}
	free(sync.codes);
	free(sync.entries);
	free(sync.taken);
	free(sync.call_codes);
	return code;
}
