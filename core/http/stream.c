// Reads and writes a socket, plain or through OpenSSL, with one set of results: bytes, wait for
// reading, wait for writing, closed.
//
// It owns the descriptor and the TLS state. Errors are not told apart from an orderly end, since
// either ends the exchange. SIGPIPE is ignored by the daemon.

#include "core/http/stream.h"

#include <errno.h>
#include <limits.h>
#include <openssl/err.h>
#include <sys/socket.h>
#include <unistd.h>

int stream_init(struct stream *stream, int fd, SSL_CTX *context)
{
	*stream = (struct stream){.fd = fd};
	if (!context)
		return 0;
	stream->ssl = SSL_new(context);
	if (!stream->ssl || SSL_set_fd(stream->ssl, fd) != 1) {
		SSL_free(stream->ssl);
		stream->ssl = NULL;
		return -ENOMEM;
	}
	SSL_set_accept_state(stream->ssl);
	SSL_set_mode(stream->ssl, SSL_MODE_ENABLE_PARTIAL_WRITE |
					  SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER |
					  SSL_MODE_RELEASE_BUFFERS);
	return 0;
}

void stream_deinit(struct stream *stream)
{
	SSL_free(stream->ssl);
	if (stream->fd >= 0)
		close(stream->fd);
	*stream = (struct stream){.fd = -1};
}

static long ssl_result(struct stream *stream, int n)
{
	int error = SSL_get_error(stream->ssl, n);

	ERR_clear_error();
	if (error == SSL_ERROR_WANT_READ)
		return STREAM_WANT_READ;
	return error == SSL_ERROR_WANT_WRITE ? STREAM_WANT_WRITE : STREAM_CLOSED;
}

static long plain_result(ssize_t n, long want)
{
	if (n > 0)
		return n;
	return n < 0 && (errno == EAGAIN || errno == EINTR) ? want : STREAM_CLOSED;
}

long stream_read(struct stream *stream, void *data, size_t size)
{
	if (!stream->ssl)
		return plain_result(recv(stream->fd, data, size, 0), STREAM_WANT_READ);
	int n = SSL_read(stream->ssl, data, size > INT_MAX ? INT_MAX : (int)size);
	return n > 0 ? n : ssl_result(stream, n);
}

long stream_write(struct stream *stream, const void *data, size_t size)
{
	if (!stream->ssl)
		return plain_result(send(stream->fd, data, size, MSG_NOSIGNAL), STREAM_WANT_WRITE);
	int n = SSL_write(stream->ssl, data, size > INT_MAX ? INT_MAX : (int)size);
	return n > 0 ? n : ssl_result(stream, n);
}

void stream_finish(struct stream *stream)
{
	if (stream->ssl)
		SSL_shutdown(stream->ssl);
	ERR_clear_error();
	shutdown(stream->fd, SHUT_WR);
}
