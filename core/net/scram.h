// SCRAM-SHA-256 and SCRAM-SHA-256-PLUS (RFC 5802, RFC 7677), both sides, as state machines over
// messages.
//
// Nothing here reads a socket, a clock or a random source: nonces are given. User names and secrets
// are printable ASCII, so that SASLprep (RFC 4013) changes nothing; others are refused.
#pragma once

#include "core/base/buf.h"
#include "core/base/util.h"

#include <stdbool.h>

#define SCRAM_KEY_SIZE       32u
#define SCRAM_SALT_SIZE      16u
#define SCRAM_ITERATIONS     4096u
#define SCRAM_ITERATIONS_MAX 1000000u // a client refuses to work longer than this for a server
#define SCRAM_NONCE_MAX      64u
#define SCRAM_USER_MAX       128u
#define SCRAM_MESSAGE_MAX    1024u
#define SCRAM_MECHANISM      "SCRAM-SHA-256"
#define SCRAM_MECHANISM_PLUS "SCRAM-SHA-256-PLUS"

// What a server keeps of a secret.
struct scram_verifier {
	uint8_t salt[SCRAM_SALT_SIZE];
	uint32_t iterations;
	uint8_t stored_key[SCRAM_KEY_SIZE];
	uint8_t server_key[SCRAM_KEY_SIZE];
};

// Positive outcomes of the calls below; -EIO: the crypto library failed.
enum {
	SCRAM_E_MALFORMED = 1, // the message is not SCRAM, or does not answer ours
	SCRAM_E_PROOF =
		2, // the proof is wrong (server), or the server could not prove itself (client)
	SCRAM_E_BINDING = 3, // the channel binding is missing, unknown or another channel's
};

int scram_verifier_make(const char *secret, const uint8_t salt[SCRAM_SALT_SIZE],
			uint32_t iterations, struct scram_verifier *ret);
// For a user that does not exist: always the same for a name, made from a secret of the cluster; no
// proof fits it.
int scram_verifier_fake(const uint8_t secret[SCRAM_KEY_SIZE], const char *user,
			struct scram_verifier *ret);

// What the connection can be bound to (RFC 5929, RFC 9266); size 0: not there.
struct scram_channel {
	struct slice exporter;  // tls-exporter
	struct slice end_point; // tls-server-end-point
};

// ---- server

struct scram_server {
	struct scram_verifier verifier;
	struct scram_channel channel; // its bytes are borrowed until scram_server_final
	char user[SCRAM_USER_MAX + 1];
	char nonce[2 * SCRAM_NONCE_MAX + 1];   // client's and ours
	char binding_input[SCRAM_MESSAGE_MAX]; // what c= must decode to, before the channel's own
					       // bytes
	const struct slice *binding;           // the channel's bytes that belong to it; NULL: none
	char first_bare[SCRAM_MESSAGE_MAX];
	char server_first[SCRAM_MESSAGE_MAX];
};

// Reads client-first; server->user is known afterwards. `plus`: the -PLUS mechanism was chosen.
int scram_server_start(struct scram_server *server, bool plus, const struct scram_channel *channel,
		       struct slice client_first);
// Writes server-first (zero-terminated). `nonce`: printable ASCII without comma, at least 18
// characters.
int scram_server_challenge(struct scram_server *server, const struct scram_verifier *verifier,
			   const char *nonce, char ret_message[SCRAM_MESSAGE_MAX]);
// Reads client-final; writes server-final only if the proof is right.
int scram_server_final(struct scram_server *server, struct slice client_final,
		       char ret_message[SCRAM_MESSAGE_MAX]);

// ---- client

enum scram_binding_kind { SCRAM_BIND_NONE, SCRAM_BIND_EXPORTER, SCRAM_BIND_END_POINT };

// The salted password of (secret, salt, iterations): 0.9 ms to make, so a client keeps it.
struct scram_cache {
	uint8_t salt[SCRAM_MESSAGE_MAX];
	size_t salt_size;
	uint32_t iterations;                 // 0: empty
	uint8_t secret_hash[SCRAM_KEY_SIZE]; // a changed secret often has the old one's salt
	uint8_t salted_password[SCRAM_KEY_SIZE];
};

struct scram_client {
	char secret[SCRAM_MESSAGE_MAX];
	char nonce[SCRAM_NONCE_MAX + 1];
	char gs2[64];         // "p=tls-exporter,,", "y,," or "n,,"
	struct slice binding; // borrowed until the client-final is written
	char first_bare[256];
	char auth_message[3 * SCRAM_MESSAGE_MAX];
	uint8_t server_signature[SCRAM_KEY_SIZE];
	struct scram_cache *cache; // may be NULL
};

// Writes client-first. `plus_offered`: the server named -PLUS. With a channel that can be bound and
// -PLUS offered the mechanism is -PLUS
// (*ret_plus); with a channel but no offer "y" is sent, so that a stripped offer is found out.
// -EINVAL: user or secret is not printable ASCII or too long.
int scram_client_start(struct scram_client *client, const char *user, const char *secret,
		       const char *nonce, const struct scram_channel *channel, bool plus_offered,
		       struct scram_cache *cache, bool *ret_plus,
		       char ret_message[SCRAM_MESSAGE_MAX]);
// Reads server-first, writes client-final.
int scram_client_answer(struct scram_client *client, struct slice server_first,
			char ret_message[SCRAM_MESSAGE_MAX]);
// Reads server-final: does the server know the secret too?
int scram_client_finish(struct scram_client *client, struct slice server_final);
void scram_client_deinit(struct scram_client *client); // wipes the secret
