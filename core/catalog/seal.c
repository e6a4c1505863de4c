// Seals a secret of the catalog: encrypts it with a tag that detects changes.
//
// Sealed bytes are one version byte, a random nonce of 12 bytes, the cipher text, a tag of 16
// bytes. Random nonces are safe here: a key seals far fewer than 2^32 secrets.

#include "core/catalog/seal.h"

#include "core/base/util.h"

#include <errno.h>
#include <openssl/evp.h>
#include <openssl/rand.h>

#define SEAL_VERSION 1
#define NONCE_SIZE   12
#define TAG_SIZE     16

static void cipher_freep(EVP_CIPHER_CTX **ctx)
{
	EVP_CIPHER_CTX_free(*ctx);
}

int seal_close(const struct seal_key *key, const char *row, const void *plain, size_t size,
	       uint8_t *out)
{
	_cleanup_(cipher_freep) EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
	uint8_t *nonce = out + 1, *body = nonce + NONCE_SIZE;
	int n;

	assert(size < INT32_MAX);
	out[0] = SEAL_VERSION;
	if (!ctx || RAND_bytes(nonce, NONCE_SIZE) != 1 ||
	    EVP_EncryptInit_ex(ctx, EVP_aes_256_gcm(), NULL, key->bytes, nonce) != 1 ||
	    EVP_EncryptUpdate(ctx, NULL, &n, (const uint8_t *)row, (int)strlen(row)) != 1 ||
	    EVP_EncryptUpdate(ctx, body, &n, plain, (int)size) != 1 ||
	    EVP_EncryptFinal_ex(ctx, body + n, &n) != 1 ||
	    EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_GCM_GET_TAG, TAG_SIZE, body + size) != 1)
		return -EIO;
	return 0;
}

int seal_open(const struct seal_key *key, const char *row, const uint8_t *sealed, size_t size,
	      void *out)
{
	_cleanup_(cipher_freep) EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
	const uint8_t *nonce = sealed + 1, *body = nonce + NONCE_SIZE;
	size_t plain_size = size - SEAL_OVERHEAD;
	int n;

	if (size < SEAL_OVERHEAD || size > INT32_MAX || sealed[0] != SEAL_VERSION)
		return -EBADMSG;
	if (!ctx || EVP_DecryptInit_ex(ctx, EVP_aes_256_gcm(), NULL, key->bytes, nonce) != 1 ||
	    EVP_DecryptUpdate(ctx, NULL, &n, (const uint8_t *)row, (int)strlen(row)) != 1 ||
	    EVP_DecryptUpdate(ctx, out, &n, body, (int)plain_size) != 1 ||
	    EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_GCM_SET_TAG, TAG_SIZE,
				(void *)(uintptr_t)(body + plain_size)) != 1)
		return -EIO;
	return EVP_DecryptFinal_ex(ctx, (uint8_t *)out + n, &n) == 1 ? 0 : -EBADMSG;
}
