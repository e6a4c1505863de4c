// Message memory of the process: one budget, and each tenant's share of it.
#pragma once

#include <stdbool.h>
#include <stdint.h>

// What the bytes are. Each use has a share of its own, so that none can starve another.
enum budget_use {
	BUDGET_FRAMES,    // read buffers of connections: frames that are not whole yet
	BUDGET_BODIES,    // batches that are not answered yet
	BUDGET_OUTPUT,    // deliveries and replies that are not written yet
	BUDGET_HELD,      // what waits in the groups; above the share it goes back to their sources
	BUDGET_AHEAD,     // what sources have read and not handed out
	BUDGET_UNSETTLED, // what queues have given to their sources, handed out or not
	BUDGET_USES
};

struct budget {
	uint64_t limit, used; // atomic
};

// A tenant's, on all workers together.
struct budget_share {
	struct budget *budget;
	uint64_t used[BUDGET_USES]; // atomic
	uint32_t waiting;           // atomic: connections that wait for memory
};

// All: @thread any

void budget_init(struct budget *budget, uint64_t limit);
void budget_set_limit(struct budget *budget, uint64_t limit);
void budget_deinit(const struct budget *budget); // asserts that nothing is in use
uint64_t budget_used(const struct budget *budget);
bool budget_is_full(const struct budget *budget);
bool budget_is_short(const struct budget *budget); // less than an eighth is free

void budget_share_init(struct budget_share *share, struct budget *budget);
void budget_share_deinit(const struct budget_share *share); // asserts that nothing is in use

// May the tenant have that many bytes more for this use? At most a quarter of what is free, or one
// piece as long as it has none.
bool budget_has_room(const struct budget_share *share, enum budget_use use, uint64_t bytes);
// May a piece of it grow from `before` bytes to `after`?
bool budget_may_grow(const struct budget_share *share, enum budget_use use, uint64_t before,
		     uint64_t after);
// Counts them, whatever the share says: for what is there already, or was asked for before.
void budget_add(struct budget_share *share, enum budget_use use, uint64_t bytes);
void budget_give_back(struct budget_share *share, enum budget_use use, uint64_t bytes);
// Counts a use that was `before` as `after` now.
void budget_move(struct budget_share *share, enum budget_use use, uint64_t before, uint64_t after);
