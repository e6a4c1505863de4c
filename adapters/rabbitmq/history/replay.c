// A replay: a mark into the stream, then everything before it into a queue.
//
// **The mark.** Where a stream ends cannot be asked for: its count lags behind. So a message of our
// own is put into it, by the default exchange, and read up to. Whatever was confirmed before the
// replay began lies before the mark, so no such message is missed. A mark is a copy (`mqp-copy`),
// which nothing else in a stream is: all readers pass over it.
//
// **Copies** are posted one behind the other on the lane of copies (send/): the same record, with
// its partition, store time and due time, and no attempts. A copy that is not confirmed ends the
// replay: what is behind it would come before it. At most COPIES or COPIES_BYTES are under way,
// then the stream is held.
//
// Invariant: done() comes when nothing is under way any more. What it does not do: make or empty
// the queue.

#include "adapters/rabbitmq/history/replay.h"

#include "core/base/clock.h"

#include <errno.h>
#include <stdio.h>
#include <sys/random.h>

#define COPIES       2048u
#define COPIES_BYTES (8u << 20)
#define COUNT_NS     (3 * S_NS) // for which messages are only counted
#define QUIET_NS     (250 * MS_NS)
#define LONGEST_NS   (24 * 3600 * S_NS)

struct copy {
	struct rabbitmq_post post;
	struct rabbitmq_replay *replay;
};

// ---- the end

static void replay_fail(struct rabbitmq_replay *replay, enum code code, const char *text)
{
	if (replay->code != CODE_OK)
		return;
	replay->code = code;
	snprintf(replay->text, sizeof replay->text, "%s", text ? text : code_sentence(code));
}

static void end_if_done(struct rabbitmq_replay *replay)
{
	if (!replay->ended || replay->under_way)
		return;
	buf_unref(replay->mark_buf);
	replay->mark_buf = NULL;
	replay->done(replay, replay->code, replay->code == CODE_OK ? NULL : replay->text);
}

// ---- copies

static void hold_as_needed(struct rabbitmq_replay *replay)
{
	bool full = replay->under_way >= COPIES || replay->under_way_bytes >= COPIES_BYTES;
	bool half = replay->under_way <= COPIES / 2 && replay->under_way_bytes <= COPIES_BYTES / 2;

	if (full)
		rabbitmq_stream_hold(&replay->stream, true);
	else if (half)
		rabbitmq_stream_hold(&replay->stream, false);
}

static void on_copied(struct rabbitmq_post *post, enum outcome outcome, enum code code,
		      const char *text)
{
	struct copy *copy = CONTAINER_OF(post, struct copy, post);
	struct rabbitmq_replay *replay = copy->replay;

	--replay->under_way;
	replay->under_way_bytes -= post->buf->size;
	if (outcome == OUTCOME_OK)
		++replay->copied;
	else
		replay_fail(replay, code, text);
	buf_unref(post->buf);
	free(copy);
	if (replay->ended) {
		end_if_done(replay);
		return;
	}
	if (replay->code != CODE_OK)
		rabbitmq_stream_end(&replay->stream, replay->code);
	else
		hold_as_needed(replay);
}

static uint64_t due_of(const uint8_t *record)
{
	struct record_view view;

	if (!(record_flags(record) & RECORD_DUE))
		return 0;
	record_read(record, &view);
	return (uint64_t)MAX(view.due_ms, 0);
}

static void copy_post(struct rabbitmq_replay *replay, const struct rabbitmq_arriving *arriving)
{
	struct copy *copy = calloc(1, sizeof *copy);

	if (!copy) {
		buf_unref(arriving->buf);
		replay_fail(replay, CODE_OVERLOADED, NULL);
		rabbitmq_stream_end(&replay->stream, CODE_OVERLOADED);
		return;
	}
	copy->replay = replay;
	copy->post = (struct rabbitmq_post){.queue = replay->queue,
					    .buf = arriving->buf,
					    .record = arriving->buf->data,
					    .native = replay->topic->native,
					    .partition = arriving->partition,
					    .due_ms = due_of(arriving->buf->data),
					    .stored_ms = arriving->stored_ms,
					    .done = on_copied};
	++replay->under_way;
	replay->under_way_bytes += arriving->buf->size;
	rabbitmq_sender_post(replay->adapter, &copy->post);
	hold_as_needed(replay);
}

// ---- the stream

static bool is_mark(const struct rabbitmq_replay *replay, const struct rabbitmq_arriving *arriving)
{
	return replay->queue && arriving->is_copy &&
	       memcmp(record_id(arriving->buf->data), record_id(replay->mark_buf->data),
		      RECORD_ID_SIZE) == 0;
}

static void on_message(struct rabbitmq_stream *stream,
		       const struct rabbitmq_stream_message *message)
{
	struct rabbitmq_replay *replay = CONTAINER_OF(stream, struct rabbitmq_replay, stream);
	const struct rabbitmq_arriving *arriving = &message->arriving;

	replay->next = message->offset + 1;
	if (!arriving->is_copy && replay->queue) {
		copy_post(replay, arriving);
		return;
	}
	replay->copied += !arriving->is_copy;
	replay->marked = is_mark(replay, arriving);
	buf_unref(arriving->buf);
	if (replay->marked)
		rabbitmq_stream_end(stream, CODE_OK);
}

static void on_stream_done(struct rabbitmq_stream *stream, enum code code, const char *text)
{
	struct rabbitmq_replay *replay = CONTAINER_OF(stream, struct rabbitmq_replay, stream);
	bool cut = !replay->queue && code == CODE_TIMEOUT && stream->reading; // it was only counted

	replay->ended = true;
	if (code == CODE_OK && replay->queue && !replay->marked)
		replay_fail(replay, CODE_TIMEOUT, "the stream does not go on");
	else if (code == CODE_NOT_FOUND)
		replay_fail(replay, CODE_UNSUPPORTED_BY_BACKEND, text);
	else if (code != CODE_OK && !cut)
		replay_fail(replay, code, text);
	end_if_done(replay);
}

static void stream_begin(struct rabbitmq_replay *replay)
{
	struct adapter *adapter = replay->adapter;
	uint64_t timeout_ns = adapter->options.timeout_ms * MS_NS;

	replay->stream = (struct rabbitmq_stream){
		.adapter = adapter,
		.link = adapter->send,
		.name = replay->name.text,
		.partitions = replay->topic->partitions,
		.by_time = replay->by_time,
		.time_ms = replay->time_ms,
		.offset = replay->offset,
		.quiet_ns = replay->queue ? timeout_ns : QUIET_NS,
		.deadline_ns = clock_now_ns() + (replay->queue ? LONGEST_NS : COUNT_NS),
		.message = on_message,
		.done = on_stream_done};
	rabbitmq_stream_begin(&replay->stream);
}

// ---- beginning

static void on_marked(struct rabbitmq_post *post, enum outcome outcome, enum code code,
		      const char *text)
{
	struct rabbitmq_replay *replay = CONTAINER_OF(post, struct rabbitmq_replay, mark);

	if (outcome == OUTCOME_OK) {
		stream_begin(replay);
		return;
	}
	replay->ended = true;
	if (code == CODE_NO_ROUTE)
		replay_fail(replay, CODE_UNSUPPORTED_BY_BACKEND,
			    "the topic has no stream: it was made before the option history was "
			    "set, and gets one when it is changed");
	else
		replay_fail(replay, code, text);
	end_if_done(replay);
}

// -ENOMEM.
static int mark_make(struct rabbitmq_replay *replay)
{
	uint8_t id[RECORD_ID_SIZE];
	struct record_parts parts = {.id = id, .created_ms = clock_wall_ms()};
	uint64_t size = record_parts_size(&parts);

	if (getrandom(id, sizeof id, 0) != sizeof id)
		return -ENOMEM;
	id[0] |= 1; // an id of zeros stands for none
	if (buf_new(size, &replay->mark_buf) < 0)
		return -ENOMEM;
	record_write(&parts, replay->mark_buf->data);
	replay->mark_buf->size = (uint32_t)size;
	return 0;
}

static void on_count_task(struct loop_task *task)
{
	stream_begin(CONTAINER_OF(task, struct rabbitmq_replay, task));
}

void rabbitmq_replay_run(struct rabbitmq_replay *replay)
{
	replay->name = rabbitmq_name_history(replay->topic);
	replay->code = CODE_OK;
	replay->copied = replay->next = 0;
	replay->marked = replay->ended = false;
	if (!replay->queue) {
		replay->task.fn = on_count_task;
		loop_post(rabbitmq_link_loop(replay->adapter->send), &replay->task);
		return;
	}
	if (mark_make(replay) < 0) {
		replay->done(replay, CODE_OVERLOADED, NULL);
		return;
	}
	replay->mark = (struct rabbitmq_post){.queue = replay->name.text,
					      .buf = replay->mark_buf,
					      .record = replay->mark_buf->data,
					      .stored_ms = clock_wall_ms(),
					      .done = on_marked};
	rabbitmq_sender_post(replay->adapter, &replay->mark);
}
