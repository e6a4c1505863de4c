// What the window in a cursor says, as rows of answers.

#include "adapters/log/standing.h"

#include "adapters/log/window.h"

#include <errno.h>

json_t *standing_backlog(const struct log_cursor *cursor, uint64_t first, uint64_t end)
{
	uint64_t next, epoch;
	struct window window;
	json_t *json;

	window_init(&window, cursor->position);
	if (window_decode(&window, cursor->text, &epoch) < 0)
		return NULL;
	window_truncate(&window, first);
	next = window_next(&window);
	json = json_pack("{s:I,s:I,s:I,s:I,s:I,s:I,s:I,s:I,s:b}", "partition",
			 (json_int_t)cursor->partition, "first", (json_int_t)first, "end",
			 (json_int_t)end, "committed", (json_int_t)window.base, "ready",
			 (json_int_t)((end > next ? end - next : 0) + window.open), "in_flight",
			 (json_int_t)0, "retrying", (json_int_t)(window.waiting + cursor->retrying),
			 "delayed", (json_int_t)cursor->delayed, "window_full",
			 (int)window_full(&window));
	window_deinit(&window);
	return json;
}

int standing_open_before(const struct log_cursor *cursor, uint64_t first, uint64_t to,
			 uint64_t *ret_open, uint64_t *ret_epoch)
{
	uint64_t from = MAX(cursor->position, first);
	struct window window;

	window_init(&window, cursor->position);
	if (window_decode(&window, cursor->text, ret_epoch) < 0)
		return -ENOMEM;
	*ret_open = to > MAX(window_next(&window), from) ? to - MAX(window_next(&window), from) : 0;
	for (uint64_t offset = from; offset < MIN(to, window_next(&window)); ++offset)
		*ret_open += window_state_at(&window, offset) != WINDOW_DONE;
	window_deinit(&window);
	return 0;
}

json_t *standing_moved(uint32_t partition, uint64_t from, uint64_t to, uint64_t skipped)
{
	return json_pack("{s:I,s:I,s:I,s:I,s:I}", "partition", (json_int_t)partition, "from",
			 (json_int_t)from, "to", (json_int_t)to, "skipped", (json_int_t)skipped,
			 "replayed", (json_int_t)(to < from ? from - to : 0));
}
