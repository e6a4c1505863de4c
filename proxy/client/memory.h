// A connection's part of the message memory: what it holds, when it waits for more, and which
// connection is closed when frames do not become whole.
#pragma once

#include "core/base/list.h"
#include "proxy/resource/budget.h"

#include <stddef.h>

struct conn;
struct loop_timer;

struct conn_memory {
	struct budget_share *share;
	size_t frames, output; // counted
	struct list waiting;   // member of tenant->clients->memory_waiting: it is not read until
			       // there is room
	struct list partial;   // member of clients->partial: a large frame has begun
	uint64_t partial_ns;   // since when its bytes are measured; 0: no frame has begun
	size_t partial_from;   // bytes that were there then
	uint64_t rate;         // bytes a second when they were last measured
	uint32_t slow;         // measurements in a row that were below the least rate
	bool waits;
};

void memory_init(struct conn *conn);
// It has become one of a tenant's: what it holds counts there from now on.
void memory_move(struct conn *conn, struct budget_share *share);
void memory_release(struct conn *conn); // nothing is held any more

// May it read? false: it waits, and is queued to run again by itself.
bool memory_may_read(struct conn *conn);
void memory_has_read(struct conn *conn); // after its frames were taken
void memory_count_output(struct conn *conn);
// Bytes of replies that may wait for it before it is not read any more.
size_t memory_output_most(const struct conn *conn);

void memory_on_waiting(struct loop_timer *timer); // of tenant_clients: is there room now?
void memory_on_partial(struct loop_timer *timer); // of clients: frames that come too slowly
