// adapters/request, adapters/log/moves, messages: what every administrative request of an adapter
// has.

#include "adapters/log/messages.h"
#include "adapters/log/moves.h"
#include "adapters/request.h"
#include "tests/unit/unit.h"

struct told {
	unsigned times;
	enum code code;
	enum answer_kind kind; // 0: no answer
};

static void on_done(void *ctx, enum code code, const char *text)
{
	struct told *told = ctx;

	++told->times;
	told->code = code;
}

static void on_answer(void *ctx, enum code code, const struct adapter_answer *answer,
		      const char *text)
{
	struct told *told = ctx;

	on_done(ctx, code, text);
	told->kind = answer ? answer->kind : 0;
}

static const struct adapter_answer answer = {.kind = ANSWER_PURGE};

static void requests_hold_and_let_go(void)
{
	struct topic *topic = model_new(MODEL_TOPIC, &(struct topic){.name = "t"});
	struct told told = {0};
	struct request held;

	request_hold(&(struct request){.topic = topic, .answer_done = on_answer, .ctx = &told},
		     &held);
	CHECK_EQ(topic->object.refs, 2);
	request_end(&held, CODE_OK, &answer, NULL);
	CHECK_EQ(topic->object.refs, 1);
	CHECK_EQ(told.times, 1);
	CHECK_EQ(told.code, CODE_OK);
	CHECK_EQ(told.kind, ANSWER_PURGE);
	model_unref(topic);
}

// An answer that was gathered before something failed is not passed on.
static void failures_carry_no_answer(void)
{
	struct told told = {0};
	struct request held;

	request_hold(&(struct request){.answer_done = on_answer, .ctx = &told}, &held);
	request_end(&held, CODE_TIMEOUT, &answer, NULL);
	CHECK_EQ(told.code, CODE_TIMEOUT);
	CHECK_EQ(told.kind, 0);
	request_hold(&(struct request){.done = on_done, .ctx = &told}, &held);
	request_end(&held, CODE_OK, NULL, NULL);
	CHECK_EQ(told.times, 2);
	CHECK_EQ(told.code, CODE_OK);
}

static void second_answers_abort(void)
{
	struct told told = {0};
	struct request held;

	request_hold(&(struct request){.done = on_done, .ctx = &told}, &held);
	request_end(&held, CODE_OK, NULL, NULL);
	CHECK_ABORTS(request_end(&held, CODE_OK, NULL, NULL));
	request_hold(&(struct request){.answer_done = on_answer, .ctx = &told}, &held);
	CHECK_ABORTS(request_end(&held, CODE_OK, NULL, NULL)); // OK, but nothing to tell
}

static void moves_are_gathered(void)
{
	struct moves moves = {0};
	struct adapter_answer reset;

	CHECK_EQ(moves_begin(&moves, 2), 0);
	moves_add(&moves, 0, 3, 9, 4);
	CHECK_EQ(moves_begin(&moves, 2), 0); // the transaction is tried again
	moves_add(&moves, 0, 3, 9, 5);
	moves_add(&moves, 1, 9, 3, 0);
	CHECK_ABORTS(moves_add(&moves, 1, 9, 3, 0));
	reset = moves_answer(&moves);
	CHECK_EQ(reset.kind, ANSWER_RESET);
	CHECK_EQ(reset.reset.count, 2);
	CHECK_EQ(reset.reset.rows[0].skipped, 5);
	CHECK_EQ(reset.reset.rows[0].replayed, 0);
	CHECK_EQ(reset.reset.rows[1].replayed, 6);
	moves_deinit(&moves);
}

static void messages_say_where_to_go_on(void)
{
	const struct message_query query = {.partition = 2, .offset = 7, .limit = 3};
	const struct log_entry entries[] = {{.offset = 7, .stored_ms = 5}, {.offset = 9}};
	struct stored_message rows[MESSAGE_QUERY_MAX];
	struct log_fetch fetch;
	struct adapter_answer found;

	messages_fetch(&query, &fetch);
	CHECK_EQ(fetch.partition, 2);
	CHECK_EQ(fetch.offset, 7);
	CHECK_EQ(fetch.max_messages, 3);
	fetch.entries = entries;
	fetch.count = 2;
	fetch.next = 10;
	fetch.until = 20;
	found = messages_answer(&fetch, rows);
	CHECK_EQ(found.messages.count, 2);
	CHECK_EQ(found.messages.rows[1].offset, 9);
	CHECK_EQ(found.messages.next, 10);
	fetch.next = 20;
	CHECK_EQ(messages_answer(&fetch, rows).messages.next, ANSWER_NONE);
	fetch.count = 0; // only positions without a message are left
	fetch.next = 10;
	CHECK_EQ(messages_answer(&fetch, rows).messages.next, ANSWER_NONE);
}

UNIT_MAIN(UNIT_CASE(requests_hold_and_let_go), UNIT_CASE(failures_carry_no_answer),
	  UNIT_CASE(second_answers_abort), UNIT_CASE(moves_are_gathered),
	  UNIT_CASE(messages_say_where_to_go_on))
