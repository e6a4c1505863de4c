// core/net/proxy_header: both versions, in every cutting, and what is refused.

#include "core/net/proxy_header.h"
#include "tests/unit/unit.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>

#define V2          "\r\n\r\n\0\r\nQUIT\n"
#define V4          "\x21\x11\0\x0c\xc0\0\x02\x07\x0a\0\0\x01\x11\x5c\x1c\x84"
#define V6_HEAD     "\x21\x21\0\x24"
#define A6          "\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x07"
#define BYTES(text) (const uint8_t *)(text), sizeof(text) - 1

static const struct {
	const uint8_t *data;
	size_t size, rest;  // bytes behind the header
	const char *client; // NULL: not known
	uint16_t port;
} good[] = {
	{BYTES("PROXY TCP4 192.0.2.7 10.0.0.1 4444 7300\r\n"), 0, "192.0.2.7", 4444},
	{BYTES("PROXY TCP4 255.255.255.255 255.255.255.255 65535 65535\r\nPROXY "), 6,
	 "255.255.255.255", 65535},
	{BYTES("PROXY TCP6 2001:db8::7 ::1 0 1\r\n\xcd"), 1, "2001:db8::7", 0},
	{BYTES("PROXY UNKNOWN\r\n"), 0, NULL, 0},
	{BYTES("PROXY UNKNOWN ffff::1 anything 1 2 3\r\n"), 0, NULL, 0},
	{BYTES(V2 V4), 0, "192.0.2.7", 4444},
	{BYTES(V2 "\x21\x11\0\x10\xc0\0\x02\x07\x0a\0\0\x01\x11\x5c\x1c\x84\x03\0\x01\0\x16"), 1,
	 "192.0.2.7", 4444},
	{BYTES(V2 V6_HEAD A6 A6 "\x11\x5c\x1c\x84"), 0, "2001:db8::7", 4444},
	{BYTES(V2 "\x20\0\0\0"), 0, NULL, 0}, // LOCAL
	{BYTES(V2 "\x20\x11\0\x0c\xc0\0\x02\x07\x0a\0\0\x01\0\0\0\0"), 0, NULL, 0},
	{BYTES(V2 "\x21\x31\0\x03"
		  "abc\x16"),
	 1, NULL, 0}, // a UNIX socket
};

static void what_is_a_header(void)
{
	for (size_t i = 0; i < ARRAY_SIZE(good); ++i) {
		size_t whole = good[i].size - good[i].rest;
		char text[INET6_ADDRSTRLEN];
		struct proxy_header header;
		const char *problem;

		for (size_t n = 0; n < whole; ++n)
			CHECK_EQ(proxy_header_read(good[i].data, n, &header, &problem), 0);
		for (size_t n = whole; n <= good[i].size; ++n)
			CHECK_EQ(proxy_header_read(good[i].data, n, &header, &problem), whole);
		CHECK_EQ(header.known, good[i].client != NULL);
		if (!header.known)
			continue;
		if (header.client.ss_family == AF_INET) {
			struct sockaddr_in *v4 = (void *)&header.client;

			inet_ntop(AF_INET, &v4->sin_addr, text, sizeof text);
			CHECK_EQ(ntohs(v4->sin_port), good[i].port);
		} else {
			struct sockaddr_in6 *v6 = (void *)&header.client;

			inet_ntop(AF_INET6, &v6->sin6_addr, text, sizeof text);
			CHECK_EQ(ntohs(v6->sin6_port), good[i].port);
		}
		CHECK_STR(text, good[i].client);
	}
}

static const struct {
	const uint8_t *data;
	size_t size;
} bad[] = {
	{BYTES("GET / HTTP/1.1\r\n")},
	{BYTES("\xcdMQP")},
	{BYTES("\x16\x03\x01")},
	{BYTES("proxy TCP4 ")},
	{BYTES("PROXY \r\n")},
	{BYTES("PROXY TCP5 1.2.3.4 1.2.3.4 1 2\r\n")},
	{BYTES("PROXY TCP4 1.2.3.4 1.2.3.4 1 2\n")},
	{BYTES("PROXY TCP4 1.2.3.4 1.2.3.4 1\r\n")},
	{BYTES("PROXY TCP4 1.2.3.4 1.2.3.4 1 2 3\r\n")},
	{BYTES("PROXY TCP4  1.2.3.4 1.2.3.4 1 2\r\n")},
	{BYTES("PROXY TCP4 1.2.3.4 1.2.3.4 1 65536\r\n")},
	{BYTES("PROXY TCP4 1.2.3.4 1.2.3.4 01 2\r\n")},
	{BYTES("PROXY TCP4 1.2.3.4 1.2.3.4 -1 2\r\n")},
	{BYTES("PROXY TCP4 1.2.3 1.2.3.4 1 2\r\n")},
	{BYTES("PROXY TCP4 ::1 ::1 1 2\r\n")},
	{BYTES("PROXY TCP6 1.2.3.4 1.2.3.4 1 2\r\n")},
	{BYTES("PROXY TCP4 1.2.3.4\0 1.2.3.4 1 2\r\n")},
	{BYTES(V2 "\x11\x11\0\x0c\xc0\0\x02\x07\x0a\0\0\x01\x11\x5c\x1c\x84")}, // version 1
	{BYTES(V2 "\x22\x11\0\x0c\xc0\0\x02\x07\x0a\0\0\x01\x11\x5c\x1c\x84")}, // a command
	{BYTES(V2 "\x21\x11\0\x04\xc0\0\x02\x07")},
	{BYTES(V2 "\x21\x21\0\x0c\xc0\0\x02\x07\x0a\0\0\x01\x11\x5c\x1c\x84")},
	{BYTES(V2 "\x21\x11\xff\xff")},
};

static void what_is_none(void)
{
	struct proxy_header header;
	const char *problem;
	uint8_t line[200];

	for (size_t i = 0; i < ARRAY_SIZE(bad); ++i) {
		CHECK_EQ(proxy_header_read(bad[i].data, bad[i].size, &header, &problem), -EPROTO);
		CHECK(problem);
	}
	memset(line, ' ', sizeof line); // a line without end
	memcpy(line, "PROXY UNKNOWN", 13);
	CHECK_EQ(proxy_header_read(line, 106, &header, &problem), 0);
	CHECK_EQ(proxy_header_read(line, 107, &header, &problem), -EPROTO);
	memcpy(line + 105, "\r\n", 2);
	CHECK_EQ(proxy_header_read(line, 107, &header, &problem), 107);
}

UNIT_MAIN(UNIT_CASE(what_is_a_header), UNIT_CASE(what_is_none))
