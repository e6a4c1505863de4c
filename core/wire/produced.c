// PRODUCED: the results of a batch as runs of records with the same outcome.
//
// The layout is fixed, little-endian, and nothing is allocated. Invariant: in a payload that
// produced_check() accepts, the runs add up to the batch's count, so each record has exactly one
// result.

#include "core/wire/produced.h"

#include "core/base/code.h"

void produced_run_write(uint8_t *at, const struct produced_run *run)
{
	assert(run->count > 0);
	assert(run->outcome <= OUTCOME_UNKNOWN && run->durability <= DURABILITY_D3);
	le32_put(at, run->count);
	at[4] = run->outcome;
	at[5] = run->durability;
	le16_put(at + 6, run->code);
	le32_put(at + 8, run->retry_after_ms);
	le32_put(at + 12, run->partition);
	le64_put(at + 16, run->offset);
	le64_put(at + 24, run->incarnation);
}

void produced_run_read(const uint8_t *at, struct produced_run *ret)
{
	*ret = (struct produced_run){
		.count = le32_get(at),
		.outcome = at[4],
		.durability = at[5],
		.code = le16_get(at + 6),
		.retry_after_ms = le32_get(at + 8),
		.partition = le32_get(at + 12),
		.offset = le64_get(at + 16),
		.incarnation = le64_get(at + 24),
	};
}

const char *produced_check(const uint8_t *payload, size_t size, struct produce_head *ret_head,
			   size_t *ret_runs)
{
	struct produce_head head;
	uint64_t covered = 0;
	const char *problem = produce_head_read(payload, size, &head);

	if (problem || (size - PRODUCED_HEAD_SIZE) % PRODUCED_RUN_SIZE)
		return "PRODUCED is malformed";
	for (size_t at = PRODUCED_HEAD_SIZE; at < size; at += PRODUCED_RUN_SIZE) {
		if (payload[at + 4] > OUTCOME_UNKNOWN || payload[at + 5] > DURABILITY_D3)
			return "PRODUCED has an outcome or durability outside the table";
		if (le32_get(payload + at) == 0)
			return "a run of PRODUCED covers nothing";
		covered += le32_get(payload + at);
	}
	if (covered != head.count)
		return "the runs of PRODUCED do not add up to its count";
	*ret_head = head;
	*ret_runs = (size - PRODUCED_HEAD_SIZE) / PRODUCED_RUN_SIZE;
	return NULL;
}
