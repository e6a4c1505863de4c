// TLS contexts with the defaults both sides of the product use: TLS 1.2 and 1.3, forward secrecy,
// peers verified by clients.
#pragma once

#include <stdbool.h>
#include <stddef.h>

typedef struct ssl_ctx_st SSL_CTX; // as <openssl/types.h> declares it

// The defaults alone, without an identity and authorities. NULL: no memory.
SSL_CTX *tls_bare_new(bool server);

// All below return 0 or -EINVAL with a sentence in `problem` that names the file and what is wrong
// with it. Paths are PEM files.
int tls_server_new(const char *cert_file, const char *key_file, SSL_CTX **ret, char *problem,
		   size_t problem_size);
// Any may be NULL: without ca_file the system's authorities are trusted, without cert_file no
// certificate is shown; key_file defaults to cert_file.
int tls_client_new(const char *ca_file, const char *cert_file, const char *key_file, SSL_CTX **ret,
		   char *problem, size_t problem_size);
