// Keeps the results of a batch until the last of its records has ended, in whatever order they do,
// and answers it in the order of its records.
//
// Invariant: a record ends once. What it does not do: decide how one ends (lane.c).

#include "adapters/rabbitmq/send/batch.h"

#define RETRY_AFTER_MS 1000 // of what may succeed later

#define NOT_ENDED UINT8_MAX // as an outcome

struct rabbitmq_batch *rabbitmq_batch_new(struct submit *submit, uint64_t now_ns)
{
	struct rabbitmq_batch *batch =
		malloc(sizeof *batch + submit->count * sizeof batch->results[0]);

	if (!batch)
		return NULL;
	*batch = (struct rabbitmq_batch){
		.submit = submit, .queued_ns = now_ns, .waiting = submit->count};
	list_init(&batch->in_queue);
	for (uint32_t i = 0; i < submit->count; ++i) {
		batch->bytes += submit->records[i].size;
		batch->results[i].outcome = NOT_ENDED;
	}
	return batch;
}

bool rabbitmq_batch_end_one(struct rabbitmq_batch *batch, uint32_t index, enum outcome outcome,
			    enum code code)
{
	struct rabbitmq_result *result = &batch->results[index];

	assert(index < batch->submit->count && result->outcome == NOT_ENDED && batch->waiting > 0);
	result->outcome = (uint8_t)outcome;
	result->code = (uint16_t)code;
	return --batch->waiting == 0;
}

void rabbitmq_batch_answer(struct rabbitmq_batch *batch, enum durability durability)
{
	struct submit *submit = batch->submit;

	assert(batch->waiting == 0);
	submit->run_count = 0;
	for (uint32_t i = 0; i < submit->count; ++i) {
		const struct rabbitmq_result *result = &batch->results[i];
		bool ok = result->outcome == OUTCOME_OK;
		struct submit_run run = {.count = 1,
					 .partition = submit->records[i].partition,
					 .offset = UINT64_MAX,
					 .retry_after_ms = code_retriable((enum code)result->code)
								   ? RETRY_AFTER_MS
								   : 0,
					 .code = result->code,
					 .outcome = result->outcome,
					 .durability = ok ? (uint8_t)durability : 0};

		submit_add_run(submit, &run);
	}
	free(batch);
	submit->done(submit);
}
