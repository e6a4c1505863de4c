// Reports the results of a batch as runs: neighbouring messages with the same outcome share one
// row.
//
// Invariants: a batch has at most as many runs as messages, so the room that its sender reserved
// always suffices; a finished submit is reported once, through its `done`. Not here: retrying.

#include "adapters/submit.h"

#include "core/base/util.h"

// Runs join only if their offsets follow each other too. UINT64_MAX stands for "no offset", which
// never counts up.
static bool run_continues(const struct submit_run *last, const struct submit_run *run)
{
	if (last->outcome != run->outcome || last->code != run->code ||
	    last->partition != run->partition || last->durability != run->durability ||
	    last->retry_after_ms != run->retry_after_ms)
		return false;
	if (last->offset == UINT64_MAX || run->offset == UINT64_MAX)
		return last->offset == run->offset;
	return last->offset + last->count == run->offset;
}

void submit_add_run(struct submit *submit, const struct submit_run *run)
{
	struct submit_run *last = submit->run_count ? &submit->runs[submit->run_count - 1] : NULL;

	if (last && run_continues(last, run)) {
		last->count += run->count;
		return;
	}
	assert(submit->run_count < submit->count);
	submit->runs[submit->run_count++] = *run;
}

void submit_finish(struct submit *submit, enum outcome outcome, enum code code,
		   uint32_t retry_after_ms)
{
	struct submit_run run = {
		.count = submit->count,
		.offset = UINT64_MAX,
		.retry_after_ms = retry_after_ms,
		.code = (uint16_t)code,
		.outcome = (uint8_t)outcome,
	};

	submit->run_count = 0;
	submit_add_run(submit, &run);
	submit->done(submit);
}
