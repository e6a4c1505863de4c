// Every change that is answered OK once, on objects of its own: a cut in the middle leaves any part
// of them, which the images' check does not look at.

#include "tests/crash/admin.h"

#include "tests/crash/durable.h"

#define MESSAGES 20u

static void reset_to(struct bench *bench, const struct group *group, const struct topic *topic,
		     const char *place)
{
	durable_ask();
	json_decref(bench_reset(bench, group, topic, json_pack("{s:b}", place, 1), false, NULL));
}

void admin_round(struct bench *bench, enum durability durability)
{
	const struct topic_wish wish = {.durability = durability, .name = "beside"};
	const struct topic *topic, *grown;
	const struct group *group;

	durable_ask();
	topic = bench_topic(bench, &wish);
	durable_ask();
	group = bench_group(bench, topic, GROUP_START_EARLIEST, 0);
	bench_fill(bench, topic, 0, 0, MESSAGES);
	reset_to(bench, group, topic, "latest");
	reset_to(bench, group, topic, "earliest");
	grown = bench_topic_like(topic, 1, 2);
	durable_ask();
	CHECK_EQ(bench_topic_change(bench, grown), CODE_OK);
	durable_ask();
	json_decref(bench_purge(bench, grown, false, NULL));
	durable_ask();
	CHECK_EQ(bench_group_delete(bench, group, grown), CODE_OK);
	durable_ask();
	CHECK_EQ(bench_topic_delete(bench, grown), CODE_OK);
	model_unref(group);
	model_unref(grown);
	model_unref(topic);
}
