// A non-blocking stream over a socket, plain or TLS, with one set of results: bytes, 0 at the end,
// or a negative errno.
//
// With TLS small parts are gathered before they are encrypted, because each record has a fixed
// cost. OpenSSL reads and writes through a BIO of our own. OpenSSL's would use write(), and a peer
// that has gone would then end a process that does not ignore SIGPIPE; a library must not require
// that it does.
//
// Invariant: after -EAGAIN `want_read` or `want_write` says which event to wait for. Not here:
// buffering (framer.c, outq.c), and certificates (tls.c).

#include "core/net/transport.h"

#include <arpa/inet.h>
#include <errno.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>
#include <pthread.h>
#include <stdio.h>
#include <sys/socket.h>

#define GATHER_SIZE   16384
#define EXPORTER_SIZE 32

int transport_peek(int fd, enum transport_kind *ret)
{
	uint8_t first;
	ssize_t size = recv(fd, &first, 1, MSG_PEEK | MSG_DONTWAIT);

	if (size < 0)
		return -errno;
	if (size == 0)
		return -EPIPE;
	*ret = first == 0xcd ? TRANSPORT_NATIVE : first == 0x16 ? TRANSPORT_TLS : TRANSPORT_FOREIGN;
	return 0;
}

// ---- the descriptor as OpenSSL sees it

static int socket_result(BIO *bio, ssize_t size, int retry_flag)
{
	BIO_clear_retry_flags(bio);
	if (size < 0 && (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR))
		BIO_set_flags(bio, BIO_FLAGS_SHOULD_RETRY | retry_flag);
	return (int)size;
}

static int socket_write(BIO *bio, const char *data, int size)
{
	int fd = (int)(intptr_t)BIO_get_data(bio);

	return socket_result(bio, send(fd, data, (size_t)size, MSG_DONTWAIT | MSG_NOSIGNAL),
			     BIO_FLAGS_WRITE);
}

static int socket_read(BIO *bio, char *room, int size)
{
	int fd = (int)(intptr_t)BIO_get_data(bio);
	ssize_t got = recv(fd, room, (size_t)size, MSG_DONTWAIT);
	int result = socket_result(bio, got, BIO_FLAGS_READ);

	if (got == 0)
		BIO_set_flags(bio, BIO_FLAGS_IN_EOF);
	return result;
}

static long socket_ctrl(BIO *bio, int command, long number, void *data)
{
	switch (command) {
	case BIO_CTRL_FLUSH: return 1;
	case BIO_CTRL_EOF: return BIO_test_flags(bio, BIO_FLAGS_IN_EOF) != 0;
	default: return 0;
	}
}

static BIO_METHOD *socket_method;

static void socket_method_make(void)
{
	BIO_METHOD *method = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "transport");

	if (!method)
		return;
	BIO_meth_set_write(method, socket_write);
	BIO_meth_set_read(method, socket_read);
	BIO_meth_set_ctrl(method, socket_ctrl);
	socket_method = method;
}

static BIO *socket_bio_new(int fd)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;
	BIO *bio;

	pthread_once(&once, socket_method_make);
	bio = socket_method ? BIO_new(socket_method) : NULL;
	if (bio) {
		BIO_set_data(bio, (void *)(intptr_t)fd);
		BIO_set_init(bio, 1);
	}
	return bio;
}

// ---- streams

void transport_init(struct transport *transport, int fd)
{
	*transport = (struct transport){
		.fd = fd, .want_read = TRANSPORT_READ, .want_write = TRANSPORT_WRITE};
}

static int tls_start(struct transport *transport, SSL_CTX *ctx)
{
	BIO *bio = socket_bio_new(transport->fd);

	transport->ssl = bio ? SSL_new(ctx) : NULL;
	if (!transport->ssl) {
		BIO_free(bio);
		return -ENOMEM;
	}
	SSL_set_bio(transport->ssl, bio, bio);
	return 0;
}

int transport_accept_tls(struct transport *transport, SSL_CTX *ctx)
{
	int r = tls_start(transport, ctx);

	if (!r)
		SSL_set_accept_state(transport->ssl);
	return r;
}

static bool is_ip_address(const char *name)
{
	uint8_t room[16];

	return inet_pton(AF_INET, name, room) == 1 || inet_pton(AF_INET6, name, room) == 1;
}

int transport_connect_tls(struct transport *transport, SSL_CTX *ctx, const char *name)
{
	int r = tls_start(transport, ctx);

	if (r)
		return r;
	SSL_set_connect_state(transport->ssl);
	if (name && is_ip_address(name)) {
		r = X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(transport->ssl), name);
	} else if (name) {
		SSL_set_hostflags(transport->ssl, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
		r = SSL_set1_host(transport->ssl, name) &&
		    SSL_set_tlsext_host_name(transport->ssl, name);
	}
	return !name || r == 1 ? 0 : -ENOMEM;
}

void transport_deinit(struct transport *transport)
{
	if (transport->ssl) {
		if (SSL_is_init_finished(transport->ssl))
			SSL_shutdown(transport->ssl);
		SSL_free(transport->ssl);
		ERR_clear_error();
	}
	if (transport->fd >= 0)
		close(transport->fd);
	transport->ssl = NULL;
	transport->fd = -1;
}

// What a TLS call that did not succeed means.
static ssize_t tls_outcome(struct transport *transport, int result, unsigned *want)
{
	int saved = errno;

	switch (SSL_get_error(transport->ssl, result)) {
	case SSL_ERROR_WANT_READ: *want = TRANSPORT_READ; return -EAGAIN;
	case SSL_ERROR_WANT_WRITE: *want = TRANSPORT_WRITE; return -EAGAIN;
	case SSL_ERROR_ZERO_RETURN: return 0;
	case SSL_ERROR_SYSCALL: return saved ? -saved : -ECONNRESET;
	default: return -EPROTO;
	}
}

ssize_t transport_read(struct transport *transport, void *room, size_t size)
{
	ssize_t got;

	if (transport->ssl) {
		ERR_clear_error();
		errno = 0;
		got = SSL_read(transport->ssl, room, (int)MIN(size, (size_t)INT32_MAX));
		return got > 0 ? got : tls_outcome(transport, (int)got, &transport->want_read);
	}
	do {
		got = recv(transport->fd, room, size, MSG_DONTWAIT);
	} while (got < 0 && errno == EINTR);
	return got < 0 ? -errno : got;
}

static ssize_t tls_write(struct transport *transport, const void *data, size_t size)
{
	int sent;

	ERR_clear_error();
	errno = 0;
	sent = SSL_write(transport->ssl, data, (int)MIN(size, (size_t)INT32_MAX));
	if (sent > 0)
		return sent;
	sent = (int)tls_outcome(transport, sent, &transport->want_write);
	return sent == 0 ? -EPIPE : sent;
}

// A retry after -EAGAIN must begin with the same bytes and be at least as long: callers only ever
// append behind what they offered.
static ssize_t tls_writev(struct transport *transport, const struct iovec *parts, int count)
{
	uint8_t gathered[GATHER_SIZE];
	size_t size = 0;

	if (count == 1 || parts[0].iov_len >= GATHER_SIZE)
		return tls_write(transport, parts[0].iov_base, parts[0].iov_len);
	for (int i = 0; i < count && size < GATHER_SIZE; ++i) {
		size_t take = MIN(parts[i].iov_len, GATHER_SIZE - size);

		memcpy(gathered + size, parts[i].iov_base, take);
		size += take;
	}
	return tls_write(transport, gathered, size);
}

ssize_t transport_writev(struct transport *transport, const struct iovec *parts, int count)
{
	struct msghdr message = {.msg_iov = (struct iovec *)(uintptr_t)parts,
				 .msg_iovlen = (size_t)count};
	ssize_t sent;

	if (transport->ssl)
		return tls_writev(transport, parts, count);
	do {
		sent = sendmsg(transport->fd, &message, MSG_DONTWAIT | MSG_NOSIGNAL);
	} while (sent < 0 && errno == EINTR);
	return sent < 0 ? -errno : sent;
}

bool transport_pending(const struct transport *transport)
{
	return transport->ssl && SSL_pending(transport->ssl) > 0;
}

bool transport_established(const struct transport *transport)
{
	return !transport->ssl || SSL_is_init_finished(transport->ssl);
}

const char *transport_problem(const struct transport *transport, char *room, size_t size)
{
	long verify = transport->ssl ? SSL_get_verify_result(transport->ssl) : X509_V_OK;
	unsigned long error = ERR_peek_last_error();
	const char *reason = ERR_reason_error_string(error);

	if (verify != X509_V_OK)
		snprintf(room, size, "the certificate is not accepted: %s",
			 X509_verify_cert_error_string(verify));
	else
		snprintf(room, size, "TLS: %s", reason ? reason : "the peer broke off");
	return room;
}

// RFC 9266: for TLS 1.2 only with the extended master secret.
static bool exporter_safe(SSL *ssl)
{
	return SSL_version(ssl) >= TLS1_3_VERSION || SSL_get_extms_support(ssl) == 1;
}

// RFC 5929 section 4.1: the hash of the certificate's own signature, SHA-256 where that is MD5 or
// SHA-1.
static size_t end_point_make(SSL *ssl, uint8_t *room)
{
	X509 *cert = SSL_is_server(ssl) ? X509_dup(SSL_get_certificate(ssl))
					: SSL_get1_peer_certificate(ssl);
	int digest_nid = NID_undef;
	unsigned size = 0;
	const EVP_MD *digest;

	if (!cert)
		return 0;
	X509_get_signature_info(cert, &digest_nid, NULL, NULL, NULL);
	if (digest_nid == NID_md5 || digest_nid == NID_sha1)
		digest_nid = NID_sha256;
	digest = digest_nid == NID_undef ? NULL : EVP_get_digestbynid(digest_nid);
	if (!digest || X509_digest(cert, digest, room, &size) != 1)
		size = 0;
	X509_free(cert);
	return size;
}

// The data that SCRAM binds to: the exporter of RFC 9266 and the certificate's hash of RFC 5929.
// Both lie in `room`, the exporter first. A channel without TLS, or before its handshake ends, has
// neither.
void transport_channel(const struct transport *transport, uint8_t room[TRANSPORT_BINDING_ROOM],
		       struct scram_channel *ret)
{
	static const char label[] = "EXPORTER-Channel-Binding";

	_Static_assert(EXPORTER_SIZE + EVP_MAX_MD_SIZE <= TRANSPORT_BINDING_ROOM,
		       "room for both bindings");
	*ret = (struct scram_channel){0};
	if (!transport->ssl || !SSL_is_init_finished(transport->ssl))
		return;
	if (exporter_safe(transport->ssl) &&
	    SSL_export_keying_material(transport->ssl, room, EXPORTER_SIZE, label, sizeof label - 1,
				       NULL, 0, 1) == 1)
		ret->exporter = (struct slice){room, EXPORTER_SIZE};
	ret->end_point = (struct slice){room + EXPORTER_SIZE,
					end_point_make(transport->ssl, room + EXPORTER_SIZE)};
}
