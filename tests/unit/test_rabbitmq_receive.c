// A source's channel on RabbitMQ (adapters/rabbitmq/receive/), over a link that is the test's.

#include "core/base/clock.h"
#include "tests/unit/rabbitmq/receive_bench.h"

#include <stdio.h>

// ---- opening

static void a_channel_is_opened_when_no_consumer_is_left(void)
{
	bench_begin();
	bench.main.consumers = 1;
	ops->open(bench.attachment, 7);
	bench_run();
	CHECK_EQ(bench.opens, 0); // what is there of the retry store is looked for
	bench_found("");
	CHECK_EQ(bench.asks, 1); // without .retry there are no levels
	CHECK_EQ(bench.opens, 1);
	bench_channel_opened();
	BENCH_SENT("declare g; ");
	bench_answer();
	CHECK_EQ(bench.opened, 0);
	bench_pass_ms(49);
	BENCH_SENT("");
	bench_pass_ms(1);
	BENCH_SENT("declare g; ");
	bench.main.consumers = 0;
	bench_answer();
	CHECK_EQ(bench.opened, 1);
	CHECK_EQ(bench.epoch, 7);
	bench_end();
	CHECK_EQ(bench.closes, 1); // nothing was handed out: in order
}

static void the_retry_queue_is_looked_at_too(void)
{
	bench_begin();
	bench.retry.consumers = 1;
	ops->open(bench.attachment, 7);
	bench_run();
	bench_found("g.retry");
	CHECK_EQ(bench.asks, 2);
	bench_found("g.retry");
	bench_channel_opened();
	BENCH_SENT("declare g; declare g.retry; ");
	bench_answer();
	bench_answer();
	CHECK_EQ(bench.opened, 0);
	bench.retry.consumers = 0;
	bench_pass_ms(50);
	bench_answer();
	CHECK_EQ(bench.opened, 0);
	bench_answer();
	CHECK_EQ(bench.opened, 1);
	bench_end();
}

// After two heartbeats and a second a consumer is not one of ours.
static void native_clients_are_waited_for_once(void)
{
	bench_begin();
	bench.main.consumers = 2;
	ops->open(bench.attachment, 7);
	bench_run();
	bench_found("");
	bench_channel_opened();
	for (unsigned ms = 0; ms < 2000 * BENCH_HEARTBEAT_S + 950; ms += 50) {
		bench_answer();
		CHECK_EQ(bench.opened, 0);
		bench_pass_ms(50);
		BENCH_SENT(ms ? "declare g; " : "declare g; declare g; ");
	}
	bench_answer();
	bench_pass_ms(50);
	bench_answer();
	CHECK_EQ(bench.opened, 1);
	bench_closed(CODE_BACKEND_DOWN, 0, "reset");
	CHECK_EQ(bench.lost, 1);
	ops->open(bench.attachment, 8);
	bench_run();
	bench_channel_opened();
	bench.main.consumers = 3; // those two, and a dead one of ours
	bench_answer();
	CHECK_EQ(bench.opened, 1);
	bench.main.consumers = 2;
	bench_pass_ms(50);
	bench_answer();
	CHECK_EQ(bench.opened, 2);
	bench_end();
}

static void a_native_client_that_leaves_is_not_forgotten(void)
{
	bench_begin();
	bench.main.consumers = 1;
	ops->open(bench.attachment, 7);
	bench_run();
	bench_found("");
	bench_channel_opened();
	bench_answer();
	bench_pass_ms(2000 * BENCH_HEARTBEAT_S + 1000);
	bench_answer();
	CHECK_EQ(bench.opened, 1);
	ops->consume(bench.attachment, 10);
	bench_run();
	bench_answer_all();
	bench.main.consumers = 1; // ours alone
	ops->barrier(bench.attachment);
	bench_run();
	bench_answer_all();
	bench_closed(CODE_BACKEND_DOWN, 0, "reset");
	ops->open(bench.attachment, 8);
	bench_run();
	bench_channel_opened();
	bench_answer();
	CHECK_EQ(bench.opened, 1); // ours is not gone yet
	bench_end();
}

static void open_waits_for_the_link(void)
{
	bench_begin();
	ops->open(bench.attachment, 7);
	bench_run();
	bench_ask_fails(CODE_BACKEND_DOWN);
	bench_pass_ms(999);
	CHECK_EQ(bench.asks, 1);
	bench_pass_ms(1);
	CHECK_EQ(bench.asks, 2);
	bench_found("");
	bench_closed(CODE_BACKEND_DOWN, 0, "refused");
	CHECK_EQ(bench.opens, 2);
	bench_channel_opened();
	bench_closed(CODE_CONNECTION_LOST, 0, "reset"); // while it looks
	CHECK_EQ(bench.opens, 3);
	bench_channel_opened();
	bench.main.consumers = 1;
	bench_answer();
	bench_closed(CODE_CONNECTION_LOST, 0, "reset"); // while it waits
	bench_pass_ms(60);
	CHECK_EQ(bench.opens, 4);
	CHECK_EQ(bench.lost, 0);
	bench_end();
	CHECK_EQ(bench.closes, 1);
}

static void a_refusal_is_a_loss(void)
{
	static const struct {
		enum code code;
		uint16_t reply;
	} cases[] = {{CODE_FORBIDDEN, 403}, {CODE_OVERLOADED, 0}, {CODE_BACKEND_ERROR, 541}};

	for (size_t i = 0; i < ARRAY_SIZE(cases); ++i) {
		bench_begin();
		ops->open(bench.attachment, 7);
		bench_run();
		bench_found("");
		bench_channel_opened();
		bench_closed(cases[i].code, cases[i].reply, "words");
		CHECK_EQ(bench.lost, 1);
		CHECK_EQ(bench.code, cases[i].code);
		CHECK_EQ(bench.epoch, 7);
		CHECK_STR(bench.text, "words");
		bench_end();
	}
}

static void a_retry_store_that_may_not_be_seen_is_a_loss(void)
{
	bench_begin();
	ops->open(bench.attachment, 7);
	bench_run();
	bench_ask_fails(CODE_FORBIDDEN);
	CHECK_EQ(bench.lost, 1);
	CHECK_EQ(bench.code, CODE_FORBIDDEN);
	CHECK_STR(bench.text, "cluster c: words");
	bench_end();
}

// ---- queues that are not there

static void a_queue_that_is_not_there_is_gone(void)
{
	bench_begin();
	bench.main.missing = true;
	ops->open(bench.attachment, 7);
	bench_run();
	bench_found("");
	bench_channel_opened();
	bench_answer();
	CHECK_EQ(bench.gone, 1);
	CHECK_EQ(bench.lost, 0);
	CHECK_STR(bench.text, "there is no queue g");
	CHECK_EQ(bench.seen, 0);
	CHECK_EQ(bench.missing, 1);
	bench_end();
}

// Without a consumer nothing else tells that it was deleted.
static void a_queue_that_is_idle_is_looked_for(void)
{
	bench_begin();
	bench_open_with("");
	for (unsigned i = 0; i < 3; ++i) {
		bench_pass_ms(3999);
		BENCH_SENT("");
		bench_pass_ms(1);
		BENCH_SENT("declare g; ");
		bench_answer();
		CHECK_EQ(bench.gone, 0);
		CHECK_EQ(bench.seen, 2 + i);
	}
	bench.main.missing = true;
	bench_pass_ms(4000);
	bench_answer();
	CHECK_EQ(bench.gone, 1);
	CHECK_STR(bench.text, "there is no queue g");
	CHECK_EQ(bench.missing, 1);
	CHECK_EQ(bench.seen_ago_ns, 4 * S_NS); // it happened since then
	bench_pass_ms(4000);
	bench_end();
}

static void a_topic_that_was_deleted_ends_its_sources(void)
{
	for (unsigned opened = 0; opened < 2; ++opened) {
		bench_begin();
		bench.topic.imported = false;
		bench.unmarked = !opened;
		ops->open(bench.attachment, 1);
		bench_run();
		while (bench.ask)
			bench_found("");
		bench_channel_opened();
		BENCH_SENT("look t~9; declare g; ");
		if (opened) {
			bench_answer_all();
			CHECK_EQ(bench.opened, 1);
			bench.unmarked = true;
			bench_pass_ms(4000);
			BENCH_SENT("look t~9; declare g; ");
		}
		bench_answer();
		CHECK_EQ(bench.opened, opened);
		CHECK_EQ(bench.gone, 1);
		CHECK_STR(bench.text, "the topic of queue g is not on cluster c");
		CHECK_EQ(bench.missing, 0); // it was deleted here
		bench_end();
	}
}

static void a_queue_whose_node_is_down_is_not_gone(void)
{
	bench_begin();
	ops->open(bench.attachment, 7);
	bench_run();
	bench_found("");
	bench_channel_opened();
	bench_closed(CODE_NOT_FOUND, 404,
		     "NOT_FOUND - home node 'a' of durable queue 'g' is down or inaccessible");
	CHECK_EQ(bench.gone, 0);
	CHECK_EQ(bench.lost, 1);
	bench_end();
}

static void a_retry_queue_that_is_not_there_any_more_is_a_loss(void)
{
	bench_begin();
	bench.retry.missing = true;
	ops->open(bench.attachment, 7);
	bench_run();
	bench_found("g.retry");
	bench_found("");
	bench_channel_opened();
	bench_answer();
	bench_answer();
	CHECK_EQ(bench.gone, 0);
	CHECK_EQ(bench.lost, 1);
	ops->open(bench.attachment, 8);
	bench_run();
	bench_found(""); // looked for anew
	bench_channel_opened();
	BENCH_SENT("declare g; declare g.retry; declare g; ");
	bench_end();
}

static void a_consumer_that_the_broker_ends(void)
{
	amqp_basic_cancel_t cancel = {0};

	for (unsigned deleted = 0; deleted < 2; ++deleted) {
		bench_begin();
		bench_open_with("");
		ops->consume(bench.attachment, 4);
		bench_run();
		bench_answer_all();
		*bench.sent = '\0';
		cancel.consumer_tag = bench_tag("g");
		bench_method(AMQP_BASIC_CANCEL_METHOD, &cancel);
		BENCH_SENT("declare g; ");
		bench.main.missing = deleted;
		bench_answer();
		if (!deleted) {
			BENCH_SENT("ack never; ");
			bench_closed(CODE_BACKEND_ERROR, 406, "unknown tag");
			CHECK_STR(bench.text, "the broker has ended the consumer");
		}
		CHECK_EQ(bench.gone, deleted);
		CHECK_EQ(bench.lost, !deleted);
		bench_end();
	}
}

// ---- consuming

static void a_prefetch_is_shared(void)
{
	static const struct {
		uint32_t prefetch;
		const char *alone, *both;
	} cases[] = {
		{512, "qos 384; consume g; ", "qos 128; consume g.retry; qos 384; consume g; "},
		{3, "qos 2; consume g; ", "qos 1; consume g.retry; qos 2; consume g; "},
		{2, "qos 1; consume g; ", "qos 1; consume g.retry; qos 1; consume g; "},
		{1, "qos 1; consume g; ", "qos 1; consume g.retry; qos 1; consume g; "},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); ++i) {
		for (unsigned both = 0; both < 2; ++both) {
			bench_begin();
			bench_open_with(both ? "g.retry" : "");
			ops->consume(bench.attachment, cases[i].prefetch);
			bench_run();
			BENCH_SENT(both ? cases[i].both : cases[i].alone);
			bench_answer_all();
			bench_end();
		}
	}
}

// A queue may answer about its consumers later than the channel does about what came behind.
static void answers_about_consumers_may_be_late(void)
{
	bench_begin();
	bench_open_with("g.retry");
	ops->consume(bench.attachment, 8);
	ops->count(bench.attachment);
	bench_run();
	BENCH_SENT("qos 2; consume g.retry; qos 6; consume g; declare g; declare g.retry; ");
	bench_answer();
	bench_answer_late(); // and all others before it
	CHECK_EQ(bench.counted, 1);
	bench_deliver("g.retry", 1, false, "a");
	CHECK_EQ(bench.lost, 0);
	CHECK_EQ(bench.arrived_count, 1);
	bench_end();
}

// ---- the gate

static void consume(uint32_t prefetch)
{
	ops->consume(bench.attachment, prefetch);
	bench_run();
	bench_answer_all();
}

static void deliver(const char *queue, uint64_t from, uint64_t to)
{
	for (uint64_t tag = from; tag <= to; ++tag)
		bench_deliver_more(queue, tag);
	bench_run();
}

static void ack(uint64_t from, uint64_t to)
{
	uint64_t tags[32];
	size_t count = 0;

	for (uint64_t tag = from; tag <= to; ++tag)
		tags[count++] = tag;
	ops->ack(bench.attachment, tags, count);
	bench_run();
}

static void begin_with(uint32_t prefetch)
{
	bench_begin();
	bench_open_with("");
	consume(prefetch);
	*bench.sent = '\0';
}

// What a quorum queue has on its way when a consumer is cancelled would go behind what is new.
static void nothing_is_cancelled_while_something_may_be_on_its_way(void)
{
	begin_with(8); // of which 2 are for .retry
	deliver("g", 1, 3);
	ops->consume(bench.attachment, 0);
	CHECK_EQ(bench.cancelled, 0);
	bench_run();
	CHECK_EQ(bench.cancelled, 1);
	BENCH_SENT("");
	deliver("g", 4, 5);
	BENCH_SENT("");
	deliver("g", 6, 6); // now it is full
	BENCH_SENT("cancel g; ");
	CHECK_EQ(bench.arrived_count, 3);
	bench_answer();
	consume(8);
	CHECK_EQ(bench.arrived_count, 6); // what was kept comes first
	CHECK_EQ(bench.arrived[5].tag, 6);
	BENCH_SENT("qos 3; consume g; ");
	bench_end();
}

static void a_full_consumer_is_cancelled_before_an_acknowledgement(void)
{
	begin_with(8);
	deliver("g", 1, 6);
	ops->consume(bench.attachment, 0);
	ops->ack(bench.attachment, (uint64_t[]){1}, 1);
	bench_run();
	BENCH_SENT("cancel g; ack 1; ");
	bench_end();
	begin_with(8);
	deliver("g", 1, 5);
	ops->consume(bench.attachment, 0);
	ops->ack(bench.attachment, (uint64_t[]){1}, 1);
	bench_run();
	BENCH_SENT("ack 1; "); // one was missing
	bench_end();
}

static void a_consumer_is_cancelled_when_it_has_begun(void)
{
	bench_begin();
	bench_open_with("");
	ops->consume(bench.attachment, 2);
	bench_run();
	*bench.sent = '\0';
	deliver("g", 1, 1);
	ops->consume(bench.attachment, 0);
	bench_run();
	BENCH_SENT("");
	bench_answer_all();
	ack(1, 1);
	BENCH_SENT("cancel g; ack 1; ");
	bench_end();
}

// Two at a time would give back out of order.
static void a_prefetch_grows_by_the_next_consumer(void)
{
	begin_with(8);
	deliver("g", 1, 4);
	consume(0);
	consume(20);
	BENCH_SENT("");
	deliver("g", 5, 5);
	BENCH_SENT("");
	deliver("g", 6, 6);
	BENCH_SENT("cancel g; qos 13; consume g; "); // 15 of the group's queue, of which 2 are here
	bench_answer_all();
	deliver("g", 7, 19);
	CHECK_EQ(bench.arrived_count, 19);
	BENCH_SENT("");
	ack(1, 19);
	deliver("g", 20, 30);
	consume(0);
	consume(8); // less: nothing is cancelled
	*bench.sent = '\0';
	bench_end();
}

static void what_is_beyond_the_prefetch_is_kept(void)
{
	begin_with(40); // 30 of the group's queue
	deliver("g", 1, 20);
	consume(0);
	consume(4);
	deliver("g", 21, 26);
	CHECK_EQ(bench.arrived_count, 24);
	ack(1, 10); // of what came before: no place
	CHECK_EQ(bench.arrived_count, 24);
	ack(21, 21);
	CHECK_EQ(bench.arrived_count, 25);
	CHECK_EQ(bench.arrived[24].tag, 25);
	ack(22, 24);
	CHECK_EQ(bench.arrived_count, 26);
	deliver("g", 27, 28);
	CHECK_EQ(bench.arrived_count, 28);
	bench_end();
}

// A consumer that keeps much more than is asked for is cancelled as soon as it is full.
static void a_prefetch_shrinks_in_the_end(void)
{
	begin_with(40);
	consume(0);
	consume(4);
	deliver("g", 1, 29);
	BENCH_SENT("");
	deliver("g", 30, 30);
	BENCH_SENT("cancel g; ");
	bench_answer();
	CHECK_EQ(bench.arrived_count, 4);
	for (uint64_t tag = 1; tag <= 28; ++tag)
		ack(tag, tag);
	CHECK_EQ(bench.arrived_count, 30);
	*bench.sent = '\0';
	ack(29, 29);
	BENCH_SENT("ack 29; qos 2; consume g; "); // 3, less what is still open
	bench_end();
}

static void what_is_kept_for_long_is_handed_on(void)
{
	begin_with(8);
	consume(0);
	deliver("g", 1, 2);
	bench_pass_ms(599999);
	CHECK_EQ(bench.arrived_count, 0);
	bench_pass_ms(1);
	CHECK_EQ(bench.arrived_count, 2);
	bench_end();
}

static char logged[512];

static void on_log(void *ctx, enum log_level level, const char *line, size_t size)
{
	snprintf(logged, sizeof logged, "%.*s", (int)size, line);
}

#define TIMED_OUT                                                                                  \
	"cluster c: PRECONDITION_FAILED - delivery acknowledgement on channel 1 timed out. "       \
	"Timeout value used: %s ms. This timeout value can be configured, see consumers doc "      \
	"guide to learn more (406)"

static void a_shorter_timeout_of_the_broker_is_learned(void)
{
	static const struct {
		const char *value;
		uint64_t hold_ms;
	} cases[] = {{"90000", 90000},
		     {"120000", 90000},
		     {"7", 1000},
		     {"3600000", 1000},
		     {"undefined", 1000}};
	char text[300];

	begin_with(8);
	CHECK_EQ(ops->hold_max_ms(bench.attachment), BENCH_CONSUMER_TIMEOUT_MS);
	bench_closed(CODE_CONFLICT, 406, "unknown delivery tag");
	CHECK_EQ(ops->hold_max_ms(bench.attachment), BENCH_CONSUMER_TIMEOUT_MS);
	log_set_sink(on_log, NULL);
	for (unsigned i = 0; i < ARRAY_SIZE(cases); ++i) {
		*logged = '\0';
		bench_open_with("");
		snprintf(text, sizeof text, TIMED_OUT, cases[i].value);
		bench_closed(CODE_CONFLICT, 406, text);
		CHECK_EQ(bench.lost, 2 + i);
		CHECK_EQ(ops->hold_max_ms(bench.attachment), cases[i].hold_ms);
		CHECK(!*logged == (i != 0 && i != 2));
		if (i == 0)
			CHECK(strstr(logged, "RABBITMQ-CONSUMER-TIMEOUT") &&
			      strstr(logged, "group group: the broker waits 90000 ms"));
	}
	log_set_sink(NULL, NULL);
	bench_end();
}

static void what_is_kept_leaves_before_a_timeout_that_was_learned(void)
{
	char text[300];

	begin_with(8);
	snprintf(text, sizeof text, TIMED_OUT, "90000");
	bench_closed(CODE_CONFLICT, 406, text);
	bench_open_with("");
	consume(8);
	consume(0);
	deliver("g", 1, 2);
	bench_pass_ms(29999);
	CHECK_EQ(bench.arrived_count, 0);
	bench_pass_ms(1);
	CHECK_EQ(bench.arrived_count, 2);
	bench_end();
}

static void what_is_kept_is_void_with_its_channel(void)
{
	begin_with(8);
	consume(0);
	deliver("g", 1, 2);
	bench_closed(CODE_BACKEND_DOWN, 0, "reset");
	bench_pass_ms(700000);
	bench.main.messages = 2;
	bench_open_with("");
	consume(8);
	CHECK_EQ(bench.arrived_count, 0);
	deliver("g", 1, 1);
	CHECK_EQ(bench.arrived_count, 1);
	bench_end();
}

static void one_place_is_one_for_both_queues(void)
{
	bench_begin();
	bench_open_with("g.retry");
	consume(1);
	deliver("g", 1, 1);
	deliver("g.retry", 2, 2);
	CHECK_EQ(bench.arrived_count, 1);
	ack(1, 1);
	CHECK_EQ(bench.arrived_count, 2);
	CHECK_EQ(bench.arrived[1].tag, 2);
	bench_end();
}

static void a_retry_queue_made_later_is_consumed_too(void)
{
	bench_begin();
	bench_open_with("");
	ops->consume(bench.attachment, 16);
	bench_run();
	bench_answer_all();
	*bench.sent = '\0';
	CHECK(bench_write(1, 1, 500, false));
	bench_found(""); // made
	bench_posted(OUTCOME_OK, CODE_OK);
	BENCH_SENT("qos 4; consume g.retry; ");
	CHECK(bench_write(2, 1, 500, false));
	bench_posted(OUTCOME_OK, CODE_OK);
	BENCH_SENT("");
	bench_end();
}

// ---- deliveries

static void deliveries_of_a_round_come_together(void)
{
	bench_begin();
	bench_open_with("");
	ops->consume(bench.attachment, 512);
	bench_run();
	bench_answer_all();
	for (uint64_t tag = 1; tag < 150; ++tag)
		bench_deliver_more("g", tag);
	CHECK_EQ(bench.batches, 0);
	bench_deliver("g", 150, false, "of several pieces");
	CHECK_EQ(bench.batches, 3);
	CHECK_EQ(bench.arrived_count, 150);
	for (uint64_t i = 0; i < 150; ++i)
		CHECK_EQ(bench.arrived[i].tag, i + 1);
	CHECK_STR(bench.arrived[149].body, "of several piec"); // the room of the bench
	CHECK_EQ(bench.arrived[0].partition, 1);
	CHECK_EQ(bench.arrived[0].stored_ms, 77);
	CHECK_EQ(bench.arrived[0].attempts, 0);
	CHECK(bench.arrived[0].anonymous);
	bench_end();
}

static void a_copy_says_what_it_is(void)
{
	bench_begin();
	bench_open_with("g.retry");
	ops->consume(bench.attachment, 8);
	bench_run();
	bench_answer_all();
	bench_deliver("g.retry", 1, true, "C");
	CHECK_EQ(bench.arrived[0].attempts, 2);
	CHECK_EQ(bench.arrived[0].partition, 3);
	CHECK_EQ(bench.arrived[0].due_ms, 99);
	CHECK_EQ(bench.arrived[0].stored_ms, 55);
	CHECK(bench.arrived[0].given_back);
	CHECK(!bench.arrived[0].anonymous);
	bench_end();
}

// A new message of one queue says nothing of what the other one still gives back.
static void both_queues_give_back_before_anything_counts_as_new(void)
{
	bench_begin();
	bench_open_with("g.retry");
	ops->consume(bench.attachment, 8);
	bench_run();
	bench_answer_all();
	bench_deliver("g", 1, false, "a");
	bench_deliver("g.retry", 2, false, "b");
	bench_deliver("g.retry", 3, false, "c");
	CHECK(!bench.arrived[2].given_back);
	bench_closed(CODE_BACKEND_DOWN, 0, "reset");
	bench.main.messages = bench.retry.messages = 2;
	bench_open_with("");
	ops->consume(bench.attachment, 8);
	bench_run();
	bench_answer_all();
	bench_deliver("g", 1, true, "a");
	bench_deliver("g", 2, false, "new");
	CHECK(bench.arrived[4].given_back);
	bench_deliver("g.retry", 3, true, "b");
	bench_deliver("g", 4, false, "new");
	CHECK(bench.arrived[6].given_back);
	bench_deliver("g.retry", 5, true, "c");
	bench_deliver("g", 6, false, "new");
	CHECK(!bench.arrived[8].given_back);
	bench_end();
}

static void what_was_acknowledged_is_not_waited_for(void)
{
	bench_begin();
	bench_open_with("g.retry");
	ops->consume(bench.attachment, 8);
	bench_run();
	bench_answer_all();
	bench_deliver("g.retry", 1, false, "b");
	bench_closed(CODE_BACKEND_DOWN, 0, "reset");
	bench_open_with(""); // nothing is ready in .retry: it had passed
	ops->consume(bench.attachment, 8);
	bench_run();
	bench_answer_all();
	bench_deliver("g", 1, false, "new");
	CHECK(!bench.arrived[1].given_back);
	bench_end();
}

static void a_message_that_is_too_large_is_set_aside(void)
{
	static char body[(16 << 20) + 2];

	memset(body, 'a', sizeof body - 1);
	log_set_sink(on_log, NULL);
	bench_begin();
	bench_open_with("");
	ops->consume(bench.attachment, 8);
	bench_run();
	bench_answer_all();
	*bench.sent = '\0';
	bench_deliver("g", 1, false, body);
	CHECK(strstr(logged, "RABBITMQ-TOO-LARGE") && strstr(logged, "group group") &&
	      strstr(logged, "16777217 bytes in queue g "));
	bench_deliver("g", 2, false, "b");
	bench_deliver("g", 3, false, "c");
	CHECK_EQ(bench.arrived_count, 2);
	ops->ack(bench.attachment, (uint64_t[]){2, 3}, 2);
	bench_run();
	BENCH_SENT("ack 2; ack 3; "); // never what would acknowledge it, too
	CHECK_EQ(bench.lost, 0);
	CHECK_EQ(bench.aside, 1);
	CHECK_EQ(bench.aside_bytes, 16777217);
	for (uint64_t tag = 4; tag <= 7; ++tag)
		bench_deliver("g", tag, false, body);
	CHECK_EQ(bench.aside, 5);
	BENCH_SENT("");
	bench_deliver("g", 8, false, body);
	BENCH_SENT("cancel g; qos 6; consume g; "); // the others have places again
	bench_closed(CODE_BACKEND_DOWN, 0, "reset");
	CHECK_EQ(bench.aside, 0);
	bench_end();
	log_set_sink(NULL, NULL);
}

static void a_delivery_without_memory_ends_the_channel(void)
{
	bench_begin();
	bench_open_with("");
	ops->consume(bench.attachment, 8);
	bench_run();
	bench_answer_all();
	*bench.sent = '\0';
	bench.no_frame = true;
	bench_deliver("g", 1, false, "a");
	BENCH_SENT("ack never; ");
	bench.no_frame = false;
	bench_deliver("g", 2, false, "b"); // behind it the order would not hold
	CHECK_EQ(bench.arrived_count, 0);
	bench_closed(CODE_BACKEND_ERROR, 406, "unknown tag");
	CHECK_EQ(bench.lost, 1);
	CHECK_EQ(bench.code, CODE_OVERLOADED);
	bench_end();
}

static void a_broker_that_lies_ends_its_channel(void)
{
	for (unsigned lie = 0; lie < 6; ++lie) {
		bench_begin();
		bench_open_with("");
		ops->consume(bench.attachment, 8);
		bench_run();
		bench_answer_all();
		bench_deliver("g", 5, false, "a");
		*bench.sent = '\0';
		if (lie == 0)
			bench_method(AMQP_BASIC_QOS_OK_METHOD, NULL); // not asked
		else if (lie == 1)
			bench_deliver("g", 5, false, "b"); // a tag again
		else if (lie == 2)
			bench_deliver("another", 6, false, "b");
		else if (lie == 3)
			bench_get_unasked(6);
		else if (lie == 4)
			bench_method(AMQP_BASIC_GET_EMPTY_METHOD, NULL);
		else
			bench_method(AMQP_QUEUE_DECLARE_OK_METHOD, NULL);
		BENCH_SENT("ack never; ");
		bench_closed(CODE_BACKEND_ERROR, 406, "unknown tag");
		CHECK_EQ(bench.lost, 1);
		CHECK_EQ(bench.code, CODE_PROTOCOL);
		bench_end();
	}
}

static void what_has_come_is_told_before_the_loss(void)
{
	bench_begin();
	bench_open_with("");
	ops->consume(bench.attachment, 8);
	bench_run();
	bench_answer_all();
	bench_deliver_more("g", 1);
	bench_deliver_half("g", 2);
	bench_closed(CODE_BACKEND_DOWN, 0, "reset");
	CHECK_EQ(bench.arrived_count, 1);
	CHECK_EQ(bench.lost, 1);
	bench_end();
}

// ---- acknowledgements

static void a_barrier_asks_each_queue_that_was_acknowledged(void)
{
	bench_begin();
	bench_open_with("g.retry");
	ops->consume(bench.attachment, 8);
	bench_run();
	bench_answer_all();
	*bench.sent = '\0';
	bench_deliver("g", 1, false, "a");
	bench_deliver("g.retry", 2, false, "b");
	bench_deliver("g", 3, false, "c");
	bench_deliver("g.retry", 4, false, "d");
	ops->ack(bench.attachment, (uint64_t[]){1}, 1);
	ops->barrier(bench.attachment);
	bench_run();
	BENCH_SENT("ack 1; declare g; ");
	CHECK_EQ(bench.passed, 0);
	bench_answer();
	CHECK_EQ(bench.passed, 1);
	ops->ack(bench.attachment, (uint64_t[]){2}, 1);
	ops->barrier(bench.attachment);
	bench_run();
	BENCH_SENT("ack 2; declare g.retry; ");
	bench_answer();
	CHECK_EQ(bench.passed, 2);
	ops->ack(bench.attachment, (uint64_t[]){4, 3}, 2);
	ops->barrier(bench.attachment);
	bench_run();
	BENCH_SENT("ack 4 and all; declare g.retry; declare g; ");
	bench_answer();
	CHECK_EQ(bench.passed, 2);
	bench_answer();
	CHECK_EQ(bench.passed, 3);
	bench_end();
}

static void what_is_asked_of_a_channel_that_is_lost_is_void(void)
{
	bench_begin();
	bench_open_with("");
	ops->consume(bench.attachment, 8);
	bench_run();
	bench_answer_all();
	bench_deliver("g", 1, false, "a");
	*bench.sent = '\0';
	ops->ack(bench.attachment, (uint64_t[]){1}, 1);
	ops->barrier(bench.attachment);
	bench_closed(CODE_BACKEND_DOWN, 0, "reset");
	ops->consume(bench.attachment, 0);
	bench_run();
	BENCH_SENT("");
	CHECK_EQ(bench.passed, 0);
	CHECK_EQ(bench.lost, 1);
	bench_open_with("");
	ops->consume(bench.attachment, 8);
	bench_run();
	BENCH_SENT("qos 6; consume g; ");
	bench_end();
}

// ---- proofs

// One command each, since the first of them is kept.
static void settle_evens(uint64_t from, uint64_t to)
{
	uint64_t tags[500];
	size_t count = 0;

	for (uint64_t tag = from; tag <= to; tag += 2)
		tags[count++] = tag;
	ops->ack(bench.attachment, tags, count);
	ops->barrier(bench.attachment);
	bench_run();
}

// How many acknowledgements were sent since the last look, and what is behind them.
static unsigned acks_sent(const char *rest)
{
	unsigned count = 0;
	const char *at = bench.sent;

	for (; strncmp(at, "ack ", 4) == 0; ++count)
		at = strstr(at, "; ") + 2;
	CHECK_STR(at, rest);
	*bench.sent = '\0';
	return count;
}

static void begin_with_delivered(uint32_t prefetch, uint64_t count)
{
	begin_with(prefetch);
	deliver("g", 1, count);
}

// Beyond that the broker holds back in silence, and answers a barrier all the same.
static void many_acknowledgements_want_a_proof(void)
{
	begin_with_delivered(400, 100);
	settle_evens(2, 64);
	CHECK_EQ(acks_sent("declare g; "), 32);
	bench_answer();
	CHECK_EQ(bench.passed, 1);
	settle_evens(66, 100);
	CHECK_EQ(acks_sent("declare g; "), 18); // is there anything to be got?
	bench_answer();
	BENCH_SENT("get g; ");
	bench_answer(); // nothing
	BENCH_SENT("declare g; ");
	CHECK_EQ(bench.passed, 1);
	bench_answer();
	CHECK_EQ(bench.passed, 2);
	bench_end();
}

static void one_command_for_a_thousand_needs_none(void)
{
	uint64_t tags[300];

	begin_with_delivered(400, 300);
	for (uint64_t i = 0; i < 300; ++i)
		tags[i] = 300 - i;
	ops->ack(bench.attachment, tags, 300);
	ops->barrier(bench.attachment);
	bench_run();
	BENCH_SENT("ack 300 and all; declare g; ");
	bench_answer();
	CHECK_EQ(bench.passed, 1);
	bench_end();
}

static void deliveries_are_a_proof(void)
{
	begin_with_delivered(400, 300); // all of its prefetch
	settle_evens(2, 300);
	CHECK_EQ(acks_sent("declare g; "), 150);
	deliver("g", 301, 449);
	BENCH_SENT("");
	deliver("g", 450, 450); // the last acknowledgement has done that
	BENCH_SENT("declare g; ");
	bench_answer(); // the look
	CHECK_EQ(bench.passed, 0);
	bench_answer();
	CHECK_EQ(bench.passed, 1);
	bench_end();
}

// What a get brings would come before what is on its way.
static void messages_that_are_ready_are_waited_for(void)
{
	begin_with_delivered(400, 100);
	settle_evens(2, 100);
	CHECK_EQ(acks_sent("declare g; "), 50);
	bench.main.messages = 5;
	bench_answer();
	BENCH_SENT("");
	bench_pass_ms(10);
	BENCH_SENT("declare g; ");
	bench_answer();
	BENCH_SENT("");
	for (unsigned i = 0; i < 250; ++i) { // another client has them
		bench_pass_ms(10);
		if (strcmp(bench.sent, "declare g; ") == 0)
			bench_answer();
		if (strcmp(bench.sent, "declare g; get g; ") == 0)
			break;
		*bench.sent = '\0';
	}
	BENCH_SENT("declare g; get g; ");
	bench_answer_get(200, "got");
	CHECK_EQ(bench.arrived_count, 101);
	CHECK_EQ(bench.arrived[100].tag, 200);
	CHECK_STR(bench.arrived[100].body, "got");
	BENCH_SENT("declare g; ");
	bench_answer();
	CHECK_EQ(bench.passed, 1);
	ops->ack(bench.attachment, (uint64_t[]){200}, 1);
	bench_run();
	BENCH_SENT("ack 200; ");
	bench_end();
}

// Nothing is held back for it; `.retry` is a quorum queue all the same.
static void a_classic_queue_needs_no_proof(void)
{
	begin_with_delivered(400, 100);
	bench.adapter.options.queue = RABBITMQ_CLASSIC;
	settle_evens(2, 100);
	CHECK_EQ(acks_sent("declare g; "), 50);
	CHECK_EQ(bench.passed, 0);
	bench_answer();
	CHECK_EQ(bench.passed, 1);
	BENCH_SENT("");
	bench_end();
}

static void a_full_consumer_is_ended_for_a_proof(void)
{
	begin_with_delivered(200, 150);
	consume(0);
	consume(300);
	CHECK_STR(bench.sent, "cancel g; qos 225; consume g; ");
	*bench.sent = '\0';
	deliver("g", 151, 375); // the next one is full, too
	settle_evens(2, 100);   // of the first one
	CHECK_EQ(acks_sent("cancel g; "), 50);
	bench_answer();
	BENCH_SENT("declare g; ");
	CHECK_EQ(bench.passed, 0);
	bench_answer();
	CHECK_EQ(bench.passed, 1);
	bench_end();
}

static void without_a_consumer_one_is_begun(void)
{
	begin_with_delivered(400, 300);
	consume(0);
	BENCH_SENT("cancel g; "); // it was full
	settle_evens(2, 100);
	CHECK_EQ(acks_sent("qos 1; consume g; "), 50);
	bench_answer();
	BENCH_SENT("");
	bench_answer();
	BENCH_SENT("declare g; ");
	CHECK_EQ(bench.passed, 0);
	bench_answer();
	CHECK_EQ(bench.passed, 1);
	bench_end();
}

// An answer on its way was asked for before the acknowledgements.
static void an_answer_to_an_earlier_request_proves_nothing(void)
{
	begin_with_delivered(400, 300);
	ops->consume(bench.attachment, 0);
	bench_run();
	BENCH_SENT("cancel g; ");
	settle_evens(2, 100);
	CHECK_EQ(acks_sent(""), 50);
	bench_answer();
	BENCH_SENT("qos 1; consume g; ");
	bench_answer_all();
	CHECK_EQ(bench.passed, 1);
	bench_end();
}

static void a_proof_ends_with_its_channel(void)
{
	begin_with_delivered(400, 100);
	settle_evens(2, 100);
	CHECK_EQ(acks_sent("declare g; "), 50);
	bench_closed(CODE_BACKEND_DOWN, 0, "reset");
	bench_pass_ms(100);
	BENCH_SENT("");
	bench_open_with("");
	*bench.sent = '\0';
	consume(400);
	BENCH_SENT("qos 300; consume g; ");
	deliver("g", 1, 100);
	settle_evens(2, 64);
	CHECK_EQ(acks_sent("declare g; "), 32);
	bench_answer();
	CHECK_EQ(bench.passed, 1);
	bench_end();
}

static void a_cut_is_an_error_of_ours(void)
{
	bench_begin();
	bench_open_with("");
	ops->cut(bench.attachment);
	bench_run();
	BENCH_SENT("ack never; ");
	CHECK_EQ(bench.lost, 0);
	bench_closed(CODE_BACKEND_ERROR, 406, "unknown tag");
	CHECK_EQ(bench.lost, 1);
	CHECK_EQ(bench.code, CODE_OVERLOADED);
	bench_end();
}

// ---- what comes again

// `.replay` had a message when the channel was opened, which has come.
static void replay_begin(void)
{
	bench_begin();
	bench.adapter.options.history = true;
	ops->open(bench.attachment, 7);
	bench_run();
	bench_found("g.replay");
	CHECK_EQ(bench.opens, 1);
	bench_channel_opened();
	BENCH_SENT("declare g; declare g.replay; ");
	bench_answer_all();
	CHECK_EQ(bench.opened, 1);
	ops->consume(bench.attachment, 10);
	bench_run();
	BENCH_SENT("qos 8; consume g.replay; ");
	bench_answer_all();
	bench_deliver("g", 1, false, "old");
	bench_pass_ms(30);
	BENCH_SENT(""); // something has come
	bench_pass_ms(30);
	BENCH_SENT("declare g.replay; ");
}

// The group's queue is consumed when two looks find `.replay` empty, and `.replay` deleted when all
// of it is acknowledged.
static void what_comes_again_comes_first(void)
{
	replay_begin();
	bench_answer();
	BENCH_SENT("");
	bench_pass_ms(30);
	BENCH_SENT("declare g.replay; ");
	bench_answer();
	BENCH_SENT("cancel g; ");
	bench_answer();
	BENCH_SENT("qos 8; consume g; ");
	bench_answer_all();
	bench_deliver("g", 2, false, "new");
	CHECK_EQ(bench.arrived_count, 2);
	CHECK_EQ(bench.asks, 1);
	ops->ack(bench.attachment, (uint64_t[]){1}, 1);
	ops->barrier(bench.attachment);
	bench_run();
	BENCH_SENT("ack 1; declare g.replay; ");
	CHECK_EQ(bench.asks, 1);
	bench_answer();
	CHECK_EQ(bench.passed, 1);
	CHECK_EQ(bench.asks, 2); // it is deleted, if it is there and empty
	bench_found("");
	CHECK_EQ(bench.lost, 0);
	bench_end();
}

static void what_is_left_of_it_is_waited_for(void)
{
	replay_begin();
	bench.replay.messages = 2;
	bench_answer();
	for (unsigned i = 0; i < 5; ++i) {
		bench_pass_ms(499);
		BENCH_SENT("");
		bench_pass_ms(1);
		BENCH_SENT("declare g.replay; ");
		bench_answer();
	}
	ops->count(bench.attachment);
	bench_run();
	BENCH_SENT("declare g; declare g.replay; ");
	bench.main.messages = 30;
	bench_answer_all();
	CHECK_EQ(bench.counts.ready, 32);
	bench_closed(CODE_NOT_FOUND, 404, "NOT_FOUND - no queue 'g.replay' in vhost '/'");
	CHECK_EQ(bench.gone, 0); // it is the group's queue that must not be missing
	CHECK_EQ(bench.lost, 1);
	ops->open(bench.attachment, 8); // what is there is looked for anew
	bench_run();
	CHECK_EQ(bench.asks, 2);
	bench_found("");
	bench_channel_opened();
	BENCH_SENT("declare g; ");
	bench_answer_all();
	CHECK_EQ(bench.opened, 2);
	bench_end();
}

int main(void)
{
	static const struct unit_case cases[] = {
		{"a channel is opened when no consumer is left",
		 a_channel_is_opened_when_no_consumer_is_left},
		{"the retry queue is looked at, too", the_retry_queue_is_looked_at_too},
		{"native clients are waited for once", native_clients_are_waited_for_once},
		{"a native client that leaves is not forgotten",
		 a_native_client_that_leaves_is_not_forgotten},
		{"open waits for the link", open_waits_for_the_link},
		{"a refusal is a loss", a_refusal_is_a_loss},
		{"a retry store that may not be seen is a loss",
		 a_retry_store_that_may_not_be_seen_is_a_loss},
		{"a queue that is not there is gone", a_queue_that_is_not_there_is_gone},
		{"a queue that is idle is looked for", a_queue_that_is_idle_is_looked_for},
		{"a topic that was deleted ends its sources",
		 a_topic_that_was_deleted_ends_its_sources},
		{"a queue whose node is down is not gone", a_queue_whose_node_is_down_is_not_gone},
		{"a retry queue that is not there any more is a loss",
		 a_retry_queue_that_is_not_there_any_more_is_a_loss},
		{"a consumer that the broker ends", a_consumer_that_the_broker_ends},
		{"a prefetch is shared", a_prefetch_is_shared},
		{"answers about consumers may be late", answers_about_consumers_may_be_late},
		{"nothing is cancelled while something may be on its way",
		 nothing_is_cancelled_while_something_may_be_on_its_way},
		{"a full consumer is cancelled before an acknowledgement",
		 a_full_consumer_is_cancelled_before_an_acknowledgement},
		{"a consumer is cancelled when it has begun",
		 a_consumer_is_cancelled_when_it_has_begun},
		{"a prefetch grows by the next consumer", a_prefetch_grows_by_the_next_consumer},
		{"what is beyond the prefetch is kept", what_is_beyond_the_prefetch_is_kept},
		{"a prefetch shrinks in the end", a_prefetch_shrinks_in_the_end},
		{"what is kept for long is handed on", what_is_kept_for_long_is_handed_on},
		{"a shorter timeout of the broker is learned",
		 a_shorter_timeout_of_the_broker_is_learned},
		{"what is kept leaves before a timeout that was learned",
		 what_is_kept_leaves_before_a_timeout_that_was_learned},
		{"what is kept is void with its channel", what_is_kept_is_void_with_its_channel},
		{"one place is one for both queues", one_place_is_one_for_both_queues},
		{"a retry queue made later is consumed, too",
		 a_retry_queue_made_later_is_consumed_too},
		{"deliveries of a round come together", deliveries_of_a_round_come_together},
		{"a copy says what it is", a_copy_says_what_it_is},
		{"both queues give back before anything counts as new",
		 both_queues_give_back_before_anything_counts_as_new},
		{"what was acknowledged is not waited for",
		 what_was_acknowledged_is_not_waited_for},
		{"a message that is too large is set aside",
		 a_message_that_is_too_large_is_set_aside},
		{"a delivery without memory ends the channel",
		 a_delivery_without_memory_ends_the_channel},
		{"a broker that lies ends its channel", a_broker_that_lies_ends_its_channel},
		{"what has come is told before the loss", what_has_come_is_told_before_the_loss},
		{"a barrier asks each queue that was acknowledged",
		 a_barrier_asks_each_queue_that_was_acknowledged},
		{"what is asked of a channel that is lost is void",
		 what_is_asked_of_a_channel_that_is_lost_is_void},
		{"many acknowledgements want a proof", many_acknowledgements_want_a_proof},
		{"one command for a thousand needs none", one_command_for_a_thousand_needs_none},
		{"deliveries are a proof", deliveries_are_a_proof},
		{"a classic queue needs no proof", a_classic_queue_needs_no_proof},
		{"messages that are ready are waited for", messages_that_are_ready_are_waited_for},
		{"a full consumer is ended for a proof", a_full_consumer_is_ended_for_a_proof},
		{"without a consumer one is begun", without_a_consumer_one_is_begun},
		{"an answer to an earlier request proves nothing",
		 an_answer_to_an_earlier_request_proves_nothing},
		{"a proof ends with its channel", a_proof_ends_with_its_channel},
		{"a cut is an error of ours", a_cut_is_an_error_of_ours},
		{"what comes again comes first", what_comes_again_comes_first},
		{"what is left of it is waited for", what_is_left_of_it_is_waited_for},
	};

	return unit_main(cases, ARRAY_SIZE(cases));
}
