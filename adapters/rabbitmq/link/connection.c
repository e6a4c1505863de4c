// One connection to a broker.
//
// Output gathers in a buffer and leaves at the end of the loop's round, or earlier when it is
// large, so that many small messages share a system call. A broker that does not read makes it
// grow: what is sent is bounded by its senders, and a link that went to sleep over it would not
// hear the broker say why. Only when OUTPUT_MOST bytes wait, the caller waits for the socket.
// `stuck_ns` says since when nothing has moved, and the link's watch ends the connection by it.
//
// Input is read into a buffer that holds two frames of the largest size. Frames are handed out
// where they lie.
//
// What failed is kept once, with words; after that, reading and writing do nothing.

#include "adapters/rabbitmq/link/connection.h"

#include "core/base/clock.h"

#include <errno.h>
#include <poll.h>

#define INPUT_ROOM  (2 * (size_t)RABBITMQ_CONNECTION_FRAME)
#define OUTPUT_SEND 65536u      // bytes that are written at once, not at the end of the round
#define OUTPUT_MOST (64u << 20) // bytes that wait for the socket before the caller waits, too
#define OUTPUT_KEEP (1u << 20)  // room that is kept when nothing waits
#define POOL_PAGE   16384u

int rabbitmq_connection_init(struct rabbitmq_connection *connection)
{
	*connection = (struct rabbitmq_connection){.out_room = 2 * OUTPUT_SEND};
	rabbitmq_socket_init(&connection->socket);
	init_amqp_pool(&connection->pool, POOL_PAGE);
	connection->in = malloc(INPUT_ROOM);
	connection->out = malloc(connection->out_room);
	rabbitmq_connection_reset(connection);
	return connection->in && connection->out ? 0 : -ENOMEM;
}

void rabbitmq_connection_deinit(struct rabbitmq_connection *connection)
{
	rabbitmq_connection_reset(connection);
	rabbitmq_socket_deinit(&connection->socket);
	free(connection->in);
	free(connection->out);
}

void rabbitmq_connection_reset(struct rabbitmq_connection *connection)
{
	rabbitmq_socket_close(&connection->socket);
	empty_amqp_pool(&connection->pool);
	connection->in_begin = connection->in_end = 0;
	connection->out_begin = connection->out_end = 0;
	connection->frame_max = RABBITMQ_CONNECTION_FRAME;
	connection->channel_max = connection->heartbeat_s = 0;
	connection->failed = false;
	__atomic_store_n(&connection->stuck_ns, 0, __ATOMIC_RELAXED);
}

static bool fail_system(struct rabbitmq_connection *connection, int error)
{
	if (connection->failed)
		return false;
	connection->failed = true;
	if (error == EPROTO)
		connection->error = connection->socket.why;
	else
		rabbitmq_error_system(&connection->error, error);
	return false;
}

bool rabbitmq_connection_fail(struct rabbitmq_connection *connection, enum code code,
			      const char *text)
{
	if (!connection->failed)
		rabbitmq_error_set(&connection->error, code, "%s", text);
	connection->failed = true;
	return false;
}

ssize_t rabbitmq_connection_read(struct rabbitmq_connection *connection)
{
	ssize_t r;

	if (connection->failed)
		return -1;
	if (connection->in_begin > 0) {
		connection->in_end -= connection->in_begin;
		memmove(connection->in, connection->in + connection->in_begin, connection->in_end);
		connection->in_begin = 0;
	}
	r = rabbitmq_socket_read(&connection->socket, connection->in + connection->in_end,
				 INPUT_ROOM - connection->in_end);
	if (r < 0) {
		fail_system(connection, (int)-r);
		return -1;
	}
	if (r > 0)
		connection->read_ns = clock_now_ns();
	connection->in_end += (size_t)r;
	return r;
}

bool rabbitmq_connection_next(struct rabbitmq_connection *connection, struct rabbitmq_frame *ret)
{
	const char *why = NULL;
	int used;

	if (connection->failed)
		return false;
	recycle_amqp_pool(&connection->pool);
	used = rabbitmq_frame_next(connection->in + connection->in_begin,
				   connection->in_end - connection->in_begin, connection->frame_max,
				   ret, &why);
	if (used < 0)
		return rabbitmq_connection_fail(connection, CODE_PROTOCOL, why);
	connection->in_begin += (size_t)used;
	return used > 0;
}

bool rabbitmq_connection_has_output(const struct rabbitmq_connection *connection)
{
	return connection->out_begin < connection->out_end;
}

static void out_clear(struct rabbitmq_connection *connection)
{
	uint8_t *smaller;

	connection->out_begin = connection->out_end = 0;
	if (connection->out_room <= OUTPUT_KEEP)
		return;
	smaller = realloc(connection->out, OUTPUT_KEEP);
	if (!smaller)
		return;
	connection->out = smaller;
	connection->out_room = OUTPUT_KEEP;
}

// Writes once. Bytes; 0: the socket takes none now; -1: it has failed.
static ssize_t write_once(struct rabbitmq_connection *connection)
{
	uint64_t now_ns = clock_now_ns();
	ssize_t r =
		rabbitmq_socket_write(&connection->socket, connection->out + connection->out_begin,
				      connection->out_end - connection->out_begin);

	if (r < 0) {
		fail_system(connection, (int)-r);
		return -1;
	}
	if (r > 0) {
		connection->written_ns = now_ns;
		connection->out_begin += (size_t)r;
	}
	if (!rabbitmq_connection_has_output(connection))
		out_clear(connection);
	if (connection->out_end == 0)
		now_ns = 0;
	else if (r == 0 && __atomic_load_n(&connection->stuck_ns, __ATOMIC_RELAXED))
		return 0; // as long as before
	__atomic_store_n(&connection->stuck_ns, now_ns, __ATOMIC_RELAXED);
	return r;
}

bool rabbitmq_connection_flush(struct rabbitmq_connection *connection)
{
	while (!connection->failed && rabbitmq_connection_has_output(connection))
		if (write_once(connection) <= 0)
			break;
	return !connection->failed;
}

static bool flush_until(struct rabbitmq_connection *connection, size_t most, uint64_t deadline_ns)
{
	while (rabbitmq_connection_flush(connection) &&
	       connection->out_end - connection->out_begin > most) {
		int r = rabbitmq_socket_wait(&connection->socket,
					     POLLOUT | connection->socket.wanted, deadline_ns);

		if (r < 0)
			return fail_system(connection, -r);
	}
	return !connection->failed;
}

bool rabbitmq_connection_flush_all(struct rabbitmq_connection *connection, uint64_t deadline_ns)
{
	return flush_until(connection, 0, deadline_ns);
}

// Room for `size` more bytes at the end.
static bool out_reserve(struct rabbitmq_connection *connection, size_t size)
{
	size_t used = connection->out_end - connection->out_begin, room = connection->out_room;
	uint8_t *out;

	if (connection->failed)
		return false;
	if (room - connection->out_end >= size)
		return true;
	// What waits is moved only when that wins as much again.
	if (connection->out_begin >= used) {
		memmove(connection->out, connection->out + connection->out_begin, used);
		connection->out_begin = 0;
		connection->out_end = used;
	}
	while (room - connection->out_end < size)
		room *= 2;
	if (room == connection->out_room)
		return true;
	out = realloc(connection->out, room);
	if (!out)
		return fail_system(connection, ENOMEM);
	connection->out = out;
	connection->out_room = room;
	return true;
}

// Counts what was put at the end, and writes when it is much.
static int out_add(struct rabbitmq_connection *connection, size_t size)
{
	bool is_well = true;

	connection->out_end += size;
	if (connection->out_end - connection->out_begin > OUTPUT_MOST)
		is_well = flush_until(connection, OUTPUT_MOST / 2, UINT64_MAX);
	else if (connection->out_end - connection->out_begin >= OUTPUT_SEND)
		is_well = rabbitmq_connection_flush(connection);
	return is_well ? 0 : -EPIPE;
}

int rabbitmq_connection_method(struct rabbitmq_connection *connection, uint16_t channel,
			       amqp_method_number_t id, void *decoded)
{
	size_t size;

	if (!out_reserve(connection, connection->frame_max))
		return -EPIPE;
	size = rabbitmq_frame_put_method(connection->out + connection->out_end,
					 connection->frame_max, channel, id, decoded);
	return size ? out_add(connection, size) : -EMSGSIZE;
}

static int body_add(struct rabbitmq_connection *connection, uint16_t channel, const uint8_t *data,
		    size_t size)
{
	size_t frame_size = size + RABBITMQ_FRAME_EXTRA;

	if (!out_reserve(connection, frame_size))
		return -EPIPE;
	rabbitmq_frame_put_body(connection->out + connection->out_end, frame_size, channel, data,
				size);
	return out_add(connection, frame_size);
}

// Method and content frame are put as one, so that neither is there without the other.
static int publish_add(struct rabbitmq_connection *connection, uint16_t channel,
		       amqp_basic_publish_t *publish, const amqp_basic_properties_t *properties,
		       size_t body_size)
{
	size_t most = connection->frame_max, method, content;
	uint8_t *at;

	if (!out_reserve(connection, 2 * most))
		return -EPIPE;
	at = connection->out + connection->out_end;
	method = rabbitmq_frame_put_method(at, most, channel, AMQP_BASIC_PUBLISH_METHOD, publish);
	content = rabbitmq_frame_put_content(at + method, most, channel, body_size, properties);
	return method && content ? out_add(connection, method + content) : -EMSGSIZE;
}

int rabbitmq_connection_message(struct rabbitmq_connection *connection, uint16_t channel,
				amqp_basic_publish_t *publish,
				const amqp_basic_properties_t *properties, amqp_bytes_t body)
{
	size_t most = connection->frame_max - RABBITMQ_FRAME_EXTRA, size;
	int r = publish_add(connection, channel, publish, properties, body.len);

	for (size_t at = 0; r == 0 && at < body.len; at += size) {
		size = MIN(body.len - at, most);
		r = body_add(connection, channel, (const uint8_t *)body.bytes + at, size);
	}
	return r;
}

int rabbitmq_connection_heartbeat(struct rabbitmq_connection *connection)
{
	if (!out_reserve(connection, RABBITMQ_FRAME_EXTRA))
		return -EPIPE;
	return out_add(connection,
		       rabbitmq_frame_put_heartbeat(connection->out + connection->out_end,
						    RABBITMQ_FRAME_EXTRA));
}
