// Counts failed tries by address.
//
// A try costs an address one of ten credits; one comes back every six seconds. The table is
// small and fixed: addresses that hash alike share a row, which can only make the limit stricter.
// A host of IPv6 may choose any address of its /64, so that is one address here.
// There is also one row for all addresses together, a hundred times as generous, because a try
// costs CPU.

#include "portal-api/throttle.h"

#include "core/base/util.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>

enum { HOST_BYTES = 8, ROWS = 1024, CREDITS = 10, EVERY_MS = 6000, ALL_SHARE = 100 };

struct throttle {
	uint64_t rows[ROWS]; // the time when all credits are back, as in the cell rate algorithm
	uint64_t all;
};

static uint64_t *row_of(struct throttle *throttle, const char *address)
{
	struct in6_addr v6;
	bool host = inet_pton(AF_INET6, address, &v6) == 1 && !IN6_IS_ADDR_V4MAPPED(&v6);
	const char *bytes = host ? (const char *)&v6 : address;
	size_t size = host ? HOST_BYTES : strlen(address);
	uint64_t hash = 14695981039346656037ull;

	for (size_t i = 0; i < size; ++i)
		hash = (hash ^ (unsigned char)bytes[i]) * 1099511628211ull;
	return &throttle->rows[(hash ^ hash >> 32) % ROWS];
}

// Nanoseconds until a credit is there.
static uint64_t missing(uint64_t full_ns, uint64_t every_ns, uint64_t credits, uint64_t now_ns)
{
	uint64_t at_most = now_ns + (credits - 1) * every_ns;

	return full_ns > at_most ? full_ns - at_most : 0;
}

int throttle_new(struct throttle **ret)
{
	*ret = calloc(1, sizeof **ret);
	return *ret ? 0 : -ENOMEM;
}

void throttle_free(struct throttle *throttle)
{
	free(throttle);
}

bool throttle_allows(struct throttle *throttle, const char *address, uint64_t now_ns,
		     uint32_t *ret_wait_s)
{
	uint64_t wait = MAX(
		missing(*row_of(throttle, address), EVERY_MS * MS_NS, CREDITS, now_ns),
		missing(throttle->all, EVERY_MS * MS_NS / ALL_SHARE, CREDITS * ALL_SHARE, now_ns));

	*ret_wait_s = (uint32_t)((wait + S_NS - 1) / S_NS);
	return wait == 0;
}

void throttle_take(struct throttle *throttle, const char *address, uint64_t now_ns)
{
	uint64_t *row = row_of(throttle, address);

	*row = MAX(*row, now_ns) + EVERY_MS * MS_NS;
	throttle->all = MAX(throttle->all, now_ns) + EVERY_MS * MS_NS / ALL_SHARE;
}

void throttle_give_back(struct throttle *throttle, const char *address)
{
	*row_of(throttle, address) -= EVERY_MS * MS_NS;
	throttle->all -= EVERY_MS * MS_NS / ALL_SHARE;
}
