// An open topic: resolved once per session, shared by all that have it open.
#pragma once

#include "adapters/rabbitmq/ask/ask.h"
#include "adapters/rabbitmq/ask/names.h"

enum rabbitmq_topic_state {
	RABBITMQ_TOPIC_ASKED, // not known yet: what is sent waits
	RABBITMQ_TOPIC_THERE,
	RABBITMQ_TOPIC_REFUSED, // the exchange is not there, or of another incarnation, or not ours
};

struct adapter_topic {
	struct adapter *adapter;
	const struct topic *topic; // referenced
	struct list in_sender;     // under the sender's lock, as `count` is
	unsigned count;            // of its users
	unsigned lane;             // which channel of the send link
	uint8_t state;             // atomic; enum rabbitmq_topic_state
	uint16_t refusal;          // atomic; enum code of REFUSED
	// lane.c's and sender.c's, on the send link:
	uint32_t published;     // messages without a verdict
	uint32_t parked;        // batches that wait for the answer
	struct loop_task asked; // tells the sender of the answer; holds a reference meanwhile
	// topic.c's:
	bool asking; // atomic
	uint64_t asked_ns;
	struct rabbitmq_ask ask;
	struct rabbitmq_step steps[2];
	struct rabbitmq_name marker;
};

// The slots of the adapter. @thread any
struct adapter_topic *rabbitmq_topic_open(struct adapter *adapter, const struct topic *topic);
void rabbitmq_topic_close(struct adapter_topic *topic);

struct adapter_topic *rabbitmq_topic_ref(struct adapter_topic *topic);             // @thread any
enum rabbitmq_topic_state rabbitmq_topic_state(const struct adapter_topic *topic); // @thread any
// Why nothing is sent to it: NOT_FOUND, FORBIDDEN; of one that is REFUSED. @thread any
enum code rabbitmq_topic_refusal(const struct adapter_topic *topic);
// Asks the cluster for it, if not long ago. @thread any
void rabbitmq_topic_look(struct adapter_topic *topic);
// The cluster has refused a message to it. @thread send link
void rabbitmq_topic_refused(struct adapter_topic *topic, enum code code);
