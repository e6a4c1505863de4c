// Keys that follow one another.
#pragma once

#include "core/registry/registry.h"

// A second key with the same rights (body as of registry_resource_create); the old one expires
// after old_valid_ms. CONFLICT when two are active already.
int registry_rotate_key(struct registry *registry, const struct registry_actor *actor,
			const char *tenant, const char *key_id, uint64_t old_valid_ms,
			struct registry_result *ret);
