// Names to ids and back.
#pragma once

#include "core/registry/registry.h"

// The id of a tenant, for permission_check(). 0: none of that name.
uint64_t registry_lookup_tenant_id(struct registry *registry, const char *name);
// The same for anything; 0: none. What live queries name.
uint64_t registry_lookup_id(struct registry *registry, const struct registry_ref *ref);
// And back: NULL: none. Lives until the next call.
const char *registry_lookup_name(struct registry *registry, enum registry_kind kind, uint64_t id);
