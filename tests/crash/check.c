// Promised by a cut: an acknowledged send is there, once, with its position and its content; an
// acknowledged message does not come again; a delayed one neither comes nor is forgotten. What was
// under way at the cut may have happened or not. Nothing else is there.
//
// The D1 store promises nothing at a power cut but that it says so: it is set aside, its topics go
// on empty, and no position is used twice.

#include "tests/crash/check.h"

#include "core/base/clock.h"
#include "core/wire/record.h"

#include <stdio.h>

static void body_check(const struct workload *workload, const struct got *got, size_t cut)
{
	uint8_t body[4096];
	struct record_view view;

	CHECK(got->number < workload->count && !workload->facts[got->number].d1);
	CHECK(workload->facts[got->number].sent < cut); // it did not exist yet
	record_read(got->delivery.record, &view);
	CHECK_EQ(view.body.size, workload_body_size(got->number));
	workload_body(got->number, body);
	CHECK(memcmp(view.body.data, body, view.body.size) == 0);
	if (workload->facts[got->number].sent_ok < cut) {
		CHECK_EQ(got->delivery.offset, workload->facts[got->number].offset);
		CHECK_EQ(got->delivery.partition, workload->facts[got->number].partition);
	}
}

// Marks what is delivered; returns how many wait.
static uint64_t deliver_all(struct bench *bench, const struct workload *workload, size_t cut,
			    bool *came)
{
	struct reader *reader = reader_open(bench, workload->topic, workload->group);
	struct source_partition rows[2];
	uint64_t ready, waiting;
	struct got *got;

	CHECK(reader_wait_state(reader, SOURCE_READY, BENCH_WAIT_MS));
	reader_backlog(reader, rows, 2);
	ready = rows[0].ready + rows[1].ready;
	waiting = rows[0].retrying + rows[1].retrying;
	CHECK_EQ(rows[0].in_flight + rows[1].in_flight + rows[0].delayed + rows[1].delayed, 0);
	got = calloc(ready + 1, sizeof *got);
	reader_demand(reader, (uint32_t)ready + 10, UINT32_MAX); // no more than it says
	CHECK_EQ(reader_take(reader, got, ready, BENCH_WAIT_MS), ready);
	for (uint64_t i = 0; i < ready; ++i) {
		body_check(workload, &got[i], cut);
		CHECK(!came[got[i].number]); // once
		came[got[i].number] = true;
	}
	reader_drop(got, ready);
	free(got);
	reader_close(reader);
	return waiting;
}

static void group_check(struct bench *bench, const struct workload *workload, size_t cut)
{
	bool *came = calloc(workload->count, sizeof *came);
	uint64_t waiting = deliver_all(bench, workload, cut, came), must_wait = 0, may_wait = 0;
	int64_t now_ms = clock_wall_ms();

	for (uint32_t i = 0; i < workload->count; ++i) {
		const struct fact *fact = &workload->facts[i];
		bool away = fact->acked < cut || fact->delayed < cut;
		bool is_due = fact->delayed < cut && now_ms >= fact->due_ms;

		if (fact->d1)
			continue;
		if (fact->acked_ok < cut)
			CHECK(!came[i]); // acknowledged for good
		if (fact->delayed_ok < cut)
			CHECK(!came[i] || is_due);
		if (fact->sent_ok < cut && !away)
			CHECK(came[i]); // an acknowledged message is lost
		must_wait += fact->delayed_ok < cut && !is_due;
		may_wait += fact->delayed < cut && !came[i];
	}
	CHECK(must_wait <= waiting);
	CHECK_EQ(waiting, may_wait); // a delayed message is lost, or waits twice
	free(came);
}

static void d1_check(struct bench *bench, const struct workload *workload, size_t cut)
{
	struct message message = {.body = TEXT("after"), .number = 1u << 30};
	json_t *described = bench_describe(bench, workload->d1_topic, NULL);
	uint64_t offset = bench_send_ok(bench, workload->d1_topic, &message, 1);

	for (uint32_t i = 0; i < workload->count; ++i)
		CHECK(!workload->facts[i].d1 || workload->facts[i].sent_ok >= cut ||
		      workload->facts[i].offset < offset);
	json_decref(described);
}

void check_image(const struct workload *workload, const char *dir, size_t cut)
{
	struct bench bench;

	bench_open(&bench, "embedded", DURABILITY_D2, dir, "");
	group_check(&bench, workload, cut);
	d1_check(&bench, workload, cut);
	bench_leave(&bench);
}
