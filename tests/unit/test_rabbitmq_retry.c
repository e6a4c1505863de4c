// Copies, counts and the end of a source on RabbitMQ (adapters/rabbitmq/receive/), over links that
// are the test's.

#include "adapters/rabbitmq/ask/ask.h"
#include "adapters/rabbitmq/receive/receiver_state.h"
#include "adapters/rabbitmq/receive/store_memo.h"
#include "adapters/rabbitmq/send/sender.h"
#include "core/base/clock.h"
#include "tests/unit/rabbitmq/receive_bench.h"

#define MINUTE_MS 60000ull

// ---- copies

static void a_copy_goes_to_the_queue_of_its_time(void)
{
	static const struct {
		uint32_t attempts;
		uint64_t due_in_ms;
		const char *queue;
	} cases[] = {
		{1, 0, "g"},
		{0, 0, "g"},
		{1, 1, "g.retry"},
		{1, MINUTE_MS - 1, "g.retry"},
		{1, MINUTE_MS, "g.retry-60"},
		{0, MINUTE_MS, "g.delay-60"},
		{0, 4 * MINUTE_MS - 1, "g.delay-60"},
		{2, 4 * MINUTE_MS, "g.retry-240"},
		{2, 365 * 24 * 60 * MINUTE_MS, "g.retry-245760"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); ++i) {
		bench_begin();
		bench_open_with("g.retry g.retry-60 g.retry-240 g.retry-960 g.retry-3840 "
				"g.retry-15360 g.retry-61440 g.retry-245760 g.delay-60");
		CHECK(bench_write(9, cases[i].attempts, cases[i].due_in_ms, false));
		CHECK(bench.post != NULL);
		CHECK_STR(bench.post->queue, cases[i].queue);
		CHECK_EQ(bench.post->attempts, cases[i].attempts);
		CHECK_EQ(bench.post->partition, 2);
		CHECK_EQ(bench.post->stored_ms, 44);
		CHECK_EQ(bench.post->due_ms,
			 cases[i].due_in_ms ? bench.wall_ms + cases[i].due_in_ms : 0);
		bench_posted(OUTCOME_OK, CODE_OK);
		CHECK_EQ(bench.written, 1);
		CHECK_EQ(bench.written_number, 9);
		CHECK_EQ(bench.outcome, QUEUE_WRITTEN);
		bench_end();
	}
}

// The group's own queue is not made anew, and an imported one gets no copies.
static void what_is_due_at_once_is_ready(void)
{
	bench_begin();
	bench_open_with("");
	CHECK(bench_write(1, 1, 0, false));
	CHECK(!bench.ask);
	CHECK_STR(bench.post->queue, "g");
	bench_posted(OUTCOME_REJECTED, CODE_NO_ROUTE);
	CHECK(!bench.ask);
	CHECK_EQ(bench.written, 1);
	CHECK_EQ(bench.outcome, QUEUE_REFUSED);
	bench_end();
	bench_begin();
	bench.group.imported = true;
	bench_open_with("g~0.retry");
	CHECK(bench_write(1, 1, 0, false));
	CHECK_STR(bench.post->queue, "g~0.retry");
	bench_posted(OUTCOME_OK, CODE_OK);
	bench_end();
}

static void a_queue_is_made_when_it_is_first_needed(void)
{
	bench_begin();
	bench_open_with("");
	CHECK(bench_write(1, 1, 5 * MINUTE_MS, false));
	CHECK(!bench.post && bench.ask);
	CHECK_EQ(bench.ask->count, 3); // and the shorter ones, which it will need
	CHECK_STR(bench.ask->steps[0].name, "g.retry");
	CHECK_EQ(bench.ask->steps[0].shape.ttl_ms, 0);
	CHECK_EQ(bench.ask->steps[0].shape.replication, 5);
	CHECK_STR(bench.ask->steps[0].shape.kind, "quorum");
	CHECK_STR(bench.ask->steps[1].name, "g.retry-60");
	CHECK_EQ(bench.ask->steps[1].shape.ttl_ms, MINUTE_MS);
	CHECK_STR(bench.ask->steps[1].shape.dead_letter_key, "g.retry");
	CHECK_STR(bench.ask->steps[2].name, "g.retry-240");
	CHECK_EQ(bench.ask->steps[2].shape.ttl_ms, 4 * MINUTE_MS);
	bench_found("");
	CHECK_STR(bench.post->queue, "g.retry-240");
	bench_posted(OUTCOME_OK, CODE_OK);
	CHECK(bench_write(2, 1, 2 * MINUTE_MS, false)); // it is known now
	CHECK(!bench.ask);
	bench_posted(OUTCOME_OK, CODE_OK);
	CHECK(bench_write(3, 0, 2 * MINUTE_MS, false)); // the other ladder is not
	CHECK_EQ(bench.ask->count, 2);
	CHECK_STR(bench.ask->steps[1].name, "g.delay-60");
	bench_found("");
	bench_posted(OUTCOME_OK, CODE_OK);
	CHECK_EQ(bench.written, 3);
	bench_end();
}

static void a_queue_that_was_deleted_is_made_again_once(void)
{
	bench_begin();
	bench_open_with("g.retry");
	CHECK(bench_write(1, 1, 1000, false));
	bench_posted(OUTCOME_REJECTED, CODE_NO_ROUTE);
	CHECK_EQ(bench.written, 0);
	CHECK_STR(bench.ask->steps[0].name, "g.retry");
	bench_found("");
	CHECK_EQ(bench.posts, 2);
	bench_posted(OUTCOME_REJECTED, CODE_NO_ROUTE);
	CHECK_EQ(bench.written, 1);
	CHECK_EQ(bench.outcome, QUEUE_REFUSED);
	CHECK_EQ(bench.code, CODE_NO_ROUTE);
	bench_end();
}

static void a_write_says_how_it_ended(void)
{
	static const struct {
		enum outcome outcome;
		enum code code;
		enum queue_outcome expected;
	} cases[] = {
		{OUTCOME_REJECTED, CODE_BACKEND_DOWN, QUEUE_REFUSED},
		{OUTCOME_REJECTED, CODE_BACKEND_FULL, QUEUE_REFUSED},
		{OUTCOME_UNKNOWN, CODE_CONNECTION_LOST, QUEUE_DOUBT},
		{OUTCOME_OK, CODE_OK, QUEUE_WRITTEN},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); ++i) {
		bench_begin();
		bench_open_with("g.retry");
		CHECK(bench_write(1, 1, 1000, false));
		bench_closed(CODE_BACKEND_DOWN, 0, "reset"); // changes nothing of it
		CHECK_EQ(bench.written, 0);
		bench_posted(cases[i].outcome, cases[i].code);
		CHECK_EQ(bench.written, 1);
		CHECK_EQ(bench.outcome, cases[i].expected);
		CHECK_EQ(bench.code, cases[i].code);
		CHECK_STR(bench.text, "words of the sender");
		bench_end();
	}
}

static void a_queue_that_cannot_be_made_refuses(void)
{
	bench_begin();
	bench_open_with("");
	CHECK(bench_write(1, 1, 1000, false));
	bench_ask_fails(CODE_FORBIDDEN);
	CHECK_EQ(bench.outcome, QUEUE_REFUSED);
	CHECK_EQ(bench.code, CODE_FORBIDDEN);
	CHECK_STR(bench.text, "cluster c: words");
	CHECK(bench_write(2, 1, 1000, false)); // and is tried again
	bench_found("");
	bench_posted(OUTCOME_OK, CODE_OK);
	CHECK_EQ(bench.outcome, QUEUE_WRITTEN);
	bench_end();
}

static void a_second_may_be_shortened(void)
{
	bench_begin();
	bench.adapter.receiver->second_ms = 10;
	bench_open_with("");
	CHECK(bench_write(1, 1, 2400, false));
	CHECK_EQ(bench.ask->steps[1].shape.ttl_ms, 600);
	CHECK_EQ(bench.ask->steps[2].shape.ttl_ms, 2400);
	bench_found("");
	CHECK_STR(bench.post->queue, "g.retry-240");
	bench_posted(OUTCOME_OK, CODE_OK);
	bench_end();
}

// ---- counts

static void a_count_adds_up_what_is_there(void)
{
	bench_begin();
	bench_open_with("g.retry g.retry-60 g.retry-240 g.delay-60");
	bench.main.messages = 10;
	bench.retry.messages = 20;
	ops->count(bench.attachment);
	bench_run();
	BENCH_SENT("declare g; declare g.retry; ");
	CHECK_EQ(bench.ask->count, 3);
	bench_answer();
	bench_answer();
	CHECK_EQ(bench.counted, 0);
	bench_found("g.retry-60 g.delay-60"); // one was deleted
	CHECK_EQ(bench.counted, 1);
	CHECK_EQ(bench.counts.ready, 10);
	CHECK_EQ(bench.counts.retrying, 23);
	CHECK_EQ(bench.counts.delayed, 3);
	bench_end();
}

static void without_levels_only_the_channel_is_asked(void)
{
	bench_begin();
	bench_open_with("");
	bench.main.messages = 10;
	ops->count(bench.attachment);
	CHECK_EQ(bench.counted, 0);
	bench_run();
	CHECK(!bench.ask);
	bench_answer();
	CHECK_EQ(bench.counted, 1);
	CHECK_EQ(bench.counts.ready, 10);
	CHECK_EQ(bench.counts.retrying, 0);
	bench_end();
}

static void a_count_that_fails_says_so(void)
{
	bench_begin();
	bench_open_with("g.retry g.retry-60");
	ops->count(bench.attachment);
	bench_run();
	bench_answer();
	bench_closed(CODE_BACKEND_DOWN, 0, "reset"); // the second answer is missing
	CHECK_EQ(bench.counted, 0);
	bench_found("g.retry-60");
	CHECK_EQ(bench.counted, 1);
	CHECK(!bench.counts_known);
	ops->count(bench.attachment); // no channel
	bench_run();
	bench_ask_fails(CODE_TIMEOUT);
	CHECK_EQ(bench.counted, 2);
	CHECK(!bench.counts_known);
	bench_open_with("");
	ops->count(bench.attachment);
	bench_run();
	bench_answer_all();
	bench_ask_fails(CODE_TIMEOUT);
	CHECK_EQ(bench.counted, 3);
	CHECK(!bench.counts_known);
	bench_end();
}

// What waits in .retry in the place of what is held is counted with the queue.
static void renewals_count_as_ready(void)
{
	bench_begin();
	bench_open_with("g.retry");
	ops->consume(bench.attachment, 8);
	bench_run();
	bench_answer_all();
	CHECK(bench_write(1, 0, 0, true));
	bench_posted(OUTCOME_OK, CODE_OK);
	CHECK(bench_write(2, 0, 0, true));
	bench_posted(OUTCOME_REJECTED, CODE_BACKEND_DOWN);
	bench.main.messages = 10;
	bench.retry.messages = 4;
	ops->count(bench.attachment);
	bench_run();
	bench_answer_all();
	CHECK_EQ(bench.counts.ready, 11);
	CHECK_EQ(bench.counts.retrying, 3);
	bench_deliver("g.retry", 1, false, "R");
	ops->count(bench.attachment);
	bench_run();
	bench_answer_all();
	CHECK_EQ(bench.counts.ready, 10);
	CHECK_EQ(bench.counts.retrying, 4);
	bench_end();
}

// ---- the retry store by itself

static struct {
	unsigned done;
	enum code code;
} looked;

static void on_looked(struct rabbitmq_store_look *look, enum code code, const char *text)
{
	++looked.done;
	looked.code = code;
}

static void a_look_finds_ladders_of_any_length(void)
{
	static const struct {
		const char *names;
		bool retry;
		unsigned delay, attempts, asks;
	} cases[] = {
		{"g", false, 0, 0, 1},
		{"g g.retry", true, 0, 0, 2},
		{"g g.retry g.delay-60", true, 1, 0, 3},
		{"g g.retry g.retry-60 g.retry-240 g.delay-60", true, 1, 2, 4},
		{"g g.retry g.retry-60 g.retry-240 g.retry-960 g.retry-3840 g.retry-15360 "
		 "g.retry-61440 g.retry-245760",
		 true, 0, 7, 8},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); ++i) {
		struct rabbitmq_store_look look = {.with_queue = true, .done = on_looked};

		bench_begin();
		memset(&looked, 0, sizeof looked);
		look.adapter = &bench.adapter;
		look.group = &bench.group;
		rabbitmq_store_look(&look);
		while (bench.ask)
			bench_found(cases[i].names);
		CHECK_EQ(looked.done, 1);
		CHECK_EQ(looked.code, CODE_OK);
		CHECK_EQ(look.store.retry, cases[i].retry);
		CHECK_EQ(look.store.levels[0], cases[i].delay);
		CHECK_EQ(look.store.levels[1], cases[i].attempts);
		CHECK_EQ(look.counts.ready, 3);
		CHECK_EQ(look.counts.retrying, 3 * (cases[i].attempts + cases[i].retry));
		CHECK_EQ(look.counts.delayed, 3 * cases[i].delay);
		CHECK_EQ(bench.asks, cases[i].asks);
		bench_end();
	}
}

static void a_look_at_a_group_that_is_not_there(void)
{
	struct rabbitmq_store_look look = {.with_queue = true, .done = on_looked};

	bench_begin();
	memset(&looked, 0, sizeof looked);
	look.adapter = &bench.adapter;
	look.group = &bench.group;
	rabbitmq_store_look(&look);
	bench_found("g.retry");
	CHECK_EQ(looked.code, CODE_NOT_FOUND);
	bench_end();
}

// ---- the end

static void the_end_comes_at_any_moment(void)
{
	for (unsigned moment = 0; moment < 8; ++moment) {
		struct rabbitmq_ask *ask;

		bench_begin();
		ops->open(bench.attachment, 7);
		if (moment > 0)
			bench_run();
		bench.main.consumers = moment == 4;
		if (moment > 1)
			bench_found("");
		if (moment > 2)
			bench_channel_opened();
		if (moment > 3)
			bench_answer();
		if (moment > 5) {
			ops->consume(bench.attachment, 8);
			bench_run();
			bench_answer_all();
		}
		if (moment > 6)
			bench_deliver("g", 1, false, "a");
		ask = bench.ask;
		bench_end();
		CHECK_EQ(bench.closes, moment >= 2 && moment <= 5);
		CHECK_EQ(bench.lost + bench.gone, 0);
		if (ask) { // answered long after the source is gone
			CHECK_EQ(loop_new("test", &bench.loop), 0);
			bench_found("");
			loop_free(bench.loop);
		}
	}
}

// A consumer may have something on its way: the channel is cut. Without one it is closed in order.
static void the_end_gives_back_in_order(void)
{
	for (unsigned full = 0; full < 2; ++full) {
		bench_begin();
		bench_open_with("");
		ops->consume(bench.attachment, 2);
		bench_run();
		bench_answer_all();
		if (full)
			bench_deliver("g", 1, false, "a");
		*bench.sent = '\0';
		ops->consume(bench.attachment, 0);
		bench_run();
		if (full) {
			BENCH_SENT("cancel g; ");
			bench_answer();
			ops->ack(bench.attachment, (uint64_t[]){1}, 1);
			bench_run();
			BENCH_SENT("ack 1; ");
		}
		ops->detach(bench.attachment);
		bench_run();
		BENCH_SENT(full ? "close; " : "ack never; ");
		bench_closed(CODE_OK, 0, NULL);
		CHECK_EQ(bench.detached, 1);
		CHECK_EQ(bench.lost, 0);
		rabbitmq_receiver_stop(&bench.adapter);
		rabbitmq_store_memo_stop(&bench.adapter);
		loop_free(bench.loop);
	}
}

static void the_end_answers_a_count(void)
{
	for (unsigned answered = 0; answered < 2; ++answered) {
		struct rabbitmq_ask *ask;

		bench_begin();
		bench_open_with("g.retry g.retry-60");
		ops->count(bench.attachment);
		bench_run();
		if (answered)
			bench_answer_all();
		ask = bench.ask;
		CHECK(ask != NULL);
		ops->detach(bench.attachment);
		CHECK_EQ(bench.counted, 0);
		bench_run();
		bench_closed(CODE_OK, 0, NULL);
		CHECK_EQ(bench.counted, 1);
		CHECK(!bench.counts_known);
		CHECK_EQ(bench.detached, 1);
		bench_found("");
		rabbitmq_receiver_stop(&bench.adapter);
		rabbitmq_store_memo_stop(&bench.adapter);
		loop_free(bench.loop);
	}
}

static void the_end_waits_for_an_answer_on_its_way(void)
{
	bench_begin();
	bench_open_with("g.retry g.retry-60");
	ops->count(bench.attachment);
	bench_run();
	bench_answer_all();
	bench.ask->done(bench.ask, CODE_OK, NULL); // posted, and not seen yet
	ops->detach(bench.attachment);
	bench_run();
	CHECK_EQ(bench.counted, 1);
	bench_closed(CODE_OK, 0, NULL);
	CHECK_EQ(bench.detached, 1);
	rabbitmq_receiver_stop(&bench.adapter);
	rabbitmq_store_memo_stop(&bench.adapter);
	loop_free(bench.loop);
}

int main(void)
{
	static const struct unit_case cases[] = {
		{"a copy goes to the queue of its time", a_copy_goes_to_the_queue_of_its_time},
		{"what is due at once is ready", what_is_due_at_once_is_ready},
		{"a queue is made when it is first needed",
		 a_queue_is_made_when_it_is_first_needed},
		{"a queue that was deleted is made again, once",
		 a_queue_that_was_deleted_is_made_again_once},
		{"a write says how it ended", a_write_says_how_it_ended},
		{"a queue that cannot be made refuses", a_queue_that_cannot_be_made_refuses},
		{"a second may be shortened", a_second_may_be_shortened},
		{"a count adds up what is there", a_count_adds_up_what_is_there},
		{"without levels only the channel is asked",
		 without_levels_only_the_channel_is_asked},
		{"a count that fails says so", a_count_that_fails_says_so},
		{"renewals count as ready", renewals_count_as_ready},
		{"a look finds ladders of any length", a_look_finds_ladders_of_any_length},
		{"a look at a group that is not there", a_look_at_a_group_that_is_not_there},
		{"the end comes at any moment", the_end_comes_at_any_moment},
		{"the end gives back in order", the_end_gives_back_in_order},
		{"the end answers a count", the_end_answers_a_count},
		{"the end waits for an answer on its way", the_end_waits_for_an_answer_on_its_way},
	};

	return unit_main(cases, ARRAY_SIZE(cases));
}
