// TLS by hiredis_ssl (1.0 and later).

#include "core/redis/tls/redis_tls.h"

#include <errno.h>
#include <hiredis/async.h>
#include <hiredis/hiredis_ssl.h>
#include <openssl/ssl.h>

bool redis_tls_is_there(void)
{
	return true;
}

static SSL_CTX *context_make(void)
{
	SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());

	if (!ctx)
		return NULL;
	SSL_CTX_set_min_proto_version(ctx, TLS1_2_VERSION);
	SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER, NULL);
	if (SSL_CTX_set_default_verify_paths(ctx) == 1)
		return ctx;
	SSL_CTX_free(ctx);
	return NULL;
}

int redis_tls_begin(struct redisAsyncContext *context, const char *host)
{
	SSL_CTX *ctx = context_make();
	SSL *ssl = ctx ? SSL_new(ctx) : NULL;

	SSL_CTX_free(ctx); // `ssl` holds it
	if (!ssl)
		return -ENOMEM;
	if (SSL_set1_host(ssl, host) != 1 || SSL_set_tlsext_host_name(ssl, host) != 1) {
		SSL_free(ssl);
		return -EINVAL;
	}
	if (redisInitiateSSL(&context->c, ssl) != REDIS_OK) {
		SSL_free(ssl);
		return -EPROTO;
	}
	return 0;
}
