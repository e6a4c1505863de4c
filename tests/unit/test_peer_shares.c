// core/base/peer_shares: which connection gives way, by address and prefix, and that the memory is
// constant.

#include "core/base/peer_shares.h"
#include "tests/unit/unit.h"

#include <arpa/inet.h>

#define ROOM 1024u

struct peer {
	struct peer_share item;
	bool honest;
};

static void address_of(const char *text, uint8_t ret[16])
{
	CHECK_EQ(inet_pton(AF_INET6, text, ret), 1);
}

// A newcomer as a listener treats it. False: it was refused.
static bool come(struct peer_shares *shares, const uint8_t address[16], bool honest, unsigned *lost)
{
	struct peer *peer;

	if (shares->count >= ROOM) {
		struct peer_share *victim = peer_shares_victim(shares, address);

		if (!victim)
			return false;
		peer = CONTAINER_OF(victim, struct peer, item);
		*lost += peer->honest;
		peer_shares_leave(shares, victim);
		if (!peer->honest)
			free(peer);
	}
	peer = calloc(1, sizeof *peer);
	peer->honest = honest;
	peer_share_init(&peer->item);
	peer_shares_enter(shares, &peer->item, address);
	return true;
}

static void all_go(struct peer_shares *shares)
{
	while (!list_empty(&shares->ages)) {
		struct peer_share *item = LIST_ENTRY(shares->ages.next, struct peer_share, age);

		peer_shares_leave(shares, item);
		free(CONTAINER_OF(item, struct peer, item));
	}
	for (unsigned i = 0; i < PEER_SHARES_LEVELS * 2048; ++i)
		CHECK_EQ(shares->rows[i], 0);
	peer_shares_deinit(shares);
}

enum { WAITING = 10 };

// One honest newcomer for each 20 of the attacker; it has logged in when ten more have come. How
// many of them gave way.
static unsigned attacked(void (*attacker)(unsigned number, uint8_t ret[16]))
{
	struct peer *waiting[WAITING] = {0};
	struct peer_shares shares;
	unsigned lost = 0, refused = 0;

	CHECK_EQ(peer_shares_init(&shares), 0);
	for (unsigned i = 0; i < 40000; ++i) {
		struct peer **place = &waiting[i / 20 % WAITING];
		uint8_t address[16];

		attacker(i, address);
		come(&shares, address, false, &lost);
		CHECK(shares.count <= ROOM);
		if (i % 20 != 0)
			continue;
		if (*place)
			peer_shares_leave(&shares, &(*place)->item); // also one that gave way
		free(*place);
		*place = NULL;
		address_of("::ffff:198.51.100.7", address);
		address[13] = (uint8_t)(i / 20);
		address[14] = (uint8_t)(i / 20 / 256);
		if (come(&shares, address, true, &lost))
			*place = CONTAINER_OF(shares.ages.prev, struct peer, item.age);
		else
			++refused;
	}
	for (unsigned i = 0; i < WAITING; ++i) {
		if (waiting[i])
			peer_shares_leave(&shares, &waiting[i]->item);
		free(waiting[i]);
	}
	all_go(&shares);
	CHECK_EQ(refused, 0);
	return lost;
}

static void one_address(unsigned number, uint8_t ret[16])
{
	address_of("::ffff:203.0.113.9", ret);
}

static void one_v4_block(unsigned number, uint8_t ret[16])
{
	address_of("::ffff:203.0.113.0", ret);
	ret[15] = (uint8_t)number;
}

static void one_v6_host(unsigned number, uint8_t ret[16])
{
	address_of("2001:db8:1:2::", ret);
	memcpy(ret + 8, &number, sizeof number);
}

static void one_v6_site(unsigned number, uint8_t ret[16])
{
	address_of("2001:db8:1::", ret);
	ret[6] = (uint8_t)(number >> 8);
	ret[7] = (uint8_t)number;
}

// Of 2,000 honest ones of other networks none is turned away, and hardly any gives way: those whose
// prefix shares a counter with the attacker's, which the random seed decides.
static void one_source_gives_way_to_others(void)
{
	CHECK(attacked(one_address) < 40);
	CHECK(attacked(one_v4_block) < 40);
	CHECK(attacked(one_v6_host) < 40);
	CHECK(attacked(one_v6_site) < 40);
}

static void many(unsigned number, uint8_t ret[16])
{
	address_of("::ffff:0.0.0.0", ret);
	number = number * 2654435761u;
	memcpy(ret + 12, &number, sizeof number);
}

// Nothing tells them apart: the oldest goes, so each newcomer has its moment.
static void strangers_from_everywhere(void)
{
	attacked(many);
}

static bool refuses_the_heaviest(void)
{
	struct peer_shares shares;
	unsigned lost = 0;
	uint8_t address[16];
	bool refused;

	CHECK_EQ(peer_shares_init(&shares), 0);
	for (unsigned i = 0; i < ROOM - 100; ++i) { // all apart, and older
		many(i, address);
		CHECK(come(&shares, address, false, &lost));
	}
	for (unsigned i = 0; i < 100; ++i) {
		one_address(i, address);
		CHECK(come(&shares, address, false, &lost));
	}
	one_address(0, address);
	refused = !come(&shares, address, false, &lost);
	many(ROOM, address);
	CHECK(come(&shares, address, false, &lost));
	all_go(&shares);
	return refused;
}

// Now and then an older one shares counters with it and gives way in its place: the random seed
// decides, so of some tables most must refuse it.
static void the_heaviest_itself_is_refused(void)
{
	unsigned refused = 0;

	for (unsigned i = 0; i < 5; ++i)
		refused += refuses_the_heaviest();
	CHECK(refused >= 2);
}

// Ten million shares, one after the other: the same two pieces of memory.
static void constant_memory(void)
{
	struct peer_shares shares;
	unsigned lost = 0;

	CHECK_EQ(peer_shares_init(&shares), 0);
	CHECK(PEER_SHARES_LEVELS * 2048 * sizeof *shares.rows * 65 <=
	      4u << 20); // 64 workers and REST
	for (unsigned i = 0; i < 300000; ++i) {
		uint8_t address[16];

		many(i, address);
		come(&shares, address, false, &lost);
	}
	CHECK_EQ(shares.count, ROOM);
	all_go(&shares);
}

UNIT_MAIN(UNIT_CASE(one_source_gives_way_to_others), UNIT_CASE(strangers_from_everywhere),
	  UNIT_CASE(the_heaviest_itself_is_refused), UNIT_CASE(constant_memory))
