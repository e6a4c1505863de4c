// The parts of a link to RabbitMQ that need no broker: what options say, what a broker's numbers
// mean, frames, and the buffers of a connection over a socket pair.

#include "adapters/rabbitmq/link/connection.h"
#include "adapters/rabbitmq/link/options.h"
#include "tests/unit/unit.h"

#include "core/base/clock.h"

#include <arpa/inet.h>
#include <errno.h>
#include <sys/socket.h>

static int options_said(const char *options, const char *secrets, struct rabbitmq_options *ret,
			char **ret_error)
{
	const struct cluster cluster = {
		.name = "c", .kind = "rabbitmq", .options_json = options, .secrets_json = secrets};

	*ret_error = NULL;
	return rabbitmq_options_read(&cluster, ret, ret_error);
}

static void refused(const char *options, const char *secrets, const char *begins)
{
	struct rabbitmq_options read;
	_cleanup_(freep) char *error = NULL;

	CHECK_EQ(options_said(options, secrets, &read, &error), -EINVAL);
	if (strncmp(error, begins, strlen(begins)) != 0)
		CHECK_STR(error, begins);
	CHECK(!read.addresses && !read.user && !read.vhost); // nothing is left in it
}

static void options_are_refused(void)
{
	refused("{}", NULL, "options.addresses: missing");
	refused("{\"addresses\": \"\"}", NULL, "options.addresses: missing");
	refused("{\"addresses\": \"a,,b\"}", NULL, "options.addresses: not host:port");
	refused("{\"addresses\": \"a:0\"}", NULL, "options.addresses: not host:port");
	refused("{\"addresses\": \"a:65536\"}", NULL, "options.addresses: not host:port");
	refused("{\"addresses\": \"a:+1\"}", NULL, "options.addresses: not host:port");
	refused("{\"addresses\": \"amqp://a\"}", NULL, "options.addresses: not host:port");
	refused("{\"addresses\": \"[::1\"}", NULL, "options.addresses: not host:port");
	refused("{\"addresses\": \"[::1]1\"}", NULL, "options.addresses: not host:port");
	refused("{\"addresses\": \"1,2,3,4,5,6,7,8,9,0,1,2,3,4,5,6,7\"}", NULL,
		"options.addresses: not host:port");
	refused("{\"address\": \"a\"}", NULL, "options.address: the kind rabbitmq does not know");
	refused("{\"addresses\": \"a\", \"password\": \"p\"}", NULL,
		"options.password: belongs into secrets");
	refused("{\"addresses\": \"a\"}", "{\"user\": \"u\"}", "secrets.user: belongs into");
	refused("{\"addresses\": \"a\", \"user\": \"u\"}", NULL, "secrets.password: missing");
	refused("{\"addresses\": \"a\"}", "{\"password\": \"p\"}", "options.user: missing");
	refused("{\"addresses\": \"a\", \"tls\": 1}", NULL, "options.tls: neither true nor");
	refused("{\"addresses\": \"a\", \"ca_pem\": \"x\"}", NULL, "options.tls: not true");
	refused("{\"addresses\": \"a\", \"tls\": true, \"certificate_pem\": \"x\"}", NULL,
		"secrets.key_pem: missing");
	refused("{\"addresses\": \"a\", \"tls\": true}", "{\"key_pem\": \"x\"}",
		"options.certificate_pem: missing");
	refused("{\"addresses\": \"a\", \"queue\": \"stream\"}", NULL,
		"options.queue: not one of quorum|classic");
	refused("{\"addresses\": \"a\", \"heartbeat_s\": 1}", NULL, "options.heartbeat_s: not a");
	refused("{\"addresses\": \"a\", \"consumer_timeout_ms\": 59999}", NULL,
		"options.consumer_timeout_ms: not a");
	refused("{\"addresses\": \"a\", \"management\": \"a:1\"}", NULL,
		"options.management: not http");
	refused("{\"addresses\": \"a\", \"management\": \"http://a:1,ftp://b\"}", NULL,
		"options.management: not http");
	refused("{\"addresses\": \"a\", \"management_user\": \"u\"}", NULL,
		"secrets.management_password: missing");
}

static void options_have_defaults(void)
{
	struct rabbitmq_options options;
	_cleanup_(freep) char *error = NULL;

	CHECK_EQ(options_said("{\"addresses\": \"a\"}", NULL, &options, &error), 0);
	CHECK_EQ(options.address_count, 1);
	CHECK_EQ(options.addresses[0].port, 5672);
	CHECK_STR(options.vhost, "/");
	CHECK_STR(options.user, "guest");
	CHECK_STR(options.password, "guest");
	CHECK_EQ(options.queue, RABBITMQ_QUORUM);
	CHECK_EQ(options.replication, 0);
	CHECK_EQ(options.timeout_ms, 30000);
	CHECK_EQ(options.heartbeat_s, 10);
	CHECK_EQ(options.consumer_timeout_ms, 1800000);
	CHECK(!options.tls && !options.management);
	rabbitmq_options_deinit(&options);
}

static void options_are_read(void)
{
	struct rabbitmq_options options;
	_cleanup_(freep) char *error = NULL;

	CHECK_EQ(options_said("{\"addresses\": \"a:7, [::1]:8,::2,b\", \"tls\": true, "
			      "\"certificate_pem\": \"x\", \"queue\": \"classic\", "
			      "\"management\": \"https://a:1, http://b:2\", \"vhost\": \"v\"}",
			      "{\"key_pem\": \"y\"}", &options, &error),
		 0);
	CHECK_EQ(options.address_count, 4);
	CHECK_STR(options.addresses[0].host, "a");
	CHECK_EQ(options.addresses[0].port, 7);
	CHECK_STR(options.addresses[1].host, "::1");
	CHECK_EQ(options.addresses[1].port, 8);
	CHECK_STR(options.addresses[2].host, "::2");
	CHECK_EQ(options.addresses[2].port, 5671);
	CHECK_EQ(options.addresses[3].port, 5671);
	CHECK_EQ(options.queue, RABBITMQ_CLASSIC);
	CHECK(!options.user && !options.password); // the certificate says who it is
	rabbitmq_options_deinit(&options);
}

static void replies_have_codes(void)
{
	static const struct {
		uint16_t reply;
		enum code code;
	} rows[] = {
		{311, CODE_TOO_LARGE},     {312, CODE_NO_ROUTE},    {320, CODE_CONNECTION_LOST},
		{403, CODE_FORBIDDEN},     {404, CODE_NOT_FOUND},   {405, CODE_IN_USE},
		{406, CODE_CONFLICT},      {530, CODE_FORBIDDEN},   {506, CODE_BACKEND_ERROR},
		{541, CODE_BACKEND_ERROR}, {0, CODE_BACKEND_ERROR},
	};
	struct rabbitmq_error error;

	for (size_t i = 0; i < ARRAY_SIZE(rows); ++i) {
		rabbitmq_error_reply(&error, rows[i].reply, "said\x1b[2J", 8);
		CHECK_EQ(error.code, rows[i].code);
		CHECK_EQ(error.reply, rows[i].reply);
		CHECK(strstr(error.text, "said\\x1b[2J")); // no order to a terminal
	}
	rabbitmq_error_reply(&error, 404, NULL, 0);
	CHECK_STR(error.text, "(no text) (404)");
	rabbitmq_error_system(&error, ECONNREFUSED);
	CHECK_EQ(error.code, CODE_BACKEND_DOWN);
	rabbitmq_error_system(&error, ETIMEDOUT);
	CHECK_EQ(error.code, CODE_TIMEOUT);
	rabbitmq_error_system(&error, EXDEV); // in no table
	CHECK_STR(error.text, strerrordesc_np(EXDEV));
}

#define FRAME_MOST 4096u

// Header of a message with one header "t": tables inside of each other.
static size_t nested_put(uint8_t *room, unsigned depth)
{
	uint8_t properties[FRAME_MOST];
	size_t at = sizeof properties;
	uint32_t size = 0, size_be;
	amqp_basic_properties_t none = {0};
	size_t head = rabbitmq_frame_put_content(room, FRAME_MOST, 1, 0, &none);

	for (unsigned i = 0; i < depth; ++i) {
		if (i > 0) {
			at -= 3;
			memcpy(properties + at, "\1tF", 3);
			size += 3;
		}
		at -= 4;
		size_be = htonl(size);
		memcpy(properties + at, &size_be, 4);
		size += 4;
	}
	room[head - 3] = 0x20; // the flag of headers
	memcpy(room + head - 1, properties + at, size);
	room[head - 1 + size] = AMQP_FRAME_END;
	size_be = htonl((uint32_t)(head - RABBITMQ_FRAME_EXTRA + size));
	memcpy(room + 3, &size_be, 4);
	return head + size;
}

static bool content_is_read(const uint8_t *data, size_t size)
{
	struct rabbitmq_frame frame;
	const char *why = NULL;
	amqp_basic_properties_t *properties;
	uint64_t body_size;
	amqp_pool_t pool;
	bool is_read;

	CHECK_EQ(rabbitmq_frame_next(data, size, FRAME_MOST, &frame, &why), (int)size);
	init_amqp_pool(&pool, 4096);
	is_read = rabbitmq_frame_content(&frame, &pool, &body_size, &properties, &why);
	empty_amqp_pool(&pool);
	return is_read;
}

static void deep_tables_are_refused(void)
{
	uint8_t room[2 * FRAME_MOST];

	for (unsigned depth = 1; depth <= RABBITMQ_FRAME_DEPTH; ++depth)
		CHECK(content_is_read(room, nested_put(room, depth)));
	CHECK(!content_is_read(room, nested_put(room, RABBITMQ_FRAME_DEPTH + 1)));
	CHECK(!content_is_read(room, nested_put(room, 500)));
}

// What rabbitmq-c encodes and decodes, all kinds of values among it.
static void tables_are_read(void)
{
	static const uint8_t kinds[] = {'t', 'b', 'B', 's', 'u', 'I', 'i', 'l',
					'L', 'f', 'd', 'D', 'T', 'V', 'S', 'x'};
	amqp_table_entry_t entries[ARRAY_SIZE(kinds) + 1] = {0};
	amqp_field_value_t values[2] = {{.kind = 't'}, {.kind = 'V'}};
	amqp_basic_properties_t properties = {
		._flags = AMQP_BASIC_CONTENT_TYPE_FLAG | AMQP_BASIC_CONTENT_ENCODING_FLAG |
			  AMQP_BASIC_HEADERS_FLAG | AMQP_BASIC_MESSAGE_ID_FLAG,
		.content_type = amqp_cstring_bytes("text/plain"),
		.content_encoding = amqp_cstring_bytes("br"),
		.message_id = amqp_cstring_bytes("id"),
		.headers = {ARRAY_SIZE(entries), entries}};
	uint8_t room[FRAME_MOST];
	size_t size;

	for (size_t i = 0; i < ARRAY_SIZE(entries); ++i) {
		entries[i].key = amqp_cstring_bytes("name");
		entries[i].value.kind = i < ARRAY_SIZE(kinds) ? kinds[i] : 'A';
	}
	entries[ARRAY_SIZE(kinds)].value.value.array = (amqp_array_t){ARRAY_SIZE(values), values};
	size = rabbitmq_frame_put_content(room, sizeof room, 1, 5, &properties);
	CHECK(size > 0 && content_is_read(room, size));
	// One byte less: wherever the table ends, it is seen.
	for (size_t i = size - RABBITMQ_FRAME_EXTRA - 1; i > 20; --i) {
		uint32_t less = htonl((uint32_t)i);

		memcpy(room + 3, &less, 4);
		room[7 + i] = AMQP_FRAME_END;
		CHECK(!content_is_read(room, i + RABBITMQ_FRAME_EXTRA));
	}
}

static void frames_are_cut_out(void)
{
	uint8_t room[64];
	struct rabbitmq_frame frame;
	const char *why = NULL;
	size_t size = rabbitmq_frame_put_body(room, sizeof room, 7, (const uint8_t *)"body", 4);

	CHECK_EQ(size, 12);
	for (size_t i = 0; i < size; ++i)
		CHECK_EQ(rabbitmq_frame_next(room, i, FRAME_MOST, &frame, &why), 0);
	CHECK_EQ(rabbitmq_frame_next(room, sizeof room, FRAME_MOST, &frame, &why), 12);
	CHECK(frame.type == AMQP_FRAME_BODY && frame.channel == 7 && frame.size == 4);
	CHECK_EQ(rabbitmq_frame_next(room, sizeof room, 12, &frame, &why), 12);
	CHECK_EQ(rabbitmq_frame_next(room, sizeof room, 11, &frame, &why), -1);
	CHECK_STR(why, "it sends a frame that is larger than agreed");
	room[11] = 0;
	CHECK_EQ(rabbitmq_frame_next(room, sizeof room, FRAME_MOST, &frame, &why), -1);
	room[0] = 4;
	CHECK_EQ(rabbitmq_frame_next(room, 1, FRAME_MOST, &frame, &why), -1);
	CHECK_EQ(rabbitmq_frame_put_body(room, 11, 7, (const uint8_t *)"body", 4), 0);
	CHECK_EQ(rabbitmq_frame_put_heartbeat(room, 8), 8);
	CHECK_EQ(rabbitmq_frame_next(room, 8, FRAME_MOST, &frame, &why), 8);
}

struct pair {
	struct rabbitmq_connection connection;
	int peer;
};

static void pair_init(struct pair *pair)
{
	int fds[2];

	CHECK_EQ(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
	CHECK_EQ(rabbitmq_connection_init(&pair->connection), 0);
	rabbitmq_socket_adopt(&pair->connection.socket, fds[0]);
	pair->peer = fds[1];
}

static void pair_deinit(struct pair *pair)
{
	rabbitmq_connection_deinit(&pair->connection);
	close(pair->peer);
}

static int message_put(struct pair *pair, size_t size)
{
	static uint8_t body[4 << 20];
	amqp_basic_publish_t publish = {.routing_key = amqp_cstring_bytes("key")};
	amqp_basic_properties_t properties = {0};

	return rabbitmq_connection_message(&pair->connection, 1, &publish, &properties,
					   (amqp_bytes_t){size, body});
}

// Body bytes of all frames that the peer reads until there are `most`.
static uint64_t peer_reads(struct pair *pair, uint64_t most)
{
	static uint8_t data[1 << 20];
	size_t end = 0, at;
	uint64_t sum = 0;

	while (sum < most) {
		struct rabbitmq_frame frame;
		const char *why;
		ssize_t r = recv(pair->peer, data + end, sizeof data - end, MSG_DONTWAIT);
		int used = 0;

		if (r < 0) {
			CHECK_EQ(errno, EAGAIN);
			CHECK(rabbitmq_connection_flush(&pair->connection));
			continue;
		}
		end += (size_t)r;
		for (at = 0;
		     (used = rabbitmq_frame_next(data + at, end - at, 1 << 18, &frame, &why)) > 0;
		     at += (size_t)used)
			if (frame.type == AMQP_FRAME_BODY)
				sum += frame.size;
		CHECK_EQ(used, 0);
		memmove(data, data + at, end - at);
		end -= at;
	}
	return sum;
}

static void output_waits_for_a_slow_reader(void)
{
	struct pair pair;
	const size_t each = 3000000, count = 20; // less than what makes a sender wait

	pair_init(&pair);
	for (size_t i = 0; i < count; ++i)
		CHECK_EQ(message_put(&pair, each), 0);
	CHECK(rabbitmq_connection_has_output(&pair.connection));
	CHECK(pair.connection.stuck_ns != 0);
	CHECK_EQ(peer_reads(&pair, each * count), each * count);
	CHECK(!rabbitmq_connection_has_output(&pair.connection));
	CHECK_EQ(pair.connection.stuck_ns, 0);
	CHECK(pair.connection.out_room <= 1 << 20); // and the memory is given back
	pair_deinit(&pair);
}

static void *cut_soon(void *ctx)
{
	usleep(1000000); // long after it is full
	rabbitmq_socket_cut(&((struct pair *)ctx)->connection.socket, false);
	return NULL;
}

// With more than OUTPUT_MOST the sender waits, until another thread cuts the stream.
static void a_stuck_send_is_cut(void)
{
	struct pair pair;
	pthread_t thread;
	int r = 0;
	size_t count = 0;

	pair_init(&pair);
	CHECK_EQ(pthread_create(&thread, NULL, cut_soon, &pair), 0);
	while (r == 0 && count++ < 1000)
		r = message_put(&pair, 4 << 20);
	CHECK_EQ(r, -EPIPE);
	if (count < 16 || count > 18)
		CHECK_EQ(count, 17);
	CHECK(pair.connection.failed);
	CHECK_STR(pair.connection.error.text, "the connection was reset by the other side");
	pthread_join(thread, NULL);
	pair_deinit(&pair);
}

static void what_does_not_fit_is_not_sent(void)
{
	static amqp_table_entry_t entries[100000];
	static char name[300];
	struct pair pair;
	amqp_basic_publish_t publish = {.routing_key = amqp_cstring_bytes("key")};
	amqp_basic_properties_t properties = {._flags = AMQP_BASIC_HEADERS_FLAG,
					      .headers = {ARRAY_SIZE(entries), entries}};

	for (size_t i = 0; i < ARRAY_SIZE(entries); ++i)
		entries[i] = (amqp_table_entry_t){amqp_cstring_bytes("h"),
						  {.kind = AMQP_FIELD_KIND_VOID}};
	memset(name, 'n', sizeof name - 1);
	pair_init(&pair);
	CHECK_EQ(rabbitmq_connection_message(&pair.connection, 1, &publish, &properties,
					     amqp_cstring_bytes("body")),
		 -EMSGSIZE);
	properties._flags = 0;
	publish.routing_key = amqp_cstring_bytes(name);
	CHECK_EQ(rabbitmq_connection_message(&pair.connection, 1, &publish, &properties,
					     amqp_cstring_bytes("body")),
		 -EMSGSIZE);
	CHECK(!rabbitmq_connection_has_output(&pair.connection));
	CHECK(!pair.connection.failed);
	pair_deinit(&pair);
}

static void a_stream_that_was_cut_does_not_open(void)
{
	struct rabbitmq_address address = {(char *)"127.0.0.1", 0};
	struct rabbitmq_options options = {.addresses = &address, .address_count = 1};
	struct rabbitmq_error error;
	struct rabbitmq_socket stream;
	struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
	socklen_t size = sizeof at;
	int listener = socket(AF_INET, SOCK_STREAM, 0);

	CHECK_EQ(bind(listener, (struct sockaddr *)&at, sizeof at), 0);
	CHECK_EQ(listen(listener, 1), 0);
	CHECK_EQ(getsockname(listener, (struct sockaddr *)&at, &size), 0);
	address.port = ntohs(at.sin_port);
	rabbitmq_socket_init(&stream);
	CHECK(rabbitmq_socket_open(&stream, &options, &address, clock_now_ns() + S_NS, &error));
	rabbitmq_socket_close(&stream);
	rabbitmq_socket_cut(&stream, true);
	CHECK(!rabbitmq_socket_open(&stream, &options, &address, clock_now_ns() + S_NS, &error));
	CHECK_STR(error.text, "the connection was given up here");
	rabbitmq_socket_deinit(&stream);
	close(listener);
}

int main(void)
{
	static const struct unit_case cases[] = {
		{"options are refused", options_are_refused},
		{"options have defaults", options_have_defaults},
		{"options are read", options_are_read},
		{"replies have codes", replies_have_codes},
		{"deep tables are refused", deep_tables_are_refused},
		{"tables are read", tables_are_read},
		{"frames are cut out", frames_are_cut_out},
		{"output waits for a slow reader", output_waits_for_a_slow_reader},
		{"a stuck send is cut", a_stuck_send_is_cut},
		{"what does not fit is not sent", what_does_not_fit_is_not_sent},
		{"a stream that was cut does not open", a_stream_that_was_cut_does_not_open},
	};

	return unit_main(cases, ARRAY_SIZE(cases));
}
