// Frames of the broker, handed to their channels.
//
// A channel expects a method, or, inside of a message, its content frame and then its body. The
// names in the method of a message are kept in the channel's slot until the content frame comes,
// because frames of other channels may stand in between. Whatever does not fit (a frame of a
// channel that is not open, a body without a message, more of it than was announced, an answer to
// nothing) makes the connection fail: a broker that does this cannot be believed any more. A
// channel that is being closed here ignores all but the end of it. A broker that closes a channel
// may still send what it had begun to hand out on it (tried: 3.10.8 and 4.0.5, deliveries behind
// channel.close): until its number is used again, that is ignored.
//
// What it does not do: match answers with requests; a channel's owner does.

#include "adapters/rabbitmq/link/dispatch.h"

#include "adapters/rabbitmq/link/link_state.h"
#include "adapters/rabbitmq/link/round.h"
#include "core/base/visible.h"

#include <stdio.h>

static void refuse(struct rabbitmq_link *link, const char *why)
{
	rabbitmq_connection_fail(&link->connection, CODE_PROTOCOL, why);
}

static void connection_closed(struct rabbitmq_link *link, const amqp_connection_close_t *close)
{
	amqp_connection_close_ok_t ok = {0};
	struct rabbitmq_connection *connection = &link->connection;

	rabbitmq_connection_method(connection, 0, AMQP_CONNECTION_CLOSE_OK_METHOD, &ok);
	rabbitmq_connection_flush(connection);
	if (connection->failed)
		return;
	rabbitmq_error_reply(&connection->error, close->reply_code, close->reply_text.bytes,
			     close->reply_text.len);
	connection->failed = true;
}

static void blocked(struct rabbitmq_link *link, amqp_bytes_t reason)
{
	_cleanup_(freep) char *text = visible_text(reason.bytes, reason.len);

	__atomic_store_n(&link->is_blocked, true, __ATOMIC_RELAXED);
	if (link->config.blocked)
		link->config.blocked(link->config.ctx, text ? text : "");
}

static void unblocked(struct rabbitmq_link *link)
{
	if (!link->is_blocked)
		return;
	__atomic_store_n(&link->is_blocked, false, __ATOMIC_RELAXED);
	if (link->config.blocked)
		link->config.blocked(link->config.ctx, NULL);
}

static void dispatch_connection(struct rabbitmq_link *link, const struct rabbitmq_frame *frame)
{
	amqp_method_t method;
	const char *why;

	if (frame->type != AMQP_FRAME_METHOD) {
		refuse(link, "it sends a message that belongs to no channel");
		return;
	}
	if (!rabbitmq_frame_method(frame, &link->connection.pool, &method, &why)) {
		refuse(link, why);
		return;
	}
	switch (method.id) {
	case AMQP_CONNECTION_CLOSE_METHOD: connection_closed(link, method.decoded); break;
	case AMQP_CONNECTION_BLOCKED_METHOD:
		blocked(link, ((const amqp_connection_blocked_t *)method.decoded)->reason);
		break;
	case AMQP_CONNECTION_UNBLOCKED_METHOD: unblocked(link); break;
	default: refuse(link, "it sends a method of logging in, after that"); break;
	}
}

// Keeps a text of the method in the slot, behind those that are there.
static amqp_bytes_t text_keep(struct rabbitmq_slot *slot, size_t *used, amqp_bytes_t text)
{
	amqp_bytes_t kept = {text.len, slot->texts + *used};

	assert(text.len <= sizeof slot->texts - *used);
	memcpy(kept.bytes, text.bytes, text.len);
	*used += text.len;
	return kept;
}

static void delivery_begins(struct rabbitmq_slot *slot, const amqp_basic_deliver_t *deliver)
{
	size_t used = 0;

	slot->head = (struct rabbitmq_head){
		.tag = deliver->delivery_tag,
		.redelivered = deliver->redelivered,
		.consumer = text_keep(slot, &used, deliver->consumer_tag),
		.exchange = text_keep(slot, &used, deliver->exchange),
		.routing_key = text_keep(slot, &used, deliver->routing_key),
	};
	slot->expected = RABBITMQ_CONTENT;
}

static void answer_begins(struct rabbitmq_slot *slot, const amqp_basic_get_ok_t *got)
{
	size_t used = 0;

	slot->head = (struct rabbitmq_head){
		.tag = got->delivery_tag,
		.redelivered = got->redelivered,
		.got = true,
		.exchange = text_keep(slot, &used, got->exchange),
		.routing_key = text_keep(slot, &used, got->routing_key),
	};
	slot->expected = RABBITMQ_CONTENT;
}

static void return_begins(struct rabbitmq_slot *slot, const amqp_basic_return_t *returned)
{
	size_t used = 0;

	slot->head = (struct rabbitmq_head){
		.returned = true,
		.code = returned->reply_code,
		.exchange = text_keep(slot, &used, returned->exchange),
		.routing_key = text_keep(slot, &used, returned->routing_key),
	};
	slot->expected = RABBITMQ_CONTENT;
}

static void channel_closed(struct rabbitmq_channel *channel, const amqp_channel_close_t *close)
{
	struct rabbitmq_link *link = channel->link;
	amqp_channel_close_ok_t ok = {0};
	struct rabbitmq_error error;
	char text[RABBITMQ_ERROR_TEXT + 80];

	rabbitmq_connection_method(&link->connection, channel->number, AMQP_CHANNEL_CLOSE_OK_METHOD,
				   &ok);
	rabbitmq_round_ask(link);
	if (channel->state == RABBITMQ_CHANNEL_CLOSING)
		return; // both at once: ours is answered, too
	link->ended[channel->number] = true;
	rabbitmq_error_reply(&error, close->reply_code, close->reply_text.bytes,
			     close->reply_text.len);
	snprintf(text, sizeof text, "cluster %s: %s", link->cluster, error.text);
	rabbitmq_channel_end(channel, error.code, error.reply, text);
}

static void flow_answer(struct rabbitmq_channel *channel, const amqp_channel_flow_t *flow)
{
	amqp_channel_flow_ok_t ok = {flow->active};

	rabbitmq_connection_method(&channel->link->connection, channel->number,
				   AMQP_CHANNEL_FLOW_OK_METHOD, &ok);
	rabbitmq_round_ask(channel->link);
}

static void message_begins(struct rabbitmq_channel *channel, const amqp_method_t *method)
{
	struct rabbitmq_link *link = channel->link;
	struct rabbitmq_slot *slot = link->slots[channel->number];

	if (!channel->handlers->head)
		refuse(link, "it sends a message to a channel that asked for none");
	else if (method->id == AMQP_BASIC_DELIVER_METHOD)
		delivery_begins(slot, method->decoded);
	else if (method->id == AMQP_BASIC_GET_OK_METHOD)
		answer_begins(slot, method->decoded);
	else
		return_begins(slot, method->decoded);
}

// A method of a channel that is open.
static void method_open(struct rabbitmq_channel *channel, const amqp_method_t *method)
{
	struct rabbitmq_link *link = channel->link;

	switch (method->id) {
	case AMQP_BASIC_DELIVER_METHOD:
	case AMQP_BASIC_GET_OK_METHOD:
	case AMQP_BASIC_RETURN_METHOD: message_begins(channel, method); break;
	case AMQP_CHANNEL_FLOW_METHOD: flow_answer(channel, method->decoded); break;
	case AMQP_CHANNEL_OPEN_OK_METHOD:
	case AMQP_CHANNEL_CLOSE_OK_METHOD:
		refuse(link, "it opens or closes a channel that was not to be");
		break;
	default:
		if (channel->handlers->method)
			channel->handlers->method(channel, method);
		break;
	}
}

static void dispatch_method(struct rabbitmq_channel *channel, const struct rabbitmq_frame *frame)
{
	struct rabbitmq_link *link = channel->link;
	amqp_method_t method;
	const char *why;

	if (!rabbitmq_frame_method(frame, &link->connection.pool, &method, &why)) {
		refuse(link, why);
	} else if (method.id >> 16 == AMQP_CONNECTION_CLASS) {
		refuse(link, "it sends a method of the connection on a channel");
	} else if (method.id == AMQP_CHANNEL_CLOSE_METHOD) {
		channel_closed(channel, method.decoded);
	} else if (channel->state == RABBITMQ_CHANNEL_CLOSING) {
		if (method.id == AMQP_CHANNEL_CLOSE_OK_METHOD)
			rabbitmq_channel_end_own(channel);
	} else if (channel->state == RABBITMQ_CHANNEL_OPEN) {
		if (link->slots[channel->number]->expected != RABBITMQ_METHOD)
			refuse(link, "it sends a method in the middle of a message");
		else
			method_open(channel, &method);
	} else if (method.id == AMQP_CHANNEL_OPEN_OK_METHOD) {
		channel->state = RABBITMQ_CHANNEL_OPEN;
		channel->handlers->opened(channel);
	} else {
		refuse(link, "it sends a method on a channel that it has not opened");
	}
}

static void dispatch_content(struct rabbitmq_channel *channel, const struct rabbitmq_frame *frame)
{
	struct rabbitmq_link *link = channel->link;
	struct rabbitmq_slot *slot = link->slots[channel->number];
	amqp_basic_properties_t *properties;
	const char *why;

	if (slot->expected != RABBITMQ_CONTENT) {
		refuse(link, "it sends properties without a message");
		return;
	}
	if (!rabbitmq_frame_content(frame, &link->connection.pool, &slot->head.body_size,
				    &properties, &why)) {
		refuse(link, why);
		return;
	}
	channel->left = slot->head.body_size;
	slot->expected = channel->left ? RABBITMQ_BODY : RABBITMQ_METHOD;
	slot->head.properties = properties;
	channel->handlers->head(channel, &slot->head);
}

static void dispatch_body(struct rabbitmq_channel *channel, const struct rabbitmq_frame *frame)
{
	struct rabbitmq_link *link = channel->link;
	struct rabbitmq_slot *slot = link->slots[channel->number];

	if (slot->expected != RABBITMQ_BODY || frame->size > channel->left) {
		refuse(link, "it sends more of a body than it announced");
		return;
	}
	channel->left -= frame->size;
	if (channel->left == 0)
		slot->expected = RABBITMQ_METHOD;
	channel->handlers->body(channel, frame->payload, frame->size);
}

void rabbitmq_dispatch(struct rabbitmq_link *link, const struct rabbitmq_frame *frame)
{
	struct rabbitmq_slot *slot;

	if (frame->type == AMQP_FRAME_HEARTBEAT)
		return; // that it came is noted where it was read
	if (frame->channel == 0) {
		dispatch_connection(link, frame);
		return;
	}
	slot = frame->channel <= RABBITMQ_CHANNELS_MAX ? link->slots[frame->channel] : NULL;
	if (!slot && frame->channel <= RABBITMQ_CHANNELS_MAX && link->ended[frame->channel])
		return;
	if (!slot)
		refuse(link, "it sends on a channel that is not open");
	else if (frame->type == AMQP_FRAME_METHOD)
		dispatch_method(slot->channel, frame);
	else if (slot->channel->state == RABBITMQ_CHANNEL_CLOSING)
		return;
	else if (frame->type == AMQP_FRAME_HEADER)
		dispatch_content(slot->channel, frame);
	else
		dispatch_body(slot->channel, frame);
}
