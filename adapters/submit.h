// One batch on its way to a backend, and its results as runs.
#pragma once

#include "core/base/code.h"

#include <stdint.h>

struct adapter_topic;
struct buf;

struct submit_record {
	const uint8_t *data; // a checked wire record (core/wire/record.h), inside submit->buf
	uint32_t size;
	uint32_t partition; // already chosen, < topic->partitions
};

// Consecutive records that ended the same way. Offsets rise by one inside a run.
struct submit_run {
	uint32_t count;
	uint32_t partition;
	uint64_t offset; // of the first; UINT64_MAX: unknown
	uint32_t retry_after_ms;
	uint16_t code;      // enum code; CODE_OK with OUTCOME_OK
	uint8_t outcome;    // enum outcome
	uint8_t durability; // enum durability of an OK
};

// One batch on its way. Allocated and freed by the caller; the adapter owns it between submit() and
// done().
struct submit {
	struct adapter_topic *topic;
	struct buf *buf;
	const struct submit_record *records;
	uint32_t count;
	struct submit_run *runs; // room for `count`; the adapter fills run_count of them in the
				 // order of the records
	uint32_t run_count;
	void (*done)(struct submit *submit);
	struct submit *next; // for the adapter's queues while it owns the batch
	void *adapter_private;
	uint64_t submitted_ns;
};

// Appends a run to the results, joining it to the one before where it continues it. For adapters.
void submit_add_run(struct submit *submit, const struct submit_run *run);
// Ends a batch whose records all ended alike, and calls done. For adapters.
void submit_finish(struct submit *submit, enum outcome outcome, enum code code,
		   uint32_t retry_after_ms);
