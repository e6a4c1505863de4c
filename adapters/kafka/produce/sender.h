// The handles that send: one for topics that take the common batch, and one for each size class of
// topics that take less, made when the first such topic is open. After a fatal error of an
// idempotent producer another one takes its place.
//
// The first one is adapter->producer, which stays to the end. What was
// under way on one that is replaced ends at once: REJECTED where it had not left, UNKNOWN where it
// had.
#pragma once

#include "adapters/kafka/client/kafka_adapter.h"

#define SENDER_SLOTS 5 // size classes, the common batch first

int sender_start(struct adapter *adapter, char **ret_error); // makes adapter->producer, too
// Ends everything that is under way, after `wait_ms` at the latest. Blocks.
void sender_drain(struct adapter *adapter, int wait_ms);
void sender_stop(struct adapter *adapter); // drained before

// The class of topics that take batches of at most `batch_bytes`.
unsigned sender_slot_of(uint64_t batch_bytes);
// Makes its handle, if there is none yet. Takes some milliseconds. @thread kafka-watch
bool sender_slot_open(struct adapter *adapter, unsigned slot);

// Between these two the handle of a slot and its topics stay what they are. @thread any
rd_kafka_t *sender_enter_slot(struct adapter *adapter, unsigned slot); // NULL: not made
rd_kafka_t *sender_enter(struct adapter *adapter);                     // that of the common batch
void sender_leave(struct adapter *adapter);
rd_kafka_topic_t *sender_topic(rd_kafka_t *handle, struct adapter_topic *topic); // NULL: no memory
void sender_topic_drop(struct adapter_topic *topic); // with topics_lock: it is closed

// The topic goes to another slot; nothing of it is being enqueued or under way.
void sender_topic_move(struct adapter_topic *topic, unsigned slot);

// What is queued comes back as reports, served in this call. Blocks for some milliseconds. @thread
// the handle's own
void sender_take_back(rd_kafka_t *handle);

// Tells the handle of new partitions. false: the broker that it asked has not heard of them yet.
// Blocks.
bool sender_topic_grown(struct adapter_topic *topic, uint32_t partitions);

// Looks whether a handle has to be replaced, and sees to it. @thread any that sends or hears of it
void sender_check(struct adapter *adapter);
