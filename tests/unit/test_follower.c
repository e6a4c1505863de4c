// core/control: what a follower refuses from the other side, and the bounds of the history.

#include "core/control/feed.h"
#include "core/control/follower.h"
#include "tests/unit/unit.h"

#include <errno.h>

static struct catalog_change *change_make(bool full, uint64_t source, uint64_t from, uint64_t to)
{
	struct change_head head = {.full = full, .source = source, .from = from, .to = to};
	struct change_writer writer;

	CHECK_EQ(change_begin(&writer, &head, NULL), 0);
	return change_end(&writer);
}

// A follower that follows the portal on link 0 and has asked.
static struct follower follower_make(struct link_position holds, bool portal)
{
	struct follower follower;
	struct follower_request request;
	const struct follower_offer offer = {.position = holds, .age_ns = 1};

	follower_init(&follower, holds);
	follower_up(&follower, 0, portal);
	follower_offered(&follower, 0, &offer, 1000);
	CHECK(follower_next(&follower, &request));
	CHECK(request.link == 0 && !request.stop && request.turn == follower.turn);
	CHECK(link_position_same(request.position, holds));
	CHECK(!follower_next(&follower, &request));
	return follower;
}

static int take(struct follower *follower, const struct catalog_change *change)
{
	const struct follower_slice slice = {.turn = follower->turn,
					     .total = change->size,
					     .data = change->data,
					     .size = change->size};

	return follower_slice(follower, 0, &slice);
}

static enum follower_verdict judge(struct link_position holds, bool portal,
				   struct catalog_change *change)
{
	struct follower follower = follower_make(holds, portal);
	enum follower_verdict verdict;

	CHECK_EQ(take(&follower, change), FOLLOWER_CHANGE);
	verdict = follower_judge(&follower);
	follower_deinit(&follower);
	free(change);
	return verdict;
}

static void verdicts(void)
{
	const struct link_position holds = {7, 20};

	CHECK_EQ(judge(holds, true, change_make(false, 7, 20, 21)), FOLLOWER_APPLY);
	CHECK_EQ(judge(holds, true, change_make(false, 7, 19, 21)), FOLLOWER_GAP);
	CHECK_EQ(judge(holds, true, change_make(false, 7, 21, 22)), FOLLOWER_GAP);
	CHECK_EQ(judge(holds, true, change_make(false, 8, 20, 21)), FOLLOWER_GAP);
	CHECK_EQ(judge(holds, true, change_make(true, 7, 0, 20)), FOLLOWER_APPLY);
	// Back within a source: not even by the portal. Another source: by the portal alone.
	CHECK_EQ(judge(holds, true, change_make(true, 7, 0, 19)), FOLLOWER_PASS);
	CHECK_EQ(judge(holds, true, change_make(true, 8, 0, 1)), FOLLOWER_APPLY);
	CHECK_EQ(judge(holds, false, change_make(true, 8, 0, 90)), FOLLOWER_PASS);
	CHECK_EQ(judge(holds, false, change_make(true, 7, 0, 19)), FOLLOWER_PASS);
	CHECK_EQ(judge(holds, false, change_make(true, 7, 0, 21)), FOLLOWER_APPLY);
}

static int slice_of(struct follower *follower, uint64_t total, uint64_t offset, size_t size)
{
	static const uint8_t bytes[256];
	const struct follower_slice slice = {.turn = follower->turn,
					     .total = total,
					     .offset = offset,
					     .data = bytes,
					     .size = size};

	return follower_slice(follower, 0, &slice);
}

static void hostile_slices(void)
{
	static const struct {
		uint64_t total, offset;
		size_t size;
	} hostile[] = {
		{100, 40, 10},            // not at its beginning
		{100, 0, 0},              // nothing
		{100, 0, 101},            // more than all
		{(1ull << 30) + 1, 0, 1}, // no change is that large
		{UINT64_MAX, 0, 1},
		{0, 0, 1},
		{100, UINT64_MAX, 1},
	};

	for (size_t i = 0; i < ARRAY_SIZE(hostile); ++i) {
		struct follower follower = follower_make((struct link_position){7, 20}, true);

		CHECK_EQ(slice_of(&follower, hostile[i].total, hostile[i].offset, hostile[i].size),
			 -EPROTO);
		follower_deinit(&follower);
	}
}

static void slices_that_go_on_wrongly(void)
{
	struct follower follower = follower_make((struct link_position){7, 20}, true);

	CHECK_EQ(slice_of(&follower, 100, 0, 60), 0);
	CHECK_EQ(slice_of(&follower, 100, 60, 41), -EPROTO);
	CHECK_EQ(slice_of(&follower, 101, 60, 10), -EPROTO);
	CHECK_EQ(slice_of(&follower, 100, 59, 10), -EPROTO);
	CHECK_EQ(slice_of(&follower, 100, 60, 40), FOLLOWER_CHANGE);
	CHECK_EQ(follower_judge(&follower), FOLLOWER_GAP); // not a change
	follower_deinit(&follower);
}

// A large change costs memory as it comes, not as it is announced.
static void announced_is_not_taken(void)
{
	struct follower follower = follower_make((struct link_position){7, 20}, true);

	CHECK_EQ(slice_of(&follower, 1u << 30, 0, 256), 0);
	CHECK(follower.room <= 8192);
	follower_deinit(&follower);
}

static void add(struct history *history, uint64_t from)
{
	struct catalog_change *change = change_make(false, 7, from, from + 1);

	CHECK_EQ(history_add(history, change->data, change->size), 0);
	free(change);
}

static bool reaches(const struct history *history, uint64_t revision)
{
	struct history_change *delta = history_delta(history, (struct link_position){7, revision});

	history_change_unref(delta);
	return delta != NULL;
}

static void history_bounds(void)
{
	struct history history;

	CHECK_EQ(history_init(&history, 10, 3 * CHANGE_HEADER_SIZE), 0);
	history_start(&history, (struct link_position){7, 1});
	for (uint64_t from = 1; from < 20; ++from)
		add(&history, from);
	CHECK_EQ(history.count, 3); // by their bytes
	CHECK(!reaches(&history, 16) && reaches(&history, 17) && reaches(&history, 19));
	add(&history, 25); // what is between is not known
	CHECK(!reaches(&history, 19) && reaches(&history, 25));
	CHECK_EQ(history.newest.revision, 26);
	history_deinit(&history);
	CHECK_EQ(history_init(&history, 2, SIZE_MAX), 0);
	history_start(&history, (struct link_position){7, 1});
	for (uint64_t from = 1; from < 6; ++from)
		add(&history, from);
	CHECK(!reaches(&history, 3) && reaches(&history, 4)); // by their number
	history_deinit(&history);
}

// A follower that is ahead, or asks for a copy of what it has, ends in being told.
static void feed_ends(void)
{
	const struct link_position here = {7, 5}, ahead = {7, 6};
	struct history history;
	struct feed feed;
	struct feed_slice slice;
	struct catalog_change *full = change_make(true, 7, 0, 5);

	CHECK_EQ(history_init(&history, 2, SIZE_MAX), 0);
	history_start(&history, here);
	feed_init(&feed);
	CHECK_EQ(feed_next(&feed, &history, 1, 50, &slice), FEED_CURRENT);
	CHECK_EQ(feed_next(&feed, &history, 2, 50, &slice), FEED_IDLE);
	feed_follow(&feed, 1, ahead, true);
	CHECK_EQ(feed_next(&feed, &history, 3, 50, &slice), FEED_CURRENT);
	feed_follow(&feed, 2, here, true);
	CHECK_EQ(feed_next(&feed, &history, 4, 50, &slice), FEED_FULL);
	CHECK_EQ(history_give_full(&history, full->data, full->size), 0);
	CHECK_EQ(feed_next(&feed, &history, 5, 50, &slice), FEED_SLICE);
	CHECK(slice.offset == 0 && slice.size == 50 && slice.total == full->size);
	CHECK_EQ(feed_next(&feed, &history, 6, 50, &slice), FEED_SLICE);
	CHECK(slice.offset == 50 && slice.size == full->size - 50 && slice.turn == 2);
	CHECK_EQ(feed_next(&feed, &history, 7, 50, &slice), FEED_CURRENT);
	CHECK_EQ(feed_next(&feed, &history, 8, 50, &slice), FEED_IDLE);
	feed_deinit(&feed);
	history_rest(&history);
	CHECK(!history.full);
	history_deinit(&history);
	free(full);
}

UNIT_MAIN(UNIT_CASE(verdicts), UNIT_CASE(hostile_slices), UNIT_CASE(slices_that_go_on_wrongly),
	  UNIT_CASE(announced_is_not_taken), UNIT_CASE(history_bounds), UNIT_CASE(feed_ends))
