// The addresses of proxies that a client tries, in order: first those that a proxy has told, then
// those that were configured.
//
// Told addresses are the proxies that serve this tenant, best first. The configured ones remain as
// a way back when none of them answers. After a whole round of failures each further round waits
// longer, up to BACKOFF_MAX_MS, with a random part.
//
// Invariant: a client that was configured with tls:// only never takes a told address without TLS.
// Not here: resolving names (resolve.c), and connecting (handshake.c).

#include "sdk/c/src/address.h"

#include "core/base/util.h"

#include <errno.h>
#include <stdio.h>

#define TLS_PREFIX     "tls://"
#define BACKOFF_MIN_MS 100u
#define BACKOFF_MAX_MS 5000u

static int port_parse(const char *text, size_t size, char port[6])
{
	unsigned value = 0;

	if (size < 1 || size > 5)
		return -EINVAL;
	for (size_t i = 0; i < size; ++i) {
		if (text[i] < '0' || text[i] > '9')
			return -EINVAL;
		value = value * 10 + (unsigned)(text[i] - '0');
	}
	if (value < 1 || value > 65535)
		return -EINVAL;
	snprintf(port, 6, "%u", value);
	return 0;
}

int address_parse(const char *text, size_t size, struct address *ret)
{
	struct address address = {0};
	size_t prefix = strlen(TLS_PREFIX), host_size;
	const char *colon;

	if (size > prefix && memcmp(text, TLS_PREFIX, prefix) == 0) {
		address.tls = true;
		text += prefix;
		size -= prefix;
	}
	colon = memrchr(text, ':', size);
	if (!colon)
		return -EINVAL;
	host_size = (size_t)(colon - text);
	if (port_parse(colon + 1, size - host_size - 1, address.port) < 0)
		return -EINVAL;
	if (host_size > 2 && text[0] == '[' && text[host_size - 1] == ']') {
		++text;
		host_size -= 2;
	} else if (memchr(text, ':', host_size) || memchr(text, '[', host_size)) {
		return -EINVAL;
	}
	if (host_size < 1 || host_size >= ADDRESS_HOST_SIZE || memchr(text, 0, host_size))
		return -EINVAL;
	memcpy(address.host, text, host_size);
	*ret = address;
	return 0;
}

void address_print(const struct address *address, char *text, size_t size)
{
	bool brackets = strchr(address->host, ':') != NULL;

	snprintf(text, size, "%s%s%s%s:%s", address->tls ? TLS_PREFIX : "", brackets ? "[" : "",
		 address->host, brackets ? "]" : "", address->port);
}

bool address_equal(const struct address *a, const struct address *b)
{
	return a->tls == b->tls && strcmp(a->host, b->host) == 0 && strcmp(a->port, b->port) == 0;
}

static size_t trim_blanks(const char **text, size_t size)
{
	while (size > 0 && (**text == ' ' || **text == '\t')) {
		++*text;
		--size;
	}
	while (size > 0 && ((*text)[size - 1] == ' ' || (*text)[size - 1] == '\t'))
		--size;
	return size;
}

int addresses_configure(struct addresses *addresses, const char *list)
{
	struct addresses fresh = {.tls_only = true};

	for (const char *at = list; at;) {
		const char *comma = strchr(at, ',');
		size_t size = comma ? (size_t)(comma - at) : strlen(at);
		struct address *slot = &fresh.configured[fresh.configured_count];

		size = trim_blanks(&at, size);
		if (fresh.configured_count == ADDRESS_MAX || address_parse(at, size, slot) < 0)
			return -EINVAL;
		fresh.tls_only &= slot->tls;
		fresh.tls_some |= slot->tls;
		++fresh.configured_count;
		at = comma ? comma + 1 : NULL;
	}
	if (fresh.configured_count == 0)
		return -EINVAL;
	*addresses = fresh;
	return 0;
}

void addresses_forget_told(struct addresses *addresses)
{
	addresses->told_count = 0;
	addresses->next = 0;
}

void addresses_tell(struct addresses *addresses, const char *text, size_t size)
{
	struct address *slot = &addresses->told[addresses->told_count];

	if (addresses->told_count == ADDRESS_MAX || address_parse(text, size, slot) < 0)
		return;
	if (addresses->tls_only && !slot->tls)
		return;
	++addresses->told_count;
}

static const struct address *address_at(const struct addresses *addresses, unsigned index)
{
	return index < addresses->told_count
		       ? &addresses->told[index]
		       : &addresses->configured[index - addresses->told_count];
}

const struct address *addresses_next(struct addresses *addresses, const struct address *avoid)
{
	unsigned count = addresses->told_count + addresses->configured_count;
	const struct address *address = NULL;

	for (unsigned i = 0; i < count; ++i) {
		address = address_at(addresses, addresses->next % count);
		addresses->next = (addresses->next + 1) % count;
		if (!avoid || !address_equal(address, avoid))
			break;
	}
	return address;
}

void addresses_succeeded(struct addresses *addresses)
{
	addresses->failures = 0;
}

// Milliseconds to wait before the next attempt: 0 while there is an address that was not tried in
// this round. The random part takes away up to half, so that clients of a proxy that failed do not
// return together.
uint32_t addresses_failed(struct addresses *addresses, uint32_t random)
{
	unsigned count = addresses->told_count + addresses->configured_count;
	unsigned rounds;
	uint32_t wait_ms;

	if (++addresses->failures < count)
		return 0;
	rounds = MIN((addresses->failures - count) / count, 16u);
	wait_ms = MIN(BACKOFF_MIN_MS << rounds, BACKOFF_MAX_MS);
	return wait_ms - random % (wait_ms / 2);
}
