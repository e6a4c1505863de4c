// Slots are asynchronous; a case is easier to read when each is a call. So every completion wakes
// the main thread, which waits with a limit: a completion that does not come is a failed check.

#include "tests/contract/harness.h"

#include "adapters/kinds.h"
#include "core/base/clock.h"
#include "core/base/log.h"
#include "core/base/state_table.h"
#include "core/wire/record.h"
#include "proxy/query/answer_json.h"
#include "proxy/query/parameters.h"

#include <errno.h>
#include <pthread.h>
#include <time.h>

// ---- waiting

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;

static void change_begin(void)
{
	pthread_mutex_lock(&lock);
}

static void change_end(void)
{
	pthread_cond_broadcast(&changed);
	pthread_mutex_unlock(&lock);
}

static struct timespec deadline_in(unsigned wait_ms)
{
	struct timespec until;

	clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_sec += wait_ms / 1000;
	until.tv_nsec += wait_ms % 1000 * 1000000l;
	if (until.tv_nsec >= 1000000000l) {
		until.tv_nsec -= 1000000000l;
		++until.tv_sec;
	}
	return until;
}

// Waits for the flag, with the lock taken inside.
static void wait_for(const bool *flag)
{
	struct timespec until = deadline_in(BENCH_WAIT_MS);
	int r = 0;

	pthread_mutex_lock(&lock);
	while (!*flag && r == 0)
		r = pthread_cond_clockwait(&changed, &lock, CLOCK_MONOTONIC, &until);
	CHECK(*flag); // a completion that never came
	pthread_mutex_unlock(&lock);
}

// ---- calls on the loop

struct letter {
	struct loop_task task;
	void (*run)(void *ctx);
	void *ctx;
	bool done;
};

static void on_letter(struct loop_task *task)
{
	struct letter *letter = CONTAINER_OF(task, struct letter, task);

	letter->run(letter->ctx);
	change_begin();
	letter->done = true;
	change_end();
}

static void on_loop(struct bench *bench, void (*run)(void *ctx), void *ctx)
{
	struct letter letter = {.task.fn = on_letter, .run = run, .ctx = ctx};

	loop_post(bench->loop, &letter.task);
	wait_for(&letter.done);
}

// ---- the bench

static void *loop_thread(void *ctx)
{
	loop_run(ctx);
	return NULL;
}

bool bench_start(struct bench *bench, char **ret_error)
{
	struct cluster draft = {.object.id = 1,
				.name = "contract",
				.kind = bench->ops->kind,
				.options_json = bench->options[0] ? bench->options : "{}"};
	const struct cluster *cluster = model_new(MODEL_CLUSTER, &draft);
	static struct log_ctx log = {.cluster = "contract"};
	struct adapter_env env = {.data_dir = bench->dir, .log = &log};
	char *error = NULL;
	int r = bench->ops->open(cluster, &env, &bench->adapter, &error);

	model_unref(cluster);
	if (r < 0)
		bench->adapter = NULL;
	if (r < 0 && !ret_error)
		fprintf(stderr, "open: %s\n", error ? error : strerror(-r));
	if (ret_error)
		*ret_error = error;
	else
		free(error);
	return r == 0;
}

static void on_flag(void *ctx)
{
	change_begin();
	*(bool *)ctx = true;
	change_end();
}

void bench_stop(struct bench *bench)
{
	bool done = false;

	if (!bench->adapter)
		return;
	bench->ops->close(bench->adapter, on_flag, &done);
	wait_for(&done);
	bench->adapter = NULL;
}

const struct adapter_ops *bench_own_kind;

static const struct adapter_ops *find_kind(const char *kind)
{
	if (bench_own_kind && strcmp(bench_own_kind->kind, kind) == 0)
		return bench_own_kind;
	return adapter_kind_find(kind);
}

// Until the cluster has told what it can do.
static void await_known(struct bench *bench)
{
	uint64_t until_ns = clock_now_ns() + BENCH_WAIT_MS * MS_NS;
	struct adapter_state state = {0};

	do {
		usleep(2000);
		bench->ops->state(bench->adapter, &state);
	} while (!state.known && clock_now_ns() < until_ns);
	CHECK(state.known);
}

void bench_open(struct bench *bench, const char *kind, enum durability durability, const char *dir,
		const char *options)
{
	const char *base = getenv("TMPDIR");
	char given[sizeof bench->dir];

	snprintf(given, sizeof given, "%s", dir ? dir : ""); // may be the one of `bench` itself
	*bench = (struct bench){.ops = find_kind(kind), .durability = durability, .next_id = 1};
	CHECK(bench->ops);
	if (*given) {
		strcpy(bench->dir, given);
	} else {
		snprintf(bench->dir, sizeof bench->dir, "%s/mqp-contract-XXXXXX",
			 base && strlen(base) < 40 ? base : "/tmp");
		CHECK(mkdtemp(bench->dir));
	}
	if (*options)
		snprintf(bench->options, sizeof bench->options, "%s", options);
	else if (strcmp(kind, "embedded") == 0) // the sanitizers do not like a terabyte
		strcpy(bench->options, "{\"map_bytes\": 1073741824}");
	else if (strcmp(kind, "kafka") ==
		 0) // opening sends no request, so the table needs no cluster
		snprintf(bench->options, sizeof bench->options, "{\"bootstrap\": \"%s\"%s}",
			 getenv("CONTRACT_KAFKA") ? getenv("CONTRACT_KAFKA") : "127.0.0.1:9",
			 durability > DURABILITY_D1 ? ", \"min_insync\": 2" : "");
	else if (strcmp(kind, "rabbitmq") == 0)
		snprintf(bench->options, sizeof bench->options, "%s",
			 getenv("CONTRACT_RABBITMQ") ? getenv("CONTRACT_RABBITMQ")
						     : "{\"addresses\": \"127.0.0.1:9\"}");
	CHECK_EQ(loop_new("contract", &bench->loop), 0);
	CHECK_EQ(pthread_create(&bench->thread, NULL, loop_thread, bench->loop), 0);
	CHECK(bench_start(bench, NULL));
	if (strcmp(kind, "rabbitmq") == 0 && getenv("CONTRACT_RABBITMQ"))
		await_known(bench);
	bench->capabilities = bench->ops->capabilities(bench->adapter);
}

void bench_leave(struct bench *bench)
{
	bench_stop(bench);
	loop_stop(bench->loop);
	pthread_join(bench->thread, NULL);
	loop_free(bench->loop);
}

void bench_close(struct bench *bench)
{
	char command[160];

	bench_leave(bench);
	snprintf(command, sizeof command, "rm -rf '%s'", bench->dir);
	CHECK_EQ(system(command), 0);
}

void bench_reopen(struct bench *bench)
{
	bench_stop(bench);
	CHECK(bench_start(bench, NULL));
}

// ---- models

// A cluster outlives the bench, so names on it tell one directory from another.
static void physical_write(const struct bench *bench, char letter, uint64_t id, char room[64])
{
	uint64_t hash = 14695981039346656037u;

	for (const char *at = bench->dir; *at; ++at)
		hash = (hash ^ (uint8_t)*at) * 1099511628211u;
	snprintf(room, 64, "mqp.%08x.%c.%llu", (unsigned)(hash ^ hash >> 32), letter,
		 (unsigned long long)id);
}

const struct topic *bench_topic(struct bench *bench, const struct topic_wish *wish)
{
	char physical[64];
	struct topic draft = {
		.object.id = bench->next_id++,
		.name = wish->name ? wish->name : "orders",
		.physical = physical,
		.tenant = 1,
		.cluster = 1,
		.incarnation = 1,
		.partitions = wish->partitions ? wish->partitions : 1,
		.message_bytes = 8u << 20,
		.retention_ms = wish->retention_ms,
		.retention_bytes = wish->retention_bytes,
		.durability = (uint8_t)(wish->durability ? wish->durability : bench->durability),
		.dead_letter_of = wish->dead_letter_of,
		.state = MODEL_READY};
	const struct topic *topic;

	physical_write(bench, 't', draft.object.id, physical);
	topic = model_new(MODEL_TOPIC, &draft);
	CHECK(topic);
	CHECK_EQ(bench_topic_create(bench, topic), CODE_OK);
	return topic;
}

static const struct topic *topic_like(const struct topic *topic, uint64_t incarnation,
				      uint32_t partitions, uint64_t retention_ms)
{
	// Not the whole struct: a thread may be dropping a reference just now.
	struct topic draft = {.object.id = topic->object.id,
			      .name = topic->name,
			      .physical = topic->physical,
			      .tenant = topic->tenant,
			      .cluster = topic->cluster,
			      .incarnation = incarnation,
			      .partitions = partitions,
			      .message_bytes = topic->message_bytes,
			      .retention_ms = retention_ms,
			      .durability = topic->durability,
			      .state = MODEL_READY};

	return model_new(MODEL_TOPIC, &draft);
}

const struct topic *bench_topic_like(const struct topic *topic, uint64_t incarnation,
				     uint32_t partitions)
{
	return topic_like(topic, incarnation, partitions, 0);
}

const struct topic *bench_topic_kept(const struct topic *topic, uint64_t retention_ms)
{
	return topic_like(topic, topic->incarnation, topic->partitions, retention_ms);
}

const struct group *bench_group(struct bench *bench, const struct topic *topic,
				enum group_start start, int64_t start_ms)
{
	char physical[64];
	struct group draft = {.object.id = bench->next_id++,
			      .name = "workers",
			      .physical = physical,
			      .tenant = 1,
			      .topic = topic->object.id,
			      .incarnation = 1,
			      .visibility_ms = 30000,
			      .start_ms = start_ms,
			      .start = (uint8_t)start,
			      .state = MODEL_READY};
	const struct group *group;

	physical_write(bench, 'g', draft.object.id, physical);
	group = model_new(MODEL_GROUP, &draft);
	CHECK(group);
	CHECK_EQ(bench_group_create(bench, group, topic), CODE_OK);
	return group;
}

// ---- administration

struct answer {
	enum answer_kind kind; // that the slot gives
	bool bodies;           // of messages are looked at
	enum code code;
	json_t *json;
	bool done;
};

// A refusal that was not wanted should not have to be guessed.
static void tell(enum code code, const char *text)
{
	if (code != CODE_OK)
		fprintf(stderr, "# answered %s: %s\n", code_name(code), text ? text : "-");
}

void (*bench_on_ok)(void);

static void on_done(void *ctx, enum code code, const char *text)
{
	struct answer *answer = ctx;

	tell(code, text);
	if (code == CODE_OK && bench_on_ok)
		bench_on_ok();
	change_begin();
	CHECK(!answer->done); // exactly once
	answer->code = code;
	answer->done = true;
	change_end();
}

static void on_json(void *ctx, enum code code, json_t *json, const char *text)
{
	struct answer *answer = ctx;

	tell(code, text);
	if (code == CODE_OK && bench_on_ok)
		bench_on_ok();
	change_begin();
	CHECK(!answer->done);
	CHECK((code == CODE_OK) == (json != NULL));
	answer->code = code;
	answer->json = json;
	answer->done = true;
	change_end();
}

static void on_answer(void *ctx, enum code code, const struct adapter_answer *given,
		      const char *text)
{
	struct answer *answer = ctx;

	CHECK(!given || given->kind == answer->kind);
	on_json(ctx, code, given ? answer_json(given, answer->bodies) : NULL, text);
}

static json_t *answered(struct answer *answer, enum code *ret)
{
	wait_for(&answer->done);
	if (ret)
		*ret = answer->code;
	else
		CHECK_STR(code_name(answer->code), "OK");
	return answer->json;
}

enum code bench_topic_create(struct bench *bench, const struct topic *topic)
{
	struct answer answer = {0};

	bench->ops->topic_create(bench->adapter, topic, on_done, &answer);
	wait_for(&answer.done);
	return answer.code;
}

enum code bench_topic_change(struct bench *bench, const struct topic *topic)
{
	struct answer answer = {0};

	bench->ops->topic_change(bench->adapter, topic, on_done, &answer);
	wait_for(&answer.done);
	return answer.code;
}

enum code bench_topic_delete(struct bench *bench, const struct topic *topic)
{
	struct answer answer = {0};

	bench->ops->topic_delete(bench->adapter, topic, on_done, &answer);
	wait_for(&answer.done);
	return answer.code;
}

enum code bench_group_create(struct bench *bench, const struct group *group,
			     const struct topic *topic)
{
	struct answer answer = {0};

	bench->ops->group_create(bench->adapter, group, topic, on_done, &answer);
	wait_for(&answer.done);
	return answer.code;
}

enum code bench_group_delete(struct bench *bench, const struct group *group,
			     const struct topic *topic)
{
	struct answer answer = {0};

	bench->ops->group_delete(bench->adapter, group, topic, on_done, &answer);
	wait_for(&answer.done);
	return answer.code;
}

json_t *bench_describe(struct bench *bench, const struct topic *topic, enum code *ret)
{
	struct answer answer = {.kind = ANSWER_DESCRIBE};

	bench->ops->topic_describe(bench->adapter, topic, on_answer, &answer);
	return answered(&answer, ret);
}

json_t *bench_purge(struct bench *bench, const struct topic *topic, bool preview, enum code *ret)
{
	struct answer answer = {.kind = ANSWER_PURGE};

	bench->ops->topic_purge(bench->adapter, topic, preview, on_answer, &answer);
	return answered(&answer, ret);
}

json_t *bench_skip(struct bench *bench, const struct topic *topic, bool preview, enum code *ret)
{
	struct answer answer = {.kind = ANSWER_SKIP};

	bench->ops->topic_skip(bench->adapter, topic, preview, on_answer, &answer);
	return answered(&answer, ret);
}

json_t *bench_reset(struct bench *bench, const struct group *group, const struct topic *topic,
		    json_t *to, bool preview, enum code *ret)
{
	struct answer answer = {.kind = ANSWER_RESET};
	struct seek_target target;

	if (parameters_target(to, &target) == 0) {
		bench->ops->group_reset(bench->adapter, group, topic, &target, preview, on_answer,
					&answer);
		seek_target_deinit(&target);
	} else {
		on_json(&answer, CODE_BAD_REQUEST, NULL, PARAMETERS_TARGET_FORMS);
	}
	json_decref(to);
	return answered(&answer, ret);
}

json_t *bench_backlog(struct bench *bench, const struct group *group, const struct topic *topic,
		      enum code *ret)
{
	struct answer answer = {.kind = ANSWER_BACKLOG};

	bench->ops->group_backlog(bench->adapter, group, topic, on_answer, &answer);
	return answered(&answer, ret);
}

json_t *bench_read(struct bench *bench, const struct topic *topic, json_t *query, enum code *ret)
{
	struct answer answer = {.kind = ANSWER_MESSAGES,
				.bodies = json_is_true(json_object_get(query, "bodies"))};
	struct message_query wish;
	const char *text = NULL;
	enum code code = parameters_messages(query, topic->partitions, &wish, &text);

	if (code == CODE_OK)
		bench->ops->read(bench->adapter, topic, &wish, on_answer, &answer);
	else
		on_json(&answer, code, NULL, text);
	json_decref(query);
	return answered(&answer, ret);
}

json_t *bench_probe(struct bench *bench, enum code *ret)
{
	struct answer answer = {.kind = ANSWER_PROBE};

	bench->ops->probe(bench->adapter, clock_now_ns() + 5 * S_NS, on_answer, &answer);
	return answered(&answer, ret);
}

// ---- sending

struct sending {
	struct submit submit;
	bool done;
};

static void on_submit(struct submit *submit)
{
	struct sending *sending = CONTAINER_OF(submit, struct sending, submit);

	change_begin();
	CHECK(!sending->done);
	sending->done = true;
	change_end();
}

static struct record_parts parts_of(const struct message *message, uint8_t id[RECORD_ID_SIZE],
				    struct record_header *header)
{
	struct record_parts parts = {.id = id,
				     .created_ms = message->created_ms ? message->created_ms
								       : clock_wall_ms(),
				     .due_ms = message->due_ms,
				     .ttl_ms = message->ttl_ms,
				     .key = message->key,
				     .body = message->body};

	memset(id, 0x77, RECORD_ID_SIZE);
	le32_put(id, message->number);
	parts.flags = (message->due_ms ? RECORD_DUE : 0u) | (message->ttl_ms ? RECORD_TTL : 0u);
	if (message->tag)
		parts.tag = TEXT(message->tag);
	if (message->header) {
		*header = (struct record_header){TEXT(message->header), TEXT(message->header)};
		parts.headers = header;
		parts.header_count = 1;
	}
	return parts;
}

static struct buf *batch_make(const struct message *messages, uint32_t count,
			      struct submit_record *records)
{
	uint64_t size = 0, at = 0;
	uint8_t id[RECORD_ID_SIZE];
	struct record_header header;
	struct buf *buf;

	for (uint32_t i = 0; i < count; ++i) {
		struct record_parts parts = parts_of(&messages[i], id, &header);

		size += record_parts_size(&parts);
	}
	CHECK_EQ(buf_new(size, &buf), 0);
	for (uint32_t i = 0; i < count; ++i) {
		struct record_parts parts = parts_of(&messages[i], id, &header);
		uint32_t checked;

		record_write(&parts, buf->data + at);
		CHECK_EQ(record_check(buf->data + at, size - at, &checked), RECORD_OK);
		records[i] = (struct submit_record){buf->data + at, checked, messages[i].partition};
		at += checked;
	}
	return buf;
}

void bench_send(struct bench *bench, const struct topic *topic, const struct message *messages,
		uint32_t count, struct sent *ret)
{
	struct submit_record *records = calloc(count, sizeof *records);
	struct submit_run *runs = calloc(count, sizeof *runs);
	struct buf *buf = batch_make(messages, count, records);
	struct adapter_topic *handle = bench->ops->topic_open(bench->adapter, topic);
	struct sending sending = {.submit = {.topic = handle,
					     .buf = buf,
					     .records = records,
					     .count = count,
					     .runs = runs,
					     .done = on_submit}};
	uint32_t covered = 0;

	CHECK(handle);
	++bench->sends;
	bench->ops->submit(bench->adapter, &sending.submit);
	wait_for(&sending.done);
	ret->run_count = sending.submit.run_count;
	CHECK(ret->run_count && ret->run_count <= ARRAY_SIZE(ret->runs));
	for (uint32_t i = 0; i < ret->run_count; ++i) {
		ret->runs[i] = runs[i];
		covered += runs[i].count;
	}
	CHECK_EQ(covered, count); // the runs cover the batch exactly
	bench->ops->topic_close(handle);
	buf_unref(buf);
	free(records);
	free(runs);
}

uint64_t bench_send_ok(struct bench *bench, const struct topic *topic,
		       const struct message *messages, uint32_t count)
{
	struct sent sent;

	bench_send(bench, topic, messages, count, &sent);
	for (uint32_t i = 0; i < sent.run_count; ++i) {
		CHECK_STR(code_name(sent.runs[i].code), "OK");
		CHECK_EQ(sent.runs[i].outcome, OUTCOME_OK);
	}
	return sent.runs[0].offset;
}

void bench_fill(struct bench *bench, const struct topic *topic, uint32_t partition, uint32_t number,
		uint32_t count)
{
	struct message messages[100];

	for (uint32_t at = 0; at < count; at += ARRAY_SIZE(messages)) {
		uint32_t n = MIN(count - at, (uint32_t)ARRAY_SIZE(messages));

		for (uint32_t i = 0; i < n; ++i)
			messages[i] = (struct message){.partition = partition,
						       .number = number + at + i,
						       .body = TEXT("a body")};
		bench_send_ok(bench, topic, messages, n);
	}
}

// ---- consuming

struct reader {
	struct bench *bench;
	const struct topic *topic;
	const struct group *group;
	struct adapter_topic *handle;
	struct source *source;
	struct got *got; // came and was not taken, under the lock
	size_t count, room, taken;
	uint64_t demanded, delivered, demanded_rejected, rejected; // totals
	enum source_state state;
	bool closed;
	unsigned losses;
	unsigned sends; // of the bench, that the last backlog counts
	// Arguments of the call that is on the loop.
	uint32_t messages, more_rejected;
	uint64_t bytes;
	struct settle *settles;
	size_t settle_count;
	struct answer *answer;
	struct source_partition *partitions;
	size_t partition_count, row_count; // room for them, and how many there are
};

static void on_deliver(void *ctx, const struct delivery *deliveries, size_t count)
{
	struct reader *reader = ctx;

	CHECK(loop_is_current(reader->bench->loop));
	change_begin();
	CHECK(!reader->closed); // no handler runs after close
	for (size_t i = 0; i < count; ++i) {
		++*(deliveries[i].rejected ? &reader->rejected : &reader->delivered);
		if (reader->count == reader->room) {
			reader->room = MAX(2 * reader->room, 64);
			reader->got = realloc(reader->got, reader->room * sizeof *reader->got);
			CHECK(reader->got);
		}
		buf_ref(deliveries[i].buf);
		reader->got[reader->count++] =
			(struct got){deliveries[i], le32_get(record_id(deliveries[i].record))};
	}
	CHECK(reader->delivered <= reader->demanded); // never more than was demanded
	CHECK(reader->rejected <= reader->demanded_rejected);
	change_end();
}

static void on_state(void *ctx, enum source_state state, enum code code, const char *text)
{
	struct reader *reader = ctx;

	change_begin();
	CHECK(!reader->closed);
	CHECK(state_table_has(STATE_TABLE_MOVES(SOURCE_STATES) |
				      STATE_TABLE_MOVES(SOURCE_LOG_STATES),
			      reader->state, state));
	reader->state = state;
	change_end();
}

static void on_lost(void *ctx)
{
	struct reader *reader = ctx;

	change_begin();
	CHECK(!reader->closed);
	++reader->losses;
	change_end();
}

static const struct source_handlers handlers = {
	.deliver = on_deliver, .state = on_state, .lost = on_lost};

static void do_open(void *ctx)
{
	struct reader *reader = ctx;
	struct source_config config = {.group = reader->group,
				       .topic = reader->topic,
				       .adapter_topic = reader->handle,
				       .loop = reader->bench->loop,
				       .handlers = &handlers,
				       .ctx = reader};

	CHECK_EQ(reader->bench->ops->source_open(reader->bench->adapter, &config, &reader->source),
		 0);
}

struct reader *reader_open(struct bench *bench, const struct topic *topic,
			   const struct group *group)
{
	struct reader *reader = calloc(1, sizeof *reader);

	CHECK(reader);
	reader->bench = bench;
	reader->topic = topic;
	reader->group = group;
	reader->handle = bench->ops->topic_open(bench->adapter, topic);
	CHECK(reader->handle);
	on_loop(bench, do_open, reader);
	return reader;
}

static void on_closed(void *ctx)
{
	struct reader *reader = ctx;

	CHECK(loop_is_current(reader->bench->loop));
	on_flag(&reader->answer->done);
}

static void do_close(void *ctx)
{
	struct reader *reader = ctx;

	reader->bench->ops->source_close(reader->source, on_closed, reader);
	change_begin();
	reader->closed = true;
	change_end();
}

void reader_close(struct reader *reader)
{
	struct answer answer = {0};

	reader->answer = &answer;
	on_loop(reader->bench, do_close, reader);
	wait_for(&answer.done);
	reader->bench->ops->topic_close(reader->handle);
	if (reader->count > reader->taken)
		reader_drop(reader->got + reader->taken, reader->count - reader->taken);
	free(reader->got);
	free(reader);
}

static void do_demand(void *ctx)
{
	struct reader *reader = ctx;

	change_begin();
	reader->demanded = reader->delivered + reader->messages;
	reader->demanded_rejected = reader->rejected + reader->more_rejected;
	change_end();
	reader->bench->ops->source_demand(reader->source, reader->messages, reader->bytes,
					  reader->more_rejected);
}

void reader_demand(struct reader *reader, uint32_t messages, uint64_t bytes)
{
	reader->messages = messages;
	reader->more_rejected = 0;
	reader->bytes = bytes;
	on_loop(reader->bench, do_demand, reader);
}

void reader_demand_rejected(struct reader *reader, uint32_t messages)
{
	reader->messages = 0;
	reader->more_rejected = messages;
	reader->bytes = 0;
	on_loop(reader->bench, do_demand, reader);
}

size_t reader_take(struct reader *reader, struct got *got, size_t count, unsigned wait_ms)
{
	struct timespec until = deadline_in(wait_ms);
	int r = 0;

	pthread_mutex_lock(&lock);
	while (reader->count - reader->taken < count && r == 0)
		r = pthread_cond_clockwait(&changed, &lock, CLOCK_MONOTONIC, &until);
	count = MIN(count, reader->count - reader->taken);
	if (count)
		memcpy(got, reader->got + reader->taken, count * sizeof *got);
	reader->taken += count;
	pthread_mutex_unlock(&lock);
	return count;
}

void reader_drop(struct got *got, size_t count)
{
	for (size_t i = 0; i < count; ++i)
		buf_unref(got[i].delivery.buf);
}

struct settle reader_receipt(const struct got *got, enum settle_verb verb, uint32_t delay_ms)
{
	const struct delivery *delivery = &got->delivery;

	return (struct settle){.epoch = delivery->epoch,
			       .offset = delivery->offset,
			       .count = 1,
			       .partition = delivery->partition,
			       .attempt = delivery->attempt,
			       .delay_ms = delay_ms,
			       .verb = (uint8_t)verb,
			       .code = CODE_COUNT};
}

static void on_durable(void *ctx, enum code code)
{
	struct reader *reader = ctx;

	CHECK(loop_is_current(reader->bench->loop));
	on_done(reader->answer, code, NULL);
}

static void do_settle(void *ctx)
{
	struct reader *reader = ctx;

	reader->bench->ops->source_settle(reader->source, reader->settles, reader->settle_count,
					  reader->answer ? on_durable : NULL, reader);
}

enum code reader_settle(struct reader *reader, struct settle *settles, size_t count)
{
	struct answer answer = {0};

	reader->settles = settles;
	reader->settle_count = count;
	reader->answer = &answer;
	on_loop(reader->bench, do_settle, reader);
	wait_for(&answer.done);
	return answer.code;
}

void reader_settle_soon(struct reader *reader, struct settle *settles, size_t count)
{
	reader->settles = settles;
	reader->settle_count = count;
	reader->answer = NULL;
	on_loop(reader->bench, do_settle, reader);
}

static void do_backlog(void *ctx)
{
	struct reader *reader = ctx;

	reader->row_count = reader->bench->ops->source_backlog(reader->source, reader->partitions,
							       reader->partition_count);
}

static bool is_outdated(const struct reader *reader)
{
	for (size_t i = 0; i < reader->row_count; ++i)
		if (reader->partitions[i].outdated)
			return true;
	return reader->row_count == 0;
}

// What is counted by a question is current when its answer has come, but for what others have sent
// since: a source does not hear of that, and asks again when its answer is old.
static bool look_again(struct reader *reader)
{
	bool outdated = is_outdated(reader);

	if (outdated)
		reader->sends = reader->bench->sends;
	return outdated || reader->sends != reader->bench->sends;
}

void reader_backlog(struct reader *reader, struct source_partition *partitions, size_t count)
{
	uint64_t until_ns = clock_now_ns() + BENCH_WAIT_MS * MS_NS;
	bool again;

	if (reader->bench->capabilities & CAP_POSITIONS)
		reader->sends = reader->bench->sends; // it sees what is stored
	else
		count = 1;
	reader->partitions = partitions;
	reader->partition_count = count;
	do {
		on_loop(reader->bench, do_backlog, reader);
		again = look_again(reader);
	} while (again && clock_now_ns() < until_ns && usleep(1000) == 0);
	CHECK(!again);
	CHECK_EQ(reader->row_count, count);
}

const struct bench *reader_bench(const struct reader *reader)
{
	return reader->bench;
}

enum source_state reader_state(struct reader *reader)
{
	enum source_state state;

	pthread_mutex_lock(&lock);
	state = reader->state;
	pthread_mutex_unlock(&lock);
	return state;
}

unsigned reader_losses(struct reader *reader)
{
	unsigned losses;

	pthread_mutex_lock(&lock);
	losses = reader->losses;
	pthread_mutex_unlock(&lock);
	return losses;
}

bool reader_wait_state(struct reader *reader, enum source_state state, unsigned wait_ms)
{
	struct timespec until = deadline_in(wait_ms);
	bool reached;
	int r = 0;

	pthread_mutex_lock(&lock);
	while (reader->state != state && r == 0)
		r = pthread_cond_clockwait(&changed, &lock, CLOCK_MONOTONIC, &until);
	reached = reader->state == state;
	pthread_mutex_unlock(&lock);
	return reached;
}
