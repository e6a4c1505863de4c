// Counts failed tries by address.
//
// A try costs an address one of ten credits; one comes back every six seconds. The tables are small
// and fixed: addresses that hash alike share a row, which can only make the limit stricter. A host
// of IPv6 may choose any address of its /64, so a /64 is one address here. A try costs CPU, so
// there is also a row for each prefix (/16 and /32), ten times as generous, and one for all
// together, a hundred times: a single network cannot use up what all share.
//
// An attacker with many addresses can use all of these up. So an address from which a user has
// logged in has a row of its own and needs no other: an attacker cannot lock out an operator who
// has logged in from there before.
//
// Invariant: constant memory. Nothing is kept over a restart. Not here: what a try is (sessions.c).

#include "portal-api/throttle.h"

#include "core/base/util.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>

enum { ROWS = 1024, CREDITS = 10, EVERY_MS = 6000, PREFIX_SHARE = 10, ALL_SHARE = 100 };

// What is kept is the time when all credits are back, as in the cell rate algorithm.
struct throttle {
	uint64_t seed; // of the hashes: which addresses share a row is secret
	uint64_t addresses[ROWS], prefixes[ROWS], all;
	struct {
		uint64_t tag; // of the address; 0: none
		uint64_t full_ns;
	} known[ROWS];
};

static uint64_t hash_of(const struct throttle *throttle, const void *bytes, size_t size)
{
	uint64_t hash = throttle->seed;

	for (size_t i = 0; i < size; ++i)
		hash = (hash ^ ((const uint8_t *)bytes)[i]) * 1099511628211ull;
	return hash ^ hash >> 32;
}

struct rows {
	uint64_t tag;
	uint64_t *known; // its own row; NULL: no user has logged in from there
	uint64_t *address, *prefix;
};

// The rows of an address: IPv4 by 4 bytes, IPv6 by its /64, prefixes by half of that. A text that
// is no address counts as itself. The low bit of a tag is set, so that 0 means an empty row.
static struct rows rows_of(struct throttle *throttle, const char *address)
{
	struct in6_addr v6;
	struct in_addr v4;
	const void *bytes = address;
	size_t size = strlen(address), prefix = size;
	uint64_t tag;

	if (inet_pton(AF_INET6, address, &v6) == 1) {
		bool mapped = IN6_IS_ADDR_V4MAPPED(&v6);

		bytes = mapped ? (const uint8_t *)&v6 + 12 : (const uint8_t *)&v6;
		size = mapped ? 4 : 8;
		prefix = size / 2;
	} else if (inet_pton(AF_INET, address, &v4) == 1) {
		bytes = &v4;
		size = 4;
		prefix = 2;
	}
	tag = hash_of(throttle, bytes, size) | 1;
	return (struct rows){.tag = tag,
			     .known = throttle->known[tag / 2 % ROWS].tag == tag
					      ? &throttle->known[tag / 2 % ROWS].full_ns
					      : NULL,
			     .address = &throttle->addresses[tag / 2 % ROWS],
			     .prefix =
				     &throttle->prefixes[hash_of(throttle, bytes, prefix) % ROWS]};
}

// Nanoseconds until a credit is there, in a row that is `share` times as generous.
static uint64_t missing_ns(uint64_t full_ns, uint64_t share, uint64_t now_ns)
{
	uint64_t at_most = now_ns + (CREDITS * share - 1) * (EVERY_MS * MS_NS / share);

	return full_ns > at_most ? full_ns - at_most : 0;
}

// A row is the time at which all its credits are back; each credit taken moves it by the time that
// one needs.
static void take_credit(uint64_t *row, uint64_t share, uint64_t now_ns)
{
	*row = MAX(*row, now_ns) + EVERY_MS * MS_NS / share;
}

static void give_back(uint64_t *row, uint64_t share)
{
	*row -= MIN(*row, EVERY_MS * MS_NS / share);
}

int throttle_new(uint64_t seed, struct throttle **ret)
{
	struct throttle *throttle = calloc(1, sizeof *throttle);

	if (!throttle)
		return -ENOMEM;
	throttle->seed = seed;
	*ret = throttle;
	return 0;
}

void throttle_free(struct throttle *throttle)
{
	free(throttle);
}

bool throttle_allows(struct throttle *throttle, const char *address, uint64_t now_ns,
		     uint32_t *ret_wait_s)
{
	struct rows rows = rows_of(throttle, address);
	uint64_t wait = missing_ns(rows.known ? *rows.known : *rows.address, 1, now_ns);

	if (!rows.known) {
		wait = MAX(wait, missing_ns(*rows.prefix, PREFIX_SHARE, now_ns));
		wait = MAX(wait, missing_ns(throttle->all, ALL_SHARE, now_ns));
	}
	*ret_wait_s = (uint32_t)((wait + S_NS - 1) / S_NS);
	return wait == 0;
}

void throttle_take(struct throttle *throttle, const char *address, uint64_t now_ns)
{
	struct rows rows = rows_of(throttle, address);

	if (rows.known) {
		take_credit(rows.known, 1, now_ns);
		return;
	}
	take_credit(rows.address, 1, now_ns);
	take_credit(rows.prefix, PREFIX_SHARE, now_ns);
	take_credit(&throttle->all, ALL_SHARE, now_ns);
}

void throttle_give_back(struct throttle *throttle, const char *address)
{
	struct rows rows = rows_of(throttle, address);

	if (rows.known) {
		give_back(rows.known, 1);
		return;
	}
	give_back(rows.address, 1);
	give_back(rows.prefix, PREFIX_SHARE);
	give_back(&throttle->all, ALL_SHARE);
}

void throttle_know(struct throttle *throttle, const char *address)
{
	struct rows rows = rows_of(throttle, address);
	size_t at = rows.tag / 2 % ROWS;

	if (rows.known)
		return;
	throttle->known[at].tag = rows.tag;
	throttle->known[at].full_ns = 0;
}
