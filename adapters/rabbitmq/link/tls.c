// TLS to a broker.
//
// The texts of the options are PEM and go into OpenSSL from memory. The broker's certificate must
// lead to an authority (the operator's, or the system's), be valid today, and be for the host that
// was dialled, by name or by IP address. OpenSSL checks all three in the handshake, so that its
// result says which one failed.
//
// What it does not do: reuse sessions; a link connects rarely.

#include "adapters/rabbitmq/link/tls.h"

#include <arpa/inet.h>
#include <errno.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

static const struct {
	long result;
	const char *words;
} refusals[] = {
	{X509_V_ERR_HOSTNAME_MISMATCH, "the broker's certificate is for another host name"},
	{X509_V_ERR_IP_ADDRESS_MISMATCH, "the broker's certificate is for another IP address"},
	{X509_V_ERR_CERT_HAS_EXPIRED, "the broker's certificate has expired"},
	{X509_V_ERR_CERT_NOT_YET_VALID, "the broker's certificate is not valid yet"},
};

// A key with a pass phrase has none here, and must not ask on a terminal.
static int no_pass_phrase(char *room, int size, int writing, void *ctx)
{
	return 0;
}

static void x509_freep(X509 **certificate)
{
	X509_free(*certificate);
}

static void bio_freep(BIO **bio)
{
	BIO_free(*bio);
}

static bool authorities_set(SSL_CTX *ctx, const char *pem)
{
	_cleanup_(bio_freep) BIO *bio = BIO_new_mem_buf(pem, -1);
	X509_STORE *store = SSL_CTX_get_cert_store(ctx);
	int count = 0;

	while (bio) {
		_cleanup_(x509_freep) X509 *certificate =
			PEM_read_bio_X509(bio, NULL, no_pass_phrase, NULL);

		if (!certificate)
			break;
		if (X509_STORE_add_cert(store, certificate) != 1)
			return false;
		++count;
	}
	ERR_clear_error(); // that there are no more
	return count > 0;
}

// The first is ours, the others lead to its authority.
static bool certificates_set(SSL_CTX *ctx, const char *pem)
{
	_cleanup_(bio_freep) BIO *bio = BIO_new_mem_buf(pem, -1);
	int count = 0;

	while (bio) {
		_cleanup_(x509_freep) X509 *certificate =
			PEM_read_bio_X509(bio, NULL, no_pass_phrase, NULL);

		if (!certificate)
			break;
		if ((count == 0 ? SSL_CTX_use_certificate(ctx, certificate)
				: (int)SSL_CTX_add1_chain_cert(ctx, certificate)) != 1)
			return false;
		++count;
	}
	ERR_clear_error();
	return count > 0;
}

static bool key_set(SSL_CTX *ctx, const char *pem)
{
	_cleanup_(bio_freep) BIO *bio = BIO_new_mem_buf(pem, -1);
	EVP_PKEY *key = bio ? PEM_read_bio_PrivateKey(bio, NULL, no_pass_phrase, NULL) : NULL;
	bool is_set = key && SSL_CTX_use_PrivateKey(ctx, key) == 1;

	EVP_PKEY_free(key);
	ERR_clear_error();
	return is_set;
}

static bool pem_set(SSL_CTX *ctx, const struct rabbitmq_options *options,
		    struct rabbitmq_error *ret_error)
{
	enum code code = CODE_BAD_REQUEST;

	if (options->ca_pem ? !authorities_set(ctx, options->ca_pem)
			    : SSL_CTX_set_default_verify_paths(ctx) != 1)
		return rabbitmq_error_set(ret_error, code, "TLS: ca_pem holds no certificate");
	if (!options->certificate_pem)
		return true;
	if (!certificates_set(ctx, options->certificate_pem))
		return rabbitmq_error_set(ret_error, code,
					  "TLS: certificate_pem holds no certificate");
	if (!key_set(ctx, options->key_pem))
		return rabbitmq_error_set(
			ret_error, code,
			"TLS: key_pem is no private key of the certificate, or has a pass phrase");
	return true;
}

static SSL_CTX *context_new(void)
{
	SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());

	if (!ctx)
		return NULL;
	SSL_CTX_set_min_proto_version(ctx, TLS1_2_VERSION);
	SSL_CTX_set_options(ctx, SSL_OP_NO_RENEGOTIATION);
	SSL_CTX_set_mode(ctx, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
	SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER, NULL);
	return ctx;
}

static bool host_set(SSL *ssl, const char *host)
{
	uint8_t address[16];

	if (inet_pton(AF_INET, host, address) == 1 || inet_pton(AF_INET6, host, address) == 1)
		return X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(ssl), host) == 1;
	return SSL_set1_host(ssl, host) == 1 && SSL_set_tlsext_host_name(ssl, host) == 1;
}

SSL *rabbitmq_tls_new(const struct rabbitmq_options *options, const char *host, int fd,
		      struct rabbitmq_error *ret_error)
{
	SSL_CTX *ctx = context_new();
	SSL *ssl = NULL;

	rabbitmq_error_system(ret_error, ENOMEM);
	if (ctx && pem_set(ctx, options, ret_error))
		ssl = SSL_new(ctx);
	SSL_CTX_free(ctx); // the connection has its own reference
	if (ssl && host_set(ssl, host) && SSL_set_fd(ssl, fd) == 1)
		return ssl;
	SSL_free(ssl);
	ERR_clear_error();
	return NULL;
}

static bool explain_certificate(long result, struct rabbitmq_error *ret)
{
	for (size_t i = 0; i < ARRAY_SIZE(refusals); ++i)
		if (refusals[i].result == result)
			return rabbitmq_error_set(ret, CODE_BACKEND_ERROR, "TLS: %s",
						  refusals[i].words);
	return rabbitmq_error_set(ret, CODE_BACKEND_ERROR,
				  "TLS: the broker's certificate is not trusted: %s",
				  X509_verify_cert_error_string(result));
}

bool rabbitmq_tls_explain(SSL *ssl, int result, struct rabbitmq_error *ret)
{
	int system_error = SSL_get_error(ssl, result) == SSL_ERROR_SYSCALL ? errno : 0;
	long verified = SSL_get_verify_result(ssl);
	unsigned long error = ERR_peek_error();
	const char *reason = error ? ERR_reason_error_string(error) : NULL;

	ERR_clear_error();
	if (verified != X509_V_OK)
		return explain_certificate(verified, ret);
	if (ERR_GET_REASON(error) == SSL_R_UNEXPECTED_EOF_WHILE_READING)
		reason = NULL;
	if (ERR_GET_REASON(error) == SSL_R_WRONG_VERSION_NUMBER)
		reason = "this port does not speak TLS";
	if (reason)
		return rabbitmq_error_set(ret, CODE_BACKEND_ERROR, "TLS: %s", reason);
	return rabbitmq_error_system(ret, system_error ? system_error : ESHUTDOWN);
}
