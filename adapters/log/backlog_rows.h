// How a group stands in a partition, told from its cursor: for callers that ask about a group
// without its source.
#pragma once

#include "adapters/log/log.h"
#include "adapters/log/window.h"

// What is acked, of a row in which everything else is known.
uint64_t backlog_row_acked(const struct source_partition *row);
// What a window alone says of a partition that has the positions from `first` to before `end`: all
// but what the retry store holds, and what is acked.
struct source_partition backlog_row_of_window(const struct window *window, uint64_t first,
					      uint64_t end);
// The same from a cursor, and complete. -ENOMEM.
int backlog_row_read(const struct log_cursor *cursor, uint64_t first, uint64_t end,
		     struct source_partition *ret);
// Positions from the cursor on, before `to`, that the group has not acknowledged and that are still
// there; and the epoch of its last owner. What the retry store holds counts as acknowledged here.
int backlog_rows_open_before(const struct log_cursor *cursor, uint64_t first, uint64_t to,
			     uint64_t *ret_open, uint64_t *ret_epoch);
// What the fresh window `to` goes on with, where a group is moved to: counts and clock. `skipped`:
// open positions before it, those in the retry store too. -ENOMEM.
int backlog_rows_move(const struct log_cursor *cursor, uint64_t first, uint64_t skipped,
		      struct window *to);
