// Publishes batches and posts on a channel, and turns what the broker says into outcomes.
//
//	CLOSED → OPENING (channel, confirm mode) → READY → CLOSED
//	                                           READY → CLOSING (by us) → CLOSED
//
// A record that is published has a tag and ends by its confirm, or with the channel; one that is
// not published stays in the queue for the next channel, until timeout_ms are over. The broker
// carries out what is published in order, so when it closes the channel over an exchange that is
// missing, the last message to that exchange was certainly not stored, while those before it may
// have been.
//
// A batch of which a record has failed, and may be sent again, is not published any further: what
// its sender sends again would come behind it.
//
// A nack does not say how many of the queues of an exchange have stored the message: UNKNOWN.
//
// Invariants: a record is in the queue or in `confirms`, until it ends; nothing is published while
// the broker has the connection blocked. What it does not do: decide which lane a topic has
// (sender.c).

#include "adapters/rabbitmq/send/lane.h"

#include "adapters/rabbitmq/message/message_id.h"
#include "adapters/rabbitmq/send/answer.h"
#include "adapters/rabbitmq/send/health.h"
#include "adapters/rabbitmq/send/topic.h"
#include "core/base/clock.h"

#include <stdio.h>

#define HEAD_RESERVE 1024u // of a frame, for what a copy of the message adds to its headers
#define TOO_LARGE    "message size "
#define LARGEST      "max size "

static bool is_of_posts(const struct rabbitmq_lane *lane)
{
	return lane == &lane->sender->lanes[RABBITMQ_LANES];
}

// ---- verdicts

// What the broker confirms, refuses or does not answer.
static const struct {
	uint8_t outcome, code; // enum outcome, enum code
	bool alive;
} verdicts[] = {
	[RABBITMQ_CONFIRMED] = {OUTCOME_OK, CODE_OK, true},
	[RABBITMQ_REFUSED] = {OUTCOME_UNKNOWN, CODE_BACKEND_FULL, true},
	[RABBITMQ_RETURNED] = {OUTCOME_REJECTED, CODE_NO_ROUTE, true},
	[RABBITMQ_SILENT] = {OUTCOME_UNKNOWN, CODE_TIMEOUT, false},
	[RABBITMQ_LOST] = {OUTCOME_UNKNOWN, CODE_CONNECTION_LOST, false},
};

// Whether the broker closed the channel over this exchange.
static bool is_named(const struct rabbitmq_lane *lane, const struct adapter_topic *topic)
{
	char quoted[RABBITMQ_NAME_MAX + 3];

	snprintf(quoted, sizeof quoted, "'%s'", topic->topic->physical);
	return strstr(lane->text, quoted);
}

static bool is_over_exchange(const struct rabbitmq_lane *lane)
{
	return lane->reply == AMQP_NOT_FOUND || lane->reply == AMQP_ACCESS_REFUSED;
}

static enum code code_of_refusal(const struct rabbitmq_lane *lane)
{
	return lane->reply == AMQP_ACCESS_REFUSED ? CODE_FORBIDDEN : CODE_NOT_FOUND;
}

// A topic of a message that ends with the channel: is it the one that is missing?
static void topic_suspect(struct rabbitmq_lane *lane, struct adapter_topic *topic)
{
	if (lane->asked == topic || !is_over_exchange(lane))
		return;
	lane->asked = topic;
	if (is_named(lane, topic))
		rabbitmq_topic_refused(topic, code_of_refusal(lane));
	else
		rabbitmq_topic_look(topic);
}

static void record_lost(struct rabbitmq_lane *lane, struct rabbitmq_batch *batch, uint32_t index,
			uint32_t bytes)
{
	struct adapter_topic *topic = batch->submit->topic;
	uint64_t body_most = lane->sender->body_most;

	topic_suspect(lane, topic);
	if (is_over_exchange(lane) && topic->published == 0 && is_named(lane, topic))
		rabbitmq_answer_record(lane->sender, batch, index, OUTCOME_REJECTED,
				       code_of_refusal(lane), true);
	else if (lane->reply == AMQP_PRECONDITION_FAILED && body_most && bytes > body_most)
		rabbitmq_answer_record(lane->sender, batch, index, OUTCOME_REJECTED, CODE_TOO_LARGE,
				       true);
	else
		rabbitmq_answer_record(lane->sender, batch, index, OUTCOME_UNKNOWN,
				       CODE_CONNECTION_LOST, lane->reply != 0);
}

static void on_verdict(void *ctx, const struct rabbitmq_confirm *confirm,
		       enum rabbitmq_verdict verdict)
{
	enum outcome outcome = (enum outcome)verdicts[verdict].outcome;
	enum code code = (enum code)verdicts[verdict].code;
	struct rabbitmq_lane *lane = ctx;
	struct rabbitmq_batch *batch = confirm->owner;

	if (is_of_posts(lane)) {
		rabbitmq_answer_post(lane->sender, confirm->owner, outcome, code,
				     verdict == RABBITMQ_LOST ? lane->text : NULL,
				     verdicts[verdict].alive);
		return;
	}
	--batch->submit->topic->published;
	if (verdict == RABBITMQ_LOST)
		record_lost(lane, batch, confirm->index, confirm->bytes);
	else
		rabbitmq_answer_record(lane->sender, batch, confirm->index, outcome, code,
				       verdicts[verdict].alive);
}

// ---- publishing

static size_t head_most(const struct rabbitmq_lane *lane)
{
	size_t frame = rabbitmq_link_frame_bytes(lane->sender->adapter->send);

	return is_of_posts(lane) ? frame : frame - MIN(frame, HEAD_RESERVE);
}

static bool fits(const struct rabbitmq_lane *lane, const struct rabbitmq_message *message)
{
	uint64_t body_most = lane->sender->body_most;

	return message->head_bytes <= head_most(lane) &&
	       !(body_most && message->body.len > body_most);
}

// False: not now; the channel is about to end.
static bool message_publish(struct rabbitmq_lane *lane, const struct rabbitmq_message *message,
			    const char *exchange, struct rabbitmq_confirm *confirm)
{
	if (!rabbitmq_channel_publish(&lane->channel, amqp_cstring_bytes(exchange),
				      message->routing_key, true, &message->properties,
				      message->body))
		return false;
	confirm->at_ns = clock_now_ns();
	confirm->bytes = (uint32_t)message->body.len;
	rabbitmq_confirms_add(&lane->confirms, confirm);
	return true;
}

// Ends the record instead of publishing it. The batch may be gone behind it.
static bool record_refuse(struct rabbitmq_lane *lane, struct rabbitmq_batch *batch, enum code code)
{
	uint32_t index = batch->next++;

	if (batch->next == batch->submit->count)
		list_unlink(&batch->in_queue);
	rabbitmq_answer_record(lane->sender, batch, index, OUTCOME_REJECTED, code, false);
	return true;
}

// The next record of the batch. False: not now.
static bool record_publish(struct rabbitmq_lane *lane, struct rabbitmq_batch *batch)
{
	struct adapter_topic *topic = batch->submit->topic;
	const struct submit_record *record = &batch->submit->records[batch->next];
	struct rabbitmq_confirm confirm = {
		.owner = batch, .id = record_id(record->data), .index = batch->next};
	struct rabbitmq_message message;

	if (rabbitmq_topic_state(topic) == RABBITMQ_TOPIC_REFUSED)
		return record_refuse(lane, batch, rabbitmq_topic_refusal(topic));
	if (record->partition >= topic->topic->partitions)
		return record_refuse(lane, batch, CODE_NOT_READY); // it is about to grow
	if (batch->broken)
		return record_refuse(lane, batch, (enum code)batch->broken);
	if (rabbitmq_confirms_reserve(&lane->confirms) < 0 ||
	    rabbitmq_message_make(lane->sender->room, record->data, topic->topic->native,
				  topic->topic->partitions > 1 ? record->partition
							       : ENVELOPE_NOT_PLACED,
				  clock_wall_ms(), NULL, &message) < 0)
		return record_refuse(lane, batch, CODE_OVERLOADED);
	if (!fits(lane, &message))
		return record_refuse(lane, batch, CODE_TOO_LARGE);
	if (!message_publish(lane, &message, topic->topic->physical, &confirm))
		return false;
	++topic->published;
	if (++batch->next == batch->submit->count)
		list_unlink(&batch->in_queue);
	return true;
}

static bool post_publish(struct rabbitmq_lane *lane, struct rabbitmq_post *post)
{
	struct rabbitmq_copy copy = {.attempts = post->attempts,
				     .partition = post->partition,
				     .due_ms = post->due_ms,
				     .stored_ms = post->stored_ms,
				     .renewal = post->renewal};
	struct rabbitmq_confirm confirm = {.owner = post, .id = record_id(post->record)};
	struct rabbitmq_message message;
	enum code code = CODE_OK;

	if (rabbitmq_confirms_reserve(&lane->confirms) < 0 ||
	    rabbitmq_message_make(lane->sender->room, post->record, post->native,
				  ENVELOPE_NOT_PLACED, post->stored_ms, &copy, &message) < 0)
		code = CODE_OVERLOADED;
	else if (!fits(lane, &message))
		code = CODE_TOO_LARGE;
	if (code != CODE_OK) {
		list_unlink(&post->in_queue);
		rabbitmq_answer_post(lane->sender, post, OUTCOME_REJECTED, code, NULL, false);
		return true;
	}
	message.routing_key = amqp_cstring_bytes(post->queue);
	if (!message_publish(lane, &message, "", &confirm))
		return false;
	list_unlink(&post->in_queue);
	return true;
}

// False: nothing waits, or not now.
static bool publish_one(struct rabbitmq_lane *lane)
{
	if (!list_empty(&lane->batches))
		return record_publish(
			lane, LIST_ENTRY(lane->batches.next, struct rabbitmq_batch, in_queue));
	return !list_empty(&lane->posts) &&
	       post_publish(lane, LIST_ENTRY(lane->posts.next, struct rabbitmq_post, in_queue));
}

// A broker that leaves its oldest message without an answer would hold up all others for ever.
static void channel_renew(struct rabbitmq_lane *lane)
{
	lane->state = RABBITMQ_LANE_CLOSING;
	rabbitmq_channel_close(&lane->channel);
}

void rabbitmq_lane_pump(struct rabbitmq_lane *lane)
{
	bool stuck;

	if (lane->state != RABBITMQ_LANE_READY || lane->sender->ended ||
	    rabbitmq_link_is_blocked(lane->sender->adapter->send))
		return;
	while (rabbitmq_confirms_have_room(&lane->confirms, &stuck) && publish_one(lane))
		;
	if (stuck)
		channel_renew(lane);
}

// ---- the channel

static void on_opened(struct rabbitmq_channel *channel)
{
	amqp_confirm_select_t select = {0};

	rabbitmq_channel_send(channel, AMQP_CONFIRM_SELECT_METHOD, &select);
}

// "message size 17000000 is larger than configured max size 16777216"
static void body_most_learn(struct rabbitmq_lane *lane, const char *text)
{
	const char *largest = strstr(text, TOO_LARGE) ? strstr(text, LARGEST) : NULL;

	if (largest)
		lane->sender->body_most = strtoull(largest + sizeof LARGEST - 1, NULL, 10);
}

// Only the first in the queue may be published in part.
static void broken_end(struct rabbitmq_lane *lane)
{
	struct rabbitmq_batch *batch;

	if (list_empty(&lane->batches))
		return;
	batch = LIST_ENTRY(lane->batches.next, struct rabbitmq_batch, in_queue);
	if (batch->broken)
		rabbitmq_answer_rest(lane->sender, batch, (enum code)batch->broken);
}

static bool may_open_at_once(uint16_t reply)
{
	return reply == 0 || reply == AMQP_NOT_FOUND || reply == AMQP_ACCESS_REFUSED ||
	       reply == AMQP_PRECONDITION_FAILED;
}

static void on_closed(struct rabbitmq_channel *channel, enum code code, uint16_t reply,
		      const char *text)
{
	struct rabbitmq_lane *lane = CONTAINER_OF(channel, struct rabbitmq_lane, channel);

	lane->state = RABBITMQ_LANE_CLOSED;
	lane->reply = reply;
	lane->text = text ? text : code_sentence(code);
	lane->asked = NULL;
	if (reply == AMQP_PRECONDITION_FAILED)
		body_most_learn(lane, lane->text);
	rabbitmq_confirms_end(&lane->confirms);
	if (lane->sender->ended)
		return;
	broken_end(lane);
	if (reply)
		log_warn(lane->sender->adapter->log, "RABBITMQ-CHANNEL",
			 "the broker closed a channel of messages that are sent: %s", lane->text);
	lane->text = NULL;
	if (code == CODE_TOO_LARGE && !list_empty(&lane->batches))
		record_refuse(lane, LIST_ENTRY(lane->batches.next, struct rabbitmq_batch, in_queue),
			      CODE_TOO_LARGE);
	if (code != CODE_OVERLOADED && may_open_at_once(reply))
		rabbitmq_lane_open(lane);
}

static void on_method(struct rabbitmq_channel *channel, const amqp_method_t *method)
{
	struct rabbitmq_lane *lane = CONTAINER_OF(channel, struct rabbitmq_lane, channel);
	const amqp_basic_ack_t *ack = method->decoded;
	const amqp_basic_nack_t *nack = method->decoded;
	bool known = true;

	if (method->id == AMQP_CONFIRM_SELECT_OK_METHOD)
		lane->state = RABBITMQ_LANE_READY;
	else if (method->id == AMQP_BASIC_ACK_METHOD)
		known = rabbitmq_confirms_answer(&lane->confirms, ack->delivery_tag, ack->multiple,
						 true);
	else if (method->id == AMQP_BASIC_NACK_METHOD)
		known = rabbitmq_confirms_answer(&lane->confirms, nack->delivery_tag,
						 nack->multiple, false);
	if (!known)
		channel_renew(lane);
	else
		rabbitmq_lane_pump(lane);
}

static void on_head(struct rabbitmq_channel *channel, const struct rabbitmq_head *head)
{
	struct rabbitmq_lane *lane = CONTAINER_OF(channel, struct rabbitmq_lane, channel);
	uint8_t id[RECORD_ID_SIZE];
	bool enveloped;

	if (head->returned && (head->properties->_flags & AMQP_BASIC_MESSAGE_ID_FLAG) &&
	    rabbitmq_message_id_read(head->properties->message_id, &enveloped, id))
		rabbitmq_confirms_return(&lane->confirms, id);
}

// Of what was returned: it is still here.
static void on_body(struct rabbitmq_channel *channel, const uint8_t *data, size_t size)
{
}

void rabbitmq_lane_open(struct rabbitmq_lane *lane)
{
	static const struct rabbitmq_channel_handlers handlers = {.opened = on_opened,
								  .closed = on_closed,
								  .method = on_method,
								  .head = on_head,
								  .body = on_body};

	assert(lane->state == RABBITMQ_LANE_CLOSED);
	lane->state = RABBITMQ_LANE_OPENING;
	rabbitmq_channel_open(lane->sender->adapter->send, &lane->channel, &handlers);
}

// ---- time, beginning and end

static enum code code_of_waiting(const struct rabbitmq_lane *lane)
{
	return rabbitmq_link_is_blocked(lane->sender->adapter->send) ? CODE_THROTTLED
								     : CODE_BACKEND_DOWN;
}

// What waits and was queued before then is not published any more.
static void queues_expire(struct rabbitmq_lane *lane, uint64_t before_ns, enum code code)
{
	while (!list_empty(&lane->batches)) {
		struct rabbitmq_batch *batch =
			LIST_ENTRY(lane->batches.next, struct rabbitmq_batch, in_queue);

		if (batch->queued_ns >= before_ns)
			break;
		rabbitmq_answer_rest(lane->sender, batch, code);
	}
	while (!list_empty(&lane->posts)) {
		struct rabbitmq_post *post =
			LIST_ENTRY(lane->posts.next, struct rabbitmq_post, in_queue);

		if (post->posted_ns >= before_ns)
			break;
		list_unlink(&post->in_queue);
		rabbitmq_answer_post(lane->sender, post, OUTCOME_REJECTED, code, NULL, false);
	}
}

void rabbitmq_lane_tick(struct rabbitmq_lane *lane, uint64_t now_ns)
{
	uint64_t timeout_ns = lane->sender->adapter->options.timeout_ms * MS_NS;
	uint64_t before_ns = now_ns > timeout_ns ? now_ns - timeout_ns : 0;

	rabbitmq_confirms_expire(&lane->confirms, before_ns);
	queues_expire(lane, before_ns, code_of_waiting(lane));
	if (lane->state == RABBITMQ_LANE_CLOSED)
		rabbitmq_lane_open(lane);
	rabbitmq_lane_pump(lane);
}

void rabbitmq_lane_end(struct rabbitmq_lane *lane)
{
	lane->reply = 0;
	lane->text = "the cluster is being closed";
	rabbitmq_confirms_end(&lane->confirms);
	queues_expire(lane, UINT64_MAX, CODE_SHUTTING_DOWN);
	if (lane->state != RABBITMQ_LANE_CLOSED)
		channel_renew(lane);
}

void rabbitmq_lane_init(struct rabbitmq_lane *lane, struct rabbitmq_sender *sender)
{
	*lane = (struct rabbitmq_lane){.sender = sender};
	list_init(&lane->batches);
	list_init(&lane->posts);
	rabbitmq_confirms_init(&lane->confirms, on_verdict, lane);
}

void rabbitmq_lane_deinit(struct rabbitmq_lane *lane)
{
	assert(lane->state == RABBITMQ_LANE_CLOSED);
	rabbitmq_confirms_deinit(&lane->confirms);
}
