// Leads from a message's opaque pointer back to its place in its batch, with one small allocation a
// batch.
//
// What became of each record is written at its place in submit->runs; when all are known, the runs
// are joined in place and the batch is answered.
//
// Invariant: `left` reaches 0 once, and the thread that brings it there answers the batch.

#include "adapters/kafka/produce/reports.h"

#include "adapters/kafka/client/error.h"
#include "adapters/kafka/topic/topic.h"
#include "core/base/clock.h"

struct reports *reports_new(struct submit *submit)
{
	static uint64_t sequence; // atomic
	struct reports *reports =
		malloc(sizeof *reports + submit->count * sizeof reports->numbers[0]);

	assert(submit->count <= UINT16_MAX + 1u);
	if (!reports)
		return NULL;
	*reports = (struct reports){.submit = submit,
				    .left = submit->count,
				    .accepted_ms = clock_wall_ms(),
				    .sequence = __atomic_add_fetch(&sequence, 1, __ATOMIC_RELAXED)};
	for (uint32_t i = 0; i < submit->count; ++i)
		reports->numbers[i] = (uint16_t)i;
	return reports;
}

struct reports *reports_of(const uint16_t *place)
{
	return CONTAINER_OF(place - *place, struct reports, numbers);
}

int reports_compare_places(const uint16_t *left, const uint16_t *right)
{
	uint64_t a = reports_of(left)->sequence, b = reports_of(right)->sequence;

	if (a == b)
		return *left < *right ? -1 : *left > *right;
	return a < b ? -1 : 1;
}

// Each place of submit->runs holds what became of its record: joined, in order, where they lie.
void reports_answer(struct reports *reports)
{
	struct submit *submit = reports->submit;

	if (reports->handed)
		__atomic_sub_fetch(&submit->topic->handed, 1, __ATOMIC_ACQ_REL);
	free(reports);
	submit->run_count = 0;
	for (uint32_t i = 0; i < submit->count; ++i) {
		struct submit_run run = submit->runs[i];

		submit_add_run(submit, &run);
	}
	buf_unref(submit->buf);
	submit->done(submit);
}

bool reports_note(struct reports *reports, uint32_t number, const struct submit_run *run)
{
	reports->submit->runs[number] = *run;
	return __atomic_sub_fetch(&reports->left, 1, __ATOMIC_ACQ_REL) == 0;
}

struct submit_run reports_refused(const struct submit *submit, uint32_t number,
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
