// The reference: an acknowledging server that does nothing else. It reads whatever the socket
// holds, finds the frames by their headers, and answers every PRODUCE with OK; no check of a
// checksum or a record, no quota, no copy. What the machine and the kernel cost is what it costs.
//
//   bench_bare        prints {"address": "127.0.0.1:PORT"}, serves until it is ended
//
// One thread, epoll. Handshake and topics are answered so that the SDK takes it for a proxy: every
// access key is good whose secret is "bare".

#include "core/net/scram.h"
#include "core/wire/codec.h"
#include "core/wire/fields.h"
#include "core/wire/produced.h"
#include "tests/bench/args.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#define ROOM      (1u << 20)
#define FRAME_MAX (ROOM / 2)
#define EVENTS    64
#define WINDOW    (1ull << 62) // never used up

struct peer {
	int fd;
	bool greeted;
	struct scram_server scram;
	bool challenged;
	size_t end; // bytes in `in`
	uint8_t in[ROOM];
};

static struct scram_verifier verifier;
static uint8_t out[ROOM]; // answers of one read
static size_t out_size;

static void flush(struct peer *peer)
{
	size_t at = 0;

	while (at < out_size) {
		ssize_t sent = send(peer->fd, out + at, out_size - at, MSG_NOSIGNAL);

		if (sent >= 0) {
			at += (size_t)sent;
		} else if (errno == EAGAIN) {
			struct pollfd wait = {peer->fd, POLLOUT, 0};

			poll(&wait, 1, -1);
		} else if (errno != EINTR) {
			break; // the reader will find out too
		}
	}
	out_size = 0;
}

static uint8_t *answer_room(struct peer *peer, size_t size)
{
	if (out_size + WIRE_HEADER_SIZE + size > sizeof out)
		flush(peer);
	return out + out_size + WIRE_HEADER_SIZE;
}

static void answer_done(uint8_t type, uint32_t stream, size_t size)
{
	frame_seal(out + out_size, type, 0, stream, (uint32_t)size);
	out_size += WIRE_HEADER_SIZE + size;
}

static void on_produce(struct peer *peer, const struct frame_header *header, const uint8_t *payload)
{
	uint8_t *answer = answer_room(peer, PRODUCED_HEAD_SIZE + PRODUCED_RUN_SIZE);
	struct produced_run run = {.count = le32_get(payload + 8)};

	memcpy(answer, payload, PRODUCED_HEAD_SIZE);
	produced_run_write(answer + PRODUCED_HEAD_SIZE, &run);
	answer_done(FRAME_PRODUCED, header->stream, PRODUCED_HEAD_SIZE + PRODUCED_RUN_SIZE);
}

static void on_auth(struct peer *peer, const struct fields *fields, struct field_writer *writer)
{
	struct scram_channel channel = {{NULL, 0}, {NULL, 0}};
	char message[SCRAM_MESSAGE_MAX];
	struct slice sasl = fields->values[FIELD_SASL];
	bool first = !peer->challenged;
	int r = first ? scram_server_start(&peer->scram, false, &channel, sasl) : 0;

	if (r == 0 && first)
		r = scram_server_challenge(&peer->scram, &verifier, "a-nonce-of-the-bare-server",
					   message);
	else if (r == 0)
		r = scram_server_final(&peer->scram, sasl, message);
	if (r != 0)
		die("a client could not be authenticated");
	peer->challenged = true;
	field_put_bytes(writer, FIELD_SASL, message, strlen(message));
	if (first) {
		answer_done(FRAME_AUTH, 0, writer->size);
		return;
	}
	field_put_text(writer, FIELD_TENANT, "bare");
	field_put_int(writer, FIELD_WINDOW, WINDOW);
	field_put_int(writer, FIELD_SESSION, 1);
	answer_done(FRAME_READY, 0, writer->size);
}

static void on_control(struct peer *peer, const struct frame_header *header, const uint8_t *payload)
{
	struct field_writer writer;
	struct fields fields;

	field_writer_init(&writer, answer_room(peer, WIRE_EARLY_MAX), WIRE_EARLY_MAX);
	if (header->type == FRAME_PING) {
		memcpy(writer.data, payload, 8);
		answer_done(FRAME_PONG, 0, 8);
		return;
	}
	if (header->type == FRAME_PONG || header->type == FRAME_GOAWAY)
		return;
	if (fields_read(payload, header->size, &fields))
		die("a client sent a malformed %s", frame_name(header->type));
	switch (header->type) {
	case FRAME_HELLO:
		field_put_int(&writer, FIELD_CODECS, 1);
		field_put_int(&writer, FIELD_MAX_FRAME, FRAME_MAX);
		field_put_int(&writer, FIELD_MAX_MESSAGE, FRAME_MAX / 2);
		field_put_text(&writer, FIELD_MECHANISMS, SCRAM_MECHANISM);
		field_put_int(&writer, FIELD_KEEPALIVE_MS, 600000);
		answer_done(FRAME_WELCOME, 0, writer.size);
		break;
	case FRAME_AUTH: on_auth(peer, &fields, &writer); break;
	case FRAME_OPEN_TOPIC:
		field_put_int(&writer, FIELD_PARTITIONS, 1);
		field_put_int(&writer, FIELD_DURABILITY, 0);
		answer_done(FRAME_TOPIC_OPENED, header->stream, writer.size);
		break;
	case FRAME_CLOSE:
		field_put_int(&writer, FIELD_CODE, 0);
		answer_done(FRAME_CLOSED, header->stream, writer.size);
		break;
	default: die("a client sent %s", frame_name(header->type));
	}
}

static void take_frames(struct peer *peer)
{
	size_t at = 0;

	if (!peer->greeted && peer->end >= WIRE_PREFACE_SIZE) {
		peer->greeted = true;
		at = WIRE_PREFACE_SIZE;
	}
	while (peer->greeted && peer->end - at >= WIRE_HEADER_SIZE) {
		struct frame_header header;
		const uint8_t *payload = peer->in + at + WIRE_HEADER_SIZE;

		if (frame_decode(peer->in + at, WIRE_BY_CLIENT, FRAME_MAX, &header))
			die("a client sent what is no frame");
		if (peer->end - at < WIRE_HEADER_SIZE + header.size)
			break;
		if (header.type == FRAME_PRODUCE)
			on_produce(peer, &header, payload);
		else
			on_control(peer, &header, payload);
		at += WIRE_HEADER_SIZE + header.size;
	}
	flush(peer);
	memmove(peer->in, peer->in + at, peer->end - at);
	peer->end -= at;
}

static void on_readable(struct peer *peer)
{
	ssize_t got = recv(peer->fd, peer->in + peer->end, sizeof peer->in - peer->end, 0);

	if (got < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (got <= 0) {
		close(peer->fd);
		free(peer);
		return;
	}
	peer->end += (size_t)got;
	take_frames(peer);
}

static void on_connection(int epoll, int listener)
{
	int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC), one = 1;
	struct peer *peer = fd < 0 ? NULL : calloc(1, sizeof *peer);
	struct epoll_event event = {.events = EPOLLIN, .data = {.ptr = peer}};

	if (!peer)
		die("cannot accept: %s", strerror(errno));
	peer->fd = fd;
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
	epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event);
}

static int listen_anywhere(void)
{
	struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
	socklen_t size = sizeof address;
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd < 0 || bind(fd, (struct sockaddr *)&address, size) < 0 || listen(fd, 1024) < 0 ||
	    getsockname(fd, (struct sockaddr *)&address, &size) < 0)
		die("cannot listen: %s", strerror(errno));
	printf("{\"address\": \"127.0.0.1:%u\"}\n", ntohs(address.sin_port));
	fflush(stdout);
	return fd;
}

int main(void)
{
	int epoll = epoll_create1(EPOLL_CLOEXEC), listener = listen_anywhere();
	struct epoll_event events[EVENTS], event = {.events = EPOLLIN, .data = {.ptr = NULL}};
	uint8_t salt[SCRAM_SALT_SIZE] = {1};

	if (scram_verifier_make("bare", salt, SCRAM_ITERATIONS, &verifier) != 0)
		die("cannot make a verifier");
	epoll_ctl(epoll, EPOLL_CTL_ADD, listener, &event);
	for (;;) {
		int count = epoll_wait(epoll, events, EVENTS, -1);

		for (int i = 0; i < count; ++i)
			if (events[i].data.ptr)
				on_readable(events[i].data.ptr);
			else
				on_connection(epoll, listener);
	}
}
