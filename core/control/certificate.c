// Makes, signs and checks the certificates of control links with OpenSSL.
//
// Everything goes in and out as PEM text: these are few and small, made once in weeks, and text has
// no owner to forget. A name is the only thing that a certificate says; what the party may do is
// the registry's to say.
//
// Not here: where keys are kept (server), TLS itself (core/net).

#include "core/control/certificate.h"

#include "core/base/util.h"
#include "core/net/tls.h"

#include <errno.h>
#include <inttypes.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/x509v3.h>
#include <stdio.h>

#define DAY_S          86400ll
#define AUTHORITY_DAYS 3650
#define OTHERS_DAYS    90
#define SERIAL_BYTES   16
#define DOMAIN         "mqpaas.internal"

static void key_freep(EVP_PKEY **key)
{
	EVP_PKEY_free(*key);
}

static void x509_freep(X509 **certificate)
{
	X509_free(*certificate);
}

static void bio_freep(BIO **bio)
{
	BIO_free(*bio);
}

// ---- text

static char *text_of(BIO *bio, int made)
{
	char *data, *text = NULL;
	long size = bio ? BIO_get_mem_data(bio, &data) : 0;

	if (made == 1 && size > 0)
		text = strndup(data, (size_t)size);
	ERR_clear_error();
	return text;
}

static BIO *reader_of(const char *pem)
{
	return BIO_new_mem_buf(pem, -1);
}

static EVP_PKEY *private_read(const char *pem)
{
	_cleanup_(bio_freep) BIO *bio = reader_of(pem);

	return bio ? PEM_read_bio_PrivateKey(bio, NULL, NULL, NULL) : NULL;
}

static X509 *x509_read(const char *pem)
{
	_cleanup_(bio_freep) BIO *bio = reader_of(pem);

	return bio ? PEM_read_bio_X509(bio, NULL, NULL, NULL) : NULL;
}

static EVP_PKEY *public_read(const char *pem)
{
	_cleanup_(bio_freep) BIO *bio = reader_of(pem);
	_cleanup_(x509_freep) X509 *certificate = NULL;
	EVP_PKEY *key = bio ? PEM_read_bio_PUBKEY(bio, NULL, NULL, NULL) : NULL;

	if (!key && (certificate = x509_read(pem)))
		key = X509_get_pubkey(certificate);
	ERR_clear_error();
	return key;
}

static char *public_write(EVP_PKEY *key)
{
	_cleanup_(bio_freep) BIO *bio = BIO_new(BIO_s_mem());

	return text_of(bio, bio && key ? PEM_write_bio_PUBKEY(bio, key) : 0);
}

static char *x509_write(X509 *certificate)
{
	_cleanup_(bio_freep) BIO *bio = BIO_new(BIO_s_mem());

	return text_of(bio, bio && certificate ? PEM_write_bio_X509(bio, certificate) : 0);
}

// ---- keys

char *certificate_key_new(void)
{
	_cleanup_(key_freep) EVP_PKEY *key = EVP_EC_gen("P-256");
	_cleanup_(bio_freep) BIO *bio = BIO_new(BIO_s_mem());

	return text_of(
		bio, bio && key ? PEM_write_bio_PKCS8PrivateKey(bio, key, NULL, NULL, 0, NULL, NULL)
				: 0);
}

char *certificate_key_public(const char *pem)
{
	_cleanup_(key_freep) EVP_PKEY *key = private_read(pem);

	return public_write(key);
}

static int hash_key(EVP_PKEY *key, uint8_t ret[CERTIFICATE_HASH_SIZE])
{
	uint8_t *der = NULL;
	int size = key ? i2d_PUBKEY(key, &der) : 0;
	int r = size > 0 && EVP_Digest(der, (size_t)size, ret, NULL, EVP_sha256(), NULL) == 1
			? 0
			: -EBADMSG;

	OPENSSL_free(der);
	ERR_clear_error();
	return r;
}

int certificate_hash(const char *pem, uint8_t ret[CERTIFICATE_HASH_SIZE])
{
	_cleanup_(key_freep) EVP_PKEY *key = public_read(pem);

	return hash_key(key, ret);
}

// ---- names

void certificate_name_authority(uint64_t installation, char ret[CERTIFICATE_NAME_SIZE])
{
	snprintf(ret, CERTIFICATE_NAME_SIZE, "%016" PRIx64 "." DOMAIN, installation);
}

void certificate_name_portal(uint64_t installation, char ret[CERTIFICATE_NAME_SIZE])
{
	snprintf(ret, CERTIFICATE_NAME_SIZE, "portal.%016" PRIx64 "." DOMAIN, installation);
}

void certificate_name_proxy(uint64_t installation, uint64_t id, char ret[CERTIFICATE_NAME_SIZE])
{
	snprintf(ret, CERTIFICATE_NAME_SIZE, "%" PRIu64 ".proxy.%016" PRIx64 "." DOMAIN, id,
		 installation);
}

// ---- signing

static bool serial_draw(X509 *certificate)
{
	uint8_t bytes[SERIAL_BYTES];
	BIGNUM *number =
		RAND_bytes(bytes, sizeof bytes) == 1 ? BN_bin2bn(bytes, sizeof bytes, NULL) : NULL;
	bool done =
		number && BN_to_ASN1_INTEGER(number, X509_get_serialNumber(certificate)) != NULL;

	BN_free(number);
	return done;
}

static bool extension_add(X509 *certificate, X509 *issuer, int nid, const char *value)
{
	X509V3_CTX context;
	X509_EXTENSION *extension;
	bool done;

	X509V3_set_ctx(&context, issuer, certificate, NULL, NULL, 0);
	extension = X509V3_EXT_conf_nid(NULL, &context, nid, value);
	done = extension && X509_add_ext(certificate, extension, -1) == 1;
	X509_EXTENSION_free(extension);
	return done;
}

static bool extensions_add(X509 *certificate, X509 *issuer, const char *name, bool authority)
{
	char alternative[CERTIFICATE_NAME_SIZE + 8];

	snprintf(alternative, sizeof alternative, "DNS:%s", name);
	return extension_add(certificate, issuer, NID_basic_constraints,
			     authority ? "critical,CA:TRUE,pathlen:0" : "critical,CA:FALSE") &&
	       extension_add(certificate, issuer, NID_key_usage,
			     authority ? "critical,keyCertSign" : "critical,digitalSignature") &&
	       extension_add(certificate, issuer, NID_subject_alt_name, alternative) &&
	       extension_add(certificate, issuer, NID_subject_key_identifier, "hash") &&
	       (authority ||
		extension_add(certificate, issuer, NID_authority_key_identifier, "keyid:always"));
}

static bool subject_set(X509 *certificate, const char *name)
{
	return X509_NAME_add_entry_by_txt(X509_get_subject_name(certificate), "CN", MBSTRING_UTF8,
					  (const unsigned char *)name, -1, -1, 0) == 1;
}

static bool time_set(X509 *certificate, int64_t now_ms, int days)
{
	time_t now = (time_t)(now_ms / 1000);

	return ASN1_TIME_set(X509_getm_notBefore(certificate), now - DAY_S) &&
	       ASN1_TIME_set(X509_getm_notAfter(certificate), now + days * DAY_S);
}

char *certificate_issue(const struct certificate_order *order)
{
	bool own = !order->authority;
	_cleanup_(key_freep) EVP_PKEY *key = public_read(order->public_key);
	_cleanup_(key_freep) EVP_PKEY *signer = private_read(order->authority_key);
	_cleanup_(x509_freep) X509 *issuer = own ? NULL : x509_read(order->authority);
	_cleanup_(x509_freep) X509 *certificate = X509_new();
	X509 *above = own ? certificate : issuer;

	if (!key || !signer || !above || !certificate || X509_set_version(certificate, 2) != 1 ||
	    !serial_draw(certificate) || !subject_set(certificate, order->name) ||
	    X509_set_issuer_name(certificate, X509_get_subject_name(above)) != 1 ||
	    !time_set(certificate, order->now_ms, own ? AUTHORITY_DAYS : OTHERS_DAYS) ||
	    X509_set_pubkey(certificate, key) != 1 ||
	    !extensions_add(certificate, above, order->name, own) ||
	    X509_sign(certificate, signer, EVP_sha256()) <= 0) {
		ERR_clear_error();
		return NULL;
	}
	return x509_write(certificate);
}

bool certificate_is_old(const char *pem, int64_t now_ms)
{
	_cleanup_(x509_freep) X509 *certificate = x509_read(pem);
	ASN1_TIME *now = ASN1_TIME_set(NULL, (time_t)(now_ms / 1000));
	int whole = 0, left = 0, seconds;
	bool known = certificate && now &&
		     ASN1_TIME_diff(&whole, &seconds, X509_get0_notBefore(certificate),
				    X509_get0_notAfter(certificate)) == 1 &&
		     ASN1_TIME_diff(&left, &seconds, now, X509_get0_notAfter(certificate)) == 1;

	ASN1_TIME_free(now);
	ERR_clear_error();
	return !known || left < whole / 3;
}

// ---- links

static int accept_now(int preverified, X509_STORE_CTX *context)
{
	return 1;
}

static bool identity_use(SSL_CTX *context, const char *key_pem, const char *pem,
			 const char *authority_pem)
{
	_cleanup_(key_freep) EVP_PKEY *key = private_read(key_pem);
	_cleanup_(x509_freep) X509 *certificate = x509_read(pem);
	X509 *authority = x509_read(authority_pem);

	if (!key || !certificate || !authority ||
	    SSL_CTX_use_certificate(context, certificate) != 1 ||
	    SSL_CTX_use_PrivateKey(context, key) != 1 ||
	    SSL_CTX_add_extra_chain_cert(context, authority) != 1) {
		X509_free(authority);
		return false;
	}
	return true; // the context has taken the authority
}

SSL_CTX *certificate_context(bool server, const char *key, const char *certificate,
			     const char *authority)
{
	SSL_CTX *context = tls_bare_new(server);

	if (context && certificate && !identity_use(context, key, certificate, authority)) {
		SSL_CTX_free(context);
		context = NULL;
	}
	if (context)
		SSL_CTX_set_verify(context, SSL_VERIFY_PEER, accept_now);
	ERR_clear_error();
	return context;
}

static enum certificate_fault chain_check(X509 *certificate, const char *authority_pem)
{
	_cleanup_(x509_freep) X509 *authority = x509_read(authority_pem);
	X509_STORE *store = X509_STORE_new();
	X509_STORE_CTX *context = X509_STORE_CTX_new();
	enum certificate_fault fault = CERTIFICATE_FOREIGN;

	if (authority && store && context && X509_STORE_add_cert(store, authority) == 1 &&
	    X509_STORE_CTX_init(context, store, certificate, NULL) == 1) {
		bool fine = X509_verify_cert(context) == 1;
		int error = X509_STORE_CTX_get_error(context);

		fault = fine ? CERTIFICATE_FINE
			: error == X509_V_ERR_CERT_HAS_EXPIRED ||
					error == X509_V_ERR_CERT_NOT_YET_VALID
				? CERTIFICATE_EXPIRED
				: CERTIFICATE_FOREIGN;
	}
	X509_STORE_CTX_free(context);
	X509_STORE_free(store);
	ERR_clear_error();
	return fault;
}

static bool name_read(const X509 *certificate, char ret[CERTIFICATE_NAME_SIZE])
{
	char name[CERTIFICATE_NAME_SIZE];
	int size = X509_NAME_get_text_by_NID(X509_get_subject_name(certificate), NID_commonName,
					     name, sizeof name);

	if (size <= 0 || (size_t)size >= sizeof name || strlen(name) != (size_t)size)
		return false;
	memcpy(ret, name, sizeof name);
	return true;
}

enum certificate_fault certificate_check(const SSL *ssl, const char *authority,
					 char ret[CERTIFICATE_NAME_SIZE])
{
	_cleanup_(x509_freep) X509 *certificate = SSL_get1_peer_certificate(ssl);
	enum certificate_fault fault;

	if (!certificate)
		return CERTIFICATE_ABSENT;
	fault = chain_check(certificate, authority);
	return fault == CERTIFICATE_FINE && !name_read(certificate, ret) ? CERTIFICATE_FOREIGN
									 : fault;
}

char *certificate_peer_public(const SSL *ssl)
{
	_cleanup_(x509_freep) X509 *certificate = SSL_get1_peer_certificate(ssl);

	return certificate ? public_write(X509_get0_pubkey(certificate)) : NULL;
}

char *certificate_find_authority(const SSL *ssl, const uint8_t hash[CERTIFICATE_HASH_SIZE])
{
	const STACK_OF(X509) *chain = SSL_get_peer_cert_chain(ssl);

	for (int i = 0; chain && i < sk_X509_num(chain); ++i) {
		X509 *certificate = sk_X509_value(chain, i);
		uint8_t found[CERTIFICATE_HASH_SIZE];

		if (hash_key(X509_get0_pubkey(certificate), found) == 0 &&
		    CRYPTO_memcmp(found, hash, sizeof found) == 0)
			return x509_write(certificate);
	}
	return NULL;
}
