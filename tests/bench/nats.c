// The same load for NATS JetStream: one producer that publishes to a stream kept in files, and
// counts the stream's acknowledgements.
//
//   bench_nats address= [size=BYTES] [flight=N] [seconds=N]
//
// At most `flight` messages are not acknowledged. Prints messages and seconds until the last
// acknowledgement. The protocol is lines of text: https://docs.nats.io/reference/nats-protocols

#include "core/base/clock.h"
#include "core/base/util.h"
#include "tests/bench/args.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define ROOM     (1u << 20)
#define PORTION  256u // messages written at once
#define LINE_MAX 512u

#define STREAM "{\"name\":\"bench\",\"subjects\":[\"bench\"],\"storage\":\"file\"}"

static int fd;
static char in[ROOM];
static size_t in_size;
static uint64_t answers; // messages that came on our subscription

static void connect_to(const char *address)
{
	struct sockaddr_in to = {.sin_family = AF_INET};
	char host[64];
	unsigned port;
	int one = 1;

	if (sscanf(address, "%63[^:]:%u", host, &port) != 2 ||
	    inet_pton(AF_INET, host, &to.sin_addr) != 1)
		die("address=%s is not IP:PORT", address);
	to.sin_port = htons((uint16_t)port);
	fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0 || connect(fd, (struct sockaddr *)&to, sizeof to) < 0)
		die("cannot connect: %s", strerror(errno));
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
}

static void write_all(const char *bytes, size_t size)
{
	while (size) {
		ssize_t sent = send(fd, bytes, size, MSG_NOSIGNAL);

		if (sent < 0 && errno != EINTR)
			die("cannot send: %s", strerror(errno));
		bytes += MAX(sent, 0);
		size -= (size_t)MAX(sent, 0);
	}
}

static void write_text(const char *text)
{
	write_all(text, strlen(text));
}

// Bytes of the first thing the server said, 0 when it is not whole yet.
static size_t take_one(const char *at, size_t size)
{
	const char *end = memchr(at, '\n', size), *space;
	size_t line = end ? (size_t)(end - at) + 1 : 0, body;

	if (!line)
		return 0;
	if (strncmp(at, "-ERR", 4) == 0)
		die("the server says %.*s", (int)line, at);
	if (strncmp(at, "PING", 4) == 0)
		write_text("PONG\r\n");
	if (strncmp(at, "MSG ", 4) != 0)
		return line;
	space = memrchr(at, ' ', line);
	body = strtoul(space + 1, NULL, 10) + 2;
	if (size < line + body)
		return 0;
	if (memmem(at + line, body, "\"error\"", 7))
		die("the stream refuses: %.*s", (int)body, at + line);
	++answers;
	return line + body;
}

// Reads what is there; waits only when asked to.
static void take_all(bool wait)
{
	ssize_t got = recv(fd, in + in_size, sizeof in - in_size, wait ? 0 : MSG_DONTWAIT);
	size_t at = 0, taken;

	if (got < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (got <= 0)
		die("the server has gone");
	in_size += (size_t)got;
	while ((taken = take_one(in + at, in_size - at)))
		at += taken;
	memmove(in, in + at, in_size - at);
	in_size -= at;
}

// PORTION publications; returns their bytes.
static size_t portion_make(uint64_t size, char **ret)
{
	size_t one = size + LINE_MAX, used = 0;
	char *bytes = malloc(PORTION * one);

	if (!bytes)
		die("out of memory");
	for (uint32_t i = 0; i < PORTION; ++i) {
		used += (size_t)snprintf(bytes + used, LINE_MAX, "PUB bench _INBOX.b %llu\r\n",
					 (unsigned long long)size);
		memset(bytes + used, 'b', size);
		memcpy(bytes + used + size, "\r\n", 2);
		used += size + 2;
	}
	*ret = bytes;
	return used;
}

int main(int argc, char **argv)
{
	struct args args = {argc, argv};
	uint64_t flight = args_number(&args, "flight", 16384), sent = 0, started_ns, until_ns;
	char *portion, line[LINE_MAX];
	size_t portion_size = portion_make(args_number(&args, "size", 100), &portion);

	connect_to(args_text(&args, "address", NULL));
	write_text("CONNECT {\"verbose\":false,\"pedantic\":false}\r\nSUB _INBOX.b 1\r\n");
	snprintf(line, sizeof line, "PUB $JS.API.STREAM.CREATE.bench _INBOX.b %zu\r\n%s\r\n",
		 strlen(STREAM), STREAM);
	write_text(line);
	while (!answers)
		take_all(true);
	answers = 0;
	started_ns = clock_now_ns();
	until_ns = started_ns + args_number(&args, "seconds", 2) * S_NS;
	while (clock_now_ns() < until_ns) {
		while (sent + PORTION > answers + flight)
			take_all(true);
		write_all(portion, portion_size);
		sent += PORTION;
		take_all(false);
	}
	while (answers < sent)
		take_all(true);
	printf("{\"messages\": %llu, \"seconds\": %.6f}\n", (unsigned long long)answers,
	       (double)(clock_now_ns() - started_ns) / 1e9);
	free(portion);
	close(fd);
	return 0;
}
