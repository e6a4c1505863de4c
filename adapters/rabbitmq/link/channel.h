// A channel of a link: opened as soon as there is a connection, and told when it has ended.
//
// Everything @thread the link's loop. No handler is called before the call that causes it has
// returned.
#pragma once

#include "adapters/rabbitmq/link/library.h"
#include "core/base/code.h"
#include "core/base/list.h"

struct rabbitmq_link;
struct rabbitmq_channel;

// A message that begins to arrive: delivered to a consumer, got, or returned because it had no
// route. Borrowed until the handler returns.
struct rabbitmq_head {
	uint64_t tag; // of a delivery, and of what was got
	bool redelivered;
	bool got; // the answer to basic.get; an empty queue answers with a method
	bool returned;
	uint16_t code; // of a return: 312 NO_ROUTE, …
	amqp_bytes_t consumer, exchange, routing_key;
	const amqp_basic_properties_t *properties;
	uint64_t body_size;
};

struct rabbitmq_channel_handlers {
	// The broker has opened it.
	void (*opened)(struct rabbitmq_channel *channel);
	// Once after rabbitmq_channel_open(), the last call: the broker closed it, the connection
	// ended, or it was closed here (CODE_OK). `reply`: the broker's own number (404, 406, …), 0
	// when it gave none. It may be opened again, also from here.
	void (*closed)(struct rabbitmq_channel *channel, enum code code, uint16_t reply,
		       const char *text);
	// Every method of the channel that is no message and is not about opening and closing: the
	// answers to what was sent, basic.ack and nack of confirms, basic.cancel. Borrowed.
	void (*method)(struct rabbitmq_channel *channel, const amqp_method_t *method);
	// A message: its head, then its body in pieces, until they add up to body_size (none when
	// that is 0). NULL where no message comes.
	void (*head)(struct rabbitmq_channel *channel, const struct rabbitmq_head *head);
	void (*body)(struct rabbitmq_channel *channel, const uint8_t *data, size_t size);
};

// Embedded in its owner, which names it until closed(). Zero it before its first use.
struct rabbitmq_channel {
	struct rabbitmq_link *link;
	const struct rabbitmq_channel_handlers *handlers;
	struct list in_link; // channel.c's, as all below is
	uint16_t number;     // 0: not yet
	uint8_t state;
	uint64_t left; // of the body that is arriving
};

// Opens the channel as soon as the connection is there: opened(), or closed() when the link stops
// first. At most 2,000 of a link: OVERLOADED is told to closed().
void rabbitmq_channel_open(struct rabbitmq_link *link, struct rabbitmq_channel *channel,
			   const struct rabbitmq_channel_handlers *handlers);
// In order; closed() comes. Of one that is closed already: nothing.
void rabbitmq_channel_close(struct rabbitmq_channel *channel);
// Both may wait for the socket. False: the connection has failed, and closed() is on its way; also
// when the channel is not open. What does not fit into AMQP (a name of more than 255 bytes, headers
// of more than a frame) closes the channel: closed(TOO_LARGE).
bool rabbitmq_channel_send(struct rabbitmq_channel *channel, amqp_method_number_t id,
			   void *decoded);
bool rabbitmq_channel_publish(struct rabbitmq_channel *channel, amqp_bytes_t exchange,
			      amqp_bytes_t routing_key, bool mandatory,
			      const amqp_basic_properties_t *properties, amqp_bytes_t body);

// The rest is for the other files of this folder.
// The connection is there: those that wait are opened on it.
void rabbitmq_channels_begin(struct rabbitmq_link *link);
// The connection has ended: those that had a number are told; with `all` those that wait, too.
void rabbitmq_channels_end(struct rabbitmq_link *link, bool all, enum code code, uint16_t reply,
			   const char *text);
// Tells those that are to be told without a connection.
void rabbitmq_channels_tell(struct rabbitmq_link *link);
// One has ended, by the broker's answer or order.
void rabbitmq_channel_end(struct rabbitmq_channel *channel, enum code code, uint16_t reply,
			  const char *text);
// The same, of one that was closed here.
void rabbitmq_channel_end_own(struct rabbitmq_channel *channel);
