// The connections of one tenant on one worker: their place in the run queue, and what they wait
// for.
#pragma once

#include "core/loop/loop.h"
#include "proxy/client/session_lines.h"
#include "proxy/engine/fair.h"

struct tenant_view;
struct worker;

struct tenant_clients {
	struct tenant_view *tenant;
	struct fair_queue queue;
	struct list conns;
	struct list waiting; // connections with batches that wait for the produce quota
	struct loop_timer waiting_timer;
	struct list memory_waiting; // connections that are not read until there is memory
	struct loop_timer memory_timer;
	struct list turns; // of struct sender_turn: what its streams were promised
	struct loop_timer turns_timer;
	struct session_lines lines;
};

// Makes it when needed. NULL: out of memory.
struct tenant_clients *tenant_clients_get(struct tenant_view *tenant);
// After tenant_changed().
void tenant_clients_changed(struct worker *worker, uint64_t id);
void tenant_clients_deinit(struct worker *worker); // of all tenants; no connections left
