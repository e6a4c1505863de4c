// Makes and checks secrets: access keys (SCRAM-SHA-256 verifiers, RFC 5802 and 7677), tokens,
// passwords. A secret that is shown once leaves here as text and is never stored.
//
// An access key's secret has 256 random bits, too many to be guessed, so the least number of rounds
// that the standard allows is enough. Passwords are chosen by users: Argon2id.

#include "core/registry/secret.h"

#include "core/base/base64url.h"

#include <argon2.h>
#include <errno.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/rand.h>
#include <openssl/sha.h>

#define SCRAM_ROUNDS    4096
#define SECRET_BYTES    32
#define KEY_ID_DIGITS   20
#define ARGON_TIME      2
#define ARGON_MEMORY_KB 19456
#define ARGON_SALT      16
#define ARGON_HASH      32

int secret_random_text(char *out, size_t bytes)
{
	uint8_t random[64];

	assert(bytes <= sizeof random);
	if (RAND_bytes(random, (int)bytes) != 1)
		return -EIO;
	base64url_encode(random, bytes, out);
	explicit_bzero(random, sizeof random);
	return 0;
}

void secret_hash(const char *token, uint8_t ret[32])
{
	SHA256((const uint8_t *)token, strlen(token), ret);
}

int secret_password_hash(struct arena *arena, const char *password, const char **ret)
{
	uint8_t salt[ARGON_SALT];
	size_t size = argon2_encodedlen(ARGON_TIME, ARGON_MEMORY_KB, 1, ARGON_SALT, ARGON_HASH,
					Argon2_id);
	char *encoded = arena_alloc(arena, size);

	if (!encoded)
		return -ENOMEM;
	if (RAND_bytes(salt, sizeof salt) != 1)
		return -EIO;
	if (argon2id_hash_encoded(ARGON_TIME, ARGON_MEMORY_KB, 1, password, strlen(password), salt,
				  sizeof salt, ARGON_HASH, encoded, size) != ARGON2_OK)
		return -ENOMEM;
	*ret = encoded;
	return 0;
}

bool secret_password_fits(const char *encoded, const char *password)
{
	// An unknown user must take as long as a wrong password.
	static const char unknown_user[] = "$argon2id$v=19$m=19456,t=2,p=1$AAAAAAAAAAAAAAAAAAAAAA$"
					   "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
	bool fits = argon2id_verify(encoded ? encoded : unknown_user, password, strlen(password)) ==
		    ARGON2_OK;

	return encoded && fits;
}

static int compute_hmac(const uint8_t key[32], const char *text, uint8_t ret[32])
{
	unsigned size = 32;

	return HMAC(EVP_sha256(), key, 32, (const uint8_t *)text, strlen(text), ret, &size) ? 0
											    : -EIO;
}

static int verifier_make(struct access_key *key, const char *secret)
{
	uint8_t salted[32], client[32];
	int r = 0;

	key->salt_count = SCRAM_ROUNDS;
	if (RAND_bytes(key->salt, sizeof key->salt) != 1 ||
	    PKCS5_PBKDF2_HMAC(secret, (int)strlen(secret), key->salt, sizeof key->salt,
			      SCRAM_ROUNDS, EVP_sha256(), sizeof salted, salted) != 1)
		r = -EIO;
	if (r == 0)
		r = compute_hmac(salted, "Client Key", client);
	if (r == 0)
		r = compute_hmac(salted, "Server Key", key->server_key);
	if (r == 0)
		SHA256(client, sizeof client, key->stored_key);
	explicit_bzero(salted, sizeof salted);
	explicit_bzero(client, sizeof client);
	return r;
}

int secret_key_make(struct access_key *key, struct arena *arena, char **ret_secret)
{
	static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
	char *secret = arena_alloc(arena, BASE64URL_SIZE(SECRET_BYTES));
	char *key_id = arena_alloc(arena, 2 + KEY_ID_DIGITS + 1);
	uint8_t random[KEY_ID_DIGITS];
	int r;

	if (!secret || !key_id)
		return -ENOMEM;
	if (RAND_bytes(random, sizeof random) != 1)
		return -EIO;
	memcpy(key_id, "AK", 2);
	for (size_t i = 0; i < KEY_ID_DIGITS; ++i)
		key_id[2 + i] = digits[random[i] & 31];
	r = secret_random_text(secret, SECRET_BYTES);
	if (r == 0)
		r = verifier_make(key, secret);
	if (r == 0) {
		key->key_id = key_id;
		*ret_secret = secret;
	}
	return r;
}
