// A lying RabbitMQ: any bytes as the broker's side of a link of the RabbitMQ adapter.
//
// The first byte says what the link's user does: with bit 0 the bytes begin at login, else the link
// is up and has asked for three channels; with bit 1 a channel is closed at a message's head, with
// bit 2 at a method; with bit 3 one that has ended is opened again. The second byte says how large
// the pieces are in which the bytes come. All that is handed out is read. Each channel must be told
// closed() once for each time that it was opened, and a body must be as long as was announced.

#include "adapters/rabbitmq/link/link_state.h"
#include "adapters/rabbitmq/link/login.h"
#include "adapters/rabbitmq/link/redial.h"
#include "adapters/rabbitmq/link/round.h"
#include "tests/fuzz/fuzz.h"

#include <errno.h>
#include <sys/socket.h>

#define CHANNELS 3
#define OPENINGS 20 // of a channel at most: each may be followed by a refusal

enum { AT_LOGIN = 1, CLOSE_AT_HEAD = 2, CLOSE_AT_METHOD = 4, OPEN_AGAIN = 8 };

struct user {
	struct rabbitmq_channel channel;
	unsigned openings, endings;
	uint64_t left;
};

static struct user users[CHANNELS];
static unsigned habits;
static volatile uint32_t sum; // of all that was read

static void bytes_read(amqp_bytes_t bytes)
{
	const uint8_t *data = bytes.bytes;

	for (size_t i = 0; i < bytes.len; ++i)
		sum = sum * 31 + data[i];
}

static void table_read(const amqp_table_t *table);

static void value_read(const amqp_field_value_t *value)
{
	switch (value->kind) {
	case AMQP_FIELD_KIND_UTF8:
	case AMQP_FIELD_KIND_BYTES: bytes_read(value->value.bytes); break;
	case AMQP_FIELD_KIND_TABLE: table_read(&value->value.table); break;
	case AMQP_FIELD_KIND_ARRAY:
		for (int i = 0; i < value->value.array.num_entries; ++i)
			value_read(&value->value.array.entries[i]);
		break;
	default: break;
	}
}

static void table_read(const amqp_table_t *table)
{
	for (int i = 0; i < table->num_entries; ++i) {
		bytes_read(table->entries[i].key);
		value_read(&table->entries[i].value);
	}
}

static void properties_read(const amqp_basic_properties_t *properties)
{
	const struct {
		amqp_flags_t flag;
		amqp_bytes_t bytes;
	} texts[] = {
		{AMQP_BASIC_CONTENT_TYPE_FLAG, properties->content_type},
		{AMQP_BASIC_CONTENT_ENCODING_FLAG, properties->content_encoding},
		{AMQP_BASIC_CORRELATION_ID_FLAG, properties->correlation_id},
		{AMQP_BASIC_REPLY_TO_FLAG, properties->reply_to},
		{AMQP_BASIC_EXPIRATION_FLAG, properties->expiration},
		{AMQP_BASIC_MESSAGE_ID_FLAG, properties->message_id},
		{AMQP_BASIC_TYPE_FLAG, properties->type},
		{AMQP_BASIC_USER_ID_FLAG, properties->user_id},
		{AMQP_BASIC_APP_ID_FLAG, properties->app_id},
		{AMQP_BASIC_CLUSTER_ID_FLAG, properties->cluster_id},
	};

	for (size_t i = 0; i < ARRAY_SIZE(texts); ++i)
		if (properties->_flags & texts[i].flag)
			bytes_read(texts[i].bytes);
	if (properties->_flags & AMQP_BASIC_HEADERS_FLAG)
		table_read(&properties->headers);
}

static struct user *user_of(struct rabbitmq_channel *channel)
{
	return CONTAINER_OF(channel, struct user, channel);
}

static void on_opened(struct rabbitmq_channel *channel)
{
	amqp_basic_consume_t consume = {.queue = amqp_cstring_bytes("q")};
	amqp_basic_properties_t properties = {0};

	rabbitmq_channel_send(channel, AMQP_BASIC_CONSUME_METHOD, &consume);
	rabbitmq_channel_publish(channel, amqp_empty_bytes, amqp_cstring_bytes("q"), true,
				 &properties, amqp_cstring_bytes("body"));
}

static const struct rabbitmq_channel_handlers handlers;

static void user_open(struct rabbitmq_link *link, struct user *user)
{
	++user->openings;
	user->left = 0;
	rabbitmq_channel_open(link, &user->channel, &handlers);
}

static void on_closed(struct rabbitmq_channel *channel, enum code code, uint16_t reply,
		      const char *text)
{
	struct user *user = user_of(channel);

	assert(++user->endings == user->openings && text && strlen(text) < 1000);
	if (habits & OPEN_AGAIN && user->openings < OPENINGS)
		user_open(channel->link, user);
}

static void on_method(struct rabbitmq_channel *channel, const amqp_method_t *method)
{
	if (method->id == AMQP_QUEUE_DECLARE_OK_METHOD)
		bytes_read(((const amqp_queue_declare_ok_t *)method->decoded)->queue);
	if (method->id == AMQP_BASIC_CANCEL_METHOD)
		bytes_read(((const amqp_basic_cancel_t *)method->decoded)->consumer_tag);
	if (habits & CLOSE_AT_METHOD)
		rabbitmq_channel_close(channel);
}

static void on_head(struct rabbitmq_channel *channel, const struct rabbitmq_head *head)
{
	struct user *user = user_of(channel);

	assert(user->left == 0);
	user->left = head->body_size;
	bytes_read(head->consumer);
	bytes_read(head->exchange);
	bytes_read(head->routing_key);
	properties_read(head->properties);
	if (habits & CLOSE_AT_HEAD)
		rabbitmq_channel_close(channel);
}

static void on_body(struct rabbitmq_channel *channel, const uint8_t *data, size_t size)
{
	struct user *user = user_of(channel);

	assert(size <= user->left && !(habits & CLOSE_AT_HEAD));
	user->left -= size;
	bytes_read((amqp_bytes_t){size, (void *)(uintptr_t)data});
}

static const struct rabbitmq_channel_handlers handlers = {on_opened, on_closed, on_method, on_head,
							  on_body};

static void on_blocked(void *ctx, const char *reason)
{
	if (reason)
		bytes_read(amqp_cstring_bytes(reason));
}

static struct rabbitmq_link *link_new(int fd)
{
	static struct rabbitmq_address address = {(char *)"broker", 5672};
	static struct rabbitmq_options options = {.addresses = &address,
						  .address_count = 1,
						  .vhost = (char *)"/",
						  .user = (char *)"guest",
						  .password = (char *)"guest",
						  .heartbeat_s = 10};
	struct rabbitmq_link *link = calloc(1, sizeof *link);

	link->config.options = &options;
	link->config.blocked = on_blocked;
	link->cluster = link->name = (char *)"fuzz";
	list_init(&link->waiting);
	list_init(&link->active);
	list_init(&link->ending);
	assert(loop_new("fuzz", &link->loop) == 0);
	assert(rabbitmq_connection_init(&link->connection) == 0);
	rabbitmq_round_init(link);
	rabbitmq_redial_init(link);
	rabbitmq_socket_adopt(&link->connection.socket, fd);
	return link;
}

static void link_free(struct rabbitmq_link *link)
{
	link->stopping = true;
	rabbitmq_redial_end(link);
	loop_free(link->loop);
	for (size_t i = 0; i < CHANNELS; ++i)
		assert(users[i].endings == users[i].openings);
	assert(link->channel_count == 0);
	rabbitmq_connection_deinit(&link->connection);
	free(link);
}

static void drop_line(void *ctx, enum log_level level, const char *line, size_t size)
{
}

// What a login agrees on.
static void tune(struct rabbitmq_connection *connection)
{
	connection->channel_max = 2047;
	connection->heartbeat_s = 10;
}

static void read_pieces(struct rabbitmq_link *link, int fd, const uint8_t *data, size_t size,
			size_t piece)
{
	for (size_t at = 0; at < size && !link->connection.failed; at += MIN(piece, size - at)) {
		assert(write(fd, data + at, MIN(piece, size - at)) > 0);
		rabbitmq_round_read(link);
	}
	shutdown(fd, SHUT_WR);
	while (!link->connection.failed)
		rabbitmq_round_read(link);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct rabbitmq_link *link;
	size_t piece;
	int fds[2];

	if (size < 2)
		return 0;
	log_set_sink(drop_line, NULL);
	habits = data[0];
	piece = 1 + data[1] * 37u;
	data += 2;
	size -= 2;
	memset(users, 0, sizeof users);
	assert(socketpair(AF_UNIX, SOCK_STREAM, 0, fds) == 0);
	link = link_new(fds[0]);
	if (habits & AT_LOGIN) {
		assert(size == 0 || write(fds[1], data, size) == (ssize_t)size);
		shutdown(fds[1], SHUT_WR);
		size = 0;
		link->is_up =
			rabbitmq_login(&link->connection, link->config.options, "fuzz", UINT64_MAX);
	} else {
		tune(&link->connection);
		link->is_up = true;
	}
	for (size_t i = 0; i < CHANNELS; ++i)
		user_open(link, &users[i]);
	if (link->is_up) {
		assert(rabbitmq_round_begin(link) == 0);
		read_pieces(link, fds[1], data, size, piece);
		rabbitmq_redial_lost(link);
	}
	link_free(link);
	close(fds[1]);
	return 0;
}
