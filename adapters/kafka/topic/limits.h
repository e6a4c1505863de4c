// What a topic's own settings say of single records: whether they need a key, how old and how large
// they may be. A broker refuses a whole batch for one record that breaks them, so records are
// checked before they are handed over. Pure, but for the atomics.
//
// Written by the watcher, read by every thread that sends; each member is atomic for itself.
#pragma once

#include "core/wire/record.h"

#include <librdkafka/rdkafka.h>

// Messages that the producer puts into one request for a partition. A topic that takes less refuses
// them all, however small each is.
#define KAFKA_BATCH_BYTES 1000000

#define KAFKA_RECORD_MAX ((16u << 20) + 65536) // the largest record, and what a dead letter adds

struct kafka_limits {
	// All UINT64_MAX: no limit.
	uint64_t before_ms;     // how old a timestamp may be; never later than now is ours to keep
	uint64_t record_bytes;  // largest batch, so also the largest record in its own batch
	uint64_t segment_bytes; // a batch must fit into a segment
	uint64_t retention_ms, retention_bytes; // the bytes: of a partition
	uint32_t key_needed;                    // it is compacted
	uint32_t broker_time; // the broker stamps records itself: theirs does not matter
};

void kafka_limits_init(struct kafka_limits *limits); // nothing is known: nothing is refused
// One setting, as a broker tells it; others than the above are passed over.
void kafka_limits_note(struct kafka_limits *limits, const char *name, const char *value);
void kafka_limits_store(struct kafka_limits *limits, const struct kafka_limits *next);
// How the broker would refuse this record; NO_ERROR: as far as known it would not.
rd_kafka_resp_err_t kafka_limits_check(const struct kafka_limits *limits, const uint8_t *record,
				       bool native, int64_t now_ms);
// The largest batch that the topic takes.
uint64_t kafka_limits_batch_bytes(const struct kafka_limits *limits);
