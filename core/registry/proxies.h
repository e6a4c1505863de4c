// Proxies of the installation: joining, and who they are. Inviting and removing are those of any
// resource (resource.h, delete.h).
#pragma once

#include "core/registry/registry.h"

#define REGISTRY_KEY_HASH 32

struct registry_proxy {
	uint64_t id;
	char name[MODEL_NAME_BYTES + 1];
};

// A proxy joins with the token of its invitation and a key of its own. Once: afterwards the token
// is good for the same key alone, until it expires. OK, or UNAUTHENTICATED with the reason.
int registry_proxies_join(struct registry *registry, const char *address, const char *token,
			  const uint8_t key[REGISTRY_KEY_HASH], struct registry_proxy *ret_proxy,
			  struct registry_result *ret);
// 1: there is such a proxy, and the key is its own; 0: there is none.
int registry_proxies_find(struct registry *registry, uint64_t id,
			  const uint8_t key[REGISTRY_KEY_HASH], struct registry_proxy *ret);
// Names of the clusters whose credentials every proxy of the installation can read.
int registry_proxies_credentials(struct registry *registry, json_t **ret);
