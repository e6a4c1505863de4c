// Estimates the bytes of topics and retry stores: positions of a topic, or rows of a retry store,
// times the mean size of what this proxy has sent to the topic.
//
// First and end of the partitions of all topics are requested at once, by a task of its own, a
// second after the previous answer; the slot itself sends no request. Ends of topics that are open
// are known from the reports of what was sent: they rise before a send is answered, so an estimate
// is never older than the sends that it is added to.
//
// Means and the last known values are kept in a file and read at the next start, so a restart
// begins with what was told before. A damaged file is ignored. What it does not do: measure;
// brokers do not tell clients how many bytes a partition has.

#include "adapters/kafka/topic/stored.h"

#include "adapters/kafka/client/admin_handle.h"
#include "adapters/kafka/client/task.h"
#include "adapters/kafka/topic/topic.h"
#include "core/base/clock.h"
#include "core/base/map.h"

#include <errno.h>
#include <stdio.h>

#define QUERY_NS     S_NS // between an answer and the next question
#define FAILED_NS    (5 * S_NS)
#define QUERY_PART   20u // of what a question takes
#define CALL_MS      2000
#define SAVE_NS      (60 * S_NS)
#define MEAN_UNKNOWN 1024u    // bytes, before anything was sent anywhere
#define SENT_MOST    1000000u // messages a mean is made of; then the older half counts less

struct bounds {
	uint64_t first, end;
};

// A topic, or the retry store of a group.
struct known {
	struct map_node node; // by id
	struct kafka_sent sent;
	struct bounds *bounds; // of a topic's partitions, as last answered
	uint32_t partitions;
	uint64_t positions; // of all partitions, as last answered or read from the file
	uint64_t read_sent; // sent.messages as read from the file
	bool is_known;
	uint32_t deletions; // an answer to what was asked before one is void
	uint64_t rows;      // of a group
};

struct kafka_stored {
	struct adapter *adapter;
	char *path;
	pthread_mutex_t lock;
	struct map topics, groups; // of struct known
	struct kafka_task task;
	// Under the lock: what the question asks.
	struct asked *asked;
	size_t asked_count;
	bool asking;
	uint64_t ask_ns, save_ns; // when next
};

struct asked {
	uint64_t id;
	char *physical;
	uint32_t partitions, deletions;
	struct bounds *bounds; // the answer; NULL: none
};

// Under the lock. NULL: no memory.
static struct known *known_get(struct map *map, uint64_t id)
{
	struct map_node *node = map_find(map, id);
	struct known *known;

	if (node)
		return CONTAINER_OF(node, struct known, node);
	known = calloc(1, sizeof *known);
	if (!known)
		return NULL;
	known->node.key = id;
	if (map_put(map, &known->node) == 0)
		return known;
	free(known);
	return NULL;
}

struct kafka_sent *kafka_stored_sent(struct adapter *adapter, uint64_t topic)
{
	struct kafka_stored *stored = adapter->stored;
	struct known *known;

	pthread_mutex_lock(&stored->lock);
	known = known_get(&stored->topics, topic);
	pthread_mutex_unlock(&stored->lock);
	return known ? &known->sent : NULL;
}

void kafka_stored_rows(struct adapter *adapter, uint64_t group, uint64_t rows)
{
	struct kafka_stored *stored = adapter->stored;
	struct known *known;

	pthread_mutex_lock(&stored->lock);
	known = known_get(&stored->groups, group);
	if (known) {
		known->rows = rows;
		known->is_known = true;
	}
	pthread_mutex_unlock(&stored->lock);
}

void kafka_stored_deleted(struct adapter *adapter, uint64_t topic)
{
	struct kafka_stored *stored = adapter->stored;
	struct known *known;

	pthread_mutex_lock(&stored->lock);
	known = known_get(&stored->topics, topic);
	if (known) {
		free(known->bounds);
		known->bounds = NULL;
		known->partitions = 0;
		known->positions = 0;
		known->read_sent = __atomic_load_n(&known->sent.messages, __ATOMIC_RELAXED);
		known->is_known = true;
		++known->deletions;
	}
	pthread_mutex_unlock(&stored->lock);
}

// ---- asking where partitions begin and end

static void asked_free(struct kafka_stored *stored)
{
	for (size_t i = 0; i < stored->asked_count; ++i) {
		free(stored->asked[i].physical);
		free(stored->asked[i].bounds);
	}
	free(stored->asked);
	stored->asked = NULL;
	stored->asked_count = 0;
}

// Asks for one of the two places of every partition in the list.
static rd_kafka_resp_err_t place_ask(rd_kafka_t *handle, rd_kafka_topic_partition_list_t *list,
				     int64_t place)
{
	for (int i = 0; i < list->cnt; ++i) {
		list->elems[i].offset = place;
		list->elems[i].err = RD_KAFKA_RESP_ERR_NO_ERROR;
	}
	return rd_kafka_offsets_for_times(handle, list, CALL_MS);
}

// A topic of which one partition says nothing stays as it was.
static void places_take(struct asked *asked, const rd_kafka_topic_partition_t *first,
			const rd_kafka_topic_partition_t *end)
{
	struct bounds *bounds = calloc(asked->partitions, sizeof *bounds);

	for (uint32_t i = 0; bounds && i < asked->partitions; ++i) {
		if (first[i].err || end[i].err || first[i].offset < 0 ||
		    end[i].offset < first[i].offset) {
			free(bounds);
			return;
		}
		bounds[i] = (struct bounds){(uint64_t)first[i].offset, (uint64_t)end[i].offset};
	}
	asked->bounds = bounds;
}

static rd_kafka_resp_err_t places_ask(struct kafka_stored *stored)
{
	_cleanup_(admin_handle_leave) struct admin_handle_entered entered =
		admin_handle_enter(stored->adapter);
	rd_kafka_topic_partition_list_t *first = rd_kafka_topic_partition_list_new(16), *end;
	rd_kafka_resp_err_t error = RD_KAFKA_RESP_ERR_NO_ERROR;

	for (size_t i = 0; i < stored->asked_count; ++i)
		for (uint32_t number = 0; number < stored->asked[i].partitions; ++number)
			rd_kafka_topic_partition_list_add(first, stored->asked[i].physical,
							  (int32_t)number);
	end = rd_kafka_topic_partition_list_copy(first);
	if (first->cnt)
		error = place_ask(entered.handle, first, RD_KAFKA_OFFSET_BEGINNING);
	if (first->cnt && !error)
		error = place_ask(entered.handle, end, RD_KAFKA_OFFSET_END);
	for (size_t i = 0, at = 0; !error && i < stored->asked_count; ++i) {
		places_take(&stored->asked[i], first->elems + at, end->elems + at);
		at += stored->asked[i].partitions;
	}
	rd_kafka_topic_partition_list_destroy(first);
	rd_kafka_topic_partition_list_destroy(end);
	return error;
}

// Under the lock.
static void answer_take(struct kafka_stored *stored)
{
	for (size_t i = 0; i < stored->asked_count; ++i) {
		struct asked *asked = &stored->asked[i];
		struct known *known = asked->bounds ? known_get(&stored->topics, asked->id) : NULL;

		if (!known || known->deletions != asked->deletions)
			continue;
		free(known->bounds);
		known->bounds = asked->bounds;
		known->partitions = asked->partitions;
		known->is_known = true;
		known->positions = 0;
		for (uint32_t p = 0; p < known->partitions; ++p)
			known->positions += known->bounds[p].end - known->bounds[p].first;
		asked->bounds = NULL;
	}
}

static void stored_save(struct kafka_stored *stored);

// While it runs the list is its own.
static void ask_run(struct adapter *adapter, struct kafka_task *task)
{
	struct kafka_stored *stored = CONTAINER_OF(task, struct kafka_stored, task);
	uint64_t began_ns = clock_now_ns(), took_ns;
	rd_kafka_resp_err_t error =
		kafka_task_is_leaving(adapter) ? RD_KAFKA_RESP_ERR__DESTROY : places_ask(stored);

	took_ns = clock_now_ns() - began_ns;
	pthread_mutex_lock(&stored->lock);
	answer_take(stored);
	asked_free(stored);
	stored->ask_ns = clock_now_ns() + (error ? FAILED_NS : MAX(QUERY_NS, took_ns * QUERY_PART));
	stored->asking = false;
	pthread_mutex_unlock(&stored->lock);
	if (clock_now_ns() >= stored->save_ns && !error)
		stored_save(stored);
}

// Under the lock. Only what its cluster should have is asked for: another one is waited for.
static bool ask_fill(struct kafka_stored *stored, const struct stored_row *rows, size_t count)
{
	stored->asked = calloc(count, sizeof *stored->asked);
	for (size_t i = 0; stored->asked && i < count; ++i) {
		const struct topic *topic = rows[i].topic;
		const struct known *known;
		char *physical;

		if (rows[i].group || topic->state != MODEL_READY)
			continue;
		known = known_get(&stored->topics, topic->object.id);
		physical = known ? strdup(topic->physical) : NULL;
		if (physical)
			stored->asked[stored->asked_count++] =
				(struct asked){.id = topic->object.id,
					       .physical = physical,
					       .partitions = topic->partitions,
					       .deletions = known->deletions};
	}
	return stored->asked_count > 0;
}

static void ask_if_due(struct kafka_stored *stored, const struct stored_row *rows, size_t count)
{
	if (stored->asking || clock_now_ns() < stored->ask_ns)
		return;
	if (!ask_fill(stored, rows, count)) {
		asked_free(stored);
		return;
	}
	stored->asking = true;
	stored->task.run = ask_run;
	kafka_task_post_admin(stored->adapter, &stored->task);
}

// ---- estimating

// More than a mean is made of counts half from then on.
static double mean_of(struct kafka_sent *sent)
{
	uint64_t messages = __atomic_load_n(&sent->messages, __ATOMIC_RELAXED),
		 bytes = __atomic_load_n(&sent->bytes, __ATOMIC_RELAXED);

	if (messages > SENT_MOST) {
		__atomic_sub_fetch(&sent->messages, messages / 2, __ATOMIC_RELAXED);
		__atomic_sub_fetch(&sent->bytes, bytes / 2, __ATOMIC_RELAXED);
	}
	return messages ? (double)bytes / (double)messages : 0;
}

// Of all topics together.
static double mean_of_all(struct kafka_stored *stored)
{
	struct kafka_sent all = {0};
	size_t cursor = 0;
	struct map_node *next = NULL, *node;

	while ((node = map_next(&stored->topics, &cursor, &next))) {
		const struct known *known = CONTAINER_OF(node, struct known, node);

		all.messages += __atomic_load_n(&known->sent.messages, __ATOMIC_RELAXED);
		all.bytes += __atomic_load_n(&known->sent.bytes, __ATOMIC_RELAXED);
	}
	return all.messages ? (double)all.bytes / (double)all.messages : MEAN_UNKNOWN;
}

// What the open topic knows of a partition is newer, where it knows more; it is kept for when the
// topic is closed.
static uint64_t positions_of(struct adapter_topic *open, struct known *known)
{
	uint64_t sum = 0;

	for (uint32_t p = 0; p < known->partitions; ++p) {
		struct bounds *bounds = &known->bounds[p];
		uint64_t first, end;

		if (open && kafka_topic_partition(open, p)) {
			kafka_topic_bounds(open, p, &first, &end);
			bounds->first = MAX(bounds->first, first);
			bounds->end = MAX(bounds->end, end);
		}
		sum += bounds->end - MIN(bounds->first, bounds->end);
	}
	return sum;
}

// Before the first answer: what the file says, and what was sent since.
static uint64_t positions_before(const struct known *topic)
{
	uint64_t sent = __atomic_load_n(&topic->sent.messages, __ATOMIC_RELAXED);

	return topic->positions + (sent > topic->read_sent ? sent - topic->read_sent : 0);
}

// Under the lock. `open`: the topic, if some session has it.
static void row_fill(struct kafka_stored *stored, struct stored_row *row,
		     struct adapter_topic *open, double mean_all)
{
	struct known *topic = known_get(&stored->topics, row->topic->object.id);
	struct known *group = row->group ? known_get(&stored->groups, row->group->object.id) : NULL;
	double mean = topic ? mean_of(&topic->sent) : 0;
	uint64_t count;

	if (!topic || (row->group && !group))
		return;
	mean = mean > 0 ? mean : mean_all;
	if (row->group) {
		count = group->rows;
		row->known = group->is_known;
	} else if (topic->bounds) {
		count = topic->positions = positions_of(open, topic); // what the file gets
		row->known = true;
	} else {
		count = positions_before(topic);
		row->known = topic->is_known || count;
	}
	row->bytes = (uint64_t)((double)count * mean);
	row->estimated = true;
}

void kafka_stored_fill(struct adapter *adapter, struct stored_row *rows, size_t count)
{
	struct kafka_stored *stored = adapter->stored;
	double mean_all;

	pthread_mutex_lock(&stored->lock);
	ask_if_due(stored, rows, count);
	mean_all = mean_of_all(stored);
	pthread_mutex_unlock(&stored->lock);
	for (size_t i = 0; i < count; ++i) {
		// Before the lock: topics are opened with theirs held.
		struct adapter_topic *open = kafka_topic_find(adapter, rows[i].topic->object.id);

		pthread_mutex_lock(&stored->lock);
		row_fill(stored, &rows[i], open, mean_all);
		pthread_mutex_unlock(&stored->lock);
		if (open)
			kafka_topic_close(open);
	}
}

// ---- the file

static json_t *map_json(const struct map *map)
{
	json_t *rows = json_array();
	size_t cursor = 0;
	struct map_node *next = NULL, *node;

	while ((node = map_next(map, &cursor, &next))) {
		const struct known *known = CONTAINER_OF(node, struct known, node);

		if (known->is_known || known->sent.messages)
			json_array_append_new(
				rows, json_pack("{s:I, s:I, s:I, s:I, s:I, s:b}", "id",
						(json_int_t)known->node.key, "messages",
						(json_int_t)known->sent.messages, "bytes",
						(json_int_t)known->sent.bytes, "positions",
						(json_int_t)known->positions, "rows",
						(json_int_t)known->rows, "known", known->is_known));
	}
	return rows;
}

// It may be lost in a power cut: then it is learned again.
static void stored_save(struct kafka_stored *stored)
{
	_cleanup_(freep) char *beside = NULL;
	json_t *all;

	stored->save_ns = clock_now_ns() + SAVE_NS;
	pthread_mutex_lock(&stored->lock);
	all = json_pack("{s:o, s:o}", "topics", map_json(&stored->topics), "groups",
			map_json(&stored->groups));
	pthread_mutex_unlock(&stored->lock);
	if (asprintf(&beside, "%s.new", stored->path) < 0)
		beside = NULL;
	if (!all || !beside || json_dump_file(all, beside, JSON_COMPACT) < 0 ||
	    rename(beside, stored->path) < 0)
		log_warn(stored->adapter->log, "KAFKA-STORED-FILE", "%s cannot be written",
			 stored->path);
	json_decref(all);
}

static uint64_t number_of(const json_t *row, const char *name)
{
	return (uint64_t)MAX(json_integer_value(json_object_get(row, name)), 0);
}

static void map_load(struct map *map, const json_t *rows)
{
	size_t i;
	json_t *row;

	json_array_foreach(rows, i, row)
	{
		uint64_t id = number_of(row, "id");
		struct known *known = id ? known_get(map, id) : NULL;

		if (!known)
			continue;
		known->sent.messages = known->read_sent = number_of(row, "messages");
		known->sent.bytes = number_of(row, "bytes");
		known->positions = number_of(row, "positions");
		known->rows = number_of(row, "rows");
		known->is_known = json_is_true(json_object_get(row, "known"));
	}
}

static void map_free(struct map *map)
{
	size_t cursor = 0;
	struct map_node *next = NULL, *node;

	while ((node = map_next(map, &cursor, &next))) {
		free(CONTAINER_OF(node, struct known, node)->bounds);
		free(CONTAINER_OF(node, struct known, node));
	}
	map_deinit(map);
}

int kafka_stored_start(struct adapter *adapter, const char *data_dir)
{
	struct kafka_stored *stored = calloc(1, sizeof *stored);
	json_t *all;

	if (!stored)
		return -ENOMEM;
	if (asprintf(&stored->path, "%s/stored.json", data_dir) < 0) {
		free(stored);
		return -ENOMEM;
	}
	stored->adapter = adapter;
	stored->save_ns = clock_now_ns() + SAVE_NS;
	pthread_mutex_init(&stored->lock, NULL);
	all = json_load_file(stored->path, JSON_REJECT_DUPLICATES, NULL);
	map_load(&stored->topics, json_object_get(all, "topics"));
	map_load(&stored->groups, json_object_get(all, "groups"));
	json_decref(all);
	adapter->stored = stored;
	return 0;
}

void kafka_stored_stop(struct adapter *adapter)
{
	struct kafka_stored *stored = adapter->stored;

	if (!stored)
		return;
	stored_save(stored);
	asked_free(stored);
	map_free(&stored->topics);
	map_free(&stored->groups);
	pthread_mutex_destroy(&stored->lock);
	free(stored->path);
	free(stored);
	adapter->stored = NULL;
}
