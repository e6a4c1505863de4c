// Channels of a link: their numbers, opening and closing, and what is sent on them.
//
//	CLOSED → WAITING → OPENING → OPEN → CLOSING → CLOSED
//
// A channel waits without a number while there is no connection. With one it has a slot, until the
// answer to channel.close comes, the broker closes it, or the connection ends. closed() is the last
// that is done with a channel; its owner may open it again from there, or free it. Where an owner's
// own call ends a channel that has no number, closed() comes at the end of the loop's round.
//
// What it does not do: read what the broker sends (dispatch.c).

#include "adapters/rabbitmq/link/channel.h"

#include "adapters/rabbitmq/link/link_state.h"
#include "adapters/rabbitmq/link/round.h"

#include <errno.h>

void rabbitmq_channel_end(struct rabbitmq_channel *channel, enum code code, uint16_t reply,
			  const char *text)
{
	struct rabbitmq_link *link = channel->link;

	assert(channel->state != RABBITMQ_CHANNEL_CLOSED);
	if (channel->number) {
		assert(link->slots[channel->number]->channel == channel);
		free(link->slots[channel->number]);
		link->slots[channel->number] = NULL;
	}
	list_unlink(&channel->in_link);
	--link->channel_count;
	channel->number = 0;
	channel->state = RABBITMQ_CHANNEL_CLOSED;
	channel->handlers->closed(channel, code, reply, text);
}

void rabbitmq_channel_end_own(struct rabbitmq_channel *channel)
{
	if (channel->link->slots[channel->number]->too_large)
		rabbitmq_channel_end(channel, CODE_TOO_LARGE, 0,
				     "what was to be sent does not fit into AMQP");
	else
		rabbitmq_channel_end(channel, CODE_OK, 0, "closed here");
}

// closed() is told at the end of the round.
static void end_later(struct rabbitmq_channel *channel, enum rabbitmq_channel_state state)
{
	assert(channel->number == 0);
	list_unlink(&channel->in_link);
	list_push_back(&channel->link->ending, &channel->in_link);
	channel->state = (uint8_t)state;
	rabbitmq_round_ask(channel->link);
}

void rabbitmq_channels_tell(struct rabbitmq_link *link)
{
	struct list *item, these = LIST_INIT(these);

	// Those that are ended by what closed() does are told at the end of the next round.
	while ((item = list_pop_front(&link->ending)))
		list_push_back(&these, item);
	while (!list_empty(&these)) {
		struct rabbitmq_channel *channel =
			LIST_ENTRY(these.next, struct rabbitmq_channel, in_link);

		if (channel->state == RABBITMQ_CHANNEL_REFUSED)
			rabbitmq_channel_end(channel, CODE_OVERLOADED, 0,
					     "there are too many channels on the connection");
		else
			rabbitmq_channel_end(channel, CODE_OK, 0, "closed here");
	}
}

// A number that is not in use; 0: there is none.
static uint16_t number_find(struct rabbitmq_link *link)
{
	uint32_t most = MIN(link->connection.channel_max, RABBITMQ_CHANNELS_MAX);

	for (uint32_t i = 0; i < most; ++i) {
		uint16_t number = (uint16_t)((link->last_number + i) % most + 1);

		if (!link->slots[number])
			return number;
	}
	return 0;
}

static void channel_begin(struct rabbitmq_channel *channel)
{
	struct rabbitmq_link *link = channel->link;
	uint16_t number = number_find(link);
	amqp_channel_open_t open = {amqp_empty_bytes};
	struct rabbitmq_slot *slot = number ? calloc(1, sizeof *slot) : NULL;

	if (!slot) {
		end_later(channel, RABBITMQ_CHANNEL_REFUSED);
		return;
	}
	slot->channel = channel;
	link->slots[number] = slot;
	link->ended[number] = false;
	link->last_number = number;
	channel->number = number;
	channel->state = RABBITMQ_CHANNEL_OPENING;
	list_unlink(&channel->in_link);
	list_push_back(&link->active, &channel->in_link);
	rabbitmq_connection_method(&link->connection, number, AMQP_CHANNEL_OPEN_METHOD, &open);
	rabbitmq_round_ask(link);
}

void rabbitmq_channels_begin(struct rabbitmq_link *link)
{
	memset(link->ended, false, sizeof link->ended);
	while (!list_empty(&link->waiting))
		channel_begin(LIST_ENTRY(link->waiting.next, struct rabbitmq_channel, in_link));
}

void rabbitmq_channels_end(struct rabbitmq_link *link, bool all, enum code code, uint16_t reply,
			   const char *text)
{
	struct list *lists[] = {&link->active, &link->waiting};

	for (size_t i = 0; i < (all ? 2 : 1); ++i)
		while (!list_empty(lists[i])) {
			struct rabbitmq_channel *channel =
				LIST_ENTRY(lists[i]->next, struct rabbitmq_channel, in_link);

			if (channel->state == RABBITMQ_CHANNEL_CLOSING)
				rabbitmq_channel_end_own(channel);
			else
				rabbitmq_channel_end(channel, code, reply, text);
		}
}

void rabbitmq_channel_open(struct rabbitmq_link *link, struct rabbitmq_channel *channel,
			   const struct rabbitmq_channel_handlers *handlers)
{
	assert(channel->state == RABBITMQ_CHANNEL_CLOSED);
	channel->link = link;
	channel->handlers = handlers;
	channel->left = 0;
	channel->state = RABBITMQ_CHANNEL_WAITING;
	list_push_back(&link->waiting, &channel->in_link);
	if (++link->channel_count > RABBITMQ_CHANNELS_MAX)
		end_later(channel, RABBITMQ_CHANNEL_REFUSED);
	else if (__atomic_load_n(&link->stopping, __ATOMIC_ACQUIRE))
		end_later(channel, RABBITMQ_CHANNEL_DROPPED);
	else if (link->is_up)
		channel_begin(channel);
}

void rabbitmq_channel_close(struct rabbitmq_channel *channel)
{
	amqp_channel_close_t close = {.reply_code = AMQP_REPLY_SUCCESS};

	if (channel->state == RABBITMQ_CHANNEL_WAITING) {
		end_later(channel, RABBITMQ_CHANNEL_DROPPED);
		return;
	}
	if (channel->state != RABBITMQ_CHANNEL_OPENING && channel->state != RABBITMQ_CHANNEL_OPEN)
		return;
	channel->state = RABBITMQ_CHANNEL_CLOSING;
	rabbitmq_connection_method(&channel->link->connection, channel->number,
				   AMQP_CHANNEL_CLOSE_METHOD, &close);
	rabbitmq_round_ask(channel->link);
}

static bool sent(struct rabbitmq_channel *channel, int r)
{
	if (r == -EMSGSIZE) {
		channel->link->slots[channel->number]->too_large = true;
		rabbitmq_channel_close(channel);
	}
	rabbitmq_round_ask(channel->link);
	return r == 0;
}

bool rabbitmq_channel_send(struct rabbitmq_channel *channel, amqp_method_number_t id, void *decoded)
{
	return channel->state == RABBITMQ_CHANNEL_OPEN &&
	       sent(channel, rabbitmq_connection_method(&channel->link->connection, channel->number,
							id, decoded));
}

bool rabbitmq_channel_publish(struct rabbitmq_channel *channel, amqp_bytes_t exchange,
			      amqp_bytes_t routing_key, bool mandatory,
			      const amqp_basic_properties_t *properties, amqp_bytes_t body)
{
	amqp_basic_publish_t publish = {
		.exchange = exchange, .routing_key = routing_key, .mandatory = mandatory};

	return channel->state == RABBITMQ_CHANNEL_OPEN &&
	       sent(channel,
		    rabbitmq_connection_message(&channel->link->connection, channel->number,
						&publish, properties, body));
}
