// Which connection is closed when there is no room for a new one, among those that are not
// authenticated.
//
// No connection is refused while there is room. Otherwise the oldest LOOK_MOST are compared, and
// the one with the heaviest source gives way. The weight of an address is its number of
// connections. The prefixes around it count too, at a half, a quarter and an eighth, so that a
// network of many addresses weighs like one source: for IPv4 the address, /24, /16 and /8; for IPv6
// /64, /56, /48 and /32, since a host may choose any address of its /64. Of equal weights the
// oldest gives way: an honest client authenticates within milliseconds, a silent one stays.
//
// Invariants: each row counts the members that hash to it. Memory is constant for any number of
// addresses: prefixes that share a row weigh as one, and a random seed decides which do.
//
// It does not remember connections that are closed, and limits no rates.

#include "core/base/peer_shares.h"

#include <errno.h>
#include <netinet/in.h>
#include <sys/random.h>
#include <sys/socket.h>

#define ROWS      2048u // of a level; a power of two
#define LOOK_MOST 64u   // of the oldest

static const uint8_t mapped[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
static const uint8_t bytes_v4[PEER_SHARES_LEVELS] = {16, 15, 14, 13};
static const uint8_t bytes_v6[PEER_SHARES_LEVELS] = {8, 7, 6, 4};

int peer_shares_init(struct peer_shares *shares)
{
	*shares = (struct peer_shares){0};
	list_init(&shares->ages);
	if (getrandom(&shares->seed, sizeof shares->seed, GRND_NONBLOCK) < 0)
		shares->seed = (uint64_t)(uintptr_t)shares;
	shares->rows = calloc(PEER_SHARES_LEVELS * ROWS, sizeof *shares->rows);
	return shares->rows ? 0 : -ENOMEM;
}

void peer_shares_deinit(struct peer_shares *shares)
{
	assert(!shares->rows || shares->count == 0);
	free(shares->rows);
	shares->rows = NULL;
}

void peer_share_init(struct peer_share *item)
{
	list_init(&item->age);
}

static uint64_t mix_hash(uint64_t hash)
{
	hash = (hash ^ hash >> 33) * 0xff51afd7ed558ccdull;
	hash = (hash ^ hash >> 33) * 0xc4ceb9fe1a85ec53ull;
	return hash ^ hash >> 33;
}

static uint32_t *row_of(const struct peer_shares *shares, const uint8_t address[16], unsigned level)
{
	const uint8_t *bytes = memcmp(address, mapped, sizeof mapped) == 0 ? bytes_v4 : bytes_v6;
	uint64_t halves[2] = {0}, hash;

	memcpy(halves, address, bytes[level]);
	hash = mix_hash(mix_hash(shares->seed ^ halves[0]) ^ halves[1]);
	return &shares->rows[level * ROWS + (hash & (ROWS - 1))];
}

void peer_shares_enter(struct peer_shares *shares, struct peer_share *item,
		       const uint8_t address[16])
{
	assert(list_empty(&item->age));
	memcpy(item->address, address, sizeof item->address);
	for (unsigned level = 0; level < PEER_SHARES_LEVELS; ++level)
		++*row_of(shares, address, level);
	list_push_back(&shares->ages, &item->age);
	++shares->count;
}

void peer_shares_leave(struct peer_shares *shares, struct peer_share *item)
{
	if (list_empty(&item->age))
		return;
	list_unlink(&item->age);
	--shares->count;
	for (unsigned level = 0; level < PEER_SHARES_LEVELS; ++level) {
		uint32_t *row = row_of(shares, item->address, level);

		assert(*row > 0);
		--*row;
	}
}

static uint64_t weight_of(const struct peer_shares *shares, const uint8_t address[16])
{
	uint64_t weight = 0;

	for (unsigned level = 0; level < PEER_SHARES_LEVELS; ++level) {
		uint64_t count = *row_of(shares, address, level);

		weight = MAX(weight, count << (PEER_SHARES_LEVELS - 1 - level));
	}
	return weight;
}

struct peer_share *peer_shares_victim(const struct peer_shares *shares, const uint8_t address[16])
{
	struct peer_share *victim = NULL;
	uint64_t heaviest = 0;
	unsigned looked = 0;

	LIST_FOREACH(pos, next, &shares->ages)
	{
		struct peer_share *item = LIST_ENTRY(pos, struct peer_share, age);
		uint64_t weight = weight_of(shares, item->address);

		if (weight > heaviest) {
			heaviest = weight;
			victim = item;
		}
		if (++looked == LOOK_MOST)
			break;
	}
	return heaviest >= weight_of(shares, address) ? victim : NULL;
}

void peer_shares_address(const struct sockaddr *address, uint8_t ret[16])
{
	memset(ret, 0, 16);
	if (address->sa_family == AF_INET) {
		memcpy(ret, mapped, sizeof mapped);
		memcpy(ret + 12, &((const struct sockaddr_in *)(const void *)address)->sin_addr, 4);
	} else if (address->sa_family == AF_INET6) {
		memcpy(ret, &((const struct sockaddr_in6 *)(const void *)address)->sin6_addr, 16);
	}
}
