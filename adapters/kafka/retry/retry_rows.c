// Computes the rows that the messages of a retry topic amount to, and which cursors they make void.
//
// Rows and fences may arrive in any order and more than once; each change is applied at the offset
// it was written at, so the result is that of the compacted topic. Cursors are fitted to it
// partition by partition: a void one goes back to its fence, and a row counts as done in the
// window.
//
// Invariant: rows in the index are all of their partition's current generation. Pure, but for
// memory. What it does not do: read, write or order by due time (retry_index.c).

#include "adapters/kafka/retry/retry_rows.h"

#include "adapters/log/window_text.h"
#include "core/wire/record.h"

#include <errno.h>

#define VERSION        1
#define FENCE          0x46u
#define FENCE_OFFSET   UINT64_MAX
#define FENCE_HEAD     24u        // before the positions
#define UNKNOWN        UINT64_MAX // position of a fence that only a row has proved
#define PARTITIONS_MAX (1u << 20) // more than any topic has

void retry_rows_init(struct retry_rows *rows)
{
	*rows = (struct retry_rows){.fences = NULL};
	retry_index_init(&rows->index);
}

void retry_rows_deinit(struct retry_rows *rows)
{
	retry_index_deinit(&rows->index);
	free(rows->fences);
	retry_rows_init(rows);
}

// ---- messages

struct retry_key {
	uint32_t partition;
	uint64_t offset, generation;
};

void retry_rows_key_put(uint8_t room[RETRY_KEY], uint32_t partition, uint64_t offset,
			uint64_t generation)
{
	le32_put(room, __builtin_bswap32(partition));
	le64_put(room + 4, __builtin_bswap64(offset));
	le64_put(room + 12, __builtin_bswap64(generation));
}

static struct retry_key key_get(const uint8_t *key)
{
	return (struct retry_key){__builtin_bswap32(le32_get(key)),
				  __builtin_bswap64(le64_get(key + 4)),
				  __builtin_bswap64(le64_get(key + 12))};
}

void retry_rows_head_put(uint8_t room[RETRY_HEAD], const struct log_retry *retry, int64_t stored_ms)
{
	le32_put(room, VERSION);
	le32_put(room + 4, retry->attempts);
	le64_put(room + 8, retry->due_ms);
	le64_put(room + 16, (uint64_t)stored_ms);
}

int64_t retry_rows_head_stored_ms(const uint8_t head[RETRY_HEAD])
{
	return (int64_t)le64_get(head + 16);
}

void retry_rows_fence_key_put(uint8_t room[RETRY_KEY], uint64_t epoch)
{
	retry_rows_key_put(room, 0, FENCE_OFFSET, epoch);
}

uint8_t *retry_rows_fence_make(uint64_t epoch, const uint64_t *positions, uint32_t count,
			       uint32_t *ret_size)
{
	uint8_t *value = malloc(FENCE_HEAD + 8 * (size_t)count);

	if (!value)
		return NULL;
	le32_put(value, VERSION);
	le32_put(value + 4, FENCE);
	le64_put(value + 8, epoch);
	le64_put(value + 16, count);
	for (uint32_t i = 0; i < count; ++i)
		le64_put(value + FENCE_HEAD + 8 * (size_t)i, positions ? positions[i] : 0);
	*ret_size = FENCE_HEAD + 8 * count;
	return value;
}

static const struct retry_fence *fence_of(const struct retry_rows *rows, uint32_t partition)
{
	static const struct retry_fence none;

	return partition < rows->fence_count ? &rows->fences[partition] : &none;
}

uint64_t retry_rows_generation(const struct retry_rows *rows, uint32_t partition)
{
	return fence_of(rows, partition)->epoch;
}

static void rows_drop(struct retry_rows *rows, uint32_t partition)
{
	const struct retry_row *row;
	uint32_t at = 0;

	// Removing leaves all other rows where they are.
	while ((row = retry_index_next(&rows->index, &at)))
		if (row->partition == partition)
			retry_index_remove(&rows->index, partition, row->offset, UINT64_MAX);
}

static int fences_room(struct retry_rows *rows, uint32_t count)
{
	struct retry_fence *fences;

	if (count <= rows->fence_count)
		return 0;
	fences = realloc(rows->fences, count * sizeof *fences);
	if (!fences)
		return -ENOMEM;
	memset(fences + rows->fence_count, 0, (count - rows->fence_count) * sizeof *fences);
	rows->fences = fences;
	rows->fence_count = count;
	return 0;
}

// What is of a later generation proves its fence, which may have been written once more behind it
// since, and compaction leaves only the last one.
static int generation_apply(struct retry_rows *rows, uint32_t partition, uint64_t generation)
{
	int r;

	if (generation <= retry_rows_generation(rows, partition))
		return 0;
	r = fences_room(rows, partition + 1);
	if (r == 0) {
		rows->fences[partition] = (struct retry_fence){generation, UNKNOWN};
		rows_drop(rows, partition);
	}
	return r;
}

static int fence_apply(struct retry_rows *rows, struct slice value)
{
	uint64_t epoch = le64_get(value.data + 8), count = le64_get(value.data + 16);
	int r;

	if (le32_get(value.data + 4) != FENCE || count > PARTITIONS_MAX ||
	    epoch > WINDOW_EPOCH_MAX || value.size != FENCE_HEAD + 8 * count)
		return RETRY_E_FOREIGN;
	r = fences_room(rows, (uint32_t)count);
	for (uint32_t i = 0; r == 0 && i < count; ++i) {
		uint64_t position = le64_get(value.data + FENCE_HEAD + 8 * (size_t)i);

		if (position == UINT64_MAX)
			continue;
		r = generation_apply(rows, i, epoch);
		if (rows->fences[i].epoch == epoch && rows->fences[i].position == UNKNOWN)
			rows->fences[i].position = position;
	}
	return r;
}

int retry_rows_apply(struct retry_rows *rows, uint64_t written, struct slice key,
		     struct slice value)
{
	struct retry_row row = {.written = written};
	struct retry_key names;

	if (!key.data || key.size != RETRY_KEY || (value.data && value.size < RETRY_HEAD))
		return RETRY_E_FOREIGN;
	names = key_get(key.data);
	if (names.partition >= PARTITIONS_MAX || names.generation > WINDOW_EPOCH_MAX)
		return RETRY_E_FOREIGN;
	if (value.data && le32_get(value.data) != VERSION)
		return RETRY_E_VERSION;
	if (names.offset == FENCE_OFFSET)
		return value.data ? fence_apply(rows, value) : 0;
	if (generation_apply(rows, names.partition, names.generation) < 0)
		return -ENOMEM;
	if (names.generation < retry_rows_generation(rows, names.partition))
		return 0;
	row.partition = names.partition;
	row.offset = names.offset;
	if (!value.data) {
		retry_index_remove(&rows->index, row.partition, row.offset, written);
		return 0;
	}
	row.attempts = le32_get(value.data + 4);
	row.due_ms = MAX(le64_get(value.data + 8), 1ull);
	row.size = (uint32_t)(value.size - RETRY_HEAD);
	return retry_index_put(&rows->index, &row);
}

// ---- cursors

// A cursor as a window, and the other way round.
struct fitting {
	struct window window;
	uint64_t epoch;
	bool changed, voided;
};

static int fitting_init(struct fitting *fitting, const struct log_cursor *cursor,
			const struct retry_fence *fence, uint64_t log_generation)
{
	struct window before;
	int r;

	*fitting = (struct fitting){.epoch = 0};
	window_init(&fitting->window, cursor->position);
	r = window_text_decode(&fitting->window, cursor->text, &fitting->epoch);
	// What a native consumer commits, or what is new, has no epoch and is no late commit of an
	// owner.
	if (r != 0 || !*cursor->text || fitting->epoch >= fence->epoch) {
		fitting->changed = fitting->epoch < fence->epoch;
		fitting->epoch = MAX(fitting->epoch, fence->epoch); // it never steps back
		return MIN(r, 0);
	}
	before = fitting->window;
	window_deinit(&fitting->window);
	window_init(&fitting->window, fence->position == UNKNOWN ? 0 : fence->position);
	if (fitting->epoch >= log_generation) { // the group's clock goes on
		fitting->window.written_ms = before.written_ms;
		fitting->window.shift_ms = before.shift_ms;
	}
	fitting->epoch = fence->epoch;
	fitting->changed = fitting->voided = true;
	return 0;
}

static int row_done(struct fitting *fitting, uint64_t offset)
{
	struct window *window = &fitting->window;
	int r = 0;

	// What is too far away for a window comes from the log as well: twice rather than never.
	if (offset < window->base || offset - window->base >= WINDOW_POSITIONS)
		return 0;
	while (r == 0 && window_next(window) <= offset)
		r = window_restore(window, window_next(window), WINDOW_OPEN, 0, 0);
	if (r == 0 && window_state_at(window, offset) != WINDOW_DONE) {
		window_leave(window, offset);
		fitting->changed = true;
	}
	return r;
}

static int by_position(const void *a, const void *b)
{
	const struct retry_row *left = *(const struct retry_row *const *)a,
			       *right = *(const struct retry_row *const *)b;

	if (left->partition != right->partition)
		return left->partition < right->partition ? -1 : 1;
	return left->offset < right->offset ? -1 : left->offset > right->offset;
}

// Counts all rows; those that a cursor has not passed, in order, become done in its window. They
// are few: what a commit wrote whose cursor did not follow.
static int rows_done(const struct retry_rows *rows, struct log_cursor *cursors,
		     struct fitting *fittings, uint32_t count, uint64_t log_generation)
{
	const struct retry_row **ahead = NULL, *row;
	uint32_t at = 0, found = 0, room = 0;
	int r = 0;

	while (r == 0 && (row = retry_index_next(&rows->index, &at))) {
		if (row->partition >= count ||
		    retry_rows_generation(rows, row->partition) < log_generation)
			continue;
		++*(row->attempts ? &cursors[row->partition].retrying
				  : &cursors[row->partition].delayed);
		if (row->offset < fittings[row->partition].window.base)
			continue;
		if (found == room) {
			const struct retry_row **more;

			room = MAX(2 * room, 64u);
			more = realloc(ahead, room * sizeof *ahead);
			r = more ? 0 : -ENOMEM;
			ahead = more ? more : ahead;
		}
		if (r == 0)
			ahead[found++] = row;
	}
	if (found)
		qsort(ahead, found, sizeof *ahead, by_position);
	for (uint32_t i = 0; r == 0 && i < found; ++i)
		r = row_done(&fittings[ahead[i]->partition], ahead[i]->offset);
	free(ahead);
	return r;
}

// With the time at which it was written before: delays are counted from there.
static int cursor_write(struct log_cursor *cursor, const struct fitting *fitting)
{
	char *text =
		window_text_encode(&fitting->window, fitting->epoch, fitting->window.written_ms);

	if (!text)
		return -ENOMEM;
	free(cursor->text);
	cursor->text = text;
	cursor->position = fitting->window.base;
	return 0;
}

// The clock that rows are written by is that of the cursors that stand. Only where none does that
// of a void one is better than nothing.
static void clock_choose(struct fitting *fittings, uint32_t count)
{
	bool known = false;

	for (uint32_t i = 0; i < count; ++i)
		known = known || (!fittings[i].voided && fittings[i].window.written_ms);
	for (uint32_t i = 0; known && i < count; ++i) {
		if (!fittings[i].voided)
			continue;
		fittings[i].window.written_ms = 0;
		fittings[i].window.shift_ms = 0;
	}
}

int retry_rows_fit(const struct retry_rows *rows, struct log_cursor *cursors, uint32_t count,
		   uint64_t log_generation)
{
	const struct retry_fence begin = {.epoch = log_generation};
	struct fitting *fittings = calloc(count, sizeof *fittings);
	int r = fittings ? 0 : -ENOMEM;

	for (uint32_t i = 0; r == 0 && i < count; ++i) {
		const struct retry_fence *fence = fence_of(rows, cursors[i].partition);

		r = fitting_init(&fittings[i], &cursors[i],
				 fence->epoch < log_generation ? &begin : fence, log_generation);
	}
	if (r == 0)
		clock_choose(fittings, count);
	if (r == 0)
		r = rows_done(rows, cursors, fittings, count, log_generation);
	for (uint32_t i = 0; r == 0 && i < count; ++i)
		if (fittings[i].changed)
			r = cursor_write(&cursors[i], &fittings[i]);
	for (uint32_t i = 0; fittings && i < count; ++i)
		window_deinit(&fittings[i].window);
	free(fittings);
	return r;
}
