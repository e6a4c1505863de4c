// The client's address from X-Forwarded-For, to which each balancer appends the address of its own
// client.
//
// The list is read from the right, because only the last entries were written by trusted balancers.
// The first address that is not a trusted balancer is the client. An entry that is not an address
// ends the reading: nothing to its left can be believed.
//
// Not here: whether the peer that sent the list is trusted (portal.c).

#include "portal-api/forwarded.h"

#include "core/base/util.h"

#include <netinet/in.h>

#define ENTRY_MAX 64u

// "192.0.2.1", "192.0.2.1:80", "2001:db8::1", "[2001:db8::1]:80".
static bool entry_read(const char *at, size_t size, struct sockaddr_storage *ret)
{
	struct sockaddr_in *v4 = (void *)ret;
	struct sockaddr_in6 *v6 = (void *)ret;
	char text[ENTRY_MAX], *host = text, *end;

	if (size == 0 || size >= sizeof text)
		return false;
	memcpy(text, at, size);
	text[size] = '\0';
	if (*text == '[') {
		host = text + 1;
		end = strchr(host, ']');
		if (!end || (end[1] && end[1] != ':'))
			return false;
		*end = '\0';
	} else if ((end = strchr(text, ':')) && !strchr(end + 1, ':')) {
		*end = '\0';
	}
	memset(ret, 0, sizeof *ret);
	ret->ss_family = AF_INET;
	if (*text != '[' && inet_pton(AF_INET, host, &v4->sin_addr) == 1)
		return true;
	ret->ss_family = AF_INET6;
	return inet_pton(AF_INET6, host, &v6->sin6_addr) == 1;
}

static bool is_trusted(const struct sockaddr_storage *address, const struct network *trusted,
		       size_t count)
{
	for (size_t i = 0; i < count; ++i)
		if (network_contains(&trusted[i], (const struct sockaddr *)address))
			return true;
	return false;
}

static void entry_write(const struct sockaddr_storage *address, char ret[INET6_ADDRSTRLEN])
{
	const struct sockaddr_in *v4 = (const void *)address;
	const struct sockaddr_in6 *v6 = (const void *)address;

	inet_ntop(address->ss_family,
		  address->ss_family == AF_INET ? (const void *)&v4->sin_addr : &v6->sin6_addr, ret,
		  INET6_ADDRSTRLEN);
}

bool forwarded_client(const char *list, const struct network *trusted, size_t count,
		      char ret[INET6_ADDRSTRLEN])
{
	const char *end = list + strlen(list);
	struct sockaddr_storage address;
	bool any = false;

	for (;;) {
		const char *begin = end;

		while (begin > list && begin[-1] != ',')
			--begin;
		while (begin < end && strchr(" \t", *begin))
			++begin;
		while (end > begin && strchr(" \t", end[-1]))
			--end;
		if (!entry_read(begin, (size_t)(end - begin), &address))
			return any;
		entry_write(&address, ret);
		any = true;
		if (!is_trusted(&address, trusted, count))
			return true;
		while (begin > list && begin[-1] != ',')
			--begin;
		if (begin == list)
			return true;
		end = begin - 1;
	}
}
