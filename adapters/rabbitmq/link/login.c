// Login to a broker: the handshake of AMQP 0-9-1, step by step, waiting for each answer.
//
//	header →, start ←, start-ok (who we are) →, tune ←, tune-ok, open (vhost) →, open-ok ←
//
// A refused password comes as connection.close 403, because we say that we understand it; a vhost
// that is missing or not ours as 530. Heartbeats are agreed as ours when the broker has none.
//
// What may stand in the input behind open-ok stays there for the link.

#include "adapters/rabbitmq/link/login.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>

#define CHANNELS_MAX 2047u
#define FRAME_LEAST  4096u // AMQP's

// The broker closes instead of the answer: that says which step it refuses.
static bool note_refusal(struct rabbitmq_connection *connection, amqp_method_number_t expected,
			 const amqp_connection_close_t *close)
{
	struct rabbitmq_error error;
	const char *step =
		expected == AMQP_CONNECTION_TUNE_METHOD      ? "user or password is not accepted"
		: expected == AMQP_CONNECTION_OPEN_OK_METHOD ? "the virtual host is refused"
							     : "the login is refused";

	rabbitmq_error_reply(&error, close->reply_code, close->reply_text.bytes,
			     close->reply_text.len);
	connection->failed = true;
	rabbitmq_error_set(&connection->error, error.code, "%s: %s", step, error.text);
	connection->error.reply = error.reply;
	return false;
}

// What is no AMQP at all may be TLS, where the option is not set.
static void note_garbage(struct rabbitmq_connection *connection)
{
	const uint8_t *in = connection->in + connection->in_begin;

	if (connection->error.code == CODE_PROTOCOL && !connection->socket.ssl &&
	    connection->in_end > connection->in_begin && (in[0] == 0x15 || in[0] == 0x16))
		rabbitmq_error_set(&connection->error, CODE_BACKEND_ERROR,
				   "it speaks TLS, and the option tls is not set");
}

static bool wait_method(struct rabbitmq_connection *connection, amqp_method_number_t expected,
			amqp_method_t *ret, uint64_t deadline_ns)
{
	struct rabbitmq_frame frame;
	const char *why;
	int r;

	while (!rabbitmq_connection_next(connection, &frame)) {
		if (connection->failed) {
			note_garbage(connection);
			return false;
		}
		r = rabbitmq_socket_wait(&connection->socket, POLLIN | connection->socket.wanted,
					 deadline_ns);
		if (r < 0) {
			rabbitmq_error_system(&connection->error, -r);
			connection->failed = true;
			return false;
		}
		if (rabbitmq_connection_read(connection) < 0)
			return false;
	}
	if (frame.type != AMQP_FRAME_METHOD || frame.channel != 0)
		return rabbitmq_connection_fail(connection, CODE_PROTOCOL,
						"what it sends at login is no AMQP 0-9-1");
	if (!rabbitmq_frame_method(&frame, &connection->pool, ret, &why))
		return rabbitmq_connection_fail(connection, CODE_PROTOCOL, why);
	if (ret->id == expected)
		return true;
	if (ret->id == AMQP_CONNECTION_CLOSE_METHOD)
		return note_refusal(connection, expected, ret->decoded);
	return rabbitmq_connection_fail(connection, CODE_PROTOCOL,
					"it does not answer the login as AMQP 0-9-1 says");
}

static bool method_put(struct rabbitmq_connection *connection, amqp_method_number_t id,
		       void *decoded)
{
	return rabbitmq_connection_method(connection, 0, id, decoded) == 0 ||
	       rabbitmq_connection_fail(connection, CODE_TOO_LARGE,
					"user and password do not fit into a frame");
}

static amqp_table_entry_t text_entry(const char *name, const char *text)
{
	return (amqp_table_entry_t){
		.key = amqp_cstring_bytes(name),
		.value = {.kind = AMQP_FIELD_KIND_UTF8, .value.bytes = amqp_cstring_bytes(text)}};
}

static amqp_table_entry_t flag_entry(const char *name)
{
	return (amqp_table_entry_t){.key = amqp_cstring_bytes(name),
				    .value = {.kind = AMQP_FIELD_KIND_BOOLEAN, .value.boolean = 1}};
}

static bool bytes_are(amqp_bytes_t bytes, const char *text)
{
	return bytes.len == strlen(text) && memcmp(bytes.bytes, text, bytes.len) == 0;
}

static void version_note(struct rabbitmq_connection *connection, const amqp_table_t *properties)
{
	connection->version[0] = '\0';
	for (int i = 0; i < properties->num_entries; ++i) {
		const amqp_table_entry_t *entry = &properties->entries[i];
		amqp_bytes_t text = entry->value.value.bytes;

		if (entry->value.kind == AMQP_FIELD_KIND_UTF8 && bytes_are(entry->key, "version"))
			snprintf(connection->version, sizeof connection->version, "%.*s",
				 (int)MIN(text.len, sizeof connection->version - 1),
				 (const char *)text.bytes);
	}
}

static bool offers(amqp_bytes_t mechanisms, const char *mechanism)
{
	const char *at = mechanisms.bytes, *end = at + mechanisms.len;
	size_t size = strlen(mechanism);

	while (at < end) {
		const char *space = memchr(at, ' ', (size_t)(end - at));
		size_t length = (size_t)((space ? space : end) - at);

		if (length == size && memcmp(at, mechanism, size) == 0)
			return true;
		at += length + 1;
	}
	return false;
}

static bool start_ok(struct rabbitmq_connection *connection, const char *mechanism,
		     amqp_bytes_t response, const char *name)
{
	amqp_table_entry_t can[] = {
		flag_entry("authentication_failure_close"), flag_entry("connection.blocked"),
		flag_entry("consumer_cancel_notify"),       flag_entry("basic.nack"),
		flag_entry("publisher_confirms"),
	};
	amqp_table_entry_t entries[] = {
		text_entry("product", "mqpaas"),
		text_entry("connection_name", name),
		{.key = amqp_cstring_bytes("capabilities"),
		 .value = {.kind = AMQP_FIELD_KIND_TABLE, .value.table = {ARRAY_SIZE(can), can}}},
	};
	amqp_connection_start_ok_t ok = {
		.client_properties = {ARRAY_SIZE(entries), entries},
		.mechanism = amqp_cstring_bytes(mechanism),
		.response = response,
		.locale = amqp_cstring_bytes("en_US"),
	};

	return method_put(connection, AMQP_CONNECTION_START_OK_METHOD, &ok);
}

static bool authenticate(struct rabbitmq_connection *connection,
			 const struct rabbitmq_options *options, const char *name,
			 amqp_bytes_t mechanisms)
{
	const char *mechanism = options->user ? "PLAIN" : "EXTERNAL";
	_cleanup_(freep) char *response = NULL;
	int size = 0;

	if (!offers(mechanisms, mechanism))
		return rabbitmq_connection_fail(
			connection, CODE_BACKEND_ERROR,
			options->user ? "it does not let users log in by password (PLAIN)"
				      : "it does not let users log in by certificate (EXTERNAL)");
	if (options->user)
		size = asprintf(&response, "%c%s%c%s", '\0', options->user, '\0',
				options->password);
	if (size < 0)
		return rabbitmq_connection_fail(connection, CODE_OVERLOADED, "out of memory");
	return start_ok(connection, mechanism, (amqp_bytes_t){(size_t)size, response}, name);
}

static void tune(struct rabbitmq_connection *connection, const struct rabbitmq_options *options,
		 const amqp_connection_tune_t *tune)
{
	uint32_t frame = tune->frame_max, channels = tune->channel_max, beat = tune->heartbeat;

	connection->frame_max =
		frame ? MIN(frame, RABBITMQ_CONNECTION_FRAME) : RABBITMQ_CONNECTION_FRAME;
	connection->channel_max = channels ? MIN(channels, CHANNELS_MAX) : CHANNELS_MAX;
	connection->heartbeat_s = beat ? MIN(beat, options->heartbeat_s) : options->heartbeat_s;
}

static bool open_vhost(struct rabbitmq_connection *connection,
		       const struct rabbitmq_options *options)
{
	amqp_connection_tune_ok_t ok = {
		.channel_max = (uint16_t)connection->channel_max,
		.frame_max = connection->frame_max,
		.heartbeat = (uint16_t)connection->heartbeat_s,
	};
	amqp_connection_open_t open = {.virtual_host = amqp_cstring_bytes(options->vhost)};

	return method_put(connection, AMQP_CONNECTION_TUNE_OK_METHOD, &ok) &&
	       method_put(connection, AMQP_CONNECTION_OPEN_METHOD, &open);
}

static bool send_header(struct rabbitmq_connection *connection)
{
	static const uint8_t header[8] = {'A', 'M', 'Q', 'P', 0, 0, 9, 1};

	memcpy(connection->out, header, sizeof header); // the first that is written
	connection->out_end = sizeof header;
	return true;
}

static bool log_in(struct rabbitmq_connection *connection, const struct rabbitmq_options *options,
		   const char *name, uint64_t deadline_ns)
{
	const amqp_connection_start_t *start;
	const amqp_connection_tune_t *tuned;
	amqp_method_t method;

	assert(connection->out_end == 0);
	if (!send_header(connection) || !rabbitmq_connection_flush_all(connection, deadline_ns) ||
	    !wait_method(connection, AMQP_CONNECTION_START_METHOD, &method, deadline_ns))
		return false;
	start = method.decoded;
	version_note(connection, &start->server_properties);
	if (!authenticate(connection, options, name, start->mechanisms) ||
	    !rabbitmq_connection_flush_all(connection, deadline_ns) ||
	    !wait_method(connection, AMQP_CONNECTION_TUNE_METHOD, &method, deadline_ns))
		return false;
	tuned = method.decoded;
	if (tuned->frame_max && tuned->frame_max < FRAME_LEAST)
		return rabbitmq_connection_fail(
			connection, CODE_PROTOCOL,
			"it wants frames that are smaller than AMQP allows");
	tune(connection, options, tuned);
	return open_vhost(connection, options) &&
	       rabbitmq_connection_flush_all(connection, deadline_ns) &&
	       wait_method(connection, AMQP_CONNECTION_OPEN_OK_METHOD, &method, deadline_ns);
}

bool rabbitmq_login(struct rabbitmq_connection *connection, const struct rabbitmq_options *options,
		    const char *name, uint64_t deadline_ns)
{
	struct rabbitmq_error error;

	if (log_in(connection, options, name, deadline_ns))
		return true;
	error = connection->error;
	if (error.reply) // the broker's answer says where it stands
		return false;
	return rabbitmq_error_set(&connection->error, error.code, "at login: %s", error.text);
}
