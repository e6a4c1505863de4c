// One connection to a broker: the stream, what was read and is not handled yet, what is to be
// written, and what was agreed at login.
#pragma once

#include "adapters/rabbitmq/link/frame.h"
#include "adapters/rabbitmq/link/socket.h"

#define RABBITMQ_CONNECTION_FRAME 131072u // bytes of the largest frame that we agree to

struct rabbitmq_connection {
	struct rabbitmq_socket socket;
	amqp_pool_t pool; // of the frame that is being handled
	uint8_t *in;      // what is at [in_begin, in_end)
	size_t in_begin, in_end;
	uint8_t *out;
	size_t out_begin, out_end, out_room;
	uint32_t frame_max, channel_max, heartbeat_s; // agreed
	char version[32];                             // of the broker
	uint64_t read_ns, written_ns;                 // when bytes last went
	uint64_t stuck_ns; // atomic; since when what is to be written does not move; 0: it does
	struct rabbitmq_error error; // why it has failed
	bool failed;
};

int rabbitmq_connection_init(struct rabbitmq_connection *connection); // -ENOMEM
void rabbitmq_connection_deinit(struct rabbitmq_connection *connection);
void rabbitmq_connection_reset(struct rabbitmq_connection *connection); // closes; ready for another

// Notes that it has failed; the first reason counts. Returns false.
bool rabbitmq_connection_fail(struct rabbitmq_connection *connection, enum code code,
			      const char *text);

// Reads once. Bytes; 0: none now; -1: it has failed.
ssize_t rabbitmq_connection_read(struct rabbitmq_connection *connection);
// The next frame that is there as a whole; borrowed until the next call of these two. False: there
// is none, or it has failed.
bool rabbitmq_connection_next(struct rabbitmq_connection *connection, struct rabbitmq_frame *ret);

// Queue frames, which leave with rabbitmq_connection_flush() at the latest. They wait for the
// socket when too much is queued. 0; -EPIPE: it has failed; -EMSGSIZE: a part cannot be encoded or
// does not fit into a frame, and nothing was queued.
int rabbitmq_connection_method(struct rabbitmq_connection *connection, uint16_t channel,
			       amqp_method_number_t id, void *decoded);
int rabbitmq_connection_message(struct rabbitmq_connection *connection, uint16_t channel,
				amqp_basic_publish_t *publish,
				const amqp_basic_properties_t *properties, amqp_bytes_t body);
int rabbitmq_connection_heartbeat(struct rabbitmq_connection *connection);
// Writes what the socket takes now.
bool rabbitmq_connection_flush(struct rabbitmq_connection *connection);
// Writes all; waits.
bool rabbitmq_connection_flush_all(struct rabbitmq_connection *connection, uint64_t deadline_ns);
bool rabbitmq_connection_has_output(const struct rabbitmq_connection *connection);
