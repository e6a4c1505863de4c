// The source over a queue (adapters/queue/source.h) and a backend that answers when the test says
// so, on a loop whose clocks are the test's: no wait here takes time.

#include "adapters/queue/source.h"

#include "adapters/queue/source_backlog.h"
#include "adapters/queue/source_state.h"
#include "core/base/clock.h"
#include "core/wire/record.h"
#include "tests/unit/unit.h"

enum { PARTITIONS = 2, BODY = 60 };

static struct loop *loop;
static uint64_t now_ns = 1000 * S_NS;
static int64_t wall_ms = 1700000000000;
static unsigned allocations_left = UINT32_MAX;

// ---- clocks and memory are the test's

uint64_t __wrap_clock_now_ns(void);
int64_t __wrap_clock_wall_ms(void);
void *__real_calloc(size_t count, size_t size);
void *__wrap_calloc(size_t count, size_t size);

uint64_t __wrap_clock_now_ns(void)
{
	return now_ns;
}

int64_t __wrap_clock_wall_ms(void)
{
	return wall_ms;
}

void *__wrap_calloc(size_t count, size_t size)
{
	if (allocations_left == 0)
		return NULL;
	--allocations_left;
	return __real_calloc(count, size);
}

// ---- the backend: what it was asked for, and what is promised of that

enum channel { NONE, OPENING, OPEN, CUT, GONE };

static struct {
	struct queue_attach attach;
	enum channel channel;
	uint64_t epoch, hold_max_ms;
	bool detached, consuming, cancelling, barrier, counting, refuses;
	uint32_t prefetch;
	unsigned opens, consumes, barriers, counts, acked;
	uint64_t tags[64];
	struct queue_copy copies[8];
	unsigned written;
} backend;

static uint64_t do_hold_max_ms(struct queue_attachment *attachment)
{
	return backend.hold_max_ms;
}

static int do_attach(struct adapter *adapter, const struct queue_attach *attach,
		     struct queue_attachment **ret)
{
	backend.attach = *attach;
	*ret = (struct queue_attachment *)&backend;
	return 0;
}

static void do_open(struct queue_attachment *attachment, uint64_t epoch)
{
	CHECK_EQ(backend.channel, NONE);
	CHECK(epoch > backend.epoch);
	backend.channel = OPENING;
	backend.epoch = epoch;
	backend.consuming = backend.cancelling = backend.barrier = false;
	++backend.opens;
}

static void do_cut(struct queue_attachment *attachment)
{
	CHECK_EQ(backend.channel, OPEN);
	backend.channel = CUT;
}

static void do_consume(struct queue_attachment *attachment, uint32_t prefetch)
{
	CHECK_EQ(backend.channel, OPEN);
	CHECK(!backend.cancelling);
	CHECK_EQ(backend.consuming, prefetch == 0);
	backend.consuming = prefetch > 0;
	backend.cancelling = prefetch == 0;
	backend.prefetch = prefetch;
	++backend.consumes;
}

static void do_ack(struct queue_attachment *attachment, const uint64_t *tags, size_t count)
{
	CHECK_EQ(backend.channel, OPEN);
	for (size_t i = 0; i < count; ++i)
		backend.tags[backend.acked++] = tags[i];
}

static void do_barrier(struct queue_attachment *attachment)
{
	CHECK_EQ(backend.channel, OPEN);
	CHECK(!backend.barrier);
	backend.barrier = true;
	++backend.barriers;
}

static bool do_write(struct queue_attachment *attachment, const struct queue_copy *copy)
{
	CHECK(!backend.detached);
	backend.copies[backend.written++] = *copy;
	return !backend.refuses;
}

static void do_count(struct queue_attachment *attachment)
{
	CHECK(!backend.detached && !backend.counting);
	backend.counting = true;
	++backend.counts;
}

static void do_detach(struct queue_attachment *attachment)
{
	CHECK(!backend.detached);
	backend.detached = true;
}

static const struct queue_ops queue_ops = {.messages_max = 512,
					   .acks_max = 32,
					   .hold_max_ms = do_hold_max_ms,
					   .attach = do_attach,
					   .open = do_open,
					   .cut = do_cut,
					   .consume = do_consume,
					   .ack = do_ack,
					   .barrier = do_barrier,
					   .write = do_write,
					   .count = do_count,
					   .detach = do_detach};

// ---- the opener

static struct {
	struct source *source;
	struct delivery deliveries[64];
	unsigned delivered, tellings, lost, answers;
	enum source_state state;
	enum code code, answer; // of the state; of a settle
	char text[64];
	uint64_t bytes;
	bool crowded, closes_when_down;
	uint64_t room_asked;
	unsigned closings;
} opener;

static void on_done(void *ctx, enum code code)
{
	++opener.answers;
	opener.answer = code;
}

static void on_deliver(void *ctx, const struct delivery *deliveries, size_t count)
{
	for (size_t i = 0; i < count; ++i)
		opener.deliveries[opener.delivered++] = deliveries[i];
}

static void on_closed(void *ctx)
{
	++opener.closings;
}

static void on_state(void *ctx, enum source_state state, enum code code, const char *text)
{
	opener.state = state;
	opener.code = code;
	snprintf(opener.text, sizeof opener.text, "%s", text ? text : "");
	++opener.tellings;
	if (opener.closes_when_down && state == SOURCE_DOWN)
		queue_source_close(opener.source, on_closed, NULL);
}

static void on_lost(void *ctx)
{
	++opener.lost;
}

static bool on_room(void *ctx, uint64_t bytes)
{
	opener.room_asked = bytes;
	return !opener.crowded;
}

static void on_hold(void *ctx, uint64_t before, uint64_t after)
{
	CHECK_EQ(opener.bytes, before);
	opener.bytes = after;
}

static const struct source_handlers handlers = {.deliver = on_deliver,
						.state = on_state,
						.lost = on_lost,
						.room = on_room,
						.hold = on_hold};

// ---- steps

static void on_stop(struct loop_task *task)
{
	loop_stop(loop);
}

// Until nothing goes on by itself: what is deferred may defer the next.
static void run_all(void)
{
	for (unsigned i = 0; i < 10; ++i) {
		struct loop_task stop = {.fn = on_stop};

		loop_post(loop, &stop);
		CHECK_EQ(loop_run(loop), 0);
	}
}

static void pass_ms(uint64_t ms)
{
	now_ns += ms * MS_NS;
	wall_ms += (int64_t)ms;
	run_all();
}

static const bool *reserve_full;

static void begin_at(uint64_t hold_max_ms)
{
	static struct topic topic = {.object = {.refs = 1}, .partitions = PARTITIONS};
	static struct group group = {.object = {.refs = 1}};
	struct source_config config = {.group = &group,
				       .topic = &topic,
				       .loop = loop,
				       .handlers = &handlers,
				       .reserve_full = reserve_full};
	bool crowded = opener.crowded;

	memset(&backend, 0, sizeof backend);
	memset(&opener, 0, sizeof opener);
	opener.crowded = crowded;
	backend.hold_max_ms = hold_max_ms;
	CHECK_EQ(queue_source_open(NULL, &queue_ops, &config, &opener.source), 0);
	CHECK_EQ(backend.opens, 0); // not before the slot has returned
	run_all();
	CHECK_EQ(backend.opens, 1);
	CHECK_EQ(opener.tellings, 0);
}

static void opened(void)
{
	CHECK_EQ(backend.channel, OPENING);
	backend.channel = OPEN;
	backend.attach.handlers->opened(backend.attach.ctx, backend.epoch);
	run_all();
}

static void begin(void)
{
	begin_at(0);
	opened();
	CHECK_EQ(opener.state, SOURCE_READY);
}

static void lose(const char *text)
{
	uint64_t epoch = backend.epoch;

	backend.channel = NONE;
	backend.attach.handlers->lost(backend.attach.ctx, epoch, CODE_BACKEND_DOWN, text);
}

static void demand(uint32_t messages)
{
	queue_source_demand(opener.source, messages, 1u << 20, 0);
	run_all();
}

static void arrive_at(uint64_t tag, uint32_t id, uint64_t due_ms, uint32_t partition,
		      uint64_t epoch)
{
	uint8_t bytes[RECORD_ID_SIZE] = {0}, body[BODY] = {0};
	struct record_parts parts = {.id = bytes, .body = {body, sizeof body}};
	struct queue_arrival arrival = {.epoch = epoch,
					.tag = tag,
					.partition = partition,
					.due_ms = due_ms,
					.stored_ms = wall_ms};

	le32_put(bytes, id);
	CHECK_EQ(buf_new(record_parts_size(&parts), &arrival.buf), 0);
	record_write(&parts, arrival.buf->data);
	arrival.record = arrival.buf->data;
	backend.attach.handlers->arrived(backend.attach.ctx, &arrival, 1);
	buf_unref(arrival.buf);
}

static void arrive(uint64_t tag, uint32_t id)
{
	CHECK(backend.consuming);
	arrive_at(tag, id, 0, 0, backend.epoch);
}

static void settle(unsigned at, enum settle_verb verb, uint32_t delay_ms, enum code code)
{
	const struct delivery *delivery = &opener.deliveries[at];
	struct settle settle = {.epoch = delivery->epoch,
				.offset = delivery->offset,
				.partition = delivery->partition,
				.attempt = delivery->attempt,
				.count = 1,
				.delay_ms = delay_ms,
				.verb = (uint8_t)verb};

	queue_source_settle(opener.source, &settle, 1, on_done, NULL);
	CHECK_EQ(settle.code, code);
}

static void pass_barrier(void)
{
	CHECK(backend.barrier);
	backend.barrier = false;
	backend.attach.handlers->passed(backend.attach.ctx, backend.epoch);
	run_all();
}

static void answer_write(unsigned at, enum queue_outcome outcome)
{
	backend.attach.handlers->written(backend.attach.ctx, backend.copies[at].number, outcome,
					 outcome == QUEUE_REFUSED ? CODE_TOO_LARGE : CODE_OK,
					 outcome == QUEUE_REFUSED ? "too large" : NULL);
	run_all();
}

static void counted(uint64_t ready, uint64_t retrying, uint64_t delayed)
{
	const struct queue_counts counts = {ready, retrying, delayed};

	CHECK(backend.counting);
	backend.counting = false;
	backend.attach.handlers->counted(backend.attach.ctx, &counts);
	run_all();
}

static void answer_detach(void)
{
	unsigned tellings = opener.tellings, delivered = opener.delivered, lost = opener.lost;

	CHECK(backend.detached);
	if (backend.counting) // the source hears of both in one turn of its loop
		backend.attach.handlers->counted(backend.attach.ctx, NULL);
	backend.counting = false;
	CHECK_EQ(opener.closings, 0);
	backend.attach.handlers->detached(backend.attach.ctx);
	run_all();
	CHECK_EQ(opener.closings, 1);
	CHECK_EQ(opener.bytes, 0);
	CHECK_EQ(opener.tellings, tellings);
	CHECK_EQ(opener.delivered, delivered);
	CHECK_EQ(opener.lost, lost);
}

static void end(void)
{
	queue_source_close(opener.source, on_closed, NULL);
	CHECK(!backend.detached); // not before the slot has returned
	run_all();
	answer_detach();
}

// A message that is out.
static void begin_with_one(void)
{
	begin();
	demand(10);
	arrive(1, 1);
	run_all();
	CHECK_EQ(opener.delivered, 1);
}

// ---- cases

static void hands_out_and_settles(void)
{
	begin();
	CHECK_EQ(backend.consumes, 0);
	demand(1);
	CHECK_EQ(backend.consumes, 1);
	CHECK_EQ(backend.prefetch, 32);
	arrive(1, 1);
	arrive(2, 2); // ahead of the demand
	run_all();
	CHECK_EQ(opener.delivered, 1);
	CHECK(opener.bytes > 2 * BODY);
	demand(10);
	CHECK_EQ(opener.delivered, 2);
	CHECK_EQ(opener.deliveries[0].epoch, backend.epoch);
	settle(0, SETTLE_ACK, 0, CODE_OK);
	CHECK_EQ(backend.acked, 0); // no op out of a slot
	run_all();
	CHECK_EQ(backend.acked, 1);
	CHECK_EQ(backend.tags[0], 1);
	CHECK_EQ(opener.answers, 0);
	pass_barrier();
	CHECK_EQ(opener.answers, 1);
	CHECK_EQ(opener.answer, CODE_OK);
	CHECK(opener.bytes > BODY && opener.bytes < 2 * BODY + 100);
	end();
}

// Until the opener knows of a loss, a settle is good in its books: so it knows at once.
static void a_loss_is_told_at_once(void)
{
	uint64_t epoch;

	begin_with_one();
	epoch = backend.epoch;
	lose("reset by peer");
	CHECK_EQ(opener.lost, 1);
	CHECK_EQ(opener.state, SOURCE_DOWN);
	CHECK_EQ(opener.code, CODE_BACKEND_DOWN);
	CHECK_STR(opener.text, "reset by peer");
	CHECK_EQ(opener.bytes, 0);
	settle(0, SETTLE_ACK, 0, CODE_STALE);
	run_all();
	CHECK_EQ(opener.lost, 1);
	pass_ms(749);
	CHECK_EQ(backend.opens, 1);
	pass_ms(252);
	CHECK_EQ(backend.opens, 2);
	CHECK(backend.epoch > epoch);
	CHECK_EQ(opener.state, SOURCE_DOWN);
	opened();
	CHECK_EQ(opener.state, SOURCE_READY);
	CHECK(backend.consuming);
	arrive(1, 1);
	run_all();
	CHECK_EQ(opener.delivered, 2); // the demand stands
	CHECK_EQ(opener.deliveries[1].epoch, backend.epoch);
	settle(0, SETTLE_ACK, 0, CODE_STALE);
	end();
}

// What is told of a channel that is lost, and was under way then.
static void an_earlier_channel_says_nothing(void)
{
	const struct queue_handlers *to;
	uint64_t epoch;

	begin_with_one();
	settle(0, SETTLE_ACK, 0, CODE_OK);
	run_all();
	to = backend.attach.handlers;
	epoch = backend.epoch;
	lose(NULL);
	to->passed(backend.attach.ctx, epoch);
	arrive_at(2, 2, 0, 0, epoch);
	pass_ms(1000);
	to->opened(backend.attach.ctx, epoch);
	opened();
	to->opened(backend.attach.ctx, epoch);
	to->passed(backend.attach.ctx, epoch);
	to->cancelled(backend.attach.ctx, epoch);
	to->lost(backend.attach.ctx, epoch, CODE_BACKEND_DOWN, NULL);
	arrive_at(3, 3, 0, 0, epoch);
	run_all();
	CHECK_EQ(opener.delivered, 1);
	CHECK_EQ(opener.lost, 1);
	CHECK_EQ(opener.state, SOURCE_READY);
	CHECK_EQ(opener.answers, 0); // in limbo
	arrive(1, 1);                // what was acknowledged comes again
	run_all();
	pass_barrier();
	CHECK_EQ(opener.answers, 1);
	CHECK_EQ(opener.answer, CODE_OK);
	CHECK_EQ(opener.delivered, 1);
	end();
}

static void wait_for_open(uint64_t least_ms, uint64_t most_ms)
{
	unsigned before = backend.opens;

	run_all();
	pass_ms(least_ms - 1);
	CHECK_EQ(backend.opens, before);
	pass_ms(most_ms - least_ms + 1);
	CHECK_EQ(backend.opens, before + 1);
}

static void waits_longer_each_time(void)
{
	begin_at(0);
	for (unsigned i = 0; i < 7; ++i) {
		uint64_t most_ms = MIN(1000u << i, 30000u);

		lose("refused");
		CHECK_EQ(opener.state, SOURCE_DOWN);
		CHECK_EQ(opener.tellings, 1);
		wait_for_open(most_ms - most_ms / 4, most_ms);
	}
	CHECK_EQ(opener.lost, 0); // nothing was handed out
	opened();
	pass_ms(4999); // too short
	lose(NULL);
	wait_for_open(22500, 30000);
	opened();
	pass_ms(5000);
	lose(NULL);
	wait_for_open(750, 1000);
	end();
}

static void gone_is_the_last_word(void)
{
	begin_with_one();
	backend.channel = GONE;
	backend.attach.handlers->gone(backend.attach.ctx, "deleted");
	CHECK_EQ(opener.lost, 1);
	CHECK_EQ(opener.state, SOURCE_GONE);
	CHECK_EQ(opener.code, CODE_NOT_FOUND);
	CHECK_STR(opener.text, "deleted");
	CHECK_EQ(opener.tellings, 2);
	backend.attach.handlers->gone(backend.attach.ctx, NULL);
	backend.attach.handlers->lost(backend.attach.ctx, backend.epoch, CODE_BACKEND_DOWN, NULL);
	demand(20);
	pass_ms(60000);
	CHECK_EQ(opener.tellings, 2);
	CHECK_EQ(backend.opens, 1);
	end();

	begin_with_one();
	settle(0, SETTLE_NACK, 0, CODE_OK);
	run_all();
	backend.channel = GONE;
	backend.attach.handlers->gone(backend.attach.ctx, NULL);
	answer_write(0, QUEUE_REFUSED); // was under way
	CHECK_EQ(opener.state, SOURCE_GONE);
	end();

	begin_at(0); // before there was a channel
	backend.channel = GONE;
	backend.attach.handlers->gone(backend.attach.ctx, NULL);
	CHECK_EQ(opener.state, SOURCE_GONE);
	CHECK_EQ(opener.lost, 0);
	end();
}

static void a_refused_copy_is_down(void)
{
	begin_with_one();
	settle(0, SETTLE_NACK, 100, CODE_OK);
	run_all();
	CHECK_EQ(backend.written, 1);
	CHECK_EQ(backend.copies[0].attempts, 1);
	answer_write(0, QUEUE_REFUSED);
	CHECK_EQ(opener.state, SOURCE_DOWN);
	CHECK_EQ(opener.code, CODE_TOO_LARGE);
	CHECK_STR(opener.text, "too large");
	pass_ms(1000);
	CHECK_EQ(backend.written, 2);
	CHECK_EQ(opener.answers, 0);
	answer_write(1, QUEUE_WRITTEN);
	CHECK_EQ(opener.state, SOURCE_DOWN);
	pass_ms(1000); // nothing has been refused for two seconds
	CHECK_EQ(opener.state, SOURCE_READY);
	CHECK_EQ(backend.tags[0], 1);
	pass_barrier();
	CHECK_EQ(opener.answer, CODE_OK);
	CHECK_EQ(opener.answers, 1);

	backend.refuses = true; // does not begin
	arrive(2, 2);
	run_all();
	settle(1, SETTLE_NACK, 100, CODE_OK);
	run_all();
	CHECK_EQ(opener.state, SOURCE_DOWN);
	CHECK_EQ(opener.code, CODE_OVERLOADED);
	end();
	CHECK_EQ(opener.answers, 2);
	CHECK_EQ(opener.answer, CODE_CONNECTION_LOST);
}

// A doubt says nothing of the group; it is tried again.
static void a_doubt_is_not_down(void)
{
	begin_with_one();
	settle(0, SETTLE_NACK, 0, CODE_OK);
	run_all();
	answer_write(0, QUEUE_DOUBT);
	CHECK_EQ(opener.state, SOURCE_READY);
	pass_ms(1000);
	CHECK_EQ(backend.written, 2);
	answer_write(1, QUEUE_WRITTEN);
	pass_barrier();
	end();
}

static void a_full_reserve_refuses_what_is_put_aside(void)
{
	static bool full;

	full = true;
	reserve_full = &full;
	begin_at(2000000);
	opened();
	demand(10);
	for (uint32_t i = 1; i <= 3; ++i)
		arrive(i, i);
	run_all();
	settle(0, SETTLE_NACK, 0, CODE_OK); // is at once in the place of its original
	run_all();
	CHECK_EQ(backend.written, 1);
	answer_write(0, QUEUE_WRITTEN);
	pass_barrier();
	settle(1, SETTLE_NACK, 100, CODE_OK);
	run_all();
	CHECK_EQ(backend.written, 1);
	CHECK_EQ(opener.state, SOURCE_DOWN);
	CHECK_EQ(opener.code, CODE_LIMIT_EXCEEDED);
	full = false;
	pass_ms(1000);
	CHECK_EQ(backend.written, 2);
	answer_write(1, QUEUE_WRITTEN);
	pass_barrier();
	full = true;
	for (unsigned i = 0; i < 100; ++i) {
		demand(10);
		pass_ms(9990);
	}
	CHECK_EQ(backend.written, 3); // after half of what the backend allows
	CHECK(backend.copies[2].renewal);
	CHECK_EQ(opener.state, SOURCE_READY);
	answer_write(2, QUEUE_WRITTEN);
	pass_barrier();
	end();
	reserve_full = NULL;
}

static void what_may_be_held_is_asked_for_each_channel(void)
{
	begin_at(2000000);
	opened();
	demand(10);
	arrive(1, 1);
	run_all();
	backend.hold_max_ms = 20000;
	pass_ms(10000);
	CHECK_EQ(backend.written, 0);
	lose("the acknowledgement timed out");
	run_all();
	pass_ms(1000);
	opened();
	demand(10);
	arrive(1, 1);
	run_all();
	pass_ms(9999);
	CHECK_EQ(backend.written, 0);
	pass_ms(1);
	CHECK_EQ(backend.written, 1);
	CHECK(backend.copies[0].renewal);
	answer_write(0, QUEUE_WRITTEN);
	pass_barrier();
	end();
}

static void due_times_have_a_timer(void)
{
	begin();
	demand(10);
	arrive_at(1, 1, (uint64_t)wall_ms + 5000, 0, backend.epoch);
	arrive_at(2, 2, (uint64_t)wall_ms + 50000, 1, backend.epoch);
	run_all();
	pass_ms(4999);
	CHECK_EQ(opener.delivered, 0);
	pass_ms(1);
	CHECK_EQ(opener.delivered, 1);
	wall_ms += 45000; // is set
	pass_ms(1000);
	CHECK_EQ(opener.delivered, 2);
	end();
}

static void cancelled(void)
{
	CHECK(backend.cancelling);
	backend.cancelling = false;
	backend.attach.handlers->cancelled(backend.attach.ctx, backend.epoch);
	run_all();
}

static void without_demand_nothing_is_consumed(void)
{
	begin();
	demand(1);
	demand(0);
	CHECK(backend.consuming);
	pass_ms(4999);
	CHECK(backend.consuming);
	pass_ms(1);
	cancelled();
	CHECK_EQ(backend.consumes, 2);
	demand(1);
	CHECK_EQ(backend.consumes, 3);
	end();
}

// Without room it goes on with a little. Room that others give back is found by a look.
static void a_crowd_does_not_let_it_grow(void)
{
	opener.crowded = true;
	begin();
	demand(10);
	CHECK_EQ(backend.prefetch, 1);
	CHECK(opener.room_asked > 64u << 10); // more than without which there is none
	opener.crowded = false;
	pass_ms(250);
	cancelled();
	CHECK(backend.prefetch > 1);
	CHECK(opener.room_asked <= 64u << 10);
	opener.crowded = true;
	demand(9);
	cancelled();
	CHECK_EQ(backend.prefetch, 1);
	end();
	opener.crowded = false;
}

// Nothing is left out: the channel goes, and everything comes again.
static void without_memory_the_channel_is_cut(void)
{
	begin();
	demand(10);
	arrive(1, 1);
	allocations_left = 0;
	arrive(2, 2);
	allocations_left = UINT32_MAX;
	run_all();
	CHECK_EQ(opener.delivered, 1);
	CHECK_EQ(backend.channel, CUT);
	settle(0, SETTLE_ACK, 0, CODE_OK);
	run_all(); // of a channel that is cut nothing is asked
	lose(NULL);
	CHECK_EQ(opener.lost, 1);
	wait_for_open(750, 1000);
	opened();
	arrive(1, 1);
	arrive(2, 2);
	run_all();
	CHECK_EQ(opener.delivered, 2);
	pass_barrier();
	CHECK_EQ(opener.answer, CODE_OK);
	end();
}

static void a_new_partition_waits_for_the_next_source(void)
{
	begin();
	demand(10);
	arrive_at(1, 1, 0, PARTITIONS, backend.epoch);
	arrive_at(2, 2, 0, PARTITIONS - 1, backend.epoch);
	run_all();
	CHECK_EQ(opener.delivered, 1);
	CHECK_EQ(opener.deliveries[0].partition, PARTITIONS - 1);
	end();
	CHECK_EQ(backend.acked, 0);
}

static bool is_outdated(void)
{
	struct source_partition row;

	CHECK_EQ(queue_source_backlog(opener.source, &row, 1), 1);
	return row.outdated;
}

static void check_backlog(uint64_t ready, uint64_t in_flight, uint64_t retrying, uint64_t delayed)
{
	struct source_partition rows[PARTITIONS];

	CHECK_EQ(queue_source_backlog(opener.source, rows, PARTITIONS), 1);
	CHECK_EQ(rows[0].partition, 0);
	CHECK_EQ(rows[0].ready, ready);
	CHECK_EQ(rows[0].in_flight, in_flight);
	CHECK_EQ(rows[0].retrying, retrying);
	CHECK_EQ(rows[0].delayed, delayed);
}

static void the_backlog_is_counted_together(void)
{
	struct source_partition rows[PARTITIONS];

	begin();
	CHECK_EQ(backend.counts, 1);
	CHECK_EQ(queue_source_backlog(opener.source, rows, PARTITIONS), 0); // not known yet
	counted(7, 3, 2);
	check_backlog(7, 0, 3, 2);
	CHECK(!is_outdated());
	demand(2);
	arrive(1, 1);
	arrive(2, 2);
	arrive(3, 3);
	arrive_at(4, 4, (uint64_t)wall_ms + 5000, 0, backend.epoch);
	run_all();
	CHECK(is_outdated()); // something has come since
	CHECK_EQ(backend.counts, 1);
	pass_ms(199);
	CHECK_EQ(backend.counts, 1);
	pass_ms(1);
	CHECK_EQ(backend.counts, 2);
	pass_ms(1000); // one at a time
	counted(3, 3, 2);
	check_backlog(3 + 1, 2, 3, 2 + 1);
	CHECK_EQ(queue_source_backlog(opener.source, rows, 0), 0);

	run_all(); // the look has asked, too: the question was long ago
	CHECK_EQ(backend.counts, 3);
	CHECK(is_outdated());
	counted(4, 3, 2);
	CHECK(!is_outdated());
	pass_ms(199);
	CHECK(!is_outdated());
	CHECK_EQ(backend.counts, 3);
	pass_ms(1);
	CHECK_EQ(backend.counts, 3); // nothing has changed, and there is no look
	CHECK(is_outdated());
	run_all();
	CHECK_EQ(backend.counts, 4);
	counted(4, 3, 2);
	pass_ms(1000);
	CHECK_EQ(backend.counts, 4);
	settle(0, SETTLE_ACK, 0, CODE_OK);
	run_all();
	pass_barrier();
	CHECK_EQ(queue_source_backlog(opener.source, rows, PARTITIONS), 1);
	CHECK_EQ(rows[0].acked, 1);
	CHECK(!rows[0].has_log);
	end();
}

// What was held is ready again: the counts from before the loss are wrong by that.
static void counts_end_with_their_channel(void)
{
	struct source_partition rows[PARTITIONS];

	begin();
	counted(5, 0, 0);
	pass_ms(200);
	check_backlog(5, 0, 0, 0);
	run_all();
	CHECK(backend.counting);
	lose(NULL);
	CHECK_EQ(queue_source_backlog(opener.source, rows, PARTITIONS), 0);
	pass_ms(1000);
	opened();
	CHECK_EQ(backend.counts, 2); // the question from before the loss has no answer yet
	counted(9, 9, 9);
	CHECK_EQ(queue_source_backlog(opener.source, rows, PARTITIONS), 0);
	CHECK_EQ(backend.counts, 3);
	backend.counting = false; // it cannot be told now
	backend.attach.handlers->counted(backend.attach.ctx, NULL);
	run_all();
	CHECK_EQ(queue_source_backlog(opener.source, rows, PARTITIONS), 0);
	run_all();
	CHECK_EQ(backend.counts, 3); // not at once
	pass_ms(200);
	CHECK_EQ(queue_source_backlog(opener.source, rows, PARTITIONS), 0);
	run_all();
	counted(6, 0, 0);
	check_backlog(6, 0, 0, 0);
	end();
}

static void a_close_makes_durable_what_is_settled(void)
{
	begin();
	demand(10);
	for (uint32_t i = 1; i <= 3; ++i)
		arrive(i, i);
	run_all();
	settle(0, SETTLE_ACK, 0, CODE_OK);
	settle(1, SETTLE_NACK, 0, CODE_OK);
	queue_source_close(opener.source, on_closed, NULL);
	run_all();
	CHECK_EQ(backend.acked, 1);
	CHECK_EQ(backend.written, 1);
	pass_barrier();
	CHECK_EQ(opener.answers, 1);
	CHECK(!backend.detached);
	answer_write(0, QUEUE_WRITTEN);
	CHECK_EQ(backend.acked, 2);
	pass_barrier();
	CHECK_EQ(opener.answers, 2);
	CHECK_EQ(opener.answer, CODE_OK);
	answer_detach();
}

static void a_close_tells_of_no_loss(void)
{
	begin_with_one();
	settle(0, SETTLE_ACK, 0, CODE_OK);
	queue_source_close(opener.source, on_closed, NULL);
	lose(NULL); // before the close has begun
	CHECK_EQ(opener.lost, 0);
	CHECK_EQ(opener.tellings, 1);
	run_all();
	CHECK_EQ(opener.answer, CODE_CONNECTION_LOST);
	answer_detach();

	begin_with_one();
	settle(0, SETTLE_NACK, 0, CODE_OK);
	queue_source_close(opener.source, on_closed, NULL);
	run_all();
	lose(NULL);
	pass_ms(60000); // until the write is answered
	CHECK_EQ(backend.opens, 1);
	answer_write(0, QUEUE_WRITTEN);
	CHECK(backend.detached);
	answer_detach();
}

// A handler may close the source in the middle of what the engine does.
static void nothing_is_handed_out_after_a_close(void)
{
	begin_with_one();
	opener.closes_when_down = true;
	backend.refuses = true;
	settle(0, SETTLE_NACK, 0, CODE_OK);
	arrive(2, 2);
	run_all();
	CHECK_EQ(opener.state, SOURCE_DOWN);
	CHECK_EQ(opener.delivered, 1);
	answer_detach();
}

static void a_close_does_not_wait_for_a_channel(void)
{
	begin_at(0);
	end(); // while it opens

	begin_at(0);
	queue_source_close(opener.source, on_closed, NULL);
	backend.channel = OPEN;
	backend.attach.handlers->opened(backend.attach.ctx, backend.epoch);
	run_all();
	CHECK_EQ(opener.tellings, 0);
	answer_detach();

	begin_at(0);
	lose(NULL);
	end(); // while it waits
	pass_ms(60000);
	CHECK_EQ(backend.opens, 1);
}

static void epochs_rise_when_the_wall_clock_is_set_back(void)
{
	uint64_t before;

	begin();
	before = backend.epoch;
	CHECK_EQ(before >> 16, wall_ms);
	end();
	wall_ms -= 3600000;
	begin();
	CHECK(backend.epoch > before);
	end();
	wall_ms += 3600000;
}

static void a_channel_keeps_to_its_table(void)
{
	const uint64_t moves = STATE_TABLE_MOVES(QUEUE_CHANNEL_STATES);

	for (unsigned state = QUEUE_CHANNEL_NONE; state <= QUEUE_CHANNEL_GONE; ++state)
		for (unsigned next = QUEUE_CHANNEL_NONE; next <= QUEUE_CHANNEL_GONE; ++next) {
			struct source source = {.channel = (enum queue_channel)state};

			if (state_table_has(moves, state, next)) {
				queue_source_state_set_channel(&source, (enum queue_channel)next);
				CHECK_EQ(source.channel, next);
			} else {
				CHECK_ABORTS(queue_source_state_set_channel(
					&source, (enum queue_channel)next));
			}
		}
	CHECK(!state_table_has(moves, QUEUE_CHANNEL_NONE, QUEUE_CHANNEL_OPEN)); // not unasked
	CHECK(!state_table_has(moves, QUEUE_CHANNEL_CUT, QUEUE_CHANNEL_OPEN));
}

static void a_state_keeps_to_its_table(void)
{
	struct source source = {.config = {.handlers = &handlers}, .state = SOURCE_GONE};

	CHECK_ABORTS(queue_source_state_set(&source, SOURCE_READY, CODE_OK, NULL));
	source.state = SOURCE_OPENING;
	CHECK_ABORTS(queue_source_state_set(&source, SOURCE_WINDOW_FULL, CODE_OK, NULL));
}

int main(void)
{
	const struct unit_case cases[] = {
		UNIT_CASE(hands_out_and_settles),
		UNIT_CASE(a_loss_is_told_at_once),
		UNIT_CASE(an_earlier_channel_says_nothing),
		UNIT_CASE(waits_longer_each_time),
		UNIT_CASE(gone_is_the_last_word),
		UNIT_CASE(a_refused_copy_is_down),
		UNIT_CASE(a_doubt_is_not_down),
		UNIT_CASE(a_full_reserve_refuses_what_is_put_aside),
		UNIT_CASE(what_may_be_held_is_asked_for_each_channel),
		UNIT_CASE(due_times_have_a_timer),
		UNIT_CASE(without_demand_nothing_is_consumed),
		UNIT_CASE(a_crowd_does_not_let_it_grow),
		UNIT_CASE(without_memory_the_channel_is_cut),
		UNIT_CASE(a_new_partition_waits_for_the_next_source),
		UNIT_CASE(the_backlog_is_counted_together),
		UNIT_CASE(counts_end_with_their_channel),
		UNIT_CASE(a_close_makes_durable_what_is_settled),
		UNIT_CASE(a_close_tells_of_no_loss),
		UNIT_CASE(nothing_is_handed_out_after_a_close),
		UNIT_CASE(a_close_does_not_wait_for_a_channel),
		UNIT_CASE(epochs_rise_when_the_wall_clock_is_set_back),
		UNIT_CASE(a_channel_keeps_to_its_table),
		UNIT_CASE(a_state_keeps_to_its_table),
	};
	int r;

	CHECK_EQ(loop_new("home", &loop), 0);
	r = unit_main(cases, ARRAY_SIZE(cases));
	loop_free(loop);
	return r;
}
