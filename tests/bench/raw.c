// Handshake, opening a topic and cutting frames, by plain reads and writes. Whatever the server
// says that is not expected ends the program.

#include "tests/bench/raw.h"

#include "core/net/scram.h"
#include "core/wire/fields.h"
#include "core/wire/produce.h"
#include "core/wire/record.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define READ_ROOM (1u << 20)
#define FRAME_MAX (1u << 16) // largest frame a server sends to these programs

static int connect_to(const char *address)
{
	struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *info;
	char host[256];
	const char *colon = strrchr(address, ':');
	int fd, one = 1;

	if (!colon || (size_t)(colon - address) >= sizeof host)
		die("address=%s is not HOST:PORT", address);
	memcpy(host, address, (size_t)(colon - address));
	host[colon - address] = 0;
	if (getaddrinfo(host, colon + 1, &hints, &info) != 0)
		die("no such host: %s", host);
	fd = socket(info->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0 || connect(fd, info->ai_addr, info->ai_addrlen) < 0)
		die("cannot connect to %s: %s", address, strerror(errno));
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
	freeaddrinfo(info);
	return fd;
}

void raw_write(struct raw *raw, const void *bytes, size_t size)
{
	const char *at = bytes;

	while (size > 0) {
		ssize_t sent = send(raw->fd, at, size, MSG_NOSIGNAL);

		if (sent < 0 && errno != EINTR)
			die("cannot send: %s", strerror(errno));
		if (sent > 0) {
			at += sent;
			size -= (size_t)sent;
		}
	}
}

void raw_fill(struct raw *raw)
{
	ssize_t got;

	if (raw->start > 0) {
		memmove(raw->in, raw->in + raw->start, raw->end - raw->start);
		raw->end -= raw->start;
		raw->start = 0;
	}
	got = recv(raw->fd, raw->in + raw->end, raw->room - raw->end, 0);
	if (got < 0 && errno == EINTR)
		return;
	if (got <= 0)
		die("the server ended the connection%s%s", got < 0 ? ": " : "",
		    got < 0 ? strerror(errno) : "");
	raw->end += (size_t)got;
}

static void send_frame(struct raw *raw, uint8_t type, uint32_t stream, struct field_writer *fields)
{
	frame_seal(fields->data - WIRE_HEADER_SIZE, type, 0, stream, (uint32_t)fields->size);
	raw_write(raw, fields->data - WIRE_HEADER_SIZE, WIRE_HEADER_SIZE + fields->size);
}

static void refused(const struct frame_header *header, const uint8_t *payload)
{
	struct fields fields;
	char text[1025] = "";

	if (!fields_read(payload, header->size, &fields))
		fields_text(&fields, FIELD_TEXT, text, sizeof text);
	die("the server sent %s: %s", frame_name(header->type), text);
}

bool raw_next(struct raw *raw, struct frame_header *ret, const uint8_t **ret_payload)
{
	while (raw->end - raw->start >= WIRE_HEADER_SIZE) {
		const uint8_t *at = raw->in + raw->start;
		const char *problem = frame_decode(at, WIRE_BY_SERVER, FRAME_MAX, ret);

		if (problem)
			die("the server is not understood: %s", problem);
		if (raw->end - raw->start < WIRE_HEADER_SIZE + ret->size)
			return false;
		raw->start += WIRE_HEADER_SIZE + ret->size;
		*ret_payload = at + WIRE_HEADER_SIZE;
		if (ret->type == FRAME_ERROR || ret->type == FRAME_GOAWAY)
			refused(ret, *ret_payload);
		if (ret->type == FRAME_WINDOW)
			raw->granted = le64_get(*ret_payload);
		else if (ret->type == FRAME_PING) {
			uint8_t pong[WIRE_HEADER_SIZE + 8];

			memcpy(pong + WIRE_HEADER_SIZE, *ret_payload, 8);
			frame_seal(pong, FRAME_PONG, 0, 0, 8);
			raw_write(raw, pong, sizeof pong);
		} else if (ret->type != FRAME_ADDRESSES)
			return true;
	}
	return false;
}

static void expect(struct raw *raw, uint8_t type, struct fields *ret)
{
	struct frame_header header;
	const uint8_t *payload;
	const char *problem;

	while (!raw_next(raw, &header, &payload))
		raw_fill(raw);
	if (header.type != type)
		die("%s came instead of %s", frame_name(header.type), frame_name(type));
	problem = fields_read(payload, header.size, ret);
	if (problem)
		die("%s: %s", frame_name(type), problem);
}

static void authenticate(struct raw *raw, const struct args *args)
{
	uint8_t room[WIRE_HEADER_SIZE + SCRAM_MESSAGE_MAX + 64];
	const char *key = args_text(args, "key", "bare"),
		   *secret = args_text(args, "secret", "bare");
	struct scram_channel channel = {{NULL, 0}, {NULL, 0}};
	char message[SCRAM_MESSAGE_MAX];
	struct field_writer writer;
	struct scram_client client;
	struct fields fields;
	bool plus;

	if (scram_client_start(&client, key, secret, "a-nonce-of-the-benchmark", &channel, false,
			       NULL, &plus, message) != 0)
		die("key= or secret= is no access key");
	field_writer_init(&writer, room + WIRE_HEADER_SIZE, sizeof room - WIRE_HEADER_SIZE);
	send_frame(raw, FRAME_HELLO, 0, &writer);
	field_put_text(&writer, FIELD_MECHANISM, SCRAM_MECHANISM);
	field_put_bytes(&writer, FIELD_SASL, message, strlen(message));
	send_frame(raw, FRAME_AUTH, 0, &writer);
	expect(raw, FRAME_WELCOME, &fields);
	expect(raw, FRAME_AUTH, &fields);
	if (scram_client_answer(&client, fields.values[FIELD_SASL], message) != 0)
		die("the server's challenge is not understood");
	field_writer_init(&writer, room + WIRE_HEADER_SIZE, sizeof room - WIRE_HEADER_SIZE);
	field_put_bytes(&writer, FIELD_SASL, message, strlen(message));
	send_frame(raw, FRAME_AUTH, 0, &writer);
	expect(raw, FRAME_READY, &fields);
	raw->granted = fields_int(&fields, FIELD_WINDOW, 0);
	scram_client_deinit(&client);
}

void raw_connect(const struct args *args, struct raw *ret)
{
	*ret = (struct raw){.fd = connect_to(args_text(args, "address", "127.0.0.1:7300")),
			    .in = malloc(READ_ROOM),
			    .room = READ_ROOM};
	if (!ret->in)
		die("out of memory");
	raw_write(ret, frame_preface, WIRE_PREFACE_SIZE);
	authenticate(ret, args);
}

void raw_open_topic(struct raw *raw, uint32_t stream, const char *topic)
{
	uint8_t room[WIRE_HEADER_SIZE + 300];
	struct field_writer writer;
	struct fields fields;

	field_writer_init(&writer, room + WIRE_HEADER_SIZE, sizeof room - WIRE_HEADER_SIZE);
	field_put_text(&writer, FIELD_TOPIC, topic);
	send_frame(raw, FRAME_OPEN_TOPIC, stream, &writer);
	expect(raw, FRAME_TOPIC_OPENED, &fields);
}

void raw_close(struct raw *raw)
{
	close(raw->fd);
	free(raw->in);
}

struct slice raw_frame(uint32_t count, uint32_t size)
{
	uint8_t id[RECORD_ID_SIZE] = {1}, *body = calloc(1, size + 1), *frame;
	struct record_parts parts = {.id = id, .created_ms = 1700000000000, .body = {body, size}};
	size_t record = record_parts_size(&parts),
	       payload = PRODUCE_HEAD_SIZE + (size_t)count * record;

	frame = malloc(WIRE_HEADER_SIZE + payload);
	if (!frame || !body)
		die("out of memory");
	memset(body, 'b', size);
	produce_head_write(frame + WIRE_HEADER_SIZE,
			   &(struct produce_head){.batch = 1, .count = count});
	for (uint32_t i = 0; i < count; ++i) {
		le32_put(id + 12, i);
		record_write(&parts,
			     frame + WIRE_HEADER_SIZE + PRODUCE_HEAD_SIZE + (size_t)i * record);
	}
	frame_seal(frame, FRAME_PRODUCE, 0, 1, (uint32_t)payload);
	free(body);
	return (struct slice){frame, WIRE_HEADER_SIZE + payload};
}
