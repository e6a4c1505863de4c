// Bytes of a non-blocking socket, plain or TLS.
#pragma once

#include <openssl/ssl.h>
#include <stddef.h>

struct stream {
	int fd;
	SSL *ssl; // NULL: plain
};

// What a call needs before it can go on; beside these, 0 or more bytes.
enum { STREAM_WANT_READ = -1, STREAM_WANT_WRITE = -2, STREAM_CLOSED = -3 };

// Takes over `fd`; `context` NULL: plain. -ENOMEM.
int stream_init(struct stream *stream, int fd, SSL_CTX *context);
void stream_deinit(struct stream *stream);

// A number of bytes above 0, or one of the above.
long stream_read(struct stream *stream, void *data, size_t size);
long stream_write(struct stream *stream, const void *data, size_t size);
void stream_finish(struct stream *stream); // no more is written
