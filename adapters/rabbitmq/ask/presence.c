// Rows by group, each looked at by a passive declare on the ask link, AT_ONCE in a request: every
// LOOK_MS, or so that there are at most PER_SECOND of them. A missing one is looked at less often,
// because each of these looks is a line in the broker's log.
//
// A row begins when its queue is seen (a source has opened a channel, the group was counted or
// made) or is missed, and ends when its group is deleted here. Groups that were deleted are kept
// in a ring, so that an answer that comes late makes no incident of one.
//
// A request that fails says nothing about its queues; one of them may be a classic queue whose node
// is down, so the next request has one queue.
//
// Invariant: a row is in the list and the map, or is being looked at and freed behind that. What it
// does not do: make a queue again; its messages are gone, and an operator has to know.

#include "adapters/rabbitmq/ask/presence.h"

#include "core/base/clock.h"
#include "core/base/list.h"
#include "core/base/map.h"

#include <errno.h>
#include <stdio.h>

#define LOOK_MS         4000
#define LOOK_MISSING_MS 16000
#define TIMER_MS        500
#define PER_SECOND      1000u
#define AT_ONCE         64u
#define DELETED         1024u

struct row {
	struct list in_rows;
	struct map_node by_group; // its key is the id
	const struct group *group;
	uint64_t looked_ns;
	int64_t seen_ms;  // wall clock; 0: not seen yet
	int64_t found_ms; // that it is missing; 0: it is not
	int64_t aside_ms; // when the first of them was set aside
	uint64_t aside_bytes;
	uint32_t aside; // messages that are too large
	bool asked, forgotten;
};

struct deleted_row {
	uint64_t id, incarnation; // 0: empty
};

struct rabbitmq_presence {
	struct adapter *adapter;
	pthread_mutex_t lock;
	struct list rows; // under the lock, as all down to `stopping`; the oldest look first
	struct map by_group;
	size_t count; // rows
	struct deleted_row deleted[DELETED];
	size_t deleted_next;
	bool stopping;
	// Of the ask link.
	struct loop_task begin, end;
	struct loop_timer timer;
	struct rabbitmq_ask ask;
	struct rabbitmq_step steps[AT_ONCE];
	struct row *asked[AT_ONCE];
	size_t most; // in the next request
};

// ---- rows, with the lock

static struct row *row_find(struct rabbitmq_presence *presence, const struct group *group)
{
	struct map_node *node = map_find(&presence->by_group, group->object.id);

	return node ? CONTAINER_OF(node, struct row, by_group) : NULL;
}

static bool is_deleted(const struct rabbitmq_presence *presence, const struct group *group)
{
	for (size_t i = 0; i < DELETED; ++i)
		if (presence->deleted[i].id == group->object.id &&
		    presence->deleted[i].incarnation == group->incarnation)
			return true;
	return false;
}

static void row_free(struct row *row)
{
	model_unref(row->group);
	free(row);
}

static void row_drop(struct rabbitmq_presence *presence, struct row *row)
{
	list_unlink(&row->in_rows);
	map_remove(&presence->by_group, &row->by_group);
	--presence->count;
	row->forgotten = true;
	if (!row->asked)
		row_free(row);
}

// NULL: its group was deleted here, or there is no memory and it is not watched.
static struct row *row_get(struct rabbitmq_presence *presence, const struct group *group)
{
	struct row *row = row_find(presence, group);

	if (row && row->group->incarnation == group->incarnation)
		return row;
	if (row)
		row_drop(presence, row); // the group was made anew
	row = is_deleted(presence, group) ? NULL : calloc(1, sizeof *row);
	if (!row)
		return NULL;
	row->by_group.key = group->object.id;
	if (map_put(&presence->by_group, &row->by_group) < 0) {
		free(row);
		return NULL;
	}
	row->group = model_ref(group);
	list_push_back(&presence->rows, &row->in_rows);
	++presence->count;
	return row;
}

static void row_looked(struct rabbitmq_presence *presence, struct row *row)
{
	row->looked_ns = clock_now_ns();
	list_unlink(&row->in_rows);
	list_push_back(&presence->rows, &row->in_rows);
}

// ---- what is known of a row, with the lock

static void row_describe(const struct rabbitmq_presence *presence, const struct row *row,
			 char text[RABBITMQ_INCIDENT_TEXT])
{
	char span[RABBITMQ_INCIDENT_SPAN];

	rabbitmq_incident_span(row->seen_ms, row->found_ms, span);
	snprintf(text, RABBITMQ_INCIDENT_TEXT,
		 "cluster %s: there is no queue '%s': another client deleted it %s, and its "
		 "messages "
		 "are gone",
		 presence->adapter->cluster, row->group->physical, span);
}

static void row_seen(struct rabbitmq_presence *presence, struct row *row, int64_t wall_ms)
{
	char span[RABBITMQ_INCIDENT_SPAN];

	if (row->found_ms) {
		rabbitmq_incident_span(row->found_ms, wall_ms, span);
		log_info(presence->adapter->log, "RABBITMQ-QUEUE-BACK",
			 "queue %s is on the cluster again: it was missing %s, and has none of the "
			 "messages of that time",
			 row->group->physical, span);
		row->found_ms = 0;
	}
	row->seen_ms = MAX(row->seen_ms, wall_ms);
}

static void row_missing(struct rabbitmq_presence *presence, struct row *row)
{
	char span[RABBITMQ_INCIDENT_SPAN];

	if (row->found_ms)
		return;
	row->found_ms = clock_wall_ms();
	rabbitmq_incident_span(row->seen_ms, row->found_ms, span);
	log_warn(presence->adapter->log, "RABBITMQ-QUEUE-GONE",
		 "queue %s was deleted on the cluster %s: its messages are gone, and its group "
		 "ends",
		 row->group->physical, span);
}

// ---- what others tell

void rabbitmq_presence_seen(struct adapter *adapter, const struct group *group, uint64_t ago_ns)
{
	struct rabbitmq_presence *presence = adapter->presence;
	struct row *row;

	pthread_mutex_lock(&presence->lock);
	row = row_get(presence, group);
	if (row) {
		row_seen(presence, row, clock_wall_ms() - (int64_t)(ago_ns / MS_NS));
		row_looked(presence, row);
	}
	pthread_mutex_unlock(&presence->lock);
}

void rabbitmq_presence_missing(struct adapter *adapter, const struct group *group,
			       char ret_text[RABBITMQ_INCIDENT_TEXT])
{
	struct rabbitmq_presence *presence = adapter->presence;
	struct row *row;

	pthread_mutex_lock(&presence->lock);
	row = row_get(presence, group);
	if (row) {
		row_missing(presence, row);
		row_looked(presence, row);
		row_describe(presence, row, ret_text);
	} else {
		snprintf(ret_text, RABBITMQ_INCIDENT_TEXT, "cluster %s: there is no queue '%s'",
			 adapter->cluster, group->physical);
	}
	pthread_mutex_unlock(&presence->lock);
}

bool rabbitmq_presence_is_missing(struct adapter *adapter, const struct group *group,
				  char ret_text[RABBITMQ_INCIDENT_TEXT])
{
	struct rabbitmq_presence *presence = adapter->presence;
	const struct row *row;
	bool missing;

	pthread_mutex_lock(&presence->lock);
	row = row_find(presence, group);
	missing = row && row->found_ms && row->group->incarnation == group->incarnation;
	if (missing)
		row_describe(presence, row, ret_text);
	pthread_mutex_unlock(&presence->lock);
	return missing;
}

void rabbitmq_presence_forget(struct adapter *adapter, const struct group *group)
{
	struct rabbitmq_presence *presence = adapter->presence;
	struct row *row;

	pthread_mutex_lock(&presence->lock);
	row = row_find(presence, group);
	if (row)
		row_drop(presence, row);
	if (!is_deleted(presence, group))
		presence->deleted[presence->deleted_next++ % DELETED] =
			(struct deleted_row){group->object.id, group->incarnation};
	pthread_mutex_unlock(&presence->lock);
}

void rabbitmq_presence_imported(struct adapter *adapter, void (*use)(void *ctx, const char *queue),
				void *ctx)
{
	struct rabbitmq_presence *presence = adapter->presence;

	pthread_mutex_lock(&presence->lock);
	LIST_FOREACH(node, next, &presence->rows)
	{
		const struct row *row = LIST_ENTRY(node, struct row, in_rows);

		if (row->group->imported && !row->found_ms)
			use(ctx, row->group->physical);
	}
	pthread_mutex_unlock(&presence->lock);
}

void rabbitmq_presence_too_large(struct adapter *adapter, const struct group *group, uint32_t count,
				 uint64_t bytes)
{
	struct rabbitmq_presence *presence = adapter->presence;
	struct row *row;

	pthread_mutex_lock(&presence->lock);
	row = row_get(presence, group);
	if (row) {
		row->aside_ms = row->aside ? row->aside_ms : clock_wall_ms();
		row->aside = count;
		row->aside_bytes = bytes;
	}
	pthread_mutex_unlock(&presence->lock);
}

static void aside_describe(const struct rabbitmq_presence *presence, const struct row *row,
			   char text[RABBITMQ_INCIDENT_TEXT])
{
	snprintf(text, RABBITMQ_INCIDENT_TEXT,
		 "cluster %s: queue '%s' has %u messages that are too large to be handed out (the "
		 "last one has %llu bytes); they stay there, unacknowledged%s",
		 presence->adapter->cluster, row->group->physical, row->aside,
		 (unsigned long long)row->aside_bytes,
		 row->aside < RABBITMQ_PRESENCE_ASIDE_MAX
			 ? ""
			 : ", and the group may stand still because of them");
}

static void row_list(const struct rabbitmq_presence *presence, const struct row *row,
		     struct rabbitmq_incidents *to)
{
	struct rabbitmq_incident *incident =
		row->found_ms || row->aside ? rabbitmq_incident_add(to) : NULL;

	if (!incident)
		return;
	incident->topic = row->group->topic;
	incident->group = row->group->object.id;
	incident->since_ms = row->found_ms ? row->seen_ms : row->aside_ms;
	incident->until_ms = row->found_ms ? row->found_ms : row->aside_ms;
	if (row->found_ms)
		row_describe(presence, row, incident->text);
	else
		aside_describe(presence, row, incident->text);
}

void rabbitmq_presence_list(struct adapter *adapter, struct rabbitmq_incidents *to)
{
	struct rabbitmq_presence *presence = adapter->presence;

	pthread_mutex_lock(&presence->lock);
	LIST_FOREACH(node, next, &presence->rows)
	{
		row_list(presence, LIST_ENTRY(node, struct row, in_rows), to);
	}
	pthread_mutex_unlock(&presence->lock);
}

// ---- looking

static void rows_answered(struct rabbitmq_presence *presence, bool answered)
{
	int64_t wall_ms = clock_wall_ms();

	pthread_mutex_lock(&presence->lock);
	for (size_t i = 0; i < presence->ask.count; ++i) {
		struct row *row = presence->asked[i];

		row->asked = false;
		if (row->forgotten)
			row_free(row);
		else if (answered && presence->steps[i].missing)
			row_missing(presence, row);
		else if (answered)
			row_seen(presence, row, wall_ms);
	}
	pthread_mutex_unlock(&presence->lock);
}

static void look_on(struct rabbitmq_presence *presence);

static void on_asked(struct rabbitmq_ask *ask, enum code code, const char *text)
{
	struct rabbitmq_presence *presence = CONTAINER_OF(ask, struct rabbitmq_presence, ask);

	rows_answered(presence, code == CODE_OK);
	presence->most = code == CODE_OK ? AT_ONCE : 1;
	look_on(presence);
}

static bool is_due(const struct rabbitmq_presence *presence, const struct row *row, uint64_t now_ns)
{
	uint64_t pause_ms = MAX((uint64_t)LOOK_MS, presence->count * 1000ull / PER_SECOND);

	if (row->found_ms)
		pause_ms = MAX(pause_ms, (uint64_t)LOOK_MISSING_MS);
	return now_ns >= row->looked_ns + pause_ms * MS_NS;
}

// Those that are due. None is asked already: there is one request at a time.
static size_t rows_take(struct rabbitmq_presence *presence, uint64_t now_ns)
{
	size_t count = 0;

	pthread_mutex_lock(&presence->lock);
	LIST_FOREACH(node, next, &presence->rows)
	{
		struct row *row = LIST_ENTRY(node, struct row, in_rows);

		if (count == presence->most || presence->stopping ||
		    (!row->found_ms && !is_due(presence, row, now_ns)))
			break;
		if (!is_due(presence, row, now_ns))
			continue;
		row_looked(presence, row);
		row->asked = true;
		presence->asked[count] = row;
		presence->steps[count++] = (struct rabbitmq_step){.verb = RABBITMQ_QUEUE_LOOK,
								  .name = row->group->physical,
								  .may_miss = true};
	}
	pthread_mutex_unlock(&presence->lock);
	return count;
}

static bool is_stopping(struct rabbitmq_presence *presence)
{
	bool stopping;

	pthread_mutex_lock(&presence->lock);
	stopping = presence->stopping;
	pthread_mutex_unlock(&presence->lock);
	return stopping;
}

static void look_on(struct rabbitmq_presence *presence)
{
	uint64_t now_ns = clock_now_ns();
	size_t count = rows_take(presence, now_ns);

	if (count) {
		presence->ask = (struct rabbitmq_ask){.adapter = presence->adapter,
						      .steps = presence->steps,
						      .count = count,
						      .done = on_asked};
		rabbitmq_ask_run(&presence->ask);
	} else if (!is_stopping(presence)) {
		loop_timer_set(&presence->timer, now_ns + TIMER_MS * MS_NS);
	}
}

static void on_timer(struct loop_timer *timer)
{
	look_on(CONTAINER_OF(timer, struct rabbitmq_presence, timer));
}

static void on_begin(struct loop_task *task)
{
	look_on(CONTAINER_OF(task, struct rabbitmq_presence, begin));
}

static void on_end(struct loop_task *task)
{
	loop_timer_cancel(&CONTAINER_OF(task, struct rabbitmq_presence, end)->timer);
}

// ---- begin and end

int rabbitmq_presence_start(struct adapter *adapter)
{
	struct rabbitmq_presence *presence = calloc(1, sizeof *presence);

	if (!presence)
		return -ENOMEM;
	presence->adapter = adapter;
	presence->most = AT_ONCE;
	pthread_mutex_init(&presence->lock, NULL);
	list_init(&presence->rows);
	presence->begin.fn = on_begin;
	presence->end.fn = on_end;
	loop_timer_init(&presence->timer, rabbitmq_link_loop(adapter->ask), on_timer);
	adapter->presence = presence;
	loop_post(rabbitmq_link_loop(adapter->ask), &presence->begin);
	return 0;
}

void rabbitmq_presence_stop(struct adapter *adapter)
{
	struct rabbitmq_presence *presence = adapter->presence;

	if (!presence)
		return;
	pthread_mutex_lock(&presence->lock);
	presence->stopping = true;
	pthread_mutex_unlock(&presence->lock);
	loop_post(rabbitmq_link_loop(adapter->ask), &presence->end);
}

void rabbitmq_presence_free(struct adapter *adapter)
{
	struct rabbitmq_presence *presence = adapter->presence;

	if (!presence)
		return;
	while (!list_empty(&presence->rows))
		row_drop(presence, LIST_ENTRY(presence->rows.next, struct row, in_rows));
	map_deinit(&presence->by_group);
	pthread_mutex_destroy(&presence->lock);
	free(presence);
	adapter->presence = NULL;
}
