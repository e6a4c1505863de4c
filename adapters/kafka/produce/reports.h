// The delivery reports of a batch: from a message's opaque back to its place in the batch, and from
// the ends of all its records to its answer.
#pragma once

#include "adapters/kafka/client/kafka_adapter.h"

// Suggestions to a sender that was refused: for want of room, because the cluster does not answer.
#define FULL_RETRY_MS 100u
#define DOWN_RETRY_MS 250u

struct reports {
	struct submit *submit;
	struct reports *next; // in a list of those that wait, or have ended
	uint64_t sequence;    // rises with every batch of the adapter
	int64_t accepted_ms;  // wall clock, kept when it is sent again
	uint32_t left;        // atomic: whose end is not known yet
	bool handed;          // it counts in its topic's `handed`
	uint16_t numbers[];   // numbers[i] is i: what the opaque of message i points to, its place
};

struct reports *reports_new(struct submit *submit); // NULL: no memory
struct reports *reports_of(const uint16_t *place);
// In the order of sending, for qsort().
int reports_compare_places(const uint16_t *left, const uint16_t *right);
// Notes how record `number` ended. true: it was the last one, and the caller answers the batch.
bool reports_note(struct reports *reports, uint32_t number, const struct submit_run *run);
void reports_answer(struct reports *reports); // and frees it
struct submit_run reports_refused(const struct submit *submit, uint32_t number,
				  rd_kafka_resp_err_t error);
