// Payload of PRODUCED (docs/protocol.md section 6).
#pragma once

#include "core/wire/produce.h"

#define PRODUCED_HEAD_SIZE 12 // before the runs
#define PRODUCED_RUN_SIZE  32
#define PRODUCED_NO_OFFSET UINT64_MAX

struct produced_run {
	uint32_t count;
	uint8_t outcome;    // enum outcome
	uint8_t durability; // enum durability
	uint16_t code;      // enum code
	uint32_t retry_after_ms;
	uint32_t partition;
	uint64_t offset;
	uint64_t incarnation;
};

// A PRODUCED has the same head as a PRODUCE, then runs that cover `count`.
void produced_run_write(uint8_t *at, const struct produced_run *run);
void produced_run_read(const uint8_t *at, struct produced_run *ret);

// Checks that the runs of a whole payload add up to its count; sets the head and how many runs
// follow it.
const char *produced_check(const uint8_t *payload, size_t size, struct produce_head *ret_head,
			   size_t *ret_runs);
