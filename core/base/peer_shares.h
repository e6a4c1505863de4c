// Where unauthenticated connections come from: how many of an address and its prefixes there are,
// and which of them gives way to a newcomer.
#pragma once

#include "core/base/list.h"

#include <stdint.h>

#define PEER_SHARES_LEVELS 4u // prefixes of an address that are counted

struct peer_share {
	struct list age;     // member of shares->ages; alone: not counted
	uint8_t address[16]; // IPv4 as ::ffff:a.b.c.d
};

// One thread's.
struct peer_shares {
	struct list ages; // the oldest first
	uint32_t count;
	uint64_t seed;
	uint32_t *rows; // counters, by level and hash of the prefix
};

int peer_shares_init(struct peer_shares *shares); // -ENOMEM
void peer_shares_deinit(struct peer_shares *shares);

void peer_share_init(struct peer_share *item);
void peer_shares_enter(struct peer_shares *shares, struct peer_share *item,
		       const uint8_t address[16]);
void peer_shares_leave(struct peer_shares *shares,
		       struct peer_share *item); // also one that is not there
// The connection that gives way to a newcomer from that address; NULL: none, the newcomer's own
// address weighs most.
struct peer_share *peer_shares_victim(const struct peer_shares *shares, const uint8_t address[16]);

struct sockaddr;
void peer_shares_address(const struct sockaddr *address,
			 uint8_t ret[16]); // zeroes for another kind
