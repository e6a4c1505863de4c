// adapters/rabbitmq: which queues of groups are there, what is told of those that other clients
// have deleted, and what is remembered of retry stores. The ask link and the clocks are the test's.

#include "adapters/rabbitmq/ask/presence.h"
#include "adapters/rabbitmq/receive/store_memo.h"
#include "core/base/clock.h"
#include "tests/unit/unit.h"

#include <string.h>

#define WALL_MS 1700000000000 // 2023-11-14 22:13:20 UTC

static struct {
	struct loop *loop;
	struct adapter adapter;
	uint64_t now_ns;
	int64_t wall_ms;
	struct rabbitmq_ask *ask;
	unsigned asks;
	char lines[1000]; // ids in the log
} bench;

static struct group billing = {.object = {.refs = 1, .id = 7},
			       .physical = "mqp.billing",
			       .topic = 3,
			       .incarnation = 1},
		    audit = {.object = {.refs = 1, .id = 8},
			     .physical = "audit.q",
			     .topic = 3,
			     .incarnation = 1,
			     .imported = true};

uint64_t __wrap_clock_now_ns(void);
int64_t __wrap_clock_wall_ms(void);

uint64_t __wrap_clock_now_ns(void)
{
	return bench.now_ns;
}

int64_t __wrap_clock_wall_ms(void)
{
	return bench.wall_ms;
}

struct loop *rabbitmq_link_loop(struct rabbitmq_link *link)
{
	return bench.loop;
}

void rabbitmq_ask_run(struct rabbitmq_ask *ask)
{
	CHECK(!bench.ask);
	bench.ask = ask;
	++bench.asks;
}

static void on_line(void *ctx, enum log_level level, const char *line, size_t size)
{
	const char *id = strstr(line, "\"id\":\"RABBITMQ-");

	if (id)
		snprintf(bench.lines + strlen(bench.lines),
			 sizeof bench.lines - strlen(bench.lines), "%.*s ",
			 (int)strcspn(id + 15, "\""), id + 15);
}

static void on_stop(struct loop_task *task)
{
	loop_stop(bench.loop);
}

static void pass_ms(uint64_t ms)
{
	bench.now_ns += ms * MS_NS;
	bench.wall_ms += (int64_t)ms;
	for (unsigned i = 0; i < 3; ++i) {
		struct loop_task stop = {.fn = on_stop};

		loop_post(bench.loop, &stop);
		CHECK_EQ(loop_run(bench.loop), 0);
	}
}

static void begin(void)
{
	static char cluster[] = "c";

	memset(&bench, 0, sizeof bench);
	bench.now_ns = 1000 * S_NS;
	bench.wall_ms = WALL_MS;
	bench.adapter.cluster = cluster;
	log_set_sink(on_line, NULL);
	CHECK_EQ(loop_new("test", &bench.loop), 0);
	CHECK_EQ(rabbitmq_presence_start(&bench.adapter), 0);
	CHECK_EQ(rabbitmq_store_memo_start(&bench.adapter), 0);
	pass_ms(0);
}

// Answers what was asked: these names are missing, separated by a space.
static void answer(enum code code, const char *missing)
{
	struct rabbitmq_ask *ask = bench.ask;

	CHECK(ask);
	for (size_t i = 0; i < ask->count; ++i) {
		CHECK_EQ(ask->steps[i].verb, RABBITMQ_QUEUE_LOOK);
		ask->steps[i].missing = strstr(missing, ask->steps[i].name) != NULL;
	}
	bench.ask = NULL;
	ask->done(ask, code, code == CODE_OK ? NULL : "words");
	pass_ms(0);
}

static void end(void)
{
	rabbitmq_presence_stop(&bench.adapter);
	pass_ms(0);
	if (bench.ask)
		answer(CODE_SHUTTING_DOWN, "");
	CHECK(!bench.ask);
	rabbitmq_presence_free(&bench.adapter);
	rabbitmq_store_memo_stop(&bench.adapter);
	loop_free(bench.loop);
}

static size_t incidents(struct rabbitmq_incident *ret_first)
{
	struct rabbitmq_incidents list = {0};
	size_t count;

	rabbitmq_presence_list(&bench.adapter, &list);
	count = list.count;
	if (count)
		*ret_first = list.rows[0];
	rabbitmq_incidents_free(&list);
	return count;
}

static void a_queue_that_is_deleted_is_an_incident(void)
{
	struct rabbitmq_incident incident;
	char text[RABBITMQ_INCIDENT_TEXT];

	begin();
	rabbitmq_presence_seen(&bench.adapter, &billing, 0);
	rabbitmq_presence_seen(&bench.adapter, &audit, 1000 * MS_NS);
	pass_ms(3000);
	CHECK_EQ(bench.asks, 0);
	pass_ms(1500);
	CHECK_EQ(bench.ask->count, 2);
	answer(CODE_OK, "");
	CHECK_EQ(incidents(&incident), 0);
	pass_ms(4500);
	answer(CODE_OK, "mqp.billing");
	CHECK_STR(bench.lines, "QUEUE-GONE ");
	CHECK_EQ(incidents(&incident), 1);
	CHECK_EQ(incident.group, 7);
	CHECK_EQ(incident.topic, 3);
	CHECK_EQ(incident.since_ms, WALL_MS + 4500);
	CHECK_EQ(incident.until_ms, WALL_MS + 9000);
	CHECK_STR(incident.text,
		  "cluster c: there is no queue 'mqp.billing': another client deleted it between "
		  "2023-11-14 22:13:24.500 and 2023-11-14 22:13:29.000 UTC, and its messages are "
		  "gone");
	CHECK(rabbitmq_presence_is_missing(&bench.adapter, &billing, text));
	CHECK_STR(text, incident.text);
	CHECK(!rabbitmq_presence_is_missing(&bench.adapter, &audit, text));
	rabbitmq_presence_missing(&bench.adapter, &billing, text); // no news
	CHECK_STR(text, incident.text);
	CHECK_STR(bench.lines, "QUEUE-GONE ");
	end();
}

static void messages_that_are_too_large_are_an_incident(void)
{
	struct rabbitmq_incident incident;

	begin();
	rabbitmq_presence_too_large(&bench.adapter, &billing, 1, 20000000);
	bench.wall_ms += 5;
	rabbitmq_presence_too_large(&bench.adapter, &billing, 2, 30000000);
	CHECK_EQ(incidents(&incident), 1);
	CHECK_EQ(incident.group, 7);
	CHECK_EQ(incident.topic, 3);
	CHECK_EQ(incident.since_ms, WALL_MS);
	CHECK_EQ(incident.until_ms, WALL_MS);
	CHECK_STR(incident.text,
		  "cluster c: queue 'mqp.billing' has 2 messages that are too large to be handed "
		  "out (the last one has 30000000 bytes); they stay there, unacknowledged");
	rabbitmq_presence_too_large(&bench.adapter, &billing, 1024, 30000000);
	CHECK_EQ(incidents(&incident), 1);
	CHECK(strstr(incident.text, "unacknowledged, and the group may stand still"));
	rabbitmq_presence_too_large(&bench.adapter, &billing, 0, 0);
	CHECK_EQ(incidents(&incident), 0);
	end();
}

// Each look at a queue that is missing is a line in the broker's log.
static void a_missing_queue_is_looked_for_less_often_until_it_is_back(void)
{
	struct rabbitmq_incident incident;
	char text[RABBITMQ_INCIDENT_TEXT];

	begin();
	rabbitmq_presence_missing(&bench.adapter, &billing, text); // never seen
	CHECK_STR(text,
		  "cluster c: there is no queue 'mqp.billing': another client deleted it before "
		  "2023-11-14 22:13:20.000 UTC, and its messages are gone");
	for (unsigned i = 0; i < 15; ++i)
		pass_ms(1000);
	CHECK_EQ(bench.asks, 0);
	pass_ms(1500);
	CHECK_EQ(bench.ask->count, 1);
	answer(CODE_OK, "");
	CHECK_STR(bench.lines, "QUEUE-GONE QUEUE-BACK ");
	CHECK_EQ(incidents(&incident), 0);
	end();
}

static void a_group_that_is_deleted_here_is_no_incident(void)
{
	struct rabbitmq_incident incident;
	char text[RABBITMQ_INCIDENT_TEXT];
	struct group again = billing;

	begin();
	rabbitmq_presence_seen(&bench.adapter, &billing, 0);
	pass_ms(4500);
	rabbitmq_presence_forget(&bench.adapter, &billing); // while it is being asked about
	answer(CODE_OK, "mqp.billing");
	CHECK_EQ(incidents(&incident), 0);
	rabbitmq_presence_seen(&bench.adapter, &billing, 0); // answers that come late
	rabbitmq_presence_missing(&bench.adapter, &billing, text);
	CHECK_STR(text, "cluster c: there is no queue 'mqp.billing'");
	CHECK_EQ(incidents(&incident), 0);
	CHECK_STR(bench.lines, "");
	again.incarnation = 2;
	rabbitmq_presence_seen(&bench.adapter, &again, 0); // made anew
	rabbitmq_presence_missing(&bench.adapter, &again, text);
	CHECK_EQ(incidents(&incident), 1);
	end();
}

// One of the queues may be a classic one whose node is down: it must not hide the others.
static void a_request_that_fails_says_nothing(void)
{
	struct rabbitmq_incident incident;

	begin();
	rabbitmq_presence_seen(&bench.adapter, &billing, 0);
	rabbitmq_presence_seen(&bench.adapter, &audit, 0);
	pass_ms(4500);
	answer(CODE_BACKEND_DOWN, "mqp.billing audit.q");
	CHECK_EQ(incidents(&incident), 0);
	pass_ms(4500);
	CHECK_EQ(bench.ask->count, 1);
	answer(CODE_BACKEND_DOWN, "");
	CHECK_EQ(bench.ask->count, 1); // at once, the other one
	answer(CODE_OK, "audit.q");
	CHECK_EQ(incidents(&incident), 1);
	CHECK_EQ(incident.group, 8);
	end();
}

static void imported_note(void *ctx, const char *queue)
{
	strcat(ctx, queue);
}

static void imported_queues_are_named(void)
{
	char names[100] = "", text[RABBITMQ_INCIDENT_TEXT];

	begin();
	rabbitmq_presence_seen(&bench.adapter, &billing, 0);
	rabbitmq_presence_seen(&bench.adapter, &audit, 0);
	rabbitmq_presence_imported(&bench.adapter, imported_note, names);
	CHECK_STR(names, "audit.q");
	rabbitmq_presence_missing(&bench.adapter, &audit, text);
	rabbitmq_presence_imported(&bench.adapter, imported_note, names);
	CHECK_STR(names, "audit.q"); // no second time
	end();
}

static void a_retry_store_is_remembered_for_a_minute(void)
{
	struct rabbitmq_store store = {.retry = true, .levels = {2, 1}}, found;
	uint64_t number, before;

	begin();
	CHECK(!rabbitmq_store_memo_get(&bench.adapter, &billing, &found, &number));
	rabbitmq_store_memo_put(&bench.adapter, &billing, store, number);
	pass_ms(59999);
	CHECK(rabbitmq_store_memo_get(&bench.adapter, &billing, &found, &number));
	CHECK(found.retry && found.levels[0] == 2 && found.levels[1] == 1);
	CHECK(!rabbitmq_store_memo_get(&bench.adapter, &audit, &found, &number));
	pass_ms(1);
	CHECK(!rabbitmq_store_memo_get(&bench.adapter, &billing, &found, &before));
	rabbitmq_store_memo_forget(&bench.adapter, &billing); // made while it was looked at
	rabbitmq_store_memo_put(&bench.adapter, &billing, store, before);
	CHECK(!rabbitmq_store_memo_get(&bench.adapter, &billing, &found, &number));
	rabbitmq_store_memo_put(&bench.adapter, &billing, store, number);
	CHECK(rabbitmq_store_memo_get(&bench.adapter, &billing, &found, &number));
	rabbitmq_store_memo_forget(&bench.adapter, &billing);
	CHECK(!rabbitmq_store_memo_get(&bench.adapter, &billing, &found, &number));
	end();
}

UNIT_MAIN(UNIT_CASE(a_queue_that_is_deleted_is_an_incident),
	  UNIT_CASE(messages_that_are_too_large_are_an_incident),
	  UNIT_CASE(a_missing_queue_is_looked_for_less_often_until_it_is_back),
	  UNIT_CASE(a_group_that_is_deleted_here_is_no_incident),
	  UNIT_CASE(a_request_that_fails_says_nothing), UNIT_CASE(imported_queues_are_named),
	  UNIT_CASE(a_retry_store_is_remembered_for_a_minute))
