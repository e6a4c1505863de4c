// proxy/dispatch over a source that keeps no positions: what is lost comes again in another epoch,
// and offsets are counted anew.
//
// The test is the source. It says what arrives, and looks at what is handed out and at what is
// settled.

#include "proxy/engine/dispatch.h"
#include "tests/unit/unit.h"

enum { CONSUMERS = 3, KEPT = 256, RECORD = 64, IN_FLIGHT_MAX = 100 };

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
					 .dead_letter = true};

	memset(&m, 0, sizeof m);
	m.epoch = 1;
	m.now_ns = S_NS;
	CHECK_EQ(buf_new(RECORD, &m.buf), 0);
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

static void arrive(uint64_t offset, uint32_t attempt)
{
	struct delivery delivery = {.offset = offset,
				    .epoch = m.epoch,
				    .record = m.buf->data,
				    .size = RECORD,
				    .attempt = attempt,
				    .buf = m.buf};

	dispatch_arrived(m.dispatch, &delivery, 1, m.now_ns);
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

UNIT_MAIN(UNIT_CASE(a_receipt_of_an_earlier_epoch_settles_nothing),
	  UNIT_CASE(a_receipt_is_stale_as_soon_as_the_source_has_lost),
	  UNIT_CASE(a_settle_carries_the_epoch_of_its_delivery),
	  UNIT_CASE(runs_end_with_their_epoch),
	  UNIT_CASE(a_timeout_carries_the_epoch_of_its_delivery))
