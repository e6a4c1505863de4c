// Watches the exchanges of open topics by passive declares on the ask link, AT_ONCE in a request,
// each of them every LOOK_MS.
//
// One that another client has deleted is told once, with the span of time in which it happened, and
// its topic refuses sends. It is not made again: its bindings are gone with it, and an
// exchange with only some of them would lose the messages of the other groups in silence. One that
// is there again is told, too, and its topic sends again.
//
// The queue `.kept` of a dead-letter topic is looked for likewise, each with its exchange. Its end
// is an incident, too: the dead letters in it are gone, and copies are refused (NO_ROUTE) unless a
// group takes them. Sends to the topic are not refused because of it. A dead-letter topic is open
// only while copies are sent, so it is watched from its first opening until it is deleted here.
//
// What a topic's own exchange is to a send is the send room's to find out; queues of groups are
// watched by ask/presence.c.

#include "adapters/rabbitmq/admin/watch.h"

#include "adapters/rabbitmq/admin/ended.h"
#include "adapters/rabbitmq/ask/ask.h"
#include "adapters/rabbitmq/ask/names.h"
#include "core/base/clock.h"
#include "core/base/list.h"
#include "core/base/map.h"

#include <errno.h>
#include <stdio.h>

#define LOOK_MS         4000
#define LOOK_MISSING_MS 16000 // each of these is a line in the broker's log
#define AT_ONCE         64    // topics of one request

// Something of a topic that is looked for.
struct part {
	int64_t seen_ms;  // wall clock
	int64_t found_ms; // that it is missing and was not deleted here; 0: it is not
	bool missing;
};

// Freed when it is neither open nor asked for, and does not stay.
struct row {
	struct list in_watch;       // while it is open
	struct map_node by_topic;   // its key is the address of `open`
	struct adapter_topic *open; // NULL: it is not, and the row stays
	const struct topic *topic;  // referenced
	unsigned count;             // openings
	uint64_t looked_ns;
	struct part exchange, kept; // the second: of a dead-letter topic
	struct rabbitmq_name kept_name;
	bool asked, stays;
};

struct rabbitmq_watch {
	struct adapter *adapter;
	pthread_mutex_t lock;
	struct list
		rows; // those that were looked at longest ago first; under the lock, as all here
	struct map by_topic;
	bool stopping;
	// Of the ask link.
	struct loop_task begin, end;
	struct loop_timer timer;
	struct rabbitmq_ask ask;
	struct rabbitmq_step steps[2 * AT_ONCE];
	struct row *asked[AT_ONCE];
	size_t asked_count;
	int64_t asked_ms; // wall clock
};

// ---- rows

static bool has_kept(const struct row *row)
{
	return *row->kept_name.text;
}

static uint64_t key_of(const struct adapter_topic *open)
{
	return (uint64_t)(uintptr_t)open;
}

static struct row *row_find(struct rabbitmq_watch *watch, const struct adapter_topic *open)
{
	struct map_node *node = map_find(&watch->by_topic, key_of(open));

	return node ? CONTAINER_OF(node, struct row, by_topic) : NULL;
}

// NULL: no memory, and it is not watched.
static struct row *row_new(struct rabbitmq_watch *watch, struct adapter_topic *open)
{
	struct row *row = calloc(1, sizeof *row);

	if (!row)
		return NULL;
	row->by_topic.key = key_of(open);
	if (map_put(&watch->by_topic, &row->by_topic) < 0) {
		free(row);
		return NULL;
	}
	row->open = open;
	row->topic = model_ref(open->topic);
	row->looked_ns = clock_now_ns();
	row->exchange.seen_ms = row->kept.seen_ms = clock_wall_ms();
	if (open->topic->dead_letter_of && !open->topic->imported)
		row->kept_name = rabbitmq_name_kept(open->topic);
	list_push_back(&watch->rows, &row->in_watch);
	return row;
}

// One that stayed goes on; NULL: there is none, or no memory.
static struct row *row_revive(struct rabbitmq_watch *watch, struct adapter_topic *open)
{
	LIST_FOREACH(node, next, &watch->rows)
	{
		struct row *row = LIST_ENTRY(node, struct row, in_watch);

		if (row->open || row->topic->object.id != open->topic->object.id ||
		    row->topic->incarnation != open->topic->incarnation)
			continue;
		row->by_topic.key = key_of(open);
		if (map_put(&watch->by_topic, &row->by_topic) < 0)
			return NULL;
		row->open = open;
		return row;
	}
	return NULL;
}

static void row_free_if_over(struct row *row)
{
	if (row->count || row->asked || row->stays)
		return;
	model_unref(row->topic);
	free(row);
}

void rabbitmq_watch_add(struct adapter *adapter, struct adapter_topic *topic)
{
	struct rabbitmq_watch *watch = adapter->watch;
	struct row *row;

	pthread_mutex_lock(&watch->lock);
	row = row_find(watch, topic);
	if (!row)
		row = row_revive(watch, topic);
	if (!row)
		row = row_new(watch, topic);
	if (row)
		++row->count;
	pthread_mutex_unlock(&watch->lock);
}

void rabbitmq_watch_remove(struct adapter *adapter, struct adapter_topic *topic)
{
	struct rabbitmq_watch *watch = adapter->watch;
	struct row *row;

	pthread_mutex_lock(&watch->lock);
	row = row_find(watch, topic);
	if (row && --row->count == 0) {
		map_remove(&watch->by_topic, &row->by_topic);
		row->open = NULL;
		row->stays = has_kept(row);
		if (!row->stays)
			list_unlink(&row->in_watch);
		row_free_if_over(row);
	}
	pthread_mutex_unlock(&watch->lock);
}

// Its topic was deleted here.
static void row_leave(struct row *row)
{
	row->stays = false;
	list_unlink(&row->in_watch);
	row_free_if_over(row);
}

// ---- looking

static void gone_note(struct rabbitmq_watch *watch, struct row *row, struct part *part)
{
	char span[RABBITMQ_INCIDENT_SPAN];

	if (rabbitmq_ended_has(watch->adapter, row->topic))
		return;
	part->found_ms = clock_wall_ms();
	rabbitmq_incident_span(part->seen_ms, part->found_ms, span);
	if (part == &row->kept)
		log_warn(watch->adapter->log, "RABBITMQ-QUEUE-GONE",
			 "queue %s was deleted on the cluster %s: the dead letters in it are gone",
			 row->kept_name.text, span);
	else
		log_warn(watch->adapter->log, "RABBITMQ-TOPIC-GONE",
			 "exchange %s was deleted on the cluster %s: its sends are refused",
			 row->topic->physical, span);
}

static void back_note(struct rabbitmq_watch *watch, struct row *row, struct part *part)
{
	char span[RABBITMQ_INCIDENT_SPAN];

	rabbitmq_incident_span(part->found_ms, watch->asked_ms, span);
	part->found_ms = 0;
	if (part == &row->kept)
		log_info(watch->adapter->log, "RABBITMQ-QUEUE-BACK",
			 "queue %s is on the cluster again: it was missing %s, and has none of the "
			 "dead letters of that time",
			 row->kept_name.text, span);
	else
		log_info(
			watch->adapter->log, "RABBITMQ-TOPIC-BACK",
			"exchange %s is on the cluster again, after it was missing %s: queues that "
			"were bound to it before have to be bound by the client that made it",
			row->topic->physical, span);
}

static void part_seen(struct rabbitmq_watch *watch, struct row *row, struct part *part,
		      bool missing)
{
	if (missing && !part->missing)
		gone_note(watch, row, part);
	else if (!missing && part->missing)
		back_note(watch, row, part);
	part->missing = missing;
	if (!missing)
		part->seen_ms = watch->asked_ms;
}

static void row_seen(struct rabbitmq_watch *watch, struct row *row,
		     const struct rabbitmq_step *steps)
{
	part_seen(watch, row, &row->exchange, steps[0].missing);
	if (steps[0].missing && row->open)
		rabbitmq_topic_refused(row->open, CODE_NOT_FOUND);
	if (has_kept(row))
		part_seen(watch, row, &row->kept, steps[1].missing);
}

static void rows_release(struct rabbitmq_watch *watch, bool answered)
{
	const struct rabbitmq_step *steps = watch->steps;

	pthread_mutex_lock(&watch->lock);
	for (size_t i = 0; i < watch->asked_count; ++i) {
		struct row *row = watch->asked[i];

		row->asked = false;
		if (answered && (row->count || row->stays))
			row_seen(watch, row, steps);
		steps += has_kept(row) ? 2 : 1;
		row_free_if_over(row);
	}
	pthread_mutex_unlock(&watch->lock);
}

// What is deleted here meanwhile is no incident.
static void part_list(struct adapter *adapter, const struct row *row, const struct part *part,
		      struct rabbitmq_incidents *to)
{
	bool is_kept = part == &row->kept;
	char span[RABBITMQ_INCIDENT_SPAN];
	struct rabbitmq_incident *incident =
		part->found_ms && !rabbitmq_ended_has(adapter, row->topic)
			? rabbitmq_incident_add(to)
			: NULL;

	if (!incident)
		return;
	incident->topic = row->topic->object.id;
	incident->since_ms = part->seen_ms;
	incident->until_ms = part->found_ms;
	rabbitmq_incident_span(part->seen_ms, part->found_ms, span);
	snprintf(incident->text, sizeof incident->text,
		 "cluster %s: there is no %s '%s': another client deleted it %s, and %s",
		 adapter->cluster, is_kept ? "queue" : "exchange",
		 is_kept ? row->kept_name.text : row->topic->physical, span,
		 is_kept ? "the dead letters in it are gone" : "sends are refused");
}

void rabbitmq_watch_list(struct adapter *adapter, struct rabbitmq_incidents *to)
{
	struct rabbitmq_watch *watch = adapter->watch;

	pthread_mutex_lock(&watch->lock);
	LIST_FOREACH(node, next, &watch->rows)
	{
		const struct row *row = LIST_ENTRY(node, struct row, in_watch);

		part_list(adapter, row, &row->exchange, to);
		part_list(adapter, row, &row->kept, to);
	}
	pthread_mutex_unlock(&watch->lock);
}

static void look_on(struct rabbitmq_watch *watch);

static void on_asked(struct rabbitmq_ask *ask, enum code code, const char *text)
{
	struct rabbitmq_watch *watch = CONTAINER_OF(ask, struct rabbitmq_watch, ask);

	rows_release(watch, code == CODE_OK);
	look_on(watch);
}

static void step_add(struct rabbitmq_watch *watch, enum rabbitmq_verb verb, const char *name)
{
	watch->steps[watch->ask.count++] =
		(struct rabbitmq_step){.verb = verb, .name = name, .may_miss = true};
}

static bool is_due(const struct row *row, uint64_t now_ns)
{
	bool missing = row->exchange.missing || row->kept.missing;

	return now_ns >= row->looked_ns + (missing ? LOOK_MISSING_MS : LOOK_MS) * MS_NS;
}

// Those that are due, in the order of their last look.
static void rows_take(struct rabbitmq_watch *watch, uint64_t now_ns)
{
	watch->ask.count = watch->asked_count = 0;
	pthread_mutex_lock(&watch->lock);
	LIST_FOREACH(node, next, &watch->rows)
	{
		struct row *row = LIST_ENTRY(node, struct row, in_watch);

		if (watch->asked_count == AT_ONCE || watch->stopping ||
		    now_ns < row->looked_ns + LOOK_MS * MS_NS)
			break;
		if (!row->open && rabbitmq_ended_has(watch->adapter, row->topic)) {
			row_leave(row);
			continue;
		}
		if (!is_due(row, now_ns))
			continue;
		row->looked_ns = now_ns;
		list_unlink(&row->in_watch);
		list_push_back(&watch->rows, &row->in_watch);
		row->asked = true;
		watch->asked[watch->asked_count++] = row;
		step_add(watch, RABBITMQ_EXCHANGE_LOOK, row->topic->physical);
		if (has_kept(row))
			step_add(watch, RABBITMQ_QUEUE_LOOK, row->kept_name.text);
	}
	pthread_mutex_unlock(&watch->lock);
}

static void look_on(struct rabbitmq_watch *watch)
{
	uint64_t now_ns = clock_now_ns();
	size_t count;
	bool stopping;

	rows_take(watch, now_ns);
	count = watch->ask.count;
	pthread_mutex_lock(&watch->lock);
	stopping = watch->stopping;
	pthread_mutex_unlock(&watch->lock);
	if (count) {
		watch->asked_ms = clock_wall_ms();
		watch->ask = (struct rabbitmq_ask){.adapter = watch->adapter,
						   .steps = watch->steps,
						   .count = count,
						   .done = on_asked};
		rabbitmq_ask_run(&watch->ask);
	} else if (!stopping) {
		loop_timer_set(&watch->timer, now_ns + LOOK_MS / 8 * MS_NS);
	}
}

static void on_timer(struct loop_timer *timer)
{
	look_on(CONTAINER_OF(timer, struct rabbitmq_watch, timer));
}

static void on_begin(struct loop_task *task)
{
	look_on(CONTAINER_OF(task, struct rabbitmq_watch, begin));
}

static void on_end(struct loop_task *task)
{
	loop_timer_cancel(&CONTAINER_OF(task, struct rabbitmq_watch, end)->timer);
}

// ---- begin and end

int rabbitmq_watch_start(struct adapter *adapter)
{
	struct rabbitmq_watch *watch = calloc(1, sizeof *watch);

	if (!watch)
		return -ENOMEM;
	watch->adapter = adapter;
	pthread_mutex_init(&watch->lock, NULL);
	list_init(&watch->rows);
	watch->begin.fn = on_begin;
	loop_timer_init(&watch->timer, rabbitmq_link_loop(adapter->ask), on_timer);
	adapter->watch = watch;
	loop_post(rabbitmq_link_loop(adapter->ask), &watch->begin);
	return 0;
}

void rabbitmq_watch_stop(struct adapter *adapter)
{
	struct rabbitmq_watch *watch = adapter->watch;

	if (!watch)
		return;
	pthread_mutex_lock(&watch->lock);
	watch->stopping = true;
	pthread_mutex_unlock(&watch->lock);
	watch->end.fn = on_end;
	loop_post(rabbitmq_link_loop(adapter->ask), &watch->end);
}

void rabbitmq_watch_free(struct adapter *adapter)
{
	struct rabbitmq_watch *watch = adapter->watch;

	if (!watch)
		return;
	while (!list_empty(&watch->rows)) {
		struct row *row = LIST_ENTRY(watch->rows.next, struct row, in_watch);

		assert(!row->open);
		row_leave(row);
	}
	map_deinit(&watch->by_topic);
	pthread_mutex_destroy(&watch->lock);
	free(watch);
	adapter->watch = NULL;
}
