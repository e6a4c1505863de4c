// Reads HAProxy's "The PROXY protocol", versions 1 and 2: the client's address as a balancer in
// front of us saw it.
//
// Version 1 is one line of text of at most 107 bytes. Version 2 is binary: a signature of 12 bytes,
// version and command, family and transport, the length of the rest, the addresses, and TLVs, which
// are skipped.
//
// Invariants: nothing is read behind `size`; a header is taken only as a whole; anything else is
// refused at the first byte that shows it. Not here: which peers may send such a header.

#include "core/net/proxy_header.h"

#include "core/base/util.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>

#define V1_MAX  107u // with CR LF
#define V2_HEAD 16u
#define V2_MAX  (PROXY_HEADER_MAX - V2_HEAD)

static const uint8_t signature[12] = {0x0d, 0x0a, 0x0d, 0x0a, 0x00, 0x0d,
				      0x0a, 0x51, 0x55, 0x49, 0x54, 0x0a};
static const char v1_begin[] = "PROXY ";

static void set_v4(struct proxy_header *ret, const void *address, uint16_t port_be)
{
	struct sockaddr_in *v4 = (void *)&ret->client;

	v4->sin_family = AF_INET;
	memcpy(&v4->sin_addr, address, sizeof v4->sin_addr);
	v4->sin_port = port_be;
	ret->known = true;
}

static void set_v6(struct proxy_header *ret, const void *address, uint16_t port_be)
{
	struct sockaddr_in6 *v6 = (void *)&ret->client;

	v6->sin6_family = AF_INET6;
	memcpy(&v6->sin6_addr, address, sizeof v6->sin6_addr);
	v6->sin6_port = port_be;
	ret->known = true;
}

// ---- version 1

// The next word, cut out of the line. NULL: there is none, or two blanks follow each other.
static char *word_next(char **line)
{
	char *word = *line, *blank = strchr(word, ' ');

	if (blank)
		*blank = '\0';
	*line = blank ? blank + 1 : word + strlen(word);
	return *word ? word : NULL;
}

static bool port_read(const char *text, uint16_t *ret_be)
{
	uint32_t port = 0;

	if (!text || !*text || strlen(text) > 5 || (text[0] == '0' && text[1]))
		return false;
	for (; *text; ++text) {
		if (*text < '0' || *text > '9')
			return false;
		port = port * 10 + (uint32_t)(*text - '0');
	}
	*ret_be = htons((uint16_t)port);
	return port <= UINT16_MAX;
}

static bool v1_addresses(char *line, int family, struct proxy_header *ret)
{
	uint8_t source[16], target[16];
	uint16_t source_port, target_port;
	const char *from = word_next(&line), *to = word_next(&line);
	const char *from_port = word_next(&line), *to_port = word_next(&line);

	if (!from || !to || inet_pton(family, from, source) != 1 ||
	    inet_pton(family, to, target) != 1 || !port_read(from_port, &source_port) ||
	    !port_read(to_port, &target_port) || *line)
		return false;
	if (family == AF_INET)
		set_v4(ret, source, source_port);
	else
		set_v6(ret, source, source_port);
	return true;
}

static bool v1_line(char *line, struct proxy_header *ret)
{
	const char *kind = word_next(&line);

	if (kind && strcmp(kind, "UNKNOWN") == 0)
		return true;
	if (kind && strcmp(kind, "TCP4") == 0)
		return v1_addresses(line, AF_INET, ret);
	return kind && strcmp(kind, "TCP6") == 0 && v1_addresses(line, AF_INET6, ret);
}

static int v1_read(const uint8_t *data, size_t size, struct proxy_header *ret,
		   const char **ret_problem)
{
	const size_t begin = sizeof v1_begin - 1;
	const uint8_t *end = memchr(data, '\n', MIN(size, V1_MAX));
	char line[V1_MAX];
	size_t length;

	if (!end && size < V1_MAX && !memchr(data, '\0', size))
		return 0;
	if (!end || end[-1] != '\r' || memchr(data, '\0', (size_t)(end - data))) {
		*ret_problem = "the PROXY line does not end within 107 bytes";
		return -EPROTO;
	}
	length = (size_t)(end - data) - 1 - begin;
	memcpy(line, data + begin, length);
	line[length] = '\0';
	if (v1_line(line, ret))
		return (int)(end - data) + 1;
	*ret_problem = "the PROXY line says no addresses";
	return -EPROTO;
}

// ---- version 2

static bool v2_addresses(const uint8_t *at, size_t size, uint8_t family, struct proxy_header *ret)
{
	uint16_t port_be;

	switch (family) {
	case 0x11: // IPv4, stream
		if (size < 12)
			return false;
		memcpy(&port_be, at + 8, sizeof port_be);
		set_v4(ret, at, port_be);
		return true;
	case 0x21: // IPv6, stream
		if (size < 36)
			return false;
		memcpy(&port_be, at + 32, sizeof port_be);
		set_v6(ret, at, port_be);
		return true;
	default: return true; // the balancer speaks for something that has no such address
	}
}

static int v2_read(const uint8_t *data, size_t size, struct proxy_header *ret,
		   const char **ret_problem)
{
	size_t rest;

	if (size < V2_HEAD)
		return 0;
	rest = (size_t)data[14] << 8 | data[15];
	*ret_problem = data[12] >> 4 != 2 || (data[12] & 15) > 1
			       ? "the PROXY header is of another version"
		       : rest > V2_MAX ? "the PROXY header is larger than 1,040 bytes"
				       : NULL;
	if (*ret_problem)
		return -EPROTO;
	if (size < V2_HEAD + rest)
		return 0;
	if ((data[12] & 15) == 1 && !v2_addresses(data + V2_HEAD, rest, data[13], ret)) {
		*ret_problem = "the addresses of the PROXY header are cut";
		return -EPROTO;
	}
	return (int)(V2_HEAD + rest);
}

int proxy_header_read(const uint8_t *data, size_t size, struct proxy_header *ret,
		      const char **ret_problem)
{
	*ret = (struct proxy_header){0};
	*ret_problem = NULL;
	if (memcmp(data, signature, MIN(size, sizeof signature)) == 0)
		return size ? v2_read(data, size, ret, ret_problem) : 0;
	if (memcmp(data, v1_begin, MIN(size, sizeof v1_begin - 1)) == 0)
		return v1_read(data, size, ret, ret_problem);
	*ret_problem = "there is no PROXY header";
	return -EPROTO;
}
