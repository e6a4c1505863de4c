// adapters/queue/held: a channel that is lost, renewal, how much is consumed, missing memory and
// the end, each edge by hand. Random schedules are in tests/sim/queue.c.

#include "core/wire/record.h"
#include "tests/unit/held/bench.h"

#include <errno.h>

// ---- a channel that is lost

static void loss_voids_what_is_out(void)
{
	bench_begin_with_one();
	bench_arrive(2, 2, 0);
	bench_run();
	bench_settle(1, 1, SETTLE_REJECT, 0);
	bench_lose();
	CHECK_EQ(asked.lost, 1);
	CHECK_EQ(held_bytes(held), 0);
	bench_check_stale(bench_settle_of(2, 1, SETTLE_ACK));
	bench_open_channel();
	bench_check_stale(bench_settle_of(2, 1, SETTLE_ACK));
	bench_arrive_again(11, 1, 0);
	bench_run();
	CHECK_EQ(asked.lost, 0);
	CHECK_EQ(asked.deliveries[0].attempt, 1);
	CHECK_EQ(asked.deliveries[0].offset, 1);
	bench_end();
}

static void ended_comes_again_after_a_loss(void)
{
	bench_begin_with_one();
	bench_settle(1, 1, SETTLE_ACK, 6);
	bench_lose();
	CHECK_EQ(asked.answered, 0);
	bench_open_channel();
	bench_arrive_again(11, 1, 0);
	bench_run();
	CHECK_EQ(asked.delivered, 0);
	bench_check_acks(11);
	bench_pass_barrier();
	CHECK_EQ(asked.answers[0], 6);
	CHECK_EQ(asked.code, CODE_OK);
	bench_end();
}

static void ids_are_known_among_many(void)
{
	enum { MANY = 300 };

	bench_begin();
	bench_demand(MANY);
	for (uint32_t i = 1; i <= MANY; ++i)
		bench_arrive(i, i, 0);
	bench_run();
	CHECK_EQ(asked.delivered, MANY);
	CHECK_EQ(held->ids.count, MANY);
	CHECK(held->ids.room >= MANY); // chains stay short
	bench_settle_run(1, MANY, 1, SETTLE_ACK, 6);
	bench_lose();
	bench_open_channel();
	for (uint32_t i = 1; i <= MANY; ++i)
		bench_arrive_again(MANY + i, i, 0);
	bench_run();
	CHECK_EQ(asked.delivered, 0);
	CHECK_EQ(held->ids.count, MANY);
	bench_end();
}

static void something_new_shows_that_nothing_is_given_back(void)
{
	bench_begin_with_one();
	bench_settle(1, 1, SETTLE_ACK, 6);
	bench_lose();
	bench_open_channel();
	bench_arrive_again(11, 2, 0);
	bench_run();
	CHECK_EQ(asked.answered, 0);
	bench_arrive(12, 3, 0);
	bench_run();
	CHECK_EQ(asked.answers[0], 6);
	CHECK_EQ(asked.code, CODE_OK);
	bench_end();
}

static void idle_consumer_shows_it_too(void)
{
	bench_begin_with_one();
	bench_settle(1, 1, SETTLE_ACK, 6);
	bench_lose();
	bench_demand(0);
	bench_pass_ms(HELD_QUIET_MS);
	bench_open_channel();
	bench_run();
	CHECK(asked.prefetch > 0);
	CHECK_EQ(held_next_ms(held, now), now.steady_ms + HELD_PROOF_MS);
	bench_pass_ms(HELD_PROOF_MS - 1);
	CHECK_EQ(asked.answered, 0);
	bench_arrive_again(11, 2, 0); // it is not idle
	bench_pass_ms(1);
	CHECK_EQ(asked.answered, 0);
	bench_pass_ms(HELD_PROOF_MS - 1);
	CHECK_EQ(asked.answered, 0);
	bench_pass_ms(1);
	CHECK_EQ(asked.answered, 1);
	bench_end();
}

static void a_consumer_whose_queue_has_no_place_is_not_idle(void)
{
	static const struct held_limits shared = {.messages_max = 8,
						  .bytes_max = 64u << 20,
						  .ended_max = 16,
						  .acks_max = 32,
						  .retry_share = 4};

	bench_begin_with(&shared);
	bench_demand(100);
	bench_arrive(1, 1, 0);
	bench_run();
	bench_settle(1, 1, SETTLE_ACK, 6);
	bench_lose();
	bench_open_channel();
	bench_run();
	CHECK_EQ(asked.prefetch, 8);
	bench_arrive_message((struct bench_message){
		.arrival = {.tag = 11, .attempts = 1, .given_back = true, .from_retry = true},
		.id = 2});
	for (uint64_t tag = 12; tag <= 17; ++tag)
		bench_arrive_again(tag, (uint32_t)tag - 9, 0);
	bench_run();
	bench_pass_ms(HELD_PROOF_MS);
	CHECK_EQ(asked.answered, 0); // what is awaited may be the seventh of the queue
	bench_settle(6, 1, SETTLE_ACK, 0);
	bench_run();
	bench_pass_barrier();
	bench_pass_ms(HELD_PROOF_MS - 1);
	CHECK_EQ(asked.answered, 0);
	bench_pass_ms(1);
	CHECK_EQ(asked.answered, 1);
	bench_arrive_message((struct bench_message){
		.arrival = {.tag = 18, .attempts = 1, .from_retry = true}, .id = 20});
	bench_end();
}

static void write_outlives_the_channel(void)
{
	uint64_t number;

	bench_begin_with_one();
	bench_nack(1, 1, 0, 8);
	number = asked.copies[0].number;
	bench_lose();
	bench_open_channel();
	bench_arrive_again(11, 1, 0); // its original is not handed out meanwhile
	bench_run();
	CHECK_EQ(asked.delivered, 0);
	bench_written(number, QUEUE_WRITTEN);
	bench_check_acks(11);
	bench_pass_barrier();
	CHECK_EQ(asked.answers[0], 8);
	CHECK_EQ(asked.code, CODE_OK);
	bench_end();
}

static void write_that_fails_after_a_loss_is_given_up(void)
{
	uint64_t number;

	bench_begin_with_one();
	bench_nack(1, 1, 0, 8);
	number = asked.copies[0].number;
	bench_lose();
	bench_written(number, QUEUE_REFUSED);
	CHECK_EQ(asked.answers[0], 8);
	CHECK_EQ(asked.code, CODE_CONNECTION_LOST);
	bench_open_channel();
	bench_arrive_again(11, 1, 0);
	bench_run();
	CHECK_EQ(asked.deliveries[0].attempt, 1);
	bench_end();
}

static void anonymous_is_given_up_at_a_loss(void)
{
	bench_begin();
	bench_demand(100);
	bench_arrive_message(
		(struct bench_message){.arrival = {.tag = 1, .anonymous = true}, .id = 1});
	bench_run();
	bench_settle(1, 1, SETTLE_ACK, 9);
	bench_lose();
	CHECK_EQ(asked.answers[0], 9);
	CHECK_EQ(asked.code, CODE_CONNECTION_LOST);
	bench_end();
}

// ---- renewal

static void begin_renewed(void)
{
	bench_begin_with_one();
	bench_pass_ms(bench_limits.renew_ms - 1);
	CHECK_EQ(asked.written, 0);
	bench_pass_ms(1);
	CHECK_EQ(asked.written, 1);
	CHECK(asked.copies[0].renewal);
	CHECK_EQ(asked.copies[0].attempts, 0);
}

static void renewal_changes_the_tag_alone(void)
{
	begin_renewed();
	bench_written(asked.copies[0].number, QUEUE_WRITTEN);
	bench_check_acks(1);
	bench_pass_barrier();
	CHECK_EQ(held_backlog(held).in_flight, 1);
	CHECK_EQ(held_backlog(held).twice, 1);
	bench_arrive(2, 1, 0);
	bench_run();
	CHECK_EQ(asked.delivered, 0);
	CHECK_EQ(asked.acked, 0);
	CHECK_EQ(held_backlog(held).twice, 0);
	bench_settle(1, 1, SETTLE_ACK, 2);
	bench_check_acks(2);
	bench_end();
}

static void renewal_that_fails_is_tried_again(void)
{
	begin_renewed();
	bench_written(asked.copies[0].number, QUEUE_REFUSED);
	CHECK_EQ(asked.written, 0);
	bench_pass_ms(bench_limits.renew_ms / 16);
	CHECK_EQ(asked.written, 1);
	bench_end();
}

// A write that does not even begin is as one that was refused.
static void write_may_not_begin(void)
{
	bench_begin_with_one();
	bench_refuse_at_once = true;
	bench_nack(1, 1, 5000, 1);
	CHECK_EQ(asked.written, 1);
	CHECK_EQ(asked.answered, 0);
	bench_pass_ms(HELD_AGAIN_MS - 1);
	CHECK_EQ(asked.written, 0);
	bench_refuse_at_once = false;
	bench_pass_ms(1);
	CHECK_EQ(asked.written, 1);
	bench_written(asked.copies[0].number, QUEUE_WRITTEN);
	bench_check_acks(1);
	bench_end();

	bench_begin_with_one();
	bench_refuse_at_once = true;
	bench_pass_ms(bench_limits.renew_ms);
	CHECK_EQ(asked.written, 1);
	bench_refuse_at_once = false;
	bench_pass_ms(bench_limits.renew_ms / 16);
	CHECK_EQ(asked.written, 1);
	CHECK(asked.copies[0].renewal);
	bench_end();

	bench_begin_with_one();
	bench_refuse_at_once = true;
	bench_nack(1, 1, 0, 1);
	held_close(held); // it is not tried again
	bench_run();
	CHECK_EQ(asked.code, CODE_CONNECTION_LOST);
	CHECK_EQ(asked.closed, 1);
	bench_refuse_at_once = false;
	bench_end();
}

static void ack_waits_for_its_renewal(void)
{
	uint64_t number;

	begin_renewed();
	number = asked.copies[0].number;
	bench_settle(1, 1, SETTLE_ACK, 2);
	CHECK_EQ(asked.acked, 0);
	bench_written(number, QUEUE_WRITTEN);
	bench_check_acks(1);
	bench_pass_barrier();
	CHECK_EQ(asked.answered, 0); // its copy would come again
	bench_arrive(2, 1, 0);
	bench_run();
	CHECK_EQ(asked.delivered, 0);
	bench_check_acks(2);
	bench_pass_barrier();
	CHECK_EQ(asked.answered, 1);
	bench_end();
}

static void copy_may_come_before_the_renewal_of_what_has_ended(void)
{
	uint64_t number;

	begin_renewed();
	number = asked.copies[0].number;
	bench_settle(1, 1, SETTLE_ACK, 2);
	bench_arrive(2, 1, 0);
	bench_run();
	bench_check_acks(1);
	bench_pass_barrier();
	bench_written(number, QUEUE_WRITTEN);
	bench_check_acks(2);
	bench_pass_barrier();
	CHECK_EQ(asked.answered, 1);
	bench_end();
}

static void nack_waits_for_its_renewal(void)
{
	uint64_t number;

	begin_renewed();
	number = asked.copies[0].number;
	bench_nack(1, 1, 0, 2);
	CHECK_EQ(asked.written, 0);
	bench_written(number, QUEUE_REFUSED);
	CHECK_EQ(asked.written, 1);
	CHECK_EQ(asked.copies[0].attempts, 1);
	bench_end();
}

static void release_waits_for_its_renewal(void)
{
	uint64_t number;

	begin_renewed();
	number = asked.copies[0].number;
	bench_arrive_due(2, 1, 1, now.wall_ms + HELD_NEAR_MS + 1);
	bench_settle(1, 1, SETTLE_RELEASE, 0);
	CHECK_EQ(asked.written, 0);
	bench_written(number, QUEUE_WRITTEN);
	CHECK_EQ(asked.written, 1);
	CHECK_EQ(asked.copies[0].attempts, 1);
	bench_end();
}

// The copy says what is known here: its last attempt has ended.
static void rejected_is_renewed_with_its_attempt(void)
{
	bench_begin_with_one();
	bench_settle(1, 1, SETTLE_REJECT, 0);
	bench_pass_ms(bench_limits.renew_ms);
	CHECK_EQ(asked.copies[0].attempts, 1);
	bench_written(asked.copies[0].number, QUEUE_WRITTEN);
	bench_pass_barrier();
	held_demand(held, 0, 0, 1, now);
	bench_run();
	CHECK(asked.deliveries[0].rejected);
	bench_settle(1, 2, SETTLE_DEAD, 2);
	CHECK_EQ(asked.acked, 0);
	bench_arrive(2, 1, 1);
	bench_run();
	bench_check_acks(2);
	bench_pass_barrier();
	CHECK_EQ(asked.answers[0], 2);
	bench_end();
}

// An older copy of the message is still to come when the newer one has passed.
// Without a tag it waits here however long, with one no longer than a minute.
static void waits_for_long_only_without_a_tag(void)
{
	uint64_t due_ms = now.wall_ms + 2000000;

	bench_begin_with_one();
	bench_arrive_due(2, 1, 1, due_ms);
	bench_run();
	bench_pass_barrier();
	bench_pass_ms(bench_limits.renew_ms);
	CHECK(asked.written == 1 && asked.copies[0].renewal);
	bench_written(asked.copies[0].number, QUEUE_WRITTEN);
	bench_pass_barrier();
	bench_settle(1, 1, SETTLE_RELEASE, 0);
	CHECK_EQ(asked.written, 0);
	CHECK_EQ(held_backlog(held).retrying, 1);
	bench_arrive(3, 1, 1);
	bench_run();
	CHECK_EQ(asked.written, 1);
	CHECK_EQ(asked.copies[0].due_ms, due_ms);
	CHECK_EQ(asked.copies[0].attempts, 1);
	bench_end();
}

static void end_waits_for_all_deliveries_of_a_message(void)
{
	uint64_t number;

	begin_renewed();
	bench_written(asked.copies[0].number, QUEUE_WRITTEN);
	bench_pass_barrier();
	bench_nack(1, 1, 0, 2);
	number = asked.copies[0].number;
	bench_arrive(3, 1, 1); // the failed attempt's copy overtakes the renewal's
	bench_run();
	CHECK_EQ(asked.deliveries[0].attempt, 2);
	bench_settle(asked.deliveries[0].offset, 2, SETTLE_ACK, 3);
	bench_pass_barrier();
	bench_written(number, QUEUE_WRITTEN);
	CHECK_EQ(asked.answered, 0);
	bench_arrive(4, 1, 0);
	bench_run();
	bench_check_acks(4);
	bench_pass_barrier();
	CHECK_EQ(asked.answered, 2);
	bench_end();
}

static void copy_may_come_before_its_renewal_is_confirmed(void)
{
	uint64_t number;

	begin_renewed();
	number = asked.copies[0].number;
	bench_arrive(2, 1, 0);
	bench_run();
	bench_check_acks(1);
	bench_pass_barrier();
	bench_written(number, QUEUE_WRITTEN);
	CHECK_EQ(asked.acked, 0); // what is held is the copy
	bench_end();
}

// ---- how much is consumed

static void consumes_while_there_is_demand(void)
{
	bench_begin();
	bench_pass_ms(HELD_QUIET_MS);
	CHECK_EQ(asked.consumes, 0);
	bench_demand(1);
	CHECK_EQ(asked.prefetch, 32); // the size of none is known
	bench_arrive(1, 1, 0);
	bench_run();
	bench_pass_ms(HELD_QUIET_MS - 1);
	CHECK_EQ(asked.consumes, 0);
	bench_pass_ms(1);
	CHECK_EQ(asked.consumes, 1);
	CHECK_EQ(asked.prefetch, 0);
	bench_demand(1);
	CHECK_EQ(asked.consumes, 0); // not before it is cancelled
	held_cancelled(held, epoch);
	bench_run();
	CHECK(asked.prefetch > 0);
	bench_end();
}

static void bytes_bound_the_prefetch(void)
{
	static const struct held_limits small = {
		.messages_max = 512, .bytes_max = 400, .ended_max = 16, .acks_max = 32};

	bench_begin_with(&small);
	bench_demand(1);
	CHECK(asked.prefetch > 0);
	for (uint32_t i = 1; i <= 5; ++i)
		bench_arrive(i, i, 0);
	bench_run();
	CHECK(held_bytes(held) > small.bytes_max);
	CHECK_EQ(asked.consumes, 1);
	CHECK_EQ(asked.prefetch, 0);
	held_cancelled(held, epoch);
	bench_demand(100);
	CHECK_EQ(asked.consumes, 0);
	bench_settle_run(1, 1, 1, SETTLE_ACK, 0);
	bench_settle_run(2, 1, 1, SETTLE_ACK, 0);
	CHECK_EQ(asked.consumes, 0); // not before half of them are free
	bench_settle_run(3, 3, 1, SETTLE_ACK, 0);
	CHECK_EQ(asked.prefetch, 400 / (RECORD_HEAD_SIZE + BODY));
	bench_end();
}

// What is held stays, and nothing comes before enough of it is settled; then a little comes.
static void a_crowd_holds_a_little(void)
{
	static const struct held_limits little = {.messages_max = 512,
						  .bytes_max = 64u << 20,
						  .crowd_bytes = 200,
						  .ended_max = 16,
						  .acks_max = 32};
	const uint64_t size = RECORD_HEAD_SIZE + BODY;

	bench_begin_with(&little);
	bench_demand(100);
	CHECK_EQ(asked.prefetch, 32);
	for (uint32_t i = 1; i <= 10; ++i)
		bench_arrive(i, i, 0);
	bench_run();
	CHECK(held_bytes(held) > little.crowd_bytes);
	held_crowd(held, true);
	bench_run();
	CHECK_EQ(asked.prefetch, 0);
	held_cancelled(held, epoch);
	bench_run();
	CHECK_EQ(asked.consumes, 0);
	bench_settle_run(1, 10, 1, SETTLE_ACK, 0);
	CHECK_EQ(held_bytes(held), 0);
	CHECK(asked.prefetch >= 1 && asked.prefetch <= little.crowd_bytes / size);
	bench_end();
}

// What is held is small: more may come, though nothing is settled.
static void small_ones_let_the_prefetch_grow(void)
{
	static const struct held_limits limits = {
		.messages_max = 90, .bytes_max = 64u << 20, .ended_max = 16, .acks_max = 32};
	uint64_t tag = 0;

	bench_begin_with(&limits);
	bench_demand(1000);
	CHECK_EQ(asked.prefetch, 32);
	while (asked.consumes) {
		for (uint32_t i = asked.prefetch; i > 0; --i, ++tag)
			bench_arrive(tag + 1, (uint32_t)tag, 0);
		bench_run();
		CHECK(tag == 90 || asked.consumes == 1);
		if (tag == 90)
			break;
		CHECK_EQ(asked.prefetch, 0);
		held_cancelled(held, epoch);
		bench_run();
	}
	CHECK_EQ(tag, 90);
	CHECK_EQ(asked.consumes, 0); // there is no room for more
	bench_end();
}

static void crowd_does_not_let_it_grow(void)
{
	bench_begin();
	held_crowd(held, true);
	bench_demand(100);
	CHECK_EQ(asked.prefetch, 1);
	held_crowd(held, false);
	bench_run();
	CHECK_EQ(asked.prefetch, 0);
	held_cancelled(held, epoch);
	bench_run();
	CHECK_EQ(asked.prefetch, 32);
	bench_end();
}

// ---- memory and ends

static void without_memory_the_channel_goes(void)
{
	struct settle ack = bench_settle_of(1, 1, SETTLE_ACK);

	bench_begin();
	bench_demand(100);
	bench_allocations_left = 1; // the member, and not its id
	bench_arrive(1, 1, 0);
	bench_allocations_left = UINT32_MAX;
	bench_arrive(2, 2, 0);
	bench_run();
	CHECK_EQ(asked.reopens, 1);
	CHECK_EQ(asked.delivered, 0);
	bench_run();
	CHECK_EQ(asked.reopens, 0);
	bench_lose();
	bench_open_channel();
	bench_arrive_again(11, 1, 0);
	bench_run();
	CHECK_EQ(asked.delivered, 1);
	ack.epoch = epoch;
	bench_allocations_left = 0;
	CHECK_EQ(held_settle(held, &ack, 1, bench_on_done, NULL, now), -ENOMEM);
	bench_allocations_left = UINT32_MAX;
	CHECK_EQ(ack.settled, 1);
	bench_run();
	bench_check_acks(11);
	bench_end();
}

static void close_ends_what_is_settled(void)
{
	uint64_t number;

	bench_begin();
	bench_demand(3);
	for (uint32_t i = 1; i <= 4; ++i)
		bench_arrive(i, i, 0);
	bench_run();
	bench_nack(1, 1, 0, 1);
	number = asked.copies[0].number;
	bench_settle(2, 1, SETTLE_ACK, 2);
	held_close(held);
	CHECK_EQ(held_backlog(held).in_flight, 0);
	bench_check_stale(bench_settle_of(3, 1, SETTLE_ACK));
	bench_arrive(5, 5, 0);
	bench_run();
	CHECK_EQ(asked.closed, 0);
	CHECK_EQ(asked.delivered, 0);
	bench_pass_barrier();
	CHECK_EQ(asked.answers[0], 2);
	CHECK_EQ(asked.closed, 0);
	bench_written(number, QUEUE_WRITTEN);
	bench_check_acks(1);
	bench_pass_barrier();
	CHECK_EQ(asked.answers[0], 1);
	CHECK_EQ(asked.closed, 1);
	bench_run();
	CHECK_EQ(asked.closed, 0);
	bench_end();
}

static void close_writes_once(void)
{
	uint64_t number;

	bench_begin_with_one();
	bench_nack(1, 1, 0, 1);
	number = asked.copies[0].number;
	held_close(held);
	bench_written(number, QUEUE_REFUSED);
	CHECK_EQ(asked.code, CODE_CONNECTION_LOST);
	CHECK_EQ(asked.acked, 0); // it comes again
	CHECK_EQ(asked.closed, 1);
	bench_end();
}

static void close_does_not_wait_for_limbo(void)
{
	bench_begin_with_one();
	bench_settle(1, 1, SETTLE_ACK, 1);
	bench_lose();
	held_close(held);
	bench_run();
	CHECK_EQ(asked.code, CODE_CONNECTION_LOST);
	CHECK_EQ(asked.answered, 1);
	CHECK_EQ(asked.closed, 1);
	bench_end();
}

static void keeps_to_its_table(void)
{
	const uint64_t moves = STATE_TABLE_MOVES(HELD_STATES);

	bench_begin();
	for (unsigned state = 0; state < HELD_STATE_COUNT; ++state)
		for (unsigned next = 0; next < HELD_STATE_COUNT; ++next) {
			struct held_item item = {.state = (uint8_t)state};

			if (state_table_has(moves, state, next)) {
				held_state_set(held, &item, (enum held_state)next);
				CHECK_EQ(item.state, next);
			} else {
				CHECK_ABORTS(held_state_set(held, &item, (enum held_state)next));
			}
		}
	CHECK(!state_table_has(moves, HELD_WRITING, HELD_FLIGHT));  // not before its copy comes
	CHECK(!state_table_has(moves, HELD_REJECTED, HELD_ACKING)); // nor without its copy
	CHECK(!state_table_has(moves, HELD_ACKING, HELD_READY));    // nor back
	bench_end();
}

UNIT_MAIN(UNIT_CASE(loss_voids_what_is_out), UNIT_CASE(ended_comes_again_after_a_loss),
	  UNIT_CASE(ids_are_known_among_many),
	  UNIT_CASE(something_new_shows_that_nothing_is_given_back),
	  UNIT_CASE(idle_consumer_shows_it_too),
	  UNIT_CASE(a_consumer_whose_queue_has_no_place_is_not_idle),
	  UNIT_CASE(write_outlives_the_channel),
	  UNIT_CASE(write_that_fails_after_a_loss_is_given_up),
	  UNIT_CASE(anonymous_is_given_up_at_a_loss), UNIT_CASE(renewal_changes_the_tag_alone),
	  UNIT_CASE(renewal_that_fails_is_tried_again), UNIT_CASE(write_may_not_begin),
	  UNIT_CASE(ack_waits_for_its_renewal),
	  UNIT_CASE(copy_may_come_before_the_renewal_of_what_has_ended),
	  UNIT_CASE(nack_waits_for_its_renewal), UNIT_CASE(release_waits_for_its_renewal),
	  UNIT_CASE(rejected_is_renewed_with_its_attempt),
	  UNIT_CASE(waits_for_long_only_without_a_tag),
	  UNIT_CASE(end_waits_for_all_deliveries_of_a_message),
	  UNIT_CASE(copy_may_come_before_its_renewal_is_confirmed),
	  UNIT_CASE(consumes_while_there_is_demand), UNIT_CASE(bytes_bound_the_prefetch),
	  UNIT_CASE(small_ones_let_the_prefetch_grow), UNIT_CASE(crowd_does_not_let_it_grow),
	  UNIT_CASE(a_crowd_holds_a_little), UNIT_CASE(without_memory_the_channel_goes),
	  UNIT_CASE(close_ends_what_is_settled), UNIT_CASE(close_writes_once),
	  UNIT_CASE(close_does_not_wait_for_limbo), UNIT_CASE(keeps_to_its_table))
