// Requests on the ask link of the RabbitMQ adapter, over a link that is the test's: every method
// that is sent is noted, and the test answers it.

#include "adapters/rabbitmq/ask/ask.h"
#include "core/base/clock.h"
#include "tests/unit/unit.h"

#include <stdio.h>

// ---- the link

#define CHANNELS 16

static struct {
	struct loop *loop;
	struct rabbitmq_channel *channels[CHANNELS]; // that were opened, in order
	size_t opened, closed;
	bool up, answers_nothing;
	const char *version;
	amqp_method_number_t sent;
	struct rabbitmq_channel *on; // which it was sent on
	unsigned sent_count;

	char arguments[512], name[300];
} line;

struct event {
	struct loop_task task;
	struct rabbitmq_channel *channel;
	bool opened;
	enum code code;
	uint16_t reply;
	const char *text;
};

static void on_event(struct loop_task *task)
{
	struct event *event = CONTAINER_OF(task, struct event, task);

	if (event->opened)
		event->channel->handlers->opened(event->channel);
	else
		event->channel->handlers->closed(event->channel, event->code, event->reply,
						 event->text);
	free(event);
}

static void event_post(struct event draft)
{
	struct event *event = calloc(1, sizeof *event);

	*event = draft;
	event->task.fn = on_event;
	loop_post(line.loop, &event->task);
}

struct loop *rabbitmq_link_loop(struct rabbitmq_link *link)
{
	return line.loop;
}

bool rabbitmq_link_is_up(const struct rabbitmq_link *link)
{
	return line.up;
}

void rabbitmq_link_version(struct rabbitmq_link *link, char *room, size_t size)
{
	snprintf(room, size, "%s", line.version);
}

void rabbitmq_channel_open(struct rabbitmq_link *link, struct rabbitmq_channel *channel,
			   const struct rabbitmq_channel_handlers *handlers)
{
	CHECK(line.opened < CHANNELS);
	channel->handlers = handlers;
	line.channels[line.opened++] = channel;
	if (line.up)
		event_post((struct event){.channel = channel, .opened = true});
}

void rabbitmq_channel_close(struct rabbitmq_channel *channel)
{
	++line.closed;
	if (!line.answers_nothing)
		event_post((struct event){.channel = channel});
}

static void entry_note(const amqp_table_entry_t *entry)
{
	char *end = line.arguments + strlen(line.arguments);
	size_t room = sizeof line.arguments - strlen(line.arguments);

	if (entry->value.kind == AMQP_FIELD_KIND_UTF8)
		snprintf(end, room, "%.*s=%.*s ", (int)entry->key.len, (char *)entry->key.bytes,
			 (int)entry->value.value.bytes.len, (char *)entry->value.value.bytes.bytes);
	else
		snprintf(end, room, "%.*s=%lld ", (int)entry->key.len, (char *)entry->key.bytes,
			 (long long)entry->value.value.i64);
}

bool rabbitmq_channel_send(struct rabbitmq_channel *channel, amqp_method_number_t id, void *decoded)
{
	line.on = channel;
	line.sent = id;
	++line.sent_count;
	*line.arguments = '\0';
	if (id == AMQP_QUEUE_DECLARE_METHOD) {
		const amqp_queue_declare_t *declare = decoded;

		snprintf(line.name, sizeof line.name, "%.*s", (int)declare->queue.len,
			 (char *)declare->queue.bytes);
		for (int i = 0; i < declare->arguments.num_entries; ++i)
			entry_note(&declare->arguments.entries[i]);
		CHECK(declare->passive || declare->durable);
	}
	return true;
}

// ---- the bench

static struct adapter adapter = {.options.timeout_ms = 60000};

static void on_turn(struct loop_task *task)
{
	loop_stop(line.loop);
}

// Everything that was posted so far runs, and what follows from it.
static void turn(void)
{
	struct loop_task task = {.fn = on_turn};

	for (int i = 0; i < 4; ++i) {
		loop_post(line.loop, &task);
		loop_run(line.loop);
	}
}

struct asked {
	struct rabbitmq_ask ask;
	struct rabbitmq_step steps[4];
	bool done;
	enum code code;
	char text[600];
};

static void on_done(struct rabbitmq_ask *ask, enum code code, const char *text)
{
	struct asked *asked = CONTAINER_OF(ask, struct asked, ask);

	CHECK(!asked->done);
	asked->done = true;
	asked->code = code;
	snprintf(asked->text, sizeof asked->text, "%s", text ? text : "");
}

static void asked_run(struct asked *asked, size_t count, unsigned wait_ms)
{
	asked->ask =
		(struct rabbitmq_ask){.adapter = &adapter,
				      .steps = asked->steps,
				      .count = count,
				      .deadline_ns = wait_ms ? clock_now_ns() + wait_ms * MS_NS : 0,
				      .done = on_done};
	rabbitmq_ask_run(&asked->ask);
	turn();
}

static void begin(const char *version)
{
	static char cluster[] = "c";

	memset(&line, 0, sizeof line);
	adapter.cluster = cluster;
	line.up = true;
	line.version = version;
	CHECK_EQ(loop_new("test", &line.loop), 0);
	CHECK_EQ(rabbitmq_ask_start(&adapter), 0);
}

static void answer(amqp_method_number_t id, void *decoded)
{
	amqp_method_t method = {.id = id, .decoded = decoded};

	line.on->handlers->method(line.on, &method);
	turn();
}

static void refuse(uint16_t reply, const char *text)
{
	event_post((struct event){
		.channel = line.on, .code = CODE_BACKEND_ERROR, .reply = reply, .text = text});
	turn();
}

static void *run_loop(void *ctx)
{
	loop_run(ctx);
	return NULL;
}

// The loop runs on a thread while the asker is stopped, as stopping waits for it.
static void end(void)
{
	struct loop_task task = {.fn = on_turn};
	pthread_t thread;

	CHECK_EQ(pthread_create(&thread, NULL, run_loop, line.loop), 0);
	rabbitmq_ask_stop(&adapter);
	loop_post(line.loop, &task);
	pthread_join(thread, NULL);
	for (size_t i = 0; i < line.opened; ++i) // as the link does when it stops
		if (adapter.asker && line.channels[i])
			event_post((struct event){.channel = line.channels[i]});
	turn();
	rabbitmq_ask_free(&adapter);
	loop_free(line.loop);
}

// Of channels that were told closed() already.
static void channel_gone(size_t index)
{
	line.channels[index] = NULL;
}

// ---- cases

static void steps_are_carried_out_in_order(void)
{
	struct asked asked = {.steps = {{.verb = RABBITMQ_EXCHANGE_LOOK, .name = "e"},
					{.verb = RABBITMQ_QUEUE_LOOK, .name = "q"},
					{.verb = RABBITMQ_QUEUE_DELETE, .name = "q"}}},
		     second = {.steps = {{.verb = RABBITMQ_QUEUE_PURGE, .name = "q"}}};
	amqp_queue_declare_ok_t there = {.message_count = 7, .consumer_count = 2};
	amqp_queue_delete_ok_t gone = {.message_count = 5};
	amqp_queue_purge_ok_t purged = {.message_count = 3};

	begin("3.10.8");
	asked_run(&asked, 3, 0);
	asked_run(&second, 1, 0);
	CHECK_EQ(line.sent, AMQP_EXCHANGE_DECLARE_METHOD);
	CHECK_EQ(line.sent_count, 1);                 // one at a time
	answer(AMQP_QUEUE_DECLARE_OK_METHOD, &there); // of nothing that was asked
	CHECK_EQ(line.sent_count, 1);
	answer(AMQP_EXCHANGE_DECLARE_OK_METHOD, NULL);
	CHECK_EQ(line.sent, AMQP_QUEUE_DECLARE_METHOD);
	answer(AMQP_QUEUE_DECLARE_OK_METHOD, &there);
	CHECK(!asked.done);
	answer(AMQP_QUEUE_DELETE_OK_METHOD, &gone);
	CHECK(asked.done);
	CHECK_EQ(asked.code, CODE_OK);
	CHECK_EQ(asked.steps[1].messages, 7);
	CHECK_EQ(asked.steps[1].consumers, 2);
	CHECK_EQ(asked.steps[2].messages, 5);
	CHECK(!second.done);
	answer(AMQP_QUEUE_PURGE_OK_METHOD, &purged);
	CHECK(second.done);
	CHECK_EQ(second.steps[0].messages, 3);
	CHECK_EQ(line.opened, 1);
	end();
}

static void what_is_missing_may_be_no_failure(void)
{
	struct asked asked = {
		.steps = {{.verb = RABBITMQ_QUEUE_LOOK, .name = "a", .may_miss = true},
			  {.verb = RABBITMQ_QUEUE_DELETE, .name = "b"},
			  {.verb = RABBITMQ_QUEUE_LOOK, .name = "c"},
			  {.verb = RABBITMQ_QUEUE_LOOK, .name = "d"}}};

	begin("3.10.8");
	asked_run(&asked, 4, 0);
	for (size_t i = 0; i < 3; ++i) {
		CHECK(!asked.done);
		refuse(404, "NOT_FOUND - no queue");
		channel_gone(i);
	}
	CHECK(asked.done);
	CHECK_EQ(asked.code, CODE_NOT_FOUND);
	CHECK_STR(asked.text, "NOT_FOUND - no queue");
	CHECK(asked.steps[0].missing && asked.steps[1].missing && asked.steps[2].missing);
	CHECK(!asked.steps[3].missing); // not begun
	end();
}

static void another_shape_may_be_no_failure(void)
{
	struct asked asked = {
		.steps = {{.verb = RABBITMQ_EXCHANGE_DECLARE, .name = "a", .may_differ = true},
			  {.verb = RABBITMQ_EXCHANGE_DECLARE, .name = "a"}}};

	begin("3.10.8");
	asked_run(&asked, 2, 0);
	refuse(406, "inequivalent arg 'type'");
	channel_gone(0);
	CHECK(!asked.done);
	CHECK(asked.steps[0].differs);
	refuse(406, "inequivalent arg 'type'");
	channel_gone(1);
	CHECK(asked.done);
	CHECK_EQ(asked.code, CODE_CONFLICT);
	end();
}

// A broker says 404 of a classic queue whose node is down, too.
static void a_queue_on_a_node_that_is_down_is_not_missing(void)
{
	struct asked asked = {
		.steps = {{.verb = RABBITMQ_QUEUE_LOOK, .name = "a", .may_miss = true}}};

	begin("3.10.8");
	asked_run(&asked, 1, 0);
	refuse(404, "NOT_FOUND - home node 'b@x' of durable queue 'a' in vhost '/' is down or "
		    "inaccessible");
	channel_gone(0);
	CHECK(asked.done);
	CHECK_EQ(asked.code, CODE_BACKEND_DOWN);
	CHECK(!asked.steps[0].missing);
	end();
}

static void a_refused_step_ends_its_request_alone(void)
{
	static const struct {
		uint16_t reply;
		enum code code;
	} rows[] = {{406, CODE_CONFLICT},
		    {405, CODE_CONFLICT},
		    {403, CODE_FORBIDDEN},
		    {506, CODE_BACKEND_ERROR},
		    {541, CODE_BACKEND_ERROR}};
	size_t count = ARRAY_SIZE(rows);

	begin("3.10.8");
	for (size_t i = 0; i < count; ++i) {
		struct asked asked = {.steps = {{.verb = RABBITMQ_QUEUE_LOOK, .name = "a"}}};

		asked_run(&asked, 1, 0);
		refuse(rows[i].reply, "words");
		channel_gone(i);
		CHECK(asked.done);
		CHECK_EQ(asked.code, rows[i].code);
		CHECK_STR(asked.text, "words");
		CHECK_EQ(line.opened, i + 1);
	}
	end();
}

static void a_connection_that_ends_is_no_refusal(void)
{
	struct asked asked = {.steps = {{.verb = RABBITMQ_QUEUE_DELETE, .name = "a"}}},
		     always = {.steps = {{.verb = RABBITMQ_QUEUE_DELETE, .name = "b"}}};
	amqp_queue_delete_ok_t gone = {0};

	begin("3.10.8");
	asked_run(&asked, 1, 0);
	refuse(0, "the connection was reset");
	refuse(320, "CONNECTION_FORCED");
	CHECK_EQ(line.sent_count, 3);
	answer(AMQP_QUEUE_DELETE_OK_METHOD, &gone);
	CHECK(asked.done);
	CHECK_EQ(asked.code, CODE_OK);

	asked_run(&always, 1, 0);
	for (int i = 0; i < 3; ++i) {
		CHECK(!always.done);
		refuse(0, "the connection was reset");
	}
	CHECK(always.done); // it may be what ends it
	CHECK_EQ(always.code, CODE_BACKEND_DOWN);
	for (size_t i = 0; i < 5; ++i)
		channel_gone(i);
	end();
}

static void wait_until_done(const struct asked *asked)
{
	for (int i = 0; i < 200 && !asked->done; ++i) {
		usleep(2000);
		turn();
	}
	CHECK(asked->done);
}

static void a_late_answer_is_ignored(void)
{
	struct asked asked = {.steps = {{.verb = RABBITMQ_QUEUE_LOOK, .name = "a"}}},
		     second = {.steps = {{.verb = RABBITMQ_QUEUE_LOOK, .name = "b"}}};
	amqp_queue_declare_ok_t late = {.message_count = 7}, own = {.message_count = 8};
	struct rabbitmq_channel *first;

	begin("3.10.8");
	line.answers_nothing = true;
	asked_run(&asked, 1, 30);
	asked_run(&second, 1, 0);
	wait_until_done(&asked);
	CHECK_EQ(asked.code, CODE_TIMEOUT);
	CHECK_EQ(line.closed, 1);
	CHECK_EQ(line.opened, 2); // the second request does not wait for the first channel
	CHECK_EQ(line.sent_count, 2);
	first = line.channels[0];
	first->handlers->method(
		first, &(amqp_method_t){.id = AMQP_QUEUE_DECLARE_OK_METHOD, .decoded = &late});
	turn();
	CHECK(!second.done);
	answer(AMQP_QUEUE_DECLARE_OK_METHOD, &own);
	CHECK(second.done);
	CHECK_EQ(second.steps[0].messages, 8);
	end();
}

// Requests that are never answered leave few channels behind.
static void abandoned_channels_are_bounded(void)
{
	struct asked asked[12] = {0},
		     last = {.steps = {{.verb = RABBITMQ_QUEUE_LOOK, .name = "b"}}};

	begin("3.10.8");
	line.answers_nothing = true;
	for (size_t i = 0; i < ARRAY_SIZE(asked); ++i) {
		asked[i].steps[0] =
			(struct rabbitmq_step){.verb = RABBITMQ_QUEUE_LOOK, .name = "a"};
		asked_run(&asked[i], 1, 5);
		wait_until_done(&asked[i]);
		CHECK_EQ(asked[i].code, CODE_TIMEOUT);
	}
	CHECK_EQ(line.opened, 8);
	asked_run(&last, 1, 0);
	CHECK_EQ(line.opened, 8);
	event_post((struct event){.channel = line.channels[0]}); // the cluster is back
	turn();
	channel_gone(0);
	CHECK_EQ(line.opened, 9);
	answer(AMQP_QUEUE_DECLARE_OK_METHOD, &(amqp_queue_declare_ok_t){0});
	CHECK(last.done);
	CHECK_EQ(last.code, CODE_OK);
	end();
}

static void a_link_that_is_down_is_said(void)
{
	struct asked asked = {.steps = {{.verb = RABBITMQ_QUEUE_LOOK, .name = "a"}}},
		     wrong = {.steps = {{.verb = RABBITMQ_QUEUE_LOOK, .name = "b"}}};

	begin("");
	line.up = false;
	rabbitmq_ask_link_changed(&adapter, CODE_BACKEND_DOWN, "h:1: connection refused");
	asked_run(&asked, 1, 30);
	wait_until_done(&asked);
	CHECK_EQ(asked.code, CODE_BACKEND_DOWN);
	CHECK_STR(asked.text, "h:1: connection refused");

	asked_run(&wrong, 1, 0); // waiting does not help
	CHECK(!wrong.done);
	rabbitmq_ask_link_changed(&adapter, CODE_FORBIDDEN, "h:1: wrong password");
	CHECK(wrong.done);
	CHECK_EQ(wrong.code, CODE_FORBIDDEN);
	CHECK_STR(wrong.text, "h:1: wrong password");
	end();
}

static void declare(struct asked *asked, const struct rabbitmq_shape *shape)
{
	*asked = (struct asked){
		.steps = {{.verb = RABBITMQ_QUEUE_DECLARE, .name = "q", .shape = *shape}}};
	asked_run(asked, 1, 0);
}

static void queues_are_declared(void)
{
	const struct rabbitmq_shape quorum = {.kind = "quorum"},
				    three = {.kind = "quorum", .replication = 3},
				    classic = {.kind = "classic", .replication = 3},
				    level = {.kind = "quorum",
					     .ttl_ms = 60000,
					     .dead_letter_key = "g.retry"};
	amqp_queue_declare_ok_t there = {0};
	struct asked asked;

	begin("3.10.8");
	declare(&asked, &quorum);
	CHECK_STR(line.arguments, "x-queue-type=quorum ");
	answer(AMQP_QUEUE_DECLARE_OK_METHOD, &there);
	declare(&asked, &classic);
	CHECK_STR(line.arguments, "x-queue-type=classic ");
	answer(AMQP_QUEUE_DECLARE_OK_METHOD, &there);
	line.version = "4.0.5";
	declare(&asked, &three);
	CHECK_STR(line.arguments,
		  "x-queue-type=quorum x-quorum-initial-group-size=3 x-delivery-limit=-1 ");
	answer(AMQP_QUEUE_DECLARE_OK_METHOD, &there);
	declare(&asked, &level);
	CHECK_STR(line.arguments, "x-queue-type=quorum x-delivery-limit=-1 x-message-ttl=60000 "
				  "x-overflow=reject-publish x-dead-letter-strategy=at-least-once "
				  "x-dead-letter-exchange= x-dead-letter-routing-key=g.retry ");
	answer(AMQP_QUEUE_DECLARE_OK_METHOD, &there);
	end();
}

static void streams_are_declared(void)
{
	const struct rabbitmq_shape plain = {.kind = "stream"},
				    kept = {.kind = "stream",
					    .replication = 3,
					    .keep_ms = 1001,
					    .keep_bytes = 40 << 20},
				    little = {.kind = "stream", .keep_bytes = 1};
	amqp_queue_declare_ok_t there = {0};
	struct asked asked;

	begin("4.0.5");
	declare(&asked, &plain);
	CHECK_STR(line.arguments, "x-queue-type=stream x-stream-max-segment-size-bytes=67108864 ");
	answer(AMQP_QUEUE_DECLARE_OK_METHOD, &there);
	declare(&asked, &kept);
	CHECK_STR(line.arguments, "x-queue-type=stream x-stream-max-segment-size-bytes=10485760 "
				  "x-initial-cluster-size=3 x-max-length-bytes=41943040 "
				  "x-max-age=2s ");
	answer(AMQP_QUEUE_DECLARE_OK_METHOD, &there);
	declare(&asked, &little);
	CHECK_STR(line.arguments, "x-queue-type=stream x-stream-max-segment-size-bytes=1048576 "
				  "x-max-length-bytes=1 ");
	answer(AMQP_QUEUE_DECLARE_OK_METHOD, &there);
	end();
}

static void a_queue_from_before_an_upgrade_is_found(void)
{
	const struct rabbitmq_shape quorum = {.kind = "quorum"};
	amqp_queue_declare_ok_t there = {0};
	struct asked asked;

	begin("4.0.5");
	declare(&asked, &quorum);
	refuse(406, "PRECONDITION_FAILED - inequivalent arg 'x-delivery-limit' for queue 'q'");
	channel_gone(0);
	CHECK(!asked.done);
	CHECK_STR(line.arguments, "x-queue-type=quorum ");
	answer(AMQP_QUEUE_DECLARE_OK_METHOD, &there);
	CHECK(asked.done);
	CHECK_EQ(asked.code, CODE_OK);
	declare(&asked, &quorum); // both are refused: once
	refuse(406, "PRECONDITION_FAILED - inequivalent arg 'x-delivery-limit' for queue 'q'");
	refuse(406, "PRECONDITION_FAILED - inequivalent arg 'x-delivery-limit' for queue 'q'");
	channel_gone(1);
	channel_gone(2);
	CHECK(asked.done);
	CHECK_EQ(asked.code, CODE_CONFLICT);
	end();
}

static void a_request_may_begin_later(void)
{
	struct asked asked = {.steps = {{.verb = RABBITMQ_QUEUE_LOOK, .name = "a"}}};
	uint64_t began_ns = clock_now_ns();

	begin("3.10.8");
	asked.ask = (struct rabbitmq_ask){.adapter = &adapter,
					  .steps = asked.steps,
					  .count = 1,
					  .rest_ns = 20 * MS_NS,
					  .done = on_done};
	rabbitmq_ask_run(&asked.ask);
	turn();
	CHECK_EQ(line.sent_count, 0);
	for (int i = 0; i < 200 && !line.sent_count; ++i) {
		usleep(2000);
		turn();
	}
	CHECK_EQ(line.sent_count, 1);
	CHECK(clock_now_ns() - began_ns >= 20 * MS_NS);
	answer(AMQP_QUEUE_DECLARE_OK_METHOD, &(amqp_queue_declare_ok_t){0});
	CHECK(asked.done);
	end();
}

static void stopping_answers_all(void)
{
	struct asked later = {.steps = {{.verb = RABBITMQ_QUEUE_LOOK, .name = "c"}}};
	struct asked first = {.steps = {{.verb = RABBITMQ_QUEUE_LOOK, .name = "a"}}},
		     second = {.steps = {{.verb = RABBITMQ_QUEUE_LOOK, .name = "b"}}};

	begin("3.10.8");
	asked_run(&first, 1, 0);
	asked_run(&second, 1, 0);
	later.ask = (struct rabbitmq_ask){.adapter = &adapter,
					  .steps = later.steps,
					  .count = 1,
					  .rest_ns = 60 * S_NS,
					  .done = on_done};
	rabbitmq_ask_run(&later.ask);
	turn();
	end();
	CHECK(first.done && second.done && later.done);
	CHECK_EQ(first.code, CODE_SHUTTING_DOWN);
	CHECK_STR(first.text, "cluster c: it is being closed");
	CHECK_EQ(second.code, CODE_SHUTTING_DOWN);
}

UNIT_MAIN(UNIT_CASE(steps_are_carried_out_in_order), UNIT_CASE(what_is_missing_may_be_no_failure),
	  UNIT_CASE(another_shape_may_be_no_failure),
	  UNIT_CASE(a_queue_on_a_node_that_is_down_is_not_missing),
	  UNIT_CASE(a_refused_step_ends_its_request_alone),
	  UNIT_CASE(a_connection_that_ends_is_no_refusal), UNIT_CASE(a_late_answer_is_ignored),
	  UNIT_CASE(abandoned_channels_are_bounded), UNIT_CASE(a_link_that_is_down_is_said),
	  UNIT_CASE(queues_are_declared), UNIT_CASE(streams_are_declared),
	  UNIT_CASE(a_queue_from_before_an_upgrade_is_found), UNIT_CASE(a_request_may_begin_later),
	  UNIT_CASE(stopping_answers_all))
