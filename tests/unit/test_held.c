// adapters/queue/held: handing out, settles, times, and two deliveries of one message, each state
// and edge by hand. Random schedules are in tests/sim/queue.c.

#include "tests/unit/held/bench.h"

// ---- handing out

static void goes_out_against_demand(void)
{
	uint32_t size;

	bench_begin();
	for (uint32_t i = 1; i <= 6; ++i)
		bench_arrive_message(
			(struct bench_message){.arrival = {.tag = i, .partition = i % 2}, .id = i});
	bench_run();
	CHECK_EQ(asked.delivered, 0);
	bench_demand(2);
	CHECK_EQ(asked.delivered, 2);
	CHECK_EQ(asked.deliveries[0].partition, 1);
	CHECK_EQ(asked.deliveries[0].offset, 1);
	CHECK_EQ(asked.deliveries[0].attempt, 1);
	CHECK_EQ(asked.deliveries[0].epoch, epoch);
	CHECK_EQ(asked.deliveries[1].partition, 0);
	CHECK_EQ(asked.deliveries[1].offset, 1);
	size = asked.deliveries[0].size;
	bench_run();
	CHECK_EQ(asked.delivered, 0);
	held_demand(held, 10, size + 1, 10, now); // the second exceeds what is left
	bench_run();
	CHECK_EQ(asked.delivered, 2);
	CHECK_EQ(asked.deliveries[0].offset, 2);
	CHECK_EQ(held_bytes(held), 6 * size);
	CHECK_EQ(held_backlog(held).ready, 2);
	CHECK_EQ(held_backlog(held).in_flight, 4);
	bench_end();
}

static void released_keeps_its_place(void)
{
	bench_begin();
	bench_demand(3);
	for (uint32_t i = 1; i <= 5; ++i)
		bench_arrive(i, i, 0);
	bench_run();
	CHECK_EQ(asked.delivered, 3);
	bench_settle(2, 1, SETTLE_RELEASE, 7);
	CHECK_EQ(asked.answered, 1); // there is nothing to wait for
	bench_settle(1, 1, SETTLE_RELEASE, 0);
	bench_demand(3);
	CHECK_EQ(asked.deliveries[0].offset, 1);
	CHECK_EQ(asked.deliveries[0].attempt, 1);
	CHECK_EQ(asked.deliveries[1].offset, 2);
	CHECK_EQ(asked.deliveries[2].offset, 4);
	bench_end();
}

static void due_goes_before_new(void)
{
	bench_begin();
	bench_arrive(1, 1, 0);
	bench_arrive(2, 2, 3);
	bench_demand(2);
	CHECK_EQ(asked.deliveries[0].attempt, 4);
	CHECK_EQ(asked.deliveries[1].attempt, 1);
	bench_end();
}

static void due_when_it_was_sent_is_new(void)
{
	bench_begin();
	bench_arrive(1, 1, 0);
	bench_arrive_due(2, 2, 0, now.wall_ms);
	bench_demand(2);
	CHECK_EQ(asked.deliveries[0].offset, 1);
	CHECK_EQ(asked.deliveries[1].offset, 2);
	bench_end();
}

// ---- settles

static void settles_name_one_delivery(void)
{
	struct settle run_of_four, wrong;

	bench_begin_with_one();
	bench_arrive(2, 2, 0);
	bench_arrive(3, 3, 0);
	bench_run();
	bench_check_stale(bench_settle_of(1, 2, SETTLE_ACK));
	bench_check_stale(bench_settle_of(9, 1, SETTLE_ACK));
	bench_check_stale(bench_settle_of(UINT64_MAX, 1, SETTLE_ACK));
	bench_check_stale(bench_settle_of(1, 1, SETTLE_EXTEND));
	wrong = bench_settle_of(1, 1, SETTLE_ACK);
	wrong.epoch -= 1;
	bench_check_stale(wrong);
	wrong = bench_settle_of(1, 1, SETTLE_ACK);
	wrong.partition = 1;
	bench_check_stale(wrong);
	wrong.partition = UINT32_MAX;
	bench_check_stale(wrong);
	bench_settle(2, 1, SETTLE_ACK, 0);
	bench_check_stale(bench_settle_of(2, 1, SETTLE_ACK));
	run_of_four = bench_settle_of(1, 1, SETTLE_ACK);
	run_of_four.count = 4; // 2 is settled, 4 was never there
	CHECK_EQ(held_settle(held, &run_of_four, 1, NULL, NULL, now), 0);
	CHECK_EQ(run_of_four.settled, 2);
	CHECK_EQ(run_of_four.code, CODE_STALE);
	CHECK_EQ(held_backlog(held).acked, 3);
	CHECK_EQ(held_backlog(held).in_flight, 0);
	bench_end();
}

static void acks_go_in_batches(void)
{
	bench_begin();
	bench_demand(100);
	for (uint32_t i = 1; i <= 40; ++i)
		bench_arrive(i, i, 0);
	bench_run();
	CHECK_EQ(asked.delivered, 40);
	bench_settle_run(1, 40, 1, SETTLE_ACK, 5);
	CHECK_EQ(asked.acked, bench_limits.acks_max);
	CHECK_EQ(asked.barriers, 1);
	bench_run();
	CHECK_EQ(asked.acked, 0);
	held_passed(held, epoch - 1); // of another channel
	bench_run();
	CHECK_EQ(asked.acked, 0);
	bench_pass_barrier();
	CHECK_EQ(asked.acked, 40 - bench_limits.acks_max);
	CHECK_EQ(asked.answered, 0);
	bench_pass_barrier();
	CHECK_EQ(asked.answered, 1);
	CHECK_EQ(asked.answers[0], 5);
	CHECK_EQ(asked.code, CODE_OK);
	CHECK_EQ(held_bytes(held), 0);
	bench_end();
}

static void failed_attempt_is_written_first(void)
{
	uint64_t number;

	bench_begin_with_one();
	bench_nack(1, 1, 5000, 3);
	CHECK_EQ(asked.written, 1);
	CHECK_EQ(asked.copies[0].attempts, 1);
	CHECK_EQ(asked.copies[0].due_ms, now.wall_ms + 5000);
	CHECK(!asked.copies[0].renewal);
	CHECK_EQ(asked.acked, 0);
	CHECK_EQ(held_backlog(held).retrying, 1);
	bench_check_stale(bench_settle_of(1, 1, SETTLE_ACK));
	number = asked.copies[0].number;
	bench_written(number, QUEUE_REFUSED);
	CHECK_EQ(asked.written, 0);
	CHECK_EQ(held_next_ms(held, now), now.steady_ms + HELD_AGAIN_MS);
	bench_pass_ms(HELD_AGAIN_MS);
	CHECK_EQ(asked.written, 1);
	bench_written(asked.copies[0].number, QUEUE_DOUBT);
	bench_pass_ms(HELD_AGAIN_MS);
	CHECK_EQ(asked.written, 1);
	CHECK_EQ(asked.copies[0].attempts, 1);
	bench_written(asked.copies[0].number, QUEUE_WRITTEN);
	bench_check_acks(1);
	CHECK_EQ(asked.answered, 0);
	bench_pass_barrier();
	CHECK_EQ(asked.answered, 1);
	CHECK_EQ(asked.code, CODE_OK);
	bench_arrive_due(2, 1, 1, now.wall_ms);
	bench_run();
	CHECK_EQ(asked.deliveries[0].attempt, 2);
	bench_end();
}

static void rejected_comes_for_its_copy(void)
{
	bench_begin_with_one();
	bench_settle(1, 1, SETTLE_REJECT, 4);
	CHECK_EQ(asked.answered, 1);
	CHECK_EQ(asked.delivered, 0); // there is demand, but for others
	CHECK_EQ(held_backlog(held).in_flight, 1);
	held_demand(held, 0, 0, 1, now);
	bench_run();
	CHECK_EQ(asked.delivered, 1);
	CHECK(asked.deliveries[0].rejected);
	CHECK_EQ(asked.deliveries[0].attempt, 2);
	bench_check_stale(bench_settle_of(1, 2, SETTLE_NACK));
	bench_check_stale(bench_settle_of(1, 2, SETTLE_REJECT));
	bench_settle(1, 2, SETTLE_RELEASE, 0);
	held_demand(held, 0, 0, 1, now);
	bench_run();
	CHECK(asked.deliveries[0].rejected);
	bench_settle(1, 2, SETTLE_DEAD, 5);
	bench_check_acks(1);
	bench_pass_barrier();
	CHECK_EQ(asked.answers[0], 5);
	CHECK_EQ(held_backlog(held).dead, 1);
	bench_end();
}

// ---- times

static void waits_until_it_is_due(void)
{
	uint64_t due_ms;

	bench_begin();
	bench_demand(100);
	due_ms = now.wall_ms + HELD_NEAR_MS;
	bench_arrive_due(1, 1, 0, due_ms);
	bench_run();
	CHECK_EQ(asked.delivered, 0);
	CHECK_EQ(held_backlog(held).delayed, 1);
	CHECK_EQ(held_next_ms(held, now), now.steady_ms + HELD_NEAR_MS);
	bench_pass_ms(HELD_NEAR_MS - 1);
	CHECK_EQ(asked.delivered, 0);
	now.wall_ms += 1; // set forward
	bench_run();
	CHECK_EQ(asked.delivered, 1);
	bench_end();
}

static void delay_is_not_shortened_by_the_wall_clock(void)
{
	bench_begin();
	bench_demand(100);
	bench_arrive_due(1, 1, 2, now.wall_ms + 1000);
	now.wall_ms += 3600000;
	bench_run();
	CHECK_EQ(asked.delivered, 0);
	CHECK_EQ(held_backlog(held).retrying, 1);
	now.wall_ms -= 7200000;
	bench_pass_ms(999);
	CHECK_EQ(asked.delivered, 0);
	bench_pass_ms(1);
	CHECK_EQ(asked.delivered, 1);
	bench_settle(asked.deliveries[0].offset, 3, SETTLE_RELEASE, 0);
	CHECK_EQ(asked.delivered, 1); // it has waited, whatever the wall clock shows now
	bench_end();
}

static void due_later_is_written_back(void)
{
	uint64_t due_ms;

	bench_begin();
	bench_demand(100);
	due_ms = now.wall_ms + HELD_NEAR_MS + 1000;
	bench_arrive_due(1, 1, 0, due_ms);
	bench_run();
	CHECK_EQ(asked.written, 1);
	CHECK_EQ(asked.copies[0].due_ms, due_ms);
	CHECK_EQ(asked.copies[0].attempts, 0);
	CHECK_EQ(held_backlog(held).delayed, 1);
	bench_written(asked.copies[0].number, QUEUE_REFUSED);
	bench_pass_ms(1000); // now it is near enough
	CHECK_EQ(asked.written, 0);
	bench_pass_ms(HELD_NEAR_MS);
	CHECK_EQ(asked.delivered, 1);
	bench_arrive_due(2, 2, 0, now.wall_ms + HELD_NEAR_MS + 1);
	bench_run();
	bench_written(asked.copies[0].number, QUEUE_WRITTEN);
	bench_check_acks(2);
	bench_end();
}

static void clock_that_is_set_back_writes_it_back(void)
{
	bench_begin();
	bench_arrive_due(1, 1, 0, now.wall_ms + HELD_NEAR_MS);
	bench_arrive_due(2, 2, 1, now.wall_ms + HELD_NEAR_MS); // a delay: it runs on
	bench_run();
	CHECK_EQ(asked.written, 0);
	now.wall_ms -= 1;
	bench_run();
	CHECK_EQ(asked.written, 1);
	CHECK_EQ(asked.copies[0].attempts, 0);
	CHECK_EQ(held_backlog(held).delayed, 1);
	CHECK_EQ(held_backlog(held).retrying, 1);
	bench_end();
}

// Its copy has come before the confirmation: what is held now may be the copy.
static void copy_due_later_may_be_there_first(void)
{
	uint64_t due_ms, number;

	bench_begin();
	due_ms = now.wall_ms + HELD_NEAR_MS + 1000;
	bench_arrive_due(1, 1, 0, due_ms);
	bench_run();
	number = asked.copies[0].number;
	bench_arrive_due(2, 1, 0, due_ms);
	bench_run();
	bench_check_acks(1);
	bench_written(number, QUEUE_WRITTEN);
	CHECK_EQ(asked.acked, 0);
	CHECK_EQ(asked.written, 1); // the copy is written back, too
	bench_end();
}

static void expired_is_acknowledged(void)
{
	bench_begin();
	bench_arrive_message((struct bench_message){.arrival = {.tag = 1}, .id = 1, .ttl_ms = 100});
	bench_run();
	CHECK_EQ(held_backlog(held).ready, 1);
	now.wall_ms += 101;
	bench_demand(100);
	CHECK_EQ(asked.delivered, 0);
	bench_check_acks(1);
	bench_pass_barrier();
	bench_arrive_message(
		(struct bench_message){.arrival = {.tag = 2, .due_ms = now.wall_ms - 200},
				       .id = 2,
				       .due_ms = now.wall_ms - 200,
				       .ttl_ms = 100});
	bench_run();
	bench_check_acks(2);
	CHECK_EQ(held_backlog(held).expired, 2);
	bench_end();
}

// ---- two of one message

static void lesser_of_two_is_acknowledged(void)
{
	bench_begin();
	bench_arrive(1, 1, 2);
	bench_arrive(2, 1, 1); // fewer attempts
	bench_run();
	bench_check_acks(2);
	bench_pass_barrier();
	bench_arrive(3, 1, 2); // the same: the later one is kept
	bench_run();
	bench_check_acks(1);
	bench_pass_barrier();
	bench_arrive(4, 1, 5); // more
	bench_run();
	bench_check_acks(3);
	bench_demand(100);
	CHECK_EQ(asked.delivered, 1);
	CHECK_EQ(asked.deliveries[0].attempt, 6);
	bench_end();
}

static void delivery_that_is_out_changes_its_tag(void)
{
	bench_begin_with_one();
	bench_arrive_due(2, 1, 1, now.wall_ms + 500);
	bench_run();
	bench_check_acks(1);
	bench_pass_barrier();
	bench_settle(1, 1, SETTLE_RELEASE, 0);
	CHECK_EQ(asked.delivered, 0); // the delay of what came
	bench_pass_ms(500);
	CHECK_EQ(asked.deliveries[0].offset, 1);
	CHECK_EQ(asked.deliveries[0].attempt, 2);
	bench_nack(1, 2, 0, 0);
	CHECK_EQ(asked.copies[0].attempts, 2);
	bench_written(asked.copies[0].number, QUEUE_WRITTEN);
	bench_check_acks(2);
	bench_end();
}

static void released_is_due_later_by_its_copy(void)
{
	uint64_t due_ms;

	bench_begin_with_one();
	due_ms = now.wall_ms + HELD_NEAR_MS + 1;
	bench_arrive_due(2, 1, 1, due_ms);
	bench_run();
	bench_settle(1, 1, SETTLE_RELEASE, 0);
	CHECK_EQ(asked.delivered, 0);
	CHECK_EQ(asked.written, 1);
	CHECK_EQ(asked.copies[0].due_ms, due_ms);
	CHECK_EQ(asked.copies[0].attempts, 1);
	bench_pass_ms(bench_limits.renew_ms); // a write is not renewed
	CHECK_EQ(asked.written, 0);
	bench_end();
}

static void copy_may_come_before_its_confirmation(void)
{
	uint64_t number;

	bench_begin_with_one();
	bench_nack(1, 1, 0, 3);
	number = asked.copies[0].number;
	bench_arrive(2, 1, 1);
	bench_run();
	bench_check_acks(1);
	CHECK_EQ(asked.deliveries[0].attempt, 2);
	bench_written(number, QUEUE_DOUBT); // it says nothing more
	CHECK_EQ(asked.written, 0);
	bench_pass_barrier();
	CHECK_EQ(asked.answered, 1);
	bench_end();
}

static void ended_is_not_handed_out_again(void)
{
	bench_begin_with_one();
	bench_settle(1, 1, SETTLE_ACK, 0);
	bench_pass_barrier();
	bench_arrive(2, 1, 3);
	bench_run();
	CHECK_EQ(asked.delivered, 0);
	bench_check_acks(2);
	bench_end();
}

static void oldest_ids_are_forgotten(void)
{
	static const struct held_limits few = {
		.messages_max = 512, .bytes_max = 64u << 20, .ended_max = 2, .acks_max = 32};

	bench_begin_with(&few);
	bench_demand(100);
	for (uint32_t i = 1; i <= 3; ++i)
		bench_arrive(i, i, 0);
	bench_run();
	bench_settle_run(1, 3, 1, SETTLE_ACK, 0);
	bench_pass_barrier();
	for (uint32_t i = 1; i <= 3; ++i)
		bench_arrive(3 + i, i, 0);
	bench_run();
	CHECK_EQ(asked.delivered, 1);
	CHECK_EQ(asked.acked, 2);
	bench_end();
}

UNIT_MAIN(UNIT_CASE(goes_out_against_demand), UNIT_CASE(released_keeps_its_place),
	  UNIT_CASE(due_goes_before_new), UNIT_CASE(due_when_it_was_sent_is_new),
	  UNIT_CASE(settles_name_one_delivery), UNIT_CASE(acks_go_in_batches),
	  UNIT_CASE(failed_attempt_is_written_first), UNIT_CASE(rejected_comes_for_its_copy),
	  UNIT_CASE(waits_until_it_is_due), UNIT_CASE(delay_is_not_shortened_by_the_wall_clock),
	  UNIT_CASE(due_later_is_written_back), UNIT_CASE(clock_that_is_set_back_writes_it_back),
	  UNIT_CASE(copy_due_later_may_be_there_first), UNIT_CASE(expired_is_acknowledged),
	  UNIT_CASE(lesser_of_two_is_acknowledged), UNIT_CASE(delivery_that_is_out_changes_its_tag),
	  UNIT_CASE(released_is_due_later_by_its_copy),
	  UNIT_CASE(copy_may_come_before_its_confirmation),
	  UNIT_CASE(ended_is_not_handed_out_again), UNIT_CASE(oldest_ids_are_forgotten))
