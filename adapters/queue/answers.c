// A queue counts its partitions together and has no positions: so a backlog and a reset have one
// row that stands for all partitions, and positions are 0 in every answer.
//
// Not here: asking the cluster, and refusing what it cannot do.

#include "adapters/queue/answers.h"

#include "core/base/util.h"

void queue_answers_backlog(const struct queue_counts *counts, adapter_answer_fn done, void *ctx)
{
	const struct source_partition row = {
		.ready = counts->ready, .retrying = counts->retrying, .delayed = counts->delayed};
	const struct adapter_answer answer = {.kind = ANSWER_BACKLOG, .backlog = {&row, 1}};

	done(ctx, CODE_OK, &answer, NULL);
}

void queue_answers_describe(const struct topic *topic, adapter_answer_fn done, void *ctx)
{
	struct described_partition *rows = calloc(topic->partitions, sizeof *rows);
	const struct adapter_answer answer = {.kind = ANSWER_DESCRIBE,
					      .describe = {rows, topic->partitions}};

	for (uint32_t i = 0; rows && i < topic->partitions; ++i)
		rows[i] = (struct described_partition){
			.partition = i, .bytes = ANSWER_NONE, .oldest_ms = ANSWER_NONE};
	done(ctx, rows ? CODE_OK : CODE_OVERLOADED, rows ? &answer : NULL, NULL);
	free(rows);
}

void queue_answers_reset(uint64_t skipped, adapter_answer_fn done, void *ctx)
{
	const struct moved_partition row = {.skipped = skipped};
	const struct adapter_answer answer = {.kind = ANSWER_RESET, .reset = {&row, skipped > 0}};

	done(ctx, CODE_OK, &answer, NULL);
}
