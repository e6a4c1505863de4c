// Makes the TLS contexts of servers and clients: versions, ciphers, identities, authorities.
//
// TLS 1.2 and 1.3 only. Idle connections give their record buffers back (SSL_MODE_RELEASE_BUFFERS),
// since most connections are idle most of the time. A client always verifies its server; the name
// is checked by transport_connect_tls().
//
// Invariant: on failure the context is freed and `problem` names the file and the cause. Not here:
// connections (transport.c), and replacing certificates that change.

#include "core/net/tls.h"

#include <errno.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <stdio.h>
#include <string.h>

// Frees `ctx`, so that a caller may return the result at once.
static int describe_failure(const char *what, const char *file, SSL_CTX *ctx, char *problem,
			    size_t problem_size)
{
	// The first error is the cause; a file that cannot be read is the system's.
	unsigned long cause = ERR_peek_error(), last = ERR_peek_last_error();
	const char *reason = ERR_SYSTEM_ERROR(cause) ? strerror(ERR_GET_REASON(cause))
						     : ERR_reason_error_string(last);

	snprintf(problem, problem_size, "%s%s%s: %s", what, file ? " " : "", file ? file : "",
		 reason ? reason : "cannot be read");
	ERR_clear_error();
	SSL_CTX_free(ctx);
	return -EINVAL;
}

static SSL_CTX *context_make(const SSL_METHOD *method)
{
	SSL_CTX *ctx = SSL_CTX_new(method);

	if (!ctx)
		return NULL;
	SSL_CTX_set_min_proto_version(ctx, TLS1_2_VERSION);
	SSL_CTX_set_options(ctx, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION |
					 SSL_OP_CIPHER_SERVER_PREFERENCE |
					 SSL_OP_IGNORE_UNEXPECTED_EOF);
	SSL_CTX_set_mode(ctx, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE |
				      SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
	// 128 bits first: less work a byte than 256, and as far out of reach.
	SSL_CTX_set_ciphersuites(ctx, "TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:"
				      "TLS_CHACHA20_POLY1305_SHA256");
	SSL_CTX_set_cipher_list(ctx, "ECDHE+AESGCM:ECDHE+CHACHA20");
	return ctx;
}

static int identity_load(SSL_CTX *ctx, const char *cert_file, const char *key_file, char *problem,
			 size_t problem_size)
{
	if (SSL_CTX_use_certificate_chain_file(ctx, cert_file) != 1)
		return describe_failure("certificate", cert_file, ctx, problem, problem_size);
	if (SSL_CTX_use_PrivateKey_file(ctx, key_file ? key_file : cert_file, SSL_FILETYPE_PEM) !=
	    1)
		return describe_failure("private key", key_file ? key_file : cert_file, ctx,
					problem, problem_size);
	if (SSL_CTX_check_private_key(ctx) != 1)
		return describe_failure("the private key does not belong to the certificate",
					cert_file, ctx, problem, problem_size);
	return 0;
}

// A server has no tickets and no cache: a session kept for later would be memory that no connection
// accounts for.
SSL_CTX *tls_bare_new(bool server)
{
	SSL_CTX *ctx = context_make(server ? TLS_server_method() : TLS_client_method());

	if (ctx && server) {
		SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
		SSL_CTX_set_num_tickets(ctx, 0);
	}
	return ctx;
}

int tls_server_new(const char *cert_file, const char *key_file, SSL_CTX **ret, char *problem,
		   size_t problem_size)
{
	SSL_CTX *ctx = tls_bare_new(true);
	int r;

	if (!ctx)
		return describe_failure("TLS", NULL, NULL, problem, problem_size);
	r = identity_load(ctx, cert_file, key_file, problem, problem_size);
	if (r)
		return r;
	*ret = ctx;
	return 0;
}

int tls_client_new(const char *ca_file, const char *cert_file, const char *key_file, SSL_CTX **ret,
		   char *problem, size_t problem_size)
{
	SSL_CTX *ctx = tls_bare_new(false);
	int r;

	if (!ctx)
		return describe_failure("TLS", NULL, NULL, problem, problem_size);
	if ((ca_file ? SSL_CTX_load_verify_locations(ctx, ca_file, NULL)
		     : SSL_CTX_set_default_verify_paths(ctx)) != 1)
		return describe_failure("authorities", ca_file, ctx, problem, problem_size);
	SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER, NULL);
	if (cert_file) {
		r = identity_load(ctx, cert_file, key_file, problem, problem_size);
		if (r)
			return r;
	}
	*ret = ctx;
	return 0;
}
