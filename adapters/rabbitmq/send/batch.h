// A batch on its way: which of its records have ended, and how. Pure but for memory.
#pragma once

#include "adapters/adapter.h"
#include "core/base/list.h"

struct rabbitmq_result {
	uint16_t code;   // enum code
	uint8_t outcome; // enum outcome
};

struct rabbitmq_batch {
	struct list in_queue; // its owner's
	struct submit *submit;
	uint64_t queued_ns;
	uint64_t bytes;   // of its records
	uint32_t next;    // the first that is not published
	uint32_t waiting; // that have not ended
	bool alive;       // one of them has ended by an answer of the cluster
	uint16_t broken;  // enum code: one of them is in doubt, or had no memory; 0: none
	struct rabbitmq_result results[];
};

struct rabbitmq_batch *rabbitmq_batch_new(struct submit *submit,
					  uint64_t now_ns); // NULL: no memory
// True: it was the last one.
bool rabbitmq_batch_end_one(struct rabbitmq_batch *batch, uint32_t index, enum outcome outcome,
			    enum code code);
// Answers the batch, all of whose records have ended, and frees it. `durability`: of what is OK.
void rabbitmq_batch_answer(struct rabbitmq_batch *batch, enum durability durability);
