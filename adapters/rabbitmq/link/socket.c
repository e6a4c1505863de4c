// A non-blocking stream to a broker, plain or in TLS.
//
// Opening waits, with one deadline for all it does: the addresses that the name has, in their
// order, then TLS. Only the resolution of the name is the C library's, with its own timeouts. What
// is open never waits; rabbitmq_socket_wait() is for callers that do.
//
// Another thread may end it at any time: rabbitmq_socket_cut() shuts the descriptor down under the
// lock that its opening and closing take too, so it never meets another file's descriptor. Whatever
// call is inside then fails.

#include "adapters/rabbitmq/link/socket.h"

#include "adapters/rabbitmq/link/tls.h"
#include "core/base/clock.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <poll.h>
#include <stdio.h>
#include <sys/socket.h>

void rabbitmq_socket_init(struct rabbitmq_socket *socket)
{
	*socket = (struct rabbitmq_socket){.fd = -1};
	pthread_mutex_init(&socket->lock, NULL);
}

void rabbitmq_socket_deinit(struct rabbitmq_socket *socket)
{
	assert(socket->fd < 0);
	pthread_mutex_destroy(&socket->lock);
}

// Takes the descriptor, which is closed instead when the stream has been cut for ever.
static int fd_set_open(struct rabbitmq_socket *socket, int fd)
{
	bool cut;

	pthread_mutex_lock(&socket->lock);
	cut = socket->cut;
	socket->fd = cut ? -1 : fd;
	pthread_mutex_unlock(&socket->lock);
	if (!cut)
		return 0;
	close(fd);
	return -ECANCELED;
}

static void fd_close(struct rabbitmq_socket *socket)
{
	int fd;

	pthread_mutex_lock(&socket->lock);
	fd = socket->fd;
	socket->fd = -1;
	pthread_mutex_unlock(&socket->lock);
	if (fd >= 0)
		close(fd);
}

void rabbitmq_socket_cut(struct rabbitmq_socket *socket, bool for_ever)
{
	pthread_mutex_lock(&socket->lock);
	socket->cut |= for_ever;
	if (socket->fd >= 0)
		shutdown(socket->fd, SHUT_RDWR);
	pthread_mutex_unlock(&socket->lock);
}

int rabbitmq_socket_wait(const struct rabbitmq_socket *socket, unsigned events,
			 uint64_t deadline_ns)
{
	struct pollfd poll_fd = {.fd = socket->fd, .events = (short)events};

	for (;;) {
		uint64_t now_ns = clock_now_ns();
		int r;

		if (now_ns >= deadline_ns)
			return -ETIMEDOUT;
		r = poll(&poll_fd, 1, (int)MIN((deadline_ns - now_ns) / MS_NS + 1, 60000));
		if (r > 0)
			return 0;
		if (r < 0 && errno != EINTR)
			return -errno;
	}
}

static int connect_finish(struct rabbitmq_socket *socket, const struct addrinfo *info,
			  uint64_t deadline_ns)
{
	socklen_t size = sizeof(int);
	int error = 0, r;

	if (connect(socket->fd, info->ai_addr, info->ai_addrlen) == 0)
		return 0;
	if (errno != EINPROGRESS)
		return -errno;
	r = rabbitmq_socket_wait(socket, POLLOUT, deadline_ns);
	if (r < 0)
		return r;
	if (getsockopt(socket->fd, SOL_SOCKET, SO_ERROR, &error, &size) < 0)
		return -errno;
	return -error;
}

static int connect_one(struct rabbitmq_socket *this, const struct addrinfo *info,
		       uint64_t deadline_ns)
{
	int fd = socket(info->ai_family, info->ai_socktype | SOCK_NONBLOCK | SOCK_CLOEXEC,
			info->ai_protocol),
	    one = 1, r;

	if (fd < 0)
		return -errno;
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
	setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &one, sizeof one);
	r = fd_set_open(this, fd);
	if (r == 0)
		r = connect_finish(this, info, deadline_ns);
	if (r < 0)
		fd_close(this);
	return r;
}

static bool name_resolve(const struct rabbitmq_address *address, struct addrinfo **ret,
			 struct rabbitmq_error *ret_error)
{
	const struct addrinfo hints = {
		.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM, .ai_protocol = IPPROTO_TCP};
	char port[8];
	int r;

	snprintf(port, sizeof port, "%u", address->port);
	r = getaddrinfo(address->host, port, &hints, ret);
	if (r == 0)
		return true;
	return rabbitmq_error_set(ret_error, CODE_BACKEND_DOWN, "the host name is not found: %s",
				  r == EAI_SYSTEM ? strerrordesc_np(errno) : gai_strerror(r));
}

// Until one answers: a host may listen on one of its addresses only.
static bool connect_any(struct rabbitmq_socket *socket, const struct rabbitmq_address *address,
			uint64_t deadline_ns, struct rabbitmq_error *ret_error)
{
	struct addrinfo *list, *info;
	int r = -EHOSTUNREACH;

	if (!name_resolve(address, &list, ret_error))
		return false;
	for (info = list; info && r < 0 && r != -ETIMEDOUT && r != -ECANCELED; info = info->ai_next)
		r = connect_one(socket, info, deadline_ns);
	freeaddrinfo(list);
	return r == 0 || rabbitmq_error_system(ret_error, -r);
}

static unsigned events_of(int ssl_error)
{
	return ssl_error == SSL_ERROR_WANT_READ    ? POLLIN
	       : ssl_error == SSL_ERROR_WANT_WRITE ? POLLOUT
						   : 0;
}

static bool handshake(struct rabbitmq_socket *socket, uint64_t deadline_ns,
		      struct rabbitmq_error *ret_error)
{
	for (;;) {
		int result, r;
		unsigned events;

		ERR_clear_error();
		errno = 0;
		result = SSL_connect(socket->ssl);
		if (result == 1)
			return true;
		events = events_of(SSL_get_error(socket->ssl, result));
		if (!events)
			return rabbitmq_tls_explain(socket->ssl, result, ret_error);
		r = rabbitmq_socket_wait(socket, events, deadline_ns);
		if (r < 0)
			return rabbitmq_error_system(ret_error, -r);
	}
}

bool rabbitmq_socket_open(struct rabbitmq_socket *socket, const struct rabbitmq_options *options,
			  const struct rabbitmq_address *address, uint64_t deadline_ns,
			  struct rabbitmq_error *ret_error)
{
	assert(socket->fd < 0);
	if (!connect_any(socket, address, deadline_ns, ret_error))
		return false;
	if (!options->tls)
		return true;
	socket->ssl = rabbitmq_tls_new(options, address->host, socket->fd, ret_error);
	if (socket->ssl && handshake(socket, deadline_ns, ret_error))
		return true;
	rabbitmq_socket_close(socket);
	return false;
}

void rabbitmq_socket_adopt(struct rabbitmq_socket *socket, int fd)
{
	fd_set_open(socket, fd);
}

void rabbitmq_socket_close(struct rabbitmq_socket *socket)
{
	SSL_free(socket->ssl);
	socket->ssl = NULL;
	socket->wanted = 0;
	fd_close(socket);
}

// What a call of TLS has come to, as the plain stream would say it.
static ssize_t tls_result(struct rabbitmq_socket *socket, int result)
{
	int error;

	if (result > 0) {
		socket->wanted = 0;
		return result;
	}
	error = SSL_get_error(socket->ssl, result);
	if (error == SSL_ERROR_ZERO_RETURN)
		return -ESHUTDOWN;
	socket->wanted = events_of(error);
	if (socket->wanted)
		return 0;
	rabbitmq_tls_explain(socket->ssl, result, &socket->why);
	return -EPROTO;
}

static ssize_t plain_result(ssize_t result)
{
	if (result >= 0)
		return result;
	return errno == EAGAIN || errno == EINTR ? 0 : -errno;
}

ssize_t rabbitmq_socket_read(struct rabbitmq_socket *socket, void *room, size_t size)
{
	ssize_t r;

	if (socket->ssl) {
		ERR_clear_error();
		errno = 0;
		return tls_result(socket, SSL_read(socket->ssl, room, (int)MIN(size, 1u << 30)));
	}
	r = recv(socket->fd, room, size, MSG_DONTWAIT);
	return r == 0 && size > 0 ? -ESHUTDOWN : plain_result(r);
}

ssize_t rabbitmq_socket_write(struct rabbitmq_socket *socket, const void *data, size_t size)
{
	if (socket->ssl) {
		ERR_clear_error();
		errno = 0;
		return tls_result(socket, SSL_write(socket->ssl, data, (int)MIN(size, 1u << 30)));
	}
	return plain_result(send(socket->fd, data, size, MSG_DONTWAIT | MSG_NOSIGNAL));
}

bool rabbitmq_socket_has_more(const struct rabbitmq_socket *socket)
{
	return socket->ssl && SSL_has_pending(socket->ssl);
}
