// The thread of the retry stores: one consumer for all of them, a queue of jobs for each store.
//
// A store's rows in memory are what its topic comes to, read up to `next`; own writes are added
// when they are acknowledged. A job that must see what others wrote reads on to the end of the
// topic first; any other job goes by what is in memory. Values are read from the topic when they
// are wanted. Where one is not found, somebody else has written: the rows are brought up to date
// and the job is done once more.
//
// At most READERS topics are read at a time, in turn. A stream stays for a while after a job, and
// what it brings is kept, within bounds: the next rows that are due lie behind the last ones, or
// have just been written.

#include "adapters/kafka/retry.h"

#include "adapters/kafka/known.h"
#include "core/base/clock.h"

#include <errno.h>

#define READERS     8u
#define NEAR        2000u      // messages to read past rather than begin anew
#define STREAM_NS   (2 * S_NS) // a stream without a job stays for so long
#define AHEAD_BYTES (1u << 20)
#define FORGET_NS   (60 * S_NS) // a store without a source and jobs stays in memory
#define TICK_NS     S_NS
#define POLL_MS     200
#define NO_STREAM   UINT64_MAX

struct retry_stores {
	struct adapter *adapter;
	struct client *client;
	rd_kafka_queue_t *messages;
	pthread_t thread;
	bool started;
	pthread_mutex_t lock;
	struct retry_letter *first, **last;
	bool stopping, stopped;
	// The thread's own.
	struct map stores;
	struct list reading, waiting; // of retry_store.line
	uint32_t reading_count;
	uint64_t tick_ns;
	int64_t rows;  // atomic
	int under_way; // atomic: batches, and questions of this file
};

struct adapter *retry_adapter(const struct retry_stores *stores)
{
	return stores->adapter;
}

int64_t retry_rows_counted(struct retry_stores *stores, int64_t change)
{
	return __atomic_add_fetch(&stores->rows, change, __ATOMIC_RELAXED);
}

void retry_batch_under_way(struct retry_stores *stores, int change)
{
	__atomic_add_fetch(&stores->under_way, change, __ATOMIC_ACQ_REL);
}

bool retry_post(struct retry_stores *stores, struct retry_letter *letter)
{
	bool stopped;

	letter->next = NULL;
	pthread_mutex_lock(&stores->lock);
	stopped = stores->stopped;
	if (!stopped) {
		*stores->last = letter;
		stores->last = &letter->next;
	}
	pthread_mutex_unlock(&stores->lock);
	if (!stopped)
		rd_kafka_queue_yield(stores->messages);
	return !stopped;
}

// ---- stores

static void rows_forget(struct retry_store *store)
{
	retry_rows_counted(store->stores, -(int64_t)store->rows.index.count);
	retry_rows_deinit(&store->rows);
	store->next = store->written = 0;
	store->loaded = false;
}

// ---- what was read ahead

static rd_kafka_message_t *ahead_pop(struct retry_store *store)
{
	rd_kafka_message_t *message = store->ahead[store->ahead_head];

	store->ahead_head = (store->ahead_head + 1) % RETRY_AHEAD;
	--store->ahead_count;
	store->ahead_bytes -= message->len;
	store->ahead_from = (uint64_t)message->offset + 1;
	return message;
}

static void ahead_clear(struct retry_store *store)
{
	while (store->ahead_count)
		rd_kafka_message_destroy(ahead_pop(store));
}

// false: there is no room.
static bool ahead_push(struct retry_store *store, rd_kafka_message_t *message)
{
	if (store->ahead_count == RETRY_AHEAD ||
	    (store->ahead_count && store->ahead_bytes + message->len > AHEAD_BYTES))
		return false;
	store->ahead[(store->ahead_head + store->ahead_count++) % RETRY_AHEAD] = message;
	store->ahead_bytes += message->len;
	return true;
}

// ---- stores, their end

static void store_free(struct retry_store *store)
{
	ahead_clear(store);
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
	store->position = NO_STREAM;
	list_init(&store->line);
	list_init(&store->jobs);
	retry_rows_init(&store->rows);
	if (!store->name || map_put(&stores->stores, &store->by_id) < 0) {
		store_free(store);
		return NULL;
	}
	return store;
}

// ---- streams

static void stream_stop(struct retry_store *store)
{
	if (!store->streaming)
		return;
	rd_kafka_consume_stop(store->reading, 0);
	store->streaming = false;
	store->position = NO_STREAM;
	list_unlink(&store->line);
	--store->stores->reading_count;
}

static bool stream_make_room(struct retry_stores *stores)
{
	if (stores->reading_count < READERS)
		return true;
	LIST_FOREACH(node, next, &stores->reading)
	{
		struct retry_store *store = LIST_ENTRY(node, struct retry_store, line);

		if (list_empty(&store->jobs)) {
			stream_stop(store);
			return true;
		}
	}
	return false;
}

static struct retry_job *job_first(const struct retry_store *store)
{
	return list_empty(&store->jobs) ? NULL
					: LIST_ENTRY(store->jobs.next, struct retry_job, in_store);
}

static void job_end(struct retry_job *job, enum code code, const char *text);

static uint64_t wanted_from(const struct retry_store *store, const struct retry_job *job)
{
	return job->phase == JOB_READING ? job->wants[job->want_at].written : store->next;
}

// Brings the stream to where the first job wants it, when it is its turn.
static void stream_go(struct retry_store *store)
{
	struct retry_stores *stores = store->stores;
	struct retry_job *job = job_first(store);
	uint64_t from = wanted_from(store, job);

	// The end is told once a stream, and must be that of now.
	if (store->streaming && job->phase == JOB_READING && from >= store->position &&
	    from - store->position <= NEAR)
		return;
	stream_stop(store);
	ahead_clear(store);
	if (!stream_make_room(stores)) {
		if (list_empty(&store->line))
			list_push_back(&stores->waiting, &store->line);
		return;
	}
	list_unlink(&store->line);
	// Not named before it is there: the client would remember that it is not.
	if (!store->reading)
		store->reading =
			rd_kafka_topic_new(client_handle(stores->client), store->name, NULL);
	// From the first there is, because the beginning of a topic may be deleted.
	if (!store->reading ||
	    rd_kafka_consume_start_queue(store->reading, 0,
					 from ? (int64_t)from : RD_KAFKA_OFFSET_BEGINNING,
					 stores->messages) < 0) {
		job_end(job, kafka_code(rd_kafka_last_error()), "the retry topic cannot be read");
		return;
	}
	store->streaming = true;
	store->position = store->ahead_from = from;
	list_push_back(&stores->reading, &store->line);
	++stores->reading_count;
}

// ---- jobs

struct asking {
	struct kafka_question question;
	struct retry_letter letter;
	struct retry_stores *stores;
	uint64_t group;
	char *name;
	enum retry_presence presence;
	enum code code;
};

static void job_begin(struct retry_job *job);
static void job_plan(struct retry_job *job);
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
static void line_move(struct retry_store *store)
{
	struct retry_stores *stores = store->stores;
	struct retry_job *job = job_first(store);
	struct list *node;

	if (job)
		job_begin(job);
	while (!list_empty(&stores->waiting) && stream_make_room(stores)) {
		node = list_pop_front(&stores->waiting);
		stream_go(LIST_ENTRY(node, struct retry_store, line));
	}
}

static void job_finish(struct retry_job *job, struct retry_rows *rows, enum code code,
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

static void job_end(struct retry_job *job, enum code code, const char *text)
{
	struct retry_store *store = job->store;

	list_unlink(&job->in_store);
	store->used_ns = clock_now_ns();
	job_finish(job, code == CODE_OK ? &store->rows : NULL, code, text);
	line_move(store);
}

static void asked(struct retry_stores *stores, struct retry_letter *letter)
{
	struct asking *asking = CONTAINER_OF(letter, struct asking, letter);
	struct map_node *node = map_find(&stores->stores, asking->group);
	struct retry_store *store = node ? CONTAINER_OF(node, struct retry_store, by_id) : NULL;
	struct retry_job *job = store ? job_first(store) : NULL;
	enum retry_presence presence = asking->presence;
	enum code code = asking->code;

	free(asking->name);
	free(asking);
	retry_batch_under_way(stores, -1);
	if (!job || job->phase != JOB_ASKING)
		return;
	if (code != CODE_OK) {
		job_end(job, code, "whether there is a retry topic cannot be told");
		return;
	}
	if (store->presence != RETRY_THERE) // else it was made meanwhile
		store->presence = presence;
	job->phase = JOB_CATCHING_UP;
	if (store->presence == RETRY_THERE) {
		stream_go(store);
		return;
	}
	store->loaded = true;
	job_plan(job);
}

static void ask_run(struct adapter *adapter, struct kafka_question *question)
{
	struct asking *asking = CONTAINER_OF(question, struct asking, question);

	asking->code = retry_topic_ask(adapter, asking->name, &asking->presence);
	retry_post(asking->stores, &asking->letter);
}

static void ask(struct retry_job *job)
{
	struct retry_store *store = job->store;
	struct asking *asking = calloc(1, sizeof *asking);

	if (asking)
		asking->name = strdup(store->name);
	if (!asking || !asking->name) {
		free(asking);
		job_end(job, CODE_OVERLOADED, NULL);
		return;
	}
	job->phase = JOB_ASKING;
	asking->question.run = ask_run;
	asking->letter.run = asked;
	asking->stores = store->stores;
	asking->group = store->by_id.key;
	retry_batch_under_way(store->stores, 1);
	kafka_ask(store->stores->adapter, &asking->question);
}

static void catch_up(struct retry_job *job)
{
	struct retry_store *store = job->store;

	if (store->presence != RETRY_THERE) {
		ask(job);
		return;
	}
	job->phase = JOB_CATCHING_UP;
	stream_go(store);
}

static void job_extend(struct retry_job *job)
{
	job->deadline_ns = clock_now_ns() + job->store->stores->adapter->options.timeout_ms * MS_NS;
}

static void job_begin(struct retry_job *job)
{
	struct retry_store *store = job->store;

	job_extend(job);
	if (job->fresh || !store->loaded)
		catch_up(job);
	else
		job_plan(job);
}

static int by_written(const void *a, const void *b)
{
	const struct retry_want *left = a, *right = b;

	return left->written < right->written ? -1 : left->written > right->written;
}

static void job_plan(struct retry_job *job)
{
	if (job->plan)
		job->plan(job, &job->store->rows);
	if (job->want_count == 0) {
		job_end(job, CODE_OK, NULL);
		return;
	}
	qsort(job->wants, job->want_count, sizeof *job->wants, by_written);
	job->phase = JOB_READING;
	wants_serve(job);
}

static void job_read(struct retry_job *job)
{
	if (!job->missing || job->again) {
		job_end(job, CODE_OK, NULL);
		return;
	}
	job->again = true;
	wants_free(job);
	catch_up(job);
}

static void job_arrived(struct retry_stores *stores, struct retry_letter *letter)
{
	struct retry_job *job = CONTAINER_OF(letter, struct retry_job, letter);
	struct retry_store *store =
		stores->stopping ? NULL : retry_store_get(stores, job->group, job->topic);

	if (!store) {
		job_finish(job, NULL, stores->stopping ? CODE_SHUTTING_DOWN : CODE_OVERLOADED,
			   NULL);
		return;
	}
	job->store = store;
	store->open = store->open || job->opens;
	list_push_back(&store->jobs, &job->in_store);
	if (job_first(store) == job)
		job_begin(job);
}

void retry_look(struct adapter *adapter, struct retry_job *job)
{
	list_init(&job->in_store);
	job->group = model_ref(job->group);
	job->topic = model_ref(job->topic);
	job->letter.run = job_arrived;
	if (!retry_post(adapter->retries, &job->letter))
		job_finish(job, NULL, CODE_SHUTTING_DOWN, NULL);
}

// ---- messages

static struct slice slice_of(const void *data, size_t size)
{
	return (struct slice){data, data ? size : 0};
}

// false: the job has ended badly.
static bool row_take(struct retry_store *store, struct retry_job *job,
		     const rd_kafka_message_t *message)
{
	uint32_t before = store->rows.index.count;
	int r = retry_rows_apply(&store->rows, (uint64_t)message->offset,
				 slice_of(message->key, message->key_len),
				 slice_of(message->payload, message->len));

	retry_rows_counted(store->stores, (int64_t)store->rows.index.count - before);
	if (r == RETRY_E_FOREIGN) {
		log_warn(store->stores->adapter->log, "KAFKA-RETRY-FOREIGN",
			 "%s: the message at %lld is not ours", store->name,
			 (long long)message->offset);
		r = 0;
	}
	if (r)
		job_end(job, r < 0 ? CODE_OVERLOADED : CODE_BACKEND_ERROR,
			r < 0 ? NULL : "its retry topic was written by a newer version");
	return r == 0;
}

// Takes it if it is wanted. true: nothing more is, or there is no memory, and the job goes on or
// has ended.
static bool value_take(struct retry_job *job, const rd_kafka_message_t *message)
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
			job_end(job, CODE_OVERLOADED, NULL);
			return true;
		}
	}
	if (job->want_at < job->want_count)
		return false;
	job_read(job);
	return true;
}

// What is wanted may have been read ahead.
static void wants_serve(struct retry_job *job)
{
	struct retry_store *store = job->store;

	while (store->ahead_count && job->wants[job->want_at].written >= store->ahead_from) {
		rd_kafka_message_t *message = ahead_pop(store);
		bool taken = value_take(job, message);

		rd_kafka_message_destroy(message);
		if (taken)
			return;
	}
	stream_go(store);
}

// Destroys the message, or keeps it.
static void message_take(struct retry_store *store, rd_kafka_message_t *message)
{
	struct retry_job *job = job_first(store);
	uint64_t offset = (uint64_t)message->offset;

	store->position = offset + 1;
	if (job)
		job_extend(job);
	if (job && job->phase == JOB_CATCHING_UP) {
		if (offset >= store->next && row_take(store, job, message))
			store->next = offset + 1;
		store->ahead_from = store->position;
	} else if (job && job->phase == JOB_READING) {
		store->ahead_from = store->position;
		if (!value_take(job, message))
			stream_go(store);
	} else if (ahead_push(store, message)) {
		return;
	} else {
		stream_stop(store);
	}
	rd_kafka_message_destroy(message);
}

static void end_reached(struct retry_store *store, uint64_t end)
{
	struct retry_job *job = job_first(store);

	store->position = MAX(store->position, end);
	if (!job || end < store->written) // our own writes are not in sight yet
		return;
	if (job->phase == JOB_CATCHING_UP) {
		store->next = MAX(store->next, end);
		store->loaded = true;
		job_plan(job);
	} else if (job->phase == JOB_READING) {
		job->missing += job->want_count - job->want_at;
		job->want_at = job->want_count;
		job_read(job);
	}
}

static void topic_forget(struct retry_store *store)
{
	stream_stop(store);
	ahead_clear(store);
	if (store->reading)
		rd_kafka_topic_destroy(store->reading);
	store->reading = NULL;
	rows_forget(store);
	store->presence = RETRY_UNKNOWN;
}

// Somebody deleted the topic, or made it anew: what was in it is gone.
static void topic_lost(struct retry_store *store, const char *text)
{
	struct retry_job *job = job_first(store);

	log_error(store->stores->adapter->log, "KAFKA-RETRY-LOST",
		  "%s: %s; what waited there is lost unless the topic comes back", store->name,
		  text);
	topic_forget(store);
	if (job && job->again) {
		job_end(job, CODE_BACKEND_DOWN, text);
	} else if (job) {
		job->again = true;
		wants_free(job);
		catch_up(job);
	}
}

static void message_error(struct retry_store *store, const rd_kafka_message_t *message)
{
	struct retry_job *job = job_first(store);

	switch ((int)message->err) {
	case RD_KAFKA_RESP_ERR__PARTITION_EOF:
		end_reached(store, (uint64_t)message->offset);
		return;
	case RD_KAFKA_RESP_ERR__AUTO_OFFSET_RESET:
	case RD_KAFKA_RESP_ERR_OFFSET_OUT_OF_RANGE:
	case RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART:
	case RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC:
	case RD_KAFKA_RESP_ERR__UNKNOWN_PARTITION:
		topic_lost(store, rd_kafka_err2str(message->err));
		return;
	default:
		if (kafka_is_transient(message->err))
			return; // the client goes on by itself; the deadline ends it
		stream_stop(store);
		if (job)
			job_end(job, kafka_code(message->err), rd_kafka_err2str(message->err));
	}
}

static void message_serve(struct retry_stores *stores, rd_kafka_message_t *message)
{
	LIST_FOREACH(node, next, &stores->reading)
	{
		struct retry_store *store = LIST_ENTRY(node, struct retry_store, line);

		if (store->reading != message->rkt)
			continue;
		if (!message->err) {
			message_take(store, message);
			return;
		}
		message_error(store, message);
		break;
	}
	rd_kafka_message_destroy(message);
}

// ---- closing

struct closing {
	struct retry_letter letter;
	uint64_t group;
};

static void closed_run(struct retry_stores *stores, struct retry_letter *letter)
{
	struct closing *closing = CONTAINER_OF(letter, struct closing, letter);
	struct map_node *node = map_find(&stores->stores, closing->group);

	if (node)
		CONTAINER_OF(node, struct retry_store, by_id)->open = false;
	free(closing);
}

void retry_closed(struct adapter *adapter, const struct group *group)
{
	struct closing *closing = calloc(1, sizeof *closing);

	if (!closing)
		return; // it stays in memory
	closing->letter.run = closed_run;
	closing->group = group->object.id;
	if (!retry_post(adapter->retries, &closing->letter))
		free(closing);
}

// ---- deleting

struct forgetting {
	struct retry_letter letter;
	uint64_t group;
};

static void forget_run(struct retry_stores *stores, struct retry_letter *letter)
{
	struct forgetting *forgetting = CONTAINER_OF(letter, struct forgetting, letter);
	struct map_node *node = map_find(&stores->stores, forgetting->group);
	struct retry_store *store = node ? CONTAINER_OF(node, struct retry_store, by_id) : NULL;

	if (store && list_empty(&store->jobs)) {
		topic_forget(store);
		line_move(store);
	}
	free(forgetting);
}

enum code retry_topic_forget(struct adapter *adapter, const struct group *group)
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
	forgetting->letter.run = forget_run;
	forgetting->group = group->object.id;
	if (!retry_post(adapter->retries, &forgetting->letter))
		free(forgetting);
	return CODE_OK;
}

// ---- time

static void store_tick(struct retry_store *store, uint64_t now_ns)
{
	struct retry_job *job = job_first(store);

	if (job && now_ns >= job->deadline_ns && job->phase != JOB_ASKING) {
		stream_stop(store);
		list_unlink(&store->line);
		job_end(job, CODE_BACKEND_DOWN, "its retry topic cannot be read");
	} else if (!job && (store->streaming || store->ahead_count) &&
		   now_ns >= store->used_ns + STREAM_NS) {
		stream_stop(store);
		ahead_clear(store);
		line_move(store);
	} else if (!job && !store->open && !store->writing_count && !store->streaming &&
		   now_ns >= store->used_ns + FORGET_NS) {
		map_remove(&store->stores->stores, &store->by_id);
		store_free(store);
	}
}

static void tick(struct retry_stores *stores, uint64_t now_ns)
{
	struct map_node *node, *next = NULL;
	size_t cursor = 0;

	if (now_ns < stores->tick_ns)
		return;
	stores->tick_ns = now_ns + TICK_NS;
	while ((node = map_next(&stores->stores, &cursor, &next)))
		store_tick(CONTAINER_OF(node, struct retry_store, by_id), now_ns);
	if (!stores->stopping)
		known_groups_keep(stores->adapter, now_ns);
}

// ---- the thread

static bool letters_read(struct retry_stores *stores)
{
	struct retry_letter *letter;
	bool stopping;

	pthread_mutex_lock(&stores->lock);
	letter = stores->first;
	stores->first = NULL;
	stores->last = &stores->first;
	stopping = stores->stopping;
	stores->stopped = stopping && !letter && list_empty(&stores->reading) &&
			  __atomic_load_n(&stores->under_way, __ATOMIC_ACQUIRE) == 0;
	stopping = stores->stopped;
	pthread_mutex_unlock(&stores->lock);
	while (letter) {
		struct retry_letter *next = letter->next;

		letter->run(stores, letter);
		letter = next;
	}
	return !stopping;
}

static void jobs_end(struct retry_stores *stores)
{
	struct map_node *node, *next = NULL;
	size_t cursor = 0;

	while ((node = map_next(&stores->stores, &cursor, &next))) {
		struct retry_store *store = CONTAINER_OF(node, struct retry_store, by_id);
		struct retry_job *job;

		stream_stop(store);
		list_unlink(&store->line);
		while ((job = job_first(store))) {
			list_unlink(&job->in_store);
			job_finish(job, NULL, CODE_SHUTTING_DOWN, NULL);
		}
	}
}

static bool is_stopping(struct retry_stores *stores)
{
	bool stopping;

	pthread_mutex_lock(&stores->lock);
	stopping = stores->stopping;
	pthread_mutex_unlock(&stores->lock);
	return stopping;
}

static void *retry_run(void *arg)
{
	struct retry_stores *stores = arg;

	pthread_setname_np(pthread_self(), "kafka-retry");
	while (letters_read(stores)) {
		rd_kafka_message_t *message = rd_kafka_consume_queue(stores->messages, POLL_MS);

		if (message)
			message_serve(stores, message);
		tick(stores, clock_now_ns());
		if (is_stopping(stores))
			jobs_end(stores);
	}
	return NULL;
}

static void on_event(void *ctx, rd_kafka_event_t *event)
{
	struct retry_stores *stores = ctx;

	if (rd_kafka_event_type(event) == RD_KAFKA_EVENT_ERROR)
		log_debug(stores->adapter->log, "KAFKA-RETRY", "%s",
			  rd_kafka_event_error_string(event));
}

int retry_stores_start(struct adapter *adapter, char **ret_error)
{
	static const char *const settings[][2] = {
		{"enable.partition.eof", "true"},  {"auto.offset.reset", "error"},
		{"queued.min.messages", "100000"}, {"queued.max.messages.kbytes", "16384"},
		{"fetch.wait.max.ms", "20"},       {"check.crcs", "true"},
		{"enable.auto.commit", "false"},   {NULL, NULL},
	};
	const struct client_config config = {.options = &adapter->options,
					     .type = RD_KAFKA_CONSUMER,
					     .role = "retry",
					     .settings = settings,
					     .event = on_event,
					     .log = adapter->log};
	struct retry_stores *stores = calloc(1, sizeof *stores);
	struct client_config mine = config;
	int r;

	if (!stores)
		return -ENOMEM;
	adapter->retries = stores;
	stores->adapter = adapter;
	stores->last = &stores->first;
	pthread_mutex_init(&stores->lock, NULL);
	list_init(&stores->reading);
	list_init(&stores->waiting);
	mine.ctx = stores;
	r = client_start(&mine, &stores->client, ret_error);
	if (r < 0)
		return r;
	stores->messages = rd_kafka_queue_new(client_handle(stores->client));
	r = -pthread_create(&stores->thread, NULL, retry_run, stores);
	stores->started = r == 0;
	return r;
}

void retry_stores_stop(struct retry_stores *stores)
{
	if (!stores || !stores->started)
		return;
	pthread_mutex_lock(&stores->lock);
	stores->stopping = true;
	pthread_mutex_unlock(&stores->lock);
	rd_kafka_queue_yield(stores->messages);
	pthread_join(stores->thread, NULL);
	stores->started = false;
}

void retry_stores_free(struct retry_stores *stores)
{
	struct map_node *node, *next = NULL;
	size_t cursor = 0;

	if (!stores)
		return;
	while ((node = map_next(&stores->stores, &cursor, &next)))
		store_free(CONTAINER_OF(node, struct retry_store, by_id));
	map_deinit(&stores->stores);
	if (stores->messages)
		rd_kafka_queue_destroy(stores->messages);
	client_stop(stores->client);
	pthread_mutex_destroy(&stores->lock);
	free(stores);
}
