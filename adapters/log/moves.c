// Gathers the answer to a reset, one row for each partition that moves. A preview and the real
// thing fill it in the same way, so they say the same.
//
// Invariant: no partition is added twice. Not here: what is open before a position
// (backlog_rows.c).

#include "adapters/log/moves.h"

#include "core/base/util.h"

#include <errno.h>

int moves_begin(struct moves *moves, size_t partitions)
{
	moves_deinit(moves);
	moves->rows = calloc(MAX(partitions, 1), sizeof *moves->rows);
	if (!moves->rows)
		return -ENOMEM;
	moves->room = partitions;
	return 0;
}

void moves_add(struct moves *moves, uint32_t partition, uint64_t from, uint64_t to,
	       uint64_t skipped)
{
	assert(moves->count < moves->room);
	moves->rows[moves->count++] =
		(struct moved_partition){.partition = partition,
					 .from = from,
					 .to = to,
					 .skipped = skipped,
					 .replayed = to < from ? from - to : 0};
}

struct adapter_answer moves_answer(const struct moves *moves)
{
	return (struct adapter_answer){.kind = ANSWER_RESET, .reset = {moves->rows, moves->count}};
}

void moves_deinit(struct moves *moves)
{
	free(moves->rows);
	*moves = (struct moves){.rows = NULL};
}
