// Brings a link up, and up again.
//
// An attempt takes one address: connection, TLS and login, at most ATTEMPT_NS together besides the
// resolution of the name. It blocks a thread of its own, so that the loop goes on: what waits for
// the link has deadlines. While that thread runs the connection is its own; the loop takes it back
// when it joins it. After an attempt that failed the next address follows, after a wait that
// doubles and is shortened by chance, so that the links of many proxies do not come at once.
//
// While it is up, a timer sends heartbeats and looks for the broker's: when nothing has come for
// two of them, the connection is given up. Before it says so it reads, because the loop itself may
// have been stopped or inside a send.
//
// The log has a line when a link goes up, and when an attempt fails in another way than before or
// a minute after the last such line.

#include "adapters/rabbitmq/link/redial.h"

#include "adapters/rabbitmq/link/link_state.h"
#include "adapters/rabbitmq/link/login.h"
#include "adapters/rabbitmq/link/round.h"
#include "core/base/clock.h"
#include "core/loop/thread.h"

#include <poll.h>
#include <stdio.h>

#define ATTEMPT_NS    (5 * S_NS)
#define WAIT_LEAST_NS (100 * MS_NS)
#define WAIT_MOST_NS  (1 * S_NS)
#define STEADY_NS     (1 * S_NS) // a connection that lasted as long begins the waits anew
#define FAREWELL_NS   (500 * MS_NS)
#define TELL_AGAIN_NS (60 * S_NS)

static const struct rabbitmq_address *address_of(const struct rabbitmq_link *link)
{
	return &link->config.options->addresses[link->address];
}

// "cluster NAME, HOST:PORT: TEXT"
static void text_place(const struct rabbitmq_link *link, const char *text, char *room, size_t size)
{
	const struct rabbitmq_address *address = address_of(link);

	bool is_ipv6 = strchr(address->host, ':');

	snprintf(room, size, "cluster %s, %s%s%s:%u: %s", link->cluster, is_ipv6 ? "[" : "",
		 address->host, is_ipv6 ? "]" : "", address->port, text);
}

static void log_failure(struct rabbitmq_link *link, const char *text)
{
	uint64_t now_ns = loop_now_ns(link->loop);

	if (strcmp(link->told, text) == 0 && now_ns < link->told_ns + TELL_AGAIN_NS)
		return;
	snprintf(link->told, sizeof link->told, "%s", text);
	link->told_ns = now_ns;
	log_warn(link->config.log, "RABBITMQ-DOWN", "%s: %s", link->name, text);
}

static void tell(struct rabbitmq_link *link, enum code code, const char *text)
{
	if (link->config.changed)
		link->config.changed(link->config.ctx, code, text);
}

// Half of the wait is certain, the rest is chance.
static uint64_t wait_next(struct rabbitmq_link *link)
{
	uint64_t wait_ns = link->wait_ns;

	link->wait_ns = MIN(wait_ns * 2, WAIT_MOST_NS);
	return wait_ns / 2 + (uint64_t)random() % (wait_ns / 2);
}

static void attempt_again(struct rabbitmq_link *link)
{
	rabbitmq_connection_reset(&link->connection);
	loop_timer_set(&link->retry, loop_now_ns(link->loop) + wait_next(link));
}

static void attempt_failed(struct rabbitmq_link *link)
{
	const struct rabbitmq_error error = link->connection.error;
	char text[RABBITMQ_ERROR_TEXT + 400];

	text_place(link, error.text, text, sizeof text);
	attempt_again(link);
	log_failure(link, text);
	tell(link, error.code, text);
}

static void version_publish(struct rabbitmq_link *link)
{
	pthread_mutex_lock(&link->lock);
	memcpy(link->version, link->connection.version, sizeof link->version);
	pthread_mutex_unlock(&link->lock);
}

static uint64_t beat_ns(const struct rabbitmq_link *link)
{
	return link->connection.heartbeat_s * S_NS / 2;
}

static void up(struct rabbitmq_link *link)
{
	char text[200];

	link->up_ns = clock_now_ns();
	link->told[0] = '\0';
	__atomic_store_n(&link->is_up, true, __ATOMIC_RELEASE);
	version_publish(link);
	if (rabbitmq_round_begin(link) < 0)
		rabbitmq_connection_fail(&link->connection, CODE_OVERLOADED, "out of memory");
	loop_timer_set(&link->beat, link->up_ns + beat_ns(link));
	text_place(link, "connected", text, sizeof text);
	log_info(link->config.log, "RABBITMQ-UP", "%s: %s", link->name, text);
	tell(link, CODE_OK, text);
	rabbitmq_channels_begin(link);
}

// On a thread of its own.
static void *dial(void *ctx)
{
	struct rabbitmq_link *link = ctx;
	struct rabbitmq_connection *connection = &link->connection;
	const struct rabbitmq_options *options = link->config.options;
	uint64_t deadline_ns = clock_now_ns() + ATTEMPT_NS;
	char name[200];

	snprintf(name, sizeof name, "%s %s", link->cluster, link->name);
	link->has_dialled = rabbitmq_socket_open(&connection->socket, options, address_of(link),
						 deadline_ns, &connection->error) &&
			    rabbitmq_login(connection, options, name, deadline_ns);
	loop_post(link->loop, &link->dialled);
	return NULL;
}

static void attempt(struct rabbitmq_link *link)
{
	int r;

	if (__atomic_load_n(&link->stopping, __ATOMIC_ACQUIRE))
		return;
	link->address = link->next_address;
	link->next_address =
		(link->next_address + 1) % (unsigned)link->config.options->address_count;
	r = thread_start("rabbitmq-dial", dial, link, &link->dialler);
	link->is_dialling = r == 0;
	if (r == 0)
		return;
	rabbitmq_error_system(&link->connection.error, -r);
	attempt_failed(link);
}

static void dial_join(struct rabbitmq_link *link)
{
	pthread_join(link->dialler, NULL);
	link->is_dialling = false;
}

static void on_dialled(struct loop_task *task)
{
	struct rabbitmq_link *link = CONTAINER_OF(task, struct rabbitmq_link, dialled);

	if (!link->is_dialling)
		return; // the link has been stopped
	dial_join(link);
	if (link->has_dialled)
		up(link);
	else
		attempt_failed(link);
}

static void on_retry(struct loop_timer *timer)
{
	attempt(CONTAINER_OF(timer, struct rabbitmq_link, retry));
}

static void on_beat(struct loop_timer *timer)
{
	struct rabbitmq_link *link = CONTAINER_OF(timer, struct rabbitmq_link, beat);
	struct rabbitmq_connection *connection = &link->connection;
	uint64_t now_ns = clock_now_ns();

	rabbitmq_round_read(link);
	if (now_ns > connection->read_ns && now_ns - connection->read_ns > 4 * beat_ns(link))
		rabbitmq_connection_fail(connection, CODE_CONNECTION_LOST,
					 "the broker has been silent for two heartbeats");
	if (now_ns - connection->written_ns >= beat_ns(link) / 2)
		rabbitmq_connection_heartbeat(connection);
	loop_timer_set(&link->beat, now_ns + beat_ns(link));
}

void rabbitmq_redial_init(struct rabbitmq_link *link)
{
	link->wait_ns = WAIT_LEAST_NS;
	link->dialled.fn = on_dialled;
	loop_timer_init(&link->retry, link->loop, on_retry);
	loop_timer_init(&link->beat, link->loop, on_beat);
}

void rabbitmq_redial_begin(struct rabbitmq_link *link)
{
	attempt(link);
}

// Nothing is up any more: what was said of the connection is over.
static void down(struct rabbitmq_link *link)
{
	__atomic_store_n(&link->is_up, false, __ATOMIC_RELEASE);
	loop_timer_cancel(&link->beat);
	rabbitmq_round_end(link);
	if (link->is_blocked && link->config.blocked)
		link->config.blocked(link->config.ctx, NULL);
	__atomic_store_n(&link->is_blocked, false, __ATOMIC_RELAXED);
}

void rabbitmq_redial_lost(struct rabbitmq_link *link)
{
	const struct rabbitmq_error error = link->connection.error;
	char text[RABBITMQ_ERROR_TEXT + 400];

	assert(link->is_up && link->connection.failed);
	if (clock_now_ns() - link->up_ns > STEADY_NS)
		link->wait_ns = WAIT_LEAST_NS;
	text_place(link, error.text, text, sizeof text);
	down(link);
	attempt_again(link);
	log_failure(link, text);
	tell(link, error.code, text);
	rabbitmq_channels_end(link, false, CODE_CONNECTION_LOST, 0, text);
}

// Says goodbye, so that the broker does not report a client that vanished.
static void farewell(struct rabbitmq_link *link)
{
	struct rabbitmq_connection *connection = &link->connection;
	uint64_t deadline_ns = clock_now_ns() + FAREWELL_NS;
	amqp_connection_close_t close = {.reply_code = AMQP_REPLY_SUCCESS};
	struct rabbitmq_frame frame;

	if (rabbitmq_connection_method(connection, 0, AMQP_CONNECTION_CLOSE_METHOD, &close) < 0 ||
	    !rabbitmq_connection_flush_all(connection, deadline_ns))
		return;
	// Whatever comes before the answer has no receiver; the broker ends the stream behind it.
	do {
		while (rabbitmq_connection_next(connection, &frame))
			;
	} while (rabbitmq_socket_wait(&connection->socket, POLLIN | connection->socket.wanted,
				      deadline_ns) == 0 &&
		 rabbitmq_connection_read(connection) >= 0);
}

void rabbitmq_redial_end(struct rabbitmq_link *link)
{
	loop_timer_cancel(&link->retry);
	if (link->is_dialling)
		dial_join(link); // its stream has been cut
	if (link->is_up && list_empty(&link->active))
		farewell(link);
	if (link->is_up)
		down(link);
	rabbitmq_connection_reset(&link->connection);
	rabbitmq_channels_end(link, true, CODE_OK, 0, "the link is stopped");
	rabbitmq_channels_tell(link);
}
