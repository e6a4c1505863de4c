// One batch from frame to PRODUCED.
//
// The records are slices of the frame's buffer and stay there. A batch is usually submitted as one
// part; under a quota in mode `wait` as several, in order. It is answered once, when every part has
// come back and nothing waits. A record that is malformed or too large is refused by itself and
// takes no place in `records`; the answer puts both together again in the order of the frame.
//
// All of a batch belongs to its connection's loop, but for a part while the adapter has it.

#include "proxy/client/native/produce.h"

#include "core/wire/codec.h"
#include "core/wire/fields.h"
#include "core/wire/partition.h"
#include "core/wire/produce.h"
#include "core/wire/produced.h"
#include "core/wire/record.h"
#include "proxy/client/native/native.h"
#include "proxy/client/native/send.h"
#include "proxy/client/sender_turn.h"
#include "proxy/client/tenant_clients.h"
#include "proxy/resource/shared.h"
#include "proxy/resource/topic.h"

#include <errno.h>

#define WAIT_STEP_NS MS_NS      // the least time between two looks at a quota
#define OVERLOAD_NS  (S_NS / 2) // when to try again after memory was short

struct refusal {
	uint32_t index; // in the frame
	enum code code;
};

struct part {
	struct loop_task task; // the way back from the adapter
	struct submit submit;
	struct produce *produce;
	struct quota_charge charge;
	uint64_t bytes; // of its records
	struct part *next;
};

struct produce {
	struct list in_conn; // member of conn->session.batches
	struct list parked;  // member of conn->session.parked while records of it wait
	struct conn *conn;   // NULL: closed
	struct worker *worker;
	struct tenant_view *tenant;
	struct topic_use *topic; // NULL: the stream is not open
	struct topic_stream *in; // that counts it as unanswered; NULL: none does
	struct buf *buf;
	uint64_t batch;
	uint32_t stream, count, frame_bytes, held_bytes;
	uint32_t plain_bytes, plain_charged; // of a compressed frame; of these, from the tenant
	uint64_t storage_bytes;              // taken of what the tenant may store
	bool oneway, answering;

	uint64_t left_bytes;  // of the valid records that were not sent yet
	uint32_t valid, sent; // the first `sent` of its records went to the adapter
	struct refusal *refusals;
	uint32_t refused, refusal_room;
	struct submit_run *runs; // behind the records
	enum code rest_code;     // with OK: records after `sent` wait
	uint32_t rest_retry_ms;
	uint64_t wait_until_ns;

	uint32_t open_parts;
	struct part *last_part;
	struct part part; // the first

	struct submit_record records[]; // valid ones, with room for all of the frame
};

// ---- the window

static void grant(struct conn *conn, uint32_t bytes)
{
	if (session_window_answer(&conn->session, &conn->worker->limits, bytes))
		conn->ops->tell_window(conn);
}

// ---- what compressed frames become
//
// The window counts bytes as sent, so it does not bound what they are unpacked to. That is bounded
// beside it: as much as the window is free, more is taken from what the tenant may hold.

// False: the tenant holds as much as it may.
static bool plain_take(struct produce *produce, uint32_t bytes)
{
	struct conn *conn = produce->conn;
	uint64_t window = (uint64_t)conn->session.window_base + conn->session.window_extra;
	uint64_t total = conn->session.plain_bytes + bytes;
	uint32_t more = (uint32_t)MIN(bytes, total > window ? total - window : 0);

	if (more && !quota_count_take(produce->tenant->ledger, QUOTA_MEMORY, more))
		return false;
	conn->session.plain_bytes = total;
	produce->plain_bytes = bytes;
	produce->plain_charged = more;
	return true;
}

static void plain_give_back(const struct produce *produce)
{
	if (produce->conn)
		produce->conn->session.plain_bytes -= produce->plain_bytes;
	if (produce->plain_charged)
		quota_count_give_back(produce->tenant->ledger, QUOTA_MEMORY,
				      produce->plain_charged);
}

// ---- the answer

static void free_produce(struct produce *produce)
{
	struct part *part = produce->part.next;

	while (part) {
		struct part *next = part->next;

		free(part);
		part = next;
	}
	budget_give_back(produce->tenant->memory, BUDGET_BODIES, produce->held_bytes);
	plain_give_back(produce);
	if (produce->storage_bytes)
		storage_release(produce->tenant->storage, produce->storage_bytes);
	list_unlink(&produce->in_conn);
	list_unlink(&produce->parked);
	topic_use_unref(produce->topic);
	buf_unref(produce->buf);
	free(produce->refusals);
	free(produce);
}

static void count_run(struct produce *produce, const struct submit_run *run)
{
	struct produce_counters *tenant = &produce->tenant->produced;
	struct produce_counters *topic = produce->topic ? &produce->topic->stats->produced : NULL;
	size_t member;

	if (run->outcome == OUTCOME_OK)
		member = offsetof(struct produce_counters, ok);
	else if (run->outcome == OUTCOME_UNKNOWN)
		member = offsetof(struct produce_counters, unknown);
	else if (run->code == CODE_THROTTLED)
		member = offsetof(struct produce_counters, throttled);
	else
		member = offsetof(struct produce_counters, rejected);
	*(uint64_t *)(void *)((char *)tenant + member) += run->count;
	if (topic)
		*(uint64_t *)(void *)((char *)topic + member) += run->count;
	if (!produce->oneway || run->outcome == OUTCOME_OK)
		return;
	tenant->dropped += run->count;
	if (topic)
		topic->dropped += run->count;
}

// The runs of the answer, in the order of the frame's records.
struct walk {
	struct produce *produce;
	const struct part *part;
	uint32_t run, used; // of the part's runs; records of it that are answered
	uint32_t refusal, index, valid;
};

// Consecutive valid records that ended the same way, at most `most`.
static struct submit_run valid_run(struct walk *walk, uint32_t most)
{
	const struct produce *produce = walk->produce;
	struct submit_run run;

	while (walk->part && walk->run == walk->part->submit.run_count) {
		walk->part = walk->part->next;
		walk->run = 0;
	}
	if (!walk->part || walk->valid >= produce->sent)
		return (struct submit_run){.count = most,
					   .outcome = OUTCOME_REJECTED,
					   .code = (uint16_t)produce->rest_code,
					   .offset = UINT64_MAX,
					   .retry_after_ms = produce->rest_retry_ms};
	run = walk->part->submit.runs[walk->run];
	if (run.offset != UINT64_MAX)
		run.offset += walk->used;
	run.count = MIN(run.count - walk->used, most);
	walk->used += run.count;
	if (walk->used == walk->part->submit.runs[walk->run].count) {
		walk->used = 0;
		++walk->run;
	}
	return run;
}

static bool walk_next(struct walk *walk, struct submit_run *ret)
{
	const struct produce *produce = walk->produce;
	uint32_t until = produce->count;

	if (walk->index == produce->count)
		return false;
	if (walk->refusal < produce->refused)
		until = produce->refusals[walk->refusal].index;
	if (until == walk->index) {
		*ret = (struct submit_run){.count = 1,
					   .outcome = OUTCOME_REJECTED,
					   .code = (uint16_t)produce->refusals[walk->refusal].code,
					   .offset = UINT64_MAX};
		++walk->refusal;
	} else {
		*ret = valid_run(walk, until - walk->index);
		walk->valid += ret->count;
	}
	walk->index += ret->count;
	return true;
}

static size_t most_runs(const struct produce *produce)
{
	size_t runs = 1 + 2 * (size_t)produce->refused;

	for (const struct part *part = &produce->part; part; part = part->next)
		runs += part->submit.run_count;
	return runs;
}

static void answer(struct produce *produce)
{
	struct conn *conn = produce->conn && !produce->oneway ? produce->conn : NULL;
	struct walk walk = {.produce = produce, .part = &produce->part};
	size_t room = PRODUCED_HEAD_SIZE + most_runs(produce) * PRODUCED_RUN_SIZE, size = 0;
	uint8_t *payload = conn ? native_send_begin(conn, (uint32_t)room) : NULL;
	uint64_t incarnation = produce->topic ? produce->topic->model->incarnation : 0;
	struct submit_run run;

	if (payload)
		produce_head_write(payload, &(struct produce_head){.batch = produce->batch,
								   .count = produce->count});
	size = PRODUCED_HEAD_SIZE;
	while (walk_next(&walk, &run)) {
		struct produced_run wire = {.count = run.count,
					    .outcome = run.outcome,
					    .durability = run.durability,
					    .code = run.code,
					    .retry_after_ms = run.retry_after_ms,
					    .partition = run.partition,
					    .offset = run.offset,
					    .incarnation = incarnation};

		count_run(produce, &run);
		if (payload)
			produced_run_write(payload + size, &wire);
		size += PRODUCED_RUN_SIZE;
	}
	if (payload)
		native_send_end(conn, payload, FRAME_PRODUCED, produce->stream, (uint32_t)size);
}

static void finish_if_done(struct produce *produce)
{
	struct conn *conn;
	struct topic_stream *stream;
	uint32_t bytes = produce->frame_bytes;

	if (produce->answering || produce->open_parts ||
	    (produce->sent < produce->valid && produce->rest_code == CODE_OK))
		return;
	produce->answering = true;
	answer(produce);
	conn = produce->conn; // an answer that cannot be held in memory closes it
	stream = produce->in;
	free_produce(produce);
	if (!conn)
		return;
	grant(conn, bytes);
	if (stream && conn_is_open(conn))
		stream_answered(stream);
	if (conn->state == CONN_LEAVING)
		conn_check_left(conn);
}

// ---- submit

static uint64_t bytes_of(const struct submit_record *records, uint32_t count)
{
	uint64_t bytes = 0;

	for (uint32_t i = 0; i < count; ++i)
		bytes += records[i].size;
	return bytes;
}

static void count_stored(struct produce *produce, uint64_t bytes)
{
	produce->tenant->produced.stored_bytes += bytes;
	produce->topic->stats->produced.stored_bytes += bytes;
}

// What was not stored costs nothing.
static void account(struct part *part)
{
	const struct submit_record *record = part->submit.records;

	for (uint32_t i = 0; i < part->submit.run_count; ++i) {
		const struct submit_run *run = &part->submit.runs[i];
		uint64_t bytes = run->count == part->submit.count ? part->bytes
								  : bytes_of(record, run->count);

		if (run->outcome == OUTCOME_OK)
			count_stored(part->produce, bytes);
		else if (run->outcome == OUTCOME_REJECTED)
			quota_charge_give_back(&part->charge, run->count, bytes);
		record += run->count;
	}
	quota_charge_close(&part->charge);
}

// Refusals say nothing about how long a send takes.
static void latency_note(const struct part *part)
{
	struct worker *worker = part->produce->worker;
	uint64_t stored = 0;

	for (uint32_t i = 0; i < part->submit.run_count; ++i)
		if (part->submit.runs[i].outcome == OUTCOME_OK)
			stored += part->submit.runs[i].count;
	latency_add(&worker->latencies[LATENCY_SEND],
		    loop_now_ns(worker->loop) - part->submit.submitted_ns, stored);
}

static void on_part(struct loop_task *task)
{
	struct part *part = CONTAINER_OF(task, struct part, task);

	latency_note(part);
	account(part);
	topic_use_answered(part->produce->topic, &part->submit);
	--part->produce->open_parts;
	finish_if_done(part->produce);
}

static void on_submit_done(struct submit *submit)
{
	struct part *part = CONTAINER_OF(submit, struct part, submit);

	loop_post(part->produce->worker->loop, &part->task);
}

static void submit_part(struct produce *produce, struct part *part, uint32_t count)
{
	struct backend *backend = produce->topic->backend;
	const struct submit_record *first = produce->records + produce->sent;
	bool all = count == produce->valid - produce->sent;

	part->task.fn = on_part;
	part->produce = produce;
	part->bytes = all ? produce->left_bytes : bytes_of(first, count);
	part->submit = (struct submit){.topic = produce->topic->handle,
				       .buf = produce->buf,
				       .records = first,
				       .count = count,
				       .runs = produce->runs + produce->sent,
				       .done = on_submit_done,
				       .submitted_ns = loop_now_ns(produce->worker->loop)};
	produce->sent += count;
	++produce->open_parts;
	produce->last_part->next = part == produce->last_part ? NULL : part;
	produce->last_part = part;
	backend->ops->submit(backend->adapter, &part->submit);
}

// Submits as many of the records as the quota lets pass now. False: some are left.
static bool submit_some(struct produce *produce, uint64_t now_ns)
{
	uint32_t want = produce->valid - produce->sent;
	const struct submit_record *first = produce->records + produce->sent;
	struct part *part = produce->sent ? calloc(1, sizeof *part) : &produce->part;
	size_t passed;

	if (!part)
		return false; // memory may be there the next time
	passed =
		quota_charge_batch(produce->tenant->ledger, QUOTA_PRODUCE, &first->size,
				   sizeof *first, want, produce->left_bytes, now_ns, &part->charge);
	for (size_t i = 0; i < passed && passed < want; ++i)
		produce->left_bytes -= first[i].size;
	if (passed)
		submit_part(produce, part, (uint32_t)passed);
	else if (part != &produce->part)
		free(part);
	return passed == want;
}

// ---- quota

static uint64_t next_wait_ns(const struct produce *produce, uint64_t now_ns,
			     struct quota_answer *ret)
{
	uint32_t size = produce->records[produce->sent].size;

	quota_explain(produce->tenant->ledger, QUOTA_PRODUCE, size, now_ns, ret);
	return MAX(ret->wait_ns, WAIT_STEP_NS);
}

static void refuse_rest(struct produce *produce, enum code code, uint64_t retry_ns)
{
	produce->rest_code = code;
	produce->rest_retry_ms = wait_ms_of(retry_ns);
}

// `stream` NULL: of any.
static struct produce *first_waiting(const struct conn *conn, const struct topic_stream *stream)
{
	LIST_FOREACH(pos, next, &conn->session.parked)
	{
		struct produce *produce = LIST_ENTRY(pos, struct produce, parked);

		assert(produce->sent < produce->valid && produce->rest_code == CODE_OK);
		if (!stream || produce->in == stream)
			return produce;
	}
	return NULL;
}

void produce_refuse_waiting(struct topic_stream *stream)
{
	struct conn *conn = stream->stream.conn;
	struct produce *produce;

	while (conn_is_open(conn) && (produce = first_waiting(conn, stream))) {
		refuse_rest(produce, (enum code)stream->stream.code, 0);
		list_unlink(&produce->parked);
		finish_if_done(produce);
	}
}

static void wait_at_most(struct tenant_clients *clients, uint64_t until_ns)
{
	if (!clients->waiting_timer.at_ns || until_ns < clients->waiting_timer.at_ns)
		loop_timer_set(&clients->waiting_timer, until_ns);
}

// Mode `wait`: parked in its connection's window, at most wait_ms.
static void park(struct produce *produce, uint64_t now_ns)
{
	struct tenant_view *tenant = produce->tenant;
	struct quota_answer why;
	uint64_t wait_ns = next_wait_ns(produce, now_ns, &why);

	produce->wait_until_ns = now_ns + tenant->model->limits.wait_ms * MS_NS;
	list_push_back(&produce->conn->session.parked, &produce->parked);
	if (list_empty(&produce->conn->session.waiting))
		list_push_back(&tenant->clients->waiting, &produce->conn->session.waiting);
	wait_at_most(tenant->clients, MIN(now_ns + wait_ns, produce->wait_until_ns));
	conn_tell_throttled(produce->conn, QUOTA_PRODUCE, &why);
}

// Takes the waiting batches of a connection as far as they come. False: some still wait; then
// *ret_again_ns says when to look.
static bool serve_waiting(struct conn *conn, uint64_t now_ns, uint64_t *ret_again_ns)
{
	struct quota_answer why;
	struct produce *produce;

	while (conn_is_open(conn) && (produce = first_waiting(conn, NULL))) {
		if (!submit_some(produce, now_ns)) {
			uint64_t wait_ns = next_wait_ns(produce, now_ns, &why);

			if (now_ns < produce->wait_until_ns) {
				*ret_again_ns = MIN(now_ns + wait_ns, produce->wait_until_ns);
				return false;
			}
			refuse_rest(produce, CODE_THROTTLED, wait_ns);
		}
		list_unlink(&produce->parked);
		finish_if_done(produce);
	}
	return true;
}

// Connections take turns at the front, so that none lives on the tokens of all.
void produce_waiting_over(struct loop_timer *timer)
{
	struct tenant_clients *clients = CONTAINER_OF(timer, struct tenant_clients, waiting_timer);
	uint64_t now_ns = loop_now_ns(timer->loop), again_ns;
	struct list round = LIST_INIT(round);

	while (!list_empty(&clients->waiting))
		list_push_back(&round, list_pop_front(&clients->waiting));
	while (!list_empty(&round)) {
		struct conn *conn =
			CONTAINER_OF(list_pop_front(&round), struct conn, session.waiting);

		if (serve_waiting(conn, now_ns, &again_ns))
			continue;
		// Who came first this time comes last the next time.
		list_push_front(&clients->waiting, &conn->session.waiting);
		wait_at_most(clients, again_ns);
	}
}

// Mode `reject`: what does not fit gets a turn of its own. Messages that are sent later never pass
// before: what was promised is the stream's alone.
static void submit_in_turn(struct produce *produce, uint64_t now_ns)
{
	struct part *part = &produce->part;
	struct topic_stream *stream = produce->in;
	uint32_t count = produce->valid;
	size_t passed = sender_turn_charge(stream, produce->records, count, produce->left_bytes,
					   now_ns, &part->charge);
	uint64_t wait_ns = sender_turn_tell(stream, count, count - passed, now_ns);

	if (passed < count)
		refuse_rest(produce, CODE_THROTTLED, MAX(wait_ns, WAIT_STEP_NS));
	if (passed)
		submit_part(produce, part, (uint32_t)passed);
}

static void charge_and_submit(struct produce *produce)
{
	const struct tenant *model = produce->tenant->model;
	uint64_t now_ns = loop_now_ns(produce->worker->loop);
	struct quota_answer why;
	bool queue =
		!list_empty(&produce->conn->session.waiting); // batches never overtake each other

	if (!queue && model->limits.over == QUOTA_OVER_REJECT) {
		submit_in_turn(produce, now_ns);
		return;
	}
	sender_turn_tell(produce->in, produce->valid, 0, now_ns);
	if (!queue && submit_some(produce, now_ns))
		return;
	if (model->limits.over == QUOTA_OVER_WAIT && model->limits.wait_ms)
		park(produce, now_ns);
	else
		refuse_rest(produce, CODE_THROTTLED, next_wait_ns(produce, now_ns, &why));
}

// ---- what the tenant may store

#define STORED_HEAD  32u         // at least what a backend adds to records that it stores together
#define STORED_CHUNK (32u << 10) // of so many bytes at least, or of one record

// What the batch takes when it is stored, at the most: records that go to one partition, without a
// refused one among them, are stored together.
static uint64_t stored_most(const struct produce *produce)
{
	uint64_t heads = 1 + produce->refused + produce->left_bytes / STORED_CHUNK;

	for (uint32_t i = 1; i < produce->valid; ++i)
		heads += produce->records[i].partition != produce->records[i - 1].partition;
	return produce->left_bytes + heads * STORED_HEAD;
}

// A batch passes whole or not at all. What it takes stays taken until it is answered.
__attribute__((noinline)) static bool storage_admits(struct produce *produce)
{
	struct tenant_view *tenant = produce->tenant;
	uint64_t bytes = stored_most(produce);

	if (!storage_take(tenant->storage, bytes)) {
		storage_log_refused(tenant->storage, tenant->model ? tenant->model->name : NULL,
				    loop_now_ns(produce->worker->loop));
		return false;
	}
	produce->storage_bytes = bytes;
	return true;
}

// ---- check

static int refuse_record(struct produce *produce, uint32_t index, enum code code)
{
	struct refusal *grown;

	if (produce->refused == produce->refusal_room) {
		uint32_t room = MAX(produce->refusal_room * 2, 16);

		grown = realloc(produce->refusals, room * sizeof *grown);
		if (!grown)
			return -ENOMEM;
		produce->refusals = grown;
		produce->refusal_room = room;
	}
	produce->refusals[produce->refused++] = (struct refusal){index, code};
	return 0;
}

// Where a record goes whose parts have a say in it. Not inlined: most records have none of them.
__attribute__((noinline)) static enum code
place_by_parts(const struct topic_stream *stream, const uint8_t *data, uint32_t *ret_partition)
{
	const struct topic *topic = stream->user.use->model;
	uint32_t flags = record_flags(data);
	struct slice key;
	struct record_view view;

	if ((flags & RECORD_KEY) && topic->partitions > 1) {
		key = record_key(data);
		*ret_partition = partition_of_key(key.data, key.size, topic->partitions);
	}
	if (flags & (RECORD_PARTITION | RECORD_DUE)) {
		record_read(data, &view);
		if ((flags & RECORD_DUE) &&
		    !(backend_capabilities(stream->user.use->backend) & CAP_DELAY))
			return CODE_UNSUPPORTED_BY_BACKEND;
		if ((flags & RECORD_PARTITION) && view.partition >= topic->partitions)
			return CODE_BAD_REQUEST;
		if (flags & RECORD_PARTITION)
			*ret_partition = view.partition;
	}
	return CODE_OK;
}

// What is wrong with a well-formed record at this topic, and where it goes.
static inline enum code place(const struct topic_stream *stream, const uint8_t *data, uint32_t size,
			      uint32_t unkeyed, uint32_t *ret_partition)
{
	if (size > stream->max_record)
		return CODE_TOO_LARGE;
	*ret_partition = unkeyed;
	if (record_flags(data) & (RECORD_KEY | RECORD_PARTITION | RECORD_DUE))
		return place_by_parts(stream, data, ret_partition);
	return CODE_OK;
}

// Walks the records of a payload. NULL: fine; else what breaks the whole frame.
static const char *check_records(struct produce *produce, struct topic_stream *stream,
				 struct slice payload)
{
	const uint8_t *at = payload.data + PRODUCE_HEAD_SIZE, *end = payload.data + payload.size;
	uint32_t unkeyed =
		stream ? stream->next_partition++ % stream->user.use->model->partitions : 0;
	struct submit_record *record = produce->records;

	for (uint32_t i = 0; i < produce->count; ++i) {
		enum code code = CODE_BAD_REQUEST;
		enum record_problem problem = record_check(at, (size_t)(end - at), &record->size);
		uint32_t size = record->size;

		if (problem == RECORD_BROKEN)
			return "the records do not chain to the end of the frame";
		if (problem == RECORD_OK)
			code = stream ? place(stream, at, size, unkeyed, &record->partition)
				      : CODE_OK;
		record->data = at;
		at += size;
		if (code == CODE_OK) {
			produce->left_bytes += size;
			++record;
		} else if (refuse_record(produce, i, code) < 0) {
			return "out of memory";
		}
	}
	produce->valid = (uint32_t)(record - produce->records);
	return at == end ? NULL : "bytes after the last record";
}

static void count_taken(const struct produce *produce, struct slice payload)
{
	uint64_t bytes = payload.size - PRODUCE_HEAD_SIZE;

	produce->tenant->produced.messages += produce->count;
	produce->tenant->produced.bytes += bytes;
	if (!produce->topic)
		return;
	produce->topic->stats->produced.messages += produce->count;
	produce->topic->stats->produced.bytes += bytes;
}

// One piece of memory: the batch, its records, and the runs of its answer.
static struct produce *new_produce(struct conn *conn, struct topic_stream *stream,
				   const struct frame *frame, struct buf *buf,
				   const struct produce_head *head)
{
	size_t records_size = head->count * sizeof(struct submit_record);
	struct produce *produce =
		malloc(sizeof *produce + records_size + head->count * sizeof(struct submit_run));

	if (!produce)
		return NULL;
	*produce = (struct produce){
		.conn = conn,
		.worker = conn->worker,
		.tenant = conn->session.tenant,
		.topic = stream ? stream->user.use : NULL,
		.buf = buf_ref(buf),
		.batch = head->batch,
		.stream = frame->header.stream,
		.count = head->count,
		.frame_bytes = WIRE_HEADER_SIZE + frame->header.size,
		.oneway = frame->header.flags & FRAME_ONEWAY,
		.runs = (struct submit_run *)(void *)((char *)produce->records + records_size),
		.last_part = &produce->part,
	};
	list_init(&produce->in_conn);
	list_init(&produce->parked);
	produce->held_bytes = buf == frame->buf ? produce->frame_bytes : buf->size;
	budget_add(produce->tenant->memory, BUDGET_BODIES, produce->held_bytes);
	if (produce->topic)
		++produce->topic->refs;
	return produce;
}

// Why a stream that is not open takes nothing.
static enum code closed_code(const struct topic_stream *stream)
{
	return stream && !stream->stream.asked ? (enum code)stream->stream.code : CODE_NOT_FOUND;
}

static struct topic_stream *if_open(struct topic_stream *stream)
{
	return stream && stream->stream.state == STREAM_OPEN ? stream : NULL;
}

static void accept(struct conn *conn, struct topic_stream *named, const struct frame *frame,
		   struct buf *buf, struct slice payload)
{
	struct topic_stream *stream = if_open(named);
	struct produce_head head;
	const char *problem = produce_head_read(payload.data, payload.size, &head);
	struct produce *produce;

	if (problem) {
		conn_close(conn, CODE_PROTOCOL, problem);
		return;
	}
	if (stream && stream->user.use->lost)
		topic_use_lost(stream->user.use); // it may be there again
	produce = new_produce(conn, stream, frame, buf, &head);
	if (!produce) {
		conn_close(conn, CODE_OVERLOADED, "out of memory");
		return;
	}
	problem = check_records(produce, stream, payload);
	if (problem) {
		free_produce(produce);
		conn_close(conn, CODE_PROTOCOL, problem);
		return;
	}
	list_push_back(&conn->session.batches, &produce->in_conn);
	produce->in = stream;
	if (stream)
		++stream->unanswered;
	count_taken(produce, payload);
	++produce->open_parts; // it lasts, should what is sent meanwhile close the connection
	if (!stream)
		refuse_rest(produce, closed_code(named), 0);
	else if (conn->state == CONN_LEAVING)
		refuse_rest(produce, CODE_SHUTTING_DOWN, 0);
	else if (budget_is_full(&conn->worker->shared->budget) ||
		 (buf != frame->buf && !plain_take(produce, buf->size)))
		refuse_rest(produce, CODE_OVERLOADED, OVERLOAD_NS);
	else if (produce->valid && storage_is_limited(conn->session.tenant->storage) &&
		 !storage_admits(produce))
		refuse_rest(produce, CODE_LIMIT_EXCEEDED, 0);
	else if (produce->valid)
		charge_and_submit(produce);
	--produce->open_parts;
	finish_if_done(produce);
}

static enum code codec_code(int r)
{
	if (r < 0)
		return CODE_OVERLOADED;
	return r == CODEC_E_TOO_LARGE ? CODE_PROTOCOL : CODE_CORRUPT;
}

static bool window_take(struct conn *conn, const struct frame *frame)
{
	if (session_window_take(&conn->session, WIRE_HEADER_SIZE + frame->header.size))
		return true;
	conn_close(conn, CODE_PROTOCOL, "more was sent than the window allows");
	return false;
}

void produce_ignore(struct conn *conn, const struct frame *frame)
{
	if (window_take(conn, frame))
		grant(conn, WIRE_HEADER_SIZE + frame->header.size);
}

void produce_frame(struct conn *conn, struct topic_stream *stream, const struct frame *frame)
{
	enum frame_codec codec = frame->header.flags & FRAME_CODEC_MASK;
	_cleanup_(buf_unrefp) struct buf *plain = NULL;
	int r;

	if (!window_take(conn, frame))
		return;
	if (codec == CODEC_NONE) {
		accept(conn, stream, frame, frame->buf, frame->payload);
		return;
	}
	if (!(native_of(conn)->codecs & 1u << codec)) {
		conn_close(conn, CODE_PROTOCOL, "this codec was not agreed upon");
		return;
	}
	r = codec_decompress(codec, frame->payload, conn->worker->limits.max_frame, &plain);
	if (r != 0)
		conn_close(conn, codec_code(r), "the payload cannot be decompressed");
	else
		accept(conn, stream, frame, plain, (struct slice){plain->data, plain->size});
}

void produce_detach_all(struct conn *conn)
{
	while (!list_empty(&conn->session.batches)) {
		struct produce *produce =
			LIST_ENTRY(conn->session.batches.next, struct produce, in_conn);

		list_unlink(&produce->in_conn);
		list_unlink(&produce->parked);
		produce->conn = NULL;
		produce->in = NULL;
		if (produce->rest_code == CODE_OK)
			produce->rest_code = CODE_CONNECTION_LOST;
		finish_if_done(produce);
	}
}
