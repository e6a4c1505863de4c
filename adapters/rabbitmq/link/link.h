// One connection to a cluster: a loop on a thread of its own, the connection while there is one,
// and its channels. It connects again by itself.
//
// Everything @thread the link's loop unless marked. No handler is called before the call that
// causes it has returned.
#pragma once

#include "adapters/rabbitmq/link/library.h"
#include "adapters/rabbitmq/link/options.h"
#include "core/base/code.h"
#include "core/base/list.h"
#include "core/base/log.h"
#include "core/loop/loop.h"

struct rabbitmq_link;
struct rabbitmq_channel;

// A message that begins to arrive: delivered, or returned because it had no route. Borrowed until
// the handler returns.
struct rabbitmq_head {
	uint64_t tag; // of a delivery
	bool redelivered;
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
	struct list in_link; // link.c's, as all below is
	uint16_t number;     // 0: not yet
	uint8_t state;
	uint64_t left; // of the body that is arriving
};

struct rabbitmq_link_config {
	const char *name; // of its thread: "rabbitmq-send"
	const struct rabbitmq_options *options;
	const char *cluster; // its name, for texts
	struct log_ctx *log;
	// The connection is there (code OK), or is not (why, in words that name the address). Each
	// attempt that fails tells it once. May be NULL. @thread the link's loop
	void (*changed)(void *ctx, enum code code, const char *text);
	// The broker has blocked the connection (reason), or does no more (NULL). May be NULL.
	void (*blocked)(void *ctx, const char *reason);
	void *ctx;
};

// Starts connecting; waits for nothing. -errno. @thread any
int rabbitmq_link_start(const struct rabbitmq_link_config *config, struct rabbitmq_link **ret);
// Ends it: channels are told closed(), then nothing is called any more and its loop has run all
// that was posted to it. Blocks, at most as long as connecting may. Accepts NULL. @thread any but
// the link's
void rabbitmq_link_stop(struct rabbitmq_link *link);
struct loop *rabbitmq_link_loop(struct rabbitmq_link *link); // @thread any
// Shuts the socket down when the link has been inside one send for `limit_ns`; called now and then.
// @thread any
void rabbitmq_link_watch(struct rabbitmq_link *link, uint64_t now_ns, uint64_t limit_ns);

bool rabbitmq_link_is_up(const struct rabbitmq_link *link);
bool rabbitmq_link_is_blocked(const struct rabbitmq_link *link);
// "3.10.8", from the broker's properties; "" before the first login. @thread any
void rabbitmq_link_version(struct rabbitmq_link *link, char *room, size_t size);
// Largest body of a message that the broker takes: its frame size is no limit. When the connection
// was tuned. 0: not known.
uint32_t rabbitmq_link_frame_bytes(const struct rabbitmq_link *link);

// Opens the channel as soon as the connection is there: opened(), or closed() when the link stops
// first. At most 2,000 of a link: OVERLOADED is told to closed().
void rabbitmq_channel_open(struct rabbitmq_link *link, struct rabbitmq_channel *channel,
			   const struct rabbitmq_channel_handlers *handlers);
// In order; closed() comes. Of one that is closed already: nothing.
void rabbitmq_channel_close(struct rabbitmq_channel *channel);
// Both may wait for the socket. False: the connection has failed, and closed() is on its way; also
// when the channel is not open.
bool rabbitmq_channel_send(struct rabbitmq_channel *channel, amqp_method_number_t id,
			   void *decoded);
bool rabbitmq_channel_publish(struct rabbitmq_channel *channel, amqp_bytes_t exchange,
			      amqp_bytes_t routing_key, bool mandatory,
			      const amqp_basic_properties_t *properties, amqp_bytes_t body);
