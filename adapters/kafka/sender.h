// The handle that sends. After a fatal error of the idempotent producer another one takes its
// place.
//
// The first one is adapter->producer, which stays to the end. What was
// under way on one that is replaced ends at once: REJECTED where it had not left, UNKNOWN where it
// had.
#pragma once

#include "adapters/kafka/kafka.h"

int sender_start(struct adapter *adapter, char **ret_error); // makes adapter->producer, too
// Ends everything that is under way, after `wait_ms` at the latest. Blocks.
void sender_drain(struct adapter *adapter, int wait_ms);
void sender_stop(struct adapter *adapter); // drained before

// Between these two the handle and its topics stay what they are. @thread any
rd_kafka_t *sender_enter(struct adapter *adapter);
void sender_leave(struct adapter *adapter);
rd_kafka_topic_t *sender_topic(rd_kafka_t *handle, struct adapter_topic *topic); // NULL: no memory
void sender_topic_drop(struct adapter_topic *topic); // with topics_lock: it is closed

// Tells the handle of new partitions. false: the broker that it asked has not heard of them yet.
// Blocks.
bool sender_topic_grown(struct adapter_topic *topic, uint32_t partitions);

// Looks whether the handle has to be replaced, and sees to it. @thread any that sends or hears of
// it
void sender_check(struct adapter *adapter);
