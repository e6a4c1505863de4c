// The store of one group: its rows in memory, and its queue of jobs.
//
// A store is made when its group is first asked about, emptied when its topic is gone, and freed
// when it has no source, jobs or writes any more. Its rows are those that the messages of its topic
// up to `next` amount to; own writes are added when they are acknowledged.
//
// A job is one look into the store; jobs run one after the other. A job that must see what others
// wrote (`fresh`) has the stream read on to the end of the topic first (JOB_CATCHING_UP); any other
// goes by what is in memory. Values are read from the topic when they are wanted (JOB_READING).
// Where one is not found, another owner has written: the rows are brought up to date and the job
// runs once more. Before a topic is read for the first time the cluster is asked whether
// it exists (JOB_ASKING), because librdkafka would remember that it does not.
//
// Invariants: only the first job of a store is at work; a job ends once, and its models are
// referenced until then. What it does not do: read (retry_stream.c), write (retry_write.c), wait.

#include "adapters/kafka/retry/retry_store.h"

#include "adapters/kafka/client/task.h"
#include "adapters/kafka/retry/retry_stream.h"
#include "adapters/kafka/topic/stored.h"
#include "core/base/clock.h"

// ---- making and freeing

void retry_store_changed(struct retry_store *store, int64_t change)
{
	retry_thread_count_rows(store->stores, change);
	if (change)
		kafka_stored_rows(store->stores->adapter, store->group->object.id,
				  store->rows.index.count);
}

static void rows_forget(struct retry_store *store)
{
	retry_thread_count_rows(store->stores, -(int64_t)store->rows.index.count);
	retry_rows_deinit(&store->rows);
	store->next = store->written = 0;
	store->loaded = false;
}

void retry_store_forget_topic(struct retry_store *store)
{
	retry_stream_stop(store);
	list_unlink(&store->line); // it may wait for a turn
	retry_stream_clear(store);
	if (store->reading)
		rd_kafka_topic_destroy(store->reading);
	store->reading = NULL;
	rows_forget(store);
	store->presence = RETRY_UNKNOWN;
}

void retry_store_free(struct retry_store *store)
{
	retry_stream_clear(store);
	rows_forget(store);
	if (store->reading)
		rd_kafka_topic_destroy(store->reading);
	model_unref(store->group);
	model_unref(store->topic);
	free(store->name);
	free(store);
}

struct retry_store *retry_store_get(struct retry_stores *stores, const struct group *group,
				    const struct topic *topic)
{
	struct map_node *node = map_find(&stores->stores, group->object.id);
	struct retry_store *store;

	if (node)
		return CONTAINER_OF(node, struct retry_store, by_id);
	store = calloc(1, sizeof *store);
	if (!store)
		return NULL;
	store->stores = stores;
	store->by_id.key = group->object.id;
	store->group = model_ref(group);
	store->topic = model_ref(topic);
	store->name = retry_topic_name(group);
	store->position = RETRY_NO_STREAM;
	list_init(&store->line);
	list_init(&store->jobs);
	retry_rows_init(&store->rows);
	if (!store->name || map_put(&stores->stores, &store->by_id) < 0) {
		retry_store_free(store);
		return NULL;
	}
	return store;
}

// ---- jobs

static void job_begin(struct retry_job *job);
static void wants_serve(struct retry_job *job);
static void store_probe(struct retry_job *job);

struct retry_job *retry_store_first_job(const struct retry_store *store)
{
	return list_empty(&store->jobs) ? NULL
					: LIST_ENTRY(store->jobs.next, struct retry_job, in_store);
}

static void wants_free(struct retry_job *job)
{
	for (uint32_t i = 0; i < job->want_count; ++i)
		free(job->wants[i].value);
	free(job->wants);
	job->wants = NULL;
	job->want_count = job->want_at = job->missing = 0;
}

// The next one begins, of this store or of one that waits for its turn.
void retry_store_next_job(struct retry_store *store)
{
	struct retry_stores *stores = store->stores;
	struct retry_job *job = retry_store_first_job(store);
	struct list *node;

	if (job)
		job_begin(job);
	while (!list_empty(&stores->waiting) && retry_stream_make_room(stores)) {
		node = list_pop_front(&stores->waiting);
		retry_stream_go(LIST_ENTRY(node, struct retry_store, line));
	}
}

void retry_store_job_finish(struct retry_job *job, struct retry_rows *rows, enum code code,
			    const char *text)
{
	const struct group *group = job->group;
	const struct topic *topic = job->topic;
	struct retry_want *wants = job->wants;
	uint32_t count = job->want_count;

	job->done(job, rows, code, text); // the job may be gone
	for (uint32_t i = 0; i < count; ++i)
		free(wants[i].value);
	free(wants);
	model_unref(group);
	model_unref(topic);
}

void retry_store_job_end(struct retry_job *job, enum code code, const char *text)
{
	struct retry_store *store = job->store;

	list_unlink(&job->in_store);
	store->used_ns = clock_now_ns();
	retry_store_job_finish(job, code == CODE_OK ? &store->rows : NULL, code, text);
	retry_store_next_job(store);
}

static void catch_up(struct retry_job *job)
{
	struct retry_store *store = job->store;

	if (store->presence != RETRY_THERE) {
		store_probe(job);
		return;
	}
	job->phase = JOB_CATCHING_UP;
	retry_stream_go(store);
}

void retry_store_job_extend(struct retry_job *job)
{
	job->deadline_ns = clock_now_ns() + job->store->stores->adapter->options.timeout_ms * MS_NS;
}

static void job_begin(struct retry_job *job)
{
	struct retry_store *store = job->store;

	retry_store_job_extend(job);
	if (job->fresh || !store->loaded)
		catch_up(job);
	else
		retry_store_job_plan(job);
}

static int by_written(const void *a, const void *b)
{
	const struct retry_want *left = a, *right = b;

	return left->written < right->written ? -1 : left->written > right->written;
}

void retry_store_job_plan(struct retry_job *job)
{
	if (job->plan)
		job->plan(job, &job->store->rows);
	if (job->want_count == 0) {
		retry_store_job_end(job, CODE_OK, NULL);
		return;
	}
	qsort(job->wants, job->want_count, sizeof *job->wants, by_written);
	job->phase = JOB_READING;
	wants_serve(job);
}

// Once more, from what is in the topic now.
void retry_store_job_again(struct retry_job *job)
{
	job->again = true;
	wants_free(job);
	catch_up(job);
}

void retry_store_job_read(struct retry_job *job)
{
	if (!job->missing || job->again) {
		retry_store_job_end(job, CODE_OK, NULL);
		return;
	}
	retry_store_job_again(job);
}

static void job_begin_or_queue(struct loop_task *event)
{
	struct retry_job *job = CONTAINER_OF(event, struct retry_job, event);
	struct retry_stores *stores = job->stores;
	struct retry_store *store =
		stores->stopping ? NULL : retry_store_get(stores, job->group, job->topic);

	if (!store) {
		retry_store_job_finish(
			job, NULL, stores->stopping ? CODE_SHUTTING_DOWN : CODE_OVERLOADED, NULL);
		return;
	}
	job->store = store;
	store->open = store->open || job->opens;
	list_push_back(&store->jobs, &job->in_store);
	if (retry_store_first_job(store) == job)
		job_begin(job);
}

void retry_store_look(struct adapter *adapter, struct retry_job *job)
{
	list_init(&job->in_store);
	job->group = model_ref(job->group);
	job->topic = model_ref(job->topic);
	job->event.fn = job_begin_or_queue;
	job->stores = adapter->retries;
	if (!retry_thread_post(job->stores, &job->event))
		retry_store_job_finish(job, NULL, CODE_SHUTTING_DOWN, NULL);
}

// ---- values

// Takes it if it is wanted. true: nothing more is, or there is no memory, and the job goes on or
// has ended.
bool retry_store_job_take_value(struct retry_job *job, const rd_kafka_message_t *message)
{
	uint64_t offset = (uint64_t)message->offset;
	struct retry_want *want;

	while (job->want_at < job->want_count && job->wants[job->want_at].written < offset) {
		++job->want_at;
		++job->missing;
	}
	want = job->want_at < job->want_count ? &job->wants[job->want_at] : NULL;
	if (want && want->written == offset) {
		++job->want_at;
		want->value = message->payload ? malloc(message->len) : NULL;
		job->missing += !message->payload;
		if (want->value) {
			memcpy(want->value, message->payload, message->len);
			want->size = (uint32_t)message->len;
		} else if (message->payload) {
			retry_store_job_end(job, CODE_OVERLOADED, NULL);
			return true;
		}
	}
	if (job->want_at < job->want_count)
		return false;
	retry_store_job_read(job);
	return true;
}

// What is wanted may have been read ahead.
static void wants_serve(struct retry_job *job)
{
	struct retry_store *store = job->store;

	while (store->ahead_count && job->wants[job->want_at].written >= store->ahead_from) {
		rd_kafka_message_t *message = retry_stream_pop(store);
		bool taken = retry_store_job_take_value(job, message);

		rd_kafka_message_destroy(message);
		if (taken)
			return;
	}
	retry_stream_go(store);
}

// ---- whether its topic exists

struct probe {
	struct kafka_task task;
	struct loop_task event;
	struct retry_stores *stores;
	uint64_t group;
	char *name;
	bool lost, doubt;
	enum retry_presence presence;
	enum code code;
};

static struct retry_store *store_find(struct retry_stores *stores, uint64_t group)
{
	struct map_node *node = map_find(&stores->stores, group);

	return node ? CONTAINER_OF(node, struct retry_store, by_id) : NULL;
}

// Of a job in phase JOB_ASKING.
static void job_probed(struct retry_job *job, enum code code, enum retry_presence presence)
{
	struct retry_store *store = job->store;

	if (code != CODE_OK) {
		retry_store_job_end(job, code, "whether there is a retry topic cannot be told");
		return;
	}
	if (store->presence != RETRY_THERE) // else it was made meanwhile
		store->presence = presence;
	if (store->presence == RETRY_THERE)
		store->lost = false;
	job->phase = JOB_CATCHING_UP;
	if (store->presence == RETRY_THERE) {
		retry_stream_go(store);
		return;
	}
	store->loaded = true;
	retry_store_job_plan(job);
}

static void probe_end(struct probe *probe)
{
	retry_thread_under_way(probe->stores, -1);
	free(probe->name);
	free(probe);
}

static void probe_answered(struct loop_task *event)
{
	struct probe *probe = CONTAINER_OF(event, struct probe, event);
	struct retry_store *store = store_find(probe->stores, probe->group);
	struct retry_job *job = store ? retry_store_first_job(store) : NULL;
	enum retry_presence presence = probe->presence;
	enum code code = probe->code;

	probe_end(probe);
	if (job && job->phase == JOB_ASKING)
		job_probed(job, code, presence);
}

static void doubt_answered(struct loop_task *event)
{
	struct probe *probe = CONTAINER_OF(event, struct probe, event);
	struct retry_store *store = store_find(probe->stores, probe->group);
	bool absent = probe->code == CODE_OK && probe->presence == RETRY_ABSENT;

	probe_end(probe);
	if (!store)
		return;
	store->doubted = false;
	if (absent && store->presence == RETRY_THERE)
		retry_store_topic_lost(store, "another client has deleted the topic");
}

static void probe_run(struct adapter *adapter, struct kafka_task *task)
{
	struct probe *probe = CONTAINER_OF(task, struct probe, task);

	if (retry_thread_is_stopping(probe->stores)) // a dead cluster would hold up the end
		probe->code = CODE_SHUTTING_DOWN;
	else if (probe->doubt)
		probe->code = retry_topic_ask_again(adapter, probe->name, &probe->presence);
	else
		probe->code = retry_topic_ask(adapter, probe->name, &probe->presence);
	if (probe->code == CODE_OK && probe->lost && probe->presence == RETRY_THERE)
		probe->code = retry_topic_settle(adapter, probe->name);
	retry_thread_post(probe->stores, &probe->event);
}

// false: there is no memory.
static bool probe_begin(struct retry_store *store, bool doubt)
{
	struct probe *probe = calloc(1, sizeof *probe);

	if (probe)
		probe->name = strdup(store->name);
	if (!probe || !probe->name) {
		free(probe);
		return false;
	}
	probe->task.run = probe_run;
	probe->event.fn = doubt ? doubt_answered : probe_answered;
	probe->doubt = doubt;
	probe->stores = store->stores;
	probe->group = store->by_id.key;
	probe->lost = store->lost;
	retry_thread_under_way(store->stores, 1);
	kafka_task_post_blocking(store->stores->adapter, &probe->task);
	return true;
}

static void store_probe(struct retry_job *job)
{
	job->phase = JOB_ASKING;
	if (!probe_begin(job->store, false))
		retry_store_job_end(job, CODE_OVERLOADED, NULL);
}

void retry_store_doubt(struct retry_store *store)
{
	if (store->presence == RETRY_THERE && !store->doubted)
		store->doubted = probe_begin(store, true);
}

void retry_store_topic_lost(struct retry_store *store, const char *text)
{
	struct retry_job *job = retry_store_first_job(store);

	log_error(store->stores->adapter->log, "KAFKA-RETRY-LOST",
		  "%s: %s; what waited there is lost unless the topic comes back", store->name,
		  text);
	retry_store_forget_topic(store);
	store->lost = true;
	if (job && job->again)
		retry_store_job_end(job, CODE_BACKEND_DOWN, text);
	else if (job)
		retry_store_job_again(job);
}

// ---- closing

struct closing {
	struct loop_task event;
	struct retry_stores *stores;
	uint64_t group;
};

static void closed_run(struct loop_task *event)
{
	struct closing *closing = CONTAINER_OF(event, struct closing, event);
	struct retry_store *store = store_find(closing->stores, closing->group);

	if (store)
		store->open = false;
	free(closing);
}

void retry_store_closed(struct adapter *adapter, const struct group *group)
{
	struct closing *closing = calloc(1, sizeof *closing);

	if (!closing)
		return; // it stays in memory
	closing->event.fn = closed_run;
	closing->stores = adapter->retries;
	closing->group = group->object.id;
	if (!retry_thread_post(closing->stores, &closing->event))
		free(closing);
}

// ---- deleting

struct forgetting {
	struct loop_task event;
	struct retry_stores *stores;
	uint64_t group;
};

static void forget_run(struct loop_task *event)
{
	struct forgetting *forgetting = CONTAINER_OF(event, struct forgetting, event);
	struct retry_store *store = store_find(forgetting->stores, forgetting->group);

	if (store && list_empty(&store->jobs)) {
		retry_store_forget_topic(store);
		retry_store_next_job(store);
	}
	free(forgetting);
}

enum code retry_store_delete(struct adapter *adapter, const struct group *group)
{
	struct forgetting *forgetting = calloc(1, sizeof *forgetting);
	_cleanup_(freep) char *name = retry_topic_name(group);
	enum retry_presence presence = RETRY_UNKNOWN;
	enum code code =
		forgetting && name ? retry_topic_ask(adapter, name, &presence) : CODE_OVERLOADED;

	if (code == CODE_OK && presence == RETRY_THERE)
		code = retry_topic_delete(adapter, name);
	if (code != CODE_OK) {
		free(forgetting);
		return code;
	}
	kafka_stored_rows(adapter, group->object.id, 0);
	forgetting->event.fn = forget_run;
	forgetting->stores = adapter->retries;
	forgetting->group = group->object.id;
	if (!retry_thread_post(forgetting->stores, &forgetting->event))
		free(forgetting);
	return CODE_OK;
}
