// adapters/kafka/retry/retry_index, retry_rows: the order of due times against a plain list, what
// is older changes nothing, messages there and back, cursors that rows and fences have a say in.

#include "adapters/kafka/retry/retry_index.h"
#include "adapters/kafka/retry/retry_rows.h"
#include "adapters/kafka/topic/topic_generation.h"
#include "adapters/log/window_text.h"
#include "tests/unit/unit.h"

static uint64_t random_state = 1;

static uint64_t random_below(uint64_t n)
{
	uint64_t z = random_state += 0x9e3779b97f4a7c15ull;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ull;
	z = (z ^ z >> 27) * 0x94d049bb133111ebull;
	return (z ^ z >> 31) % n;
}

static void put(struct retry_index *index, uint64_t offset, uint64_t due_ms, uint64_t written)
{
	struct retry_row row = {.due_ms = due_ms, .offset = offset, .written = written};

	CHECK_EQ(retry_index_put(index, &row), 0);
}

static void the_older_write_changes_nothing(void)
{
	struct retry_index index;

	retry_index_init(&index);
	CHECK(!retry_index_find(&index, 0, 7));
	put(&index, 7, 100, 20);
	put(&index, 7, 50, 19);
	CHECK_EQ(retry_index_find(&index, 0, 7)->due_ms, 100);
	retry_index_remove(&index, 0, 7, 20);
	retry_index_remove(&index, 0, 7, 3);
	CHECK_EQ(index.count, 1);
	put(&index, 7, 60, 21);
	CHECK_EQ(index.count, 1);
	CHECK_EQ(retry_index_behind(&index, 0, 0, 0)->due_ms, 60);
	CHECK(!retry_index_behind(&index, 60, 0, 7));
	retry_index_remove(&index, 0, 7, 22);
	CHECK_EQ(index.count, 0);
	CHECK(!retry_index_behind(&index, 0, 0, 0));
	retry_index_deinit(&index);
}

enum { MANY = 500 };

// All rows by due time are those of the list.
static void compare(const struct retry_index *index, const uint64_t *due_ms, uint32_t count)
{
	const struct retry_row *row = retry_index_behind(index, 0, 0, 0), *before = NULL;
	uint32_t seen = 0;

	for (; row; ++seen) {
		CHECK_EQ(row->due_ms, due_ms[row->offset]);
		CHECK(!before || before->due_ms < row->due_ms ||
		      (before->due_ms == row->due_ms && before->offset < row->offset));
		before = row;
		row = retry_index_behind(index, row->due_ms, row->partition, row->offset);
	}
	CHECK_EQ(seen, count);
	CHECK_EQ(index->count, count);
}

static void rows_stay_in_the_order_of_due_times(void)
{
	uint64_t due_ms[MANY] = {0};
	struct retry_index index;
	uint32_t count = 0;

	retry_index_init(&index);
	for (uint64_t written = 1; written < 20000; ++written) {
		uint64_t offset = random_below(MANY);

		if (random_below(2)) {
			count += due_ms[offset] == 0;
			due_ms[offset] = 1 + random_below(100);
			put(&index, offset, due_ms[offset], written);
		} else {
			count -= due_ms[offset] != 0;
			due_ms[offset] = 0;
			retry_index_remove(&index, 0, offset, written);
		}
		if (written % 50 == 0)
			compare(&index, due_ms, count);
	}
	retry_index_deinit(&index);
}

// ---- messages and cursors

static void apply(struct retry_rows *rows, uint64_t written, uint64_t offset, uint64_t generation,
		  uint32_t attempts, bool put_it)
{
	struct log_retry retry = {.due_ms = 1000 + offset, .attempts = attempts};
	uint8_t key[RETRY_KEY], value[RETRY_HEAD + 40] = {0};

	retry_rows_key_put(key, 0, offset, generation);
	retry_rows_head_put(value, &retry, 77);
	CHECK_EQ(retry_rows_head_stored_ms(value), 77);
	CHECK_EQ(retry_rows_apply(rows, written, (struct slice){key, sizeof key},
				  (struct slice){put_it ? value : NULL, put_it ? sizeof value : 0}),
		 0);
}

static void fence(struct retry_rows *rows, uint64_t epoch, uint64_t position)
{
	const uint64_t positions[] = {position, UINT64_MAX};
	uint8_t key[RETRY_KEY], *value;
	uint32_t size;

	retry_rows_fence_key_put(key, epoch);
	value = retry_rows_fence_make(epoch, positions, 2, &size);
	CHECK_EQ(retry_rows_apply(rows, 0, (struct slice){key, sizeof key},
				  (struct slice){value, size}),
		 0);
	CHECK_EQ(retry_rows_generation(rows, 1), 0);
	CHECK_EQ(retry_rows_apply(rows, 0, (struct slice){key, sizeof key},
				  (struct slice){value, size - 1}),
		 RETRY_E_FOREIGN);
	free(value);
}

// A cursor at 10 that has seen up to 14, with 12 done, of epoch 5.
static struct log_cursor cursor_make(void)
{
	struct log_cursor cursor = {.position = 10};
	struct window window;

	window_init(&window, 10);
	for (uint64_t offset = 10; offset < 14; ++offset)
		CHECK_EQ(window_add(&window, offset, false), 0);
	CHECK_EQ(window_ack(&window, 12, 1), WINDOW_OK);
	CHECK_EQ(window_nack(&window, 11, 1, 0), WINDOW_OK);
	cursor.text = window_text_encode(&window, 5, 1000);
	window_deinit(&window);
	return cursor;
}

static struct window cursor_window(struct log_cursor *cursor, uint64_t *ret_epoch)
{
	struct window window;

	window_init(&window, cursor->position);
	CHECK_EQ(window_text_decode(&window, cursor->text, ret_epoch), 0);
	free(cursor->text);
	return window;
}

static void rows_count_as_done(void)
{
	struct log_cursor cursor = cursor_make();
	struct retry_rows rows;
	struct window window;
	uint64_t epoch;

	retry_rows_init(&rows);
	apply(&rows, 1, 3, 0, 2, true);  // passed long ago
	apply(&rows, 2, 10, 0, 1, true); // at the head
	apply(&rows, 3, 16, 0, 0, true); // behind what was seen
	apply(&rows, 4, 13, 0, 1, true);
	apply(&rows, 5, 13, 0, 1, false);
	apply(&rows, 6, 11 + WINDOW_POSITIONS, 0, 1, true); // too far away for a window
	CHECK_EQ(retry_rows_fit(&rows, &cursor, 1, 0), 0);
	CHECK_EQ(cursor.position, 11);
	CHECK_EQ(cursor.retrying, 3);
	CHECK_EQ(cursor.delayed, 1);
	window = cursor_window(&cursor, &epoch);
	CHECK_EQ(epoch, 5);
	CHECK_EQ(window_next(&window), 17);
	CHECK_EQ(window_mark_at(&window, 11)->attempts, 1);
	for (uint64_t offset = 11; offset < 17; ++offset)
		CHECK_EQ(window_state_at(&window, offset),
			 offset == 12 || offset == 16 ? WINDOW_DONE : WINDOW_OPEN);
	window_deinit(&window);
	retry_rows_deinit(&rows);
}

static void what_no_row_concerns_stays_as_it_is(void)
{
	struct log_cursor cursor = cursor_make(),
			  native = {.position = 4, .text = strdup("theirs")};
	struct retry_rows rows;
	char *text = cursor.text;

	retry_rows_init(&rows);
	apply(&rows, 1, 3, 0, 0, true);
	CHECK_EQ(retry_rows_fit(&rows, &cursor, 1, 0), 0);
	CHECK(cursor.text == text && cursor.position == 10);
	CHECK_EQ(retry_rows_fit(&rows, &native, 1, 0), 0);
	CHECK_STR(native.text, "theirs");
	free(text);
	free(native.text);
	retry_rows_deinit(&rows);
}

static void a_fence_makes_void_what_was_before(void)
{
	struct log_cursor cursor = cursor_make(), after = cursor_make();
	struct retry_rows rows;
	struct window window;
	uint64_t epoch;

	retry_rows_init(&rows);
	apply(&rows, 1, 12, 0, 1, true);
	fence(&rows, 9, 8);
	fence(&rows, 6, 2); // a weaker one
	CHECK_EQ(rows.index.count, 0);
	apply(&rows, 2, 13, 0, 1, true); // late, from before
	apply(&rows, 3, 14, 9, 1, true);
	apply(&rows, 4, 14, 0, 1, false); // late, from before
	CHECK_EQ(rows.index.count, 1);
	CHECK_EQ(retry_rows_fit(&rows, &cursor, 1, 0), 0);
	CHECK_EQ(cursor.position, 8);
	CHECK_EQ(cursor.retrying, 1);
	window = cursor_window(&cursor, &epoch);
	CHECK_EQ(epoch, 9);
	CHECK_EQ(window_state_at(&window, 12), WINDOW_OPEN);
	CHECK_EQ(window_state_at(&window, 14), WINDOW_DONE);
	window_deinit(&window);
	retry_rows_deinit(&rows);

	retry_rows_init(&rows);
	fence(&rows, 5, 2); // the cursor is of this epoch
	CHECK_EQ(retry_rows_fit(&rows, &after, 1, 0), 0);
	CHECK_EQ(after.position, 10);
	free(after.text);
	retry_rows_deinit(&rows);
}

// Another client with rights on the group or the retry topic can write any number.
static void an_epoch_that_no_owner_has_is_foreign(void)
{
	static const uint64_t odd[] = {WINDOW_EPOCH_MAX + 1, (1ull << 63) - 1, UINT64_MAX};
	const uint64_t now_ms = 1800000000000;

	for (size_t i = 0; i < ARRAY_SIZE(odd); ++i) {
		const uint64_t positions[] = {3};
		uint8_t key[RETRY_KEY], *value;
		struct retry_rows rows;
		uint32_t size;

		retry_rows_init(&rows);
		apply(&rows, 1, 12, 0, 1, true);
		retry_rows_fence_key_put(key, odd[i]);
		value = retry_rows_fence_make(odd[i], positions, 1, &size);
		CHECK_EQ(retry_rows_apply(&rows, 2, (struct slice){key, sizeof key},
					  (struct slice){value, size}),
			 RETRY_E_FOREIGN);
		retry_rows_key_put(key, 0, 12, odd[i]);
		CHECK_EQ(retry_rows_apply(&rows, 3, (struct slice){key, sizeof key},
					  (struct slice){NULL, 0}),
			 RETRY_E_FOREIGN);
		CHECK_EQ(rows.index.count, 1);
		CHECK_EQ(retry_rows_generation(&rows, 0), 0);
		free(value);
		retry_rows_deinit(&rows);
	}
	CHECK_EQ(topic_generation_epoch_above(0, now_ms), now_ms << 20);
	CHECK_EQ(topic_generation_epoch_above(now_ms << 20 | 7, now_ms), (now_ms + 1) << 20);
	CHECK_EQ(topic_generation_epoch_above(WINDOW_EPOCH_MAX - (1 << 20), 5),
		 (WINDOW_EPOCH_MAX >> 20) << 20);
	for (size_t i = 0; i < ARRAY_SIZE(odd); ++i)
		CHECK_EQ(topic_generation_epoch_above(odd[i], now_ms), WINDOW_EPOCH_MAX);
	CHECK_EQ(topic_generation_epoch_above(WINDOW_EPOCH_MAX, UINT64_MAX >> 20),
		 WINDOW_EPOCH_MAX);
}

static void another_life_makes_void_what_was_before(void)
{
	struct log_cursor cursor = cursor_make(), native = {.position = 4, .text = strdup("")},
			  after = cursor_make();
	struct retry_rows rows;

	retry_rows_init(&rows);
	apply(&rows, 1, 12, 0, 1, true);
	CHECK_EQ(retry_rows_fit(&rows, &cursor, 1, 9), 0);
	CHECK_EQ(cursor.position, 0);
	CHECK_EQ(cursor.retrying, 0);
	CHECK_EQ(retry_rows_fit(&rows, &native, 1, 9), 0);
	CHECK_EQ(native.position, 4); // no late commit's
	fence(&rows, 9, 0);
	apply(&rows, 2, 12, 9, 1, true);
	free(cursor.text);
	cursor = cursor_make();
	CHECK_EQ(retry_rows_fit(&rows, &cursor, 1, 9), 0);
	CHECK_EQ(cursor.position, 0);
	CHECK_EQ(cursor.retrying, 1);
	CHECK_EQ(retry_rows_fit(&rows, &after, 1, 5), 0); // the fence is the stronger one
	CHECK_EQ(after.position, 0);
	free(cursor.text);
	free(native.text);
	free(after.text);
	retry_rows_deinit(&rows);
}

static void a_row_proves_its_fence(void)
{
	struct log_cursor cursor = cursor_make();
	struct retry_rows rows;

	retry_rows_init(&rows);
	apply(&rows, 1, 11, 0, 1, true);
	apply(&rows, 2, 12, 9, 1, true);
	CHECK_EQ(rows.index.count, 1);
	CHECK_EQ(retry_rows_generation(&rows, 0), 9);
	apply(&rows, 3, 13, 0, 1, true); // late, from before
	fence(&rows, 9, 8);
	CHECK_EQ(rows.index.count, 1);
	CHECK_EQ(retry_rows_fit(&rows, &cursor, 1, 0), 0);
	CHECK_EQ(cursor.position, 8);
	CHECK_EQ(cursor.retrying, 1);
	free(cursor.text);
	retry_rows_deinit(&rows);
}

static void what_is_not_ours_is_told(void)
{
	struct log_retry retry = {.due_ms = 1};
	uint8_t key[RETRY_KEY], value[RETRY_HEAD];
	struct retry_rows rows;

	retry_rows_init(&rows);
	retry_rows_key_put(key, 0, 1, 0);
	retry_rows_head_put(value, &retry, 0);
	CHECK_EQ(retry_rows_apply(&rows, 0, (struct slice){key, 3}, (struct slice){value, 24}),
		 RETRY_E_FOREIGN);
	CHECK_EQ(retry_rows_apply(&rows, 0, (struct slice){NULL, 0}, (struct slice){value, 24}),
		 RETRY_E_FOREIGN);
	CHECK_EQ(retry_rows_apply(&rows, 0, (struct slice){key, sizeof key},
				  (struct slice){value, 23}),
		 RETRY_E_FOREIGN);
	value[0] = 2;
	CHECK_EQ(retry_rows_apply(&rows, 0, (struct slice){key, sizeof key},
				  (struct slice){value, sizeof value}),
		 RETRY_E_VERSION);
	retry_rows_key_put(key, UINT32_MAX, 1, 0); // no topic has that many partitions
	CHECK_EQ(retry_rows_apply(&rows, 0, (struct slice){key, sizeof key},
				  (struct slice){NULL, 0}),
		 RETRY_E_FOREIGN);
	retry_rows_deinit(&rows);
}

UNIT_MAIN(UNIT_CASE(the_older_write_changes_nothing),
	  UNIT_CASE(rows_stay_in_the_order_of_due_times), UNIT_CASE(rows_count_as_done),
	  UNIT_CASE(what_no_row_concerns_stays_as_it_is),
	  UNIT_CASE(a_fence_makes_void_what_was_before), UNIT_CASE(a_row_proves_its_fence),
	  UNIT_CASE(another_life_makes_void_what_was_before),
	  UNIT_CASE(an_epoch_that_no_owner_has_is_foreign), UNIT_CASE(what_is_not_ours_is_told))
