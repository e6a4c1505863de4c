// What lies on a cluster and is not here yet.
#pragma once

#include "core/registry/registry.h"

// Adds `owner` to each topic and group of an answer of QUERY_CLUSTER_EXISTING: {tenant, name} of
// the resource it is here, or null.
int registry_import_owners(struct registry *registry, uint64_t cluster, json_t *existing);
// Takes some of it under a tenant: all that is wanted, or nothing. `wanted` is {tenant,
// topics:[{physical, name?}], groups:[{physical, name?, topic?, dead_letter?}]}, checked in its
// form. Body: {preview, topics, groups}, the resources.
int registry_import(struct registry *registry, const struct registry_actor *actor,
		    const char *cluster, const json_t *wanted, const json_t *existing, bool preview,
		    struct registry_result *ret);
