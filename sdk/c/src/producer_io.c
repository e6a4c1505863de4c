// The I/O side of a producer: opens the topic on the link in use, sends what the send queues
// release, applies answers, ends what has run out of time, and leaves when asked to.
//
// All of it runs on the I/O thread. The lock is held only around the shared part of a send queue,
// never while callbacks run: sent batches belong to this side alone.
//
// Invariant: a producer that moves to another link has no unanswered batch on the old one, so the
// order of keys is kept. Not here: batching and order (send_queue.c), turns (pace.c).

#include "sdk/c/src/producer_io.h"

#include "sdk/c/src/producer.h"

#include "core/base/crc32c.h"
#include "core/base/util.h"
#include "core/wire/codec.h"
#include "core/wire/fields.h"
#include "core/wire/frame.h"
#include "core/wire/produced.h"
#include "sdk/c/src/json.h"

#include <errno.h>

#define REOPEN_MIN_MS     100u
#define REOPEN_MAX_MS     2000u
#define ONEWAY_OUTPUT_MAX (1u << 20) // bytes on their way to the socket before oneway waits

// ---- Reports ---------------------------------------------------------------------------------

static const enum mqp_stat outcome_stats[] = {
	[MQP_OUTCOME_OK] = MQP_STAT_ACKNOWLEDGED,
	[MQP_OUTCOME_REJECTED] = MQP_STAT_REJECTED,
	[MQP_OUTCOME_UNKNOWN] = MQP_STAT_UNKNOWN,
};

static void producer_report(void *ctx, const struct batch_entry *entry, struct mqp_result *result)
{
	struct mqp_producer *producer = ctx;
	const struct mqp_client_config *config = &producer->client->settings.config;

	result->topic = producer->topic;
	if (config->trace)
		config->trace(result, config->trace_arg);
	if (!result->final)
		return;
	// Counted before the application is told, so that its callback finds it counted.
	client_count(producer->client, outcome_stats[result->outcome], 1);
	if (entry->done)
		entry->done(result, entry->arg);
}

// A oneway message that is reported has not been written.
static void oneway_report(void *ctx, const struct batch_entry *entry, struct mqp_result *result)
{
	struct mqp_producer *producer = ctx;

	if (result->final)
		client_count(producer->client, MQP_STAT_ONEWAY_DROPPED, 1);
}

static void oneway_written(void *ctx, const struct batch_entry *entry, struct mqp_result *result)
{
	struct mqp_producer *producer = ctx;

	client_count(producer->client, MQP_STAT_ONEWAY_WRITTEN, 1);
}

// Adds to the client's counters what has changed; under the lock.
static void producer_count(struct mqp_producer *producer)
{
	struct mqp_client *client = producer->client;
	uint64_t bytes = producer->acked.memory + producer->oneway.memory;

	client_count(client, MQP_STAT_SENT, producer->taken - producer->counted);
	producer->counted = producer->taken;
	// Unsigned difference: the sum of all is right whichever sign it has.
	client_count(client, MQP_STAT_QUEUED_BYTES, bytes - producer->counted_bytes);
	producer->counted_bytes = bytes;
}

static bool queue_relieves(const struct send_queue *queue)
{
	return queue->waiters > 0 && send_queue_is_relieved(queue);
}

static void producer_changed(struct mqp_producer *producer)
{
	producer_count(producer);
	pthread_cond_broadcast(&producer->changed);
	if (queue_relieves(&producer->acked) || queue_relieves(&producer->oneway))
		pthread_cond_broadcast(&producer->room);
}

// ---- Ends without an answer ------------------------------------------------------------------

static void queue_end_waiting(struct mqp_producer *producer, struct send_queue *queue,
			      bool everything, enum mqp_code code, send_queue_report_fn report)
{
	for (;;) {
		struct batch *late;

		pthread_mutex_lock(&producer->lock);
		late = send_queue_expired(queue, producer->client->now_ns, everything);
		pthread_mutex_unlock(&producer->lock);
		if (!late)
			return;
		// Nothing of it is at the proxy: what keeps it here tells more than that time ran
		// out.
		send_queue_end(late, code == MQP_TIMEOUT ? producer_why(producer) : code, report,
			       producer);
		pthread_mutex_lock(&producer->lock);
		send_queue_drop(queue, late);
		producer_changed(producer);
		pthread_mutex_unlock(&producer->lock);
	}
}

// Ends what has passed its deadline, or everything that is not at the proxy.
static void producer_end(struct mqp_producer *producer, bool everything, enum mqp_code code)
{
	queue_end_waiting(producer, &producer->acked, everything, code, producer_report);
	queue_end_waiting(producer, &producer->oneway, everything, code, oneway_report);
}

static void producer_end_sent(struct mqp_producer *producer, bool everything, enum mqp_code code)
{
	send_queue_end_sent(&producer->acked, producer->client->now_ns, everything, code,
			    producer_report, producer);
	pthread_mutex_lock(&producer->lock);
	send_queue_count_ended(&producer->acked);
	producer_changed(producer);
	pthread_mutex_unlock(&producer->lock);
}

// ---- Time ------------------------------------------------------------------------------------

// On the client's thread, which alone sends and takes answers.
static bool is_unanswered(const struct mqp_producer *producer)
{
	return producer->acked.sent_count > 0;
}

static void producer_arm(struct mqp_producer *producer)
{
	uint64_t now_ns = producer->client->now_ns, acked_ns, oneway_ns, next_ns;

	pthread_mutex_lock(&producer->lock);
	acked_ns = send_queue_next_ns(&producer->acked, now_ns);
	oneway_ns = send_queue_next_ns(&producer->oneway, now_ns);
	producer->acked.armed_ns = acked_ns;
	producer->oneway.armed_ns = oneway_ns;
	pthread_mutex_unlock(&producer->lock);
	next_ns = MIN(acked_ns, oneway_ns);
	if (producer->throttled)
		next_ns = MIN(next_ns,
			      pace_next_ns(&producer->pace, is_unanswered(producer), now_ns));
	if (producer->reopen_ns > now_ns)
		next_ns = MIN(next_ns, producer->reopen_ns);
	if (timer_set(&producer->client->timers, &producer->timer, next_ns) < 0)
		client_log(producer->client, MQP_LOG_ERROR, "no memory for a timer");
}

// ---- Sending ---------------------------------------------------------------------------------

static void count_retries(struct mqp_producer *producer, const struct batch *batch)
{
	uint64_t retries = 0;

	// What is sent again stands in front, in batches of its own.
	for (uint32_t i = 0; i < batch->count && batch->entries[i].attempts > 1; ++i)
		++retries;
	client_count(producer->client, MQP_STAT_RETRIES, retries);
	client_count(producer->client, MQP_STAT_BATCHES, 1);
}

// The batch as a payload: as it lies, or compressed where that helps.
static struct payload batch_payload(struct mqp_producer *producer, const struct batch *batch,
				    unsigned *flags)
{
	enum mqp_compression compression = producer->config.compression;
	struct slice plain = {batch->buf->data, batch->size};
	struct buf *packed;

	if (compression != MQP_COMPRESSION_NONE &&
	    link_has_codec(producer->stream.link, compression) &&
	    codec_compress((enum frame_codec)compression, plain, &packed) == 0) {
		*flags |= (unsigned)compression;
		return (struct payload){packed, packed->size,
					crc32c(0, packed->data, packed->size)};
	}
	return (struct payload){buf_ref(batch->buf), plain.size, batch_crc(batch)};
}

static void batch_send(struct mqp_producer *producer, struct batch *batch, unsigned flags)
{
	struct produce_head head = {.batch = batch->number, .count = batch->count};
	struct link *link = producer->stream.link;
	struct payload payload;

	produce_head_write(batch->buf->data, &head);
	payload = batch_payload(producer, batch, &flags);
	count_retries(producer, batch);
	link_window_use(link, WIRE_HEADER_SIZE + payload.size);
	link_send_buf(link, FRAME_PRODUCE, flags, producer->stream.id, &payload);
	buf_unref(payload.buf);
}

// What the window leaves for a payload.
static size_t payload_room(const struct link *link)
{
	uint64_t window = link_window(link);

	return window > WIRE_HEADER_SIZE ? (size_t)MIN(window - WIRE_HEADER_SIZE, SIZE_MAX / 2) : 0;
}

// One batch of a send queue. False: there is none to be sent now.
static bool queue_send(struct mqp_producer *producer, struct send_queue *queue,
		       send_queue_report_fn report, struct batch **ret_batch)
{
	struct link *link = producer->stream.link;
	uint64_t now_ns = producer->client->now_ns;
	uint64_t most = pace_most(&producer->pace, is_unanswered(producer), now_ns);
	struct batch *batch;
	int r;

	if (most == 0)
		return false;
	pthread_mutex_lock(&producer->lock);
	r = send_queue_take(queue, now_ns, payload_room(link), link_max_frame(link), most, &batch);
	pthread_mutex_unlock(&producer->lock);
	*ret_batch = NULL;
	if (r == 0) {
		*ret_batch = batch;
		pace_sent(&producer->pace, batch->count, now_ns);
	}
	if (r != SEND_QUEUE_E_TOO_LARGE)
		return r == 0;
	send_queue_end(batch, MQP_TOO_LARGE, report, producer);
	pthread_mutex_lock(&producer->lock);
	send_queue_drop(queue, batch);
	producer_changed(producer);
	pthread_mutex_unlock(&producer->lock);
	return true;
}

static bool stream_usable(const struct stream *stream)
{
	return stream->link && stream->open && !link_leaving(stream->link);
}

static void acked_send(struct mqp_producer *producer)
{
	struct batch *batch;

	while (stream_usable(&producer->stream) &&
	       queue_send(producer, &producer->acked, producer_report, &batch))
		if (batch)
			batch_send(producer, batch, 0);
}

// A oneway batch has ended when the link has taken it; the link's output bounds how much that is.
static void oneway_send(struct mqp_producer *producer)
{
	struct send_queue_verdict written = {.outcome = MQP_OUTCOME_OK, .offset = MQP_OFFSET_NONE};
	struct batch *batch;

	while (stream_usable(&producer->stream) &&
	       link_output_bytes(producer->stream.link) < ONEWAY_OUTPUT_MAX &&
	       queue_send(producer, &producer->oneway, oneway_report, &batch)) {
		if (!batch)
			continue;
		batch_send(producer, batch, FRAME_ONEWAY);
		written.count = batch->count;
		send_queue_answer(batch, 0, &written, producer->client->now_ns, oneway_written,
				  producer);
		pthread_mutex_lock(&producer->lock);
		send_queue_settle(&producer->oneway, batch, producer->client->now_ns);
		producer_changed(producer);
		pthread_mutex_unlock(&producer->lock);
	}
}

// Whether something waits for the window or the output to open.
static bool producer_lacks_window(struct mqp_producer *producer)
{
	const struct link *link = producer->stream.link;
	bool acked, oneway;

	if (!stream_usable(&producer->stream))
		return false;
	pthread_mutex_lock(&producer->lock);
	acked = send_queue_waits(&producer->acked);
	oneway = send_queue_waits(&producer->oneway);
	pthread_mutex_unlock(&producer->lock);
	return ((acked || oneway) && payload_room(link) < link_max_frame(link)) ||
	       (oneway && link_output_bytes(link) >= ONEWAY_OUTPUT_MAX);
}

static bool producer_waits(struct mqp_producer *producer)
{
	bool waits;

	pthread_mutex_lock(&producer->lock);
	waits = send_queue_waits(&producer->acked) || send_queue_waits(&producer->oneway);
	pthread_mutex_unlock(&producer->lock);
	return waits;
}

static void producer_set_throttled(struct mqp_producer *producer, bool throttled)
{
	if (producer->throttled == throttled)
		return;
	pthread_mutex_lock(&producer->lock);
	producer->throttled = throttled;
	pthread_mutex_unlock(&producer->lock);
}

static void producer_send(struct mqp_producer *producer)
{
	bool lacks_window, held;

	acked_send(producer);
	oneway_send(producer);
	lacks_window = producer_lacks_window(producer);
	if (list_empty(&producer->window_wait.node) && lacks_window)
		list_push_back(&producer->client->window_waiters, &producer->window_wait.node);
	held = pace_next_ns(&producer->pace, is_unanswered(producer), producer->client->now_ns) !=
		       UINT64_MAX &&
	       producer_waits(producer);
	producer_set_throttled(producer,
			       held || (lacks_window && link_throttled(producer->stream.link)));
	producer_arm(producer);
}

static void window_resume(struct window_wait *wait)
{
	producer_send(CONTAINER_OF(wait, struct mqp_producer, window_wait));
}

// ---- The topic's stream ----------------------------------------------------------------------

static void producer_set_open(struct mqp_producer *producer, bool open, enum mqp_code status)
{
	pthread_mutex_lock(&producer->lock);
	producer->open = open;
	producer->status = status;
	producer_changed(producer);
	pthread_mutex_unlock(&producer->lock);
}

static void producer_open(struct mqp_producer *producer)
{
	struct link *link = producer->client->link;

	if (!producer->attached || producer->stream.link || !link || !link_ready(link) ||
	    producer->client->now_ns < producer->reopen_ns)
		return;
	producer->reopen_ns = 0;
	pace_reset(&producer->pace);
	link_open(link, &producer->stream, FRAME_OPEN_TOPIC, FIELD_TOPIC, producer->topic);
}

static void topic_opened(struct stream *stream, const uint8_t *payload, size_t size)
{
	struct mqp_producer *producer = CONTAINER_OF(stream, struct mqp_producer, stream);
	struct fields fields;

	if (fields_read(payload, size, &fields)) {
		link_close(stream->link, MQP_PROTOCOL, "TOPIC_OPENED is malformed");
		return;
	}
	producer->reopen_wait_ms = 0;
	if (fields_has(&fields, FIELD_REMAINING))
		pace_told(&producer->pace, fields_int(&fields, FIELD_REMAINING, 0),
			  fields_int(&fields, FIELD_RETRY_AFTER_MS, 0) * MS_NS,
			  producer->client->now_ns);
	pthread_mutex_lock(&producer->lock);
	producer->max_record =
		(uint32_t)fields_int(&fields, FIELD_MAX_MESSAGE, producer->max_record);
	pthread_mutex_unlock(&producer->lock);
	producer_set_open(producer, true, MQP_OK);
	producer_send(producer);
}

// Ends the attempt of everything at the proxy. When the connection is lost, it may be stored. When
// only the stream has ended, the proxy has answered whatever it took before it said so: what is
// left is certainly not stored. Either way it is the first to be sent again.
static void producer_lose(struct mqp_producer *producer, enum mqp_code code)
{
	bool certain = code != MQP_CONNECTION_LOST && code != MQP_OK;
	struct send_queue_verdict lost = {
		.outcome = certain ? MQP_OUTCOME_REJECTED : MQP_OUTCOME_UNKNOWN,
		.code = certain ? code : MQP_CONNECTION_LOST,
	};
	struct batch *batch;

	while ((batch = send_queue_last_sent(&producer->acked))) {
		lost.count = batch->count;
		send_queue_answer(batch, 0, &lost, producer->client->now_ns, producer_report,
				  producer);
		pthread_mutex_lock(&producer->lock);
		send_queue_settle(&producer->acked, batch, producer->client->now_ns);
		producer_changed(producer);
		pthread_mutex_unlock(&producer->lock);
	}
}

static void topic_ended(struct stream *stream, enum mqp_code code, uint32_t retry_after_ms)
{
	struct mqp_producer *producer = CONTAINER_OF(stream, struct mqp_producer, stream);
	uint32_t wait_ms = producer->reopen_wait_ms ? producer->reopen_wait_ms : REOPEN_MIN_MS;

	list_unlink(&producer->window_wait.node);
	producer_lose(producer, code);
	producer_set_open(producer, false, code);
	if (code == MQP_CONNECTION_LOST) {
		producer_arm(producer);
		return;
	}
	producer->reopen_wait_ms = MIN(wait_ms * 2, REOPEN_MAX_MS);
	producer->reopen_ns = producer->client->now_ns + MAX(wait_ms, retry_after_ms) * MS_NS;
	if (!mqp_code_retriable(code)) {
		client_log(producer->client, MQP_LOG_WARN, "topic %s: %s", producer->topic,
			   mqp_strerror(code));
		producer_end(producer, true, code);
	}
	producer_arm(producer);
}

// Moves to the link in use once everything sent here has been answered.
static void producer_move(struct mqp_producer *producer)
{
	if (!producer->stream.link || !link_leaving(producer->stream.link) ||
	    producer->acked.sent_count > 0)
		return;
	link_leave_stream(&producer->stream);
	producer_set_open(producer, false, MQP_TIMEOUT);
	producer_open(producer);
}

static void topic_leaving(struct stream *stream)
{
	producer_move(CONTAINER_OF(stream, struct mqp_producer, stream));
}

// ---- Answers ---------------------------------------------------------------------------------

static void verdict_of(const struct produced_run *run, struct send_queue_verdict *ret)
{
	*ret = (struct send_queue_verdict){
		.count = run->count,
		.outcome = (enum mqp_outcome)MIN(run->outcome, (uint8_t)MQP_OUTCOME_UNKNOWN),
		.code = (enum mqp_code)run->code,
		.retry_after_ms = run->retry_after_ms,
		.partition = run->partition,
		.durability = run->durability,
		.offset = run->offset,
		.incarnation = run->incarnation,
	};
}

// The answer of one batch, run by run. Callbacks run here without the lock; the batch is still in
// `sent`, which only this thread touches.
static int topic_produced(struct mqp_producer *producer, const uint8_t *payload, size_t size)
{
	struct produce_head head;
	struct batch *batch;
	uint32_t first = 0;
	size_t runs;

	if (produced_check(payload, size, &head, &runs))
		return -EBADMSG;
	batch = send_queue_find(&producer->acked, head.batch);
	if (!batch || batch->count != head.count)
		return -EBADMSG;
	for (size_t i = 0; i < runs; ++i) {
		struct produced_run run;
		struct send_queue_verdict verdict;

		produced_run_read(payload + PRODUCED_HEAD_SIZE + i * PRODUCED_RUN_SIZE, &run);
		verdict_of(&run, &verdict);
		verdict.paced = producer->pace.told && verdict.code == MQP_THROTTLED;
		send_queue_answer(batch, first, &verdict, producer->client->now_ns, producer_report,
				  producer);
		first += run.count;
	}
	pthread_mutex_lock(&producer->lock);
	send_queue_settle(&producer->acked, batch, producer->client->now_ns);
	producer_changed(producer);
	pthread_mutex_unlock(&producer->lock);
	pace_answered(&producer->pace, producer->client->now_ns);
	producer_move(producer);
	producer_send(producer);
	return 0;
}

static int topic_frame(struct stream *stream, unsigned type, struct buf *buf,
		       const uint8_t *payload, size_t size)
{
	struct mqp_producer *producer = CONTAINER_OF(stream, struct mqp_producer, stream);

	return type == FRAME_PRODUCED ? topic_produced(producer, payload, size) : -EBADMSG;
}

static void topic_turn(struct stream *stream, uint64_t messages, uint32_t after_ms)
{
	struct mqp_producer *producer = CONTAINER_OF(stream, struct mqp_producer, stream);

	pace_told(&producer->pace, messages, after_ms * MS_NS, producer->client->now_ns);
	producer_send(producer);
}

static const struct stream_ops topic_ops = {
	.opened = topic_opened,
	.turn = topic_turn,
	.ended = topic_ended,
	.frame = topic_frame,
	.leaving = topic_leaving,
};

// ---- Rounds ----------------------------------------------------------------------------------

static void producer_detach(struct mqp_producer *producer)
{
	if (producer->stream.link)
		link_leave_stream(&producer->stream);
	list_unlink(&producer->window_wait.node);
	list_unlink(&producer->member.io_node);
	timer_clear(&producer->client->timers, &producer->timer);
	producer->attached = false;
	pthread_mutex_lock(&producer->lock);
	// No thread posts from here on; a post that is on its way finds nothing to do.
	producer->detached = !atomic_load(&producer->member.work.queued);
	producer->open = false;
	producer_changed(producer);
	pthread_mutex_unlock(&producer->lock);
}

static void producer_attach(struct mqp_producer *producer)
{
	producer->attached = true;
	list_push_back(&producer->client->attached, &producer->member.io_node);
}

static void producer_work(struct mqp_producer *producer)
{
	bool cancel, parting;

	pthread_mutex_lock(&producer->lock);
	producer_count(producer);
	cancel = producer->cancel;
	parting = producer->parting;
	pthread_mutex_unlock(&producer->lock);
	producer_end(producer, cancel, cancel ? MQP_CANCELLED : MQP_TIMEOUT);
	producer_end_sent(producer, cancel, cancel ? MQP_CANCELLED : MQP_TIMEOUT);
	if (parting) {
		producer_detach(producer);
		return;
	}
	producer_open(producer);
	producer_send(producer);
}

static void producer_run(struct work *work, uint64_t now_ns)
{
	struct mqp_producer *producer = CONTAINER_OF(work, struct mqp_producer, member.work);

	bool detached, parting;

	pthread_mutex_lock(&producer->lock);
	detached = producer->detached;
	parting = producer->parting;
	pthread_mutex_unlock(&producer->lock);
	if (detached)
		return;
	if (!producer->attached && !parting)
		producer_attach(producer);
	producer_work(producer);
}

static void producer_timer(struct timer *timer, uint64_t now_ns)
{
	producer_work(CONTAINER_OF(timer, struct mqp_producer, timer));
}

static struct mqp_producer *producer_of(struct member *member)
{
	return CONTAINER_OF(member, struct mqp_producer, member);
}

static void member_link_ready(struct member *member, struct link *link)
{
	producer_of(member)->reopen_ns = 0;
	producer_open(producer_of(member));
}

static void member_cut(struct member *member)
{
	struct mqp_producer *producer = producer_of(member);

	pthread_mutex_lock(&producer->lock);
	producer->closing = producer->cancel = producer->parting = true;
	pthread_mutex_unlock(&producer->lock);
	producer_end(producer, true, MQP_CANCELLED);
	producer_end_sent(producer, true, MQP_CANCELLED);
	producer_detach(producer);
}

static enum mqp_code member_close(struct member *member, uint64_t deadline_ns)
{
	return producer_close(producer_of(member), deadline_ns);
}

static void member_print(struct member *member, struct json *json)
{
	struct mqp_producer *producer = producer_of(member);

	pthread_mutex_lock(&producer->lock);
	json_open(json, NULL);
	json_text(json, "topic", producer->topic);
	json_text(json, "status", producer->open ? "OK" : mqp_code_name(producer->status));
	json_number(json, "taken", producer->taken);
	json_number(json, "waiting_messages", producer->acked.messages + producer->oneway.messages);
	json_number(json, "waiting_bytes", producer->acked.memory + producer->oneway.memory);
	json_number(json, "batches_in_flight", producer->acked.sent_count);
	json_close(json);
	pthread_mutex_unlock(&producer->lock);
}

static const struct member_ops producer_member_ops = {
	.kind = "producers",
	.link_ready = member_link_ready,
	.cut = member_cut,
	.close = member_close,
	.print = member_print,
};

void producer_io_init(struct mqp_producer *producer)
{
	producer->member.ops = &producer_member_ops;
	producer->member.work.run = producer_run;
	list_init(&producer->stream.node);
	pace_reset(&producer->pace);
	producer->stream.ops = &topic_ops;
	list_init(&producer->window_wait.node);
	producer->window_wait.resume = window_resume;
	producer->timer.fire = producer_timer;
}
