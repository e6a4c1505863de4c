// Addresses and CIDR blocks, and the lists of those that an access key allows and denies.
//
// IPv4 is kept as IPv6-mapped, so that an address that arrives at a dual-stack socket matches a
// plain IPv4 block. A denial wins over a permission; an empty list of permissions allows all. An
// address of another family (a Unix socket) passes only if there are no lists.

#include "core/model/network.h"

#include "core/base/util.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>

static const uint8_t mapped[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};

static int bits_parse(const char *text, unsigned most, unsigned *ret)
{
	unsigned bits = 0;

	if (!*text || strlen(text) > 3 || (text[0] == '0' && text[1]))
		return -EINVAL;
	for (; *text; ++text) {
		if (*text < '0' || *text > '9')
			return -EINVAL;
		bits = bits * 10 + (unsigned)(*text - '0');
	}
	if (bits > most)
		return -EINVAL;
	*ret = bits;
	return 0;
}

int network_parse(const char *text, struct network *ret)
{
	char address[INET6_ADDRSTRLEN];
	const char *slash = strchrnul(text, '/');
	size_t size = (size_t)(slash - text);
	struct network network = {0};
	unsigned bits, most;

	if (size >= sizeof address)
		return -EINVAL;
	memcpy(address, text, size);
	address[size] = '\0';
	if (inet_pton(AF_INET, address, network.address + 12) == 1) {
		memcpy(network.address, mapped, sizeof mapped);
		most = 32;
	} else if (inet_pton(AF_INET6, address, network.address) == 1) {
		most = 128;
	} else {
		return -EINVAL;
	}
	bits = most;
	if (*slash && bits_parse(slash + 1, most, &bits) < 0)
		return -EINVAL;
	network.bits = (uint8_t)(bits + 128 - most);
	*ret = network;
	return 0;
}

static bool address_bytes(const struct sockaddr *address, uint8_t bytes[16])
{
	if (address->sa_family == AF_INET) {
		memcpy(bytes, mapped, sizeof mapped);
		memcpy(bytes + 12, &((const struct sockaddr_in *)(const void *)address)->sin_addr,
		       4);
		return true;
	}
	if (address->sa_family == AF_INET6) {
		memcpy(bytes, &((const struct sockaddr_in6 *)(const void *)address)->sin6_addr, 16);
		return true;
	}
	return false;
}

// Whole bytes are compared at once, and of the next byte only its leading bits.
bool network_contains(const struct network *network, const struct sockaddr *address)
{
	uint8_t bytes[16];
	unsigned whole = network->bits / 8, rest = network->bits % 8;

	if (!address_bytes(address, bytes))
		return false;
	if (memcmp(bytes, network->address, whole) != 0)
		return false;
	return rest == 0 || (bytes[whole] ^ network->address[whole]) >> (8 - rest) == 0;
}

static bool list_contains(const char *const *list, size_t count, const struct sockaddr *address)
{
	struct network network;

	for (size_t i = 0; i < count; ++i)
		if (network_parse(list[i], &network) == 0 && network_contains(&network, address))
			return true;
	return false;
}

bool network_admits(const char *const *allow, size_t allow_count, const char *const *deny,
		    size_t deny_count, const struct sockaddr *address)
{
	if (address->sa_family != AF_INET && address->sa_family != AF_INET6)
		return allow_count == 0 && deny_count == 0;
	if (list_contains(deny, deny_count, address))
		return false;
	return allow_count == 0 || list_contains(allow, allow_count, address);
}
