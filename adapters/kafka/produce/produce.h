// Handing records to a producer: those of a new batch, and those that are sent again (resend.c).
#pragma once

#include "adapters/kafka/produce/reports.h"

// Where records of a topic go.
struct send_target {
	struct adapter *adapter;
	rd_kafka_t *handle;
	rd_kafka_topic_t *topic;
	const struct kafka_limits *limits;
	bool native;
	int64_t now_ms;
};

// `handle`: entered (sender.h). false: no memory.
bool produce_target(struct adapter_topic *topic, rd_kafka_t *handle, struct send_target *ret);
// Checks one record and enqueues it.
rd_kafka_resp_err_t produce_one(const struct send_target *target, struct reports *reports,
				uint32_t number);
// Enqueues, or holds (resend.h), what can be of a batch that was not handed over yet. With the
// gate. true: all of it was refused or has ended meanwhile, and the caller answers it.
bool produce_batch(struct adapter *adapter, struct reports *reports);

// The opaque of a librdkafka topic whose messages are not of batches: the receiver of their
// reports.
struct produce_sink {
	void (*delivered)(const rd_kafka_message_t *message); // @thread the producer's
};

// The slot of the adapter.
void produce_submit(struct adapter *adapter, struct submit *submit);
// Delivery reports of the producer of a size class (sender.h).
void produce_delivered(struct adapter *adapter, unsigned slot, rd_kafka_event_t *event);
