// A queue counts its partitions together and has no positions: so a backlog and a reset have one
// row that stands for all partitions, without a log part; positions are 0 in a reset, and not known
// where a topic is described.
//
// Not here: asking the cluster, and refusing what it cannot do.

#include "adapters/queue/answers.h"

#include "core/base/util.h"

void queue_answers_backlog(const struct queue_counts *counts, adapter_answer_fn done, void *ctx)
{
	struct source_partition row = {.ready = 0};
	const struct adapter_answer answer = {.kind = ANSWER_BACKLOG, .backlog = {&row, 1}};

	if (!counts) {
		done(ctx, CODE_NOT_FOUND, NULL, NULL);
		return;
	}
	row.ready = counts->ready;
	row.retrying = counts->retrying;
	row.delayed = counts->delayed;
	done(ctx, CODE_OK, &answer, NULL);
}

static void describe(const struct topic *topic, uint64_t kept, struct described_partition *rows,
		     adapter_answer_fn done, void *ctx)
{
	const struct adapter_answer answer = {.kind = ANSWER_DESCRIBE,
					      .describe = {rows, topic->partitions}};

	for (uint32_t i = 0; i < topic->partitions; ++i)
		rows[i] = (struct described_partition){.partition = i,
						       .first = ANSWER_NONE,
						       .end = ANSWER_NONE,
						       .messages = i == 0 ? kept : ANSWER_NONE,
						       .bytes = ANSWER_NONE,
						       .oldest_ms = ANSWER_NONE};
	done(ctx, CODE_OK, &answer, NULL);
}

void queue_answers_describe(const struct topic *topic, uint64_t kept, adapter_answer_fn done,
			    void *ctx)
{
	struct described_partition *rows = topic ? calloc(topic->partitions, sizeof *rows) : NULL;

	if (rows)
		describe(topic, kept, rows, done, ctx);
	else
		done(ctx, topic ? CODE_OVERLOADED : CODE_NOT_FOUND, NULL, NULL);
	free(rows);
}

bool queue_answers_refuse_reset(const struct seek_target *to, adapter_answer_fn done, void *ctx)
{
	if (to->place == SEEK_LATEST)
		return false;
	done(ctx, CODE_UNSUPPORTED_BY_BACKEND, NULL,
	     "the cluster keeps no positions: a group can only be moved to the end");
	return true;
}

void queue_answers_reset(uint64_t skipped, uint64_t replayed, adapter_answer_fn done, void *ctx)
{
	const struct moved_partition row = {.skipped = skipped, .replayed = replayed};
	const struct adapter_answer answer = {.kind = ANSWER_RESET, .reset = {&row, 1}};

	done(ctx, CODE_OK, &answer, NULL);
}
