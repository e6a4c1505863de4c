// What a stream has brought and nobody wanted yet: messages of a retry topic, in order, within
// bounds.

#include "adapters/kafka/retry/retry.h"
#include "adapters/kafka/retry/retry_thread.h"

#define AHEAD_BYTES (1u << 20)

rd_kafka_message_t *retry_ahead_pop(struct retry_store *store)
{
	rd_kafka_message_t *message = store->ahead[store->ahead_head];

	store->ahead_head = (store->ahead_head + 1) % RETRY_AHEAD;
	--store->ahead_count;
	store->ahead_bytes -= message->len;
	store->ahead_from = (uint64_t)message->offset + 1;
	return message;
}

void retry_ahead_clear(struct retry_store *store)
{
	while (store->ahead_count)
		rd_kafka_message_destroy(retry_ahead_pop(store));
}

// false: there is no room.
bool retry_ahead_push(struct retry_store *store, rd_kafka_message_t *message)
{
	if (store->ahead_count == RETRY_AHEAD ||
	    (store->ahead_count && store->ahead_bytes + message->len > AHEAD_BYTES))
		return false;
	store->ahead[(store->ahead_head + store->ahead_count++) % RETRY_AHEAD] = message;
	store->ahead_bytes += message->len;
	return true;
}
