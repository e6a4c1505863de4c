// One PRODUCE frame: from its records to a batch, and from the batch's outcomes to PRODUCED.
//
// The records are slices of the frame's buffer and stay there. A record that is malformed or too
// large is refused by itself and takes no place in the batch; the answer lists all records in the
// order of the frame.

#include "proxy/client/native/produce.h"

#include "core/wire/codec.h"
#include "core/wire/produce.h"
#include "core/wire/produced.h"
#include "proxy/client/batch.h"
#include "proxy/client/native/native.h"
#include "proxy/client/native/send.h"

#include <errno.h>

struct refusal {
	uint32_t index; // in the frame
	enum code code;
};

struct produce {
	struct batch batch;
	struct topic_stream *stream; // that counts it as unanswered; NULL: none does
	uint64_t number;
	uint32_t stream_id, frame_bytes;
	struct refusal *refusals;
	uint32_t refused, refusal_room;
	struct submit_record records[]; // valid ones, with room for all of the frame
};

// ---- the answer

static void free_produce(struct produce *produce)
{
	batch_deinit(&produce->batch);
	free(produce->refusals);
	free(produce);
}

// The runs of the answer, in the order of the frame's records.
struct walk {
	struct produce *produce;
	struct batch_cursor cursor;
	uint32_t refusal, index;
};

static bool next_run(struct walk *walk, struct submit_run *ret)
{
	struct produce *produce = walk->produce;
	uint32_t until = produce->batch.offered;

	if (walk->index == produce->batch.offered)
		return false;
	if (walk->refusal < produce->refused)
		until = produce->refusals[walk->refusal].index;
	if (until == walk->index) {
		*ret = (struct submit_run){.count = 1,
					   .outcome = OUTCOME_REJECTED,
					   .code = (uint16_t)produce->refusals[walk->refusal].code,
					   .offset = UINT64_MAX};
		++walk->refusal;
		batch_count_refused(&produce->batch, ret);
	} else {
		batch_next_run(&produce->batch, &walk->cursor, until - walk->index, ret);
	}
	walk->index += ret->count;
	return true;
}

static void send_answer(struct produce *produce)
{
	struct batch *batch = &produce->batch;
	struct conn *conn = batch->conn && !batch->oneway ? batch->conn : NULL;
	struct walk walk = {.produce = produce};
	size_t runs = batch_runs_most(batch) + 2 * (size_t)produce->refused;
	size_t room = PRODUCED_HEAD_SIZE + runs * PRODUCED_RUN_SIZE, size = 0;
	uint8_t *payload = conn ? native_send_begin(conn, (uint32_t)room) : NULL;
	uint64_t incarnation = batch->use ? batch->use->model->incarnation : 0;
	struct submit_run run;

	if (payload)
		produce_head_write(payload, &(struct produce_head){.batch = produce->number,
								   .count = batch->offered});
	size = PRODUCED_HEAD_SIZE;
	while (next_run(&walk, &run)) {
		struct produced_run wire = {.count = run.count,
					    .outcome = run.outcome,
					    .durability = run.durability,
					    .code = run.code,
					    .retry_after_ms = run.retry_after_ms,
					    .partition = run.partition,
					    .offset = run.offset,
					    .incarnation = incarnation};

		if (payload) {
			assert(size + PRODUCED_RUN_SIZE <= room);
			produced_run_write(payload + size, &wire);
		}
		size += PRODUCED_RUN_SIZE;
	}
	if (payload)
		native_send_end(conn, payload, FRAME_PRODUCED, produce->stream_id, (uint32_t)size);
}

static void give_window_back(struct conn *conn, uint32_t bytes)
{
	if (session_window_answer(&conn->session, &conn->worker->limits, bytes))
		conn->ops->tell_window(conn);
}

static void on_batch_done(struct batch *batch)
{
	struct produce *produce = CONTAINER_OF(batch, struct produce, batch);
	struct topic_stream *stream = produce->stream;
	uint32_t bytes = produce->frame_bytes;
	struct conn *conn;

	send_answer(produce);
	conn = batch->conn; // an answer that cannot be held in memory closes it
	free_produce(produce);
	if (!conn)
		return;
	give_window_back(conn, bytes);
	if (stream && conn_is_open(conn))
		stream_answered(stream);
	if (conn->state == CONN_LEAVING)
		conn_check_left(conn);
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

// Walks the records of a payload. NULL: fine; else what breaks the whole frame.
static const char *check_records(struct produce *produce, struct topic_stream *stream,
				 struct slice payload)
{
	const uint8_t *at = payload.data + PRODUCE_HEAD_SIZE, *end = payload.data + payload.size;
	const struct topic_use *use = stream ? stream->user.use : NULL;
	uint32_t unkeyed = stream ? stream->next_partition++ % use->model->partitions : 0;
	uint32_t count = produce->batch.offered, max_record = stream ? stream->max_record : 0;
	struct submit_record *record = produce->records;
	uint64_t bytes = 0;

	for (uint32_t i = 0; i < count; ++i) {
		enum code code = CODE_BAD_REQUEST;
		enum record_problem problem = record_check(at, (size_t)(end - at), &record->size);
		uint32_t size = record->size;

		if (problem == RECORD_BROKEN)
			return "the records do not chain to the end of the frame";
		if (problem == RECORD_OK)
			code = use ? batch_place(use, max_record, at, size, unkeyed,
						 &record->partition)
				   : CODE_OK;
		record->data = at;
		at += size;
		if (code == CODE_OK) {
			bytes += size;
			++record;
		} else if (refuse_record(produce, i, code) < 0) {
			return "out of memory";
		}
	}
	produce->batch.left_bytes = bytes;
	produce->batch.valid = (uint32_t)(record - produce->records);
	return at == end ? NULL : "bytes after the last record";
}

// One piece of memory: the batch, its records, and the runs of its answer.
static struct produce *new_produce(struct conn *conn, struct topic_stream *stream,
				   const struct frame *frame, struct buf *buf,
				   const struct produce_head *head)
{
	size_t records_size = head->count * sizeof(struct submit_record);
	uint32_t frame_bytes = WIRE_HEADER_SIZE + frame->header.size;
	struct produce *produce =
		malloc(sizeof *produce + records_size + head->count * sizeof(struct submit_run));

	if (!produce)
		return NULL;
	*produce = (struct produce){
		.batch = {.done = on_batch_done,
			  .conn = conn,
			  .use = stream ? stream->user.use : NULL,
			  .turn = stream ? &stream->quota_turn : NULL,
			  .buf = buf,
			  .held_bytes = buf == frame->buf ? frame_bytes : buf->size,
			  .offered = head->count,
			  .oneway = frame->header.flags & FRAME_ONEWAY,
			  .records = produce->records,
			  .runs = (struct submit_run *)(void *)((char *)produce->records +
								records_size)},
		.stream = stream,
		.number = head->batch,
		.stream_id = frame->header.stream,
		.frame_bytes = frame_bytes,
	};
	batch_init(&produce->batch);
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

static void take_batch(struct conn *conn, struct topic_stream *named, const struct frame *frame,
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
	if (stream)
		++stream->unanswered;
	produce->batch.offered_bytes = payload.size - PRODUCE_HEAD_SIZE;
	batch_send(&produce->batch, stream ? CODE_OK : closed_code(named),
		   buf != frame->buf ? (uint32_t)buf->size : 0);
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
		give_window_back(conn, WIRE_HEADER_SIZE + frame->header.size);
}

void produce_frame(struct conn *conn, struct topic_stream *stream, const struct frame *frame)
{
	enum frame_codec codec = frame->header.flags & FRAME_CODEC_MASK;
	_cleanup_(buf_unrefp) struct buf *plain = NULL;
	int r;

	if (!window_take(conn, frame))
		return;
	if (codec == CODEC_NONE) {
		take_batch(conn, stream, frame, frame->buf, frame->payload);
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
		take_batch(conn, stream, frame, plain, (struct slice){plain->data, plain->size});
}
