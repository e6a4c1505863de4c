// proxy/group/group_memory: what queues have given to their sources, beside what logs read ahead,
// within the process and within a cluster.

#include "proxy/group/group_memory.h"

#include "proxy/group/group.h"
#include "proxy/resource/backends.h"
#include "tests/unit/unit.h"

#define PIECE (64ull << 10)

enum { GROUPS = 200 };

static struct budget process;
static struct backend backends[2];
static struct budget_share memory[GROUPS];
static struct tenant_view tenants[GROUPS];
static struct group_home homes[GROUPS];

static void begin(uint64_t limit)
{
	budget_init(&process, limit);
	for (size_t i = 0; i < ARRAY_SIZE(backends); ++i)
		budget_init(&backends[i].unsettled, BACKEND_UNSETTLED_MAX);
	for (unsigned i = 0; i < GROUPS; ++i) {
		budget_share_init(&memory[i], &process);
		tenants[i] = (struct tenant_view){.memory = &memory[i]};
		homes[i] = (struct group_home){0};
	}
}

static void open_source(unsigned group, unsigned tenant, bool positions, unsigned cluster)
{
	homes[group].tenant = &tenants[tenant];
	homes[group].positions = positions;
	group_memory_open(&homes[group], &backends[cluster]);
}

static void hold(struct group_home *home, uint64_t bytes)
{
	group_memory_hold(home, home->memory.source, bytes);
}

// As much as there is room for.
static uint64_t fill(struct group_home *home)
{
	while (group_memory_has_room(home, PIECE))
		hold(home, home->memory.source + PIECE);
	return home->memory.source;
}

// One piece each in turn, until none finds room.
static void fill_in_rounds(unsigned from, unsigned end)
{
	for (bool any = true; any;) {
		any = false;
		for (unsigned i = from; i < end; ++i) {
			if (!group_memory_has_room(&homes[i], PIECE))
				continue;
			hold(&homes[i], homes[i].memory.source + PIECE);
			any = true;
		}
	}
}

static void end(void)
{
	for (unsigned i = 0; i < GROUPS; ++i) {
		if (!homes[i].tenant)
			continue;
		hold(&homes[i], 0);
		group_memory_closed(&homes[i]);
		group_memory_end(&homes[i]);
	}
	for (unsigned i = 0; i < GROUPS; ++i)
		budget_share_deinit(&memory[i]);
	for (size_t i = 0; i < ARRAY_SIZE(backends); ++i)
		budget_deinit(&backends[i].unsettled);
	budget_deinit(&process);
}

static void check_near(uint64_t value, uint64_t wanted)
{
	CHECK(value + 2 * PIECE >= wanted && value <= wanted + PIECE);
}

// Consumers of a queue may hold what they were given for hours. The tenant's logs are read ahead
// all the same, and each use of another tenant has its part of what is left.
static void a_queue_takes_nothing_from_a_log(void)
{
	const uint64_t limit = 512ull << 20;
	uint64_t held;

	begin(limit);
	open_source(0, 0, false, 0);
	open_source(1, 0, true, 1);
	open_source(2, 1, true, 1);
	open_source(3, 1, false, 1);
	held = fill(&homes[0]);
	check_near(held, limit / 5);
	check_near(fill(&homes[1]), (limit - held) / 5);
	hold(&homes[1], 0);
	check_near(fill(&homes[2]), (limit - held) / 5);
	hold(&homes[2], 0);
	check_near(fill(&homes[3]), (limit - held) / 5);
	end();
}

static void a_log_takes_nothing_from_a_queue(void)
{
	const uint64_t limit = 512ull << 20;
	uint64_t held;

	begin(limit);
	open_source(0, 0, true, 0);
	open_source(1, 0, false, 0);
	held = fill(&homes[0]);
	CHECK_EQ(backends[0].unsettled.used, 0);
	check_near(fill(&homes[1]), (limit - held) / 5);
	end();
}

// A group of one tenant, or many of many: the cluster's bound holds, all get the same, and the
// next one finds room.
static void groups_of_a_cluster_share_its_bound(void)
{
	for (unsigned count = 1; count < GROUPS - 1; count = count * 3 + 1) {
		uint64_t least = UINT64_MAX, most = 0;

		begin(1ull << 40);
		for (unsigned i = 0; i <= count; ++i)
			open_source(i, i, false, 0);
		fill_in_rounds(0, count);
		for (unsigned i = 0; i < count; ++i) {
			least = MIN(least, homes[i].memory.source);
			most = MAX(most, homes[i].memory.source);
		}
		CHECK(most - least <= PIECE);
		CHECK(backends[0].unsettled.used < BACKEND_UNSETTLED_MAX);
		check_near(most, BACKEND_UNSETTLED_MAX / (count + 4));
		CHECK(fill(&homes[count]) >= BACKEND_UNSETTLED_MAX / (count + 4) / 2);
		end();
	}
}

// One greedy group leaves room for the others of its cluster, and takes none from another.
static void another_cluster_has_its_own(void)
{
	uint64_t alone, other;

	begin(1ull << 40);
	open_source(0, 0, false, 0);
	open_source(1, 0, false, 0);
	open_source(2, 0, false, 1);
	alone = fill(&homes[0]);
	check_near(alone, BACKEND_UNSETTLED_MAX / 5);
	CHECK_EQ(fill(&homes[2]), alone);
	other = fill(&homes[1]);
	check_near(other, (BACKEND_UNSETTLED_MAX - alone) / 5);
	hold(&homes[0], 0);
	CHECK(fill(&homes[1]) > other);
	end();
}

// Beyond its part it may hold what is on its way, and only that it has no room for more is told.
static void what_is_there_is_counted(void)
{
	begin(512ull << 20);
	open_source(0, 0, false, 0);
	hold(&homes[0], 600ull << 20);
	CHECK(!group_memory_has_room(&homes[0], 1));
	CHECK_EQ(budget_used(&process), 600ull << 20);
	CHECK_EQ(backends[0].unsettled.used, 600ull << 20);
	hold(&homes[0], PIECE);
	CHECK(group_memory_has_room(&homes[0], PIECE));
	end();
}

UNIT_MAIN(UNIT_CASE(a_queue_takes_nothing_from_a_log), UNIT_CASE(a_log_takes_nothing_from_a_queue),
	  UNIT_CASE(groups_of_a_cluster_share_its_bound), UNIT_CASE(another_cluster_has_its_own),
	  UNIT_CASE(what_is_there_is_counted))
