// Watches the exchanges of open topics by passive declares on the ask link, AT_ONCE in a request,
// each of them every LOOK_MS.
//
// One that another client has deleted is told once, with the span of time in which it happened, and
// its topic refuses sends. It is not made again: its bindings are gone with it, and an
// exchange with only some of them would lose the messages of the other groups in silence. One that
// is there again is told, too, and its topic sends again.
//
// What a topic's own exchange is to a send is the send room's to find out; queues are watched by
// their sources.

#include "adapters/rabbitmq/admin/watch.h"

#include "adapters/rabbitmq/admin/ended.h"
#include "adapters/rabbitmq/ask/ask.h"
#include "core/base/clock.h"
#include "core/base/list.h"
#include "core/base/map.h"

#include <errno.h>
#include <stdio.h>

#define LOOK_MS         4000
#define LOOK_MISSING_MS 16000 // each of these is a line in the broker's log
#define AT_ONCE         64    // exchanges of one request

// Freed when it is neither open nor asked for.
struct row {
	struct list in_watch;     // while it is open
	struct map_node by_topic; // its key is the address of `open`
	struct adapter_topic *open;
	const struct topic *topic; // referenced
	unsigned count;            // openings
	uint64_t looked_ns;
	int64_t seen_ms;  // wall clock
	int64_t found_ms; // that it is missing and was not deleted here; 0: it is not
	bool missing, asked;
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
	struct rabbitmq_step steps[AT_ONCE];
	struct row *asked[AT_ONCE];
	int64_t asked_ms; // wall clock
};

// ---- rows

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
	row->seen_ms = clock_wall_ms();
	list_push_back(&watch->rows, &row->in_watch);
	return row;
}

static void row_free_if_over(struct row *row)
{
	if (row->count || row->asked)
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
		list_unlink(&row->in_watch);
		map_remove(&watch->by_topic, &row->by_topic);
		row_free_if_over(row);
	}
	pthread_mutex_unlock(&watch->lock);
}

// ---- looking

static void gone_note(struct rabbitmq_watch *watch, struct row *row)
{
	char span[RABBITMQ_INCIDENT_SPAN];

	if (rabbitmq_ended_has(watch->adapter, row->topic))
		return;
	row->found_ms = clock_wall_ms();
	rabbitmq_incident_span(row->seen_ms, row->found_ms, span);
	log_warn(watch->adapter->log, "RABBITMQ-TOPIC-GONE",
		 "exchange %s was deleted on the cluster %s: its sends are refused",
		 row->topic->physical, span);
}

static void back_note(struct rabbitmq_watch *watch, struct row *row)
{
	char span[RABBITMQ_INCIDENT_SPAN];

	rabbitmq_incident_span(row->found_ms, watch->asked_ms, span);
	row->found_ms = 0;
	log_info(watch->adapter->log, "RABBITMQ-TOPIC-BACK",
		 "exchange %s is on the cluster again, after it was missing %s: queues that were "
		 "bound to it before have to be bound by the client that made it",
		 row->topic->physical, span);
}

static void row_seen(struct rabbitmq_watch *watch, struct row *row, bool missing)
{
	if (missing && !row->missing)
		gone_note(watch, row);
	else if (!missing && row->missing)
		back_note(watch, row);
	if (missing)
		rabbitmq_topic_refused(row->open, CODE_NOT_FOUND);
	row->missing = missing;
	if (!missing)
		row->seen_ms = watch->asked_ms;
}

static void rows_release(struct rabbitmq_watch *watch, bool answered)
{
	pthread_mutex_lock(&watch->lock);
	for (size_t i = 0; i < watch->ask.count; ++i) {
		struct row *row = watch->asked[i];

		row->asked = false;
		if (answered && row->count)
			row_seen(watch, row, watch->steps[i].missing);
		row_free_if_over(row);
	}
	pthread_mutex_unlock(&watch->lock);
}

// What is deleted here meanwhile is no incident.
void rabbitmq_watch_list(struct adapter *adapter, struct rabbitmq_incidents *to)
{
	struct rabbitmq_watch *watch = adapter->watch;

	pthread_mutex_lock(&watch->lock);
	LIST_FOREACH(node, next, &watch->rows)
	{
		const struct row *row = LIST_ENTRY(node, struct row, in_watch);
		char span[RABBITMQ_INCIDENT_SPAN];
		struct rabbitmq_incident *incident =
			row->found_ms && !rabbitmq_ended_has(adapter, row->topic)
				? rabbitmq_incident_add(to)
				: NULL;

		if (!incident)
			continue;
		incident->topic = row->topic->object.id;
		incident->since_ms = row->seen_ms;
		incident->until_ms = row->found_ms;
		rabbitmq_incident_span(row->seen_ms, row->found_ms, span);
		snprintf(incident->text, sizeof incident->text,
			 "cluster %s: there is no exchange '%s': another client deleted it %s, and "
			 "sends are refused",
			 adapter->cluster, row->topic->physical, span);
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

// Those that are due, in the order of their last look.
static size_t rows_take(struct rabbitmq_watch *watch, uint64_t now_ns)
{
	size_t count = 0;

	pthread_mutex_lock(&watch->lock);
	LIST_FOREACH(node, next, &watch->rows)
	{
		struct row *row = LIST_ENTRY(node, struct row, in_watch);

		if (count == AT_ONCE || watch->stopping ||
		    now_ns < row->looked_ns + LOOK_MS * MS_NS)
			break;
		if (row->missing && now_ns < row->looked_ns + LOOK_MISSING_MS * MS_NS)
			continue;
		row->looked_ns = now_ns;
		list_unlink(&row->in_watch);
		list_push_back(&watch->rows, &row->in_watch);
		row->asked = true;
		watch->asked[count] = row;
		watch->steps[count++] = (struct rabbitmq_step){.verb = RABBITMQ_EXCHANGE_LOOK,
							       .name = row->topic->physical,
							       .may_miss = true};
	}
	pthread_mutex_unlock(&watch->lock);
	return count;
}

static void look_on(struct rabbitmq_watch *watch)
{
	uint64_t now_ns = clock_now_ns();
	size_t count = rows_take(watch, now_ns);
	bool stopping;

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
	assert(list_empty(&watch->rows));
	map_deinit(&watch->by_topic);
	pthread_mutex_destroy(&watch->lock);
	free(watch);
	adapter->watch = NULL;
}
