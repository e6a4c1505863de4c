// Jobs: what is asked of a store, one after the other.
//
// A job that must see what others wrote has the stream read on to the end of the topic first; any
// other job goes by what is in memory. Values are read from the topic when they are wanted. Where
// one is not found, somebody else has written: the rows are brought up to date and the job is done
// once more.

#include "adapters/kafka/adapter.h"
#include "adapters/kafka/retry/retry.h"
#include "adapters/kafka/retry/retry_thread.h"
#include "core/base/clock.h"

struct retry_job *retry_job_first(const struct retry_store *store)
{
	return list_empty(&store->jobs) ? NULL
					: LIST_ENTRY(store->jobs.next, struct retry_job, in_store);
}

static void job_begin(struct retry_job *job);
static void wants_serve(struct retry_job *job);

static void wants_free(struct retry_job *job)
{
	for (uint32_t i = 0; i < job->want_count; ++i)
		free(job->wants[i].value);
	free(job->wants);
	job->wants = NULL;
	job->want_count = job->want_at = job->missing = 0;
}

// The next one begins, of this store or of one that waits for its turn.
void retry_job_next(struct retry_store *store)
{
	struct retry_stores *stores = store->stores;
	struct retry_job *job = retry_job_first(store);
	struct list *node;

	if (job)
		job_begin(job);
	while (!list_empty(&stores->waiting) && retry_stream_make_room(stores)) {
		node = list_pop_front(&stores->waiting);
		retry_stream_go(LIST_ENTRY(node, struct retry_store, line));
	}
}

void retry_job_finish(struct retry_job *job, struct retry_rows *rows, enum code code,
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

void retry_job_end(struct retry_job *job, enum code code, const char *text)
{
	struct retry_store *store = job->store;

	list_unlink(&job->in_store);
	store->used_ns = clock_now_ns();
	retry_job_finish(job, code == CODE_OK ? &store->rows : NULL, code, text);
	retry_job_next(store);
}

static void catch_up(struct retry_job *job)
{
	struct retry_store *store = job->store;

	if (store->presence != RETRY_THERE) {
		retry_ask(job);
		return;
	}
	job->phase = JOB_CATCHING_UP;
	retry_stream_go(store);
}

void retry_job_extend(struct retry_job *job)
{
	job->deadline_ns = clock_now_ns() + job->store->stores->adapter->options.timeout_ms * MS_NS;
}

static void job_begin(struct retry_job *job)
{
	struct retry_store *store = job->store;

	retry_job_extend(job);
	if (job->fresh || !store->loaded)
		catch_up(job);
	else
		retry_job_plan(job);
}

static int by_written(const void *a, const void *b)
{
	const struct retry_want *left = a, *right = b;

	return left->written < right->written ? -1 : left->written > right->written;
}

void retry_job_plan(struct retry_job *job)
{
	if (job->plan)
		job->plan(job, &job->store->rows);
	if (job->want_count == 0) {
		retry_job_end(job, CODE_OK, NULL);
		return;
	}
	qsort(job->wants, job->want_count, sizeof *job->wants, by_written);
	job->phase = JOB_READING;
	wants_serve(job);
}

// Once more, from what is in the topic now.
void retry_job_again(struct retry_job *job)
{
	job->again = true;
	wants_free(job);
	catch_up(job);
}

void retry_job_read(struct retry_job *job)
{
	if (!job->missing || job->again) {
		retry_job_end(job, CODE_OK, NULL);
		return;
	}
	retry_job_again(job);
}

static void job_arrived(struct retry_stores *stores, struct retry_letter *letter)
{
	struct retry_job *job = CONTAINER_OF(letter, struct retry_job, letter);
	struct retry_store *store =
		stores->stopping ? NULL : retry_store_get(stores, job->group, job->topic);

	if (!store) {
		retry_job_finish(job, NULL, stores->stopping ? CODE_SHUTTING_DOWN : CODE_OVERLOADED,
				 NULL);
		return;
	}
	job->store = store;
	store->open = store->open || job->opens;
	list_push_back(&store->jobs, &job->in_store);
	if (retry_job_first(store) == job)
		job_begin(job);
}

void retry_look(struct adapter *adapter, struct retry_job *job)
{
	list_init(&job->in_store);
	job->group = model_ref(job->group);
	job->topic = model_ref(job->topic);
	job->letter.run = job_arrived;
	if (!retry_post(adapter->retries, &job->letter))
		retry_job_finish(job, NULL, CODE_SHUTTING_DOWN, NULL);
}

// ---- values

// Takes it if it is wanted. true: nothing more is, or there is no memory, and the job goes on or
// has ended.
bool retry_job_take_value(struct retry_job *job, const rd_kafka_message_t *message)
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
			retry_job_end(job, CODE_OVERLOADED, NULL);
			return true;
		}
	}
	if (job->want_at < job->want_count)
		return false;
	retry_job_read(job);
	return true;
}

// What is wanted may have been read ahead.
static void wants_serve(struct retry_job *job)
{
	struct retry_store *store = job->store;

	while (store->ahead_count && job->wants[job->want_at].written >= store->ahead_from) {
		rd_kafka_message_t *message = retry_ahead_pop(store);
		bool taken = retry_job_take_value(job, message);

		rd_kafka_message_destroy(message);
		if (taken)
			return;
	}
	retry_stream_go(store);
}
