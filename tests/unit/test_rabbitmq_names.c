// The names of what the RabbitMQ adapter makes beside a topic or group, and the levels of delays.

#include "adapters/rabbitmq/ask/names.h"
#include "tests/unit/unit.h"

static void names_of_our_own(void)
{
	const struct topic topic = {.physical = "mqp.t", .incarnation = 42};
	const struct group group = {.physical = "mqp.g", .incarnation = 43};

	CHECK_STR(rabbitmq_name_marker(&topic).text, "mqp.t~42");
	CHECK_STR(rabbitmq_name_kept(&topic).text, "mqp.t.kept");
	CHECK_STR(rabbitmq_name_history(&topic).text, "mqp.t.history");
	CHECK_STR(rabbitmq_name_retry(&group).text, "mqp.g.retry");
	CHECK_STR(rabbitmq_name_replay(&group).text, "mqp.g.replay");
	CHECK_STR(rabbitmq_name_start(&group).text, "mqp.g.start");
	CHECK_STR(rabbitmq_name_level(&group, 0, true).text, "mqp.g.retry-60");
	CHECK_STR(rabbitmq_name_level(&group, 6, false).text, "mqp.g.delay-245760");
}

static void names_beside_an_imported_queue(void)
{
	const struct group group = {.physical = "orders", .incarnation = 43, .imported = true};

	CHECK_STR(rabbitmq_name_retry(&group).text, "orders~43.retry");
	CHECK_STR(rabbitmq_name_level(&group, 1, true).text, "orders~43.retry-240");
}

// Every name is at most as long as AMQP takes, no two of them are the same, and no character is
// cut.
static void long_names_are_cut(void)
{
	char one[RABBITMQ_NAME_MAX + 1], other[RABBITMQ_NAME_MAX + 1];
	struct group group = {.incarnation = UINT64_MAX, .imported = true};
	struct rabbitmq_name a, b;

	for (size_t at = 0; at + 1 < sizeof one; at += 2)
		memcpy(&one[at], "\xc3\xbc", 2); // an umlaut
	one[sizeof one - 2] = 'x';
	one[sizeof one - 1] = '\0';
	memcpy(other, one, sizeof one);
	other[sizeof other - 2] = 'y';
	for (unsigned level = 0; level < RABBITMQ_LEVELS; ++level) {
		size_t plain;

		group.physical = one;
		a = rabbitmq_name_level(&group, level, true);
		group.physical = other;
		b = rabbitmq_name_level(&group, level, true);
		CHECK(strcmp(a.text, b.text) != 0);
		CHECK(strlen(a.text) <= RABBITMQ_NAME_MAX);
		CHECK(strlen(a.text) >= RABBITMQ_NAME_MAX - 1);
		plain = (size_t)(strchr(a.text, '-') - a.text);
		CHECK_EQ(plain % 2, 0);
		CHECK_EQ(memcmp(a.text, one, plain), 0);
	}
	group.imported = false;
	for (size_t size = 200; size < sizeof one; ++size) { // on both sides of the limit
		group.physical = memset(one, 'a', sizeof one);
		one[size] = '\0';
		a = rabbitmq_name_retry(&group);
		CHECK_EQ(strlen(a.text), MIN(size + strlen(".retry"), RABBITMQ_NAME_MAX));
		one[size] = 'a';
		one[sizeof one - 1] = '\0';
	}
}

static void levels(void)
{
	CHECK_EQ(rabbitmq_level_for(0), -1);
	CHECK_EQ(rabbitmq_level_for(59999), -1);
	CHECK_EQ(rabbitmq_level_for(60000), 0);
	CHECK_EQ(rabbitmq_level_for(239999), 0);
	CHECK_EQ(rabbitmq_level_for(240000), 1);
	CHECK_EQ(rabbitmq_level_for(245760000), 6);
	CHECK_EQ(rabbitmq_level_for(UINT64_MAX), 6);
}

static void names_beside_others_are_told(void)
{
	static const char *const beside[] = {"mqp.a.b-1-x~42",           "mqp.a.b-1-x.kept",
					     "mqp.a.b-1-x.retry",        "mqp.a.b-1-x.retry-60",
					     "mqp.a.b-1-x.delay-245760", "orders~43.retry",
					     "orders~43.delay-240",      "mqp.a.b-1-x.history",
					     "mqp.a.b-1-x.replay",       "mqp.a.b-1-x.start"};
	static const char *const others[] = {"mqp.a.b-1-x",
					     "orders",
					     "orders.retry",
					     "orders.retry-60",
					     "orders.history",
					     "orders~x.retry",
					     "mqp.retry-",
					     "mqp.a.retry-x",
					     "~",
					     "",
					     "orders~43.invoices"};

	for (size_t i = 0; i < ARRAY_SIZE(beside); ++i)
		CHECK(rabbitmq_name_is_beside(beside[i]));
	for (size_t i = 0; i < ARRAY_SIZE(others); ++i)
		CHECK(!rabbitmq_name_is_beside(others[i]));
}

UNIT_MAIN(UNIT_CASE(names_of_our_own), UNIT_CASE(names_beside_others_are_told),
	  UNIT_CASE(names_beside_an_imported_queue), UNIT_CASE(long_names_are_cut),
	  UNIT_CASE(levels))
