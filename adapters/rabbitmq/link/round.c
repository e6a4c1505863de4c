// Reading and writing of a link.
//
// When the descriptor is readable, at most READS buffers are read and handed out; the loop then
// gives its timers and tasks their turn before the next. What all of them queued is written once,
// at the end of the round. There also a connection that has failed is taken down, never inside of
// a call of a channel's owner.
//
// Invariant: input that is complete is never left in the buffer without another round being due,
// because the descriptor would not say so.

#include "adapters/rabbitmq/link/round.h"

#include "adapters/rabbitmq/link/dispatch.h"
#include "adapters/rabbitmq/link/link_state.h"
#include "adapters/rabbitmq/link/redial.h"

#include <poll.h>

#define READS 4 // of at most a buffer each, in one round

void rabbitmq_round_ask(struct rabbitmq_link *link)
{
	if (link->round_is_due)
		return;
	link->round_is_due = true;
	loop_defer(link->loop, &link->round);
}

void rabbitmq_round_read(struct rabbitmq_link *link)
{
	struct rabbitmq_connection *connection = &link->connection;
	struct rabbitmq_frame frame;
	ssize_t r = 0;

	for (unsigned i = 0; i < READS; ++i) {
		while (rabbitmq_connection_next(connection, &frame))
			rabbitmq_dispatch(link, &frame);
		r = rabbitmq_connection_read(connection);
		if (r <= 0)
			break;
	}
	link->input_is_left = r > 0;
	rabbitmq_round_ask(link);
}

static unsigned events_wanted(const struct rabbitmq_connection *connection)
{
	unsigned wanted = LOOP_READ;

	if (rabbitmq_connection_has_output(connection) || connection->socket.wanted & POLLOUT)
		wanted |= LOOP_WRITE;
	return wanted;
}

static void round_end(struct loop_task *task)
{
	struct rabbitmq_link *link = CONTAINER_OF(task, struct rabbitmq_link, round);

	link->round_is_due = false;
	rabbitmq_channels_tell(link);
	if (!link->is_up)
		return;
	if (link->input_is_left)
		rabbitmq_round_read(link);
	rabbitmq_connection_flush(&link->connection);
	if (link->connection.failed)
		rabbitmq_redial_lost(link);
	else
		loop_io_want(&link->io, events_wanted(&link->connection));
}

static void on_io(struct loop_io *io, unsigned events)
{
	rabbitmq_round_read(CONTAINER_OF(io, struct rabbitmq_link, io));
}

int rabbitmq_round_begin(struct rabbitmq_link *link)
{
	int r = loop_io_init(&link->io, link->loop, link->connection.socket.fd, on_io);

	link->input_is_left = true; // what came behind the login
	rabbitmq_round_ask(link);
	return r;
}

void rabbitmq_round_end(struct rabbitmq_link *link)
{
	loop_io_deinit(&link->io);
	link->input_is_left = false;
}

void rabbitmq_round_init(struct rabbitmq_link *link)
{
	link->round.fn = round_end;
}
