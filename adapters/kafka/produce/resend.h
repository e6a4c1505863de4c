// Sending again what was taken back, so that a refusal concerns the guilty record alone.
//
// A broker refuses a whole batch for one record that breaks a rule of its topic. What the rules are
// is checked beforehand (limits.h); what only the broker knows is found by halving the batch,
// before anything later of the partition is sent. And a topic whose size class changes moves to
// another producer when nothing of it is under way. docs/adapters/kafka-internals.md, Refused
// batches.
#pragma once

#include "adapters/kafka/client/kafka_adapter.h"

struct reports;
struct kafka_partition;

int resend_start(struct adapter *adapter);
void resend_leaving(struct adapter *adapter); // from now on nothing is divided
void resend_end(struct adapter *adapter);     // what is held is refused
void resend_stop(struct adapter *adapter);    // no client sends any more

// ---- for callers that enqueue. @thread any

// Between the two nothing is taken back.
void resend_enter(struct adapter *adapter);
void resend_leave(struct adapter *adapter);
// Whether batches of the topic wait now; with the gate entered.
bool resend_holds(struct adapter *adapter, const struct adapter_topic *topic);
bool resend_hold(struct adapter *adapter, struct reports *reports); // false: there is no room
// A record behind those of its partition that are being divided. false: there is no room.
bool resend_queue(struct adapter *adapter, struct kafka_partition *partition, uint16_t *place);

// ---- for the producers

// The end of a message, before its broker is sent anything more. @thread librdkafka's
void resend_ended(struct adapter *adapter, unsigned slot, rd_kafka_t *handle,
		  const rd_kafka_message_t *message);
// Whether the report is no end: the message is sent again. `report`: the same for all of one event.
// @thread of the producer, as the two below
bool resend_takes(struct adapter *adapter, unsigned slot, uint64_t report,
		  const rd_kafka_message_t *message);
void resend_reported(struct adapter *adapter, unsigned slot, const rd_kafka_message_t *message);
void resend_go_on(struct adapter *adapter, unsigned slot); // between two events

// ---- for the watcher

// The topic goes to the class of producers for batches of at most `batch_bytes`: at once, or at a
// later call, when nothing of it is under way.
void resend_move(struct adapter_topic *topic, uint64_t batch_bytes);
