// The steps of which cases are made.

#include "tests/contract/steps.h"

#include "core/base/clock.h"

const struct topic *plain_topic(struct bench *bench, uint32_t partitions)
{
	struct topic_wish wish = {.partitions = partitions};

	return bench_topic(bench, &wish);
}

bool keeps_positions(const struct bench *bench)
{
	return bench->capabilities & CAP_POSITIONS;
}

const struct group *keeper(struct bench *bench, const struct topic *topic)
{
	if (bench->capabilities & CAP_KEEPS_WITHOUT_GROUP)
		return NULL;
	return bench_group(bench, topic, GROUP_START_LATEST, 0);
}

void models_end(const struct topic *topic, const struct group *group)
{
	model_unref(topic);
	model_unref(group);
}

void take_all(struct reader *reader, struct got *got, size_t count)
{
	CHECK_EQ(reader_take(reader, got, count, SHORT_MS), count);
}

void expect_quiet(struct reader *reader)
{
	struct got got;

	CHECK_EQ(reader_take(reader, &got, 1, QUIET_MS), 0);
}

void settle(struct reader *reader, const struct got *got, enum settle_verb verb, uint32_t delay_ms)
{
	struct settle entry = reader_receipt(got, verb, delay_ms);

	CHECK_EQ(reader_settle(reader, &entry, 1), CODE_OK);
	CHECK_EQ(entry.settled, 1);
	CHECK_EQ(entry.code, CODE_OK);
}

void expect_stale(struct reader *reader, struct settle entry)
{
	CHECK_EQ(reader_settle(reader, &entry, 1), CODE_OK);
	CHECK_EQ(entry.code, CODE_STALE);
	CHECK_EQ(entry.settled, 0);
}

void settle_all(struct reader *reader, const struct got *got, size_t count, enum settle_verb verb)
{
	struct settle *entries = calloc(count, sizeof *entries);

	for (size_t i = 0; i < count; ++i)
		entries[i] = reader_receipt(&got[i], verb, 0);
	CHECK_EQ(reader_settle(reader, entries, count), CODE_OK);
	for (size_t i = 0; i < count; ++i)
		CHECK_EQ(entries[i].settled, 1);
	free(entries);
}

void ack_all(struct reader *reader, const struct got *got, size_t count)
{
	settle_all(reader, got, count, SETTLE_ACK);
}

bool look_again(const struct bench *bench, uint64_t until_ns)
{
	return !keeps_positions(bench) && clock_now_ns() < until_ns && usleep(5000) == 0;
}

void expect_backlog(struct reader *reader, uint64_t ready, uint64_t in_flight, uint64_t retrying,
		    uint64_t delayed)
{
	uint64_t until_ns = clock_now_ns() + SHORT_MS * MS_NS;
	struct source_partition row;

	do {
		reader_backlog(reader, &row, 1);
	} while ((row.ready != ready || row.in_flight != in_flight || row.retrying != retrying ||
		  row.delayed != delayed) &&
		 look_again(reader_bench(reader), until_ns));
	CHECK_EQ(row.ready, ready);
	CHECK_EQ(row.in_flight, in_flight);
	CHECK_EQ(row.retrying, retrying);
	CHECK_EQ(row.delayed, delayed);
}

void expect_offset(const struct bench *bench, const struct got *got, uint64_t offset)
{
	if (keeps_positions(bench))
		CHECK_EQ(got->delivery.offset, offset);
}

void expect_committed(const struct bench *bench, const struct source_partition *row,
		      uint64_t committed)
{
	if (keeps_positions(bench))
		CHECK_EQ(row->log.committed, committed);
}

json_int_t sum_of(const json_t *answer, const char *member)
{
	const json_t *row;
	json_int_t sum = 0;
	size_t i;

	json_array_foreach(json_object_get(answer, "partitions"), i, row) sum +=
		json_integer_value(json_object_get(row, member));
	return sum;
}

struct closed_backlog {
	json_int_t ready, in_flight, retrying, delayed;
};

static struct closed_backlog closed_backlog(struct bench *bench, const struct group *group,
					    const struct topic *topic)
{
	json_t *answer = bench_backlog(bench, group, topic, NULL);
	struct closed_backlog backlog = {sum_of(answer, "ready"), sum_of(answer, "in_flight"),
					 sum_of(answer, "retrying"), sum_of(answer, "delayed")};

	json_decref(answer);
	return backlog;
}

void expect_closed_backlog(struct bench *bench, const struct group *group,
			   const struct topic *topic, json_int_t ready, json_int_t retrying,
			   json_int_t delayed)
{
	uint64_t until_ns = clock_now_ns() + SHORT_MS * MS_NS;
	struct closed_backlog is;

	do {
		is = closed_backlog(bench, group, topic);
	} while ((is.ready != ready || is.retrying != retrying || is.delayed != delayed) &&
		 look_again(bench, until_ns));
	CHECK_EQ(is.ready, ready);
	CHECK_EQ(is.in_flight, 0);
	CHECK_EQ(is.retrying, retrying);
	CHECK_EQ(is.delayed, delayed);
}

void expect_closed_waiting(struct bench *bench, const struct group *group,
			   const struct topic *topic, json_int_t retrying, json_int_t delayed)
{
	uint64_t until_ns = clock_now_ns() + SHORT_MS * MS_NS;
	struct closed_backlog is;

	if (keeps_positions(bench)) {
		expect_closed_backlog(bench, group, topic, 0, retrying, delayed);
		return;
	}
	do {
		is = closed_backlog(bench, group, topic);
	} while (is.ready + is.retrying + is.delayed != retrying + delayed &&
		 look_again(bench, until_ns));
	CHECK_EQ(is.ready + is.retrying + is.delayed, retrying + delayed);
	CHECK_EQ(is.in_flight, 0);
	CHECK(is.retrying <= retrying);
	CHECK(is.delayed <= delayed);
}
