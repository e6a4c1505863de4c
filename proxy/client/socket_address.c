// Compares socket addresses with lists of addresses and blocks.
//
// Every address is compared as 16 bytes: an IPv4 address as the IPv6 address that it is mapped to,
// so that one list serves both kinds of listeners.

#include "proxy/client/socket_address.h"

#include "core/base/util.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>

static const uint8_t v4_prefix[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};

void socket_address_text(const struct sockaddr *address, char room[SOCKET_ADDRESS_TEXT_MAX])
{
	const struct sockaddr_in *v4 = (const void *)address;
	const struct sockaddr_in6 *v6 = (const void *)address;
	char host[INET6_ADDRSTRLEN] = "?";

	if (address->sa_family == AF_INET) {
		inet_ntop(AF_INET, &v4->sin_addr, host, sizeof host);
		snprintf(room, SOCKET_ADDRESS_TEXT_MAX, "%s:%u", host, ntohs(v4->sin_port));
	} else if (address->sa_family == AF_INET6 && IN6_IS_ADDR_V4MAPPED(&v6->sin6_addr)) {
		inet_ntop(AF_INET, v6->sin6_addr.s6_addr + 12, host, sizeof host);
		snprintf(room, SOCKET_ADDRESS_TEXT_MAX, "%s:%u", host, ntohs(v6->sin6_port));
	} else if (address->sa_family == AF_INET6) {
		inet_ntop(AF_INET6, &v6->sin6_addr, host, sizeof host);
		snprintf(room, SOCKET_ADDRESS_TEXT_MAX, "[%s]:%u", host, ntohs(v6->sin6_port));
	} else {
		snprintf(room, SOCKET_ADDRESS_TEXT_MAX, "?");
	}
}

// A plain address as 16 bytes; *ret_bits: how long it is as its own kind, less what the mapping
// adds.
static bool address_bytes(const char *text, uint8_t ret[16], unsigned *ret_offset)
{
	*ret_offset = 0;
	if (inet_pton(AF_INET6, text, ret) == 1)
		return true;
	memcpy(ret, v4_prefix, sizeof v4_prefix);
	*ret_offset = 96;
	return inet_pton(AF_INET, text, ret + 12) == 1;
}

static bool host_of(const char *text, char room[SOCKET_ADDRESS_TEXT_MAX])
{
	const char *start = *text == '[' ? text + 1 : text;
	const char *end = *text == '[' ? strchr(text, ']') : strrchr(text, ':');
	size_t size = end ? (size_t)(end - start) : strlen(start);

	if (size >= SOCKET_ADDRESS_TEXT_MAX)
		return false;
	memcpy(room, start, size);
	room[size] = 0;
	return true;
}

static bool same_bits(const uint8_t *a, const uint8_t *b, unsigned bits)
{
	unsigned bytes = bits / 8, rest = bits % 8;

	if (memcmp(a, b, bytes) != 0)
		return false;
	return rest == 0 || ((a[bytes] ^ b[bytes]) >> (8 - rest)) == 0;
}

bool socket_address_in(const char *text, const char *block)
{
	char host[SOCKET_ADDRESS_TEXT_MAX], network[SOCKET_ADDRESS_TEXT_MAX];
	uint8_t address[16], base[16];
	unsigned offset, ignored, bits;
	const char *slash = strchr(block, '/');
	size_t size = slash ? (size_t)(slash - block) : strlen(block);
	char *end;
	long prefix;

	if (!host_of(text, host) || size >= sizeof network)
		return false;
	memcpy(network, block, size);
	network[size] = 0;
	if (!address_bytes(host, address, &ignored) || !address_bytes(network, base, &offset))
		return false;
	bits = 128;
	if (slash) {
		prefix = strtol(slash + 1, &end, 10);
		if (end == slash + 1 || *end || prefix < 0 || prefix > (long)(128 - offset))
			return false;
		bits = offset + (unsigned)prefix;
	}
	return same_bits(address, base, bits);
}

int socket_address_parse(const char *text, struct sockaddr_storage *ret, socklen_t *ret_size)
{
	struct addrinfo hints = {.ai_family = AF_UNSPEC,
				 .ai_socktype = SOCK_STREAM,
				 .ai_flags = AI_PASSIVE | AI_NUMERICSERV};
	struct addrinfo *found;
	const char *colon = strrchr(text, ':');
	char host[256];
	size_t size;

	if (!colon || !colon[1])
		return -EINVAL;
	size = (size_t)(colon - text);
	if (size >= 2 && text[0] == '[' && text[size - 1] == ']') {
		++text;
		size -= 2;
	}
	if (size >= sizeof host)
		return -EINVAL;
	memcpy(host, text, size);
	host[size] = 0;
	if (getaddrinfo(size ? host : NULL, colon + 1, &hints, &found) != 0)
		return -EINVAL;
	memcpy(ret, found->ai_addr, found->ai_addrlen);
	*ret_size = found->ai_addrlen;
	freeaddrinfo(found);
	return 0;
}
