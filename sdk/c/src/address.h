// Where a client may connect: the configured addresses, those the service told, and which one is
// tried next. Pure.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define ADDRESS_HOST_SIZE 256u
#define ADDRESS_MAX       64u // of each kind; more are not kept

struct address {
	char host[ADDRESS_HOST_SIZE];
	char port[6];
	bool tls;
};

struct addresses {
	struct address configured[ADDRESS_MAX];
	struct address told[ADDRESS_MAX];
	unsigned configured_count;
	unsigned told_count;
	unsigned next;     // in told, then configured
	unsigned failures; // in a row
	bool tls_only;     // every configured address asks for TLS
	bool tls_some;     // one of them does
};

// "host:port" or "tls://host:port"; an IPv6 host stands in brackets. -EINVAL.
int address_parse(const char *text, size_t size, struct address *ret);
void address_print(const struct address *address, char *text, size_t size);
bool address_equal(const struct address *a, const struct address *b);

// A list separated by commas; replaces the configured ones and forgets the told ones. -EINVAL.
int addresses_configure(struct addresses *addresses, const char *list);
// Forgets the told addresses; then told one by one, best first. What does not parse is left out.
void addresses_forget_told(struct addresses *addresses);
void addresses_tell(struct addresses *addresses, const char *text, size_t size);

// The address to try now; each call goes one further. `avoid` (may be NULL) is passed over while
// there is another.
const struct address *addresses_next(struct addresses *addresses, const struct address *avoid);
void addresses_succeeded(struct addresses *addresses);
// How long to wait before the next try: 0 until every address has failed once, then 0.1 s doubling
// to 5 s, less up to half by `random`.
uint32_t addresses_failed(struct addresses *addresses, uint32_t random);
