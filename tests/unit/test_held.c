// adapters/queue/held: each state and its edges by hand. Random schedules are in tests/sim/queue.c.

#include "adapters/queue/held_state.h"
#include "core/wire/record.h"
#include "tests/unit/unit.h"

#include <errno.h>

enum { BODY = 60, PARTITIONS = 2 };

static const struct held_limits limits = {
	.messages_max = 512, .bytes_max = 64u << 20, .renew_ms = 900000, .ended_max = 4096};

// What the set has asked for, since it was last cleared.
static struct {
	struct delivery deliveries[600];
	uint64_t tags[600], answers[600];
	struct held_copy copies[64];
	size_t delivered, acked, barriers, written, answered;
	uint32_t prefetch, consumes, lost, reopens, closed;
	enum code code;
} asked;

static struct held *held;
static struct held_time now;
static uint64_t epoch;

// ---- memory that is not there

static unsigned allocations_left = UINT32_MAX;

void *__real_calloc(size_t count, size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_calloc(size_t count, size_t size)
{
	if (allocations_left == 0)
		return NULL;
	--allocations_left;
	return __real_calloc(count, size);
}

// ---- the set and its surroundings

static void on_deliver(void *ctx, const struct delivery *deliveries, size_t count)
{
	for (size_t i = 0; i < count; ++i)
		asked.deliveries[asked.delivered++] = deliveries[i];
}

static void on_ack(void *ctx, const uint64_t *tags, size_t count)
{
	for (size_t i = 0; i < count; ++i)
		asked.tags[asked.acked++] = tags[i];
}

static void on_barrier(void *ctx)
{
	++asked.barriers;
}

static void on_write(void *ctx, const struct held_copy *copy)
{
	asked.copies[asked.written++] = *copy;
}

static void on_consume(void *ctx, uint32_t prefetch)
{
	asked.prefetch = prefetch;
	++asked.consumes;
}

static void on_lost(void *ctx)
{
	++asked.lost;
}

static void on_reopen(void *ctx)
{
	++asked.reopens;
}

static void on_closed(void *ctx)
{
	++asked.closed;
}

static const struct held_ops ops = {.deliver = on_deliver,
				    .ack = on_ack,
				    .barrier = on_barrier,
				    .write = on_write,
				    .consume = on_consume,
				    .lost = on_lost,
				    .reopen = on_reopen,
				    .closed = on_closed};

static void on_done(void *ctx, enum code code)
{
	asked.answers[asked.answered++] = (uint64_t)(uintptr_t)ctx;
	asked.code = code;
}

static void clear(void)
{
	memset(&asked, 0, sizeof asked);
}

static void run(void)
{
	clear();
	held_run(held, now);
}

static void pass_ms(uint64_t ms)
{
	now.wall_ms += ms;
	now.steady_ms += ms;
	run();
}

static void open_channel(void)
{
	held_opened(held, ++epoch, now);
}

static void begin_with(const struct held_limits *with)
{
	now = (struct held_time){1000000, 50000};
	CHECK_EQ(held_new(with, PARTITIONS, &ops, NULL, &held), 0);
	open_channel();
	clear();
}

static void begin(void)
{
	begin_with(&limits);
}

static void end(void)
{
	held_free(held);
	held = NULL;
}

static void demand(uint32_t messages)
{
	held_demand(held, messages, 1u << 30, 0, now);
	run();
}

// What a message is, beside its id: all else of an arrival may be changed before it arrives.
struct message {
	struct held_arrival arrival;
	uint64_t due_ms; // in the record
	uint32_t ttl_ms;
	uint32_t id;
};

static void arrive_message(struct message message)
{
	uint8_t id[RECORD_ID_SIZE] = {0}, body[BODY] = {0};
	struct record_parts parts = {.id = id,
				     .due_ms = (int64_t)message.due_ms,
				     .ttl_ms = message.ttl_ms,
				     .flags = (message.due_ms ? RECORD_DUE : 0u) |
					      (message.ttl_ms ? RECORD_TTL : 0u),
				     .body = {body, sizeof body}};
	struct held_arrival *arrival = &message.arrival;

	le32_put(id, message.id);
	CHECK_EQ(buf_new(record_parts_size(&parts), &arrival->buf), 0);
	record_write(&parts, arrival->buf->data);
	arrival->record = arrival->buf->data;
	arrival->epoch = epoch;
	arrival->stored_ms = (int64_t)now.wall_ms;
	held_arrived(held, arrival, now);
	buf_unref(arrival->buf);
}

static void arrive(uint64_t tag, uint32_t id, uint32_t attempts)
{
	arrive_message((struct message){.arrival = {.tag = tag, .attempts = attempts}, .id = id});
}

static void arrive_again(uint64_t tag, uint32_t id, uint32_t attempts)
{
	arrive_message((struct message){
		.arrival = {.tag = tag, .attempts = attempts, .given_back = true}, .id = id});
}

static void arrive_due(uint64_t tag, uint32_t id, uint32_t attempts, uint64_t due_ms)
{
	arrive_message((struct message){
		.arrival = {.tag = tag, .attempts = attempts, .due_ms = due_ms}, .id = id});
}

static struct settle settle_of(uint64_t offset, uint32_t attempt, enum settle_verb verb)
{
	return (struct settle){.epoch = epoch,
			       .offset = offset,
			       .count = 1,
			       .attempt = attempt,
			       .verb = (uint8_t)verb};
}

static void settle_run(uint64_t offset, uint32_t count, uint32_t attempt, enum settle_verb verb,
		       uintptr_t request)
{
	struct settle settle = settle_of(offset, attempt, verb);

	settle.count = count;
	CHECK_EQ(held_settle(held, &settle, 1, request ? on_done : NULL, (void *)request, now), 0);
	CHECK_EQ(settle.code, CODE_OK);
	CHECK_EQ(settle.settled, count);
	run();
}

static void settle(uint64_t offset, uint32_t attempt, enum settle_verb verb, uintptr_t request)
{
	settle_run(offset, 1, attempt, verb, request);
}

static void nack(uint64_t offset, uint32_t attempt, uint32_t delay_ms, uintptr_t request)
{
	struct settle settle = settle_of(offset, attempt, SETTLE_NACK);

	settle.delay_ms = delay_ms;
	CHECK_EQ(held_settle(held, &settle, 1, on_done, (void *)request, now), 0);
	CHECK_EQ(settle.code, CODE_OK);
	run();
}

static void check_stale(struct settle settle)
{
	CHECK_EQ(held_settle(held, &settle, 1, NULL, NULL, now), 0);
	CHECK_EQ(settle.code, CODE_STALE);
	CHECK_EQ(settle.settled, 0);
}

static void pass_barrier(void)
{
	held_passed(held, epoch);
	run();
}

static void written(uint64_t number, enum held_outcome outcome)
{
	held_written(held, number, outcome, now);
	run();
}

static void lose(void)
{
	held_lost(held);
	run();
}

// One message that is out: tag 1, id 1, at 0/1.
static void begin_with_one(void)
{
	begin();
	demand(100);
	arrive(1, 1, 0);
	run();
	CHECK_EQ(asked.delivered, 1);
	CHECK_EQ(asked.deliveries[0].offset, 1);
}

static void check_acks(uint64_t tag)
{
	CHECK_EQ(asked.acked, 1);
	CHECK_EQ(asked.tags[0], tag);
	CHECK_EQ(asked.barriers, 1);
}

// ---- handing out

static void goes_out_against_demand(void)
{
	uint32_t size;

	begin();
	for (uint32_t i = 1; i <= 6; ++i)
		arrive_message(
			(struct message){.arrival = {.tag = i, .partition = i % 2}, .id = i});
	run();
	CHECK_EQ(asked.delivered, 0);
	demand(2);
	CHECK_EQ(asked.delivered, 2);
	CHECK_EQ(asked.deliveries[0].partition, 1);
	CHECK_EQ(asked.deliveries[0].offset, 1);
	CHECK_EQ(asked.deliveries[0].attempt, 1);
	CHECK_EQ(asked.deliveries[0].epoch, epoch);
	CHECK_EQ(asked.deliveries[1].partition, 0);
	CHECK_EQ(asked.deliveries[1].offset, 1);
	size = asked.deliveries[0].size;
	run();
	CHECK_EQ(asked.delivered, 0);
	held_demand(held, 10, size + 1, 10, now); // the second exceeds what is left
	run();
	CHECK_EQ(asked.delivered, 2);
	CHECK_EQ(asked.deliveries[0].offset, 2);
	CHECK_EQ(held_bytes(held), 6 * size);
	CHECK_EQ(held_backlog(held).ready, 2);
	CHECK_EQ(held_backlog(held).in_flight, 4);
	end();
}

static void released_keeps_its_place(void)
{
	begin();
	demand(3);
	for (uint32_t i = 1; i <= 5; ++i)
		arrive(i, i, 0);
	run();
	CHECK_EQ(asked.delivered, 3);
	settle(2, 1, SETTLE_RELEASE, 7);
	CHECK_EQ(asked.answered, 1); // there is nothing to wait for
	settle(1, 1, SETTLE_RELEASE, 0);
	demand(3);
	CHECK_EQ(asked.deliveries[0].offset, 1);
	CHECK_EQ(asked.deliveries[0].attempt, 1);
	CHECK_EQ(asked.deliveries[1].offset, 2);
	CHECK_EQ(asked.deliveries[2].offset, 4);
	end();
}

static void due_goes_before_new(void)
{
	begin();
	arrive(1, 1, 0);
	arrive(2, 2, 3);
	demand(2);
	CHECK_EQ(asked.deliveries[0].attempt, 4);
	CHECK_EQ(asked.deliveries[1].attempt, 1);
	end();
}

// ---- settles

static void settles_name_one_delivery(void)
{
	struct settle run_of_four, wrong;

	begin_with_one();
	arrive(2, 2, 0);
	arrive(3, 3, 0);
	run();
	check_stale(settle_of(1, 2, SETTLE_ACK));
	check_stale(settle_of(9, 1, SETTLE_ACK));
	check_stale(settle_of(UINT64_MAX, 1, SETTLE_ACK));
	check_stale(settle_of(1, 1, SETTLE_EXTEND));
	wrong = settle_of(1, 1, SETTLE_ACK);
	wrong.epoch -= 1;
	check_stale(wrong);
	wrong = settle_of(1, 1, SETTLE_ACK);
	wrong.partition = 1;
	check_stale(wrong);
	wrong.partition = UINT32_MAX;
	check_stale(wrong);
	settle(2, 1, SETTLE_ACK, 0);
	check_stale(settle_of(2, 1, SETTLE_ACK));
	run_of_four = settle_of(1, 1, SETTLE_ACK);
	run_of_four.count = 4; // 2 is settled, 4 was never there
	CHECK_EQ(held_settle(held, &run_of_four, 1, NULL, NULL, now), 0);
	CHECK_EQ(run_of_four.settled, 2);
	CHECK_EQ(run_of_four.code, CODE_STALE);
	CHECK_EQ(held_backlog(held).acked, 3);
	CHECK_EQ(held_backlog(held).in_flight, 0);
	end();
}

static void acks_go_in_batches(void)
{
	begin();
	demand(100);
	for (uint32_t i = 1; i <= 40; ++i)
		arrive(i, i, 0);
	run();
	CHECK_EQ(asked.delivered, 40);
	settle_run(1, 40, 1, SETTLE_ACK, 5);
	CHECK_EQ(asked.acked, HELD_ACKS_MAX);
	CHECK_EQ(asked.barriers, 1);
	run();
	CHECK_EQ(asked.acked, 0);
	held_passed(held, epoch - 1); // of another channel
	run();
	CHECK_EQ(asked.acked, 0);
	pass_barrier();
	CHECK_EQ(asked.acked, 40 - HELD_ACKS_MAX);
	CHECK_EQ(asked.answered, 0);
	pass_barrier();
	CHECK_EQ(asked.answered, 1);
	CHECK_EQ(asked.answers[0], 5);
	CHECK_EQ(asked.code, CODE_OK);
	CHECK_EQ(held_bytes(held), 0);
	end();
}

static void failed_attempt_is_written_first(void)
{
	uint64_t number;

	begin_with_one();
	nack(1, 1, 5000, 3);
	CHECK_EQ(asked.written, 1);
	CHECK_EQ(asked.copies[0].attempts, 1);
	CHECK_EQ(asked.copies[0].due_ms, now.wall_ms + 5000);
	CHECK(!asked.copies[0].renewal);
	CHECK_EQ(asked.acked, 0);
	CHECK_EQ(held_backlog(held).retrying, 1);
	check_stale(settle_of(1, 1, SETTLE_ACK));
	number = asked.copies[0].number;
	written(number, HELD_REFUSED);
	CHECK_EQ(asked.written, 0);
	CHECK_EQ(held_next_ms(held, now), now.steady_ms + HELD_AGAIN_MS);
	pass_ms(HELD_AGAIN_MS);
	CHECK_EQ(asked.written, 1);
	written(asked.copies[0].number, HELD_DOUBT);
	pass_ms(HELD_AGAIN_MS);
	CHECK_EQ(asked.written, 1);
	CHECK_EQ(asked.copies[0].attempts, 1);
	written(asked.copies[0].number, HELD_WRITTEN);
	check_acks(1);
	CHECK_EQ(asked.answered, 0);
	pass_barrier();
	CHECK_EQ(asked.answered, 1);
	CHECK_EQ(asked.code, CODE_OK);
	arrive_due(2, 1, 1, now.wall_ms);
	run();
	CHECK_EQ(asked.deliveries[0].attempt, 2);
	end();
}

static void rejected_comes_for_its_copy(void)
{
	begin_with_one();
	settle(1, 1, SETTLE_REJECT, 4);
	CHECK_EQ(asked.answered, 1);
	CHECK_EQ(asked.delivered, 0); // there is demand, but for others
	CHECK_EQ(held_backlog(held).in_flight, 1);
	held_demand(held, 0, 0, 1, now);
	run();
	CHECK_EQ(asked.delivered, 1);
	CHECK(asked.deliveries[0].rejected);
	CHECK_EQ(asked.deliveries[0].attempt, 2);
	check_stale(settle_of(1, 2, SETTLE_NACK));
	check_stale(settle_of(1, 2, SETTLE_REJECT));
	settle(1, 2, SETTLE_RELEASE, 0);
	held_demand(held, 0, 0, 1, now);
	run();
	CHECK(asked.deliveries[0].rejected);
	settle(1, 2, SETTLE_DEAD, 5);
	check_acks(1);
	pass_barrier();
	CHECK_EQ(asked.answers[0], 5);
	CHECK_EQ(held_backlog(held).dead, 1);
	end();
}

// ---- times

static void waits_until_it_is_due(void)
{
	uint64_t due_ms;

	begin();
	demand(100);
	due_ms = now.wall_ms + HELD_NEAR_MS;
	arrive_due(1, 1, 0, due_ms);
	run();
	CHECK_EQ(asked.delivered, 0);
	CHECK_EQ(held_backlog(held).delayed, 1);
	CHECK_EQ(held_next_ms(held, now), now.steady_ms + HELD_NEAR_MS);
	pass_ms(HELD_NEAR_MS - 1);
	CHECK_EQ(asked.delivered, 0);
	now.wall_ms += 1; // set forward
	run();
	CHECK_EQ(asked.delivered, 1);
	end();
}

static void delay_is_not_shortened_by_the_wall_clock(void)
{
	begin();
	demand(100);
	arrive_due(1, 1, 2, now.wall_ms + 1000);
	now.wall_ms += 3600000;
	run();
	CHECK_EQ(asked.delivered, 0);
	CHECK_EQ(held_backlog(held).retrying, 1);
	now.wall_ms -= 7200000;
	pass_ms(999);
	CHECK_EQ(asked.delivered, 0);
	pass_ms(1);
	CHECK_EQ(asked.delivered, 1);
	settle(asked.deliveries[0].offset, 3, SETTLE_RELEASE, 0);
	CHECK_EQ(asked.delivered, 1); // it has waited, whatever the wall clock shows now
	end();
}

static void due_later_is_written_back(void)
{
	uint64_t due_ms;

	begin();
	demand(100);
	due_ms = now.wall_ms + HELD_NEAR_MS + 1000;
	arrive_due(1, 1, 0, due_ms);
	run();
	CHECK_EQ(asked.written, 1);
	CHECK_EQ(asked.copies[0].due_ms, due_ms);
	CHECK_EQ(asked.copies[0].attempts, 0);
	CHECK_EQ(held_backlog(held).delayed, 1);
	written(asked.copies[0].number, HELD_REFUSED);
	pass_ms(1000); // now it is near enough
	CHECK_EQ(asked.written, 0);
	pass_ms(HELD_NEAR_MS);
	CHECK_EQ(asked.delivered, 1);
	arrive_due(2, 2, 0, now.wall_ms + HELD_NEAR_MS + 1);
	run();
	written(asked.copies[0].number, HELD_WRITTEN);
	check_acks(2);
	end();
}

static void clock_that_is_set_back_writes_it_back(void)
{
	begin();
	arrive_due(1, 1, 0, now.wall_ms + HELD_NEAR_MS);
	arrive_due(2, 2, 1, now.wall_ms + HELD_NEAR_MS); // a delay: it runs on
	run();
	CHECK_EQ(asked.written, 0);
	now.wall_ms -= 1;
	run();
	CHECK_EQ(asked.written, 1);
	CHECK_EQ(asked.copies[0].attempts, 0);
	CHECK_EQ(held_backlog(held).delayed, 1);
	CHECK_EQ(held_backlog(held).retrying, 1);
	end();
}

// Its copy has come before the confirmation: what is held now may be the copy.
static void copy_due_later_may_be_there_first(void)
{
	uint64_t due_ms, number;

	begin();
	due_ms = now.wall_ms + HELD_NEAR_MS + 1000;
	arrive_due(1, 1, 0, due_ms);
	run();
	number = asked.copies[0].number;
	arrive_due(2, 1, 0, due_ms);
	run();
	check_acks(1);
	written(number, HELD_WRITTEN);
	CHECK_EQ(asked.acked, 0);
	CHECK_EQ(asked.written, 1); // the copy is written back, too
	end();
}

static void expired_is_acknowledged(void)
{
	begin();
	arrive_message((struct message){.arrival = {.tag = 1}, .id = 1, .ttl_ms = 100});
	run();
	CHECK_EQ(held_backlog(held).ready, 1);
	now.wall_ms += 101;
	demand(100);
	CHECK_EQ(asked.delivered, 0);
	check_acks(1);
	pass_barrier();
	arrive_message((struct message){.arrival = {.tag = 2, .due_ms = now.wall_ms - 200},
					.id = 2,
					.due_ms = now.wall_ms - 200,
					.ttl_ms = 100});
	run();
	check_acks(2);
	CHECK_EQ(held_backlog(held).expired, 2);
	end();
}

// ---- two of one message

static void lesser_of_two_is_acknowledged(void)
{
	begin();
	arrive(1, 1, 2);
	arrive(2, 1, 1); // fewer attempts
	run();
	check_acks(2);
	pass_barrier();
	arrive(3, 1, 2); // the same: the later one is kept
	run();
	check_acks(1);
	pass_barrier();
	arrive(4, 1, 5); // more
	run();
	check_acks(3);
	demand(100);
	CHECK_EQ(asked.delivered, 1);
	CHECK_EQ(asked.deliveries[0].attempt, 6);
	end();
}

static void delivery_that_is_out_changes_its_tag(void)
{
	begin_with_one();
	arrive_due(2, 1, 1, now.wall_ms + 500);
	run();
	check_acks(1);
	pass_barrier();
	settle(1, 1, SETTLE_RELEASE, 0);
	CHECK_EQ(asked.delivered, 0); // the delay of what came
	pass_ms(500);
	CHECK_EQ(asked.deliveries[0].offset, 1);
	CHECK_EQ(asked.deliveries[0].attempt, 2);
	nack(1, 2, 0, 0);
	CHECK_EQ(asked.copies[0].attempts, 2);
	written(asked.copies[0].number, HELD_WRITTEN);
	check_acks(2);
	end();
}

static void released_is_due_later_by_its_copy(void)
{
	uint64_t due_ms;

	begin_with_one();
	due_ms = now.wall_ms + HELD_NEAR_MS + 1;
	arrive_due(2, 1, 1, due_ms);
	run();
	settle(1, 1, SETTLE_RELEASE, 0);
	CHECK_EQ(asked.delivered, 0);
	CHECK_EQ(asked.written, 1);
	CHECK_EQ(asked.copies[0].due_ms, due_ms);
	CHECK_EQ(asked.copies[0].attempts, 1);
	pass_ms(limits.renew_ms); // a write is not renewed
	CHECK_EQ(asked.written, 0);
	end();
}

static void copy_may_come_before_its_confirmation(void)
{
	uint64_t number;

	begin_with_one();
	nack(1, 1, 0, 3);
	number = asked.copies[0].number;
	arrive(2, 1, 1);
	run();
	check_acks(1);
	CHECK_EQ(asked.deliveries[0].attempt, 2);
	written(number, HELD_DOUBT); // it says nothing more
	CHECK_EQ(asked.written, 0);
	pass_barrier();
	CHECK_EQ(asked.answered, 1);
	end();
}

static void ended_is_not_handed_out_again(void)
{
	begin_with_one();
	settle(1, 1, SETTLE_ACK, 0);
	pass_barrier();
	arrive(2, 1, 3);
	run();
	CHECK_EQ(asked.delivered, 0);
	check_acks(2);
	end();
}

static void oldest_ids_are_forgotten(void)
{
	static const struct held_limits few = {
		.messages_max = 512, .bytes_max = 64u << 20, .ended_max = 2};

	begin_with(&few);
	demand(100);
	for (uint32_t i = 1; i <= 3; ++i)
		arrive(i, i, 0);
	run();
	settle_run(1, 3, 1, SETTLE_ACK, 0);
	pass_barrier();
	for (uint32_t i = 1; i <= 3; ++i)
		arrive(3 + i, i, 0);
	run();
	CHECK_EQ(asked.delivered, 1);
	CHECK_EQ(asked.acked, 2);
	end();
}

// ---- a channel that is lost

static void loss_voids_what_is_out(void)
{
	begin_with_one();
	arrive(2, 2, 0);
	run();
	settle(1, 1, SETTLE_REJECT, 0);
	lose();
	CHECK_EQ(asked.lost, 1);
	CHECK_EQ(held_bytes(held), 0);
	check_stale(settle_of(2, 1, SETTLE_ACK));
	open_channel();
	check_stale(settle_of(2, 1, SETTLE_ACK));
	arrive_again(11, 1, 0);
	run();
	CHECK_EQ(asked.lost, 0);
	CHECK_EQ(asked.deliveries[0].attempt, 1);
	CHECK_EQ(asked.deliveries[0].offset, 1);
	end();
}

static void ended_comes_again_after_a_loss(void)
{
	begin_with_one();
	settle(1, 1, SETTLE_ACK, 6);
	lose();
	CHECK_EQ(asked.answered, 0);
	open_channel();
	arrive_again(11, 1, 0);
	run();
	CHECK_EQ(asked.delivered, 0);
	check_acks(11);
	pass_barrier();
	CHECK_EQ(asked.answers[0], 6);
	CHECK_EQ(asked.code, CODE_OK);
	end();
}

static void something_new_shows_that_nothing_is_given_back(void)
{
	begin_with_one();
	settle(1, 1, SETTLE_ACK, 6);
	lose();
	open_channel();
	arrive_again(11, 2, 0);
	run();
	CHECK_EQ(asked.answered, 0);
	arrive(12, 3, 0);
	run();
	CHECK_EQ(asked.answers[0], 6);
	CHECK_EQ(asked.code, CODE_OK);
	end();
}

static void idle_consumer_shows_it_too(void)
{
	begin_with_one();
	settle(1, 1, SETTLE_ACK, 6);
	lose();
	demand(0);
	pass_ms(HELD_QUIET_MS);
	open_channel();
	run();
	CHECK(asked.prefetch > 0);
	CHECK_EQ(held_next_ms(held, now), now.steady_ms + HELD_PROOF_MS);
	pass_ms(HELD_PROOF_MS - 1);
	CHECK_EQ(asked.answered, 0);
	arrive_again(11, 2, 0); // it is not idle
	pass_ms(1);
	CHECK_EQ(asked.answered, 0);
	pass_ms(HELD_PROOF_MS - 1);
	CHECK_EQ(asked.answered, 0);
	pass_ms(1);
	CHECK_EQ(asked.answered, 1);
	end();
}

static void write_outlives_the_channel(void)
{
	uint64_t number;

	begin_with_one();
	nack(1, 1, 0, 8);
	number = asked.copies[0].number;
	lose();
	open_channel();
	arrive_again(11, 1, 0); // its original is not handed out meanwhile
	run();
	CHECK_EQ(asked.delivered, 0);
	written(number, HELD_WRITTEN);
	check_acks(11);
	pass_barrier();
	CHECK_EQ(asked.answers[0], 8);
	CHECK_EQ(asked.code, CODE_OK);
	end();
}

static void write_that_fails_after_a_loss_is_given_up(void)
{
	uint64_t number;

	begin_with_one();
	nack(1, 1, 0, 8);
	number = asked.copies[0].number;
	lose();
	written(number, HELD_REFUSED);
	CHECK_EQ(asked.answers[0], 8);
	CHECK_EQ(asked.code, CODE_CONNECTION_LOST);
	open_channel();
	arrive_again(11, 1, 0);
	run();
	CHECK_EQ(asked.deliveries[0].attempt, 1);
	end();
}

static void anonymous_is_given_up_at_a_loss(void)
{
	begin();
	demand(100);
	arrive_message((struct message){.arrival = {.tag = 1, .anonymous = true}, .id = 1});
	run();
	settle(1, 1, SETTLE_ACK, 9);
	lose();
	CHECK_EQ(asked.answers[0], 9);
	CHECK_EQ(asked.code, CODE_CONNECTION_LOST);
	end();
}

// ---- renewal

static void begin_renewed(void)
{
	begin_with_one();
	pass_ms(limits.renew_ms - 1);
	CHECK_EQ(asked.written, 0);
	pass_ms(1);
	CHECK_EQ(asked.written, 1);
	CHECK(asked.copies[0].renewal);
	CHECK_EQ(asked.copies[0].attempts, 0);
}

static void renewal_changes_the_tag_alone(void)
{
	begin_renewed();
	written(asked.copies[0].number, HELD_WRITTEN);
	check_acks(1);
	pass_barrier();
	CHECK_EQ(held_backlog(held).in_flight, 1);
	CHECK_EQ(held_backlog(held).twice, 1);
	arrive(2, 1, 0);
	run();
	CHECK_EQ(asked.delivered, 0);
	CHECK_EQ(asked.acked, 0);
	CHECK_EQ(held_backlog(held).twice, 0);
	settle(1, 1, SETTLE_ACK, 2);
	check_acks(2);
	end();
}

static void renewal_that_fails_is_tried_again(void)
{
	begin_renewed();
	written(asked.copies[0].number, HELD_REFUSED);
	CHECK_EQ(asked.written, 0);
	pass_ms(limits.renew_ms / 16);
	CHECK_EQ(asked.written, 1);
	end();
}

static void ack_waits_for_its_renewal(void)
{
	uint64_t number;

	begin_renewed();
	number = asked.copies[0].number;
	settle(1, 1, SETTLE_ACK, 2);
	CHECK_EQ(asked.acked, 0);
	written(number, HELD_WRITTEN);
	check_acks(1);
	pass_barrier();
	CHECK_EQ(asked.answered, 0); // its copy would come again
	arrive(2, 1, 0);
	run();
	CHECK_EQ(asked.delivered, 0);
	check_acks(2);
	pass_barrier();
	CHECK_EQ(asked.answered, 1);
	end();
}

static void copy_may_come_before_the_renewal_of_what_has_ended(void)
{
	uint64_t number;

	begin_renewed();
	number = asked.copies[0].number;
	settle(1, 1, SETTLE_ACK, 2);
	arrive(2, 1, 0);
	run();
	check_acks(1);
	pass_barrier();
	written(number, HELD_WRITTEN);
	check_acks(2);
	pass_barrier();
	CHECK_EQ(asked.answered, 1);
	end();
}

static void nack_waits_for_its_renewal(void)
{
	uint64_t number;

	begin_renewed();
	number = asked.copies[0].number;
	nack(1, 1, 0, 2);
	CHECK_EQ(asked.written, 0);
	written(number, HELD_REFUSED);
	CHECK_EQ(asked.written, 1);
	CHECK_EQ(asked.copies[0].attempts, 1);
	end();
}

static void release_waits_for_its_renewal(void)
{
	uint64_t number;

	begin_renewed();
	number = asked.copies[0].number;
	arrive_due(2, 1, 1, now.wall_ms + HELD_NEAR_MS + 1);
	settle(1, 1, SETTLE_RELEASE, 0);
	CHECK_EQ(asked.written, 0);
	written(number, HELD_WRITTEN);
	CHECK_EQ(asked.written, 1);
	CHECK_EQ(asked.copies[0].attempts, 1);
	end();
}

// The copy says what is known here: its last attempt has ended.
static void rejected_is_renewed_with_its_attempt(void)
{
	begin_with_one();
	settle(1, 1, SETTLE_REJECT, 0);
	pass_ms(limits.renew_ms);
	CHECK_EQ(asked.copies[0].attempts, 1);
	written(asked.copies[0].number, HELD_WRITTEN);
	pass_barrier();
	held_demand(held, 0, 0, 1, now);
	run();
	CHECK(asked.deliveries[0].rejected);
	settle(1, 2, SETTLE_DEAD, 2);
	CHECK_EQ(asked.acked, 0);
	arrive(2, 1, 1);
	run();
	check_acks(2);
	pass_barrier();
	CHECK_EQ(asked.answers[0], 2);
	end();
}

// An older copy of the message is still to come when the newer one has passed.
static void end_waits_for_all_deliveries_of_a_message(void)
{
	uint64_t number;

	begin_renewed();
	written(asked.copies[0].number, HELD_WRITTEN);
	pass_barrier();
	nack(1, 1, 0, 2);
	number = asked.copies[0].number;
	arrive(3, 1, 1); // the failed attempt's copy overtakes the renewal's
	run();
	CHECK_EQ(asked.deliveries[0].attempt, 2);
	settle(asked.deliveries[0].offset, 2, SETTLE_ACK, 3);
	pass_barrier();
	written(number, HELD_WRITTEN);
	CHECK_EQ(asked.answered, 0);
	arrive(4, 1, 0);
	run();
	check_acks(4);
	pass_barrier();
	CHECK_EQ(asked.answered, 2);
	end();
}

static void copy_may_come_before_its_renewal_is_confirmed(void)
{
	uint64_t number;

	begin_renewed();
	number = asked.copies[0].number;
	arrive(2, 1, 0);
	run();
	check_acks(1);
	pass_barrier();
	written(number, HELD_WRITTEN);
	CHECK_EQ(asked.acked, 0); // what is held is the copy
	end();
}

// ---- how much is consumed

static void consumes_while_there_is_demand(void)
{
	begin();
	pass_ms(HELD_QUIET_MS);
	CHECK_EQ(asked.consumes, 0);
	demand(1);
	CHECK_EQ(asked.prefetch, 32); // the size of none is known
	arrive(1, 1, 0);
	run();
	pass_ms(HELD_QUIET_MS - 1);
	CHECK_EQ(asked.consumes, 0);
	pass_ms(1);
	CHECK_EQ(asked.consumes, 1);
	CHECK_EQ(asked.prefetch, 0);
	demand(1);
	CHECK_EQ(asked.consumes, 0); // not before it is cancelled
	held_cancelled(held, epoch);
	run();
	CHECK(asked.prefetch > 0);
	end();
}

static void bytes_bound_the_prefetch(void)
{
	static const struct held_limits small = {
		.messages_max = 512, .bytes_max = 400, .ended_max = 16};

	begin_with(&small);
	demand(1);
	CHECK(asked.prefetch > 0);
	for (uint32_t i = 1; i <= 5; ++i)
		arrive(i, i, 0);
	run();
	CHECK(held_bytes(held) > small.bytes_max);
	CHECK_EQ(asked.consumes, 1);
	CHECK_EQ(asked.prefetch, 0);
	held_cancelled(held, epoch);
	demand(100);
	CHECK_EQ(asked.consumes, 0);
	settle_run(1, 5, 1, SETTLE_ACK, 0);
	pass_barrier();
	CHECK_EQ(asked.prefetch, 400 / (RECORD_HEAD_SIZE + BODY));
	end();
}

static void crowd_does_not_let_it_grow(void)
{
	begin();
	held_crowd(held, true);
	demand(100);
	CHECK_EQ(asked.prefetch, 1);
	held_crowd(held, false);
	run();
	CHECK_EQ(asked.prefetch, 0);
	held_cancelled(held, epoch);
	run();
	CHECK_EQ(asked.prefetch, 32);
	end();
}

// ---- memory and ends

static void without_memory_the_channel_goes(void)
{
	struct settle ack = settle_of(1, 1, SETTLE_ACK);

	begin();
	demand(100);
	allocations_left = 1; // the member, and not its id
	arrive(1, 1, 0);
	allocations_left = UINT32_MAX;
	arrive(2, 2, 0);
	run();
	CHECK_EQ(asked.reopens, 1);
	CHECK_EQ(asked.delivered, 0);
	run();
	CHECK_EQ(asked.reopens, 0);
	lose();
	open_channel();
	arrive_again(11, 1, 0);
	run();
	CHECK_EQ(asked.delivered, 1);
	ack.epoch = epoch;
	allocations_left = 0;
	CHECK_EQ(held_settle(held, &ack, 1, on_done, NULL, now), -ENOMEM);
	allocations_left = UINT32_MAX;
	CHECK_EQ(ack.settled, 1);
	run();
	check_acks(11);
	end();
}

static void close_ends_what_is_settled(void)
{
	uint64_t number;

	begin();
	demand(3);
	for (uint32_t i = 1; i <= 4; ++i)
		arrive(i, i, 0);
	run();
	nack(1, 1, 0, 1);
	number = asked.copies[0].number;
	settle(2, 1, SETTLE_ACK, 2);
	held_close(held);
	CHECK_EQ(held_backlog(held).in_flight, 0);
	check_stale(settle_of(3, 1, SETTLE_ACK));
	arrive(5, 5, 0);
	run();
	CHECK_EQ(asked.closed, 0);
	CHECK_EQ(asked.delivered, 0);
	pass_barrier();
	CHECK_EQ(asked.answers[0], 2);
	CHECK_EQ(asked.closed, 0);
	written(number, HELD_WRITTEN);
	check_acks(1);
	pass_barrier();
	CHECK_EQ(asked.answers[0], 1);
	CHECK_EQ(asked.closed, 1);
	run();
	CHECK_EQ(asked.closed, 0);
	end();
}

static void close_writes_once(void)
{
	uint64_t number;

	begin_with_one();
	nack(1, 1, 0, 1);
	number = asked.copies[0].number;
	held_close(held);
	written(number, HELD_REFUSED);
	CHECK_EQ(asked.code, CODE_CONNECTION_LOST);
	CHECK_EQ(asked.acked, 0); // it comes again
	CHECK_EQ(asked.closed, 1);
	end();
}

static void close_does_not_wait_for_limbo(void)
{
	begin_with_one();
	settle(1, 1, SETTLE_ACK, 1);
	lose();
	held_close(held);
	run();
	CHECK_EQ(asked.code, CODE_CONNECTION_LOST);
	CHECK_EQ(asked.answered, 1);
	CHECK_EQ(asked.closed, 1);
	end();
}

static void keeps_to_its_table(void)
{
	const uint64_t moves = STATE_TABLE_MOVES(HELD_STATES);

	begin();
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
	end();
}

UNIT_MAIN(UNIT_CASE(goes_out_against_demand), UNIT_CASE(released_keeps_its_place),
	  UNIT_CASE(due_goes_before_new), UNIT_CASE(settles_name_one_delivery),
	  UNIT_CASE(acks_go_in_batches), UNIT_CASE(failed_attempt_is_written_first),
	  UNIT_CASE(rejected_comes_for_its_copy), UNIT_CASE(waits_until_it_is_due),
	  UNIT_CASE(delay_is_not_shortened_by_the_wall_clock), UNIT_CASE(due_later_is_written_back),
	  UNIT_CASE(clock_that_is_set_back_writes_it_back),
	  UNIT_CASE(copy_due_later_may_be_there_first), UNIT_CASE(expired_is_acknowledged),
	  UNIT_CASE(lesser_of_two_is_acknowledged), UNIT_CASE(delivery_that_is_out_changes_its_tag),
	  UNIT_CASE(released_is_due_later_by_its_copy),
	  UNIT_CASE(copy_may_come_before_its_confirmation),
	  UNIT_CASE(ended_is_not_handed_out_again), UNIT_CASE(oldest_ids_are_forgotten),
	  UNIT_CASE(loss_voids_what_is_out), UNIT_CASE(ended_comes_again_after_a_loss),
	  UNIT_CASE(something_new_shows_that_nothing_is_given_back),
	  UNIT_CASE(idle_consumer_shows_it_too), UNIT_CASE(write_outlives_the_channel),
	  UNIT_CASE(write_that_fails_after_a_loss_is_given_up),
	  UNIT_CASE(anonymous_is_given_up_at_a_loss), UNIT_CASE(renewal_changes_the_tag_alone),
	  UNIT_CASE(renewal_that_fails_is_tried_again), UNIT_CASE(ack_waits_for_its_renewal),
	  UNIT_CASE(copy_may_come_before_the_renewal_of_what_has_ended),
	  UNIT_CASE(nack_waits_for_its_renewal), UNIT_CASE(release_waits_for_its_renewal),
	  UNIT_CASE(rejected_is_renewed_with_its_attempt),
	  UNIT_CASE(end_waits_for_all_deliveries_of_a_message),
	  UNIT_CASE(copy_may_come_before_its_renewal_is_confirmed),
	  UNIT_CASE(consumes_while_there_is_demand), UNIT_CASE(bytes_bound_the_prefetch),
	  UNIT_CASE(crowd_does_not_let_it_grow), UNIT_CASE(without_memory_the_channel_goes),
	  UNIT_CASE(close_ends_what_is_settled), UNIT_CASE(close_writes_once),
	  UNIT_CASE(close_does_not_wait_for_limbo), UNIT_CASE(keeps_to_its_table))
