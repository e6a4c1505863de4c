// Leads from a message's opaque pointer back to its place in its batch, with one small allocation a
// batch.
//
// What became of each record is written at its place in submit->runs; when all are known, the runs
// are joined in place and the batch is answered.
//
// Invariant: `left` reaches 0 once, and the thread that brings it there answers the batch.

#include "adapters/kafka/produce/batch.h"

#include "adapters/kafka/client/error.h"
#include "adapters/kafka/topic/topic.h"
#include "core/base/clock.h"

struct batch *batch_new(struct submit *submit)
{
	static uint64_t sequence; // atomic
	struct batch *batch = malloc(sizeof *batch + submit->count * sizeof batch->numbers[0]);

	assert(submit->count <= UINT16_MAX + 1u);
	if (!batch)
		return NULL;
	*batch = (struct batch){.submit = submit,
				.left = submit->count,
				.accepted_ms = clock_wall_ms(),
				.sequence = __atomic_add_fetch(&sequence, 1, __ATOMIC_RELAXED)};
	for (uint32_t i = 0; i < submit->count; ++i)
		batch->numbers[i] = (uint16_t)i;
	return batch;
}

struct batch *batch_of(const uint16_t *place)
{
	return CONTAINER_OF(place - *place, struct batch, numbers);
}

int batch_compare_places(const uint16_t *left, const uint16_t *right)
{
	uint64_t a = batch_of(left)->sequence, b = batch_of(right)->sequence;

	if (a == b)
		return *left < *right ? -1 : *left > *right;
	return a < b ? -1 : 1;
}

// Each place of submit->runs holds what became of its record: joined, in order, where they lie.
void batch_answer(struct batch *batch)
{
	struct submit *submit = batch->submit;

	if (batch->handed)
		__atomic_sub_fetch(&submit->topic->handed, 1, __ATOMIC_ACQ_REL);
	free(batch);
	submit->run_count = 0;
	for (uint32_t i = 0; i < submit->count; ++i) {
		struct submit_run run = submit->runs[i];

		submit_add_run(submit, &run);
	}
	buf_unref(submit->buf);
	submit->done(submit);
}

bool batch_note(struct batch *batch, uint32_t number, const struct submit_run *run)
{
	batch->submit->runs[number] = *run;
	return __atomic_sub_fetch(&batch->left, 1, __ATOMIC_ACQ_REL) == 0;
}

struct submit_run batch_refused(const struct submit *submit, uint32_t number,
				rd_kafka_resp_err_t error)
{
	enum code code = kafka_error_send_code(error);

	return (struct submit_run){.count = 1,
				   .partition = submit->records[number].partition,
				   .offset = UINT64_MAX,
				   .retry_after_ms = code == CODE_OVERLOADED ? FULL_RETRY_MS : 0,
				   .code = (uint16_t)code,
				   .outcome = OUTCOME_REJECTED};
}
