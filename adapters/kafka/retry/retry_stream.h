// Reading retry topics for the stores, some at a time. @thread kafka-retry
#pragma once

#include "adapters/kafka/retry/retry_store.h"

void retry_stream_stop(struct retry_store *store);
bool retry_stream_make_room(struct retry_stores *stores); // false: all are at work
// Brings the stream to where the first job wants it, when it is its turn.
void retry_stream_go(struct retry_store *store);
void retry_stream_wake_all(struct retry_stores *stores);
// A message of a retry topic, or what is said instead of one; owns it.
void retry_stream_serve(struct retry_stores *stores, rd_kafka_message_t *message);

rd_kafka_message_t *retry_stream_pop(struct retry_store *store); // the caller's; there is one
void retry_stream_clear(struct retry_store *store);
