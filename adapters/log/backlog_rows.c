// The rows that tell a group's backlog in each partition, and what moving the group makes of it.
//
// A row is told from a window, and from what the retry store holds beside it. Without a source the
// window is decoded from the text of the committed cursor (window_text.c); a group that has a
// source has its window there (source.c).
//
// Every position before the end, and every one that a move back opened again, is in exactly one
// place: acked, in one of the four parts of the backlog, dead, expired or skipped. Acked is not
// counted by itself: it is what is left, so that it cannot disagree with the rest. Nothing is
// written here.

#include "adapters/log/backlog_rows.h"

#include "adapters/log/window.h"
#include "adapters/log/window_text.h"

#include <errno.h>

uint64_t backlog_row_acked(const struct source_partition *row)
{
	const struct consumed_counts *counts = &row->counts;
	uint64_t all = row->log.end + counts->replayed,
		 others = row->ready + row->in_flight + row->retrying + row->delayed +
			  counts->dead + counts->expired + counts->skipped;

	// A stale owner's commit may have taken the place of one that knew more (Kafka).
	return all > others ? all - others : 0;
}

struct source_partition backlog_row_of_window(const struct window *window, uint64_t first,
					      uint64_t end)
{
	uint64_t next = MAX(window_next(window), first);
	struct source_partition row = {
		.ready = (end > next ? end - next : 0) + window->open,
		.in_flight = window->flight,
		.retrying = window->waiting + window->rejected,
		.counts = window->counts,
		.has_log = true,
		.log = {.first = first,
			.end = end,
			.committed = window->base,
			.window_full = window_full(window)},
	};

	row.counts.skipped += next - window_next(window);
	return row;
}

int backlog_row_read(const struct log_cursor *cursor, uint64_t first, uint64_t end,
		     struct source_partition *ret)
{
	struct window window;
	uint64_t epoch;

	window_init(&window, cursor->position);
	if (window_text_decode(&window, cursor->text, &epoch) < 0)
		return -ENOMEM;
	window_truncate(&window, first);
	*ret = backlog_row_of_window(&window, first, end);
	ret->partition = cursor->partition;
	ret->retrying += cursor->retrying;
	ret->delayed = cursor->delayed;
	ret->acked = backlog_row_acked(ret);
	window_deinit(&window);
	return 0;
}

int backlog_rows_open_before(const struct log_cursor *cursor, uint64_t first, uint64_t to,
			     uint64_t *ret_open, uint64_t *ret_epoch)
{
	uint64_t from = MAX(cursor->position, first);
	struct window window;

	window_init(&window, cursor->position);
	if (window_text_decode(&window, cursor->text, ret_epoch) < 0)
		return -ENOMEM;
	*ret_open = to > MAX(window_next(&window), from) ? to - MAX(window_next(&window), from) : 0;
	for (uint64_t offset = from; offset < MIN(to, window_next(&window)); ++offset)
		*ret_open += window_state_at(&window, offset) != WINDOW_DONE;
	window_deinit(&window);
	return 0;
}

int backlog_rows_move(const struct log_cursor *cursor, uint64_t first, uint64_t skipped,
		      struct window *to)
{
	struct window window;
	uint64_t epoch, done;

	window_init(&window, cursor->position);
	if (window_text_decode(&window, cursor->text, &epoch) < 0)
		return -ENOMEM;
	window_truncate(&window, first);
	done = MAX(window_next(&window), first) - window.open - window.waiting - cursor->retrying -
	       cursor->delayed;
	to->counts = window.counts;
	to->counts.skipped += MAX(window_next(&window), first) - window_next(&window) + skipped;
	to->counts.replayed += done + skipped > to->base ? done + skipped - to->base : 0;
	to->written_ms = window.written_ms;
	to->shift_ms = window.shift_ms;
	window_deinit(&window);
	return 0;
}
