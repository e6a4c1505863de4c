// SCRAM-SHA-256 and SCRAM-SHA-256-PLUS (RFC 5802, RFC 7677), both sides, as messages without I/O.
//
// Messages are attribute lists "a=…,b=…" in a fixed order (RFC 5802, section 7). Each reader takes
// exactly that order and refuses everything else. Keys (section 3): SaltedPassword = Hi(secret,
// salt, i); ClientKey = HMAC(SaltedPassword, "Client Key"); StoredKey = H(ClientKey); ServerKey =
// HMAC(SaltedPassword, "Server Key"); proof = ClientKey XOR HMAC(StoredKey, AuthMessage).
//
// Invariants: secrets and proofs are compared in constant time; a message that is refused changes
// no state but its own handshake's. It does not normalise passwords (SASLprep): secrets and users
// are printable ASCII. Not here: looking up a user's verifier, and limits on attempts.

#include "core/net/scram.h"

#include <errno.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <stdio.h>

// ---- arithmetic

static int compute_hmac(const void *key, size_t key_size, const void *data, size_t size,
			uint8_t ret[SCRAM_KEY_SIZE])
{
	return HMAC(EVP_sha256(), key, (int)key_size, data, size, ret, NULL) ? 0 : -EIO;
}

static int compute_hash(const void *data, size_t size, uint8_t ret[SCRAM_KEY_SIZE])
{
	return EVP_Digest(data, size, ret, NULL, EVP_sha256(), NULL) ? 0 : -EIO;
}

static int salted_password(const char *secret, const uint8_t *salt, size_t salt_size,
			   uint32_t iterations, uint8_t ret[SCRAM_KEY_SIZE])
{
	return PKCS5_PBKDF2_HMAC(secret, (int)strlen(secret), salt, (int)salt_size, (int)iterations,
				 EVP_sha256(), SCRAM_KEY_SIZE, ret)
		       ? 0
		       : -EIO;
}

static int keys_derive(const uint8_t salted[SCRAM_KEY_SIZE], uint8_t client_key[SCRAM_KEY_SIZE],
		       uint8_t stored_key[SCRAM_KEY_SIZE], uint8_t server_key[SCRAM_KEY_SIZE])
{
	int r = compute_hmac(salted, SCRAM_KEY_SIZE, "Client Key", 10, client_key);

	if (!r)
		r = compute_hash(client_key, SCRAM_KEY_SIZE, stored_key);
	if (!r)
		r = compute_hmac(salted, SCRAM_KEY_SIZE, "Server Key", 10, server_key);
	return r;
}

static void xor_into(uint8_t to[SCRAM_KEY_SIZE], const uint8_t with[SCRAM_KEY_SIZE])
{
	for (unsigned i = 0; i < SCRAM_KEY_SIZE; ++i)
		to[i] ^= with[i];
}

int scram_verifier_make(const char *secret, const uint8_t salt[SCRAM_SALT_SIZE],
			uint32_t iterations, struct scram_verifier *ret)
{
	uint8_t salted[SCRAM_KEY_SIZE], client_key[SCRAM_KEY_SIZE];
	int r = salted_password(secret, salt, SCRAM_SALT_SIZE, iterations, salted);

	memcpy(ret->salt, salt, SCRAM_SALT_SIZE);
	ret->iterations = iterations;
	if (!r)
		r = keys_derive(salted, client_key, ret->stored_key, ret->server_key);
	OPENSSL_cleanse(salted, sizeof salted);
	OPENSSL_cleanse(client_key, sizeof client_key);
	return r;
}

// A verifier for a user that does not exist. It depends on the user's name and a secret of ours
// only, so that the same name always shows the same salt and cannot be told from an existing one.
int scram_verifier_fake(const uint8_t secret[SCRAM_KEY_SIZE], const char *user,
			struct scram_verifier *ret)
{
	uint8_t seed[SCRAM_KEY_SIZE];
	int r = compute_hmac(secret, SCRAM_KEY_SIZE, user, strlen(user), seed);

	memcpy(ret->salt, seed, SCRAM_SALT_SIZE);
	ret->iterations = SCRAM_ITERATIONS;
	if (!r)
		r = compute_hmac(seed, sizeof seed, "stored", 6, ret->stored_key);
	if (!r)
		r = compute_hmac(seed, sizeof seed, "server", 6, ret->server_key);
	return r;
}

// ---- text

static bool is_printable(const char *text, size_t size)
{
	for (size_t i = 0; i < size; ++i)
		if (text[i] < 0x20 || text[i] > 0x7e)
			return false;
	return true;
}

static void base64_write(const uint8_t *bytes, size_t size, char *room)
{
	EVP_EncodeBlock((unsigned char *)room, bytes, (int)size);
}

// Returns the size, or -1 when the text is not base64 or the bytes do not fit.
static ssize_t base64_read(struct slice text, uint8_t *room, size_t room_size)
{
	uint8_t decoded[SCRAM_MESSAGE_MAX];
	int size;

	if (text.size == 0 || text.size % 4 || text.size > SCRAM_MESSAGE_MAX)
		return text.size == 0 ? 0 : -1;
	size = EVP_DecodeBlock(decoded, text.data, (int)text.size);
	if (size < 0)
		return -1;
	for (size_t at = text.size; at > text.size - 2 && text.data[at - 1] == '='; --at)
		--size;
	if ((size_t)size > room_size)
		return -1;
	memcpy(room, decoded, (size_t)size);
	return size;
}

// Takes the attribute `name` from the front of *rest, with the comma behind it.
static bool attribute_take(struct slice *rest, char name, struct slice *ret)
{
	const uint8_t *comma;
	size_t size;

	if (rest->size < 2 || rest->data[0] != (uint8_t)name || rest->data[1] != '=')
		return false;
	comma = memchr(rest->data, ',', rest->size);
	size = comma ? (size_t)(comma - rest->data) : rest->size;
	*ret = (struct slice){rest->data + 2, size - 2};
	size += comma ? 1 : 0;
	*rest = (struct slice){rest->data + size, rest->size - size};
	return true;
}

static bool slice_is(struct slice slice, const char *text)
{
	return slice.size == strlen(text) && memcmp(slice.data, text, slice.size) == 0;
}

static bool text_copy(struct slice slice, char *room, size_t size)
{
	if (slice.size >= size || !is_printable((const char *)slice.data, slice.size))
		return false;
	memcpy(room, slice.data, slice.size);
	room[slice.size] = '\0';
	return true;
}

static bool message_ok(struct slice message)
{
	return message.size < SCRAM_MESSAGE_MAX / 2 &&
	       is_printable((const char *)message.data, message.size);
}

// ---- server

// The part before the first two commas: which binding the client wants. Leaves client-first-bare in
// *rest.
static int gs2_read(struct scram_server *server, bool plus, struct slice *rest)
{
	const uint8_t *first = memchr(rest->data, ',', rest->size), *second;
	struct slice flag;
	size_t size;
	bool bound;

	if (!first)
		return SCRAM_E_MALFORMED;
	second = memchr(first + 1, ',', rest->size - (size_t)(first + 1 - rest->data));
	if (second != first + 1)
		return SCRAM_E_MALFORMED; // an authorization identity, or no second comma
	flag = (struct slice){rest->data, (size_t)(first - rest->data)};
	size = (size_t)(second + 1 - rest->data);
	bound = server->channel.exporter.size || server->channel.end_point.size;
	text_copy((struct slice){rest->data, size}, server->binding_input,
		  sizeof server->binding_input);
	*rest = (struct slice){rest->data + size, rest->size - size};
	server->binding = NULL;
	if (slice_is(flag, "p=tls-exporter"))
		server->binding = &server->channel.exporter;
	else if (slice_is(flag, "p=tls-server-end-point"))
		server->binding = &server->channel.end_point;
	else if (flag.size > 1 && flag.data[0] == 'p')
		return SCRAM_E_BINDING;
	else if (!slice_is(flag, "n") && !slice_is(flag, "y"))
		return SCRAM_E_MALFORMED;
	// "y": the client could bind but believes that we cannot; if we offered it, an attacker
	// between us has removed the offer.
	if (slice_is(flag, "y") && bound)
		return SCRAM_E_BINDING;
	if ((server->binding != NULL) != plus || (server->binding && !server->binding->size))
		return SCRAM_E_BINDING;
	return 0;
}

int scram_server_start(struct scram_server *server, bool plus, const struct scram_channel *channel,
		       struct slice client_first)
{
	struct slice rest = client_first, user, nonce;
	int r;

	*server = (struct scram_server){.channel = *channel};
	if (!message_ok(client_first))
		return SCRAM_E_MALFORMED;
	r = gs2_read(server, plus, &rest);
	if (r)
		return r;
	text_copy(rest, server->first_bare, sizeof server->first_bare);
	if (!attribute_take(&rest, 'n', &user) || !attribute_take(&rest, 'r', &nonce) ||
	    nonce.size == 0)
		return SCRAM_E_MALFORMED;
	// Our key ids hold neither '=' nor ',', so a name with an escape (=3D, =2C) is unknown.
	if (!text_copy(user, server->user, sizeof server->user) ||
	    !text_copy(nonce, server->nonce, SCRAM_NONCE_MAX + 1))
		return SCRAM_E_MALFORMED;
	return 0;
}

int scram_server_challenge(struct scram_server *server, const struct scram_verifier *verifier,
			   const char *nonce, char ret_message[SCRAM_MESSAGE_MAX])
{
	char salt[4 * SCRAM_SALT_SIZE];

	assert(strlen(nonce) <= SCRAM_NONCE_MAX);
	server->verifier = *verifier;
	strcat(server->nonce, nonce);
	base64_write(verifier->salt, SCRAM_SALT_SIZE, salt);
	snprintf(server->server_first, sizeof server->server_first, "r=%s,s=%s,i=%u", server->nonce,
		 salt, verifier->iterations);
	memcpy(ret_message, server->server_first, SCRAM_MESSAGE_MAX);
	return 0;
}

// The client repeats its GS2 header and appends the channel's data; both are what it signs. A
// header that was changed on the way differs here from the one in the first message.
static bool binding_matches(const struct scram_server *server, struct slice encoded)
{
	uint8_t sent[SCRAM_MESSAGE_MAX];
	ssize_t size = base64_read(encoded, sent, sizeof sent);
	size_t head = strlen(server->binding_input),
	       data = server->binding ? server->binding->size : 0;

	if (size < 0 || (size_t)size != head + data ||
	    memcmp(sent, server->binding_input, head) != 0)
		return false;
	return data == 0 || CRYPTO_memcmp(sent + head, server->binding->data, data) == 0;
}

static int auth_message_make(const char *first_bare, const char *server_first,
			     struct slice without_proof, char room[3 * SCRAM_MESSAGE_MAX])
{
	return snprintf(room, 3 * SCRAM_MESSAGE_MAX, "%s,%s,%.*s", first_bare, server_first,
			(int)without_proof.size, (const char *)without_proof.data);
}

// XOR with the signature restores ClientKey from the proof; its hash must be StoredKey. The server
// never knows the secret.
int scram_server_final(struct scram_server *server, struct slice client_final,
		       char ret_message[SCRAM_MESSAGE_MAX])
{
	struct slice rest = client_final, binding, nonce, proof;
	uint8_t client_key[SCRAM_KEY_SIZE], signature[SCRAM_KEY_SIZE], stored[SCRAM_KEY_SIZE];
	char auth_message[3 * SCRAM_MESSAGE_MAX], encoded[4 * SCRAM_KEY_SIZE];
	size_t size;
	int r;

	if (!message_ok(client_final) || !attribute_take(&rest, 'c', &binding) ||
	    !attribute_take(&rest, 'r', &nonce))
		return SCRAM_E_MALFORMED;
	size = client_final.size - rest.size;
	if (size == 0 || !attribute_take(&rest, 'p', &proof) || rest.size ||
	    !slice_is(nonce, server->nonce))
		return SCRAM_E_MALFORMED;
	if (base64_read(proof, client_key, sizeof client_key) != (ssize_t)SCRAM_KEY_SIZE)
		return SCRAM_E_MALFORMED;
	if (!binding_matches(server, binding))
		return SCRAM_E_BINDING;
	size = (size_t)auth_message_make(server->first_bare, server->server_first,
					 (struct slice){client_final.data, size - 1}, auth_message);
	r = compute_hmac(server->verifier.stored_key, SCRAM_KEY_SIZE, auth_message, size,
			 signature);
	if (r)
		return r;
	xor_into(client_key, signature);
	r = compute_hash(client_key, SCRAM_KEY_SIZE, stored);
	if (r)
		return r;
	if (CRYPTO_memcmp(stored, server->verifier.stored_key, SCRAM_KEY_SIZE) != 0)
		return SCRAM_E_PROOF;
	r = compute_hmac(server->verifier.server_key, SCRAM_KEY_SIZE, auth_message, size,
			 signature);
	if (r)
		return r;
	base64_write(signature, SCRAM_KEY_SIZE, encoded);
	snprintf(ret_message, SCRAM_MESSAGE_MAX, "v=%s", encoded);
	return 0;
}

// ---- client

int scram_client_start(struct scram_client *client, const char *user, const char *secret,
		       const char *nonce, const struct scram_channel *channel, bool plus_offered,
		       struct scram_cache *cache, bool *ret_plus,
		       char ret_message[SCRAM_MESSAGE_MAX])
{
	bool exporter = channel && channel->exporter.size,
	     end_point = channel && channel->end_point.size;
	bool plus = plus_offered && (exporter || end_point);

	*client = (struct scram_client){.cache = cache};
	if (strlen(user) > SCRAM_USER_MAX || !is_printable(user, strlen(user)) ||
	    strpbrk(user, ",=") || strlen(secret) >= sizeof client->secret / 2 ||
	    !is_printable(secret, strlen(secret)) || strlen(nonce) > SCRAM_NONCE_MAX)
		return -EINVAL;
	strcpy(client->secret, secret);
	strcpy(client->nonce, nonce);
	if (plus) {
		client->binding = exporter ? channel->exporter : channel->end_point;
		strcpy(client->gs2, exporter ? "p=tls-exporter,," : "p=tls-server-end-point,,");
	} else {
		strcpy(client->gs2, exporter || end_point ? "y,," : "n,,");
	}
	snprintf(client->first_bare, sizeof client->first_bare, "n=%s,r=%s", user, nonce);
	snprintf(ret_message, SCRAM_MESSAGE_MAX, "%s%s", client->gs2, client->first_bare);
	*ret_plus = plus;
	return 0;
}

// SaltedPassword from the client's cache, else computed, which takes about 1 ms. The cache is valid
// for one salt, count and secret; it holds the secret as a hash only.
static int password_get(struct scram_client *client, const uint8_t *salt, size_t salt_size,
			uint32_t iterations, uint8_t ret[SCRAM_KEY_SIZE])
{
	struct scram_cache *cache = client->cache;
	uint8_t secret_hash[SCRAM_KEY_SIZE];
	int r = compute_hash(client->secret, strlen(client->secret), secret_hash);

	if (r)
		return r;
	if (cache && cache->iterations == iterations && cache->salt_size == salt_size &&
	    memcmp(cache->salt, salt, salt_size) == 0 &&
	    CRYPTO_memcmp(cache->secret_hash, secret_hash, sizeof secret_hash) == 0) {
		memcpy(ret, cache->salted_password, SCRAM_KEY_SIZE);
		return 0;
	}
	r = salted_password(client->secret, salt, salt_size, iterations, ret);
	if (!r && cache) {
		memcpy(cache->salt, salt, salt_size);
		cache->salt_size = salt_size;
		cache->iterations = iterations;
		memcpy(cache->secret_hash, secret_hash, sizeof secret_hash);
		memcpy(cache->salted_password, ret, SCRAM_KEY_SIZE);
	}
	return r;
}

// "r=…,s=…,i=…" with a nonce that continues ours.
static int server_first_read(const struct scram_client *client, struct slice message,
			     struct slice *ret_nonce, uint8_t *salt, size_t *ret_salt_size,
			     uint32_t *ret_iterations)
{
	struct slice rest = message, encoded, count;
	size_t own = strlen(client->nonce);
	uint64_t iterations = 0;
	ssize_t salt_size;

	if (!message_ok(message) || !attribute_take(&rest, 'r', ret_nonce) ||
	    !attribute_take(&rest, 's', &encoded) || !attribute_take(&rest, 'i', &count) ||
	    count.size == 0 || count.size > 9)
		return SCRAM_E_MALFORMED;
	if (ret_nonce->size <= own || memcmp(ret_nonce->data, client->nonce, own) != 0)
		return SCRAM_E_MALFORMED;
	for (size_t i = 0; i < count.size; ++i) {
		if (count.data[i] < '0' || count.data[i] > '9')
			return SCRAM_E_MALFORMED;
		iterations = 10 * iterations + count.data[i] - '0';
	}
	salt_size = base64_read(encoded, salt, SCRAM_MESSAGE_MAX);
	if (salt_size <= 0 || iterations == 0 || iterations > SCRAM_ITERATIONS_MAX)
		return SCRAM_E_MALFORMED;
	*ret_salt_size = (size_t)salt_size;
	*ret_iterations = (uint32_t)iterations;
	return 0;
}

// AuthMessage is what the server computes too: client-first-bare, server-first, client-final
// without the proof. The expected signature of the server is kept for scram_client_finish(), so the
// secret is not needed again.
int scram_client_answer(struct scram_client *client, struct slice server_first,
			char ret_message[SCRAM_MESSAGE_MAX])
{
	uint8_t salt[SCRAM_MESSAGE_MAX], salted[SCRAM_KEY_SIZE], proof[SCRAM_KEY_SIZE],
		stored[SCRAM_KEY_SIZE], server_key[SCRAM_KEY_SIZE];
	uint8_t signature[SCRAM_KEY_SIZE], bound[SCRAM_MESSAGE_MAX / 2];
	char binding[SCRAM_MESSAGE_MAX], encoded[4 * SCRAM_KEY_SIZE], first[SCRAM_MESSAGE_MAX];
	size_t head = strlen(client->gs2), salt_size, size;
	uint32_t iterations;
	struct slice nonce;
	int r = server_first_read(client, server_first, &nonce, salt, &salt_size, &iterations);

	if (r)
		return r;
	if (head + client->binding.size > sizeof bound)
		return -EINVAL;
	memcpy(bound, client->gs2, head);
	if (client->binding.size)
		memcpy(bound + head, client->binding.data, client->binding.size);
	base64_write(bound, head + client->binding.size, binding);
	size = (size_t)snprintf(ret_message, SCRAM_MESSAGE_MAX, "c=%s,r=%.*s", binding,
				(int)nonce.size, (const char *)nonce.data);
	if (size + sizeof encoded + 4 > SCRAM_MESSAGE_MAX)
		return SCRAM_E_MALFORMED;
	text_copy(server_first, first, sizeof first);
	auth_message_make(client->first_bare, first,
			  (struct slice){(const uint8_t *)ret_message, size}, client->auth_message);
	r = password_get(client, salt, salt_size, iterations, salted);
	if (!r)
		r = keys_derive(salted, proof, stored, server_key);
	if (!r)
		r = compute_hmac(stored, sizeof stored, client->auth_message,
				 strlen(client->auth_message), signature);
	if (!r)
		r = compute_hmac(server_key, sizeof server_key, client->auth_message,
				 strlen(client->auth_message), client->server_signature);
	if (!r) {
		xor_into(proof, signature);
		base64_write(proof, sizeof proof, encoded);
		snprintf(ret_message + size, SCRAM_MESSAGE_MAX - size, ",p=%s", encoded);
	}
	OPENSSL_cleanse(salted, sizeof salted);
	return r;
}

int scram_client_finish(struct scram_client *client, struct slice server_final)
{
	struct slice rest = server_final, encoded;
	uint8_t signature[SCRAM_KEY_SIZE];

	if (!message_ok(server_final) || !attribute_take(&rest, 'v', &encoded))
		return SCRAM_E_MALFORMED;
	if (base64_read(encoded, signature, sizeof signature) != (ssize_t)SCRAM_KEY_SIZE)
		return SCRAM_E_MALFORMED;
	return CRYPTO_memcmp(signature, client->server_signature, sizeof signature) == 0
		       ? 0
		       : SCRAM_E_PROOF;
}

void scram_client_deinit(struct scram_client *client)
{
	OPENSSL_cleanse(client, sizeof *client);
}
