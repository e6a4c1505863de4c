// The header that a balancer puts before a connection (PROXY protocol, versions 1 and 2): the
// client it speaks for.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

#define PROXY_HEADER_MAX 1040u // we take no longer one

struct proxy_header {
	bool known; // false: it speaks for itself (LOCAL, UNKNOWN, or a kind of address we have
		    // not)
	struct sockaddr_storage client;
};

// The size of the header at the front of `data`; 0: it is not whole yet, and all bytes so far are
// part of it; -EPROTO: there is none, *ret_problem (static) says what is wrong. @thread any
int proxy_header_read(const uint8_t *data, size_t size, struct proxy_header *ret,
		      const char **ret_problem);
