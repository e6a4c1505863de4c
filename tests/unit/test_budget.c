// proxy/budget: parts of tenants alone and together, room for newcomers, giving back.

#include "proxy/resource/budget.h"
#include "tests/unit/unit.h"

#define LIMIT (512ull << 20)
#define PIECE (64ull << 10)

static uint64_t fill(struct budget_share *share, enum budget_use use)
{
	uint64_t bytes = 0;

	for (; budget_has_room(share, use, PIECE); bytes += PIECE)
		budget_add(share, use, PIECE);
	return bytes;
}

static void one_alone_gets_a_fifth_for_each_use(void)
{
	struct budget budget;
	struct budget_share share;

	budget_init(&budget, LIMIT);
	budget_share_init(&share, &budget);
	for (unsigned use = 0; use < BUDGET_USES; ++use) {
		uint64_t bytes = fill(&share, use);

		CHECK(bytes <= LIMIT / 5 && bytes >= LIMIT / 5 - 2 * PIECE);
		budget_give_back(&share, use, bytes);
		CHECK_EQ(budget_used(&budget), 0);
	}
	budget_share_deinit(&share);
	budget_deinit(&budget);
}

// Greedy ones, in rounds of one piece each, never fill it; the next one still gets as much.
static void many_share_and_leave_room(void)
{
	enum { MOST = 200 };
	static struct budget_share shares[MOST + 1];

	for (unsigned count = 1; count <= MOST; count = count * 3 + 1) {
		struct budget budget;
		bool any = true;
		uint64_t newcomer, least = UINT64_MAX, most = 0;

		budget_init(&budget, LIMIT);
		for (unsigned i = 0; i <= count; ++i)
			budget_share_init(&shares[i], &budget);
		while (any) {
			any = false;
			for (unsigned i = 0; i < count; ++i) {
				if (!budget_has_room(&shares[i], BUDGET_OUTPUT, PIECE))
					continue;
				budget_add(&shares[i], BUDGET_OUTPUT, PIECE);
				any = true;
			}
		}
		CHECK(budget_used(&budget) < LIMIT);
		for (unsigned i = 0; i < count; ++i) {
			least = MIN(least, shares[i].used[BUDGET_OUTPUT]);
			most = MAX(most, shares[i].used[BUDGET_OUTPUT]);
		}
		CHECK(most - least <= PIECE);
		newcomer = fill(&shares[count], BUDGET_OUTPUT);
		CHECK(5 * (newcomer + 2 * PIECE) >= 4 * LIMIT / (count + 4)); // a fifth of the rest
		for (unsigned i = 0; i <= count; ++i) {
			budget_give_back(&shares[i], BUDGET_OUTPUT, shares[i].used[BUDGET_OUTPUT]);
			budget_share_deinit(&shares[i]);
		}
		budget_deinit(&budget);
	}
}

// A use that has nothing may take what is larger than its part, once.
static void one_piece_always_fits(void)
{
	struct budget budget;
	struct budget_share share;

	budget_init(&budget, 64 << 20);
	budget_share_init(&share, &budget);
	CHECK(budget_has_room(&share, BUDGET_FRAMES, 20 << 20));
	budget_add(&share, BUDGET_FRAMES, 20 << 20);
	CHECK(!budget_has_room(&share, BUDGET_FRAMES, 1));
	CHECK(!budget_has_room(&share, BUDGET_BODIES, 60 << 20));
	CHECK(!budget_is_short(&budget) && !budget_is_full(&budget));
	budget_set_limit(&budget, 21 << 20);
	CHECK(budget_is_short(&budget));
	budget_set_limit(&budget, 20 << 20);
	CHECK(budget_is_full(&budget));
	budget_move(&share, BUDGET_FRAMES, 20 << 20, 5);
	CHECK_EQ(budget_used(&budget), 5);
	budget_move(&share, BUDGET_FRAMES, 5, 0);
	budget_share_deinit(&share);
	budget_deinit(&budget);
}

UNIT_MAIN(UNIT_CASE(one_alone_gets_a_fifth_for_each_use), UNIT_CASE(many_share_and_leave_room),
	  UNIT_CASE(one_piece_always_fits))
