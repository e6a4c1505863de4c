// For comparison: an application that talks to RabbitMQ itself, through rabbitmq-c, with the
// settings of the proxy's own links: persistent messages, `mandatory`, publisher confirms.
//
//   bench_direct_rabbitmq address=HOST:PORT [vhost=NAME] [exchange=NAME] [queue=NAME]
//                         [mode=hot|small|sync|consume] [size=BYTES] [seconds=N] [flight=N]
//                         [producers=N] [rate=N] [messages=N] [prefetch=N] [run=N] [watch=PID]
//
// hot: one connection, at most `flight` messages without a confirm. small: many connections, each
// with one message under way, all served by one thread. sync: one message at a time, evenly at
// `rate` a second. consume: takes `messages` out of the queue and acknowledges each by itself, or
// every `run` of them at once. Exchange and queue are there. Prints messages, seconds, the CPU time
// of its own and of the process `watch`, and with mode=sync percentiles in ns.

#include "adapters/rabbitmq/link/library.h"
#include "core/base/clock.h"
#include "core/base/histogram.h"
#include "core/base/util.h"
#include "tests/bench/args.h"
#include "tests/bench/costs.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/time.h>
#include <unistd.h>

#define CHANNEL     1
#define FRAME_BYTES 131072
#define PERSISTENT  2
#define WAIT_S      30 // a confirm or message that has not come by then does not come

static struct args args;
static amqp_bytes_t body;
static uint64_t confirmed, refused, returned;
static struct costs begun, spent;
static struct histogram calls;

// ---- a connection

// What is confirmed, by delivery tag: confirms may come out of order, and one may stand for all
// tags up to its own.
struct client {
	amqp_connection_state_t state;
	uint64_t sent, base; // tags; all up to `base` are confirmed
	uint64_t open;       // messages without a confirm
	bool *done;          // of the tags behind base: a ring of `room`
	uint64_t room;
};

static void must_answer(amqp_rpc_reply_t reply, const char *what)
{
	if (reply.reply_type == AMQP_RESPONSE_NORMAL)
		return;
	if (reply.reply_type == AMQP_RESPONSE_LIBRARY_EXCEPTION)
		die("%s: %s", what, amqp_error_string2(reply.library_error));
	die("%s: refused by the broker, method %#x", what, reply.reply.id);
}

static void must(int status, const char *what)
{
	if (status != AMQP_STATUS_OK)
		die("%s: %s", what, amqp_error_string2(status));
}

static void client_connect(struct client *client)
{
	char host[256];
	const char *address = args_text(&args, "address", "127.0.0.1:5672"),
		   *colon = strrchr(address, ':');
	amqp_socket_t *socket;

	if (!colon || colon - address >= (ptrdiff_t)sizeof host)
		die("address=%s is not HOST:PORT", address);
	snprintf(host, sizeof host, "%.*s", (int)(colon - address), address);
	client->state = amqp_new_connection();
	socket = client->state ? amqp_tcp_socket_new(client->state) : NULL;
	if (!socket)
		die("out of memory");
	must(amqp_socket_open(socket, host, atoi(colon + 1)), "connect");
	must_answer(amqp_login(client->state, args_text(&args, "vhost", "/"), 0, FRAME_BYTES, 0,
			       AMQP_SASL_METHOD_PLAIN, args_text(&args, "user", "guest"),
			       args_text(&args, "password", "guest")),
		    "login");
	amqp_channel_open(client->state, CHANNEL);
	must_answer(amqp_get_rpc_reply(client->state), "channel");
}

static void producer_connect(struct client *client, uint64_t flight)
{
	client_connect(client);
	client->room = flight;
	client->done = calloc(flight, sizeof *client->done);
	if (!client->done)
		die("out of memory");
	amqp_confirm_select(client->state, CHANNEL);
	must_answer(amqp_get_rpc_reply(client->state), "confirms");
}

// ---- sending

static void send_one(struct client *client)
{
	const char *exchange = args_text(&args, "exchange", "");
	const char *key = *exchange ? "" : args_text(&args, "queue", "bench");
	amqp_basic_properties_t properties = {._flags = AMQP_BASIC_DELIVERY_MODE_FLAG,
					      .delivery_mode = PERSISTENT};

	must(amqp_basic_publish(client->state, CHANNEL, amqp_cstring_bytes(exchange),
				amqp_cstring_bytes(key), 1, 0, &properties, body),
	     "publish");
	++client->sent;
	++client->open;
}

static void take_confirm(struct client *client, uint64_t tag, bool multiple, bool is_stored)
{
	uint64_t from = multiple ? client->base + 1 : tag;

	for (uint64_t i = from; i <= tag && i <= client->sent; ++i) {
		bool *done = &client->done[i % client->room];

		if (i <= client->base || *done)
			continue;
		*done = true;
		--client->open;
		++*(is_stored ? &confirmed : &refused);
	}
	while (client->base < client->sent && client->done[(client->base + 1) % client->room])
		client->done[++client->base % client->room] = false;
}

static void take_frame(struct client *client, const amqp_frame_t *frame)
{
	if (frame->frame_type != AMQP_FRAME_METHOD)
		return; // head and body of a message that is returned
	switch (frame->payload.method.id) {
	case AMQP_BASIC_ACK_METHOD: {
		const amqp_basic_ack_t *ack = frame->payload.method.decoded;

		take_confirm(client, ack->delivery_tag, ack->multiple, true);
		break;
	}
	case AMQP_BASIC_NACK_METHOD: {
		const amqp_basic_nack_t *nack = frame->payload.method.decoded;

		take_confirm(client, nack->delivery_tag, nack->multiple, false);
		break;
	}
	case AMQP_BASIC_RETURN_METHOD: ++returned; break;
	default: die("the broker sent method %#x", frame->payload.method.id);
	}
}

// Takes the confirms that are there; waits for the first when `wait_s` is not 0.
static void take_confirms(struct client *client, unsigned wait_s)
{
	struct timeval wait = {.tv_sec = wait_s};
	amqp_frame_t frame;
	int status;

	while ((status = amqp_simple_wait_frame_noblock(client->state, &frame, &wait)) ==
	       AMQP_STATUS_OK) {
		take_frame(client, &frame);
		if (!amqp_frames_enqueued(client->state) && !amqp_data_in_buffer(client->state))
			break;
		wait = (struct timeval){0};
	}
	if (status != AMQP_STATUS_TIMEOUT || wait.tv_sec) // none came in all that time
		must(status, "confirms");
	amqp_maybe_release_buffers(client->state);
}

static void drain(struct client *client)
{
	while (client->open)
		take_confirms(client, WAIT_S);
}

// Connected, warmed up by one message.
static void producer_open(struct client *client, uint64_t flight)
{
	producer_connect(client, flight);
	send_one(client);
	drain(client);
}

static void client_close(struct client *client)
{
	amqp_connection_close(client->state, AMQP_REPLY_SUCCESS);
	amqp_destroy_connection(client->state);
	free(client->done);
}

// ---- modes

static void costs_begin(void)
{
	confirmed = 0;
	begun = costs_now(&args);
}

static void hot(uint64_t seconds)
{
	uint64_t flight = args_number(&args, "flight", 256), until_ns;
	struct client client = {0};

	producer_open(&client, flight);
	costs_begin();
	until_ns = clock_now_ns() + seconds * S_NS;
	while (clock_now_ns() < until_ns) {
		while (client.sent - client.base < flight)
			send_one(&client);
		take_confirms(&client, WAIT_S);
	}
	drain(&client);
	spent = costs_since(&begun, &args);
	client_close(&client);
}

static void small_turn(struct client *client)
{
	take_confirms(client, 0);
	if (!client->open)
		send_one(client);
}

// The process ends without closing thousands of connections one by one.
static void small(uint64_t seconds)
{
	uint32_t count = (uint32_t)args_number(&args, "producers", 1000);
	struct client *clients = calloc(count, sizeof *clients);
	struct epoll_event events[256];
	int poller = epoll_create1(0);
	uint64_t until_ns;

	if (!clients || poller < 0)
		die("out of memory");
	for (uint32_t i = 0; i < count; ++i) {
		struct epoll_event wanted = {.events = EPOLLIN, .data.u32 = i};

		producer_open(&clients[i], 1);
		if (epoll_ctl(poller, EPOLL_CTL_ADD, amqp_get_sockfd(clients[i].state), &wanted) <
		    0)
			die("epoll");
	}
	costs_begin();
	for (uint32_t i = 0; i < count; ++i)
		send_one(&clients[i]);
	until_ns = clock_now_ns() + seconds * S_NS;
	while (clock_now_ns() < until_ns) {
		int ready = epoll_wait(poller, events, ARRAY_SIZE(events), 1000);

		for (int i = 0; i < ready; ++i)
			small_turn(&clients[events[i].data.u32]);
	}
	spent = costs_since(&begun, &args);
}

static void in_turn(uint64_t seconds)
{
	uint64_t rate = args_number(&args, "rate", 0), started_ns, until_ns, now_ns;
	struct client client = {0};

	producer_open(&client, 1);
	costs_begin();
	now_ns = started_ns = clock_now_ns();
	until_ns = started_ns + seconds * S_NS;
	for (uint64_t sent = 0; now_ns < until_ns; ++sent) {
		uint64_t before_ns, due_ns;

		due_ns = rate ? started_ns + (uint64_t)((double)sent * 1e9 / (double)rate) : 0;
		if (due_ns > now_ns)
			costs_sleep_until(due_ns);
		before_ns = clock_now_ns();
		send_one(&client);
		drain(&client);
		now_ns = clock_now_ns();
		histogram_add(&calls, now_ns - before_ns);
	}
	spent = costs_since(&begun, &args);
	client_close(&client);
}

static void consume_begin(struct client *client)
{
	client_connect(client);
	amqp_basic_qos(client->state, CHANNEL, 0, (uint16_t)args_number(&args, "prefetch", 512), 0);
	must_answer(amqp_get_rpc_reply(client->state), "prefetch");
	amqp_basic_consume(client->state, CHANNEL,
			   amqp_cstring_bytes(args_text(&args, "queue", "bench")), amqp_empty_bytes,
			   0, 0, 0, amqp_empty_table);
	must_answer(amqp_get_rpc_reply(client->state), "consume");
}

// From the first message to the last; the broker may still have acknowledgements before it.
static void consume(void)
{
	uint64_t wanted = args_number(&args, "messages", 1), run = args_number(&args, "run", 1);
	struct timeval wait = {.tv_sec = WAIT_S};
	struct client client = {0};

	consume_begin(&client);
	while (confirmed < wanted) {
		amqp_envelope_t envelope;

		must_answer(amqp_consume_message(client.state, &envelope, &wait, 0), "messages");
		if (!begun.at_ns)
			begun = costs_now(&args);
		if ((confirmed + 1) % run == 0 || confirmed + 1 == wanted)
			must(amqp_basic_ack(client.state, CHANNEL, envelope.delivery_tag, run > 1),
			     "ack");
		amqp_destroy_envelope(&envelope);
		amqp_maybe_release_buffers(client.state);
		++confirmed;
	}
	spent = costs_since(&begun, &args);
	client_close(&client);
}

int main(int argc, char **argv)
{
	const char *mode;
	uint64_t seconds;

	args = (struct args){argc, argv};
	mode = args_text(&args, "mode", "hot");
	seconds = args_number(&args, "seconds", 2);
	body.len = (size_t)args_number(&args, "size", 100);
	body.bytes = malloc(body.len + 1);
	if (!body.bytes)
		die("out of memory");
	memset(body.bytes, 'b', body.len);
	histogram_init(&calls);
	if (strcmp(mode, "small") == 0)
		small(seconds);
	else if (strcmp(mode, "sync") == 0)
		in_turn(seconds);
	else if (strcmp(mode, "consume") == 0)
		consume();
	else
		hot(seconds);
	printf("{\"messages\": %llu, \"refused\": %llu, \"seconds\": %.6f, \"cpu_ns\": %llu, "
	       "\"watched_ns\": %llu, \"p50_ns\": %llu, \"p99_ns\": %llu}\n",
	       (unsigned long long)confirmed, (unsigned long long)(refused + returned),
	       (double)spent.at_ns / 1e9, (unsigned long long)spent.own_ns,
	       (unsigned long long)spent.watched_ns,
	       (unsigned long long)histogram_percentile(&calls, 50),
	       (unsigned long long)histogram_percentile(&calls, 99));
	fflush(stdout);
	_exit(refused + returned > 0); // connections of mode=small are still there
}
