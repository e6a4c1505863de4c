// Addresses of sockets: as text, from text, and against lists of CIDR blocks.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <sys/socket.h>

#define SOCKET_ADDRESS_TEXT_MAX 56

// "192.0.2.7:4711", "[2001:db8::1]:4711"; an IPv4 address mapped into IPv6 is shown as IPv4.
void socket_address_text(const struct sockaddr *address, char room[SOCKET_ADDRESS_TEXT_MAX]);
// The host part of such a text against "10.0.0.0/8", "2001:db8::/32" or a plain address. A block
// that cannot be read matches nothing.
bool socket_address_in(const char *text, const char *block);
// "host:port" or "[host]:port" to a socket address. -EINVAL.
int socket_address_parse(const char *text, struct sockaddr_storage *ret, socklen_t *ret_size);
