// proxy/query/parameters: what a query asks of an adapter, read and checked.

#include "proxy/query/parameters.h"

#include "tests/unit/unit.h"

#include <errno.h>

static int read_target(const char *text, struct seek_target *ret)
{
	json_t *to = json_loads(text, 0, NULL);
	int r = parameters_target(to, ret);

	json_decref(to);
	return r;
}

static void targets_read(void)
{
	struct seek_target target;

	CHECK_EQ(read_target("{\"earliest\":true}", &target), 0);
	CHECK_EQ(target.place, SEEK_EARLIEST);
	CHECK_EQ(read_target("{\"latest\":true}", &target), 0);
	CHECK_EQ(target.place, SEEK_LATEST);
	CHECK_EQ(read_target("{\"time_ms\":17}", &target), 0);
	CHECK_EQ(target.place, SEEK_TIME);
	CHECK_EQ(target.time_ms, 17);
	seek_target_deinit(&target);
}

static void targets_refused(void)
{
	static const char *const wrong[] = {"{}",
					    "{\"earliest\":false}",
					    "{\"nowhere\":1}",
					    "{\"time_ms\":\"1\"}",
					    "{\"positions\":{}}",
					    "null"};
	struct seek_target target;

	for (size_t i = 0; i < ARRAY_SIZE(wrong); ++i)
		CHECK_EQ(read_target(wrong[i], &target), -EINVAL);
}

static void positions_are_copied(void)
{
	struct seek_target target, copy;

	CHECK_EQ(read_target("{\"positions\":[{\"partition\":3,\"offset\":7},"
			     "{\"partition\":-1,\"offset\":-2},{\"partition\":4294967296}]}",
			     &target),
		 0);
	CHECK_EQ(seek_target_copy(&target, &copy), 0);
	seek_target_deinit(&target);
	CHECK_EQ(target.position_count, 0);
	CHECK_EQ(copy.place, SEEK_POSITIONS);
	CHECK_EQ(copy.position_count, 3);
	CHECK_EQ(copy.positions[0].partition, 3);
	CHECK_EQ(copy.positions[0].offset, 7);
	CHECK_EQ(copy.positions[1].partition, UINT32_MAX); // a partition that no topic has
	CHECK_EQ(copy.positions[1].offset, 0);
	CHECK_EQ(copy.positions[2].partition, UINT32_MAX);
	seek_target_deinit(&copy);
}

static enum code read_messages(const char *text, struct message_query *ret)
{
	json_t *parameters = json_loads(text, 0, NULL);
	const char *why = NULL;
	enum code code = parameters_messages(parameters, 4, ret, &why);

	CHECK((code == CODE_OK) == (why == NULL));
	json_decref(parameters);
	return code;
}

static void messages_read(void)
{
	struct message_query query;

	CHECK_EQ(read_messages("{\"partition\":3,\"offset\":7,\"limit\":5}", &query), CODE_OK);
	CHECK_EQ(query.partition, 3);
	CHECK(!query.by_time);
	CHECK_EQ(query.offset, 7);
	CHECK_EQ(query.limit, 5);
	CHECK_EQ(read_messages("{\"partition\":0,\"time_ms\":9,\"limit\":101}", &query), CODE_OK);
	CHECK(query.by_time);
	CHECK_EQ(query.time_ms, 9);
	CHECK_EQ(query.limit, MESSAGE_QUERY_MAX);
	CHECK_EQ(read_messages("{\"offset\":-1,\"limit\":-1}", &query), CODE_OK);
	CHECK_EQ(query.offset, 0);
	CHECK_EQ(query.limit, 1);
	CHECK_EQ(read_messages("{\"partition\":4}", &query), CODE_BAD_REQUEST);
	CHECK_EQ(read_messages("{\"partition\":-1}", &query), CODE_BAD_REQUEST);
}

UNIT_MAIN(UNIT_CASE(targets_read), UNIT_CASE(targets_refused), UNIT_CASE(positions_are_copied),
	  UNIT_CASE(messages_read))
