// ECDH of a key that is drawn for each envelope with the reader's public key; HKDF-SHA256 makes of
// it the key of a seal (AES-256-GCM).
//
// The drawn public key stands in front and is the salt of the derivation, so that an envelope with
// another one in front does not open.

#include "core/control/envelope.h"

#include "core/base/util.h"

#include <errno.h>
#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/kdf.h>
#include <openssl/pem.h>
#include <stdbool.h>

#define POINT_SIZE  65 // uncompressed
#define SHARED_SIZE 32

static void key_freep(EVP_PKEY **key)
{
	EVP_PKEY_free(*key);
}

static void context_freep(EVP_PKEY_CTX **context)
{
	EVP_PKEY_CTX_free(*context);
}

static EVP_PKEY *key_read(const char *pem, bool private)
{
	BIO *bio = BIO_new_mem_buf(pem, -1);
	EVP_PKEY *key = !bio      ? NULL
			: private ? PEM_read_bio_PrivateKey(bio, NULL, NULL, NULL)
				  : PEM_read_bio_PUBKEY(bio, NULL, NULL, NULL);
	char group[32];
	size_t size;

	BIO_free(bio);
	if (key && (EVP_PKEY_get_group_name(key, group, sizeof group, &size) != 1 ||
		    strcmp(group, "prime256v1") != 0)) {
		EVP_PKEY_free(key);
		key = NULL;
	}
	ERR_clear_error();
	return key;
}

static EVP_PKEY *point_read(const uint8_t point[POINT_SIZE])
{
	EVP_PKEY *key = EVP_PKEY_new();

	if (key && EVP_PKEY_set_type(key, EVP_PKEY_EC) == 1) {
		EVP_PKEY *group = EVP_EC_gen("P-256");
		bool fine = group && EVP_PKEY_copy_parameters(key, group) == 1 &&
			    EVP_PKEY_set1_encoded_public_key(key, point, POINT_SIZE) == 1;

		EVP_PKEY_free(group);
		if (fine)
			return key;
	}
	EVP_PKEY_free(key);
	ERR_clear_error();
	return NULL;
}

static int share(EVP_PKEY *own, EVP_PKEY *peer, uint8_t ret[SHARED_SIZE])
{
	_cleanup_(context_freep) EVP_PKEY_CTX *context = EVP_PKEY_CTX_new(own, NULL);
	size_t size = SHARED_SIZE;

	return context && EVP_PKEY_derive_init(context) == 1 &&
			       EVP_PKEY_derive_set_peer(context, peer) == 1 &&
			       EVP_PKEY_derive(context, ret, &size) == 1 && size == SHARED_SIZE
		       ? 0
		       : -EIO;
}

static int derive(const uint8_t shared[SHARED_SIZE], const uint8_t point[POINT_SIZE],
		  const char *bound, struct seal_key *ret)
{
	EVP_KDF *kdf = EVP_KDF_fetch(NULL, "HKDF", NULL);
	EVP_KDF_CTX *context = kdf ? EVP_KDF_CTX_new(kdf) : NULL;
	char digest[] = "SHA256";
	const OSSL_PARAM parameters[] = {
		OSSL_PARAM_construct_utf8_string(OSSL_KDF_PARAM_DIGEST, digest, 0),
		OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_KEY, (void *)(uintptr_t)shared,
						  SHARED_SIZE),
		OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_SALT, (void *)(uintptr_t)point,
						  POINT_SIZE),
		OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_INFO, (void *)(uintptr_t)bound,
						  strlen(bound)),
		OSSL_PARAM_construct_end(),
	};
	int r = context && EVP_KDF_derive(context, ret->bytes, sizeof ret->bytes, parameters) == 1
			? 0
			: -EIO;

	EVP_KDF_CTX_free(context);
	EVP_KDF_free(kdf);
	return r;
}

static int key_of(EVP_PKEY *own, EVP_PKEY *peer, const uint8_t point[POINT_SIZE], const char *bound,
		  struct seal_key *ret)
{
	uint8_t shared[SHARED_SIZE];
	int r = share(own, peer, shared);

	if (r == 0)
		r = derive(shared, point, bound, ret);
	OPENSSL_cleanse(shared, sizeof shared);
	ERR_clear_error();
	return r;
}

int envelope_close(const char *public_key, const char *bound, const void *plain, size_t size,
		   uint8_t *out)
{
	_cleanup_(key_freep) EVP_PKEY *reader = key_read(public_key, false);
	_cleanup_(key_freep) EVP_PKEY *drawn = EVP_EC_gen("P-256");
	unsigned char *point = NULL;
	struct seal_key key;
	int r;

	if (!reader)
		return -EBADMSG;
	if (!drawn || EVP_PKEY_get1_encoded_public_key(drawn, &point) != POINT_SIZE) {
		OPENSSL_free(point);
		return -EIO;
	}
	memcpy(out, point, POINT_SIZE);
	OPENSSL_free(point);
	r = key_of(drawn, reader, out, bound, &key);
	if (r == 0)
		r = seal_close(&key, bound, plain, size, out + POINT_SIZE);
	OPENSSL_cleanse(&key, sizeof key);
	return r;
}

int envelope_open(const char *key_pem, const char *bound, const uint8_t *closed, size_t size,
		  void *out)
{
	_cleanup_(key_freep) EVP_PKEY *own = key_read(key_pem, true);
	_cleanup_(key_freep) EVP_PKEY *drawn =
		size >= ENVELOPE_OVERHEAD ? point_read(closed) : NULL;
	struct seal_key key;
	int r;

	if (!own || !drawn)
		return -EBADMSG;
	r = key_of(own, drawn, closed, bound, &key);
	if (r == 0)
		r = seal_open(&key, bound, closed + POINT_SIZE, size - POINT_SIZE, out);
	OPENSSL_cleanse(&key, sizeof key);
	return r;
}
