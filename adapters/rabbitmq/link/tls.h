// TLS of a stream to a broker: certificates from memory, and what failed in words.
#pragma once

#include "adapters/rabbitmq/link/error.h"
#include "adapters/rabbitmq/link/options.h"

#include <openssl/ssl.h>

// A client side for the connected descriptor that verifies the broker's certificate and that it is
// `host`'s. NULL with *ret_error: a PEM text is none.
SSL *rabbitmq_tls_new(const struct rabbitmq_options *options, const char *host, int fd,
		      struct rabbitmq_error *ret_error);
// Why a handshake, a read or a write failed, right after it has.
bool rabbitmq_tls_explain(SSL *ssl, int result, struct rabbitmq_error *ret);
