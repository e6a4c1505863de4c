// proxy/dispatch over a source that keeps no positions: what is lost comes again in another epoch,
// offsets are counted anew, and what has failed comes under another one. And proxy/suspects.
//
// The test is the source. It says what arrives, and looks at what is handed out and at what is
// settled.

#include "proxy/engine/dispatch.h"
#include "proxy/engine/suspects.h"
#include "tests/unit/unit.h"

enum { CONSUMERS = 3, KEPT = 256, RECORD = 64, MESSAGES = 64, IN_FLIGHT_MAX = 100 };

static struct bench {
	struct dispatch *dispatch;
	struct dispatch_consumer consumers[CONSUMERS];
	uint64_t epoch, now_ns;
	struct buf *buf; // of all records
	struct handed {
		const struct dispatch_consumer *consumer;
		struct delivery delivery;
		uint32_t flags;
	} handed[KEPT];
	size_t handed_count;
	struct settle settled[KEPT]; // one for each message
	size_t settled_count;
	uint32_t demand, silent;
	size_t lost_requests;
} m;

static void on_deliver(void *ctx, struct dispatch_consumer *consumer,
		       const struct delivery *deliveries, size_t count, uint32_t flags)
{
	for (size_t i = 0; i < count; ++i) {
		CHECK(m.handed_count < KEPT);
		m.handed[m.handed_count++] = (struct handed){consumer, deliveries[i], flags};
	}
}

static void on_silent(void *ctx, struct dispatch_consumer *consumer)
{
	++m.silent;
}

static void on_drained(void *ctx, struct dispatch_consumer *consumer, uint64_t number)
{
}

static void on_settle(void *ctx, struct settle *settles, size_t count, void *request)
{
	for (size_t i = 0; i < count; ++i) {
		for (uint32_t k = 0; k < settles[i].count; ++k) {
			struct settle one = settles[i];

			CHECK(m.settled_count < KEPT);
			one.offset += k;
			m.settled[m.settled_count++] = one;
		}
	}
}

static void on_demand(void *ctx, uint32_t messages, uint64_t bytes, uint32_t rejected)
{
	m.demand = messages;
}

static void on_copy_dead_letter(void *ctx, const struct delivery *delivery,
				enum dispatch_reason reason, uint32_t attempts)
{
}

static void on_release_request(void *ctx, void *request, bool lost)
{
	m.lost_requests += lost;
}

static size_t on_charge(void *ctx, const struct delivery *deliveries, size_t count, uint64_t now_ns,
			uint64_t *ret_retry_ns)
{
	return count;
}

static uint64_t on_ready(void *ctx)
{
	return 0;
}

static const struct dispatch_ops ops = {.deliver = on_deliver,
					.silent = on_silent,
					.drained = on_drained,
					.settle = on_settle,
					.demand = on_demand,
					.copy_dead_letter = on_copy_dead_letter,
					.release_request = on_release_request,
					.charge = on_charge,
					.ready = on_ready};

// ---- the bench

static void start(uint8_t mode)
{
	struct dispatch_policy policy = {.visibility_ns = S_NS,
					 .in_flight_max = IN_FLIGHT_MAX,
					 .max_attempts = 3,
					 .mode = mode,
					 .dead_letter = true,
					 .marks_by_id = true};

	memset(&m, 0, sizeof m);
	m.epoch = 1;
	m.now_ns = S_NS;
	CHECK_EQ(buf_new(MESSAGES * RECORD, &m.buf), 0);
	for (uint8_t i = 0; i < MESSAGES; ++i) {
		memset(m.buf->data + (size_t)i * RECORD, 0, RECORD);
		m.buf->data[(size_t)i * RECORD + 8] = i + 1; // the first byte of its id
	}
	CHECK_EQ(dispatch_new(&policy, &ops, NULL, &m.dispatch), 0);
}

static void join(unsigned at, bool tells_begun)
{
	CHECK_EQ(dispatch_join(m.dispatch, &m.consumers[at], tells_begun, m.now_ns), 0);
}

static void credit(unsigned at, uint64_t messages)
{
	dispatch_credit(m.dispatch, &m.consumers[at], messages, 1u << 20, 0, m.now_ns);
}

static void leave(unsigned at, enum dispatch_leave why)
{
	dispatch_leave(m.dispatch, &m.consumers[at], why, m.now_ns);
}

static void stop(void)
{
	dispatch_free(m.dispatch);
	CHECK_EQ(m.buf->refs, 1);
	buf_unref(m.buf);
}

static void arrive_as(unsigned message, uint64_t offset, uint32_t attempt)
{
	struct delivery delivery = {.offset = offset,
				    .epoch = m.epoch,
				    .record = m.buf->data + (size_t)message * RECORD,
				    .size = RECORD,
				    .attempt = attempt,
				    .buf = m.buf};

	m.demand -= MIN(m.demand, 1u); // tests that need none are not about it
	dispatch_arrived(m.dispatch, &delivery, 1, m.now_ns);
}

static void arrive(uint64_t offset, uint32_t attempt)
{
	arrive_as((unsigned)offset, offset, attempt);
}

static void lose(void)
{
	dispatch_source_lost(m.dispatch, m.now_ns);
	++m.epoch;
}

static const struct handed *last_handed(void)
{
	CHECK(m.handed_count > 0);
	return &m.handed[m.handed_count - 1];
}

static const struct settle *last_settled(void)
{
	CHECK(m.settled_count > 0);
	return &m.settled[m.settled_count - 1];
}

// What is sent for `count` messages that were handed out one after the other.
static enum code settle(unsigned at, const struct handed *first, uint32_t count,
			enum settle_verb verb)
{
	struct settle settle = {.epoch = first->delivery.epoch,
				.offset = first->delivery.offset,
				.count = count,
				.attempt = first->delivery.attempt,
				.verb = (uint8_t)verb};

	dispatch_settle(m.dispatch, &m.consumers[at], &settle, 1, NULL, m.now_ns);
	CHECK(settle.code == CODE_OK || settle.settled < count);
	return settle.code;
}

// ---- epochs

// The same offset and attempt, and the same consumer: the epoch alone tells the two apart.
static void a_receipt_of_an_earlier_epoch_settles_nothing(void)
{
	static const enum settle_verb verbs[] = {SETTLE_ACK, SETTLE_NACK, SETTLE_REJECT,
						 SETTLE_RELEASE, SETTLE_EXTEND};
	struct handed earlier;

	start(GROUP_SHARED);
	join(0, false);
	credit(0, 10);
	arrive(1, 1);
	earlier = *last_handed();
	lose();
	arrive(1, 1);
	CHECK_EQ(m.handed_count, 2);
	for (size_t i = 0; i < ARRAY_SIZE(verbs); ++i) {
		CHECK_EQ(settle(0, &earlier, 1, verbs[i]), CODE_STALE);
		CHECK_EQ(m.settled_count, 0);
		CHECK_EQ(dispatch_in_flight(m.dispatch), 1);
	}
	CHECK_EQ(settle(0, last_handed(), 1, SETTLE_ACK), CODE_OK);
	CHECK_EQ(last_settled()->epoch, m.epoch);
	leave(0, DISPATCH_ENDED);
	stop();
}

// Before anything of the new epoch has come, too.
static void a_receipt_is_stale_as_soon_as_the_source_has_lost(void)
{
	start(GROUP_SHARED);
	join(0, false);
	credit(0, 10);
	arrive(1, 1);
	lose();
	CHECK_EQ(settle(0, last_handed(), 1, SETTLE_ACK), CODE_STALE);
	CHECK_EQ(m.settled_count, 0);
	leave(0, DISPATCH_ENDED);
	stop();
}

// What a settle says to the source is of its own delivery, whatever has arrived meanwhile.
static void a_settle_carries_the_epoch_of_its_delivery(void)
{
	struct handed first;

	start(GROUP_SHARED);
	join(0, false);
	credit(0, 10);
	arrive(1, 1);
	first = *last_handed();
	++m.epoch;
	arrive(2, 1);
	CHECK_EQ(settle(0, &first, 2, SETTLE_ACK), CODE_STALE); // one of them is of this epoch
	CHECK_EQ(m.settled_count, 1);
	CHECK_EQ(last_settled()->offset, 1);
	CHECK_EQ(last_settled()->epoch, m.epoch - 1);
	arrive(3, 1);
	leave(0, DISPATCH_ENDED);
	CHECK_EQ(m.settled_count, 3);
	CHECK_EQ(m.settled[1].epoch, m.epoch);
	CHECK_EQ(m.settled[2].epoch, m.epoch);
	stop();
}

// The entry of a run ends where the epoch does.
static void runs_end_with_their_epoch(void)
{
	start(GROUP_SHARED);
	join(0, false);
	credit(0, 10);
	arrive(1, 1);
	++m.epoch;
	arrive(2, 1);
	leave(0, DISPATCH_ENDED);
	CHECK_EQ(m.settled_count, 2);
	for (size_t i = 0; i < 2; ++i)
		CHECK_EQ(m.settled[i].epoch, m.settled[i].offset);
	stop();
}

static void a_timeout_carries_the_epoch_of_its_delivery(void)
{
	start(GROUP_SHARED);
	join(0, false);
	credit(0, 10);
	arrive(1, 1);
	m.now_ns += S_NS / 2;
	++m.epoch;
	arrive(2, 1);
	m.now_ns += S_NS / 2 + 20 * MS_NS;
	dispatch_tick(m.dispatch, m.now_ns);
	CHECK_EQ(m.settled_count, 1);
	CHECK_EQ(last_settled()->verb, SETTLE_NACK);
	CHECK_EQ(last_settled()->epoch, m.epoch - 1);
	leave(0, DISPATCH_ENDED);
	stop();
}

// ---- suspects

static void check_last(uint64_t offset, uint32_t attempt, uint32_t flags)
{
	CHECK_EQ(last_handed()->delivery.offset, offset);
	CHECK_EQ(last_handed()->delivery.attempt, attempt);
	CHECK_EQ(last_handed()->flags, flags);
}

// A consumer takes message 7 and dies of it.
static void make_suspect(void)
{
	start(GROUP_SHARED);
	join(0, false);
	credit(0, 1);
	arrive_as(7, 1, 1);
	check_last(1, 1, 0);
	leave(0, DISPATCH_LOST);
	CHECK_EQ(last_settled()->verb, SETTLE_RELEASE);
	CHECK_EQ(dispatch_suspects(m.dispatch), 1);
	CHECK_EQ(dispatch_in_flight(m.dispatch), 0);
	join(0, false);
	credit(0, 50);
}

static void end_suspect(void)
{
	CHECK_EQ(dispatch_suspects(m.dispatch), 0);
	leave(0, DISPATCH_ENDED);
	stop();
}

static void arrive_rejected(unsigned message, uint64_t offset, uint32_t attempt)
{
	struct delivery delivery = {.offset = offset,
				    .epoch = m.epoch,
				    .record = m.buf->data + (size_t)message * RECORD,
				    .size = RECORD,
				    .attempt = attempt,
				    .rejected = true,
				    .buf = m.buf};

	dispatch_arrived(m.dispatch, &delivery, 1, m.now_ns);
}

static void copy_rejected(unsigned message, uint64_t offset, uint32_t attempt)
{
	arrive_rejected(message, offset, attempt);
	dispatch_dead_letter_copied(m.dispatch, m.epoch, 0, offset, m.now_ns);
	CHECK_EQ(last_settled()->verb, SETTLE_DEAD);
}

static void a_released_suspect_is_one(void)
{
	make_suspect();
	arrive_as(7, 1, 1);
	check_last(1, 1, DISPATCH_FLAG_SUSPECT);
	CHECK_EQ(settle(0, last_handed(), 1, SETTLE_RELEASE), CODE_OK);
	arrive_as(7, 1, 1);
	check_last(1, 1, DISPATCH_FLAG_SUSPECT);
	CHECK_EQ(settle(0, last_handed(), 1, SETTLE_ACK), CODE_OK);
	end_suspect();
}

// Under another offset each time; the one it had may be another message's by then.
static void a_nacked_suspect_is_one(void)
{
	make_suspect();
	arrive_as(7, 1, 1);
	CHECK_EQ(settle(0, last_handed(), 1, SETTLE_NACK), CODE_OK);
	arrive_as(3, 1, 1);
	check_last(1, 1, 0);
	CHECK_EQ(settle(0, last_handed(), 1, SETTLE_ACK), CODE_OK);
	arrive_as(7, 9, 2);
	check_last(9, 2, DISPATCH_FLAG_SUSPECT);
	leave(0, DISPATCH_LOST); // a suspect: now it counts
	CHECK_EQ(last_settled()->verb, SETTLE_NACK);
	CHECK_EQ(last_settled()->attempt, 2);
	join(0, false);
	credit(0, 50);
	arrive_as(7, 10, 3);
	check_last(10, 3, DISPATCH_FLAG_SUSPECT | DISPATCH_FLAG_LAST);
	CHECK_EQ(settle(0, last_handed(), 1, SETTLE_NACK), CODE_OK);
	CHECK_EQ(last_settled()->verb, SETTLE_REJECT);
	copy_rejected(7, 10, 4);
	end_suspect();
}

static void a_suspect_outlives_a_loss_of_the_source(void)
{
	make_suspect();
	arrive_as(7, 1, 1);
	lose();
	CHECK_EQ(dispatch_suspects(m.dispatch), 1);
	arrive_as(3, 1, 1);
	check_last(1, 1, 0);
	CHECK_EQ(settle(0, last_handed(), 1, SETTLE_ACK), CODE_OK);
	arrive_as(7, 2, 1);
	check_last(2, 1, DISPATCH_FLAG_SUSPECT);
	leave(0, DISPATCH_LOST);
	CHECK_EQ(last_settled()->verb, SETTLE_NACK);
	join(0, false);
	credit(0, 50);
	arrive_as(7, 3, 2);
	check_last(3, 2, DISPATCH_FLAG_SUSPECT);
	CHECK_EQ(settle(0, last_handed(), 1, SETTLE_ACK), CODE_OK);
	end_suspect();
}

// The same message sent once more, under the same id, begins without a mark.
static void a_mark_ends_with_its_message(void)
{
	make_suspect();
	arrive_as(7, 1, 1);
	CHECK_EQ(settle(0, last_handed(), 1, SETTLE_ACK), CODE_OK);
	arrive_as(7, 2, 1);
	check_last(2, 1, 0);
	CHECK_EQ(settle(0, last_handed(), 1, SETTLE_ACK), CODE_OK);
	end_suspect();
}

// When its copy is there: what is lost before comes again, and is a suspect still.
static void a_mark_ends_with_the_copy_of_a_rejection(void)
{
	make_suspect();
	arrive_as(7, 1, 1);
	CHECK_EQ(settle(0, last_handed(), 1, SETTLE_REJECT), CODE_OK);
	lose();
	arrive_as(7, 1, 1);
	check_last(1, 1, DISPATCH_FLAG_SUSPECT);
	CHECK_EQ(settle(0, last_handed(), 1, SETTLE_REJECT), CODE_OK);
	arrive_rejected(7, 1, 2);
	lose();
	arrive_as(7, 1, 1);
	check_last(1, 1, DISPATCH_FLAG_SUSPECT);
	CHECK_EQ(settle(0, last_handed(), 1, SETTLE_REJECT), CODE_OK);
	copy_rejected(7, 1, 2);
	end_suspect();
}

// Its attempts had ended at another owner.
static void a_mark_ends_with_a_dead_letter(void)
{
	make_suspect();
	arrive_as(7, 4, 4);
	CHECK_EQ(m.handed_count, 1);
	dispatch_dead_letter_copied(m.dispatch, m.epoch, 0, 4, m.now_ns);
	CHECK_EQ(last_settled()->verb, SETTLE_DEAD);
	end_suspect();
}

static void a_mark_ends_with_the_source(void)
{
	make_suspect();
	dispatch_reset(m.dispatch);
	CHECK_EQ(dispatch_suspects(m.dispatch), 0);
	arrive_as(7, 1, 1);
	check_last(1, 1, 0);
	end_suspect();
}

// A consumer that does not tell what it begins gets a suspect alone.
static void a_suspect_waits_for_empty_hands(void)
{
	make_suspect();
	arrive_as(3, 2, 1);
	arrive_as(7, 1, 1);
	check_last(2, 1, 0);
	CHECK_EQ(settle(0, last_handed(), 1, SETTLE_ACK), CODE_OK);
	check_last(1, 1, DISPATCH_FLAG_SUSPECT);
	arrive_as(4, 3, 1);
	check_last(1, 1, DISPATCH_FLAG_SUSPECT);
	CHECK_EQ(settle(0, last_handed(), 1, SETTLE_ACK), CODE_OK);
	check_last(3, 1, 0);
	end_suspect();
}

// What had not begun is no suspect, and what had is one.
static void only_what_had_begun_is_marked(void)
{
	start(GROUP_SHARED);
	join(0, true);
	credit(0, 9);
	for (uint64_t i = 1; i <= 4; ++i)
		arrive(i, 1);
	dispatch_heartbeat(m.dispatch, &m.consumers[0], 2, m.now_ns);
	leave(0, DISPATCH_LOST);
	CHECK_EQ(dispatch_suspects(m.dispatch), 2);
	lose();
	join(0, true);
	credit(0, 9);
	for (uint64_t i = 1; i <= 4; ++i) {
		arrive_as((unsigned)(5 - i), i, 1);
		check_last(i, 1, i > 2 ? DISPATCH_FLAG_SUSPECT : 0);
	}
	for (size_t i = m.handed_count - 4; i < m.handed_count; ++i) {
		struct settle one = {.epoch = m.epoch,
				     .offset = m.handed[i].delivery.offset,
				     .count = 1,
				     .attempt = 1,
				     .number = (uint32_t)m.handed[i].delivery.offset};

		dispatch_settle(m.dispatch, &m.consumers[0], &one, 1, NULL, m.now_ns);
		CHECK_EQ(one.code, CODE_OK);
	}
	end_suspect();
}

// ---- consumers over a loss

// What was given is spent, whatever became of it: the client counts deliveries as the proxy does.
static void credit_is_spent_once(void)
{
	start(GROUP_SHARED);
	join(0, true);
	credit(0, 3);
	for (uint64_t i = 1; i <= 3; ++i)
		arrive(i, 1);
	CHECK_EQ(m.demand, 0);
	lose();
	CHECK_EQ(m.demand, 0);
	CHECK_EQ(dispatch_in_flight(m.dispatch), 0);
	credit(0, 5);
	CHECK_EQ(m.demand, 2);
	arrive(1, 1);
	arrive(2, 1);
	CHECK_EQ(m.handed_count, 5);
	CHECK_EQ(m.demand, 0);
	leave(0, DISPATCH_ENDED);
	CHECK_EQ(m.settled_count, 2);
	stop();
}

// What it tells of void deliveries says nothing of those that come after the loss.
static void begins_of_void_deliveries_mark_nothing(void)
{
	start(GROUP_SHARED);
	join(0, true);
	credit(0, 9);
	arrive(1, 1);
	arrive(2, 1);
	lose();
	arrive(1, 1);
	dispatch_heartbeat(m.dispatch, &m.consumers[0], 2, m.now_ns);
	leave(0, DISPATCH_LOST);
	CHECK_EQ(m.settled_count, 1);
	CHECK_EQ(last_settled()->verb, SETTLE_RELEASE);
	CHECK_EQ(dispatch_suspects(m.dispatch), 0);
	CHECK_EQ(dispatch_counters(m.dispatch)->lost, 0);
	stop();
}

static void an_exclusive_group_keeps_its_consumer(void)
{
	start(GROUP_EXCLUSIVE);
	join(0, false);
	credit(0, 9);
	arrive(1, 1);
	lose();
	CHECK_EQ(dispatch_join(m.dispatch, &m.consumers[1], false, m.now_ns), DISPATCH_E_IN_USE);
	arrive(1, 1);
	CHECK(last_handed()->consumer == &m.consumers[0]);
	CHECK_EQ(settle(0, last_handed(), 1, SETTLE_ACK), CODE_OK);
	leave(0, DISPATCH_ENDED);
	join(1, false);
	leave(1, DISPATCH_ENDED);
	stop();
}

// The next consumer's turn comes when the oldest leaves, not when the source has lost.
static void a_failover_group_serves_the_oldest(void)
{
	start(GROUP_FAILOVER);
	join(0, false);
	join(1, false);
	credit(0, 9);
	credit(1, 9);
	arrive(1, 1);
	lose();
	CHECK_EQ(m.demand, 8);
	arrive(1, 1);
	CHECK(last_handed()->consumer == &m.consumers[0]);
	CHECK_EQ(settle(1, last_handed(), 1, SETTLE_ACK), CODE_STALE);
	leave(0, DISPATCH_ENDED);
	CHECK_EQ(m.demand, 9);
	arrive(1, 1);
	CHECK(last_handed()->consumer == &m.consumers[1]);
	leave(1, DISPATCH_ENDED);
	stop();
}

// One that waited with a suspect, or for empty hands, has them: it is served again.
static void what_had_to_wait_is_served_again(void)
{
	make_suspect();
	arrive_as(7, 1, 1);
	CHECK_EQ(m.demand, 0); // it is alone with it
	lose();
	CHECK(m.demand > 0);
	arrive_as(3, 1, 1);
	check_last(1, 1, 0);
	arrive_as(7, 2, 1);
	check_last(1, 1, 0); // waits for empty hands
	lose();
	arrive_as(7, 1, 1);
	check_last(1, 1, DISPATCH_FLAG_SUSPECT);
	CHECK_EQ(settle(0, last_handed(), 1, SETTLE_ACK), CODE_OK);
	end_suspect();
}

// It holds nothing, so nothing is overdue, and it is not silent.
static void no_deadline_of_what_is_void_is_left(void)
{
	start(GROUP_SHARED);
	join(0, true);
	join(1, false);
	credit(0, 1);
	credit(1, 1);
	arrive(1, 1);
	arrive(2, 1);
	CHECK_EQ(dispatch_in_flight(m.dispatch), 2);
	lose();
	m.now_ns += 10 * S_NS;
	dispatch_tick(m.dispatch, m.now_ns);
	CHECK_EQ(m.settled_count, 0);
	CHECK_EQ(m.silent, 0);
	CHECK_EQ(dispatch_counters(m.dispatch)->timeouts, 0);
	CHECK_EQ(dispatch_next_ns(m.dispatch), UINT64_MAX);
	leave(0, DISPATCH_ENDED);
	leave(1, DISPATCH_ENDED);
	stop();
}

// One that stops holds nothing more, and gets nothing of what comes again.
static void a_stopped_consumer_gets_nothing_again(void)
{
	start(GROUP_SHARED);
	join(0, false);
	credit(0, 9);
	arrive(1, 1);
	dispatch_stop(m.dispatch, &m.consumers[0], m.now_ns);
	lose();
	CHECK_EQ(m.consumers[0].in_flight, 0);
	CHECK_EQ(m.demand, 0);
	arrive(1, 1);
	CHECK_EQ(m.handed_count, 1);
	leave(0, DISPATCH_ENDED);
	stop();
}

// The request of a rejection is told, and the message may be rejected again.
static void a_rejection_that_is_lost_may_be_repeated(void)
{
	struct settle reject = {
		.epoch = 1, .offset = 1, .count = 1, .attempt = 1, .verb = SETTLE_REJECT};
	int request;

	start(GROUP_SHARED);
	join(0, false);
	credit(0, 9);
	arrive(1, 1);
	CHECK_EQ(dispatch_settle(m.dispatch, &m.consumers[0], &reject, 1, &request, m.now_ns), 1);
	lose();
	CHECK_EQ(m.lost_requests, 1);
	arrive(1, 1);
	CHECK_EQ(m.handed_count, 2);
	reject.epoch = m.epoch;
	CHECK_EQ(dispatch_settle(m.dispatch, &m.consumers[0], &reject, 1, &request, m.now_ns), 1);
	copy_rejected(1, 1, 2);
	CHECK_EQ(m.lost_requests, 1);
	CHECK_EQ(dispatch_counters(m.dispatch)->dead, 1);
	leave(0, DISPATCH_ENDED);
	stop();
}

static const uint8_t *id_of(uint32_t number)
{
	static uint8_t id[RECORD_ID_SIZE];

	le32_put(id, number);
	return id;
}

// Marks of messages that ended without a word to the group make room for younger ones.
static void the_oldest_mark_goes(void)
{
	struct suspects suspects = {0};

	CHECK(!suspects_have(&suspects, id_of(1)));
	suspects_remove(&suspects, id_of(1));
	for (uint32_t i = 1; i <= SUSPECTS_MAX; ++i)
		CHECK_EQ(suspects_add(&suspects, id_of(i)), 0);
	CHECK_EQ(suspects.count, SUSPECTS_MAX);
	CHECK_EQ(suspects_add(&suspects, id_of(1)), 0); // the youngest again
	CHECK_EQ(suspects.count, SUSPECTS_MAX);
	CHECK_EQ(suspects_add(&suspects, id_of(SUSPECTS_MAX + 1)), 0);
	CHECK_EQ(suspects.count, SUSPECTS_MAX);
	CHECK(!suspects_have(&suspects, id_of(2)));
	for (uint32_t i = 1; i <= SUSPECTS_MAX + 1; ++i) {
		CHECK_EQ(suspects_have(&suspects, id_of(i)), i != 2);
		suspects_remove(&suspects, id_of(i));
		CHECK(!suspects_have(&suspects, id_of(i)));
	}
	CHECK_EQ(suspects.count, 0);
	CHECK_EQ(suspects_add(&suspects, id_of(5)), 0);
	suspects_clear(&suspects);
	CHECK(!suspects_have(&suspects, id_of(5)));
}

UNIT_MAIN(UNIT_CASE(a_receipt_of_an_earlier_epoch_settles_nothing),
	  UNIT_CASE(a_receipt_is_stale_as_soon_as_the_source_has_lost),
	  UNIT_CASE(a_settle_carries_the_epoch_of_its_delivery),
	  UNIT_CASE(runs_end_with_their_epoch),
	  UNIT_CASE(a_timeout_carries_the_epoch_of_its_delivery),
	  UNIT_CASE(a_released_suspect_is_one), UNIT_CASE(a_nacked_suspect_is_one),
	  UNIT_CASE(a_suspect_outlives_a_loss_of_the_source),
	  UNIT_CASE(a_mark_ends_with_its_message),
	  UNIT_CASE(a_mark_ends_with_the_copy_of_a_rejection),
	  UNIT_CASE(a_mark_ends_with_a_dead_letter), UNIT_CASE(a_mark_ends_with_the_source),
	  UNIT_CASE(a_suspect_waits_for_empty_hands), UNIT_CASE(only_what_had_begun_is_marked),
	  UNIT_CASE(the_oldest_mark_goes), UNIT_CASE(credit_is_spent_once),
	  UNIT_CASE(begins_of_void_deliveries_mark_nothing),
	  UNIT_CASE(an_exclusive_group_keeps_its_consumer),
	  UNIT_CASE(a_failover_group_serves_the_oldest),
	  UNIT_CASE(what_had_to_wait_is_served_again),
	  UNIT_CASE(no_deadline_of_what_is_void_is_left),
	  UNIT_CASE(a_stopped_consumer_gets_nothing_again),
	  UNIT_CASE(a_rejection_that_is_lost_may_be_repeated))
