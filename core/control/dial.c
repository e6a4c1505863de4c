// HOST:PORT or [IPv6]:PORT to a socket that is connecting. The first address of a name is tried;
// the next attempt of the caller may get another one.

#include "core/control/dial.h"

#include "core/base/util.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdio.h>
#include <sys/socket.h>

int dial_start(const char *address)
{
	const struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV};
	const char *colon = strrchr(address, ':');
	bool bracket = address[0] == '[';
	struct addrinfo *info;
	char host[256];
	int fd, on = 1, r = 0;

	if (!colon || colon == address || !colon[1] || (bracket && colon[-1] != ']'))
		return -EINVAL;
	snprintf(host, sizeof host, "%.*s", (int)(colon - address) - 2 * bracket,
		 address + bracket);
	if (getaddrinfo(host, colon + 1, &hints, &info) != 0)
		return -EHOSTUNREACH;
	fd = socket(info->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0 || setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on) < 0 ||
	    (connect(fd, info->ai_addr, info->ai_addrlen) < 0 && errno != EINPROGRESS))
		r = -errno;
	freeaddrinfo(info);
	if (r < 0) {
		closep(&fd);
		return r;
	}
	return fd;
}
