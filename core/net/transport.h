// A byte stream over a non-blocking descriptor, plain or TLS, as a state machine without an event
// loop.
//
// A call that cannot go on answers -EAGAIN and `want` says what to wait for: with TLS a read may
// have to write and the other way round. TLS handshakes run inside the first reads and writes.
#pragma once

#include "core/base/util.h"
#include "core/net/scram.h"
#include "core/net/tls.h"

#include <stdbool.h>
#include <sys/types.h>
#include <sys/uio.h>

typedef struct ssl_st SSL;

enum { TRANSPORT_READ = 1, TRANSPORT_WRITE = 2 };

struct transport {
	int fd;                         // owned
	SSL *ssl;                       // NULL: plain
	unsigned want_read, want_write; // what the last -EAGAIN of each direction waits for
};

// What a server finds out from the first byte without taking it.
enum transport_kind { TRANSPORT_NATIVE, TRANSPORT_TLS, TRANSPORT_FOREIGN };
int transport_peek(
	int fd, enum transport_kind *ret); // -EAGAIN; -EPIPE: ended before its first byte; -errno

void transport_init(struct transport *transport,
		    int fd); // takes over a connected or connecting, non-blocking descriptor
int transport_accept_tls(struct transport *transport, SSL_CTX *ctx); // server; -ENOMEM
// Client. `name`: what the certificate must be for (a DNS name or an IP address); NULL: any name,
// the certificate is still verified.
int transport_connect_tls(struct transport *transport, SSL_CTX *ctx, const char *name); // -ENOMEM
void transport_deinit(struct transport *transport); // ends TLS if that needs no waiting, closes

// Bytes, > 0; 0: the peer has ended in order; -EAGAIN; -EPROTO: TLS failed (transport_problem());
// -errno.
ssize_t transport_read(struct transport *transport, void *room, size_t size);
ssize_t transport_writev(struct transport *transport, const struct iovec *parts,
			 int count);                       // the same, never 0
bool transport_pending(const struct transport *transport); // bytes are decrypted already: read
							   // again without waiting
bool transport_established(
	const struct transport *transport); // the TLS handshake is over, or there is none

// Why TLS failed on this thread's last call, in words.
const char *transport_problem(const struct transport *transport, char *room, size_t size);

// What SCRAM can bind to. Bytes are written into `room`; without TLS both slices are empty.
#define TRANSPORT_BINDING_ROOM 128
void transport_channel(const struct transport *transport, uint8_t room[TRANSPORT_BINDING_ROOM],
		       struct scram_channel *ret);
