// The portal's end of all control links: takes proxies in, feeds them the configuration, and knows
// how they are doing.
//
// For one loop, on whose thread the catalog is changed too.
#pragma once

#include "core/control/history.h"

#include <jansson.h>
#include <stddef.h>

struct catalog;
struct leader;
struct loop;

#define LEADER_NAME_SIZE 257 // of a proxy, with its zero

struct leader_proxy {
	uint64_t id;
	char name[LEADER_NAME_SIZE];
};

struct leader_config {
	const char *address;       // borrowed, as the next three
	const char *version;       // of the program
	const char *authority_key; // PEM, as below
	const char *authority;
	uint64_t installation;
	struct catalog *catalog; // of this process: what is fed
	// Secrets that proxies get, wrapped for each; copied.
	const void *secrets;
	size_t secrets_size;
	// A token and the hash of the key for which a certificate is asked. NULL: taken in, *ret is
	// filled; else why not, malloc'ed.
	char *(*join)(void *ctx, const char *token, const uint8_t *key_hash, const char *peer,
		      struct leader_proxy *ret);
	// Does this proxy have this key? *ret_name is filled then.
	bool (*knows)(void *ctx, uint64_t id, const uint8_t *key_hash,
		      char ret_name[LEADER_NAME_SIZE]);
	void *ctx;
};

// -errno of listening. *ret_wrong: a sentence, malloc'ed, where there is more to say.
int leader_new(struct loop *loop, const struct leader_config *config, struct leader **ret);
void leader_free(struct leader *leader); // accepts NULL; ends all links
unsigned leader_port(const struct leader *leader);

// The catalog has taken this change.
void leader_published(struct leader *leader, const struct catalog_change *change);
// {connected, address, since_ms, version, revision, age_ms, current}; NULL: no memory.
json_t *leader_status(const struct leader *leader, uint64_t id);
// The proxy is no longer one of the installation.
void leader_remove(struct leader *leader, uint64_t id);
