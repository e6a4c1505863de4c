// Keys and certificates of an installation's own authority: EC P-256, as PEM text.
//
// Texts that are returned are the caller's; NULL: no memory, or the library failed.
#pragma once

#include <openssl/ssl.h>
#include <stdbool.h>
#include <stdint.h>

#define CERTIFICATE_NAME_SIZE 64 // with its zero
#define CERTIFICATE_HASH_SIZE 32

char *certificate_key_new(void);               // a private key
char *certificate_key_public(const char *key); // its public key
// SHA-256 of the public key that a public key or certificate holds. -EBADMSG: it holds none.
int certificate_hash(const char *pem, uint8_t ret[CERTIFICATE_HASH_SIZE]);

// The names of an installation's parties, as certificates have them.
void certificate_name_authority(uint64_t installation, char ret[CERTIFICATE_NAME_SIZE]);
void certificate_name_portal(uint64_t installation, char ret[CERTIFICATE_NAME_SIZE]);
void certificate_name_proxy(uint64_t installation, uint64_t id, char ret[CERTIFICATE_NAME_SIZE]);

struct certificate_order {
	const char *name;
	const char *public_key;
	const char *authority_key;
	const char *authority; // its certificate; NULL: the order is the authority's own
	int64_t now_ms;
};
// Valid from a day ago: the authority's for ten years, others for 90 days.
char *certificate_issue(const struct certificate_order *order);
// Less than a third of its time is left, or it cannot be read.
bool certificate_is_old(const char *certificate, int64_t now_ms);

// A context for control links, which shows the certificate with its authority behind it. Without
// `certificate` (a client that joins) it shows none. The peer is asked for its certificate, and not
// checked: certificate_check() does that, so that a refusal can be said in words.
SSL_CTX *certificate_context(bool server, const char *key, const char *certificate,
			     const char *authority);

enum certificate_fault {
	CERTIFICATE_FINE,
	CERTIFICATE_ABSENT,
	CERTIFICATE_FOREIGN, // not signed by this authority
	CERTIFICATE_EXPIRED,
};
// After the handshake. With CERTIFICATE_FINE the name of the peer is in *ret.
enum certificate_fault certificate_check(const SSL *ssl, const char *authority,
					 char ret[CERTIFICATE_NAME_SIZE]);
// The public key that the peer has shown, as certificate_key_public() would; NULL: none.
char *certificate_peer_public(const SSL *ssl);
// For a client that joins: the certificate in the server's chain whose key has this hash. NULL:
// there is none.
char *certificate_find_authority(const SSL *ssl, const uint8_t hash[CERTIFICATE_HASH_SIZE]);
