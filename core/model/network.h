// Addresses and blocks of them in CIDR notation, for allow and deny lists.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct network {
	uint8_t address[16]; // IPv4 as ::ffff:a.b.c.d
	uint8_t bits;        // that must agree, 0 to 128
};

struct sockaddr;

int network_parse(const char *text, struct network *ret); // -EINVAL; @thread any
bool network_contains(const struct network *network, const struct sockaddr *address);

// May an address in, by these lists? A deny is stronger; an empty allow list lets everybody in. An
// address that is neither IPv4 nor IPv6 only passes where there are no lists. @thread any
bool network_admits(const char *const *allow, size_t allow_count, const char *const *deny,
		    size_t deny_count, const struct sockaddr *address);
