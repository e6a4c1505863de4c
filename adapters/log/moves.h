// What a reset does to the partitions of a group, gathered for its answer.
#pragma once

#include "adapters/adapter.h"

struct moves {
	struct moved_partition *rows;
	size_t count, room;
};

int moves_begin(struct moves *moves, size_t partitions); // forgets what it had; -ENOMEM
// A partition in which the group stood at `from`, with this number of open messages before `to`.
void moves_add(struct moves *moves, uint32_t partition, uint64_t from, uint64_t to,
	       uint64_t skipped);
struct adapter_answer moves_answer(const struct moves *moves); // points to the rows
void moves_deinit(struct moves *moves);
